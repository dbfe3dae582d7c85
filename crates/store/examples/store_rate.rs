//! Durable records a second: 1, 8 and 64 writers that each wait for their record, and one that does not wait.
//!
//! Beside each figure: the engine alone (no sealing, no threads), committing groups of the same average size one after another.
#![expect(clippy::print_stdout, reason = "a command")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use nuncio_proto::secret::Key;
use nuncio_store::{Durable, Engine, Kek, Op, ROW_OVERHEAD, SledEngine, Staged, Store, Writer};

const RECORD_BYTES: usize = 400;
const RECORDS: u64 = 10_000;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    println!("writers     records/s   group   commit µs   engine alone   ratio");
    for writers in [1, 8, 64] {
        let dir = tempfile::tempdir()?;
        let ours = waiting(&dir.path().join("ours"), writers)?;
        report(&writers.to_string(), &ours, engine_alone(&dir.path().join("alone"), ours.group)?);
    }
    let dir = tempfile::tempdir()?;
    let ours = pipelined(&dir.path().join("ours"))?;
    report("pipelined", &ours, engine_alone(&dir.path().join("alone"), ours.group)?);
    Ok(())
}

struct Rate {
    per_second: u64,
    group: u64,
    commit_us: u128,
}

fn report(name: &str, ours: &Rate, alone: u64) {
    let percent = ours.per_second * 100 / alone.max(1);
    println!(
        "{name:<9} {:>11} {:>7} {:>11} {alone:>14} {:>5}.{:02}",
        ours.per_second,
        ours.group,
        ours.commit_us,
        percent / 100,
        percent % 100
    );
}

/// Never the same value twice: sled skips a write that changes nothing.
fn record(n: u64, len: usize) -> Op {
    let mut value = vec![0x5A; len];
    value.splice(..8, n.to_be_bytes());
    Op::Put { key: [b"r", (n % RECORDS).to_be_bytes().as_slice()].concat(), value }
}

fn open(home: &Path) -> Result<Arc<Store>> {
    Ok(Arc::new(Store::create(home, &Kek::from_key(Key::new([1; 32])))?))
}

/// Each ticket is the channel of the writer that waits for it.
fn waiting(home: &Path, writers: u64) -> Result<Rate> {
    let answer = |group: Vec<Durable<SyncSender<()>>>| {
        for ticket in group {
            let _left = ticket.into_inner().send(());
        }
    };
    let writer = Writer::spawn(open(home)?, answer, |_| {})?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for id in 0..writers {
            let writer = &writer;
            scope.spawn(move || {
                let (ticket, durable) = sync_channel(1);
                for n in 0.. {
                    let staged = Staged { ops: vec![record(id + n * writers, RECORD_BYTES)], ticket: ticket.clone() };
                    if started.elapsed() > RUN || writer.submit(staged).is_err() || durable.recv().is_err() {
                        break;
                    }
                }
            });
        }
    });
    finish(writer, started)
}

fn pipelined(home: &Path) -> Result<Rate> {
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let counted = move |group: Vec<Durable<()>>| {
        count.fetch_add(u64::try_from(group.len()).unwrap_or(0), Ordering::Relaxed);
    };
    let writer = Writer::spawn(open(home)?, counted, |_| {})?;
    let started = Instant::now();
    for n in 0.. {
        if started.elapsed() > RUN {
            break;
        }
        writer.submit(Staged { ops: vec![record(n, RECORD_BYTES)], ticket: () })?;
    }
    finish(writer, started)
}

fn finish<T: Send + 'static>(writer: Writer<T>, started: Instant) -> Result<Rate> {
    let stats = writer.stats();
    writer.close()?;
    let groups = stats.groups().max(1);
    Ok(Rate {
        per_second: per_second(stats.steps(), started.elapsed()),
        group: (stats.steps() / groups).max(1),
        commit_us: stats.commit_time().as_micros() / u128::from(groups),
    })
}

fn engine_alone(dir: &Path, group: u64) -> Result<u64> {
    let engine = SledEngine::open(dir)?;
    let started = Instant::now();
    let mut n = 0;
    while started.elapsed() < RUN {
        let ops: Vec<_> = (n..n + group).map(|n| record(n, RECORD_BYTES + ROW_OVERHEAD)).collect();
        engine.commit(&ops)?;
        n += group;
    }
    Ok(per_second(n, started.elapsed()))
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000 / elapsed.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}
