//! What an entry needs of others: their consents, and the admins' support (contracts/channel.md C11 to C15, C60).

use nuncio_contracts::registry::limit;

use super::super::change::Change;
use super::super::entry::Entry;
use super::super::roster::Roster;
use super::super::statement::{Heir, Invite, Join, Leave, Support};
use super::{Record, RecordError};
use crate::ids::AgentId;

impl Record {
    // contracts/channel.md C11 to C15, C60.
    pub(super) fn check_consents(&self, base: &Roster, entry: &Entry) -> Result<(), RecordError> {
        match &entry.change {
            Change::Add(agents) => self.check_joins(base, entry, agents),
            Change::Leave(agents) => self.check_leaves(base, entry, agents),
            Change::Succeed(_) => self.check_support(base, entry),
            Change::HandOver(heir) => self.check_heir(base, entry, heir),
            _ => no_consents(entry),
        }
    }

    fn check_joins(&self, base: &Roster, entry: &Entry, agents: &[AgentId]) -> Result<(), RecordError> {
        let (pairs, rest) = entry.consents.as_chunks::<2>();
        if pairs.len() != agents.len() || !rest.is_empty() {
            return Err(RecordError::Consent);
        }
        for (agent, [join_bytes, invite_bytes]) in agents.iter().zip(pairs) {
            let (join, invite) = (Join::parse(join_bytes)?, Invite::parse(invite_bytes)?);
            let is_answer = join.invite == Invite::hash(invite_bytes)
                && join.channel == self.channel
                && invite.channel == self.channel
                && join.agent == *agent
                && invite.agent == *agent;
            let made = self.number_of(&invite.epoch).filter(|number| *number <= base.number());
            // An invitation from before an agent went says nothing of later.
            let is_valid = made.is_some_and(|made| {
                base.speaks_since(&invite.by, made) && base.gone(agent).is_none_or(|gone| made >= gone)
            });
            if !is_answer || !is_valid || entry.at > invite.expires {
                return Err(RecordError::Consent);
            }
        }
        Ok(())
    }

    fn check_leaves(&self, base: &Roster, entry: &Entry, agents: &[AgentId]) -> Result<(), RecordError> {
        if entry.consents.len() != agents.len() {
            return Err(RecordError::Consent);
        }
        for (agent, bytes) in agents.iter().zip(&entry.consents) {
            let leave = Leave::parse(bytes)?;
            let said = self.number_of(&leave.epoch).filter(|number| *number <= base.number());
            let since = base.member(agent).map(|member| member.since);
            if leave.channel != self.channel || leave.agent != *agent || said.is_none() || said < since {
                return Err(RecordError::Consent);
            }
        }
        Ok(())
    }

    // contracts/channel.md C60.
    fn check_heir(&self, base: &Roster, entry: &Entry, heir: &AgentId) -> Result<(), RecordError> {
        let [bytes] = entry.consents.as_slice() else { return Err(RecordError::Consent) };
        let word = Heir::parse(bytes)?;
        let said = self.number_of(&word.epoch).filter(|number| *number <= base.number()).ok_or(RecordError::Consent)?;
        let since = base.member(heir).map(|member| member.since.max(base.owner_since()));
        let is_near = base.number().saturating_sub(said) <= limit::CHANNEL_BEHIND_MAX;
        let is_its = word.channel == self.channel && word.agent == *heir;
        if is_its && is_near && since.is_some_and(|since| since <= said) { Ok(()) } else { Err(RecordError::Consent) }
    }

    fn check_support(&self, base: &Roster, entry: &Entry) -> Result<(), RecordError> {
        if entry.consents.len() > base.admins() {
            return Err(RecordError::Consent);
        }
        let body = entry.body_hash();
        let mut last: Option<AgentId> = None;
        for bytes in &entry.consents {
            let support = Support::parse(bytes)?;
            let is_next = last.is_none_or(|last| last < support.agent);
            let is_for_it = support.channel == self.channel && support.body == body;
            if !is_next || !is_for_it || !base.is_admin(&support.agent) {
                return Err(RecordError::Consent);
            }
            last = Some(support.agent);
        }
        if entry.consents.len() * 2 > base.admins() { Ok(()) } else { Err(RecordError::Majority) }
    }
}

pub(super) const fn no_consents(entry: &Entry) -> Result<(), RecordError> {
    if entry.consents.is_empty() { Ok(()) } else { Err(RecordError::Consent) }
}
