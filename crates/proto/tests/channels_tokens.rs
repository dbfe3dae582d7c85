//! Tokens of letters to channels, refusals of letters that were sealed once, and what is written down of them (contracts/channel.md section 14).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use group::{Group, LONG};
use minting::{DOMAIN, keys, minted};
use nuncio_contracts::registry::{code, time};
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{PayloadHash, Policy, Receiver};
use serde_json::{Value, json};

#[path = "channels_tokens/audited.rs"]
mod audited;
#[path = "channels_tokens/forged.rs"]
mod forged;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "channels/group.rs"]
mod group;
#[path = "letters_with_tokens/minting.rs"]
mod minting;
#[path = "channels_tokens/refused.rs"]
mod refused;
#[path = "channels_tokens/waiting.rs"]
mod waiting;

/// Small channels go by sessions, large ones by frames that are sealed once.
const SIZES: [usize; 2] = [4, 11];

/// A token of an agent, good for two minutes from a time.
fn mint(from: AgentId, to: impl Into<Receiver>, txn: &str, at: UnixMillis, pay: Option<Value>) -> Vec<u8> {
    minted(from, to, txn, &format!("{txn} of {from} at {}", at.0 / 1_000), at, pay)
}

/// Judges tokens of the domain, and lets nothing pass without one.
fn guard(group: &mut Group, at: usize) {
    group.agents[at].peer.set_verifier(|verifier| {
        verifier.set_domain(DOMAIN);
        verifier.set_keys(keys());
        verifier.set_policy(Policy::default());
    });
}

/// A channel whose members all have sessions with each other, and let nothing pass without a token from now on.
fn guarded(members: usize) -> (Group, ChannelId) {
    let mut group = Group::new(members);
    let channel = group.create(0, "travel");
    guard_all(group, channel, members)
}

fn guard_all(mut group: Group, channel: ChannelId, members: usize) -> (Group, ChannelId) {
    group.fill(channel, members);
    for at in 0..members {
        group.send(at, channel, "so that all have sessions");
    }
    group.pass(LONG, 10);
    for at in 0..members {
        guard(&mut group, at);
        let agent = &mut group.agents[at];
        agent.inbox.clear();
        agent.grants.clear();
        agent.delivered.clear();
    }
    (group, channel)
}

fn with_token(group: &mut Group, by: usize, text: &str, token: &[u8]) -> Letter {
    let mut letter = group.letter(by, text);
    letter.set_token(token.to_vec());
    letter
}

fn token(group: &Group, by: usize, channel: ChannelId, txn: &str) -> Vec<u8> {
    mint(group.id(by), channel, txn, group.now, None)
}

/// Sends a letter with a token of its author for the channel.
fn send(group: &mut Group, by: usize, channel: ChannelId, text: &str) -> LetterId {
    let token = token(group, by, channel, "t-1");
    let letter = with_token(group, by, text, &token);
    group.post(by, channel, &letter)
}

/// Why a letter has failed for others, if it has for all of them with one code.
fn failure(group: &Group, by: usize, letter: LetterId) -> Option<u16> {
    let failed: Vec<_> = group.agents[by].failed.iter().filter(|(_, id, _)| *id == letter).collect();
    let to: BTreeSet<AgentId> = failed.iter().map(|(to, ..)| *to).collect();
    let codes: BTreeSet<u16> = failed.iter().map(|(.., code)| *code).collect();
    assert!(failed.is_empty() || (codes.len() == 1 && to.len() == group.agents.len() - 1), "{failed:?}");
    assert!(!group.agents[by].delivered.iter().any(|(_, id)| *id == letter) || failed.is_empty(), "told both");
    codes.first().copied()
}

/// contracts/channel.md C70: one token is good for every member, whichever way the letter goes.
#[test]
fn a_letter_to_a_channel_acts_in_a_transaction() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        for text in ["one", "two"] {
            let letter = send(&mut group, 1, channel, text);
            group.pass(LONG / 10, 4);
            assert_eq!(group.agents[1].delivered.iter().filter(|(_, id)| *id == letter).count(), size - 1);
        }
        for at in (0..size).filter(|at| *at != 1) {
            assert_eq!(group.agents[at].texts(channel), ["one", "two"], "agent {at} of {size}");
            assert_eq!(group.agents[at].grants, [Some("t-1".to_owned()), Some("t-1".to_owned())]);
        }
    }
}

/// contracts/token.md K19: whoever wants tokens wants them of letters to channels too.
#[test]
fn a_letter_to_a_channel_without_a_token_is_refused_where_one_is_wanted() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        let bare = group.send(1, channel, "bare");
        group.pass(LONG, 10);
        assert_eq!(failure(&group, 1, bare), Some(code::TOKEN_MISSING), "{size}");
        assert!(group.agents.iter().all(|agent| agent.inbox.is_empty()));
        // The channel goes on.
        send(&mut group, 1, channel, "heard");
        group.pass(LONG, 10);
        assert_eq!(group.agents[2].texts(channel), ["heard"]);
    }
}

/// contracts/token.md steps 7 to 14 of a letter to a channel.
#[test]
fn a_token_that_is_not_of_this_author_for_this_channel_is_refused() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        let other = ChannelId::from_bytes([7; 32]);
        let (author, member, now) = (group.id(1), group.id(2), group.now);
        let early = UnixMillis(now.0 + 600_000);
        let pay = || {
            let wrong = PayloadHash::new([1; 16], b"another letter").to_string();
            let (salt, hash) = wrong.split_once('.').unwrap();
            Some(json!({ "salt": salt, "hash": hash }))
        };
        let cases = [
            (mint(author, member, "t-1", now, None), code::TOKEN_RECEIVER, "a pair's"),
            (mint(author, author, "t-1", now, None), code::TOKEN_RECEIVER, "its own"),
            (mint(author, other, "t-1", now, None), code::TOKEN_RECEIVER, "another channel's"),
            (mint(member, channel, "t-1", now, None), code::TOKEN_SENDER, "another member's"),
            (mint(author, channel, "t-1", early, None), code::TOKEN_EARLY, "of later"),
            (mint(author, channel, "t-1", now, pay()), code::TOKEN_PAYLOAD, "another letter's"),
        ];
        for (token, expected, what) in cases {
            let letter = with_token(&mut group, 1, what, &token);
            let letter = group.post(1, channel, &letter);
            group.pass(8 * time::RESEND_FIRST, 8);
            assert_eq!(failure(&group, 1, letter), Some(expected), "{what} of {size}");
            assert!(group.agents.iter().all(|agent| agent.inbox.is_empty()), "{what} of {size}");
        }
    }
}

/// contracts/token.md step 9: what is for a channel is for no agent alone.
#[test]
fn a_channels_token_is_worth_nothing_beside_the_channel() {
    let (mut group, channel) = guarded(4);
    let token = token(&group, 0, channel, "t-1");
    let (letter, to, now) = (with_token(&mut group, 0, "beside", &token), group.id(1), group.now);
    let one = &mut group.agents[0];
    let step = one.peer.send(to, &letter, now).unwrap();
    one.take(step);
    group.pass(LONG / 10, 4);
    assert!(group.agents[0].failed.contains(&(to, letter.id, code::TOKEN_RECEIVER)));
    assert!(group.agents[1].inbox.is_empty());
}

/// contracts/token.md K8: bound to a letter before its place is known.
#[test]
fn a_token_is_bound_to_one_letter_of_a_channel() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        let mut letter = group.letter(1, "this one");
        let hash = PayloadHash::new([3; 16], &letter.bound_content()).to_string();
        let (salt, hash) = hash.split_once('.').unwrap();
        let token = mint(group.id(1), channel, "t-1", group.now, Some(json!({ "salt": salt, "hash": hash })));
        letter.set_token(token.clone());
        group.post(1, channel, &letter);
        let other = with_token(&mut group, 1, "another one", &token);
        let other = group.post(1, channel, &other);
        group.pass(LONG / 10, 4);
        assert_eq!(group.agents[2].texts(channel), ["this one"], "{size}");
        assert_eq!(failure(&group, 1, other), Some(code::TOKEN_PAYLOAD), "{size}");
    }
}

/// contracts/channel.md C70: a proof of a letter that is sealed once is for the channel and the chain, of one in a session for that.
#[test]
fn a_hop_proof_is_wanted_and_given_in_a_channel() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        for agent in &mut group.agents {
            agent.peer.set_verifier(|verifier| {
                verifier.set_policy(Policy { wants_proof: true, ..Policy::default() });
            });
        }
        let bare = send(&mut group, 1, channel, "bare");
        group.pass(LONG / 10, 4);
        assert_eq!(failure(&group, 1, bare), Some(code::TOKEN_PROOF), "{size}");
        let token = token(&group, 1, channel, "t-2");
        let mut letter = with_token(&mut group, 1, "proved", &token);
        letter.want_proof();
        group.post(1, channel, &letter);
        group.pass(LONG / 10, 4);
        for at in (0..size).filter(|at| *at != 1) {
            assert_eq!(group.agents[at].texts(channel), ["proved"], "agent {at} of {size}");
        }
    }
}

/// contracts/token.md K19: an answer that is awaited without a token is one to this agent, not to a channel.
#[test]
fn nothing_is_awaited_in_a_channel_without_a_token() {
    let (mut group, channel) = guarded(4);
    let asked = group.letter(0, "when?").id;
    let by = group.id(1);
    group.agents[0].peer.await_answer(by, asked);
    let mut answer = group.letter(1, "noon");
    answer.reply_to = Some(asked);
    group.post(1, channel, &answer);
    group.pass(LONG, 10);
    assert_eq!(failure(&group, 1, answer.id), Some(code::TOKEN_MISSING));
    assert!(group.agents[0].inbox.is_empty());
}
