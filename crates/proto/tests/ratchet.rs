//! Two sessions against each other: whatever the order, loss and repetition of frames, every letter opens once; and what a peer that holds the
//! keys but means harm can ask for has walls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::BTreeSet;

use nuncio_contracts::registry::{label, limit};
use nuncio_proto::crypto::{self, TAG_LEN};
use nuncio_proto::ids::Tag;
use nuncio_proto::ratchet::tag_of;
use nuncio_proto::replay::ReplayError;
use nuncio_proto::session::OpenError;
use nuncio_proto::testing::rng;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng as PropRng, TestRunner};
use rand_core::Rng;

use pair::{Pair, sealed};
use thief::Thief;

#[path = "ratchet/hostile.rs"]
mod hostile;
#[path = "ratchet/opening.rs"]
mod opening;
#[path = "ratchet/pair.rs"]
mod pair;
#[path = "ratchet/thief.rs"]
mod thief;

/// Runs a property over cases that are the same every time.
fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, PropRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&strategy, |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Seal(usize),
    Acknowledge(usize),
    Deliver(usize, usize),
    Replay(usize, usize),
}

fn actions(len: usize) -> impl Strategy<Value = Vec<Action>> {
    let side = 0..2_usize;
    let action = prop_oneof![
        4 => side.clone().prop_map(Action::Seal),
        1 => side.clone().prop_map(Action::Acknowledge),
        4 => (side.clone(), any::<usize>()).prop_map(|(to, pick)| Action::Deliver(to, pick)),
        2 => (side, any::<usize>()).prop_map(|(to, pick)| Action::Replay(to, pick)),
    ];
    prop::collection::vec(action, 1..len)
}

#[test]
fn any_order_opens_every_letter_once() {
    check(100, (any::<u64>(), actions(120)), |(seed, actions)| {
        let mut pair = Pair::new(seed);
        for action in actions {
            match action {
                Action::Seal(from) => drop(pair.seal(from)),
                Action::Acknowledge(from) => pair.seal_ack(from),
                Action::Deliver(to, pick) if !pair.frames[to].is_empty() => {
                    let delivered = pair.deliver(to, pick);
                    let waits = matches!(delivered, Err(OpenError::UnknownTag | OpenError::ChainsFull));
                    assert!(waits || delivered.is_ok(), "{delivered:?}");
                }
                Action::Replay(to, pick) if !pair.opened[to].is_empty() => {
                    let again = pair.opened[to][pick % pair.opened[to].len()].clone();
                    let bodiless = sealed(&again).body.is_none();
                    assert!(bodiless || pair.open(to, &again).is_err(), "a letter opened twice");
                }
                Action::Deliver(..) | Action::Replay(..) => {}
            }
        }
        // An acknowledgement of a chain that is over is not missed by anybody.
        pair.frames.iter_mut().for_each(|frames| frames.retain(|(seq, _)| seq.is_some()));
        let mut picks = rng(seed);
        pair.deliver_all(|| picks.next_u32() as usize);
        pair.assert_well();
    });
}

#[test]
fn a_full_window_opens_in_any_order() {
    check(2, any::<u64>(), |seed| {
        let mut pair = Pair::talking(seed);
        while pair.seal(0) {}
        assert_eq!(pair.frames[1].len(), limit::WINDOW as usize);
        let mut picks = rng(seed);
        pair.deliver_all(|| picks.next_u32() as usize);
        pair.seal_ack(1);
        assert_eq!(pair.deliver(0, 0), Ok(()));
        assert_eq!(pair.ends[0].settled.len(), pair.ends[0].said.len(), "one acknowledgement settles them all");
        pair.assert_well();
    });
}

#[test]
fn a_replay_moves_nothing_in_any_state() {
    let mut pair = Pair::talking(1);
    for round in 0..6 {
        assert!(pair.seal(round % 2) && pair.seal(round % 2));
        // The later one first, so that a skipped key is kept while the replays come.
        assert_eq!(pair.deliver(1 - round % 2, 1), Ok(()));
        for to in [0, 1] {
            for frame in pair.opened[to].clone() {
                let refused = pair.open(to, &frame).unwrap_err();
                let replayed = matches!(refused, OpenError::Replay(ReplayError::Replayed(_)) | OpenError::UnknownTag);
                assert!(replayed, "{refused:?}");
            }
        }
        assert_eq!(pair.deliver(1 - round % 2, 0), Ok(()));
    }
    pair.assert_heard_all();
}

#[test]
fn each_letter_has_a_key_of_its_own_and_is_sealed_as_the_contract_says() {
    let mut pair = Pair::talking(2);
    let mut keys = BTreeSet::new();
    for round in 0..200_usize {
        let from = usize::from(round % 7 >= 4);
        let thief = Thief::of(&pair.ends[from]);
        assert!(keys.insert(thief.mk()), "a message key came twice");
        assert!(pair.seal(from));
        let frame = pair.frames[1 - from].last().unwrap().1.clone();
        let frame = sealed(&frame);
        assert!(keys.insert(crypto::sha256(&[&frame.nonce])), "a nonce came twice");

        // The contract's own words, without session.rs: header under hk, body under mk.
        let header = frame.open_header(&thief.chain().1).unwrap();
        let (body, tag) = frame.body.unwrap().split_last_chunk::<TAG_LEN>().unwrap();
        let mut body = body.to_vec();
        crypto::open_in_place(&thief.mk(), &frame.nonce, &thief.body_ad(2, &header), &mut body, tag).unwrap();
        assert!(body.starts_with(pair.ends[from].said.last().unwrap()));
        assert_eq!(pair.deliver(1 - from, 0), Ok(()));
    }
    pair.assert_heard_all();
}

#[test]
fn a_turn_changes_the_tag_and_nothing_links_two_chains() {
    let mut pair = Pair::talking(3);
    let (mut tags, mut header_keys): (BTreeSet<Tag>, BTreeSet<[u8; 32]>) = Default::default();
    for turn in 0..20 {
        let from = turn % 2;
        let hk = Thief::of(&pair.ends[from]).chain().1;
        assert!(header_keys.insert(*hk.expose()));
        let mac = crypto::hmac_sha256(hk.expose(), &[label::TAG]);
        assert_eq!(tag_of(&hk).as_bytes(), mac.first_chunk().unwrap());
        let mut chain = BTreeSet::new();
        for _ in 0..3 {
            assert!(pair.seal(from));
            chain.insert(sealed(&pair.frames[1 - from].last().unwrap().1).tag);
            assert_eq!(pair.deliver(1 - from, 0), Ok(()));
        }
        assert_eq!(chain, BTreeSet::from([tag_of(&hk)]), "one chain, one tag");
        assert!(tags.insert(tag_of(&hk)), "another chain, another tag");
    }
    assert_eq!(tags.len(), 20);
}
