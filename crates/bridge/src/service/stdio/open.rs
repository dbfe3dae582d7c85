//! Which requests of one program are open, and to which of them belongs what it says.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_proto::crypto;

use super::super::{Ask, NotHanded};
use super::{TWICE, Turn};
use crate::jsonrpc::{Envelope, Id, Kind};
use crate::message::Body;

/// Open requests, by id.
#[derive(Debug, Default)]
pub(super) struct Open(HashMap<Id, Entry>);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: u64,
    /// What its progress is called.
    token: Option<Id>,
    /// It is on its way to the program that runs.
    sent: bool,
    /// Whether it has begun to be written.
    turn: Turn,
    /// Of an `initialize` the message, once it was handed over.
    pub(super) initialize: Option<Bytes>,
    /// What was asked, in a digest, where it is in memory.
    digest: Option<[u8; 32]>,
    /// Nobody waits for it any more.
    left: Option<Left>,
}

impl Entry {
    fn is_left_to_readers(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.reads)
    }
}

/// A program may still work on it, and answer: to nobody, and least of all to another that asks under the same id.
#[derive(Debug)]
struct Left {
    since: Instant,
    /// It only reads: whoever asks the very same goes on with it.
    reads: bool,
}

/// For how long the answer to what was left is expected.
const LEFT_LIFE: Duration = Duration::from_mins(10);

/// Where a message of the program goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum To {
    /// It is the answer to this one.
    Answer(u64),
    /// It belongs to this one.
    Part(u64),
    /// It belongs to the session.
    Aside,
    /// Nobody asked.
    Nobody,
}

impl Open {
    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(|entry| entry.left.is_some())
    }

    /// Goes on with what was left, if a request asks the very same: it is not handed over a second time. What is not written yet may never be.
    pub(super) fn adopts(&mut self, ask: &Ask) -> bool {
        let Some(digest) = digest(ask) else { return false };
        let left = ask.envelope.id.as_ref().and_then(|id| self.0.get_mut(id));
        let same =
            |entry: &&mut Entry| entry.is_left_to_readers() && entry.turn.has_begun() && entry.digest == Some(digest);
        let Some(entry) = left.filter(same) else { return false };
        (entry.key, entry.left) = (ask.key, None);
        true
    }

    /// Whether a request meets none of its id and none of its progress token.
    pub(super) fn takes(&self, request: &Envelope) -> bool {
        let id = request.id.as_ref().is_some_and(|id| !self.0.contains_key(id));
        let token = request.params.token.as_ref();
        id && token.is_none_or(|token| !self.0.values().any(|entry| entry.token.as_ref() == Some(token)))
    }

    pub(super) fn add(&mut self, ask: &Ask, turn: &Turn, max: usize) -> Result<(), NotHanded> {
        self.0.retain(|_, entry| entry.left.as_ref().is_none_or(|left| left.since.elapsed() < LEFT_LIFE));
        if let (Some(_), Some(id)) = (ask.of.session, &ask.envelope.id) {
            // Whose session it is uses its own id again.
            self.bury(id);
        }
        if !self.takes(&ask.envelope) {
            return Err(NotHanded::Id(TWICE));
        }
        if self.0.len() >= max {
            return Err(NotHanded::Busy("too many requests of one session at once"));
        }
        if let Some(id) = &ask.envelope.id {
            let token = ask.envelope.params.token.clone();
            let (turn, digest) = (turn.clone(), digest(ask));
            let entry = Entry { key: ask.key, token, sent: false, turn, initialize: None, digest, left: None };
            self.0.insert(id.clone(), entry);
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, id: &Id, initialize: Bytes) {
        if let Some(entry) = self.0.get_mut(id) {
            entry.initialize = Some(initialize);
        }
    }

    pub(super) fn key_of(&self, id: &Id) -> Option<u64> {
        self.0.get(id).map(|entry| entry.key)
    }

    pub(super) fn answered(&mut self, id: &Id) -> Option<Entry> {
        self.0.remove(id)
    }

    /// Nobody waits for it any more, which `reads` alone or not. What was not sent is gone; the id of what was stays taken until its answer comes, or none
    /// is expected any more.
    pub(super) fn forget(&mut self, key: u64, reads: bool) {
        self.0.retain(|_, entry| entry.key != key || entry.sent);
        for entry in self.0.values_mut().filter(|entry| entry.key == key) {
            entry.left = Some(Left { since: Instant::now(), reads });
        }
    }

    /// Not a byte of it reached the program: nothing is to come.
    pub(super) fn was_not_handed(&mut self, key: u64) {
        self.0.retain(|_, entry| entry.key != key);
    }

    /// An answer to what nobody waits for came.
    pub(super) fn bury(&mut self, id: &Id) -> bool {
        let is_left = self.0.get(id).is_some_and(|entry| entry.left.is_some());
        is_left && self.0.remove(id).is_some()
    }

    pub(super) fn sent(&mut self, key: u64) {
        self.0.values_mut().filter(|entry| entry.key == key).for_each(|entry| entry.sent = true);
    }

    /// The program has ended: what was on its way to it is open no more, and comes back by its keys. What waits for the next one is.
    pub(super) fn ended(&mut self) -> Vec<u64> {
        let ended = self.0.extract_if(|_, entry| entry.sent);
        ended.filter(|(_, entry)| entry.left.is_none()).map(|(_, entry)| entry.key).collect()
    }

    /// Where a message of the program goes.
    pub(super) fn to(&self, said: &Envelope) -> To {
        let waits = |entry: &Entry| match entry.left {
            None => Some(entry.key),
            Some(_) => None,
        };
        if said.is_response() {
            return said.id.as_ref().and_then(|id| self.0.get(id)).and_then(waits).map_or(To::Nobody, To::Answer);
        }
        let named = match (said.kind, said.method.as_str()) {
            (Kind::Notification, "notifications/progress") => said
                .params
                .progress
                .as_ref()
                .and_then(|token| self.0.values().find(|entry| entry.token.as_ref() == Some(token))),
            (Kind::Notification, _) => said.params.subscription.as_ref().and_then(|id| self.0.get(id)),
            _ => None,
        };
        let mut all = self.0.values().filter(|entry| entry.sent);
        let only = all.next().filter(|_| all.next().is_none());
        // Progress of what has ended is not that of another.
        let only = only.filter(|_| said.params.progress.is_none() && said.params.subscription.is_none());
        match named.or(only) {
            Some(entry) => waits(entry).map_or(To::Nobody, To::Part),
            None => To::Aside,
        }
    }
}

fn digest(ask: &Ask) -> Option<[u8; 32]> {
    match &ask.message.body {
        Body::Bytes(bytes) => Some(crypto::sha256(&[bytes])),
        Body::File(_) | Body::Large(_) => None,
    }
}
