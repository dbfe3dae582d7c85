//! A person's letter to an agent, and the letter that answers it (contracts/gateway.md section 2).
//!
//! ```text
//!   one answer   ─► the body, or a refusal with its status
//!   a stream     ─► begun ─► : ─► : ─► answer, or failed
//! ```

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use nuncio::{AgentId, ContentType, Error, Incoming, Message, Payload};
use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::person::Person;
use super::refusal::{Named, Refusal};
use super::share::until_taken;
use super::{Inner, Served};
use crate::front::Address;
use crate::front::flush::Marks;
use crate::message::request_len_max;

/// How long a stream says nothing before it shows that it lives.
const PULSE: Duration = Duration::from_secs(15);

/// Events that a client may be behind.
const EVENTS: usize = 2;

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    text: Option<String>,
    base64: Option<String>,
    content_type: Option<String>,
}

/// What an agent answers.
#[derive(Debug, Serialize)]
struct Answer {
    transaction: String,
    from: String,
    letter: String,
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// `POST /v1/agents/{name}/letters`
pub(super) async fn answer(
    State(served): State<Served>,
    Extension(from): Extension<Address>,
    Extension(marks): Extension<Marks>,
    Named(name): Named<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let route = served.agents.get(&name).ok_or_else(Refusal::nowhere)?;
    let scope = route.letters.as_ref().ok_or_else(Refusal::nowhere)?;
    let (person, body) = served.people.hear(from, (&headers, body), scope, request_len_max()).await?;
    served.book.reserve(&person, 0).await?;
    let to = peer(&served, &route.peer).await?;
    let message = message(&body)?.under(&person);
    let (asked, patience) = (Asked { to, person, patience: route.patience }, route.patience);
    tracing::info!(transaction = asked.person.id(), agent = name, "a person's letter");
    let share = Arc::clone(&asked.person.share);
    if streams(&headers) {
        let (events, rx) = mpsc::channel(EVENTS);
        tokio::spawn(pour(served, asked, message, events));
        return Ok(until_taken(stream(rx), share, marks));
    }
    let (reply, told) = oneshot::channel();
    // Goes on when the client goes: an answer that comes is taken, and not left in the inbox.
    // contracts/gateway.md W9, W41: until then it is a request under way.
    tokio::spawn(async move { reply.send(ask(&served, &asked, message).await) });
    let late = |_| Refusal::late(format!("no answer came within {} s", patience.as_secs()));
    let answer = told.await.map_err(late)??;
    let response = ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response();
    Ok(until_taken(response, share, marks))
}

/// A letter, its person, and how long its answer is waited for.
struct Asked {
    to: AgentId,
    person: Person,
    patience: Duration,
}

/// The agent that a route stands for.
pub(super) async fn peer(served: &Inner, named: &str) -> Result<AgentId, Refusal> {
    served.agent.resolve(named).await.map_err(|error| {
        tracing::warn!(%error, "a route leads nowhere");
        Refusal::unavailable("no_agent", "the agent of this path is not known here")
    })
}

fn message(body: &[u8]) -> Result<Message, Refusal> {
    let new: New = serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
    let kind = new.content_type.map(|text| text.parse::<ContentType>()).transpose();
    let kind = kind.map_err(|error| Refusal::bad(error.to_string()))?;
    // contracts/gateway.md W7: its receiver would read it as none.
    if kind.as_ref().is_some_and(|kind| !is_media_type(kind.as_str())) {
        return Err(Refusal::bad("`content_type` is a media type, such as text/plain"));
    }
    match (new.text, new.base64) {
        (Some(text), None) => Ok(Message::bytes(kind.unwrap_or(ContentType::TEXT), text.into_bytes())),
        (None, Some(text)) => {
            let bytes = data_encoding::BASE64.decode(text.as_bytes());
            let bytes = bytes.map_err(|error| Refusal::bad(format!("`base64`: {error}")))?;
            Ok(Message::bytes(kind.unwrap_or(ContentType::BYTES), bytes))
        }
        _ => Err(Refusal::bad("a letter has one of `text` and `base64`")),
    }
}

/// `type/subtype` (RFC 9110 section 8.3.1); parameters are its receiver's to read.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let kind = text.split(';').next().unwrap_or_default().trim_end();
    kind.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub))
}

/// Whether a client wants events.
fn streams(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = lines.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    ranges.any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Sends it, and waits for what answers it.
// contracts/gateway.md W7.
async fn ask(served: &Inner, asked: &Asked, message: Message) -> Result<Answer, Refusal> {
    let patience = asked.patience;
    let answered = async {
        let incoming = served.agent.request(asked.to, message, patience).await.map_err(not_sent)?;
        read(&asked.person, incoming).await
    };
    tokio::select! {
        answered = tokio::time::timeout(patience, answered) => answered.unwrap_or_else(|_| Err(not_sent(Error::TimedOut))),
        () = served.stopping.cancelled() => Err(Refusal::unavailable("stopped", "the gateway stops: ask again once it runs")),
    }
}

/// An answer with its payload, all of it.
async fn read(person: &Person, incoming: Incoming) -> Result<Answer, Refusal> {
    let len = incoming.payload.len();
    if len > limit::GATEWAY_ANSWER_MAX {
        return Err(Refusal::beyond("too_large", "the agent's answer is longer than 8 MiB"));
    }
    // contracts/gateway.md W41: as bytes, as text, and as JSON.
    person.share.hold(usize::try_from(len).unwrap_or(usize::MAX).saturating_mul(3))?;
    if let Payload::Large(large) = &incoming.payload {
        large.whole().await.map_err(not_sent)?;
    }
    let mut from = incoming.payload.reader().map_err(not_sent)?;
    let whole = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = whole.await.ok().and_then(Result::ok);
    let bytes = bytes.ok_or_else(|| Refusal::beyond("lost", "the agent's answer cannot be read"))?;
    let kind = incoming.content_type.as_str();
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) if is_text(kind) => (Some(text), None),
        Ok(text) => (None, Some(data_encoding::BASE64.encode(text.as_bytes()))),
        Err(other) => (None, Some(data_encoding::BASE64.encode(other.as_bytes()))),
    };
    Ok(Answer {
        transaction: person.id().to_owned(),
        from: incoming.from.to_string(),
        letter: incoming.id.to_string(),
        content_type: kind.to_owned(),
        text,
        base64,
    })
}

fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || content_type.starts_with("application/json")
}

/// Why it was not sent, or has no answer.
fn not_sent(error: Error) -> Refusal {
    let code = error.letter_code();
    match (&error, code) {
        (Error::TimedOut, _) | (_, Some("expired")) => Refusal::late("no answer came in time"),
        (_, Some(code)) if code.starts_with("token_") => {
            Refusal::denied(format!("the agent does not take your transaction: {code}"))
        }
        (_, Some(code)) => Refusal::beyond("not_delivered", format!("the letter was not delivered: {code}")),
        (Error::TokenRefused { .. }, _) => {
            tracing::info!(%error, "a transaction is not handed on");
            Refusal::denied("the trust domain's policy does not allow you this agent")
        }
        (Error::Stopped, _) => Refusal::unavailable("stopped", "the gateway stops: ask again once it runs"),
        (Error::Node(_), _) => {
            Refusal::unavailable("token_service", "the token service cannot be asked now: ask again")
        }
        _ => {
            tracing::warn!(%error, "a person's letter is not sent");
            Refusal::unavailable("busy", "the letter is not taken now: ask again")
        }
    }
}

/// Events of one letter.
// contracts/gateway.md W8.
async fn pour(served: Served, asked: Asked, message: Message, events: mpsc::Sender<io::Result<Bytes>>) {
    let begun = serde_json::json!({ "transaction": asked.person.id() });
    // Whoever has gone reads none of them.
    let _ = events.send(Ok(event("begun", &begun))).await;
    let asking = ask(&served, &asked, message);
    let mut asking = std::pin::pin!(asking);
    let mut pulse = tokio::time::interval(PULSE);
    pulse.tick().await;
    let answered = loop {
        tokio::select! {
            answered = asking.as_mut() => break answered,
            _ = pulse.tick() => drop(events.try_send(Ok(Bytes::from_static(b":\n\n")))),
        }
    };
    let last = match answered {
        Ok(answer) => event("answer", &serde_json::to_value(&answer).unwrap_or_default()),
        Err(refusal) => event("failed", &refusal.json()),
    };
    let _ = events.send(Ok(last)).await;
}

fn event(name: &str, told: &Value) -> Bytes {
    // JSON has no end of a line in it.
    format!("event: {name}\ndata: {told}\n\n").into()
}

fn stream(rx: mpsc::Receiver<io::Result<Bytes>>) -> Response {
    let mut response = (StatusCode::OK, Body::from_stream(ReceiverStream::new(rx))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_one_content_and_nothing_that_is_not_known() {
        assert!(message(br#"{"text":"a"}"#).is_ok());
        assert!(message(br#"{"base64":"AAE=","content_type":"image/png"}"#).is_ok());
        assert!(message(br#"{"text":"a","content_type":"text/x-a+b ; charset=utf-8"}"#).is_ok());
        for bad in [
            r"{}",
            r#"{"text":"a","base64":""}"#,
            r#"{"text":"a","to":"b"}"#,
            r#"{"text":"a","text":"b"}"#,
            r#"{"base64":"?"}"#,
            r#"{"text":"a","content_type":""}"#,
            r#"{"text":"a","content_type":"bad type"}"#,
            r#"{"text":"a","content_type":"text"}"#,
            r#"{"text":"a","content_type":"text/"}"#,
            r#"{"text":"a","content_type":"/plain"}"#,
            r#"{"text":"a","content_type":"text/a b"}"#,
            r#"{"text":"a","content_type":"text/a/b"}"#,
            "text",
        ] {
            assert!(message(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
