//! The handle that a program holds.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use nuncio_proto::ids::AgentId;
use nuncio_proto::peer::ContactInfo;
use nuncio_proto::time::UnixMillis;
use nuncio_store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{self, Actor};
use crate::chunks::{self};
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::entropy;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::home;
use crate::inbox::Inbox;
use crate::message::Incoming;
use crate::status::{PeerInfo, SessionInfo, Status};
use crate::transaction::{Subject, Transaction};
use nuncio_proto::invitation::Invitation;
use nuncio_proto::token::Scope;

mod sending;

/// An agent that runs. Clones are the same agent; it stops with [`Agent::shutdown`].
#[derive(Clone, Debug)]
pub struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: AgentId,
    home: PathBuf,
    /// The actor and the writer hold the store; when they have stopped, the home is free.
    store: Weak<Store>,
    commands: mpsc::Sender<Command>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    exchange: Option<Arc<Exchange>>,
}

impl Agent {
    /// Opens a home and starts its agent. One agent at a time holds a home.
    ///
    /// # Errors
    /// A store that is locked, damaged, newer, or under another key; an address that cannot be listened on.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let opened = config.clone();
        let (store, peer) = chunks::blocking(move || home::open(&opened)).await?;
        let store = Arc::new(store);
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let (id, home, weak) = (peer.id(), store.home().to_owned(), Arc::downgrade(&store));
        let (actor, commands) = Actor::new(config, store, peer, tasks.clone(), cancel.clone())?;
        let exchange = actor.exchange();
        tasks.spawn(actor.run());
        Ok(Self { shared: Arc::new(Shared { id, home, store: weak, commands, tasks, cancel, exchange }) })
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> AgentId {
        self.shared.id
    }

    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.shared.commands.send(make(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Says something that has no answer. `false`: it was not said, since much waits or the agent has stopped.
    pub(crate) fn tell(&self, what: Command) -> bool {
        self.shared.commands.try_send(what).is_ok()
    }

    /// Begins a transaction: asks the trust domain's token service for a token that says for whom and for what this agent acts. `details` stay as
    /// they are through the whole transaction, as far as the service's policy takes them over.
    ///
    /// # Errors
    /// [`Error::NoTrust`]; [`Error::TokenRefused`] with the service's reason; [`Error::Node`] when it cannot be reached.
    pub async fn begin(
        &self,
        subject: Subject,
        scope: &Scope,
        details: Option<&serde_json::Value>,
    ) -> Result<Transaction, Error> {
        self.exchange()?.begin(subject, scope, details, None).await
    }

    /// Revokes a transaction: no token of it is issued any more, and agents of the domain refuse those there are once they have heard of it: this one asks for the list at once and hands it on to its peers.
    ///
    /// # Errors
    /// As [`Agent::begin`]; [`Error::TokenRefused`] for an agent that the service's policy does not name as an operator.
    pub async fn revoke(&self, transaction: &Transaction) -> Result<(), Error> {
        self.exchange()?.revoke(transaction).await
    }

    /// The same transaction with a token that lives longer. Only one that this agent began is renewed; any other comes back as it is.
    ///
    /// # Errors
    /// As [`Agent::begin`].
    pub async fn renewed(&self, transaction: &Transaction) -> Result<Transaction, Error> {
        self.exchange()?.renewed(transaction).await
    }

    /// Whether it is of a trust domain, whose node gives it tokens.
    #[must_use]
    pub fn is_of_trust_domain(&self) -> bool {
        self.shared.exchange.is_some()
    }

    fn exchange(&self) -> Result<&Exchange, Error> {
        self.shared.exchange.as_deref().ok_or(Error::NoTrust)
    }

    /// Runs until it has ended, or the agent stops.
    pub(crate) fn spawn_while_running(&self, what: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.shared.cancel.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = what => {}
            }
        });
    }

    /// The letters that are there and those that come.
    pub async fn inbox(&self) -> Result<Inbox, Error> {
        let letters = self.ask(|reply| Command::Subscribe { reply }).await?;
        Ok(Inbox { letters })
    }

    /// Up to `max` letters of the inbox with numbers above `after`, ascending.
    pub async fn letters(&self, after: Option<u64>, max: usize) -> Result<Vec<Incoming>, Error> {
        self.ask(|reply| Command::Letters { after, max, reply }).await
    }

    /// One letter of the inbox.
    pub async fn letter(&self, no: u64) -> Result<Option<Incoming>, Error> {
        let letters = self.letters(no.checked_sub(1), 1).await?;
        Ok(letters.into_iter().find(|letter| letter.no == no))
    }

    /// A number that grows with every letter that arrives: what a long poll waits on.
    pub async fn arrivals(&self) -> Result<watch::Receiver<u64>, Error> {
        self.ask(|reply| Command::Arrivals { reply }).await
    }

    /// Removes a letter from the inbox, for good: on disk when this returns. `false` if it is not there.
    pub async fn done(&self, no: u64) -> Result<bool, Error> {
        self.ask(|reply| Command::Done { no, reply }).await
    }

    /// The line to paste to another agent.
    pub async fn invitation(&self) -> Result<Invitation, Error> {
        self.ask(|reply| Command::Invite { reply }).await
    }

    /// Adds a peer from its invitation: from now on its letters are taken, and letters can be sent to it.
    pub async fn add_peer(&self, invitation: &Invitation, name: Option<&str>) -> Result<AgentId, Error> {
        let agent = invitation.agent;
        let info = ContactInfo {
            name: name.map(str::to_owned),
            endpoints: invitation.endpoints.clone(),
            allowed: true,
            bundle_hash: invitation.bundle_hash,
            ..ContactInfo::default()
        };
        let mailbox = invitation.mailbox.clone();
        self.ask(|reply| Command::AddPeer { agent, info, mailbox, reply }).await?;
        Ok(agent)
    }

    /// Removes a peer: its sessions and connections end, letters to it fail, nothing of it is taken any more. `false` if it is not known. With one that
    /// shares a channel the channel's letters go on, and those beside it end; [`Agent::remove_from_channel`] or [`Agent::leave_channel`] ends the rest.
    pub async fn remove_peer(&self, agent: AgentId) -> Result<bool, Error> {
        self.ask(|reply| Command::RemovePeer { agent, reply }).await
    }

    /// Makes another secret for this agent's mailbox: nobody leaves frames there any more by a key that was given before, and every peer is given another.
    ///
    /// # Errors
    /// [`Error::MailboxNowhere`] without a mailbox.
    pub async fn renew_mailbox(&self) -> Result<(), Error> {
        self.ask(|reply| Command::RenewMailbox { reply }).await
    }

    /// Takes a signed statement that retires an identity: of this agent, which then tells its peers, or of a peer.
    pub async fn retire(&self, statement: Vec<u8>) -> Result<AgentId, Error> {
        self.ask(|reply| Command::Retire { statement, reply }).await
    }

    /// The agent that a text names: a `did:key`, or a peer's short name.
    pub async fn resolve(&self, text: &str) -> Result<AgentId, Error> {
        if let Ok(agent) = text.parse() {
            return Ok(agent);
        }
        let peers = self.peers().await?;
        let named = peers.into_iter().find(|peer| peer.name.as_deref() == Some(text));
        named.map(|peer| peer.agent).ok_or_else(|| Error::NoSuchPeer(text.to_owned()))
    }

    /// Known agents.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Error> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// Sessions.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        self.ask(|reply| Command::Sessions { reply }).await
    }

    /// How the agent fares.
    pub async fn status(&self) -> Result<Status, Error> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// The store, for backups and for its epochs. Whoever keeps it keeps the home locked.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub fn store(&self) -> Result<Arc<Store>, Error> {
        self.shared.store.upgrade().ok_or(Error::Stopped)
    }

    /// Takes no new work, commits what is staged, closes its connections with a reason. Letters that are not acknowledged go on at the next
    /// start.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let answer = self.ask(|reply| Command::Shutdown { reply }).await;
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        // What hangs in a socket is not waited for longer than this.
        let _ = tokio::time::timeout(actor::SHUTDOWN_PATIENCE, self.shared.tasks.wait()).await;
        match answer {
            Err(Error::Stopped) => Ok(()),
            other => other,
        }
    }

    /// Waits until the agent has stopped, by [`Agent::shutdown`] or because its store failed.
    pub async fn stopped(&self) {
        self.shared.commands.closed().await;
    }

    /// The time by which this agent stamps letters.
    #[must_use]
    pub fn now() -> UnixMillis {
        entropy::now()
    }
}

#[cfg(test)]
mod tests;
