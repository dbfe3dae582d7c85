//! Why a request got nothing, in OAuth's words (contracts/txts.md section 6).

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    InvalidDpopProof,
    AccessDenied,
    NotFound,
    /// Something that is needed cannot be had now.
    Unavailable,
    /// Over a rate.
    TooMany,
    TooLarge,
    Slow,
    /// The log has signed what it does not have.
    Behind,
    /// Something newer is there.
    Outdated,
    /// There is no room.
    Full,
}

impl Code {
    /// As `error` says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge | Self::Slow => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::AccessDenied => "access_denied",
            Self::NotFound => "not_found",
            Self::Behind => "log_behind",
            Self::Outdated => "outdated",
            Self::Full => "full",
            Self::Unavailable | Self::TooMany => "temporarily_unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::AccessDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Behind | Self::Outdated => StatusCode::CONFLICT,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A refusal: a code for programs, a sentence for people. Nothing secret is in the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) why: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(code: Code, why: impl Into<Cow<'static, str>>) -> Self {
        Self { code, why: why.into() }
    }

    pub(crate) fn request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, why)
    }

    pub(crate) fn client(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidClient, why)
    }

    pub(crate) fn grant(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidGrant, why)
    }

    pub(crate) fn unavailable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, why)
    }
}

/// The disk cannot be written: nothing is issued (contracts/txts.md N31).
impl From<crate::ledger::Unwritten> for Refusal {
    fn from(_: crate::ledger::Unwritten) -> Self {
        Self::unavailable("the service cannot write")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.code.name(), "error_description": self.why }));
        let mut response = (self.code.status(), body).into_response();
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        match self.code {
            // RFC 9110 section 11.6.1 wants a challenge with every 401; no scheme of the registry is taken here.
            Code::InvalidClient => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("PrivateKeyJwt"));
            }
            Code::TooMany | Code::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
