//! Who is in a channel after an entry of its record: the record replayed (contracts/channel.md section 2).

use std::collections::BTreeMap;

use nuncio_contracts::registry::{label, limit};
use serde::Serialize;
use serde_bytes::ByteArray;

use super::change::Change;
use super::record::RecordError;
use crate::codec;
use crate::crypto;
use crate::ids::AgentId;

/// A channel's state: name, owner, members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    number: u32,
    name: String,
    audits: bool,
    owner: AgentId,
    /// The number of the entry by which it is.
    owner_since: u32,
    members: BTreeMap<AgentId, Member>,
    /// By which entry an agent was last taken out.
    gone: BTreeMap<AgentId, u32>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The number of the entry by which it is one.
    pub since: u32,
    /// It may propose, invite and support since this entry. The owner is no admin.
    pub admin_since: Option<u32>,
}

/// `[owner, audits, name, [[agent, admin], …]]`
#[derive(Serialize)]
struct Hashed<'a>(ByteArray<32>, bool, &'a str, Vec<(ByteArray<32>, bool)>);

impl Roster {
    /// Of a channel that begins.
    ///
    /// # Errors
    /// [`RecordError::NotFirst`] for any other change.
    pub(super) fn first(change: &Change) -> Result<Self, RecordError> {
        let Change::Create { owner, audits, name } = change else { return Err(RecordError::NotFirst) };
        let members = BTreeMap::from([(*owner, Member { since: 0, admin_since: None })]);
        let (name, owner, gone) = (name.clone(), *owner, BTreeMap::new());
        Ok(Self { number: 0, name, audits: *audits, owner, owner_since: 0, members, gone })
    }

    /// Its hash, as entries have it.
    // contracts/channel.md C6.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let members = self.members.iter();
        let members = members.map(|(agent, member)| (ByteArray::new(*agent.as_bytes()), member.admin_since.is_some()));
        let hashed = Hashed(ByteArray::new(*self.owner.as_bytes()), self.audits, &self.name, members.collect());
        crypto::sha256(&[label::CHANNEL_ROSTER, &[0], &codec::encode(&hashed)])
    }

    /// The number of the entry that it is behind.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What the channel is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether letters carry their senders' signatures.
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.audits
    }

    /// Who appends to the record.
    #[must_use]
    pub const fn owner(&self) -> AgentId {
        self.owner
    }

    /// The number of the entry by which the owner is one.
    #[must_use]
    pub const fn owner_since(&self) -> u32 {
        self.owner_since
    }

    /// All members, the owner among them, in the order of their keys.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&AgentId, &Member)> {
        self.members.iter()
    }

    /// Whether an agent is a member.
    #[must_use]
    pub fn has(&self, agent: &AgentId) -> bool {
        self.members.contains_key(agent)
    }

    /// A member.
    #[must_use]
    pub fn member(&self, agent: &AgentId) -> Option<&Member> {
        self.members.get(agent)
    }

    /// Whether a member is an admin.
    #[must_use]
    pub fn is_admin(&self, agent: &AgentId) -> bool {
        self.member(agent).is_some_and(|member| member.admin_since.is_some())
    }

    /// How many admins there are.
    #[must_use]
    pub fn admins(&self) -> usize {
        self.members.values().filter(|member| member.admin_since.is_some()).count()
    }

    /// By which entry an agent that is no member was last taken out.
    #[must_use]
    pub fn gone(&self, agent: &AgentId) -> Option<u32> {
        self.gone.get(agent).copied()
    }

    /// Whether what an agent says of an epoch counts as the owner's or an admin's: it is one now, and was one without a break since then.
    // contracts/channel.md C12, C16.
    pub(super) fn speaks_since(&self, agent: &AgentId, number: u32) -> bool {
        let admin = self.member(agent).and_then(|member| member.admin_since);
        *agent == self.owner || admin.is_some_and(|since| since <= number)
    }

    /// The roster behind the next entry, whatever consents it has.
    ///
    /// # Errors
    /// [`RecordError::Impossible`] where the change cannot be made here, [`RecordError::Full`] over a bound.
    // contracts/channel.md C7, C8.
    pub(super) fn after(&self, change: &Change) -> Result<Self, RecordError> {
        let mut next = self.clone();
        next.change(change)?;
        Ok(next)
    }

    /// Moves to the roster behind the next entry. Where the change cannot be made the roster is none any more.
    ///
    /// # Errors
    /// As [`Roster::after`].
    pub(super) fn change(&mut self, change: &Change) -> Result<(), RecordError> {
        self.number = self.number.saturating_add(1);
        match change {
            Change::Create { .. } => Err(RecordError::Impossible),
            Change::Add(agents) => self.add(agents),
            Change::Remove(agents) | Change::Leave(agents) => agents.iter().try_for_each(|agent| self.remove(agent)),
            Change::Admin { agent, admin } => self.set_admin(agent, *admin),
            Change::Rename(name) if *name == self.name => Err(RecordError::Impossible),
            Change::Rename(name) => {
                self.name.clone_from(name);
                Ok(())
            }
            Change::HandOver(agent) => self.set_owner(*agent),
            Change::Succeed(agent) => {
                let before = self.owner;
                self.set_owner(*agent)?;
                self.remove(&before)
            }
        }
    }

    fn add(&mut self, agents: &[AgentId]) -> Result<(), RecordError> {
        let member = Member { since: self.number, admin_since: None };
        for agent in agents {
            if self.members.insert(*agent, member).is_some() {
                return Err(RecordError::Impossible);
            }
            self.gone.remove(agent);
        }
        if self.members.len() > limit::CHANNEL_MEMBERS_MAX { Err(RecordError::Full) } else { Ok(()) }
    }

    fn remove(&mut self, agent: &AgentId) -> Result<(), RecordError> {
        if *agent == self.owner || self.members.remove(agent).is_none() {
            return Err(RecordError::Impossible);
        }
        self.gone.insert(*agent, self.number);
        Ok(())
    }

    fn set_admin(&mut self, agent: &AgentId, admin: bool) -> Result<(), RecordError> {
        let since = admin.then_some(self.number);
        let member = self.members.get_mut(agent).filter(|member| member.admin_since.is_some() != admin);
        let member = member.filter(|_| *agent != self.owner).ok_or(RecordError::Impossible)?;
        member.admin_since = since;
        if self.admins() > limit::CHANNEL_ADMINS_MAX { Err(RecordError::Full) } else { Ok(()) }
    }

    fn set_owner(&mut self, agent: AgentId) -> Result<(), RecordError> {
        let member = self.members.get_mut(&agent).filter(|_| agent != self.owner).ok_or(RecordError::Impossible)?;
        member.admin_since = None;
        (self.owner, self.owner_since) = (agent, self.number);
        Ok(())
    }
}
