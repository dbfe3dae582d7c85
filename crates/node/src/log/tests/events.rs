//! Events of agents, as a log takes them.

use nuncio_contracts::registry::{event, time};
use nuncio_proto::audit::{Chain, ChainError, Event, SignedEvent, What};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;

use super::Home;
use crate::log::{Answer, Events, LogError, NotTaken};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// An agent that tells what it does.
pub(super) struct Teller {
    signer: SigningKey,
    pub(super) chain: Chain,
}

impl Teller {
    pub(super) fn new(seed: u8) -> Self {
        Self { signer: SigningKey::from_seed(&[seed; 32]), chain: Chain::default() }
    }

    pub(super) fn event(&self) -> Event {
        let agent = AgentId::from_bytes(self.signer.public()).unwrap();
        let mut event = Event::new(agent, NOW, What::of(event::HEARTBEAT).unwrap());
        self.chain.number(&mut event, NOW.0);
        event
    }

    pub(super) fn sign(&self, event: Event) -> SignedEvent {
        SignedEvent::sign(event, &self.signer).unwrap()
    }

    pub(super) fn tell(&mut self) -> SignedEvent {
        let signed = self.sign(self.event());
        self.chain.follow(&signed);
        signed
    }

    pub(super) fn tell_many(&mut self, count: usize) -> Vec<SignedEvent> {
        (0..count).map(|_| self.tell()).collect()
    }
}

pub(super) fn open(home: &Home) -> Events {
    Events::open(home.open()).unwrap()
}

fn logged(answers: &[Answer]) -> Vec<u64> {
    answers
        .iter()
        .map(|answer| if let Answer::Logged(index) = answer { *index } else { panic!("{answer:?}") })
        .collect()
}

pub(super) fn take(events: &mut Events, come: &[SignedEvent]) -> Vec<Answer> {
    events.take(come, NOW).unwrap()
}

#[test]
fn events_are_logged_once_in_their_order_and_keep_their_index_through_restarts() {
    let home = Home::new();
    let (mut a, mut b) = (Teller::new(1), Teller::new(2));
    let mut all = Vec::new();
    for _ in 0..150 {
        all.extend(a.tell_many(2));
        all.push(b.tell());
    }
    let mut events = open(&home);
    for part in all.chunks(70) {
        take(&mut events, part);
    }
    drop(events);
    let mut events = open(&home);
    assert_eq!(events.log().size(), 450);
    assert_eq!(events.chain(&a.event().agent), a.chain);
    assert_eq!(logged(&take(&mut events, &all)), (0..450).collect::<Vec<_>>(), "all of them again");
    assert_eq!(logged(&take(&mut events, &[a.tell(), b.tell()])), [450, 451]);
    assert_eq!(events.log().size(), 452);
    for (index, event) in (0..).zip(&all) {
        assert_eq!(events.log().view().entry(index).unwrap(), event.as_bytes());
    }
}

#[test]
fn a_missing_event_is_waited_for() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(4);
    let mut events = open(&home);
    let come: Vec<_> = [0, 2, 1, 1, 2, 3].map(|at: usize| told[at].clone()).into();
    let gap = Answer::NotTaken(NotTaken::Chain(ChainError::Gap { expected: 1, found: 2 }));
    let answers = take(&mut events, &come);
    assert_eq!(answers[1], gap);
    assert_eq!(logged(&[&answers[..1], &answers[2..]].concat()), [0, 1, 1, 2, 3]);
}

#[test]
fn who_tells_two_stories_is_in_the_log_with_both() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(3);
    let other = a.sign(Event { at: UnixMillis(NOW.0 - 1), ..told[1].event().clone() });
    let elsewhere = a.sign(Event { prev: [9; 32], ..a.event() });
    let mut events = open(&home);
    assert_eq!(logged(&take(&mut events, &told)), [0, 1, 2]);
    let story = |index| Answer::NotTaken(NotTaken::OtherStory(index));
    let come = [other.clone(), other.clone(), elsewhere.clone()];
    assert_eq!(take(&mut events, &come), [story(3), story(3), story(4)]);
    assert_eq!(take(&mut events, &come), [story(3), story(3), story(4)], "evidence is kept once");
    drop(events);
    let mut events = open(&home);
    assert_eq!(take(&mut events, &[elsewhere]), [story(4)]);
    assert_eq!(events.log().view().entry(3).unwrap(), other.as_bytes());
    assert_eq!(logged(&take(&mut events, &[a.tell()])), [5], "its chain goes on");
    assert_eq!(take(&mut events, &come), [story(3), story(3), story(4)], "what was evidence stays evidence");
    assert_eq!(logged(&take(&mut events, &told)), [0, 1, 2]);
    // A third story under a number proves nothing more.
    let third = a.sign(Event { at: UnixMillis(NOW.0 - 2), ..told[1].event().clone() });
    assert_eq!(take(&mut events, &[third]), [story(3)]);
    assert_eq!(events.log().size(), 6);
    // Both stories in one batch.
    let mut b = Teller::new(2);
    let first = b.tell();
    let second = b.sign(Event { at: UnixMillis(NOW.0 - 1), ..first.event().clone() });
    assert_eq!(take(&mut events, &[first.clone(), second, first]), [Answer::Logged(6), story(7), Answer::Logged(6)]);
}

#[test]
fn an_agent_that_counts_anew_begins_at_nothing_and_its_past_is_over() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(2);
    let mut events = open(&home);
    take(&mut events, &told[..1]);
    let mut anew = Teller::new(1);
    let mut event = anew.event();
    event.epoch = NOW.0 + 1;
    let first = anew.sign(event);
    anew.chain.follow(&first);
    assert_eq!(logged(&take(&mut events, &[first, anew.tell()])), [1, 2]);
    let past = Answer::NotTaken(NotTaken::Chain(ChainError::Past(NOW.0)));
    assert_eq!(take(&mut events, &told), [Answer::Logged(0), past], "what is logged is found, and nothing is added");
    // Another story of a count that is over is a story all the same.
    let other = a.sign(Event { at: UnixMillis(NOW.0 - 1), ..told[0].event().clone() });
    assert_eq!(take(&mut events, &[other]), [Answer::NotTaken(NotTaken::OtherStory(3))]);
}

#[test]
fn an_event_is_found_behind_evidence_of_its_agents_next_count() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(2);
    let ahead = a.sign(Event { epoch: NOW.0 + 1, seq: 0, prev: [9; 32], ..told[0].event().clone() });
    let mut events = open(&home);
    take(&mut events, &[told[0].clone(), ahead, told[1].clone()]);
    assert_eq!(logged(&take(&mut events, &told)), [0, 2]);
    assert_eq!(events.log().size(), 3);
}

#[test]
fn a_damaged_entry_is_no_other_story() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(300);
    let mut events = open(&home);
    take(&mut events, &told);
    let bundle = home.folder().join("tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let len = told[0].as_bytes().len() + 2;
    bytes[len - 1] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    assert!(matches!(events.take(&told[..1], NOW), Err(LogError::Damaged(entry)) if entry == "entry 0"));
    assert_eq!(logged(&take(&mut events, &told[1..2])), [1]);
    assert_eq!(events.log().size(), 300);
}

#[test]
fn an_event_of_the_future_waits() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let event = a.tell();
    let mut events = open(&home);
    let early = |ms: u64| UnixMillis(NOW.0 - time::CLOCK_SKEW - ms);
    let come = std::slice::from_ref(&event);
    assert_eq!(events.take(come, early(1)).unwrap(), [Answer::NotTaken(NotTaken::Future)]);
    assert_eq!(events.log().size(), 0);
    assert_eq!(events.take(come, early(0)).unwrap(), [Answer::Logged(0)]);
    assert_eq!(events.take(come, early(1)).unwrap(), [Answer::Logged(0)], "it is logged, whatever the clock says");
    let far = Teller::new(2);
    let far = far.sign(Event { epoch: u64::MAX, ..far.event() });
    assert_eq!(
        events.take(&[far], NOW).unwrap(),
        [Answer::NotTaken(NotTaken::Future)],
        "a count that nobody could begin after"
    );
}

/// Nor is it kept as evidence before its time has come.
#[test]
fn an_event_of_the_future_waits_whatever_it_follows() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let mut events = open(&home);
    take(&mut events, &[a.tell()]);
    let second = a.sign(Event { prev: [9; 32], ..a.event() });
    let early = UnixMillis(NOW.0 - time::CLOCK_SKEW - 1);
    assert_eq!(events.take(std::slice::from_ref(&second), early).unwrap(), [Answer::NotTaken(NotTaken::Future)]);
    assert!(matches!(take(&mut events, &[second])[..], [Answer::NotTaken(NotTaken::OtherStory(1))]));
}

#[test]
fn what_must_all_be_logged_is_logged_with_its_rows_or_not_at_all() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let mut events = open(&home);
    let first = a.tell();
    let twice = a.sign(Event { seq: 9, ..a.event() });
    let row = |value: u8| vec![nuncio_store::Op::Put { key: b"Qx".to_vec(), value: vec![value] }];
    let there = |events: &Events| nuncio_store::Engine::get(&*events.log().store, b"Qx").unwrap();
    assert!(matches!(events.take_all(&[first.clone(), twice], NOW, row(1)), Err(LogError::Own(_))));
    assert_eq!((events.log().size(), there(&events)), (0, None));
    events.take_all(&[first], NOW, row(2)).unwrap();
    assert_eq!((events.log().size(), there(&events)), (1, Some(vec![2])));
}

#[test]
fn a_damaged_chain_is_refused() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let mut events = open(&home);
    take(&mut events, &[a.tell()]);
    let row = nuncio_store::Op::Put { key: crate::rows::chain(&a.event().agent), value: vec![0] };
    nuncio_store::Engine::commit(&*events.log().store, &[row]).unwrap();
    drop(events);
    assert!(matches!(Events::open(home.open()), Err(LogError::Row)));
}
