//! The default engine: sled 0.34.7, under the discipline that makes it safe.
//!
//! One tree and `apply_batch`: sled reserves a manifest in its log before the first write of a batch and fills in the batch's last
//! position after it; recovery stops in front of a manifest whose end is not on disk. So a batch is there whole or not at all. What
//! makes it *durable* is in `durable.rs` and, for long values, in `rows` below; what guards opening is in `guard` and in `reserve.rs`.

mod guard;
mod rows;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nuncio_proto::step::Op;

use crate::durable::{Durability, sync_dir};
use crate::engine::{Engine, Visit, admit, key_of};
use crate::error::{RowFault, StoreError, is_full};
use crate::layout::make_private_dir;
use crate::reserve::Reserve;
use crate::rest::ROW_OVERHEAD;
use rows::Head;

/// Pages that sled keeps in memory. An agent of 10,000 sessions of 1 KiB stays within it, and far within 100 MiB resident.
const CACHE_BYTES: u64 = 32 << 20;

/// sled's threads let go of a closed file a little after it is dropped; the home's lock says that nobody else can hold it. One second.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Rows in a directory of sled's.
pub struct SledEngine {
    db: sled::Db,
    dir: PathBuf,
    // Held through a whole commit: there is one writer, and another one waits.
    disk: Mutex<Disk>,
    poisoned: AtomicBool,
}

struct Disk {
    /// `None` only in the power-cut harness, to show what our own sync is for.
    durability: Option<Durability>,
    reserve: Reserve,
}

impl SledEngine {
    /// Opens the engine in a directory, or makes it (mode 0700).
    ///
    /// On a full disk the reserve is given up for the opening; then the engine reads, and refuses commits with
    /// [`StoreError::DiskFull`] until the reserve can be made again.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, true)
    }

    /// For the power-cut harness alone: sled's own flush is all that a commit waits for, and acknowledged commits are lost.
    #[doc(hidden)]
    pub fn open_without_sync(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, false)
    }

    fn open_with(dir: &Path, our_sync: bool) -> Result<Self, StoreError> {
        let is_new = make_private_dir(dir)?;
        guard::clear_broken_snapshots(dir)?;
        let mut reserve = Reserve::find(dir);
        let db = match open_sled(dir) {
            Err(StoreError::DiskFull(_)) => {
                tracing::warn!(dir = %dir.display(), "the disk is full: giving up the reserve to open the store");
                reserve.release()?;
                guard::clear_broken_snapshots(dir)?;
                open_sled(dir)?
            }
            opened => opened?,
        };
        let durability = if our_sync { Some(Durability::open(dir)?) } else { None };
        if is_new && let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        match reserve.hold() {
            Err(StoreError::DiskFull(_)) => {
                tracing::warn!(dir = %dir.display(), "the disk is full: nothing is committed until some space is freed")
            }
            held => held?,
        }
        Ok(Self {
            db,
            dir: dir.to_owned(),
            disk: Mutex::new(Disk { durability, reserve }),
            poisoned: AtomicBool::new(false),
        })
    }

    /// Runs one operation of the engine; its first failure is final.
    fn guarded<R>(&self, operation: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let outcome = caught(&self.dir, operation);
        if outcome.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        outcome
    }

    fn write(&self, ops: &[Op], disk: &Disk) -> Result<(), StoreError> {
        let last_of_each_key: HashMap<&[u8], &Op> = ops.iter().map(|op| (key_of(op), op)).collect();
        let mut batch = sled::Batch::default();
        for (key, op) in last_of_each_key {
            let old_chunks = self.head(key)?.and_then(|head| Some(Head::parse(&head)?.chunks())).unwrap_or(0);
            match op {
                Op::Put { value, .. } => rows::put(&mut batch, key, value, old_chunks),
                Op::Delete { .. } => rows::delete(&mut batch, key, old_chunks),
            }
        }
        self.db.apply_batch(batch).map_err(|e| self.failed(e))?;
        self.db.flush().map_err(|e| self.failed(e))?;
        disk.durability.as_ref().map_or(Ok(()), Durability::sync)
    }

    fn head(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.db.get(rows::row_key(key)).map_err(|e| self.failed(e))
    }

    /// The value of a head, with its chunks. Between two reads a commit could put another value there, so a split row is read with
    /// commits held off.
    fn value(&self, key: &[u8], head: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match Head::parse(head) {
            Some(Head::Whole(value)) => Ok(Some(value.to_vec())),
            Some(Head::Split(_)) => self.split_value(key),
            None => Err(StoreError::row(key, RowFault::Malformed)),
        }
    }

    fn split_value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _commits_held = self.disk();
        let Some(head) = self.guarded(|| self.head(key))? else { return Ok(None) };
        let len = match Head::parse(&head) {
            Some(Head::Whole(value)) => return Ok(Some(value.to_vec())),
            Some(Head::Split(len)) => len,
            None => return Err(StoreError::row(key, RowFault::Malformed)),
        };
        let mut value = Vec::new();
        for no in 0..Head::Split(len).chunks() {
            let chunk = self.guarded(|| self.db.get(rows::chunk_key(key, no)).map_err(|e| self.failed(e)))?;
            value.extend_from_slice(&chunk.ok_or_else(|| StoreError::row(key, RowFault::Truncated))?);
        }
        if value.len() == len { Ok(Some(value)) } else { Err(StoreError::row(key, RowFault::Truncated)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: sled::Error) -> StoreError {
        translate(&self.dir, error)
    }
}

impl Engine for SledEngine {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        admit(ops, ROW_OVERHEAD)?;
        if ops.is_empty() {
            return Ok(());
        }
        let mut disk = self.disk();
        disk.reserve.hold()?;
        self.guarded(|| self.write(ops, &disk))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded(|| self.head(key))?.map_or(Ok(None), |head| self.value(key, &head))
    }

    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut rows = self.db.scan_prefix(rows::row_key(prefix));
        while let Some((row_key, head)) = self.guarded(|| rows.next().transpose().map_err(|e| self.failed(e)))? {
            let key = rows::key_of_row(&row_key);
            if let Some(value) = self.value(key, &head)? {
                each(key, &value)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledEngine").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    for _ in 1..LOCK_TRIES {
        match caught(dir, || config.open().map_err(|e| translate(dir, e))) {
            Err(StoreError::Engine { source, .. }) if source.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
    caught(dir, || config.open().map_err(|e| translate(dir, e)))
}

/// sled asserts where it meets a file that it does not expect; here that is an error like any other.
fn caught<R>(dir: &Path, operation: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    // What the panic may have left half done is never looked at again: an engine that failed is not used any more.
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a failed assertion");
        Err(StoreError::Engine { path: dir.to_owned(), source: said.into() })
    })
}

fn translate(dir: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(e) if is_full(&e) => StoreError::DiskFull(dir.to_owned()),
        sled::Error::Io(e) if e.kind() != io::ErrorKind::Other => {
            StoreError::Io { action: "use the files in", path: dir.to_owned(), source: e }
        }
        other => StoreError::Engine { path: dir.to_owned(), source: Box::new(other) },
    }
}
