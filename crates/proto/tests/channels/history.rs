//! Earlier letters of a channel, handed over to newcomers (contracts/channel.md section 13).

use nuncio_contracts::registry::{code, extension};
use nuncio_proto::channel::{Change, ChannelPlace, History};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::error::PeerError;
use nuncio_proto::ids::{AgentId, ChannelId};
use nuncio_proto::letter::{Extension, Letter};
use nuncio_proto::peer::ChannelError;
use nuncio_proto::step::Arrival;

use crate::group::Group;
use crate::{LONG, SIZES};

/// The letters of an agent's inbox, as its disk has them.
fn inbox(group: &Group, at: usize) -> Vec<Arrival> {
    let rows = group.agents[at].disk.0.iter().filter(|(key, _)| key[0] == b'i');
    rows.map(|(key, row)| Arrival::from_row(key, row).unwrap()).collect()
}

fn hand(
    group: &mut Group,
    by: usize,
    to: usize,
    channel: ChannelId,
    what: (AgentId, &Letter),
) -> Result<(), PeerError> {
    let (now, to, one) = (group.now, group.id(to), &mut group.agents[by]);
    let (_, step) = one.peer.channel_hand(channel, to, what, now, &mut one.rng)?;
    one.take(step);
    Ok(())
}

/// contracts/channel.md C66, C67: a newcomer reads what a member hands over, and it's that member's word alone.
#[test]
fn a_newcomer_reads_what_a_member_hands_over() {
    for size in SIZES {
        let mut group = Group::new(size + 1);
        let channel = group.channel(size);
        group.pass(LONG, 10);
        let first = group.send(2, channel, "who has the map?");
        group.pass(LONG, 10);
        let mut answer = group.letter(3, "I have");
        answer.reply_to = Some(first);
        group.post(3, channel, &answer);
        group.pass(LONG, 10);
        group.invite(0, channel, size).unwrap();
        group.join(size, channel);
        group.pass(LONG, 10);
        assert!(group.agents[size].inbox.is_empty() && group.agents[size].handed.is_empty());
        let earlier = inbox(&group, 1);
        assert_eq!(earlier.len(), 2);
        for one in &earlier {
            hand(&mut group, 1, size, channel, (one.from, &one.letter)).unwrap();
        }
        group.pass(LONG, 10);
        let (by, author, other) = (group.id(1), group.id(2), group.id(3));
        let about = |author, id, reply_to| History { channel, author, id, reply_to };
        let expected = [
            (by, about(author, first, None), "who has the map?".to_owned()),
            (by, about(other, answer.id, Some(first)), "I have".to_owned()),
        ];
        assert_eq!(group.agents[size].handed, expected);
        assert!(group.agents[size].inbox.iter().all(|came| came.from == by && came.channel.is_none()));
        // Its authors' letters of now come in their order, and one of them may be the same.
        group.send(2, channel, "now");
        group.pass(LONG, 10);
        assert_eq!(group.agents[size].texts(channel), ["now"]);
        // What was handed over is handed on by nobody.
        let handed = inbox(&group, size).remove(0);
        let refused = hand(&mut group, size, 1, channel, (author, &handed.letter));
        assert!(matches!(refused, Err(PeerError::Letter(_))));
    }
}

/// contracts/channel.md C67: of members, to members, and in one form.
#[test]
fn history_is_taken_of_members_alone() {
    let mut group = Group::new(5);
    let channel = group.channel(4);
    group.pass(LONG, 10);
    for by in [2, 3] {
        group.send(by, channel, "between us");
        group.pass(LONG, 10);
    }
    let earlier = inbox(&group, 1).remove(0);
    let refused = hand(&mut group, 1, 4, channel, (earlier.from, &earlier.letter));
    assert!(matches!(refused, Err(PeerError::Channel(ChannelError::NoFellow))));
    // Who was taken out, and does not care.
    let (member, removed) = (group.id(1), group.id(3));
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.pass(LONG, 10);
    group.agents[3].inbox.clear();
    let about = History::about(earlier.from, &earlier.letter).unwrap();
    let with = |group: &mut Group, by: usize, more: Vec<Extension>| {
        let mut letter = group.letter(by, "they said so");
        more.into_iter().for_each(|extension| letter.set_extension(extension));
        let (now, one) = (group.now, &mut group.agents[by]);
        let step = one.peer.send(member, &letter, now).unwrap();
        one.take(step);
        group.pass(LONG, 5);
        letter.id
    };
    let gone = with(&mut group, 3, vec![about.extension()]);
    assert!(group.agents[3].failed.contains(&(member, gone, code::NOT_MEMBER)), "{:?}", group.agents[3].failed);
    // A member's, in no form that there is.
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    let place = ChannelPlace { channel, epoch, seq: 1 }.extension();
    let cut = Extension { value: about.extension().value[1..].to_vec(), ..about.extension() };
    // A handle that is one: nothing but history makes it none here.
    let handle = [[0x83, 0x50].as_slice(), &[7; 16], &[0x58, 0x20], &[7; 32], &[0x1a, 0, 0x0f, 0x42, 0x40]].concat();
    let large = Extension { number: extension::LARGE_PAYLOAD, critical: true, value: handle };
    for more in [vec![about.extension(), place], vec![cut], vec![about.extension(), large]] {
        let odd = with(&mut group, 2, more);
        assert!(group.agents[2].failed.contains(&(member, odd, code::MALFORMED)));
    }
    // Nor one of somebody who never was a member.
    let stranger = History { author: group.id(4), ..about };
    let odd = with(&mut group, 2, vec![stranger.extension()]);
    assert!(group.agents[2].failed.contains(&(member, odd, code::NOT_MEMBER)));
    assert!(group.agents[1].handed.is_empty());
    // An agent's own letters are its own to hand over.
    let mut own = Letter::plain(earlier.letter.id, ContentType::TEXT, b"I said".to_vec());
    own.set_extension(ChannelPlace { channel, epoch, seq: 0 }.extension());
    let author = group.id(2);
    hand(&mut group, 2, 1, channel, (author, &own)).unwrap();
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].handed.len(), 1);
}

/// contracts/channel.md C67: it is judged when its turn comes, not only when its frame does.
#[test]
fn history_that_waits_behind_a_gap_is_not_taken_of_who_was_removed_meanwhile() {
    let (mut group, channel) = Group::settled(4, 0);
    let (member, removed) = (group.id(1), group.id(2));
    group.agents[1].know(removed);
    group.agents[2].know(member);
    group.send(3, channel, "between us");
    group.pass(LONG, 10);
    let earlier = inbox(&group, 2).into_iter().last().unwrap();
    group.cut.insert((1, 2));
    group.write(2, 1, "lost at first");
    group.settle();
    group.cut.clear();
    hand(&mut group, 2, 1, channel, (earlier.from, &earlier.letter)).unwrap();
    group.settle();
    group.cut.insert((0, 2));
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    group.pass(LONG, 10);
    assert!(group.agents[1].inbox.iter().any(|came| came.text == "lost at first"), "the gap has closed");
    assert!(group.agents[1].handed.is_empty());
}
