//! Two sessions against each other, and the frames under way between them.

use nuncio_contracts::registry::limit;
use nuncio_proto::bundle::{Bundle, SignedPrekeys};
use nuncio_proto::crypto::{self, KemSeed};
use nuncio_proto::frame::{Frame, Nonce, Sealed};
use nuncio_proto::handshake::{self, HandshakeError, ResponderKeys, Start};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::Seq;
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Accepted, OpenError, Parties, Session};
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use rand_core::Rng;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ROOM: usize = limit::SKIPPED_TOTAL_MAX;

/// A responder's long-lived keys.
pub(crate) struct Responder {
    pub(crate) identity: Identity,
    pub(crate) public: SignedPrekeys,
    pub(crate) prekey: Key,
    pub(crate) kem: KemSeed,
}

impl Responder {
    pub(crate) fn new(rng: &mut TestRng) -> Self {
        let (identity, prekey, kem) = (Identity::generate(rng).unwrap(), Key::random(rng), KemSeed::random(rng));
        let public = SignedPrekeys {
            agreement: *identity.agreement_public(),
            id: 7,
            agreement_prekey: crypto::dh_public(&prekey),
            kem_prekey: Box::new(crypto::kem_public(&kem)),
        };
        Self { identity, public, prekey, kem }
    }

    pub(crate) fn bundle(&self, public: &SignedPrekeys) -> Bundle {
        Bundle::parse(&Bundle::sign(&self.identity, public, NOW, NOW.plus(1_000), (&[], None), false), NOW).unwrap()
    }

    /// Answers as a peer does: the prekeys that the start names are looked up first.
    pub(crate) fn respond(&self, handshake: &[u8]) -> Result<handshake::Response, HandshakeError> {
        let start = Start::decode(handshake)?;
        if start.used().signed != self.public.id {
            return Err(HandshakeError::UnknownPrekey);
        }
        let (agreement_prekey, kem_prekey) = (&self.prekey, &self.kem);
        start.respond(
            &self.identity,
            &ResponderKeys { public: &self.public, agreement_prekey, kem_prekey, one_time: None },
        )
    }
}

/// One side of a conversation.
pub(crate) struct End {
    pub(crate) session: Session,
    /// What was sealed, by number.
    pub(crate) said: Vec<Vec<u8>>,
    /// What came out, in order.
    pub(crate) heard: Vec<(Seq, Vec<u8>)>,
    /// Which of its own letters it knows to be received.
    pub(crate) settled: Vec<u64>,
}

/// A frame under way: its number in its direction, and its bytes.
pub(crate) type UnderWay = (Option<Seq>, Vec<u8>);

/// Alice is 0 and began; Bob is 1. `frames[i]` is under way to `ends[i]`; `opened[i]` has opened there.
pub(crate) struct Pair {
    pub(crate) ends: [End; 2],
    pub(crate) frames: [Vec<UnderWay>; 2],
    pub(crate) opened: [Vec<Vec<u8>>; 2],
    pub(crate) rng: TestRng,
}

impl Pair {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (alice, bob) = (Identity::generate(&mut rng).unwrap(), Responder::new(&mut rng));
        let began = handshake::initiate(&alice, &bob.bundle(&bob.public), 0, &mut rng).unwrap();
        let answered = bob.respond(&began.handshake).unwrap();
        assert_eq!((answered.initiator, &answered.secrets), (alice.id(), &began.secrets));
        let parties = Parties { initiator: alice.id(), responder: bob.identity.id(), initiated: true };
        let (prekey, handshake) = (&bob.public.agreement_prekey, Some(began.handshake));
        let alice = Session::initiate(began.secrets, parties, 0, prekey, handshake, NOW, &mut rng).unwrap();
        let bob = Session::respond(answered.secrets, Parties { initiated: false, ..parties }, 0, &bob.prekey, NOW);
        let end = |session| End { session, said: Vec::new(), heard: Vec::new(), settled: Vec::new() };
        Self { ends: [end(alice), end(bob)], frames: Default::default(), opened: Default::default(), rng }
    }

    /// Alice and Bob have heard each other; nothing is under way.
    pub(crate) fn talking(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        for from in [0, 1, 0, 1] {
            assert!(pair.seal(from));
            assert_eq!(pair.deliver(1 - from, 0), Ok(()));
        }
        pair
    }

    pub(crate) fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    /// Seals one more letter; `false` where that cannot be: no chain yet, or a full window.
    pub(crate) fn seal(&mut self, from: usize) -> bool {
        let end = &self.ends[from];
        end.said.len() - end.settled.len() < limit::WINDOW as usize && self.seal_beyond(from)
    }

    /// Seals one more letter, as one would who does not keep to the window.
    pub(crate) fn seal_beyond(&mut self, from: usize) -> bool {
        let nonce = self.nonce();
        let end = &mut self.ends[from];
        let letter = format!("letter {} of {from}", end.said.len()).into_bytes();
        let Some(sealing) = end.session.seal(&letter, nonce) else { return false };
        self.frames[1 - from].push((Some(sealing.seq), sealing.frame.clone()));
        assert_eq!(sealing.seq, end.said.len() as Seq);
        end.session.accept_sealed(sealing, end.said.len() as u64);
        end.said.push(letter);
        true
    }

    pub(crate) fn seal_ack(&mut self, from: usize) {
        let nonce = self.nonce();
        let before = self.ends[from].session.to_bytes();
        if let Some(frame) = self.ends[from].session.seal_ack(nonce) {
            self.frames[1 - from].push((None, frame));
        }
        assert_eq!(self.ends[from].session.to_bytes(), before, "an acknowledgement moves no state of its sender");
    }

    /// Delivers a frame under way, whichever. A refused one stays under way, and the state as it was.
    pub(crate) fn deliver(&mut self, to: usize, pick: usize) -> Result<(), OpenError> {
        let at = pick % self.frames[to].len();
        let bytes = self.frames[to][at].1.clone();
        self.open(to, &bytes)?;
        self.frames[to].swap_remove(at);
        self.opened[to].push(bytes);
        Ok(())
    }

    pub(crate) fn open(&mut self, to: usize, bytes: &[u8]) -> Result<(), OpenError> {
        let end = &mut self.ends[to];
        let before = (end.session.to_bytes(), format!("{:?}", end.session));
        let opened = match end.session.open(&sealed(bytes), ROOM, &mut self.rng) {
            Ok(opened) => opened,
            Err(error) => {
                assert_eq!((end.session.to_bytes(), format!("{:?}", end.session)), before, "refused: {error}");
                return Err(error);
            }
        };
        let Accepted { in_order, settled } = end.session.accept_opened(opened, NOW);
        end.heard.extend(in_order);
        end.settled.extend(settled);
        Ok(())
    }

    /// Delivers all that is under way, in an order that `picks` decides, until nothing moves.
    pub(crate) fn deliver_all(&mut self, mut picks: impl FnMut() -> usize) {
        for _ in 0..2 * limit::WINDOW {
            let left: usize = self.frames.iter().map(Vec::len).sum();
            if left == 0 {
                break;
            }
            let to = usize::from(self.frames[0].is_empty() || (!self.frames[1].is_empty() && picks() % 2 == 1));
            let first = picks();
            // A turn that has to wait for older letters waits; some other frame opens.
            let opened = (0..self.frames[to].len()).any(|i| self.deliver(to, first + i).is_ok());
            assert!(opened || !self.frames[1 - to].is_empty(), "nothing opens any more");
        }
        assert_eq!(self.frames, [vec![], vec![]]);
        self.assert_heard_all();
    }

    /// Every letter was heard once, in order, as it was said.
    pub(crate) fn assert_heard_all(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            let said = self.ends[from].said.iter().cloned().enumerate().map(|(seq, letter)| (seq as Seq, letter));
            assert_eq!(self.ends[to].heard, said.collect::<Vec<_>>());
        }
    }

    /// The next letter each way opens: nothing was hurt.
    pub(crate) fn assert_well(&mut self) {
        for from in [0, 1] {
            assert!(self.seal(from));
            let last = self.frames[1 - from].len() - 1;
            assert_eq!(self.deliver(1 - from, last), Ok(()));
        }
    }
}

pub(crate) fn sealed(bytes: &[u8]) -> Sealed<'_> {
    match Frame::decode(bytes).unwrap() {
        Frame::Sealed(sealed) => sealed,
        Frame::Notice(_) => panic!("a notice"),
    }
}
