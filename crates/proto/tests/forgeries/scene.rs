//! An agent in mid-conversation, and frames for it that are on their way.

use std::collections::BTreeMap;

use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::error::Refusal;
use nuncio_proto::frame::{Frame, Sealed};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::step::{Effect, Step};
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;
use rand_core::Rng;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) struct NothingSeen;

impl Seen for NothingSeen {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

pub(crate) struct Agent {
    pub(crate) peer: Peer,
    pub(crate) rng: TestRng,
    /// Payloads in the order of delivery.
    pub(crate) inbox: Vec<Vec<u8>>,
}

impl Agent {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (mut peer, _) = Peer::create(Identity::generate(&mut rng).unwrap(), NOW, &mut rng);
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        Self { peer, rng, inbox: Vec::new() }
    }

    pub(crate) fn id(&self) -> AgentId {
        self.peer.id()
    }

    pub(crate) fn knows(&mut self, other: &Self) {
        let info = ContactInfo { allowed: true, ..Default::default() };
        let step = self.peer.set_contact(other.id(), info).unwrap();
        self.stage(step);
    }

    pub(crate) fn stage(&mut self, step: Step) -> Vec<Effect> {
        let effects = self.peer.stage(step).unwrap().effects.after_commit();
        for effect in &effects {
            if let Effect::Deliver(arrival) = effect {
                self.inbox.push(arrival.letter.payload.clone());
            }
        }
        effects
    }

    pub(crate) fn begin(&mut self, other: &mut Self) {
        let step = other.peer.claim(self.peer.id(), 0, &[], NOW).unwrap();
        let bundle = other.stage(step).into_iter().find_map(|effect| match effect {
            Effect::Bundle { bundle, .. } => Some(bundle),
            _ => None,
        });
        let step = self.peer.begin(&Bundle::parse(&bundle.unwrap(), NOW).unwrap(), NOW, &mut self.rng).unwrap();
        self.stage(step);
    }

    /// Frames that the agent would send now.
    pub(crate) fn frames(&mut self, idle: bool) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(step) = self.peer.next(NOW, idle, &mut self.rng) {
            frames.extend(self.stage(step).into_iter().filter_map(|effect| match effect {
                Effect::Send { frame, .. } => Some(frame),
                _ => None,
            }));
        }
        frames
    }

    pub(crate) fn say(&mut self, to: &Self, text: &str) -> Vec<u8> {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        let letter = Letter::plain(LetterId::new(NOW, random), ContentType::TEXT, text.into());
        let step = self.peer.send(to.id(), &letter, NOW).unwrap();
        self.stage(step);
        let mut frames = self.frames(false);
        assert_eq!(frames.len(), 1, "one letter, one frame");
        frames.remove(0)
    }

    pub(crate) fn receive(&mut self, from: Option<AgentId>, frame: &[u8]) -> Result<(), Refusal> {
        let step = self.peer.receive(from, frame, NOW, &mut self.rng, &NothingSeen)?;
        self.stage(step);
        Ok(())
    }

    /// All that a refused frame may not move.
    pub(crate) fn state(&self) -> Vec<Vec<u8>> {
        let sessions = self.peer.sessions().map(|(session, _)| session.to_bytes());
        let rest = format!("{:?} {} {}", self.peer.counters(), self.peer.inbox_len(), self.peer.one_time_left());
        sessions.chain([rest.into_bytes()]).collect()
    }
}

/// Bob in mid-conversation, and frames for him that are on their way.
pub(crate) struct Scene {
    pub(crate) bob: Agent,
    pub(crate) alice: AgentId,
    pub(crate) stranger: AgentId,
    /// Sender, frame and the text in it; in an order in which all of them open.
    pub(crate) genuine: Vec<(AgentId, Vec<u8>, &'static str)>,
    /// Opened by Bob before.
    pub(crate) opened: Vec<Vec<u8>>,
    /// Sealed by Bob, for Alice.
    pub(crate) of_bob: Vec<Vec<u8>>,
    /// Between two others.
    pub(crate) of_others: Vec<Vec<u8>>,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        let [mut alice, mut bob, mut carol, mut dave] = [1, 2, 3, 4].map(|i| Agent::new(seed * 10 + i));
        for other in [&mut alice, &mut carol, &mut dave] {
            other.knows(&bob);
            bob.knows(other);
        }
        alice.knows(&carol);
        carol.knows(&alice);
        alice.begin(&mut bob);
        let mut opened = vec![alice.say(&bob, "first")];
        bob.receive(Some(alice.id()), &opened[0]).unwrap();
        let first_answer = bob.say(&alice, "answer");
        alice.receive(Some(bob.id()), &first_answer).unwrap();

        // A gap in Alice's chain, so that Bob keeps a skipped key; then his answer makes her turn.
        let [one, late, three, current] = ["one", "late", "three", "current"].map(|text| alice.say(&bob, text));
        for frame in [one, three] {
            bob.receive(None, &frame).unwrap();
            opened.push(frame);
        }
        let second_answer = bob.say(&alice, "again");
        alice.receive(None, &second_answer).unwrap();
        let ack = alice.frames(true).remove(0);
        let turning = alice.say(&bob, "turning");

        carol.begin(&mut bob);
        let carols = carol.say(&bob, "carol");
        bob.receive(Some(carol.id()), &carols).unwrap();
        opened.push(carols);
        let carols = carol.say(&bob, "carol again");
        dave.begin(&mut bob);
        let start = dave.say(&bob, "dave");
        alice.begin(&mut carol);
        let mut of_others = vec![alice.say(&carol, "start")];
        carol.receive(Some(alice.id()), &of_others[0]).unwrap();
        of_others.push(carol.say(&alice, "answer"));
        alice.receive(Some(carol.id()), &of_others[1]).unwrap();
        of_others.push(alice.say(&carol, "letter"));

        let (a, c, d) = (alice.id(), carol.id(), dave.id());
        let genuine = vec![
            (a, late, "late"),
            (a, current, "current"),
            (a, ack, ""),
            (a, turning, "turning"),
            (c, carols, "carol again"),
            (d, start, "dave"),
        ];
        Self {
            bob,
            alice: a,
            stranger: Agent::new(seed * 10 + 5).id(),
            genuine,
            opened,
            of_bob: vec![first_answer, second_answer],
            of_others,
        }
    }

    pub(crate) fn any(&self, rng: &mut TestRng) -> (AgentId, Vec<u8>) {
        let (from, frame, _) = &self.genuine[below(rng, self.genuine.len())];
        (*from, frame.clone())
    }

    pub(crate) fn refused(&mut self, kind: &'static str, from: Option<AgentId>, bytes: &[u8], tally: &mut Tally) {
        let before = self.bob.state();
        match self.bob.receive(from, bytes) {
            Err(refusal) => *tally.0.entry((kind, refusal.name())).or_default() += 1,
            Ok(()) => panic!("{kind}: taken: {}", data_encoding::HEXLOWER.encode(bytes)),
        }
        assert_eq!(self.bob.state(), before, "{kind}: moved something");
    }

    /// Every frame that was under way opens, each once.
    pub(crate) fn all_open(mut self) {
        self.bob.inbox.clear();
        for (from, frame, text) in self.genuine.clone() {
            assert_eq!(self.bob.receive(Some(from), &frame), Ok(()), "{text}");
        }
        // "three" waited for "late".
        assert_eq!(
            self.bob.inbox,
            ["late", "three", "current", "turning", "carol again", "dave"].map(|text| text.as_bytes().to_vec())
        );
    }
}

/// Refusals by kind of forgery and by their name.
#[derive(Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

pub(crate) fn below(rng: &mut TestRng, bound: usize) -> usize {
    usize::try_from(rng.next_u64()).unwrap() % bound
}

pub(crate) fn sealed(bytes: &[u8]) -> Sealed<'_> {
    match Frame::decode(bytes).unwrap() {
        Frame::Sealed(sealed) => sealed,
        Frame::Notice(_) => panic!("a notice"),
    }
}
