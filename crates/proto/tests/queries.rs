//! A stream of queries: its keys, and what opens (contracts/query.md section 2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod agent;

use nuncio_proto::call::{CallPlace, Head, What};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::crypto::{CryptoError, SigningKey};
use nuncio_proto::ids::{AgentId, CallSessionId, SessionId};
use nuncio_proto::peer::{AuditPolicy, Auditing};
use nuncio_proto::query::{Between, Directions, Ephemeral, QueryError, QuerySecret, Spoken};
use nuncio_proto::secret::Key;

const NOT_AUTHENTIC: QueryError = QueryError::Crypto(CryptoError::NotAuthentic);

fn named(seed: u8) -> AgentId {
    AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap()
}

fn between() -> Between {
    Between { session: SessionId::from_bytes([7; 32]), opener: named(1), other: named(2) }
}

fn secret(seed: u8) -> QuerySecret {
    QuerySecret::of(&Key::new([seed; 32]))
}

fn ephemeral(seed: u8) -> Ephemeral {
    Ephemeral::of(Key::new([seed; 32]))
}

fn asking(secret: &QuerySecret, between: &Between, own: u8, theirs: u8) -> Directions {
    ephemeral(own).asking(secret, between, ephemeral(theirs).public()).unwrap()
}

fn answering(secret: &QuerySecret, between: &Between, own: u8, theirs: u8) -> Directions {
    ephemeral(own).answering(secret, between, ephemeral(theirs).public()).unwrap()
}

fn pair() -> (Directions, Directions) {
    (asking(&secret(3), &between(), 4, 5), answering(&secret(3), &between(), 5, 4))
}

fn query(number: u32, payload: &str) -> Spoken {
    let session = Some(CallSessionId::from_bytes([9; 16]));
    let head = Head::of([("a", "b")]);
    let place = CallPlace { what: What::Request, service: "files".parse().unwrap(), session, head };
    Spoken { number, place: Some(place), content_type: ContentType::JSON, payload: payload.as_bytes().to_vec() }
}

#[test]
fn both_directions_open_in_their_order() {
    let (mut near, mut far) = pair();
    for number in 0..50 {
        let asked = query(number, &"x".repeat(usize::try_from(number).unwrap() * 100));
        assert_eq!(far.opener.open(&near.sealer.seal(&asked).unwrap()), Ok(asked));
        let answer = if number % 2 == 0 { Spoken::letter(number) } else { query(number, "{}") };
        assert_eq!(near.opener.open(&far.sealer.seal(&answer).unwrap()), Ok(answer));
    }
}

// contracts/query.md Q7.
#[test]
fn what_is_said_again_left_out_turned_back_or_altered_ends_the_stream() {
    let frames = |count: u32| -> (Vec<Vec<u8>>, Directions, Directions) {
        let (mut near, far) = pair();
        let frames = (0..count).map(|number| near.sealer.seal(&query(number, "{}")).unwrap()).collect();
        (frames, near, far)
    };
    // Said again.
    let (sealed, _, mut far) = frames(2);
    far.opener.open(&sealed[0]).unwrap();
    assert_eq!(far.opener.open(&sealed[0]), Err(NOT_AUTHENTIC));
    assert_eq!(far.opener.open(&sealed[1]), Err(NOT_AUTHENTIC), "behind it nothing opens");
    // Left out.
    let (sealed, _, mut far) = frames(2);
    assert_eq!(far.opener.open(&sealed[1]), Err(NOT_AUTHENTIC));
    // Turned back to who sealed it.
    let (sealed, mut near, _) = frames(1);
    assert_eq!(near.opener.open(&sealed[0]), Err(NOT_AUTHENTIC));
    // Altered, or cut short.
    let len = frames(1).0[0].len();
    for at in 0..len {
        let (mut sealed, _, mut far) = frames(1);
        sealed[0][at] ^= 1;
        assert_eq!(far.opener.open(&sealed[0]), Err(NOT_AUTHENTIC), "{at}");
        let (sealed, _, mut far) = frames(1);
        assert_eq!(far.opener.open(&sealed[0][..at]), Err(NOT_AUTHENTIC), "{at}");
    }
}

// contracts/query.md Q6: each thing that is in the keys.
#[test]
fn keys_are_of_one_stream_of_one_session_and_two_agents() {
    let opens = |mut far: Directions| {
        let (mut near, _) = pair();
        far.opener.open(&near.sealer.seal(&query(0, "{}")).unwrap()).is_ok()
    };
    let (secret, here) = (secret(3), between());
    assert!(opens(answering(&secret, &here, 5, 4)));
    assert!(!opens(answering(&self::secret(8), &here, 5, 4)), "another session's secret");
    assert!(!opens(answering(&secret, &here, 6, 4)), "another key of who answers: a later stream");
    assert!(!opens(answering(&secret, &here, 5, 6)), "another key of who asks");
    let session = Between { session: SessionId::from_bytes([8; 32]), ..here };
    assert!(!opens(answering(&secret, &session, 5, 4)), "another session");
    assert!(!opens(answering(&secret, &Between { opener: named(6), ..here }, 5, 4)), "another asks");
    assert!(!opens(answering(&secret, &Between { other: named(6), ..here }, 5, 4)), "another is asked");
    let turned = Between { opener: here.other, other: here.opener, ..here };
    assert!(!opens(answering(&secret, &turned, 5, 4)), "the other asks");
    // A recorded stream is of no use to one who holds an end's secret, and draws another key.
    assert!(!opens(asking(&secret, &here, 5, 4)));
}

#[test]
fn the_same_message_is_sealed_otherwise_in_each_frame_direction_and_stream() {
    let mut seen = std::collections::BTreeSet::new();
    for stream in 10..14 {
        let mut near = asking(&secret(3), &between(), stream, 5);
        let mut far = answering(&secret(3), &between(), 5, stream);
        for _ in 0..3 {
            assert!(seen.insert(near.sealer.seal(&query(0, "{}")).unwrap()));
            assert!(seen.insert(far.sealer.seal(&query(0, "{}")).unwrap()));
        }
    }
}

#[test]
fn a_key_of_small_order_makes_no_stream() {
    let secret = secret(3);
    assert_eq!(ephemeral(4).asking(&secret, &between(), &[0; 32]).unwrap_err(), CryptoError::AllZero);
    assert_eq!(ephemeral(4).answering(&secret, &between(), &[0; 32]).unwrap_err(), CryptoError::AllZero);
}

#[test]
fn nothing_of_it_is_shown() {
    let (near, _) = pair();
    let shown = format!("{near:?} {:?} {:?}", secret(3), ephemeral(4));
    assert!(!shown.contains("3, 3, 3") && !shown.contains("4, 4, 4"), "{shown}");
}

#[test]
fn lengths_are_those_of_a_few() {
    let (mut near, _) = pair();
    let len = |spoken: &Spoken, near: &mut Directions| near.sealer.seal(spoken).unwrap().len();
    let first = len(&query(0, "a"), &mut near);
    assert_eq!(len(&query(1, "ab"), &mut near), first);
    assert_eq!(len(&Spoken::letter(1), &mut near), 64 + 16);
}

/// Two agents that have spoken both ways, under these policies from their first letter on.
fn spoken(one: Auditing, two: Auditing) -> (agent::Agent, agent::Agent) {
    let (mut a, mut b) = agent::pair();
    let policy = |auditing| AuditPolicy { auditing, room: 1_000, ..AuditPolicy::default() };
    a.peer.set_audit(policy(one), 0..0);
    b.peer.set_audit(policy(two), 0..0);
    for _ in 0..2 {
        a.send(b.peer.id(), "there");
        agent::settle(&mut a, &mut b);
        b.send(a.peer.id(), "and back");
        agent::settle(&mut a, &mut b);
    }
    (a, b)
}

#[test]
fn both_ends_of_a_session_have_one_secret_and_no_other_session_has_it() {
    let (a, b) = spoken(Auditing::Off, Auditing::Off);
    let secret = a.peer.query_secret(&b.peer.id()).unwrap();
    assert_eq!(b.peer.query_secret(&a.peer.id()).unwrap(), secret);
    assert_eq!(a.peer.query_session(&b.peer.id()).unwrap().id(), secret.0);
    let (c, d) = spoken(Auditing::Off, Auditing::Off);
    drop(d);
    assert!(c.peer.query_secret(&named(1)).is_none(), "of one that is not known there is none");
    let (mut a, b) = (a, b);
    let removed = a.peer.remove_contact(b.peer.id()).unwrap();
    a.take(removed);
    assert!(a.peer.query_secret(&b.peer.id()).is_none());
}

#[test]
fn a_session_that_is_not_confirmed_gives_no_secret() {
    let (mut a, mut b) = agent::pair();
    a.send(b.peer.id(), "nobody has answered");
    a.run();
    agent::answer_claims(&mut a, &mut b);
    a.run();
    assert_eq!(a.peer.sessions().count(), 1);
    assert!(a.peer.query_secret(&b.peer.id()).is_none());
    agent::settle(&mut a, &mut b);
    b.send(a.peer.id(), "answered");
    agent::settle(&mut a, &mut b);
    assert!(a.peer.query_secret(&b.peer.id()).is_some());
}

// contracts/query.md Q4.
#[test]
fn where_what_is_done_is_written_down_nothing_is_asked_without_letters() {
    let (a, b) = spoken(Auditing::Offered, Auditing::Offered);
    assert!(a.peer.query_session(&b.peer.id()).is_none() && b.peer.query_session(&a.peer.id()).is_none());
    // One that audits does not, even where the session and the other do not.
    let (a, b) = spoken(Auditing::Offered, Auditing::Off);
    assert!(a.peer.sessions().all(|(session, _)| !session.audits()));
    assert!(a.peer.query_session(&b.peer.id()).is_none());
    // A session that audits stays one when its agent ceases to.
    let (mut a, b) = spoken(Auditing::Offered, Auditing::Offered);
    a.peer.set_audit(AuditPolicy::default(), 0..a.peer.events_waiting());
    assert!(a.peer.query_session(&b.peer.id()).is_none());
}
