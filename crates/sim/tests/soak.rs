//! A slice of the soak in the suite, and what its ledger says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use nuncio_sim::soak::ledger::{self, WELL};
use nuncio_sim::soak::{Broken, Class, slice};

const FRAMES: u64 = 200_000;

#[test]
fn two_hundred_thousand_hostile_frames_move_nothing_and_every_letter_opens_once() {
    let tally = slice(1, FRAMES).unwrap();
    for ((class, name), count) in &tally.refused {
        println!("{:10} {name:20} {count:8}", class.name());
    }
    assert_eq!(tally.frames(), FRAMES);
    for (class, share) in Class::SHARES {
        let expected = FRAMES * share / 100;
        assert!(tally.of(class).abs_diff(expected) < expected / 10, "{class:?}: {} of {expected}", tally.of(class));
    }
    // Each wall was met, and not one alone.
    for (class, name) in [
        (Class::Forged, "forged"),
        (Class::Forged, "channel_forged"),
        (Class::Forged, "unknown_tag"),
        (Class::Forged, "useless_notice"),
        (Class::Mutated, "forged"),
        (Class::Mutated, "channel_forged"),
        (Class::Mutated, "frame_malformed"),
        (Class::Mutated, "frame_version"),
        (Class::Replayed, "replayed"),
        (Class::Replayed, "channel_replayed"),
        (Class::Reordered, "forged"),
        (Class::Reordered, "wrong_peer"),
        (Class::Cut, "frame_malformed"),
    ] {
        let count = tally.refused.get(&(class, name)).copied().unwrap_or_default();
        assert!(count > FRAMES / 1_000, "{class:?} refused as {name}: {count}");
    }
    assert!(tally.named("start_refused") > 20, "{}", tally.named("start_refused"));
    assert!(tally.acks > 100 && tally.letters > 300, "{} acks, {} letters", tally.acks, tally.letters);
}

#[test]
fn a_slice_is_a_function_of_its_seed() {
    let [one, again, other] = [7, 7, 8].map(|seed| slice(seed, 4_000).unwrap());
    assert_eq!(one, again);
    assert_ne!(one.refused, other.refused);
}

#[test]
fn what_ended_badly_twice_or_not_at_all_is_not_in_the_sum() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    let tally = slice(3, 2_000).unwrap();
    for seed in [3, 4, 4, 6] {
        ledger::append(&file, &ledger::line(seed, &Ok(tally.clone()), 1.5)).unwrap();
    }
    for seed in [5, 6] {
        ledger::append(&file, &ledger::line(seed, &Err(Broken::Moved), 0.5)).unwrap();
    }
    let torn = ledger::line(9, &Ok(tally.clone()), 1.0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}{}", &torn[..torn.len() / 2])).unwrap();
    ledger::append(&file, &ledger::line(7, &Ok(tally.clone()), 1.0)).unwrap();

    let sum = ledger::sum(&fs::read_to_string(&file).unwrap());
    assert_eq!((sum.slices, sum.unread, sum.next), (3, 1, 8));
    assert_eq!(sum.broken.into_iter().collect::<Vec<_>>(), [5, 6]);
    assert_eq!((sum.counts["frames"], sum.counts["letters"]), (3 * 2_000, 3 * tally.letters));
    let classes: u64 = Class::SHARES.iter().map(|(class, _)| sum.counts[class.name()]).sum();
    assert_eq!(classes, sum.counts["frames"]);
    assert!(ledger::line(1, &Ok(tally), 1.0).contains(&format!("\"verdict\":\"{WELL}\"")));
}
