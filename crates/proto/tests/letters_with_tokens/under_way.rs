//! Tokens of letters that are under way while sessions, agents and windows fail: what is told, what goes again, and that nobody waits in vain.

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::frame::{Frame, Notice};
use nuncio_proto::letter::LetterKind;
use nuncio_proto::time::UnixMillis;

use super::agent::{Agent, START, answer_claims, later, settle};
use super::{carry, failure, guard, guarded, mint, token, with_token};

/// Both have exchanged these tokens whole: letters name them by their hashes from here on.
fn share(a: &mut Agent, b: &mut Agent, count: u32) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mint = |from: &Agent, to: &Agent| -> Vec<Vec<u8>> {
        let (one, other) = (from.peer.id(), to.peer.id());
        (0..count).map(|no| mint(one, other, "t-1", &format!("{one}-{no}"), from.now)).collect()
    };
    let tokens = (mint(a, b), mint(b, a));
    let (at_a, at_b) = (a.peer.id(), b.peer.id());
    for (from, to, tokens) in [(&mut *a, at_b, &tokens.0), (&mut *b, at_a, &tokens.1)] {
        for token in tokens {
            let letter = with_token(from, "whole", token);
            from.post(to, &letter);
        }
    }
    settle(a, b);
    a.inbox.clear();
    b.inbox.clear();
    tokens
}

/// Frames arrive; those for which there is no room are refused, and will come again.
fn arrive(frames: &[Vec<u8>], from: &Agent, at: &mut Agent) {
    for frame in frames {
        let _ = at.receive(from.peer.id(), frame);
    }
}

fn forget(agent: &mut Agent) {
    agent.restart();
    guard(agent);
}

#[test]
fn a_refusal_counts_only_for_the_frame_that_it_names() {
    let (mut a, mut b) = guarded();
    let (to, shared) = (b.peer.id(), share(&mut a, &mut b, 1).0);
    let letter = with_token(&mut a, "under way", &shared[0]);
    a.post(to, &letter);
    a.run();
    let Ok(Frame::Sealed(sealed)) = Frame::decode(&a.out[0]) else { panic!("no frame") };
    let nonce = sealed.nonce;
    let mut session = b.peer.sessions().find(|(_, current)| *current).unwrap().0.clone();
    for (number, (frame, counts)) in (0..).zip([([7; 12], false), (nonce, true)]) {
        let refused = Control::Refused { letter: letter.id, code: code::TOKEN_KEY, frame };
        let mut told = b.letter("");
        (told.kind, told.content_type, told.payload) = (LetterKind::Control, ContentType::CBOR, refused.encode());
        let sealing = session.seal(&told.encode(), [number; 12]).unwrap();
        let frame = sealing.frame.clone();
        session.accept_sealed(sealing, u64::from(number));
        a.receive(to, &frame).unwrap();
        assert_eq!(failure(&a, &letter), counts.then_some(code::TOKEN_KEY));
    }
}

#[test]
fn a_token_that_was_replaced_while_its_letter_was_under_way_is_still_shown() {
    let (mut a, mut b) = guarded();
    let (to, shared) = (b.peer.id(), share(&mut a, &mut b, 1).0);
    forget(&mut b);
    let letter = with_token(&mut a, "by its hash", &shared[0]);
    a.post(to, &letter);
    a.run();
    let fresh = mint(a.peer.id(), to, "t-1", "fresh", a.now);
    let step = a.peer.retoken(to, letter.id, &fresh).unwrap();
    a.take(step);
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.as_slice(), a.failed.len()), (["by its hash".to_owned()].as_slice(), 0), "without waiting");
}

#[test]
fn a_letter_whose_token_could_not_be_shown_in_time_goes_again_with_it() {
    let (mut a, mut b) = guarded();
    let (to, shared) = (b.peer.id(), share(&mut a, &mut b, 1).0);
    forget(&mut b);
    let letter = with_token(&mut a, "by its hash", &shared[0]);
    a.post(to, &letter);
    carry(&mut a, &mut b);
    b.out.clear();
    later(time::TOKEN_WAIT, [&mut a, &mut b]);
    b.run();
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.as_slice(), failure(&a, &letter)), (["by its hash".to_owned()].as_slice(), None));
    assert_eq!(a.again, [letter.id]);
}

#[test]
fn a_letter_that_may_have_arrived_is_not_held_back_for_a_fresh_token() {
    let (mut a, mut b) = guarded();
    let (to, shared) = (b.peer.id(), share(&mut a, &mut b, 1).0);
    let letter = with_token(&mut a, "arrived", &shared[0]);
    a.post(to, &letter);
    a.run();
    let Ok(Frame::Sealed(sealed)) = Frame::decode(&a.out[0]) else { panic!("no frame") };
    let lost = Notice { tag: sealed.tag, code: code::UNKNOWN_TAG }.encode();
    carry(&mut a, &mut b);
    assert_eq!(b.inbox, ["arrived"]);
    // The acknowledgement is lost, and so is the session; its token expires before there is another.
    b.out.clear();
    a.receive(to, &lost).unwrap();
    later(120_000 + time::TOKEN_SKEW, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!((a.over.len(), a.delivered.last(), b.inbox.len()), (0, Some(&letter.id), 1));
}

#[test]
fn only_a_letter_that_waits_for_a_fresh_token_is_given_up_for_want_of_one() {
    let (mut a, mut b) = guarded();
    let (to, shared) = (b.peer.id(), share(&mut a, &mut b, 1).0);
    let letter = with_token(&mut a, "under way", &shared[0]);
    a.post(to, &letter);
    assert!(a.peer.give_up_token(to, letter.id).is_none(), "a draft");
    a.run();
    assert!(a.peer.give_up_token(to, letter.id).is_none(), "it may have arrived");
    later(120_000 + time::TOKEN_SKEW, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert!(a.over == [letter.id] && a.peer.give_up_token(to, letter.id).is_some());
}

#[test]
fn a_start_in_which_nothing_was_sealed_gives_way() {
    for seed in 1..9 {
        let (mut a, mut b) = (Agent::new(seed), Agent::new(seed + 100));
        a.know(&b.peer);
        b.know(&a.peer);
        guard(&mut a);
        guard(&mut b);
        let (stale, good) =
            (mint(a.peer.id(), b.peer.id(), "t-1", "j-1", UnixMillis(START.0 - 121_000)), token(&b, &a));
        let (one, two) = (with_token(&mut a, "never sealed", &stale), with_token(&mut b, "good", &good));
        a.post(b.peer.id(), &one);
        b.post(a.peer.id(), &two);
        a.run();
        b.run();
        answer_claims(&mut a, &mut b);
        answer_claims(&mut b, &mut a);
        settle(&mut a, &mut b);
        let current = |agent: &Agent| agent.peer.sessions().find(|(_, current)| *current).unwrap().0.id();
        assert_eq!((current(&a), a.inbox.len()), (current(&b), 1));
    }
}

#[test]
fn two_agents_with_full_windows_that_forgot_every_token_wait_for_each_other_in_vain_never() {
    let (mut a, mut b) = guarded();
    let of = share(&mut a, &mut b, u32::try_from(limit::SESSION_TOKENS_MAX).unwrap());
    let window = usize::try_from(limit::WINDOW).unwrap();
    let (at_a, at_b) = (a.peer.id(), b.peer.id());
    for (from, to, tokens) in [(&mut a, at_b, &of.0), (&mut b, at_a, &of.1)] {
        for token in tokens.iter().cycle().take(window) {
            let letter = with_token(from, "by its hash", token);
            from.post(to, &letter);
        }
        from.run();
    }
    let (from_a, from_b) = (core::mem::take(&mut a.out), core::mem::take(&mut b.out));
    for round in 0..4 {
        forget(&mut a);
        forget(&mut b);
        if round == 0 {
            arrive(&from_a, &a, &mut b);
            arrive(&from_b, &b, &mut a);
        }
        // Each asks for all tokens; nothing of it arrives before it starts again.
        a.run();
        b.run();
        a.out.clear();
        b.out.clear();
    }
    for (from, to) in [(&mut a, at_b), (&mut b, at_a)] {
        let step = from.peer.connected(to, from.now, &mut from.rng).unwrap();
        from.take(step);
    }
    settle(&mut a, &mut b);
    assert_eq!((a.inbox.len(), b.inbox.len(), a.failed.len() + b.failed.len()), (window, window, 0));
}

#[test]
fn behind_as_many_letters_as_may_wait_there_is_room_for_what_they_wait_for() {
    let (mut a, mut b) = guarded();
    let of = share(&mut a, &mut b, 1);
    // Large ones until there is no room for another, then smaller ones.
    let large = limit::HELD_BYTES_MAX / limit::PAYLOAD_INLINE_MAX + 4;
    let lens = [(limit::PAYLOAD_INLINE_MAX, large), (5_000, 12), (500, 12), (50, 12)];
    let lens: Vec<usize> = lens.iter().flat_map(|(len, count)| vec![*len; *count]).collect();
    let (at_a, at_b) = (a.peer.id(), b.peer.id());
    for (from, to, tokens) in [(&mut a, at_b, &of.0), (&mut b, at_a, &of.1)] {
        for len in &lens {
            let letter = with_token(from, &"x".repeat(*len), &tokens[0]);
            from.post(to, &letter);
        }
        from.run();
    }
    let (from_a, from_b) = (core::mem::take(&mut a.out), core::mem::take(&mut b.out));
    forget(&mut a);
    forget(&mut b);
    arrive(&from_a, &a, &mut b);
    arrive(&from_b, &b, &mut a);
    for _ in 0..20 {
        later(1_000, [&mut a, &mut b]);
        settle(&mut a, &mut b);
    }
    assert_eq!((a.inbox.len(), b.inbox.len(), a.again.len() + b.again.len()), (lens.len(), lens.len(), 0));
}
