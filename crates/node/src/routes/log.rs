//! The audit log's doors (contracts/audit.md section 5).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use nuncio_contracts::registry::limit;
use nuncio_proto::audit::SignedEvent;
use nuncio_proto::ids::AgentId;
use nuncio_proto::tlog::{Checkpoint, Note, Tile};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Served;
use crate::fetch::TIMESTAMP_TYPE;
use crate::gate;
use crate::log::{AnchorFile, Answer, LogError, NotTaken, Told, View};
use crate::page::Session;
use crate::refusal::{Code, Refusal};
use crate::scribe::NotNow;

/// Events that wait for a slow reader.
const EVENTS_WAITING: usize = 64;
/// A body of events at its longest.
const EVENTS_LEN_MAX: usize = limit::EVENTS_MAX * (2 + limit::EVENT_LEN_MAX);

/// What became of the events of a request.
#[derive(Serialize)]
pub(super) struct Logged {
    answers: Vec<Said>,
    checkpoint: String,
}

/// What became of one.
#[derive(Serialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
}

impl From<&Answer> for Said {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Logged(index) => Self { index: Some(*index), refused: None },
            Answer::NotTaken(NotTaken::OtherStory(index)) => Self { index: Some(*index), refused: Some("other-story") },
            Answer::NotTaken(NotTaken::Chain(error)) => Self { index: None, refused: Some(error.name()) },
            Answer::NotTaken(NotTaken::Future) => Self { index: None, refused: Some("future") },
        }
    }
}

impl From<NotNow> for Refusal {
    fn from(_: NotNow) -> Self {
        Self::unavailable("the log takes no events now")
    }
}

/// contracts/audit.md V13, V14.
pub(super) async fn give(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
    request: Request,
) -> Result<Json<Logged>, Refusal> {
    let body = gate::read(request.into_body(), EVENTS_LEN_MAX).await?;
    let events = blocking(move || read_events(&body, &agent)).await??;
    let taken = at.service.scribe.take(events).await?;
    let checkpoint = taken.view.signed().ok_or_else(|| Refusal::unavailable("the log has no head"))?.to_string();
    Ok(Json(Logged { answers: taken.answers.iter().map(Said::from).collect(), checkpoint }))
}

fn read_events(mut body: &[u8], agent: &AgentId) -> Result<Vec<SignedEvent>, Refusal> {
    let mut events: Vec<SignedEvent> = Vec::new();
    while let Some((len, rest)) = body.split_first_chunk() {
        let number = events.len();
        let refused = |why: &str| Refusal::request(format!("event {number} of the request: {why}"));
        let (event, rest) = rest
            .split_at_checked(u16::from_be_bytes(*len).into())
            .ok_or_else(|| refused("it is shorter than it says"))?;
        if number == limit::EVENTS_MAX {
            return Err(refused("one too many"));
        }
        let event = SignedEvent::parse(event).map_err(|error| refused(&format!("{}: {error}", error.name())))?;
        if event.event().agent != *agent {
            return Err(refused("it is another agent's"));
        }
        // contracts/audit.md V17.
        if event.event().what.is_of_node() {
            return Err(refused("it tells of what a token service alone does"));
        }
        events.push(event);
        body = rest;
    }
    if !body.is_empty() || events.is_empty() {
        return Err(Refusal::request("no list of events"));
    }
    Ok(events)
}

/// contracts/audit.md V15.
pub(super) async fn show(State(at): State<Served>, request: Request) -> Result<StatusCode, Refusal> {
    let body = gate::read(request.into_body(), limit::NOTE_LEN_MAX).await?;
    let view = Arc::clone(&at.service.scribe.view().borrow());
    let head = Note::parse(&body).map_err(|error| Refusal::request(error.to_string()))?;
    let head = Checkpoint::open(&head, view.key()).map_err(|error| Refusal::request(error.to_string()))?;
    if at.service.scribe.shown(head).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::new(Code::Behind, "the log is behind this checkpoint, or another one: it takes nothing more"))
}

/// log.md section 4.
pub(super) async fn checkpoint(State(at): State<Served>) -> Result<Response, Refusal> {
    let view = Arc::clone(&at.service.scribe.view().borrow());
    let note = blocking(move || view.published()).await?.map_err(|error| unreadable(&error))?;
    let note = note.ok_or_else(|| Refusal::new(Code::NotFound, "nothing is published yet"))?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, note.to_string()).into_response())
}

/// log.md section 2.
pub(super) async fn tile(State(at): State<Served>, Path(path): Path<String>) -> Result<Response, Refusal> {
    let nothing = || Refusal::new(Code::NotFound, "there is no such tile");
    let tile = Tile::parse(&format!("tile/{path}")).map_err(|_| nothing())?;
    let view = Arc::clone(&at.service.scribe.view().borrow());
    let bytes = blocking(move || view.tile(&tile)).await?.map_err(|error| unreadable(&error))?.ok_or_else(nothing)?;
    // C2SP tlog-tiles: what stands at a path never changes. It is for its reader alone (contracts/audit.md V16).
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

/// log.md section 8.
pub(super) async fn anchor(State(at): State<Served>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let nothing = || Refusal::new(Code::NotFound, "there is no such anchor");
    let file = AnchorFile::parse(&name).ok_or_else(nothing)?;
    let view = Arc::clone(&at.service.scribe.view().borrow());
    let bytes = blocking(move || view.anchor(file)).await?.map_err(|error| unreadable(&error))?.ok_or_else(nothing)?;
    let kind = match file {
        AnchorFile::Timestamp(_) => TIMESTAMP_TYPE,
        AnchorFile::Newest | AnchorFile::Note(_) => "text/plain; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], Body::from(bytes)).into_response())
}

/// Who is who.
#[derive(Serialize)]
pub(super) struct Names {
    domain: String,
    node: String,
    agents: BTreeMap<String, String>,
}

/// contracts/audit.md V16. Those who have left the policy have no name any more.
pub(super) async fn names(State(at): State<Served>) -> Json<Names> {
    let policy = at.service.policy();
    let agents = policy.agent_names().map(|(agent, name)| (agent.to_string(), name.to_owned())).collect();
    Json(Names { domain: policy.service.domain.clone(), node: at.service.identity().id().to_string(), agents })
}

#[derive(Deserialize)]
pub(super) struct Start {
    from: Option<u64>,
}

/// contracts/audit.md V16.
pub(super) async fn stream(
    State(at): State<Served>,
    headers: HeaderMap,
    session: Option<Extension<Session>>,
    Query(Start { from }): Query<Start>,
) -> impl IntoResponse {
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let next = seen.map(|seen| seen.saturating_add(1)).or(from);
    let (events, waiting) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = tell(at, next, events) => {}
            // contracts/txts.md N38
            () = ended(session.as_deref()) => {}
        }
    });
    Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::default())
}

/// When a session is over; without one never.
async fn ended(session: Option<&Session>) {
    match session {
        Some(session) => session.ended().await,
        None => std::future::pending().await,
    }
}

/// Tells of entries as they come, until nobody listens or the node stops.
async fn tell(at: Served, next: Option<u64>, events: mpsc::Sender<Result<Event, Infallible>>) {
    let mut views = at.service.scribe.view();
    let mut next = next.unwrap_or_else(|| views.borrow().size());
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        while next < view.size() {
            let (from, own) = (next, Arc::clone(&view));
            let Ok(Ok(told)) = blocking(move || tell_bundle(&own, from)).await else { return };
            for told in told {
                next = told.index.saturating_add(1);
                let event = Event::default().id(told.index.to_string()).event("entry").json_data(told);
                let Ok(event) = event else { return };
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            Ok(()) = views.changed() => {}
            () = events.closed() => return,
            () = at.closing.cancelled() => return,
            else => return,
        }
    }
}

/// The entries of one bundle from an index on.
fn tell_bundle(view: &View, from: u64) -> Result<Vec<Told>, LogError> {
    let entries = view.entries(from)?;
    let told = (from..).zip(&entries).map(|(index, entry)| {
        let event = SignedEvent::parse(entry).map_err(|_| LogError::Damaged(format!("entry {index}")))?;
        Ok(Told::new(index, &event))
    });
    told.collect()
}

/// What reads files or checks signatures does it apart from the tasks that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::unavailable("it broke off"))
}

fn unreadable(error: &LogError) -> Refusal {
    tracing::error!(%error, "the log cannot be read");
    Refusal::unavailable("the log cannot be read")
}
