//! Answers that say no: a status, a fixed word for programs, a sentence for people.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nuncio::{ChannelError, Error, PermitError};
use nuncio_bridge::{BridgeError, ConfigError, NotConnected};
use nuncio_proto::channel::{ChangeError, EntryError, RecordError};
use nuncio_proto::error::PeerError;
use nuncio_proto::permit::NotAllowed;
use nuncio_store::StoreError;

use crate::wire::Problem;

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    letter_code: Option<&'static str>,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), letter_code: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn socket_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "socket_only",
            "this needs the agent's files: ask over the Unix socket in its home",
        )
    }

    /// The same, with what was done all the same in front.
    pub(crate) fn behind(mut self, done: &str) -> Self {
        self.message = format!("{done}: {}", self.message);
        self
    }

    pub(crate) fn no_such_connection(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_connection", format!("no connection is called {name:?}"))
    }

    pub(crate) fn no_such_letter(no: u64) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_letter", format!("the inbox has no letter {no}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let letter_code = self.letter_code.map(str::to_owned);
        (self.status, Json(Problem { code: self.code.to_owned(), message: self.message, letter_code })).into_response()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let (status, code) = place(&error);
        Self { letter_code: error.letter_code(), ..Self::new(status, code, error.to_string()) }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self::new(StatusCode::CONFLICT, "services", error.to_string())
    }
}

impl From<BridgeError> for Refused {
    fn from(error: BridgeError) -> Self {
        match error {
            BridgeError::Config(error) => error.into(),
            BridgeError::Agent(error) => error.into(),
            other => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", other.to_string()),
        }
    }
}

impl From<NotConnected> for Refused {
    fn from(error: NotConnected) -> Self {
        match error {
            NotConnected::Name(_) => Self::new(StatusCode::CONFLICT, "name", error.to_string()),
            NotConnected::Connected(_) => Self::new(StatusCode::CONFLICT, "connected", error.to_string()),
            NotConnected::Webhook(_) => Self::bad(error.to_string()),
            NotConnected::File(error) => error.into(),
            other => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", other.to_string()),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

/// The fixed word for an error of the agent.
pub(crate) fn code(error: &Error) -> &'static str {
    place(error).1
}

fn place(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::NoLine(_) => (StatusCode::NOT_FOUND, "no_such_line"),
        Error::Permit(PermitError::Unknown) => (StatusCode::NOT_FOUND, "no_such_permit"),
        Error::Permit(PermitError::Useless(NotAllowed::Revoked)) => (StatusCode::CONFLICT, "refused"),
        Error::Permit(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        Error::NoKnock(_) => (StatusCode::NOT_FOUND, "no_such_knock"),
        Error::NoSuchPeer(_) | Error::Peer(PeerError::UnknownAgent(_)) => (StatusCode::NOT_FOUND, "no_such_peer"),
        Error::Peer(PeerError::Retired(_) | PeerError::RetiredHere) => (StatusCode::GONE, "retired"),
        Error::Peer(PeerError::OutboxFull | PeerError::TooManyCalls(_)) | Error::TooManyCalls => {
            (StatusCode::TOO_MANY_REQUESTS, "outbox_full")
        }
        Error::Peer(PeerError::LogFull) => (StatusCode::TOO_MANY_REQUESTS, "log_full"),
        Error::Peer(PeerError::TooLarge) | Error::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Error::Peer(PeerError::Channel(ChannelError::Record(RecordError::Entry(EntryError::Change(
            ChangeError::Name,
        ))))) => (StatusCode::BAD_REQUEST, "bad_request"),
        Error::Peer(PeerError::Channel(_)) | Error::InChannel(_) => (StatusCode::CONFLICT, "channel_refused"),
        Error::NoSuchChannel(_) | Error::NotJoined(_) | Error::NoInvitation(_) => {
            (StatusCode::NOT_FOUND, "no_such_channel")
        }
        Error::Joining(_) => (StatusCode::CONFLICT, "joining"),
        Error::SeveralChannels { .. } => (StatusCode::CONFLICT, "several_channels"),
        Error::NotForChannels | Error::TooMuchHistory => (StatusCode::BAD_REQUEST, "bad_request"),
        Error::NoHistory(_) => (StatusCode::NOT_FOUND, "no_such_letter"),
        Error::Peer(_) | Error::Id(_) | Error::Invitation(_) | Error::Myself(_) | Error::NotText => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
        Error::Name(_) => (StatusCode::CONFLICT, "name"),
        Error::NotDelivered(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_delivered"),
        Error::MailboxNowhere => (StatusCode::CONFLICT, "no_mailbox"),
        Error::NoTrust => (StatusCode::CONFLICT, "no_trust"),
        // RFC 6749 section 5.2: what the request builds upon is over.
        Error::TokenRefused { code, .. } if code == "invalid_grant" => (StatusCode::FORBIDDEN, "transaction_over"),
        Error::TokenRefused { .. } => (StatusCode::FORBIDDEN, "token_refused"),
        Error::Node(_) => (StatusCode::SERVICE_UNAVAILABLE, "node"),
        Error::NoOpening => (StatusCode::NOT_FOUND, "no_opening"),
        Error::OtherPayload => (StatusCode::UNPROCESSABLE_ENTITY, "other_payload"),
        Error::PayloadLost => (StatusCode::GONE, "payload_lost"),
        Error::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        Error::Stopped | Error::Failed(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
        Error::Store(StoreError::DiskFull(_)) => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        Error::Store(StoreError::Exists(_)) => (StatusCode::CONFLICT, "exists"),
        Error::File { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
            }
            _ => (StatusCode::BAD_REQUEST, "file"),
        },
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    }
}

pub(crate) async fn no_such_endpoint() -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        "no_such_endpoint",
        "there is no such endpoint: see contracts/openapi/local.yaml",
    )
}

pub(crate) async fn no_such_method() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        "this endpoint has other methods: see contracts/openapi/local.yaml",
    )
}
