//! The one loop. It owns the protocol's state; the writer owns the disk; links own the sockets.
//!
//! ```text
//!   Wake ─► step = peer.receive / send / next ─► staged = peer.stage(step) ─► writer
//!     ▲                                                                         │ durable
//!     └──────────────── effects: frames to links, letters to the inbox ◄────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter};
use nuncio_proto::error::Refusal;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::{Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effects, Staged, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine, Store, Writer};
use nuncio_transport::{Connection, Link};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::answer::HeldAnswer;
use crate::backlog::Backlog;
use crate::calling::CallBook;
use crate::channels::ChannelNews;
use crate::chunks::{PayloadFrom, PayloadId};
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::connections::{Dialling, Hurries, LinkUp, Rests};
use crate::effects::answer;
use crate::entropy::{ClockWatch, Entropy, now};
use crate::exchange::Exchange;
use crate::knocks::Door;
use crate::links::{LinkId, Tasks};
use crate::mailbox::Mailboxes;
use crate::message::Incoming;
use crate::missing::Lookout;
use crate::payloads::{PayloadIn, PayloadOut};
use crate::queries::QueryBook;
use crate::said::SaidRows;
use crate::status::Wire;
use crate::tally::Tallies;
use crate::trust::Trust;
use crate::upkeep;
use crate::wake::{Answer, Ticket, Wake};

mod start;
mod stop;

/// How long a shutdown waits for sockets.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// Wakes and steps taken between two looks at the clock.
const TURN_MAX: usize = 512;

/// The actor's state.
pub(crate) struct Actor {
    pub(crate) config: Config,
    pub(crate) peer: Peer,
    pub(crate) store: Arc<Store>,
    writer: Option<Writer<Ticket>>,
    pub(crate) backlog: Backlog,
    pub(crate) entropy: Entropy,
    clock: ClockWatch,
    pub(crate) link: Arc<Link>,
    pub(crate) tasks: Tasks,
    pub(crate) cancel: CancellationToken,
    wakes: mpsc::Receiver<Wake>,
    urgent: mpsc::UnboundedReceiver<Wake>,
    commands: mpsc::Receiver<Command>,
    pub(crate) next_link: LinkId,
    pub(crate) next_request: u64,
    pub(crate) links: BTreeMap<AgentId, Vec<LinkUp>>,
    pub(crate) dialling: BTreeMap<AgentId, Dialling>,
    pub(crate) hurries: Hurries,
    /// Connections that others began and that were let in.
    pub(crate) arrived: BTreeMap<LinkId, Connection>,
    /// Peers of which a bundle was due to be asked for while they were not connected.
    pub(crate) starts_due: BTreeSet<AgentId>,
    pub(crate) rests: Rests,
    pub(crate) problems: HashMap<AgentId, String>,
    pub(crate) stranger_rate: DefaultDirectRateLimiter,
    /// Frames of all agents that were not added.
    pub(crate) stranger_frame_rate: DefaultDirectRateLimiter,
    /// Bundles for all agents that were not added.
    pub(crate) stranger_bundle_rate: DefaultDirectRateLimiter,
    pub(crate) bundle_rate: DefaultKeyedRateLimiter<AgentId>,
    pub(crate) bundle_requests: HashMap<u64, oneshot::Sender<Vec<u8>>>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) wire: Wire,
    /// Letters of ours that failed since the start.
    pub(crate) letters_failed: u64,
    /// Why the log does not take events.
    pub(crate) events_wait: Option<String>,
    pub(crate) arrivals: watch::Sender<u64>,
    pub(crate) inboxes: Vec<mpsc::UnboundedSender<Incoming>>,
    /// Letters up to here were handed to the inboxes.
    pub(crate) handed_out: Option<u64>,
    pub(crate) deliveries: HashMap<(AgentId, LetterId), Vec<Reply<()>>>,
    /// Letters that failed in memory and not yet on disk.
    pub(crate) failing: HashSet<(AgentId, LetterId)>,
    pub(crate) requests: HashMap<(AgentId, LetterId), Reply<HeldAnswer>>,
    /// Letters of the inbox that are answers in somebody's hands.
    pub(crate) held: BTreeSet<u64>,
    pub(crate) payloads_out: HashMap<PayloadId, PayloadOut>,
    /// When the first of them may be over.
    pub(crate) payloads_due: UnixMillis,
    /// How many payloads are on their way from us to each peer.
    pub(crate) giving: BTreeMap<AgentId, usize>,
    pub(crate) payloads_in: HashMap<PayloadFrom, PayloadIn>,
    pub(crate) trust: Option<Trust>,
    pub(crate) mail: Mailboxes,
    pub(crate) tallies: Tallies,
    pub(crate) said: SaidRows,
    pub(crate) lookout: Lookout,
    pub(crate) calls: CallBook,
    pub(crate) queries: QueryBook,
    pub(crate) door: Door,
    pub(crate) channel_news: broadcast::Sender<ChannelNews>,
    /// Events wait for the log.
    pub(crate) events: Arc<Notify>,
    /// Events that wait are to be told again, as a new chain.
    recounting: Option<Reply<()>>,
    stopping: Option<Reply<()>>,
    failed: bool,
}

/// The record of letters delivered.
pub(crate) struct StoreSeen<'a>(pub(crate) &'a Store);

impl Seen for StoreSeen<'_> {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        self.0.get(&rows::seen(from, letter)).map(|row| row.is_some()).ok()
    }
}

impl Actor {
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
            if let Some(done) = self.recounting.take() {
                self.recount(done).await;
            }
            self.pump(idle);
            self.expire_payloads(now());
            self.look_out();
            self.flush();
        }
        self.stop().await;
    }

    /// How long the actor may sleep if nothing wakes it.
    fn pause(&self) -> Duration {
        let next = self.peer.next_wake().min(self.payloads_due);
        let pause = Duration::from_millis(next.since(now())).min(self.lookout.pause());
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
            let now = now();
            if self.clock.was_set(now, Instant::now()) {
                tracing::warn!("the system's clock was put forward or back, or the machine slept");
                self.peer.clock_was_set(now);
            }
            match self.peer.next(now, idle, &mut self.entropy) {
                Some(step) => self.commit(step),
                None => return,
            }
        }
    }

    /// Randomness for one step; without it the agent stops before anything has moved.
    pub(crate) fn has_randomness(&mut self) -> bool {
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
        let mut staged = Staged { ops: Vec::new(), effects: Effects::default() };
        self.stage_onto(&mut staged, step);
        self.commit_staged(staged, rows, answers);
    }

    /// Stages a step; what it wants is added to what is committed with it as one.
    pub(crate) fn stage_onto(&mut self, together: &mut Staged, step: Step) {
        match self.peer.stage(step) {
            Ok(staged) => {
                together.ops.extend(staged.ops);
                together.effects.append(staged.effects);
            }
            // Every step is staged before the next is made.
            Err(error) => tracing::error!(%error, "a step was not staged"),
        }
    }

    /// Hands what was staged to the writer, as one commit.
    pub(crate) fn commit_staged(&mut self, mut staged: Staged, mut rows: Vec<nuncio_store::Op>, answers: Vec<Answer>) {
        for (to, letter, code) in staged.effects.failing() {
            rows.push(upkeep::failed_at(&letter, now()));
            rows.extend(self.tallies.failed(&self.store, &to, &letter, code));
            self.failing.insert((to, letter));
        }
        staged.effects.take_proven().into_iter().for_each(|effect| self.effect(effect));
        self.backlog.gather(staged, rows, answers);
    }

    /// Answers once all that was staged is durable.
    pub(crate) fn when_durable(&mut self, answer: Answer) {
        let nothing = Staged { ops: Vec::new(), effects: Effects::default() };
        self.backlog.gather(nothing, Vec::new(), vec![answer]);
    }

    fn flush(&mut self) {
        if let Some(writer) = &self.writer {
            self.failed |= !self.backlog.flush(writer, Instant::now());
        }
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Frames { from, link, frames } => self.receive(from, link, &frames),
            Wake::Durable(durable) => {
                durable.into_iter().for_each(|durable| self.publish(durable));
                if self.peer.events_waiting() > 0 {
                    self.events.notify_one();
                }
            }
            Wake::StoreFailed(error) => {
                tracing::error!(%error, "the store failed; the agent stops, and nothing that it acknowledged is lost");
                self.failed = true;
            }
            Wake::LinkUp { link, connection, frames } => self.link_up(link, connection, frames),
            Wake::LinkDown { link, peer, reason, by_stranger } => {
                self.link_down(link, peer, reason);
                if by_stranger {
                    self.forgotten_by(peer);
                    self.dial_only_for_what_waits(peer, link);
                }
            }
            Wake::Rested { peer } => self.rested(peer),
            Wake::Arrived { connection } => self.arrived(connection),
            Wake::DialFailed { peer, reason } => {
                self.problems.insert(peer, reason);
                self.unreached(peer);
            }
            Wake::MailboxOpened(secret) => self.mailbox_opened(&secret),
            Wake::MailboxWaits { why } => self.mailbox_waits(why),
            Wake::Fetched { frames, taken } => self.fetched(&frames, taken),
            Wake::Listed { left, list } => self.listed(left, list),
            Wake::DirectoryHas(left) => self.mail_left(left),
            Wake::Deposited { to, deposited } => self.deposited(to, deposited),
            Wake::Shared { at, shared } => self.shared(&at, shared),
            Wake::SharingRested(at) => self.sharing_rested(&at),
            Wake::DepositsRested { to, failing } => self.deposits_rested(to, failing),
            Wake::DialEnded { peer } => {
                self.dialling.remove(&peer);
                if self.peer.outbox().any(|(to, ..)| to == peer) {
                    self.dial(peer);
                }
            }
            Wake::BundleCame { of, bundle } => self.bundle_came(of, bundle),
            Wake::BundleAsked { by, answer } => self.bundle_asked(by, answer),
            Wake::Forget(rows) => self.forget(rows),
            Wake::Statement { statement } => self.take_statement(None, &statement),
            Wake::EventsLogged { up_to, seen, done } => self.events_logged(up_to, seen, done),
            Wake::EventsUnknown { done } => self.recounting = Some(done),
            Wake::EventsWait { why } => self.events_wait = why,
            Wake::RevokedAsked => self.revoked_asked(),
            Wake::AnswerUnwanted { to, letter } => self.await_no_answer(to, letter),
            Wake::LookAfterTokens => self.look_after_tokens(),
            Wake::Renewed { former, token } => self.renewed(&former, token.as_ref()),
            Wake::PayloadAsked { by, id, from_chunk, stream } => self.payload_asked(by, id, from_chunk, stream),
            Wake::PayloadEnded { payload, fetched, verified } => self.payload_ended(payload, fetched, verified),
            Wake::PayloadRested(payload) => self.payload_rested(payload),
            Wake::PayloadGiven { to } => self.payload_given(to),
            Wake::AnswerTaken { no, reply } => self.answer_taken(no, reply),
            Wake::AnswerLeft { no } => self.answer_left(no),
            Wake::PayloadDropped(payload) => self.payload_dropped(payload),
            Wake::QueriesOpened { by, session, answer } => self.queries_opened(by, session, answer),
            Wake::QueryCame(query) => self.query_came(*query),
            Wake::CallFailed { no } => self.tell_call_failed(no),
            Wake::KnockHeard { by } => self.knock_heard(by),
        }
    }

    /// What is too old to be of use goes: these rows, and what lies in memory.
    fn forget(&mut self, rows: Vec<Vec<u8>>) {
        self.bundle_rate.retain_recent();
        if !rows.is_empty() {
            self.said.forget(&rows);
            let step = self.peer.forget_seen(rows);
            self.commit(step);
        }
        self.forget_old_calls(now());
        self.forget_old_knocks(now());
        self.forget_permits(now());
        if let Some(step) = self.peer.forget_skipped(now()) {
            self.commit(step);
        }
        if let Some(step) = self.peer.forget_channel_keys(now()) {
            self.commit(step);
        }
    }

    fn receive(&mut self, from: AgentId, link: LinkId, frames: &[Bytes]) {
        if !self.is_welcome(&from) {
            *self.refused.entry("stranger").or_default() += 1;
            return self.cut_off(from, "not added here");
        }
        let mut again = None;
        for frame in frames {
            if !self.has_randomness() {
                return;
            }
            self.wire.received(frame.len());
            // contracts/call.md X41: a start costs much before it says anything.
            if self.is_stranger_at_door(&from) && self.stranger_frame_rate.check().is_err() {
                *self.refused.entry("stranger_rate").or_default() += 1;
                continue;
            }
            match self.peer.receive(Some(from), frame, now(), &mut self.entropy, &StoreSeen(&self.store)) {
                Ok(step) => {
                    self.problems.remove(&from);
                    self.take_received(step);
                }
                Err(refusal) => {
                    *self.refused.entry(refusal.name()).or_default() += 1;
                    tracing::debug!(%refusal, peer = %from, "frame refused");
                    if matches!(refusal, Refusal::Open(_) | Refusal::Channel(_)) {
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

    /// Waits until all that was staged is on disk; `false` where it never will be.
    pub(crate) async fn settle_disk(&mut self) -> bool {
        let (done, mut settled) = oneshot::channel();
        let nothing = Staged { ops: Vec::new(), effects: Effects::default() };
        self.backlog.gather(nothing, Vec::new(), vec![answer(done, ())]);
        while matches!(settled.try_recv(), Err(TryRecvError::Empty)) {
            let Some(writer) = self.writer.as_ref().filter(|_| !self.failed) else { return false };
            self.failed |= !self.backlog.flush_all(writer);
            if self.failed {
                return false;
            }
            match self.urgent.recv().await {
                Some(wake) => self.wake(wake),
                None => return false,
            }
        }
        !self.failed
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
}
