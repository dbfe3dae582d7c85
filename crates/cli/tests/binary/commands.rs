//! What a person types.

use std::process::Command;
use std::time::Instant;

use crate::support::{Daemon, Homes, PATIENCE, binary, command, fails, json, not_run, nuncio, ok, stderr};

#[test]
fn a_bad_command_line_exits_with_2_and_says_what_to_write() {
    let homes = Homes::new();
    let home = homes.init("home");
    let bad: &[&[&str]] = &[
        &[],
        &["frobnicate"],
        &["send", "anna"],
        &["send", "anna", "file", "--text", "both"],
        &["send", "anna", "--text", "x", "--deadline", "5"],
        &["send", "anna", "--text", "x", "--type", "line\nbreak"],
        &["send", "anna", "--text", "x", "--reply-to", "12"],
        &["send", "anna", "--text", "x", "--wait=soon"],
        &["done"],
        &["done", "first"],
        &["peers", "add", "did:key:z6Mk"],
        &["peers", "add", "nuncio:did:key:z6Mk"],
        &["agent"],
        &["agent", "--listen", "here"],
        &["agent", "--listen", "127.0.0.1:0", "--api-tcp", "0.0.0.0:0"],
        &["agent", "--listen", "127.0.0.1:0", "--advertise", "nowhere"],
        &["init", "--passphrase", "--key-file", "k"],
        &["rekey"],
        &["rekey", "--new-passphrase", "--new-key-file", "k"],
        &["restore", "."],
        &["id", "retire"],
        &["completions", "tcsh-2"],
    ];
    for args in bad {
        let said = fails(&home, args, 2);
        assert!(
            said.contains("Usage:") || said.contains("hint:") || said.contains("--help"),
            "{args:?} said only: {said}"
        );
    }
}

#[test]
fn a_bad_invitation_is_refused_by_the_part_that_is_bad() {
    let homes = Homes::new();
    let home = homes.init("home");
    let did = json(&homes.init("other"), &["id"])["agent"].as_str().unwrap().to_owned();
    for (line, part) in [
        (did.clone(), "nuncio:"),
        (format!("http://{did}"), "nuncio:"),
        (format!("nuncio:{did}x"), "DID"),
        ("nuncio:did:web:example.org".to_owned(), "DID"),
        (format!("nuncio:{did}?at=nowhere"), "address"),
        (format!("nuncio:{did}?at=host:70000&bundle=AA"), "address"),
        (format!("nuncio:{did}?at=host:1&bundle=short"), "bundle"),
    ] {
        let said = fails(&home, &["peers", "add", &line], 2);
        assert!(said.lines().next().unwrap().contains(part) && said.contains("hint: "), "{line}: {said}");
    }
}

#[test]
fn a_content_type_is_a_media_type() {
    let homes = Homes::new();
    let (anna, _ben) = homes.pair();
    for bad in
        ["bad type", "text", "text/", "/plain", "text/pl ain", "text/plain;", "text/plain;charset", "a/b/c", " a/b", ""]
    {
        let said = fails(&anna.home, &["send", "ben", "--text", "x", "--type", bad], 2);
        assert!(said.contains("such as text/plain"), "{bad}: {said}");
    }
    let good = [
        "text/plain",
        "text/plain;charset=utf-8",
        "text/plain; charset=utf-8",
        "application/vnd.a+json",
        "a/b;c=\"d e\"",
    ];
    for good in good {
        ok(&anna.home, &["send", "ben", "--text", "x", "--type", good]);
    }
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    let homes = Homes::new();
    let home = homes.init("home");
    for args in [&["send", "anna"][..], &["request", "anna"]] {
        let said = fails(&home, args, 2);
        let hint = said.split_once("hint: ").unwrap().1;
        assert!(["--text", "FILE", " - "].iter().all(|way| hint.contains(way)), "{said}");
    }
    for args in [&["begin"][..], &["begin", "--scope", "a"], &["begin", "--principal", "user:anna"]] {
        assert!(fails(&home, args, 2).contains("nuncio begin --principal user:anna --scope travel.book"), "{args:?}");
    }
    assert!(fails(&home, &["begin", "--scope", "a"], 2).contains("for whom"));
    assert!(fails(&home, &["begin", "--principal", "user:anna"], 2).contains("may do"));
}

#[test]
fn a_passphrase_is_asked_for_at_a_terminal_alone() {
    let said = fails(&Homes::new().path("home"), &["init", "--passphrase"], 2);
    assert!(said.contains("--passphrase-fd"), "{said}");
}

#[test]
fn without_a_home_a_command_says_how_to_make_one() {
    let homes = Homes::new();
    for args in
        [&["id"][..], &["inbox"], &["send", "anna", "--text", "x"], &["agent", "--listen", "127.0.0.1:0"], &["doctor"]]
    {
        let said = fails(&homes.path("none"), args, 1);
        assert!(said.contains("nuncio init"), "{args:?}: {said}");
        assert!(!homes.path("none").exists(), "{args:?} made something");
    }
}

#[test]
fn help_teaches_with_examples_and_names_the_exit_codes() {
    let home = Homes::new().path("none");
    let help = ok(&home, &["--help"]);
    assert!(
        help.contains("Exit codes:") && help.contains("nuncio --home a init") && help.contains("NUNCIO_LOG"),
        "{help}"
    );
    for name in [
        "init",
        "id",
        "agent",
        "peers",
        "send",
        "request",
        "inbox",
        "done",
        "rekey",
        "backup",
        "restore",
        "completions",
    ] {
        assert!(ok(&home, &[name, "--help"]).contains("Example"), "{name} --help has no example");
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ok(&Homes::new().path("none"), &["completions", shell]);
        assert!(["peers", "restore", "doctor"].iter().all(|name| script.contains(name)), "{shell}");
    }
}

#[test]
fn whoever_stops_reading_is_no_error() {
    let mut child = command(&Homes::new().path("none"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn letters_pass_between_two_homes() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let sent = nuncio(&anna.home, &["send", "ben", "--text", "good morning", "--wait"]);
    let (id, said) = (String::from_utf8(sent.stdout.clone()).unwrap(), stderr(&sent));
    assert!(said.starts_with("delivered to ben in ") && said.ends_with("s\n"), "{said}");
    let told = nuncio(&anna.home, &["--json", "send", "ben", "--text", "x", "--wait"]);
    assert_eq!(stderr(&told), "");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&told.stdout).unwrap()["state"], "delivered");
    let letters = ok(&ben.home, &["inbox", "--json"]);
    let letter: serde_json::Value = serde_json::from_str(letters.lines().next().unwrap()).unwrap();
    assert_eq!(letter["id"], id.trim());
    assert_eq!(
        (&letter["text"], &letter["from_name"], &letter["from"]),
        (&"good morning".into(), &"anna".into(), &anna.did().into())
    );
    let shown = ok(&ben.home, &["inbox"]);
    assert!(shown.contains("anna") && shown.contains("    good morning"), "{shown}");

    ok(&ben.home, &["send", "anna", "--text", "and to you", "--reply-to", id.trim(), "--wait"]);
    assert_eq!(json(&anna.home, &["inbox"])["reply_to"], id.trim());
    ok(&ben.home, &["done", "1", &letter["no"].to_string()]);
    assert_eq!(ok(&ben.home, &["inbox", "--json"]), "");
    fails(&ben.home, &["done", &letter["no"].to_string()], 2);
    let status = json(&anna.home, &["status"]);
    assert_eq!((&status["outbox"], &status["sessions"]), (&0.into(), &1.into()));
    assert!(ok(&anna.home, &["status"]).contains(anna.listening()));
    assert!(json(&anna.home, &["sessions"])["sessions"][0]["confirmed"].as_bool().unwrap());
    assert!(ok(&anna.home, &["peers"]).contains("connected"));
}

#[test]
fn a_request_prints_its_answer() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let asking = command(&anna.home)
        .args(["request", "ben", "--text", "what is it?", "--timeout", "60s"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let question = loop {
        let printed = ok(&ben.home, &["inbox", "--json"]);
        if let Some(line) = printed.lines().next() {
            break serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    };
    ok(&ben.home, &["send", "anna", "--text", "a test", "--reply-to", question["id"].as_str().unwrap()]);
    let answered = asking.wait_with_output().unwrap();
    assert_eq!((answered.status.code(), answered.stdout.as_slice()), (Some(0), b"a test".as_slice()));
    fails(&anna.home, &["request", "ben", "--text", "and now?", "--timeout", "200ms"], 3);
}

#[test]
fn files_and_pipes_arrive_as_they_were() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let path = homes.path("large.bin");
    std::fs::write(&path, &large).unwrap();
    ok(&anna.home, &["send", "ben", path.to_str().unwrap(), "--type", "image/png", "--wait"]);

    let mut piped =
        command(&anna.home).args(["send", "ben", "-", "--wait"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), b"\0\x01\xff").unwrap();
    assert!(piped.wait().unwrap().success());

    let saved = homes.path("saved");
    ok(&ben.home, &["inbox", "--save", saved.to_str().unwrap(), "--done"]);
    let mut files: Vec<_> = std::fs::read_dir(&saved).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let [first, second] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!((first.extension().unwrap().to_str(), std::fs::read(first).unwrap()), (Some("png"), large));
    assert_eq!((second.extension().unwrap().to_str(), std::fs::read(second).unwrap()), (Some("bin"), vec![0, 1, 0xff]));
    assert_eq!(json(&ben.home, &["status"])["inbox"], 0);
}

#[test]
fn a_link_that_waits_where_a_letter_is_saved_is_not_followed() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["send", "ben", "--text", "hello", "--wait"]);
    let letter: serde_json::Value = serde_json::from_str(&ok(&ben.home, &["inbox", "--json"])).unwrap();
    let (saved, victim) = (homes.path("saved"), homes.path("victim"));
    std::fs::write(&victim, "precious").unwrap();
    std::fs::create_dir(&saved).unwrap();
    let name = format!("{}-{}", letter["no"], letter["id"].as_str().unwrap());
    std::os::unix::fs::symlink(&victim, saved.join(format!("{name}.part"))).unwrap();
    ok(&ben.home, &["inbox", "--save", saved.to_str().unwrap()]);
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    assert_eq!(std::fs::read(saved.join(format!("{name}.txt"))).unwrap(), b"hello");
}

#[test]
fn a_letter_cannot_steer_the_terminal_that_shows_it() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["send", "ben", "--text", "\u{1b}]0;owned\u{7}\u{1b}[2Jhello", "--wait"]);
    let shown = ok(&ben.home, &["inbox"]);
    assert!(shown.contains("hello") && !shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
}

#[test]
fn a_peer_out_of_reach_keeps_the_letter_waiting() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let (home, address) = (ben.home.clone(), ben.listening().to_owned());
    ben.stop();
    let said = fails(&anna.home, &["send", "ben", "--text", "are you there?", "--wait=300ms"], 3);
    assert!(said.contains("outbox"), "{said}");
    assert_eq!(json(&anna.home, &["status"])["outbox"], 1);

    let _ben = Daemon::listen(&home, &address, &[]);
    ok(&anna.home, &["send", "ben", "--text", "again", "--wait"]);
    let texts: Vec<String> = ok(&home, &["inbox", "--json"])
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["are you there?", "again"]);
}

#[test]
fn a_deadline_that_passes_is_told() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ben.stop();
    let said = fails(&anna.home, &["send", "ben", "--text", "quick", "--deadline", "200ms", "--wait=30s"], 1);
    assert!(said.contains("deadline"), "{said}");
    assert_eq!(json(&anna.home, &["status"])["outbox"], 0);
}

/// Whoever did not wait learns all the same what became of a letter, and what to do.
#[test]
fn a_letter_that_is_refused_is_listed_with_the_reason_and_advice() {
    let homes = Homes::new();
    let anna = Daemon::start(&homes.init("anna"), &[]);
    let strict = homes.path("ben");
    ok(&strict, &["init"]);
    let ben = Daemon::start(&strict, &[]);
    anna.add(&ben, "ben");
    ben.add(&anna, "anna");
    let nothing = nuncio(&anna.home, &["outbox"]);
    assert!(nothing.stdout.is_empty() && stderr(&nothing).contains("nothing"), "{nothing:?}");
    let id = ok(&anna.home, &["send", "ben", "--text", "no token"]).trim().to_owned();
    let said = fails(&anna.home, &["send", "ben", "--text", "nor this", "--wait"], 1);
    assert!(said.contains("wants a transaction token") && said.contains("--under"), "{said}");
    let said = fails(&anna.home, &["request", "ben", "--text", "nor this"], 1);
    assert!(said.contains("wants a transaction token") && said.contains("--under"), "{said}");

    let listed = nuncio(&anna.home, &["outbox"]);
    let table = String::from_utf8(listed.stdout.clone()).unwrap();
    let line = table.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains("ben") && line.contains("failed") && line.contains("wants a transaction token"), "{line}");
    assert!(stderr(&listed).contains("--under"));
    let object = json(&anna.home, &["outbox"]);
    assert_eq!(
        (object["letters"].as_array().unwrap().len(), &object["letters"][0]["code"]),
        (3, &"token_missing".into())
    );
    assert!(ok(&anna.home, &["status"]).contains("3 failed"));
    // What is remembered outlives the agent.
    let home = anna.home.clone();
    anna.stop();
    assert_eq!(json(&home, &["outbox"]), object);
}

#[test]
fn a_letter_on_its_way_is_listed_and_can_be_taken_back() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ben.stop();
    let id = ok(&anna.home, &["send", "ben", "--text", "oops"]).trim().to_owned();
    assert!(ok(&anna.home, &["outbox"]).contains("on its way"));
    assert!(fails(&anna.home, &["outbox", "cancel", "ben", "nonsense"], 2).contains("letter"));
    ok(&anna.home, &["outbox", "cancel", "ben", &id]);
    assert!(ok(&anna.home, &["outbox"]).contains("cancelled"));
    assert!(fails(&anna.home, &["outbox", "cancel", "ben", &id], 2).contains("nuncio outbox"));
    fails(&anna.home, &["--json", "outbox", "cancel", "ben", &id], 2);
}

#[test]
fn of_several_letters_those_that_are_there_are_removed() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["send", "ben", "--text", "one", "--wait"]);
    let said = fails(&ben.home, &["done", "7", "0"], 2);
    assert!(said.contains("1 of 2 were removed") && said.contains("no letter 7"), "{said}");
    assert_eq!(json(&ben.home, &["status"])["inbox"], 0);
}

#[test]
fn an_unknown_peer_and_a_taken_name_are_refused() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    assert!(fails(&anna.home, &["send", "carl", "--text", "x"], 2).contains("nuncio peers"));
    assert!(fails(&anna.home, &["send", "a/../b?c", "--text", "x", "--wait"], 2).contains("a/../b?c"));
    assert!(fails(&anna.home, &["peers", "add", "--name", "me", anna.invitation()], 2).contains("itself"));
    let third = homes.init("third");
    let stranger = json(&third, &["id"])["invitation"].as_str().unwrap().to_owned();
    assert!(fails(&anna.home, &["peers", "add", "--name", "ben", &stranger], 2).contains("taken"));
    ok(&anna.home, &["peers", "remove", "ben"]);
    fails(&anna.home, &["send", ben.did(), "--text", "x"], 2);
}

#[test]
fn an_agent_that_is_known_by_a_name_is_not_renamed_in_silence() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let add = |more: &[&str]| {
        let output = nuncio(&anna.home, &[&["peers", "add", ben.invitation()], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(add(&["--name", "ben"]), "");
    let said = add(&["--name", "benjamin"]);
    assert!(said.contains("was known as ben ") && said.contains("benjamin now"), "{said}");
    // An invitation alone brings addresses.
    assert_eq!(add(&[]), "");
    ok(&anna.home, &["send", "benjamin", "--text", "still you?", "--wait"]);
    let printed = nuncio(&anna.home, &["--json", "peers", "add", "--name", "ben", ben.invitation()]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&printed.stdout).unwrap()["agent"], ben.did());
}

#[test]
fn without_an_agent_a_letter_waits_in_the_outbox_or_goes_while_the_command_runs() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let home = anna.home.clone();
    anna.stop();
    let output = nuncio(&home, &["send", "ben", "--text", "later"]);
    assert!(output.status.success() && stderr(&output).contains("outbox"), "{}", stderr(&output));
    ok(&home, &["send", "ben", "--text", "now", "--wait"]);
    let letters = ok(&ben.home, &["inbox", "--json"]);
    assert_eq!(letters.lines().count(), 2, "{letters}");
}

#[test]
fn a_retired_peer_gets_no_more_letters() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let statement = ben.home.join("retirement");
    let statement = statement.to_str().unwrap();
    assert!(fails(&ben.home, &["id", "retire", "--statement", statement], 2).contains("--yes"));
    let said = fails(&anna.home, &["id", "retire", "--statement", statement], 2);
    assert!(said.contains("--yes") && said.contains("ben"), "{said}");
    assert!(!ok(&anna.home, &["peers"]).contains("retired"));
    ok(&anna.home, &["id", "retire", "--statement", statement, "--yes"]);
    assert!(fails(&anna.home, &["send", "ben", "--text", "x"], 1).contains("retired"));
    assert!(ok(&anna.home, &["peers"]).contains("retired"));
    fails(&anna.home, &["id", "retire", "--statement", ben.home.join("key").to_str().unwrap()], 2);
}

/// At a terminal it asks, and only `yes` does it.
#[test]
fn a_person_is_asked_before_an_identity_ends() {
    if Command::new("python3").arg("--version").output().is_err() {
        return not_run("commands::a_person_is_asked_before_an_identity_ends", "python3 is missing");
    }
    let homes = Homes::new();
    let home = homes.init("home");
    let statement = home.join("retirement");
    let answer = |answer: &str| {
        let typed = "import os, pty, sys\n\
            def read(fd):\n    \
                data = os.read(fd, 1024)\n    \
                os.write(fd, sys.argv[1].encode() + b'\\n') if b'[yes' in data else None\n    \
                return data\n\
            sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], read)))";
        let mut command = Command::new("python3");
        command.args(["-c", typed, answer, binary(), "--home"]).arg(&home).args(["id", "retire", "--statement"]);
        let output = command.arg(&statement).stdin(std::process::Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = answer("n");
    assert!(code == Some(1) && said.contains("for good"), "{code:?} {said}");
    assert_eq!(json(&home, &["status"])["retired"], false);
    let (code, said) = answer("yes");
    assert!(code == Some(0) && said.contains("retired did:key:"), "{code:?} {said}");
    assert_eq!(json(&home, &["status"])["retired"], true);
}

#[test]
fn an_agent_whose_own_identity_is_retired_says_so_and_sends_no_more() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["send", "ben", "--text", "the last one", "--wait"]);
    let statement = anna.home.join("retirement");
    let statement = statement.to_str().unwrap();
    assert_eq!(json(&anna.home, &["status"])["retired"], false);
    assert!(!ok(&anna.home, &["doctor"]).contains("is retired"));
    ok(&anna.home, &["id", "retire", "--statement", statement, "--yes"]);
    let told = |home: &std::path::Path| {
        let said = fails(home, &["send", "ben", "--text", "x"], 1);
        assert!(said.contains("this identity is retired") && said.contains("nuncio init"), "{said}");
        assert_eq!(json(home, &["status"])["retired"], true);
        assert!(ok(home, &["status"]).contains("RETIRED"));
        assert!(stderr(&nuncio(home, &["id"])).contains("this identity is retired"));
        let doctor = nuncio(home, &["doctor"]);
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.status.code() == Some(1) && said.contains("this identity is retired"), "{said}");
    };
    told(&anna.home);
    let until = Instant::now() + PATIENCE;
    while !ok(&ben.home, &["peers"]).contains("retired") {
        assert!(Instant::now() < until, "its peer has not heard of it");
    }
    let home = anna.home.clone();
    anna.stop();
    told(&home);
}
