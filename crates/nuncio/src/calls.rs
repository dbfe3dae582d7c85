//! Calls: programs' messages to other agents' services, and services' messages back (contracts/call.md).
//!
//! ```text
//!   say ─► outbox, asked ══ letter ══► inbox ─► calls ─► begin_call ─► the service acts
//!   the program ◄─ calls ◄─ inbox ◄══ letter ══ outbox, begun forgotten ◄─ answer_call
//!   call_taken: both forgotten
//! ```
//!
//! Each arrow from `say`, `begin_call` and `answer_call` on is durable before the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nuncio_contracts::registry::{code, event, time};
use nuncio_proto::call::{CallPlace, ServiceName, What};
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use nuncio_proto::letter::Letter;
use tokio::sync::mpsc;

use crate::admission::Admission;
use crate::agent::Agent;
use crate::chunks::Unsent;
use crate::command::{Command, Reply};
use crate::error::Error;
use crate::message::{Incoming, Message};
use crate::queries::{Asking, Query};

/// Longest note that is kept with a request.
pub const CALL_NOTE_MAX: usize = 1_024;
/// Longest memory that is kept of a session.
pub const CALL_MEMORY_MAX: usize = 64 << 10;

/// A message of a call that came.
#[derive(Clone, Debug)]
pub struct Called {
    /// The letter: it stays, through restarts, until [`Agent::answer_call`] or [`Agent::call_taken`].
    pub letter: Incoming,
    /// What it is, and of which call.
    pub place: CallPlace,
    /// It is of a session, or to a request, of this agent's own; else it is for a service of this agent's.
    pub own: bool,
    /// It was begun before this start and has no answer: nobody knows whether its service has acted. The method with which it was begun.
    pub begun: Option<String>,
    /// The bytes that came in the letter itself are here; else [`Agent::call`] has them.
    pub at_hand: bool,
    /// It came just now, from a peer that is added here.
    pub by: Option<Added>,
    /// It was begun as it came ([`Agent::admit_calls`]), just now.
    pub admitted: bool,
}

/// A peer that was added here when its message came.
#[derive(Clone, Debug)]
pub struct Added {
    /// What it was called here.
    pub name: Option<String>,
    changes: Changes,
    seen: u64,
}

impl Added {
    /// Whether no peer was added, named otherwise or removed since: what is known of it still holds.
    #[must_use]
    pub fn still_holds(&self) -> bool {
        self.changes.count() == self.seen
    }
}

/// How often who is a peer has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(Arc<AtomicU64>);

impl Changes {
    /// It changes.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// A peer as it is known now.
    pub(crate) fn added(&self, name: Option<String>) -> Added {
        Added { name, changes: self.clone(), seen: self.count() }
    }
}

/// A request of this agent's own that was accepted, and whose answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub to: AgentId,
    /// Its letter.
    pub id: LetterId,
    /// Which service.
    pub service: ServiceName,
    /// In which session.
    pub session: Option<CallSessionId>,
    /// What its asker had kept with it.
    pub note: Vec<u8>,
}

/// What comes of calls.
#[derive(Debug)]
pub enum CallNews {
    /// A message, in the order of the inbox.
    Came(Box<Called>),
    /// A request of this agent's own was not delivered, so it was not done; or, with the registry's codes `removed` and `unheard`, nobody knows.
    Failed {
        /// Its number among those of the inbox, for [`Agent::call_taken`].
        no: u64,
        /// The request.
        asked: Asked,
        /// Why: [`Error::NotDelivered`].
        why: Error,
    },
}

/// What became of a request, as its answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has answered.
    Answered,
    /// It was not allowed, and not handed over.
    Denied,
    /// It was handed over, and nobody knows what came of it.
    Unknown,
}

impl Outcome {
    /// The event that tells of it, and its outcome.
    pub(crate) const fn event(self) -> (u8, Option<u16>) {
        match self {
            Self::Answered => (event::TOOL_ANSWERED, None),
            Self::Denied => (event::TOOL_INVOKED, Some(code::REFUSED)),
            Self::Unknown => (event::TOOL_UNKNOWN, None),
        }
    }
}

/// What comes of calls: first what is there, then what comes.
#[derive(Debug)]
pub struct CallWatch {
    pub(crate) news: mpsc::UnboundedReceiver<CallNews>,
}

impl CallWatch {
    /// The next news; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<CallNews, Error> {
        self.news.recv().await.ok_or(Error::Stopped)
    }

    /// The next that is there already.
    pub fn try_next(&mut self) -> Option<CallNews> {
        self.news.try_recv().ok()
    }
}

/// What a handle asks of the actor about calls.
#[derive(Debug)]
pub(crate) enum CallCommand {
    Serve { yes: bool, reply: Reply<()> },
    Admit { admission: Admission, reply: Reply<()> },
    Watch { reply: Reply<mpsc::UnboundedReceiver<CallNews>> },
    Removed { reply: Reply<mpsc::UnboundedReceiver<AgentId>> },
    Get { no: u64, reply: Reply<Option<CallNews>> },
    Said { to: AgentId, id: LetterId, reply: Reply<bool> },
    Say { to: AgentId, letter: Box<Letter>, payload: Option<Unsent>, note: Vec<u8>, reply: Reply<()> },
    Begin { no: u64, method: String, reply: Reply<bool> },
    Begun { no: u64 },
    Answer(Box<Answering>, Reply<bool>),
    Taken { no: u64, reply: Reply<()> },
    LetGo { no: u64, reply: Reply<()> },
    Memory { of: (AgentId, CallSessionId), reply: Reply<Option<Vec<u8>>> },
    Opened { reply: Reply<Vec<(AgentId, CallSessionId, ServiceName)>> },
    Close { of: (AgentId, CallSessionId), reply: Reply<()> },
    Query { to: AgentId, session: Option<CallSessionId>, reply: Reply<Option<Arc<Asking>>> },
    Queries { reply: Reply<mpsc::UnboundedReceiver<Query>> },
}

/// The last message to a request.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) no: u64,
    pub(crate) to: AgentId,
    pub(crate) letter: Letter,
    pub(crate) payload: Option<Unsent>,
    pub(crate) method: String,
    pub(crate) outcome: Outcome,
    /// What is kept of the request's session from now on.
    pub(crate) memory: Option<(CallSessionId, Vec<u8>)>,
}

impl Agent {
    async fn ask_calls<T>(&self, make: impl FnOnce(Reply<T>) -> CallCommand) -> Result<T, Error> {
        self.ask(|reply| Command::Call(make(reply))).await
    }

    /// Whether messages to services are taken from now on. What they may do is for who serves them to decide, message by message.
    pub async fn serve_calls(&self, yes: bool) -> Result<(), Error> {
        self.ask_calls(|reply| CallCommand::Serve { yes, reply }).await
    }

    /// Who is asked of each request that comes whether it is begun in the commit in which it comes. [`Agent::begin_call`] of one that is says `true` without a
    /// commit of its own. One that was admitted and not handed over when the agent ends counts as begun.
    pub async fn admit_calls(&self, admission: Admission) -> Result<(), Error> {
        self.ask_calls(|reply| CallCommand::Admit { admission, reply }).await
    }

    /// The messages of calls that are there, and those that come. Of what was there, and of what is long, the bytes that came in the letters themselves are
    /// not here: [`Agent::call`] has them. They are in no inbox.
    pub async fn calls(&self) -> Result<CallWatch, Error> {
        Ok(CallWatch { news: self.ask_calls(|reply| CallCommand::Watch { reply }).await? })
    }

    /// Agents that are peers no more, from now on, each once that is on disk: before anything that comes of it when it is one again. Its sessions with
    /// services are over.
    // contracts/call.md X43.
    pub async fn removed_peers(&self) -> Result<mpsc::UnboundedReceiver<AgentId>, Error> {
        self.ask_calls(|reply| CallCommand::Removed { reply }).await
    }

    /// One of the news that is there: `None` once it was taken.
    pub async fn call(&self, no: u64) -> Result<Option<CallNews>, Error> {
        self.ask_calls(|reply| CallCommand::Get { no, reply }).await
    }

    /// Sends a message of a call: on disk when this returns. The same `id` twice is one message. With a request a `note` is kept, at most
    /// [`CALL_NOTE_MAX`] bytes, until its answer was taken.
    ///
    /// # Errors
    /// As [`Agent::send`]; [`Error::NoCall`] for a place or a note that is too long; [`nuncio_proto::error::PeerError::TooManyCalls`] where as many wait
    /// for this agent, or for all, as may.
    pub async fn say(
        &self,
        to: AgentId,
        id: LetterId,
        place: &CallPlace,
        message: Message,
        note: Vec<u8>,
    ) -> Result<(), Error> {
        if note.len() > CALL_NOTE_MAX {
            return Err(Error::NoCall);
        }
        // What was accepted is not asked a token for again: its transaction may be over by now.
        if message.under.is_some() && self.ask_calls(|reply| CallCommand::Said { to, id, reply }).await? {
            return Ok(());
        }
        let (letter, payload) = self.write_call(to, id, place, message).await?;
        self.ask_calls(|reply| CallCommand::Say { to, letter: Box::new(letter), payload, note, reply }).await
    }

    async fn write_call(
        &self,
        to: AgentId,
        id: LetterId,
        place: &CallPlace,
        message: Message,
    ) -> Result<(Letter, Option<Unsent>), Error> {
        let extension = place.extension().ok_or(Error::NoCall)?;
        let message = with_end(place.what, message);
        self.write_as(to, id, Some(extension), message).await
    }

    /// Says that a request is handed to its service now, by a word of its protocol: on disk when this returns, so that it is never handed over again.
    /// `false` if it is not there, or was begun before.
    pub async fn begin_call(&self, no: u64, method: &str) -> Result<bool, Error> {
        self.ask_calls(|reply| CallCommand::Begin { no, method: method.to_owned(), reply }).await
    }

    /// [`Agent::begin_call`] of a request that came as [`Called::admitted`], which waits for nobody: it is on disk. `false` where nothing was said, since
    /// who is a peer has changed meanwhile, the agent has much to do, or it has stopped.
    #[must_use]
    pub fn begun_call(&self, called: &Called) -> bool {
        let holds = called.admitted && called.by.as_ref().is_some_and(Added::still_holds);
        holds && self.tell(Command::Call(CallCommand::Begun { no: called.letter.no }))
    }

    /// Answers a request, which goes from the inbox in the same commit; `false`, and nothing is sent, if it is not there. `memory`, at most
    /// [`CALL_MEMORY_MAX`] bytes, is kept of its session in the stead of what was: [`Agent::call_memory`].
    ///
    /// # Errors
    /// As [`Agent::say`].
    pub async fn answer_call(
        &self,
        request: &Called,
        place: &CallPlace,
        message: Message,
        (outcome, method): (Outcome, &str),
        memory: Option<Vec<u8>>,
    ) -> Result<bool, Error> {
        if memory.as_ref().is_some_and(|memory| memory.len() > CALL_MEMORY_MAX) {
            return Err(Error::NoCall);
        }
        let (no, to) = (request.letter.no, request.letter.from);
        let message = message.reply_to(request.letter.id);
        let (letter, payload) = self.write_call(to, Self::new_letter_id()?, place, message).await?;
        let memory = request.place.session.zip(memory);
        let answering = Answering { no, to, letter, payload, method: method.to_owned(), outcome, memory };
        self.ask_calls(|reply| CallCommand::Answer(Box::new(answering), reply)).await
    }

    /// Lets go of a message that came, or of a request that failed, for good: whom it is for has it. On disk when this returns.
    pub async fn call_taken(&self, no: u64) -> Result<(), Error> {
        self.ask_calls(|reply| CallCommand::Taken { no, reply }).await
    }

    /// [`Agent::call_taken`] of what may come again: on disk within milliseconds, with what is written next, and not when this returns.
    pub async fn let_go_of_call(&self, no: u64) -> Result<(), Error> {
        self.ask_calls(|reply| CallCommand::LetGo { no, reply }).await
    }

    /// The sessions of programs of this machine that were opened and have not ended: with whom, and with which of its services.
    pub async fn opened_calls(&self) -> Result<Vec<(AgentId, CallSessionId, ServiceName)>, Error> {
        self.ask_calls(|reply| CallCommand::Opened { reply }).await
    }

    /// What is kept of a session of another's program with a service of this agent; of each agent's newest sessions alone.
    pub async fn call_memory(&self, from: AgentId, session: CallSessionId) -> Result<Option<Vec<u8>>, Error> {
        self.ask_calls(|reply| CallCommand::Memory { of: (from, session), reply }).await
    }

    /// Ends a session on this side: what is kept of it, and what came in it, goes, and nothing of it is taken any more. The other side is told by a
    /// message of its own.
    pub async fn close_calls(&self, with: AgentId, session: CallSessionId) -> Result<(), Error> {
        self.ask_calls(|reply| CallCommand::Close { of: (with, session), reply }).await
    }
}

/// What a service says is of use to whoever waits for it, and for as long.
// contracts/call.md X13.
fn with_end(what: What, message: Message) -> Message {
    match what.is_callers() {
        Some(false) if message.expires_in.is_none() => message.expires_in(Duration::from_millis(time::CALL_LIFE)),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_has_an_end() {
        let life = |what| with_end(what, Message::text("")).expires_in;
        for what in [What::Part, What::Answer, What::Aside] {
            assert_eq!(life(what), Some(Duration::from_millis(time::CALL_LIFE)), "{what:?}");
        }
        assert_eq!((life(What::Request), life(What::End)), (None, None), "its caller says how long");
        let short = Message::text("").expires_in(Duration::from_secs(1));
        assert_eq!(with_end(What::Part, short).expires_in, Some(Duration::from_secs(1)));
    }
}
