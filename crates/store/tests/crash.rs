//! `kill -9` at random moments of a writer under load: everything acknowledged is there, and every step whole.
//!
//! The test starts its own binary as the victim.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "support/workload.rs"]
mod workload;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nuncio_store::{Durable, Staged, Store, Writer};
use workload::{kek, last_whole_step, step};

const KILLS: u32 = 10;
const HOME: &str = "NUNCIO_CRASH_TEST_HOME";

/// The victim: commits steps without end, and says which are durable.
#[test]
#[ignore = "started by the test below"]
fn victim() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let store = Arc::new(Store::open(Path::new(&home), &kek()).unwrap());
    let first = last_whole_step(&store).unwrap() + 1;
    let acknowledge = |group: Vec<Durable<u64>>| {
        let last = group.into_iter().next_back().unwrap().into_inner();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\ndurable {last}").and_then(|()| out.flush()).unwrap();
    };
    let writer = Writer::spawn(store, acknowledge, |e| panic!("{e}")).unwrap();
    for n in first.. {
        writer.submit(Staged { ops: step(n), ticket: n }).unwrap();
    }
}

fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % bound
}

/// The last step that the victim acknowledged before it was killed.
fn run_and_kill(home: &Path) -> u64 {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"])
        .env(HOME, home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut read_one = || {
        let line = lines.next()?.ok()?;
        Some(line.strip_prefix("durable ").and_then(|n| n.parse().ok()).unwrap_or(0))
    };
    while acknowledged == 0 {
        acknowledged = read_one().expect("the victim ended by itself");
    }
    std::thread::scope(|scope| {
        let rest = scope.spawn(|| std::iter::from_fn(read_one).max().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(random_below(150)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        acknowledged.max(rest.join().unwrap())
    })
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9_and_every_step_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    drop(Store::create(&home, &kek()).unwrap());
    let mut before = 0;
    for kill in 0..KILLS {
        let acknowledged = run_and_kill(&home);
        assert!(acknowledged > before, "the victim got on");
        let found = last_whole_step(&Store::open(&home, &kek()).unwrap()).unwrap();
        assert!(found >= acknowledged, "kill {kill}: {acknowledged} was acknowledged, {found} is the last one there");
        before = found;
    }
}
