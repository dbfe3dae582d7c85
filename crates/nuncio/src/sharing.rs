//! Letters to channels that were sealed once, left at a node for all members that are away and have their mailboxes there
//! (contracts/mailbox.md M18, M19).
//!
//! ```text
//!   Peer::shared_mail ─► depositing::share ── Shared ──► Peer::mailed, for each that the node keeps
//!                                                   └──► a pause of its own, for each that it does not
//! ```

use backon::ExponentialBackoff;
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::SharedMail;
use std::time::Duration;

use crate::actor::Actor;
use crate::depositing::{self, Shared};
use crate::entropy::now;
use crate::fetching;
use crate::mailbox::Mailboxes;
use crate::wake::{Answer, Wake};

/// Letters left over one connection: fewer than a deposit key's burst.
const LETTERS_AT_ONCE: usize = 64;
/// A pause that has no length of its own.
const PAUSE: Duration = Duration::from_secs(1);

/// How letters are left at one node.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// A task leaves some.
    busy: bool,
    /// Nothing is tried before a pause is over.
    rests: bool,
    /// Of tries that brought nothing.
    pauses: Option<ExponentialBackoff>,
}

impl Mailboxes {
    /// Whether letters are being left at a node, or none until a pause is over.
    fn waits(&self, at: &Mailbox) -> bool {
        self.nodes.get(&at.to_string()).is_some_and(|sharing| sharing.busy || sharing.rests)
    }
}

impl Actor {
    /// Leaves what was sealed once for a peer that is away, and for others like it.
    pub(crate) fn share_with(&mut self, peer: &AgentId) {
        // Whoever rests is asked again when the pause is over.
        if self.mail.rests(peer) {
            return;
        }
        let at = self.peer.mailbox_of(peer).and_then(|(at, has_key)| has_key.then(|| at.clone()));
        if let Some(at) = at.filter(|at| !self.mail.waits(at) && self.peer.owes_frames(peer, now())) {
            self.share(&at);
        }
    }

    /// Leaves at a node what was sealed once and is not there yet. What is read here is in memory: it leaves when all of that is on disk.
    // contracts/mailbox.md M19.
    pub(crate) fn share(&mut self, at: &Mailbox) {
        // One deposit for all: those whose keys are being left right now are waited for.
        if self.mail.waits(at) || self.peer.shared_mail_waits(at, |agent| self.mail.is_busy(agent)) {
            return;
        }
        let is_for = |agent: &AgentId| !self.mail.rests(agent) && self.is_away(agent);
        let mail = self.peer.shared_mail(at, is_for, now(), LETTERS_AT_ONCE);
        if mail.is_empty() {
            return;
        }
        self.mail.nodes.entry(at.to_string()).or_default().busy = true;
        let (tasks, cancel, at) = (self.tasks.clone(), self.cancel.clone(), at.clone());
        let leave = move || {
            mail.iter().for_each(note_sent);
            let (urgent, from) = (tasks.urgent.clone(), at.clone());
            // The actor may have stopped: what was kept is left once more.
            let tell = move |shared| drop(urgent.send(Wake::Shared { at: from, shared }));
            tasks.tracker.spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = depositing::share(at, mail, tell) => {}
                }
            });
        };
        self.when_durable(Answer(Box::new(leave)));
    }

    /// Letters were left at a node, for some of those for whom they are.
    pub(crate) fn shared(&mut self, at: &Mailbox, shared: Shared) {
        let Shared { kept, refused, failed } = shared;
        for (to, letters) in kept {
            if !refused.contains_key(&to) {
                self.left(&to);
            }
            let step = self.peer.mailed(to, letters, now());
            self.commit(step);
        }
        // One recipient's full mailbox holds up no other.
        refused.into_iter().for_each(|(to, why)| self.not_left(to, why));
        let sharing = self.mail.nodes.entry(at.to_string()).or_default();
        sharing.busy = false;
        let Some(reason) = failed else {
            sharing.pauses = None;
            // More may have come meanwhile.
            return self.share(at);
        };
        tracing::info!(node = %at.node, reason, "letters to channels were not left at a node");
        sharing.rests = true;
        let pause = sharing.pauses.get_or_insert_with(fetching::pauses).next().unwrap_or(PAUSE);
        let (urgent, cancel, at) = (self.tasks.urgent.clone(), self.cancel.clone(), at.clone());
        self.tasks.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => drop(urgent.send(Wake::SharingRested(at))),
            }
        });
    }

    pub(crate) fn sharing_rested(&mut self, at: &Mailbox) {
        if let Some(sharing) = self.mail.nodes.get_mut(&at.to_string()) {
            sharing.rests = false;
        }
        self.share(at);
    }
}

/// For the record of what was sealed, in builds that keep one.
fn note_sent(mail: &SharedMail) {
    for (.., mac) in &mail.to {
        nuncio_proto::seal_log::sent(&[mail.common.as_slice(), mac].concat());
    }
}
