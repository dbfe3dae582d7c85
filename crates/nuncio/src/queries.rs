//! Queries: requests that only read, sealed without letters (contracts/query.md).
//!
//! ```text
//!   Agent::query ─► actor: may it? ─► stream ══ sealed ══► stream ─► actor: may it? ─► Queries ─► who serves
//!                ◄───────────────────────── ══ sealed ══ ◄──────────────── Query::answer ◄───────┘
//! ```
//!
//! Nothing here is on a disk. Whatever goes wrong, it is said as a letter.

mod answering;
mod asking;

use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::call::{CallPlace, Head};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, CallSessionId, SessionId};
use nuncio_proto::query::{Between, QuerySecret, Spoken};
use nuncio_transport::CloseCode;
use tokio::sync::{mpsc, oneshot};

use crate::actor::Actor;
use crate::agent::Agent;
use crate::calls::CallCommand;
use crate::command::{Command, Reply};
use crate::effects::tell;
use crate::error::Error;
pub use answering::Query;
pub(crate) use answering::answer;
pub(crate) use asking::Asking;

/// A stream is opened no sooner again than this after one that was refused or broke.
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// Nor than this after one to which the other end has said nothing.
const SILENT_PAUSE: Duration = Duration::from_mins(1);
const KEYS_LIFE: Duration = Duration::from_millis(time::QUERY_KEYS_LIFE);

/// What a service said to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What of HTTP travels with it.
    pub head: Head,
    /// What the payload is, by the service's word.
    pub content_type: ContentType,
    /// The message.
    pub payload: Vec<u8>,
}

/// What came of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queried {
    /// The answer.
    Answered(Answered),
    /// The other end wants a letter, or has not answered in time.
    Letter,
    /// It was not asked, or nobody knows whether it was: there is no way for it now, or that has broken. A letter, too.
    NotAsked,
}

/// Queries of other agents, as they come.
#[derive(Debug)]
pub struct Queries {
    coming: mpsc::UnboundedReceiver<Query>,
}

impl Queries {
    /// The next one; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<Query, Error> {
        self.coming.recv().await.ok_or(Error::Stopped)
    }
}

impl Agent {
    /// Asks a service of another agent what only reads, and may be done twice, without a letter: nothing of it is written down. Where it
    /// is not answered, whether or not it was done, say it as a letter ([`Agent::say`]); so where it would overtake a letter of its session.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn query(
        &self,
        to: AgentId,
        place: &CallPlace,
        content_type: ContentType,
        payload: Vec<u8>,
    ) -> Result<Queried, Error> {
        if !Spoken::fits(place, payload.len()) {
            return Ok(Queried::NotAsked);
        }
        let session = place.session;
        let way = self.ask(|reply| Command::Call(CallCommand::Query { to, session, reply })).await?;
        let Some(asking) = way else { return Ok(Queried::NotAsked) };
        let place = Some(place.clone());
        // contracts/query.md Q5: a quarter longer than the other end.
        let patience = Duration::from_millis(time::QUERY_PATIENCE + time::QUERY_PATIENCE / 4);
        let asked = asking.ask(self, Spoken { number: 0, place, content_type, payload });
        Ok(tokio::time::timeout(patience, asked).await.unwrap_or(Queried::Letter))
    }

    /// Takes queries of other agents from now on: whoever asked last takes them all. What they may do is for who takes them to decide, as with
    /// [`Agent::serve_calls`], which has to be said, too.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn queries(&self) -> Result<Queries, Error> {
        Ok(Queries { coming: self.ask(|reply| Command::Call(CallCommand::Queries { reply })).await? })
    }
}

/// What the actor keeps of queries.
#[derive(Debug, Default)]
pub(crate) struct QueryBook {
    asking: std::collections::BTreeMap<AgentId, Arc<Asking>>,
    serves: Option<mpsc::UnboundedSender<Query>>,
    /// How many came.
    came: u64,
}

impl Actor {
    /// The way on which a query may go now, if there is one.
    pub(crate) fn query_way(&mut self, to: AgentId, session: Option<CallSessionId>, reply: Reply<Option<Arc<Asking>>>) {
        let way = self.stream_for(to, session);
        tell(reply, Ok(way));
    }

    // contracts/query.md Q2 to Q4, Q6, Q8.
    fn stream_for(&mut self, to: AgentId, session: Option<CallSessionId>) -> Option<Arc<Asking>> {
        let in_turn = session.is_none_or(|session| self.has_opened(to, session) && !self.peer.says_in(to, session));
        if !self.config.queries || !in_turn {
            return None;
        }
        let current = self.peer.query_session(&to)?.id();
        let connection = self.connection_of(&to)?;
        if let Some(known) = self.queries.asking.get(&to).filter(|known| known.is_on(&connection)) {
            let pause = if known.is_silent() { SILENT_PAUSE } else { OPEN_PAUSE };
            if known.is_refused() || known.is_over() && known.age() < pause {
                return None;
            }
            if !known.is_over() && known.age() < KEYS_LIFE && known.session() == current {
                return Some(Arc::clone(known));
            }
        }
        let (session, secret) = self.peer.query_secret(&to)?;
        let between = Between { session, opener: self.peer.id(), other: to };
        let asking = Arc::new(Asking::new(connection, between, secret));
        self.queries.asking.insert(to, Arc::clone(&asking));
        Some(asking)
    }

    /// No connection with an agent is left: neither are keys.
    pub(crate) fn forget_queries(&mut self, with: &AgentId) {
        self.queries.asking.remove(with);
    }

    pub(crate) fn take_queries(&mut self, reply: Reply<mpsc::UnboundedReceiver<Query>>) {
        let (sender, coming) = mpsc::unbounded_channel();
        self.queries.serves = Some(sender);
        tell(reply, Ok(coming));
    }

    fn serves_queries(&self) -> bool {
        let heard = self.queries.serves.as_ref().is_some_and(|serves| !serves.is_closed());
        self.config.queries && heard && self.peer.serves_calls()
    }

    /// A peer opened a stream of queries: the secret of the session that it names, or why it is refused.
    // contracts/query.md Q4, Q6.
    pub(crate) fn queries_opened(
        &self,
        by: AgentId,
        session: SessionId,
        answer: oneshot::Sender<Result<(AgentId, QuerySecret), CloseCode>>,
    ) {
        let secret = self.peer.query_secret(&by).filter(|(current, _)| *current == session && self.is_added(&by));
        let told = match secret {
            _ if !self.config.queries => Err(CloseCode::UNSUPPORTED_STREAM),
            Some((_, secret)) if self.serves_queries() => Ok((self.peer.id(), secret)),
            _ => Err(CloseCode::BUSY),
        };
        // The stream may have ended.
        let _ = answer.send(told);
    }

    /// A query came. One that is dropped here wants a letter.
    // contracts/query.md Q3, Q4, Q8.
    pub(crate) fn query_came(&mut self, mut query: Query) {
        let from = query.called.letter.from;
        let waits = query.called.place.session.is_some_and(|session| self.waits_for_service(from, session));
        let is_current = self.peer.query_session(&from).is_some_and(|current| current.id() == query.under);
        if waits || !self.serves_queries() || !self.is_added(&from) || !is_current {
            return;
        }
        self.queries.came = self.queries.came.wrapping_add(1);
        query.called.letter.no = QUERY_NO | self.queries.came;
        query.called.by = self.added(&from);
        if let Some(serves) = &self.queries.serves {
            // Who serves may just have stopped.
            let _ = serves.send(query);
        }
    }
}

/// Numbers of queries are above those of letters.
const QUERY_NO: u64 = 1 << 63;
/// A stream's frames are handed over so many at once.
const FRAMES_AT_ONCE: usize = limit::QUERIES_OPEN_MAX;

#[cfg(test)]
mod tests;
