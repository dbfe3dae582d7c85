//! For whom a token is: one agent, or the members of a channel.

use core::fmt;
use core::str::FromStr;

use crate::channel::ChannelPlace;
use crate::ids::{AgentId, ChannelId, IdError};
use crate::letter::Letter;

/// `hop.to` of a token (contracts/token.md K8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// One agent, written as its DID.
    Agent(AgentId),
    /// Whoever is a member of this channel, written as 64 hexadecimal digits.
    Channel(ChannelId),
}

impl Receiver {
    /// Whom a letter is for that came to this agent: its channel, where it names one, and no agent.
    // contracts/token.md step 9.
    #[must_use]
    pub fn of(letter: &Letter, me: &AgentId) -> Self {
        match ChannelPlace::of(letter) {
            Ok(Some(place)) => Self::Channel(place.channel),
            _ => Self::Agent(*me),
        }
    }

    /// The agent, if it is one.
    #[must_use]
    pub const fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Channel(_) => None,
        }
    }
}

impl From<AgentId> for Receiver {
    fn from(agent: AgentId) -> Self {
        Self::Agent(agent)
    }
}

impl From<ChannelId> for Receiver {
    fn from(channel: ChannelId) -> Self {
        Self::Channel(channel)
    }
}

impl FromStr for Receiver {
    type Err = IdError;

    /// Reads what it prints, and no other spelling.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        match bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(channel) => Ok(Self::Channel(ChannelId::from_bytes(channel))),
            None => text.parse().map(Self::Agent),
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => agent.fmt(f),
            Self::Channel(channel) => channel.fmt(f),
        }
    }
}
