//! What a client of A2A meets: an agent's card with addresses of this machine, and its messages (contracts/call.md section 8).
//!
//! ```text
//!   GET  …/.well-known/agent-card.json           ─▶ the card, its interfaces moved to …/a2a{path}
//!   GET  …/original/.well-known/agent-card.json  ─▶ the card as the agent wrote it
//!   POST …/a2a{path}                             ─▶ Line::say ─▶ its answer, or a stream
//! ```

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use nuncio::Transaction;
use nuncio_proto::call::{Head, What};

use super::exchange::{Source, told};
use super::fault::Fault;
use super::flush::Marks;
use super::post::{self, Posted, Refused, named_in};
use super::session::{Ending, Session, Ticket};
use super::{Front, letter_id, reading};
use crate::a2a;
use crate::line::{HeardWhat, Line, Say};
use crate::message::Message;

/// In front of where a card stands that nobody has changed.
const ORIGINAL: &str = "/original";
/// In front of an interface's path.
const INTERFACE: &str = "/a2a";
/// The code of an answer that says that nothing allows it.
const DENIED: i64 = -32040;
/// How long a card may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether something is served behind a front's own path.
// contracts/call.md X35.
pub(super) fn is_place(behind: &str) -> bool {
    behind.is_empty() || interface(behind).is_some() || card(behind).is_some()
}

fn interface(behind: &str) -> Option<&str> {
    behind.strip_prefix(INTERFACE).filter(|path| path.starts_with('/'))
}

/// Which card, and whether as it was written.
fn card(behind: &str) -> Option<(&'static str, bool)> {
    let original = behind.strip_prefix(ORIGINAL);
    let path = original.unwrap_or(behind);
    a2a::CARDS.into_iter().find(|card| *card == path).map(|card| (card, original.is_some()))
}

impl<L: Line> Front<L> {
    pub(super) async fn agent(
        &self,
        behind: &str,
        parts: &Parts,
        body: Body,
        marks: Marks,
    ) -> Result<Response, Refused> {
        match (interface(behind), card(behind)) {
            (Some(path), _) if parts.method == Method::POST => {
                let path = parts.uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
                let mut posted = post::read_a2a(&parts.headers, body, &self.0.room, &path).await?;
                let tells_card = posted.reading.method.as_deref().is_some_and(a2a::tells_card);
                posted.card_base = tells_card.then(|| base(behind, parts));
                self.swap_hooks(&mut posted).await?;
                self.post(posted, marks).await
            }
            (_, Some((path, original))) if parts.method == Method::GET => {
                let (status, card, checked) = self.card(path, parts).await?;
                if original || !status.is_success() {
                    return Ok(json(status, card));
                }
                // contracts/call.md X45: what nobody has checked is not signed.
                let signer = self.0.signer.as_ref().filter(|_| checked);
                let card = a2a::rewritten(&card, &base(behind, parts), signer).map_err(bad)?;
                Ok(json(StatusCode::OK, card.into()))
            }
            (interface, _) => {
                let allowed = if interface.is_some() { "POST" } else { "GET" };
                Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)]).into_response())
            }
        }
    }

    /// Puts addresses that the agent's side makes into the place of webhooks that this connection allows.
    // contracts/call.md X46.
    async fn swap_hooks(&self, posted: &mut Posted) -> Result<(), Refused> {
        let Some(own) = &self.0.hooks else { return Ok(()) };
        let method = posted.reading.method.clone().unwrap_or_default();
        match own.swap(&self.0.line, &method, &posted.bytes).await {
            Ok(swapped) => {
                swapped.into_iter().for_each(|bytes| posted.bytes = bytes);
                Ok(())
            }
            Err(error) => Err(Refused(error.into(), post::id(&posted.reading.kind))),
        }
    }

    /// The agent's card, and whether its signature was good where it was fetched; or, with a status that says so, the error that stands in its stead.
    async fn card(&self, path: &'static str, parts: &Parts) -> Result<(StatusCode, Bytes, bool), Refused> {
        let fields = parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let mut head = a2a::fields(fields);
        let _ = (head.set(":method", "GET"), head.set(":path", path));
        let (session, under) = (self.session(None).await?, named_in(&parts.headers).map_err(Fault::of_notice)?);
        // What is asked is heard to its end, also where the client goes.
        let asked = tokio::spawn(ask(session, head, under)).await;
        let message = asked.unwrap_or_else(|_| Err(Fault::busy("there is no answer")))?;
        let checked = message.head.get(a2a::CHECKED).is_some();
        let status = message.head.get(":status").map_or(StatusCode::OK, told);
        let bytes = all(&message).await.map_err(bad)?;
        let status = match reading::read(bytes.as_ref()).ok().and_then(|told| told.error) {
            Some(DENIED) => StatusCode::FORBIDDEN,
            Some(_) if status.is_success() => StatusCode::BAD_GATEWAY,
            _ => status,
        };
        Ok((status, bytes, checked))
    }
}

fn json(status: StatusCode, bytes: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Asks for a card: the answer to it.
async fn ask<L: Line>(session: Arc<Session<L>>, head: Head, under: Option<Transaction>) -> Result<Message, Fault> {
    let request = letter_id();
    let (ticket, rx, last) = session.open(request, false);
    let message = Message { head, ..Message::json(Bytes::new()) };
    let say = Say { id: request, what: What::Request, session: None, reply_to: None, message, note: Vec::new(), under };
    let mut source = Source::Shared(rx, last);
    let asked = match session.line.say(say).await {
        Ok(()) => tokio::time::timeout(PATIENCE, answer(&session, ticket, &mut source)).await,
        Err(error) => Ok(Err(Fault::from(error).of_notice())),
    };
    let answered = asked.is_ok();
    let asked =
        asked.unwrap_or_else(|_| Err(Fault::failed("the card does not come").with(StatusCode::GATEWAY_TIMEOUT)));
    session.take(session.close(ticket, Ending::Final, answered)).await;
    asked
}

async fn answer<L: Line>(session: &Session<L>, ticket: Ticket, source: &mut Source) -> Result<Message, Fault> {
    loop {
        let heard = tokio::select! {
            heard = source.next(session, ticket) => heard,
            () = session.stopping.cancelled() => None,
        };
        let Some(heard) = heard else { return Err(Fault::busy("the agent stops: ask again once it runs")) };
        session.take(session.had(ticket.request, heard.no)).await;
        match heard.what {
            HeardWhat::Answer(_, message) => return Ok(message),
            HeardWhat::Failed { why, .. } | HeardWhat::Unread { why, .. } => return Err(bad(&why)),
            HeardWhat::End => return Err(Fault::busy("the agent stops: ask again once it runs")),
            HeardWhat::Part(..) | HeardWhat::Aside(_) => {}
        }
    }
}

/// An answer whose result is a card, with addresses that begin with `base`; `None` of one that has no result.
pub(super) async fn moved(message: &Message, base: &str) -> Result<Option<Bytes>, &'static str> {
    let answer = all(message).await?;
    if answer.is_empty() {
        return Err("the agent's card did not come as an answer");
    }
    Ok(a2a::rewritten_in(&answer, base)?.map(Bytes::from))
}

async fn all(message: &Message) -> Result<Bytes, &'static str> {
    let message = message.clone();
    let bytes = tokio::task::spawn_blocking(move || whole(&message)).await.ok().flatten();
    bytes.ok_or("the agent's card is too long, or cannot be read")
}

fn whole(message: &Message) -> Option<Bytes> {
    let mut bytes = Vec::new();
    let max = u64::try_from(a2a::CARD_LEN_MAX).ok()?;
    message.body.reader().ok()?.take(max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= a2a::CARD_LEN_MAX).then(|| bytes.into())
}

/// What stands in front of an interface's path: the `Host` was held against this port's names.
fn base(behind: &str, parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = parts.uri.path().strip_suffix(behind).unwrap_or_default();
    format!("http://{host}{own}{INTERFACE}")
}

fn bad(why: &str) -> Fault {
    Fault::failed(why).with(StatusCode::BAD_GATEWAY)
}
