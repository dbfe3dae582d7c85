//! Letters that are not delivered: refused, too late, or of one that may not write.

use nuncio_contracts::registry::{code, time};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::error::PeerError;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::LetterId;
use nuncio_proto::knock::Knock;
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::peer::Peer;
use nuncio_proto::rows;
use nuncio_proto::step::Effect;
use nuncio_proto::token::Scope;

use super::agent::{Agent, START, answer_claims, later, pair, settle};
use super::two_frames;

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
        let knock = a_knock(&mut a);
        a.post(b.peer.id(), &knock);
        a.run();
        answer_claims(&mut a, &mut b);
        a.run();
        let start = a.out.pop().unwrap();
        let step = b.peer.receive(Some(a.peer.id()), &start, b.now.plus(late), &mut b.rng, &b.disk).unwrap();
        let effects = b.peer.stage(step).unwrap().effects.after_commit();
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Knocked { .. })), heard);
    }
}

// contracts/call.md X29.
#[test]
fn a_knock_is_the_first_that_is_heard_though_letters_wait() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    a.know(&b.peer);
    b.peer.hear_knocks(true);
    a.send(b.peer.id(), "let me in");
    a.run();
    answer_claims(&mut a, &mut b);
    a.run();
    // It is sealed in a session in which the other says nothing.
    let mut frames = core::mem::take(&mut a.out);
    assert_eq!(frames.len(), 1);
    let step = a.peer.start_anew(b.peer.id(), a.now);
    a.take(step);
    let knock = a_knock(&mut a);
    a.post(b.peer.id(), &knock);
    later(time::START_RETRY, [&mut a, &mut b]);
    a.run();
    answer_claims(&mut a, &mut b);
    a.run();
    frames.append(&mut a.out);
    let heard = frames.iter().any(|frame| {
        let Ok(step) = b.peer.receive(Some(a.peer.id()), frame, b.now, &mut b.rng, &b.disk) else { return false };
        let effects = b.peer.stage(step).unwrap().effects.after_commit();
        effects.iter().any(|effect| matches!(effect, Effect::Knocked { .. }))
    });
    assert!(heard);
}

fn a_knock(by: &mut Agent) -> Letter {
    let from = format!("nuncio:{}", by.peer.id()).parse().unwrap();
    let scope = Scope::parse("tools.read").unwrap();
    let knock = Knock { from, service: None, scope, secret: None, transaction: None };
    let mut letter = by.letter("");
    letter.kind = LetterKind::Control;
    letter.content_type = ContentType::CBOR;
    letter.payload = Control::Knock(Box::new(knock)).encode();
    letter
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
