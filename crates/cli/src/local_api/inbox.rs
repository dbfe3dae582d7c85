//! Letters that came.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io::Read;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use bytes::Bytes;
use nuncio::{AgentId, Among, ChannelId, Incoming, Payload};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::read::{Asked, No, wait};
use super::refused::Refused;
use super::{Served, transactions};
use crate::wire::{HandedOver, InboxLetter, InboxPage, Missing};

/// Letters in one answer by default, and at most.
const PAGE: (usize, usize) = (100, 1_000);
/// Events that wait for a slow reader; the next ones stay in the inbox.
const EVENTS_WAITING: usize = 64;
/// Pieces of a payload between the disk's thread and the answer.
const PIECES_WAITING: usize = 8;
const PIECE_LEN: usize = 64 << 10;
/// Longest payload that an answer to a request holds.
const ANSWER_LEN_MAX: u64 = 8 << 20;

#[derive(Deserialize)]
pub(super) struct Which {
    pub(super) after: Option<u64>,
    pub(super) max: Option<usize>,
    pub(super) wait_ms: Option<u64>,
}

impl Which {
    pub(super) fn most(&self) -> usize {
        let (usual, most) = PAGE;
        self.max.unwrap_or(usual).clamp(1, most)
    }
}

pub(super) async fn page(State(served): State<Served>, Asked(which): Asked<Which>) -> Result<Json<InboxPage>, Refused> {
    let max = which.most();
    let until = Instant::now() + wait(which.wait_ms);
    let mut bell = served.agent.arrivals().await?;
    let letters = loop {
        let letters = served.agent.letters(which.after, max).await?;
        if !letters.is_empty() {
            break letters;
        }
        if !served.rings(&mut bell, until).await {
            break letters;
        }
    };
    let names = names(&served).await?;
    Ok(Json(InboxPage { letters: letters.iter().map(|incoming| letter(incoming, &names)).collect() }))
}

#[derive(Deserialize)]
pub(super) struct Since {
    after: Option<u64>,
}

pub(super) async fn events(
    State(served): State<Served>,
    headers: HeaderMap,
    Asked(since): Asked<Since>,
) -> impl IntoResponse {
    let last_seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let (events, waiting) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(tell(served, last_seen.or(since.after), events));
    Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::default())
}

fn told_missing(missing: nuncio::Missing, names: &Names) -> Missing {
    let (session, channel) = match missing.among {
        Among::Session(session) => (Some(session.to_string()), None),
        Among::Channel(channel) => (None, Some(channel.to_string())),
    };
    Missing {
        from: missing.from.to_string(),
        from_name: names.agents.get(&missing.from).cloned(),
        session,
        channel,
        seq: missing.seq,
        since_ms: missing.since.0,
    }
}

/// Tells of letters as they come, and of what is missing, until nobody listens or the agent stops.
async fn tell(served: Served, mut after: Option<u64>, events: mpsc::Sender<Result<Event, Infallible>>) {
    let (usual, _) = PAGE;
    let Ok(mut bell) = served.agent.arrivals().await else { return };
    let Ok(mut missing) = served.agent.missing().await else { return };
    loop {
        let Ok(letters) = served.agent.letters(after, usual).await else { return };
        let Ok(names) = names(&served).await else { return };
        for incoming in &letters {
            let Ok(event) =
                Event::default().id(incoming.no.to_string()).event("letter").json_data(letter(incoming, &names))
            else {
                return;
            };
            if events.send(Ok(event)).await.is_err() {
                return;
            }
        }
        after = letters.last().map(|letter| letter.no).or(after);
        if !letters.is_empty() {
            continue;
        }
        tokio::select! {
            Ok(()) = bell.changed() => {}
            Ok(missing) = missing.next() => {
                let Ok(event) = Event::default().event("missing").json_data(told_missing(missing, &names)) else { return };
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            () = events.closed() => return,
            () = served.closing.cancelled() => return,
            else => return,
        }
    }
}

pub(super) async fn done(State(served): State<Served>, No(no): No) -> Result<StatusCode, Refused> {
    if !served.agent.done(no).await? {
        return Err(Refused::no_such_letter(no));
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Patience {
    wait_ms: Option<u64>,
}

/// The payload as it is. Its type is its sender's word, so it is not repeated in a header that a browser would act upon.
pub(super) async fn payload(
    State(served): State<Served>,
    No(no): No,
    Asked(patience): Asked<Patience>,
) -> Result<impl IntoResponse, Refused> {
    let letter = served.agent.letter(no).await?.ok_or_else(|| Refused::no_such_letter(no))?;
    let len = letter.payload.len();
    let body = match letter.payload {
        Payload::Inline(bytes) => Body::from(bytes),
        Payload::Large(ref large) => {
            let whole = tokio::select! {
                biased;
                whole = large.whole() => Some(whole),
                () = tokio::time::sleep(wait(patience.wait_ms)) => None,
                () = served.closing.cancelled() => None,
            };
            whole.ok_or_else(not_whole)??;
            stream(letter.payload.reader()?)
        }
    };
    let harmless = HeaderName::from_static("x-content-type-options");
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, len.to_string())];
    Ok((headers, [(harmless, "nosniff")], body))
}

fn not_whole() -> Refused {
    Refused::new(StatusCode::CONFLICT, "not_whole", "the payload is still on its way: ask again, or with wait_ms")
}

/// Bytes as they are read and verified, in constant memory.
fn stream(mut from: Box<dyn Read + Send>) -> Body {
    let (pieces, waiting) = mpsc::channel::<std::io::Result<Bytes>>(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let read = from.read(&mut piece).map(|len| Bytes::copy_from_slice(piece.get(..len).unwrap_or_default()));
            let last = read.as_ref().map_or(true, Bytes::is_empty);
            // Whoever asked may have gone.
            if read.as_ref().is_ok_and(Bytes::is_empty) || pieces.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(waiting))
}

/// An answer with its payload: what fits one response of ours is read into it.
pub(super) async fn answer(incoming: &Incoming, names: &Names) -> Result<InboxLetter, Refused> {
    let mut told = letter(incoming, names);
    let Payload::Large(large) = &incoming.payload else { return Ok(told) };
    if large.len() > ANSWER_LEN_MAX {
        let message = "the answer is longer than 8 MiB: it is in the inbox";
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    large.whole().await?;
    let mut from = incoming.payload.reader()?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes)
    });
    let failed = |error: String| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", error);
    let bytes = read.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    told.arrived = told.len;
    told.base64 = Some(data_encoding::BASE64.encode(&bytes));
    Ok(told)
}

/// What known agents and channels are called.
pub(super) struct Names {
    pub(super) agents: HashMap<AgentId, String>,
    pub(super) channels: HashMap<ChannelId, String>,
    /// Channels that audit.
    pub(super) audited: HashSet<ChannelId>,
}

pub(super) async fn names(served: &Served) -> Result<Names, Refused> {
    let (peers, channels) = (served.agent.peers().await?, served.agent.channels().await?);
    let audited = channels.iter().filter(|channel| channel.audits).map(|channel| channel.id).collect();
    Ok(Names {
        audited,
        agents: peers.into_iter().filter_map(|peer| Some((peer.agent, peer.name?))).collect(),
        channels: channels.into_iter().map(|channel| (channel.id, channel.name)).collect(),
    })
}

/// A letter as the API tells it.
pub(super) fn letter(incoming: &Incoming, names: &Names) -> InboxLetter {
    let (text, base64, arrived) = match &incoming.payload {
        Payload::Large(large) => (None, None, large.arrived()),
        payload @ Payload::Inline(bytes) => {
            let text = payload.text().ok().filter(|_| is_text(incoming.content_type.as_str())).map(str::to_owned);
            let base64 = text.is_none().then(|| data_encoding::BASE64.encode(bytes));
            (text, base64, payload.len())
        }
    };
    InboxLetter {
        no: incoming.no,
        id: incoming.id.to_string(),
        from: incoming.from.to_string(),
        from_name: names.agents.get(&incoming.from).cloned(),
        channel: incoming.channel.map(|channel| channel.to_string()),
        channel_name: incoming.channel.and_then(|channel| names.channels.get(&channel).cloned()),
        handed_over: incoming.handed_over.map(|about| handed_over(&about, names)),
        sent_ms: incoming.id.created().0,
        received_ms: incoming.received.0,
        reply_to: incoming.reply_to.map(|id| id.to_string()),
        content_type: incoming.content_type.as_str().to_owned(),
        len: incoming.payload.len(),
        arrived,
        text,
        base64,
        proof: incoming.proof.clone(),
        grant: incoming.grant.as_ref().map(transactions::grant),
    }
}

fn handed_over(about: &nuncio::HandedOver, names: &Names) -> HandedOver {
    HandedOver {
        channel: about.channel.to_string(),
        channel_name: names.channels.get(&about.channel).cloned(),
        author: about.author.to_string(),
        author_name: names.agents.get(&about.author).cloned(),
        id: about.id.to_string(),
        sent_ms: about.id.created().0,
        reply_to: about.reply_to.map(|id| id.to_string()),
    }
}

pub(super) fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || content_type == "application/json"
}
