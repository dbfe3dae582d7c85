//! A peer that holds genuine keys and means harm: what it seals is authentic, and still allowed nothing that it should not be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_contracts::registry::{code, extension, limit, time};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::error::PeerError;
use nuncio_proto::frame::{Frame, Notice};
use nuncio_proto::handshake;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::{AgentId, LetterId, Seq};
use nuncio_proto::letter::{Extension, Letter, LetterKind};
use nuncio_proto::rows;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::step::Op;
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;

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
        let mut sealing = self.session.seal(&letter.encode(), nonce).unwrap();
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
    let mut refused = 0;
    for number in 0..600 {
        let (_, frame) = hostile.seal(&plain(long_ago, number, "too old"));
        refused += usize::from(b.receive(ida, &frame).is_err_and(|refusal| refusal.name() == "too_many_refusals"));
    }
    assert!(refused > 300, "{refused}");
    assert!(told(&b) <= limit::REFUSALS_MAX + 1, "{} rows", told(&b));
    assert!(b.peer.send(other.peer.id(), &plain(START, 1, "to somebody else"), START).is_ok());
}

#[test]
fn a_refusal_is_told_until_its_number_is_given_up() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let long_ago = UnixMillis(START.0 - 30 * 86_400_000);
    for number in 0..600 {
        let (seq, frame) = hostile.seal(&plain(long_ago, number, "too old"));
        b.receive(ida, &frame).unwrap();
        assert!(told(&b) <= 2, "{} rows", told(&b));
        hostile.session.give_up(seq);
    }
}

#[test]
fn a_second_letter_under_a_number_that_waits_ends_the_session() {
    let (a, mut b) = talked();
    let (ida, mut before) = (a.peer.id(), Hostile::of(&a));
    let mut copy = Hostile { session: before.session.clone(), sealed: 100 };
    let (_, refused) = before.seal(&plain(UnixMillis(START.0 - 30 * 86_400_000), 1, "too old"));
    b.receive(ida, &refused).unwrap();
    assert!(b.receive(ida, &refused).is_err(), "the same again moves nothing");
    assert_eq!(b.peer.sessions().filter(|(_, current)| *current).count(), 1);
    let (_, other) = copy.seal(&plain(START, 2, "another"));
    b.receive(ida, &other).unwrap();
    assert_eq!(b.peer.sessions().filter(|(_, current)| *current).count(), 0);
    assert_eq!(b.inbox, ["first"]);
}

/// Rows of letters on their way.
fn told(agent: &Agent) -> usize {
    agent.disk.0.keys().filter(|key| key[0] == rows::OUTBOX).count()
}

/// Two that refuse all of each other's letters, of which so many are under way.
fn at_odds(letters: usize, first_is_lost: bool) -> (Agent, Agent) {
    let (mut a, mut b) = talked();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    for agent in [&mut a, &mut b] {
        agent.peer.set_verifier(|verifier| verifier.set_policy(Policy::default()));
    }
    for _ in 0..letters {
        a.send(idb, "to b");
        b.send(ida, "to a");
    }
    for agent in [&mut a, &mut b] {
        while let Some(step) = agent.peer.next(agent.now, false, &mut agent.rng) {
            agent.take(step);
        }
        if first_is_lost {
            agent.out.remove(0);
        }
    }
    (a, b)
}

#[test]
fn two_that_refuse_each_others_letters_tell_each_other_of_all() {
    for (letters, first_is_lost) in [(257, false), (960, false), (960, true), (1_500, false)] {
        let (mut a, mut b) = at_odds(letters, first_is_lost);
        let (ida, idb) = (a.peer.id(), b.peer.id());
        for _ in 0..100 {
            let (to_b, to_a) = (core::mem::take(&mut a.out), core::mem::take(&mut b.out));
            // Some are refused for want of room; they come again.
            let _ = to_b.iter().filter(|frame| b.receive(ida, frame).is_err()).count();
            let _ = to_a.iter().filter(|frame| a.receive(idb, frame).is_err()).count();
            later(61_000, [&mut a, &mut b]);
            a.run();
            b.run();
        }
        let left = [&a, &b].map(|agent| agent.peer.outbox().count());
        assert_eq!(left, [0, 0], "of {letters} each way");
        assert_eq!([a.failed.len(), b.failed.len()], [letters; 2]);
        assert!(a.failed.iter().chain(&b.failed).all(|(_, why)| *why == code::TOKEN_MISSING));
        for agent in [&mut a, &mut b] {
            agent.peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        }
        a.send(idb, "good");
        settle(&mut a, &mut b);
        assert_eq!(b.inbox.last().map(String::as_str), Some("good"));
    }
}

/// A start of these identities' own making, without one-time prekey.
fn start(a: &Agent, bundle: &Bundle, number: u64, rng: &mut TestRng) -> Vec<u8> {
    let begun = handshake::initiate(a.peer.identity(), bundle, 0, rng).unwrap();
    let parties = Parties { initiator: a.peer.id(), responder: bundle.agent, initiated: true };
    let prekey = &bundle.prekeys.agreement_prekey;
    let session = Session::initiate(begun.secrets, parties, 0, prekey, Some(begun.handshake), START, rng).unwrap();
    let mut hello = plain(START, number, "");
    (hello.kind, hello.content_type, hello.payload) = (LetterKind::Control, ContentType::CBOR, Control::Hello.encode());
    session.seal(&hello.encode(), [1; 12]).unwrap().frame
}

#[test]
fn one_that_begins_without_end_costs_the_others_no_session() {
    let (a, mut b) = pair();
    let mut honest = Agent::new(3);
    honest.know(&b.peer);
    b.know(&honest.peer);
    let bundle = Bundle::parse(&b.peer.bundle(&[], START).unwrap(), START).unwrap();
    let remembered = |b: &Agent| b.disk.0.keys().filter(|key| key[0] == rows::START).count();
    let (mut taken, mut dice) = (0, rng(99));
    for number in 0..u64::try_from(limit::STARTS_PER_AGENT_MAX + 20).unwrap() {
        let frame = start(&a, &bundle, number, &mut dice);
        taken += usize::from(b.receive(a.peer.id(), &frame).is_ok());
        b.out.clear();
    }
    assert_eq!((taken, remembered(&b)), (limit::STARTS_PER_AGENT_MAX, limit::STARTS_PER_AGENT_MAX));
    let frame = start(&honest, &bundle, 1, &mut dice);
    b.receive(honest.peer.id(), &frame).unwrap();
    // One that may not write has nothing kept of it.
    let stranger = Agent::new(4);
    let frame = start(&stranger, &bundle, 1, &mut dice);
    b.receive(stranger.peer.id(), &frame).unwrap();
    assert_eq!(remembered(&b), limit::STARTS_PER_AGENT_MAX + 1);
}

#[test]
fn control_letters_leave_no_record_whatever_their_time() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let records = |b: &Agent| b.disk.0.keys().filter(|key| key[0] == rows::SEEN).count();
    let before = records(&b);
    for number in 0..300 {
        let mut hello = plain(UnixMillis((1 << 48) - 1), number, "");
        (hello.kind, hello.content_type, hello.payload) =
            (LetterKind::Control, ContentType::CBOR, Control::Hello.encode());
        let (_, frame) = hostile.seal(&hello);
        b.receive(ida, &frame).unwrap();
    }
    assert_eq!(records(&b), before);
}

/// Claims a bundle for an agent; whether a one-time prekey was given.
fn claim(b: &mut Agent, by: AgentId) -> bool {
    let staged = b.peer.stage(b.peer.claim(by, 0, &[], b.now).unwrap()).unwrap();
    let given = staged.ops.iter().any(|op| matches!(op, Op::Put { .. }));
    b.commit(staged);
    b.run();
    given
}

fn one_time_kept(b: &Agent) -> usize {
    b.disk.0.keys().filter(|key| key[0] == rows::ONE_TIME).count()
}

#[test]
fn one_that_claims_without_end_takes_none_from_others() {
    let mut b = Agent::new(2);
    let hostile = Agent::new(3).peer.id();
    let most = limit::ONE_TIME_PER_AGENT + limit::ONE_TIME_LOW + usize::from(limit::ONE_TIME_BATCH);
    for _ in 0..2 * limit::ONE_TIME_MAX {
        assert!(claim(&mut b, hostile));
        assert!(one_time_kept(&b) <= most, "{} prekeys kept", one_time_kept(&b));
    }
    assert!(claim(&mut b, Agent::new(4).peer.id()), "another gets its own");
}

#[test]
fn many_that_claim_without_end_have_a_bounded_number_of_prekeys_made() {
    let mut b = Agent::new(2);
    let most = limit::ONE_TIME_MAX + usize::from(limit::ONE_TIME_BATCH);
    let given = (1_000..11_000).take_while(|seed| claim(&mut b, Agent::new(seed / 10).peer.id())).count();
    let unused = usize::from(limit::ONE_TIME_BATCH) + limit::ONE_TIME_LOW;
    assert!(given >= limit::ONE_TIME_MAX - unused, "honest claimers get theirs: {given}");
    assert!(one_time_kept(&b) <= most, "{} prekeys kept", one_time_kept(&b));
    // A bundle without one is given all the same, and once they are over there are fresh ones.
    let another = Agent::new(1).peer.id();
    assert!(!claim(&mut b, another));
    later(time::SIGNED_PREKEY_LIFE + time::SIGNED_PREKEY_GRACE + 1, [&mut b, &mut Agent::new(1)]);
    b.run();
    assert!(claim(&mut b, another));
    assert_eq!(one_time_kept(&b), usize::from(limit::ONE_TIME_BATCH));
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

#[test]
fn what_waits_behind_a_retirement_is_not_delivered_and_leaves_no_row() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let mut over = plain(START, 2, "");
    let statement = Retirement::sign(a.peer.identity(), None, START);
    (over.kind, over.content_type, over.payload) =
        (LetterKind::Control, ContentType::CBOR, Control::Retired(statement).encode());
    let frames = [plain(START, 1, "before"), over, plain(START, 3, "behind")].map(|letter| hostile.seal(&letter).1);
    for at in [2, 1, 0] {
        b.receive(ida, &frames[at]).unwrap();
    }
    b.run();
    assert_eq!(b.inbox, ["first", "before"]);
    assert!(b.peer.sessions().next().is_none());
    assert_eq!(b.disk.0.keys().filter(|key| key[0] == rows::HELD).count(), 0);
    b.restart();
}

#[test]
fn a_token_that_makes_a_letter_too_long_is_none_that_came() {
    let (a, mut b) = talked();
    let (ida, mut hostile) = (a.peer.id(), Hostile::of(&a));
    let token = vec![b'x'; limit::TOKEN_LEN_MAX];
    let mut letter = plain(START, 1, &"y".repeat(limit::PAYLOAD_INLINE_MAX));
    letter.set_token(nuncio_proto::token::hash_of(&token).to_vec());
    let free = limit::LETTER_LEN_MAX - letter.encode().len() - limit::TOKEN_LEN_MAX / 2;
    letter.set_extension(Extension { number: 700, critical: false, value: vec![0; free] });
    let mut shown = plain(START, 2, "");
    (shown.kind, shown.content_type, shown.payload) =
        (LetterKind::Control, ContentType::CBOR, Control::Token(token).encode());
    for letter in [letter, shown] {
        b.receive(ida, &hostile.seal(&letter).1).unwrap();
    }
    b.run();
    let before = told(&b);
    later(time::TOKEN_WAIT + 1, [&mut b, &mut Agent::new(9)]);
    b.run();
    assert_eq!(told(&b), before + 1, "its sender is told, and may give the number up");
}

#[test]
fn a_letter_has_room_for_the_proof_that_it_wants() {
    let (mut a, b) = pair();
    let mut letter = plain(START, 1, &"y".repeat(limit::PAYLOAD_INLINE_MAX));
    let free = limit::LETTER_LEN_MAX - letter.encode().len() - limit::HOP_PROOF_LEN_MAX / 2;
    letter.set_extension(Extension { number: 700, critical: false, value: vec![0; free] });
    assert!(a.peer.send(b.peer.id(), &letter, START).is_ok());
    letter.want_proof();
    assert!(matches!(a.peer.send(b.peer.id(), &letter, START), Err(PeerError::TooLarge)));
    a.run();
}
