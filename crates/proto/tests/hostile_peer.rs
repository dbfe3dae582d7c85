//! A peer that holds genuine keys and means harm: what it seals is authentic, and still allowed nothing that it should not be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_contracts::registry::{extension, limit, time};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::frame::{Frame, Notice};
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::{LetterId, Seq};
use nuncio_proto::letter::{Extension, Letter};
use nuncio_proto::rows;
use nuncio_proto::session::Session;
use nuncio_proto::step::Op;
use nuncio_proto::time::UnixMillis;

use agent::{Agent, START, later, pair, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;

/// Two that have talked.
fn talked() -> (Agent, Agent) {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "first");
    settle(&mut a, &mut b);
    b.send(ida, "answer");
    settle(&mut a, &mut b);
    (a, b)
}

/// The hostile side: a's session in hands that seal what they like.
struct Hostile {
    session: Session,
    sealed: u64,
}

impl Hostile {
    fn of(a: &Agent) -> Self {
        let session = a.peer.sessions().find(|(_, current)| *current).unwrap().0.clone();
        Self { session, sealed: 0 }
    }

    fn seal(&mut self, letter: &Letter) -> (Seq, Vec<u8>) {
        self.sealed += 1;
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.sealed.to_be_bytes());
        let mut sealing = self.session.seal(letter.encode(), nonce).unwrap();
        let (seq, frame) = (sealing.seq, core::mem::take(&mut sealing.frame));
        self.session.accept_sealed(sealing, self.sealed);
        (seq, frame)
    }
}

fn plain(made: UnixMillis, number: u64, text: &str) -> Letter {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    Letter::plain(LetterId::new(made, random), ContentType::TEXT, text.into())
}

#[test]
fn one_letter_under_two_numbers_is_delivered_once() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let (first, twice) = (plain(START, 1, "first of three"), plain(START, 2, "twice"));
    let frames: Vec<_> =
        [&first, &twice, &plain(START, 3, "between"), &twice].into_iter().map(|letter| hostile.seal(letter)).collect();
    for at in [1, 3, 0] {
        b.receive(ida, &frames[at].1).unwrap();
    }
    hostile.session.give_up(frames[0].0);
    hostile.session.give_up(frames[1].0);
    // Its floor lets b forget the ids below; then the second copy is next.
    let (_, last) = hostile.seal(&plain(START, 4, "last"));
    b.receive(ida, &last).unwrap();
    b.receive(ida, &frames[2].1).unwrap();
    assert_eq!(b.inbox.iter().filter(|text| *text == "twice").count(), 1, "{:?}", b.inbox);
}

#[test]
fn refusals_have_a_bound_and_cost_other_peers_nothing() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let other = Agent::new(3);
    b.know(&other.peer);
    let long_ago = UnixMillis(START.0 - 30 * 86_400_000);
    let refused = (0..600).filter(|number| {
        let (seq, frame) = hostile.seal(&plain(long_ago, *number, "too old"));
        hostile.session.give_up(seq);
        b.receive(ida, &frame).is_err_and(|refusal| refusal.name() == "too_many_refusals")
    });
    assert!(refused.count() > 300);
    let outbox = b.disk.0.keys().filter(|key| key[0] == rows::OUTBOX).count();
    assert!(outbox <= limit::REFUSALS_MAX, "{outbox} rows");
    assert!(b.peer.send(other.peer.id(), &plain(START, 1, "to somebody else"), START).is_ok());
}

#[test]
fn one_that_claims_without_end_has_a_bounded_number_of_prekeys_made() {
    let mut b = Agent::new(2);
    let kept = |b: &Agent| b.disk.0.keys().filter(|key| key[0] == rows::ONE_TIME).count();
    let claim = |b: &mut Agent, request| {
        let staged = b.peer.stage(b.peer.claim(request, &[], b.now).unwrap()).unwrap();
        let [Op::Put { key, value }] = &staged.ops[..] else { return false };
        b.disk.0.insert(key.clone(), value.clone());
        b.run();
        true
    };
    let most = limit::ONE_TIME_MAX + usize::from(limit::ONE_TIME_BATCH);
    let given = (0..10_000).take_while(|request| claim(&mut b, *request)).count();
    let unused = usize::from(limit::ONE_TIME_BATCH) + limit::ONE_TIME_LOW;
    assert!(given >= limit::ONE_TIME_MAX - unused, "honest claimers get theirs: {given}");
    assert!(kept(&b) <= most, "{} prekeys kept", kept(&b));
    // A bundle without one is given all the same, and once they are over there are fresh ones.
    assert!(!claim(&mut b, 0));
    later(time::SIGNED_PREKEY_LIFE + time::SIGNED_PREKEY_GRACE + 1, [&mut b, &mut Agent::new(1)]);
    b.run();
    assert!(claim(&mut b, 1));
    assert_eq!(kept(&b), usize::from(limit::ONE_TIME_BATCH));
}

#[test]
fn a_handle_that_is_none_is_refused() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    for (number, value) in [vec![1; 16_000], vec![], vec![0xff; 60]].into_iter().enumerate() {
        let mut letter = plain(START, u64::try_from(number).unwrap(), "");
        letter.extensions.push(Extension { number: extension::LARGE_PAYLOAD, critical: true, value });
        let (_, frame) = hostile.seal(&letter);
        b.receive(ida, &frame).unwrap();
    }
    assert_eq!(b.inbox, ["first"]);
}

#[test]
fn nothing_is_taken_from_a_retired_agent_and_nothing_sent_to_it() {
    let (mut a, mut b) = talked();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    let letter = b.send(ida, "on its way");
    let statement = Retirement::sign(a.peer.identity(), None, START);
    let (_, step) = b.peer.retire(statement, START).unwrap();
    b.take(step);
    assert!(b.failed.iter().any(|(failed, _)| *failed == letter), "its sender is told");
    b.out.clear();
    b.run();
    assert!(b.out.is_empty(), "nothing is sent to it");
    a.send(idb, "from the retired");
    a.run();
    for frame in core::mem::take(&mut a.out) {
        assert!(b.receive(ida, &frame).is_err());
    }
    assert_eq!(b.inbox, ["first"]);
    assert!(b.peer.sessions().next().is_none());
}

#[test]
fn a_session_that_was_replaced_stays_over_though_its_successor_is_lost_too() {
    let (mut a, mut b) = talked();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "0");
    a.run();
    let late = core::mem::take(&mut a.out);
    let given_up: Vec<_> = a.peer.outbox().map(|(_, id, _)| id).collect();
    for letter in given_up {
        let step = a.peer.cancel(idb, letter).unwrap();
        a.take(step);
    }
    a.run();
    a.out.clear();
    tell_lost(&mut a, idb, &late[0]);
    later(100_000, [&mut a, &mut b]);
    a.send(idb, "2");
    settle(&mut a, &mut b);
    b.send(ida, "x");
    b.run();
    let own = b.out[0].clone();
    b.out.clear();
    tell_lost(&mut b, ida, &own);
    assert_eq!(b.receive(ida, &late[0]).unwrap_err().name(), "out_of_step");
    assert_eq!(b.inbox, ["first", "2"]);
}

/// The peer says that it knows no session of this frame.
fn tell_lost(agent: &mut Agent, by: nuncio_proto::ids::AgentId, frame: &[u8]) {
    let Ok(Frame::Sealed(frame)) = Frame::decode(frame) else { panic!("a sealed frame") };
    let notice = Notice { tag: frame.tag, code: nuncio_contracts::registry::code::UNKNOWN_TAG };
    agent.receive(by, &notice.encode()).unwrap();
}
