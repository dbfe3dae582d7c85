//! Who is a peer, and what becomes of one that is none any more.

use nuncio_contracts::registry::{code, limit};
use nuncio_proto::error::PeerError;
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::ContactInfo;

use crate::actor::Actor;
use crate::command::Reply;
use crate::connections::STRANGER_STAYS;
use crate::effects::{answer, tell};
use crate::error::Error;
use crate::links::TURNED_AWAY;
use crate::status::PeerInfo;

impl Actor {
    /// Whether an agent may connect, and ask for anything.
    pub(crate) fn is_welcome(&self, agent: &AgentId) -> bool {
        let strangers = self.config.accept_strangers;
        match self.peer.contact(agent) {
            Some(info) if info.retired => false,
            Some(info) if info.allowed => true,
            // contracts/channel.md C51, C49: who is no fellow any more is told so.
            // contracts/call.md X29: who is not added may say what it would.
            known => {
                ((strangers || self.door.open) && known.is_none())
                    || self.peer.is_fellow(agent)
                    || self.peer.owes_words(agent)
            }
        }
    }

    /// Whether an agent may connect for nothing but to knock.
    pub(crate) fn is_stranger_at_door(&self, agent: &AgentId) -> bool {
        let is_known = self.peer.contact(agent).is_some() || self.peer.is_fellow(agent) || self.peer.owes_words(agent);
        !is_known && !self.config.accept_strangers
    }

    /// Whether the owner has added this agent: of one that added itself, as a stranger that is taken, nothing is known but its key, and
    /// one of which fellow members told is not allowed.
    pub(crate) fn is_added(&self, agent: &AgentId) -> bool {
        self.peer.contact(agent).is_some_and(was_added)
    }

    pub(crate) fn add_peer(
        &mut self,
        agent: AgentId,
        mut info: ContactInfo,
        mailbox: Option<Mailbox>,
        reply: Reply<()>,
    ) {
        // What a line does not say it does not take back: an older one may name an address that is none any more.
        let known = self.peer.contact(&agent).map(|known| known.endpoints.clone()).unwrap_or_default();
        let kept = if info.endpoints.is_empty() { limit::ENDPOINTS_MAX } else { 1 };
        let former: Vec<_> = known.into_iter().filter(|known| !info.endpoints.contains(known)).take(kept).collect();
        info.endpoints.extend(former);
        info.endpoints.truncate(limit::ENDPOINTS_MAX);
        if let Err(error) = self.check_peer(agent, &info) {
            return tell(reply, Err(error));
        }
        match self.peer.set_contact(agent, info) {
            Some(step) => {
                self.calls.changes.note();
                self.commit(step);
                // A line that names none says nothing of it.
                let known = mailbox.and_then(|at| self.peer.set_mailbox_of(agent, Some(at)));
                known.into_iter().for_each(|step| self.commit(step));
                self.when_durable(answer(reply, ()));
                self.settle_idle_knock(&agent);
                self.welcome_arrived(&agent);
                self.dial_anew(agent);
            }
            None => tell(reply, Err(Error::Myself(agent))),
        }
    }

    /// From here on nothing of it is taken and nothing given to it, on connections that are open no more than on new ones; but what is for a channel
    /// that is shared.
    pub(crate) fn remove_peer(&mut self, agent: AgentId, reply: Reply<bool>) {
        let Some(step) = self.peer.remove_contact(agent) else { return tell(reply, Ok(false)) };
        self.calls.changes.note();
        self.commit_with(step, vec![answer(reply, true)]);
        let payloads = self.payloads_out.values().filter(|out| out.to == agent).map(|out| out.letter);
        for letter in payloads.collect::<Vec<_>>() {
            let step = self.peer.fail(agent, letter, code::CANCELLED);
            self.commit(step);
        }
        self.forget_calls_of(agent);
        // contracts/channel.md C65: a channel that is shared goes on.
        if self.peer.contact(&agent).is_none() {
            self.is_stranger_again(agent);
        }
    }

    /// Nothing is known of it any more.
    pub(crate) fn is_stranger_again(&mut self, agent: AgentId) {
        self.cut_off(agent, "not added here");
        self.problems.remove(&agent);
        self.forget_mail(&agent);
    }

    pub(crate) fn check_peer(&self, agent: AgentId, info: &ContactInfo) -> Result<(), Error> {
        if agent == self.peer.id() {
            return Err(Error::Myself(agent));
        }
        if self.peer.contact(&agent).is_some_and(|known| known.retired) {
            return Err(PeerError::Retired(agent).into());
        }
        let Some(name) = &info.name else { return Ok(()) };
        let plain = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let taken = self.peer.contacts().any(|(other, info)| other != agent && info.name.as_ref() == Some(name));
        if plain && !taken { Ok(()) } else { Err(Error::Name(name.clone())) }
    }

    /// Whether an agent lets this one in no more, or not yet.
    pub(crate) fn is_turned_away(&self, by: &AgentId) -> bool {
        self.problems.get(by).is_some_and(|problem| problem == TURNED_AWAY)
    }

    /// What is wrong with a peer: on a connection nothing, but that it lets nothing in.
    fn problem_with(&self, agent: &AgentId) -> Option<String> {
        let problem = self.problems.get(agent)?;
        let Some(links) = self.links.get(agent) else { return Some(problem.clone()) };
        // contracts/call.md X41: who is not let in is shown out by then.
        let may_be_shown_out = links.iter().all(|up| up.since.elapsed() < 2 * STRANGER_STAYS);
        (problem == TURNED_AWAY && may_be_shown_out).then(|| problem.clone())
    }

    pub(crate) fn peer_infos(&self) -> Vec<PeerInfo> {
        let waiting = |agent: AgentId| self.on_their_way(|to| *to == agent);
        let info = |(agent, info): (AgentId, &ContactInfo)| PeerInfo {
            agent,
            name: info.name.clone(),
            endpoints: info.endpoints.clone(),
            allowed: info.allowed,
            fellow: !info.allowed && self.peer.is_fellow(&agent),
            retired: info.retired,
            removals: self.peer.removals(&agent),
            connected: self.links.contains_key(&agent),
            waiting: waiting(agent),
            problem: self.problem_with(&agent),
            pseudonym: self.peer.pseudonym(&agent),
            mailbox: self.peer.mailbox_of(&agent).map(|(at, _)| at.clone()),
        };
        self.peer.contacts().map(info).collect()
    }
}

/// By whoever owns this agent, and not by itself or by what fellow members told of it.
fn was_added(info: &ContactInfo) -> bool {
    info.allowed && (info.name.is_some() || info.bundle_hash.is_some() || !info.endpoints.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_known_by_a_channel_alone_was_not_added() {
        let told = ContactInfo { endpoints: vec!["192.0.2.1:1".to_owned()], ..ContactInfo::default() };
        assert!(!was_added(&told), "its endpoints came from fellow members");
        assert!(was_added(&ContactInfo { allowed: true, ..told }));
        assert!(!was_added(&ContactInfo { allowed: true, ..ContactInfo::default() }), "a stranger that is taken");
    }
}
