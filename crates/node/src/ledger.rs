//! What must be on the device before an answer leaves.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::limit;
use nuncio_store::{Backlog, Durable, Engine, Op, RowFault, Staged, Store, StoreError, Writer, WriterStats};
use tokio::sync::oneshot;

use crate::audit::Record;
use crate::entropy;
use crate::error::NodeError;
use crate::rows;

type Ticket = oneshot::Sender<()>;

/// The one way to the store. Commits are grouped by the store's writer: a request waits for one sync, not for one of its own.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// `None` once it is closed.
    writer: RwLock<Option<Writer<Ticket>>>,
    stats: Arc<WriterStats>,
    /// Counts records, so that those of one millisecond are in their order (RFC 9562 section 6.2).
    order: AtomicU16,
    /// Records that wait for the audit log.
    waiting: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

/// Nothing is written any more, or too much waits to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten;

impl Ledger {
    /// Takes the store over. `each` sees all records that are there: with one that it could not see, ids would serve a second time
    /// (contracts/txts.md N30).
    pub(crate) fn open(store: Arc<Store>, mut each: impl FnMut(Record)) -> Result<Self, NodeError> {
        let mut waiting = 0;
        store.scan(&[rows::USED], &mut |key, value| {
            let unreadable = |_| StoreError::Row { key: HEXLOWER.encode(key), fault: RowFault::Malformed };
            Record::read_used(value).map(&mut each).map_err(unreadable)
        })?;
        store.scan(&[rows::RECORDS], &mut |key, value| {
            waiting += 1;
            let unreadable = |_| StoreError::Row { key: HEXLOWER.encode(key), fault: RowFault::Malformed };
            Record::read(value).map(&mut each).map_err(unreadable)
        })?;
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let writer = Writer::spawn(store, answer, move |error| {
            flag.store(true, Ordering::Release);
            tracing::error!(%error, "the store cannot be written: no token is issued until the node is started again");
        })?;
        let stats = writer.stats();
        let ledger = Self {
            writer: RwLock::new(Some(writer)),
            stats,
            order: AtomicU16::new(0),
            waiting: Arc::default(),
            failed,
        };
        ledger.count(waiting);
        Ok(ledger)
    }

    /// Keeps a record and what goes with it. Returns when they are on the device (contracts/txts.md N30).
    pub(crate) async fn keep(&self, record: Record, mut ops: Vec<Op>) -> Result<(), Unwritten> {
        let mut random: [u8; 10] = entropy::random().map_err(|_| Unwritten)?;
        [random[0], random[1]] = self.order.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        ops.push(record.put(random));
        self.write(ops).await?;
        self.count(1);
        Ok(())
    }

    /// Writes rows that are no record.
    pub(crate) async fn write(&self, ops: Vec<Op>) -> Result<(), Unwritten> {
        self.begin(ops)?.await.map_err(|_| Unwritten)
    }

    /// Hands rows over that are no record. They are durable when the answer comes, each after all that were handed over before it; none comes
    /// where they cannot be written.
    pub(crate) fn begin(&self, ops: Vec<Op>) -> Result<oneshot::Receiver<()>, Unwritten> {
        let (ticket, durable) = oneshot::channel();
        self.submit(Staged { ops, ticket })?;
        Ok(durable)
    }

    fn submit(&self, staged: Staged<Ticket>) -> Result<(), Unwritten> {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        let submitted = writer.as_ref().ok_or(Unwritten)?.try_submit(staged);
        submitted.map_err(|backlog| {
            if matches!(backlog, Backlog::Full(_)) {
                tracing::warn!("the disk does not keep up: a request is refused");
            }
            Unwritten
        })
    }

    /// Whether it can be written.
    pub(crate) fn is_sound(&self) -> bool {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        writer.is_some() && !self.failed.load(Ordering::Acquire)
    }

    /// Records that wait for the audit log.
    pub(crate) const fn waiting(&self) -> &Arc<AtomicU64> {
        &self.waiting
    }

    /// What the writer has done since the start.
    pub(crate) fn stats(&self) -> Arc<WriterStats> {
        Arc::clone(&self.stats)
    }

    /// Writes what is under way, and lets the home go.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let writer = self.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        writer.map_or(Ok(()), Writer::close)
    }

    /// Nothing is dropped, so its owner is told each time that so many more wait.
    fn count(&self, more: u64) {
        let before = self.waiting.fetch_add(more, Ordering::Relaxed);
        let now = before.saturating_add(more);
        if before / limit::AUDIT_WARN_EVERY < now / limit::AUDIT_WARN_EVERY {
            tracing::warn!(
                records = now,
                "audit records wait in the node's store for an audit log that takes them; none is dropped"
            );
        }
    }
}

fn answer(durable: Vec<Durable<Ticket>>) {
    for ticket in durable {
        // Whoever asked may have gone; the record stays.
        let _ = ticket.into_inner().send(());
    }
}

/// All records of a home, for those who look at it while no node runs.
#[cfg(test)]
pub(crate) fn records(home: &std::path::Path, kek: &nuncio_store::Kek) -> Result<Vec<Record>, NodeError> {
    let (store, _) = crate::home::open(home, kek)?;
    let mut records = Vec::new();
    Ledger::open(Arc::new(store), |record| records.push(record))?.close()?;
    Ok(records)
}
