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

/// The way to one service of another agent.
pub trait Line: Clone + Send + Sync + 'static {
    /// Sends a message: on disk when this returns, from there on handed over once, or answered by [`HeardWhat::Failed`].
    fn say(&self, say: Say) -> impl Future<Output = Result<(), LineError>> + Send;

    /// What comes for a session from now on, behind what is there and was not taken with numbers above `after`; for `None`, what comes for requests
    /// without session. There may be several listeners of one session; each hears all.
    fn listen(
        &self,
        session: Option<CallSessionId>,
        after: Option<u64>,
    ) -> impl Future<Output = Result<mpsc::Receiver<Heard>, LineError>> + Send;

    /// The program has what came under this number: it is not kept any more.
    fn taken(&self, no: u64) -> impl Future<Output = Result<(), LineError>> + Send;
}
