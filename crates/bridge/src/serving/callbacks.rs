//! The serving side of webhooks: an address of this machine that an agent of A2A calls, and what comes there as a letter (contracts/call.md X47).
//!
//! ```text
//!   nuncio:callback:SESSION ─► http://127.0.0.1:PORT/callback/SERVICE/PEER/SESSION/MAC ─► the agent
//!   aside in SESSION ◄─ its MAC is ours ◄─ POST ◄─ the agent
//! ```
//!
//! Nothing is kept of one: its address says whose it is, under a key that the home keeps. It is good at the agent that it was given to, until its peer
//! is removed, and while that may anything there as it was given: for itself, or in somebody's name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::routing::any;
use nuncio::Called;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{Head, ServiceName};
use nuncio_proto::crypto::hmac_sha256;
use nuncio_proto::ids::{AgentId, CallSessionId};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Offered, Serving};
use crate::a2a;
use crate::config::{Others, Runs, put, read_private};
use crate::front::guard::{hosts, is_here};
use crate::front::{Room, gather};
use crate::jsonrpc::Envelope;
use crate::message::{Body, Message};
use crate::policy::{self, Asker};
use crate::service::Of;

/// Longest message in which addresses are put in the stead of others.
const SWAPPED_MAX: u64 = 256 << 10;

/// The file's name in the home.
const FILE: &str = "callbacks.toml";
/// Before a port that was taken is tried again.
const TAKEN_PAUSE: Duration = Duration::from_secs(5);

/// Where an agent's callbacks stand: it stays, so that addresses that were given away do.
pub(super) struct Callbacks {
    port: u16,
    key: Zeroizing<[u8; 32]>,
    room: Room,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    port: u16,
    key: String,
}

impl Callbacks {
    /// Those of a home; made where there are none, if they are `wanted`.
    pub(super) fn of(home: &Path, wanted: bool) -> std::io::Result<Option<Self>> {
        let whole = match read_private(&home.join(FILE), Others::MayNotRead) {
            Ok(text) => toml::from_str::<Whole>(&text).map_err(|_| damaged())?,
            Err(crate::config::ConfigError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                if !wanted {
                    return Ok(None);
                }
                let mut key = Zeroizing::new([0; 32]);
                getrandom::fill(key.as_mut_slice()).map_err(std::io::Error::other)?;
                let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
                let whole = Whole { port, key: data_encoding::HEXLOWER.encode(key.as_slice()) };
                put(home, FILE, &toml::to_string(&whole).map_err(std::io::Error::other)?)?;
                whole
            }
            Err(error) => return Err(std::io::Error::other(error)),
        };
        let key = data_encoding::HEXLOWER.decode(whole.key.as_bytes()).ok().and_then(|key| key.try_into().ok());
        let key = Zeroizing::new(key.ok_or_else(damaged)?);
        Ok(Some(Self { port: whole.port, key, room: Room::default() }))
    }

    /// The address for what a caller's agent named, of a service at an address of its own.
    fn url(&self, to: &To, of: &Of, given: Given) -> Option<String> {
        let place = place(to.service, &of.from, of.session?);
        Some(format!("http://127.0.0.1:{}{place}/{}", self.port, self.mac(&place, to, given)))
    }

    fn mac(&self, place: &str, to: &To, given: Given) -> String {
        // None of them has a byte that is zero.
        let parts = [b"nuncio/callback/2", place.as_bytes(), &[0], given.word(), &[0], to.agent.as_str().as_bytes()];
        let removals = if to.removals > 0 { format!("\0{}", to.removals) } else { String::new() };
        let parts = [&parts[..], &[removals.as_bytes()]].concat();
        data_encoding::HEXLOWER.encode(&hmac_sha256(self.key.as_slice(), &parts))
    }

    /// By what right a path was given away, if this agent has: its place is of this service and peer as they are now.
    fn given(&self, path: &str, to: &To) -> Option<Given> {
        let (place, mac) = path.rsplit_once('/')?;
        let is_ours = |given: &Given| self.mac(place, to, *given).as_bytes().ct_eq(mac.as_bytes()).into();
        [Given::Own, Given::Token].into_iter().find(is_ours)
    }
}

/// To what an address leads, as it is now.
#[derive(Clone, Copy)]
struct To<'a> {
    service: &'a ServiceName,
    /// Where it is asked.
    agent: &'a Url,
    /// How often the peer was removed here.
    removals: u32,
}

/// Whose a path says that it is.
fn named(path: &str) -> Option<(ServiceName, Of)> {
    let (place, _) = path.rsplit_once('/')?;
    let mut parts = place.strip_prefix("/callback/")?.split('/');
    let (service, from) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let session = a2a::session_of(parts.next()?)?;
    Some((service, Of { from, session: Some(session) }))
}

/// By what right the message came in which an address was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// What its sender may for itself.
    Own,
    /// A token: what its owner lets tokens allow.
    Token,
}

impl Given {
    const fn word(self) -> &'static [u8] {
        match self {
            Self::Own => b"own",
            Self::Token => b"token",
        }
    }
}

/// Where a service is asked, if that is an address.
fn agent_of(offered: &Offered) -> Option<&Url> {
    if let Runs::Url(upstream) = &offered.config.runs { Some(&upstream.url) } else { None }
}

fn place(service: &ServiceName, from: &AgentId, session: CallSessionId) -> String {
    format!("/callback/{service}/{from}/{session}")
}

fn damaged() -> std::io::Error {
    std::io::Error::other(
        "callbacks.toml is not what this program writes: take it away, and webhooks that were given are over",
    )
}

/// Hears callbacks until the agent stops; while another program has the port, waits.
pub(super) async fn hear(callbacks: Arc<Callbacks>, serving: Weak<Serving>, stopping: CancellationToken) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, callbacks.port));
    let app = Router::new().fallback(any(answer)).with_state((callbacks, serving));
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return crate::front::serve(listener, app, stopping).await,
            Err(error) => tracing::warn!(%address, %error, "webhooks are not heard: another program has their port"),
        }
        if stopping.run_until_cancelled(tokio::time::sleep(TAKEN_PAUSE)).await.is_none() {
            return;
        }
    }
}

type Hears = (Arc<Callbacks>, Weak<Serving>);

async fn answer(State((callbacks, serving)): State<Hears>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    if is_here(&hosts(callbacks.port), &parts.headers).is_err() {
        return StatusCode::FORBIDDEN;
    }
    let Some(serving) = serving.upgrade() else { return StatusCode::NOT_FOUND };
    let Some((service, of, given)) = serving.callback_of(&callbacks, parts.uri.path()).await else {
        return StatusCode::NOT_FOUND;
    };
    if parts.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let bytes = match gather(body, &callbacks.room).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.status(),
    };
    if !is_json(bytes.clone()).await {
        return StatusCode::BAD_REQUEST;
    }
    let message = Message { head: Head::default(), body: Body::Bytes(bytes), ..Message::json("") };
    serving.called_back(&service, of, given, message).await
}

/// Whether it can be read: what is long, where that holds up nobody.
async fn is_json(bytes: bytes::Bytes) -> bool {
    let is_short = bytes.len() <= limit::PAYLOAD_INLINE_MAX;
    let read = move || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
    if is_short { read() } else { tokio::task::spawn_blocking(read).await.unwrap_or(false) }
}

impl Serving {
    /// Addresses that were given away before this start are heard.
    pub(super) fn call_back_again(self: &Arc<Self>) {
        if let Err(error) = self.callbacks(false) {
            tracing::warn!(%error, "webhooks are not heard");
        }
    }

    fn callbacks(self: &Arc<Self>, wanted: bool) -> std::io::Result<Option<Arc<Callbacks>>> {
        let mut known = super::lock(&self.callbacks);
        if known.is_none()
            && let Some(made) = Callbacks::of(&self.home, wanted)?.map(Arc::new)
        {
            tokio::spawn(hear(Arc::clone(&made), Arc::downgrade(self), self.stopping.clone()));
            *known = Some(made);
        }
        Ok(known.clone())
    }

    /// Whose a path is, if this agent has given it away, to a peer that it has not removed since, of a service that is offered at the same address.
    // contracts/call.md X47.
    async fn callback_of(&self, callbacks: &Callbacks, path: &str) -> Option<(ServiceName, Of, Given)> {
        let (service, of) = named(path)?;
        let agent = agent_of(&*self.offered(&service)?)?.clone();
        let removals = self.peer(&of.from).await?.removals;
        let given = callbacks.given(path, &To { service: &service, agent: &agent, removals })?;
        Some((service, of, given))
    }

    /// A message with addresses of this machine in the stead of those that its asker's agent named.
    pub(super) async fn with_callbacks(
        self: &Arc<Self>,
        called: &Called,
        offered: &Offered,
        envelope: &Envelope,
        message: Message,
    ) -> Result<Message, String> {
        let callbacks = self.callbacks(true).map_err(|error| error.to_string())?.ok_or("there are none")?;
        let (from, service, method) = (called.letter.from, &called.place.service, envelope.method.clone());
        let agent = agent_of(offered).ok_or("it has no address")?;
        let removals = self.peer(&from).await.ok_or("its sender is no peer any more")?.removals;
        let to = To { service, agent, removals };
        let given = if called.letter.grant.is_some() { Given::Token } else { Given::Own };
        // Read whole, it is many times as large.
        if message.body.len().map_err(|error| error.to_string())? > SWAPPED_MAX {
            return Err(format!("a message that names webhooks has at most {SWAPPED_MAX} bytes; it was not done"));
        }
        let _room = self.room.acquire(&from).await;
        let message = message.into_memory().await.map_err(|error| error.to_string())?;
        let Body::Bytes(bytes) = &message.body else { return Err("it is not in memory".to_owned()) };
        let mut whole: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let swapped = a2a::swap(&method, &mut whole, &mut |named| {
            let Some(session) = named.url.strip_prefix(a2a::CALLBACK).and_then(a2a::session_of) else {
                return Some(named.url.to_owned());
            };
            callbacks.url(&to, &Of { from, session: Some(session) }, given)
        });
        if !swapped {
            return Err("its webhooks cannot be read".to_owned());
        }
        Ok(Message { body: Body::Bytes(whole.to_string().into()), ..message })
    }

    /// An agent has called back.
    // contracts/call.md X47.
    async fn called_back(&self, service: &ServiceName, of: Of, given: Given, message: Message) -> StatusCode {
        if !self.is_called_back(service, &of.from, given).await {
            return StatusCode::NOT_FOUND;
        }
        match self.say_aside(service, &of, &message).await {
            Ok(()) => StatusCode::OK,
            Err(error) => {
                tracing::warn!(%service, %error, "what an agent called back with was not sent");
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether a peer may anything at a service now, by the right by which an address was given to it.
    async fn is_called_back(&self, service: &ServiceName, from: &AgentId, given: Given) -> bool {
        let Some(offered) = self.offered(service) else { return false };
        let Some(name) = self.peer_name(from).await else { return false };
        let own = Asker { agent: from, name: name.as_deref(), token: None, permit: None };
        match given {
            Given::Token => policy::is_heard(&offered.config, &Asker { token: Some(&offered.config.tokens), ..own }),
            Given::Own if policy::is_heard(&offered.config, &own) => true,
            Given::Own => {
                let permit = self.agent.permitted(*from, service.clone()).await.ok().flatten();
                policy::is_heard(&offered.config, &Asker { permit: permit.as_ref(), ..own })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

    #[test]
    fn an_address_is_of_one_session_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        assert!(Callbacks::of(home.path(), false).unwrap().is_none());
        let made = Callbacks::of(home.path(), true).unwrap().unwrap();
        let (service, from): (ServiceName, AgentId) = ("helper".parse().unwrap(), PEER.parse().unwrap());
        let of = Of { from, session: Some(CallSessionId::from_bytes([7; 16])) };
        let (agent, other): (Url, Url) =
            ("http://127.0.0.1:9/".parse().unwrap(), "http://127.0.0.1:8/".parse().unwrap());
        let to = To { service: &service, agent: &agent, removals: 0 };
        let path = |url: &str| url.strip_prefix(&format!("http://127.0.0.1:{}", made.port)).unwrap().to_owned();
        let own = path(&made.url(&to, &of, Given::Own).unwrap());
        let again = Callbacks::of(home.path(), true).unwrap().unwrap();
        assert_eq!((named(&own), again.given(&own, &to)), (Some((service.clone(), of)), Some(Given::Own)));
        assert_eq!(again.given(&own, &To { agent: &other, ..to }), None, "another agent of that name");
        assert_eq!(again.given(&own, &To { removals: 1, ..to }), None, "its peer was removed since");
        let anew = path(&made.url(&To { removals: 1, ..to }, &of, Given::Own).unwrap());
        let since = [0, 1, 2].map(|removals| again.given(&anew, &To { removals, ..to }));
        assert_eq!(since, [None, Some(Given::Own), None]);
        let by_token = path(&made.url(&to, &of, Given::Token).unwrap());
        assert_eq!(again.given(&by_token, &to), Some(Given::Token));
        for other in [
            own.replace("helper", "other"),
            own.replace("0707", "0708"),
            own[..own.len() - 1].to_owned(),
            own.rsplit_once('/').unwrap().0.to_owned(),
            "/".to_owned(),
        ] {
            assert_eq!(again.given(&other, &to), None, "{other}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let elsewhere = Callbacks::of(elsewhere.path(), true).unwrap().unwrap();
        assert_eq!(elsewhere.given(&own, &to), None, "another agent's");
    }
}
