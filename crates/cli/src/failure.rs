//! Why a command did not do what it was asked to, what to do about it, and the exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use nuncio_bridge::{BridgeError, ConfigError, GatewayError, NotFound};
use nuncio_node::NodeError;
use nuncio_store::{KeyFault, StoreError};

use crate::client::REACH_NODE;
use crate::local_api;
use crate::wire::Problem;

mod hints;

pub(crate) use hints::hint_for_letter;
use hints::{hint_for, node_hint_for};

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
    #[error("there is no whole answer: {0}")]
    Broken(String),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] nuncio::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An audit log that is not as it must be, or cannot be read.
    #[error("{0}")]
    Log(#[from] nuncio_node::log::Wrong),
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
    /// A signal ended it in the middle.
    #[error("ended in the middle, by {0}")]
    Interrupted(&'static str),
    /// The agent that was asked is there no more.
    #[error("the agent has stopped: nobody answers at {}", .0.display())]
    Gone(PathBuf),
    /// A home's `nuncio.toml`.
    #[error("{}: {what}", .path.display())]
    Settings {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A home's `services.toml` or `connections.toml`.
    #[error(transparent)]
    Services(#[from] ConfigError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A program or address that was to be offered.
    #[error("{name}: {why}")]
    Service {
        /// Under which name.
        name: String,
        /// Why it is not.
        why: String,
    },
    /// What was asked needs an agent that runs.
    #[error("no agent runs on this home: {0}")]
    NoAgent(String),
    /// A service of another agent that was asked and never heard.
    #[error("{0}: nothing has come of it; what was asked was answered with an error")]
    Unheard(String),
    /// The time that was given ran out; nothing is lost.
    #[error("{0}")]
    NotYet(String),
    /// A letter of ours failed.
    #[error("{reason}")]
    NotDelivered {
        /// Why, for people.
        reason: String,
        /// Why, by the name of the registry's code.
        code: Option<String>,
    },
    /// Something that was looked at is not as it should be.
    #[error("{0}")]
    Unsound(String),
    /// A log's head that too few witnesses have cosigned.
    #[error("too few witnesses have cosigned the log's head: {missing} have not")]
    NoQuorum {
        /// Those that count and are missing.
        missing: String,
    },
    /// A person was asked and did not say yes.
    #[error("nothing was done: the answer was not yes")]
    Declined,
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

    /// 1: it failed. 2: what it was given is wrong. 3: the time ran out. The kind alone decides (docs/OPERATING.md).
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind() {
            "output_closed" => ExitCode::SUCCESS,
            "usage" | "bad_request" | "name" | "no_such_peer" | "no_such_letter" | "no_such_entry"
            | "no_such_channel" | "no_such_connection" | "no_such_knock" | "no_such_line" | "no_such_permit"
            | "several_channels" | "connected" => ExitCode::from(2),
            "not_yet" | "timed_out" => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }

    /// A fixed word for programs: the local API's where that said no.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Api(problem) => &problem.code,
            Self::Broken(_) => "broken_off",
            Self::Interrupted(_) => "interrupted",
            Self::Agent(nuncio::Error::Store(error)) | Self::Store(error) => store_kind(error),
            Self::Agent(nuncio::Error::Load(_)) => "damaged",
            Self::Agent(nuncio::Error::Transport(_)) => "address",
            Self::Agent(nuncio::Error::NoHome(_)) => "no_home",
            Self::Agent(nuncio::Error::NodeHome(_)) => "node_home",
            Self::Agent(error) => local_api::code(error),
            Self::Node(NodeError::Store(error)) => store_kind(error),
            Self::Node(NodeError::Policy { .. }) => "policy",
            Self::Node(NodeError::Deaf | NodeError::PlainTcp(_)) => "usage",
            Self::Node(NodeError::NoNode(_)) => "no_home",
            Self::Node(NodeError::Transport(_) | NodeError::Io { action: "listen on", .. }) => "address",
            Self::Node(NodeError::Io { .. }) => "file",
            Self::Node(_) => "failed",
            Self::Log(nuncio_node::log::Wrong::Io { .. }) => "log_unreadable",
            Self::Log(nuncio_node::log::Wrong::Index(..)) => "no_such_entry",
            Self::Log(_) => "log_wrong",
            Self::Settings { .. } => "settings",
            Self::Gone(_) => "stopped",
            Self::Services(ConfigError::OtherKind(..)) => "name",
            Self::Services(_) => "services",
            Self::Gateway(GatewayError::Listen(..)) => "gateway_address",
            Self::Gateway(_) => "gateway",
            Self::Service { .. } => "service",
            Self::NoAgent(_) => "no_agent",
            Self::Unheard(_) => "unheard",
            Self::Io { .. } => "file",
            Self::NotYet(_) => "not_yet",
            Self::NotDelivered { .. } => "not_delivered",
            Self::Unsound(_) => "unsound",
            Self::NoQuorum { .. } => "no_quorum",
            Self::Declined => "declined",
            Self::OutputClosed => "output_closed",
        }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Usage { hint, .. } => hint,
            Self::Gateway(GatewayError::Config(ConfigError::File { source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "write it: `nuncio gateway --help` shows one; --config names another place"
            }
            Self::Services(ConfigError::OtherKind(..)) => {
                "`nuncio withdraw` it first, and with it who may use it; or give another name"
            }
            Self::NotDelivered { code: Some(code), .. } | Self::Api(Problem { letter_code: Some(code), .. }) => {
                hint_for_letter(code)
            }
            other => hint_for(other.kind()),
        }
    }

    /// What to do when it was asked of a node: what helps an agent may not be there.
    pub(crate) fn hint_at_node(&self) -> &'static str {
        match self {
            Self::Usage { hint, .. } => hint,
            Self::Io { action: REACH_NODE, .. } => "the node that runs is asked: start it with `nuncio node run`",
            Self::Node(NodeError::TooEarly { .. }) => "wait, or `nuncio node keys rotate --force`",
            Self::Node(NodeError::NeverRan) => "`nuncio node run` makes the first keys",
            other => node_hint_for(other.kind()),
        }
    }
}

impl From<BridgeError> for Failure {
    fn from(error: BridgeError) -> Self {
        match error {
            BridgeError::Config(error) => Self::Services(error),
            BridgeError::Agent(error) => Self::Agent(error),
            other => Self::Unsound(other.to_string()),
        }
    }
}

impl Failure {
    /// A service that is not offered.
    pub(crate) fn not_found(name: &str, error: NotFound) -> Self {
        match error {
            NotFound::Config(error) => Self::Services(error),
            other => Self::Service { name: name.to_owned(), why: other.to_string() },
        }
    }
}

fn store_kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Key { fault: KeyFault::WrongKey(_), .. } => "wrong_key",
        StoreError::Key { .. } => "key_file",
        StoreError::Row { .. } => "damaged",
        StoreError::Missing(_) => "no_home",
        StoreError::Exists(_) => "exists",
        StoreError::Locked { .. } => "in_use",
        StoreError::Newer { .. } => "newer",
        StoreError::DiskFull(_) => "disk_full",
        StoreError::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound && path.ends_with("key") => {
            "no_key_file"
        }
        StoreError::Io { .. } => "file",
        _ => "failed",
    }
}
