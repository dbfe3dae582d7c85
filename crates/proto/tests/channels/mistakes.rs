//! What people ask of a channel by mistake: each is told which it is, and nothing moves (contracts/channel.md C7, C16).

use nuncio_proto::channel::Change;
use nuncio_proto::ids::AgentId;
use nuncio_proto::peer::{ChannelError, Mistake};

use super::group::{Group, LONG};

/// A proposal that the record would refuse is refused before it is said.
#[test]
fn a_mistake_of_every_day_has_a_word_of_its_own() {
    let (mut group, channel) = Group::settled(4, 1);
    let [owner, admin, member, stranger] = [0, 1, 2, 4].map(|at| group.id(at));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.pass(LONG, 10);
    let name = group.agents[0].roster(channel).name().to_owned();
    let makes = |agent: AgentId, admin: bool| Change::Admin { agent, admin };
    let rows = [
        (0, Change::Add(vec![member]), Mistake::Inside),
        (0, Change::Remove(vec![stranger]), Mistake::Outside),
        (0, Change::Remove(vec![owner]), Mistake::TheOwner),
        (0, makes(stranger, true), Mistake::AdminOutside),
        (0, makes(admin, true), Mistake::AdminAlready),
        (0, makes(member, false), Mistake::NoAdmin),
        (0, makes(stranger, false), Mistake::NoAdmin),
        (0, makes(owner, true), Mistake::OwnerNoAdmin),
        (0, Change::Rename(name.clone()), Mistake::SameName),
        (0, Change::HandOver(stranger), Mistake::HeirOutside),
        (0, Change::HandOver(owner), Mistake::OwnerAlready),
        (1, Change::Remove(vec![stranger]), Mistake::Outside),
        (1, Change::Remove(vec![owner]), Mistake::TheOwner),
        (1, Change::Rename(name), Mistake::SameName),
        (1, Change::Remove(vec![admin]), Mistake::OwnersAlone),
        (1, makes(member, true), Mistake::OwnersAlone),
        (1, Change::HandOver(member), Mistake::OwnersAlone),
    ];
    for (by, change, mistake) in rows {
        let said = format!("{change:?}");
        assert_eq!(group.change(by, channel, change), Err(ChannelError::Mistake(mistake)), "agent {by}: {said}");
    }
    for by in [0, 1] {
        assert_eq!(group.invite(by, channel, 2), Err(ChannelError::Mistake(Mistake::Inside)), "agent {by}");
    }
    // Who may not is told that first.
    assert_eq!(group.change(2, channel, Change::Remove(vec![stranger])), Err(ChannelError::NotAllowed));
    assert_eq!(group.change(2, channel, makes(member, true)), Err(ChannelError::NotAllowed));
}

/// contracts/channel.md C63: nobody is there to hand it over to.
#[test]
fn who_is_alone_in_a_channel_forgets_it_and_hands_nothing_over() {
    let (mut group, channel) = Group::settled(2, 0);
    assert_eq!(group.leave(0, channel), Err(ChannelError::OwnerStays));
    group.change(0, channel, Change::Remove(vec![group.id(1)])).unwrap();
    group.pass(LONG, 10);
    assert_eq!(group.leave(0, channel), Err(ChannelError::Mistake(Mistake::Alone)));
    group.forget(0, channel).unwrap();
}
