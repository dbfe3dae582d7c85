//! Who is known: added, changed, removed, retired.

use nuncio_contracts::registry::code;

use super::{Change, ContactInfo, Out, Peer};
use crate::ids::AgentId;
use crate::rows;
use crate::step::{Effect, Op, Step};

impl Peer {
    /// Adds an agent or changes what is said of it.
    #[must_use]
    pub fn set_contact(&self, agent: AgentId, info: ContactInfo) -> Option<Step> {
        (agent != self.id()).then(|| self.step(Change::Contact { agent, info: Some(info) }))
    }

    /// Removes an agent: its sessions end and letters to it fail.
    #[must_use]
    pub fn remove_contact(&self, agent: AgentId) -> Option<Step> {
        self.contacts.contains_key(&agent).then(|| self.step(Change::Contact { agent, info: None }))
    }

    pub(super) fn apply_contact(&mut self, agent: AgentId, info: Option<ContactInfo>, out: &mut Out) {
        let key = rows::contact(&agent);
        // A retirement is for ever: what is left of a retired agent that was removed is that it is retired.
        let retired = self.contact(&agent).is_some_and(|known| known.retired);
        let info =
            if retired { Some(ContactInfo { retired, allowed: false, ..info.unwrap_or_default() }) } else { info };
        if let Some(info) = info {
            if info.allowed {
                self.may_have_permits(&agent, out);
            }
            out.ops.push(Op::Put { key, value: info.to_row() });
            self.contacts.entry(agent).or_default().info = info;
            out.contacts.insert(agent);
            return;
        }
        self.lose_permits(&agent, out);
        if self.is_fellow(&agent) {
            return self.keep_as_fellow(agent, out);
        }
        self.drop_contact(agent, code::CANCELLED, out);
    }

    /// An agent is known no more: its sessions end, and letters to it fail.
    pub(super) fn drop_contact(&mut self, agent: AgentId, code: u16, out: &mut Out) {
        self.end_all(agent, code, out);
        if let Some(at) = self.contacts.remove(&agent).and_then(|contact| contact.timer) {
            self.timers.remove(&(at, agent));
        }
        self.ready.remove(&agent);
        self.stuck.remove(&agent);
        self.untold.remove(&agent);
        self.ack_pending.remove(&agent);
        out.ops.extend([Op::Delete { key: rows::contact(&agent) }, Op::Delete { key: rows::mailbox_of(&agent) }]);
    }

    pub(super) fn apply_retired(&mut self, agent: AgentId, out: &mut Out) {
        let Some(contact) = self.contacts.get_mut(&agent) else { return };
        contact.info.retired = true;
        contact.info.allowed = false;
        out.ops.push(Op::Put { key: rows::contact(&agent), value: contact.info.to_row() });
        // contracts/identity.md I9: nothing is taken from it, and nothing is sent to it.
        self.end_all(agent, code::RETIRED, out);
        out.effects.push(Effect::TurnedAway { by: agent, code: code::RETIRED });
    }

    /// Ends all sessions with an agent; letters to it fail.
    pub(super) fn end_all(&mut self, agent: AgentId, code: u16, out: &mut Out) {
        let sessions: Vec<_> =
            self.contacts.get(&agent).map(|contact| contact.sessions().collect()).unwrap_or_default();
        sessions.into_iter().for_each(|id| self.drop_session(id, out));
        let entries: Vec<u64> = self.outbox.iter().filter(|(_, entry)| entry.to == agent).map(|(no, _)| *no).collect();
        for entry in entries {
            self.apply_expired(entry, code, out);
        }
    }
}
