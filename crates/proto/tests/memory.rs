//! Secrets leave memory: all that this process can write is read through after they were dropped.
//!
//! What moves from call to call leaves copies on the stack that later calls write over; here they are written over before anything is looked for, so
//! what is found lies in the heap for as long as chance will have it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::BTreeMap;
use std::hint::black_box;

use hunt::{Hunt, apart};
use nuncio_proto::crypto::{KemSeed, SigningKey};
use nuncio_proto::secret::Key;
use talk::{Talk, random};

#[path = "memory/hunt.rs"]
mod hunt;
#[path = "memory/talk.rs"]
mod talk;

/// The hunt finds what is not overwritten: bytes in boxes that are gone, and in a list that is still there.
#[test]
fn what_is_not_overwritten_is_found() {
    let (hunt, kept) = apart(|| {
        let mut hunt = Hunt::default();
        // As many as keys below: places of some are used again at once.
        let boxed: Vec<_> = (0..64).map(|_| Box::new(random::<32>())).collect();
        let kept = random::<32>().to_vec();
        boxed.iter().for_each(|bytes| hunt.note("dropped", bytes.as_slice()));
        hunt.note("kept", &kept);
        drop(black_box(boxed));
        (hunt, black_box(kept))
    });
    let found = hunt.found();
    assert!(found.get("dropped").is_some_and(|parts| *parts > 64), "{found:?}");
    assert!(found["kept"] >= 4, "{found:?}");
    drop(black_box(kept));
}

#[test]
fn keys_leave_memory_when_they_are_dropped() {
    let hunt = apart(|| {
        let mut hunt = Hunt::default();
        let one = Box::new(Key::new(random()));
        let many: Vec<Key> = (0..64).map(|_| Key::new(random())).collect();
        let seed = Box::new(KemSeed::new(random()));
        let seed_of_signing = zeroize::Zeroizing::new(random::<32>());
        let signing = Box::new(SigningKey::from_seed(&seed_of_signing));
        hunt.note("one", one.expose());
        many.iter().for_each(|key| hunt.note("many", key.expose()));
        hunt.note("kem", seed.expose());
        hunt.note("signing", seed_of_signing.as_slice());
        let _ = black_box((one, many, seed, signing));
        hunt
    });
    assert!(hunt.len() >= 66 * 4);
    assert_eq!(hunt.found(), BTreeMap::new());
}

/// Two agents that have talked, with keys kept for letters that did not come, and that have started again: every key that was drawn for them, and every key of their ratchets at each
/// step, is gone with them.
#[test]
fn agents_leave_no_key_in_memory() {
    let hunt = apart(|| {
        let mut talk = Talk::begin();
        talk.go_on();
        talk.restart();
        talk.go_on();
        talk.end()
    });
    assert!(hunt.len() > 1_000, "{}", hunt.len());
    assert_eq!(hunt.found(), BTreeMap::new());
}
