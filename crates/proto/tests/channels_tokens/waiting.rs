//! Letters to a channel that wait: for the keys of their tokens, for fresh tokens, for their turn.

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::channel::ChannelPlace;
use nuncio_proto::rows;
use nuncio_proto::token::{KeySet, Policy};

use super::forged::Forger;
use super::{LONG, SIZES, failure, guard, guarded, keys, mint, send, token, with_token};

/// contracts/channel.md C71, C45: nothing is acknowledged before it is decided, nothing behind it is handed out before it, through a restart.
#[test]
fn a_letter_waits_for_the_key_of_its_token() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        let forget = |group: &mut super::Group| {
            group.agents[2].peer.set_verifier(|verifier| {
                verifier.set_policy(Policy::tokenless());
                verifier.set_keys(KeySet::default());
            });
        };
        forget(&mut group);
        let (waiting, reader) = (send(&mut group, 1, channel, "one"), group.id(2));
        let behind = group.send(1, channel, "two");
        for agent in [0, 3] {
            group.agents[agent].peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        }
        group.pass(time::TOKEN_WAIT / 4, 4);
        assert_eq!(group.agents[2].texts(channel), [""; 0], "{size}");
        let told = |group: &super::Group, id| group.agents[1].delivered.contains(&(reader, id));
        assert!(!told(&group, waiting) && !told(&group, behind), "{size}");
        let now = group.now;
        group.agents[2].restart(now);
        guard(&mut group, 2);
        forget(&mut group);
        group.pass(time::TOKEN_WAIT / 4, 4);
        assert!(!told(&group, waiting), "{size}");
        group.agents[2].peer.set_verifier(|verifier| verifier.set_keys(keys()));
        group.pass(LONG / 10, 4);
        assert_eq!(group.agents[2].texts(channel), ["one", "two"], "{size}");
        assert!(told(&group, waiting) && told(&group, behind), "{size}");
    }
}

/// contracts/channel.md C71: a key that cannot be had.
#[test]
fn a_letter_whose_key_never_comes_is_refused() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        for agent in &mut group.agents {
            agent.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
        }
        let letter = send(&mut group, 1, channel, "one");
        group.pass(2 * time::TOKEN_WAIT, 20);
        assert_eq!(failure(&group, 1, letter), Some(code::TOKEN_KEY), "{size}");
        for at in 0..size {
            guard(&mut group, at);
        }
        send(&mut group, 1, channel, "two");
        group.pass(LONG / 10, 4);
        assert_eq!(group.agents[2].texts(channel), ["two"], "{size}");
    }
}

/// contracts/channel.md C71: its own time runs out while it waits for a key, and nothing turns in a circle meanwhile.
#[test]
fn a_letter_may_wait_for_its_key_beyond_its_deadline() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        for agent in &mut group.agents {
            agent.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
        }
        let token = token(&group, 1, channel, "t-1");
        let mut letter = with_token(&mut group, 1, "short", &token);
        letter.deadline = Some(group.now.plus(time::TOKEN_WAIT / 4));
        group.post(1, channel, &letter);
        group.pass(2 * time::TOKEN_WAIT, 20);
        assert_eq!(failure(&group, 1, letter.id), Some(code::EXPIRED), "{size}");
        assert!(group.agents.iter().all(|agent| agent.inbox.is_empty()), "{size}");
    }
}

/// contracts/channel.md C73: whoever was away is sent the letter again with a fresh token.
#[test]
fn a_letter_whose_token_has_expired_goes_again_with_a_fresh_one() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        let late = group.id(2);
        group.agents[2].away = true;
        let letter = send(&mut group, 1, channel, "news");
        group.pass(4 * 60_000, 40);
        group.agents[2].away = false;
        group.pass(LONG, 20);
        assert_eq!(group.agents[2].texts(channel), [""; 0], "{size}");
        assert!(group.agents[1].stale.contains(&(late, letter)), "{size}: a fresh token is wanted");
        let fresh = token(&group, 1, channel, "t-1");
        let one = &mut group.agents[1];
        let step = one.peer.retoken(late, letter, &fresh).unwrap();
        one.take(step);
        group.pass(LONG / 10, 4);
        assert_eq!(group.agents[2].texts(channel), ["news"], "{size}");
        assert_eq!(group.agents[0].texts(channel), ["news"], "{size}: nobody hears it twice");
        assert_eq!(failure(&group, 1, letter), None);
        assert!(group.agents[1].delivered.contains(&(late, letter)));
        assert!(group.agents[1].peer.channel_left(&channel, &letter).is_empty());
    }
}

/// contracts/channel.md C74: what was revoked before its turn is not handed out.
#[test]
fn a_letter_is_not_handed_out_once_its_transaction_is_revoked() {
    for size in SIZES {
        let (mut group, channel) = guarded(size);
        group.cut.insert((0, 2));
        let question = send(&mut group, 0, channel, "question");
        group.settle();
        let mut texts = Vec::new();
        for (text, txn) in [("answer", "t-2"), ("another", "t-3")] {
            let token = mint(group.id(1), channel, txn, group.now, None);
            let mut answer = with_token(&mut group, 1, text, &token);
            answer.reply_to = Some(question);
            group.post(1, channel, &answer);
            texts.push(text);
        }
        group.pass(time::ACK_DELAY * 2, 2);
        assert_eq!(group.agents[2].texts(channel), [""; 0], "they wait for the question");
        group.agents[2].peer.set_verifier(|verifier| verifier.set_revoked(["t-2".to_owned()].into()));
        group.cut.clear();
        group.pass(LONG / 4, 10);
        assert_eq!(group.agents[2].texts(channel), ["question", "another"], "{size}");
        assert_eq!(group.agents[3].texts(channel), ["question", "answer", "another"], "{size}");
    }
}

/// contracts/channel.md C72: what waits for a key may be refused, and there is an end to what is to be told.
#[test]
fn refusals_that_nobody_acknowledges_have_an_end() {
    let (mut group, channel) = guarded(10);
    let chains: Vec<_> = (1..=6).map(|one| (100 * one, group.hand_chain([1, 2], channel, 100 * one))).collect();
    group.agents[2].peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
    let (from, epoch) = (group.id(1), group.agents[1].peer.channel(&channel).unwrap().epoch());
    let owed = |group: &super::Group| group.agents[2].disk.0.keys().filter(|key| key[0] == rows::OUTBOX).count();
    // It hears none of them.
    group.cut.insert((1, 2));
    for (first, key) in &chains {
        for seq in *first..first + 60 {
            let token = token(&group, 1, channel, "t-1");
            let mut letter = with_token(&mut group, 1, "for nothing", &token);
            letter.set_extension(ChannelPlace { channel, epoch, seq }.extension());
            let frame = group.forge(key, seq, [1, 2], seq, &letter);
            let (now, agent) = (group.now, &mut group.agents[2]);
            if let Ok(step) = agent.peer.receive(Some(from), &frame, now, &mut agent.rng, &agent.disk) {
                agent.take(step);
            }
        }
        group.pass(2 * time::TOKEN_WAIT, 10);
    }
    // And a word or two beside them.
    assert!((120..=limit::REFUSALS_MAX + 4).contains(&owed(&group)), "{}", owed(&group));
}

/// contracts/letter.md L10: a letter that is refused in its turn, for its age, is no duplicate when it comes again.
#[test]
fn a_letter_that_was_refused_in_its_turn_may_come_again() {
    [true, false].into_iter().for_each(refused_in_its_turn);
}

fn refused_in_its_turn(starts: bool) {
    let (mut group, channel) = guarded(10);
    let late = group.id(2);
    group.cut.insert((1, 2));
    let first = send(&mut group, 1, channel, "first");
    group.settle();
    group.cut.clear();
    let second = send(&mut group, 1, channel, "second");
    group.carry(1);
    // It is here, and waits for the first, and its reader sleeps.
    assert_eq!(group.agents[2].texts(channel), [""; 0]);
    group.now = group.now.plus(10 * 60_000);
    let now = group.now;
    if starts {
        group.agents[2].restart(now);
        guard(&mut group, 2);
    }
    group.pass(LONG, 20);
    for letter in [first, second] {
        assert!(group.agents[1].stale.contains(&(late, letter)), "a fresh token is wanted");
        let fresh = token(&group, 1, channel, "t-1");
        let one = &mut group.agents[1];
        let step = one.peer.retoken(late, letter, &fresh).unwrap();
        one.take(step);
    }
    group.pass(LONG, 10);
    let mut texts = group.agents[2].texts(channel);
    texts.sort_unstable();
    assert_eq!(texts, ["first", "second"]);
}

/// contracts/letter.md L9: a letter that waits for its key is not delivered beside the one with its id that came in the session.
#[test]
fn one_id_is_delivered_once_where_one_of_two_waits_for_a_key() {
    let (mut group, channel) = guarded(11);
    group.agents[2].peer.set_verifier(|verifier| {
        verifier.set_policy(Policy::tokenless());
        verifier.set_keys(KeySet::default());
    });
    let mut forger = Forger::new(&mut group, 1, channel);
    let token = token(&group, 1, channel, "t-1");
    let place = ChannelPlace { channel, epoch: forger.epoch, seq: forger.seq };
    let mut letter = with_token(&mut group, 1, "once", &token);
    letter.set_extension(place.extension());
    forger.give(&mut group, 2, &letter, true);
    assert_eq!(group.agents[2].texts(channel), [""; 0]);
    let (now, to) = (group.now, group.id(2));
    let mut again = nuncio_proto::letter::Letter::plain(letter.id, letter.content_type.clone(), letter.payload.clone());
    again.set_extension(ChannelPlace { seq: forger.seq, ..place }.extension());
    let one = &mut group.agents[1];
    let step = one.peer.send(to, &again, now).unwrap();
    one.take(step);
    group.pass(2 * time::RESEND_FIRST, 2);
    group.agents[2].peer.set_verifier(|verifier| verifier.set_keys(keys()));
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].texts(channel), ["once"]);
    let left = group.agents[2].disk.0.keys().filter(|key| key[0] == rows::CHANNEL_HELD).count();
    assert_eq!(left, 0);
}
