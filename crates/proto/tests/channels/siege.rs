//! What an enemy that reads the code would try.

use nuncio_contracts::registry::time;
use nuncio_proto::channel::{Change, ChannelPlace, Heir, Reach, Says};
use nuncio_proto::rows;
use zeroize::Zeroizing;

use crate::LONG;
use crate::group::Group;

fn rows_of(group: &Group, at: usize, tree: u8) -> usize {
    group.agents[at].disk.0.keys().filter(|key| key[0] == tree).count()
}

/// contracts/channel.md C54: what waits for the record is a chain, and no longer than one.
#[test]
fn what_comes_while_joining_breaks_nobodys_start() {
    let (mut group, channel) = Group::settled(2, 1);
    let (other, newcomer) = (group.id(1), group.id(2));
    group.agents[1].know(newcomer);
    group.agents[2].know(other);
    group.write(1, 2, "hello");
    group.invite(0, channel, 2).unwrap();
    group.agents[0].away = true;
    let now = group.now;
    let step = group.agents[2].peer.channel_join(channel, Reach::default(), now).unwrap();
    group.agents[2].take(step);
    group.say(1, 2, channel, Says::Key(Zeroizing::new(vec![7; 9_000])));
    group.pass(LONG, 5);
    assert_eq!(rows_of(&group, 2, rows::CHANNEL_KEY), 0);
    let now = group.now;
    group.agents[2].restart(now);
}

/// contracts/channel.md C53: a letter that its session brought is not lost because many wait for the record.
#[test]
fn as_many_letters_of_a_session_wait_for_the_record_as_were_taken() {
    let (mut group, channel) = Group::settled(4, 0);
    group.cut.extend([(0, 1), (1, 2)]);
    group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
    group.settle();
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    assert_ne!(group.agents[1].peer.channel(&channel).unwrap().epoch(), epoch);
    let record = group.agents[1].peer.channel(&channel).unwrap().epoch();
    group.send_at([2, 1], ChannelPlace { channel, epoch: record, seq: 1 }, "lost at first");
    group.settle();
    group.cut.remove(&(1, 2));
    for seq in 2..102 {
        group.send_at([2, 1], ChannelPlace { channel, epoch, seq }, "of an epoch that is not known");
    }
    group.settle();
    assert_eq!(group.agents[1].texts(channel), [""; 0]);
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].texts(channel).len(), 101);
}

/// contracts/channel.md C64: who is told that it is not known owes nothing more to whom it shares nothing with.
#[test]
fn nobody_begins_again_and_again_with_who_is_gone() {
    let (mut group, channel) = Group::settled(4, 0);
    group.leave(2, channel).unwrap();
    group.pass(LONG, 10);
    group.forget(2, channel).unwrap();
    group.say(1, 2, channel, Says::Wanted { from: 0 });
    group.pass(LONG, 10);
    let sent = group.sent.len();
    group.pass(LONG, 10);
    assert_eq!(group.sent.len(), sent, "nothing is left to do");
    assert_eq!(rows_of(&group, 1, rows::OUTBOX), 0);
}

/// contracts/channel.md C62: a word that is handed on is under way once, however often it is said.
#[test]
fn a_farewell_is_handed_on_once_at_a_time() {
    let (mut group, channel) = Group::settled(4, 0);
    group.agents[0].away = true;
    group.leave(2, channel).unwrap();
    let leave = {
        let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
        let leave = nuncio_proto::channel::Leave { channel, epoch, agent: group.id(2) };
        leave.sign(group.agents[2].peer.identity().signing())
    };
    for _ in 0..20 {
        group.say(2, 1, channel, Says::Left(leave.clone()));
    }
    group.pass(LONG, 10);
    assert!(rows_of(&group, 1, rows::OUTBOX) <= 1, "{}", rows_of(&group, 1, rows::OUTBOX));
}

/// contracts/channel.md C61: a consent to a hand-over does not outlive the farewell.
#[test]
fn who_has_left_is_no_owner_by_a_consent_of_before() {
    let (mut group, channel) = Group::settled(4, 0);
    let (now, heir) = (group.now, group.id(1));
    let owner = &group.agents[0].peer;
    let record = owner.channel(&channel).unwrap();
    let word = Heir { channel, epoch: record.epoch(), agent: heir }.sign(group.agents[1].peer.identity().signing());
    let appended = record.append(Change::HandOver(heir), vec![word], now, owner.identity().signing());
    let (entry, _) = appended.unwrap();
    // The owner says it before it has heard the farewell, and never follows that.
    group.leave(1, channel).unwrap();
    group.say(0, 1, channel, Says::Entries { entries: vec![entry], reach: vec![] });
    group.carry(0);
    assert_eq!(group.agents[1].roster(channel).owner(), heir);
    let letter = group.letter(1, "I am back");
    let one = &mut group.agents[1];
    assert!(one.peer.channel_send(channel, &letter, now, &mut one.rng).is_err());
    assert!(one.peer.channel_left_by_word(&channel));
}

/// contracts/channel.md C65: what a contact held back until it was removed comes too late.
#[test]
fn what_a_removed_contact_has_held_back_is_not_delivered() {
    let (mut group, _) = Group::settled(3, 0);
    let (other, member) = (group.id(2), group.id(1));
    group.agents[1].know(other);
    group.agents[2].know(member);
    group.cut.insert((1, 2));
    group.write(2, 1, "held back");
    group.settle();
    group.cut.clear();
    group.write(2, 1, "behind it");
    group.settle();
    assert!(group.agents[1].inbox.is_empty());
    let step = group.agents[1].peer.remove_contact(other).unwrap();
    group.agents[1].take(step);
    group.pass(LONG, 10);
    assert!(group.agents[1].inbox.is_empty(), "{:?}", group.agents[1].inbox);
}

/// What a home has of a contact's mailbox is read also where the contact has no row of its own.
#[test]
fn who_is_owed_words_alone_breaks_nobodys_start() {
    let mut group = Group::new(3);
    group.open_mailboxes();
    let channel = group.channel(3);
    for at in 0..3 {
        group.send(at, channel, "so that all have sessions");
    }
    group.pass(LONG, 10);
    assert!(rows_of(&group, 1, rows::MAILBOX_OF) > 0);
    let other = group.id(2);
    group.agents[1].disk.0.retain(|key, _| key[0] != rows::CONTACT || !key.ends_with(other.as_bytes()));
    let now = group.now;
    group.agents[1].restart(now);
    group.pass(time::RESEND_MAX, 2);
}

/// contracts/channel.md C49: who is taken out hears of it also where the owner knows it by the channel alone, and the two have no session.
#[test]
fn who_was_taken_out_is_told_by_an_owner_that_it_never_met() {
    let mut group = Group::new(3);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    let (heir, removed) = (group.id(1), group.id(2));
    group.change(0, channel, Change::HandOver(heir)).unwrap();
    group.pass(LONG, 10);
    group.take_over(1, channel).unwrap();
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].roster(channel).owner(), heir);
    group.agents[2].away = true;
    group.change(1, channel, Change::Remove(vec![removed])).unwrap();
    group.pass(LONG, 10);
    group.agents[2].away = false;
    group.pass(LONG, 10);
    assert!(!group.agents[2].roster(channel).has(&removed), "it was never told");
}

/// contracts/channel.md C53: who is taken out is handed no chain that was on its way to it.
#[test]
fn no_chain_is_under_way_to_who_was_taken_out() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.agents[9].away = true;
    group.send(1, channel, "for all who are in");
    group.settle();
    let removed = group.id(9);
    assert!(rows_of(&group, 1, rows::OUTBOX) > 0, "its chain waits for a session");
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.pass(LONG, 10);
    assert_eq!(rows_of(&group, 1, rows::OUTBOX), 0);
}
