//! Mailboxes as the actor sees them: ours, which frames are fetched from and listed beside, and peers', where frames for them are left.
//!
//! ```text
//!   ours    fetching ── Fetched ──► receive(None, ..) ── durable ──► taken
//!   a peer's   no link, and none to be had ──► Peer::mail ──► depositing ── Deposited ──► Peer::mailed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::ExponentialBackoff;
use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::deposit::MailboxSecret;
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::Way;
use tokio::sync::{Notify, oneshot, watch};

use crate::actor::{Actor, StoreSeen};
use crate::aside::Fate;
use crate::command::Reply;
use crate::depositing::{self, Deposited, NotKept};
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::fetching::{self, Left, Listing, Post};
use crate::node::Node;
use crate::sharing::Sharing;
use crate::status::MailboxStatus;
use crate::wake::{Answer, Wake};

/// Frames left for one peer over one connection: fewer than a deposit key's burst.
const FRAMES_AT_ONCE: usize = 64;
/// Between two acknowledgements alone for one peer.
const ACK_EVERY: Duration = Duration::from_millis(time::MAIL_ACK_EVERY);

/// What a problem with a peer's mailbox begins with.
const PROBLEM: &str = "mailbox: ";

/// What the actor knows of mailboxes, beside what the protocol keeps.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    /// Tells the tasks of our own which secret its node is to have.
    secret: Option<watch::Sender<MailboxSecret>>,
    look: Arc<Notify>,
    waits: Option<String>,
    opened: bool,
    left: Option<u64>,
    /// A bundle was listed since the start.
    listed: bool,
    /// Peers that no address has reached since they were connected last.
    unreached: BTreeSet<AgentId>,
    peers: BTreeMap<AgentId, Leaving>,
    /// Of letters that were sealed once, by the mailbox.
    pub(crate) nodes: BTreeMap<String, Sharing>,
}

/// How frames are left for one peer.
#[derive(Debug, Default)]
struct Leaving {
    /// A task leaves some.
    busy: bool,
    /// Nothing is tried before a pause is over.
    rests: bool,
    /// Of tries that brought nothing.
    pauses: Option<ExponentialBackoff>,
    /// An acknowledgement alone waits for its time.
    ack_rests: bool,
    /// When one was left last.
    acked: Option<Instant>,
}

impl Mailboxes {
    /// Whether frames are being left for a peer.
    pub(crate) fn is_busy(&self, peer: &AgentId) -> bool {
        self.peers.get(peer).is_some_and(|leaving| leaving.busy)
    }

    /// Whether nothing is left for a peer until a pause is over.
    pub(crate) fn rests(&self, peer: &AgentId) -> bool {
        self.peers.get(peer).is_some_and(|leaving| leaving.rests)
    }
}

impl Actor {
    /// Has the mailbox that it is to have, or none.
    pub(crate) fn resume_mailbox(&mut self) -> Result<(), Error> {
        let at = match &self.config.trust {
            Some(trust) if self.config.mailbox => {
                let endpoint = trust.node.endpoints.first().ok_or(Error::MailboxNowhere)?;
                let at = Mailbox { node: trust.node.agent, endpoint: endpoint.clone() };
                // What peers would refuse is not told to them.
                Some(at.to_string().parse().map_err(|_| Error::MailboxNowhere)?)
            }
            None if self.config.mailbox => return Err(Error::MailboxNowhere),
            _ => None,
        };
        let had = self.peer.mailbox().cloned();
        if !self.has_randomness() {
            return Ok(());
        }
        if let Some(step) = self.peer.set_mailbox(at.clone(), &mut self.entropy) {
            self.commit(step);
        }
        let former = had.filter(|had| at.as_ref().is_none_or(|at| at.node != had.node));
        if let Some(former) = former {
            self.tasks.tracker.spawn(fetching::close(self.node_at(&former), self.cancel_token()));
        }
        Ok(())
    }

    /// Begins to fetch.
    pub(crate) fn open_mailbox(&mut self) {
        let (Some(at), Some(secret)) = (self.peer.mailbox(), self.peer.mailbox_secret()) else { return };
        let (node, (tells, secret)) = (self.node_at(at), watch::channel(secret.clone()));
        self.mail.secret = Some(tells);
        let post = Post { node, tasks: self.tasks.clone(), secret, look: Arc::clone(&self.mail.look) };
        self.tasks.tracker.spawn(fetching::keep(post, self.cancel_token()));
    }

    fn node_at(&self, at: &Mailbox) -> Arc<Node> {
        Arc::new(Node::new(Arc::clone(&self.link), at.node, vec![at.endpoint.clone()]))
    }

    /// The node has a secret of ours: contacts may be told, if it is still the one.
    pub(crate) fn mailbox_opened(&mut self, secret: &MailboxSecret) {
        if self.peer.mailbox_secret() == Some(secret) {
            (self.mail.opened, self.mail.waits) = (true, None);
            self.peer.mailbox_opened();
        }
    }

    pub(crate) fn mailbox_waits(&mut self, why: Option<String>) {
        (self.mail.opened, self.mail.waits) = (why.is_none(), why);
    }

    /// Another secret: no deposit key of before serves, once the node has it.
    pub(crate) fn renew_mailbox(&mut self, reply: Reply<()>) {
        if !self.has_randomness() {
            return;
        }
        let Some(step) = self.peer.renew_mailbox(&mut self.entropy) else {
            return tell(reply, Err(Error::MailboxNowhere));
        };
        self.commit_with(step, vec![answer(reply, ())]);
        if let (Some(tells), Some(secret)) = (&self.mail.secret, self.peer.mailbox_secret()) {
            tells.send_replace(secret.clone());
        }
    }

    /// Takes what was fetched, as from nobody: what became of it, up to where there is no room.
    // contracts/mailbox.md M10, M11, M17.
    pub(crate) fn fetched(&mut self, frames: &[Bytes], taken: oneshot::Sender<Vec<Fate>>) {
        let mut fates = Vec::new();
        for frame in frames {
            let fate = if self.has_randomness() { self.take_fetched(frame) } else { None };
            let Some(fate) = fate else { break };
            fates.push(fate);
        }
        // Whoever fetches may have gone: it is fetched again.
        self.when_durable(Answer(Box::new(move || {
            let _ = taken.send(fates);
        })));
    }

    /// `None`: there is no room for any now.
    fn take_fetched(&mut self, frame: &Bytes) -> Option<Fate> {
        self.wire.received(frame.len());
        match self.peer.receive(None, frame, now(), &mut self.entropy, &StoreSeen(&self.store)) {
            Ok(step) => {
                self.commit(step);
                Some(Fate::Done)
            }
            Err(refusal) => {
                *self.refused.entry(refusal.name()).or_default() += 1;
                tracing::debug!(%refusal, "frame out of the mailbox refused");
                if let Some(step) = self.peer.ack_again(&refusal, frame, &mut self.entropy) {
                    self.commit(step);
                }
                Fate::of(&refusal)
            }
        }
    }

    /// What the directory lacks.
    // contracts/directory.md D6, D7.
    pub(crate) fn listed(&mut self, left: Left, list: oneshot::Sender<Listing>) {
        let half = now().plus(time::SIGNED_PREKEY_LIFE / 2).0;
        let is_stale = !self.mail.listed || left.valid_until_ms.is_none_or(|until| until < half);
        let mut listing = Listing::default();
        if is_stale {
            let bundle = self.peer.bundle(&self.endpoints(), now());
            listing.bundle = bundle.inspect_err(|error| tracing::warn!(%error, "no bundle to list")).ok();
            self.mail.listed = listing.bundle.is_some();
        }
        let newest = self.peer.listed_batch().filter(|batch| left.batch.is_none_or(|had| batch.number() > had));
        let low = left.left < u64::try_from(limit::ONE_TIME_LOW).unwrap_or(u64::MAX);
        if let Some(batch) = newest {
            // Its listing was cut off.
            listing.batch = Some(batch.to_bytes());
        } else if low && self.has_randomness() {
            if left.batch.is_some() {
                tracing::warn!(left = left.left, "few one-time prekeys are left in the directory: more are listed");
            }
            if let Some(step) = self.peer.list_batch(left.batch, now(), &mut self.entropy) {
                self.commit(step);
                listing.batch = self.peer.listed_batch().map(|batch| batch.to_bytes());
            }
        }
        self.when_durable(Answer(Box::new(move || drop(list.send(listing)))));
    }

    pub(crate) const fn mail_left(&mut self, left: Left) {
        self.mail.left = Some(left.left);
    }

    /// A prekey that the directory gave was used: fewer are left there.
    pub(crate) fn listed_used(&self) {
        self.mail.look.notify_one();
    }

    /// Whether a peer can only be reached by way of its mailbox now.
    pub(crate) fn is_away(&self, peer: &AgentId) -> bool {
        let known = self.peer.contact(peer).filter(|info| !info.retired);
        let nowhere = known.is_some_and(|info| info.endpoints.is_empty() || self.mail.unreached.contains(peer));
        nowhere && !self.links.contains_key(peer) && self.hears_peers()
    }

    /// No address of a peer was reached: what waits for it goes by way of its mailbox, and so does what is asked for it.
    pub(crate) fn unreached(&mut self, peer: AgentId) {
        let first = self.mail.unreached.insert(peer);
        if first && self.starts_due.contains(&peer) {
            self.claim_bundle(peer);
        }
        self.mail(peer);
    }

    /// It is no peer any more.
    pub(crate) fn forget_mail(&mut self, peer: &AgentId) {
        self.mail.unreached.remove(peer);
        self.mail.peers.remove(peer);
    }

    pub(crate) fn reached(&mut self, peer: &AgentId) {
        self.mail.unreached.remove(peer);
    }

    /// Asks the directory for the bundle of a peer that cannot be asked itself.
    pub(crate) fn claim_bundle(&mut self, of: AgentId) {
        if !self.is_away(&of) {
            return;
        }
        if let Some((at, _)) = self.peer.mailbox_of(&of) {
            let node = self.node_at(at);
            self.tasks.tracker.spawn(fetching::claim(node, of, self.tasks.clone()));
        }
    }

    /// Leaves for a peer that is away what is not at its node yet.
    // contracts/mailbox.md M14.
    pub(crate) fn mail(&mut self, to: AgentId) {
        self.mail_in_session(to);
        self.share_with(&to);
    }

    /// What is read here is in memory: it leaves when all of that is on disk.
    fn mail_in_session(&mut self, to: AgentId) {
        let waits = self.mail.peers.get(&to).is_some_and(|leaving| leaving.busy || leaving.rests);
        if waits || !self.is_away(&to) || !self.has_randomness() {
            return;
        }
        let Some(mail) = self.peer.mail(to, now(), FRAMES_AT_ONCE, &mut self.entropy) else { return };
        let leaving = self.mail.peers.entry(to).or_default();
        if mail.acks_alone {
            let rest = leaving.acked.map_or(Duration::ZERO, |at| ACK_EVERY.saturating_sub(at.elapsed()));
            if !rest.is_zero() {
                if !core::mem::replace(&mut leaving.ack_rests, true) {
                    self.rest_deposits(to, rest, false);
                }
                return;
            }
            leaving.acked = Some(Instant::now());
        }
        leaving.busy = true;
        self.calls.gave(to);
        let (tasks, cancel) = (self.tasks.clone(), self.cancel.clone());
        let leave = move || {
            mail.frames.iter().for_each(|(frame, _)| nuncio_proto::seal_log::sent(frame));
            let urgent = tasks.urgent.clone();
            // The actor may have stopped: what was kept is left once more.
            let tell = move |deposited| drop(urgent.send(Wake::Deposited { to, deposited }));
            tasks.tracker.spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = depositing::deposit(to, mail, tell) => {}
                }
            });
        };
        self.when_durable(Answer(Box::new(leave)));
    }

    /// Tries again after a pause: of `failing` tries, or of acknowledgements alone.
    fn rest_deposits(&self, to: AgentId, rest: Duration, failing: bool) {
        let (urgent, cancel) = (self.tasks.urgent.clone(), self.cancel.clone());
        self.tasks.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(rest) => drop(urgent.send(Wake::DepositsRested { to, failing })),
            }
        });
    }

    pub(crate) fn deposits_rested(&mut self, to: AgentId, failing: bool) {
        if let Some(leaving) = self.mail.peers.get_mut(&to) {
            let rested = if failing { &mut leaving.rests } else { &mut leaving.ack_rests };
            *rested = false;
        }
        self.mail(to);
    }

    pub(crate) fn deposited(&mut self, to: AgentId, deposited: Deposited) {
        let Deposited { kept, acks_alone, failed } = deposited;
        if !kept.is_empty() {
            // What was taken in part goes on soon.
            self.mail.peers.entry(to).or_default().pauses = None;
            let step = self.peer.mailed(to, kept, now());
            self.commit(step);
        }
        self.mail.peers.entry(to).or_default().busy = false;
        if let Some(why) = failed {
            let at = self.peer.mailbox_of(&to).map(|(at, _)| at.clone());
            self.not_left(to, why);
            // Others at that node may have waited for what goes in front of this one's frames.
            return at.into_iter().for_each(|at| self.share(&at));
        }
        self.left(&to);
        tracing::debug!(peer = %to, acks_alone, "frames were left at its node");
        // More may have come meanwhile.
        self.mail(to);
    }

    /// A peer's node keeps what it was given for it.
    pub(crate) fn left(&mut self, to: &AgentId) {
        self.mail.peers.entry(*to).or_default().pauses = None;
        self.problems.retain(|peer, problem| peer != to || !problem.starts_with(PROBLEM));
    }

    /// A peer's node does not keep what it was given for it: it is tried again after a pause.
    pub(crate) fn not_left(&mut self, to: AgentId, why: NotKept) {
        let reason = match why {
            NotKept::Denied(key) => {
                if let Some(step) = key.and_then(|key| self.peer.deposit_denied(to, &key)) {
                    self.commit(step);
                }
                "its mailbox takes nothing of this agent until it gives another key".to_owned()
            }
            NotKept::Later(reason) => reason,
        };
        tracing::info!(peer = %to, reason, "frames were not left at its node");
        self.problems.insert(to, format!("{PROBLEM}{reason}"));
        let leaving = self.mail.peers.entry(to).or_default();
        let pause = leaving.pauses.get_or_insert_with(fetching::pauses).next();
        // One pause is enough where both ways came to nothing.
        if !core::mem::replace(&mut leaving.rests, true) {
            self.rest_deposits(to, pause.unwrap_or(ACK_EVERY), true);
        }
    }

    /// By which way a letter of ours has left: what is sealed and has no connection waits.
    pub(crate) fn way(&self, to: &AgentId, way: Way) -> Way {
        let waits = way == Way::Sealed && !self.links.contains_key(to);
        if waits { Way::Waiting } else { way }
    }

    pub(crate) fn mailbox_status(&self) -> Option<MailboxStatus> {
        Some(MailboxStatus {
            at: self.peer.mailbox()?.clone(),
            open: self.mail.opened,
            problem: self.mail.waits.clone(),
            listed_prekeys: self.mail.left,
        })
    }
}
