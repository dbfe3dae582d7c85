//! `nuncio mailbox`: where letters wait, and other keys to it.

use serde_json::Value;

use crate::node::{Running, made};
use crate::support::{Daemon, Homes, PATIENCE, fails, json, nuncio, ok, stderr};

fn until(mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it never was so");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_mailbox_is_told_and_its_keys_are_renewed() {
    let homes = Homes::new();
    let node = made(&homes);
    let running = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &node);
    let line = running.ready["invitation"].as_str().unwrap().to_owned();
    let mut policy = std::fs::read_to_string(node.join("policy.toml")).unwrap();
    for name in ["anna", "ben"] {
        let home = homes.path(name);
        ok(&home, &["init", "--letters-without-token", "deliver", "--trust-domain", "acme.example", "--node", &line]);
        let settings = std::fs::read_to_string(home.join("nuncio.toml")).unwrap();
        std::fs::write(home.join("nuncio.toml"), format!("mailbox = true\n{settings}")).unwrap();
        let did = json(&home, &["id"])["agent"].as_str().unwrap().to_owned();
        policy += &format!("[[client]]\nname = \"{name}\"\ndid = \"{did}\"\n");
    }
    std::fs::write(node.join("policy.toml"), policy).unwrap();
    ok(&node, &["node", "reload"]);
    let [anna, ben] = ["anna", "ben"].map(|name| Daemon::start(&homes.path(name), &[]));
    anna.add(&ben, "ben");
    ben.add(&anna, "anna");
    until(|| ok(&ben.home, &["mailbox"]).starts_with("open at did:key:"));
    assert_eq!(json(&ben.home, &["mailbox"])["open"], Value::Bool(true));
    ok(&anna.home, &["send", "ben", "--text", "first", "--wait"]);
    assert_eq!(ok(&ben.home, &["mailbox", "renew"]), "renewed: every peer is given another key\n");
    ok(&anna.home, &["send", "ben", "--text", "behind it", "--wait"]);
    // Where ben is away, what she leaves is taken by the key that he gave last.
    let home = ben.home.clone();
    ben.stop();
    let sent = json(&anna.home, &["send", "ben", "--text", "while he is away"]);
    let id = sent["id"].as_str().unwrap();
    until(|| ok(&anna.home, &["outbox"]).lines().any(|row| row.contains(id) && row.contains("in its mailbox since")));
    let ben = Daemon::start(&home, &[]);
    until(|| ok(&ben.home, &["inbox"]).contains("while he is away"));
}

#[test]
fn an_agent_without_a_mailbox_says_how_it_would_have_one() {
    let homes = Homes::new();
    let home = homes.init("anna");
    assert!(stderr(&nuncio(&home, &["mailbox"])).contains("no mailbox"));
    assert!(fails(&home, &["mailbox", "renew"], 1).contains("mailbox = true"));
    let help = ok(&home, &["mailbox", "--help"]);
    assert!(help.contains("nuncio mailbox renew") && help.contains("nuncio.toml"), "{help}");
    assert!(ok(&home, &["mailbox", "renew", "--help"]).contains("Example"));
}
