//! Forged frames of every kind against an agent in mid-conversation: each gets a named refusal, nothing moves, and then the genuine ones open.
//!
//! `NUNCIO_FORGERIES=1000000 cargo test --release -p nuncio-proto --test forgeries -- --nocapture` is the whole campaign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};

use nuncio_proto::header::SEALED_HEADER_LEN;
use nuncio_proto::ids::Tag;
use nuncio_proto::testing::rng;

use kinds::{KINDS, with_tag};
use scene::{Scene, Tally, sealed};

#[path = "forgeries/kinds.rs"]
mod kinds;
#[path = "forgeries/scene.rs"]
mod scene;

const ROUNDS: u64 = 5;
const DEFAULT_FORGERIES: u64 = 20_000;

#[expect(clippy::disallowed_methods, reason = "a test may be told how long to run")]
fn forgeries_wanted() -> u64 {
    std::env::var("NUNCIO_FORGERIES")
        .map_or(DEFAULT_FORGERIES, |count| count.parse().expect("NUNCIO_FORGERIES is a number"))
}

#[test]
fn forgeries_move_nothing_and_then_the_genuine_frame_opens() {
    let (wanted, mut tally) = (forgeries_wanted(), Tally::default());
    for round in 0..ROUNDS {
        let (mut scene, mut rng) = (Scene::new(round + 1), rng(1_000 + round));
        let kinds = KINDS.iter().cycle();
        for (kind, forge, _) in kinds.take(usize::try_from(wanted / ROUNDS).unwrap()) {
            let (from, bytes) = forge(&scene, &mut rng);
            scene.refused(kind, from, &bytes, &mut tally);
        }
        scene.all_open();
    }
    for ((kind, refusal), count) in &tally.0 {
        println!("{kind:32} {refusal:16} {count:8}");
    }
    println!("{} forgeries refused", tally.sum());
    assert_eq!(tally.sum(), wanted / ROUNDS * ROUNDS);
    for (kind, _, name) in KINDS {
        let names: Vec<_> = tally.0.keys().filter(|(of, _)| *of == kind).map(|(_, name)| *name).collect();
        assert!(name.map_or(!names.is_empty(), |name| names == [name]), "{kind}: {names:?}");
    }
}

#[test]
fn no_two_frames_share_a_nonce() {
    let scene = Scene::new(24);
    let genuine = scene.genuine.iter().map(|(_, frame, _)| frame);
    let frames: Vec<_> = genuine.chain(&scene.opened).chain(&scene.of_bob).chain(&scene.of_others).collect();
    let nonces: BTreeSet<_> = frames.iter().map(|frame| sealed(frame).nonce).collect();
    assert_eq!(nonces.len(), frames.len());
}

#[test]
fn a_flip_of_any_byte_of_any_frame_is_refused() {
    let (mut scene, mut tally) = (Scene::new(20), Tally::default());
    for (from, frame, _) in scene.genuine.clone() {
        for at in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 1 << (at % 8);
            scene.refused("flip", Some(from), &flipped, &mut tally);
            scene.refused("cut", Some(from), &frame[..at], &mut tally);
        }
    }
    assert!(tally.sum() > 2_000);
    scene.all_open();
}

#[test]
fn the_body_is_sealed_for_its_place_and_the_header_for_the_whole_frame() {
    let (mut scene, mut tally) = (Scene::new(21), Tally::default());
    let [(_, first, _), (_, second, _), ..] = &scene.genuine[..] else { panic!("two letters") };
    let (first, second) = (first.clone(), second.clone());
    assert_eq!(sealed(&first).tag, sealed(&second).tag, "one chain, so one header key");
    let exchanged = [&first[..first.len() - SEALED_HEADER_LEN], sealed(&second).header].concat();
    scene.refused("header", Some(scene.alice), &exchanged, &mut tally);
    assert_eq!(tally.0, BTreeMap::from([(("header", "forged"), 1)]));
    scene.all_open();
}

#[test]
fn another_spelling_of_a_frame_is_refused() {
    let (mut scene, mut tally) = (Scene::new(22), Tally::default());
    for (from, frame, _) in scene.genuine.clone() {
        let items = frame[0] & 0x1f;
        for spelling in [
            [&[0x9f], &frame[1..], &[0xff]].concat(),
            [&[0x98, items], &frame[1..]].concat(),
            [&frame[..1], &[0x18, 1], &frame[2..]].concat(),
            [&frame[..3], &[0x58, 16], &frame[4..]].concat(),
            [&frame[..3], &[0x5f], &frame[3..20], &[0xff], &frame[20..]].concat(),
            [&[0xd9, 0xd9, 0xf7], &frame[..]].concat(),
            [&[0x80 | (items + 1)], &frame[1..], &[0xf6]].concat(),
        ] {
            scene.refused("spelling", Some(from), &spelling, &mut tally);
        }
    }
    assert!(tally.0.keys().all(|(_, name)| ["frame_malformed", "frame_version"].contains(name)), "{:?}", tally.0);
    scene.all_open();
}

#[test]
fn a_start_is_taken_once() {
    let (mut scene, mut tally) = (Scene::new(23), Tally::default());
    let (dave, start, _) = scene.genuine[5].clone();
    assert!(sealed(&start).handshake.is_some());
    assert_eq!(scene.bob.receive(Some(dave), &start), Ok(()));
    scene.refused("start again", Some(dave), &start, &mut tally);
    // Under another tag the handshake is looked at, and its one-time prekey is gone.
    scene.refused("start under another tag", Some(dave), &with_tag(start, Tag::from_bytes([7; 16])), &mut tally);
    let names = [("start again", "replayed"), ("start under another tag", "start_refused")];
    assert_eq!(tally.0.into_keys().collect::<Vec<_>>(), names);
}
