//! Letters that were sealed once, for members that are away: left at their node, or taken back.

use nuncio_contracts::registry::code;
use nuncio_proto::channel::Change;
use nuncio_proto::peer::{Peer, Way};

use super::LONG;
use super::group::{Group, mailbox};

/// contracts/mailbox.md M19: what opens a frame goes in front of it.
#[test]
fn a_frame_is_left_behind_the_key_that_opens_it() {
    let mut group = Group::new(10);
    group.open_mailboxes();
    let channel = group.channel(10);
    group.pass(LONG, 10);
    group.send(1, channel, "so that all have sessions");
    group.send(0, channel, "and know where mailboxes are");
    group.pass(LONG, 10);
    group.agents[8].away = true;
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
    group.leave_mail();
    let sender = &group.agents[0].peer;
    assert!(!sender.shared_mail_waits(&at, |_| true));
    assert_eq!(ways(sender), [Way::Mailbox(now)]);
    // It is fetched in its order, and what does not open is given up.
    group.fetch(8);
    assert_eq!(group.agents[8].texts(channel).last(), Some(&"under another key"));
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
