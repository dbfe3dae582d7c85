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

/// What to do about each kind of failure.
fn hint_for(kind: &str) -> &'static str {
    match kind {
        "address" => "choose another --listen address, or port 0 for a free one",
        "bad_request" => "`nuncio COMMAND --help` shows the forms, with examples",
        "broken_off" => "see the agent's log; run the command again when it is up",
        "damaged" => {
            "`nuncio doctor` opens every row and says which are damaged; `nuncio restore` makes a home from a backup"
        }
        "declined" => "answer yes in full, or give --yes",
        "disk_full" => "free some space and start the agent again; nothing acknowledged is lost",
        "exists" => {
            "what is there stays as it is (`nuncio id` shows an agent's home); name another place: --home DIR, or another directory for a backup"
        }
        "file" => "look at the path, and at who may use it",
        "gateway" => "mend that file: `nuncio gateway --help` shows what it says; beyond loopback it needs [tls]",
        "gateway_address" => "choose another `listen` in gateway.toml, or port 0 for a free one",
        "host" | "origin" | "token" => {
            "over TCP: the address as --api-tcp names it, and the token in api.token as `authorization: Bearer`"
        }
        "in_use" => {
            "stop that process, or ask the agent that runs: commands do so by themselves when its api.sock is there"
        }
        "key_file" => {
            "a key file holds 32 bytes that you alone can read; `nuncio restore` brings back the home's own `keys`"
        }
        "name" => "give another --name",
        "connected" => {
            "use it under that name, or give it up with `nuncio disconnect` and connect it anew: its address is another then"
        }
        "log_unreadable" => {
            "look at --log: a node has its log at /log/ of its address; one that has just begun is published within a second"
        }
        "log_wrong" => {
            "what was said is the first thing that is wrong: ask for another copy, or do not trust this one; --key says whose log it should be"
        }
        "newer" => "use the newer program; nothing was touched",
        "no_quorum" => {
            "ask for a newer head, or whoever runs those witnesses; --witness and --policy say whose lines have to be there"
        }
        "no_such_entry" => "`nuncio audit root` says how many there are; they are numbered from 0",
        "no_home" => "`nuncio init` makes a home; --home DIR names another one",
        "no_key_file" => {
            "this home opens with a passphrase or a key file elsewhere: --passphrase, --passphrase-fd N, or --key-file PATH"
        }
        "no_such_endpoint" | "no_such_method" => "the agent that runs is of another version: start it again",
        "settings" => "mend that file; `nuncio init` of another home writes one that shows what can be said",
        "policy" => "contracts/schema/policy.json says what stands in it; `nuncio node check` looks without starting",
        "no_mailbox" => {
            "`mailbox = true` and a [trust] in the home's nuncio.toml, then start the agent again: `nuncio mailbox --help`"
        }
        "no_trust" => "name the trust domain and its node in the home's nuncio.toml, then start the agent again",
        "node" => "`nuncio node` has to run where nuncio.toml says; or let the letter wait: --wait-for-token 30s",
        "token_refused" => {
            "ask for what the service's policy grants, or have the policy changed by whoever runs the node"
        }
        "node_home" => "`nuncio --home DIR init` makes an agent's home; `nuncio node` works with this one",
        "transaction_over" => {
            "what is to be gone on with has ended, or may not go that way; what was said says which. `nuncio begin` begins another"
        }
        "no_opening" => {
            "only letters in sessions that audit ([audit] in both ends' nuncio.toml) can be opened, by the id that `nuncio send` and `nuncio inbox` print; of one that came, say who wrote it: --from PEER"
        }
        "other_payload" => "--payload FILE with the very bytes that were sent; of a letter with a large payload none",
        "no_such_letter" => "`nuncio inbox` lists what is there",
        "no_such_channel" => {
            "`nuncio channel list` lists the channels that this agent is in, and invitations into others; it joins one with `nuncio channel join`"
        }
        "several_channels" => {
            "`nuncio channel list --json` says who owns each, and who is in it: give its id in place of the name"
        }
        "joining" => "ask again later; `nuncio peers` says whether the owner, or whoever invited, can be reached",
        "log_full" => {
            "events that no node's log has taken fill their place: see that the node is there (`nuncio audit` says what waits), or set `when_full` to \"gap\""
        }
        "channel_refused" => {
            "`nuncio channel members CHANNEL` says who is in it and who may do what; what was said says which rule it was"
        }
        "no_agent" => "start it, and leave it running: nuncio agent --listen ADDR; --home DIR names another home",
        "no_such_connection" => "`nuncio connections` lists them",
        "denied" => {
            "what was said says why: the transaction that was named does not count here; begin another, or name none"
        }
        "no_such_line" => "`nuncio knocks lines` lists those that may still let somebody in",
        "no_such_knock" => "`nuncio knocks` lists who asks to be let in",
        "no_such_permit" => "`nuncio permit list` lists them, each with the ids of its links",
        "refused" => "what was said says why; asked again it is refused again",
        "service" => {
            "what is offered is a program that speaks MCP on its input and output, or the http(s) address of one: try it by hand; one that is fetched first takes longer: --patience 2m. Nothing was written"
        }
        "services" => {
            "mend that file; what was offered before goes on while the agent runs, and its next start wants it whole"
        }
        "no_such_peer" => "`nuncio peers` lists who is known here; `nuncio peers add INVITATION` adds one",
        "not_delivered" => "send it again if it is still of use; `nuncio outbox` lists what failed, and why",
        "not_whole" => "ask again later; `nuncio inbox` says how much is here",
        "not_yet" => {
            "nothing is lost, and it goes on by itself; `nuncio outbox` lists letters that wait, and `nuncio peers` says who cannot be reached, and why"
        }
        "outbox_full" => "`nuncio peers` says who cannot be reached; wait until they can, or remove them",
        "payload_lost" => "ask its sender to send it again",
        "retired" => {
            "an identity that is over stays over: exchange invitations of a new one (`nuncio init`, `nuncio id`)"
        }
        "slow" => "send the request's body at once",
        "socket_only" => "ask over api.sock in the agent's home",
        "stopped" => "start it again: `nuncio agent`; its log says why it ended",
        "timed_out" => "ask again, with a longer --timeout; `nuncio peers` says whether the peer can be reached",
        "unheard" => {
            "`nuncio peers` says whether its agent is reached, and why not; where it has not let this one in: `nuncio knocks`, there"
        }
        "too_large" => "a letter has at most 1 GiB; give what is longer than 8 MiB as a file",
        "unsound" => "what was printed says what is wrong and what to do",
        "wrong_key" => "give the right one: --passphrase, --passphrase-fd N, or --key-file PATH",
        _ => OTHERWISE,
    }
}

/// What to do about a letter that failed, by the name of the registry's code.
pub(crate) fn hint_for_letter(code: &str) -> &'static str {
    match code {
        "expired" => {
            "`nuncio peers` says who cannot be reached; send it again once they can, with a longer --deadline if it had one"
        }
        "token_missing" => "send it under a transaction: nuncio begin … > trip.token, then --under trip.token",
        "token_expired" | "token_revoked" => "that transaction is over: begin another with `nuncio begin`",
        "token_scope" => {
            "begin a transaction with the scope that the receiver's rules ([[needs]] in its nuncio.toml) want"
        }
        "token_proof" => "send it with --prove",
        "token_payload" => "without --bind, or with --bind for this very letter",
        "token_audience" | "token_key" | "token_signature" => {
            "both agents' nuncio.toml must name the same trust domain and node under [trust]"
        }
        "not_member" => "`nuncio channel members CHANNEL` says who is in it",
        "token_early" | "future" => "set the clocks of both machines",
        "retired" => hint_for("retired"),
        _ => hint_for("not_delivered"),
    }
}

/// The same, where a node was asked.
fn node_hint_for(kind: &str) -> &'static str {
    match kind {
        "address" => "choose another address for --listen or --quic, or port 0 for a free one",
        "damaged" => "use the program that wrote it, or the newest copy of the home",
        "disk_full" => "free some space and start the node again; what it answered is not lost",
        "exists" => "what is there stays as it is; name another place: --home DIR",
        "in_use" => "stop that process; reload, revoke and keys rotate ask a node that runs",
        "key_file" => "a key file holds 32 bytes that you alone can read",
        "no_home" => "`nuncio node init` makes a home; --home DIR names another one",
        "usage" => "`nuncio node run --help` shows the forms, with examples",
        "file" | "newer" | "no_key_file" | "policy" | "wrong_key" => hint_for(kind),
        "invalid_request" => "what was said says what is wrong; nothing was changed",
        _ => "run the node with NUNCIO_LOG=debug in its environment: its log says more then",
    }
}

/// Where nothing better is known.
const OTHERWISE: &str = "the agent's log says more (NUNCIO_LOG=debug); `nuncio doctor` looks for what is wrong";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_local_api_has_advice_of_its_own() {
        let api = include_str!("../../../contracts/openapi/local.yaml");
        let (_, codes) = api.split_once("enum: [bad_request").unwrap();
        let (codes, _) = codes.split_once(']').unwrap();
        let codes: Vec<&str> = codes.split(',').map(str::trim).filter(|code| !code.is_empty()).collect();
        assert!(codes.len() > 15, "{codes:?}");
        for code in codes.into_iter().chain(["bad_request"]).filter(|code| *code != "failed") {
            assert_ne!(hint_for(code), OTHERWISE, "{code}");
        }
    }
}
