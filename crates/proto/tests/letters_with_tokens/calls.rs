//! Messages to services and of services (contracts/call.md).

use nuncio_contracts::registry::{code, extension, limit, time};
use nuncio_proto::call::{CallPlace, Head, What};
use nuncio_proto::error::{PeerError, Refusal};
use nuncio_proto::ids::{CallSessionId, LetterId};
use nuncio_proto::letter::{Extension, Letter};

use super::{Agent, failure, guarded, later, settle, token};

const SESSION: CallSessionId = CallSessionId::from_bytes([7; 16]);

fn message(agent: &mut Agent, what: What, session: Option<CallSessionId>, reply_to: Option<LetterId>) -> Letter {
    let place = CallPlace { what, service: "files".parse().unwrap(), session, head: Head::default() };
    let mut letter = agent.letter(if what == What::End { "" } else { "{}" });
    letter.reply_to = reply_to;
    letter.set_extension(place.extension().unwrap());
    letter
}

/// Posts it; what its sender is told, if it is refused.
fn post(from: &mut Agent, to: &mut Agent, letter: &Letter) -> Option<u16> {
    let before = to.inbox.len();
    from.post(to.peer.id(), letter);
    settle(from, to);
    let failed = failure(from, letter);
    assert_eq!(to.inbox.len() - before, usize::from(failed.is_none()));
    failed
}

#[test]
fn who_serves_takes_requests_without_a_token_and_who_does_not_takes_none() {
    let (mut a, mut b) = guarded();
    for what in [What::Request, What::Notice] {
        let letter = message(&mut a, what, Some(SESSION), None);
        assert_eq!(post(&mut a, &mut b, &letter), Some(code::NO_SERVICE));
    }
    b.peer.serve_calls(true);
    for what in [What::Request, What::Notice, What::End] {
        let letter = message(&mut a, what, Some(SESSION), None);
        assert_eq!(post(&mut a, &mut b, &letter), None, "{what:?}");
    }
    // All else needs its token as before.
    let bare = a.letter("bare");
    assert_eq!(post(&mut a, &mut b, &bare), Some(code::TOKEN_MISSING));
}

#[test]
fn a_token_that_is_there_must_be_good() {
    let (mut a, mut b) = guarded();
    b.peer.serve_calls(true);
    let mut good = message(&mut a, What::Request, Some(SESSION), None);
    good.set_token(token(&a, &b));
    assert_eq!(post(&mut a, &mut b, &good), None);
    assert!(b.tokens.last().is_some_and(Option::is_some));
    let mut stolen = message(&mut a, What::Request, Some(SESSION), None);
    stolen.set_token(token(&b, &a));
    assert_eq!(post(&mut a, &mut b, &stolen), Some(code::TOKEN_SENDER));
}

#[test]
fn a_service_is_heard_by_who_asked_it_alone() {
    let (mut a, mut b) = guarded();
    b.peer.serve_calls(true);
    let request = message(&mut a, What::Request, Some(SESSION), None);
    assert_eq!(post(&mut a, &mut b, &request), None);
    // It has opened no session.
    for (what, reply) in [(What::Part, true), (What::Answer, true), (What::Aside, false), (What::End, false)] {
        let letter = message(&mut b, what, Some(SESSION), reply.then_some(request.id));
        assert_eq!(post(&mut b, &mut a, &letter), Some(code::NO_CALL), "{what:?}");
    }
    a.peer.open_calls(b.peer.id(), SESSION, "files".parse().unwrap());
    let other = CallSessionId::from_bytes([8; 16]);
    let letter = message(&mut b, What::Aside, Some(other), None);
    assert_eq!(post(&mut b, &mut a, &letter), Some(code::NO_CALL));
    let place = CallPlace {
        what: What::Aside,
        service: "other".parse().unwrap(),
        session: Some(SESSION),
        head: Head::default(),
    };
    let mut letter = b.letter("{}");
    letter.set_extension(place.extension().unwrap());
    assert_eq!(post(&mut b, &mut a, &letter), Some(code::NO_CALL), "of another service");
    for (what, reply) in [(What::Part, true), (What::Answer, true), (What::Aside, false), (What::End, false)] {
        let letter = message(&mut b, what, Some(SESSION), reply.then_some(request.id));
        assert_eq!(post(&mut b, &mut a, &letter), None, "{what:?}");
    }
    a.peer.end_calls(b.peer.id(), SESSION);
    let late = message(&mut b, What::Aside, Some(SESSION), None);
    assert_eq!(post(&mut b, &mut a, &late), Some(code::NO_CALL));
}

#[test]
fn a_request_in_no_session_has_one_answer() {
    let (mut a, mut b) = guarded();
    b.peer.serve_calls(true);
    let request = message(&mut a, What::Request, None, None);
    a.peer.await_call(b.peer.id(), request.id, "files".parse().unwrap());
    assert_eq!(post(&mut a, &mut b, &request), None);
    let (what, other) = (What::Part, "other".parse().unwrap());
    let place = CallPlace { what, service: other, session: None, head: Head::default() };
    let mut letter = b.letter("{}");
    letter.reply_to = Some(request.id);
    letter.set_extension(place.extension().unwrap());
    assert_eq!(post(&mut b, &mut a, &letter), Some(code::NO_CALL), "of another service");
    for (what, told) in [(What::Part, None), (What::Answer, None), (What::Answer, Some(code::NO_CALL))] {
        let letter = message(&mut b, what, None, Some(request.id));
        assert_eq!(post(&mut b, &mut a, &letter), told, "{what:?}");
    }
}

#[test]
fn what_does_not_fit_its_letter_is_refused() {
    let (mut a, mut b) = guarded();
    b.peer.serve_calls(true);
    a.peer.open_calls(b.peer.id(), SESSION, "files".parse().unwrap());
    let some = Some(LetterId::new(a.now, [1; 10]));
    for (what, session, reply) in [
        (What::Request, Some(SESSION), some),
        (What::Part, Some(SESSION), None),
        (What::Answer, Some(SESSION), None),
        (What::Aside, Some(SESSION), some),
        (What::Aside, None, None),
        (What::End, None, None),
        (What::End, Some(SESSION), some),
    ] {
        let letter = message(&mut a, what, session, reply);
        assert_eq!(post(&mut a, &mut b, &letter), Some(code::MALFORMED), "{what:?} {session:?} {reply:?}");
    }
    let mut full = message(&mut a, What::End, Some(SESSION), None);
    full.payload = vec![1];
    assert_eq!(post(&mut a, &mut b, &full), Some(code::MALFORMED));
    let mut broken = message(&mut a, What::Request, Some(SESSION), None);
    broken.set_extension(Extension { number: extension::CALL, critical: true, value: vec![0x84, 0x07] });
    assert_eq!(post(&mut a, &mut b, &broken), Some(code::MALFORMED));
}

/// A message of the most bytes that a letter has.
fn long(agent: &mut Agent, what: What) -> Letter {
    let mut letter = message(agent, what, Some(SESSION), None);
    letter.payload = vec![b' '; limit::PAYLOAD_INLINE_MAX];
    letter
}

/// contracts/call.md X42
#[test]
fn a_peer_that_takes_no_answers_stops_itself_alone() {
    let (mut a, mut b) = guarded();
    let (of_a, of_b) = (a.peer.id(), b.peer.id());
    b.peer.serve_calls(true);
    let first = message(&mut a, What::Request, Some(SESSION), None);
    assert_eq!(post(&mut a, &mut b, &first), None);
    let mut accepted = 0;
    let error = loop {
        let letter = long(&mut b, What::Aside);
        match b.peer.send(of_a, &letter, b.now) {
            Ok(step) => b.take(step),
            Err(error) => break error,
        }
        accepted += 1;
    };
    assert_eq!(error, PeerError::TooManyCalls(of_a));
    assert_eq!(accepted, limit::CALLS_OUT_BYTES_MAX.div_ceil(limit::PAYLOAD_INLINE_MAX));
    // Letters that are of no call, and those to others, are accepted as before.
    b.send(of_a, "a letter");
    let other = Agent::new(9);
    b.know(&other.peer);
    let aside = long(&mut b, What::Aside);
    b.post(other.peer.id(), &aside);
    // What the peer asks meanwhile is left unacknowledged.
    let request = message(&mut a, What::Request, Some(SESSION), None);
    a.post(of_b, &request);
    a.run();
    let refused: Vec<_> = core::mem::take(&mut a.out).iter().filter_map(|frame| b.receive(of_a, frame).err()).collect();
    assert_eq!((refused, b.inbox.len()), (vec![Refusal::TooManyCalls], 1));
    b.restart();
    let aside = long(&mut b, What::Aside);
    assert_eq!(b.peer.send(of_a, &aside, b.now).err(), Some(PeerError::TooManyCalls(of_a)), "counted anew");
}

/// contracts/call.md X43
#[test]
fn messages_of_one_peer_that_nobody_takes_do_not_fill_the_inbox() {
    let (mut a, mut b) = guarded();
    b.peer.serve_calls(true);
    let to = b.peer.id();
    let most = limit::CALLS_IN_BYTES_MAX / limit::PAYLOAD_INLINE_MAX;
    for _ in 0..most + 3 {
        let letter = long(&mut a, What::Notice);
        a.post(to, &letter);
        settle(&mut a, &mut b);
    }
    assert_eq!(b.inbox.len(), most);
    assert_eq!(a.peer.outbox().count(), 3, "they wait");
    // It goes on as they are taken, where it ended.
    for no in 0..2 {
        let step = b.peer.done(no).unwrap();
        b.take(step);
    }
    later(time::RESEND_MAX, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.len(), a.peer.outbox().count()), (most + 2, 1));
}
