//! One request and what comes of it, and the stream that belongs to no request.

use std::sync::Arc;

use nuncio_proto::call::Head;
use nuncio_proto::content_type::ContentType;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};

use super::super::{NotHanded, Of, Said, lock};
use super::agent;
use super::body::Handed;
use super::events::Events;
use super::{Address, EVENTS, Known, LAST_EVENT, SESSION, is_answer, patience};
use crate::a2a::{self, Seen};
use crate::jsonrpc::{self, Envelope, Reason};
use crate::message::{Body, Message};

/// Streams that are asked for again, one after the other, without anything new.
const TRIES: u32 = 5;

/// What an exchange is about.
struct Exchange {
    address: Arc<Address>,
    of: Of,
    key: u64,
    asked: Envelope,
}

/// Sends a message and says what comes back.
pub(super) async fn run(
    address: Arc<Address>,
    of: Of,
    key: u64,
    asked: Envelope,
    request: RequestBuilder,
    handed: Handed,
) {
    let exchange = Exchange { address, of, key, asked };
    // A notice has no answer to wait for.
    let request =
        if exchange.asked.is_request() { request } else { request.timeout(exchange.address.base.bounds.patience) };
    let said = match exchange.address.send(request).await {
        Ok(response) => {
            handed.tell(Ok(()));
            exchange.answered(response).await
        }
        Err(error) => {
            let why = format!("the service cannot be reached: {error}");
            if handed.tell(Err(NotHanded::NotStarted(why.clone()))) { None } else { Some(exchange.lost(why)) }
        }
    };
    let mine = {
        let mut sessions = lock(&exchange.address.sessions);
        sessions.of.get_mut(&of).is_some_and(|session| session.open.remove(&key).is_some())
    };
    // Whoever took it away has told what became of it.
    if let Some(said) = said.filter(|_| mine && exchange.asked.is_request()) {
        let _ = exchange.address.base.said.send(said).await;
    }
}

impl Exchange {
    /// What ends the request, after the parts were said.
    async fn answered(&self, response: Response) -> Option<Said> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && self.of.session.is_some() {
            self.address.forget(&self.of);
        }
        if !self.asked.is_request() {
            if !status.is_success() {
                tracing::debug!(service = %self.address.base.name, %status, "a notice was not taken");
            }
            return None;
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            // It is this agent that it does not know; the asker's program could ask its own user for a password that helps nothing.
            let why = "the service does not know the agent that offers it: its authorization_file is not good";
            let message = self.error(why);
            return Some(Said::Answer { key: self.key, message, remember: None });
        }
        let begun = self.begun(&response);
        if status.is_success() && is_stream(&response) {
            if self.address.is_agent() {
                return Some(self.parts(response).await);
            }
            return Some(self.stream(response, begun).await);
        }
        match self.whole(response).await {
            Ok(message) if self.asked.is_card() && status.is_success() => Some(self.card(message).await),
            // Nothing is what ends a stream.
            Ok(message) if self.address.is_agent() && message.body.len().ok() == Some(0) => Some(self.told(status)),
            Ok(message) if status.is_success() || self.is_answered_by(&message) => Some(self.last(message, begun)),
            Ok(_) => Some(self.told(status)),
            Err(why) => Some(self.lost(why)),
        }
    }

    /// A card with what was seen of its signatures.
    // contracts/call.md X45.
    async fn card(&self, mut message: Message) -> Said {
        let (body, keys) = (message.body.clone(), self.address.card_keys().to_vec());
        let looked = tokio::task::spawn_blocking(move || agent::seen(&body, &keys)).await;
        match looked.ok().flatten() {
            Some(Seen::Unchecked) => {}
            Some(Seen::Good { key, bare }) => {
                message.head.set(a2a::CHECKED, &key);
                bare.into_iter().for_each(|card| message.body = Body::Bytes(card.into()));
            }
            Some(Seen::Broken) => {
                let why = "the agent's card is signed, and not by a key that its owner named in `card_keys`";
                return self.refused(why);
            }
            None => return self.refused("the agent's card is too long, or cannot be read"),
        }
        self.last(message, None)
    }

    fn refused(&self, why: &str) -> Said {
        Said::Refused { key: self.key, message: jsonrpc::error(&jsonrpc::Id::NULL, Reason::Card, why, None) }
    }

    fn is_answered_by(&self, message: &Message) -> bool {
        let short = matches!(message.body, Body::Bytes(_));
        short && Envelope::of(message).is_ok_and(|envelope| is_answer(&envelope, self.asked.id.as_ref()))
    }

    /// A status without a message for this request: whoever asked over stdin sees no status, and waits for its id.
    fn told(&self, status: StatusCode) -> Said {
        let why = match status {
            StatusCode::NOT_FOUND if self.of.session.is_some() => {
                "the service does not know the session any more: begin anew".to_owned()
            }
            status => format!("the service answered {status}, and no message"),
        };
        let mut message = self.error(&why);
        if status != StatusCode::OK {
            message.head.set(":status", status.as_str());
        }
        Said::Answer { key: self.key, message, remember: None }
    }

    fn error(&self, why: &str) -> Message {
        jsonrpc::error(self.asked.id.as_ref().unwrap_or(&jsonrpc::Id::NULL), Reason::Gone, why, None)
    }

    /// What the server calls the session that this begins.
    fn begun(&self, response: &Response) -> Option<Known> {
        let begins = self.asked.method == "initialize" && self.of.session.is_some() && response.status().is_success();
        let session = response.headers().get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        begins.then_some(Known { session, version: None })
    }

    async fn stream(&self, response: Response, begun: Option<Known>) -> Said {
        let mut response = Some(response);
        let mut events = Events::new(self.address.base.spool.clone(), None);
        let mut tries = 0;
        loop {
            let before = events.last_id.clone();
            let why = match &mut response {
                Some(response) => match self.read(response, &mut events).await {
                    Ok(message) => return self.last(message, begun),
                    Err(why) => why,
                },
                None => "the service ended the stream of its answer".to_owned(),
            };
            tries = if events.last_id == before { tries + 1 } else { 0 };
            // Where the server named its events, it keeps what was not heard.
            if self.of.session.is_none() || events.last_id.is_none() || tries > TRIES {
                return self.lost(why);
            }
            tokio::time::sleep(patience(events.retry_ms)).await;
            let known = begun.clone().or_else(|| self.address.known(&self.of)).unwrap_or_default();
            response = match self.address.events_after(&known, events.last_id.as_deref()).await {
                Err(Some(status)) if status.is_client_error() => return self.lost(why),
                other => other.ok(),
            };
            events = events.again();
        }
    }

    /// Says what comes until the answer does.
    async fn read(&self, response: &mut Response, events: &mut Events) -> Result<Message, String> {
        loop {
            let event = events.next(response).await.map_err(|error| error.to_string())?;
            let event = event.ok_or_else(|| "the service ended the stream before its answer".to_owned())?;
            let Some((envelope, message)) = message(event.data).await.filter(|_| event.is_message) else { continue };
            if is_answer(&envelope, self.asked.id.as_ref()) {
                return Ok(message);
            }
            if !envelope.is_response() {
                let _ = self.address.base.said.send(Said::Part { key: self.key, message }).await;
            }
        }
    }

    /// What an agent's stream brings: each event when it comes, and that it has ended.
    // contracts/call.md X34.
    async fn parts(&self, mut response: Response) -> Said {
        let mut head = agent::told(&response);
        let mut events = Events::new(self.address.base.spool.clone(), None);
        loop {
            let event = match events.next(&mut response).await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    let message = Message { head, ..Message::json(bytes::Bytes::new()) };
                    return Said::Answer { key: self.key, message, remember: None };
                }
                Err(why) => return self.lost(format!("the stream of the answer broke: {why}")),
            };
            let Some((_, message)) = message(event.data).await else { continue };
            let message = Message { head: std::mem::take(&mut head), ..message };
            let _ = self.address.base.said.send(Said::Part { key: self.key, message }).await;
        }
    }

    async fn whole(&self, mut response: Response) -> Result<Message, String> {
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = kind.and_then(|kind| kind.parse().ok()).unwrap_or(ContentType::JSON);
        let mut head = if self.address.is_agent() { agent::told(&response) } else { Head::default() };
        let mut spool = self.address.base.spool.begin();
        while let Some(piece) = response.chunk().await.map_err(without_address)? {
            spool.push(&piece).await.map_err(|error| error.to_string())?;
        }
        if status != StatusCode::OK {
            head.set(":status", status.as_str());
        }
        Ok(Message { head, content_type, body: spool.end().await.map_err(|error| error.to_string())? })
    }

    fn last(&self, message: Message, begun: Option<Known>) -> Said {
        let remember = begun.and_then(|known| {
            let known = Known { version: agreed(&message), ..known };
            let kept = serde_json::to_vec(&known).ok();
            if let Some(session) = lock(&self.address.sessions).of.get_mut(&self.of) {
                session.known = known;
            }
            kept
        });
        Said::Answer { key: self.key, message, remember }
    }

    fn lost(&self, why: String) -> Said {
        Said::Lost { key: self.key, why }
    }
}

impl Address {
    /// The server knows the session no more: its client begins anew.
    fn forget(&self, of: &Of) {
        if let Some(session) = lock(&self.sessions).of.get_mut(of) {
            session.known = Known::default();
            session.listener.take().iter().for_each(tokio::task::AbortHandle::abort);
        }
    }

    /// Asks for a stream of what belongs to no request, or for what comes behind an event.
    async fn events_after(&self, known: &Known, last_id: Option<&str>) -> Result<Response, Option<StatusCode>> {
        let mut fields = Head::of([("accept", EVENTS)]);
        if let Some(version) = &known.version {
            fields.set(crate::mcp::VERSION, version);
        }
        let mut request = self.request(Method::GET, self.upstream.url.clone(), known, &fields);
        if let Some(last_id) = last_id {
            request = request.header(LAST_EVENT, last_id);
        }
        let response = self.send(request).await.map_err(|_| None)?;
        if response.status().is_success() && is_stream(&response) { Ok(response) } else { Err(Some(response.status())) }
    }
}

/// Hears what belongs to no request while the session lives: not where the server offers no such stream.
pub(super) async fn listen(address: Arc<Address>, of: Of) {
    let (mut last_id, mut tries) = (None::<String>, 0);
    while tries <= TRIES {
        let Some(known) = address.known(&of) else { return };
        let mut events = Events::new(address.base.spool.clone(), last_id.clone());
        match address.events_after(&known, last_id.as_deref()).await {
            Ok(mut response) => {
                while let Ok(Some(event)) = events.next(&mut response).await {
                    tries = 0;
                    if let Some((_, message)) = message(event.data).await.filter(|_| event.is_message) {
                        let _ = address.base.said.send(Said::Aside { of, message }).await;
                    }
                }
            }
            Err(Some(status)) if status.is_client_error() => return,
            Err(_) => (),
        }
        tries += 1;
        last_id = events.last_id.clone();
        tokio::time::sleep(patience(events.retry_ms) * tries).await;
    }
}

/// A message out of an event; `None` of what is none.
async fn message(body: Body) -> Option<(Envelope, Message)> {
    let message = Message { body, ..Message::json(bytes::Bytes::new()) };
    let read = message.clone();
    let envelope = match message.body.is_in_memory() {
        true => Envelope::of(&read),
        false => tokio::task::spawn_blocking(move || Envelope::of(&read)).await.ok()?,
    };
    if let Err(why) = &envelope {
        tracing::warn!(%why, "a service sent an event that is no message: it is passed over");
    }
    Some((envelope.ok()?, message))
}

/// The version in the answer to `initialize`.
fn agreed(message: &Message) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        result: Version,
    }
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "protocolVersion")]
        version: String,
    }
    let Body::Bytes(bytes) = &message.body else { return None };
    serde_json::from_slice::<Answer>(bytes).ok().map(|answer| answer.result.version)
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.and_then(|kind| kind.split(';').next()).is_some_and(|kind| kind.trim().eq_ignore_ascii_case(EVENTS))
}

/// An address may have what its owner shows to nobody.
pub(super) fn without_address(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
