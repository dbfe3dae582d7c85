//! What is done once a commit is durable, and what the application asks for.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_contracts::registry::{code, extension};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Effect, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Durable, Engine, Op};
use tokio::sync::{mpsc, oneshot};

use crate::actor::Actor;
use crate::answer::HeldAnswer;
use crate::chunks::{self, PayloadId, Progress, Unsent};
use crate::command::{Command, Reply};
use crate::entropy::{self, now};
use crate::error::Error;
use crate::message::Incoming;
use crate::payloads::{PAYLOAD_OUT, PayloadOut, payload_out, payload_row};
use crate::status::{Gap, SessionInfo, Status};
use crate::tally;
use crate::wake::{Answer, Ticket, Wake};
use nuncio_proto::invitation::Invitation;

/// Answers a caller that may have gone.
pub(crate) fn tell<T>(reply: Reply<T>, answer: Result<T, Error>) {
    drop(reply.send(answer));
}

impl Actor {
    /// Does the effects of a commit that is durable: nothing else can make a [`Durable`].
    pub(crate) fn publish(&mut self, durable: Durable<Ticket>) {
        let Ticket { effects, answers } = durable.into_inner();
        for Answer(answer) in answers {
            answer();
        }
        for effect in effects.after_commit() {
            self.effect(effect);
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => {
                if !self.send_on(to, None, Bytes::from(frame)) {
                    self.dial(to);
                    self.mail(to);
                }
            }
            Effect::Deliver(arrival) => self.deliver(arrival),
            Effect::Delivered { to, letter } => {
                if !self.payloads_out.values().any(|out| out.to == to && out.letter == letter) {
                    self.settle(to, letter, None);
                }
            }
            Effect::PayloadTaken { by, letter } => self.payload_taken(by, letter),
            Effect::Failed { to, letter, code } => {
                self.letters_failed += 1;
                if code == code::CANCELLED {
                    tracing::info!(peer = %to, %letter, "a letter was taken back");
                } else {
                    tracing::warn!(peer = %to, %letter, reason = Error::NotDelivered(code).to_string(), "a letter failed");
                }
                self.failing.remove(&(to, letter));
                self.drop_payload_out(to, letter);
                self.settle(to, letter, Some(code));
                self.call_failed(to, letter, code);
            }
            Effect::WantBundle { of } => self.want_bundle(of),
            Effect::Bundle { request, bundle } => {
                if let Some(answer) = self.bundle_requests.remove(&request) {
                    // Whoever asked may have gone; the prekey is spent all the same.
                    let _ = answer.send(bundle);
                }
            }
            Effect::Established { with, session } => tracing::info!(peer = %with, %session, "session established"),
            Effect::TurnedAway { by, code } => {
                let reason = match code {
                    code::RETIRED => "its identity is retired",
                    code::UNAUDITED => "it has sessions alone that audit, and this agent keeps no audit log",
                    _ => crate::links::TURNED_AWAY,
                };
                tracing::warn!(peer = %by, reason, "turned away");
                self.problems.insert(by, reason.to_owned());
                if code == code::RETIRED {
                    self.cut_off(by, "retired");
                }
            }
            Effect::WantKey { .. } => self.want_key(),
            Effect::Mailbox { of } => self.mail(of),
            Effect::Whereabouts { of } => self.dial_anew(of),
            Effect::ListedUsed => self.listed_used(),
            Effect::Forgotten { agent } => self.is_stranger_again(agent),
            Effect::Knocked { by, knock } => self.knocked(by, *knock),
            Effect::Channel { channel, news } => {
                self.hurry_channel(&channel);
                self.tell_of_channel(channel, news);
            }
            Effect::TokenExpired { to, letter } => self.token_expired(to, letter),
            Effect::Statement { from, statement } => self.take_statement(Some(from), &statement),
            other => tracing::debug!(?other, "effect of a later version"),
        }
    }

    /// Tells those who wait for a letter how it ended.
    pub(crate) fn settle(&mut self, to: AgentId, letter: LetterId, failed: Option<u16>) {
        self.tallies.settled(&letter);
        for reply in self.deliveries.remove(&(to, letter)).unwrap_or_default() {
            tell(reply, failed.map_or(Ok(()), |code| Err(Error::NotDelivered(code))));
        }
        if let Some(code) = failed
            && let Some(reply) = self.requests.remove(&(to, letter))
        {
            self.peer.await_no_answer(to, letter);
            tell(reply, Err(Error::NotDelivered(code)));
        }
    }

    /// An answer is awaited until it has come, or nobody waits for it any more.
    fn await_answer(
        &mut self,
        to: AgentId,
        letter: LetterId,
        reply: Reply<HeldAnswer>,
        gone: oneshot::Receiver<Infallible>,
    ) {
        self.requests.insert((to, letter), reply);
        self.peer.await_answer(to, letter);
        let urgent = self.tasks.urgent.clone();
        tokio::spawn(async move {
            // It never says anything: it ends.
            let _ = gone.await;
            // An actor that has stopped awaits nothing.
            let _ = urgent.send(Wake::AnswerUnwanted { to, letter });
        });
    }

    pub(crate) fn await_no_answer(&mut self, to: AgentId, letter: LetterId) {
        self.requests.remove(&(to, letter));
        self.peer.await_no_answer(to, letter);
    }

    fn deliver(&mut self, arrival: Arrival) {
        let no = arrival.no;
        self.handed_out = Some(no);
        self.arrivals.send_replace(no + 1);
        if self.deliver_call(&arrival) {
            return;
        }
        let (from, answers) = (arrival.from, arrival.letter.reply_to);
        let incoming = self.incoming(arrival);
        self.fetch_payloads(from);
        if let Some(reply) = answers.and_then(|id| self.requests.remove(&(from, id))) {
            return self.hold_answer(incoming, reply);
        }
        self.inboxes.retain(|inbox| inbox.send(incoming.clone()).is_ok());
    }

    /// Letters that are there at the start: payloads that were under way go on.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        let store = std::sync::Arc::clone(&self.store);
        let mut arrivals = Vec::new();
        store.scan(&[rows::INBOX], &mut |key, value| {
            arrivals.extend(Arrival::from_row(key, value));
            Ok(())
        })?;
        self.handed_out = arrivals.last().map(|arrival| arrival.no);
        self.arrivals.send_replace(self.handed_out.map_or(0, |no| no + 1));
        for arrival in arrivals {
            self.note_call(&arrival);
            if arrival.letter.extension(extension::LARGE_PAYLOAD).is_some() {
                drop(self.incoming(arrival));
            }
        }
        // Whether their senders were told may have died with the process; it does no harm to say it again.
        let whole = self.payloads_in.iter().filter(|(_, payload)| *payload.progress.borrow() == Progress::Whole);
        let taken: Vec<_> = whole.map(|(named, payload)| (named.from, payload.letter)).collect();
        for (from, letter) in taken {
            self.send_control(from, &Control::PayloadTaken(letter));
        }
        let mut outs = Vec::new();
        store.scan(&[rows::RUNTIME, PAYLOAD_OUT], &mut |key, value| {
            outs.extend(payload_out(key, value));
            Ok(())
        })?;
        // The file goes before its row: a row without file, or of a letter that failed, is what a crash left.
        let gone = |(id, out): &(PayloadId, PayloadOut)| {
            let failed = store.get(&rows::failed(&out.letter)).is_ok_and(|row| row.is_some());
            failed || !chunks::out_path(store.home(), *id).exists()
        };
        let (over, outs): (Vec<_>, Vec<_>) = outs.into_iter().partition(gone);
        if !over.is_empty() {
            let step = self.peer.forget_seen(over.iter().map(|(id, _)| payload_row(*id)).collect());
            self.commit(step);
        }
        self.payloads_out.extend(outs);
        self.payloads_due = UnixMillis(0);
        let home = self.store.home();
        chunks::sweep(home, "out", &self.payloads_out.keys().map(|id| chunks::out_path(home, *id)).collect());
        chunks::sweep(home, "in", &self.payloads_in.keys().map(|named| chunks::in_path(home, *named)).collect());
        Ok(())
    }

    pub(crate) fn send_control(&mut self, to: AgentId, control: &Control) {
        let Ok(random) = entropy::random() else { return };
        let mut letter = Letter::plain(LetterId::new(now(), random), ContentType::CBOR, control.encode());
        letter.kind = LetterKind::Control;
        match self.peer.send(to, &letter, now()) {
            Ok(step) => self.commit(step),
            Err(error) => tracing::warn!(peer = %to, %error, "not told"),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Send { to, letter, payload, reply } => {
                let id = letter.id;
                self.hurry(to);
                match self.accept(to, &letter, payload) {
                    Ok((step, rows)) => self.commit_rows(step, rows, vec![answer(reply, id)]),
                    Err(error) => tell(reply, Err(error)),
                }
            }
            Command::Request { to, letter, payload, reply, gone } => match self.accept(to, &letter, payload) {
                Ok((step, rows)) => {
                    self.hurry(to);
                    self.await_answer(to, letter.id, reply, gone);
                    self.commit_rows(step, rows, Vec::new());
                }
                Err(error) => tell(reply, Err(error)),
            },
            Command::Cancel { to, id, reply } => match self.peer.cancel(to, id) {
                Some(step) => self.commit_with(step, vec![answer(reply, true)]),
                // Its peer has the letter, and not its large payload.
                None if self.payload_sent(to, id).is_some() => {
                    let step = self.peer.fail(to, id, code::CANCELLED);
                    self.commit_with(step, vec![answer(reply, true)]);
                }
                None => tell(reply, Ok(false)),
            },
            Command::UnderWay { reply } => {
                // Of a letter in the outbox it is known by which way it left: it stands last.
                let payloads = self.payloads_out.values().map(|out| (out.to, out.letter, None));
                let failing = self.failing.iter().map(|(to, id)| (*to, *id, None));
                let letters = self.peer.ways().chain(self.peer.group_ways());
                let letters = letters.map(|(to, id, way)| (to, id, Some(self.way(&to, way))));
                tell(reply, Ok(payloads.chain(failing).chain(letters).collect()));
            }
            Command::PayloadSent { to, id, reply } => {
                let sent = self.payload_sent(to, id);
                tell(reply, Ok(sent));
            }
            Command::PairKey { with, reply } => {
                let pair = self.peer.pair_key(&with);
                tell(reply, Ok(pair));
            }
            Command::AwaitDelivery { to, id, reply } => self.await_delivery(to, id, reply),
            Command::Subscribe { reply } => {
                let inbox = self.subscribe();
                tell(reply, inbox);
            }
            Command::Letters { after, max, reply } => {
                let letters = self.letters(after, max);
                tell(reply, letters);
            }
            Command::Arrivals { reply } => tell(reply, Ok(self.arrivals.subscribe())),
            Command::Done { no, reply } => self.done(no, reply),
            Command::Invite { reply } => {
                let invitation = self.invitation();
                tell(reply, invitation);
            }
            Command::AddPeer { agent, info, mailbox, reply } => self.add_peer(agent, info, mailbox, reply),
            Command::RenewMailbox { reply } => self.renew_mailbox(reply),
            Command::RemovePeer { agent, reply } => self.remove_peer(agent, reply),
            Command::Retire { statement, reply } => match self.peer.retire(statement, now()) {
                Ok((agent, step)) => self.commit_with(step, vec![answer(reply, agent)]),
                Err(error) => tell(reply, Err(error.into())),
            },
            Command::Peers { reply } => tell(reply, Ok(self.peer_infos())),
            Command::Sessions { reply } => tell(reply, Ok(self.session_infos())),
            Command::Status { reply } => tell(reply, Ok(self.status())),
            Command::Missing { reply } => {
                let news = self.watch_missing();
                tell(reply, Ok(news));
            }
            Command::Keep { rows, reply } => self.keep(rows, reply),
            Command::Channel(ask) => self.channel_command(ask),
            Command::Call(ask) => self.call_command(ask),
            Command::Knock(ask) => self.knock_command(ask),
            Command::Permit(ask) => self.permit_command(ask),
            Command::Shutdown { reply } => self.stop_with(reply),
        }
    }

    /// The step that accepts a letter, with the row that remembers its large payload.
    pub(crate) fn accept(
        &mut self,
        to: AgentId,
        letter: &Letter,
        payload: Option<Unsent>,
    ) -> Result<(Step, Vec<Op>), Error> {
        let step = self.peer.send(to, letter, now())?;
        let Some(payload) = payload else { return Ok((step, Vec::new())) };
        let id = PayloadId(payload.handle().id);
        payload.keep();
        let expires = letter.expires();
        let value = [to.as_bytes().as_slice(), letter.id.as_bytes(), &expires.0.to_be_bytes()].concat();
        self.payloads_out.insert(id, PayloadOut { to, letter: letter.id, expires, sent: Arc::default() });
        self.payloads_due = self.payloads_due.min(expires.plus(1));
        Ok((step, vec![Op::Put { key: payload_row(id), value }]))
    }

    fn await_delivery(&mut self, to: AgentId, id: LetterId, reply: Reply<()>) {
        let payload = self.payloads_out.values().any(|out| out.to == to && out.letter == id);
        if payload
            || self.peer.is_under_way(to, id)
            || self.failing.contains(&(to, id))
            || self.waits_in_channel(to, id)
        {
            self.deliveries.entry((to, id)).or_default().push(reply);
            return;
        }
        let failed = self.failed(to, id);
        tell(reply, failed.and_then(|code| code.map_or(Ok(()), |code| Err(Error::NotDelivered(code)))));
    }

    /// Why a letter that is not under way was not delivered; `None` where nothing says so.
    pub(crate) fn failed(&self, to: AgentId, id: LetterId) -> Result<Option<u16>, Error> {
        // A letter to a channel is one for each member, and its row is the last one's.
        if let Some(code) = tally::failed_code(&self.store, &to, &id)? {
            return Ok(Some(code));
        }
        let row = self.store.get(&rows::failed(&id))?;
        let failed = row.map(|row| nuncio_proto::peer::failed_letter(&row));
        Ok(failed.and_then(|failed| failed.map_or(Some(0), |(agent, code)| (agent == to).then_some(code))))
    }

    fn subscribe(&mut self) -> Result<mpsc::UnboundedReceiver<Incoming>, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for incoming in self.letters(None, usize::MAX)? {
            // The receiver is in our hands.
            let _ = sender.send(incoming);
        }
        self.inboxes.push(sender);
        Ok(receiver)
    }

    /// Letters that are in the inbox and were handed out, after a number.
    pub(crate) fn letters(&mut self, after: Option<u64>, max: usize) -> Result<Vec<Incoming>, Error> {
        let Some(last) = self.handed_out else { return Ok(Vec::new()) };
        let handed_out = self.peer.inbox_numbers(after).take_while(|no| *no <= last);
        let numbers: Vec<u64> =
            handed_out.filter(|no| !self.held.contains(no) && !self.calls.has(*no)).take(max).collect();
        let mut letters = Vec::with_capacity(numbers.len());
        for no in numbers {
            let key = rows::inbox(no);
            if let Some(arrival) = self.store.get(&key)?.and_then(|row| Arrival::from_row(&key, &row)) {
                letters.push(self.incoming(arrival));
            }
        }
        Ok(letters)
    }

    fn done(&mut self, no: u64, reply: Reply<bool>) {
        if self.peer.done(no).is_none() {
            return tell(reply, Ok(false));
        }
        self.remove(no, vec![answer(reply, true)]);
    }

    /// Removes a letter from the inbox, and then its large payload, on disk or on its way.
    fn remove(&mut self, no: u64, answers: Vec<Answer>) {
        if let Some(step) = self.peer.done(no) {
            self.remove_payload(no, step, answers);
        }
    }

    pub(crate) fn invitation(&self) -> Result<Invitation, Error> {
        let endpoints = self.endpoints();
        let bundle = self.peer.bundle(&endpoints, now())?;
        let hash = nuncio_proto::bundle::Bundle::invitation_hash(&bundle).ok();
        Ok(Invitation {
            agent: self.peer.id(),
            endpoints,
            mailbox: self.peer.mailbox().cloned(),
            bundle_hash: hash,
            knock: None,
        })
    }

    fn session_infos(&self) -> Vec<SessionInfo> {
        let info = |(session, current): (&nuncio_proto::session::Session, bool)| SessionInfo {
            id: session.id(),
            with: session.peer(),
            current,
            confirmed: session.is_confirmed(),
            sealed: session.sealed_count(),
            received: session.next_expected(),
            under_way: session.under_way(),
            gap: session.gap().map(|gap| Gap { seq: gap.seq, since: gap.since }),
        };
        self.peer.sessions().map(info).collect()
    }

    /// Letters that are not delivered, to agents that are asked for; one whose large payload alone is not among them.
    pub(crate) fn on_their_way(&self, to: impl Fn(&AgentId) -> bool) -> usize {
        let sealed_once = self.peer.group_ways().filter(|(agent, ..)| to(agent)).count();
        let letters = self.peer.outbox().filter(|(agent, ..)| to(agent)).count() + sealed_once;
        let payloads = self.payloads_out.values().filter(|out| to(&out.to));
        letters + payloads.filter(|out| !self.peer.is_under_way(out.to, out.letter)).count()
    }

    fn status(&self) -> Status {
        Status {
            agent: self.peer.id(),
            retired: self.peer.is_retired(),
            listening: self.config.listen.and_then(|_| self.link.local_addr().ok()).map(|addr| addr.to_string()),
            inbox: self.peer.inbox_len().saturating_sub(self.calls.len()),
            outbox: self.on_their_way(|_| true),
            letters_failed: self.letters_failed,
            events_waiting: self.peer.events_waiting(),
            events_wait: self.events_wait.clone(),
            peers: self.peer.contacts().count(),
            sessions: self.peer.sessions().count(),
            connections: self.links.values().map(Vec::len).sum(),
            one_time_prekeys: self.peer.one_time_left(),
            mailbox: self.mailbox_status(),
            gaps: self.peer.gaps(now()).count(),
            counters: self.peer.counters(),
            refused: self.refused.iter().map(|(name, count)| (*name, *count)).collect(),
            commits: self.writer_stats(),
            frames_sent: self.wire.frames_sent,
            frame_bytes_sent: self.wire.frame_bytes_sent,
            frames_received: self.wire.frames_received,
            frame_bytes_received: self.wire.frame_bytes_received,
        }
    }
}

/// An answer that is true once the commit is durable.
pub(crate) fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    Answer(Box::new(move || tell(reply, Ok(value))))
}
