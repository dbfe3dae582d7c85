//! Honest letters: every member opens them, once, in any order, across chains and epochs.

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::channel::{Change, KeyError, ReceiveError, SealError, SenderKey};
use nuncio_proto::replay::ReplayError;
use nuncio_proto::time::UnixMillis;

use crate::group::{Member, NOW, add, agents, append, group, hand_over, record_of};

#[test]
fn each_member_opens_each_others_letters_once() {
    for audits in [false, true] {
        let mut members = group(4, audits);
        for of in 0..4 {
            let sealed = members[of].seal(b"to all");
            assert_eq!(sealed.macs().len(), 3);
            for to in (0..4).filter(|to| *to != of) {
                let (letter, moved) = members[to].receive_from(&sealed).unwrap();
                assert_eq!((letter.as_slice(), moved.next, moved.holes.len()), (b"to all".as_slice(), 1, 0));
                let again = members[to].receive_from(&sealed);
                assert_eq!(again.unwrap_err(), ReceiveError::Replay(ReplayError::Replayed(0)));
            }
        }
    }
}

#[test]
fn letters_come_in_any_order_and_across_chains() {
    let mut members = group(2, false);
    let mut sealed = Vec::new();
    for _ in 0..3 {
        sealed.extend((0..20).map(|_| members[0].seal(b"letter")));
        hand_over(&mut members, 0);
    }
    for at in (0..60).rev() {
        let moved = members[1].receive_from(&sealed[at]).unwrap().1;
        assert_eq!(moved.next, if at == 0 { 60 } else { 0 });
    }
    assert_eq!((members[1].into.kept(), members[1].into.tags().count()), (0, 1), "chains that are over are forgotten");
}

/// The key of a letter that was passed over goes when the letter came, whatever else is missing.
#[test]
fn a_kept_key_is_deleted_with_its_letter() {
    let mut members = group(2, false);
    let sealed: Vec<_> = (0..4).map(|_| members[0].seal(b"letter")).collect();
    for (at, kept) in [(3, 3), (1, 2), (2, 1), (0, 0)] {
        members[1].receive_from(&sealed[at]).unwrap();
        assert_eq!(members[1].into.kept(), kept);
    }
}

#[test]
fn a_chain_is_over_after_so_many_letters_and_so_long() {
    let mut members = group(2, false);
    let epoch = members[0].record.epoch();
    for _ in 0..limit::CHANNEL_CHAIN_LETTERS {
        assert!(!members[0].out.needs_chain(&epoch, NOW));
        let sealed = members[0].seal(b"letter");
        members[1].receive_from(&sealed).unwrap();
    }
    assert!(members[0].out.needs_chain(&epoch, NOW));
    let nonce = members[0].nonce();
    let more = members[0].out.seal(&epoch, vec![], None, &nonce, members[0].identity.signing(), NOW);
    assert_eq!(more.unwrap_err(), SealError::NeedsChain);
    hand_over(&mut members, 0);
    assert!(!members[0].out.needs_chain(&epoch, NOW.plus(time::CHANNEL_CHAIN_LIFE - 1)));
    assert!(members[0].out.needs_chain(&epoch, NOW.plus(time::CHANNEL_CHAIN_LIFE)));
    assert!(members[0].out.needs_chain(&epoch, UnixMillis(NOW.0 - 1)), "a clock that was set back");
}

/// contracts/channel.md C24: who is removed reads nothing that was sealed by who knows it, and is heard by nobody who does.
#[test]
fn the_one_removed_reads_nothing_more_and_is_heard_by_nobody() {
    let mut members = group(3, false);
    let (owner, gone) = (members[0].identity.clone(), members[2].id());
    let mut record = members[0].record.clone();
    append(&mut record, &owner, Change::Remove(vec![gone]));
    let old = members[0].record.epoch();
    for member in &mut members[..2] {
        member.follow(&record);
    }

    let nonce = members[0].nonce();
    let stale = members[0].out.seal(&record.epoch(), vec![1], None, &nonce, owner.signing(), NOW);
    assert_eq!(stale.unwrap_err(), SealError::NeedsChain, "the old chain seals nothing in the new epoch");
    let keys = members[0].begin(NOW);
    assert!(keys.iter().all(|(agent, _)| *agent != gone), "the new chain is not handed to the one removed");
    assert!(members[0].out.needs_chain(&old, NOW));
    let sealed = members[0].seal(b"without you");
    assert!(sealed.frame_for(&gone).is_none());
    let other = sealed.frame_for(&members[1].id()).unwrap();
    assert_eq!(members[2].open(&other).unwrap_err(), ReceiveError::UnknownTag);

    let said = members[2].seal(b"still here");
    assert_eq!(members[1].receive_from(&said).unwrap_err(), ReceiveError::UnknownTag);
    let keys = members[2].begin(NOW);
    let key = &keys.iter().find(|(agent, _)| *agent == members[1].id()).unwrap().1;
    let taken = members[1].take_key(gone, key);
    assert_eq!(taken.unwrap_err(), KeyError::NotMember.to_string());
}

#[test]
fn a_newcomer_reads_nothing_from_before() {
    let agents = agents(3);
    let mut record = record_of(&agents[..2], false);
    let mut members: Vec<Member> = agents[..2].iter().map(|agent| Member::new(agent, &record)).collect();
    (0..2).for_each(|of| hand_over(&mut members, of));
    let before = members[0].seal(b"before");
    let frame = before.frame_for(&members[1].id()).unwrap();
    let old_key = members[0].begin(NOW).remove(0).1;

    add(&mut record, &agents[0], &[&agents[2]]);
    members.iter_mut().for_each(|member| member.follow(&record));
    members.push(Member::new(&agents[2], &record));
    hand_over(&mut members, 0);
    assert_eq!(members[2].open(&frame).unwrap_err(), ReceiveError::UnknownTag);
    // Also if another member passes an older chain on.
    let passed_on = members[2].take_key(agents[0].id(), &old_key);
    assert_eq!(passed_on.unwrap_err(), KeyError::NotMember.to_string());
    let sealed = members[0].seal(b"welcome");
    assert_eq!(members[2].receive_from(&sealed).unwrap().1.next, before.seq() + 2);
    members[1].receive_from(&before).unwrap();
    members[1].receive_from(&sealed).unwrap();
}

#[test]
fn who_comes_back_does_not_hear_old_chains() {
    let agents = agents(3);
    let mut members = group(3, false);
    let mut record = members[0].record.clone();
    let old = members[2].seal(b"of the first time");
    append(&mut record, &agents[0], Change::Remove(vec![agents[2].id()]));
    add(&mut record, &agents[0], &[&agents[2]]);
    members[1].follow(&record);
    assert_eq!(members[1].receive_from(&old).unwrap_err(), ReceiveError::UnknownTag);
}

#[test]
fn a_chain_of_an_unknown_epoch_waits_and_one_of_long_ago_is_refused() {
    let agents = agents(2);
    let mut members = group(2, false);
    let old = members[1].record.clone();
    let mut record = old.clone();
    append(&mut record, &agents[0], Change::Rename("other".into()));
    members[0].follow(&record);
    let key = members[0].begin(NOW).remove(0).1;
    assert_eq!(members[1].take_key(agents[0].id(), &key).unwrap_err(), KeyError::UnknownEpoch.to_string());
    members[1].follow(&record);
    assert_eq!(members[1].take_key(agents[0].id(), &key), Ok(None));
    assert_eq!(members[1].take_key(agents[0].id(), &key).unwrap_err(), KeyError::Known.to_string());
    for number in 0..=limit::CHANNEL_BEHIND_MAX {
        append(&mut record, &agents[0], Change::Rename(format!("name {number}")));
    }
    let key = members[0].begin(NOW).remove(0).1;
    members[1].follow(&record);
    assert_eq!(members[1].take_key(agents[0].id(), &key).unwrap_err(), KeyError::Stale.to_string());
}

#[test]
fn a_chain_goes_neither_back_in_epochs_nor_in_numbers() {
    let agents = agents(2);
    let mut members = group(2, false);
    let mut behind = Member::new(&agents[0], &members[0].record);
    let _ = behind.nonce();
    let early = behind.begin(NOW).remove(0).1;
    for _ in 0..3 {
        let sealed = members[0].seal(b"letter");
        members[1].receive_from(&sealed).unwrap();
    }
    let refused = members[1].take_key(agents[0].id(), &early);
    assert_eq!(refused.unwrap_err(), KeyError::Number.to_string(), "a sender that was restored");

    let mut record = members[0].record.clone();
    append(&mut record, &agents[0], Change::Rename("other".into()));
    let old = members[0].begin(NOW).remove(0).1;
    members.iter_mut().for_each(|member| member.follow(&record));
    hand_over(&mut members, 0);
    let refused = members[1].take_key(agents[0].id(), &old);
    assert_eq!(refused.unwrap_err(), KeyError::Stale.to_string());
}

/// contracts/channel.md C30: of what its sender gave up no key is kept, so none needs room.
#[test]
fn a_letter_behind_what_was_given_up_needs_no_room() {
    let mut members = group(2, false);
    let one = members[1].id();
    let given_up = (0..5).map(|_| members[0].seal(b"given up")).last().unwrap();
    members[0].out.acked(&one, given_up.seq() + 1);
    let next = members[0].seal(b"next").frame_for(&one).unwrap();
    let frame = nuncio_proto::channel::ChannelFrame::decode(&next).unwrap();
    let opened = members[1].into.receive(&frame, 0).unwrap();
    let moved = members[1].into.apply(opened, NOW);
    assert_eq!((moved.next, members[1].into.kept()), (6, 0));
}

/// contracts/channel.md C38: a channel waits for nobody, and what was given up is a hole.
#[test]
fn a_floor_passes_what_was_given_up_without_a_step_for_each() {
    let mut members = group(3, false);
    let (one, two) = (members[1].id(), members[2].id());
    for _ in 0..2_000_u64 {
        if members[0].out.needs_chain(&members[0].record.epoch(), NOW) {
            hand_over(&mut members, 0);
        }
        let sealed = members[0].seal(b"letter");
        members[1].receive_from(&sealed).unwrap();
        members[0].out.acked(&one, sealed.seq() + 1);
    }
    assert!(members[0].out.has_acked(&one, 2_000) && !members[0].out.has_acked(&two, 1));
    assert_eq!(members[0].out.floor(), 2_000 - (limit::WINDOW - 1));
    hand_over(&mut members, 0);
    let last = members[0].seal(b"last");
    let (_, moved) = members[2].receive_from(&last).unwrap();
    assert_eq!(moved.holes, [(0, 2_000 - (limit::WINDOW - 1))]);
    members[0].out.acked(&two, 5_000);
    assert!(!members[0].out.has_acked(&two, 1), "nobody has what was not sent");
    members[0].out.acked(&two, 1_990);
    members[0].out.acked(&two, 10);
    assert_eq!(members[0].out.floor(), 1_990);
}

/// contracts/channel.md C30: chains of which letters are missing are bounded, and nobody pushes out those of who has fewer.
#[test]
fn who_has_most_chains_that_lack_letters_loses_the_oldest() {
    let mut members = group(3, false);
    let chains = |members: &mut [Member], by: usize, count: usize| {
        let chain = |_| {
            let lost = members[by].seal(b"lost");
            hand_over(members, by);
            lost
        };
        (0..count).map(chain).collect::<Vec<_>>()
    };
    let few = chains(&mut members, 2, 20);
    let many = chains(&mut members, 0, limit::CHANNEL_CHAINS_MAX);
    assert_eq!(members[1].into.tags().count(), limit::CHANNEL_CHAINS_MAX + 2, "and the newest of both");
    few.iter().for_each(|lost| drop(members[1].receive_from(lost).unwrap()));
    for lost in &many[..20] {
        assert_eq!(members[1].receive_from(lost).unwrap_err(), ReceiveError::UnknownTag);
    }
    assert!(!members[1].into.thinned().is_empty());
    // Those that stayed are within the window behind the first that is not there.
    members[1].receive_from(&many[20]).unwrap();
}

/// contracts/channel.md C30: as many chains as were begun while a member was away, in any order.
#[test]
fn chains_that_lack_letters_stay_and_kept_keys_are_bounded() {
    let mut members = group(2, false);
    let mut lost = Vec::new();
    for _ in 0..30 {
        lost.push(members[0].seal(b"lost"));
        let sealed = members[0].seal(b"came");
        members[1].receive_from(&sealed).unwrap();
        hand_over(&mut members, 0);
    }
    assert_eq!((members[1].into.tags().count(), members[1].into.kept()), (31, 30));
    lost.iter().skip(1).rev().for_each(|one| drop(members[1].receive_from(one).unwrap()));
    members[1].receive_from(&lost[0]).unwrap();
    assert_eq!((members[1].into.tags().count(), members[1].into.kept()), (1, 0));

    let frame = members[0].seal(b"skipped");
    let next = members[0].seal(b"next").frame_for(&members[1].id()).unwrap();
    let full = members[1].into.receive(&nuncio_proto::channel::ChannelFrame::decode(&next).unwrap(), 0);
    assert_eq!(full.unwrap_err(), ReceiveError::NoRoom);
    members[1].receive_from(&frame).unwrap();
    members[1].receive(&next).unwrap();

    let late = NOW.plus(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW + 1);
    members[1].into.expire(late);
    assert_eq!((members[1].into.kept(), members[1].into.tags().count()), (0, 1), "the newest chain stays");
}

#[test]
fn nothing_secret_is_printed() {
    let mut members = group(2, false);
    let key = members[0].begin(NOW).remove(0).1;
    let parsed = SenderKey::parse(&key, &members[0].id()).unwrap();
    let printed = format!("{parsed:?} {:?} {:?}", members[0].out, members[1].into);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte}, ")).collect::<String>();
    assert!(printed.contains("Secret(..)"));
    // The first key and the MAC key stand behind heads of two bytes.
    let (first_key, mac_key) = (&key[106..138], &key[key.len() - 32..]);
    assert!(!printed.contains(hex(first_key).trim_end_matches(", ")));
    assert!(!printed.contains(hex(mac_key).trim_end_matches(", ")));
}
