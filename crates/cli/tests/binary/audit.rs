//! `nuncio audit`: what two agents and their node did, as anybody with the log reads it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::crypto::sha256;
use nuncio_proto::tlog::{Attestation, Attested, Checkpoint, Detached, KeyKind, Note, NoteKey, Operation, Timestamp};
use nuncio_store::testing::copy_dir;
use serde_json::Value;

use crate::node::Running;
use crate::support::{Daemon, Homes, PATIENCE, fails, json, nuncio, ok, stderr};

/// A node, and two agents of its domain that audit.
struct Scene {
    homes: Homes,
    node: PathBuf,
    _running: Running,
    anna: Daemon,
    ben: Daemon,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    /// With more settings of auditing for both agents.
    fn with(more: &str) -> Self {
        let homes = Homes::new();
        let node = crate::node::made(&homes);
        let running = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &node);
        let line = running.ready["invitation"].as_str().unwrap().to_owned();
        let mut policy = std::fs::read_to_string(node.join("policy.toml")).unwrap();
        for name in ["anna", "ben"] {
            let home = homes.path(name);
            ok(&home, &["init", "--trust-domain", "acme.example", "--node", &line]);
            let settings = std::fs::read_to_string(home.join("nuncio.toml")).unwrap();
            std::fs::write(home.join("nuncio.toml"), settings + "\n[audit]\nsessions = \"required\"\n" + more).unwrap();
            let did = json(&home, &["id"])["agent"].as_str().unwrap().to_owned();
            policy += &format!(
                "[[client]]\nname = \"{name}\"\ndid = \"{did}\"\n[[client.grant]]\nsubject_types = [\"self_signed\", \"txn_token\"]\n\
                 subjects = [\"user:*\"]\nscope = \"read\"\nreceivers = [\"*\"]\n"
            );
        }
        std::fs::write(node.join("policy.toml"), policy).unwrap();
        ok(&node, &["node", "reload"]);
        let (anna, ben) = (Daemon::start(&homes.path("anna"), &[]), Daemon::start(&homes.path("ben"), &[]));
        anna.add(&ben, "ben");
        ben.add(&anna, "anna");
        Self { homes, node, _running: running, anna, ben }
    }

    /// Sends a letter under a new transaction; its name.
    fn tell(&self, text: &str) -> String {
        let begun = json(&self.anna.home, &["begin", "--principal", "user:anna", "--scope", "read"]);
        let token = self.homes.path("token");
        std::fs::write(&token, begun["token"].as_str().unwrap()).unwrap();
        ok(&self.anna.home, &["send", "ben", "--text", text, "--under", token.to_str().unwrap(), "--wait"]);
        begun["transaction"].as_str().unwrap().to_owned()
    }

    /// Waits until the log has so many events of a kind.
    fn logged(&self, what: &str, count: usize) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let output = nuncio(&self.node, &["audit", "export"]);
            let lines = String::from_utf8(output.stdout.clone()).unwrap();
            let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if events.iter().filter(|event| event["what"] == what).count() >= count {
                return events;
            }
            assert!(Instant::now() < until, "{lines} {}", stderr(&output));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn the_log_is_read_and_verified_from_its_folder_and_over_http() {
    let scene = Scene::new();
    let transaction = scene.tell("the canary sings");
    scene.logged("letter_sent", 1);
    let events = scene.logged("letter_received", 1);
    let printed = serde_json::to_string(&events).unwrap();
    assert!(!printed.contains("canary") && !printed.contains("user:anna"), "{printed}");

    let account = json(&scene.node, &["audit", "reconcile", &transaction]);
    assert_eq!(account["mismatches"].as_array().unwrap().len(), 0, "{account}");
    let told: Vec<&str> =
        account["events"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    for what in ["token_issued", "token_replaced", "letter_sent", "letter_received"] {
        assert!(told.contains(&what), "{told:?}");
    }
    let said = ok(&scene.node, &["audit", "verify"]);
    assert!(said.contains("3 agents"), "{said}");
    assert!(ok(&scene.node, &["audit", "root"]).contains("acme.example/log"));
    assert!(ok(&scene.node, &["audit", "tail", "-n", "1000"]).contains("letter_sent"));
    let sent = events.iter().find(|event| event["what"] == "letter_sent").unwrap();
    let index = sent["index"].to_string();
    assert_eq!(&json(&scene.node, &["audit", "show", &index]), sent);
    assert!(ok(&scene.node, &["audit", "prove", &index]).starts_with("c2sp.org/tlog-proof@v1\n"));
    let cloud = ok(&scene.node, &["audit", "export", "--cloudevents", "--from", &index]);
    let cloud: Value = serde_json::from_str(cloud.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&cloud["specversion"], &cloud["type"], &cloud["data"]),
        (&"1.0".into(), &"nuncio.letter_sent".into(), sent)
    );

    // An agent of the domain knows the key, and reads the same over HTTP.
    let url = format!("http://{}/log/", scene._running.ready["tcp"].as_str().unwrap());
    assert!(ok(&scene.ben.home, &["audit", "--log", &url, "verify"]).contains("acme.example/log"));
    assert_eq!(&json(&scene.ben.home, &["audit", "--log", &url, "show", &index]), sent);
}

#[test]
fn what_is_wrong_with_a_log_is_named_and_what_is_missing_is_said() {
    let scene = Scene::new();
    let transaction = scene.tell("one");
    scene.logged("letter_received", 1);
    assert!(fails(&scene.node, &["audit", "show", "100000"], 2).contains("audit root"));
    assert!(fails(&scene.node, &["audit", "reconcile", "nothing"], 2).contains("audit tail"));
    let nowhere = scene.homes.path("nowhere");
    assert!(fails(&nowhere, &["audit", "root"], 2).contains("log.pub"));
    assert!(fails(&scene.anna.home, &["audit", "root"], 2).contains("--log"));
    assert!(fails(&scene.node, &["audit", "--key", "nonsense", "root"], 2).contains("log.pub"));
    assert!(fails(&scene.node, &["audit", "--log", nowhere.to_str().unwrap(), "root"], 1).contains("--log"));

    // Of a copy one byte of one entry is another.
    let copy = scene.homes.path("copy");
    copy_dir(&scene.node.join("log"), &copy).unwrap();
    let bundles = copy.join("tile/entries/000.p");
    let newest = std::fs::read_dir(&bundles).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.max_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap()).unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let copy = copy.to_str().unwrap();
    let said = fails(&scene.node, &["audit", "--log", copy, "verify"], 1);
    assert!(said.contains("entry ") && said.contains("not signed by its agent"), "{said}");
    assert!(fails(&scene.node, &["audit", "--log", copy, "reconcile", &transaction], 1).contains("tile/"));
}

/// Its node is away: letters go on, events wait and are counted.
#[test]
fn events_that_wait_are_counted() {
    let scene = Scene::new();
    scene.tell("one");
    scene.logged("letter_received", 1);
    scene._running.signal("STOP");
    ok(&scene.ben.home, &["send", "anna", "--text", "two"]);
    let until = Instant::now() + PATIENCE;
    while json(&scene.ben.home, &["status"])["events_waiting"] == 0 {
        assert!(Instant::now() < until);
    }
    assert!(ok(&scene.ben.home, &["status"]).contains("wait for the log"));
    scene._running.signal("CONT");
    while json(&scene.ben.home, &["status"])["events_waiting"] != 0 {
        assert!(Instant::now() < until + PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// contracts/audit.md section 3: a restored agent does not know what it told since, and so tells no second story.
#[test]
fn a_restored_agent_counts_anew() {
    let mut scene = Scene::new();
    scene.tell("one");
    scene.logged("letter_received", 1);
    // The one that sent it tells of it in its own time.
    let before = scene.logged("letter_sent", 1);
    let backup = scene.homes.path("backup");
    let (home, backup) = (scene.anna.home.clone(), backup.to_str().unwrap());
    ok(&home, &["backup", backup]);
    scene.tell("two");
    scene.logged("letter_received", 2);
    let address = scene.anna.listening().to_owned();
    let restored = scene.homes.path("restored");
    let key = home.join("key");
    ok(&restored, &["restore", backup, "--key-file", key.to_str().unwrap()]);
    std::fs::copy(&key, restored.join("key")).unwrap();
    drop(std::mem::replace(&mut scene.anna, Daemon::start(&scene.homes.init("other"), &[])));
    scene.anna = Daemon::listen(&restored, &address, &[]);
    scene.tell("three");
    let events = scene.logged("letter_received", 3);
    let anna = before.iter().find(|event| event["what"] == "letter_sent").unwrap()["agent"].clone();
    let epochs: std::collections::BTreeSet<u64> =
        events.iter().filter(|event| event["agent"] == anna).map(|event| event["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs.len(), 2, "{events:?}");
    assert_eq!(json(&scene.node, &["audit", "verify"])["other_stories"].as_array().unwrap().len(), 0);
}

/// A witness's line counts with its own key alone, and a policy says how many of them are enough.
fn lines_count_with_their_keys(node: &Path, policy: &Path, log: &str, witness: &str) {
    let key_of = |name: &str, kind: KeyKind| {
        NoteKey::new(name, kind, SigningKey::from_seed(&[9; 32]).public()).unwrap().to_string()
    };
    let other = key_of("witness.example/w1", KeyKind::CosignatureV1);
    for command in [&["root"][..], &["verify"], &["tail"], &["show", "0"], &["prove", "0"], &["export"]] {
        let words = [&["audit", "--witness", &other], command].concat();
        assert!(fails(node, &words, 1).contains("witness.example/w1 have not"), "{command:?}");
        let policed = |text: String, code: i32| {
            std::fs::write(policy, text).unwrap();
            let words = [&["audit", "--policy", policy.to_str().unwrap()], command].concat();
            let done = nuncio(node, &words);
            assert_eq!(done.status.code(), Some(code), "{words:?}: {}", stderr(&done));
            stderr(&done)
        };
        let two = format!("log {log}\nwitness ours {witness}\nwitness theirs {other}\n");
        policed(format!("{two}quorum ours\n"), 0);
        policed(format!("{two}group any any ours theirs\nquorum any\n"), 0);
        policed(format!("{two}quorum none\n"), 0);
        let said = policed(format!("{two}group all all ours theirs\nquorum all\n"), 1);
        assert!(said.contains("theirs (witness.example/w1) have not") && !said.contains("ours ("), "{said}");
        assert!(policed(format!("{two}quorum theirs\n"), 1).contains("theirs (witness.example/w1) have not"));
        let elsewhere = two.replace(log, &key_of("acme.example/log", KeyKind::Ed25519));
        assert!(policed(format!("{elsewhere}quorum ours\n"), 1).contains("not signed by the key"), "{command:?}");
        assert!(policed(format!("{two}quorum nobody\n"), 2).contains("line 4: a name"), "{command:?}");
    }
    std::fs::write(policy, format!("log {log}\nwitness ours {witness}\nwitness theirs {other}\nquorum theirs\n"))
        .unwrap();
    let verified = nuncio(node, &["--json", "audit", "--policy", policy.to_str().unwrap(), "verify"]);
    let told: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&told["quorum"], &told["missing"][0]), (&Value::from(false), &"theirs (witness.example/w1)".into()));
    assert_eq!(told["witnessed"][0][0], "witness.example/w1");
    assert!(stderr(&verified).contains("no_quorum"), "{}", stderr(&verified));
    // Both a policy that knows its log and a key that it does not know.
    let key = key_of("acme.example/log", KeyKind::Ed25519);
    fails(node, &["audit", "--policy", policy.to_str().unwrap(), "--key", &key, "root"], 2);
}

/// A witness beside the node: its line is under the head, and the log cannot go back behind it.
#[test]
fn a_witness_cosigns_the_nodes_head() {
    let homes = Homes::new();
    let node = crate::node::made(&homes);
    drop(Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &node));
    let log = std::fs::read_to_string(node.join("log.pub")).unwrap();
    let home = homes.path("witness");
    let words = ["audit", "witness", "--name", "witness.example/w1", "--of", log.trim(), "--listen", "127.0.0.1:0"];
    let mut witness = crate::support::command(&home);
    witness.args(["--json"]).args(words).arg("--stop-with-stdin");
    let mut witness = witness.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(witness.stdout.take().unwrap()), &mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let (key, at) = (ready["key"].as_str().unwrap(), ready["tcp"].as_str().unwrap());
    let policy = std::fs::read_to_string(node.join("policy.toml")).unwrap();
    let named = format!("{policy}[[witness]]\nkey = \"{key}\"\nurl = \"http://{at}/add-checkpoint\"\n");
    std::fs::write(node.join("policy.toml"), named).unwrap();
    let copy = homes.path("copy");
    copy_dir(&node, &copy).unwrap();
    let running = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &node);
    let until = Instant::now() + PATIENCE;
    // It is published within a second: that the policy came into force, at the first start and at this one. Nothing comes behind it.
    let root = || nuncio(&node, &["audit", "--witness", key, "root"]);
    let is_whole = || {
        let told = nuncio(&node, &["--json", "audit", "--witness", key, "root"]);
        told.status.success() && serde_json::from_slice::<Value>(&told.stdout).unwrap()["size"] == 2
    };
    while !is_whole() {
        assert!(Instant::now() < until, "{}", String::from_utf8_lossy(&root().stderr));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(String::from_utf8(root().stdout).unwrap().contains("witness witness.example/w1 at "));
    // A line whose key nobody gave is not called a witness.
    let unasked = nuncio(&node, &["audit", "root"]);
    assert!(!String::from_utf8_lossy(&unasked.stdout).contains("witness.example/w1"));
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--witness"));
    ok(&node, &["audit", "verify"]);
    lines_count_with_their_keys(&node, &homes.path("policy"), log.trim(), key);
    drop(running);
    // A copy from before it was cosigned does not start.
    let said = fails(&copy, &["node", "run", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("rolled back"), "{said}");
    drop(witness.stdin.take());
    assert!(witness.wait().unwrap().success());
}

/// One end proves what one letter said to somebody who has nothing but the log, and no more than that.
#[test]
fn a_letter_is_opened_to_whoever_has_the_log() {
    let scene = Scene::new();
    opened(&scene, &[]);
    // A small file is in its letter, like any text.
    let (token, file) = (scene.homes.path("token"), scene.homes.path("order.json"));
    std::fs::write(&file, "{\"apples\":10}").unwrap();
    let (token, file) = (token.to_str().unwrap(), file.to_str().unwrap());
    let sent = json(&scene.anna.home, &["send", "ben", file, "--under", token, "--wait"]);
    scene.logged("letter_received", 3);
    let opening = scene.homes.path("opening");
    let id = sent["id"].as_str().unwrap();
    std::fs::write(&opening, ok(&scene.anna.home, &["audit", "open", id, "--payload", file])).unwrap();
    let told = json(&scene.node, &["audit", "opened", opening.to_str().unwrap()]);
    assert_eq!(told["payload"], data_encoding::BASE64.encode(b"{\"apples\":10}"));
}

/// By pseudonyms too: the log names no peer, the opening shows who is meant, and their owners know.
#[test]
fn a_letter_is_opened_where_the_log_names_no_peer() {
    let scene = Scene::with("peers = \"pseudonyms\"\n");
    opened(&scene, &["--show-pair"]);
    let did = |home: &Path| json(home, &["id"])["agent"].as_str().unwrap().to_owned();
    let (anna, ben) = (did(&scene.anna.home), did(&scene.ben.home));
    let known = json(&scene.anna.home, &["peers"])["peers"][0]["pseudonym"].as_str().unwrap().to_owned();
    let events = scene.logged("letter_sent", 2);
    let told = |of: &str| {
        events.iter().filter(|event| event["agent"] == of && event["what"] != "heartbeat").collect::<Vec<_>>()
    };
    assert!(told(&anna).iter().all(|event| event["peer"] == known) && told(&anna).len() >= 3, "{events:?}");
    assert!(told(&ben).iter().all(|event| event["peer"].as_str().unwrap().len() == 32) && told(&ben).len() >= 3);
    assert!(ok(&scene.anna.home, &["peers"]).contains(&ben), "the list itself names it");
    assert!(stderr(&nuncio(&scene.anna.home, &["peers"])).contains(&known));
}

fn opened(scene: &Scene, show: &[&str]) {
    scene.tell("ten apples");
    scene.tell("no pears");
    scene.logged("letter_received", 2);
    scene.logged("letter_sent", 2);
    let inbox = ok(&scene.ben.home, &["--json", "inbox"]);
    let first: Value = serde_json::from_str(inbox.lines().next().unwrap()).unwrap();
    let id = first["id"].as_str().unwrap().to_owned();
    let payload = scene.homes.path("payload");
    std::fs::write(&payload, "ten apples").unwrap();
    let (payload, opening) = (payload.to_str().unwrap(), scene.homes.path("opening"));
    let lines = |home: &Path, more: &[&str]| ok(home, &[&["audit", "open", &id, "--payload", payload], more].concat());
    if !show.is_empty() {
        std::fs::write(&opening, lines(&scene.anna.home, &[])).unwrap();
        let said = fails(&scene.node, &["audit", "opened", opening.to_str().unwrap()], 1);
        assert!(said.contains("--show-pair"), "{said}");
    }
    for (home, more) in [(&scene.anna.home, [].as_slice()), (&scene.ben.home, &["--from", "anna"])] {
        std::fs::write(&opening, lines(home, &[more, show].concat())).unwrap();
        let told = json(&scene.node, &["audit", "opened", opening.to_str().unwrap()]);
        assert_eq!(told["letter"], id);
        assert_eq!(told["authors"][0]["agent"], json(&scene.anna.home, &["id"])["agent"]);
        assert_eq!(told["receivers"][0]["agent"], json(&scene.ben.home, &["id"])["agent"]);
        assert_eq!(told["payload"], data_encoding::BASE64.encode(b"ten apples"));
    }
    // Another payload, a letter of somebody else, a letter that nobody knows.
    std::fs::write(payload, "ten pears").unwrap();
    assert!(fails(&scene.anna.home, &["audit", "open", &id, "--payload", payload], 1).contains("another payload"));
    assert!(fails(&scene.ben.home, &["audit", "open", &id, "--payload", payload], 1).contains("--from"));
    // One that was made up is in no event.
    let text = std::fs::read_to_string(&opening).unwrap();
    let mut made_up: Value = serde_json::from_str(&text).unwrap();
    made_up["commitment_key"] = data_encoding::BASE64URL_NOPAD.encode(&[7; 32]).into();
    std::fs::write(&opening, made_up.to_string()).unwrap();
    let said = fails(&scene.node, &["audit", "opened", opening.to_str().unwrap()], 1);
    assert!(said.contains("no event of the log"), "{said}");
    std::fs::write(&opening, "{}").unwrap();
    fails(&scene.node, &["audit", "opened", opening.to_str().unwrap()], 2);
}

/// A channel that audits: what is said there acts in a transaction, is an event of author and reader, and is opened by either.
#[test]
fn a_letter_to_a_channel_that_audits_is_in_the_log_and_is_opened() {
    let scene = Scene::new();
    let (anna, ben) = (&scene.anna.home, &scene.ben.home);
    let made = json(anna, &["channel", "create", "board", "--audits"]);
    assert_eq!((made["audits"].as_bool(), made["name"].as_str()), (Some(true), Some("board")));
    let channel = made["channel"].as_str().unwrap();
    ok(anna, &["channel", "invite", "board", "ben"]);
    let until = Instant::now() + PATIENCE;
    while !ok(ben, &["channel", "list"]).contains("anna invites into board") {
        assert!(Instant::now() < until, "nobody was invited");
        std::thread::sleep(Duration::from_millis(20));
    }
    ok(ben, &["channel", "join", "board"]);
    // What says for whom it acts, and what does not.
    let begun = json(anna, &["begin", "--principal", "user:anna", "--scope", "read"]);
    let token = scene.homes.path("token");
    std::fs::write(&token, begun["token"].as_str().unwrap()).unwrap();
    let under = ["--under", token.to_str().unwrap(), "--scope", "read", "--bind"];
    let sent = json(anna, &[&["channel", "send", "board", "ten apples"], &under[..]].concat());
    assert_eq!(sent["delivered"], 1, "{sent}");
    let bare = nuncio(anna, &["channel", "send", "board", "no pears"]);
    assert!(!bare.status.success() && stderr(&bare).contains("wants a transaction token"), "{}", stderr(&bare));
    scene.logged("letter_refused", 1);
    let events = scene.logged("letter_received", 1);
    let (author, reader) = (json(anna, &["id"]), json(ben, &["id"]));
    let of = |what: &str, agent: &Value| -> Value {
        let mut found = events.iter().filter(|event| event["what"] == what && event["agent"] == *agent);
        found.next().unwrap_or_else(|| panic!("no {what} in {events:?}")).clone()
    };
    let (told, heard) = (of("letter_sent", &author["agent"]), of("letter_received", &reader["agent"]));
    assert_eq!((told["channel"].as_str(), told["peer"].as_str()), (Some(channel), None));
    assert_eq!((heard["channel"].as_str(), &heard["peer"]), (Some(channel), &author["agent"]));
    assert_eq!((&told["commitment"], &told["transaction"]), (&heard["commitment"], &begun["transaction"]));
    let (payload, opening) = (scene.homes.path("payload"), scene.homes.path("opening"));
    std::fs::write(&payload, "ten apples").unwrap();
    let id = sent["id"].as_str().unwrap();
    for (home, more) in [(anna, [].as_slice()), (ben, &["--from", "anna"])] {
        let open = [&["audit", "open", id, "--payload", payload.to_str().unwrap()], more].concat();
        std::fs::write(&opening, ok(home, &open)).unwrap();
        let told = json(&scene.node, &["audit", "opened", opening.to_str().unwrap()]);
        assert_eq!((told["agreed"].as_bool(), &told["authors"][0]["agent"]), (Some(true), &author["agent"]));
        assert_eq!(told["receivers"][0]["agent"], reader["agent"]);
    }
}

/// Puts an anchor of the log's head into its folder, as though calendars had answered; its size, and the message that is a block's merkle root.
fn anchored(log: &Path, key: &NoteKey) -> (u64, Attested) {
    let note = std::fs::read(log.join("checkpoint")).unwrap();
    let size = Checkpoint::open(&Note::parse(&note).unwrap(), key).unwrap().size;
    let pending = Timestamp::attested(Attestation::Pending("https://one.example".to_owned()));
    let block = Timestamp::path([Operation::Sha256], Timestamp::attested(Attestation::Bitcoin(970_000)));
    let stamp = Detached::of_answers(sha256(&[&note]), [3; 16], vec![pending, block]).unwrap();
    std::fs::create_dir_all(log.join("anchor")).unwrap();
    std::fs::write(log.join(format!("anchor/{size}")), &note).unwrap();
    std::fs::write(log.join(format!("anchor/{size}.ots")), stamp.to_bytes()).unwrap();
    std::fs::write(log.join("anchor/newest"), format!("{size}\n")).unwrap();
    (size, stamp.attested().into_iter().find(|attested| attested.block().is_some()).unwrap())
}

/// contracts/log.md G22, G24.
#[test]
fn what_was_anchored_is_told_and_never_called_proven() {
    let scene = Scene::new();
    scene.tell("one");
    scene.logged("letter_received", 1);
    let key = NoteKey::parse(std::fs::read_to_string(scene.node.join("log.pub")).unwrap().trim()).unwrap();
    assert_eq!(json(&scene.node, &["audit", "verify"])["anchor"], Value::Null);
    let (size, block) = anchored(&scene.node.join("log"), &key);
    let (height, root) = block.block().unwrap();
    // In its folder, and over HTTP.
    let url = format!("http://{}/log/", scene._running.ready["tcp"].as_str().unwrap());
    for (home, place) in [(&scene.node, &[][..]), (&scene.ben.home, &["--log", &url])] {
        let words = [&["audit"], place, &["verify"]].concat();
        let told = json(home, &words)["anchor"].clone();
        assert_eq!((&told["size"], &told["pending"]), (&size.into(), &serde_json::json!(["https://one.example"])));
        assert_eq!(told["blocks"], serde_json::json!([{ "height": height, "merkle_root": root }]));
        assert_eq!(told["blocks_checked"], false);
        let said = nuncio(home, &words);
        let lines = String::from_utf8(said.stdout.clone()).unwrap();
        assert!(lines.contains(&format!("block 970000, not checked here: its merkle root must be {root}")), "{lines}");
        assert!(lines.contains(&format!("first {size} entries")) && lines.contains("pending at https://one.example"));
        assert!(stderr(&said).contains(&format!("ots verify anchor/{size}.ots")), "{}", stderr(&said));
    }
    // What is no anchor of this log fails, by its name, in its folder and over HTTP.
    let log = scene.node.join("log/anchor");
    let (note, stamp) = (log.join(size.to_string()), log.join(format!("{size}.ots")));
    let whole = std::fs::read(&stamp).unwrap();
    let rewritten = Checkpoint { origin: key.name().to_owned(), size, root: [7; 32] };
    let foreign = rewritten.sign(&key, &SigningKey::from_seed(&[9; 32])).unwrap().to_string();
    let own = std::fs::read(&note).unwrap();
    for (path, bytes, why) in [
        (&stamp, &whole[..whole.len() - 1], "not a timestamp"),
        (&stamp, &[&whole[..33], &[0; 32], &whole[65..]].concat(), "another file"),
        (&note, foreign.as_bytes(), "signature"),
        (&log.join("newest"), b"99999999\n", "anchor/99999999"),
    ] {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, bytes).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for (home, place) in [(&scene.node, &[][..]), (&scene.ben.home, &["--log", &url])] {
            let said = fails(home, &[&["audit"], place, &["verify"]].concat(), 1);
            assert!(said.contains(why) && said.contains("anchor/"), "{name}: {said}");
        }
        std::fs::write(path, before).unwrap();
    }
    assert_eq!(std::fs::read(&note).unwrap(), own);
    ok(&scene.node, &["audit", "verify"]);
}
