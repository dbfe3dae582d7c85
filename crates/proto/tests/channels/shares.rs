//! What one member can fill it fills alone: keys that are kept, letters that wait, invitations; and what it says twice is heard once.

use std::collections::BTreeMap;

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::channel::{Change, ChannelPlace, ReceiveError};
use nuncio_proto::error::Refusal;
use nuncio_proto::ids::{ChannelId, EpochId, Seq};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::ChannelNews;
use nuncio_proto::rows;

use crate::LONG;
use crate::group::{Disk, Group};

/// A letter with the place that it has in a frame of a number.
fn placed(group: &mut Group, by: usize, channel: ChannelId, seq: Seq) -> Letter {
    let epoch = group.agents[by].peer.channel(&channel).unwrap().epoch();
    let mut letter = group.letter(by, "by hand");
    letter.set_extension(ChannelPlace { channel, epoch, seq }.extension());
    letter
}

fn early_of(group: &Group, at: usize, channel: ChannelId) -> usize {
    let keys = group.agents[at].disk.0.keys();
    keys.filter(|key| key[0] == rows::CHANNEL_EARLY && key[1..33] == *channel.as_bytes()).count()
}

/// contracts/channel.md C30: members of one channel fill its share of what is kept, and another's letters open behind a hole.
#[test]
fn keys_that_a_channels_members_leave_out_fill_its_share_alone() {
    let (mut group, channel) = Group::settled(12, 0);
    let other = group.create(0, "another");
    group.fill(other, 10);
    group.send(1, other, "so that the chain is there");
    group.pass(LONG, 5);
    let is_full = (3..12).any(|by| {
        (1..=10).any(|round| {
            let (first, from) = (100 * round, group.id(by));
            let key = group.hand_chain([by, 2], channel, first);
            let letter = placed(&mut group, by, channel, first + 99);
            let frame = group.forge(&key, 100, [by, 2], first + 99, &letter);
            let (now, agent) = (group.now, &mut group.agents[2]);
            match agent.peer.receive(Some(from), &frame, now, &mut agent.rng, &agent.disk) {
                Ok(step) => agent.take(step),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Channel(ReceiveError::NoRoom));
                    return true;
                }
            }
            false
        })
    });
    assert!(is_full && early_of(&group, 2, channel) > limit::SKIPPED_TOTAL_MAX / 9);
    group.cut.insert((1, 2));
    group.send(1, other, "lost at first");
    group.settle();
    group.cut.clear();
    group.send(1, other, "behind it");
    group.carry(1);
    assert_eq!(early_of(&group, 2, other), 2, "one is here, and the key of the other");
}

/// contracts/letter.md L9: a letter that came twice before the first was on disk.
#[test]
fn one_id_under_two_numbers_is_delivered_once_however_fast_they_come() {
    let (mut group, channel) = Group::settled(10, 0);
    let (key, from) = (group.hand_chain([1, 2], channel, 100), group.id(1));
    let letter = placed(&mut group, 1, channel, 100);
    let mut again = letter.clone();
    let place = ChannelPlace::of(&letter).unwrap().unwrap();
    again.set_extension(ChannelPlace { seq: 101, ..place }.extension());
    let (now, nothing) = (group.now, Disk(BTreeMap::new()));
    for (seq, letter) in [(100, &letter), (101, &again)] {
        let frame = group.forge(&key, 100, [1, 2], seq, letter);
        let agent = &mut group.agents[2];
        let step = agent.peer.receive(Some(from), &frame, now, &mut agent.rng, &nothing).unwrap();
        agent.take(step);
    }
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].texts(channel), ["by hand"]);
}

/// contracts/channel.md C54: of letters that wait for the record one sender fills no more than its share of the bytes.
#[test]
fn letters_that_wait_for_the_record_are_bounded_in_bytes() {
    let (mut group, channel) = Group::settled(4, 0);
    let text = "x".repeat(40_000);
    for seq in 1..=20 {
        let place = ChannelPlace { channel, epoch: EpochId::from_bytes([9; 32]), seq };
        group.send_at([1, 2], place, &text);
    }
    group.settle();
    let waiting = group.agents[2].disk.0.iter().filter(|(key, _)| key[0] == rows::CHANNEL_HELD);
    let bytes: usize = waiting.map(|(_, value)| value.len()).sum();
    assert!(bytes > text.len() && bytes < limit::CHANNEL_WAITING_BYTES_MAX / 16 + limit::FRAME_LEN_MAX, "{bytes}");
}

/// contracts/channel.md C48: whoever invites into ever more channels pushes out its own invitations.
#[test]
fn nobody_pushes_out_the_invitation_of_another() {
    let (mut group, channel) = Group::settled(2, 1);
    let (other, newcomer) = (group.id(1), group.id(2));
    group.agents[1].know(newcomer);
    group.agents[2].know(other);
    group.invite(0, channel, 2).unwrap();
    for number in 0..=limit::CHANNEL_INVITES_MAX {
        group.now = group.now.plus(1_000);
        let theirs = group.create(1, &number.to_string());
        group.invite(1, theirs, 2).unwrap();
    }
    let open = group.agents[2].peer.channel_invitations();
    assert_eq!(open.count(), limit::CHANNEL_INVITES_MAX);
    group.join(2, channel);
    group.pass(LONG, 10);
    assert!(group.agents[0].roster(channel).has(&newcomer));
}

/// contracts/channel.md C64: a refusal that is never acknowledged keeps nobody known.
#[test]
fn who_is_refused_again_and_again_is_forgotten_all_the_same() {
    let (mut group, channel) = Group::settled(4, 0);
    let removed = group.id(3);
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    group.pass(time::CHANNEL_SUCCESSION_WINDOW - time::CHANNEL_CHAIN_LIFE, 20);
    group.write(3, 1, "psst");
    group.lose_from(1, 3);
    group.cut.insert((1, 3));
    assert!(group.agents[1].disk.0.keys().any(|key| key[0] == rows::OUTBOX), "it is refused");
    group.pass(2 * time::CHANNEL_CHAIN_LIFE, 20);
    assert!(group.agents[1].peer.contact(&removed).is_none());
}

/// contracts/channel.md C29: whoever hands over a chain of an epoch in which this agent was none is told what it has not heard.
#[test]
fn who_has_not_heard_that_one_came_back_is_told_by_it() {
    let (mut group, channel) = Group::settled(10, 0);
    let back = group.id(2);
    // The second hears of nothing but what the third says.
    group.cut.extend((0..10).filter(|at| ![1, 2].contains(at)).map(|at| (at.min(1), at.max(1))));
    group.cut.insert((1, 2));
    group.change(0, channel, Change::Remove(vec![back])).unwrap();
    group.pass(LONG, 5);
    group.invite(0, channel, 2).unwrap();
    group.join(2, channel);
    group.pass(time::CHANNEL_CHAIN_LIFE, 5);
    assert!(group.agents[2].roster(channel).has(&back));
    group.cut.remove(&(1, 2));
    let number = |group: &Group, at: usize| group.agents[at].roster(channel).number();
    assert!(number(&group, 1) < number(&group, 2));
    group.send(1, channel, "to whom?");
    group.pass(LONG, 10);
    assert_eq!(number(&group, 1), number(&group, 2));
    group.send(1, channel, "welcome back");
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].texts(channel).last(), Some(&"welcome back"));
    assert!(!group.agents[1].news.iter().any(|(_, news)| matches!(news, ChannelNews::Equivocated(_))));
}
