//! Channels of agents by hand: who is in, who hears what, in which order, through restarts, absence and partition (contracts/channel.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use group::{Group, LONG};
use nuncio_contracts::registry::{code, time};
use nuncio_proto::channel::Change;
use nuncio_proto::peer::{ChannelError, ChannelNews};

#[path = "channels/away.rs"]
mod away;
#[path = "channels/behind.rs"]
mod behind;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "channels/group.rs"]
mod group;
#[path = "channels/history.rs"]
mod history;
#[path = "channels/mistakes.rs"]
mod mistakes;
#[path = "channels/parting.rs"]
mod parting;
#[path = "channels/siege.rs"]
mod siege;
#[path = "channels/storms.rs"]
mod storms;

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

/// Small channels go by sessions, large ones by frames that are sealed once.
const SIZES: [usize; 2] = [4, 11];

/// contracts/channel.md C48 to C52.
#[test]
fn a_letter_to_a_channel_is_heard_once_by_every_member_and_each_acknowledges_it() {
    for size in SIZES {
        let mut group = Group::new(size);
        let channel = group.channel(size);
        group.pass(LONG, 10);
        assert_one_roster(&group, channel, &(0..size).collect::<Vec<_>>());
        for by in 0..size {
            let letter = group.send(by, channel, &format!("from {by}"));
            assert_eq!(group.agents[by].peer.channel_left(&channel, &letter).len(), size - 1);
            group.pass(LONG, 10);
            assert_eq!(group.agents[by].delivered.iter().filter(|(_, id)| *id == letter).count(), size - 1);
            assert!(group.agents[by].peer.channel_left(&channel, &letter).is_empty());
        }
        for (at, agent) in group.agents.iter().enumerate() {
            let others: Vec<String> = (0..size).filter(|by| *by != at).map(|by| format!("from {by}")).collect();
            assert_eq!(agent.texts(channel), others, "agent {at} of {size}");
            assert!(agent.failed.is_empty());
        }
    }
}

/// One frame is the same for all but its last bytes, and nobody but its sender's session partners can open it.
#[test]
fn a_large_channel_is_sealed_for_once() {
    let mut group = Group::new(12);
    let channel = group.channel(11);
    group.pass(LONG, 10);
    group.send(1, channel, "so that the chain is there");
    group.pass(LONG, 10);
    let sealed = group.agents[1].peer.counters().sealed;
    group.sent.clear();
    group.send(1, channel, "once");
    group.settle();
    let frames: Vec<&[u8]> = group.sent.iter().map(Vec::as_slice).filter(|frame| frame[2] == 5).collect();
    assert_eq!(frames.len(), 10);
    assert!(frames.iter().all(|frame| frame[..frame.len() - 16] == frames[0][..frames[0].len() - 16]));
    assert_eq!(group.agents[1].peer.counters().sealed, sealed + 1);
    // A stranger, and a member for whom it is not, open none of them.
    let now = group.now;
    let frame = frames[0].to_vec();
    for at in [11, 1] {
        let agent = &mut group.agents[at];
        assert!(agent.peer.receive(None, &frame, now, &mut agent.rng, &agent.disk).is_err(), "agent {at}");
    }
}

/// A channel that grows and shrinks over the bound goes on with the same numbers.
#[test]
fn a_channel_goes_from_one_way_to_the_other_and_back() {
    let mut group = Group::new(10);
    let channel = group.channel(8);
    group.pass(LONG, 10);
    let mut expected = Vec::new();
    let mut say = |group: &mut Group, text: &str| {
        for by in [1, 2] {
            group.send(by, channel, &format!("{text} {by}"));
            group.pass(LONG, 10);
            expected.push(format!("{text} {by}"));
        }
    };
    say(&mut group, "small");
    for newcomer in [8, 9] {
        group.invite(0, channel, newcomer).unwrap();
        group.join(newcomer, channel);
    }
    group.pass(LONG, 10);
    say(&mut group, "large");
    say(&mut group, "large still");
    let gone = vec![group.id(8), group.id(9)];
    group.change(0, channel, Change::Remove(Change::ordered(gone))).unwrap();
    group.pass(LONG, 10);
    say(&mut group, "small again");
    group.invite(0, channel, 9).unwrap();
    group.join(9, channel);
    group.pass(LONG, 10);
    say(&mut group, "large again");
    assert_eq!(group.agents[3].texts(channel), expected);
    assert_eq!(group.agents[0].texts(channel), expected);
    assert_eq!(group.agents[8].texts(channel), ["large 1", "large 2", "large still 1", "large still 2"]);
    for agent in &group.agents {
        let lied = agent.news.iter().any(|(_, news)| matches!(news, ChannelNews::Equivocated(_)));
        assert!(!lied, "nobody said two things");
    }
}

/// Frames are lost: each goes again until its member has it.
#[test]
fn frames_that_are_lost_go_again() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(0, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
    let mut expected = Vec::new();
    for number in 0..40_usize {
        // Now this one, now that one does not get through, in both directions.
        group.cut.clear();
        group.cut.insert((0, 1 + number % 9));
        group.cut.insert((0, 1 + (number * 7) % 9));
        group.send(0, channel, &format!("letter {number}"));
        group.settle();
        expected.push(format!("letter {number}"));
    }
    group.cut.clear();
    group.pass(LONG, 40);
    for at in 1..10 {
        assert_eq!(group.agents[at].texts(channel), expected, "agent {at}");
    }
}

/// contracts/channel.md C53: nothing that is sealed after the removal was heard of reaches who was removed, and nobody hears it.
#[test]
fn the_one_removed_reads_nothing_more_and_is_heard_by_nobody() {
    SIZES.into_iter().for_each(removed_of);
}

fn removed_of(size: usize) {
    let mut group = Group::new(size);
    let channel = group.channel(size);
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
    let others: Vec<usize> = (0..size).filter(|at| *at != 3).collect();
    for at in &others {
        assert!(!group.agents[*at].texts(channel).contains(&"am I here?"), "agent {at}");
    }
    // By sessions it is told by those whom it reaches; a frame that is sealed for all has no chain there any more.
    let failed = &group.agents[3].failed;
    let told = failed.iter().filter(|(_, id, code)| *id == unheard && *code == code::NOT_MEMBER).count();
    assert_eq!(told, if size <= 8 { size - 2 } else { 0 }, "{failed:?}");
    group.cut.clear();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &others);
    assert!(!group.agents[3].roster(channel).has(&removed), "the owner tells it");
    let (now, letter) = (group.now, group.letter(3, "again"));
    let one = &mut group.agents[3];
    assert!(one.peer.channel_send(channel, &letter, now, &mut one.rng).is_err());
}

/// A newcomer reads nothing from before, and is a member for everybody.
#[test]
fn a_newcomer_reads_nothing_from_before() {
    [3, 10].into_iter().for_each(newcomer_of);
}

fn newcomer_of(size: usize) {
    let mut group = Group::new(size + 1);
    let channel = group.channel(size);
    group.pass(LONG, 10);
    group.send(1, channel, "before");
    group.pass(LONG, 10);
    group.invite(0, channel, size).unwrap();
    assert!(group.agents[size].peer.channel(&channel).is_none(), "it has not consented yet");
    group.join(size, channel);
    group.pass(LONG, 10);
    group.send(1, channel, "after");
    group.pass(LONG, 10);
    group.send(size, channel, "hello");
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &(0..=size).collect::<Vec<_>>());
    assert_eq!(group.agents[size].texts(channel), ["after"]);
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
    group.hand_over(0, channel, 1);
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
    [4, 12].into_iter().for_each(restarts_of);
}

fn restarts_of(size: usize) {
    let mut group = Group::new(size);
    let channel = group.channel(size - 1);
    group.pass(LONG, 10);
    let mut said = Vec::new();
    for round in 0..12 {
        let by = round % 3;
        let text = format!("round {round}");
        group.send(by, channel, &text);
        said.push((by, text));
        if round == 5 {
            group.invite(0, channel, size - 1).unwrap();
            group.join(size - 1, channel);
        }
        let now = group.now;
        group.agents[(round + 1) % 3].restart(now);
        group.pass(time::RESEND_FIRST, 2);
        group.agents[round % 4].restart(now);
    }
    group.pass(LONG, 20);
    assert_one_roster(&group, channel, &(0..size).collect::<Vec<_>>());
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

/// contracts/mailbox.md M14, M19: a frame that is sealed once is left for all members that are away, in one deposit, and not again and again.
#[test]
fn members_that_are_away_have_what_was_said_from_their_mailboxes() {
    let mut group = Group::new(10);
    group.open_mailboxes();
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(0, channel, "so that all have sessions, and know where mailboxes are");
    group.pass(LONG, 10);
    group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
    let away = [7, 8];
    away.iter().for_each(|at| group.agents[*at].away = true);
    let expected: Vec<String> = (0..20).map(|number| format!("letter {number}")).collect();
    for text in &expected {
        group.send(0, channel, text);
        group.settle();
        group.leave_mail();
    }
    // That it was left is on disk.
    let now = group.now;
    group.agents[0].restart(now);
    for _ in 0..10 {
        group.pass(time::RESEND_MAX, 1);
        group.leave_mail();
    }
    assert_eq!(group.deposits.len(), 20);
    assert!(group.deposits.iter().all(|deposit| deposit.to().len() == away.len()), "the letter once, for both");
    for at in away {
        let id = group.id(at);
        let left = group.boxes[&id].iter().filter(|frame| frame[2] == 5).count();
        assert_eq!(left, 20, "each once");
        group.fetch(at);
        assert_eq!(group.agents[at].texts(channel), expected, "agent {at}");
    }
}

/// contracts/channel.md C18: an owner's key that was stolen is answered by the admins, also by those whom its thief removed.
#[test]
fn admins_answer_a_stolen_owner_key() {
    let mut group = Group::new(6);
    let channel = group.channel(5);
    let admins: Vec<_> = [1, 2, 3].map(|at| group.id(at)).to_vec();
    for agent in &admins {
        group.change(0, channel, Change::Admin { agent: *agent, admin: true }).unwrap();
    }
    for at in 1..5 {
        group.send(at, channel, "so that all have sessions");
    }
    group.pass(LONG, 10);
    let before = group.agents[1].peer.channel(&channel).unwrap().epoch();
    // Whoever has the key puts a friend in and the admins out.
    group.invite(0, channel, 5).unwrap();
    group.join(5, channel);
    group.change(0, channel, Change::Remove(Change::ordered(admins.clone()))).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 4, 5]);
    group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
    let now = group.now;
    assert!(group.agents[4].peer.channel_succeed(channel, Some(before), now).is_err(), "it was no admin");
    let step = group.agents[1].peer.channel_succeed(channel, Some(before), now).unwrap();
    group.agents[1].take(step);
    group.settle();
    assert!(!group.agents[1].roster(channel).has(&admins[0]), "one of three is no majority");
    assert!(group.agents[2].peer.channel_support(channel, admins[2], now).is_err(), "that one has not asked");
    let asked = |news: &(_, ChannelNews)| matches!(&news.1, ChannelNews::SupportWanted { by, .. } if *by == admins[0]);
    assert!(group.agents[2].news.iter().any(asked) && group.agents[3].news.iter().any(asked));
    let asking = |group: &Group| group.agents[2].peer.channel_asking(&channel).collect::<Vec<_>>();
    assert_eq!(asking(&group), admins[..1]);
    let step = group.agents[3].peer.channel_support(channel, admins[0], now).unwrap();
    group.agents[3].take(step);
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[1, 2, 3, 4]);
    assert_eq!(group.agents[4].roster(channel).owner(), admins[0]);
    assert_eq!(asking(&group), [], "it is the owner, and asks no more");
    let heard = group.send(4, channel, "we are back");
    group.pass(LONG, 10);
    for at in [1, 2, 3] {
        assert_eq!(group.agents[at].texts(channel), ["we are back"], "agent {at}");
    }
    assert!(!group.agents[4].failed.iter().any(|(_, id, _)| *id == heard));
    assert_eq!(group.agents[5].texts(channel), [""; 0], "the friend hears nothing");
    assert_eq!(group.agents[0].roster(channel).owner(), admins[0], "the owner of before is told that it is out");
    // Also after a start, and whatever the thief says now.
    let now = group.now;
    group.agents[4].restart(now);
    let rename = group.change(0, channel, Change::Rename("mine".to_owned()));
    group.pass(LONG, 10);
    assert!(rename.is_err() || group.agents[4].roster(channel).name() != "mine");
    assert_one_roster(&group, channel, &[1, 2, 3, 4]);
}

/// A member that lost its store is taken out and invited again.
#[test]
fn a_member_that_lost_its_store_comes_back() {
    for size in SIZES {
        let mut group = Group::new(size);
        let channel = group.channel(size);
        group.send(1, channel, "before");
        group.send(2, channel, "before");
        group.pass(LONG, 10);
        let (lost, owner) = (group.id(2), group.id(0));
        group.replace(2);
        assert_eq!(group.id(2), lost, "it is the same agent");
        group.agents[2].know(owner);
        group.change(0, channel, Change::Remove(vec![lost])).unwrap();
        group.pass(LONG, 10);
        group.invite(0, channel, 2).unwrap();
        group.join(2, channel);
        group.pass(LONG, 10);
        assert_one_roster(&group, channel, &(0..size).collect::<Vec<_>>());
        group.send(2, channel, "here again");
        group.pass(LONG, 10);
        group.send(1, channel, "welcome");
        group.pass(LONG, 10);
        assert_eq!(group.agents[1].texts(channel).last(), Some(&"here again"));
        assert_eq!(group.agents[2].texts(channel), ["welcome"]);
    }
}

/// A home that was put back from a copy: its numbers were used, and it goes on behind them.
#[test]
fn a_member_that_was_restored_from_a_copy_speaks_again() {
    for size in SIZES {
        let mut group = Group::new(size);
        let channel = group.channel(size);
        group.send(1, channel, "one");
        group.pass(LONG, 10);
        let copy = group.agents[1].disk.0.clone();
        for text in ["two", "three"] {
            group.send(1, channel, text);
            group.pass(LONG, 10);
        }
        let now = group.now;
        group.agents[1].disk.0 = copy;
        group.agents[1].restart(now);
        group.send(1, channel, "lost, or heard");
        group.pass(LONG, 20);
        group.send(1, channel, "four");
        group.pass(LONG, 20);
        for at in (0..size).filter(|at| *at != 1) {
            let texts = group.agents[at].texts(channel);
            assert_eq!(texts[..3], ["one", "two", "three"], "agent {at} of {size}");
            assert_eq!(texts.iter().filter(|text| **text == "four").count(), 1, "agent {at} of {size}: {texts:?}");
        }
    }
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

/// contracts/channel.md C53: who had a letter, was taken out and came back is sent it no more, also behind a start.
#[test]
fn a_letter_of_before_is_not_sent_to_who_came_back() {
    let mut group = Group::new(11);
    let channel = group.channel(10);
    group.agents[9].away = true;
    let letter = group.send(0, channel, "hello");
    group.pass(LONG, 10);
    let (back, away) = (group.id(5), group.id(9));
    assert_eq!(group.agents[5].texts(channel), ["hello"]);
    group.change(0, channel, Change::Remove(vec![back])).unwrap();
    group.pass(LONG, 5);
    group.invite(0, channel, 5).unwrap();
    group.join(5, channel);
    group.pass(LONG, 5);
    let now = group.now;
    group.agents[0].restart(now);
    let left = group.agents[0].peer.channel_left(&channel, &letter);
    assert!(left.contains(&away) && !left.contains(&back), "{left:?}");
}
