//! Sessions that are renewed from inside.

use nuncio_contracts::registry::time;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;

use super::agent::{Agent, later, pair, settle};
use super::rows_of;

#[test]
fn a_session_is_rekeyed_when_it_is_old() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "0");
    b.send(ida, "0");
    settle(&mut a, &mut b);
    let before: Vec<_> = a.peer.sessions().map(|(s, _)| s.id()).collect();
    later(90_000_000, [&mut a, &mut b]);
    for i in 1..6 {
        a.send(idb, &i.to_string());
        b.send(ida, &i.to_string());
        settle(&mut a, &mut b);
        later(10_000, [&mut a, &mut b]);
    }
    let current: Vec<_> = a.peer.sessions().filter(|(_, current)| *current).map(|(s, _)| s.id()).collect();
    assert_eq!(current.len(), 1);
    assert!(!before.contains(&current[0]), "a new session");
    assert!(a.peer.counters().rekeys >= 1 && b.peer.counters().rekeys >= 1);
    for agent in [&a, &b] {
        assert_eq!(agent.inbox, (0..6).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}

/// Two with an old session, its leader first, who has just made an offer.
fn offered() -> (Agent, Agent, Vec<Vec<u8>>) {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "0");
    b.send(ida, "0");
    settle(&mut a, &mut b);
    let (mut leader, mut follower) = if ida < idb { (a, b) } else { (b, a) };
    later(time::REKEY_AGE + 1, [&mut leader, &mut follower]);
    follower.send(leader.peer.id(), "1");
    follower.run();
    for frame in core::mem::take(&mut follower.out) {
        leader.receive(follower.peer.id(), &frame).unwrap();
    }
    leader.run();
    assert_eq!(rows_of(&leader, rows::RENEWAL), 1);
    let offer = core::mem::take(&mut leader.out);
    (leader, follower, offer)
}

#[test]
fn an_offer_that_was_dropped_is_made_again() {
    let (mut leader, mut follower, offer) = offered();
    for frame in offer {
        follower.receive(leader.peer.id(), &frame).unwrap();
    }
    // It has the offer on disk and will not answer.
    follower.disk.0.retain(|key, _| key[0] != rows::RENEWAL);
    follower.restart();
    let pause = time::REKEY_PATIENCE / 4;
    for i in 0..3 {
        later(pause, [&mut leader, &mut follower]);
        leader.send(follower.peer.id(), &i.to_string());
        settle(&mut leader, &mut follower);
        leader.restart();
    }
    assert_eq!((leader.peer.counters().rekeys, rows_of(&leader, rows::OUTBOX)), (0, 0), "acknowledged, not answered");
    assert!(leader.peer.next_wake() <= leader.now.plus(pause), "and not forgotten");
    later(pause, [&mut leader, &mut follower]);
    settle(&mut leader, &mut follower);
    assert_eq!((leader.peer.counters().rekeys, follower.peer.counters().rekeys), (1, 1));
}

#[test]
fn an_offer_that_was_dropped_is_made_again_soon_though_the_clock_was_put_back() {
    let (mut leader, mut follower, offer) = offered();
    for frame in offer {
        follower.receive(leader.peer.id(), &frame).unwrap();
    }
    follower.disk.0.retain(|key, _| key[0] != rows::RENEWAL);
    follower.restart();
    later(time::REKEY_PATIENCE / 4, [&mut leader, &mut follower]);
    leader.send(follower.peer.id(), "1");
    settle(&mut leader, &mut follower);
    assert_eq!((leader.peer.counters().rekeys, rows_of(&leader, rows::OUTBOX)), (0, 0), "acknowledged, not answered");
    leader.now = UnixMillis(leader.now.0 - time::REKEY_PATIENCE);
    settle(&mut leader, &mut follower);
    assert_eq!((leader.peer.counters().rekeys, follower.peer.counters().rekeys), (1, 1));
}

#[test]
fn an_offer_on_its_way_is_not_made_twice() {
    let (mut leader, mut follower, _) = offered();
    for _ in 0..5 {
        later(time::REKEY_PATIENCE + 1, [&mut leader, &mut follower]);
        leader.run();
        assert_eq!(rows_of(&leader, rows::OUTBOX), 1);
    }
    settle(&mut leader, &mut follower);
    assert_eq!((leader.peer.counters().rekeys, follower.peer.counters().rekeys), (1, 1));
}

#[test]
fn an_answer_that_comes_after_the_offer_was_made_again_counts() {
    let (mut leader, mut follower, offer) = offered();
    for frame in offer {
        follower.receive(leader.peer.id(), &frame).unwrap();
    }
    follower.run();
    let handshakes = (leader.peer.counters().handshakes, follower.peer.counters().handshakes);
    let answers = core::mem::take(&mut follower.out);
    later(time::REKEY_PATIENCE, [&mut leader, &mut follower]);
    leader.run();
    for frame in answers {
        leader.receive(follower.peer.id(), &frame).unwrap();
    }
    settle(&mut leader, &mut follower);
    assert_eq!((leader.peer.counters().rekeys, follower.peer.counters().rekeys), (1, 1));
    let begun = |agent: &Agent| agent.peer.counters().handshakes;
    assert_eq!((begun(&leader), begun(&follower)), handshakes, "neither has a session that the other does not know");
    let current = |agent: &Agent| agent.peer.sessions().find(|(_, current)| *current).map(|(session, _)| session.id());
    assert_eq!(current(&leader), current(&follower));
    leader.send(follower.peer.id(), "after");
    settle(&mut leader, &mut follower);
    assert_eq!(follower.inbox, ["0", "after"]);
}
