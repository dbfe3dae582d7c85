//! What a program meets that speaks Streamable HTTP: one service of another agent, on loopback (contracts/call.md section 6).
//!
//! ```text
//!   POST ─▶ guard ─▶ read ─▶ Line::query ─▶ its answer
//!                        └─▶ Line::say ─▶ its answer, or a stream: parts, then the answer
//!   GET  ─▶ guard ─▶ what belongs to no request; or, behind `Last-Event-ID`, the rest of one request's stream
//! ```
//!
//! A message's bytes are the letter's payload and the letter's payload is the message: neither is touched. A session's id is the one that its letters
//! name, so a front that begins anew knows its clients again.

mod agent;
mod call;
mod exchange;
pub(crate) mod fault;
pub(crate) mod flush;
pub(crate) mod guard;
mod out;
mod places;
mod post;
pub(crate) mod reading;
mod serve;
mod session;
mod sse;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use nuncio_proto::call::What;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::{CallSessionId, LetterId};
use nuncio_proto::time::UnixMillis;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::hooks::Own;
use crate::line::{Asks, Heard, HeardWhat, Line, Say};
use crate::message::Message;
use crate::reads;
pub(crate) use call::Called;
use exchange::{Accepts, Era, Exchange, Source};
use fault::Fault;
use flush::Marks;
pub use guard::Guard;
use out::Out;
pub(crate) use places::Address;
pub use post::Room;
pub(crate) use post::{BODY_PATIENCE, SESSION, gather};
use post::{Named, Posted, Refused};
use reading::{Kind, RpcId};
pub use serve::serve;
pub(crate) use serve::{Bounds, serve_with};
pub use session::{GRACE_BROKEN, GRACE_ENDED};
use session::{Phase, Session};

/// Sessions of clients that are known at once; the one that is idle longest is given up for another.
const SESSIONS_MAX: usize = 256;
/// Messages of a service up to this length in bytes are looked at for what they ask.
pub(crate) const LOOKED_AT: u64 = 1 << 20;

/// The front of one service of another agent. The only one of its `Line`: answers to requests without session that it did not ask are given up.
pub struct Front<L>(Arc<Inner<L>>);

struct Inner<L> {
    line: L,
    guard: Guard,
    room: Room,
    sessions: Mutex<HashMap<Option<CallSessionId>, Arc<Session<L>>>>,
    stopping: CancellationToken,
    /// Signs cards whose own signature was good.
    signer: Option<SigningKey>,
    /// Webhooks of its clients.
    hooks: Option<Own>,
}

impl<L> Clone for Front<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Line> Front<L> {
    /// Of a service. When `stopping` is cancelled, streams end, and what they did not bring stays with the agent.
    #[must_use]
    pub fn new(line: L, guard: Guard, stopping: CancellationToken) -> Self {
        Self::signing(line, guard, stopping, None)
    }

    /// The same, with the key that signs what is served in the stead of a signed card.
    #[must_use]
    pub fn signing(line: L, guard: Guard, stopping: CancellationToken, signer: Option<SigningKey>) -> Self {
        Self::serving(line, guard, stopping, signer, None)
    }

    /// The same, with webhooks of its clients.
    pub(crate) fn serving(
        line: L,
        guard: Guard,
        stopping: CancellationToken,
        signer: Option<SigningKey>,
        hooks: Option<Own>,
    ) -> Self {
        let (room, sessions) = (Room::default(), Mutex::default());
        Self(Arc::new(Inner { line, guard, room, sessions, stopping, signer, hooks }))
    }

    /// Its connection names these webhooks from now on.
    pub(crate) fn allow_hooks(&self, allowed: &BTreeMap<String, String>) {
        self.0.hooks.iter().for_each(|own| own.allow(allowed));
    }

    /// Its connection is over: so are its clients' webhooks.
    pub(crate) async fn end_hooks(&self) {
        if let Some(own) = &self.0.hooks {
            own.end(&self.0.line).await;
        }
    }

    /// What answers; [`serve()`] serves it.
    pub fn router(&self) -> Router {
        Router::new().fallback(any(answer::<L>)).with_state(self.clone())
    }

    /// Answers one request of a connection that [`serve()`] serves; other routers can hand requests on.
    pub async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        self.route(&parts, body).await.unwrap_or_else(|Refused(fault, id)| fault.response(id.as_deref()))
    }

    async fn route(&self, parts: &Parts, body: Body) -> Result<Response, Refused> {
        let behind = self.0.guard.check(parts.uri.path(), &parts.headers)?;
        let unserved = || Fault::busy("this connection does not say when it was flushed");
        let marks = parts.extensions.get::<Marks>().cloned().ok_or_else(unserved)?;
        if !behind.is_empty() {
            return self.agent(behind, parts, body, marks).await;
        }
        if parts.method == Method::POST {
            let posted = post::read(&parts.headers, body, &self.0.room).await?;
            return self.post(posted, marks).await;
        }
        // Without sessions there is but POST.
        if !matches!(parts.method, Method::GET | Method::DELETE) || post::era(&parts.headers, None)? == Era::Requests {
            return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response());
        }
        let Named::This(id) = post::named(&parts.headers)? else {
            return Err(Fault::malformed("the Mcp-Session-Id is missing").into());
        };
        if parts.method == Method::DELETE { self.delete(id).await } else { self.get(id, &parts.headers, marks).await }
    }

    async fn post(&self, posted: Posted, marks: Marks) -> Result<Response, Refused> {
        let rpc_id = match &posted.reading.kind {
            Kind::Request(id) => Some(id.raw().to_owned()),
            Kind::Notification | Kind::Response(_) => None,
        };
        let (session, is_new) = self.session_of(&posted).await.map_err(|fault| Refused(fault, rpc_id.clone()))?;
        let Some(rpc_id) = rpc_id else { return notice(&session, posted).await };
        let (request, (mut out, answer)) = (letter_id(), Out::new(marks));
        let method = posted.reading.method.filter(|method| reads::may(method));
        let asks = method.map(|method| Asks { method, name: posted.reading.name });
        if let (true, Some(id)) = (is_new, session.id) {
            out.set(SESSION, &id.to_string());
        }
        let say = Say {
            id: request,
            what: What::Request,
            session: session.id,
            reply_to: None,
            message: Message { head: posted.head, ..Message::json(posted.bytes) },
            note: rpc_id.clone().into_bytes(),
            under: posted.under.clone(),
        };
        let takes_asides = posted.accepts.stream && session.id.is_some();
        let (ticket, rx, last) = session.open(request, takes_asides);
        let source = Source::Shared(rx, last);
        let (era, accepts) = (posted.era, posted.accepts);
        let (id, begun) = (Some(rpc_id), Instant::now());
        let (under, card_base) = (posted.under, posted.card_base);
        let exchange =
            Exchange { session, ticket, id, era, accepts, out, source, under, card_base, answered: false, begun };
        // Goes on when the client goes: what is said is said.
        tokio::spawn(exchange.ask(say, asks));
        Ok(answered(answer).await)
    }

    /// The session of a message, and whether it begins with it.
    async fn session_of(&self, posted: &Posted) -> Result<(Arc<Session<L>>, bool), Fault> {
        if matches!(posted.era, Era::Tasks { .. }) && !matches!(posted.reading.kind, Kind::Request(_)) {
            return Err(Fault::malformed("an agent is sent requests alone"));
        }
        if !matches!(posted.era, Era::Sessions { .. }) {
            return match posted.reading.kind {
                Kind::Response(_) => Err(Fault::malformed("a server of this revision asks nothing")),
                _ => Ok((self.session(None).await?, false)),
            };
        }
        let begins = posted.reading.method.as_deref() == Some("initialize");
        match (posted.session, &posted.reading.kind) {
            (Named::This(id), _) => Ok((self.session(Some(id)).await?, false)),
            (Named::No, Kind::Request(_)) if begins => Ok((self.session(Some(session_id()?)).await?, true)),
            (Named::No, _) => Err(Fault::malformed("the Mcp-Session-Id is missing: begin with `initialize`")),
        }
    }

    async fn get(&self, id: CallSessionId, headers: &HeaderMap, marks: Marks) -> Result<Response, Refused> {
        if !post::accepts(headers).stream {
            let fault = Fault::malformed("what comes is text/event-stream: accept it");
            return Err(fault.with(StatusCode::NOT_ACCEPTABLE).into());
        }
        let bad = || Fault::malformed("Last-Event-ID is no event of this service");
        let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(exchange::event).ok_or_else(bad));
        let (last, era) = (last.transpose()?, post::era(headers, None)?);
        let primes = era == (Era::Sessions { primes: true });
        let session = self.session(Some(id)).await?;
        let (mut out, answer) = Out::new(marks);
        let Some((Some(request), after)) = last else {
            let after = last.map(|(_, after)| after);
            tokio::spawn(exchange::asides(session, after, primes, out));
            return Ok(answered(answer).await);
        };
        let source = Source::Own(session.listen(Some(after)).await.map_err(Fault::from)?);
        let ticket =
            session.reopen(request, after).ok_or_else(|| Fault::malformed("nothing is left of that stream"))?;
        let _ = out.aside(bytes::Bytes::from_static(sse::COMMENT)).await;
        let accepts = Accepts { json: false, stream: true };
        let exchange = Exchange {
            session,
            ticket,
            id: None,
            era,
            accepts,
            out,
            source,
            under: None,
            card_base: None,
            answered: false,
            begun: Instant::now(),
        };
        tokio::spawn(exchange.go_on());
        Ok(answered(answer).await)
    }

    async fn delete(&self, id: CallSessionId) -> Result<Response, Refused> {
        self.end(id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Ends a session on both sides.
    pub(crate) async fn end(&self, id: CallSessionId) -> Result<(), Fault> {
        let session = self.session(Some(id)).await?;
        let say = Say {
            id: letter_id(),
            what: What::End,
            session: Some(id),
            reply_to: None,
            message: Message::json(bytes::Bytes::new()),
            note: Vec::new(),
            under: None,
        };
        session.line.say(say).await.map_err(Fault::from)?;
        // It stays as one that is over: what is asked under its id is not said any more.
        session.end();
        session.closing.cancel();
        Ok(())
    }

    /// A session that lives. One that is not known here is heard from now on: whether there is one, the service's side says.
    async fn session(&self, id: Option<CallSessionId>) -> Result<Arc<Session<L>>, Fault> {
        let mut sessions = self.0.sessions.lock().await;
        if let Some(known) = sessions.get(&id) {
            known.touch();
            match known.phase() {
                Phase::Open => return Ok(Arc::clone(known)),
                Phase::Ended => return Err(Fault::gone("the session is over: begin a new one")),
                Phase::Dead => drop(sessions.remove(&id)),
            }
        }
        if sessions.len() >= SESSIONS_MAX {
            make_room(&mut sessions)?;
        }
        let session = Session::new(id, self.0.line.clone(), self.0.stopping.clone());
        let rx = session.listen(None).await?;
        tokio::spawn(Arc::clone(&session).pump(rx));
        sessions.insert(id, Arc::clone(&session));
        Ok(session)
    }
}

async fn answer<L: Line>(State(front): State<Front<L>>, request: Request) -> Response {
    front.answer(request).await
}

fn make_room<L: Line>(sessions: &mut HashMap<Option<CallSessionId>, Arc<Session<L>>>) -> Result<(), Fault> {
    let idle = sessions.iter().filter(|(id, _)| id.is_some());
    let idle = idle.filter_map(|(id, session)| Some((session.idle_since()?, *id))).min();
    let longest = idle.and_then(|(_, id)| sessions.remove(&id));
    let longest = longest.ok_or_else(|| Fault::busy("more sessions at once than are taken"))?;
    longest.closing.cancel();
    Ok(())
}

/// A message that wants no answer: on disk when it is accepted.
async fn notice<L: Line>(session: &Session<L>, posted: Posted) -> Result<Response, Refused> {
    // Whoever asks without session cancels by leaving; by an id that others choose too, nobody does.
    let cancels = posted.reading.method.as_deref() == Some("notifications/cancelled");
    if posted.era == Era::Requests && cancels {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let reply_to = match &posted.reading.kind {
        Kind::Response(Some(id)) => session.asked(id),
        _ => None,
    };
    let say = Say {
        id: letter_id(),
        what: What::Notice,
        session: session.id,
        reply_to,
        message: Message { head: posted.head, ..Message::json(posted.bytes) },
        note: Vec::new(),
        under: posted.under,
    };
    session.line.say(say).await.map_err(|error| Fault::from(error).of_notice())?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn answered(answer: oneshot::Receiver<Response>) -> Response {
    let none = |_| Fault::busy("there is no answer").response(None);
    answer.await.unwrap_or_else(none)
}

/// The id of a request with which a service asks the client.
async fn asks(heard: &Heard) -> Option<RpcId> {
    let (HeardWhat::Part(_, message) | HeardWhat::Aside(message)) = &heard.what else { return None };
    let body = message.body.clone();
    if body.len().ok()? > LOOKED_AT {
        return None;
    }
    // Of a file, it blocks.
    let read = move || body.reader().ok().and_then(|source| reading::read(source).ok());
    let reading = match message.body.is_in_memory() {
        true => read(),
        false => tokio::task::spawn_blocking(read).await.ok().flatten(),
    };
    match reading?.kind {
        Kind::Request(id) => Some(id),
        Kind::Notification | Kind::Response(_) => None,
    }
}

/// A new letter's id.
pub(crate) fn letter_id() -> LetterId {
    let mut random = [0; 10];
    // Without randomness of the system the ids of one millisecond are one.
    let _ = getrandom::fill(&mut random);
    LetterId::new(now(), random)
}

/// The clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn session_id() -> Result<CallSessionId, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::busy(format!("the system has no randomness: {error}")))?;
    Ok(CallSessionId::from_bytes(bytes))
}
