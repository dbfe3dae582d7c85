//! Letters and their tokens, between two agents: what is delivered, what waits, what is refused, what goes again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use nuncio_contracts::registry::{code, extension, limit, time};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::AgentId;
use nuncio_proto::letter::Letter;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{KeySet, PayloadHash, Policy, Rule, Scope};
use serde_json::json;

use agent::{Agent, START, later, pair, settle};
use minting::{DOMAIN, keys, minted};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;
#[path = "letters_with_tokens/answers.rs"]
mod answers;
#[path = "letters_with_tokens/calls.rs"]
mod calls;
#[path = "letters_with_tokens/content.rs"]
mod content;
#[path = "letters_with_tokens/minting.rs"]
mod minting;
#[path = "letters_with_tokens/under_way.rs"]
mod under_way;

/// A token of one agent towards another, good for two minutes from a time.
fn mint(from: AgentId, to: AgentId, txn: &str, jti: &str, at: UnixMillis) -> Vec<u8> {
    minted(from, to, txn, jti, at, None)
}

fn token(from: &Agent, to: &Agent) -> Vec<u8> {
    mint(from.peer.id(), to.peer.id(), "t-1", "j-1", from.now)
}

/// Judges tokens of the domain, and lets nothing pass without one.
fn guard(agent: &mut Agent) {
    agent.peer.set_verifier(|verifier| {
        verifier.set_domain(DOMAIN);
        verifier.set_keys(keys());
        verifier.set_policy(Policy::default());
    });
}

fn guarded() -> (Agent, Agent) {
    let (mut a, mut b) = pair();
    guard(&mut a);
    guard(&mut b);
    (a, b)
}

fn with_token(agent: &mut Agent, text: &str, token: &[u8]) -> Letter {
    let mut letter = agent.letter(text);
    letter.set_token(token.to_vec());
    letter
}

/// Frames of a go to b, and nothing comes back.
fn carry(a: &mut Agent, b: &mut Agent) {
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(a.peer.id(), &frame).unwrap();
    }
    b.run();
}

fn failure(agent: &Agent, letter: &Letter) -> Option<u16> {
    agent.failed.iter().find(|(id, _)| *id == letter.id).map(|(_, code)| *code)
}

#[test]
fn a_letter_without_a_token_is_refused_unless_the_policy_says_so() {
    let (mut a, mut b) = guarded();
    let bare = a.letter("bare");
    a.post(b.peer.id(), &bare);
    settle(&mut a, &mut b);
    assert_eq!((failure(&a, &bare), b.inbox.len()), (Some(code::TOKEN_MISSING), 0));

    b.peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
    a.send(b.peer.id(), "let in");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["let in"]);

    // A scope that a rule wants is wanted of a letter without a token too.
    let rule = Rule { content_type: Some(ContentType::TEXT), from: None, scope: Scope::parse("travel.book").unwrap() };
    b.peer.set_verifier(|verifier| verifier.set_policy(Policy { rules: vec![rule], ..Policy::tokenless() }));
    let bare = a.letter("bare again");
    a.post(b.peer.id(), &bare);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &bare), Some(code::TOKEN_MISSING));
}

#[test]
fn a_new_agent_delivers_nothing_without_a_token() {
    let (mut a, mut b) = pair();
    b.restart();
    b.peer.set_verifier(|verifier| *verifier = Default::default());
    let (bare, carrying) = (a.letter("bare"), with_token(&mut Agent::new(7), "with a token", &token(&a, &b)));
    a.post(b.peer.id(), &bare);
    a.post(b.peer.id(), &carrying);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &bare), Some(code::TOKEN_MISSING));
    assert_eq!(failure(&a, &carrying), Some(code::TOKEN_AUDIENCE), "no domain, no token");
    assert!(b.inbox.is_empty());
}

#[test]
fn a_token_goes_whole_once_and_then_by_its_hash() {
    let (mut a, mut b) = guarded();
    let (to, token) = (b.peer.id(), token(&a, &b));
    let other = mint(a.peer.id(), to, "t-0", "j-0", START);
    let opening = with_token(&mut a, "opening", &other);
    a.post(to, &opening);
    settle(&mut a, &mut b);
    let mut lens = Vec::new();
    for text in ["one", "two", "six"] {
        let letter = with_token(&mut a, text, &token);
        a.post(to, &letter);
        a.run();
        lens.extend(a.out.last().map(Vec::len));
        settle(&mut a, &mut b);
    }
    assert_eq!(b.inbox[1..], ["one", "two", "six"]);
    assert!(lens[2] + token.len() / 2 < lens[0], "{lens:?} of a token of {} bytes", token.len());
    let came: Vec<_> = b.tokens[1..].iter().map(|token| token.as_ref().unwrap().claims().txn.clone()).collect();
    assert_eq!(came, ["t-1"; 3], "the application sees what each letter may do");
}

#[test]
fn a_hash_that_the_receiver_has_forgotten_is_asked_for_and_the_letter_waits() {
    let (mut a, mut b) = guarded();
    let (to, token) = (b.peer.id(), token(&a, &b));
    let first = with_token(&mut a, "first", &token);
    a.post(to, &first);
    settle(&mut a, &mut b);
    b.restart();
    guard(&mut b);
    let second = with_token(&mut a, "second", &token);
    a.post(to, &second);
    carry(&mut a, &mut b);
    assert_eq!(b.inbox, ["first"], "it waits");
    assert!(!a.delivered.contains(&second.id));
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["first", "second"]);
    assert!(a.delivered.contains(&second.id));
}

#[test]
fn a_hash_means_nothing_in_another_session() {
    let (mut a, mut b) = guarded();
    let (to, whole) = (b.peer.id(), token(&a, &b));
    let first = with_token(&mut a, "first", &whole);
    a.post(to, &first);
    settle(&mut a, &mut b);

    // Another agent names the token that came in the session of the first.
    let mut c = Agent::new(3);
    guard(&mut c);
    c.know(&b.peer);
    b.know(&c.peer);
    let opening_token = mint(c.peer.id(), to, "t-2", "j-c", START);
    let opening = with_token(&mut c, "opening", &opening_token);
    c.post(to, &opening);
    settle(&mut c, &mut b);
    let mut thief = c.letter("stolen");
    thief.set_token(whole.clone());
    let hash = nuncio_proto::token::hash_of(&whole);
    let session = c.peer.sessions().find(|(_, current)| *current).unwrap().0.clone();
    thief.set_token(hash.to_vec());
    let sealing = session.seal(&thief.encode(), [5; 12]).unwrap();
    b.receive(c.peer.id(), &sealing.frame).unwrap();
    b.run();
    let asks = |(key, value): &(Vec<u8>, Vec<u8>)| {
        key[0] == nuncio_proto::rows::OUTBOX && value.windows(hash.len()).any(|part| part == hash)
    };
    assert!(b.records().iter().any(asks), "it does not know the token, though another session does: it asks");
    assert_eq!(b.inbox, ["first", "opening"], "it waits for a token that its sender cannot show");
    later(time::TOKEN_WAIT + 1, [&mut b, &mut c]);
    b.run();
    assert_eq!(b.inbox, ["first", "opening"]);
}

#[test]
fn a_letter_waits_for_the_key_of_its_token_and_so_do_those_behind_it() {
    let (mut a, mut b) = guarded();
    b.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
    let (to, token) = (b.peer.id(), token(&a, &b));
    for text in ["one", "two"] {
        let letter = with_token(&mut a, text, &token);
        a.post(to, &letter);
    }
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.len(), a.delivered.len(), b.keys_wanted), (0, 0, 2));
    b.peer.set_verifier(|verifier| verifier.set_keys(keys()));
    settle(&mut a, &mut b);
    assert_eq!((&b.inbox, a.delivered.len()), (&vec!["one".to_owned(), "two".to_owned()], 2));
}

#[test]
fn a_restart_in_the_middle_of_waiting_loses_nothing() {
    let (mut a, mut b) = guarded();
    b.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
    let (to, token) = (b.peer.id(), token(&a, &b));
    let letter = with_token(&mut a, "waits", &token);
    a.post(to, &letter);
    settle(&mut a, &mut b);
    a.restart();
    b.restart();
    b.peer.set_verifier(|verifier| {
        verifier.set_domain(DOMAIN);
        verifier.set_policy(Policy::default());
    });
    settle(&mut a, &mut b);
    assert!(b.inbox.is_empty() && b.keys_wanted > 0);
    guard(&mut b);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["waits"]);
    assert_eq!(a.delivered, [letter.id]);
}

#[test]
fn a_key_that_cannot_be_had_refuses_the_letter_in_the_end() {
    let (mut a, mut b) = guarded();
    b.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
    let (to, token) = (b.peer.id(), token(&a, &b));
    let letter = with_token(&mut a, "no key", &token);
    a.post(to, &letter);
    settle(&mut a, &mut b);
    later(time::TOKEN_WAIT, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &letter), Some(code::TOKEN_KEY));
    // What was behind it is not held up any longer.
    guard(&mut b);
    let next = with_token(&mut a, "next", &token);
    a.post(to, &next);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["next"]);
}

/// contracts/token.md K18: an hour forward and right again, or back and right again, while a letter waits.
#[test]
fn a_letter_waits_for_a_key_neither_shorter_nor_longer_for_a_clock_that_is_put() {
    const HOUR_MS: i64 = 3_600_000;
    for off_ms in [HOUR_MS, -HOUR_MS] {
        let waiting = || {
            let (mut a, mut b) = guarded();
            b.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
            let token = token(&a, &b);
            let letter = with_token(&mut a, "waits", &token);
            a.post(b.peer.id(), &letter);
            settle(&mut a, &mut b);
            (a, b, letter)
        };
        let put = |agent: &mut Agent, off_ms| {
            agent.now = UnixMillis(agent.now.0.saturating_add_signed(off_ms));
            agent.peer.clock_was_set(agent.now);
            agent.run();
        };
        // The key comes once the clock is right again.
        let (mut a, mut b, letter) = waiting();
        put(&mut b, off_ms);
        put(&mut b, -off_ms);
        b.peer.set_verifier(|verifier| verifier.set_keys(keys()));
        settle(&mut a, &mut b);
        assert_eq!((a.delivered.as_slice(), failure(&a, &letter)), ([letter.id].as_slice(), None), "{off_ms}");
        // No key comes.
        let (mut a, mut b, letter) = waiting();
        put(&mut b, off_ms);
        settle(&mut a, &mut b);
        assert_eq!(failure(&a, &letter), None, "it is given up at once, {off_ms}");
        later(time::TOKEN_WAIT, [&mut a, &mut b]);
        settle(&mut a, &mut b);
        // To a clock that is behind, a letter is of the future.
        let why = if off_ms > 0 { code::TOKEN_KEY } else { code::FUTURE };
        assert_eq!(failure(&a, &letter), Some(why), "it waits for an hour, {off_ms}");
    }
}

#[test]
fn a_token_that_expired_on_the_way_is_renewed_and_its_letter_goes_again() {
    let (mut a, mut b) = guarded();
    let to = b.peer.id();
    let letter = {
        let token = token(&a, &b);
        with_token(&mut a, "late", &token)
    };
    a.post(to, &letter);
    a.run();
    let lost = core::mem::take(&mut a.out);
    assert!(!a.wants.is_empty() || !lost.is_empty());
    // The session is begun and the letter sealed; then the network is away for longer than the token lives.
    agent::answer_claims(&mut a, &mut b);
    a.run();
    a.out.clear();
    later(120_000 + time::TOKEN_SKEW + 1_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!((a.over.as_slice(), failure(&a, &letter), b.inbox.len()), ([letter.id].as_slice(), None, 0));

    let fresh = mint(a.peer.id(), to, "t-1", "j-2", a.now);
    let step = a.peer.retoken(to, letter.id, &fresh).unwrap();
    a.take(step);
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.as_slice(), a.delivered.as_slice()), (["late".to_owned()].as_slice(), [letter.id].as_slice()));
}

#[test]
fn a_letter_whose_token_is_not_renewed_fails_with_that_reason() {
    let (mut a, mut b) = guarded();
    let to = b.peer.id();
    let letter = {
        let token = token(&a, &b);
        with_token(&mut a, "never", &token)
    };
    a.post(to, &letter);
    later(121_000, [&mut a, &mut b]);
    // Not sealed yet: it is not even tried.
    settle(&mut a, &mut b);
    assert_eq!(a.over, [letter.id]);
    let step = a.peer.give_up_token(to, letter.id).unwrap();
    a.take(step);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &letter), Some(code::TOKEN_EXPIRED));
}

#[test]
fn a_letter_is_not_sealed_again_for_ever() {
    let (mut a, mut b) = guarded();
    let to = b.peer.id();
    // The receiver's clock is ahead: every token is over when it comes.
    b.now = b.now.plus(120_000 + time::TOKEN_SKEW + 60_000);
    let letter = {
        let token = token(&a, &b);
        with_token(&mut a, "again and again", &token)
    };
    a.post(to, &letter);
    for round in 0..10 {
        settle(&mut a, &mut b);
        if a.over.pop().is_none() {
            break;
        }
        let fresh = mint(a.peer.id(), to, "t-1", &format!("j-{round}"), a.now);
        let step = a.peer.retoken(to, letter.id, &fresh).unwrap();
        a.take(step);
    }
    assert_eq!(failure(&a, &letter), Some(code::TOKEN_EXPIRED));
    assert!(b.inbox.is_empty());
}

#[test]
fn a_letter_that_was_good_when_it_came_is_judged_again_in_its_turn() {
    for revoked in [false, true] {
        let (mut a, mut b) = guarded();
        let (to, token) = (b.peer.id(), token(&a, &b));
        let opening = with_token(&mut a, "opening", &token);
        a.post(to, &opening);
        settle(&mut a, &mut b);
        let (first, second) = (with_token(&mut a, "first", &token), with_token(&mut a, "second", &token));
        a.post(to, &first);
        a.post(to, &second);
        a.run();
        let frames = core::mem::take(&mut a.out);
        b.receive(a.peer.id(), &frames[1]).unwrap();
        if revoked {
            b.peer.set_verifier(|verifier| verifier.set_revoked(BTreeSet::from(["t-1".to_owned()])));
        } else {
            later(120_000 + time::TOKEN_SKEW, [&mut a, &mut b]);
        }
        b.receive(a.peer.id(), &frames[0]).unwrap();
        settle(&mut a, &mut b);
        assert_eq!(b.inbox, ["opening"], "revoked: {revoked}");
        if revoked {
            assert_eq!([failure(&a, &first), failure(&a, &second)], [Some(code::TOKEN_REVOKED); 2]);
        } else {
            assert_eq!(BTreeSet::from_iter(a.over.clone()), BTreeSet::from([first.id, second.id]));
        }
    }
}

#[test]
fn a_stolen_token_opens_nothing() {
    let (mut a, mut b) = guarded();
    let mut c = Agent::new(3);
    guard(&mut c);
    c.know(&b.peer);
    b.know(&c.peer);
    let (to, stolen) = (b.peer.id(), token(&a, &b));
    let theft = with_token(&mut c, "not mine", &stolen);
    c.post(to, &theft);
    settle(&mut c, &mut b);
    assert_eq!(failure(&c, &theft), Some(code::TOKEN_SENDER));
    let elsewhere = mint(a.peer.id(), c.peer.id(), "t-1", "j-1", START);
    let astray = with_token(&mut a, "astray", &elsewhere);
    a.post(to, &astray);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &astray), Some(code::TOKEN_RECEIVER));
    assert!(b.inbox.is_empty());
}

#[test]
fn a_token_that_is_not_critical_or_no_token_is_refused() {
    let (mut a, mut b) = guarded();
    let to = b.peer.id();
    let opening = {
        let token = token(&a, &b);
        with_token(&mut a, "opening", &token)
    };
    a.post(to, &opening);
    settle(&mut a, &mut b);
    let other = mint(a.peer.id(), to, "t-1", "j-2", START);
    let mut letter = with_token(&mut a, "not critical", &other);
    letter.extensions[0].critical = false;
    a.post(to, &letter);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &letter), Some(code::TOKEN_MALFORMED));
    let mut no_token = a.letter("no token");
    no_token.set_token(b"no token at all, but long enough for one".to_vec());
    assert!(a.peer.send(to, &no_token, a.now).is_err(), "not even sent");
}

#[test]
fn what_is_delivered_keeps_its_token_through_a_restart() {
    let (mut a, mut b) = guarded();
    let letter = {
        let token = token(&a, &b);
        with_token(&mut a, "kept", &token)
    };
    a.post(b.peer.id(), &letter);
    settle(&mut a, &mut b);
    let (key, value) = b.records().into_iter().find(|(key, _)| key[0] == nuncio_proto::rows::INBOX).unwrap();
    let arrival = nuncio_proto::step::Arrival::from_row(&key, &value).unwrap();
    assert_eq!(arrival.token.unwrap().claims().sub, "user:anna");
    assert!(arrival.letter.extension(extension::TOKEN).is_some());
}

#[test]
fn a_peer_that_asks_for_tokens_without_end_is_answered_within_bounds() {
    let (mut a, mut b) = guarded();
    let (to, token) = (b.peer.id(), token(&a, &b));
    let opening = with_token(&mut a, "opening", &token);
    a.post(to, &opening);
    settle(&mut a, &mut b);
    let waiting = with_token(&mut a, "under way", &token);
    a.post(to, &waiting);
    a.run();
    a.out.clear();
    let mut session = b.peer.sessions().find(|(_, current)| *current).unwrap().0.clone();
    for number in 0..u16::try_from(limit::REFUSALS_MAX).unwrap() + 40 {
        let mut letter = b.letter("");
        letter.kind = nuncio_proto::letter::LetterKind::Control;
        letter.content_type = ContentType::CBOR;
        letter.payload = nuncio_proto::control::Control::TokenWanted(nuncio_proto::token::hash_of(&token)).encode();
        let nonce: [u8; 12] = core::array::from_fn(|at| number.to_be_bytes()[at % 2]);
        let sealing = session.seal(&letter.encode(), nonce).unwrap();
        let frame = sealing.frame.clone();
        session.accept_sealed(sealing, u64::from(number));
        let _ = a.receive(to, &frame);
    }
    let controls = a.records().iter().filter(|(key, _)| key[0] == nuncio_proto::rows::OUTBOX).count();
    assert!(controls <= limit::REFUSALS_MAX + 2, "{controls}");
}
