//! One session: both pipelines, a screen each.
//!
//! ```text
//!   in   tag → header → window (→ Fresh) → skipped key, or pn / turn / n → body → padding → letter bytes
//!   out  letter bytes → padding → body under mk → header over the whole frame
//! ```
//!
//! [`Session::open`] and [`Session::seal`] borrow the state and give back what would move; `session/apply.rs` moves it,
//! after the caller has decided.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_contracts::registry::{label, limit};
use rand_core::CryptoRng;

use crate::audit::commitment_key;
use crate::crypto::{self, CryptoError, TAG_LEN};
use crate::frame::{self, Body, Nonce, Sealed};
use crate::handshake::Secrets;
use crate::header::{Ack, HEADER_LEN, Header};
use crate::ids::{AgentId, LetterId, Seq, SessionId, Tag};
use crate::padding;
use crate::ratchet::{OldChain, Opening, Ratchet, RatchetError};
use crate::replay::{ReplayError, Window};
use crate::secret::Key;
use crate::time::UnixMillis;
use crate::token::Genuine;

/// Two agents' shared ratchet, as one of them holds it.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) parties: Parties,
    pub(crate) place: Place,
    pub(crate) created: UnixMillis,
    pub(crate) parameters: u64,
    pub(crate) exporter: Key,
    /// In front of every frame of the initiator until the first answer.
    pub(crate) handshake: Option<Vec<u8>>,
    /// A frame has opened each way.
    pub(crate) confirmed: bool,
    pub(crate) ratchet: Ratchet,
    pub(crate) old_chains: Vec<OldChain>,
    pub(crate) skipped: BTreeMap<Seq, SkippedKey>,
    pub(crate) window: Window,
    /// Running hash over the frames received, in the order of their numbers (contracts/ratchet.md section 5).
    pub(crate) received_run: Run,
    /// Letters that came before an earlier one.
    pub(crate) held: BTreeMap<Seq, Held>,
    pub(crate) next_seq: Seq,
    /// Everything below is acknowledged or given up, and `acked_run` is the peer's running hash there.
    pub(crate) acked: Seq,
    pub(crate) acked_run: Run,
    /// Frames at or above `acked`.
    pub(crate) outstanding: BTreeMap<Seq, Outstanding>,
    /// Letters delivered whose frames the peer may still send again.
    pub(crate) delivered: BTreeMap<Seq, LetterId>,
    /// The lowest number that is missing below one that came, and since when. In memory only.
    pub(crate) gap: Option<(Seq, UnixMillis)>,
    /// It has lived long enough for a re-key.
    pub(crate) aged: bool,
    /// Whole tokens that came in it, the latest last. In memory only: what was forgotten is asked for.
    pub(crate) tokens_in: Latest,
    /// Whole tokens that the peer has acknowledged in it.
    pub(crate) tokens_out: Latest,
}

/// Who began the session, who answered, and which of them holds this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Who began.
    pub initiator: AgentId,
    /// Who answered.
    pub responder: AgentId,
    /// Whether the holder began.
    pub initiated: bool,
}

/// What a session is to its peer's contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Letters are sealed in it.
    Current,
    /// Begun by the peer while another is current; takes its place once confirmed.
    Candidate,
    /// Only opened, until this time.
    Old(UnixMillis),
}

impl Place {
    pub(crate) const fn to_wire(self) -> (u8, u64) {
        match self {
            Self::Current => (0, 0),
            Self::Candidate => (1, 0),
            Self::Old(until) => (2, until.0),
        }
    }

    pub(crate) const fn from_wire(wire: (u8, u64)) -> Option<Self> {
        match wire {
            (0, 0) => Some(Self::Current),
            (1, 0) => Some(Self::Candidate),
            (2, until) => Some(Self::Old(UnixMillis(until))),
            _ => None,
        }
    }
}

/// Running hash over frames.
pub(crate) type Run = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedKey {
    pub(crate) tag: Tag,
    pub(crate) mk: Key,
    pub(crate) since: UnixMillis,
}

/// A letter that waits for an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) nonce: Nonce,
    pub(crate) letter: Vec<u8>,
    pub(crate) state: Hold,
    /// When it is no longer delivered.
    pub(crate) expires: UnixMillis,
    /// The token that was verified when it came.
    pub(crate) token: Option<Arc<Genuine>>,
}

/// What a received letter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Its turn.
    Turn,
    /// Its sender is being told that it will not be delivered, and gives its number up then.
    Refused,
    /// The key of its token, or the token (contracts/token.md K18).
    Token,
}

/// A frame that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outstanding {
    pub(crate) nonce: Nonce,
    /// The outbox entry that it carries; `None` once its sender gave it up.
    pub(crate) entry: Option<u64>,
    /// The peer's bitmap shows it: not sent again, but not yet believed delivered.
    pub(crate) seen: bool,
}

/// A letter sealed: the frame and how the state moves.
#[derive(Debug)]
#[must_use]
pub struct Sealing {
    /// The frame's bytes.
    pub frame: Vec<u8>,
    /// Its number.
    pub seq: Seq,
    nonce: Nonce,
}

impl Parties {
    /// The other one.
    #[must_use]
    pub const fn peer(&self) -> AgentId {
        if self.initiated { self.responder } else { self.initiator }
    }
}

mod acks;
mod apply;
mod audit;
mod chain_ref;
mod gap;
mod latest;
mod opened;

use chain_ref::ChainRef;
pub use gap::Gap;
pub(crate) use gap::Told;
pub(crate) use latest::Latest;
use opened::Moves;
pub use opened::{Accepted, OpenError, Opened};
pub(crate) use opened::{AckedTo, Content, InOrder, Moved};

const AD_LEN: usize = 3 + 3 * 32 + HEADER_LEN;

impl Session {
    pub(crate) fn new(
        secrets: Secrets,
        parties: Parties,
        parameters: u64,
        ratchet: Ratchet,
        handshake: Option<Vec<u8>>,
        now: UnixMillis,
    ) -> Self {
        let run = crypto::sha256(&[label::ACK_CHAIN, &[0], secrets.id.as_bytes()]);
        Self {
            id: secrets.id,
            parties,
            place: Place::Current,
            created: now,
            parameters,
            exporter: secrets.exporter,
            handshake,
            confirmed: false,
            ratchet,
            old_chains: Vec::new(),
            skipped: BTreeMap::new(),
            window: Window::default(),
            received_run: run,
            held: BTreeMap::new(),
            next_seq: 0,
            acked: 0,
            acked_run: run,
            outstanding: BTreeMap::new(),
            delivered: BTreeMap::new(),
            gap: None,
            aged: false,
            tokens_in: Latest::default(),
            tokens_out: Latest::default(),
        }
    }

    /// The initiator's session; it can send at once.
    pub fn initiate<R: CryptoRng + ?Sized>(
        secrets: Secrets,
        parties: Parties,
        parameters: u64,
        responder_prekey: &[u8; 32],
        handshake: Option<Vec<u8>>,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let ratchet = Ratchet::initiator(&secrets.rk, responder_prekey, &secrets.hka, &secrets.nhkb, rng)?;
        Ok(Self::new(secrets, parties, parameters, ratchet, handshake, now))
    }

    /// The responder's session; it can send once it has opened a letter.
    #[must_use]
    pub fn respond(secrets: Secrets, parties: Parties, parameters: u64, prekey: &Key, now: UnixMillis) -> Self {
        let ratchet = Ratchet::responder(&secrets.rk, prekey, &secrets.hka, &secrets.nhkb);
        Self::new(secrets, parties, parameters, ratchet, None, now)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The other agent.
    #[must_use]
    pub const fn peer(&self) -> AgentId {
        self.parties.peer()
    }

    /// Whether a frame has opened each way.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Letters sealed in this session.
    #[must_use]
    pub const fn sealed_count(&self) -> Seq {
        self.next_seq
    }

    /// The lowest number that is not received.
    #[must_use]
    pub const fn next_expected(&self) -> Seq {
        self.window.next()
    }

    /// The tags under which a frame of the peer may come.
    pub fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        let current = self.ratchet.recv.iter().map(|recv| recv.chain.tag);
        current.chain([self.ratchet.next_tag]).chain(self.old_chains.iter().map(|chain| chain.tag))
    }

    /// Whether a frame is under way that its sender has not given up.
    pub(crate) fn has_live(&self) -> bool {
        self.outstanding.values().any(|frame| frame.entry.is_some())
    }

    /// The lowest number that may still be sent or sent again.
    pub(crate) fn floor(&self) -> Seq {
        // What was under way in a session that is over comes in another one; were it passed here, later letters would overtake it.
        if matches!(self.place, Place::Old(_)) {
            return self.acked;
        }
        let live = self.outstanding.iter().find(|(_, frame)| frame.entry.is_some());
        live.map_or(self.next_seq, |(seq, _)| *seq)
    }

    /// Whether the window has a place for one more letter, and so many beside it.
    pub(crate) fn has_room(&self, reserve: u64) -> bool {
        self.ratchet.send.is_some() && self.next_seq.saturating_sub(self.acked) < limit::WINDOW - reserve
    }

    fn ack(&self) -> Ack {
        let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = self.received_run;
        Ack { next: self.window.next(), check: [c0, c1, c2, c3, c4, c5, c6, c7], above: self.window.above() }
    }

    pub(crate) fn header(&self, n: u32) -> Option<Header> {
        Some(Header {
            ratchet_key: self.ratchet.dhs_public,
            n,
            pn: self.ratchet.pn,
            seq: self.next_seq,
            floor_below: u16::try_from(self.next_seq.checked_sub(self.floor())?).ok()?,
            ack: self.ack(),
        })
    }

    /// Seals the bytes of a letter: body first, then the header over the whole frame.
    ///
    /// `None` if the chain is exhausted, there is no sending chain yet, or the letter is longer than any frame.
    pub fn seal(&self, letter: &[u8], nonce: Nonce) -> Option<Sealing> {
        let chain = self.ratchet.sending()?;
        let header = self.header(chain.n)?;
        let kind = if self.handshake.is_some() { frame::START } else { frame::LETTER };
        let ad = self.body_ad(kind, self.parties.initiated, &header);
        let body = Body { letter, mk: &chain.mk, ad: &ad };
        let frame = frame::seal(&chain.hk, chain.tag, &nonce, self.handshake.as_deref(), Some(body), &header)?;
        Some(Sealing { frame, seq: self.next_seq, nonce })
    }

    /// A sealed header without body: acknowledges, takes no number and no message key, moves no state.
    #[must_use]
    pub fn seal_ack(&self, nonce: Nonce) -> Option<Vec<u8>> {
        let chain = self.ratchet.send.as_ref()?;
        let header = self.header(chain.n)?;
        frame::seal(&chain.hk, chain.tag, &nonce, None, None, &header)
    }

    /// Opens a frame. Check, authenticate; the caller commits, then publishes.
    ///
    /// `room` bounds the keys that this frame may cause to be kept.
    pub fn open<R: CryptoRng + ?Sized>(
        &self,
        frame: &Sealed<'_>,
        room: usize,
        rng: &mut R,
    ) -> Result<Opened, OpenError> {
        let opened = self.open_frame(frame, room, rng)?;
        self.check_ack(opened)
    }

    /// All of [`Session::open`] but the check of the acknowledgement. That comes last, as it costs most: whatever gets there moves the state on or ends
    /// the session, and cannot be had again.
    pub(crate) fn open_frame<R: CryptoRng + ?Sized>(
        &self,
        frame: &Sealed<'_>,
        room: usize,
        rng: &mut R,
    ) -> Result<Opened, OpenError> {
        let chain = self.chain_of(frame.tag).ok_or(OpenError::UnknownTag)?;
        // contracts/ratchet.md R4: the header authenticates the whole frame before any DH or chain step.
        let header = frame.open_header(chain.header_key(self))?;
        let floor = header.floor().ok_or(OpenError::Malformed)?;
        let answered = frame.handshake.is_none();
        let acked = AckedTo { next: self.acked, run: self.acked_run, above: 0 };
        let Some(body) = frame.body else {
            return Ok(Opened { header, content: None, acked, answered });
        };
        let fresh =
            self.window.check(header.seq, floor).map_err(|error| self.replayed(error, header.seq, &frame.nonce))?;
        self.check_held(header.seq, floor, body.len(), limit::HELD_BYTES_MAX)?;
        let (mk, moves) = self.key_of(&chain, &header, floor, room, rng)?;
        let letter = self.open_body(frame, &header, body, &mk)?;
        let (state, expires, nonce) = (Hold::Turn, UnixMillis::NEVER, frame.nonce);
        let commitment_key = self.audits().then(|| commitment_key(&mk));
        let content = Content { letter, fresh, state, expires, token: None, floor, nonce, commitment_key, moves };
        Ok(Opened { header, content: Some(content), acked, answered })
    }

    fn key_of<R: CryptoRng + ?Sized>(
        &self,
        chain: &ChainRef<'_>,
        header: &Header,
        floor: Seq,
        room: usize,
        rng: &mut R,
    ) -> Result<(Cow<'_, Key>, Moves), OpenError> {
        if let Some(key) = self.skipped.get(&header.seq).filter(|key| key.tag == chain.tag()) {
            return Ok((Cow::Borrowed(&key.mk), Moves::SkippedKey));
        }
        let Opening { mk, advance, skipped } = match chain {
            ChainRef::Current(..) => self.ratchet.receive_step(header, room)?,
            ChainRef::Next(_) => {
                let lacking = self.old_chains.iter().filter(|old| self.lacks(old, floor)).count();
                if lacking >= limit::OLD_CHAINS_MAX {
                    return Err(OpenError::ChainsFull);
                }
                self.ratchet.turn(header, room, rng)?
            }
            ChainRef::Old(_) => return Err(RatchetError::Spent.into()),
        };
        Ok((mk, Moves::Ratchet { advance, skipped }))
    }

    fn lacks(&self, old: &OldChain, floor: Seq) -> bool {
        self.skipped.range(floor..).any(|(_, key)| key.tag == old.tag)
    }

    fn open_body(&self, frame: &Sealed<'_>, header: &Header, body: &[u8], mk: &Key) -> Result<Vec<u8>, OpenError> {
        let (ciphertext, tag) = body.split_last_chunk::<TAG_LEN>().ok_or(OpenError::Malformed)?;
        let mut clear = ciphertext.to_vec();
        let ad = self.body_ad(frame.kind(), !self.parties.initiated, header);
        crypto::open_in_place(mk.expose(), &frame.nonce, &ad, &mut clear, tag).map_err(|_| OpenError::Parted)?;
        let len = padding::unpad(&clear).ok_or(OpenError::Malformed)?.len();
        clear.truncate(len);
        Ok(clear)
    }

    /// `version ‖ kind ‖ direction ‖ initiator ‖ responder ‖ session id ‖ header`
    pub(crate) fn body_ad(&self, kind: u8, from_initiator: bool, header: &Header) -> [u8; AD_LEN] {
        let mut ad = [0; AD_LEN];
        let head = [limit::WIRE_VERSION, kind, u8::from(!from_initiator)];
        let parts: [&[u8]; 5] = [
            &head,
            self.parties.initiator.as_bytes(),
            self.parties.responder.as_bytes(),
            self.id.as_bytes(),
            &header.to_bytes(),
        ];
        let mut rest = ad.as_mut_slice();
        for part in parts {
            if let Some((place, tail)) = core::mem::take(&mut rest).split_at_mut_checked(part.len()) {
                place.copy_from_slice(part);
                rest = tail;
            }
        }
        ad
    }

    /// A number that was received and waits, under which another frame comes now: its sender was restored to a time before it, and will not give up
    /// what it does not know (contracts/ratchet.md R9).
    fn replayed(&self, error: ReplayError, seq: Seq, nonce: &Nonce) -> OpenError {
        let other = self.held.get(&seq).is_some_and(|held| held.nonce != *nonce);
        if other { OpenError::Restored } else { error.into() }
    }

    /// Whether there is room for one more letter that waits, up to a bound of them all.
    pub(crate) fn check_held(&self, seq: Seq, floor: Seq, len: usize, bound: usize) -> Result<(), OpenError> {
        if seq == self.window.next().max(floor) || self.held.is_empty() {
            return Ok(());
        }
        let held: usize = self.held.values().map(|held| held.letter.len()).sum();
        if held + len > bound { Err(OpenError::HeldFull) } else { Ok(()) }
    }

    fn chain_of(&self, tag: Tag) -> Option<ChainRef<'_>> {
        if let Some(recv) = self.ratchet.recv.as_ref().filter(|recv| recv.chain.tag == tag) {
            return Some(ChainRef::Current(tag, &recv.chain.hk));
        }
        if self.ratchet.next_tag == tag {
            return Some(ChainRef::Next(tag));
        }
        self.old_chains.iter().find(|old| old.tag == tag).map(ChainRef::Old)
    }
}
