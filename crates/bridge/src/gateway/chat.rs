//! Completions of a provider that speaks as OpenAI does (contracts/gateway.md section 3): its bytes and the person's, neither touched.
//!
//! ```text
//!   body ─► asked: model, what it may use ─► reserved ─► the provider, by the owner's key ─► pieces ─► the person
//!                                                                                              └─► meter ─► settled
//! ```

mod asked;
mod config;
mod meter;
mod spoken;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use nuncio_contracts::registry::limit;
use nuncio_proto::token::Scope;
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Served;
use super::budget::Reservation;
use super::refusal::Refusal;
use super::share::Share;
use crate::front::Address;
use crate::web;
use asked::Asked;
pub(super) use config::{ChatRoute, ChatTable};
use meter::Meter;
pub(super) use spoken::Worded;

/// How long a connection to the provider may take to come.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// What of a provider's head is the person's.
const TOLD: [HeaderName; 2] = [header::CONTENT_TYPE, header::RETRY_AFTER];

/// The provider, and who may ask it for what.
pub(super) struct Provider {
    client: Client,
    url: Url,
    /// The owner's key: it is in no answer and no log.
    key: HeaderValue,
    scope: Scope,
    models: BTreeSet<String>,
    /// Members of a body beside those that are known.
    members: BTreeSet<String>,
    patience: Duration,
    estimate: u64,
}

impl Provider {
    pub(super) fn new(route: ChatRoute) -> Result<Self, String> {
        // contracts/gateway.md W10: the key goes to this origin alone.
        let client = web::client().connect_timeout(CONNECT_PATIENCE).build().map_err(|error| error.to_string())?;
        let ChatRoute { url, key, scope, models, members, patience, estimate } = route;
        Ok(Self { client, url, key, scope, models, members, patience, estimate })
    }

    /// What a person needs.
    pub(super) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What a body asks for, where it may.
    fn read(&self, body: &[u8], tokens_are_hard: bool) -> Result<Asked, Refusal> {
        let asked = Asked::read(body, &self.members).map_err(Refusal::bad)?;
        if !self.models.contains(&asked.model) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "no_model", "this model is none that is served here"));
        }
        match asked.untold().filter(|_| tokens_are_hard) {
            Some(untold) => Err(Refusal::bad(untold)),
            None => Ok(asked),
        }
    }

    /// Asks, and gives back the head of the answer: nothing that the person wrote but the body goes there.
    async fn ask(&self, body: Bytes) -> Result<reqwest::Response, NoAnswer> {
        let request = self.client.post(self.url.clone()).header(header::AUTHORIZATION, self.key.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        match timeout(self.patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                tracing::warn!(error = %error.without_url(), "the provider does not answer");
                Err(NoAnswer::Broken)
            }
            Err(_) => Err(NoAnswer::Late),
        }
    }
}

/// The provider said nothing; what it did, nobody knows.
enum NoAnswer {
    Broken,
    Late,
}

/// `POST /v1/chat/completions`
pub(super) async fn complete(
    State(served): State<Served>,
    Extension(from): Extension<Address>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // contracts/gateway.md W11.
    let provider = served.chat.as_ref().ok_or_else(none)?;
    // contracts/gateway.md W42.
    let (person, body) =
        served.people.hear(from, (&headers, body), &provider.scope, limit::GATEWAY_COMPLETION_MAX).await?;
    let asked = match provider.read(&body, served.book.tokens_are_hard()) {
        Ok(asked) => asked,
        // contracts/gateway.md W13: it was a request.
        Err(refusal) => return Err(served.book.reserve(&person, 0).await.err().map_or(refusal, Refusal::from)),
    };
    let tokens = asked.tokens(body.len(), provider.estimate);
    let reserved = served.book.reserve(&person, tokens).await?;
    tracing::info!(transaction = person.id(), model = asked.model, tokens, "a completion is asked for");
    let response = match provider.ask(body).await {
        Ok(response) => response,
        Err(NoAnswer::Late) => return Err(Refusal::late("the provider did not answer in time")),
        Err(NoAnswer::Broken) => return Err(Refusal::beyond("provider", "the provider cannot be asked")),
    };
    hand_on(response, reserved, person.share, provider.patience, served.stopping.clone()).await
}

pub(super) fn none() -> Refusal {
    Refusal::unavailable("no_provider", "no provider is configured: whoever runs this gateway can name one")
}

/// The provider's answer as the person's.
// contracts/gateway.md W10, W15.
async fn hand_on(
    answered: reqwest::Response,
    reserved: Reservation,
    share: Arc<Share>,
    patience: Duration,
    stopping: CancellationToken,
) -> Result<Response, Refusal> {
    let status = answered.status();
    let reserved = if status.is_success() {
        Some(reserved)
    } else {
        reserved.settle(0).await;
        None
    };
    if refuses_the_owner(status) {
        tracing::error!(%status, "the provider does not take what this gateway's owner has configured");
        return Err(Refusal::beyond("provider", "the provider does not take this gateway's request"));
    }
    let told = TOLD.into_iter().filter_map(|name| answered.headers().get(&name).cloned().map(|value| (name, value)));
    let mut told: HeaderMap = told.collect();
    let meter = Meter::of(told.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default());
    let (pieces, rx) = mpsc::channel(2);
    let pouring = Pouring { answered, meter, pieces, patience };
    tokio::spawn(async move {
        let used = stopping.run_until_cancelled(pouring.pour()).await.flatten();
        // One that says nothing has used all that was reserved.
        if let (Some(reserved), Some(used)) = (reserved, used) {
            reserved.settle(used).await;
        }
        drop(share);
    });
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = (status, Body::from_stream(ReceiverStream::new(rx))).into_response();
    *response.headers_mut() = told;
    Ok(response)
}

/// Whether a status is about the key, or about the address: none of the person's.
fn refuses_the_owner(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407) || status.is_informational() || status.is_redirection()
}

/// An answer on its way.
struct Pouring {
    answered: reqwest::Response,
    meter: Meter,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    patience: Duration,
}

impl Pouring {
    /// Hands pieces on as they come, to the end or until one side goes; what the provider says of what it used. `None` where it does not, or
    /// broke off.
    async fn pour(mut self) -> Option<u64> {
        loop {
            let piece = tokio::select! {
                piece = timeout(self.patience, self.answered.chunk()) => piece,
                () = self.pieces.closed() => return self.meter.whole(),
            };
            let piece = match piece {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return self.meter.used(),
                // The person's connection ends in the middle, as it must.
                Ok(Err(_)) | Err(_) => {
                    drop(self.pieces.send(Err(io::ErrorKind::BrokenPipe.into())).await);
                    return self.meter.whole();
                }
            };
            self.meter.read(&piece);
            // One that takes nothing has gone.
            if !matches!(timeout(self.patience, self.pieces.send(Ok(piece))).await, Ok(Ok(()))) {
                return self.meter.whole();
            }
        }
    }
}
