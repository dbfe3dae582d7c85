//! What the writer has done, for status and bench.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of one writer. They only grow.
#[derive(Debug, Default)]
pub struct WriterStats {
    groups: AtomicU64,
    steps: AtomicU64,
    steps_max: AtomicU64,
    ops: AtomicU64,
    ops_max: AtomicU64,
    commit_ns: AtomicU64,
    commit_ns_max: AtomicU64,
}

impl WriterStats {
    /// Groups committed.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Steps in them.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Steps in the largest group.
    #[must_use]
    pub fn steps_max(&self) -> u64 {
        self.steps_max.load(Ordering::Relaxed)
    }

    /// Writes committed, after those that were superseded within their group are left out.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.ops.load(Ordering::Relaxed)
    }

    /// Writes in the largest group.
    #[must_use]
    pub fn ops_max(&self) -> u64 {
        self.ops_max.load(Ordering::Relaxed)
    }

    /// Time spent in commits.
    #[must_use]
    pub fn commit_time(&self) -> Duration {
        Duration::from_nanos(self.commit_ns.load(Ordering::Relaxed))
    }

    /// The longest commit.
    #[must_use]
    pub fn commit_time_max(&self) -> Duration {
        Duration::from_nanos(self.commit_ns_max.load(Ordering::Relaxed))
    }

    pub(super) fn record(&self, steps: usize, ops: usize, took: Duration) {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let ops = u64::try_from(ops).unwrap_or(u64::MAX);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.steps.fetch_add(steps, Ordering::Relaxed);
        self.steps_max.fetch_max(steps, Ordering::Relaxed);
        self.ops.fetch_add(ops, Ordering::Relaxed);
        self.ops_max.fetch_max(ops, Ordering::Relaxed);
        self.commit_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.commit_ns_max.fetch_max(took_ns, Ordering::Relaxed);
    }
}
