//! `nuncio demo` as a newcomer runs it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{binary, stderr};

#[test]
fn the_demo_shows_what_it_claims_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .args(["demo", "--json"])
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert_eq!(number("letters"), 2 + 200 + 2 + 1 + 400);
    assert!(told["shown"].as_array().unwrap().len() >= 10, "{told}");
    assert!((120..400).contains(&number("arrived_before_kill")));
    assert!(number("payload_bytes") > 2 << 20 && number("ratchet_turns") >= 2 && number("handshakes") >= 2);
    assert!((1..=176).contains(&number("overhead_bytes_per_letter")), "{told}");
    assert!(number("delivered_p50_us") <= number("delivered_p99_us") && number("delivered_p50_us") > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something is left behind");
}
