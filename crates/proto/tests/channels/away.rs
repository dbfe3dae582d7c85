//! Letters that were sealed once, for members that are away: left at their node, or taken back.

use nuncio_contracts::registry::{code, time};
use nuncio_proto::channel::Change;
use nuncio_proto::ids::ChannelId;
use nuncio_proto::peer::{Peer, Way};
use nuncio_proto::rows;

use super::LONG;
use super::group::{Group, mailbox};

/// Ten with mailboxes that are known to each other; the ninth goes away.
fn one_is_away() -> (Group, ChannelId) {
    let mut group = Group::new(10);
    group.open_mailboxes();
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(1, channel, "so that all have sessions");
    group.send(0, channel, "and know where mailboxes are");
    group.pass(LONG, 10);
    group.agents[8].away = true;
    (group, channel)
}

/// contracts/mailbox.md M19: what opens a frame goes in front of it.
#[test]
fn a_frame_is_left_behind_the_key_that_opens_it() {
    let (mut group, channel) = one_is_away();
    // A chain of the new epoch, of which the member that is away has no key.
    group.change(0, channel, Change::Rename("another".to_owned())).unwrap();
    group.send(0, channel, "under another key");
    group.settle();
    let (at, now, id) = (mailbox(), group.now, group.id(8));
    let sender = &group.agents[0].peer;
    assert!(sender.shared_mail(&at, |agent| *agent == id, now, 10).is_empty());
    assert!(sender.shared_mail_waits(&at, |agent| *agent == id));
    let ways =
        |peer: &Peer| -> Vec<Way> { peer.group_ways().filter(|(to, ..)| *to == id).map(|(.., way)| way).collect() };
    assert_eq!(ways(sender), [Way::Waiting]);
    // So it is behind a start too.
    group.agents[0].restart(now);
    assert!(group.agents[0].peer.shared_mail(&at, |agent| *agent == id, now, 10).is_empty());
    group.leave_mail();
    let sender = &group.agents[0].peer;
    assert!(!sender.shared_mail_waits(&at, |_| true));
    assert_eq!(ways(sender), [Way::Mailbox(now)]);
    // It is fetched in its order, and what does not open is given up.
    group.fetch(8);
    assert_eq!(group.agents[8].texts(channel).last(), Some(&"under another key"));
}

/// contracts/mailbox.md M16: whoever withholds a letter to a channel leaves a hole, which is told when it lasts.
#[test]
fn a_letter_to_a_channel_that_is_withheld_is_reported_when_it_outlasts_patience() {
    let (mut group, channel) = one_is_away();
    for text in ["one", "withheld", "three"] {
        group.send(0, channel, text);
        group.settle();
        group.leave_mail();
    }
    let (from, id) = (group.id(0), group.id(8));
    let waits = group.boxes.get_mut(&id).unwrap();
    let frames: Vec<usize> = (0..waits.len()).filter(|at| waits[*at][2] == 5).collect();
    let withheld = waits.remove(frames[1]);
    group.fetch(8);
    assert_eq!(group.agents[8].texts(channel).last(), Some(&"one"), "the third waits for it");
    let gaps = |group: &Group| group.agents[8].peer.channel_gaps(group.now).collect::<Vec<_>>();
    assert!(gaps(&group).is_empty(), "resends may bring it");
    let since = group.now;
    group.now = group.now.plus(time::GAP_PATIENCE);
    let seen = gaps(&group);
    assert_eq!(seen.iter().map(|gap| (gap.channel, gap.from, gap.since)).collect::<Vec<_>>(), [(channel, from, since)]);
    group.boxes.entry(id).or_default().push(withheld);
    group.fetch(8);
    assert!(gaps(&group).is_empty(), "it is there");
    assert!(group.agents[8].texts(channel).contains(&"withheld"));
}

/// A letter that was sealed once is taken back from whom it has not reached, and from nobody else; those behind it come.
#[test]
fn a_letter_that_was_sealed_once_is_taken_back_from_who_lacks_it() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(0, channel, "first");
    group.pass(LONG, 10);
    group.agents[8].away = true;
    let (gone, away) = (group.send(0, channel, "taken back"), group.id(8));
    group.pass(LONG, 10);
    assert_eq!(group.agents[0].peer.channel_left(&channel, &gone), [away]);
    let here = group.id(7);
    assert!(group.agents[0].peer.cancel(here, gone).is_none(), "it has the letter");
    let step = group.agents[0].peer.cancel(away, gone).unwrap();
    group.agents[0].take(step);
    assert_eq!(group.agents[0].failed, [(away, gone, code::CANCELLED)]);
    assert!(group.agents[0].peer.channel_left(&channel, &gone).is_empty());
    assert!(group.agents[0].peer.cancel(away, gone).is_none(), "once");
    // On disk too.
    let now = group.now;
    group.agents[0].restart(now);
    assert!(group.agents[0].peer.channel_left(&channel, &gone).is_empty());
    group.agents[8].away = false;
    group.send(0, channel, "behind it");
    group.pass(LONG, 10);
    assert_eq!(group.agents[8].texts(channel), ["first", "behind it"]);
    assert_eq!(group.agents[7].texts(channel), ["first", "taken back", "behind it"]);
}

/// contracts/channel.md C55: who has acknowledged a letter has it behind a start too: it is not sent again, and never fails there.
#[test]
fn a_start_forgets_nobody_who_has_a_letter() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.agents[9].away = true;
    let (first, away) = (group.send(0, channel, "first"), group.id(9));
    group.pass(LONG, 10);
    let (second, now) = (group.send(0, channel, "second"), group.now);
    group.agents[0].restart(now);
    assert_eq!(group.agents[0].peer.channel_left(&channel, &first), [away]);
    assert_eq!(group.agents[0].peer.channel_left(&channel, &second).len(), 9, "nobody has said that it is there");
    group.pass(LONG, 10);
    // Again, with what one said behind the start, and one that goes away for good.
    let now = group.now;
    group.agents[0].restart(now);
    assert_eq!(group.agents[0].peer.channel_left(&channel, &second), [away]);
    group.agents[5].away = true;
    group.pass(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW, 10);
    let failed: Vec<_> = group.agents[0].failed.iter().map(|(agent, letter, _)| (*agent, *letter)).collect();
    assert_eq!(failed, [(away, first), (away, second)]);
}

/// What a member has is known as long as it is one, and as the channel is.
#[test]
fn what_a_member_has_is_forgotten_with_the_member() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.send(1, channel, "hello");
    group.pass(LONG, 10);
    let of = |group: &Group, at: usize| {
        let keys = group.agents[1].disk.0.keys().filter(|key| key[0] == rows::CHANNEL_ACKED);
        let id = group.id(at);
        keys.filter(|key| key.ends_with(id.as_bytes())).count()
    };
    let all = |group: &Group| (0..10).map(|at| of(group, at)).sum::<usize>();
    assert_eq!((all(&group), of(&group, 1)), (9, 0));
    let gone = group.id(5);
    group.change(0, channel, Change::Remove(vec![gone])).unwrap();
    group.pass(LONG, 10);
    assert_eq!((all(&group), of(&group, 5)), (8, 0));
    group.leave(1, channel).unwrap();
    group.pass(LONG, 10);
    assert_eq!(all(&group), 0);
}

/// contracts/mailbox.md M14: copies of what lies at a node take no place of what does not.
#[test]
fn what_was_never_left_goes_before_what_is_left_again() {
    let (mut group, channel) = one_is_away();
    for text in ["one", "two"] {
        group.send(0, channel, text);
        group.settle();
        group.leave_mail();
    }
    group.pass(time::DEPOSIT_AGAIN, 2);
    let (last, id) = (group.send(0, channel, "three"), group.id(8));
    group.settle();
    // What hands its chain over is in front of it.
    let (now, one) = (group.now, &mut group.agents[0]);
    let mail = one.peer.mail(id, now, 1_000, &mut one.rng).unwrap();
    let words = mail.frames.into_iter().map(|(_, mailed)| mailed).collect();
    let step = one.peer.mailed(id, words, now);
    one.take(step);
    let letters = |most: usize| {
        let mail = group.agents[0].peer.shared_mail(&mailbox(), |agent| *agent == id, now, most);
        mail.into_iter().map(|mail| mail.common).collect::<Vec<_>>()
    };
    let all = letters(10);
    assert_eq!((letters(1).as_slice(), all.len()), (&all[..1], 3));
    let step = group.agents[0].peer.cancel(id, last).unwrap();
    group.agents[0].take(step);
    let before = group.agents[0].peer.shared_mail(&mailbox(), |agent| *agent == id, now, 10);
    assert_eq!(before.into_iter().map(|mail| mail.common).collect::<Vec<_>>(), all[1..], "the newest was the first");
}

/// contracts/channel.md C56: also where the copy is old and somebody who is away lacks a letter of then, most of the others are believed.
#[test]
fn a_member_that_was_restored_from_an_old_copy_waits_for_nobody() {
    let mut group = Group::new(10);
    let channel = group.channel(10);
    group.agents[9].away = true;
    group.send(1, channel, "of then");
    group.pass(LONG, 10);
    let copy = group.agents[1].disk.0.clone();
    for _ in 0..600 {
        group.send(1, channel, "later");
        group.settle();
    }
    group.pass(LONG, 10);
    let now = group.now;
    group.agents[1].disk.0 = copy;
    group.agents[1].restart(now);
    group.send(1, channel, "lost, or heard");
    group.pass(LONG, 20);
    group.send(1, channel, "here again");
    group.pass(LONG, 20);
    for at in [0, 2, 8] {
        assert_eq!(group.agents[at].texts(channel).last(), Some(&"here again"), "agent {at}");
    }
}

/// contracts/channel.md C63, mailbox.md M16: who has forgotten a channel and comes back begins with number 0, and nothing of it is missing.
#[test]
fn who_begins_anew_leaves_no_hole() {
    let (mut group, channel) = Group::settled(10, 0);
    for text in ["one", "two", "three"] {
        group.send(8, channel, text);
    }
    group.pass(LONG, 10);
    group.leave(8, channel).unwrap();
    group.pass(LONG, 10);
    group.forget(8, channel).unwrap();
    group.invite(0, channel, 8).unwrap();
    group.join(8, channel);
    group.pass(LONG, 10);
    group.send(8, channel, "back");
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].texts(channel), ["one", "two", "three", "back"]);
    group.now = group.now.plus(time::GAP_PATIENCE);
    assert_eq!(group.agents[1].peer.channel_gaps(group.now).count(), 0);
}
