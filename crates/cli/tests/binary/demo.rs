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

#[test]
fn eight_share_a_channel_and_each_reads_what_is_for_it() {
    let told = told(&["channel"]);
    assert_eq!(told["agents"].as_array().unwrap().len(), 8);
    let scene = |name: &str| {
        let scenes = told["scenes"].as_array().unwrap();
        scenes.iter().find(|scene| scene["scene"] == name).unwrap_or_else(|| panic!("{name} in {told}")).clone()
    };
    assert_eq!(scene("finn away")["read"]["finn"], serde_json::json!([6, 6]));
    let read = |scene: &Value| {
        let all = scene["read"].as_object().unwrap().values().map(|cell| cell[0].as_u64().unwrap());
        all.sum::<u64>()
    };
    assert_eq!(read(&scene("gina, removed")), 0, "heard although it was removed");
    assert_eq!((read(&scene("without gina")), &scene("without gina")["read"]["gina"][0]), (25, &Value::from(0)));
    for before in ["at first", "finn away", "without gina"] {
        assert_eq!(scene(before)["read"]["hugo"][0], 0, "{before}: read by who joined later");
    }
    let flow = scene("the flow");
    assert!((135..=161).contains(&flow["letters"].as_u64().unwrap()), "{flow}");
    assert_eq!(flow["read"]["cleo"], serde_json::json!([120, 120]), "killed in the middle");
    assert!(told["shown"].as_array().unwrap().len() >= 10, "{told}");
}
