//! Channels of agents by hand: who is in, who hears what, in which order, through restarts, absence and partition (contracts/channel.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use group::Group;
use nuncio_contracts::registry::{code, time};
use nuncio_proto::channel::Change;
use nuncio_proto::peer::{ChannelError, ChannelNews};

#[path = "channels/group.rs"]
mod group;

/// Long enough for whatever waits for a resend.
const LONG: u64 = 10 * time::RESEND_MAX;

fn assert_one_roster(group: &Group, channel: nuncio_proto::ids::ChannelId, members: &[usize]) {
    let roster = group.agents[members[0]].roster(channel);
    for at in members {
        assert_eq!(group.agents[*at].roster(channel), roster, "agent {at}");
    }
    let ids: Vec<_> = roster.members().map(|(agent, _)| *agent).collect();
    let mut expected: Vec<_> = members.iter().map(|at| group.id(*at)).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

/// contracts/channel.md C48 to C52.
#[test]
fn a_letter_to_a_channel_is_heard_once_by_every_member_and_each_acknowledges_it() {
    let mut group = Group::new(5);
    let channel = group.channel(5);
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 2, 3, 4]);
    for by in 0..5 {
        let letter = group.send(by, channel, &format!("from {by}"));
        group.pass(LONG, 10);
        assert_eq!(group.agents[by].delivered.iter().filter(|(_, id)| *id == letter).count(), 4);
    }
    for (at, agent) in group.agents.iter().enumerate() {
        let others: Vec<String> = (0..5).filter(|by| *by != at).map(|by| format!("from {by}")).collect();
        assert_eq!(agent.texts(channel), others, "agent {at}");
        assert!(agent.failed.is_empty());
    }
}

/// contracts/channel.md C53: nothing that is sealed after the removal was heard of reaches who was removed, and nobody hears it.
#[test]
fn the_one_removed_reads_nothing_more_and_is_heard_by_nobody() {
    let mut group = Group::new(4);
    let channel = group.channel(4);
    group.pass(LONG, 10);
    let removed = group.id(3);
    group.send(3, channel, "so that it has sessions");
    group.pass(LONG, 10);
    // What is under way to it goes no more.
    group.agents[3].away = true;
    let lost = group.send(1, channel, "under way");
    group.settle();
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    group.agents[3].away = false;
    assert!(group.agents[1].failed.contains(&(removed, lost, code::NOT_MEMBER)), "{:?}", group.agents[1].failed);
    // It has not heard of it, and goes on speaking.
    group.cut.insert((0, 3));
    let unheard = group.send(3, channel, "am I here?");
    group.send(2, channel, "it is gone");
    group.pass(LONG, 10);
    assert_eq!(group.agents[3].texts(channel), [""; 0], "it hears nothing");
    for at in [0, 1, 2] {
        assert!(!group.agents[at].texts(channel).contains(&"am I here?"), "agent {at}");
    }
    let told =
        group.agents[3].failed.iter().filter(|(_, id, code)| *id == unheard && *code == code::NOT_MEMBER).count();
    assert_eq!(told, 2, "it is told by those whom it reaches: {:?}", group.agents[3].failed);
    group.cut.clear();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 2]);
    assert!(!group.agents[3].roster(channel).has(&removed), "the owner tells it");
    let (now, letter) = (group.now, group.letter(3, "again"));
    let one = &mut group.agents[3];
    assert!(one.peer.channel_send(channel, &letter, now, &mut one.rng).is_err());
}

/// A newcomer reads nothing from before, and is a member for everybody.
#[test]
fn a_newcomer_reads_nothing_from_before() {
    let mut group = Group::new(4);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    group.send(1, channel, "before");
    group.pass(LONG, 10);
    group.invite(0, channel, 3).unwrap();
    assert!(group.agents[3].peer.channel(&channel).is_none(), "it has not consented yet");
    group.join(3, channel);
    group.pass(LONG, 10);
    group.send(1, channel, "after");
    group.send(3, channel, "hello");
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 2, 3]);
    assert_eq!(group.agents[3].texts(channel), ["after"]);
    assert_eq!(group.agents[2].texts(channel), ["before", "after", "hello"]);
}

/// An admin invites and proposes; who is none does neither.
#[test]
fn an_admin_invites_and_proposes_and_others_do_not() {
    let mut group = Group::new(5);
    let channel = group.channel(4);
    group.pass(LONG, 10);
    let (admin, other, newcomer) = (group.id(1), group.id(2), group.id(4));
    assert_eq!(group.invite(1, channel, 4), Err(ChannelError::NotAllowed));
    assert_eq!(group.change(1, channel, Change::Remove(vec![other])), Err(ChannelError::NotAllowed));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.pass(LONG, 10);
    group.agents[1].know(newcomer);
    group.agents[4].know(admin);
    // The owner has never heard of it, and hears of it from the admin.
    let owner = group.id(0);
    let forget = group.agents[0].peer.remove_contact(newcomer).unwrap();
    group.agents[0].take(forget);
    let forget = group.agents[4].peer.remove_contact(owner).unwrap();
    group.agents[4].take(forget);
    group.invite(1, channel, 4).unwrap();
    group.join(4, channel);
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 2, 3, 4]);
    group.change(1, channel, Change::Remove(vec![other])).unwrap();
    group.change(1, channel, Change::Rename("journey".to_owned())).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1, 3, 4]);
    assert_eq!(group.agents[3].roster(channel).name(), "journey");
    group.send(4, channel, "hello");
    group.pass(LONG, 10);
    for at in [0, 1, 3] {
        assert_eq!(group.agents[at].texts(channel), ["hello"], "agent {at}");
    }
}

/// contracts/channel.md C14.
#[test]
fn a_member_leaves_and_the_owner_hands_over_first() {
    let mut group = Group::new(3);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    group.leave(2, channel).unwrap();
    assert_eq!(group.leave(0, channel), Err(ChannelError::OwnerStays));
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 1]);
    let heir = group.id(1);
    group.change(0, channel, Change::HandOver(heir)).unwrap();
    group.pass(LONG, 10);
    group.leave(0, channel).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[1]);
    assert_eq!(group.agents[1].roster(channel).owner(), heir);
}

/// A member that was away has in the end what was said meanwhile, and the changes.
#[test]
fn a_member_that_was_away_catches_up() {
    let mut group = Group::new(5);
    let channel = group.channel(4);
    group.pass(LONG, 10);
    group.agents[2].away = true;
    for number in 0..20 {
        group.send(1, channel, &format!("letter {number}"));
    }
    group.invite(0, channel, 4).unwrap();
    group.join(4, channel);
    group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
    group.pass(LONG, 10);
    group.send(4, channel, "hello");
    group.pass(LONG, 10);
    group.agents[2].away = false;
    group.pass(LONG, 20);
    assert_one_roster(&group, channel, &[0, 1, 2, 3, 4]);
    let expected: Vec<String> = (0..20).map(|number| format!("letter {number}")).chain(["hello".to_owned()]).collect();
    let mut came = group.agents[2].texts(channel);
    came.sort_by_key(|text| expected.iter().position(|one| one == text));
    assert_eq!(came, expected);
}

/// Everything survives a restart at every agent, between any two steps of the conversation.
#[test]
fn nothing_is_lost_or_heard_twice_through_restarts() {
    let mut group = Group::new(4);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    let mut said = Vec::new();
    for round in 0..12 {
        let by = round % 3;
        let text = format!("round {round}");
        group.send(by, channel, &text);
        said.push((by, text));
        if round == 5 {
            group.invite(0, channel, 3).unwrap();
            group.join(3, channel);
        }
        let now = group.now;
        group.agents[(round + 1) % 3].restart(now);
        group.pass(time::RESEND_FIRST, 2);
        group.agents[round % 4].restart(now);
    }
    group.pass(LONG, 20);
    assert_one_roster(&group, channel, &[0, 1, 2, 3]);
    for at in 0..3 {
        let mut came = group.agents[at].texts(channel);
        let mut expected: Vec<&str> = said.iter().filter(|(by, _)| *by != at).map(|(_, text)| text.as_str()).collect();
        came.sort_unstable();
        expected.sort_unstable();
        assert_eq!(came, expected, "agent {at}");
    }
}

/// contracts/channel.md C45: a reply is not shown before what it replies to.
#[test]
fn a_reply_waits_for_what_it_replies_to() {
    let mut group = Group::new(3);
    let channel = group.channel(3);
    group.send(0, channel, "so that all have sessions");
    group.send(1, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
    // The question does not reach the third; the answer does, and waits also through a restart.
    group.cut.insert((0, 2));
    let question = group.send(0, channel, "question");
    group.settle();
    let mut answer = group.letter(1, "answer");
    answer.reply_to = Some(question);
    group.post(1, channel, &answer);
    group.settle();
    assert_eq!(group.agents[1].texts(channel), ["question"]);
    assert_eq!(group.agents[0].texts(channel), ["answer"]);
    assert_eq!(group.agents[2].texts(channel), [""; 0]);
    let now = group.now;
    group.agents[2].restart(now);
    group.settle();
    assert_eq!(group.agents[2].texts(channel), [""; 0]);
    group.cut.clear();
    group.pass(time::CHANNEL_WAIT / 2, 20);
    assert_eq!(group.agents[2].texts(channel), ["question", "answer"]);
    // What never comes is waited for no longer than is said.
    group.cut.insert((0, 2));
    let lost = group.send(0, channel, "lost");
    group.settle();
    let mut answer = group.letter(1, "to what?");
    answer.reply_to = Some(lost);
    group.post(1, channel, &answer);
    group.settle();
    assert_eq!(group.agents[2].texts(channel).last(), Some(&"answer"));
    group.pass(time::CHANNEL_WAIT + 1_000, 4);
    assert_eq!(group.agents[2].texts(channel).last(), Some(&"to what?"));
}

/// contracts/channel.md C54: a letter of an epoch that is not known waits for the record, also when its owner is away.
#[test]
fn a_letter_of_an_unknown_epoch_waits_for_the_record() {
    let mut group = Group::new(4);
    let channel = group.channel(3);
    group.send(1, channel, "hello");
    group.send(2, channel, "hello");
    group.pass(LONG, 10);
    group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
    // Several changes pass one member by, and then the owner is gone.
    group.cut.insert((0, 2));
    for name in ["one", "two", "three"] {
        group.change(0, channel, Change::Rename(name.to_owned())).unwrap();
        group.settle();
    }
    group.agents[0].away = true;
    group.send(1, channel, "news");
    group.pass(LONG, 20);
    assert_eq!(group.agents[2].roster(channel).name(), "three", "another member has told it");
    assert_eq!(group.agents[2].texts(channel), ["news"]);
}

/// Who was not asked is in nothing, and who is in nothing hears nothing.
#[test]
fn nobody_is_put_into_a_channel_without_its_consent() {
    let mut group = Group::new(3);
    let channel = group.channel(2);
    group.pass(LONG, 10);
    group.invite(0, channel, 2).unwrap();
    assert!(matches!(group.agents[2].news.last(), Some((_, ChannelNews::Invited { .. }))));
    group.send(0, channel, "secret");
    group.pass(LONG, 10);
    assert!(group.agents[2].peer.channel(&channel).is_none() && group.agents[2].inbox.is_empty());
    let step = group.agents[2].peer.channel_decline(channel).unwrap();
    group.agents[2].take(step);
    let now = group.now;
    assert!(group.agents[2].peer.channel_join(channel, Default::default(), now).is_err());
    group.agents[2].restart(now);
    assert_eq!(group.agents[2].peer.channel_invitations().count(), 0);
    assert_one_roster(&group, channel, &[0, 1]);
}
