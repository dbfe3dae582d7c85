//! Everything that can wake the actor.

use std::sync::Arc;

use bytes::Bytes;
use nuncio_proto::deposit::MailboxSecret;
use nuncio_proto::ids::{AgentId, LetterId, SessionId};
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::query::QuerySecret;
use nuncio_proto::step::Effects;
use nuncio_proto::token::Genuine;
use nuncio_store::{Durable, Op, StoreError};
use nuncio_transport::{CloseCode, Connection, SendStream};
use tokio::sync::oneshot;

use crate::aside::Fate;
use crate::chunks::{Fetched, PayloadFrom, PayloadId};
use crate::command::Reply;
use crate::depositing::{Deposited, Shared};
use crate::fetching::{Left, Listing};
use crate::links::{LinkId, Outgoing};
use crate::queries::Query;

/// Everything that can wake the actor.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Frames came.
    Frames { from: AgentId, link: LinkId, frames: Vec<Bytes> },
    /// Groups are durable.
    Durable(Vec<Durable<Ticket>>),
    /// The store failed; nothing is durable any more.
    StoreFailed(StoreError),
    /// A connection has its stream of frames.
    LinkUp { link: LinkId, connection: Connection, frames: Outgoing },
    /// A connection is gone.
    LinkDown { link: LinkId, peer: AgentId, reason: String, by_stranger: bool },
    /// It is a while since a peer has connected.
    Rested { peer: AgentId },
    /// Somebody connected; is it welcome?
    Arrived { connection: Connection },
    /// A peer could not be reached; another try follows.
    DialFailed { peer: AgentId, reason: String },
    /// A dial task has ended.
    DialEnded { peer: AgentId },
    /// A peer's bundle, or why there is none.
    BundleCame { of: AgentId, bundle: Result<Vec<u8>, String> },
    /// A peer asks for our bundle.
    BundleAsked { by: AgentId, answer: oneshot::Sender<Vec<u8>> },
    /// A peer asks for a large payload.
    PayloadAsked { by: AgentId, id: PayloadId, from_chunk: u64, stream: SendStream },
    /// The node has our mailbox's secret.
    MailboxOpened(Box<MailboxSecret>),
    /// What keeps our mailbox or our place in the directory from serving, or that nothing does.
    MailboxWaits { why: Option<String> },
    /// Frames were fetched. The answer is what became of them, once that is on disk, up to where there was no room for any.
    Fetched { frames: Vec<Bytes>, taken: oneshot::Sender<Vec<Fate>> },
    /// What the directory has of us. The answer is what to list.
    Listed { left: Left, list: oneshot::Sender<Listing> },
    /// What the directory has of us, once it has what was listed.
    DirectoryHas(Left),
    /// Frames were left at a peer's node, or were not.
    Deposited { to: AgentId, deposited: Deposited },
    /// Letters that were sealed once were left in a mailbox's node, for some of those for whom they are.
    Shared { at: Mailbox, shared: Shared },
    /// A pause before such letters are left there is over.
    SharingRested(Mailbox),
    /// A pause before frames are left for a peer is over.
    DepositsRested { to: AgentId, failing: bool },
    /// An hour has passed; records that are too old to matter.
    Forget(Vec<Vec<u8>>),
    /// The token service's node has answered with something signed.
    Statement { statement: Vec<u8> },
    /// The node was asked what was revoked, whether or not it has answered.
    RevokedAsked,
    /// The log is seen to have all events up to a number; the row with the checkpoint of its tree.
    EventsLogged { up_to: u64, seen: Op, done: Reply<()> },
    /// The log does not know what came before the events that wait: they are told again, as a new chain.
    EventsUnknown { done: Reply<()> },
    /// Why events cannot be given to the log now, or that they can.
    EventsWait { why: Option<String> },
    /// Some seconds have passed.
    LookAfterTokens,
    /// Nobody waits for the answer to a letter any more.
    AnswerUnwanted { to: AgentId, letter: LetterId },
    /// A token of letters on their way was renewed, or not.
    Renewed { former: Arc<Genuine>, token: Option<Arc<Genuine>> },
    /// A try to fetch a large payload has ended.
    PayloadEnded { payload: PayloadFrom, fetched: Fetched, verified: Option<u64> },
    /// The pause after such a try is over.
    PayloadRested(PayloadFrom),
    /// A large payload was given, or not to its end.
    PayloadGiven { to: AgentId },
    /// Whoever holds an answer takes it.
    AnswerTaken { no: u64, reply: Reply<()> },
    /// Nobody holds an answer any more.
    AnswerLeft { no: u64 },
    /// The last handle of a large payload that a request was answered with is gone.
    PayloadDropped(PayloadFrom),
    /// A peer opened a stream of queries: who this is and the secret of its session, or why it is refused.
    QueriesOpened {
        by: AgentId,
        session: SessionId,
        answer: oneshot::Sender<Result<(AgentId, QuerySecret), CloseCode>>,
    },
    /// A query came.
    QueryCame(Box<Query>),
    /// That a request of a call failed is on disk.
    CallFailed { no: u64 },
    /// An agent that was not added has heard what became of its knock.
    KnockHeard { by: AgentId },
}

/// What waits for a commit.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    pub(crate) effects: Effects,
    pub(crate) answers: Vec<Answer>,
}

/// An answer that is true once the commit is durable.
pub(crate) struct Answer(pub(crate) Box<dyn FnOnce() + Send>);

impl core::fmt::Debug for Answer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Answer(..)")
    }
}
