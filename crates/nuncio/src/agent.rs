//! The handle that a program holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nuncio_contracts::registry::{code, extension, limit};
use nuncio_proto::audit::{KeptOpening, Opening};
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::{Extension, Letter};
use nuncio_proto::peer::{ContactInfo, Way, failed_letter};
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Store};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{self, Actor};
use crate::answer::HeldAnswer;
use crate::chunks::{self, Unsent};
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::entropy;
use crate::error::Error;
use crate::exchange::{Exchange, Wanted};
use crate::home;
use crate::inbox::Inbox;
use crate::message::{Body, Incoming, Message, Under};
use crate::status::{PeerInfo, SessionInfo, Status, Undelivered};
use crate::tally;
use crate::transaction::{Subject, Transaction};
use nuncio_proto::invitation::Invitation;
use nuncio_proto::token::{Receiver, Scope};

/// Between two tries to reach the token service.
const TOKEN_RETRY: Duration = Duration::from_millis(500);

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

    /// Accepts a letter for a peer: it is on disk when this returns, and from then on delivered once or reported as failed.
    ///
    /// # Errors
    /// An unknown or retired peer, a full outbox, a payload over 1 GiB, or a store that cannot write.
    pub async fn send(&self, to: AgentId, message: Message) -> Result<LetterId, Error> {
        let (letter, payload) = self.write(to, message).await?;
        self.ask(|reply| Command::Send { to, letter: Box::new(letter), payload, reply }).await
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

    /// The token for a letter under a transaction.
    async fn token(&self, to: Receiver, under: &Under, letter: &Letter) -> Result<Vec<u8>, Error> {
        let exchange = self.exchange()?;
        let content = under.bound.then(|| letter.bound_content());
        let wanted = Wanted { to, scope: under.scope.as_ref(), content: content.as_deref() };
        let patience = tokio::time::Instant::now() + under.patience.unwrap_or_default();
        loop {
            match exchange.hand_on(&under.transaction, &wanted).await {
                Err(Error::Node(_)) if tokio::time::Instant::now() + TOKEN_RETRY < patience => {
                    tokio::time::sleep(TOKEN_RETRY).await;
                }
                other => return Ok(other?.text().as_bytes().to_vec()),
            }
        }
    }

    async fn write(&self, to: AgentId, message: Message) -> Result<(Letter, Option<Unsent>), Error> {
        self.write_as(to, Self::new_letter_id()?, None, message).await
    }

    /// An id that no letter has, for a caller that must know it before it sends.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn new_letter_id() -> Result<LetterId, Error> {
        Ok(LetterId::new(entropy::now(), entropy::random()?))
    }

    pub(crate) async fn write_as(
        &self,
        to: AgentId,
        id: LetterId,
        extension: Option<Extension>,
        message: Message,
    ) -> Result<(Letter, Option<Unsent>), Error> {
        let now = entropy::now();
        let mut letter = Letter::plain(id, message.content_type, Vec::new());
        extension.into_iter().for_each(|extension| letter.set_extension(extension));
        letter.reply_to = message.reply_to;
        letter.deadline = message.expires_in.map(|life| now.plus(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
        let payload = match message.body {
            Body::Bytes(bytes) if bytes.len() <= limit::PAYLOAD_INLINE_MAX => {
                letter.payload = bytes;
                None
            }
            body => Some(chunks::seal_body(&self.shared.home, body).await?),
        };
        if let Some(payload) = &payload {
            let value = payload.handle().encode();
            letter.set_extension(Extension { number: extension::LARGE_PAYLOAD, critical: true, value });
        }
        self.put_under(&mut letter, to.into(), message.under.as_ref(), message.raw_token).await?;
        Ok((letter, payload))
    }

    /// Gives a letter the token that it acts with.
    pub(crate) async fn put_under(
        &self,
        letter: &mut Letter,
        to: Receiver,
        under: Option<&Under>,
        raw_token: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        if let Some(token) = raw_token {
            letter.set_token(token);
        } else if let Some(under) = under {
            let token = self.token(to, under, letter).await?;
            letter.set_token(token);
            if under.proved {
                letter.want_proof();
            }
        }
        Ok(())
    }

    /// Sends a letter and waits for the letter that answers it. Dropping the future stops the waiting, not the letter.
    ///
    /// The answer is in no inbox: when this returns it is in the caller's memory alone. A program that must not lose it to a crash of its own uses
    /// [`Agent::request_held`]. A large payload of it is on disk for as long as a clone of the [`Incoming`] or of its [`Payload`](crate::Payload) is
    /// there, and no longer than the agent runs: save or read it before.
    ///
    /// # Errors
    /// As [`Agent::send`]; [`Error::NotDelivered`] if the letter fails; [`Error::TimedOut`].
    pub async fn request(&self, to: AgentId, message: Message, timeout: Duration) -> Result<Incoming, Error> {
        self.request_held(to, message, timeout).await?.take().await
    }

    /// [`Agent::request`], whose answer is kept until it is taken: after a crash, or when it is dropped, it is in the inbox.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn request_held(&self, to: AgentId, message: Message, timeout: Duration) -> Result<HeldAnswer, Error> {
        let message =
            Message { expires_in: Some(message.expires_in.map_or(timeout, |life| life.min(timeout))), ..message };
        let deadline = tokio::time::Instant::now() + timeout;
        let (letter, payload) = self.write(to, message).await?;
        // Lives as long as somebody waits here.
        let (_asking, gone) = oneshot::channel();
        let answer = self.ask(|reply| Command::Request { to, letter: Box::new(letter), payload, reply, gone });
        match tokio::time::timeout_at(deadline, answer).await {
            // Its letter lives as long as somebody waits.
            Err(_) | Ok(Err(Error::NotDelivered(code::EXPIRED))) => Err(Error::TimedOut),
            Ok(answered) => answered,
        }
    }

    /// Waits until the peer has the letter, and its large payload if it has one, on disk.
    ///
    /// # Errors
    /// [`Error::NotDelivered`] with the reason if it failed.
    pub async fn delivered(&self, to: AgentId, id: LetterId) -> Result<(), Error> {
        self.ask(|reply| Command::AwaitDelivery { to, id, reply }).await
    }

    /// Letters that are on their way, and those that failed and are remembered (as long as a letter may live), the oldest first.
    pub async fn undelivered(&self) -> Result<Vec<Undelivered>, Error> {
        let under_way = self.ask(|reply| Command::UnderWay { reply }).await?;
        let store = self.store()?;
        // Those that failed since they were named as under way are there as such.
        let ids: Vec<LetterId> = under_way.iter().map(|(_, id, _)| *id).collect();
        let read = move || {
            let failed = read_failed(&store)?;
            let ids = ids.into_iter().chain(failed.iter().map(|(_, id, _)| *id));
            let channels = tally::channels_of(&store, ids)?;
            Ok::<_, Error>((failed, channels))
        };
        let (failed, channels) = chunks::blocking(read).await?;
        let mut letters: BTreeMap<(LetterId, AgentId), (Option<u16>, Option<Way>)> =
            under_way.into_iter().map(|(to, id, way)| ((id, to), (None, way))).collect();
        letters.extend(failed.into_iter().map(|(to, id, code)| ((id, to), (Some(code), None))));
        let letters = letters.into_iter();
        let told = |((id, to), (code, way)): (_, (Option<u16>, _))| Undelivered {
            to,
            id,
            failed: code.map(Error::NotDelivered),
            way,
            channel: channels.get(&id).copied(),
        };
        Ok(letters.map(told).collect())
    }

    /// What shows to whoever has the audit log what a letter said, and nothing else (contracts/audit.md V24). `author` wrote it: this agent, or the one
    /// from which it came. The payload is the caller's to bring; of a letter with a large payload it is empty. `shows_pair` says whom every event of the two
    /// under pseudonyms means, now and later (V27): without it an opening proves nothing where an end uses them.
    ///
    /// # Errors
    /// [`Error::NoOpening`] where nothing is kept of such a letter, [`Error::OtherPayload`] where it had another one.
    pub async fn opening(
        &self,
        author: AgentId,
        letter: LetterId,
        payload: Vec<u8>,
        shows_pair: bool,
    ) -> Result<Opening, Error> {
        let store = self.store()?;
        let row = chunks::blocking(move || Ok::<_, Error>(store.get(&rows::opening(&author, &letter))?)).await?;
        let kept = row.and_then(|row| KeptOpening::from_row(&row)).ok_or(Error::NoOpening)?;
        let with = kept.other();
        let pair = if shows_pair { self.ask(|reply| Command::PairKey { with, reply }).await? } else { None };
        kept.with_payload(payload, pair).ok_or(Error::OtherPayload)
    }

    /// How many sealed bytes of a letter's large payload were handed to the network, and how many there are; `None` when no such payload is on its way.
    pub async fn payload_sent(&self, to: AgentId, id: LetterId) -> Result<Option<(u64, u64)>, Error> {
        self.ask(|reply| Command::PayloadSent { to, id, reply }).await
    }

    /// Takes back a letter that is not delivered yet; it may arrive all the same. `false` if it is not on its way.
    pub async fn cancel(&self, to: AgentId, id: LetterId) -> Result<bool, Error> {
        self.ask(|reply| Command::Cancel { to, id, reply }).await
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

fn read_failed(store: &Store) -> Result<Vec<(AgentId, LetterId, u16)>, Error> {
    let mut failed = Vec::new();
    store.scan(&[rows::FAILED], &mut |key, row| {
        failed.push((key.to_vec(), row.to_vec()));
        Ok(())
    })?;
    // A letter to a channel has one such row, of the member for whom it failed last, and one of the runtime's for each.
    let of_channels = tally::all_failed(store)?;
    let letter = |(key, row): &(Vec<u8>, Vec<u8>)| {
        let id = LetterId::parse(key.get(1..)?.try_into().ok()?)?;
        let (to, code) = failed_letter(row)?;
        Some((to, id, code))
    };
    Ok(failed.iter().filter_map(letter).chain(of_channels).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::Handle;
    use nuncio_proto::content_type::ContentType;
    use nuncio_proto::secret::Key;

    /// Sends a large payload under an id of the sender's choice.
    async fn send_as(agent: &Agent, to: AgentId, id: [u8; 16], content: &[u8]) {
        let handle = Handle { id, key: Key::new([9; 32]), len: u64::try_from(content.len()).unwrap() };
        let (mut from, path) = (content, chunks::out_path(&agent.shared.home, chunks::PayloadId(id)));
        chunks::write_sealed(&handle, &mut from, std::path::Path::new("content"), &path).unwrap();
        let (mut letter, _) = agent.write(to, Message::bytes(ContentType::BYTES, Vec::new())).await.unwrap();
        let value = handle.encode();
        letter.extensions.push(Extension { number: extension::LARGE_PAYLOAD, critical: true, value });
        let (letter, payload) = (Box::new(letter), Some(Unsent::new(&agent.shared.home, handle)));
        agent.ask(|reply| Command::Send { to, letter, payload, reply }).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_sealed_for_a_letter_that_is_not_accepted_goes() {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::open(Config::new(dir.path())).await.unwrap();
        let sealed = || std::fs::read_dir(dir.path().join("large/out")).unwrap().count();
        let large = || Message::bytes(ContentType::BYTES, vec![7; 100_000]);
        // As a send that is dropped while it waits for a token, or for its turn.
        let written = agent.write(agent.id(), large()).await.unwrap();
        assert_eq!(sealed(), 1);
        drop(written);
        assert_eq!(sealed(), 0);
        agent.send(agent.id(), large()).await.unwrap_err();
        assert_eq!(sealed(), 0, "refused");
        agent.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_senders_that_choose_the_same_id_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            |name: &str| Config::new(dir.path().join(name)).listen(([127, 0, 0, 1], 0).into()).letters_without_token();
        let bob = Agent::open(config("bob")).await.unwrap();
        let mut inbox = bob.inbox().await.unwrap();
        let mut letters = Vec::new();
        for (name, byte) in [("alice", 1), ("carol", 2)] {
            let agent = Agent::open(config(name)).await.unwrap();
            agent.add_peer(&bob.invitation().await.unwrap(), None).await.unwrap();
            bob.add_peer(&agent.invitation().await.unwrap(), None).await.unwrap();
            send_as(&agent, bob.id(), [5; 16], &vec![byte; 100_000]).await;
            let letter = tokio::time::timeout(Duration::from_secs(30), inbox.next()).await.unwrap().unwrap();
            letters.push((agent, letter, byte));
        }
        for (agent, letter, byte) in letters {
            let saved = dir.path().join("saved");
            tokio::time::timeout(Duration::from_secs(30), letter.payload.save(&saved)).await.unwrap().unwrap();
            assert_eq!((letter.from, std::fs::read(&saved).unwrap()), (agent.id(), vec![byte; 100_000]));
            // Nor does the one go with the other.
            bob.done(letter.no).await.unwrap();
            agent.shutdown().await.unwrap();
        }
        bob.shutdown().await.unwrap();
    }
}
