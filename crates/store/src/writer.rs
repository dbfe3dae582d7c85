//! The one writer: takes what is staged, commits it in groups, and only then gives the tickets back.
//!
//! Grouping needs no timer. While one commit waits for the device, the next steps queue up; the writer then takes all that wait, up to a
//! bound. A lone step is committed at once.

mod group;
mod stats;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use nuncio_proto::step::Op;

use crate::engine::Engine;
use crate::error::StoreError;
use group::Group;

pub use stats::WriterStats;

/// Steps that may wait for the writer. Memory runs ahead of the disk by at most these and one group.
const QUEUE_LEN: usize = 1024;

/// Writes of one step, and what it is waiting for them to be durable.
#[derive(Debug)]
pub struct Staged<T> {
    /// Committed together, whole or not at all.
    pub ops: Vec<Op>,
    /// Comes back inside a [`Durable`].
    pub ticket: T,
}

/// A value whose writes are on the device. Only the writer makes one.
///
/// ```compile_fail
/// let forged = nuncio_store::Durable(());
/// ```
#[derive(Debug)]
#[must_use = "what was waiting for the disk may be done now"]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// The ticket.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Why [`Writer::try_submit`] gives a step back.
#[derive(Debug)]
pub enum Backlog<T> {
    /// The queue is full; try again when some tickets have come back.
    Full(Staged<T>),
    /// The writer has stopped.
    Stopped(Staged<T>),
}

/// The one who commits to an engine. Dropping it lets the thread finish what is queued; [`Writer::close`] waits for that.
#[derive(Debug)]
pub struct Writer<T> {
    queue: SyncSender<Staged<T>>,
    thread: JoinHandle<Result<(), StoreError>>,
    stats: Arc<WriterStats>,
}

impl<T: Send + 'static> Writer<T> {
    /// Starts the thread.
    ///
    /// `on_durable` gets the tickets of each group, in the order in which they were submitted, on the writer's thread. `on_fail` gets
    /// the first error; after it nothing is committed and no ticket comes back.
    pub fn spawn<E: Engine>(
        engine: E,
        on_durable: impl FnMut(Vec<Durable<T>>) + Send + 'static,
        on_fail: impl FnOnce(StoreError) + Send + 'static,
    ) -> Result<Self, StoreError> {
        Self::spawn_traced(engine, on_durable, on_fail, |_| {})
    }

    /// [`Writer::spawn`], with the very writes of every group shown to `trace` before they are committed: for a bench that replays them.
    /// On disk each value is [`crate::ROW_OVERHEAD`] bytes longer.
    pub fn spawn_traced<E: Engine>(
        engine: E,
        on_durable: impl FnMut(Vec<Durable<T>>) + Send + 'static,
        on_fail: impl FnOnce(StoreError) + Send + 'static,
        trace: impl FnMut(&[Op]) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, waiting) = sync_channel(QUEUE_LEN);
        let stats = Arc::new(WriterStats::default());
        let seen = Arc::clone(&stats);
        let thread = std::thread::Builder::new()
            .name("nuncio-writer".to_owned())
            .spawn(move || {
                let result = run(&engine, &waiting, &seen, on_durable, trace);
                // Refuse what comes before telling why.
                drop(waiting);
                result.map_err(|error| {
                    on_fail(error);
                    StoreError::Stopped
                })
            })
            .map_err(|e| StoreError::io("start", "the writer's thread".as_ref(), e))?;
        Ok(Self { queue, thread, stats })
    }

    /// Hands a step over; waits while the queue is full. [`StoreError::Stopped`] after a failure.
    pub fn submit(&self, staged: Staged<T>) -> Result<(), StoreError> {
        self.queue.send(staged).map_err(|_| StoreError::Stopped)
    }

    /// Hands a step over, or gives it back at once.
    pub fn try_submit(&self, staged: Staged<T>) -> Result<(), Backlog<T>> {
        self.queue.try_send(staged).map_err(|refused| match refused {
            TrySendError::Full(staged) => Backlog::Full(staged),
            TrySendError::Disconnected(staged) => Backlog::Stopped(staged),
        })
    }

    /// What the writer has done so far.
    #[must_use]
    pub fn stats(&self) -> Arc<WriterStats> {
        Arc::clone(&self.stats)
    }

    /// Commits what is queued and ends the thread. [`StoreError::Stopped`] when it had failed.
    pub fn close(self) -> Result<(), StoreError> {
        drop(self.queue);
        self.thread.join().unwrap_or(Err(StoreError::Stopped))
    }
}

fn run<E: Engine, T>(
    engine: &E,
    waiting: &Receiver<Staged<T>>,
    stats: &WriterStats,
    mut on_durable: impl FnMut(Vec<Durable<T>>),
    mut trace: impl FnMut(&[Op]),
) -> Result<(), StoreError> {
    while let Ok(first) = waiting.recv() {
        let (ops, tickets) = Group::gather(first, waiting).into_parts();
        trace(&ops);
        let started = Instant::now();
        engine.commit(&ops)?;
        stats.record(tickets.len(), ops.len(), started.elapsed());
        group::wipe(ops);
        on_durable(tickets.into_iter().map(Durable).collect());
    }
    Ok(())
}
