//! Leaving, handing over, forgetting: what comes after, and what does not (contracts/channel.md section 12).

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::channel::{Change, Entry, Heir, Says};
use nuncio_proto::ids::{AgentId, ChannelId};
use nuncio_proto::peer::{ChannelError, ChannelNews};

use crate::group::Group;
use crate::{LONG, SIZES, assert_one_roster};

fn cannot_send(group: &mut Group, at: usize, channel: ChannelId) -> bool {
    let (now, letter) = (group.now, group.letter(at, "I am gone"));
    let one = &mut group.agents[at];
    one.peer.channel_send(channel, &letter, now, &mut one.rng).is_err()
}

fn knows(group: &Group, at: usize, of: usize) -> bool {
    group.agents[at].peer.contact(&group.id(of)).is_some()
}

/// contracts/channel.md C61, C62: an owner that is away, or unwilling, keeps nobody in.
#[test]
fn who_leaves_is_gone_by_its_own_word() {
    for size in SIZES {
        let (mut group, channel) = Group::settled(size, 0);
        let (owner, other) = (group.id(0), group.id(1));
        group.cut.insert((0, 2));
        let under_way = group.send(2, channel, "and good night");
        group.leave(2, channel).unwrap();
        assert!(group.agents[2].failed.iter().any(|(_, id, _)| *id == under_way), "nothing more goes out");
        for start in [false, true] {
            let unheard = group.send(1, channel, "did it go?");
            group.pass(LONG, 10);
            assert!(cannot_send(&mut group, 2, channel));
            assert_eq!(group.leave(2, channel), Err(ChannelError::NotMember), "once");
            let came = &group.agents[2].texts(channel);
            assert!(came.is_empty(), "{came:?}");
            let peer = &group.agents[2].peer;
            assert!(!peer.is_fellow(&other) && peer.is_fellow(&owner), "its farewell goes to the owner");
            assert!(peer.sessions().all(|(session, _)| session.peer() != other), "of {size}");
            assert!(!group.agents[1].delivered.iter().any(|(to, id)| *to == peer.id() && *id == unheard));
            if !start {
                let now = group.now;
                group.agents[2].restart(now);
            }
        }
        assert!(group.agents[0].roster(channel).has(&group.id(2)), "the owner has not heard of it");
        group.cut.clear();
        group.pass(LONG, 10);
        let rest: Vec<usize> = (0..size).filter(|at| *at != 2).collect();
        assert_one_roster(&group, channel, &rest);
        assert!(!group.agents[2].roster(channel).has(&group.id(2)));
        assert!(!group.agents[1].peer.channel_left_by_word(&channel));
    }
}

/// contracts/channel.md C62: the next owner is told too, and one that was away for longer than a letter lives.
#[test]
fn a_farewell_finds_the_owner() {
    let (mut group, channel) = Group::settled(4, 0);
    group.cut.insert((0, 2));
    group.leave(2, channel).unwrap();
    group.settle();
    group.hand_over(0, channel, 1);
    group.cut.clear();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 3]);

    // The former owner says who is the next, and is gone before it hears anything.
    let other = group.channel(4);
    group.pass(LONG, 10);
    group.cut.insert((0, 2));
    group.leave(2, other).unwrap();
    group.settle();
    group.hand_over(0, other, 1);
    group.now = group.now.plus(LONG);
    group.cut.clear();
    group.lose_from(2, 0);
    group.agents[0].away = true;
    group.pass(LONG, 10);
    assert_one_roster(&group, other, &[0, 1, 3]);
    group.agents[0].away = false;

    // One that has forgotten the channel says it to the former owner alone.
    let again = group.channel(4);
    group.pass(LONG, 10);
    group.cut.insert((0, 2));
    group.leave(2, again).unwrap();
    group.forget(2, again).unwrap();
    group.settle();
    group.hand_over(0, again, 1);
    group.cut.clear();
    group.pass(LONG, 10);
    assert_one_roster(&group, again, &[0, 1, 3]);

    group.agents[1].away = true;
    group.leave(3, channel).unwrap();
    group.pass(time::LETTER_LIFE_MAX + LONG, 40);
    let gone = group.id(3);
    assert!(group.agents[0].roster(channel).has(&gone));
    group.agents[1].away = false;
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1]);
}

/// contracts/channel.md C62: told between two owners, of whom neither is one yet, or any more.
#[test]
fn a_farewell_that_meets_no_owner_is_said_again() {
    let (mut group, channel) = Group::settled(4, 0);
    let heir = group.id(1);
    group.change(0, channel, Change::HandOver(heir)).unwrap();
    group.settle();
    group.take_over(1, channel).unwrap();
    group.carry(1);
    group.cut.insert((0, 1));
    group.settle();
    assert_eq!((group.agents[2].roster(channel).owner(), group.agents[1].roster(channel).owner()), (heir, group.id(0)));
    group.leave(2, channel).unwrap();
    group.settle();
    group.cut.clear();
    group.pass(LONG, 10);
    let gone = group.id(2);
    assert!(group.agents[1].roster(channel).has(&gone), "nobody who heard it was the owner");
    group.pass(time::LEFT_AGAIN, 60);
    assert_one_roster(&group, channel, &[0, 1, 3]);
}

/// contracts/channel.md C61: nobody brings back who has left, but itself.
#[test]
fn a_succession_brings_nobody_back_that_left() {
    let (mut group, channel) = Group::settled(4, 0);
    let agent = group.id(1);
    group.agents[2].know(agent);
    group.change(0, channel, Change::Admin { agent, admin: true }).unwrap();
    group.pass(LONG, 10);
    let before = group.agents[1].peer.channel(&channel).unwrap().epoch();
    group.leave(2, channel).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 3]);
    group.cut.insert((1, 2));
    let now = group.now;
    let step = group.agents[1].peer.channel_succeed(channel, Some(before), now).unwrap();
    group.agents[1].take(step);
    group.pass(LONG, 10);
    let gone = group.id(2);
    assert!(group.agents[1].roster(channel).has(&gone), "by the record it is in again");
    group.cut.clear();
    for text in ["welcome back", "are you there?"] {
        group.send(3, channel, text);
        group.pass(LONG, 10);
        assert!(cannot_send(&mut group, 2, channel));
    }
    assert_eq!(group.agents[2].texts(channel), [""; 0]);
    assert_one_roster(&group, channel, &[1, 3]);
}

/// contracts/channel.md C60: nobody is made the owner.
#[test]
fn nobody_is_made_the_owner_without_its_consent() {
    let (mut group, channel) = Group::settled(4, 0);
    let (owner, heir) = (group.id(0), group.id(1));
    assert_eq!(group.take_over(1, channel), Err(ChannelError::NotOffered));
    group.change(0, channel, Change::HandOver(heir)).unwrap();
    group.pass(LONG, 10);
    assert_eq!(group.agents[3].roster(channel).owner(), owner, "it was asked");
    let asked = |news: &(_, ChannelNews)| news.1 == ChannelNews::Offered { by: owner };
    assert!(group.agents[1].news.iter().any(asked) && !group.agents[2].news.iter().any(asked));
    assert_eq!(group.agents[0].peer.channel_heir(&channel), Some(heir));
    // Another consents, who was not asked; and one asks who is no owner.
    assert_eq!(group.take_over(2, channel), Err(ChannelError::NotOffered));
    let epoch = group.agents[0].peer.channel(&channel).unwrap().epoch();
    let word = Heir { channel, epoch, agent: group.id(2) }.sign(group.agents[2].peer.identity().signing());
    group.say(2, 0, channel, Says::Accepted(word));
    group.say(2, 3, channel, Says::Offered);
    group.pass(LONG, 10);
    assert_eq!(group.agents[0].roster(channel).owner(), owner);
    assert_eq!(group.take_over(3, channel), Err(ChannelError::NotOffered));
    // The record moves meanwhile, and both start again.
    group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
    group.pass(LONG, 10);
    let now = group.now;
    (0..2).for_each(|at| group.agents[at].restart(now));
    group.take_over(1, channel).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 2, 3]);
    assert_eq!(group.agents[3].roster(channel).owner(), heir);
    assert_eq!(group.agents.iter().filter_map(|agent| agent.peer.channel_heir(&channel)).count(), 0);
}

fn rows_of(group: &Group, at: usize, channel: ChannelId) -> Vec<char> {
    let rows = group.agents[at].disk.0.keys();
    rows.filter(|key| key.get(1..33) == Some(channel.as_bytes())).map(|key| char::from(key[0])).collect()
}

/// contracts/channel.md C63: a channel goes with all its rows, and what is said of it later makes it no more.
#[test]
fn a_channel_is_forgotten_with_all_that_was_kept_of_it() {
    for size in SIZES {
        let (mut group, channel) = Group::settled(size, 0);
        assert_eq!(group.forget(2, channel), Err(ChannelError::StillMember));
        assert_eq!(group.forget(0, channel), Err(ChannelError::OwnerStays));
        let entries: Vec<_> = group.agents[0].peer.channel(&channel).unwrap().entries().map(<[u8]>::to_vec).collect();
        let invite = Entry::parse(&entries[2]).unwrap().consents[1].clone();
        group.cut.insert((0, 2));
        group.send(1, channel, "is kept aside");
        group.leave(2, channel).unwrap();
        group.forget(2, channel).unwrap();
        group.pass(LONG, 10);
        assert_eq!(rows_of(&group, 2, channel), ['0']);
        assert!((1..size).filter(|at| *at != 2).all(|at| !knows(&group, 2, at)), "known by the channel alone");
        let now = group.now;
        group.agents[2].restart(now);
        group.cut.clear();
        // The owner goes on, hears the farewell, and says again all that it has said.
        group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
        group.send(0, channel, "where are you?");
        group.say(0, 2, channel, Says::Entries { entries, reach: vec![] });
        group.say(0, 2, channel, Says::Invited { invite, name: "travel".to_owned() });
        group.pass(LONG, 10);
        assert!(group.agents[2].peer.channel(&channel).is_none());
        assert_eq!(group.agents[2].peer.channel_invitations().count(), 0, "it has answered this one before");
        assert_eq!(group.agents[2].texts(channel), [""; 0]);
        assert!(!group.agents[0].roster(channel).has(&group.id(2)), "the farewell was heard all the same");
        // Asked anew it comes back, if it will.
        group.invite(0, channel, 2).unwrap();
        group.join(2, channel);
        group.pass(LONG, 10);
        group.send(1, channel, "welcome back");
        group.pass(LONG, 10);
        assert_eq!(group.agents[2].texts(channel), ["welcome back"]);
        let other = &group.agents[1].roster(channel);
        assert!(other.has(&group.id(2)));
    }
}

/// contracts/channel.md C63: what was forgotten counts no more, and is not remembered for ever.
#[test]
fn forgotten_channels_make_room() {
    let mut group = Group::new(1);
    let channels: Vec<ChannelId> = (0..limit::CHANNELS_MAX).map(|_| group.create(0, "alone")).collect();
    let now = group.now;
    let full = {
        let one = &mut group.agents[0];
        one.peer.channel_create("one more", false, now, &mut one.rng).map(drop)
    };
    assert_eq!(full, Err(ChannelError::TooMany));
    group.forget(0, channels[7]).unwrap();
    group.create(0, "one more");
    assert_eq!(rows_of(&group, 0, channels[7]), ['0']);
    group.now = now.plus(time::LETTER_LIFE_MAX + 3 * time::CLOCK_SKEW);
    let step = group.agents[0].peer.forget_channel_keys(group.now).unwrap();
    group.agents[0].take(step);
    assert_eq!(rows_of(&group, 0, channels[7]), [' '; 0]);
    assert!(group.agents[0].peer.forget_channel_keys(group.now).is_none());
}

fn has_session(group: &Group, at: usize, with: AgentId) -> bool {
    group.agents[at].peer.sessions().any(|(session, _)| session.peer() == with)
}

/// contracts/channel.md C64: who was known by a channel alone writes nothing of its own over what is left of a session, and is forgotten.
#[test]
fn fellows_are_none_any_longer_than_a_channel_is_shared() {
    let (mut group, channel) = Group::settled(4, 0);
    let (removed, other) = (group.id(3), group.id(1));
    assert!(has_session(&group, 1, removed));
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.pass(LONG, 10);
    let beside = group.write(3, 1, "psst");
    group.pass(LONG, 10);
    assert!(group.agents[1].inbox.is_empty(), "{:?}", group.agents[1].inbox);
    assert!(group.agents[3].failed.contains(&(other, beside, code::STRANGER)));
    let now = group.now;
    group.agents[1].restart(now);
    group.pass(time::CHANNEL_SUCCESSION_WINDOW, 20);
    for (at, of) in [(1, 3), (2, 3), (3, 1), (3, 2)] {
        assert!(!knows(&group, at, of), "{at} knows {of}");
        assert!(!has_session(&group, at, group.id(of)));
    }
    assert!(knows(&group, 0, 3) && knows(&group, 3, 0), "whom somebody has added stays");
    assert!(knows(&group, 1, 2) && has_session(&group, 1, group.id(2)), "they share it still");
}

/// contracts/channel.md C65: between two that do not want each other the channel goes on, and nothing beside it.
#[test]
fn a_fellow_that_was_removed_as_a_contact_writes_to_the_channel_alone() {
    for size in SIZES {
        let (mut group, channel) = Group::settled(size, 0);
        let (owner, other) = (group.id(0), group.id(1));
        group.cut.insert((0, 1));
        let lost = group.write(0, 1, "under way");
        group.settle();
        let step = group.agents[0].peer.remove_contact(other).unwrap();
        group.agents[0].take(step);
        assert!(group.agents[0].failed.contains(&(other, lost, code::CANCELLED)));
        group.cut.clear();
        for start in [false, true] {
            let beside = group.write(1, 0, "you and I");
            let (to, from) = (group.send(0, channel, "all of us"), group.send(1, channel, "aye"));
            group.pass(LONG, 10);
            assert!(group.agents[1].failed.contains(&(owner, beside, code::STRANGER)), "{size}, {start}");
            assert!(
                group.agents[0].delivered.contains(&(other, to)) && group.agents[1].delivered.contains(&(owner, from))
            );
            assert!(group.agents[0].inbox.iter().all(|came| came.channel.is_some()));
            let now = group.now;
            group.agents[0].restart(now);
        }
        assert!(!group.agents[0].peer.contact(&other).unwrap().allowed);
        group.change(0, channel, Change::Remove(vec![other])).unwrap();
        group.pass(time::CHANNEL_SUCCESSION_WINDOW + LONG, 20);
        assert!(!knows(&group, 0, 1), "and with the channel it goes");
    }
}

/// contracts/channel.md C55: what lies behind a number that was given up is called delivered where it is.
#[test]
fn a_hole_that_no_later_letter_tells_of_holds_up_nothing() {
    let (mut group, channel) = Group::settled(10, 0);
    let member = group.id(4);
    group.cut.insert((1, 4));
    let mut short = group.letter(1, "in a minute it is over");
    short.deadline = Some(group.now.plus(60_000));
    let (given_up, kept) = (group.post(1, channel, &short), group.send(1, channel, "the ship leaves at six"));
    group.pass(120_000, 4);
    group.cut.clear();
    group.pass(LONG, 10);
    assert_eq!(group.agents[4].texts(channel), ["the ship leaves at six"]);
    assert_eq!(group.agents[1].peer.channel_left(&channel, &kept), []);
    assert!(group.agents[1].delivered.contains(&(member, kept)));
    let failed: Vec<_> = group.agents[1].failed.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(failed, [given_up]);
}

/// contracts/channel.md C62: who has left, and was taken out by an owner of which it has not heard, learns it behind all that it has missed.
#[test]
fn who_left_while_it_was_away_learns_that_it_is_out() {
    let (mut group, channel) = Group::settled(4, 0);
    let (gone, next) = (group.id(3), group.id(1));
    // The next owner is one that it has added.
    group.agents[1].know(gone);
    group.agents[3].know(next);
    group.cut.extend((0..3).map(|at| (at, 3)));
    group.leave(3, channel).unwrap();
    group.hand_over(0, channel, 1);
    group.settle();
    group.change(1, channel, Change::Remove(vec![gone])).unwrap();
    group.pass(LONG, 5);
    assert!(!group.agents[1].roster(channel).has(&gone));
    // The first hears nothing of it any more.
    group.cut.remove(&(1, 3));
    group.pass(LONG, 20);
    assert!(!group.agents[3].roster(channel).has(&gone));
}
