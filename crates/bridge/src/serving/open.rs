//! Requests that were handed to their services and have no answer.

use std::collections::HashMap;
use std::sync::Mutex;

use nuncio::{Called, Payload};
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{CallPlace, ServiceName};
use nuncio_proto::ids::{AgentId, LetterId};

use super::lock;
use crate::jsonrpc::Id;
use crate::service::Of;

/// One of them.
pub(super) struct Opened {
    /// Its letter; its payload is not kept.
    pub(super) called: Called,
    pub(super) method: String,
    pub(super) id: Id,
    of: Of,
}

impl Opened {
    pub(super) fn new(mut called: Called, method: String, id: Id, of: Of) -> Self {
        called.letter.payload = Payload::Inline(Vec::new());
        Self { called, method, id, of }
    }
}

/// All of them, by their numbers.
#[derive(Default)]
pub(super) struct Open(Mutex<HashMap<u64, Opened>>);

impl Open {
    pub(super) fn insert(&self, no: u64, opened: Opened) {
        lock(&self.0).insert(no, opened);
    }

    pub(super) fn take(&self, no: u64) -> Option<Opened> {
        lock(&self.0).remove(&no)
    }

    /// Who asked it, by which letter, and where.
    pub(super) fn peek(&self, no: u64) -> Option<(AgentId, LetterId, CallPlace)> {
        lock(&self.0).get(&no).map(|opened| {
            let letter = &opened.called.letter;
            (letter.from, letter.id, opened.called.place.clone())
        })
    }

    /// The number of the one that an agent asked by that letter.
    pub(super) fn no_of(&self, from: &AgentId, letter: LetterId) -> Option<u64> {
        let open = lock(&self.0);
        let mut asked = open.iter().filter(|(_, opened)| opened.of.from == *from && opened.called.letter.id == letter);
        asked.next().map(|(no, _)| *no)
    }

    /// All of a session with a service.
    pub(super) fn take_of(&self, service: &ServiceName, of: &Of) -> Vec<Opened> {
        let is_of = |opened: &Opened| opened.of == *of && opened.called.place.service == *service;
        lock(&self.0).extract_if(|_, opened| is_of(opened)).map(|(_, opened)| opened).collect()
    }

    /// Whether there is one of these, at any service.
    pub(super) fn has(&self, of: &Of) -> bool {
        lock(&self.0).values().any(|opened| opened.of == *of)
    }

    /// Whether an agent has as many as it may.
    pub(super) fn is_full(&self, from: &AgentId) -> bool {
        lock(&self.0).values().filter(|opened| opened.of.from == *from).count() >= limit::CALLS_BEGUN_MAX
    }
}
