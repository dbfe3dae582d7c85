//! What is done once a commit is durable, and what the application asks for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::{code, extension, limit};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Effect, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Durable, Engine, Op};
use nuncio_transport::{CloseCode, SendStream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Actor;
use crate::chunks::{self, Fetched, Handle, PayloadFrom, PayloadId, Progress};
use crate::command::{Command, Reply};
use crate::entropy::{self, now};
use crate::error::Error;
use crate::message::{Incoming, LargePayload};
use crate::payloads::{PayloadIn, PayloadOut};
use crate::status::{PeerInfo, SessionInfo, Status};
use crate::wake::{Answer, Ticket, Wake};
use nuncio_proto::invitation::Invitation;

/// Between two tries to fetch a large payload.
const FETCH_PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at a payload that is over and whose letter is still settled elsewhere.
const EXPIRY_PAUSE_MS: u64 = 1_000;

/// Rows of the runtime's own: large payloads that we send.
const PAYLOAD_OUT: u8 = b'o';

fn payload_row(id: PayloadId) -> Vec<u8> {
    [[rows::RUNTIME, PAYLOAD_OUT].as_slice(), &id.0].concat()
}

/// Answers a caller that may have gone.
fn tell<T>(reply: Reply<T>, answer: Result<T, Error>) {
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
                self.failing.remove(&(to, letter));
                self.drop_payload_out(to, letter);
                self.settle(to, letter, Some(code));
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
                let reason =
                    if code == code::RETIRED { "its identity is retired" } else { "it has not added this agent" };
                tracing::warn!(peer = %by, reason, "turned away");
                self.problems.insert(by, reason.to_owned());
                if code == code::RETIRED {
                    self.cut_off(by);
                }
            }
            Effect::WantKey { .. } => self.want_key(),
            Effect::TokenExpired { to, letter } => self.token_expired(to, letter),
            Effect::Statement { from, statement } => self.take_statement(Some(from), &statement),
            other => tracing::debug!(?other, "effect of a later version"),
        }
    }

    /// Ends the connections with an agent that is not talked to any more.
    fn cut_off(&mut self, agent: AgentId) {
        for up in self.links.remove(&agent).unwrap_or_default() {
            up.close(CloseCode::STRANGER, "retired");
        }
    }

    /// Tells those who wait for a letter how it ended.
    fn settle(&mut self, to: AgentId, letter: LetterId, failed: Option<u16>) {
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
        reply: Reply<Incoming>,
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
        let (from, answers) = (arrival.from, arrival.letter.reply_to);
        let incoming = self.incoming(arrival);
        self.fetch_payloads(from);
        if let Some(reply) = answers.and_then(|id| self.requests.remove(&(from, id)))
            && reply.send(Ok(incoming.clone().lent(&self.tasks.urgent))).is_ok()
        {
            if let Some(step) = self.peer.done(no) {
                self.commit(step);
            }
            return;
        }
        self.inboxes.retain(|inbox| inbox.send(incoming.clone()).is_ok());
    }

    /// A letter as the application sees it. A large payload is looked up, or begun.
    fn incoming(&mut self, arrival: Arrival) -> Incoming {
        let handle = arrival.letter.extension(extension::LARGE_PAYLOAD).and_then(Handle::decode);
        let large = handle.map(|handle| {
            let named = PayloadFrom { from: arrival.from, id: PayloadId(handle.id) };
            let path = chunks::in_path(self.store.home(), named);
            let payload = self.payloads_in.entry(named).or_insert_with(|| PayloadIn {
                letter: arrival.letter.id,
                no: arrival.no,
                handle: handle.clone(),
                progress: watch::Sender::new(if path.exists() { Progress::Whole } else { Progress::Arrived(0) }),
                fetching: false,
            });
            LargePayload { handle, path, progress: payload.progress.subscribe(), lent: None }
        });
        Incoming::new(arrival, large)
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

    /// Fetches what is missing of this peer's payloads, a few at a time, and no more than it may fill the disk with.
    pub(crate) fn fetch_payloads(&mut self, from: AgentId) {
        let of_peer = || self.payloads_in.iter().filter(|(named, _)| named.from == from).map(|(_, payload)| payload);
        let Some(connection) = self.connection_of(&from) else {
            if of_peer().any(is_missing) {
                self.dial(from);
            }
            return;
        };
        let places = limit::FETCHES_PER_PEER.saturating_sub(of_peer().filter(|payload| payload.fetching).count());
        let in_all = self.payloads_in.values().filter(|payload| payload.fetching).count();
        let places = places.min(limit::FETCHES_MAX.saturating_sub(in_all));
        let mut kept = 0_u64;
        let mut held: Vec<_> = of_peer().map(|payload| (payload.no, payload.handle.len, is_missing(payload))).collect();
        held.sort_unstable();
        let fits = held.into_iter().filter(|(_, len, _)| {
            kept = kept.saturating_add(*len);
            kept <= limit::LARGE_BYTES_PER_PEER
        });
        let next: Vec<u64> = fits.filter(|(.., missing)| *missing).map(|(no, ..)| no).take(places).collect();
        for (named, payload) in self.payloads_in.iter_mut().filter(|(_, payload)| next.contains(&payload.no)) {
            payload.fetching = true;
            let (payload, handle, progress) = (*named, payload.handle.clone(), payload.progress.clone());
            let (connection, path) = (connection.clone(), chunks::in_path(self.store.home(), payload));
            let urgent = self.tasks.urgent.clone();
            self.tasks.tracker.spawn(async move {
                let fetched = chunks::fetch(connection, handle, path, progress).await;
                if fetched == Fetched::Again {
                    tokio::time::sleep(FETCH_PAUSE).await;
                }
                // The actor may have stopped.
                let _ = urgent.send(Wake::PayloadEnded { payload, fetched });
            });
        }
    }

    pub(crate) fn payload_ended(&mut self, named: PayloadFrom, fetched: Fetched) {
        let Some(payload) = self.payloads_in.get_mut(&named) else {
            // Nobody wanted it any more while it came.
            chunks::delete(&chunks::in_path(self.store.home(), named));
            return;
        };
        payload.fetching = false;
        let (from, letter) = (named.from, payload.letter);
        match fetched {
            Fetched::Whole => {
                payload.progress.send_replace(Progress::Whole);
                self.send_control(from, &Control::PayloadTaken(letter));
            }
            Fetched::Lost => drop(payload.progress.send_replace(Progress::Lost)),
            Fetched::Again => {}
        }
        self.fetch_payloads(from);
    }

    /// Whoever was answered with a large payload has dropped it. That its letter left the inbox was committed before.
    pub(crate) fn payload_dropped(&mut self, named: PayloadFrom) {
        let no = self.payloads_in.get(&named).map(|payload| payload.no);
        if let Some(no) = no.filter(|no| self.peer.done(*no).is_none()) {
            let step = self.peer.forget_seen(Vec::new());
            self.remove_payload(no, step, Vec::new());
        }
    }

    fn send_control(&mut self, to: AgentId, control: &Control) {
        let Ok(random) = entropy::random() else { return };
        let mut letter = Letter::plain(LetterId::new(now(), random), ContentType::CBOR, control.encode());
        letter.kind = LetterKind::Control;
        match self.peer.send(to, &letter, now()) {
            Ok(step) => self.commit(step),
            Err(error) => tracing::warn!(peer = %to, %error, "not told"),
        }
    }

    pub(crate) fn payload_asked(&mut self, by: AgentId, id: PayloadId, from_chunk: u64, mut stream: SendStream) {
        let place = Arc::clone(&self.gives).try_acquire_owned();
        match (self.payloads_out.get(&id).filter(|out| out.to == by), place) {
            (Some(out), Ok(place)) => {
                let (path, sent) = (chunks::out_path(self.store.home(), id), Arc::clone(&out.sent));
                self.tasks.tracker.spawn(async move {
                    chunks::give(path, from_chunk, stream, sent).await;
                    drop(place);
                });
            }
            (Some(_), Err(_)) => drop(stream.reset(CloseCode::BUSY.into())),
            (None, _) => drop(stream.reset(CloseCode::CANCELLED.into())),
        }
    }

    fn payload_sent(&self, to: AgentId, letter: LetterId) -> Option<(u64, u64)> {
        let (id, out) = self.payloads_out.iter().find(|(_, out)| out.to == to && out.letter == letter)?;
        let len = std::fs::metadata(chunks::out_path(self.store.home(), *id)).ok()?.len();
        Some((out.sent.load(Ordering::Relaxed).min(len), len))
    }

    fn payload_taken(&mut self, by: AgentId, letter: LetterId) {
        self.drop_payload_out(by, letter);
        if !self.peer.is_under_way(by, letter) && !self.failing.contains(&(by, letter)) {
            self.settle(by, letter, None);
        }
    }

    fn drop_payload_out(&mut self, to: AgentId, letter: LetterId) {
        let found = self.payloads_out.iter().find(|(_, out)| out.to == to && out.letter == letter).map(|(id, _)| *id);
        if let Some(id) = found {
            self.payloads_out.remove(&id);
            chunks::delete(&chunks::out_path(self.store.home(), id));
            let step = self.peer.forget_seen(vec![payload_row(id)]);
            self.commit(step);
        }
    }

    /// Fails letters whose payload nobody took in their time; their files and rows go with them (contracts/letter.md L18). What is still under way
    /// expires by itself.
    pub(crate) fn expire_payloads(&mut self, now: UnixMillis) {
        if now < self.payloads_due {
            return;
        }
        let waits = |out: &PayloadOut| {
            self.peer.is_under_way(out.to, out.letter) || self.failing.contains(&(out.to, out.letter))
        };
        let over = self.payloads_out.values().filter(|out| out.expires < now && !waits(out));
        let over: Vec<_> = over.map(|out| (out.to, out.letter)).collect();
        for (to, letter) in over {
            let step = self.peer.fail(to, letter, code::EXPIRED);
            self.commit(step);
        }
        let next = self.payloads_out.values().map(|out| out.expires.plus(1)).min();
        self.payloads_due = next.map_or(UnixMillis::NEVER, |at| at.max(now.plus(EXPIRY_PAUSE_MS)));
    }

    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Send { to, letter, payload, reply } => {
                let id = letter.id;
                match self.accept(to, &letter, payload) {
                    Ok((step, rows)) => self.commit_rows(step, rows, vec![answer(reply, id)]),
                    Err(error) => tell(reply, Err(error)),
                }
            }
            Command::Request { to, letter, payload, reply, gone } => match self.accept(to, &letter, payload) {
                Ok((step, rows)) => {
                    self.await_answer(to, letter.id, reply, gone);
                    self.commit_rows(step, rows, Vec::new());
                }
                Err(error) => tell(reply, Err(error)),
            },
            Command::Cancel { to, id, reply } => match self.peer.cancel(to, id) {
                Some(step) => self.commit_with(step, vec![answer(reply, true)]),
                None => tell(reply, Ok(false)),
            },
            Command::PayloadSent { to, id, reply } => {
                let sent = self.payload_sent(to, id);
                tell(reply, Ok(sent));
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
            Command::AddPeer { agent, info, reply } => match self.check_peer(agent, &info) {
                Ok(()) => match self.peer.set_contact(agent, info) {
                    Some(step) => {
                        self.commit_with(step, vec![answer(reply, ())]);
                        self.dial_anew(agent);
                    }
                    None => tell(reply, Err(Error::Myself(agent))),
                },
                Err(error) => tell(reply, Err(error)),
            },
            Command::RemovePeer { agent, reply } => match self.peer.remove_contact(agent) {
                Some(step) => self.commit_with(step, vec![answer(reply, true)]),
                None => tell(reply, Ok(false)),
            },
            Command::Retire { statement, reply } => match self.peer.retire(statement, now()) {
                Ok((agent, step)) => self.commit_with(step, vec![answer(reply, agent)]),
                Err(error) => tell(reply, Err(error.into())),
            },
            Command::Peers { reply } => tell(reply, Ok(self.peer_infos())),
            Command::Sessions { reply } => tell(reply, Ok(self.session_infos())),
            Command::Status { reply } => tell(reply, Ok(self.status())),
            Command::Shutdown { reply } => self.stop_with(reply),
        }
    }

    /// The step that accepts a letter, with the row that remembers its large payload.
    fn accept(&mut self, to: AgentId, letter: &Letter, payload: Option<Handle>) -> Result<(Step, Vec<Op>), Error> {
        let accepted = self.peer.send(to, letter, now());
        let Some(handle) = payload else { return Ok((accepted?, Vec::new())) };
        let id = PayloadId(handle.id);
        match accepted {
            Ok(step) => {
                let expires = letter.expires();
                let value = [to.as_bytes().as_slice(), letter.id.as_bytes(), &expires.0.to_be_bytes()].concat();
                self.payloads_out.insert(id, PayloadOut { to, letter: letter.id, expires, sent: Arc::default() });
                self.payloads_due = self.payloads_due.min(expires.plus(1));
                Ok((step, vec![Op::Put { key: payload_row(id), value }]))
            }
            Err(error) => {
                chunks::delete(&chunks::out_path(self.store.home(), id));
                Err(error.into())
            }
        }
    }

    fn await_delivery(&mut self, to: AgentId, id: LetterId, reply: Reply<()>) {
        let payload = self.payloads_out.values().any(|out| out.to == to && out.letter == id);
        if payload || self.peer.is_under_way(to, id) || self.failing.contains(&(to, id)) {
            self.deliveries.entry((to, id)).or_default().push(reply);
            return;
        }
        let failed = self.store.get(&rows::failed(&id)).map_err(Error::from);
        tell(
            reply,
            failed.and_then(|row| {
                row.map_or(Ok(()), |row| Err(Error::NotDelivered(nuncio_proto::peer::failed_code(&row))))
            }),
        );
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
    fn letters(&mut self, after: Option<u64>, max: usize) -> Result<Vec<Incoming>, Error> {
        let Some(last) = self.handed_out else { return Ok(Vec::new()) };
        let numbers: Vec<u64> = self.peer.inbox_numbers(after).take_while(|no| *no <= last).take(max).collect();
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

    /// Commits a step, and deletes the large payload of a letter once that is durable.
    fn remove_payload(&mut self, no: u64, step: Step, mut answers: Vec<Answer>) {
        let payload = self.payloads_in.iter().find(|(_, payload)| payload.no == no).map(|(named, _)| *named);
        if let Some(named) = payload {
            self.payloads_in.remove(&named);
            let path = chunks::in_path(self.store.home(), named);
            answers.insert(0, Answer(Box::new(move || chunks::delete(&path))));
        }
        self.commit_with(step, answers);
        if let Some(named) = payload {
            self.fetch_payloads(named.from);
        }
    }

    fn invitation(&self) -> Result<Invitation, Error> {
        let endpoints = self.endpoints();
        let bundle = self.peer.bundle(&endpoints, now())?;
        let hash = nuncio_proto::bundle::Bundle::invitation_hash(&bundle).ok();
        Ok(Invitation { agent: self.peer.id(), endpoints, bundle_hash: hash })
    }

    fn check_peer(&self, agent: AgentId, info: &nuncio_proto::peer::ContactInfo) -> Result<(), Error> {
        if agent == self.peer.id() {
            return Err(Error::Myself(agent));
        }
        if self.peer.contact(&agent).is_some_and(|known| known.retired) {
            return Err(nuncio_proto::error::PeerError::Retired(agent).into());
        }
        let Some(name) = &info.name else { return Ok(()) };
        let plain = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let taken = self.peer.contacts().any(|(other, info)| other != agent && info.name.as_ref() == Some(name));
        if plain && !taken { Ok(()) } else { Err(Error::Name(name.clone())) }
    }

    fn peer_infos(&self) -> Vec<PeerInfo> {
        let waiting = |agent: AgentId| self.peer.outbox().filter(|(to, ..)| *to == agent).count();
        let info = |(agent, info): (AgentId, &nuncio_proto::peer::ContactInfo)| PeerInfo {
            agent,
            name: info.name.clone(),
            endpoints: info.endpoints.clone(),
            allowed: info.allowed,
            retired: info.retired,
            connected: self.links.contains_key(&agent),
            waiting: waiting(agent),
            problem: self.problems.get(&agent).filter(|_| !self.links.contains_key(&agent)).cloned(),
        };
        self.peer.contacts().map(info).collect()
    }

    fn session_infos(&self) -> Vec<SessionInfo> {
        let info = |(session, current): (&nuncio_proto::session::Session, bool)| SessionInfo {
            id: session.id(),
            with: session.peer(),
            current,
            confirmed: session.is_confirmed(),
            sealed: session.sealed_count(),
            received: session.next_expected(),
        };
        self.peer.sessions().map(info).collect()
    }

    fn status(&self) -> Status {
        Status {
            agent: self.peer.id(),
            retired: self.peer.is_retired(),
            listening: self.config.listen.and_then(|_| self.link.local_addr().ok()).map(|addr| addr.to_string()),
            inbox: self.peer.inbox_len(),
            outbox: self.peer.outbox().count(),
            peers: self.peer.contacts().count(),
            sessions: self.peer.sessions().count(),
            connections: self.links.values().map(Vec::len).sum(),
            one_time_prekeys: self.peer.one_time_left(),
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
fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    Answer(Box::new(move || tell(reply, Ok(value))))
}

fn is_missing(payload: &PayloadIn) -> bool {
    !payload.fetching && matches!(*payload.progress.borrow(), Progress::Arrived(_))
}

fn payload_out(key: &[u8], value: &[u8]) -> Option<(PayloadId, PayloadOut)> {
    let id = PayloadId(key.get(2..)?.try_into().ok()?);
    let (to, value) = value.split_first_chunk::<32>()?;
    let (letter, expires) = value.split_first_chunk::<16>()?;
    let out = PayloadOut {
        to: AgentId::from_bytes(*to).ok()?,
        letter: LetterId::parse(*letter)?,
        expires: UnixMillis(u64::from_be_bytes(expires.try_into().ok()?)),
        sent: Arc::default(),
    };
    Some((id, out))
}
