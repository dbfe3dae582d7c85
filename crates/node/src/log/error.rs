//! Why a log does not open, or does not go on.

use std::io;
use std::path::{Path, PathBuf};

use nuncio_proto::tlog::{CheckpointError, NodeError};
use nuncio_store::StoreError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A row of the log is not as it was written.
    #[error("a record of the log in the store is damaged")]
    Row,
    /// A tile is not as it was written.
    #[error("{0} is not as it was written: put it back from a copy, every tile is as it was published")]
    Damaged(String),
    /// The published checkpoint is not this log's.
    #[error("the published checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log has signed more than it has: its disk was rolled back.
    #[error(
        "this log has {size} entries and has signed {signed}: its disk was rolled back. It signs nothing more; put the newest copy back"
    )]
    Behind {
        /// Entries of the newest head that it has signed.
        signed: u64,
        /// Entries that it has.
        size: u64,
    },
    /// A witness says that it has cosigned more than there is.
    #[error(
        "the witness {witness} says that it has cosigned {signed} entries of this log, which has {size}: its disk was rolled back, or the witness is wrong. It signs nothing more; put the newest copy back, or take that [[witness]] out of the policy"
    )]
    BehindWitness {
        /// Its name.
        witness: String,
        /// What it says.
        signed: u64,
        /// Entries that there are.
        size: u64,
    },
    /// The log was rewritten.
    #[error("this log has signed another root for its first {0} entries: it was rewritten. It signs nothing more")]
    Forked(u64),
    /// There is no such entry, or no checkpoint with it yet.
    #[error("there is no entry {0} in the log")]
    Index(u64),
    /// An entry is longer than a bundle can hold.
    #[error("an entry has more than 65535 bytes")]
    Entry,
    /// The node's own event was not taken by its own log.
    #[error("an event of the node itself is not taken: {0}")]
    Own(String),
    /// The operating system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// The log's name cannot stand in a note.
    #[error("the log's name cannot stand in a checkpoint")]
    Name,
}

impl LogError {
    /// Whether it can go on once there is space: nothing has happened, and the same may be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::DiskFull(_)),
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<NodeError<LogError>> for LogError {
    fn from(error: NodeError<LogError>) -> Self {
        match error {
            NodeError::Read(error) => error,
            NodeError::Width(tile) => Self::Damaged(tile.path()),
            _ => Self::Row,
        }
    }
}
