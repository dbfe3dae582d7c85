//! Connections of the actor: who is let in, who is dialled, and what begins when one is there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::ids::{AgentId, ChannelId};
use nuncio_transport::{CloseCode, Connection};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::actor::Actor;
use crate::entropy::now;
use crate::links::{self, LinkId, Outgoing};
use crate::wake::Wake;

/// Connections kept for one peer.
const LINKS_PER_PEER: usize = 2;
/// Connections that one peer may have begun, those that died and have not been missed yet among them.
const ARRIVED_PER_PEER: usize = 8;
/// All that is under way to a peer goes again when it connects, and no sooner again than this.
const CONNECTED_PAUSE: Duration = Duration::from_millis(time::RESEND_FIRST);
/// A peer is dialled at once for a new cause, and no sooner again than this.
const HURRY_PAUSE: Duration = Duration::from_millis(time::DIAL_HURRY_PAUSE);

/// How long the connection of an agent stays that was not added, if it is not added meanwhile.
pub(crate) const STRANGER_STAYS: Duration = Duration::from_millis(time::STRANGER_STAYS);

/// A connection that carries frames.
pub(crate) struct LinkUp {
    id: LinkId,
    pub(crate) connection: Connection,
    frames: Outgoing,
    pub(crate) since: Instant,
}

impl LinkUp {
    /// As [`Outgoing::end`].
    pub(crate) fn end(self) -> oneshot::Receiver<Infallible> {
        self.frames.end()
    }
}

/// Peers to which everything under way went again just now; and whether each has connected once more since.
#[derive(Debug, Default)]
pub(crate) struct Rests(BTreeMap<AgentId, bool>);

impl Rests {
    /// Whether this peer's rest begins now. If it rests already, it is remembered that it has come again.
    fn begin(&mut self, peer: AgentId) -> bool {
        let mut begins = false;
        let again = self.0.entry(peer).or_insert_with(|| {
            begins = true;
            false
        });
        *again = !begins;
        begins
    }

    /// A rest is over. `true`: the peer has come again meanwhile.
    fn end(&mut self, peer: &AgentId) -> bool {
        self.0.remove(peer) == Some(true)
    }
}

/// A task that dials a peer.
pub(crate) struct Dialling {
    /// Of all connections that it makes, one after the other.
    link: LinkId,
    cancel: CancellationToken,
    hurry: Arc<Notify>,
}

/// When each peer was last dialled at once.
#[derive(Debug, Default)]
pub(crate) struct Hurries(BTreeMap<AgentId, Instant>);

impl Hurries {
    /// Whether a new cause to reach this peer makes it be dialled now.
    fn begin(&mut self, peer: AgentId, now: Instant) -> bool {
        self.0.retain(|_, last| now.saturating_duration_since(*last) < HURRY_PAUSE);
        let begins = !self.0.contains_key(&peer);
        if begins {
            self.0.insert(peer, now);
        }
        begins
    }
}

impl Actor {
    /// Hands a frame to a connection of the peer; `false` when there is none or it is full, in which case the frame goes again later.
    pub(crate) fn send_on(&mut self, to: AgentId, link: Option<LinkId>, frame: Bytes) -> bool {
        let Some(links) = self.links.get(&to) else { return false };
        let chosen = links.iter().rev().find(|up| link.is_none_or(|link| link == up.id)).or_else(|| links.last());
        let len = frame.len();
        nuncio_proto::seal_log::sent(&frame);
        let sent = chosen.is_some_and(|up| up.frames.push(frame));
        if sent {
            self.calls.gave(to);
            self.wire.sent(len);
        }
        sent
    }

    pub(crate) fn arrived(&mut self, connection: Connection) {
        let peer = connection.peer();
        if !self.is_welcome(&peer) {
            *self.refused.entry("stranger").or_default() += 1;
            tracing::info!(%peer, "turned away: it was not added here");
            connection.close(CloseCode::STRANGER, "not added here");
            return;
        }
        if !self.is_added(&peer) && self.stranger_rate.check().is_err() {
            *self.refused.entry("stranger_rate").or_default() += 1;
            connection.close(CloseCode::BUSY, "too many strangers at once");
            return;
        }
        if self.arrived.values().filter(|other| other.peer() == peer).count() >= ARRIVED_PER_PEER {
            connection.close(CloseCode::REPLACED, "too many connections of one agent");
            return;
        }
        if self.is_stranger_at_door(&peer) {
            if self.strangers_at_door() >= limit::KNOCKING_MAX {
                *self.refused.entry("strangers_max").or_default() += 1;
                return connection.close(CloseCode::BUSY, "too many strangers at once");
            }
            self.show_out_after(peer, STRANGER_STAYS);
        } else {
            connection.welcome();
        }
        let link = self.new_link();
        self.arrived.insert(link, connection.clone());
        self.tasks.tracker.spawn(links::serve(link, connection, false, self.tasks.clone()));
    }

    fn strangers_at_door(&self) -> usize {
        self.arrived.values().filter(|connection| self.is_stranger_at_door(&connection.peer())).count()
    }

    /// An agent was added that is here already, to knock.
    pub(crate) fn welcome_arrived(&self, agent: &AgentId) {
        self.arrived.values().filter(|connection| connection.peer() == *agent).for_each(Connection::welcome);
    }

    const fn new_link(&mut self) -> LinkId {
        self.next_link += 1;
        self.next_link
    }

    pub(crate) fn link_up(&mut self, link: LinkId, connection: Connection, frames: Outgoing) {
        let peer = connection.peer();
        if !self.is_welcome(&peer) {
            // It was removed while this was under way.
            connection.close(CloseCode::STRANGER, "not added here");
            return;
        }
        // Whoever turns away does so on a connection: there what it said before stands until a frame is taken from it.
        if self.problems.get(&peer).is_some_and(|problem| problem != links::TURNED_AWAY) {
            self.problems.remove(&peer);
        }
        self.reached(&peer);
        let links = self.links.entry(peer).or_default();
        links.push(LinkUp { id: link, connection: connection.clone(), frames, since: Instant::now() });
        if links.len() > LINKS_PER_PEER {
            links.remove(0).connection.close(CloseCode::REPLACED, "newer connections are kept");
        }
        self.send_again(peer);
        // contracts/handshake.md H17: only a start that is due, and could not be asked for without a connection.
        if self.starts_due.remove(&peer) && self.peer.wants_session(&peer) {
            self.tasks.tracker.spawn(links::ask_bundle(connection, self.tasks.clone()));
        }
        self.fetch_payloads(peer);
    }

    /// What is under way to a peer that has connected goes again at once; to one that connects all the time, now and then.
    fn send_again(&mut self, peer: AgentId) {
        if self.peer.contact(&peer).is_none() || !self.has_randomness() || !self.rests.begin(peer) {
            return;
        }
        let urgent = self.tasks.urgent.clone();
        self.tasks.tracker.spawn(async move {
            tokio::time::sleep(CONNECTED_PAUSE).await;
            // The actor may have stopped.
            let _ = urgent.send(Wake::Rested { peer });
        });
        if let Some(step) = self.peer.connected(peer, now(), &mut self.entropy) {
            self.commit(step);
        }
    }

    pub(crate) fn rested(&mut self, peer: AgentId) {
        if self.rests.end(&peer) && self.links.contains_key(&peer) {
            self.send_again(peer);
        }
    }

    pub(crate) fn link_down(&mut self, link: LinkId, peer: AgentId, reason: String) {
        self.arrived.remove(&link);
        if let Some(links) = self.links.get_mut(&peer) {
            links.retain(|up| up.id != link);
            if links.is_empty() {
                self.links.remove(&peer);
                self.forget_queries(&peer);
            }
        }
        tracing::info!(%peer, reason, "connection ended");
        if self.peer.contact(&peer).is_some() {
            self.problems.insert(peer, reason);
        }
        // Whoever has begun it reaches this agent no more where the address is another now, and resends may be a minute apart.
        if self.peer.outbox().any(|(to, ..)| to == peer) {
            self.dial(peer);
        }
    }

    /// Who was turned away dials again only for what waits. The task that dialled rests: another's connection it may be serving.
    // contracts/transport.md, `stranger`.
    pub(crate) fn dial_only_for_what_waits(&mut self, peer: AgentId, turned_away_on: LinkId) {
        let waits = self.starts_due.contains(&peer) || self.peer.outbox().any(|(to, ..)| to == peer);
        let rests = self.dialling.get(&peer).is_some_and(|dialling| dialling.link == turned_away_on);
        if !waits
            && rests
            && let Some(dialling) = self.dialling.remove(&peer)
        {
            dialling.cancel.cancel();
        }
    }

    /// Ends the connections with an agent that is not talked to any more, those that carry no frames among them, and no longer dials it.
    pub(crate) fn cut_off(&mut self, agent: AgentId, reason: &str) {
        if let Some(dialling) = self.dialling.remove(&agent) {
            dialling.cancel.cancel();
        }
        let carrying = self.links.remove(&agent).unwrap_or_default().into_iter().map(|up| up.connection);
        let arrived = self.arrived.values().filter(|connection| connection.peer() == agent).cloned();
        carrying.chain(arrived).for_each(|connection| connection.close(CloseCode::STRANGER, reason));
        self.starts_due.remove(&agent);
        self.forget_queries(&agent);
    }

    /// Makes sure that the peer is being reached, if it is known where.
    pub(crate) fn dial(&mut self, peer: AgentId) {
        let Some(info) = self.peer.contact(&peer) else { return };
        if !self.hears_peers()
            || info.endpoints.is_empty()
            || info.retired
            || self.links.contains_key(&peer)
            || self.dialling.contains_key(&peer)
        {
            return;
        }
        let endpoints = info.endpoints.clone();
        let id = self.new_link();
        let (link, tasks, cancel) = (Arc::clone(&self.link), self.tasks.clone(), self.cancel.child_token());
        let hurry = Arc::new(Notify::new());
        self.dialling.insert(peer, Dialling { link: id, cancel: cancel.clone(), hurry: Arc::clone(&hurry) });
        self.tasks.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = crate::dial::dial(link, id, (peer, endpoints), hurry, tasks) => {}
            }
        });
    }

    /// What is known of a peer's addresses has changed: a task that tries the former ones ends, and another begins.
    pub(crate) fn dial_anew(&mut self, peer: AgentId) {
        if self.links.contains_key(&peer) {
            return;
        }
        if let Some(former) = self.dialling.remove(&peer) {
            former.cancel.cancel();
        }
        self.problems.remove(&peer);
        if self.starts_due.contains(&peer) || self.peer.outbox().any(|(to, ..)| to == peer) {
            self.dial(peer);
        }
    }

    /// There is a new cause to reach a peer: what its owner asks for, or another roster. Whoever dials it does so now, and does not wait until a pause is
    /// over that has grown while the peer was away.
    pub(crate) fn hurry(&mut self, peer: AgentId) {
        let Some(dialling) = self.dialling.get(&peer).filter(|_| !self.links.contains_key(&peer)) else { return };
        if self.hurries.begin(peer, Instant::now()) {
            dialling.hurry.notify_one();
        }
    }

    /// The same of all members of a channel, and of whoever invites into it.
    pub(crate) fn hurry_channel(&mut self, channel: &ChannelId) {
        let members = self.peer.channel(channel).into_iter().flat_map(|record| record.roster().members());
        let mut wanted: Vec<AgentId> = members.map(|(agent, _)| *agent).collect();
        wanted.extend(self.peer.channel_invitations().filter(|(id, _)| id == channel).map(|(_, invited)| invited.by));
        wanted.into_iter().for_each(|agent| self.hurry(agent));
    }

    pub(crate) fn want_bundle(&mut self, of: AgentId) {
        match self.connection_of(&of) {
            Some(connection) => drop(self.tasks.tracker.spawn(links::ask_bundle(connection, self.tasks.clone()))),
            None => {
                self.starts_due.insert(of);
                self.dial(of);
                self.claim_bundle(of);
            }
        }
    }

    pub(crate) fn bundle_came(&mut self, of: AgentId, bundle: Result<Vec<u8>, String>) {
        let parsed = bundle.and_then(|bytes| {
            let bundle = Bundle::parse(&bytes, now()).map_err(|error| error.to_string())?;
            if bundle.agent == of { Ok(bundle) } else { Err("its bundle is another agent's".to_owned()) }
        });
        let bundle = match parsed {
            Ok(bundle) => bundle,
            Err(reason) => {
                tracing::info!(peer = %of, reason, "no bundle");
                // Why the connection ended says more.
                self.problems.entry(of).or_insert(reason);
                return;
            }
        };
        if !self.has_randomness() {
            return;
        }
        match self.peer.begin(&bundle, now(), &mut self.entropy) {
            Ok(step) => self.commit(step),
            Err(error) => tracing::debug!(peer = %of, %error, "no session begun"),
        }
    }

    pub(crate) fn bundle_asked(&mut self, by: AgentId, answer: oneshot::Sender<Vec<u8>>) {
        if !self.is_welcome(&by) || self.bundle_rate.check_key(&by).is_err() {
            *self.refused.entry("prekey_rate").or_default() += 1;
            return;
        }
        if self.is_stranger_at_door(&by) && self.stranger_bundle_rate.check().is_err() {
            *self.refused.entry("prekey_rate").or_default() += 1;
            return;
        }
        self.next_request += 1;
        let endpoints = self.endpoints();
        match self.peer.claim(by, self.next_request, &endpoints, now()) {
            Ok(step) => {
                self.bundle_requests.insert(self.next_request, answer);
                self.commit(step);
            }
            Err(error) => tracing::warn!(%error, "no bundle to give"),
        }
    }

    /// Where others reach this agent.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        if !self.config.advertise.is_empty() {
            return self.config.advertise.clone();
        }
        let listening = self.config.listen.and_then(|_| self.link.local_addr().ok());
        // An unspecified address is none that somebody else could dial.
        listening.filter(|addr| !addr.ip().is_unspecified()).map(|addr| vec![addr.to_string()]).unwrap_or_default()
    }

    pub(crate) fn connection_of(&self, peer: &AgentId) -> Option<Connection> {
        self.links.get(peer).and_then(|links| links.last()).map(|up| up.connection.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often somebody gives cause, an agent dials no faster.
    #[test]
    fn a_cause_that_comes_all_the_time_makes_nobody_dial_in_a_loop() {
        let peer = |seed| {
            let key = nuncio_proto::crypto::SigningKey::from_seed(&[seed; 32]);
            AgentId::from_bytes(key.public()).unwrap()
        };
        let (mut hurries, start) = (Hurries::default(), Instant::now());
        let every = HURRY_PAUSE / 10;
        let begun = (0..100).filter(|n| hurries.begin(peer(7), start + every * *n)).count();
        assert_eq!(begun, 10);
        assert!(hurries.begin(peer(8), start), "another has its own");
        assert!(hurries.begin(peer(7), start + HURRY_PAUSE * 100));
        assert_eq!(hurries.0.len(), 1, "nothing is kept of who rests no more");
    }

    #[test]
    fn a_peer_that_connects_all_the_time_is_sent_everything_now_and_then() {
        let key = nuncio_proto::crypto::SigningKey::from_seed(&[7; 32]);
        let (peer, mut rests) = (AgentId::from_bytes(key.public()).unwrap(), Rests::default());
        assert!(rests.begin(peer));
        assert!(!rests.begin(peer) && !rests.begin(peer));
        assert!(rests.end(&peer), "it came again");
        assert!(rests.begin(peer));
        assert!(!rests.end(&peer), "it did not");
    }
}
