//! Requests that were handed to their services and have no answer.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use nuncio::{Called, Payload};
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{CallPlace, ServiceName};
use nuncio_proto::ids::{AgentId, LetterId};

use tokio::time::Instant;

use super::lock;
use crate::jsonrpc::Id;
use crate::service::Of;

/// One of them.
pub(super) struct Opened {
    /// Its letter; its payload is not kept.
    pub(super) called: Called,
    pub(super) method: String,
    pub(super) id: Id,
    pub(super) of: Of,
    /// When something of its service last came to it.
    heard: Instant,
    /// It is told as of unknown outcome as soon as there is room for that: its service is heard to it no more.
    given_up: bool,
}

impl Opened {
    pub(super) fn new(mut called: Called, method: String, id: Id, of: Of) -> Self {
        called.letter.payload = Payload::Inline(Vec::new());
        Self { called, method, id, of, heard: Instant::now(), given_up: false }
    }

    fn is_of(&self, service: &ServiceName, of: &Of) -> bool {
        self.of == *of && self.called.place.service == *service
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
        self.take_if(no, false)
    }

    /// It stays here until it can be told that nobody knows what came of it.
    pub(super) fn give_up(&self, no: u64, opened: Opened) {
        self.insert(no, Opened { given_up: true, ..opened });
    }

    pub(super) fn take_given_up(&self, no: u64) -> Option<Opened> {
        self.take_if(no, true)
    }

    fn take_if(&self, no: u64, given_up: bool) -> Option<Opened> {
        let mut open = lock(&self.0);
        let is_so = open.get(&no).is_some_and(|opened| opened.given_up == given_up);
        if is_so { open.remove(&no) } else { None }
    }

    /// Whose it is.
    pub(super) fn of(&self, no: u64) -> Option<Of> {
        lock(&self.0).get(&no).map(|opened| opened.of)
    }

    /// Its service said something to it: who asked it, by which letter, and where.
    pub(super) fn heard(&self, no: u64) -> Option<(AgentId, LetterId, CallPlace)> {
        lock(&self.0).get_mut(&no).filter(|opened| !opened.given_up).map(|opened| {
            opened.heard = Instant::now();
            let letter = &opened.called.letter;
            (letter.from, letter.id, opened.called.place.clone())
        })
    }

    /// The number of the one of these at a service that was asked by that letter.
    pub(super) fn no_of(&self, service: &ServiceName, of: &Of, letter: LetterId) -> Option<u64> {
        let open = lock(&self.0);
        let mut of_these = open.iter().filter(|(_, opened)| opened.is_of(service, of));
        of_these.find(|(_, opened)| opened.called.letter.id == letter).map(|(no, _)| *no)
    }

    /// All of a session with a service.
    pub(super) fn take_of(&self, service: &ServiceName, of: &Of) -> Vec<Opened> {
        lock(&self.0).extract_if(|_, opened| opened.is_of(service, of)).map(|(_, opened)| opened).collect()
    }

    /// All of a peer.
    pub(super) fn forget(&self, from: &AgentId) {
        lock(&self.0).retain(|_, opened| opened.of.from != *from);
    }

    /// The number of the one of an id, of these at a service; `None` where none has it, or several.
    pub(super) fn named(&self, service: &ServiceName, of: &Of, id: &Id) -> Option<u64> {
        let open = lock(&self.0);
        let is = |opened: &Opened| opened.is_of(service, of) && opened.id == *id;
        let mut all = open.iter().filter(|(_, opened)| is(opened)).map(|(no, _)| *no);
        all.next().filter(|_| all.next().is_none())
    }

    /// Those to which nothing came for so long, by their numbers.
    pub(super) fn silent(&self, life: Duration) -> Vec<u64> {
        lock(&self.0).iter().filter(|(_, opened)| opened.heard.elapsed() >= life).map(|(no, _)| *no).collect()
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
