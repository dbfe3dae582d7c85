//! Every failure says what to do: to people in two lines, to scripts in one object, with the same exit code.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::homes::{damage, with_passphrases};
use crate::support::{Daemon, Homes, json, nuncio, ok, stderr};

/// Fails both ways; the kind.
fn both(plain: &Output, object: &Output, code: i32) -> String {
    assert_eq!((plain.status.code(), object.status.code()), (Some(code), Some(code)), "{}", stderr(plain));
    let (said, told) = (stderr(plain), stderr(object));
    assert!(said.starts_with("error: "), "{said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_else(|| panic!("no hint: {said}"));
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let error = told["error"].as_object().unwrap();
    assert_eq!((told.as_object().unwrap().len(), error.len()), (1, 3), "{told}");
    assert_eq!(error["hint"], hint);
    assert!(!error["message"].as_str().unwrap().is_empty());
    error["kind"].as_str().unwrap().to_owned()
}

fn fails(home: &Path, args: &[&str], code: i32) -> String {
    both(&nuncio(home, args), &nuncio(home, &[&["--json"], args].concat()), code)
}

#[test]
fn what_cannot_be_opened() {
    let homes = Homes::new();
    assert_eq!(fails(&homes.path("none"), &["id"], 1), "no_home");
    assert_eq!(fails(&homes.init("home"), &["init"], 1), "exists");

    let home = homes.path("secret");
    let right = ["correct horse", ""];
    assert!(with_passphrases(&home, right, &["init", "--passphrase-fd", "3"]).status.success());
    let wrong = |args: &[&str]| with_passphrases(&home, ["wrong", ""], args);
    let (plain, object) = (&["id", "--passphrase-fd", "3"], &["id", "--json", "--passphrase-fd", "3"]);
    assert_eq!(both(&wrong(plain), &wrong(object), 1), "wrong_key");
    assert_eq!(fails(&home, &["id"], 1), "no_key_file");

    let home = homes.init("damaged");
    damage(&home);
    assert_eq!(fails(&home, &["agent", "--listen", "127.0.0.1:0"], 1), "damaged");
    assert_eq!(fails(&home, &["doctor"], 1), "unsound");
}

#[test]
fn what_an_agent_cannot_have() {
    let homes = Homes::new();
    let first = Daemon::start(&homes.init("first"), &[]);
    assert_eq!(fails(&first.home, &["agent", "--listen", "127.0.0.1:0"], 1), "in_use");
    assert_eq!(fails(&homes.init("second"), &["agent", "--listen", first.listening()], 1), "address");
    // Its socket is gone and it still holds the home: a command cannot ask it, nor open the store.
    std::fs::remove_file(first.home.join("api.sock")).unwrap();
    assert_eq!(fails(&first.home, &["status"], 1), "in_use");
}

#[test]
fn what_cannot_be_sent() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    assert_eq!(fails(&anna.home, &["send", "carl", "--text", "x"], 2), "no_such_peer");
    assert_eq!(fails(&anna.home, &["peers", "add", anna.invitation()], 2), "bad_request");
    assert_eq!(fails(&anna.home, &["done", "77"], 2), "no_such_letter");
    assert_eq!(fails(&anna.home, &["send", "ben", "no/such/file"], 1), "file");
    ben.stop();
    assert_eq!(fails(&anna.home, &["send", "ben", "--text", "x", "--wait=100ms"], 3), "not_yet");
    assert_eq!(fails(&anna.home, &["send", "ben", "--text", "x", "--deadline", "100ms", "--wait"], 1), "not_delivered");
    assert_eq!(fails(&anna.home, &["request", "ben", "--text", "x", "--timeout", "100ms"], 3), "timed_out");
    ok(&anna.home, &["status"]);
}

#[test]
fn what_cannot_be_asked() {
    let homes = Homes::new();
    let home = homes.init("home");
    assert_eq!(fails(&home, &["peers", "add", "nuncio:did:key:z6Mk"], 2), "usage");
    // What the grammar itself does not take, it tells people with the usage.
    for args in [&["frobnicate"][..], &["send"], &["rekey"], &["done", "first"], &["agent"]] {
        let told = nuncio(&home, &[&["--json"], args].concat());
        let object: Value = serde_json::from_str(&stderr(&told)).unwrap();
        assert_eq!((told.status.code(), &object["error"]["kind"]), (Some(2), &"usage".into()), "{args:?}");
        assert!(object["error"]["hint"].as_str().unwrap().contains("--help"));
    }
    assert!(json(&home, &["id"])["agent"].is_string(), "and what succeeds is no error");
}

/// docs/OPERATING.md: 2 is for what was typed, 1 for everything else that fails.
#[test]
fn what_was_typed_is_told_apart_from_what_failed() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let (file, spoilt) = (homes.path("file"), homes.init("spoilt"));
    std::fs::write(&file, "not a statement").unwrap();
    std::fs::write(spoilt.join("nuncio.toml"), "nonsense").unwrap();
    let (file, ben_invitation) = (file.to_str().unwrap(), ben.invitation());
    let typed: &[(&[&str], &str)] = &[
        (&["send", "ben", "--txt", "x"], "usage"),
        (&["send", "ben", "--text", "x", "--wait=soon"], "usage"),
        (&["send", "carl", "--text", "x"], "no_such_peer"),
        (&["request", "carl", "--text", "x"], "no_such_peer"),
        (&["peers", "remove", "carl"], "no_such_peer"),
        (&["peers", "add", "did:key:z6Mk"], "usage"),
        (&["peers", "add", "--name", "a name", ben_invitation], "name"),
        (&["peers", "add", anna.invitation()], "bad_request"),
        (&["begin", "--principal", "user:anna", "--scope", " "], "bad_request"),
        (&["send", "ben", "--text", "x", "--under", file], "usage"),
        (&["done", "77"], "no_such_letter"),
        (&["id", "retire", "--statement", file], "usage"),
        (&["node", "run", "--no-tcp"], "usage"),
    ];
    for (args, kind) in typed {
        let told = nuncio(&anna.home, &[&["--json"], *args].concat());
        let object: Value = serde_json::from_str(&stderr(&told)).unwrap();
        assert_eq!((told.status.code(), &object["error"]["kind"]), (Some(2), &(*kind).into()), "{args:?}: {object}");
    }
    let failed: &[(&Path, &[&str], &str)] = &[
        (&anna.home, &["init"], "exists"),
        (&anna.home, &["send", "ben", "no/such/file"], "file"),
        (&anna.home, &["begin", "--principal", "user:anna", "--scope", "a"], "no_trust"),
        (&anna.home, &["mailbox", "renew"], "no_mailbox"),
        (&anna.home, &["node", "reload"], "file"),
        (&spoilt, &["id"], "settings"),
    ];
    for (home, args, kind) in failed {
        assert_eq!(fails(home, args, 1), *kind, "{args:?}");
    }
}
