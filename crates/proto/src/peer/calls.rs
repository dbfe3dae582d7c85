//! Whose messages to services, and whose messages of services, are taken (contracts/call.md sections 2 and 3), and what is told of them.

use std::collections::BTreeMap;

use nuncio_contracts::registry::{code, extension, limit};

use super::audit::audited;
use super::permits::Permits;
use super::{Change, Out, Peer};
use crate::audit::Event;
use crate::call::{CallPlace, ServiceName, What};
use crate::control::Control;
use crate::error::{PeerError, Refusal};
use crate::ids::{AgentId, CallSessionId, LetterId};
use crate::letter::Letter;
use crate::outbox::Entry;
use crate::step::{Arrival, Step};
use crate::time::UnixMillis;

/// Which calls there are.
#[derive(Debug, Default)]
pub(super) struct Calls {
    serves: bool,
    /// Sessions that this agent has opened, each with which service.
    opened: BTreeMap<(AgentId, CallSessionId), ServiceName>,
    /// Requests of its own in no session that have no answer yet.
    asked: BTreeMap<(AgentId, LetterId), ServiceName>,
    /// What is of calls in the outbox.
    pub(super) out: Loads,
    /// How many of them are said in which session.
    says: BTreeMap<(AgentId, CallSessionId), usize>,
    /// What is of calls in the inbox, and whose each letter is.
    pub(super) came: Loads,
    pub(super) came_of: BTreeMap<u64, AgentId>,
    /// What lets agents do what they do with services.
    pub(super) permits: Permits,
}

/// How many letters, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    letters: usize,
    bytes: usize,
}

impl Load {
    const fn has_room(self, letters: usize, bytes: usize) -> bool {
        self.letters < letters && self.bytes < bytes
    }
}

/// How much there is of each agent, and of all.
#[derive(Debug, Default)]
pub(super) struct Loads {
    all: Load,
    of: BTreeMap<AgentId, Load>,
}

impl Loads {
    pub(super) fn add(&mut self, agent: AgentId, bytes: usize) {
        let of = self.of.entry(agent).or_default();
        for load in [of, &mut self.all] {
            load.letters += 1;
            load.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, agent: &AgentId, bytes: usize) {
        let Some(of) = self.of.get_mut(agent) else { return };
        let loads = [&mut *of, &mut self.all];
        for load in loads {
            load.letters = load.letters.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(bytes);
        }
        if of.letters == 0 {
            self.of.remove(agent);
        }
    }

    fn of(&self, agent: &AgentId) -> Load {
        self.of.get(agent).copied().unwrap_or_default()
    }
}

impl Calls {
    /// Whether one more may wait for this agent.
    fn has_room_out(&self, to: &AgentId) -> bool {
        self.out.of(to).has_room(limit::CALLS_OUT_LETTERS_MAX, limit::CALLS_OUT_BYTES_MAX)
            && self.out.all.has_room(limit::OUTBOX_LETTERS_MAX / 2, limit::OUTBOX_BYTES_MAX / 2)
    }

    /// A letter is in the outbox.
    pub(super) fn goes(&mut self, entry: &Entry) {
        if !entry.call {
            return;
        }
        self.out.add(entry.to, entry.letter.len());
        if let Some(session) = entry.said_in {
            *self.says.entry((entry.to, session)).or_default() += 1;
        }
    }

    /// A letter is in the outbox no more.
    pub(super) fn gone(&mut self, entry: &Entry) {
        if !entry.call {
            return;
        }
        self.out.remove(&entry.to, entry.letter.len());
        let Some(at) = entry.said_in.map(|session| (entry.to, session)) else { return };
        if let Some(said) = self.says.get_mut(&at) {
            *said = said.saturating_sub(1);
            if *said == 0 {
                self.says.remove(&at);
            }
        }
    }

    /// Whether a message of a session is in the outbox.
    pub(super) fn says_in(&self, to: AgentId, session: CallSessionId) -> bool {
        self.says.contains_key(&(to, session))
    }

    fn has_room_in(&self, from: &AgentId) -> bool {
        self.came.of(from).has_room(limit::CALLS_IN_LETTERS_MAX, limit::CALLS_IN_BYTES_MAX)
    }

    fn takes(&self, from: &AgentId, letter: &Letter, place: &CallPlace) -> Result<(), u16> {
        let opened = || match (place.session, letter.reply_to) {
            (Some(session), _) => self.opened.get(&(*from, session)) == Some(&place.service),
            (None, Some(asked)) => self.asked.get(&(*from, asked)) == Some(&place.service),
            (None, None) => false,
        };
        match place.what {
            What::Request | What::Notice if self.serves => Ok(()),
            What::Request | What::Notice => Err(code::NO_SERVICE),
            What::End if self.serves => Ok(()),
            What::Part | What::Answer | What::Aside | What::End if opened() => Ok(()),
            What::Part | What::Answer | What::Aside | What::End => Err(code::NO_CALL),
        }
    }
}

impl Peer {
    /// Whether a message of a call can be accepted for an agent now: as many wait for it as may, or as many for all.
    // contracts/call.md X42.
    pub(super) fn check_calls_out(&self, to: &AgentId) -> Result<(), PeerError> {
        if self.calls.has_room_out(to) { Ok(()) } else { Err(PeerError::TooManyCalls(*to)) }
    }

    /// Whether messages to services are taken.
    #[must_use]
    pub const fn serves_calls(&self) -> bool {
        self.calls.serves
    }

    /// A letter is in the inbox.
    pub(super) fn note_came(&mut self, no: u64, from: AgentId, letter: &Letter, len: usize) {
        if letter.extension(extension::CALL).is_some() {
            self.calls.came.add(from, len);
            self.calls.came_of.insert(no, from);
        }
    }

    /// A letter is in the inbox no more.
    pub(super) fn note_gone(&mut self, no: u64, len: usize) {
        if let Some(from) = self.calls.came_of.remove(&no) {
            self.calls.came.remove(&from, len);
        }
    }

    /// Whether a message of a call has room here: among its sender's in the inbox, and, where the agent answers it, among the answers that wait for its sender.
    // contracts/call.md X42, X43.
    pub(super) fn check_call_room(&self, from: &AgentId, letter: &Letter) -> Result<(), Refusal> {
        let Some(place) = CallPlace::of(letter).ok().flatten() else { return Ok(()) };
        let is_asked = matches!(place.what, What::Request | What::Notice);
        let has_room = self.calls.has_room_in(from) && (!is_asked || self.calls.has_room_out(from));
        if has_room { Ok(()) } else { Err(Refusal::TooManyCalls) }
    }

    /// Whether messages to services are taken. Off unless said in words.
    pub const fn serve_calls(&mut self, yes: bool) {
        self.calls.serves = yes;
    }

    /// Whether agents that nobody has added are heard when they ask to be let in ([`crate::step::Effect::Knocked`]). Off unless said in words.
    pub const fn hear_knocks(&mut self, yes: bool) {
        self.hears_knocks = yes;
    }

    /// Knocks that are on their way to an agent.
    pub fn knocks_to(&self, to: AgentId) -> impl Iterator<Item = LetterId> + '_ {
        let controls = self.outbox.values().filter(move |entry| entry.control && entry.to == to);
        let is_knock = |letter: &[u8]| {
            let letter = Letter::decode(letter).ok();
            letter.is_some_and(|letter| matches!(Control::decode(&letter.payload), Some(Control::Knock(_))))
        };
        controls.filter(move |entry| is_knock(&entry.letter)).map(|entry| entry.id)
    }

    /// Takes what this service of another says in this session, until [`Peer::end_calls`] or a restart.
    pub fn open_calls(&mut self, with: AgentId, session: CallSessionId, service: ServiceName) {
        self.calls.opened.insert((with, session), service);
    }

    /// Ends [`Peer::open_calls`].
    pub fn end_calls(&mut self, with: AgentId, session: CallSessionId) {
        self.calls.opened.remove(&(with, session));
    }

    /// Takes what this service of another says to a request in no session, until its answer has come or a restart.
    pub fn await_call(&mut self, with: AgentId, request: LetterId, service: ServiceName) {
        self.calls.asked.insert((with, request), service);
    }

    /// Ends [`Peer::await_call`].
    pub fn await_no_call(&mut self, with: AgentId, request: LetterId) {
        self.calls.asked.remove(&(with, request));
    }

    /// Whether a letter may be what it says it is among calls, and whether it may be that without a token.
    // contracts/call.md X1, X6, X7.
    pub(super) fn judge_call(&self, from: &AgentId, letter: &Letter) -> Result<bool, u16> {
        let Some(place) = CallPlace::of(letter).map_err(|()| code::MALFORMED)? else { return Ok(false) };
        self.calls.takes(from, letter, &place)?;
        Ok(letter.extension(extension::TOKEN).is_none())
    }

    /// A request in no session is answered once.
    pub(super) fn note_call(&mut self, from: AgentId, letter: &Letter) {
        if self.calls.asked.is_empty() {
            return;
        }
        let answered = CallPlace::of(letter).ok().flatten().is_some_and(|place| place.what == What::Answer);
        letter.reply_to.filter(|_| answered).into_iter().for_each(|asked| self.await_no_call(from, asked));
    }

    /// Writes down what became of a request to a service of this agent's. `what` is one of the registry's events, `method` the protocol's word.
    ///
    /// `None` where this agent keeps no log.
    // contracts/call.md X8.
    #[must_use]
    pub fn tell_call(
        &self,
        what: u8,
        outcome: Option<u16>,
        request: &Arrival,
        method: &str,
        now: UnixMillis,
    ) -> Option<Step> {
        let event = self.event_in(what, None, Some(request.from), now)?;
        let token = request.token.as_deref();
        let event = Event {
            outcome,
            kind: Some(Event::name_of(method)).filter(|_| !method.is_empty()),
            token: token.map(|token| *token.hash()),
            transaction: token.map(|token| Event::name_of(&token.claims().txn)),
            commitment: audited(&request.letter).map(|audited| audited.commitment),
            ..event
        };
        Some(self.step(Change::Told(Box::new(event))))
    }

    pub(super) fn apply_call_told(&mut self, event: Event, out: &mut Out) {
        self.write_down(event, out);
    }

    /// A number of the inbox that no letter has, for what the runtime itself has to say among them.
    pub fn take_number(&self) -> (u64, Step) {
        (self.next_arrival, self.step(Change::NumberTaken))
    }
}
