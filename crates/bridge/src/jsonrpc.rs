//! What a JSON-RPC message is, read without keeping it: a message of a gigabyte takes the memory of a short one.
//!
//! Only what decides is read, and it is read so that no other reader can see something else in the same bytes: what stands twice, or in another case
//! beside its own name, is refused.

mod meter;
mod visit;

use std::fmt;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::message::Message;

/// An id is at most this many bytes; so is a method.
pub(crate) const ID_LEN_MAX: usize = 256;
/// Brackets within brackets.
const DEPTH_MAX: u32 = 128;

/// The id of a request: a text, an integer, or null. Two are equal when they are one value, however they are written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Id(Value);

impl Id {
    /// Null: in an answer to what could not be read.
    pub(crate) const NULL: Self = Self(Value::Null);

    fn of(value: Value) -> Option<Self> {
        let short = match &value {
            Value::String(text) => text.len() <= ID_LEN_MAX,
            Value::Number(number) => number.is_i64() || number.is_u64(),
            other => other.is_null(),
        };
        short.then_some(Self(value))
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.0, Value::Null)
    }
}

impl fmt::Display for Id {
    /// As JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It wants an answer.
    Request,
    /// It wants none.
    Notification,
    /// It is one: whether it tells of an error.
    Response {
        /// `error` instead of `result`.
        error: bool,
    },
}

/// What a message says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// What it is.
    pub(crate) kind: Kind,
    /// Of a request or a response.
    pub(crate) id: Option<Id>,
    /// Empty of a response.
    pub(crate) method: String,
    /// What decides in its parameters.
    pub(crate) params: Params,
}

/// What decides in the parameters of a request or notification, each where it is there and a text (an id: a text or integer).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    /// `name`: of a tool or prompt.
    pub(crate) name: Option<String>,
    /// `uri`: of a resource.
    pub(crate) uri: Option<String>,
    /// `protocolVersion`: of `initialize`.
    pub(crate) version: Option<String>,
    /// `progressToken`: of `notifications/progress`.
    pub(crate) progress: Option<Id>,
    /// `requestId`: of `notifications/cancelled`.
    pub(crate) request: Option<Id>,
    /// `task` is there: what is called is done as a task, which the service keeps.
    pub(crate) task: bool,
    /// `_meta.progressToken`: what a request wants its progress to be called.
    pub(crate) token: Option<Id>,
    /// `_meta.io.modelcontextprotocol/subscriptionId`: to which request a notification belongs.
    pub(crate) subscription: Option<Id>,
    /// `_meta.io.modelcontextprotocol/protocolVersion`: of the messages of 2026-07-28 and later.
    pub(crate) meta_version: Option<String>,
}

/// Why a message was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    /// It is no JSON: why, for people.
    #[error("{0}")]
    Json(&'static str),
    /// It is no message: why, for people. Nothing of its text is in it.
    #[error("{0}")]
    Malformed(&'static str),
    /// Several at once.
    #[error("batches are not taken: send one message at a time (MCP has none since 2025-06-18)")]
    Batch,
    /// It could not be read from where it is kept.
    #[error("{0}")]
    Io(io::Error),
}

impl Envelope {
    /// Reads a message to its end.
    ///
    /// # Errors
    /// It is no message of JSON-RPC 2.0, several, or cannot be read.
    pub(crate) fn read(from: impl Read) -> Result<Self, NotRead> {
        visit::read(BufReader::with_capacity(32 * 1024, from))
    }

    /// Reads that of a message; blocks where it is in a file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn of(message: &Message) -> Result<Self, NotRead> {
        Self::read(message.body.reader().map_err(NotRead::Io)?)
    }

    /// Of a request for an agent's card, which is no JSON.
    pub(crate) fn card() -> Self {
        Self { kind: Kind::Request, id: None, method: "agent card".to_owned(), params: Params::default() }
    }

    /// Whether it is [`Self::card`]: no message that was read is a request without id.
    pub(crate) fn is_card(&self) -> bool {
        self.is_request() && self.id.is_none()
    }

    pub(crate) fn is_request(&self) -> bool {
        self.kind == Kind::Request
    }

    pub(crate) const fn is_response(&self) -> bool {
        matches!(self.kind, Kind::Response { .. })
    }
}

/// Why an agent answers in a service's stead (contracts/call.md section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No JSON.
    NotJson,
    /// No message of JSON-RPC, or none that may be asked.
    Malformed,
    /// Header and body differ (MCP 2026-07-28, streamable HTTP).
    Mismatch,
    /// Nothing allows it.
    Denied,
    /// Nobody knows whether it was done.
    Unknown,
    /// Its letter was not delivered.
    Failed,
    /// The service does not run, or has ended.
    Gone,
    /// Too long.
    TooLarge,
    /// Too many at once.
    Busy,
    /// An agent's card that nobody who counts has signed so.
    Card,
}

impl Reason {
    /// Its code and its word.
    pub(crate) const fn code(self) -> (i32, &'static str) {
        match self {
            Self::NotJson => (-32700, "malformed"),
            Self::Malformed => (-32600, "malformed"),
            Self::Mismatch => (-32020, "malformed"),
            Self::Denied => (-32040, "denied"),
            Self::Unknown => (-32041, "unknown"),
            Self::Failed => (-32042, "failed"),
            Self::Gone => (-32043, "gone"),
            Self::TooLarge => (-32044, "too_large"),
            Self::Busy => (-32045, "busy"),
            Self::Card => (-32046, "card"),
        }
    }
}

/// An agent's own error in answer to a request; `needs` is the scope that would allow it.
// contracts/call.md section 4.
pub(crate) fn error(id: &Id, reason: Reason, message: &str, needs: Option<&str>) -> Message {
    let (code, word) = reason.code();
    let mut told = json!({ "reason": word });
    if let (Some(needs), Some(told)) = (needs, told.as_object_mut()) {
        told.insert("needs".to_owned(), needs.into());
    }
    let error = json!({ "code": code, "message": message, "data": { "nuncio": told } });
    let whole = json!({ "jsonrpc": "2.0", "id": id.0, "error": error });
    Message::json(Bytes::from(whole.to_string()))
}

#[cfg(test)]
mod tests;
