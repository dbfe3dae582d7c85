//! The log's process is killed, or its disk is full, at one system call after the other of appending, signing and publishing: nothing that was
//! acknowledged is lost, and no two heads of one size are signed. `strace` makes the faults.
//!
//! The test starts its own binary as the victim. `NUNCIO_FAULTS=all` tries every call; without it some of each kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nuncio_contracts::registry::event;
use nuncio_node::log::{Answer, Events, Files, Log, verify};
use nuncio_proto::audit::{Chain, Event, SignedEvent, What};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{Checkpoint, KeyKind, Note, NoteKey};
use nuncio_store::testing::copy_dir;
use nuncio_store::{Kek, Store};

const HOME: &str = "NUNCIO_LOG_FAULTS_HOME";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// Entries before the victim, and of each of its batches: two bundles fill.
const BEFORE: usize = 200;
const BATCH: usize = 90;
const BATCHES: usize = 4;
/// Calls of each kind that are tried, unless all are.
const TRIED: usize = 5;
/// What writes, syncs, names or frees.
const CALLS: [&str; 8] = ["pwrite64", "write", "fdatasync", "fsync", "openat", "rename", "unlink", "mkdir"];

struct Scene {
    events: Events,
    teller: SigningKey,
    agent: AgentId,
}

impl Scene {
    fn open(home: &Path) -> Result<Self, String> {
        let kek = Kek::from_key(Key::new([7; 32]));
        let store = home.join("store");
        let store = if store.exists() { Store::open(&store, &kek) } else { Store::create(&store, &kek) };
        let log = Log::open(Arc::new(store.map_err(text)?), &home.join("log"), key(), signer()).map_err(text)?;
        let teller = SigningKey::from_seed(&[3; 32]);
        let agent = AgentId::from_bytes(teller.public()).map_err(text)?;
        Ok(Self { events: Events::open(log).map_err(text)?, teller, agent })
    }

    fn take(&mut self, count: usize) -> Result<(), String> {
        let mut chain: Chain = self.events.chain(&self.agent);
        let mut told = Vec::new();
        for _ in 0..count {
            let mut event = Event::new(self.agent, NOW, What::of(event::HEARTBEAT).unwrap());
            chain.number(&mut event, NOW.0);
            let signed = SignedEvent::sign(event, &self.teller).unwrap();
            chain.follow(&signed);
            told.push(signed);
        }
        let answers = self.events.take(&told, NOW).map_err(text)?;
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Logged(_))), "{answers:?}");
        Ok(())
    }

    fn signed(&self) -> Checkpoint {
        open(self.events.log().view().signed().unwrap())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[200; 32])
}

fn key() -> NoteKey {
    NoteKey::new("log.example", KeyKind::Ed25519, signer().public()).unwrap()
}

fn open(note: &Note) -> Checkpoint {
    Checkpoint::open(note, &key()).unwrap()
}

/// Says on one line what it has promised.
fn say(what: &str, head: &Checkpoint) -> Result<(), String> {
    let root = data_encoding::HEXLOWER.encode(&head.root);
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what} {} {root}", head.size).and_then(|()| out.flush()).map_err(text)
}

#[test]
#[ignore = "started by the test below"]
fn victim() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let promise = || -> Result<(), String> {
        let mut scene = Scene::open(Path::new(&home))?;
        for _ in 0..BATCHES {
            scene.take(BATCH)?;
            say("logged", &scene.signed())?;
            let published = scene.events.log_mut().publish().map_err(text)?;
            say("published", &published)?;
        }
        Ok(())
    };
    // Without unwinding: what is told is over.
    if let Err(error) = promise() {
        eprintln!("{error}");
        std::process::exit(3);
    }
}

/// Runs the victim under `strace`; what it promised, and how often the busiest of its threads made each call.
fn run(home: &Path, inject: Option<&str>) -> (Vec<(u64, String)>, BTreeMap<String, usize>) {
    let trace = home.join("trace");
    let calls = CALLS.map(|call| format!("?{call}")).join(",");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&trace).arg("-e").arg(format!("trace={calls}"));
    if let Some(inject) = inject {
        strace.args(["-e", inject]);
    }
    let victim = ["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"];
    strace.arg(std::env::current_exe().unwrap()).args(victim).env(HOME, home).env("RUST_BACKTRACE", "0");
    let output = strace.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let promised = said.lines().filter_map(|line| {
        let mut words = line.split(' ');
        words.next().filter(|what| ["logged", "published"].contains(what))?;
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    });
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace).unwrap_or_default().lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start().split('(').next().unwrap_or_default();
        if CALLS.contains(&call) {
            *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for ((call, _), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    (promised.collect(), most)
}

/// What was promised holds; the log goes on, and all of it verifies.
fn check(home: &Path, promised: &[(u64, String)], what: &str) {
    let mut scene = Scene::open(home).unwrap_or_else(|error| panic!("{what}: {error}"));
    let view = Arc::clone(scene.events.log().view());
    let root = |size| data_encoding::HEXLOWER.encode(&view.root_at(size).unwrap());
    for (size, promised) in promised {
        assert!(*size <= view.size(), "{what}: {size} entries were promised, {} are there", view.size());
        assert_eq!(&root(*size), promised, "{what}: two heads of {size} entries");
    }
    // What stands in the folder for everybody to see was a head of this very log.
    let read = Files::folder(&home.join("log")).checkpoint(&key());
    let (_, head) = read.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(root(head.size), data_encoding::HEXLOWER.encode(&head.root), "{what}");
    let size = view.size() + 1;
    scene.take(1).unwrap();
    scene.events.log_mut().publish().unwrap();
    let verdict = verify(&home.join("log"), &key(), |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(verdict.head.size, size, "{what}");
}

fn not_run(reason: &str) {
    let line = format!("log_faults (crates/node): {reason}");
    eprintln!("NOT RUN: {line}");
    if let Some(path) = std::env::var_os("NUNCIO_NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

#[test]
fn no_fault_at_any_call_breaks_a_promise_of_the_log() {
    let Ok(probe) = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status() else {
        return not_run("strace is missing: install it (Debian: strace)");
    };
    if !probe.success() {
        return not_run("forbidden: strace may not trace here");
    }
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    std::fs::create_dir(&template).unwrap();
    let mut scene = Scene::open(&template).unwrap();
    scene.take(BEFORE).unwrap();
    scene.events.log_mut().publish().unwrap();
    drop(scene);
    let fresh = |name: &str| -> PathBuf {
        let home = dir.path().join(name);
        copy_dir(&template, &home).unwrap();
        home
    };
    let whole = fresh("whole");
    let (promised, counts) = run(&whole, None);
    assert_eq!(promised.len(), 2 * BATCHES, "without a fault all is done");
    check(&whole, &promised, "no fault");
    let all = std::env::var("NUNCIO_FAULTS").is_ok_and(|faults| faults == "all");
    let (mut faults, mut cut) = (0, 0);
    for (call, count) in &counts {
        let step = if all { 1 } else { count.div_ceil(TRIED) };
        for fault in ["signal=KILL", "error=ENOSPC"] {
            for when in (1..=*count).step_by(step) {
                let inject = format!("inject={call}:{fault}:when={when}");
                let home = fresh("victim");
                let (promised, _) = run(&home, Some(&inject));
                check(&home, &promised, &inject);
                std::fs::remove_dir_all(home).unwrap();
                faults += 1;
                cut += usize::from(promised.len() < 2 * BATCHES);
            }
        }
    }
    println!("{faults} faults, {cut} of them cut the victim short; calls: {counts:?}");
    assert!(cut >= faults / 3, "{cut} of {faults} faults were noticed");
}
