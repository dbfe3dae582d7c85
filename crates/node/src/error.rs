//! Why a node does not start, or stops.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nuncio_proto::identity::IdentityError;
use nuncio_proto::ids::IdError;
use nuncio_store::StoreError;
use nuncio_transport::{TransportError, WebTlsError};

use crate::ledger::Unwritten;
use crate::log::LogError;

/// What went wrong. Requests that are refused are no errors of the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The QUIC socket.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The home holds an agent, or nothing of a node.
    #[error("{0} is no home of a node: `nuncio node init` makes one")]
    NoNode(PathBuf),
    /// A record of the home is not as it was written.
    #[error("the record of {0} in the store is damaged")]
    Record(&'static str),
    /// No keys were made yet.
    #[error("the node has no keys yet: they are made when it first runs")]
    NeverRan,
    /// The log.
    #[error("the audit log: {0}")]
    Log(#[from] LogError),
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity cannot be made.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The operating system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// A key cannot be made or used.
    #[error("a key of {0} cannot be made or used")]
    Key(&'static str),
    /// The policy file.
    #[error("policy {path}: {why}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TCP without TLS beyond this machine.
    #[error(
        "{0} is reached from beyond this machine: give a certificate (--tls-cert, --tls-key), or listen on a loopback address"
    )]
    PlainTcp(SocketAddr),
    /// The certificate or its key.
    #[error("TLS: {0}")]
    Tls(#[from] WebTlsError),
    /// Neither TCP nor QUIC.
    #[error("a node without an address serves nobody: give --listen, --quic or both")]
    Deaf,
    /// There is no TCP, over which browsers come.
    #[error("browsers come over TCP, and this node serves none: start it without --no-tcp")]
    NoPage,
    /// A file or socket.
    #[error("cannot {action} {what}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The next key has not been published long enough.
    #[error(
        "the next key was published {published_s} s ago and signs after {lead_s} s at the earliest, so that everybody knows it: wait, or force it"
    )]
    TooEarly {
        /// How long it has been published.
        published_s: u64,
        /// How long it has to be.
        lead_s: u64,
    },
}

impl From<Unwritten> for NodeError {
    fn from(_: Unwritten) -> Self {
        StoreError::Stopped.into()
    }
}

impl NodeError {
    pub(crate) fn io(action: &'static str, what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { action, what, source }
    }

    pub(crate) fn policy(path: &Path, why: impl ToString) -> Self {
        Self::Policy { path: path.to_owned(), why: why.to_string() }
    }
}
