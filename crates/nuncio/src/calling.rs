//! What is kept of calls, and in which commits it moves (contracts/call.md section 3).

mod over;
mod rows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use nuncio_contracts::registry::{code, event, limit, time};
use nuncio_proto::call::{CallPlace, ServiceName, What};
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::step::{Arrival, Effects, Staged, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use tokio::sync::mpsc;

use crate::actor::Actor;
use crate::admission::Admission;
use crate::calls::{Added, Answering, Asked, CallCommand, CallNews, Called, Changes};
use crate::chunks::Unsent;
use crate::command::Reply;
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::message::Payload;
use crate::wake::Answer;
pub(crate) use rows::begun_row;
use rows::{ASKED, BEGUN, MEMORY, OPENED, asked_key, numbered, of_session, put_open, read_of, read_open, scan};

/// Bytes of a letter that whoever watches is told with it.
const AT_HAND_LEN_MAX: usize = 16 << 10;

/// Which program's conversation with which agent.
type Of = (AgentId, CallSessionId);

/// An own request.
#[derive(Debug)]
struct Open {
    asked: Asked,
    /// It was not delivered: why, and under which number that is told.
    failed: Option<(u16, u64)>,
    /// When it was said; nobody knows after a start.
    said: Option<Instant>,
}

/// A letter of the inbox that is of a call.
#[derive(Debug)]
struct Came {
    from: AgentId,
    session: Option<CallSessionId>,
    /// Only a service says it: it is of an own session, or to an own request.
    of_service: bool,
    at: UnixMillis,
}

impl Came {
    /// The session of another agent that it is of.
    fn of(&self) -> Option<Of> {
        self.session.filter(|_| !self.of_service).map(|session| (self.from, session))
    }
}

/// What is kept of calls. All of it is on disk, too.
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    /// Letters of the inbox that are of calls.
    came: BTreeMap<u64, Came>,
    /// Those of them that wait for a service here, by the session of another that they are of.
    waiting: BTreeMap<Of, BTreeSet<u64>>,
    /// What is of sessions of others, and on its way to the disk.
    coming: BTreeMap<u64, Of>,
    begun: BTreeMap<u64, String>,
    /// Those of them that were begun as they came, and of which nobody has said yet that it hands them over.
    admitted: BTreeSet<u64>,
    /// Who is asked whether that is done.
    pub(crate) admission: Option<Admission>,
    open: BTreeMap<(AgentId, LetterId), Open>,
    /// By which numbers failures are told.
    failures: BTreeMap<u64, (AgentId, LetterId)>,
    opened: BTreeMap<Of, ServiceName>,
    /// Whose sessions something is kept of, the oldest first.
    memories: BTreeMap<AgentId, VecDeque<CallSessionId>>,
    /// When a frame for an agent was last given to a connection or left at a mailbox.
    gave: BTreeMap<AgentId, Instant>,
    watchers: Vec<mpsc::UnboundedSender<CallNews>>,
    /// Who hears of agents that are peers no more.
    removed: Vec<mpsc::UnboundedSender<AgentId>>,
    /// Of peers: what was told of one holds as long as there are none.
    pub(crate) changes: Changes,
}

impl CallBook {
    /// Whether a letter of the inbox is of a call.
    pub(crate) fn has(&self, no: u64) -> bool {
        self.came.contains_key(&no)
    }

    /// How many letters of the inbox are of calls.
    pub(crate) fn len(&self) -> usize {
        self.came.len()
    }

    /// Something is kept of a session: of which one nothing is any more.
    fn remember(&mut self, (with, session): Of) -> Option<Of> {
        let memories = self.memories.entry(with).or_default();
        if memories.contains(&session) {
            return None;
        }
        memories.push_back(session);
        let over = memories.len() > limit::CALL_SESSIONS_MAX;
        over.then(|| memories.pop_front()).flatten().map(|oldest| (with, oldest))
    }

    /// A letter of another's session is on its way to the disk.
    pub(crate) fn comes(&mut self, no: u64, of: Of) {
        self.coming.insert(no, of);
    }

    /// Whether one is that is not handed on.
    pub(crate) fn has_coming(&self, of: Of) -> bool {
        self.coming.values().any(|coming| *coming == of)
    }

    /// A letter is noted.
    fn note(&mut self, no: u64, came: Came) {
        self.coming.remove(&no);
        if let Some(of) = came.of() {
            self.waiting.entry(of).or_default().insert(no);
        }
        self.came.insert(no, came);
    }

    /// A letter is in its service's hands, or goes.
    fn waits_no_more(&mut self, no: u64) {
        let Some(of) = self.came.get(&no).and_then(Came::of) else { return };
        if let Some(waiting) = self.waiting.get_mut(&of) {
            waiting.remove(&no);
            if waiting.is_empty() {
                self.waiting.remove(&of);
            }
        }
    }

    /// A request was begun as it came.
    pub(crate) fn begun_at_once(&mut self, no: u64, method: String) {
        self.begun.insert(no, method);
        self.admitted.insert(no);
    }

    /// A frame for an agent went; of one that is asked nothing that is not kept.
    pub(crate) fn gave(&mut self, to: AgentId) {
        if self.asks(to) {
            self.gave.insert(to, Instant::now());
        }
    }

    /// Whether a request to an agent is open.
    fn asks(&self, to: AgentId) -> bool {
        let mut from = self.open.range((to, LetterId::from_bytes([0; 16]))..);
        from.next().is_some_and(|((at, _), _)| *at == to)
    }

    fn tell(&mut self, news: impl Fn() -> CallNews) {
        self.watchers.retain(|watcher| watcher.send(news()).is_ok());
    }
}

impl Actor {
    pub(crate) fn call_command(&mut self, command: CallCommand) {
        match command {
            CallCommand::Serve { yes, reply } => {
                self.peer.serve_calls(yes);
                tell(reply, Ok(()));
            }
            CallCommand::Admit { admission, reply } => {
                self.calls.admission = Some(admission);
                tell(reply, Ok(()));
            }
            CallCommand::Watch { reply } => {
                let watch = self.watch_calls();
                tell(reply, watch);
            }
            CallCommand::Removed { reply } => {
                let (sender, removed) = mpsc::unbounded_channel();
                self.calls.removed.push(sender);
                tell(reply, Ok(removed));
            }
            CallCommand::Get { no, reply } => {
                let news = self.call_news(no);
                tell(reply, news);
            }
            CallCommand::Said { to, id, reply } => {
                let said = self.is_said(to, id);
                self.when_durable(answer(reply, said));
            }
            CallCommand::Say { to, letter, payload, note, reply } => self.say(to, &letter, payload, note, reply),
            CallCommand::Begin { no, method, reply } => self.begin_call(no, method, reply),
            CallCommand::Begun { no } => {
                if self.calls.admitted.remove(&no) {
                    self.calls.waits_no_more(no);
                }
            }
            CallCommand::Answer(answering, reply) => self.answer_call(*answering, reply),
            CallCommand::Taken { no, reply } => {
                let (taken, rows, mut answers) = self.take_call(no);
                answers.push(answer(reply, ()));
                self.commit_staged(taken, rows, answers);
            }
            CallCommand::LetGo { no, reply } => {
                // None of it is a failure of a letter, which is noted before it is gathered.
                let (taken, rows, answers) = self.take_call(no);
                self.backlog.gather_at_leisure(taken, rows, answers);
                tell(reply, Ok(()));
            }
            CallCommand::Memory { of, reply } => {
                let memory = self.store.get(&of_session(MEMORY, &of)).map_err(Error::from);
                tell(reply, memory);
            }
            CallCommand::Opened { reply } => {
                let opened =
                    self.calls.opened.iter().map(|((with, session), service)| (*with, *session, service.clone()));
                tell(reply, Ok(opened.collect()));
            }
            CallCommand::Close { of, reply } => self.close_calls(of, reply),
            CallCommand::Query { to, session, reply } => self.query_way(to, session, reply),
            CallCommand::Queries { reply } => self.take_queries(reply),
        }
    }

    /// Brings back what is kept. Letters of the inbox are noted as they are read.
    pub(crate) fn resume_calls(&mut self) -> Result<(), Error> {
        let store = std::sync::Arc::clone(&self.store);
        scan(&store, BEGUN, |key, value| {
            let no = key.try_into().ok().map(u64::from_be_bytes);
            if let Some(no) = no {
                self.calls.begun.insert(no, String::from_utf8_lossy(value).into_owned());
                self.calls.waits_no_more(no);
            }
        })?;
        scan(&store, OPENED, |key, value| {
            let service = core::str::from_utf8(value).ok().and_then(|name| name.parse::<ServiceName>().ok());
            if let Some(((with, session), service)) = read_of(key).zip(service) {
                self.calls.opened.insert((with, session), service.clone());
                self.peer.open_calls(with, session, service);
            }
        })?;
        scan(&store, MEMORY, |key, _| {
            read_of(key).into_iter().for_each(|of| {
                self.calls.remember(of);
            });
        })?;
        let mut open = Vec::new();
        scan(&store, ASKED, |key, value| open.extend(read_open(key, value)))?;
        for request in open {
            self.await_call(&request.asked);
            let at = (request.asked.to, request.asked.id);
            self.calls.failures.extend(request.failed.map(|(_, no)| (no, at)));
            self.calls.open.insert(at, request);
        }
        // One whose failure is on disk and was not told.
        let untold = self.calls.open.iter().filter(|(_, open)| open.failed.is_none()).map(|(at, _)| *at);
        for (to, id) in untold.collect::<Vec<_>>() {
            if let Some(code) = self.failed(to, id)? {
                // Whether it had gone is not on disk.
                let is_ours = matches!(code, code::EXPIRED | code::CANCELLED | code::RETIRED);
                self.call_failed(to, id, if is_ours { code::UNHEARD } else { code });
            }
        }
        self.forget_calls_of_no_peers();
        Ok(())
    }

    fn await_call(&mut self, asked: &Asked) {
        if asked.session.is_none() {
            self.peer.await_call(asked.to, asked.id, asked.service.clone());
        }
    }

    /// Notes a letter of the inbox that is of a call.
    pub(crate) fn note_call(&mut self, arrival: &Arrival) -> Option<CallPlace> {
        let place = CallPlace::of(&arrival.letter).ok().flatten()?;
        let of_service = place.what.is_callers() == Some(false);
        let came = Came { from: arrival.from, session: place.session, of_service, at: arrival.received };
        self.calls.note(arrival.no, came);
        Some(place)
    }

    /// Hands a letter of a call on. `false`: it is of none.
    pub(crate) fn deliver_call(&mut self, arrival: &Arrival) -> bool {
        let Some(place) = self.note_call(arrival) else { return false };
        let mut called = self.called(arrival.clone(), place);
        (called.by, called.admitted) = (self.added(&arrival.from), self.calls.admitted.contains(&arrival.no));
        if arrival.letter.payload.len() > AT_HAND_LEN_MAX {
            called = without_bytes(called);
        }
        self.fetch_payloads(arrival.from);
        self.calls.tell(|| CallNews::Came(Box::new(called.clone())));
        true
    }

    /// Whether a session is this agent's own.
    pub(crate) fn has_opened(&self, with: AgentId, session: CallSessionId) -> bool {
        self.calls.opened.contains_key(&(with, session))
    }

    /// Whether a letter of another's session is here that was not begun, or not handed on.
    pub(crate) fn waits_for_service(&self, from: AgentId, session: CallSessionId) -> bool {
        self.calls.waiting.contains_key(&(from, session))
    }

    fn watch_calls(&mut self) -> Result<mpsc::UnboundedReceiver<CallNews>, Error> {
        let (sender, news) = mpsc::unbounded_channel();
        let last = self.handed_out;
        let numbers: Vec<u64> = self.calls.came.keys().copied().take_while(|no| Some(*no) <= last).collect();
        let mut there: BTreeMap<u64, CallNews> = BTreeMap::new();
        for no in numbers {
            there.extend(self.call_news(no)?.map(|news| (no, without_bytes_of(news))));
        }
        there.extend(self.calls.failures.iter().filter_map(|(no, at)| Some((*no, failure(self.calls.open.get(at)?)?))));
        // The receiver is in our hands.
        there.into_values().for_each(|news| drop(sender.send(news)));
        self.calls.watchers.push(sender);
        Ok(news)
    }

    /// What came, or failed, under a number.
    fn call_news(&mut self, no: u64) -> Result<Option<CallNews>, Error> {
        if let Some(open) = self.calls.failures.get(&no).and_then(|at| self.calls.open.get(at)) {
            return Ok(failure(open));
        }
        let key = nuncio_proto::rows::inbox(no);
        let row = if self.calls.has(no) { self.store.get(&key)? } else { None };
        let Some(arrival) = row.and_then(|row| Arrival::from_row(&key, &row)) else { return Ok(None) };
        let place = CallPlace::of(&arrival.letter).ok().flatten();
        Ok(place.map(|place| CallNews::Came(Box::new(self.called(arrival, place)))))
    }

    fn called(&mut self, arrival: Arrival, place: CallPlace) -> Called {
        let (no, from) = (arrival.no, arrival.from);
        let own = match place.what.is_callers() {
            Some(callers) => !callers,
            None => place.session.is_some_and(|session| self.calls.opened.contains_key(&(from, session))),
        };
        let begun = self.calls.begun.get(&no).filter(|_| !self.calls.admitted.contains(&no)).cloned();
        Called { own, begun, letter: self.incoming(arrival), place, at_hand: true, by: None, admitted: false }
    }

    /// A peer that is added here.
    pub(crate) fn added(&self, agent: &AgentId) -> Option<Added> {
        let peer = self.peer.contact(agent).filter(|info| info.allowed)?;
        Some(self.calls.changes.added(peer.name.clone()))
    }

    fn is_said(&self, to: AgentId, id: LetterId) -> bool {
        self.calls.open.contains_key(&(to, id)) || self.peer.is_under_way(to, id)
    }

    fn say(&mut self, to: AgentId, letter: &Letter, payload: Option<Unsent>, note: Vec<u8>, reply: Reply<()>) {
        if self.is_said(to, letter.id) {
            // Said before: what was accepted is on disk, or is in front of this answer in the writer's line.
            return self.when_durable(answer(reply, ()));
        }
        let Ok(Some(place)) = CallPlace::of(letter) else { return tell(reply, Err(Error::NoCall)) };
        let of_peer = self.calls.open.range((to, LetterId::from_bytes([0; 16]))..).take_while(|((at, _), _)| *at == to);
        if place.what == What::Request && of_peer.count() >= limit::CALLS_BEGUN_MAX {
            return tell(reply, Err(Error::TooManyCalls));
        }
        let (step, mut rows) = match self.accept_of_call(to, letter, payload) {
            Ok(accepted) => accepted,
            Err(error) => return tell(reply, Err(error)),
        };
        if let Some(session) = place.session.filter(|_| place.what != What::End) {
            let of = (to, session);
            if place.what.is_callers() == Some(true) && !self.calls.opened.contains_key(&of) {
                self.calls.opened.insert(of, place.service.clone());
                self.peer.open_calls(to, session, place.service.clone());
                rows.push(Op::Put { key: of_session(OPENED, &of), value: place.service.as_str().into() });
            }
        }
        if place.what == What::Request {
            let asked = Asked { to, id: letter.id, service: place.service, session: place.session, note };
            self.await_call(&asked);
            let open = Open { asked, failed: None, said: Some(Instant::now()) };
            rows.push(put_open(&open));
            self.calls.open.insert((to, letter.id), open);
        }
        self.commit_rows(step, rows, vec![answer(reply, ())]);
    }

    fn accept_of_call(
        &mut self,
        to: AgentId,
        letter: &Letter,
        payload: Option<Unsent>,
    ) -> Result<(Step, Vec<Op>), Error> {
        self.check_payload_room(to, payload.as_ref())?;
        self.accept(to, letter, payload)
    }

    fn arrival(&self, no: u64) -> Option<Arrival> {
        let key = nuncio_proto::rows::inbox(no);
        self.store.get(&key).ok().flatten().and_then(|row| Arrival::from_row(&key, &row))
    }

    fn begin_call(&mut self, no: u64, method: String, reply: Reply<bool>) {
        if self.calls.has(no) && self.calls.admitted.remove(&no) {
            // It is on disk: nobody was told of the letter before.
            self.calls.waits_no_more(no);
            return tell(reply, Ok(true));
        }
        let arrival = self.arrival(no).filter(|_| self.calls.has(no) && !self.calls.begun.contains_key(&no));
        let Some(arrival) = arrival else { return tell(reply, Ok(false)) };
        let rows = vec![begun_row(no, &method)];
        let told = self.peer.tell_call(event::TOOL_INVOKED, None, &arrival, &method, now());
        self.calls.begun.insert(no, method);
        self.calls.waits_no_more(no);
        let mut together = nothing();
        told.into_iter().for_each(|step| self.stage_onto(&mut together, step));
        self.commit_staged(together, rows, vec![answer(reply, true)]);
    }

    // contracts/call.md X10: the answer, and that the request waits no more, are one commit.
    fn answer_call(&mut self, answering: Answering, reply: Reply<bool>) {
        let Answering { no, to, letter, payload, method, outcome, memory } = answering;
        // What was begun as it came, and then not handed over, is told as that.
        let method = Some(method).filter(|method| !method.is_empty()).or_else(|| self.calls.begun.get(&no).cloned());
        let method = method.unwrap_or_default();
        let Some(arrival) = self.arrival(no).filter(|_| self.calls.has(no)) else { return tell(reply, Ok(false)) };
        let (step, mut rows) = match self.accept_of_call(to, &letter, payload) {
            Ok(accepted) => accepted,
            Err(error) => return tell(reply, Err(error)),
        };
        let mut together = nothing();
        self.stage_onto(&mut together, step);
        let (what, code) = outcome.event();
        let told = self.peer.tell_call(what, code, &arrival, &method, now());
        told.into_iter().for_each(|step| self.stage_onto(&mut together, step));
        let mut answers = vec![answer(reply, true)];
        self.forget_came(no, &mut together, &mut rows, &mut answers);
        if let Some((session, memory)) = memory {
            let forgotten = self.calls.remember((to, session));
            rows.extend(forgotten.map(|of| Op::Delete { key: of_session(MEMORY, &of) }));
            rows.push(Op::Put { key: of_session(MEMORY, &(to, session)), value: memory });
        }
        self.commit_staged(together, rows, answers);
    }

    /// A request that was begun goes without an answer: its asker has ended the session.
    // contracts/call.md X8.
    fn tell_unanswered(&mut self, no: u64, together: &mut Staged) {
        let begun = self.calls.begun.get(&no).cloned().zip(self.arrival(no));
        let told = begun
            .and_then(|(method, arrival)| self.peer.tell_call(event::TOOL_UNKNOWN, None, &arrival, &method, now()));
        told.into_iter().for_each(|step| self.stage_onto(together, step));
    }

    /// A letter of a call goes from the inbox, with all that is kept of it.
    fn forget_came(&mut self, no: u64, together: &mut Staged, rows: &mut Vec<Op>, answers: &mut Vec<Answer>) {
        self.calls.waits_no_more(no);
        self.calls.came.remove(&no);
        self.calls.admitted.remove(&no);
        if self.calls.begun.remove(&no).is_some() {
            rows.push(Op::Delete { key: numbered(BEGUN, no) });
        }
        if let Some(step) = self.peer.done(no) {
            answers.splice(0..0, self.forget_payload(no));
            self.stage_onto(together, step);
        }
    }

    fn forget_open(&mut self, at: (AgentId, LetterId), rows: &mut Vec<Op>) {
        if self.calls.open.remove(&at).is_some() {
            self.peer.await_no_call(at.0, at.1);
            self.calls.failures.retain(|_, told| *told != at);
            if !self.calls.asks(at.0) {
                self.calls.gave.remove(&at.0);
            }
            rows.push(Op::Delete { key: asked_key(&at) });
        }
    }

    /// Whom a message, or a failure, is for has it: what goes with it.
    fn take_call(&mut self, no: u64) -> (Staged, Vec<Op>, Vec<Answer>) {
        let (mut together, mut rows, mut answers) = (nothing(), Vec::new(), Vec::new());
        if let Some(at) = self.calls.failures.get(&no).copied() {
            self.forget_open(at, &mut rows);
        } else if self.calls.has(no) {
            let arrival = self.arrival(no);
            let asked = arrival.and_then(|arrival| {
                let place = CallPlace::of(&arrival.letter).ok().flatten()?;
                arrival.letter.reply_to.filter(|_| place.what == What::Answer).map(|asked| (arrival.from, asked))
            });
            asked.into_iter().for_each(|at| self.forget_open(at, &mut rows));
            self.tell_unanswered(no, &mut together);
            self.forget_came(no, &mut together, &mut rows, &mut answers);
        }
        (together, rows, answers)
    }

    // contracts/call.md X14.
    fn close_calls(&mut self, of: Of, reply: Reply<()>) {
        let (mut together, mut rows, mut answers) = (nothing(), Vec::new(), vec![answer(reply, ())]);
        if self.calls.opened.remove(&of).is_some() {
            self.peer.end_calls(of.0, of.1);
            rows.push(Op::Delete { key: of_session(OPENED, &of) });
        }
        self.calls.memories.entry(of.0).or_default().retain(|session| *session != of.1);
        rows.push(Op::Delete { key: of_session(MEMORY, &of) });
        let is_of = |from: AgentId, session: Option<CallSessionId>| (from, session) == (of.0, Some(of.1));
        let came = self.calls.came.iter().filter(|(_, came)| is_of(came.from, came.session)).map(|(no, _)| *no);
        let came: Vec<u64> = came.collect();
        for no in came {
            self.tell_unanswered(no, &mut together);
            self.forget_came(no, &mut together, &mut rows, &mut answers);
        }
        let open = self.calls.open.iter().filter(|(_, open)| is_of(open.asked.to, open.asked.session));
        let open: Vec<_> = open.map(|(at, _)| *at).collect();
        open.into_iter().for_each(|at| self.forget_open(at, &mut rows));
        self.commit_staged(together, rows, answers);
    }

    fn forget_all_came(&mut self, came: Vec<u64>, mut rows: Vec<Op>) {
        let (mut together, mut answers) = (nothing(), Vec::new());
        came.into_iter().for_each(|no| self.forget_came(no, &mut together, &mut rows, &mut answers));
        if !rows.is_empty() || !together.ops.is_empty() {
            self.commit_staged(together, rows, answers);
        }
    }

    /// Requests that are too old to be answered any more, and what came for programs that are not there any more.
    // contracts/call.md X12.
    pub(crate) fn forget_old_calls(&mut self, now: UnixMillis) {
        let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        let old = self.calls.open.keys().filter(|(_, id)| now.since(id.created()) > life).copied();
        let (old, mut rows): (Vec<_>, _) = (old.collect(), Vec::new());
        old.into_iter().for_each(|at| self.forget_open(at, &mut rows));
        let came = self.calls.came.iter().filter(|(_, came)| came.of_service && now.since(came.at) > life);
        let came = came.map(|(no, _)| *no).collect();
        self.forget_all_came(came, rows);
    }
}

/// Whoever watches is told of a longer message, and reads it by its number.
fn without_bytes(mut called: Called) -> Called {
    if let Payload::Inline(bytes) = &mut called.letter.payload {
        *bytes = Vec::new();
    }
    called.at_hand = false;
    called
}

fn without_bytes_of(news: CallNews) -> CallNews {
    match news {
        CallNews::Came(called) => CallNews::Came(Box::new(without_bytes(*called))),
        failed @ CallNews::Failed { .. } => failed,
    }
}

fn nothing() -> Staged {
    Staged { ops: Vec::new(), effects: Effects::default() }
}

fn failure(open: &Open) -> Option<CallNews> {
    let (code, no) = open.failed?;
    Some(CallNews::Failed { no, asked: open.asked.clone(), why: Error::NotDelivered(code) })
}
