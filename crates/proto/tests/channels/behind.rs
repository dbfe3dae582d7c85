//! Members that were away for many chains of the others catch up, and nobody makes another forget chains.

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::channel::{Change, Outgoing, Says};
use nuncio_proto::ids::ChannelId;
use nuncio_proto::rows;
use nuncio_proto::testing::rng;

use super::LONG;
use super::group::Group;

/// Longer than any chain.
const HOUR: u64 = time::CHANNEL_CHAIN_LIFE + time::CLOCK_SKEW;

/// Ten, of whom the ninth has no mailbox and goes away.
fn one_is_away() -> (Group, ChannelId) {
    let (mut group, channel) = Group::settled(10, 0);
    group.agents[8].away = true;
    (group, channel)
}

/// What one has of another, each once, in its order.
fn heard(group: &Group, at: usize, of: usize, channel: ChannelId) -> Vec<String> {
    let from = group.id(of);
    let theirs = group.agents[at].inbox.iter().filter(|came| came.from == from && came.channel == Some(channel));
    theirs.map(|came| came.text.clone()).collect()
}

fn said(of: usize, rounds: usize) -> Vec<String> {
    (0..rounds).map(|round| format!("{round} of {of}")).collect()
}

fn rows_of(group: &Group, at: usize, tree: u8) -> usize {
    group.agents[at].disk.0.keys().filter(|key| key[0] == tree).count()
}

/// Two members say something in a chain of its own each hour; the channel changes now and then, where it is to.
fn speak(group: &mut Group, channel: ChannelId, rounds: usize, changes: bool) {
    for round in 0..rounds {
        group.pass(HOUR, 1);
        if changes && round % 3 == 1 {
            group.change(0, channel, Change::Rename(format!("round {round}"))).unwrap();
            group.settle();
        }
        for by in [1, 2] {
            group.send(by, channel, &format!("{round} of {by}"));
        }
        group.settle();
        if round % 10 == 5 {
            let now = group.now;
            group.agents[1].restart(now);
        }
    }
}

fn assert_all_there(group: &Group, channel: ChannelId, rounds: usize) {
    for of in [1, 2] {
        assert_eq!(heard(group, 8, of, channel), said(of, rounds), "of {of}");
        assert!(group.agents[of].failed.is_empty(), "{:?}", group.agents[of].failed);
        assert_eq!(rows_of(group, of, rows::CHANNEL_OUT), 0, "all acknowledged");
    }
    for tree in [rows::CHANNEL_CHAIN, rows::CHANNEL_EARLY, rows::CHANNEL_KEY, rows::CHANNEL_HELD] {
        assert_eq!(rows_of(group, 8, tree), 0, "nothing is left of tree {tree}");
    }
}

/// contracts/channel.md C30: as many chains as letters were sealed in meanwhile.
#[test]
fn who_was_away_for_thirty_chains_has_every_letter_once_and_in_order() {
    let (mut group, channel) = one_is_away();
    speak(&mut group, channel, 30, false);
    group.agents[8].away = false;
    group.pass(LONG, 10);
    assert_all_there(&group, channel, 30);
}

/// The same, with starts of both ends between, frames that are lost, and the chains before the letters.
#[test]
fn who_was_away_catches_up_through_starts_and_losses() {
    let (mut group, channel) = one_is_away();
    speak(&mut group, channel, 30, true);
    // A start while all chains are here, and no letter.
    hear_words(&mut group, 1, |group| rows_of(group, 8, rows::CHANNEL_CHAIN) >= 20);
    let now = group.now;
    group.agents[8].restart(now);
    for round in 0..40 {
        let now = group.now;
        match round % 4 {
            0 => group.agents[8].restart(now),
            2 => group.agents[1 + round / 4 % 2].restart(now),
            _ => {}
        }
        // Half of the rounds end behind what a few carry.
        for at in (0..30).map(|step| step % 10) {
            group.carry(at);
        }
        group.now = group.now.plus(time::RESEND_FIRST);
    }
    group.pass(LONG, 20);
    assert_all_there(&group, channel, 30);
}

/// One hears what another has to say in sessions alone: the frames behind it are not sent yet.
fn hear_words(group: &mut Group, of: usize, is_enough: impl Fn(&Group) -> bool) {
    group.agents[8].away = false;
    for _ in 0..20 {
        group.now = group.now.plus(time::RESEND_MAX);
        group.carry(of);
        if is_enough(group) {
            return;
        }
        group.carry(8);
    }
    panic!("nothing has come");
}

/// Each letter in an epoch of its own, with another between of which the member that is away is not told.
fn speak_in_epochs(group: &mut Group, channel: ChannelId, rounds: usize) {
    for round in 0..rounds {
        for name in ["one", "other"] {
            group.change(0, channel, Change::Rename(format!("{name} {round}"))).unwrap();
            group.settle();
        }
        for by in [1, 2] {
            let now = group.now;
            group.agents[by].restart(now);
            group.send(by, channel, &format!("{round} of {by}"));
        }
        group.pass(time::ACK_DELAY * 2, 1);
    }
}

/// contracts/channel.md C54: so many chains wait for the record, also through a start.
#[test]
fn chains_of_thirty_epochs_wait_for_the_record() {
    let (mut group, channel) = one_is_away();
    speak_in_epochs(&mut group, channel, 30);
    for of in [1, 2] {
        hear_words(&mut group, of, |group| rows_of(group, 8, rows::CHANNEL_KEY) >= 30 * of);
    }
    let now = group.now;
    group.agents[8].restart(now);
    group.pass(LONG, 20);
    assert_all_there(&group, channel, 30);
}

/// Chains that wait for the record are no more than those that are over, whoever hands them over.
#[test]
fn chains_of_epochs_that_never_come_are_bounded() {
    let (mut group, channel) = Group::settled(3, 0);
    // An epoch that nobody has any more.
    let (now, copy) = (group.now, group.agents[0].disk.0.clone());
    group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
    let record = group.agents[0].peer.channel(&channel).unwrap().clone();
    group.agents[0].disk.0 = copy;
    group.agents[0].restart(now);
    let ([me, victim], mut rng) = ([1, 2].map(|at| group.id(at)), rng(7));
    let mut outgoing = Outgoing::new(&record, me);
    for first in 0..=u64::try_from(limit::CHANNEL_CHAINS_MAX).unwrap() {
        outgoing.skip_to(first);
        let chain = outgoing.begin(&record, now, &mut rng).unwrap();
        let (_, key) = chain.keys().iter().find(|(agent, _)| *agent == victim).unwrap();
        group.say(1, 2, channel, Says::Key(key.encode()));
        if first % 256 == 0 {
            group.settle();
        }
    }
    group.settle();
    assert_eq!(rows_of(&group, 2, rows::CHANNEL_KEY), limit::CHANNEL_CHAINS_MAX);
    group.agents[2].restart(now);
    let age = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW + 1;
    let step = group.agents[2].peer.forget_channel_keys(now.plus(age)).unwrap();
    group.agents[2].take(step);
    assert_eq!(rows_of(&group, 2, rows::CHANNEL_KEY), 0, "nor do they wait for ever");
}

/// Rows as an earlier version wrote them: all chains of a sender in one.
#[test]
fn chains_that_an_earlier_version_kept_together_are_read() {
    let (mut group, channel) = one_is_away();
    speak(&mut group, channel, 4, false);
    speak_in_epochs(&mut group, channel, 4);
    hear_words(&mut group, 1, |group| rows_of(group, 8, rows::CHANNEL_KEY) > 0);
    let disk = &mut group.agents[8].disk.0;
    for (tree, head, count) in [(rows::CHANNEL_KEY, 11, 4), (rows::CHANNEL_CHAIN, 2, 3)] {
        let own: Vec<_> = disk.iter().filter(|(key, _)| key[0] == tree).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(own.len(), count);
        own.iter().for_each(|(key, _)| drop(disk.remove(key)));
        let items: Vec<u8> = own.iter().flat_map(|(_, value)| value[head..].to_vec()).collect();
        let mut key = own[0].0[..65].to_vec();
        if tree == rows::CHANNEL_KEY {
            disk.insert(key, [&[0x84], items.as_slice()].concat());
        } else {
            key[0] = rows::CHANNEL_SENDER;
            let row = disk.get_mut(&key).unwrap();
            assert_eq!(row[..3], [0x85, 1, 0x81]);
            *row = [&[0x85, 1, 0x84], items.as_slice(), &row[3..]].concat();
        }
    }
    let now = group.now;
    group.agents[8].restart(now);
    group.pass(LONG, 20);
    let expected: Vec<_> = said(1, 4).into_iter().chain(said(1, 4)).collect();
    assert_eq!(heard(&group, 8, 1, channel), expected);
    assert_eq!(rows_of(&group, 8, rows::CHANNEL_KEY) + rows_of(&group, 8, rows::CHANNEL_CHAIN), 0);
}

/// contracts/channel.md C53: what lies further back than any epoch that is heard is given up by its sender, and what is behind it comes.
#[test]
fn letters_of_epochs_that_nobody_hears_any_more_are_given_up() {
    let (mut group, channel) = one_is_away();
    let (lost, away) = (group.send(1, channel, "of long ago"), group.id(8));
    group.pass(LONG, 5);
    for round in 0..=limit::CHANNEL_BEHIND_MAX {
        assert!(group.agents[1].failed.is_empty(), "round {round}");
        group.change(0, channel, Change::Rename(format!("round {round}"))).unwrap();
        group.settle();
    }
    assert_eq!(group.agents[1].failed, [(away, lost, code::NOT_MEMBER)]);
    let behind = group.send(1, channel, "of now");
    group.agents[8].away = false;
    group.pass(LONG, 20);
    assert_eq!(heard(&group, 8, 1, channel), ["of now"]);
    assert!(group.agents[1].peer.channel_left(&channel, &behind).is_empty());
}
