//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Every way in which the store says no.
///
/// The first error of a commit is final for the engine that gave it: it refuses everything from then on, and a new start recovers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process (or another `Store` of this one) has the home open.
    #[error("{home} is in use by {}; stop that one first", holder(*.pid))]
    Locked {
        /// The home directory.
        home: PathBuf,
        /// The holder's process id, when it has written one.
        pid: Option<u32>,
    },
    /// There is nothing here to open.
    #[error("there is no store in {0}; create one first")]
    Missing(PathBuf),
    /// There is something here already; nothing is overwritten.
    #[error("there is a store in {0} already; open it, or choose another place")]
    Exists(PathBuf),
    /// The device has no room. Nothing acknowledged is lost.
    #[error("the disk that holds {0} is full; free some space and start again, nothing acknowledged is lost")]
    DiskFull(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine failed in a way that is neither a full disk nor a plain file error.
    #[error("the storage engine in {path} failed: {source}; restore the newest backup if a new start does not help")]
    Engine {
        /// The engine's directory.
        path: PathBuf,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier error has stopped this engine.
    #[error("the store has stopped after an earlier error; open it again")]
    Poisoned,
    /// The writer has stopped: closed, or after its first failed commit, which `on_fail` was told.
    #[error("the writer has stopped")]
    Stopped,
    /// The request is not one that the store takes; nothing was written.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// A row cannot be opened. It is left as it is.
    #[error("row {key} {fault}; restore the newest backup")]
    Row {
        /// The row's key in hexadecimal.
        key: String,
        /// What is wrong with it.
        fault: RowFault,
    },
    /// Something was written by a newer version of this program.
    #[error("{what} has version {found}, this program knows up to {known}; use the newer program")]
    Newer {
        /// Which part; a row by its key in hexadecimal.
        what: String,
        /// The version found.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// The epoch-key file does not open.
    #[error("key file {path}: {fault}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: KeyFault,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(getrandom::Error),
}

/// A write that the store does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Keys begin with the byte of their tree.
    #[error("an empty key names no tree")]
    EmptyKey,
    /// The key is longer than [`crate::MAX_KEY_LEN`].
    #[error("a key of {len} bytes is longer than {max}")]
    KeyTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The value is longer than [`crate::MAX_VALUE_LEN`].
    #[error("the value of {key} has {len} bytes, more than {max}; large payloads go in chunks")]
    ValueTooLong {
        /// The key in hexadecimal.
        key: String,
        /// The value's length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Keys that begin with `!` are the store's own.
    #[error("keys that begin with '!' are the store's own")]
    ReservedKey,
}

/// Why a row does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// Shorter than an empty sealed value.
    #[error("is truncated")]
    Truncated,
    /// Altered, moved from another key, or sealed under another key.
    #[error("is corrupt: its seal does not hold")]
    SealBroken,
    /// The key of its epoch is gone.
    #[error("is sealed under epoch {0}, whose key is gone")]
    EpochGone(u32),
    /// The store's own record is not of its form.
    #[error("does not hold what it should")]
    Malformed,
    /// Rows are there, the record that says of which version they are is not.
    #[error("is missing although the store is not empty")]
    Missing,
}

/// Why the epoch-key file does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// None of the recipients opens with the key that was given.
    #[error("the passphrase or key does not open this store (it opens with: {0})")]
    WrongKey(String),
    /// The file is not exactly two slots long.
    #[error("is {0} bytes long instead of 8192; restore it from a backup")]
    WrongLength(u64),
    /// Neither slot has a valid checksum.
    #[error("both slots are damaged; restore it from a backup")]
    BothSlotsDamaged,
    /// The checksum holds, the content is not of its form.
    #[error("is malformed; restore it from a backup")]
    Malformed,
    /// What was written does not read back.
    #[error("what was written does not read back; the device is failing")]
    ReadBack,
    /// As many recipients as a slot holds.
    #[error("has {0} recipients, which is all that it holds; drop one first")]
    TooManyRecipients(usize),
    /// The external key file does not hold 32 bytes.
    #[error("a key file holds exactly 32 bytes")]
    NotAKey,
    /// The external key file is readable by others.
    #[error("others can read it (mode {0:o}); chmod 600 it")]
    OthersCanRead(u32),
    /// Argon2id refused its parameters.
    #[error("the passphrase cost is out of bounds")]
    BadCost,
    /// The epoch number cannot grow any more.
    #[error("has turned 2^32 times")]
    EpochsExhausted,
}

impl StoreError {
    /// A file error, with a full disk told apart from everything else.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::DiskFull(path.to_owned());
        }
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn row(key: &[u8], fault: RowFault) -> Self {
        Self::Row { key: hex(key), fault }
    }

    pub(crate) fn key(path: &Path, fault: KeyFault) -> Self {
        Self::Key { path: path.to_owned(), fault }
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _infallible = write!(out, "{byte:02x}");
    }
    out
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
