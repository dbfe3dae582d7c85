//! Two agents by hand: first letter, answers, loss, restarts from records, simultaneous starts, re-keys, lost and restored stores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use nuncio_contracts::registry::{code, time};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::error::PeerError;
use nuncio_proto::identity::{Identity, Retirement};
use nuncio_proto::ids::LetterId;
use nuncio_proto::knock::Knock;
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::peer::Peer;
use nuncio_proto::rows;
use nuncio_proto::step::Effect;
use nuncio_proto::testing::rng;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;

use agent::{Agent, Disk, START, answer_claims, later, pair, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;

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

#[test]
fn a_stranger_is_turned_away_and_its_prekey_is_spent() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    a.know(&b.peer);
    let idb = b.peer.id();
    a.send(idb, "let me in");
    let left = b.peer.one_time_left();
    settle(&mut a, &mut b);
    assert!(b.inbox.is_empty());
    assert_eq!(b.peer.sessions().count(), 0);
    assert_eq!(b.peer.one_time_left(), left - 1);
    assert!(a.delivered.is_empty());
}

// contracts/call.md X29.
#[test]
fn a_knock_is_heard_in_its_time() {
    for (late, heard) in [(0, true), (time::LETTER_LIFE_MAX + time::CLOCK_SKEW + 1, false)] {
        let (mut a, mut b) = (Agent::new(1), Agent::new(2));
        a.know(&b.peer);
        b.peer.hear_knocks(true);
        let from = format!("nuncio:{}", a.peer.id()).parse().unwrap();
        let knock =
            Knock { from, service: None, scope: Scope::parse("tools.read").unwrap(), secret: None, transaction: None };
        let mut letter = a.letter("");
        letter.kind = LetterKind::Control;
        letter.content_type = ContentType::CBOR;
        letter.payload = Control::Knock(Box::new(knock)).encode();
        a.post(b.peer.id(), &letter);
        a.run();
        answer_claims(&mut a, &mut b);
        a.run();
        let start = a.out.pop().unwrap();
        let step = b.peer.receive(Some(a.peer.id()), &start, b.now.plus(late), &mut b.rng, &b.disk).unwrap();
        let effects = b.peer.stage(step).unwrap().effects.after_commit();
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Knocked { .. })), heard);
    }
}

// contracts/handshake.md H8.
#[test]
fn who_was_turned_away_is_heard_at_once_where_the_other_begins() {
    for seed in 0..16 {
        let (mut a, mut b) = (Agent::new(2 * seed), Agent::new(2 * seed + 1));
        a.know(&b.peer);
        a.send(b.peer.id(), "let me in");
        settle(&mut a, &mut b);
        b.know(&a.peer);
        b.send(a.peer.id(), "come in");
        settle(&mut a, &mut b);
        assert_eq!((a.inbox, b.inbox), (vec!["come in".to_owned()], vec!["let me in".to_owned()]), "{seed}");
    }
}

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

fn rows_of(agent: &Agent, tree: u8) -> usize {
    agent.disk.0.keys().filter(|key| key[0] == tree).count()
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
    settle(&mut leader, &mut follower);
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
fn a_refused_letter_is_never_called_delivered() {
    let (mut a, mut b, _) = two_frames();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    a.now = a.now.plus(3_600_000);
    let refused = a.send(idb, "from the future");
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(ida, &frame).unwrap();
    }
    b.run();
    b.out.clear(); // The refusal is lost, and what acknowledges comes.
    b.send(ida, "later");
    b.run();
    for frame in core::mem::take(&mut b.out) {
        a.receive(idb, &frame).unwrap();
    }
    assert!(!a.delivered.contains(&refused));
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!(a.failed, [(refused, 35)]);
    assert!(!a.delivered.contains(&refused));
    assert_eq!(a.inbox, ["answer", "later"]);
}

#[test]
fn agents_that_refuse_each_others_letters_still_hear_each_other() {
    let (mut a, mut b, _) = two_frames();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    later(100_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    a.now = a.now.plus(3_600_000);
    let mut letter = Letter::plain(LetterId::new(b.now, [5; 10]), ContentType::TEXT, b"too late for a".to_vec());
    letter.deadline = Some(b.now.plus(60_000));
    let step = b.peer.send(ida, &letter, b.now).unwrap();
    b.take(step);
    a.send(idb, "too early for b");
    for _ in 0..4 {
        settle(&mut a, &mut b);
        later(50_000, [&mut a, &mut b]);
    }
    assert_eq!((a.failed.len(), b.failed.len()), (1, 1));
    a.now = b.now;
    a.send(idb, "now");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "0", "1", "now"]);
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

#[test]
fn a_letter_whose_time_runs_out_while_it_waits_is_not_delivered() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.send(idb, "first");
    settle(&mut a, &mut b);
    b.send(ida, "answer");
    settle(&mut a, &mut b);
    a.send(idb, "without end");
    let mut random = [0; 10];
    rand_core::Rng::fill_bytes(&mut a.rng, &mut random);
    let mut letter = Letter::plain(LetterId::new(a.now, random), ContentType::TEXT, b"a minute".to_vec());
    letter.deadline = Some(a.now.plus(60_000));
    let step = a.peer.send(idb, &letter, a.now).unwrap();
    a.take(step);
    a.run();
    let frames = core::mem::take(&mut a.out);
    b.receive(ida, &frames[1]).unwrap(); // It waits for the one before, which is lost.
    b.run();
    b.out.clear();
    later(3_600_000, [&mut a, &mut b]);
    b.restart(); // Nor is it forgotten by a restart.
    for _ in 0..3 {
        settle(&mut a, &mut b);
        later(100_000, [&mut a, &mut b]);
    }
    assert_eq!(b.inbox, ["first", "without end"]);
    assert_eq!(a.failed.len(), 1, "its sender is told");
    a.send(idb, "last");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "without end", "last"]);
}

#[test]
fn an_agent_that_is_retired_sends_no_letter_more_and_tells_its_peers() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    a.send(idb, "first");
    settle(&mut a, &mut b);
    let waits = a.send(idb, "on its way");
    let statement = Retirement::sign(a.peer.identity(), None, START);
    let (_, step) = a.peer.retire(statement, START).unwrap();
    a.take(step);
    assert_eq!(a.failed, [(waits, code::RETIRED)]);
    for _ in 0..2 {
        let letter = Letter::plain(LetterId::new(a.now, [7; 10]), ContentType::TEXT, b"more".to_vec());
        assert_eq!(a.peer.send(idb, &letter, a.now).unwrap_err(), PeerError::RetiredHere);
        assert!(a.peer.is_retired());
        a.restart();
    }
    settle(&mut a, &mut b);
    assert!(b.peer.contact(&a.peer.id()).unwrap().retired);
    assert_eq!(b.inbox, ["first"]);
    let other = Retirement::sign(b.peer.identity(), None, START);
    a.disk.0.insert(vec![rows::RETIRED], other);
    assert!(Peer::load(&a.records(), START).is_err(), "another's statement is no record of ours");
}
