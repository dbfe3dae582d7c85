//! Which requests of one program are open, and to which of them belongs what it says.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::{Ask, NotHanded};
use super::TWICE;
use crate::jsonrpc::{Envelope, Id, Kind};

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
    /// Of an `initialize` the message, once it was handed over.
    pub(super) initialize: Option<Bytes>,
}

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
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request meets none of its id and none of its progress token.
    pub(super) fn takes(&self, request: &Envelope) -> bool {
        let id = request.id.as_ref().is_some_and(|id| !self.0.contains_key(id));
        let token = request.params.token.as_ref();
        id && token.is_none_or(|token| !self.0.values().any(|entry| entry.token.as_ref() == Some(token)))
    }

    pub(super) fn add(&mut self, ask: &Ask, max: usize) -> Result<(), NotHanded> {
        if !self.takes(&ask.envelope) {
            return Err(NotHanded::Id(TWICE));
        }
        if self.0.len() >= max {
            return Err(NotHanded::Busy("too many requests of one session at once"));
        }
        if let Some(id) = &ask.envelope.id {
            let token = ask.envelope.params.token.clone();
            self.0.insert(id.clone(), Entry { key: ask.key, token, sent: false, initialize: None });
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

    pub(super) fn forget(&mut self, key: u64) {
        self.0.retain(|_, entry| entry.key != key);
    }

    pub(super) fn sent(&mut self, key: u64) {
        self.0.values_mut().filter(|entry| entry.key == key).for_each(|entry| entry.sent = true);
    }

    /// The program has ended: what was on its way to it is open no more, and comes back by its keys. What waits for the next one is.
    pub(super) fn ended(&mut self) -> Vec<u64> {
        self.0.extract_if(|_, entry| entry.sent).map(|(_, entry)| entry.key).collect()
    }

    /// Where a message of the program goes.
    pub(super) fn to(&self, said: &Envelope) -> To {
        if said.is_response() {
            return said.id.as_ref().and_then(|id| self.key_of(id)).map_or(To::Nobody, To::Answer);
        }
        let named = match (said.kind, said.method.as_str()) {
            (Kind::Notification, "notifications/progress") => said.params.progress.as_ref().and_then(|token| {
                self.0.values().find(|entry| entry.token.as_ref() == Some(token)).map(|entry| entry.key)
            }),
            (Kind::Notification, _) => said.params.subscription.as_ref().and_then(|id| self.key_of(id)),
            _ => None,
        };
        let mut all = self.0.values().filter(|entry| entry.sent).map(|entry| entry.key);
        let only = all.next().filter(|_| all.next().is_none());
        // Progress of what has ended is not that of another.
        let only = only.filter(|_| said.params.progress.is_none() && said.params.subscription.is_none());
        named.or(only).map_or(To::Aside, To::Part)
    }
}
