//! The daemon: one for a home, and how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nuncio_cli::wire::{Accepted, NewLetter};

use crate::support::{Daemon, Homes, fails, json, ok};

#[test]
fn a_second_agent_on_the_same_home_is_refused_and_told_who_holds_it() {
    let homes = Homes::new();
    let first = Daemon::start(&homes.init("home"), &[]);
    let said = fails(&first.home, &["agent", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("in use") && said.contains(&first.child.id().to_string()), "{said}");
    assert!(fails(&first.home, &["rekey", "--new-key-file", homes.path("k").to_str().unwrap()], 1).contains("stop"));
    assert!(!homes.path("k").exists());
    ok(&first.home, &["status"]);
}

#[test]
fn an_address_that_is_taken_is_said() {
    let homes = Homes::new();
    let first = Daemon::start(&homes.init("first"), &[]);
    let said = fails(&homes.init("second"), &["agent", "--listen", first.listening()], 1);
    assert!(said.contains(first.listening()) || said.contains("in use"), "{said}");
}

#[tokio::test]
async fn sigterm_and_sigint_drain_and_keep_what_was_accepted() {
    for signal in ["TERM", "INT"] {
        let homes = Homes::new();
        let (mut anna, ben) = homes.pair();
        let (home, ben_home, address) = (anna.home.clone(), ben.home.clone(), ben.listening().to_owned());
        ben.stop();
        // A wait is under way when the signal comes: it ends, too.
        let waiting = tokio::spawn({
            let api = anna.api();
            async move { api.get::<serde_json::Value>("/v1/inbox?wait_ms=60000").await }
        });
        let api = anna.api();
        let mut accepted = 0;
        for number in 0..50 {
            let letter =
                NewLetter { to: "ben".to_owned(), text: Some(format!("letter {number}")), ..NewLetter::default() };
            accepted += u64::from(api.post::<Accepted>("/v1/letters", &letter).await.is_ok());
        }
        anna.signal(signal);
        assert_eq!(anna.ended(), Some(0), "{signal}");
        assert_eq!(accepted, 50);
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
        assert_eq!(waited.unwrap()["letters"], serde_json::json!([]));
        assert!(!home.join("api.sock").exists(), "the socket is left");

        let (_anna, ben) = (Daemon::start(&home, &[]), Daemon::listen(&ben_home, &address, &[]));
        let (mut texts, mut after) = (Vec::new(), String::new());
        let api = ben.api();
        while texts.len() < 50 {
            let page: nuncio_cli::wire::InboxPage = api.get(&format!("/v1/inbox?wait_ms=30000{after}")).await.unwrap();
            let last = page.letters.last().unwrap_or_else(|| panic!("{} of 50 came", texts.len()));
            after = format!("&after={}", last.no);
            texts.extend(page.letters.into_iter().filter_map(|letter| letter.text));
        }
        let written: Vec<String> = (0..50).map(|number| format!("letter {number}")).collect();
        assert_eq!(texts, written);
    }
}

#[test]
fn an_agent_that_is_not_to_be_left_behind_ends_with_its_standard_input() {
    let homes = Homes::new();
    let agent = Daemon::start(&homes.init("home"), &[]);
    let socket = agent.home.join("api.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    agent.stop();
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_a_killed_agent_left_is_replaced() {
    let homes = Homes::new();
    let home = homes.init("home");
    let mut agent = Daemon::start(&home, &[]);
    agent.signal("KILL");
    assert_eq!(agent.ended(), None);
    assert!(home.join("api.sock").exists());
    // A command takes the store itself …
    assert_eq!(json(&home, &["status"])["inbox"], 0);
    // … and the next agent its place.
    let again = Daemon::start(&home, &[]);
    assert_eq!(again.did(), agent.did());
    ok(&home, &["status"]);
}
