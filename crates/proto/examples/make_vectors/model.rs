//! One side of a session, written out from contracts/ratchet.md over the primitives alone, so that the ratchet's vectors do not merely repeat the
//! implementation. It knows no refusals: those are named by hand.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::label;
use nuncio_proto::crypto;
use nuncio_proto::header::{Ack, Header};
use nuncio_proto::ids::AgentId;
use nuncio_proto::padding;
use nuncio_proto::secret::Key;

use super::cbor::{Array, Uint, bytes, places};

pub(crate) type Bytes32 = [u8; 32];

/// What both sides know at the start.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) initiator: AgentId,
    pub(crate) responder: AgentId,
    pub(crate) session: Bytes32,
    pub(crate) rk: Bytes32,
    pub(crate) hka: Bytes32,
    pub(crate) nhkb: Bytes32,
    pub(crate) prekey: Bytes32,
    pub(crate) handshake: Option<Vec<u8>>,
}

#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) ck: Bytes32,
    pub(crate) hk: Bytes32,
    pub(crate) n: u32,
}

#[derive(Clone)]
pub(crate) struct Side {
    setup: Setup,
    initiated: bool,
    rk: Bytes32,
    dhs: Bytes32,
    send: Option<Chain>,
    recv: Option<(Chain, u64)>,
    nhks: Bytes32,
    nhkr: Bytes32,
    pn: u32,
    old: Vec<Bytes32>,
    skipped: BTreeMap<u64, (Bytes32, Bytes32)>,
    next: u64,
    run: Bytes32,
    /// Above `next`: nonce and letter.
    held: BTreeMap<u64, ([u8; 12], Vec<u8>)>,
    /// Of those, what will not be delivered.
    refused: BTreeSet<u64>,
    next_seq: u64,
    acked: u64,
    /// Frames at or above `acked`, and whether they may still be sent.
    sent: BTreeMap<u64, bool>,
}

/// A frame with the keys and the header in it.
pub(crate) struct Made {
    pub(crate) frame: Vec<u8>,
    pub(crate) hk: Bytes32,
    pub(crate) mk: Option<Bytes32>,
    pub(crate) header: [u8; 74],
}

/// Letters that are next in order, and numbers that the other side has now.
pub(crate) struct Took {
    pub(crate) in_order: Vec<(u64, Vec<u8>)>,
    pub(crate) settled: Vec<u64>,
}

pub(crate) fn kdf_rk(rk: &Bytes32, dh: &Bytes32) -> [Bytes32; 3] {
    let mut out = [0; 96];
    crypto::hkdf_sha256(rk, dh, label::ROOT, &mut out);
    [0, 32, 64].map(|at| out[at..at + 32].try_into().unwrap())
}

/// Next chain key and message key.
pub(crate) fn kdf_ck(ck: &Bytes32) -> [Bytes32; 2] {
    [crypto::hmac_sha256(ck, &[&[2]]), crypto::hmac_sha256(ck, &[&[1]])]
}

pub(crate) fn tag_of(hk: &Bytes32) -> [u8; 16] {
    crypto::hmac_sha256(hk, &[label::TAG])[..16].try_into().unwrap()
}

fn dh(secret: &Bytes32, public: &Bytes32) -> Bytes32 {
    *crypto::dh(&Key::new(*secret), public).unwrap().expose()
}

pub(crate) fn public_of(secret: &Bytes32) -> Bytes32 {
    crypto::dh_public(&Key::new(*secret))
}

fn aead(key: &Bytes32, nonce: &[u8; 12], ad: &[u8], clear: &[u8]) -> Vec<u8> {
    let mut sealed = clear.to_vec();
    let tag = crypto::seal_in_place(key, nonce, ad, &mut sealed);
    [sealed, tag.to_vec()].concat()
}

fn open_aead(key: &Bytes32, nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (clear, tag) = sealed.split_last_chunk().unwrap();
    let mut clear = clear.to_vec();
    crypto::open_in_place(key, nonce, ad, &mut clear, tag).unwrap();
    clear
}

pub(crate) fn pad(letter: &[u8]) -> Vec<u8> {
    let mut padded = letter.to_vec();
    padding::pad(&mut padded);
    padded
}

/// Who speaks to whom in which session.
pub(crate) fn body_ad(kind: u8, from_initiator: bool, setup: &Setup, header: &[u8; 74]) -> Vec<u8> {
    let direction = u8::from(!from_initiator);
    [&[1, kind, direction], &setup.initiator.as_bytes()[..], setup.responder.as_bytes(), &setup.session, header]
        .concat()
}

/// The kind, the body and the frame.
pub(crate) fn make_frame(
    setup: &Setup,
    from_initiator: bool,
    keys: (&Bytes32, Option<&Bytes32>),
    nonce: &[u8; 12],
    padded: Option<&[u8]>,
    header: &[u8; 74],
) -> (u8, Option<Vec<u8>>, Vec<u8>) {
    let handshake = setup.handshake.as_ref().filter(|_| padded.is_some());
    let kind = match (padded, handshake) {
        (None, _) => 3,
        (Some(_), None) => 2,
        (Some(_), Some(_)) => 1,
    };
    let body =
        padded.zip(keys.1).map(|(padded, mk)| aead(mk, nonce, &body_ad(kind, from_initiator, setup, header), padded));
    let mut items = vec![Uint(1), Uint(kind.into()), bytes(tag_of(keys.0)), bytes(nonce)];
    items.extend(handshake.map(bytes));
    items.extend(body.as_ref().map(bytes));
    items.push(bytes([0; 90]));
    let mut frame = Array(items).encode();
    frame.truncate(frame.len() - 90);
    let sealed = aead(keys.0, nonce, &frame, header);
    frame.extend(sealed);
    (kind, body, frame)
}

impl Side {
    pub(crate) fn initiator(setup: &Setup, dhs: Bytes32) -> Self {
        let [rk, ck, nhks] = kdf_rk(&setup.rk, &dh(&dhs, &public_of(&setup.prekey)));
        let send = Some(Chain { ck, hk: setup.hka, n: 0 });
        Self { send, ..Self::new(setup, true, rk, dhs, nhks, setup.nhkb) }
    }

    pub(crate) fn responder(setup: &Setup) -> Self {
        let without = Setup { handshake: None, ..setup.clone() };
        Self::new(&without, false, setup.rk, setup.prekey, setup.nhkb, setup.hka)
    }

    fn new(setup: &Setup, initiated: bool, rk: Bytes32, dhs: Bytes32, nhks: Bytes32, nhkr: Bytes32) -> Self {
        let run = crypto::sha256(&[label::ACK_CHAIN, &[0], &setup.session]);
        Self {
            setup: setup.clone(),
            initiated,
            rk,
            dhs,
            send: None,
            recv: None,
            nhks,
            nhkr,
            pn: 0,
            old: Vec::new(),
            skipped: BTreeMap::new(),
            next: 0,
            run,
            held: BTreeMap::new(),
            refused: BTreeSet::new(),
            next_seq: 0,
            acked: 0,
            sent: BTreeMap::new(),
        }
    }

    /// The header of the next frame.
    pub(crate) fn header(&self) -> Header {
        let floor = self.sent.iter().find(|(_, live)| **live).map_or(self.next_seq, |(seq, _)| *seq);
        let above = (0..64).filter(|i| self.held.contains_key(&(self.next + 1 + i))).fold(0, |bits, i| bits | 1 << i);
        Header {
            ratchet_key: public_of(&self.dhs),
            n: self.send.as_ref().unwrap().n,
            pn: self.pn,
            seq: self.next_seq,
            floor_below: (self.next_seq - floor).try_into().unwrap(),
            ack: Ack { next: self.next, check: self.run[..8].try_into().unwrap(), above },
        }
    }

    /// Seals these padded bytes under this very header, and moves nothing: what a broken or hostile peer could send.
    pub(crate) fn seal_as(&self, padded: Option<&[u8]>, nonce: &[u8; 12], header: &Header) -> Made {
        let chain = self.send.as_ref().unwrap();
        let ahead = (0..header.n.saturating_sub(chain.n).min(3_000)).fold(chain.ck, |ck, _| kdf_ck(&ck)[0]);
        let mk = padded.map(|_| kdf_ck(&ahead)[1]);
        let header = header.to_bytes();
        let (_, _, frame) = make_frame(&self.setup, self.initiated, (&chain.hk, mk.as_ref()), nonce, padded, &header);
        Made { frame, hk: chain.hk, mk, header }
    }

    pub(crate) fn seal(&mut self, letter: &[u8], nonce: &[u8; 12]) -> Made {
        let made = self.seal_as(Some(&pad(letter)), nonce, &self.header());
        let chain = self.send.as_mut().unwrap();
        chain.ck = kdf_ck(&chain.ck)[0];
        chain.n += 1;
        self.sent.insert(self.next_seq, true);
        self.next_seq += 1;
        made
    }

    /// As though the sending chain had made `n` steps, and all of its numbers were settled.
    pub(crate) fn leap(&mut self, n: u32) {
        let chain = self.send.as_mut().unwrap();
        assert!(self.sent.is_empty(), "all is settled");
        self.next_seq += u64::from(n - chain.n);
        (chain.n, self.acked) = (n, self.next_seq);
    }

    /// The same of the receiving chain.
    pub(crate) fn leap_behind(&mut self, n: u32) {
        let (chain, base) = self.recv.as_mut().unwrap();
        assert!(self.next == *base + u64::from(chain.n), "all is settled");
        (chain.n, self.next) = (n, *base + u64::from(n));
    }

    /// The letter of this number will not be delivered.
    pub(crate) fn refuse(&mut self, seq: u64) {
        self.refused.insert(seq);
    }

    /// From here on this side's bodies are sealed under keys that its peer does not have.
    pub(crate) fn break_chain(&mut self) {
        self.send.as_mut().unwrap().ck[0] ^= 1;
    }

    pub(crate) fn ack(&self, nonce: &[u8; 12]) -> Made {
        self.seal_as(None, nonce, &self.header())
    }

    /// The letter of this number will not be sent again.
    pub(crate) fn give_up(&mut self, seq: u64) {
        self.sent.insert(seq, false);
    }

    /// Whether this frame would turn the ratchet.
    pub(crate) fn turns(&self, frame: &[u8]) -> bool {
        frame[2] != 3 && frame[4..20] == tag_of(&self.nhkr)
    }

    /// Opens a good frame; `draw` is the next ratchet secret, if the frame turns the ratchet.
    pub(crate) fn open(&mut self, frame: &[u8], draw: Option<Bytes32>) -> Took {
        let items: Vec<_> = places(frame).into_iter().filter(|place| place.path.len() == 1).collect();
        let part = |at: usize| &frame[items[at].at + items[at].head_len..items[at].end];
        let (tag, nonce) = (part(2), <[u8; 12]>::try_from(part(3)).unwrap());
        let hk = self.header_key(tag.try_into().unwrap());
        let in_front = &frame[..frame.len() - 90];
        let clear: [u8; 74] = open_aead(&hk, &nonce, in_front, &frame[frame.len() - 90..]).try_into().unwrap();
        let header = Header::from_bytes(&clear);
        let floor = header.seq - u64::from(header.floor_below);
        if items.len() > 5 {
            let mk = self.message_key(hk, &header, draw);
            let ad = body_ad(frame[2], !self.initiated, &self.setup, &clear);
            let padded = open_aead(&mk, &nonce, &ad, part(items.len() - 2));
            self.held.insert(header.seq, (nonce, padding::unpad(&padded).unwrap().to_vec()));
        }
        if items.len() == 5 || frame[2] == 2 {
            self.setup.handshake = None;
        }
        // An acknowledgement alone steps no chain, so its floor counts up to where letters have stepped it.
        let stepped = self.recv.as_ref().map_or(0, |(chain, base)| base + u64::from(chain.n));
        let floor = if items.len() == 5 { floor.min(stepped) } else { floor };
        Took { in_order: self.settle(floor), settled: self.merge(&header.ack) }
    }

    fn header_key(&self, tag: [u8; 16]) -> Bytes32 {
        let current = self.recv.iter().map(|(chain, _)| chain.hk);
        current.chain([self.nhkr]).chain(self.old.iter().copied()).find(|hk| tag_of(hk) == tag).expect("a known tag")
    }

    fn message_key(&mut self, hk: Bytes32, header: &Header, draw: Option<Bytes32>) -> Bytes32 {
        if self.skipped.get(&header.seq).is_some_and(|(of, _)| *of == hk) {
            return self.skipped.remove(&header.seq).unwrap().1;
        }
        if hk == self.nhkr {
            self.turn(header, draw.expect("a turn draws a ratchet secret"));
        }
        self.skip_to(header.n);
        let (chain, _) = self.recv.as_mut().unwrap();
        let [ck, mk] = kdf_ck(&chain.ck);
        (chain.ck, chain.n) = (ck, chain.n + 1);
        mk
    }

    fn turn(&mut self, header: &Header, dhs: Bytes32) {
        if self.recv.is_some() {
            self.skip_to(header.pn);
            self.old.push(self.recv.as_ref().unwrap().0.hk);
        }
        let [rk, ck, nhkr] = kdf_rk(&self.rk, &dh(&self.dhs, &header.ratchet_key));
        self.recv = Some((Chain { ck, hk: self.nhkr, n: 0 }, header.seq - u64::from(header.n)));
        let [rk, ck, nhks] = kdf_rk(&rk, &dh(&dhs, &header.ratchet_key));
        self.pn = self.send.as_ref().map_or(0, |chain| chain.n);
        self.send = Some(Chain { ck, hk: self.nhks, n: 0 });
        (self.rk, self.dhs, self.nhks, self.nhkr) = (rk, dhs, nhks, nhkr);
    }

    fn skip_to(&mut self, n: u32) {
        let (chain, base) = self.recv.as_mut().unwrap();
        while chain.n < n {
            let [ck, mk] = kdf_ck(&chain.ck);
            self.skipped.insert(*base + u64::from(chain.n), (chain.hk, mk));
            (chain.ck, chain.n) = (ck, chain.n + 1);
        }
    }

    fn settle(&mut self, floor: u64) -> Vec<(u64, Vec<u8>)> {
        let mut in_order = Vec::new();
        let waits = |side: &Self| !side.held.contains_key(&side.next) || side.refused.contains(&side.next);
        while self.next < floor || !waits(self) {
            let seq = self.next.to_be_bytes();
            let refused = self.refused.remove(&self.next);
            match self.held.remove(&self.next).filter(|_| !refused) {
                Some((nonce, letter)) => {
                    self.run = crypto::sha256(&[&self.run, &seq, &nonce]);
                    in_order.push((self.next, letter));
                }
                None => self.run = self.run_hole(self.next),
            }
            self.next += 1;
        }
        self.skipped = self.skipped.split_off(&self.next);
        let heard = self.recv.as_ref().is_some_and(|(_, base)| floor >= *base);
        let mut over = self.old.len().saturating_sub(8);
        let skipped = &self.skipped;
        self.old.retain(|old| {
            let forget = !skipped.values().any(|(hk, _)| hk == old) && (heard || over > 0);
            over = over.saturating_sub(usize::from(forget));
            !forget
        });
        in_order
    }

    fn run_hole(&self, seq: u64) -> Bytes32 {
        crypto::sha256(&[label::ACK_CHAIN, &[1], &self.setup.session, &seq.to_be_bytes()])
    }

    /// What an acknowledgement's `check` is behind a hole.
    pub(crate) fn hole(&self, seq: u64) -> [u8; 8] {
        self.run_hole(seq)[..8].try_into().unwrap()
    }

    fn merge(&mut self, ack: &Ack) -> Vec<u64> {
        if ack.next < self.acked {
            return Vec::new();
        }
        self.acked = ack.next;
        let above = self.sent.split_off(&ack.next);
        std::mem::replace(&mut self.sent, above).into_iter().filter(|(_, live)| *live).map(|(seq, _)| seq).collect()
    }
}
