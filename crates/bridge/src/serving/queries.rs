//! Requests that only read, asked and answered without letters (contracts/query.md).
//!
//! ```text
//!   Query ─► admit, as a letter's ─► only reads? ─► Service::hand ─► Said::Answer ─► Query::answer
//!               └────────────────────────┴───────────────┴──────── else, or too late: a letter
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use nuncio::{Agent, Answered, Called, Query};
use nuncio_contracts::registry::time;
use nuncio_proto::call::ServiceName;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Admitted, Offered, Serving, lock};
use crate::jsonrpc::{Envelope, Id};
use crate::message::{Body, Message};
use crate::reads;
use crate::service::{Ask, Of, Said};

const PATIENCE: Duration = Duration::from_millis(time::QUERY_PATIENCE);

/// Those that were handed over and have no answer, by their numbers.
#[derive(Default)]
pub(super) struct Queries(Mutex<HashMap<u64, Asked>>);

struct Asked {
    of: Of,
    id: Id,
    offered: Arc<Offered>,
    service: ServiceName,
    /// Held while it is handed over.
    handing: Arc<tokio::sync::Mutex<()>>,
    /// `None`: a letter.
    told: oneshot::Sender<Option<Answered>>,
}

impl Asked {
    /// The service is not heard to it any more.
    fn forget(&self, key: u64) {
        self.offered.service.forget_query(&self.of, key);
    }
}

impl Queries {
    /// What is said to a query is that, and nothing else: the rest comes back.
    // contracts/query.md Q5.
    pub(super) fn told(&self, said: Said) -> Option<Said> {
        let (key, answer) = match said {
            Said::Answer { key, message, remember } if self.has(key) => {
                (key, whole(message).filter(|_| remember.is_none()))
            }
            Said::Lost { key, .. } if self.has(key) => (key, None),
            Said::Part { key, message } if self.has(key) => {
                // What belongs to the request alone comes again with its letter; what a program says beside it does not.
                let of = lock(&self.0).get(&key).map(|asked| asked.of);
                self.tell(key, None);
                let own = Envelope::of(&message).is_ok_and(|said| said.method == "notifications/progress");
                return of.filter(|_| !own).map(|of| Said::Aside { of, message });
            }
            Said::Gone { of, mut keys, why } => {
                keys.extract_if(.., |key| self.has(*key)).for_each(|key| self.tell(key, None));
                return Some(Said::Gone { of, keys, why });
            }
            other => return Some(other),
        };
        self.tell(key, answer);
        None
    }

    fn has(&self, key: u64) -> bool {
        lock(&self.0).contains_key(&key)
    }

    fn tell(&self, key: u64, answer: Option<Answered>) {
        let Some(asked) = lock(&self.0).remove(&key) else { return };
        if answer.is_none() {
            asked.forget(key);
        }
        // It may have been given up.
        let _ = asked.told.send(answer);
    }

    /// A letter asks what a query asks, or something else under its id: the query ends here, before the letter is handed over.
    // contracts/query.md Q3.
    pub(super) async fn end(&self, service: &ServiceName, of: &Of, id: &Id) {
        let same =
            |asked: &Asked| of.session.is_some() && asked.of == *of && asked.id == *id && asked.service == *service;
        let all: Vec<_> = {
            let asked = lock(&self.0);
            let same = asked.iter().filter(|(_, asked)| same(asked));
            same.map(|(key, asked)| (*key, Arc::clone(&asked.handing))).collect()
        };
        for (key, handing) in all {
            // One that is being handed over now would be there behind the letter.
            let _handed = handing.lock().await;
            self.tell(key, None);
        }
    }
}

/// A query that was handed over; dropped, it is forgotten.
struct Handed<'a>(&'a Queries, u64);

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        self.0.tell(self.1, None);
    }
}

impl Serving {
    /// Answers queries until the agent, or what is served, has ended.
    pub(super) async fn hear_queries(serving: Weak<Self>, agent: Agent) {
        let Ok(mut queries) = agent.queries().await else { return };
        while let Ok(query) = queries.next().await {
            let Some(serving) = serving.upgrade() else { return };
            drop(tokio::spawn(async move {
                let answer = timeout(PATIENCE, serving.ask_here(&query)).await;
                query.answer(answer.ok().flatten()).await;
            }));
        }
    }

    /// The answer to a query; `None` wants a letter.
    // contracts/query.md Q1 to Q3.
    async fn ask_here(self: &Arc<Self>, query: &Query) -> Option<Answered> {
        let called = &query.called;
        let of = Of { from: called.letter.from, session: called.place.session };
        let (service, removals) = (&called.place.service, self.removals(&of.from));
        if self.has_lane(service, &of) || self.stopping.is_cancelled() {
            return None;
        }
        // What names a callback has one made, on disk: it does not only read.
        let Admitted { envelope, message, offered, calls_back: false } = self.judge(called).await.ok()? else {
            return None;
        };
        if !reads::only_reads(&offered.config, &envelope) {
            return None;
        }
        self.recall(service, &of, removals).await.ok()?;
        let (key, id) = (called.letter.no, envelope.id.clone()?);
        let (told, answer) = oneshot::channel();
        let handing = Arc::<tokio::sync::Mutex<()>>::default();
        let handed = Arc::clone(&handing).lock_owned().await;
        let asked = Asked { of, id, offered: Arc::clone(&offered), service: service.clone(), handing, told };
        if !self.begin_query(key, asked) {
            return None;
        }
        let _handed = Handed(&self.queries, key);
        self.hand(&offered, Ask { key, of, envelope, message, token: None }, removals).await.ok()?;
        drop(handed);
        answer.await.ok().flatten()
    }

    /// Notes a query that is handed over next, unless a letter of its session has come by now. One that comes later ends it.
    // contracts/query.md Q3.
    fn begin_query(&self, key: u64, asked: Asked) -> bool {
        let lanes = lock(&self.lanes);
        let waits = asked.of.session.is_some() && lanes.contains_key(&(asked.service.clone(), asked.of));
        if !waits {
            lock(&self.queries.0).insert(key, asked);
        }
        !waits
    }

    /// Whether letters of the session wait for another service than the one that this is for.
    pub(super) fn has_other_lane(&self, called: &Called) -> bool {
        let of = Of { from: called.letter.from, session: called.place.session };
        lock(&self.lanes).keys().any(|(service, known)| *known == of && *service != called.place.service)
    }

    /// Whether letters of a session wait for their service, or are being handed to it.
    fn has_lane(&self, service: &ServiceName, of: &Of) -> bool {
        of.session.is_some() && lock(&self.lanes).contains_key(&(service.clone(), *of))
    }
}

/// A message that is in memory.
fn whole(message: Message) -> Option<Answered> {
    let Message { head, content_type, body: Body::Bytes(bytes) } = message else { return None };
    Some(Answered { head, content_type, payload: bytes.into() })
}

#[cfg(test)]
mod tests;
