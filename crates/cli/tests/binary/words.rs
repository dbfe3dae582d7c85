//! What a person reads: what is waited for, what is wrong and where, what is left out.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Daemon, Homes, command, fails, nuncio, ok, stderr};

#[test]
fn a_program_that_says_nothing_is_told_of_and_given_up() {
    let homes = Homes::new();
    let home = homes.init("anna");
    let said = fails(&home, &["expose", "mcp", "files", "--patience", "500ms", "--", "sleep", "600"], 1);
    assert!(said.contains("it has not answered within 0.5 s"), "{said}");
    let said = fails(&home, &["expose", "mcp", "files", "--patience", "5s", "--", "sleep", "600"], 1);
    assert!(said.contains("no answer so far: waiting, 5 s in all"), "{said}");
    assert!(said.contains("it has not answered within 5 s") && said.contains("--patience"), "{said}");
    let said = fails(&home, &["expose", "mcp", "files", "--", "cat"], 1);
    assert!(said.contains("it says back what it is told") && !said.contains("waiting"), "{said}");
    assert!(!home.join("services.toml").exists(), "nothing is offered");
}

#[test]
fn doctor_reads_the_files_of_a_home_as_the_next_start_does() {
    let homes = Homes::new();
    let home = homes.init("anna");
    let agent = Daemon::start(&home, &[]);
    for (name, text, said) in [
        ("services.toml", "[services", "services.toml, line 1"),
        ("connections.toml", "port = \"s3cret\"\n", "connections.toml, line 1"),
        ("gateway.toml", "listen = \"0.0.0.0:1\"\n", "loopback"),
    ] {
        ok(&home, &["doctor"]);
        fs::write(home.join(name), text).unwrap();
        fs::set_permissions(home.join(name), Permissions::from_mode(0o600)).unwrap();
        let printed = nuncio(&home, &["doctor"]);
        let text = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(printed.status.code(), Some(1), "{text}");
        let line = text.lines().find(|line| line.starts_with("BAD")).unwrap();
        assert!(line.contains("the next start refuses") && line.contains(said) && !line.contains("s3cret"), "{line}");
        fs::remove_file(home.join(name)).unwrap();
    }
    // Its own program's start does not refuse it.
    fs::write(home.join("services.toml"), "[services.files]\nnative = true\n").unwrap();
    fs::set_permissions(home.join("services.toml"), Permissions::from_mode(0o600)).unwrap();
    let printed = ok(&home, &["doctor"]);
    assert!(printed.contains("files in services.toml is `native`") && printed.contains("embeds"), "{printed}");
    fs::remove_file(home.join("services.toml")).unwrap();
    agent.stop();
    let settings = fs::read_to_string(home.join("nuncio.toml")).unwrap();
    fs::write(home.join("nuncio.toml"), format!("{settings}\nfrob = 1\n")).unwrap();
    let printed = nuncio(&home, &["doctor"]);
    assert!(String::from_utf8(printed.stdout).unwrap().contains("frob"));
    assert_eq!(printed.status.code(), Some(1));
}

// contracts/call.md X27.
#[test]
fn who_is_not_let_in_reads_what_is_waited_for_and_its_client_gets_an_error() {
    let homes = Homes::new();
    let (anna, ben) = (Daemon::start(&homes.init("anna"), &[]), Daemon::start(&homes.init("ben"), &[]));
    nuncio_bridge::expose(&anna.home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    // A door that hears knocks, and lets nobody in.
    anna.signal("HUP");
    let line = format!("{}#files", anna.invitation());
    ok(&ben.home, &["connect", &line, "--peer-name", "anna"]);
    let mut command = command(&ben.home);
    command.args(["mcp", "anna/files"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let hello = json!({ "jsonrpc": "2.0", "id": "a", "method": "initialize", "params": {} });
    writeln!(input, "{hello}").unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told: Vec<String> = Vec::new();
    while !told.iter().any(|line| line.contains("does not let this agent in")) {
        told.push(lines.next().expect("why").unwrap());
    }
    let (states, each) = (told.iter().collect::<HashSet<_>>().len(), told.len());
    assert_eq!(states, each, "said again: {told:?}");
    assert!(told.iter().all(|line| line.contains("anna/files: waits for anna's agent")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("nuncio knocks")), "{told:?}");
    let peers = stderr(&nuncio(&ben.home, &["peers"]));
    assert!(peers.contains("anna: it does not let this agent in"), "{peers}");
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = lines.map(Result::unwrap).collect::<String>();
    assert!(said.contains("error: anna/files: nothing has come of it"), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(-32041)), "{answer}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_backup_says_what_it_does_not_hold_and_has_what_a_gateway_serves() {
    let homes = Homes::new();
    let home = homes.init("anna");
    let none = nuncio(&home, &["backup", homes.path("none").to_str().unwrap()]);
    assert!(!stderr(&none).contains("toml"), "{}", stderr(&none));
    let gateway = "listen = \"127.0.0.1:0\"\n";
    for (name, text) in [("gateway.toml", gateway), ("connections.toml", "# mine\n"), ("webhooks.json", "[]")] {
        fs::write(home.join(name), text).unwrap();
        fs::set_permissions(home.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    let to = homes.path("backup");
    let made = nuncio(&home, &["backup", to.to_str().unwrap()]);
    let said = stderr(&made);
    assert!(made.status.success(), "{said}");
    for word in ["gateway.toml: in it", "connections.toml: not in it", "webhooks.json: not in it"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!to.join("connections.toml").exists() && !to.join("webhooks.json").exists());
    let (new, key) = (homes.path("new"), home.join("key"));
    ok(&new, &["restore", to.to_str().unwrap(), "--key-file", key.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(new.join("gateway.toml")).unwrap(), gateway);
}

#[test]
fn a_hint_fits_what_was_done() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    // A service has one connection, whatever name is given.
    ok(&ben.home, &["connect", "anna/files"]);
    let said = fails(&ben.home, &["--json", "connect", "anna/files", "--name", "again"], 2);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["error"]["kind"], "connected");
    assert!(!told["error"]["hint"].as_str().unwrap().contains("--name"), "{told}");
    // No subcommand is no sentence about the command.
    for command in ["permit", "channel"] {
        let told: Value = serde_json::from_str(&fails(&ben.home, &["--json", command], 2)).unwrap();
        assert_eq!(told["error"]["kind"], "usage");
        assert!(told["error"]["message"].as_str().unwrap().contains("subcommand"), "{told}");
    }
    // A file that is not there is not to be mended.
    let said = fails(&anna.home, &["gateway", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("gateway.toml") && said.contains("hint: write it") && !said.contains("mend"), "{said}");
}

#[test]
fn a_slip_in_what_is_offered_is_told_as_one_and_a_name_stays_of_its_kind() {
    let homes = Homes::new();
    let home = homes.init("anna");
    for slip in [&["expose", "a2a", "h", "notaurl"][..], &["expose", "mcp", "h", "--hours", "0", "--", "true"]] {
        let told = nuncio(&home, slip);
        assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
        assert!(!stderr(&told).contains("services.toml"), "{}", stderr(&told));
    }
    nuncio_bridge::expose_a2a(&home, &"files".parse().unwrap(), "http://127.0.0.1:9").unwrap();
    let other = nuncio(&home, &["expose", "mcp", "files", "--", "cat"]);
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    assert!(stderr(&other).contains("speaks A2A") && stderr(&other).contains("nuncio withdraw"), "{}", stderr(&other));
}
