//! The replay window: edges (contracts/ratchet.md R9). The expectations come from a set of numbers, not from a bitmap.

use std::collections::BTreeSet;

use nuncio_contracts::registry::limit::WINDOW;
use serde_json::{Value, json};

use super::kit::Case;

const AREA: &str = "window";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("in-order", "numbers as they were sent", &[0, 1, 2, 3], 0),
        case("out-of-order", "each once, in any order", &[3, 0, 2, 1, 3], 0),
        case("replayed", "a number that was received is never fresh again", &[0, 0, 1, 0, 1], 0),
        case("last-in-window", "next + 1,023 is fresh", &[1_023, 1_023, 0, 1_024], 0),
        case("first-beyond", "next + 1,024 is not", &[1_024, 1_023], 0),
        case("slides", "the window moves with the lowest missing number", &[1, 2, 1_024, 0, 1_024, 1_026, 1_027], 0),
        case("far-beyond", "2^63 away", &[1 << 63, 5, 1 << 63], 0),
        case("largest", "the largest number is never fresh: it has no successor", &[u64::MAX], 0),
        case("same-slot", "0 and 1,024 share a bit of the map and not a fate", &[0, 1_024, 1_024, 0], 0),
        case("floor", "numbers below the floor are given up: not fresh, and stepped over", &[5, 10, 9, 11, 10], 10),
        case(
            "floor-moves-the-window",
            "the window is counted from the floor, which is stepped up to before the number is marked",
            &[1_099, 1_123, 1_123, 2_123, 2_124, 1_100],
            1_100,
        ),
        case(
            "floor-same-slot",
            "a number that shares a bit with one below the floor is not taken for it",
            &[1_030, 1_030, 1_029],
            1_025,
        ),
        case("floor-over-received", "a floor over numbers that were received", &[0, 2, 4, 7], 4),
        case("floor-largest", "a floor at the end of all numbers", &[u64::MAX, u64::MAX - 1], u64::MAX),
        case("bitmap", "bit i says next + 1 + i; 64 is the last", &[1, 2, 5, 63, 64, 65], 0),
        case("bitmap-edge", "the number after the bitmap's last is received, and not shown", &[65, 66], 0),
    ]
}

/// Each number is checked against the floor, and taken if it is fresh; the floor is believed only from a number that was taken.
fn case(name: &str, comment: &str, numbers: &[u64], floor: u64) -> Case {
    let (mut next, mut received) = (0_u64, BTreeSet::new());
    let mut take = |seq: u64| {
        if seq < next.max(floor) || received.contains(&seq) {
            return "replayed";
        }
        if seq - next.max(floor) >= WINDOW || seq == u64::MAX {
            return "too-far";
        }
        received.insert(seq);
        while received.contains(&next) || next < floor {
            next += 1;
        }
        "fresh"
    };
    let results: Vec<&str> = numbers.iter().map(|seq| take(*seq)).collect();
    let above = (0..64).filter(|i| received.contains(&(next + 1 + i))).fold(0_u64, |bits, i| bits | 1 << i);
    let texts: Vec<Value> = numbers.iter().map(|seq| json!(seq.to_string())).collect();
    let input = json!({ "floor": floor.to_string(), "numbers": texts });
    let expect = json!({ "results": results, "next": next.to_string(), "above": above.to_string() });
    Case::valid(AREA, name, comment, input, expect)
}
