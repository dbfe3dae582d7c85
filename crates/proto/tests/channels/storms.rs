//! What a lossy network and starts once brought to light: each of these was lost, shown too early, or said for ever.

use nuncio_contracts::registry::{code, time};
use nuncio_proto::channel::{Change, Reach};
use nuncio_proto::peer::ChannelError;
use nuncio_proto::rows;

use crate::group::Group;
use crate::{LONG, assert_one_roster};

/// contracts/channel.md C45, behind a start: what came before an earlier letter goes on waiting for it.
#[test]
fn a_start_forgets_no_order() {
    for size in [4, 10] {
        let mut group = Group::new(size);
        let channel = group.channel(size);
        group.pass(LONG, 10);
        group.send(1, channel, "so that all have sessions");
        group.pass(LONG, 10);
        group.agents[3].inbox.clear();
        group.cut.insert((1, 3));
        group.send(1, channel, "first");
        group.settle();
        group.cut.clear();
        let now = group.now;
        group.agents[3].restart(now);
        group.send(1, channel, "second");
        group.settle();
        group.agents[3].restart(now);
        group.pass(time::CHANNEL_WAIT / 2, 10);
        assert_eq!(group.agents[3].texts(channel), ["first", "second"], "of {size}");
    }
}

/// contracts/channel.md C53: a letter that comes before the word that lets its reader in is not refused for it.
#[test]
fn a_letter_is_judged_by_the_words_in_front_of_it() {
    let mut group = Group::new(3);
    let channel = group.channel(2);
    group.pass(LONG, 10);
    group.invite(0, channel, 2).unwrap();
    let now = group.now;
    let one = &mut group.agents[2];
    let step = one.peer.channel_join(channel, Reach::default(), now).unwrap();
    one.take(step);
    group.lose_from(0, 2);
    group.send(0, channel, "welcome");
    group.settle();
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].texts(channel), ["welcome"]);
    assert!(group.agents[0].failed.is_empty(), "{:?}", group.agents[0].failed);
}

/// contracts/channel.md C23, C53: also what had come and waits is heard by nobody who knows that its author is out.
#[test]
fn what_waits_of_the_one_removed_is_heard_by_nobody() {
    for size in [4, 10] {
        let mut group = Group::new(size);
        let channel = group.channel(size);
        group.pass(LONG, 10);
        group.send(1, channel, "so that all have sessions");
        group.send(3, channel, "so that all have sessions");
        group.pass(LONG, 10);
        group.agents[2].inbox.clear();
        group.cut.insert((2, 3));
        let question = group.send(3, channel, "question");
        group.settle();
        let mut answer = group.letter(1, "answer");
        answer.reply_to = Some(question);
        group.post(1, channel, &answer);
        group.settle();
        assert_eq!(group.agents[2].texts(channel), [""; 0]);
        let gone = group.id(1);
        group.change(0, channel, Change::Remove(vec![gone])).unwrap();
        group.settle();
        group.cut.clear();
        group.pass(LONG, 10);
        assert_eq!(group.agents[2].texts(channel), ["question"], "of {size}");
    }
}

/// contracts/channel.md C38: numbers that went in sessions are missing in no frame, so the next frame is acknowledged.
#[test]
fn a_frame_behind_letters_in_sessions_is_acknowledged() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(1, channel, "large");
    group.pass(LONG, 10);
    let gone = vec![group.id(8), group.id(9)];
    group.change(0, channel, Change::Remove(Change::ordered(gone))).unwrap();
    group.pass(LONG, 10);
    group.send(1, channel, "small");
    group.pass(LONG, 10);
    for newcomer in [8, 9] {
        group.invite(0, channel, newcomer).unwrap();
        group.join(newcomer, channel);
    }
    group.pass(LONG, 10);
    let letter = group.send(1, channel, "large again");
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].peer.channel_left(&channel, &letter), []);
}

/// contracts/channel.md C54: who has not heard of a newcomer keeps its letter until it has.
#[test]
fn a_newcomer_is_heard_by_who_has_not_heard_of_it() {
    let mut group = Group::new(4);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    let (other, newcomer) = (group.id(2), group.id(3));
    group.agents[2].know(newcomer);
    group.agents[3].know(other);
    group.cut.insert((0, 2));
    for name in ["one", "two"] {
        group.change(0, channel, Change::Rename(name.to_owned())).unwrap();
    }
    group.invite(0, channel, 3).unwrap();
    group.join(3, channel);
    group.send(3, channel, "hello");
    group.pass(LONG, 20);
    assert_eq!(group.agents[2].texts(channel), ["hello"]);
    assert!(group.agents[3].failed.iter().all(|(_, _, code)| *code != code::NOT_MEMBER));
    assert_one_roster(&group, channel, &[0, 1, 2, 3]);
}

/// contracts/channel.md C54: a chain that is handed to a newcomer before it has the record waits for it, also through a start.
#[test]
fn a_chain_that_comes_before_the_record_waits_for_it() {
    let mut group = Group::new(11);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    let (other, newcomer) = (group.id(1), group.id(10));
    group.agents[1].know(newcomer);
    group.agents[10].know(other);
    group.invite(0, channel, 10).unwrap();
    let now = group.now;
    let one = &mut group.agents[10];
    let step = one.peer.channel_join(channel, Reach::default(), now).unwrap();
    one.take(step);
    group.lose_from(0, 10);
    group.cut.insert((0, 10));
    let letter = group.send(1, channel, "welcome");
    group.pass(LONG / 4, 5);
    assert!(group.agents[10].peer.channel(&channel).is_none());
    let now = group.now;
    group.agents[10].restart(now);
    group.cut.clear();
    group.pass(LONG, 10);
    assert_eq!(group.agents[10].texts(channel), ["welcome"]);
    assert_eq!(group.agents[1].peer.channel_left(&channel, &letter), []);
}

/// contracts/channel.md C49: who was taken out while it was away, by an owner of whom it had not heard, hears of it.
#[test]
fn the_one_removed_is_told_the_entries_that_it_lacks() {
    let mut group = Group::new(4);
    let channel = group.channel(4);
    group.send(1, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents[3].away = true;
    let removed = group.id(3);
    group.hand_over(0, channel, 1);
    group.change(1, channel, Change::Rename("journey".to_owned())).unwrap();
    group.change(1, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    group.change(1, channel, Change::Rename("without it".to_owned())).unwrap();
    group.settle();
    // What the former owner still says does not get through.
    group.cut.insert((0, 3));
    group.agents[3].away = false;
    group.pass(LONG, 10);
    let roster = group.agents[3].roster(channel);
    assert!(!roster.has(&removed));
    assert_eq!(roster.name(), "journey", "and nothing from behind that");
}

/// contracts/channel.md C54: two chains of epochs that are not known wait both, and no letter of the first is called delivered for the second.
#[test]
fn all_chains_of_unknown_epochs_wait() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.send(1, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents[2].inbox.clear();
    let now = group.now;
    group.agents[1].restart(now);
    group.cut.insert((0, 2));
    for name in ["one", "two"] {
        group.change(0, channel, Change::Rename(name.to_owned())).unwrap();
        group.settle();
    }
    group.send(1, channel, "first");
    group.lose_from(2, 1);
    group.change(0, channel, Change::Rename("three".to_owned())).unwrap();
    group.settle();
    let now = group.now;
    group.agents[2].restart(now);
    let letter = group.send(1, channel, "second");
    group.pass(LONG, 20);
    assert_eq!(group.agents[2].texts(channel), ["first", "second"]);
    assert_eq!(group.agents[1].peer.channel_left(&channel, &letter), []);
}

/// contracts/channel.md C53, behind a start: frames to who was taken out are given up for good.
#[test]
fn a_start_sends_nothing_again_to_the_one_removed() {
    let mut group = Group::new(11);
    let channel = group.channel(11);
    group.send(0, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents[3].away = true;
    group.agents[4].away = true;
    let letter = group.send(0, channel, "hello");
    group.settle();
    let (removed, other) = (group.id(3), group.id(4));
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    let now = group.now;
    group.agents[0].restart(now);
    let left = group.agents[0].peer.channel_left(&channel, &letter);
    assert!(left.contains(&other) && !left.contains(&removed), "{left:?}");
}

/// contracts/channel.md C49: whoever has made a newcomer's invitation gives it the record, also if it is taken out by the next entry.
#[test]
fn a_newcomer_is_given_the_record_by_who_is_removed_next() {
    let mut group = Group::new(4);
    let channel = group.channel(3);
    group.pass(LONG, 10);
    let (admin, newcomer) = (group.id(1), group.id(3));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.settle();
    group.agents[1].know(newcomer);
    group.agents[3].know(admin);
    let forget = group.agents[3].peer.remove_contact(group.id(0)).unwrap();
    group.agents[3].take(forget);
    group.invite(1, channel, 3).unwrap();
    let now = group.now;
    let one = &mut group.agents[3];
    let step = one.peer.channel_join(channel, Reach::default(), now).unwrap();
    one.take(step);
    group.carry(3);
    group.carry(1);
    group.change(0, channel, Change::Remove(vec![admin])).unwrap();
    group.pass(LONG, 10);
    assert_one_roster(&group, channel, &[0, 2, 3]);
}

/// An invitation to who is no contact would be said to nobody, for ever.
#[test]
fn only_who_is_known_is_invited() {
    let mut group = Group::new(3);
    let channel = group.channel(2);
    let admin = group.id(1);
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.settle();
    assert_eq!(group.invite(1, channel, 2), Err(ChannelError::Unknown));
}

/// contracts/channel.md C53: nobody goes on telling who was taken out anything but that it was.
#[test]
fn words_to_the_one_removed_are_given_up() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.agents[3].away = true;
    // Chains go to everybody, and to nobody who is away.
    group.send(1, channel, "hello");
    group.settle();
    let removed = group.id(3);
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.pass(LONG, 10);
    let waiting = |at: usize| group.agents[at].disk.0.keys().filter(|key| key[0] == rows::OUTBOX).count();
    assert_eq!((waiting(1), waiting(2)), (0, 0));
    assert!(waiting(0) > 0, "its owner tells it");
}

/// contracts/channel.md C55: a receiver that stops between taking a frame and saying so says it when the frame comes again.
#[test]
fn a_frame_that_was_taken_before_a_stop_is_acknowledged_when_it_comes_again() {
    let mut group = Group::new(9);
    let channel = group.channel(9);
    group.send(0, channel, "so that all have the chain");
    group.pass(LONG, 10);
    let letter = group.send(0, channel, "taken");
    group.settle();
    assert_eq!(group.agents[4].texts(channel).last(), Some(&"taken"));
    let (now, stopped) = (group.now, group.id(4));
    group.agents[4].restart(now);
    group.pass(LONG, 10);
    assert_eq!(group.agents[0].peer.channel_left(&channel, &letter), []);
    assert_eq!(group.agents[0].delivered.iter().filter(|(to, id)| *to == stopped && *id == letter).count(), 1);
    assert_eq!(group.agents[4].texts(channel).iter().filter(|text| **text == "taken").count(), 1);
}

/// contracts/store.md: a frame writes what it moves, however many wait with it; and what waits outlives a start.
#[test]
fn what_waits_for_an_earlier_letter_is_written_once() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.send(1, channel, "so that all have sessions");
    group.pass(LONG, 10);
    group.agents[3].inbox.clear();
    let of = |group: &Group, tree: u8| -> Vec<usize> {
        let sender = group.id(1);
        let disk = group.agents[3].disk.0.iter();
        let theirs = disk.filter(|(key, _)| key[0] == tree && key.get(33..65) == Some(sender.as_bytes()));
        theirs.map(|(_, value)| value.len()).collect()
    };
    group.cut.insert((1, 3));
    let mut expected: Vec<String> = vec!["first".to_owned()];
    group.send(1, channel, "first");
    group.settle();
    group.cut.clear();
    for number in 0..60 {
        group.send(1, channel, &number.to_string());
        group.settle();
        expected.push(number.to_string());
    }
    let (whole, each) = (of(&group, rows::CHANNEL_SENDER), of(&group, rows::CHANNEL_EARLY));
    assert_eq!(each.len(), 61);
    assert!(whole[0] < 1_024 && each.iter().all(|len| *len < 128), "{whole:?} {each:?}");
    let now = group.now;
    group.agents[3].restart(now);
    group.pass(time::CHANNEL_WAIT / 2, 10);
    assert_eq!(group.agents[3].texts(channel), expected);
    assert!(of(&group, rows::CHANNEL_EARLY).is_empty());
}
