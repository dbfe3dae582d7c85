//! The one loop. It owns the protocol's state; the writer owns the disk; links own the sockets.
//!
//! ```text
//!   Wake ─► step = peer.receive / send / next ─► staged = peer.stage(step) ─► writer
//!     ▲                                                                         │ durable
//!     └──────────────── effects: frames to links, letters to the inbox ◄────────┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use nuncio_contracts::registry::limit;
use nuncio_proto::error::Refusal;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::{Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::Step;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine, Store, Writer};
use nuncio_transport::{CloseCode, Connection, Link, LinkConfig};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::Backlog;
use crate::chunks::{PayloadFrom, PayloadId};
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::entropy::{Entropy, now};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::links::{self, LinkId, Outgoing, Tasks};
use crate::message::Incoming;
use crate::node::Node;
use crate::payloads::{PayloadIn, PayloadOut};
use crate::status::Wire;
use crate::trust::Trust;
use crate::wake::{Answer, Ticket, Wake};

/// How long a shutdown waits for sockets.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// Wakes and steps taken between two looks at the clock.
const TURN_MAX: usize = 512;
/// Commands, frames and requests that wait for the actor.
const WAKES_WAITING: usize = 256;
/// Connections kept for one peer.
const LINKS_PER_PEER: usize = 2;
/// Connections that one peer may have begun, those that died and have not been missed yet among them.
const KNOCKS_PER_PEER: usize = 8;

/// The actor's state.
pub(crate) struct Actor {
    pub(crate) config: Config,
    pub(crate) peer: Peer,
    pub(crate) store: Arc<Store>,
    writer: Option<Writer<Ticket>>,
    pub(crate) backlog: Backlog,
    entropy: Entropy,
    pub(crate) link: Arc<Link>,
    pub(crate) tasks: Tasks,
    cancel: CancellationToken,
    wakes: mpsc::Receiver<Wake>,
    urgent: mpsc::UnboundedReceiver<Wake>,
    commands: mpsc::Receiver<Command>,
    next_link: LinkId,
    next_request: u64,
    pub(crate) links: BTreeMap<AgentId, Vec<LinkUp>>,
    dialling: BTreeMap<AgentId, CancellationToken>,
    /// Connections that others began and that were let in.
    knocked: BTreeMap<LinkId, AgentId>,
    pub(crate) problems: HashMap<AgentId, String>,
    bundle_rate: DefaultKeyedRateLimiter<AgentId>,
    pub(crate) bundle_requests: HashMap<u64, oneshot::Sender<Vec<u8>>>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) wire: Wire,
    pub(crate) arrivals: watch::Sender<u64>,
    pub(crate) inboxes: Vec<mpsc::UnboundedSender<Incoming>>,
    /// Letters up to here were handed to the inboxes.
    pub(crate) handed_out: Option<u64>,
    pub(crate) deliveries: HashMap<(AgentId, LetterId), Vec<Reply<()>>>,
    /// Letters that failed in memory and not yet on disk.
    pub(crate) failing: HashSet<(AgentId, LetterId)>,
    pub(crate) requests: HashMap<(AgentId, LetterId), Reply<Incoming>>,
    pub(crate) payloads_out: HashMap<PayloadId, PayloadOut>,
    /// When the first of them may be over.
    pub(crate) payloads_due: UnixMillis,
    /// Places for payloads on their way from us.
    pub(crate) gives: Arc<Semaphore>,
    pub(crate) payloads_in: HashMap<PayloadFrom, PayloadIn>,
    pub(crate) trust: Option<Trust>,
    stopping: Option<Reply<()>>,
    failed: bool,
}

/// A connection that carries frames.
pub(crate) struct LinkUp {
    id: LinkId,
    connection: Connection,
    frames: Outgoing,
}

impl LinkUp {
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.connection.close(code, reason);
    }
}

/// The record of letters delivered.
struct StoreSeen<'a>(&'a Store);

impl Seen for StoreSeen<'_> {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        self.0.get(&rows::seen(from, letter)).map(|row| row.is_some()).ok()
    }
}

impl Actor {
    pub(crate) fn new(
        config: Config,
        store: Arc<Store>,
        peer: Peer,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) -> Result<(Self, mpsc::Sender<Command>), Error> {
        let (wake_sender, wakes) = mpsc::channel(WAKES_WAITING);
        let (urgent_sender, urgent) = mpsc::unbounded_channel();
        let (command_sender, commands) = mpsc::channel(WAKES_WAITING);
        let listen = config.listen.unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
        let link = Arc::new(Link::bind(LinkConfig::new(listen), peer.identity().signing())?);
        let tasks = Tasks { wakes: wake_sender, urgent: urgent_sender.clone(), tracker };
        let failures = urgent_sender.clone();
        // The actor ends last; a wake that comes after is of no use to anybody.
        let trace = config.trace.clone();
        let writer = Writer::spawn_traced(
            Arc::clone(&store),
            move |durable| drop(urgent_sender.send(Wake::Durable(durable))),
            move |error| drop(failures.send(Wake::StoreFailed(error))),
            move |ops| trace.iter().for_each(|trace| trace.see(ops)),
        )?;
        if config.listen.is_some() {
            tasks.tracker.spawn(links::listen(Arc::clone(&link), tasks.clone()));
        }
        tasks.tracker.spawn(crate::upkeep::keep(Arc::clone(&store), tasks.wakes.clone(), cancel.clone()));
        let trust = config.trust.as_ref().map(|known| {
            let node = Node::new(Arc::clone(&link), known.node.agent, known.node.endpoints.clone());
            let exchange = Exchange::new(node, known.domain.clone(), peer.id(), peer.identity().signing().clone());
            Trust::new(Arc::new(exchange), known.node.agent)
        });
        let second = core::num::NonZeroU32::MIN;
        let burst = core::num::NonZeroU32::new(limit::BUNDLES_BURST).unwrap_or(second);
        let mut actor = Self {
            config,
            peer,
            store,
            writer: Some(writer),
            backlog: Backlog::default(),
            entropy: Entropy::new(),
            link,
            tasks,
            cancel,
            wakes,
            urgent,
            commands,
            next_link: 0,
            next_request: 0,
            links: BTreeMap::new(),
            dialling: BTreeMap::new(),
            knocked: BTreeMap::new(),
            problems: HashMap::new(),
            bundle_rate: RateLimiter::keyed(Quota::per_second(second).allow_burst(burst)),
            bundle_requests: HashMap::new(),
            refused: BTreeMap::new(),
            wire: Wire::default(),
            arrivals: watch::Sender::new(0),
            inboxes: Vec::new(),
            handed_out: None,
            deliveries: HashMap::new(),
            failing: HashSet::new(),
            requests: HashMap::new(),
            payloads_out: HashMap::new(),
            payloads_due: UnixMillis::NEVER,
            gives: Arc::new(Semaphore::new(limit::FETCHES_MAX)),
            payloads_in: HashMap::new(),
            trust,
            stopping: None,
            failed: false,
        };
        actor.peer.accept_strangers(actor.config.accept_strangers);
        actor.resume_trust()?;
        actor.resume()?;
        Ok((actor, command_sender))
    }

    /// Runs until it is told to stop, or the store fails.
    pub(crate) async fn run(mut self) {
        while self.stopping.is_none() && !self.failed {
            let pause = self.pause();
            let room = !self.backlog.is_refused();
            tokio::select! {
                biased;
                Some(wake) = self.urgent.recv() => self.wake(wake),
                Some(wake) = self.wakes.recv(), if room => self.wake(wake),
                command = self.commands.recv(), if room => match command {
                    Some(command) => self.command(command),
                    // Every handle is gone: nobody can ask for anything any more.
                    None => break,
                },
                () = tokio::time::sleep(pause) => {}
            }
            let idle = self.take_waiting();
            self.pump(idle);
            self.expire_payloads(now());
            self.flush();
        }
        self.stop().await;
    }

    /// How long the actor may sleep if nothing wakes it.
    fn pause(&self) -> Duration {
        let next = self.peer.next_wake().min(self.payloads_due);
        let pause = Duration::from_millis(next.since(now())).min(Duration::from_secs(60));
        self.backlog.due().map_or(pause, |due| pause.min(due.saturating_duration_since(Instant::now())))
    }

    /// Takes what waits, without waiting. `true` when nothing was left.
    fn take_waiting(&mut self) -> bool {
        for _ in 0..TURN_MAX {
            if let Ok(wake) = self.urgent.try_recv() {
                self.wake(wake);
            } else if self.backlog.is_long() {
                return false;
            } else if let Ok(wake) = self.wakes.try_recv() {
                self.wake(wake);
            } else if let Ok(command) = self.commands.try_recv() {
                self.command(command);
            } else {
                return true;
            }
        }
        false
    }

    /// Lets the protocol do what it wants to do by itself.
    fn pump(&mut self, idle: bool) {
        for _ in 0..TURN_MAX {
            if !self.has_randomness() {
                return;
            }
            match self.peer.next(now(), idle, &mut self.entropy) {
                Some(step) => self.commit(step),
                None => return,
            }
        }
    }

    /// Randomness for one step; without it the agent stops before anything has moved.
    fn has_randomness(&mut self) -> bool {
        let ready = self.entropy.ready().map(drop);
        if let Err(error) = &ready {
            tracing::error!(%error, "the agent stops");
            self.failed = true;
        }
        ready.is_ok()
    }

    /// Stages a step and hands it to the writer.
    pub(crate) fn commit(&mut self, step: Step) {
        self.commit_with(step, Vec::new());
    }

    /// [`Actor::commit`], with answers that are true once it is durable.
    pub(crate) fn commit_with(&mut self, step: Step, answers: Vec<Answer>) {
        self.commit_rows(step, Vec::new(), answers);
    }

    /// [`Actor::commit_with`], with rows of the runtime's own in the same commit.
    pub(crate) fn commit_rows(&mut self, step: Step, rows: Vec<nuncio_store::Op>, answers: Vec<Answer>) {
        match self.peer.stage(step) {
            Ok(staged) => {
                let mut staged = staged;
                self.failing.extend(staged.effects.failing());
                staged.effects.take_proven().into_iter().for_each(|effect| self.effect(effect));
                self.backlog.gather(staged, rows, answers);
            }
            // Every step is staged before the next is made.
            Err(error) => tracing::error!(%error, "a step was not staged"),
        }
    }

    fn flush(&mut self) {
        if let Some(writer) = &self.writer {
            self.failed |= !self.backlog.flush(writer, Instant::now());
        }
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Frames { from, link, frames } => self.receive(from, link, &frames),
            Wake::Durable(durable) => durable.into_iter().for_each(|durable| self.publish(durable)),
            Wake::StoreFailed(error) => {
                tracing::error!(%error, "the store failed; the agent stops, and nothing that it acknowledged is lost");
                self.failed = true;
            }
            Wake::LinkUp { link, connection, frames } => self.link_up(link, connection, frames),
            Wake::LinkDown { link, peer, reason } => self.link_down(link, peer, reason),
            Wake::Knock { connection } => self.knock(connection),
            Wake::DialFailed { peer, reason } => drop(self.problems.insert(peer, reason)),
            Wake::DialEnded { peer } => {
                self.dialling.remove(&peer);
                if self.peer.outbox().any(|(to, ..)| to == peer) {
                    self.dial(peer);
                }
            }
            Wake::BundleCame { of, bundle } => self.bundle_came(of, bundle),
            Wake::BundleAsked { by, answer } => self.bundle_asked(by, answer),
            Wake::Forget(rows) => {
                if !rows.is_empty() {
                    let step = self.peer.forget_seen(rows);
                    self.commit(step);
                }
                if let Some(step) = self.peer.forget_skipped(now()) {
                    self.commit(step);
                }
            }
            Wake::Statement { statement } => self.take_statement(None, &statement),
            Wake::AnswerUnwanted { to, letter } => self.await_no_answer(to, letter),
            Wake::LookAfterTokens => self.look_after_tokens(),
            Wake::Renewed { former, token } => self.renewed(&former, token.as_ref()),
            Wake::PayloadAsked { by, id, from_chunk, stream } => self.payload_asked(by, id, from_chunk, stream),
            Wake::PayloadEnded { payload, fetched } => self.payload_ended(payload, fetched),
            Wake::PayloadDropped(payload) => self.payload_dropped(payload),
        }
    }

    fn receive(&mut self, from: AgentId, link: LinkId, frames: &[Bytes]) {
        let mut again = None;
        for frame in frames {
            if !self.has_randomness() {
                return;
            }
            self.wire.received(frame.len());
            match self.peer.receive(Some(from), frame, now(), &mut self.entropy, &StoreSeen(&self.store)) {
                Ok(step) => self.commit(step),
                Err(refusal) => {
                    *self.refused.entry(refusal.name()).or_default() += 1;
                    tracing::debug!(%refusal, peer = %from, "frame refused");
                    if matches!(refusal, Refusal::Open(_)) {
                        again = Some((refusal, frame));
                    } else if let Some(notice) = Peer::notice_for(&refusal) {
                        self.send_on(from, Some(link), notice.into());
                    }
                }
            }
        }
        // One acknowledgement answers all that came again.
        if let Some((refusal, frame)) = again
            && let Some(step) = self.peer.ack_again(&refusal, frame, &mut self.entropy)
        {
            self.commit(step);
        }
    }

    /// Hands a frame to a connection of the peer; `false` when there is none or it is full, in which case the frame goes again later.
    pub(crate) fn send_on(&mut self, to: AgentId, link: Option<LinkId>, frame: Bytes) -> bool {
        let Some(links) = self.links.get(&to) else { return false };
        let chosen = links.iter().rev().find(|up| link.is_none_or(|link| link == up.id)).or_else(|| links.last());
        let len = frame.len();
        nuncio_proto::seal_log::sent(&frame);
        let sent = chosen.is_some_and(|up| up.frames.push(frame));
        if sent {
            self.wire.sent(len);
        }
        sent
    }

    fn is_welcome(&self, agent: &AgentId) -> bool {
        self.config.accept_strangers || self.peer.contact(agent).is_some_and(|info| info.allowed && !info.retired)
    }

    fn knock(&mut self, connection: Connection) {
        let peer = connection.peer();
        if !self.is_welcome(&peer) {
            *self.refused.entry("stranger").or_default() += 1;
            tracing::info!(%peer, "turned away: it was not added here");
            connection.close(CloseCode::STRANGER, "not added here");
            return;
        }
        if self.knocked.values().filter(|other| **other == peer).count() >= KNOCKS_PER_PEER {
            connection.close(CloseCode::REPLACED, "too many connections of one agent");
            return;
        }
        connection.welcome();
        let link = self.new_link();
        self.knocked.insert(link, peer);
        self.tasks.tracker.spawn(links::serve(link, connection, self.tasks.clone()));
    }

    const fn new_link(&mut self) -> LinkId {
        self.next_link += 1;
        self.next_link
    }

    fn link_up(&mut self, link: LinkId, connection: Connection, frames: Outgoing) {
        let peer = connection.peer();
        self.problems.remove(&peer);
        let links = self.links.entry(peer).or_default();
        links.push(LinkUp { id: link, connection: connection.clone(), frames });
        if links.len() > LINKS_PER_PEER {
            links.remove(0).connection.close(CloseCode::REPLACED, "newer connections are kept");
        }
        if self.has_randomness()
            && let Some(step) = self.peer.connected(peer, now(), &mut self.entropy)
        {
            self.commit(step);
        }
        if self.peer.wants_session(&peer) {
            self.tasks.tracker.spawn(links::ask_bundle(connection, self.tasks.clone()));
        }
        self.fetch_payloads(peer);
    }

    fn link_down(&mut self, link: LinkId, peer: AgentId, reason: String) {
        self.knocked.remove(&link);
        if let Some(links) = self.links.get_mut(&peer) {
            links.retain(|up| up.id != link);
            if links.is_empty() {
                self.links.remove(&peer);
            }
        }
        tracing::info!(%peer, reason, "connection ended");
        if self.peer.contact(&peer).is_some() {
            self.problems.insert(peer, reason);
        }
    }

    /// Makes sure that the peer is being reached, if it is known where.
    pub(crate) fn dial(&mut self, peer: AgentId) {
        let Some(info) = self.peer.contact(&peer) else { return };
        if info.endpoints.is_empty()
            || info.retired
            || self.links.contains_key(&peer)
            || self.dialling.contains_key(&peer)
        {
            return;
        }
        let endpoints = info.endpoints.clone();
        let id = self.new_link();
        let (link, tasks, cancel) = (Arc::clone(&self.link), self.tasks.clone(), self.cancel.child_token());
        self.dialling.insert(peer, cancel.clone());
        self.tasks.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = crate::dial::dial(link, id, peer, endpoints, tasks) => {}
            }
        });
    }

    /// What is known of a peer's addresses has changed: a task that tries the former ones ends, and another begins.
    pub(crate) fn dial_anew(&mut self, peer: AgentId) {
        if self.links.contains_key(&peer) {
            return;
        }
        if let Some(former) = self.dialling.remove(&peer) {
            former.cancel();
        }
        self.problems.remove(&peer);
        if self.peer.outbox().any(|(to, ..)| to == peer) {
            self.dial(peer);
        }
    }

    pub(crate) fn want_bundle(&mut self, of: AgentId) {
        match self.links.get(&of).and_then(|links| links.last()) {
            Some(up) => drop(self.tasks.tracker.spawn(links::ask_bundle(up.connection.clone(), self.tasks.clone()))),
            None => self.dial(of),
        }
    }

    fn bundle_came(&mut self, of: AgentId, bundle: Result<Vec<u8>, String>) {
        let parsed = bundle.and_then(|bytes| {
            let bundle = nuncio_proto::bundle::Bundle::parse(&bytes, now()).map_err(|error| error.to_string())?;
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

    fn bundle_asked(&mut self, by: AgentId, answer: oneshot::Sender<Vec<u8>>) {
        if self.bundle_rate.check_key(&by).is_err() {
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

    pub(crate) fn writer_stats(&self) -> (u64, u64, u64) {
        let Some(stats) = self.writer.as_ref().map(Writer::stats) else { return (0, 0, 0) };
        (stats.groups(), stats.steps(), u64::try_from(stats.commit_time().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(crate) fn exchange(&self) -> Option<Arc<Exchange>> {
        self.trust.as_ref().map(|trust| Arc::clone(&trust.exchange))
    }

    pub(crate) fn stop_with(&mut self, reply: Reply<()>) {
        self.stopping = Some(reply);
    }

    pub(crate) fn connection_of(&self, peer: &AgentId) -> Option<Connection> {
        self.links.get(peer).and_then(|links| links.last()).map(|up| up.connection.clone())
    }

    /// Commits what is staged, publishes it, closes the link.
    async fn stop(mut self) {
        self.commands.close();
        while let Some(writer) = self.writer.as_ref().filter(|_| !self.backlog.is_empty() && !self.failed) {
            self.failed |= !self.backlog.flush_all(writer);
            if self.backlog.is_empty() {
                break;
            }
            match tokio::time::timeout(SHUTDOWN_PATIENCE, self.urgent.recv()).await {
                Ok(Some(Wake::Durable(durable))) => durable.into_iter().for_each(|durable| self.publish(durable)),
                Ok(Some(Wake::StoreFailed(_)) | None) | Err(_) => break,
                Ok(Some(_)) => {}
            }
        }
        let closed = match self.writer.take() {
            Some(writer) => tokio::task::spawn_blocking(move || writer.close())
                .await
                .unwrap_or(Err(nuncio_store::StoreError::Stopped)),
            None => Ok(()),
        };
        while let Ok(wake) = self.urgent.try_recv() {
            if let Wake::Durable(durable) = wake {
                durable.into_iter().for_each(|durable| self.publish(durable));
            }
        }
        self.cancel.cancel();
        self.links.clear();
        self.link.close(CloseCode::SHUTTING_DOWN, "the agent stops").await;
        if let Some(reply) = self.stopping.take() {
            // The caller may have gone.
            let _ = reply.send(closed.map_err(Error::from));
        }
    }
}
