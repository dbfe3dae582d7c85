//! The way from a program to one service of another agent, as the front sees it.

use std::future::Future;

use nuncio::Transaction;
use nuncio_proto::call::What;
use nuncio_proto::ids::{CallSessionId, LetterId};
use tokio::sync::mpsc;

use crate::message::Message;

/// A message for the service.
#[derive(Clone, Debug)]
pub struct Say {
    /// The letter's id. Said twice, it is one message.
    pub id: LetterId,
    /// A request, a notice, or the session's end.
    pub what: What,
    /// Of which session.
    pub session: Option<CallSessionId>,
    /// The part or aside that it answers: a service asked.
    pub reply_to: Option<LetterId>,
    /// The message.
    pub message: Message,
    /// At most 1,024 bytes that are kept with a request until its answer was taken, for whoever goes on after a crash: a JSON-RPC id.
    pub note: Vec<u8>,
    /// The transaction in which it acts; without one, that of the connection.
    // contracts/call.md X44.
    pub under: Option<Transaction>,
}

/// What came for a session, or for a request without one.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Grows; [`Line::taken`] names it. After a restart of the agent what was not taken comes again with its number.
    pub no: u64,
    /// The letter that brought it: what a client's own answer to it names.
    pub id: LetterId,
    /// What it is.
    pub what: HeardWhat,
}

/// What came.
#[derive(Clone, Debug)]
pub enum HeardWhat {
    /// A message that belongs to a request, which goes on.
    Part(LetterId, Message),
    /// The last one to a request.
    Answer(LetterId, Message),
    /// A message of the session.
    Aside(Message),
    /// The request's letter was not delivered: why, for people. `note` is the request's.
    Failed {
        /// Which.
        request: LetterId,
        /// Why, in a sentence.
        why: String,
        /// What was kept with it.
        note: Vec<u8>,
    },
    /// A message of the request has come, and its bytes do not: nobody knows whether it was done.
    Unread {
        /// Of which request.
        request: LetterId,
        /// Why, in a sentence.
        why: String,
        /// It was the answer: nothing more comes.
        last: bool,
    },
    /// The session is over.
    End,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not accepted, now or later: the message says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nothing was said: the token service gives no token for it, now or later.
    #[error("{0}")]
    Denied(String),
    /// The agent stops: the same message may be said to it again once it runs.
    #[error("the agent stops")]
    Stopped,
}

/// What a request asks for, as far as it decides whether it may go without a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asks {
    /// Its method: one that only reads, or that may.
    pub method: String,
    /// Of what, by name: of a tool, which only its service's agent knows.
    pub name: Option<String>,
}

/// The way to one service of another agent.
pub trait Line: Clone + Send + Sync + 'static {
    /// Sends a message: on disk when this returns, from there on handed over once, or answered by [`HeardWhat::Failed`].
    fn say(&self, say: Say) -> impl Future<Output = Result<(), LineError>> + Send;

    /// Asks without saying: the answer, which is kept nowhere. `None`: say it (contracts/query.md).
    fn query(&self, _say: &Say, _asks: &Asks) -> impl Future<Output = Option<Message>> + Send {
        std::future::ready(None)
    }

    /// What comes for a session from now on, behind what is there and was not taken with numbers above `after`; for `None`, what comes for requests
    /// without session. There may be several listeners of one session; each hears all.
    fn listen(
        &self,
        session: Option<CallSessionId>,
        after: Option<u64>,
    ) -> impl Future<Output = Result<mpsc::Receiver<Heard>, LineError>> + Send;

    /// The program has what came under this number: it is not kept any more.
    fn taken(&self, no: u64) -> impl Future<Output = Result<(), LineError>> + Send;

    /// [`Line::taken`] of what may come again after a crash of the agent: it does not wait for the disk.
    ///
    /// # Errors
    /// As [`Line::taken`].
    fn let_go(&self, no: u64) -> impl Future<Output = Result<(), LineError>> + Send {
        self.taken(no)
    }
}
