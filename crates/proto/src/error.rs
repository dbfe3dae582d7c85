//! Two kinds of no: [`Refusal`] for bytes that moved nothing, [`PeerError`] for a caller that asked for what cannot be.

use crate::bundle::BundleError;
use crate::channel::ReceiveError;
use crate::frame::FrameError;
use crate::handshake::HandshakeError;
use crate::identity::IdentityError;
use crate::ids::{AgentId, LetterId, Tag};
use crate::letter::LetterError;
use crate::peer::ChannelError;
use crate::session::OpenError;
use crate::snapshot::SnapshotError;

/// Why received bytes were refused. No key, counter or record has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No session has this tag; the QUIC-authenticated peer may be told so.
    #[error("no session has the tag {0}")]
    UnknownTag(Tag),
    /// A start that cannot be answered; the QUIC-authenticated peer may be told so.
    #[error("{1}")]
    Start(Tag, HandshakeError),
    /// An authentic frame that leads to no key of this side: one of the two was restored, or gave up more than a window. The
    /// QUIC-authenticated peer may be told that the session is over.
    #[error("an authentic frame leads to no key that this agent has; the session begins anew")]
    OutOfStep(Tag),
    /// A frame of a known session that does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A frame of one agent's session that came over another agent's connection.
    #[error("frame of a session with {0} came from another agent")]
    WrongPeer(AgentId),
    /// The inbox is full: the application has not removed enough letters.
    #[error("the inbox is full")]
    InboxFull,
    /// As many messages of calls of this peer, or answers to it, wait here as may: the frame comes again.
    #[error("too many messages of this peer to services, or answers to it, wait")]
    TooManyCalls,
    /// Events wait for the audit log, as many as may.
    #[error("as many events wait for the audit log as may: nothing is taken until it has some of them")]
    SpoolFull,
    /// As many refusals are on their way to the peer as are kept; it hears those first, and the frame comes again.
    #[error("too many refusals are on their way to this peer")]
    TooManyRefusals,
    /// As many sessions as the agent keeps.
    #[error("too many sessions")]
    TooManySessions,
    /// A hint that names nothing of ours, or came from nobody in particular.
    #[error("notice that names no frame of ours")]
    UselessNotice,
    /// A frame of a channel that does not open.
    #[error(transparent)]
    Channel(ReceiveError),
    /// As many letters of a channel wait for its record as may; the frame comes again.
    #[error("too many letters of a channel wait for its record")]
    ChannelFull,
    /// A letter of a channel that earlier letters of its session may still let in; the frame comes again.
    #[error("a letter of a channel came before letters that its channel may be told of in")]
    ChannelEarly,
    /// The record of letters seen could not be read; the frame will come again.
    #[error("the record of delivered letters could not be read")]
    SeenUnreadable,
}

impl Refusal {
    /// A short fixed name, for counting.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Frame(FrameError::Version(_)) => "frame_version",
            Self::Frame(_) => "frame_malformed",
            Self::UnknownTag(_) | Self::Open(OpenError::UnknownTag) => "unknown_tag",
            Self::OutOfStep(_) => "out_of_step",
            Self::Start(..) => "start_refused",
            Self::Open(OpenError::Crypto(_)) => "forged",
            Self::Open(OpenError::Replay(_)) => "replayed",
            Self::Open(OpenError::Ratchet(_) | OpenError::ChainsFull) => "ratchet",
            Self::Open(_) => "session",
            Self::WrongPeer(_) => "wrong_peer",
            Self::InboxFull => "inbox_full",
            Self::TooManyCalls => "too_many_calls",
            Self::SpoolFull => "spool_full",
            Self::TooManyRefusals => "too_many_refusals",
            Self::TooManySessions => "too_many_sessions",
            Self::UselessNotice => "useless_notice",
            Self::Channel(ReceiveError::UnknownTag) => "channel_unknown_tag",
            Self::Channel(ReceiveError::Replay(_)) => "channel_replayed",
            Self::Channel(ReceiveError::Mac | ReceiveError::Crypto(_) | ReceiveError::Signed) => "channel_forged",
            Self::Channel(_) => "channel_frame",
            Self::ChannelFull => "channel_full",
            Self::ChannelEarly => "channel_early",
            Self::SeenUnreadable => "seen_unreadable",
        }
    }
}

/// Why a caller cannot have what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Not added.
    #[error("{0} is not known here: add it with its invitation first")]
    UnknownAgent(AgentId),
    /// Ended by its owner.
    #[error("{0} was retired by its owner: ask for its new identity")]
    Retired(AgentId),
    /// This agent's own identity was ended.
    #[error(
        "this identity is retired, for good: its peers take no letters of it; `nuncio init` in another home makes a new one"
    )]
    RetiredHere,
    /// A payload that must travel as a large one.
    #[error("the payload is too long for a letter: send it as a large payload")]
    TooLarge,
    /// Delivered, failed, or never sent.
    #[error("letter {0} is not on its way")]
    NotUnderWay(LetterId),
    /// The letter breaks its contract.
    #[error(transparent)]
    Letter(LetterError),
    /// As many letters as the outbox keeps are unacknowledged.
    #[error("the outbox is full: wait until letters are acknowledged")]
    OutboxFull,
    /// As many messages of calls wait for this agent, or for all, as may.
    #[error("too many messages of calls wait for {0}: wait until it has some of them")]
    TooManyCalls(AgentId),
    /// Events wait for the audit log, as many as may, and the channel audits.
    #[error(
        "as many events wait for the audit log as may: nothing is sent to a channel that audits until it has some of them"
    )]
    LogFull,
    /// This agent has sessions alone that audit.
    #[error("{0} keeps no audit log, and this agent has sessions alone that audit")]
    Unaudited(AgentId),
    /// There is a session, or one is being begun.
    #[error("a session with this agent exists")]
    SessionExists,
    /// As many sessions as the agent keeps.
    #[error("too many sessions: remove agents that are not needed")]
    TooManySessions,
    /// The prekeys are not made yet.
    #[error("no prekeys have been made yet")]
    NoPrekeys,
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(BundleError),
    /// The statement is not signed by the identity that it retires.
    #[error(transparent)]
    Statement(IdentityError),
    /// The handshake cannot be begun.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The channel cannot be had so.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The state has moved since the step was made: make it again.
    #[error("the state has moved since this step was made")]
    StaleStep,
}

/// Why kept records are no agent. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no identity record.
    #[error(
        "the store holds no identity: `nuncio init` was cut off (remove the home and run it again), or the store is damaged"
    )]
    NoIdentity,
    /// A session's snapshot.
    #[error("record {key}: {error}")]
    Snapshot {
        /// The row's key in hexadecimal.
        key: String,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// Another record.
    #[error("record {0} is damaged: restore a backup")]
    Record(String),
}
