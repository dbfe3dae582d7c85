//! Whose messages to services, and whose messages of services, are taken (contracts/call.md sections 2 and 3), and what is told of them.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{code, extension};

use super::audit::audited;
use super::{Change, Out, Peer};
use crate::audit::Event;
use crate::call::{CallPlace, ServiceName, What};
use crate::control::Control;
use crate::ids::{AgentId, CallSessionId, LetterId};
use crate::letter::Letter;
use crate::step::{Arrival, Step};
use crate::time::UnixMillis;

/// Which calls there are.
#[derive(Debug, Default)]
pub(super) struct Calls {
    serves: bool,
    /// Sessions that this agent has opened, each with which service.
    opened: BTreeMap<(AgentId, CallSessionId), ServiceName>,
    /// Requests of its own in no session that have no answer yet.
    asked: BTreeSet<(AgentId, LetterId)>,
}

impl Calls {
    fn takes(&self, from: &AgentId, letter: &Letter, place: &CallPlace) -> Result<(), u16> {
        let opened = || match (place.session, letter.reply_to) {
            (Some(session), _) => self.opened.get(&(*from, session)) == Some(&place.service),
            (None, Some(asked)) => self.asked.contains(&(*from, asked)),
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

    /// Takes what another's service says to a request in no session, until its answer has come or a restart.
    pub fn await_call(&mut self, with: AgentId, request: LetterId) {
        self.calls.asked.insert((with, request));
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
