//! Equivocation: a sender that tells two members two things is seen by what they say of it.

use nuncio_proto::channel::Equivocation;

use crate::group::{Member, NOW, group, hand_over};

/// The same sender twice: what a sender does who tells two stories, or a thief who has its state.
fn twin(member: &Member) -> Member {
    let mut twin = Member::new(&member.identity, &member.record);
    (twin.out, twin.into) = (member.out.clone(), member.into.clone());
    twin
}

#[test]
fn honest_members_say_the_same_of_each_other() {
    let mut members = group(4, false);
    let mut last = [None; 4];
    for round in 0..130 {
        let of = round % 4;
        if members[of].out.needs_chain(&members[of].record.epoch(), NOW) {
            hand_over(&mut members, of);
        }
        let said = members[of].into.attest(None, last[of].as_ref());
        last[of] = said.and_then(|said| nuncio_proto::ids::AgentId::from_bytes(said.sender).ok());
        let sealed = members[of].seal_with(b"letter", said);
        assert_eq!(sealed.attested(), last[of], "whose turn it was");
        for to in (0..4).filter(|to| *to != of) {
            let opened = members[to].open(&sealed.frame_for(&members[to].id()).unwrap()).unwrap();
            let own = opened.header.attestation.and_then(|said| members[to].out.compare(&opened.sender, &said));
            assert_eq!((opened.equivocation, own), (None, None));
            let moved = members[to].into.apply(opened, NOW);
            assert_eq!(moved.equivocation, None);
        }
    }
    assert!(last.iter().all(Option::is_some));
    let answered = members[1].id();
    let said = members[0].into.attest(Some(&answered), None).unwrap();
    assert_eq!(said.sender, *answered.as_bytes(), "of the one that it answers first");
    let in_turn = members[0].into.attest(None, Some(&answered)).unwrap();
    assert_eq!(in_turn.sender, *members[2].id().as_bytes(), "else of the next");
}

/// Three members, of whom the first has told the others two things under one number; and what it is to the third.
fn told_two_things() -> (Vec<Member>, Member) {
    let mut members = group(3, false);
    let mut other = twin(&members[0]);
    let _ = other.nonce();
    let (yes, no) = (members[0].seal(b"yes"), other.seal(b"no"));
    members[1].receive_from(&yes).unwrap();
    members[2].receive_from(&no).unwrap();
    (members, other)
}

#[test]
fn two_letters_under_one_number_are_seen_by_what_members_say() {
    let (mut members, _) = told_two_things();

    let said = members[1].into.attest(None, None);
    let sealed = members[1].seal_with(b"what do you think?", said);
    let opened = members[2].open(&sealed.frame_for(&members[2].id()).unwrap()).unwrap();
    let Equivocation { sender, by, seq, mine, theirs } = opened.equivocation.expect("seen");
    assert_eq!((sender, by, seq), (members[0].id(), members[1].id(), 0));
    assert_ne!(mine, theirs);
    // The letter itself is genuine, and is taken.
    assert_eq!(members[2].into.apply(opened, NOW).next, 1);

    // The sender sees it too, if it was its copy that spoke.
    let said = members[2].into.attest(Some(&members[0].id()), None).unwrap();
    let (by, sender) = (members[2].id(), members[0].id());
    assert_eq!(members[0].out.compare(&by, &said).map(|seen| seen.sender), Some(sender));
    let right = members[1].into.attest(Some(&members[0].id()), None).unwrap();
    assert_eq!(members[0].out.compare(&by, &right), None);
}

#[test]
fn an_old_difference_shows_in_every_later_letter() {
    let (mut members, _) = told_two_things();
    // From here on both are told the same bytes.
    for _ in 0..3 {
        let sealed = members[0].seal(b"the same");
        members[1].receive_from(&sealed).unwrap();
        members[2].receive_from(&sealed).unwrap();
    }
    let said = members[1].into.attest(None, None).unwrap();
    assert_eq!(said.seq, 3);
    assert!(members[2].into.compare(&members[1].id(), &said).is_some());
}

#[test]
fn a_sender_that_says_another_past_with_a_new_chain_is_seen_at_once() {
    let (mut members, _) = told_two_things();
    let from = members[0].id();
    let keys = members[0].begin(NOW);
    let key = |to: &Member| keys.iter().find(|(agent, _)| *agent == to.id()).unwrap().1.clone();
    let (first, second) = (key(&members[1]), key(&members[2]));
    assert_eq!(members[1].take_key(from, &first), Ok(None));
    let seen = members[2].take_key(from, &second).unwrap().expect("seen");
    assert_eq!((seen.sender, seen.by, seen.seq), (from, from, 1));
}

#[test]
fn behind_a_hole_nobody_is_accused_and_a_new_chain_begins_anew() {
    let mut members = group(3, false);
    let third = members[2].id();
    drop(members[0].seal(b"lost on the way to the third"));
    members[0].out.acked(&third, 1);
    let one = members[1].id();
    members[0].out.acked(&one, 1);
    let sealed = members[0].seal(b"after");
    let moved = members[2].receive_from(&sealed).unwrap().1;
    assert_eq!(moved.holes, [(0, 1)]);
    let of = members[0].id();
    let said = |member: &Member| member.into.attest(Some(&of), None).filter(|said| said.sender == *of.as_bytes());
    assert_eq!(said(&members[2]), None, "it says nothing of what it does not know");
    hand_over(&mut members, 0);
    let sealed = members[0].seal(b"anew");
    members[2].receive_from(&sealed).unwrap();
    let said = said(&members[2]).unwrap();
    assert_eq!(members[0].out.compare(&third, &said), None, "and the same as its sender from the next chain on");
}
