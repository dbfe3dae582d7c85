//! What a request says, read once: anything that is not of its form is refused with a reason.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use nuncio::{AgentId, LetterId};
use serde::de::DeserializeOwned;

use super::refused::Refused;
use super::{BODY_LEN_MAX, Served};

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// More of a body than this is not even thrown away: the connection ends.
const DISCARDED_MAX: usize = 4 * BODY_LEN_MAX;
/// Longest wait of one request.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Served> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Served) -> Result<Self, Refused> {
        let bytes = tokio::time::timeout(BODY_PATIENCE, read(request.into_body())).await;
        let bytes =
            bytes.map_err(|_| Refused::new(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not come in time"))??;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Refused::bad(format!("the body is not as it should be: {error}")))
    }
}

/// Reads a body. One that is too long is read to its end all the same, within bounds: whoever is still writing would not see the answer.
async fn read(mut body: axum::body::Body) -> Result<Vec<u8>, Refused> {
    let (mut bytes, mut len) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let piece = frame.map_err(|error| Refused::bad(error.to_string()))?.into_data().unwrap_or_default();
        len = len.saturating_add(piece.len());
        if len <= BODY_LEN_MAX {
            bytes.extend_from_slice(&piece);
        } else if len > DISCARDED_MAX {
            break;
        }
    }
    if len <= BODY_LEN_MAX {
        return Ok(bytes);
    }
    let message = "a body holds at most 16 MiB: send a larger payload as a file";
    Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
}

/// The query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Served> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Served) -> Result<Self, Refused> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| Refused::bad(rejection.body_text()))
    }
}

/// The number of a letter in the inbox, from the path.
pub(super) struct No(pub(super) u64);

impl FromRequestParts<Served> for No {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Refused> {
        let no = Path::<u64>::from_request_parts(parts, served).await;
        no.map(|Path(no)| Self(no)).map_err(|_| Refused::bad("a letter in the inbox has a number"))
    }
}

/// One letter of ours, from the path: a DID or name, and an id.
pub(super) struct Sent {
    pub(super) to: AgentId,
    pub(super) id: LetterId,
}

impl FromRequestParts<Served> for Sent {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Refused> {
        let path = Path::<(String, String)>::from_request_parts(parts, served).await;
        let Path((to, id)) = path.map_err(|rejection| Refused::bad(rejection.body_text()))?;
        Ok(Self { to: served.agent.resolve(&to).await?, id: letter_id(&id)? })
    }
}

pub(super) fn letter_id(text: &str) -> Result<LetterId, Refused> {
    text.parse().map_err(|error: nuncio_proto::ids::IdError| Refused::bad(error.to_string()))
}

pub(super) fn base64(text: &str) -> Result<Vec<u8>, Refused> {
    data_encoding::BASE64
        .decode(text.as_bytes())
        .map_err(|error| Refused::bad(format!("not standard base64 with padding: {error}")))
}

/// A wait that was asked for, as long as one request may wait.
pub(super) fn wait(ms: Option<u64>) -> Duration {
    Duration::from_millis(ms.unwrap_or(0)).min(WAIT_MAX)
}
