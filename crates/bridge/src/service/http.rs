//! A server of MCP over HTTP (Streamable HTTP): each message is a request to one address, what comes back is read without being kept. An agent that speaks
//! A2A is another such (`agent.rs`).
//!
//! ```text
//!   hand ─► POST ─► JSON           ─► Answer
//!                ─► event stream   ─► Part, Part, Answer     broken off: GET with Last-Event-ID goes on
//!           GET  ─► event stream   ─► Aside                  one for each session, once it was begun
//!   end  ─► DELETE
//! ```

mod agent;
mod body;
mod events;
mod exchange;
mod plain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuncio_proto::call::Head;
use nuncio_proto::ids::AgentId;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use self::body::{Handed, Outgoing};
use self::plain::Plain;
use super::{Ask, Base, NotHanded, Of, Said, lock};
use crate::config::Upstream;
use crate::jsonrpc::{Envelope, Id, Kind};
use crate::mcp::{self, Era};
use crate::under;
use crate::web;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const EVENTS: &str = "text/event-stream";
const EITHER: &str = "application/json, text/event-stream";

/// What of a message's fields goes on. What is not in here does not: `authorization` and cookies from afar are nothing to this server.
const FIELDS: [&str; 6] = ["accept", mcp::VERSION, mcp::METHOD, mcp::NAME, "traceparent", "tracestate"];
const PARAMETER: &str = "mcp-param-";

/// One address, and what of its sessions is known.
pub(super) struct Address {
    base: Base,
    upstream: Upstream,
    client: Client,
    /// Where it is spoken to without TLS.
    plain: Option<Arc<Plain>>,
    sessions: Mutex<Sessions>,
    /// Of an agent.
    interfaces: agent::Interfaces,
}

#[derive(Default)]
struct Sessions {
    of: HashMap<Of, Session>,
    over: bool,
}

/// A session of one peer at the address.
struct Session {
    known: Known,
    used: Instant,
    /// Requests whose answer has not ended.
    open: HashMap<u64, (Id, AbortHandle)>,
    /// What hears what belongs to no request.
    listener: Option<AbortHandle>,
    /// Messages go one after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What of a session is kept over a start of the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// What the server calls it.
    session: Option<String>,
    /// The version of the protocol that was agreed on.
    version: Option<String>,
}

impl Sessions {
    /// Of a peer that has as many as it may the one goes that it has not used for longest, if nothing of it is open: what was remembered brings it back.
    fn make_room(&mut self, of: &Of, max: usize) -> Result<(), NotHanded> {
        let theirs = self.of.iter().filter(|(known, _)| known.from == of.from);
        if theirs.clone().count() < max {
            return Ok(());
        }
        // One whose turn is taken is about to ask.
        let is_idle = |session: &Session| session.open.is_empty() && session.turn.try_lock().is_ok();
        let idle = theirs.filter(|(_, session)| is_idle(session)).min_by_key(|(_, session)| session.used);
        let idle = idle.map(|(of, _)| *of).ok_or(NotHanded::Busy("too many sessions of one agent at once"))?;
        self.of.remove(&idle);
        Ok(())
    }
}

impl Session {
    fn new(known: Known) -> Self {
        Self { known, used: Instant::now(), open: HashMap::new(), listener: None, turn: Arc::default() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open.values().map(|(_, task)| task).chain(&self.listener).for_each(AbortHandle::abort);
    }
}

impl Address {
    pub(super) fn new(base: Base, upstream: Upstream) -> Result<Self, String> {
        // No patience with an answer: a tool takes its time.
        let client = web::client().connect_timeout(base.bounds.patience).build().map_err(|error| error.to_string())?;
        let plain = (upstream.url.scheme() == "http").then(|| Plain::new(base.bounds.patience));
        Ok(Self { base, upstream, client, plain, sessions: Mutex::default(), interfaces: agent::Interfaces::default() })
    }

    pub(super) async fn hand(self: &Arc<Self>, ask: Ask) -> Result<(), NotHanded> {
        if let Some(told) = self.cancelled(&ask) {
            if let Some(key) = told {
                let why = "it was cancelled by its asker".to_owned();
                let _ = self.base.said.send(Said::Lost { key, why }).await;
            }
            return Ok(());
        }
        // To an agent nothing is said that wants no answer.
        if self.is_agent() && !ask.envelope.is_request() {
            return Ok(());
        }
        let target = self.target(&ask).await?;
        let turn = self.turn(&ask.of)?;
        // contracts/call.md X9: requests of no session go beside each other.
        let _mine = if ask.of.session.is_some() { Some(turn.lock().await) } else { None };
        let (reply, handed) = oneshot::channel();
        self.begin(ask, target, Handed::new(reply)).await?;
        handed.await.unwrap_or(Err(NotHanded::Ended))
    }

    pub(super) async fn end(&self, of: Of) {
        let session = lock(&self.sessions).of.remove(&of);
        if let Some(session) = session {
            self.end_session(of, session).await;
        }
    }

    pub(super) fn end_peer(self: &Arc<Self>, from: &AgentId) {
        let theirs = |of: &Of, _: &mut Session| of.from == *from;
        let sessions: Vec<_> = lock(&self.sessions).of.extract_if(theirs).collect();
        for (of, session) in sessions {
            let address = Arc::clone(self);
            drop(tokio::spawn(async move { address.end_session(of, session).await }));
        }
    }

    async fn end_session(&self, of: Of, session: Session) {
        let known = session.known.clone();
        self.gone(of, session, "the session was ended").await;
        if known.session.is_some() {
            let request = self.request(Method::DELETE, self.upstream.url.clone(), &known, &Head::default());
            let _ = timeout(self.base.bounds.grace, self.send(request)).await;
        }
    }

    pub(super) fn give_up(&self, of: &Of, key: u64) {
        let mut sessions = lock(&self.sessions);
        if let Some((_, task)) = sessions.of.get_mut(of).and_then(|session| session.open.remove(&key)) {
            task.abort();
        }
    }

    /// Sessions stay at the address, and come back.
    pub(super) async fn stop(&self) {
        let sessions = {
            let mut sessions = lock(&self.sessions);
            sessions.over = true;
            std::mem::take(&mut sessions.of)
        };
        for (of, session) in sessions {
            self.gone(of, session, "the service was stopped").await;
        }
    }

    async fn gone(&self, of: Of, session: Session, why: &str) {
        let keys: Vec<u64> = session.open.keys().copied().collect();
        drop(session);
        if !keys.is_empty() {
            let _ = self.base.said.send(Said::Gone { of, keys, why: why.to_owned() }).await;
        }
    }

    /// Without a session a request is cancelled by ending its exchange: its id says nothing to the server, where others have the same. `Some`: it is
    /// such a message; the key of the request that it names and that is meant, if it is open.
    fn cancelled(&self, ask: &Ask) -> Option<Option<u64>> {
        if ask.of.session.is_some() || ask.envelope.method != "notifications/cancelled" {
            return None;
        }
        let mut sessions = lock(&self.sessions);
        let Some(session) = sessions.of.get_mut(&ask.of) else { return Some(None) };
        let open = &mut session.open;
        let request = ask.envelope.params.request.as_ref();
        let key = Some(ask.key).filter(|key| open.get(key).is_some_and(|(id, _)| Some(id) == request));
        if let Some((_, task)) = key.and_then(|key| open.remove(&key)) {
            task.abort();
        }
        Some(key)
    }

    /// The session's place, made if there is none.
    fn turn(&self, of: &Of) -> Result<Arc<tokio::sync::Mutex<()>>, NotHanded> {
        let mut sessions = lock(&self.sessions);
        if sessions.over {
            return Err(NotHanded::Ended);
        }
        if let Some(session) = sessions.of.get_mut(of) {
            session.used = Instant::now();
            return Ok(Arc::clone(&session.turn));
        }
        sessions.make_room(of, self.base.config.sessions_per_peer)?;
        let kept = of.session.and_then(|_| (self.base.remembered)(of));
        let session = Session::new(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default());
        let turn = Arc::clone(&session.turn);
        sessions.of.insert(*of, session);
        Ok(turn)
    }

    /// Begins an exchange, which goes on by itself.
    async fn begin(self: &Arc<Self>, ask: Ask, to: (Method, Url), handed: Handed) -> Result<(), NotHanded> {
        let begins = ask.envelope.method == "initialize" && ask.envelope.is_request();
        let known = self.known(&ask.of).filter(|_| !begins).unwrap_or_default();
        let fields = if self.is_agent() { agent::fields(&ask) } else { fields(&ask, &known) };
        // What the policy read as JSON is said to be that, and nothing else.
        let kind = HeaderValue::from_static("application/json");
        let body = Outgoing::of(&ask.message.body, handed.clone());
        let body = body.map_err(|error| NotHanded::NotStarted(error.to_string()))?;
        let request = self.request(to.0, to.1, &known, &fields).headers(token(&ask));
        let request = match ask.envelope.is_card() {
            true => request,
            false => request.header(header::CONTENT_TYPE, kind).body(reqwest::Body::wrap(body)),
        };
        let (of, key) = (ask.of, ask.key);
        let asks = ask.envelope.is_request();
        let id = asks.then(|| ask.envelope.id.clone().unwrap_or(Id::NULL));
        let listens = known.session.is_some() && of.session.is_some() && !asks;
        {
            let mut sessions = lock(&self.sessions);
            let session = sessions.of.get_mut(&of).ok_or(NotHanded::Ended)?;
            if asks && session.open.len() >= self.base.bounds.open_max {
                return Err(NotHanded::Busy("too many requests of one session at once"));
            }
            if of.session.is_some() && session.open.values().any(|(open, _)| Some(open) == id.as_ref()) {
                return Err(NotHanded::Id("a request of this id is open in the session"));
            }
            let task = tokio::spawn(exchange::run(Arc::clone(self), of, key, ask.envelope, request, handed));
            if let Some(id) = id {
                session.open.insert(key, (id, task.abort_handle()));
            }
            if listens && session.listener.as_ref().is_none_or(AbortHandle::is_finished) {
                session.listener = Some(tokio::spawn(exchange::listen(Arc::clone(self), of)).abort_handle());
            }
        }
        Ok(())
    }

    /// Sends a request: its answer's head.
    ///
    /// # Errors
    /// Why there is none, for people. An address may have what its owner shows to nobody: it is not in there.
    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        match &self.plain {
            Some(plain) => plain.send(request.build().map_err(exchange::without_address)?).await,
            None => request.send().await.map_err(exchange::without_address),
        }
    }

    fn known(&self, of: &Of) -> Option<Known> {
        lock(&self.sessions).of.get(of).map(|session| session.known.clone())
    }

    /// A request with what belongs to every one.
    fn request(&self, method: Method, to: Url, known: &Known, fields: &Head) -> RequestBuilder {
        let mut headers: HeaderMap =
            fields.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect();
        let own =
            [(SESSION, known.session.as_deref()), (header::AUTHORIZATION, self.upstream.authorization.as_deref())];
        for (name, value) in own {
            if let Some(mut value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        self.client.request(method, to).headers(headers)
    }
}

/// The letter's own token, which was verified; no other.
// contracts/call.md X44.
fn token(ask: &Ask) -> HeaderMap {
    let value = ask.token.as_deref().and_then(|token| HeaderValue::from_str(token).ok());
    let sensitive = |mut value: HeaderValue| {
        value.set_sensitive(true);
        (HeaderName::from_static(under::FIELD), value)
    };
    value.map(sensitive).into_iter().collect()
}

/// The fields of a message: those that may travel on, and those that MCP wants beside what the message says, where whoever wrote it had no HTTP.
fn fields(ask: &Ask, known: &Known) -> Head {
    let may = |name: &str| FIELDS.contains(&name) || name.starts_with(PARAMETER);
    let mut fields = Head::of(ask.message.head.iter().filter(|(name, _)| may(name)));
    let envelope = &ask.envelope;
    let alone = mcp::era(&ask.message.head, envelope) == Era::Alone;
    let method = Some(envelope.method.clone()).filter(|method| alone && !method.is_empty());
    let wanted = [
        ("accept", Some(EITHER.to_owned())),
        (mcp::VERSION, envelope.params.meta_version.clone().or_else(|| known.version.clone())),
        (mcp::METHOD, method),
        (mcp::NAME, mcp::named(envelope).filter(|_| alone).map(mcp::encoded)),
    ];
    for (name, value) in wanted {
        if let Some(value) = value.filter(|_| fields.get(name).is_none()) {
            fields.set(name, &value);
        }
    }
    fields
}

/// A wait before a stream is asked for again, where the server names none.
const AGAIN: Duration = Duration::from_secs(1);

/// What a server may ask for is bounded both ways.
fn patience(retry_ms: Option<u64>) -> Duration {
    retry_ms.map_or(AGAIN, Duration::from_millis).clamp(Duration::from_millis(50), Duration::from_secs(30))
}

fn is_answer(envelope: &Envelope, id: Option<&Id>) -> bool {
    matches!(envelope.kind, Kind::Response { .. }) && envelope.id.as_ref() == id
}
