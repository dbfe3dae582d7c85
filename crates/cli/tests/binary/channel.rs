//! `nuncio channel`: every command, what it prints and what it refuses.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Daemon, Homes, PATIENCE, command, fails, json, nuncio, ok, stderr};

/// Anna knows Ben and Cleo; those two do not know each other. All three are in anna's channel.
pub(crate) fn crew(homes: &Homes) -> [Daemon; 3] {
    let agents = ["anna", "ben", "cleo"].map(|name| Daemon::start(&homes.init(name), &[]));
    let [anna, ben, cleo] = &agents;
    assert_eq!(ok(&anna.home, &["channel", "create", "crew"]).trim().len(), 64);
    for (other, name) in [(ben, "ben"), (cleo, "cleo")] {
        anna.add(other, name);
        other.add(anna, "anna");
        ok(&anna.home, &["channel", "invite", "crew", name]);
        until(|| ok(&other.home, &["channel", "list"]).contains("anna invites into crew"));
        ok(&other.home, &["channel", "join", "crew"]);
    }
    for agent in &agents {
        until(|| members(agent).len() == 3);
    }
    agents
}

pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it never was so");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

pub(crate) fn members(agent: &Daemon) -> Vec<Value> {
    json(&agent.home, &["channel", "members", "crew"])["members"].as_array().unwrap().clone()
}

#[test]
fn what_one_says_all_members_have_and_the_sender_is_told() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    let sent = nuncio(&ben.home, &["channel", "send", "crew", "the ship leaves at six"]);
    assert!(sent.status.success() && stderr(&sent).contains("delivered to 2 of 2"), "{}", stderr(&sent));
    let id = String::from_utf8(sent.stdout).unwrap().trim().to_owned();
    for agent in [&anna, &cleo] {
        let log = ok(&agent.home, &["channel", "log", "crew"]);
        assert!(log.contains("the ship leaves at six"), "{log}");
    }
    assert!(ok(&anna.home, &["channel", "log", "crew"]).contains("  ben\n"), "by its short name");
    assert!(ok(&cleo.home, &["channel", "log", "crew"]).contains(ben.did()), "she has none for him");
    let answered = json(&cleo.home, &["channel", "send", "crew", "aye", "--reply-to", &id]);
    assert_eq!((answered["delivered"].as_u64(), answered["of"].as_u64()), (Some(2), Some(2)), "{answered}");
    // His own stands beside it, with who has it.
    let log = ok(&ben.home, &["--json", "channel", "log", "crew"]);
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [own, heard] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((own["id"].as_str(), own["text"].as_str()), (Some(&*id), Some("the ship leaves at six")), "{own}");
    assert_eq!((own["delivered"].as_u64(), own["of"].as_u64(), own["said"].as_u64()), (Some(2), Some(2), Some(0)));
    assert_eq!((heard["reply_to"].as_str(), heard["channel_name"].as_str()), (Some(&*id), Some("crew")), "{heard}");
    let shown = ok(&ben.home, &["channel", "log", "crew"]);
    let order = ["this agent, delivered to 2 of 2", "the ship leaves at six", cleo.did(), "aye"];
    let places: Vec<usize> = order.iter().map(|text| shown.find(text).unwrap_or_else(|| panic!("{shown}"))).collect();
    assert!(places.is_sorted(), "{shown}");
    assert!(ok(&ben.home, &["inbox"]).contains(", in channel crew"));

    // Another letter is in no channel.
    ok(&anna.home, &["send", "ben", "--text", "between us", "--wait"]);
    assert!(!ok(&ben.home, &["channel", "log", "crew"]).contains("between us"));
    let shown = ok(&anna.home, &["channel", "members", "crew"]);
    assert!(shown.contains("owner") && shown.contains("ben           member"), "{shown}");
    let me = |line: &&str| line.starts_with("(this agent)") && line.ends_with(anna.did());
    assert!(shown.lines().any(|line| me(&line)), "{shown}");
    assert!(ok(&ben.home, &["peers"]).contains("fellow member, connected"), "also while it is connected");
}

/// What comes and what goes is told as it does, each once.
#[test]
fn a_log_that_is_followed_tells_what_comes_and_what_goes() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    ok(&ben.home, &["channel", "send", "crew", "first"]);
    let mut command = command(&ben.home);
    command.args(["--json", "channel", "log", "crew", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = Following(command.spawn().unwrap());
    let mut lines = BufReader::new(following.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["text"], "first");
    ok(&anna.home, &["channel", "send", "crew", "second"]);
    assert_eq!(next()["text"], "second");
    ok(&ben.home, &["channel", "send", "crew", "third"]);
    // It is told again until all have it.
    loop {
        let own = next();
        assert_eq!((own["text"].as_str(), own["said"].as_u64()), (Some("third"), Some(1)), "{own}");
        if own["delivered"] == 2 {
            break;
        }
    }
    ok(&cleo.home, &["channel", "send", "crew", "fourth"]);
    assert_eq!(next()["text"], "fourth");
    let (home, address) = (cleo.home.clone(), cleo.listening().to_owned());
    cleo.stop();
    nuncio(&ben.home, &["channel", "send", "crew", "fifth", "--wait", "0s"]);
    let last = |own: &Value| (own["text"] == "fifth").then(|| own["delivered"].as_u64()).flatten();
    let mut had = last(&next()).unwrap();
    while had < 1 {
        had = last(&next()).unwrap();
    }
    let cleo = Daemon::listen(&home, &address, &[]);
    assert_eq!(last(&next()), Some(2), "as it grows");
    drop(cleo);
    // The agent stops: that is no file.
    ben.stop();
    assert_eq!(following.0.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut following.0.stderr.take().unwrap(), &mut said).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["error"]["kind"], "stopped", "{said}");
}

/// A command that goes on until it is ended.
pub(crate) struct Following(pub(crate) Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_is_away_is_named_and_has_it_later() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    let (home, address) = (cleo.home.clone(), cleo.listening().to_owned());
    cleo.stop();
    let sent = nuncio(&anna.home, &["channel", "send", "crew", "who is here?", "--wait", "2s"]);
    let told = stderr(&sent);
    assert_eq!(sent.status.code(), Some(3), "{told}");
    assert!(told.contains("delivered to 1 of 2") && told.contains("not yet: cleo"), "{told}");
    let id = String::from_utf8(sent.stdout).unwrap().trim().to_owned();
    let cleo = Daemon::listen(&home, &address, &[]);
    until(|| ok(&cleo.home, &["channel", "log", "crew"]).contains("who is here?"));
    until(|| anna_tally(&anna, &id) == (2, 0));
    drop(ben);
}

#[test]
fn a_letter_that_somebody_lacks_is_seen_once_and_is_taken_back() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    let address = cleo.listening().to_owned();
    let (home, did) = (cleo.home.clone(), cleo.did().to_owned());
    cleo.stop();
    let sent = nuncio(&anna.home, &["channel", "send", "crew", "half past six", "--wait", "2s"]);
    let id = String::from_utf8(sent.stdout).unwrap().trim().to_owned();
    let listed = ok(&anna.home, &["outbox"]);
    let row = listed.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{listed}"));
    assert!(row.contains("channel crew") && row.contains("delivered to 1 of 2; not yet: cleo (waiting)"), "{row}");
    let json = json(&anna.home, &["outbox"]);
    let letters = json["letters"].as_array().unwrap().iter().filter(|letter| letter["id"] == *id);
    let letters: Vec<&Value> = letters.collect();
    assert_eq!(letters.len(), 1, "{json}");
    assert_eq!((letters[0]["to"].as_str(), letters[0]["of"].as_u64()), (Some(&*did), Some(2)));
    assert_eq!(letters[0]["channel_name"], "crew");

    let taken = ok(&anna.home, &["channel", "cancel", "crew", &id]);
    assert_eq!(taken.trim(), format!("cancelled {id} for 1 member"));
    assert!(fails(&anna.home, &["channel", "cancel", "crew", &id], 2).contains("nuncio outbox"));
    fails(&anna.home, &["--json", "channel", "cancel", "crew", &id], 2);
    let listed = ok(&anna.home, &["outbox"]);
    assert!(listed.contains("delivered to 1 of 2") && listed.contains("never to cleo: it was cancelled"), "{listed}");
    assert!(
        ok(&anna.home, &["channel", "log", "crew"]).contains("delivered to 1 of 2, never to cleo: it was cancelled")
    );
    let cleo = Daemon::listen(&home, &address, &[]);
    ok(&anna.home, &["channel", "send", "crew", "seven", "--wait", "20s"]);
    let log = ok(&cleo.home, &["channel", "log", "crew"]);
    assert!(log.contains("seven") && !log.contains("half past"), "{log}");
    drop(ben);
}

fn anna_tally(anna: &Daemon, id: &str) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tally = runtime.block_on(anna.api().get::<Value>(&format!("/v1/channels/crew/letters/{id}"))).unwrap();
    (tally["delivered"].as_u64().unwrap(), tally["waiting"].as_u64().unwrap())
}

#[test]
fn who_was_removed_or_has_left_is_out() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    assert!(fails(&ben.home, &["channel", "remove", "crew", cleo.did()], 1).contains("owner or one of its admins"));
    ok(&anna.home, &["channel", "admin", "crew", "ben"]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("admin"));
    // An admin proposes; the owner does it.
    let proposed = ok(&ben.home, &["channel", "remove", "crew", cleo.did()]);
    assert!(proposed.starts_with("proposed to the owner: removed"), "{proposed}");
    until(|| members(&anna).len() == 2 && members(&ben).len() == 2 && members(&cleo).len() == 2);
    let refused = fails(&cleo.home, &["channel", "send", "crew", "still here"], 1);
    assert!(refused.contains("no member of such a channel"), "{refused}");
    assert!(stderr(&nuncio(&cleo.home, &["channel", "members", "crew"])).contains("in it no more"));
    ok(&anna.home, &["channel", "send", "crew", "she is gone"]);
    until(|| ok(&ben.home, &["channel", "log", "crew"]).contains("she is gone"));
    assert!(ok(&cleo.home, &["channel", "log", "crew"]).is_empty());

    assert!(fails(&anna.home, &["channel", "leave", "crew"], 1).contains("hand the channel over first"));
    fails(&ben.home, &["channel", "take-over", "crew"], 1);
    let asked = ok(&anna.home, &["channel", "hand-over", "crew", "ben"]);
    assert!(asked.contains("take-over"), "{asked}");
    until(|| ok(&ben.home, &["channel", "list"]).contains("this agent is asked to be the owner of crew"));
    assert!(ok(&anna.home, &["channel", "list"]).contains("ben is asked to be the owner of crew"));
    let taken = ok(&ben.home, &["channel", "take-over", "crew"]);
    assert_eq!(taken.trim(), "this agent is the owner of crew: 2 members");
    assert!(ok(&ben.home, &["channel", "list"]).contains("  owner "));
    until(|| !ok(&anna.home, &["channel", "list"]).contains("  owner "));
    assert!(fails(&ben.home, &["channel", "take-over", "crew"], 1).contains("nobody has asked"));
    assert!(fails(&anna.home, &["channel", "forget", "crew"], 1).contains("leave it first"));
    ok(&anna.home, &["channel", "leave", "crew"]);
    until(|| members(&ben).len() == 1);
    ok(&anna.home, &["channel", "forget", "crew"]);
    assert!(stderr(&nuncio(&anna.home, &["channel", "list"])).contains("no channels yet"));
    ok(&ben.home, &["channel", "rename", "crew", "night watch"]);
    assert!(ok(&ben.home, &["channel", "list"]).contains("night watch"));
    // Nobody is left to whom he could hand it over.
    assert!(fails(&ben.home, &["channel", "leave", "night watch"], 1).contains("forget it instead"));
    ok(&ben.home, &["channel", "forget", "night watch"]);
}

#[test]
fn a_newcomer_reads_what_it_is_handed() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    ok(&ben.home, &["channel", "send", "crew", "who has the map?"]);
    ok(&ben.home, &["channel", "send", "crew", "I have it myself"]);
    until(|| ok(&anna.home, &["channel", "log", "crew"]).contains("I have it myself"));
    let handed = ok(&anna.home, &["channel", "history", "crew", "--to", "cleo", "--last", "1"]);
    assert_eq!(handed.trim(), "handed over to cleo: 1 letter, on its way");
    let log = || ok(&cleo.home, &["channel", "log", "crew"]);
    until(|| log().contains(&format!("said to be by {}, handed over by anna", ben.did())));
    let one = json(&anna.home, &["channel", "history", "crew", "--to", "cleo", "0"]);
    assert_eq!(one["letters"].as_array().map(Vec::len), Some(1), "{one}");
    // Not twice, unless that is asked for.
    let twice = nuncio(&anna.home, &["channel", "history", "crew", "--to", "cleo", "--last", "2"]);
    assert_eq!(String::from_utf8_lossy(&twice.stdout).trim(), "handed over to cleo: no letter");
    assert!(stderr(&twice).contains("2 were handed over to it before") && stderr(&twice).contains("--again"));
    assert_eq!(json(&anna.home, &["channel", "history", "crew", "--to", "cleo", "0"])["before"], 1);
    // What the one that hands over said itself is history too.
    ok(&anna.home, &["channel", "send", "crew", "I have another"]);
    let own = json(&anna.home, &["channel", "history", "crew", "--to", "cleo", "--said", "0"]);
    assert_eq!(own["letters"].as_array().map(Vec::len), Some(1), "{own}");
    until(|| log().contains("said to be by anna, handed over by anna"));
    let all = ok(&anna.home, &["channel", "history", "crew", "--to", "ben", "--last", "3"]);
    assert_eq!(all.trim(), "handed over to ben: 3 letters, on their way");
    until(|| ok(&cleo.home, &["inbox"]).matches("handed over: said to be by").count() == 3);
    let again = json(&anna.home, &["channel", "history", "crew", "--to", "cleo", "0", "--again"]);
    assert_eq!((again["letters"].as_array().map(Vec::len), again["before"].as_u64()), (Some(1), Some(0)), "{again}");
    until(|| ok(&cleo.home, &["inbox"]).matches("handed over: said to be by").count() == 4);
    assert!(fails(&anna.home, &["channel", "history", "crew", "--to", "cleo", "99"], 2).contains("number 99"));
    assert!(fails(&anna.home, &["channel", "history", "crew", "--to", "cleo"], 2).contains("NUMBER"));
}

#[test]
fn names_are_never_guessed_and_mistakes_are_told_apart() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let first = ok(&anna.home, &["channel", "create", "crew"]).trim().to_owned();
    let second = nuncio(&anna.home, &["channel", "create", "crew"]);
    assert!(stderr(&second).contains("2 channels are called crew here"), "{}", stderr(&second));
    let other = String::from_utf8(second.stdout).unwrap().trim().to_owned();
    let several = fails(&anna.home, &["channel", "send", "crew", "to whom?"], 2);
    assert!(several.contains("several channels are called \"crew\""), "{several}");
    assert!(several.contains(&first) && several.contains(&other), "{several}");
    assert!(ok(&anna.home, &["channel", "members", &first]).contains("owner"));
    assert!(fails(&anna.home, &["channel", "members", "crews"], 2).contains("channel list"));
    assert!(fails(&anna.home, &["channel", "join", &first], 1).contains("is in the channel"));
    assert!(fails(&anna.home, &["channel", "join", "board"], 2).contains("no invitation into a channel called"));
    assert!(fails(&anna.home, &["channel", "invite", &first, "cleo"], 2).contains("no peer is called"));
    for name in ["", "a\nb", &*"x".repeat(129)] {
        assert!(fails(&anna.home, &["channel", "create", name], 2).contains("1 to 128 bytes"), "{name:?}");
        assert!(fails(&anna.home, &["channel", "rename", &first, name], 2).contains("1 to 128 bytes"), "{name:?}");
    }
    // What is too large says where it goes instead.
    let large = "ü".repeat(25_000);
    assert!(fails(&anna.home, &["channel", "send", &first, &large], 2).contains("nuncio send MEMBER FILE"));
    assert!(piped(&anna, &first, large.as_bytes()).contains("longer than 48 KiB"));
    assert!(piped(&anna, &first, &[0xff, 0xfe]).contains("no UTF-8 text"));

    ok(&anna.home, &["channel", "invite", &first, "ben"]);
    until(|| !json(&ben.home, &["channel", "list"])["invitations"].as_array().unwrap().is_empty());
    // A name of the same channel, of an invitation, is none of a channel that one is in.
    let early = fails(&ben.home, &["channel", "send", "crew", "too early"], 2);
    assert!(early.contains("has not joined: `nuncio channel join`"), "{early}");
    ok(&ben.home, &["channel", "decline", "crew"]);
    assert!(stderr(&nuncio(&ben.home, &["channel", "list"])).contains("no channels yet"));
    // A channel of one: nobody waits, nobody is missing.
    let alone = nuncio(&anna.home, &["channel", "send", &first, "hello?"]);
    assert!(alone.status.success() && stderr(&alone).contains("delivered to 0 of 0"), "{}", stderr(&alone));
}

/// What is sent from standard input has to be a letter's; what is said of what is not.
fn piped(agent: &Daemon, channel: &str, bytes: &[u8]) -> String {
    let mut command = command(&agent.home);
    command.args(["channel", "send", channel, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn every_command_teaches_by_an_example() {
    let homes = Homes::new();
    let home = homes.path("none");
    let all = ok(&home, &["channel", "--help"]);
    assert!(all.contains("nuncio channel invite crew ben"), "{all}");
    for command in [
        "create",
        "list",
        "invite",
        "join",
        "decline",
        "members",
        "remove",
        "admin",
        "rename",
        "hand-over",
        "take-over",
        "succeed",
        "support",
        "leave",
        "send",
        "cancel",
        "log",
    ] {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is not listed");
        let help = ok(&home, &["channel", command, "--help"]);
        assert!(help.contains(&format!("nuncio channel {command}")) && help.contains("Example"), "{help}");
    }
}
