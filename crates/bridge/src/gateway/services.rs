//! Services of agents for people's own MCP clients (contracts/gateway.md section 5).
//!
//! ```text
//!   request ─► bearer ─► transaction ─► whose session? ─► budget ─► the service's front, under the transaction
//! ```

use std::cmp::Reverse;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use nuncio::{Agent, AgentId, ServiceName, Transaction};
use nuncio_contracts::registry::limit;
use nuncio_proto::ids::CallSessionId;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::letters::peer;
use super::person::Person;
use super::refusal::{Named, Refusal};
use super::share::until_taken;
use super::{Inner, Served};
use crate::bridge::Bridge;
use crate::caller::AgentLine;
use crate::connections::secret;
use crate::front::flush::Marks;
use crate::front::{Address, Front, Guard, SESSION, reading};
use crate::message::request_len_max;

/// Sessions whose persons are known; the one that was used least lately goes.
const SESSIONS_MAX: usize = 4_096;
const TXN_TOKEN: &str = "txn-token";
/// What of a person's head is not for a front.
const OWN: [&str; 4] = ["authorization", "cookie", "origin", TXN_TOKEN];
/// Where a front of the gateway's thinks that it is: it was looked at who asks before.
const HERE: ([u8; 4], u16) = ([127, 0, 0, 1], 1);
/// Asks for what comes, and not for an answer, where there are no sessions.
const LISTENS: &str = "subscriptions/listen";

/// A service of an agent.
type Place = (AgentId, ServiceName);

/// The fronts of what people reach.
pub(super) struct Services {
    bridge: Arc<Bridge>,
    secret: Zeroizing<String>,
    fronts: Mutex<HashMap<Place, Opened>>,
    sessions: Mutex<Sessions>,
    stopping: CancellationToken,
}

/// A front, and its end.
struct Opened {
    front: Front<AgentLine>,
    ending: CancellationToken,
}

/// Whose each session is.
#[derive(Default)]
struct Sessions {
    of: HashMap<String, Known>,
    used: u64,
}

struct Known {
    used: u64,
    principal: String,
    place: Place,
}

impl Sessions {
    /// One has begun. Gives back the one that goes for it: the principal's own; or, where there are too many, one of whoever has most.
    // contracts/gateway.md W18.
    fn begin(&mut self, session: &str, principal: &str, place: &Place) -> Option<(String, Place)> {
        self.used = self.used.saturating_add(1);
        let known = Known { used: self.used, principal: principal.to_owned(), place: place.clone() };
        self.of.insert(session.to_owned(), known);
        let own = |known: &Known| known.principal == principal && known.place == *place;
        if self.of.values().filter(|known| own(known)).count() > limit::GATEWAY_SESSIONS_PER_PRINCIPAL {
            return self.forget_oldest(own);
        }
        if self.of.len() <= SESSIONS_MAX {
            return None;
        }
        let mut all = HashMap::<&str, (usize, u64)>::new();
        for known in self.of.values() {
            let (count, used) = all.entry(&known.principal).or_insert((0, u64::MAX));
            (*count, *used) = (*count + 1, known.used.min(*used));
        }
        // Of those with as many, who has used theirs least lately; the one that has begun is the newest.
        let most = all.into_iter().max_by_key(|(_, (count, used))| (*count, Reverse(*used)));
        let most = most.map(|(principal, _)| principal.to_owned())?;
        self.forget_oldest(|known| known.principal == most)
    }

    fn forget_oldest(&mut self, of: impl Fn(&Known) -> bool) -> Option<(String, Place)> {
        let all = self.of.iter().filter(|(_, known)| of(known));
        let oldest = all.min_by_key(|(_, known)| known.used).map(|(session, _)| session.clone())?;
        self.of.remove(&oldest).map(|known| (oldest, known.place))
    }

    /// Whether it is this principal's, who uses it now.
    fn is_of(&mut self, session: &str, principal: &str, place: &Place) -> bool {
        self.used = self.used.saturating_add(1);
        let known = self.of.get_mut(session).filter(|known| known.principal == principal && known.place == *place);
        known.is_some_and(|known| {
            known.used = self.used;
            true
        })
    }
}

impl Services {
    pub(super) fn new(bridge: Arc<Bridge>, stopping: CancellationToken) -> std::io::Result<Self> {
        Ok(Self { bridge, secret: secret()?, fronts: Mutex::default(), sessions: Mutex::default(), stopping })
    }

    /// The front of a service. There is one for each, as only one may hear what comes without session.
    pub(super) fn front(&self, place: &Place) -> Result<Front<AgentLine>, Refusal> {
        // Before it is looked whether the agent has it: what is connected behind that look is found here.
        let mut fronts = lock(&self.fronts);
        if self.is_connected(place) {
            tracing::warn!(service = %place.1, "people are not served what this agent has connected for itself: `nuncio disconnect` it");
            return Err(Refusal::unavailable("busy", "this service is not served to people now"));
        }
        let make = || {
            let guard = Guard::new(HERE.into(), None, self.secret.clone());
            let ending = self.stopping.child_token();
            let line = self.bridge.line(place.0, place.1.clone());
            Opened { front: Front::new(line, guard, ending.clone()), ending }
        };
        Ok(fronts.entry(place.clone()).or_insert_with(make).front.clone())
    }

    fn is_connected(&self, (to, service): &Place) -> bool {
        self.bridge.fronts().connections().0.to(to, service).is_some()
    }

    /// Ends the fronts of what the agent connects for itself, as soon as it does: two that hear what comes without session take each other's answers.
    pub(super) async fn give_way(served: Served) {
        let services = &served.services;
        let mut changed = services.bridge.fronts().changes();
        while let Some(Ok(())) = services.stopping.run_until_cancelled(changed.changed()).await {
            for (place, ended) in lock(&services.fronts).extract_if(|place, _| services.is_connected(place)) {
                ended.ending.cancel();
                lock(&services.sessions).of.retain(|_, known| known.place != place);
            }
        }
    }

    /// What an answer says of a session: it has begun, and for it one of the same person's may end; or it has not. Gives back the one to end.
    fn begun(&self, response: &Response, principal: &str, place: &Place) -> Option<(CallSessionId, Place)> {
        let session = response.headers().get(SESSION).and_then(|id| id.to_str().ok())?;
        let (over, place) = match response.status().is_success() {
            true => lock(&self.sessions).begin(session, principal, place)?,
            false => (session.to_owned(), place.clone()),
        };
        let id = data_encoding::HEXLOWER.decode(over.as_bytes()).ok()?;
        Some((CallSessionId::from_bytes(id.try_into().ok()?), place))
    }

    /// Ends a session with a service, if it has a front.
    async fn end(&self, place: &Place, over: CallSessionId) {
        let front = lock(&self.fronts).get(place).map(|opened| opened.front.clone());
        if let Some(front) = front
            && let Err(fault) = front.end(over).await
        {
            tracing::debug!(why = fault.text(), "a person's session ends by itself");
        }
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
    Extension(from): Extension<Address>,
    Named((name, service)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let route = served.agents.get(&name).ok_or_else(Refusal::nowhere)?;
    let service: ServiceName = service.parse().map_err(|_| Refusal::nowhere())?;
    let scope = route.services.get(&service).ok_or_else(Refusal::nowhere)?;
    let (parts, body) = request.into_parts();
    let (person, body) = served.people.hear(from, (&parts.headers, body), scope, request_len_max()).await?;
    // contracts/gateway.md W13: listening counts nothing.
    if parts.method != Method::GET {
        served.book.reserve(&person, 0).await?;
    }
    let to = peer(&served, &route.peer).await?;
    answer(&served, (parts, body), (to, service), person).await
}

async fn answer(
    served: &Inner,
    (parts, body): (Parts, Bytes),
    place: Place,
    person: Person,
) -> Result<Response, Refusal> {
    let (services, principal, method) = (&served.services, person.principal(), parts.method.clone());
    let named = parts.headers.get(SESSION).map(|id| id.to_str().unwrap_or_default().to_owned());
    if named.as_ref().is_some_and(|session| !lock(&services.sessions).is_of(session, principal, &place)) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no_session", "there is no such session: begin a new one"));
    }
    let front = services.front(&place)?;
    let marks = parts.extensions.get::<Marks>().cloned().unwrap_or_default();
    let listens = method == Method::GET || listens(&body);
    let request = Request::from_parts(parts, Body::from(body));
    let response = front.answer(services.inward(request, &person)?).await;
    if let Some((over, place)) = services.begun(&response, principal, &place) {
        services.end(&place, over).await;
    }
    if let (Some(session), true) = (named.filter(|_| method == Method::DELETE), response.status().is_success()) {
        lock(&services.sessions).of.remove(&session);
    }
    let lives = Duration::from_millis(person.expires().0.saturating_sub(Agent::now().0));
    let until = |body| Body::new(Until { body, end: Box::pin(tokio::time::sleep(lives)) });
    let response = if listens { response.map(until) } else { response };
    Ok(until_taken(response, person.share, marks))
}

/// Whether a message asks to hear what comes from now on.
// contracts/gateway.md W18.
fn listens(message: &[u8]) -> bool {
    reading::read(message).is_ok_and(|read| read.method.as_deref() == Some(LISTENS))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(service: &str) -> Place {
        let agent = nuncio_proto::crypto::SigningKey::from_seed(&[1; 32]).public();
        (AgentId::from_bytes(agent).unwrap(), service.parse().unwrap())
    }

    /// contracts/gateway.md W18.
    #[test]
    fn of_too_many_sessions_the_person_s_own_goes_that_was_used_least_lately() {
        let (mut sessions, files, mail) = (Sessions::default(), place("files"), place("mail"));
        assert_eq!(sessions.begin("bens", "user:ben", &files), None);
        let most = limit::GATEWAY_SESSIONS_PER_PRINCIPAL;
        assert!((0..most).all(|one| sessions.begin(&one.to_string(), "user:anna", &files).is_none()));
        assert_eq!(sessions.begin("other", "user:anna", &mail), None, "of another service");
        assert!(sessions.is_of("0", "user:anna", &files) && !sessions.is_of("1", "user:ben", &files));
        assert!(!sessions.is_of("0", "user:anna", &mail));
        assert_eq!(sessions.begin("new", "user:anna", &files), Some(("1".to_owned(), files.clone())));
        assert!(sessions.is_of("bens", "user:ben", &files) && !sessions.is_of("1", "user:anna", &files));
    }

    #[test]
    fn where_there_are_too_many_whoever_has_most_loses_one_and_it_is_ended() {
        let (mut sessions, files) = (Sessions::default(), place("files"));
        assert_eq!(sessions.begin("bens", "user:ben", &files), None);
        for one in 0..SESSIONS_MAX - 3 {
            assert_eq!(sessions.begin(&format!("{one}"), &format!("user:{one}"), &files), None);
        }
        assert_eq!(sessions.begin("anna 1", "user:anna", &files), None);
        assert_eq!(sessions.begin("anna 2", "user:anna", &files), None);
        assert_eq!(sessions.begin("new", "user:carl", &files), Some(("anna 1".to_owned(), files.clone())));
        assert!(sessions.is_of("bens", "user:ben", &files));
        // Of those that have as many: who has used theirs least lately, and never the newest.
        assert_eq!(sessions.begin("newer", "user:dora", &files), Some(("0".to_owned(), files.clone())));
        assert!(sessions.is_of("newer", "user:dora", &files));
    }

    #[test]
    fn what_listens_is_known_by_its_method_however_it_is_written() {
        assert!(listens(br#"{"id":1,"method":"subscriptions\/listen","jsonrpc":"2.0"}"#));
        assert!(!listens(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#) && !listens(b""));
    }
}
