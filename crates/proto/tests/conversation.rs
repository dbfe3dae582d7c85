//! Two agents by hand: first letter, answers, loss, restarts from records, simultaneous starts, re-keys, lost and restored stores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::Peer;
use nuncio_proto::rows;
use nuncio_proto::testing::rng;

use agent::{Agent, Disk, START, answer_claims, later, pair, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;
#[path = "conversation/refusals.rs"]
mod refusals;
#[path = "conversation/rekeys.rs"]
mod rekeys;

#[test]
fn letters_go_both_ways_once_and_in_order() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    for round in 0..20 {
        let sent = a.send(idb, &format!("a{round}"));
        settle(&mut a, &mut b);
        assert!(a.delivered.contains(&sent));
        b.send(ida, &format!("b{round}"));
        settle(&mut a, &mut b);
    }
    assert_eq!(b.inbox, (0..20).map(|i| format!("a{i}")).collect::<Vec<_>>());
    assert_eq!(a.inbox, (0..20).map(|i| format!("b{i}")).collect::<Vec<_>>());
    assert!(a.peer.counters().turns >= 19, "each answer turns the ratchet: {:?}", a.peer.counters());
    assert_eq!(a.peer.sessions().count(), 1);
    assert!(a.peer.outbox().next().is_none());
}

#[test]
fn a_restart_at_any_moment_loses_and_doubles_nothing() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    for i in 0..30 {
        a.send(idb, &format!("{i}"));
        a.run();
        if i % 3 == 0 {
            a.restart();
        }
        if i % 4 == 0 {
            b.restart();
        }
        if i % 5 == 0 {
            settle(&mut a, &mut b);
        }
    }
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, (0..30).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(a.delivered.len(), 30);
}

#[test]
fn simultaneous_starts_leave_one_session_and_every_letter() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    for i in 0..5 {
        a.send(idb, &format!("a{i}"));
        b.send(ida, &format!("b{i}"));
    }
    settle(&mut a, &mut b);
    later(100_000, [&mut a, &mut b]);
    a.send(idb, "a5");
    b.send(ida, "b5");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, (0..6).map(|i| format!("a{i}")).collect::<Vec<_>>());
    assert_eq!(a.inbox, (0..6).map(|i| format!("b{i}")).collect::<Vec<_>>());
    let current =
        |agent: &Agent| agent.peer.sessions().filter(|(_, current)| *current).map(|(s, _)| s.id()).collect::<Vec<_>>();
    assert_eq!(current(&a), current(&b));
    assert_eq!(current(&a).len(), 1);
}

#[test]
fn a_lost_store_is_met_with_a_new_session() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    a.send(idb, "before");
    settle(&mut a, &mut b);
    // Bob keeps his identity, prekeys and contacts, and loses every session.
    let session_rows = [rows::SESSION, rows::SKIPPED, rows::HELD, rows::GIVEN_UP, rows::RENEWAL];
    b.disk.0.retain(|key, _| !session_rows.contains(&key[0]));
    b.restart();
    later(100_000, [&mut a, &mut b]);
    a.send(idb, "after");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["before", "after"]);
    assert_eq!(a.delivered.len(), 2);
}

/// contracts/ratchet.md R12.
#[test]
fn a_sender_keeps_to_the_window_and_leaves_its_reserve_free() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    a.send(idb, "first");
    settle(&mut a, &mut b);
    for i in 0..=limit::WINDOW {
        a.send(idb, &i.to_string());
    }
    a.run();
    let sealed = a.peer.outbox().filter(|(_, _, sealed)| *sealed).count();
    assert_eq!(sealed, usize::try_from(limit::WINDOW - limit::CONTROL_RESERVE).unwrap());
    settle(&mut a, &mut b);
    assert!(b.inbox.iter().skip(1).eq(&(0..=limit::WINDOW).map(|i| i.to_string()).collect::<Vec<_>>()));
}

#[test]
fn a_session_that_waits_to_be_confirmed_waits_through_a_restart() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "before");
    settle(&mut a, &mut b);
    b.disk.0.retain(|key, _| key[0] != rows::SESSION);
    b.restart();
    b.send(ida, "after");
    b.run();
    answer_claims(&mut b, &mut a);
    b.run();
    a.receive(idb, &b.out[0]).unwrap();
    let places =
        |agent: &Agent| agent.peer.sessions().map(|(s, current)| (s.id(), current)).collect::<BTreeMap<_, _>>();
    let waiting = places(&a);
    assert_eq!(waiting.values().filter(|current| **current).count(), 1);
    assert_eq!(waiting.len(), 2);
    a.restart();
    assert_eq!(places(&a), waiting);
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!(a.inbox, ["after"]);
    assert_eq!(places(&a).into_iter().find(|(_, current)| *current), places(&b).into_iter().next());
}

#[test]
fn a_restored_sender_reuses_nothing_and_loses_nothing_silently() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "1");
    settle(&mut a, &mut b);
    let backup = a.disk.0.clone();
    for text in ["2", "3"] {
        a.send(idb, text);
        settle(&mut a, &mut b);
    }
    a.disk.0 = backup;
    a.restart();
    a.send(idb, "4");
    a.send(idb, "5");
    a.send(idb, "6");
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    // Order holds within a session; a number of the old one that was free may be taken before the loss is seen.
    b.inbox.sort();
    assert_eq!(b.inbox, ["1", "2", "3", "4", "5", "6"], "each once");
    assert!(a.peer.outbox().next().is_none());
    b.send(ida, "answer");
    settle(&mut a, &mut b);
    assert_eq!(a.inbox, ["answer"]);
}

#[test]
fn a_restored_receiver_is_served_again() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "1");
    settle(&mut a, &mut b);
    let backup = b.disk.0.clone();
    b.send(ida, "turn");
    settle(&mut a, &mut b);
    a.send(idb, "2");
    settle(&mut a, &mut b);
    b.disk.0 = backup;
    b.restart();
    later(100_000, [&mut a, &mut b]);
    a.send(idb, "3");
    settle(&mut a, &mut b);
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox.last().unwrap(), "3");
    assert!(a.peer.outbox().next().is_none());
}

#[test]
fn an_expired_letter_leaves_no_hole() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    a.send(idb, "0");
    settle(&mut a, &mut b);
    let mut random = [9; 10];
    random[9] = 1;
    let mut letter = Letter::plain(LetterId::new(a.now, random), ContentType::TEXT, b"expires".to_vec());
    letter.deadline = Some(a.now.plus(1_000));
    let step = a.peer.send(idb, &letter, a.now).unwrap();
    a.take(step);
    a.run();
    a.out.clear();
    a.send(idb, "after");
    a.run();
    let frames = core::mem::take(&mut a.out);
    for frame in frames {
        b.receive(a.peer.id(), &frame).unwrap();
    }
    assert_eq!(b.inbox, ["0"], "held back");
    a.now = a.now.plus(2_000);
    a.run();
    assert_eq!(a.failed.len(), 1);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["0", "after"]);
    assert_eq!(a.delivered.len(), 2);
}

fn rows_of(agent: &Agent, tree: u8) -> usize {
    agent.disk.0.keys().filter(|key| key[0] == tree).count()
}

#[test]
fn an_idle_session_takes_less_than_a_kibibyte() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "x");
    b.send(ida, "y");
    settle(&mut a, &mut b);
    for (session, _) in a.peer.sessions() {
        assert!(session.to_bytes().len() < 900, "{}", session.to_bytes().len());
    }
}

/// Letters that expire before any frame of theirs arrives leave a gap; however long, the next letter crosses it.
#[test]
fn a_long_gap_of_expired_letters_does_not_end_the_session() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "first");
    settle(&mut a, &mut b);
    b.send(ida, "answer");
    settle(&mut a, &mut b);
    for burst in 0..3 {
        for i in 0..400 {
            let mut random = [0; 10];
            rand_core::Rng::fill_bytes(&mut a.rng, &mut random);
            let mut letter =
                Letter::plain(LetterId::new(a.now, random), ContentType::TEXT, format!("{burst} {i}").into_bytes());
            letter.deadline = Some(a.now.plus(100));
            let step = a.peer.send(idb, &letter, a.now).unwrap();
            a.take(step);
        }
        a.run();
        a.out.clear(); // all lost
        later(3_600_000, [&mut a, &mut b]);
        a.run();
        settle(&mut a, &mut b);
    }
    assert_eq!(a.failed.len(), 1_200);
    let sent = a.send(idb, "after the gap");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox.last().map(String::as_str), Some("after the gap"));
    assert!(a.delivered.contains(&sent));
}

/// Two that have talked, and the frames that a makes of two letters.
fn two_frames() -> (Agent, Agent, Vec<Vec<u8>>) {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "first");
    settle(&mut a, &mut b);
    b.send(ida, "answer");
    settle(&mut a, &mut b);
    a.send(idb, "0");
    a.send(idb, "1");
    a.run();
    let frames = core::mem::take(&mut a.out);
    (a, b, frames)
}

#[test]
fn a_frame_of_an_old_chain_is_acknowledged_again() {
    let (mut a, mut b, frames) = two_frames();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    b.receive(ida, &frames[1]).unwrap();
    b.send(ida, "turn");
    b.run();
    for frame in core::mem::take(&mut b.out) {
        a.receive(idb, &frame).unwrap();
    }
    a.send(idb, "2");
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(ida, &frame).unwrap();
    }
    b.receive(ida, &frames[0]).unwrap();
    b.run();
    b.out.clear(); // The acknowledgement is lost, so frame 0 comes again: of a chain that is over, and lacks nothing.
    let refusal = b.receive(ida, &frames[0]).unwrap_err();
    assert_eq!(refusal.name(), "replayed");
    assert_eq!(b.out.len(), 1, "acknowledged again");
    settle(&mut a, &mut b);
    assert_eq!((a.delivered.len(), a.peer.sessions().count()), (4, 1));
}

#[test]
fn a_letter_held_in_two_sessions_is_delivered_once_from_the_first_that_can() {
    let (mut a, mut b, old) = two_frames();
    let ida = a.peer.id();
    // A hint that the session is lost: both letters are sealed again in a new one.
    let tag = match nuncio_proto::frame::Frame::decode(&old[1]).unwrap() {
        nuncio_proto::frame::Frame::Sealed(frame) => frame.tag,
        other => panic!("{other:?}"),
    };
    let notice = nuncio_proto::frame::Notice { tag, code: nuncio_contracts::registry::code::UNKNOWN_TAG };
    a.receive(b.peer.id(), &notice.encode()).unwrap();
    later(100_000, [&mut a, &mut b]);
    a.run();
    answer_claims(&mut a, &mut b);
    a.run();
    let new = core::mem::take(&mut a.out);
    b.receive(ida, &new[1]).unwrap();
    b.receive(ida, &old[1]).unwrap(); // Held in both, and its predecessor in neither.
    b.receive(ida, &new[0]).unwrap();
    assert_eq!(b.inbox, ["first", "0", "1"]);
    b.receive(ida, &old[0]).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "0", "1"]);
    assert_eq!(a.delivered.len(), 3);
}

#[test]
fn a_letter_that_the_bitmap_showed_is_settled_though_acknowledgements_are_lost() {
    let (mut a, mut b, frames) = two_frames();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    b.receive(ida, &frames[1]).unwrap();
    b.run();
    for frame in core::mem::take(&mut b.out) {
        a.receive(idb, &frame).unwrap();
    }
    let first = a.peer.outbox().next().unwrap().1;
    let step = a.peer.cancel(idb, first).unwrap();
    a.take(step);
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(ida, &frame).ok();
    }
    assert_eq!(b.inbox, ["first", "1"], "the floor passes what was given up");
    b.run();
    b.out.clear();
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert!(a.peer.outbox().next().is_none());
}

#[test]
fn a_number_of_the_inbox_is_not_used_again_after_a_restart() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    a.send(idb, "0");
    settle(&mut a, &mut b);
    let no = b.peer.inbox_numbers(None).next().unwrap();
    let step = b.peer.done(no).unwrap();
    b.take(step);
    b.restart();
    a.send(idb, "1");
    settle(&mut a, &mut b);
    assert!(b.peer.done(no).is_none(), "who asks twice removes no other letter");
    assert!(b.peer.inbox_numbers(None).next().unwrap() > no);
}

/// A letter that was given up may be held, in front of one that is sealed again in the next session. What comes late must not set it free.
#[test]
fn a_late_frame_of_a_replaced_session_overtakes_nothing() {
    let (mut a, mut b, old) = two_frames();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    b.receive(ida, &old[1]).unwrap(); // Held: its predecessor has not come.
    for letter in a.peer.outbox().map(|(_, id, _)| id).collect::<Vec<_>>() {
        let step = a.peer.cancel(idb, letter).unwrap();
        a.take(step);
    }
    a.run();
    a.out.clear(); // b does not hear of it.
    let tag = match nuncio_proto::frame::Frame::decode(&old[1]).unwrap() {
        nuncio_proto::frame::Frame::Sealed(frame) => frame.tag,
        other => panic!("{other:?}"),
    };
    let notice = nuncio_proto::frame::Notice { tag, code: nuncio_contracts::registry::code::UNKNOWN_TAG };
    a.receive(idb, &notice.encode()).unwrap();
    later(100_000, [&mut a, &mut b]);
    a.send(idb, "2");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "2"]);
    assert_eq!(b.receive(ida, &old[0]).unwrap_err().name(), "out_of_step");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "2"], "neither the late one nor the one that it set free");
}

#[test]
fn a_key_kept_for_a_letter_that_never_comes_is_deleted_when_any_letter_of_its_time_is_too_old() {
    use nuncio_contracts::registry::time;
    let (a, mut b, frames) = two_frames();
    b.receive(a.peer.id(), &frames[1]).unwrap();
    let kept = |b: &Agent| b.disk.0.keys().filter(|key| key[0] == rows::SKIPPED).count();
    assert_eq!(kept(&b), 1);
    let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
    assert!(b.peer.forget_skipped(b.now.plus(life)).is_none());
    let step = b.peer.forget_skipped(b.now.plus(life + 1)).unwrap();
    b.take(step);
    assert_eq!(kept(&b), 0);
    assert!(b.peer.forget_skipped(b.now.plus(life + 1)).is_none());
    assert_eq!(b.receive(a.peer.id(), &frames[0]).unwrap_err().name(), "out_of_step", "its key is gone");
}

#[test]
fn every_frame_under_way_goes_again_in_its_turn() {
    let (mut a, mut b, first) = two_frames();
    let idb = b.peer.id();
    for i in 2..100 {
        a.send(idb, &i.to_string());
    }
    a.run();
    let mut sent: std::collections::BTreeSet<_> = first.into_iter().chain(core::mem::take(&mut a.out)).collect();
    assert_eq!(sent.len(), 100);
    let mut rounds = 0;
    while !sent.is_empty() {
        later(nuncio_contracts::registry::time::RESEND_MAX, [&mut a, &mut b]);
        a.run();
        let again = core::mem::take(&mut a.out);
        assert!(
            again.len() <= nuncio_contracts::registry::limit::RESEND_BURST + 1,
            "a burst, and what tells the floor"
        );
        sent.retain(|frame| !again.contains(frame));
        rounds += 1;
        assert!(rounds < 100, "{} frames never went again", sent.len());
    }
}

#[test]
fn a_start_with_the_prekeys_of_another_life_is_told_so() {
    let mut a = Agent::new(1);
    let identity = Identity::generate(&mut a.rng).unwrap();
    let copy = Identity::from_bytes(&identity.to_bytes()).unwrap();
    // Prekeys are numbered: a copy that was restored makes other ones of the same numbers.
    let ((before, _), (after, _)) =
        (Peer::create(identity, START, &mut rng(7)), Peer::create(copy, START, &mut rng(8)));
    a.know(&before);
    a.send(before.id(), "to the former life");
    let bundle = Bundle::parse(&before.bundle(&[], START).unwrap(), START).unwrap();
    let step = a.peer.begin(&bundle, START, &mut a.rng).unwrap();
    a.take(step);
    a.run();
    let frame = a.out.pop().unwrap();
    let refusal = after.receive(Some(a.peer.id()), &frame, START, &mut rng(9), &Disk(BTreeMap::new())).unwrap_err();
    assert_eq!(refusal.name(), "start_refused");
    let notice = Peer::notice_for(&refusal).expect("its sender is told");
    a.receive(after.id(), &notice).unwrap();
    assert!(a.peer.sessions().all(|(_, current)| !current), "and begins anew");
}
