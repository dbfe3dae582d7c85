//! What one entry of a channel's record changes (contracts/channel.md section 2).

use nuncio_contracts::registry::{change, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::ids::{AgentId, IdError};

/// A change of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The channel begins.
    Create {
        /// Who appends to the record, and is its first member.
        owner: AgentId,
        /// Letters carry their senders' signatures.
        audits: bool,
        /// What it is called.
        name: String,
    },
    /// Agents are members from now on; ascending.
    Add(Vec<AgentId>),
    /// Agents are members no more; ascending.
    Remove(Vec<AgentId>),
    /// Agents are members no more, by their own word; ascending.
    Leave(Vec<AgentId>),
    /// A member may propose and invite, or may no more.
    Admin {
        /// Which.
        agent: AgentId,
        /// Whether it may.
        admin: bool,
    },
    /// Another name.
    Rename(String),
    /// Another owner, by the one before, who stays a member.
    HandOver(AgentId),
    /// Another owner, by a majority of the admins; the one before is a member no more.
    Succeed(AgentId),
}

/// Why values are no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// An unknown change, or one with parts that it has not.
    #[error("change of an unknown kind, or with parts that it has not")]
    Kind,
    /// Nobody, too many, one twice, or in another order.
    #[error("change of nobody, of too many, or not each once and in order")]
    Agents,
    /// Empty, too long, or with control characters.
    #[error("a channel's name has 1 to 128 bytes without control characters")]
    Name,
    /// Names no agent.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// `[what, agents, yes, name]`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChangeWire(u8, Vec<ByteArray<32>>, Option<bool>, Option<String>);

impl Change {
    /// Agents for one change, in their order, each once.
    #[must_use]
    pub fn ordered(mut agents: Vec<AgentId>) -> Vec<AgentId> {
        agents.sort_unstable();
        agents.dedup();
        agents
    }

    pub(super) fn to_wire(&self) -> ChangeWire {
        let one = |agent: &AgentId| vec![ByteArray::new(*agent.as_bytes())];
        let all = |agents: &[AgentId]| agents.iter().map(|agent| ByteArray::new(*agent.as_bytes())).collect();
        match self {
            Self::Create { owner, audits, name } => {
                ChangeWire(change::CREATE, one(owner), Some(*audits), Some(name.clone()))
            }
            Self::Add(agents) => ChangeWire(change::ADD, all(agents), None, None),
            Self::Remove(agents) => ChangeWire(change::REMOVE, all(agents), None, None),
            Self::Leave(agents) => ChangeWire(change::LEAVE, all(agents), None, None),
            Self::Admin { agent, admin } => ChangeWire(change::ADMIN, one(agent), Some(*admin), None),
            Self::Rename(name) => ChangeWire(change::RENAME, Vec::new(), None, Some(name.clone())),
            Self::HandOver(agent) => ChangeWire(change::HAND_OVER, one(agent), None, None),
            Self::Succeed(agent) => ChangeWire(change::SUCCEED, one(agent), None, None),
        }
    }

    // contracts/channel.md C3, C4.
    pub(super) fn from_wire(wire: ChangeWire) -> Result<Self, ChangeError> {
        let ChangeWire(what, agents, yes, name) = wire;
        if agents.len() > limit::CHANNEL_CHANGE_AGENTS_MAX {
            return Err(ChangeError::Agents);
        }
        let agents =
            agents.into_iter().map(|agent| AgentId::from_bytes(agent.into_array())).collect::<Result<Vec<_>, _>>()?;
        let change = match (what, yes, name, agents.as_slice()) {
            (change::CREATE, Some(audits), Some(name), &[owner]) => Self::Create { owner, audits, name },
            (change::ADD, None, None, _) => Self::Add(agents),
            (change::REMOVE, None, None, _) => Self::Remove(agents),
            (change::LEAVE, None, None, _) => Self::Leave(agents),
            (change::ADMIN, Some(admin), None, &[agent]) => Self::Admin { agent, admin },
            (change::RENAME, None, Some(name), []) => Self::Rename(name),
            (change::HAND_OVER, None, None, &[agent]) => Self::HandOver(agent),
            (change::SUCCEED, None, None, &[agent]) => Self::Succeed(agent),
            _ => return Err(ChangeError::Kind),
        };
        change.check()?;
        Ok(change)
    }

    /// Whether the change keeps its bounds, whatever the channel is.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn check(&self) -> Result<(), ChangeError> {
        match self {
            Self::Create { name, .. } | Self::Rename(name) => check_name(name),
            Self::Add(agents) | Self::Remove(agents) | Self::Leave(agents) => check_agents(agents),
            Self::Admin { .. } | Self::HandOver(_) | Self::Succeed(_) => Ok(()),
        }
    }
}

fn check_agents(agents: &[AgentId]) -> Result<(), ChangeError> {
    let is_bounded = (1..=limit::CHANNEL_CHANGE_AGENTS_MAX).contains(&agents.len());
    let is_ordered = agents.array_windows().all(|[one, other]| one < other);
    if is_bounded && is_ordered { Ok(()) } else { Err(ChangeError::Agents) }
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    if is_name(name) { Ok(()) } else { Err(ChangeError::Name) }
}

/// Whether a channel may be called so.
pub(super) fn is_name(name: &str) -> bool {
    (1..=limit::CHANNEL_NAME_LEN_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
