//! An agent by hand: its peer, its disk, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::error::Refusal;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Staged, Step};
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Genuine, Policy};

pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) struct Disk(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Seen for Disk {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        Some(self.0.contains_key(&rows::seen(from, letter)))
    }
}

pub(crate) struct Agent {
    pub(crate) peer: Peer,
    pub(crate) disk: Disk,
    pub(crate) rng: TestRng,
    pub(crate) now: UnixMillis,
    pub(crate) out: Vec<Vec<u8>>,
    pub(crate) inbox: Vec<String>,
    pub(crate) delivered: Vec<LetterId>,
    pub(crate) failed: Vec<(LetterId, u16)>,
    pub(crate) wants: Vec<AgentId>,
    /// What came with the letters of the inbox.
    pub(crate) tokens: Vec<Option<Arc<Genuine>>>,
    pub(crate) keys_wanted: usize,
    /// Letters that wait for a fresh token.
    pub(crate) over: Vec<LetterId>,
    /// Letters that were refused for their token and went again.
    pub(crate) again: Vec<LetterId>,
}

impl Agent {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (mut peer, staged) = Peer::create(Identity::generate(&mut rng).unwrap(), START, &mut rng);
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        let mut agent = Self {
            peer,
            disk: Disk(BTreeMap::new()),
            rng,
            now: START,
            out: vec![],
            inbox: vec![],
            delivered: vec![],
            failed: vec![],
            wants: vec![],
            tokens: vec![],
            keys_wanted: 0,
            over: vec![],
            again: vec![],
        };
        agent.commit(staged);
        agent
    }

    pub(crate) fn commit(&mut self, staged: Staged) {
        for op in staged.ops {
            match op {
                Op::Put { key, value } => drop(self.disk.0.insert(key, value)),
                Op::Delete { key } => drop(self.disk.0.remove(&key)),
            }
        }
        for effect in staged.effects.after_commit() {
            match effect {
                Effect::Send { frame, .. } => self.out.push(frame),
                Effect::Deliver(arrival) => {
                    self.inbox.push(String::from_utf8(arrival.letter.payload).unwrap());
                    self.tokens.push(arrival.token);
                }
                Effect::WantKey { .. } => self.keys_wanted += 1,
                Effect::TokenExpired { letter, .. } => self.over.push(letter),
                Effect::SealedAgain { letter, .. } => self.again.push(letter),
                Effect::Delivered { letter, .. } => self.delivered.push(letter),
                Effect::Failed { letter, code, .. } => self.failed.push((letter, code)),
                Effect::WantBundle { of } => self.wants.push(of),
                _ => {}
            }
        }
    }

    pub(crate) fn take(&mut self, step: Step) {
        let staged = self.peer.stage(step).unwrap();
        self.commit(staged);
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(step) = self.peer.next(self.now, true, &mut self.rng) else { return };
            self.take(step);
        }
        panic!("next never comes to rest");
    }

    pub(crate) fn know(&mut self, other: &Peer) {
        let info = ContactInfo { allowed: true, ..ContactInfo::default() };
        let step = self.peer.set_contact(other.id(), info).unwrap();
        self.take(step);
    }

    pub(crate) fn send(&mut self, to: AgentId, text: &str) -> LetterId {
        let letter = self.letter(text);
        self.post(to, &letter)
    }

    pub(crate) fn letter(&mut self, text: &str) -> Letter {
        let mut random = [0; 10];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut random);
        Letter::plain(LetterId::new(self.now, random), ContentType::TEXT, text.into())
    }

    pub(crate) fn post(&mut self, to: AgentId, letter: &Letter) -> LetterId {
        let step = self.peer.send(to, letter, self.now).unwrap();
        self.take(step);
        letter.id
    }

    pub(crate) fn receive(&mut self, from: AgentId, frame: &[u8]) -> Result<(), Refusal> {
        match self.peer.receive(Some(from), frame, self.now, &mut self.rng, &self.disk) {
            Ok(step) => {
                self.take(step);
                Ok(())
            }
            Err(refusal) => {
                if let Some(step) = self.peer.ack_again(&refusal, frame, &mut self.rng) {
                    self.take(step);
                }
                if let Some(notice) = Peer::notice_for(&refusal) {
                    self.out.push(notice);
                }
                Err(refusal)
            }
        }
    }

    pub(crate) fn records(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.disk.0.iter().filter(|(key, _)| Peer::loads(key[0])).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    pub(crate) fn restart(&mut self) {
        self.peer = Peer::load(&self.records(), self.now).unwrap();
        self.peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        self.out.clear();
        self.wants.clear();
    }
}

/// Gives one the bundle of two, as often as it was asked for.
pub(crate) fn answer_claims(one: &mut Agent, two: &mut Agent) {
    for _ in core::mem::take(&mut one.wants) {
        let step = two.peer.claim(one.peer.id(), 7, &[], two.now).unwrap();
        let staged = two.peer.stage(step).unwrap();
        for op in staged.ops {
            if let Op::Put { key, value } = op {
                two.disk.0.insert(key, value);
            }
        }
        for effect in staged.effects.after_commit() {
            if let Effect::Bundle { bundle, .. } = effect {
                let bundle = Bundle::parse(&bundle, one.now).unwrap();
                assert!(bundle.one_time.is_some());
                if let Ok(step) = one.peer.begin(&bundle, one.now, &mut one.rng) {
                    one.take(step);
                }
            }
        }
    }
}

/// Carries everything both ways until nothing moves.
pub(crate) fn settle(a: &mut Agent, b: &mut Agent) {
    for _ in 0..200 {
        a.run();
        b.run();
        for (from, to) in [(true, false), (false, true)].map(|(x, _)| if x { (0, 1) } else { (1, 0) }) {
            let (one, two) = if from < to { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
            answer_claims(one, two);
            one.run();
            let from = one.peer.id();
            for frame in core::mem::take(&mut one.out) {
                let _ = two.receive(from, &frame);
            }
        }
        if a.out.is_empty() && b.out.is_empty() && a.wants.is_empty() && b.wants.is_empty() {
            let (x, y) =
                (a.peer.next(a.now, true, &mut a.rng).is_none(), b.peer.next(b.now, true, &mut b.rng).is_none());
            if x && y {
                return;
            }
        }
    }
    panic!("the conversation never comes to rest");
}

pub(crate) fn pair() -> (Agent, Agent) {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    a.know(&b.peer);
    b.know(&a.peer);
    (a, b)
}

pub(crate) fn later(ms: u64, agents: [&mut Agent; 2]) {
    agents.into_iter().for_each(|agent| agent.now = agent.now.plus(ms));
}
