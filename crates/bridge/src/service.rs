//! A service as it runs: messages of peers go in, what it says comes out, byte for byte.
//!
//! ```text
//!   hand(Ask) ─► stdio: a program for each session ─► Said
//!             └► http:  requests to one address    ─►
//! ```
//!
//! An [`Ask`] that was not handed over has not reached the service with a byte. One that was is answered once ([`Said::Answer`]), or is said to have
//! ended without an answer ([`Said::Lost`], [`Said::Gone`]): then nobody knows whether it was done.

mod http;
mod spool;
mod stdio;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nuncio_contracts::registry::limit;
use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::{AgentId, CallSessionId};
use tokio::sync::{mpsc, oneshot};

use crate::config::{Program, Runs, ServiceConfig};
use crate::jsonrpc::Envelope;
use crate::message::Message;
use crate::native::Begin;

/// Whose messages: what two have different ones of never meets. Without a session each request stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Of {
    /// The peer.
    pub(crate) from: AgentId,
    /// Its session.
    pub(crate) session: Option<CallSessionId>,
}

/// A message for the service.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The caller's own number of it; comes back with what is said to it. Of what cancels a request without session: that request's, where it is known.
    pub(crate) key: u64,
    /// Whose it is.
    pub(crate) of: Of,
    /// What it says of itself.
    pub(crate) envelope: Envelope,
    /// It.
    pub(crate) message: Message,
    /// The token of its letter, as it was verified.
    pub(crate) token: Option<String>,
}

/// What a service said.
#[derive(Debug)]
pub(crate) enum Said {
    /// A message that belongs to a request, which goes on.
    Part {
        /// Which.
        key: u64,
        /// The message.
        message: Message,
    },
    /// The last one to a request.
    Answer {
        /// Which.
        key: u64,
        /// The message.
        message: Message,
        /// What is to be kept for the session, in the stead of what was: it brings the session back after a start.
        remember: Option<Vec<u8>>,
    },
    /// The last one to a request whose answer is not what its owner would have handed on: an error in its stead.
    Refused {
        /// Which.
        key: u64,
        /// The error.
        message: Message,
    },
    /// A message of a session that belongs to no request.
    Aside {
        /// Whose.
        of: Of,
        /// The message.
        message: Message,
    },
    /// A request that was handed over has ended without an answer.
    Lost {
        /// Which.
        key: u64,
        /// Why, for people.
        why: String,
    },
    /// What ran for these has ended, and requests that were handed to it without an answer. The next message may start the service anew.
    Gone {
        /// Whose.
        of: Of,
        /// Which requests: others of the same may run elsewhere.
        keys: Vec<u64>,
        /// Why, for people.
        why: String,
    },
}

/// Why a message was not handed over: not a byte of it has reached the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHanded {
    /// More at once than may be.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// A request of this id is open in the session, or it has none.
    #[error("{0}")]
    Id(&'static str),
    /// It does not start, or cannot be reached.
    #[error("{0}")]
    NotStarted(String),
    /// It ended before it read the message, or is being ended.
    #[error("the service has ended")]
    Ended,
}

/// What bounds a service beside its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of a message of it; a longer one ends the program that wrote it.
    message_max: u64,
    /// A longer message is kept in a file.
    memory_max: usize,
    /// Requests of one session at once.
    open_max: usize,
    /// Programs for requests without a session, of one peer.
    pool: usize,
    /// How long a program may take to end by itself.
    grace: Duration,
    /// How long a program may take to come back to a session, or an address to take a connection.
    patience: Duration,
    /// How long a program may take to read the first byte of a message.
    reads_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            message_max: limit::PAYLOAD_LARGE_MAX,
            memory_max: 64 * 1024,
            open_max: limit::CALLS_BEGUN_MAX,
            pool: 8,
            grace: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            reads_within: Duration::from_mins(1),
        }
    }
}

/// Why a program that embeds nothing does not offer such a service.
pub(crate) const NOT_NATIVE: &str =
    "it is `native`, and this program has none of its name: it is offered by the program that embeds this agent";

/// Who waits for a message to be handed over.
type Reply = oneshot::Sender<Result<(), NotHanded>>;

/// What brings a session back that was there before a start.
type Remembered = Box<dyn Fn(&Of) -> Option<Vec<u8>> + Send + Sync>;

/// What every kind of service has.
struct Base {
    name: ServiceName,
    config: ServiceConfig,
    bounds: Bounds,
    spool: spool::Place,
    remembered: Remembered,
    said: mpsc::Sender<Said>,
}

/// What is begun for a session.
enum Runner {
    Process(Program),
    Native(Begin),
}

/// A service that runs.
pub(crate) struct Service(Kind);

enum Kind {
    Programs(stdio::Programs),
    Address(Arc<http::Address>),
}

impl Service {
    /// Starts it; a program is started by the first message. `spool` is a directory of the agent's own for long messages, which go with their last
    /// handle. Whoever takes from `said` may wait for [`Self::hand`]; for nothing else of this service.
    ///
    /// # Errors
    /// It cannot be spoken to at all: why, for people.
    pub(crate) fn start(
        name: ServiceName,
        config: &ServiceConfig,
        spool: &Path,
        remembered: impl Fn(&Of) -> Option<Vec<u8>> + Send + Sync + 'static,
        said: mpsc::Sender<Said>,
        native: Option<Begin>,
    ) -> Result<Self, String> {
        Self::bounded(name, config, spool, remembered, said, native, Bounds::default())
    }

    fn bounded(
        name: ServiceName,
        config: &ServiceConfig,
        spool: &Path,
        remembered: impl Fn(&Of) -> Option<Vec<u8>> + Send + Sync + 'static,
        said: mpsc::Sender<Said>,
        native: Option<Begin>,
        bounds: Bounds,
    ) -> Result<Self, String> {
        let spool = spool::Place::new(spool, bounds.memory_max, bounds.message_max);
        let remembered = Box::new(remembered);
        let base = Base { name, config: config.clone(), bounds, spool, remembered, said };
        Ok(Self(match &config.runs {
            Runs::Program(program) => Kind::Programs(stdio::Programs::new(base, Runner::Process(program.clone()))),
            Runs::Native => Kind::Programs(stdio::Programs::new(base, Runner::Native(native.ok_or(NOT_NATIVE)?))),
            Runs::Url(upstream) => Kind::Address(Arc::new(http::Address::new(base, upstream.clone())?)),
        }))
    }

    /// Hands a message over; returns when the service has it. Messages of one session go in the order in which this is called.
    ///
    /// # Errors
    /// Not a byte of it has reached the service.
    pub(crate) async fn hand(&self, ask: Ask) -> Result<(), NotHanded> {
        match &self.0 {
            Kind::Programs(programs) => programs.hand(ask).await,
            Kind::Address(address) => address.hand(ask).await,
        }
    }

    /// Ends a session: what is open of it is gone.
    pub(crate) async fn end(&self, of: Of) {
        match &self.0 {
            Kind::Programs(programs) => programs.end(of).await,
            Kind::Address(address) => address.end(of).await,
        }
    }

    /// Ends all that runs for a peer: at once what is asked for it begins anew, and what ran ends by itself.
    pub(crate) fn end_peer(&self, from: &AgentId) {
        match &self.0 {
            Kind::Programs(programs) => programs.end_peer(from),
            Kind::Address(address) => address.end_peer(from),
        }
    }

    /// A request that nobody waits for: what is said to it goes nowhere.
    pub(crate) fn forget(&self, of: &Of, key: u64) {
        self.leave(of, key, false);
    }

    /// [`Service::forget`] of one that only reads: who asks the very same may go on with it.
    pub(crate) fn forget_query(&self, of: &Of, key: u64) {
        self.leave(of, key, true);
    }

    fn leave(&self, of: &Of, key: u64, reads: bool) {
        match &self.0 {
            Kind::Programs(programs) => programs.forget(of, key, reads),
            Kind::Address(address) => address.give_up(of, key),
        }
    }

    /// Ends it, and waits until its programs have ended. Sessions are not ended at an address: they come back.
    pub(crate) async fn stop(&self) {
        match &self.0 {
            Kind::Programs(programs) => programs.stop().await,
            Kind::Address(address) => address.stop().await,
        }
    }
}

/// Takes away what long messages left in the directory when this process ended in the middle: before a service is started.
///
/// # Errors
/// The directory cannot be made, read or cleared.
pub(crate) fn clear_spool(spool: &Path) -> io::Result<()> {
    spool::clear(spool)
}

/// What is guarded is whole after each statement, so that a panic of another holder breaks nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
