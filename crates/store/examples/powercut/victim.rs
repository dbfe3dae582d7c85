//! The writer whose power is cut, as a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nuncio_store::{Durable, Staged, Store, Writer};

use crate::workload::{kek, last_whole_step, step};

/// The first argument of the process.
pub const MODE: &str = "--victim";

/// Steps between two turns of the epoch: a few turns in each run.
const STEPS_PER_TURN: u64 = 1500;

/// What a commit waits for.
#[derive(Clone, Copy, Debug)]
pub enum Sync {
    /// The engine's flush and our own sync.
    Ours,
    /// The engine's flush alone.
    EngineOnly,
}

impl Sync {
    /// From an argument.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "Ours" => Ok(Self::Ours),
            "EngineOnly" => Ok(Self::EngineOnly),
            _ => bail!("not a kind of sync: {text}"),
        }
    }
}

/// Commits steps without end, turns the epoch now and then, and says what is durable. Without our sync no epoch turns: the key file is
/// always synced and would outrun a log that is not, which shows nothing about the log.
pub fn run(home: &Path, sync: Sync) -> Result<()> {
    let store = Arc::new(match sync {
        Sync::Ours => Store::open(home, &kek())?,
        Sync::EngineOnly => Store::open_without_sync(home, &kek())?,
    });
    let first = last_whole_step(&*store).map_err(anyhow::Error::msg)? + 1;
    let say = |word: &str, n: u64| {
        let mut out = std::io::stdout().lock();
        // Nobody listens any more once the round is over.
        let _unheard = writeln!(out, "{word} {n}").and_then(|()| out.flush());
    };
    let promise = move |group: Vec<Durable<u64>>| {
        if let Some(last) = group.into_iter().next_back() {
            say("durable", last.into_inner());
        }
    };
    say("epoch", u64::from(store.epoch()));
    let writer = Writer::spawn(Arc::clone(&store), promise, move |_| say("failed", 0))?;
    for n in first.. {
        writer.submit(Staged { ops: step(n), ticket: n })?;
        if matches!(sync, Sync::Ours) && n.is_multiple_of(STEPS_PER_TURN) {
            store.turn_epoch()?;
            say("epoch", u64::from(store.epoch()));
        }
    }
    Ok(())
}

/// The process, seen from outside.
pub struct Victim {
    process: Child,
    promised: Arc<AtomicU64>,
    epoch: Arc<AtomicU64>,
}

impl Victim {
    /// Starts it on a store that holds so many steps already.
    pub fn start(home: &Path, sync: Sync, promised_before: u64) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(MODE)
            .arg(home)
            .arg(format!("{sync:?}"))
            .stdout(Stdio::piped())
            .spawn()?;
        let promised = Arc::new(AtomicU64::new(promised_before));
        let epoch = Arc::new(AtomicU64::new(0));
        if let Some(out) = process.stdout.take() {
            let (promised, epoch) = (Arc::clone(&promised), Arc::clone(&epoch));
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    match line.split_once(' ').map(|(word, n)| (word, n.parse())) {
                        Some(("durable", Ok(n))) => promised.store(n, Ordering::SeqCst),
                        Some(("epoch", Ok(n))) => epoch.store(n, Ordering::SeqCst),
                        _ => {}
                    }
                }
            });
        }
        Ok(Self { process, promised, epoch })
    }

    /// Waits for a random time.
    pub fn run_for_at_most(&self, ms: u64) -> Result<()> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        sleep(Duration::from_millis(u64::from_be_bytes(random) % ms));
        Ok(())
    }

    /// Stops every thread of it where it is.
    pub fn freeze(&mut self) -> Result<()> {
        let stopped = Command::new("kill").arg("-STOP").arg(self.process.id().to_string()).status()?;
        ensure!(stopped.success(), "cannot stop the writer");
        // What it has said already is read; system calls under way end.
        sleep(Duration::from_millis(30));
        ensure!(self.process.try_wait()?.is_none(), "the writer ended by itself");
        Ok(())
    }

    /// The last step that it was promised, and the epoch (0 when it has not said).
    pub fn promises(&self) -> (u64, u64) {
        (self.promised.load(Ordering::SeqCst), self.epoch.load(Ordering::SeqCst))
    }

    /// Ends it.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ended_already = self.end();
    }
}
