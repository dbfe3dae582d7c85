//! Errors that are made here, in the protocol's words (contracts/call.md section 4).

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use crate::line::LineError;

/// An error of ours.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: i32,
    reason: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: i32, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, reason, message: message.into() }
    }

    /// It is JSON, and no message; or the way in which it came is not the protocol's.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32600, "malformed", message)
    }

    /// It is no JSON.
    pub(crate) fn no_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32700, "malformed", message)
    }

    /// What the header says, the body does not.
    pub(crate) fn mismatch(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32020, "malformed", message)
    }

    /// The letter was not delivered.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, -32042, "failed", message)
    }

    /// It was said, and what came of it cannot be read.
    pub(crate) fn unknown(why: &str) -> Self {
        let message = format!("what was answered did not come: {why}; nobody knows whether it was done");
        Self::new(StatusCode::OK, -32041, "unknown", message)
    }

    /// Nothing allows it.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, -32040, "denied", message)
    }

    /// There is no such session, or it is over.
    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, -32043, "gone", message)
    }

    /// Longer than a request may be.
    pub(crate) fn too_large() -> Self {
        let mebibytes = nuncio_contracts::registry::limit::CALL_REQUEST_MAX >> 20;
        let message = format!("a message to a service holds at most {mebibytes} MiB");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, -32044, "too_large", message)
    }

    /// More at once than is taken, or not now.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, -32045, "busy", message)
    }

    /// Who asked waits no more, and nothing had come.
    pub(crate) fn unanswered() -> Self {
        let message = "no answer had come when the input ended: nobody knows whether it was done";
        Self::new(StatusCode::OK, -32041, "unknown", message)
    }

    /// What stands in an agent's card's stead.
    pub(crate) fn card(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, -32046, "card", message)
    }

    /// With another status.
    pub(crate) fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// As whoever asked without a message that wants an answer is told it: a status that says no.
    pub(crate) fn of_notice(self) -> Self {
        if self.status == StatusCode::OK { self.with(StatusCode::FORBIDDEN) } else { self }
    }

    /// The status that it has as an answer of its own.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, for people.
    pub(crate) fn text(&self) -> &str {
        &self.message
    }

    /// The message; `id` as it stood in the request.
    pub(crate) fn message(&self, id: Option<&str>) -> Bytes {
        let error = json!({
            "code": self.code,
            "message": self.message,
            "data": { "nuncio": { "reason": self.reason } },
        });
        format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.unwrap_or("null")).into()
    }

    /// The answer; `id` as it stood in the request.
    pub(crate) fn response(&self, id: Option<&str>) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], Body::from(self.message(id))).into_response()
    }
}

impl From<LineError> for Fault {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Refused(why) => Self::failed(why),
            LineError::Denied(why) => Self::denied(why),
            LineError::Stopped => Self::busy("the agent stops: ask again once it runs"),
        }
    }
}

/// An agent's own error is not longer, in bytes.
pub(crate) const OWN_ERROR_MAX: u64 = 4096;

/// An error that the service's agent made without being able to read the request's id, with that id. `None` of everything else.
// contracts/call.md X13: whoever asks knows its requests by their ids.
pub(crate) fn named(message: &[u8], id: &str) -> Option<Bytes> {
    if u64::try_from(message.len()).ok()? > OWN_ERROR_MAX {
        return None;
    }
    let whole: serde_json::Value = serde_json::from_slice(message).ok()?;
    let error = whole.get("error")?;
    let own = whole.get("id")?.is_null() && error.get("data")?.get("nuncio")?.is_object();
    own.then(|| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_other_agent_is_given_the_request_s_id() {
        let own = Fault::failed("gone").message(None);
        let named = named(&own, "1e2").unwrap();
        assert!(named.starts_with(br#"{"jsonrpc":"2.0","id":1e2,"error":{"#));
        assert_eq!(super::named(&Fault::failed("gone").message(Some("7")), "8"), None);
        assert_eq!(super::named(br#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#, "8"), None);
    }
}
