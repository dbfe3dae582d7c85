//! Why a command did not do what it was asked to, what to do about it, and the exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use nuncio_store::{KeyFault, StoreError};

use crate::wire::Problem;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The command line asks for what cannot be.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// The local API said no.
    #[error("{0}")]
    Api(Problem),
    /// The local API did not answer as it should.
    #[error("the agent's local API broke off: {0}")]
    Broken(String),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] nuncio::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] nuncio_node::NodeError),
    /// The store, opened without an agent.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or socket.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The time that was given ran out; nothing is lost.
    #[error("{0}")]
    NotYet(String),
    /// Something that was looked at is not as it should be.
    #[error("{0}")]
    Unsound(String),
    /// Whoever reads our output has had enough.
    #[error("nobody reads the output any more")]
    OutputClosed,
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>, hint: &'static str) -> Self {
        Self::Usage { what: what.into(), hint }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// 1: it failed. 2: the command line is wrong. 3: the time ran out.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Usage { .. } => ExitCode::from(2),
            Self::NotYet(_) => ExitCode::from(3),
            Self::Api(problem) if problem.code == "timed_out" => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }

    /// What to do, where the message does not say it already.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Usage { hint, .. } => Some(hint),
            Self::Store(error)
            | Self::Agent(nuncio::Error::Store(error))
            | Self::Node(nuncio_node::NodeError::Store(error)) => store_hint(error),
            Self::Node(nuncio_node::NodeError::Policy { .. }) => {
                Some("contracts/schema/policy.json says what stands in it; `nuncio node check` looks without starting")
            }
            Self::Agent(nuncio::Error::Transport(_)) => {
                Some("choose another --listen address, or port 0 for a free one")
            }
            Self::Broken(_) => Some("see the agent's log; run the command again when it is up"),
            Self::NotYet(_) => Some("the letter stays in the outbox and goes when the peer can be reached"),
            _ => None,
        }
    }
}

fn store_hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Key { fault: KeyFault::WrongKey(_), .. } => {
            Some("give the right one: --passphrase, --passphrase-fd N, or --key-file PATH")
        }
        StoreError::Row { .. } => Some("`nuncio doctor` opens every row and says which are damaged"),
        StoreError::Missing(_) => Some("`nuncio init` makes a home; --home DIR names another one"),
        StoreError::Io { path, source, .. }
            if source.kind() == std::io::ErrorKind::NotFound && path.ends_with("key") =>
        {
            Some(
                "this home opens with a passphrase or a key file elsewhere: --passphrase, --passphrase-fd N, or --key-file PATH",
            )
        }
        StoreError::Exists(_) => Some("--home DIR names another place"),
        _ => None,
    }
}
