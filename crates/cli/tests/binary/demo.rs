//! `nuncio demo` as a newcomer runs it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{binary, stderr};

/// What a demo tells as JSON, and nothing left where it may write.
fn told(words: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .arg("demo")
        .args(words)
        .arg("--json")
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something is left behind");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_demo_shows_what_it_claims_and_leaves_nothing_behind() {
    let told = told(&[]);
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert_eq!(number("letters"), 2 + 200 + 2 + 1 + 3 + 400);
    assert!(told["shown"].as_array().unwrap().len() >= 12, "{told}");
    assert!((120..400).contains(&number("arrived_before_kill")));
    assert!(number("payload_bytes") > 2 << 20 && number("ratchet_turns") >= 2 && number("handshakes") >= 2);
    assert!((1..=176).contains(&number("overhead_bytes_per_letter")), "{told}");
    assert!(number("token_bytes_first_letter") > number("token_bytes_later_letter"), "{told}");
    assert!(number("delivered_p50_us") <= number("delivered_p99_us") && number("delivered_p50_us") > 0);
}

#[test]
fn a_transaction_travels_and_four_attacks_on_it_fail() {
    let told = told(&["travel"]);
    let receivers: Vec<&str> = told["path"].as_array().unwrap().iter().map(|hop| hop["to"].as_str().unwrap()).collect();
    assert_eq!(receivers, ["planner", "booking", "payment", "notification"]);
    let refusals: Vec<usize> =
        told["attacks"].as_array().unwrap().iter().map(|attack| attack["refusals"].as_array().unwrap().len()).collect();
    assert_eq!(refusals, [2, 2, 3, 2], "{told}");
    assert!(!told.to_string().contains("eyJ"), "a token is printed: {told}");
}
