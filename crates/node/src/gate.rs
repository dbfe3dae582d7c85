//! In front of every route: is it listed, may this one ask, and who is it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use nuncio_contracts::registry::{limit, time};
use tokio::time::timeout;

use crate::audit::Record;
use crate::authn::{self, Attempt, Caller, Door};
use crate::entropy;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::routes::{Needs, Row, Served, page};

/// One who is known, and what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) caller: Caller,
    pub(crate) attempt: Attempt,
    pub(crate) form: Arc<Form>,
}

/// Lets a request through to its handler, or answers it.
pub(crate) async fn stand(State(at): State<Served>, path: MatchedPath, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let row = match listed(at.table, request.method(), path.as_str()) {
        Ok(row) => row,
        Err(unlisted) => return unlisted.into_response(),
    };
    let response = match admit(&at, row, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) if row.path == page::PATH && refusal.code == Code::AccessDenied => page::sign_in_first(),
        Err(refusal) => refusal.into_response(),
    };
    let error = response.extensions().get::<Code>().map(|code| code.name());
    at.service.metrics.answered(row.path, response.status().as_u16(), error, started.elapsed());
    response
}

/// contracts/txts.md N33
fn listed(table: &'static [Row], method: &Method, path: &str) -> Result<&'static Row, Unlisted> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let rows: Vec<&Row> = table.iter().filter(|row| row.path == path).collect();
    if rows.is_empty() {
        return Err(Unlisted::Path);
    }
    let allowed = || rows.iter().map(|row| row.method).collect::<Vec<_>>().join(", ");
    rows.iter().find(|row| row.method == method).copied().ok_or_else(|| Unlisted::Method { allowed: allowed() })
}

/// What the table does not have.
enum Unlisted {
    /// Not even the path: it is open to nobody.
    Path,
    /// The path, by other methods.
    Method { allowed: String },
}

impl IntoResponse for Unlisted {
    fn into_response(self) -> Response {
        match self {
            Self::Path => Refusal::new(Code::AccessDenied, "this route is open to nobody").into_response(),
            Self::Method { allowed } => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)]).into_response(),
        }
    }
}

async fn admit(at: &Served, row: &'static Row, mut request: Request) -> Result<Request, Refusal> {
    let denied = || Refusal::new(Code::AccessDenied, "this route is not open to you");
    let door = request.extensions().get::<Door>().copied().ok_or_else(denied)?;
    if door.source().is_some_and(|source| !at.service.sources.allow(source)) {
        return Err(Refusal::new(Code::TooMany, "too many requests from this address"));
    }
    if matches!(row.needs, Needs::Reader | Needs::Session)
        && let Some(session) = at.page.session(request.method(), request.headers())
    {
        request.extensions_mut().insert(session);
        return Ok(request);
    }
    match row.needs {
        Needs::Anyone => Ok(request),
        Needs::Machine if is_of_this_machine(at, door, request.headers()) => Ok(request),
        Needs::Owner | Needs::Session if door == Door::Owner => Ok(request),
        Needs::Reader if reads_log(at, door, request.headers())? => Ok(request),
        Needs::Agent => agent(at, door, request),
        Needs::Reader | Needs::Session if matches!(door, Door::Tcp { .. }) => Err(sign_in_first()),
        Needs::Machine | Needs::Owner | Needs::Reader | Needs::Session => Err(denied()),
        Needs::Client | Needs::Operator => identify(at, row, door, request).await,
    }
}

/// contracts/audit.md V16. Whoever has left the policy has its connection still.
fn reads_log(at: &Served, door: Door, headers: &HeaderMap) -> Result<bool, Refusal> {
    match door {
        Door::Owner | Door::Tcp { .. } => Ok(is_of_this_machine(at, door, headers)),
        Door::Quic { peer, .. } => match at.service.policy().client_of(&peer) {
            Some(client) => authn::within_rate(client).map(|_| true),
            None => Ok(false),
        },
    }
}

/// contracts/txts.md N39
fn is_of_this_machine(at: &Served, door: Door, headers: &HeaderMap) -> bool {
    match door {
        Door::Owner => true,
        Door::Tcp { from } => from.is_loopback() && at.page.is_of_program_here(headers),
        Door::Quic { from, .. } => from.is_loopback(),
    }
}

fn sign_in_first() -> Refusal {
    let why = "programs of the node's machine read this by a loopback address or as localhost, and browsers that have signed in: \
               `nuncio node page` prints a link";
    Refusal::new(Code::AccessDenied, why)
}

/// An agent that speaks for itself over its own connection, within its client's rate.
fn agent(at: &Served, door: Door, mut request: Request) -> Result<Request, Refusal> {
    let Door::Quic { peer, .. } = door else {
        return Err(Refusal::client("this is for agents, over their own QUIC connections"));
    };
    let policy = at.service.policy();
    let client = policy.client_of(&peer).ok_or_else(|| Refusal::client("no client has this key"))?;
    authn::within_rate(client)?;
    if policy.is_retired(&peer) {
        return Err(Refusal::client("the agent's identity is over"));
    }
    request.extensions_mut().insert(peer);
    Ok(request)
}

async fn identify(at: &Served, row: &'static Row, door: Door, request: Request) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let now = entropy::now();
    let mut attempt = Attempt::default();
    let known = match read(body, limit::REQUEST_LEN_MAX).await.and_then(|body| Form::parse(&parts.headers, &body)) {
        Err(refusal) => Err(refusal),
        Ok(form) => {
            let asks =
                authn::Request { door, headers: &parts.headers, form: &form, path: row.path, now_s: now.0 / 1_000 };
            at.service.authenticate(&asks, row.needs, &mut attempt).map(|caller| (caller, form))
        }
    };
    match known {
        Ok((caller, form)) => {
            parts.extensions.insert(Known { caller, attempt, form: Arc::new(form) });
            Ok(Request::from_parts(parts, Body::empty()))
        }
        // contracts/txts.md N30, N34: what is over a rate leaves no record, whatever it is.
        Err(refusal) if refusal.code == Code::TooMany => Err(refusal),
        Err(refusal) => {
            let is_stranger = attempt.client.is_none();
            if is_stranger && door.source().is_some_and(|source| !at.service.sources.allow_failure(source)) {
                return Err(Refusal::new(Code::TooMany, "too many failures from this address"));
            }
            let record = Record { at: now, client: attempt.client, used: attempt.used, ..Record::default() };
            Err(at.service.deny(record, refusal).await)
        }
    }
}

/// contracts/txts.md N34
pub(crate) async fn read(body: Body, len_max: usize) -> Result<axum::body::Bytes, Refusal> {
    let patience = Duration::from_millis(time::REQUEST_PATIENCE);
    match timeout(patience, to_bytes(body, len_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(Refusal::new(Code::TooLarge, "the request is longer than it may be"))
        }
        Ok(Err(_)) => Err(Refusal::request("the request broke off")),
        Err(_) => Err(Refusal::new(Code::Slow, "the request does not come")),
    }
}
