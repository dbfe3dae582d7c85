//! Answers that say no (contracts/gateway.md, "Errors").

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::front::fault::Fault;

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// With a field of the head.
    pub(crate) fn with(self, name: HeaderName, value: impl Into<String>) -> Self {
        Self { field: Some((name, value.into())), ..self }
    }

    /// With more in its challenge, where it has one.
    pub(crate) fn challenged(mut self, more: &str) -> Self {
        if let Some((_, challenge)) = self.field.as_mut().filter(|(name, _)| *name == header::WWW_AUTHENTICATE) {
            let sign = if challenge.contains(' ') { "," } else { "" };
            challenge.push_str(&format!("{sign} {more}"));
        }
        self
    }

    /// It cannot be read.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// There is no such route.
    pub(crate) fn nowhere() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "nothing is served under this path")
    }

    /// This person may not.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "denied", message)
    }

    /// Not now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Whatever was asked did not answer in time.
    pub(crate) fn late(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", message)
    }

    /// Whatever was asked answered what is no answer.
    pub(crate) fn beyond(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, message)
    }

    /// The body, as clients of completions read it.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": { "message": self.message, "type": "nuncio", "code": self.code, "param": null } })
    }
}

/// What a path names; of another form it names nothing that is served.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = Path::from_request_parts(parts, state).await;
        named.map(|Path(named)| Self(named)).map_err(|_| Refusal::nowhere())
    }
}

impl From<Fault> for Refusal {
    /// Of a body that did not come as it should.
    fn from(fault: Fault) -> Self {
        let code = match fault.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::REQUEST_TIMEOUT => "slow",
            _ => "bad_request",
        };
        Self::new(fault.status(), code, fault.text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.field.and_then(|(name, value)| Some((name, value.parse().ok()?))) {
            headers.insert(name, value);
        }
        response
    }
}
