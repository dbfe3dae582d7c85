//! Services of agents for people's own MCP clients (contracts/gateway.md section 5).
//!
//! ```text
//!   request ─► bearer ─► transaction ─► whose session? ─► budget ─► the service's front, under the transaction
//! ```

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use nuncio::{Agent, AgentId, ServiceName, Transaction};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::letters::peer;
use super::refusal::Refusal;
use super::{Inner, Served};
use crate::bridge::Bridge;
use crate::caller::AgentLine;
use crate::connections::secret;
use crate::front::{Front, Guard};

/// Sessions whose persons are known; the oldest goes.
const SESSIONS_MAX: usize = 4_096;
const SESSION: &str = "mcp-session-id";
const TXN_TOKEN: &str = "txn-token";
/// What of a person's head is not for a front.
const OWN: [&str; 4] = ["authorization", "cookie", "origin", TXN_TOKEN];
/// Where a front of the gateway's thinks that it is: it was looked at who asks before.
const HERE: ([u8; 4], u16) = ([127, 0, 0, 1], 1);

/// The fronts of what people reach.
pub(super) struct Services {
    bridge: Arc<Bridge>,
    secret: Zeroizing<String>,
    fronts: Mutex<HashMap<(AgentId, ServiceName), Front<AgentLine>>>,
    sessions: Mutex<Sessions>,
    stopping: CancellationToken,
}

/// Whose each session is.
#[derive(Default)]
struct Sessions {
    of: HashMap<String, (u64, String)>,
    begun: u64,
}

impl Sessions {
    fn begin(&mut self, session: &str, principal: &str) {
        self.begun = self.begun.saturating_add(1);
        self.of.insert(session.to_owned(), (self.begun, principal.to_owned()));
        if self.of.len() > SESSIONS_MAX {
            let oldest = self.of.iter().min_by_key(|(_, (begun, _))| *begun).map(|(session, _)| session.clone());
            oldest.and_then(|oldest| self.of.remove(&oldest));
        }
    }
}

impl Services {
    pub(super) fn new(bridge: Arc<Bridge>, stopping: CancellationToken) -> std::io::Result<Self> {
        Ok(Self { bridge, secret: secret()?, fronts: Mutex::default(), sessions: Mutex::default(), stopping })
    }

    /// The front of a service. There is one for each, as only one may hear what comes without session.
    pub(super) fn front(&self, to: AgentId, service: &ServiceName) -> Result<Front<AgentLine>, Refusal> {
        if self.bridge.fronts().connections().0.to(&to, service).is_some() {
            tracing::warn!(%service, "people are not served what this agent has connected for itself: `nuncio disconnect` it");
            return Err(Refusal::unavailable("busy", "this service is not served to people now"));
        }
        let make = || {
            let guard = Guard::new(HERE.into(), None, self.secret.clone());
            Front::new(self.bridge.line(to, service.clone()), guard, self.stopping.clone())
        };
        Ok(lock(&self.fronts).entry((to, service.clone())).or_insert_with(make).clone())
    }

    // contracts/gateway.md W18.
    fn is_of(&self, session: &str, principal: &str) -> bool {
        lock(&self.sessions).of.get(session).is_some_and(|(_, known)| known == principal)
    }

    /// The request as the front takes it: nothing of the person's in its head but what MCP says, and the transaction.
    fn inward(&self, mut request: Request, transaction: &Transaction) -> Result<Request, Refusal> {
        let failed = || Refusal::unavailable("busy", "the request cannot be handed on");
        *request.uri_mut() = format!("/{}", self.secret.as_str()).parse::<Uri>().map_err(|_| failed())?;
        let headers = request.headers_mut();
        OWN.iter().for_each(|name| while headers.remove(*name).is_some() {});
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:1"));
        let mut token = HeaderValue::from_str(transaction.token()).map_err(|_| failed())?;
        token.set_sensitive(true);
        headers.insert(TXN_TOKEN, token);
        Ok(request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards stays whole even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `/v1/mcp/{name}/{service}`
pub(super) async fn call(
    State(served): State<Served>,
    Path((name, service)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let route = served.agents.get(&name).ok_or_else(Refusal::nowhere)?;
    let service: ServiceName = service.parse().map_err(|_| Refusal::nowhere())?;
    let scope = route.services.get(&service).ok_or_else(Refusal::nowhere)?;
    let transaction = served.people.begin(request.headers(), scope).await?;
    let to = peer(&served, &route.peer).await?;
    answer(&served, request, (to, &service), &transaction).await
}

async fn answer(
    served: &Inner,
    request: Request,
    (to, service): (AgentId, &ServiceName),
    transaction: &Transaction,
) -> Result<Response, Refusal> {
    let (services, principal, method) = (&served.services, transaction.principal(), request.method().clone());
    let named = request.headers().get(SESSION).map(|id| id.to_str().unwrap_or_default().to_owned());
    if named.as_ref().is_some_and(|session| !services.is_of(session, principal)) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no_session", "there is no such session: begin a new one"));
    }
    let front = services.front(to, service)?;
    if method == Method::POST {
        served.book.reserve(transaction, 0).await?;
    }
    let response = front.answer(services.inward(request, transaction)?).await;
    if let Some(session) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
        lock(&services.sessions).begin(session, principal);
    }
    if let (Some(session), true) = (named.filter(|_| method == Method::DELETE), response.status().is_success()) {
        lock(&services.sessions).of.remove(&session);
    }
    let lives = Duration::from_millis(transaction.expires().0.saturating_sub(Agent::now().0));
    let until = |body| Body::new(Until { body, end: Box::pin(tokio::time::sleep(lives)) });
    Ok(if method == Method::GET { response.map(until) } else { response })
}

/// A body that ends with the transaction that it was asked for in.
struct Until {
    body: Body,
    end: Pin<Box<Sleep>>,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}
