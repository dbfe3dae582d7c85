//! What can go wrong, and what to do.

use std::path::PathBuf;

use nuncio_contracts::registry::limit;
use nuncio_proto::error::{LoadError, PeerError};
use nuncio_proto::ids::{AgentId, ChannelId, IdError};
use nuncio_proto::invitation::NotInvitation;
use nuncio_proto::peer::PermitError;
use nuncio_store::StoreError;
use nuncio_transport::TransportError;

/// Why the agent did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records in the store are no agent that this program can run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The transport.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The protocol.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// An identity could not be made or read.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The operating system gave no randomness; nothing was made.
    #[error("the operating system gives no randomness: {0}; nothing was made, try again")]
    Randomness(getrandom::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The home is not there.
    #[error("{0} is no home of an agent: make one with `nuncio init`")]
    NoHome(PathBuf),
    /// The text is no invitation.
    #[error(transparent)]
    Invitation(#[from] NotInvitation),
    /// A permit is not given, kept, handed on or revoked.
    #[error(transparent)]
    Permit(#[from] PermitError),
    /// The invitation or bundle is of this very agent.
    #[error("{0} is this agent itself: an invitation of another one is wanted")]
    Myself(AgentId),
    /// The name is taken or of impossible form.
    #[error("the name {0:?} is taken, or is not 1 to 64 letters, digits, '-', '_' and '.'")]
    Name(String),
    /// No peer has this name.
    #[error("no peer is called {0:?}: `nuncio peers` lists them")]
    NoSuchPeer(String),
    /// No agent of this identity waits to be let in.
    #[error("{0} does not knock: `nuncio knocks` lists who does")]
    NoKnock(String),
    /// No line of that name is good.
    #[error("no line {0} is good")]
    NoLine(String),
    /// No channel has this id or name.
    #[error("no channel is called {0:?}: `nuncio channel list` lists them")]
    NoSuchChannel(String),
    /// Several channels have this name.
    #[error("several channels are called {name:?}: name one by its id: {}", listed(.channels))]
    SeveralChannels {
        /// The name.
        name: String,
        /// Whose it is.
        channels: Vec<ChannelId>,
    },
    /// The invitation into this channel is not answered.
    #[error("this agent is invited into {0:?} and has not joined: `nuncio channel join` answers the invitation")]
    NotJoined(String),
    /// The invitation into this channel is answered, and nothing has come of it so far.
    #[error(
        "this agent is joining {0:?}: it has answered the invitation, and is in as soon as the owner can be reached and takes it in; `nuncio channel list` says when"
    )]
    Joining(String),
    /// Nobody has invited this agent into a channel of this id or name.
    #[error("there is no invitation into a channel called {0:?}: `nuncio channel list` lists those that there are")]
    NoInvitation(String),
    /// There is nothing to join.
    #[error("this agent is in the channel {0:?} already")]
    InChannel(String),
    /// What a letter to a channel cannot have.
    #[error(
        "a letter to a channel has at most 48 KiB: send what is longer to each member that it is for (`nuncio send MEMBER FILE`)"
    )]
    NotForChannels,
    /// What was to be sent is a directory, a pipe or a device.
    #[error("{} is no regular file: give the content of a pipe or a device as bytes", .0.display())]
    NoFile(std::path::PathBuf),
    /// A number of the inbox that is no letter of the channel.
    #[error("number {0} of the inbox is no letter of this channel that its author sent here")]
    NoHistory(u64),
    /// More letters than are handed over at once.
    #[error("at most {} letters are handed over at once", limit::CHANNEL_HISTORY_MAX)]
    TooMuchHistory,
    /// The letter was not delivered; the code is the registry's.
    #[error("the letter was not delivered: {}", reason(*.0))]
    NotDelivered(u16),
    /// A node's home was opened as an agent's.
    #[error("{0} is the home of a node: an agent needs one of its own (`nuncio --home DIR init`)")]
    NodeHome(PathBuf),
    /// What a message of a call cannot have.
    #[error("what a message says of its call, or what is kept with it, is too long")]
    NoCall,
    /// More requests than one agent answers at once.
    #[error(
        "{} requests of this agent's wait for answers of that one: try again when some have come",
        limit::CALLS_BEGUN_MAX
    )]
    TooManyCalls,
    /// Nothing is kept that opens this letter.
    #[error(
        "nothing is kept that opens this letter: it was in no session that audits, or is older than a month; `nuncio audit open --help` says more"
    )]
    NoOpening,
    /// The payload is not the letter's.
    #[error(
        "the letter had another payload: give the bytes that were sent, all of them; of one that travelled by itself (over 48 KiB) none: its opening shows no more than how long it was"
    )]
    OtherPayload,
    /// Sessions are to audit, and there is no node that keeps a log.
    #[error("auditing needs a trust domain, whose node keeps the log: name one beside it")]
    AuditsNowhere,
    /// The agent is to have a mailbox, and there is no node that keeps it.
    #[error("a mailbox needs a trust domain, at whose node frames wait: name one beside it")]
    MailboxNowhere,
    /// No trust domain is configured.
    #[error(
        "no trust domain is configured: name one, and the node of its token service, under `[trust]` in the home's nuncio.toml (in a program that embeds the agent, by `Config::trust`)"
    )]
    NoTrust,
    /// The token service cannot be asked now; later it may.
    #[error("the token service is not there: {0}; try again later, or let the letter wait for it")]
    Node(String),
    /// The token service issues no such token.
    #[error("the token service refuses: {code}: {reason}")]
    TokenRefused {
        /// Its error code (RFC 6749 section 5.2).
        code: String,
        /// Its words.
        reason: String,
    },
    /// The time ran out.
    #[error("no answer in time: ask again, or wait longer")]
    TimedOut,
    /// A payload is longer than any may be.
    #[error("the payload is longer than 1 GiB: send it in parts")]
    TooLarge,
    /// The payload is not text.
    #[error("the payload is not UTF-8 text: save it, or read its bytes")]
    NotText,
    /// The sender no longer has the payload.
    #[error("the large payload is lost: its sender gave it up or sent something else; ask for it again")]
    PayloadLost,
    /// The agent has stopped.
    #[error("the agent has stopped: open it again")]
    Stopped,
    /// The agent had to stop.
    #[error("the agent had to stop: {0}")]
    Failed(String),
}

impl From<nuncio_proto::peer::ChannelError> for Error {
    fn from(error: nuncio_proto::peer::ChannelError) -> Self {
        Self::Peer(error.into())
    }
}

impl Error {
    /// Of a letter that was not delivered: the name of the registry's code that says why, for programs.
    #[must_use]
    pub const fn letter_code(&self) -> Option<&'static str> {
        match self {
            Self::NotDelivered(code) => Some(nuncio_contracts::registry::code::name(*code)),
            _ => None,
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

fn listed(channels: &[ChannelId]) -> String {
    channels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a registry code means to the sender of a letter.
fn reason(code: u16) -> &'static str {
    use nuncio_contracts::registry::code;
    match code {
        code::EXPIRED => "its deadline passed before the peer was known to have it",
        code::CANCELLED => "it was cancelled",
        code::REMOVED => "one of the two agents removed the other, or was retired, before the answer came",
        code::UNHEARD => "it went, and its deadline passed, or it was taken back, before anything was heard of it",
        code::UNKNOWN_EXTENSION => "the receiver does not know an extension that it needs",
        code::MALFORMED => "the receiver could not read it",
        code::FUTURE => "the clocks of the two agents differ too much",
        code::REFUSED => "the receiving application refused it",
        code::TOO_LARGE => "its payload is longer than the receiver takes",
        code::TOKEN_MISSING => "the receiver wants a transaction token with it: send it under a transaction",
        code::TOKEN_MALFORMED => "its token is malformed",
        code::TOKEN_ALGORITHM => "its token is signed with an algorithm that is not allowed",
        code::TOKEN_TYPE => "its token is not a transaction token",
        code::TOKEN_KEY => "the receiver cannot get the key of its token",
        code::TOKEN_SIGNATURE => "its token's signature does not verify",
        code::TOKEN_AUDIENCE => "its token is of another trust domain than the receiver's",
        code::TOKEN_EXPIRED => "its token expired, and no fresh one could be had",
        code::TOKEN_EARLY => "its token was issued in the receiver's future: the clocks differ too much",
        code::TOKEN_LIFE => "its token claims too long a life",
        code::TOKEN_SENDER => "its token belongs to another sender",
        code::TOKEN_RECEIVER => "its token is for another receiver",
        code::TOKEN_HOPS => "its transaction was handed on too often",
        code::TOKEN_REVOKED => "its transaction was revoked",
        code::TOKEN_SCOPE => "its token's scope does not allow it",
        code::TOKEN_PROOF => "its hop proof is missing or another letter's: send it with a proof",
        code::TOKEN_PAYLOAD => "its token is bound to another letter",
        code::NOT_MEMBER => "the receiver, or this agent, is no member of its channel",
        code::NO_SERVICE => "the receiver serves nothing to others: `nuncio expose` there offers a service",
        code::NO_CALL => "the receiver awaits nothing of this service: whoever asked has ended its session",
        code::RETIRED => "the receiver's identity, or this agent's own, is retired",
        _ => "refused",
    }
}
