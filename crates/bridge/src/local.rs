//! The local API's part for programs that call a service (contracts/local-api.md section "Calls"): a [`Line`] as three requests of HTTP.
//!
//! ```text
//!   POST messages ─▶ Line::say          201: it is on disk
//!                 ─▶ Line::query        200: its answer, where it was to be asked so first
//!   GET  messages ─▶ Line::listen       a line of JSON, then the message's bytes, and again
//!   POST taken    ─▶ Line::taken        204
//! ```

use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use nuncio::Transaction;
use nuncio_proto::call::{Head, What};
use nuncio_proto::ids::{CallSessionId, LetterId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken as Closing;

use crate::front::fault::Fault;
use crate::front::{Room, gather, reading};
use crate::line::{Asks, Heard, HeardWhat, Line, LineError, Say};
use crate::message::{self, Message};
use crate::reads;
use crate::under;

/// A field of the message's head, as `name value`; as often as there are fields.
pub(crate) const FIELD: &str = "nuncio-field";
/// What is kept with a request, in hexadecimal.
pub(crate) const NOTE: &str = "nuncio-note";
/// Pieces that wait for a connection.
const PIECES: usize = 2;

/// The three requests, of one line.
pub fn router<L: Line>(line: L) -> Router {
    let room = Room::default();
    let say = move |State(line): State<L>, request: Request| async move { say(&line, &room, request).await };
    Router::new()
        .route("/messages", post(say))
        .route("/messages", get(async |State(line): State<L>, uri: Uri| listen(&line, &uri, &Closing::new()).await))
        .route("/taken", post(async |State(line): State<L>, uri: Uri| taken(&line, &uri).await))
        .with_state(line)
}

/// An answer that says no, in the local API's form (contracts/local-api.md A9).
struct Refused(StatusCode, &'static str, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.1, "message": self.2 }).to_string();
        (self.0, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

impl From<LineError> for Refused {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Refused(why) => Self(StatusCode::CONFLICT, "refused", why),
            LineError::Denied(why) => Self(StatusCode::FORBIDDEN, "denied", why),
            LineError::Stopped => Self(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the agent stops".to_owned()),
        }
    }
}

fn bad(why: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "bad_request", why.into())
}

#[derive(Deserialize)]
struct Saying {
    id: String,
    what: String,
    session: Option<String>,
    reply_to: Option<String>,
    /// Whether it is asked without a letter first, where it may be.
    #[serde(default)]
    query: bool,
}

/// `POST messages`: says what the body is.
pub async fn say<L: Line>(line: &L, room: &Room, request: Request) -> Response {
    match said(line, room, request).await {
        Ok(None) => StatusCode::CREATED.into_response(),
        Ok(Some(answer)) => answered(answer),
        Err(refused) => refused.into_response(),
    }
}

async fn said<L: Line>(line: &L, room: &Room, request: Request) -> Result<Option<Message>, Refused> {
    let (parts, body) = request.into_parts();
    let Query(saying) = Query::<Saying>::try_from_uri(&parts.uri).map_err(|rejection| bad(rejection.body_text()))?;
    let what = match saying.what.as_str() {
        "request" => What::Request,
        "notice" => What::Notice,
        "end" => What::End,
        _ => return Err(bad("`what` is request, notice or end")),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/json").parse();
    let bytes = gather(body, room).await.map_err(|fault| {
        let code = if fault.status() == StatusCode::REQUEST_TIMEOUT { "slow" } else { "too_large" };
        Refused(fault.status(), code, fault.text().to_owned())
    })?;
    let say = Say {
        id: letter(&saying.id)?,
        what,
        session: session(saying.session.as_deref())?,
        reply_to: saying.reply_to.as_deref().map(letter).transpose()?,
        message: Message {
            head: head(&parts.headers),
            content_type: content_type.map_err(|_| bad("the content type is none"))?,
            body: message::Body::Bytes(bytes),
        },
        note: note(&parts.headers)?,
        under: transaction(&parts.headers)?,
    };
    // contracts/local-api.md A25.
    if let Some(asks) = saying.query.then(|| asks(&say)).flatten()
        && let Some(answer) = line.query(&say, &asks).await
    {
        return Ok(Some(answer));
    }
    line.say(say).await?;
    Ok(None)
}

/// What a request asks for, where it may be asked without a letter.
fn asks(say: &Say) -> Option<Asks> {
    let message::Body::Bytes(bytes) = &say.message.body else { return None };
    let reading = reading::read(bytes.as_ref()).ok()?;
    let method = reading.method.filter(|method| reads::may(method))?;
    matches!(reading.kind, reading::Kind::Request(_)).then_some(Asks { method, name: reading.name })
}

fn answered(answer: Message) -> Response {
    let content_type = answer.content_type.to_string();
    let pieces = ReceiverStream::new(answer.body.pieces());
    ([(header::CONTENT_TYPE, content_type)], Body::from_stream(pieces)).into_response()
}

fn letter(text: &str) -> Result<LetterId, Refused> {
    text.parse().map_err(|_| bad("a letter's id is a UUIDv7 in 32 hexadecimal digits"))
}

fn session(text: Option<&str>) -> Result<Option<CallSessionId>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(CallSessionId::from_bytes).map(Some).ok_or_else(|| bad("a session's id is 32 hexadecimal digits"))
}

fn head(headers: &HeaderMap) -> Head {
    Head::of(fields(headers).filter(|(name, _)| !name.eq_ignore_ascii_case(under::FIELD)))
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let fields = headers.get_all(FIELD).iter().filter_map(|field| field.to_str().ok());
    fields.map(|field| field.split_once(' ').unwrap_or((field, "")))
}

// contracts/call.md X44.
fn transaction(headers: &HeaderMap) -> Result<Option<Transaction>, Refused> {
    let values = fields(headers).filter(|(name, _)| name.eq_ignore_ascii_case(under::FIELD));
    let named = under::named(values.map(|(_, value)| Some(value)));
    named.map_err(|why| Refused(StatusCode::FORBIDDEN, "denied", why.to_owned()))
}

fn note(headers: &HeaderMap) -> Result<Vec<u8>, Refused> {
    let hex = headers.get(NOTE).map(|note| note.as_bytes()).unwrap_or_default();
    let note = data_encoding::HEXLOWER.decode(hex).ok().filter(|note| note.len() <= 1024);
    note.ok_or_else(|| bad("a note is at most 1,024 bytes in hexadecimal digits"))
}

#[derive(Deserialize)]
struct Listening {
    session: Option<String>,
    after: Option<u64>,
}

/// `GET messages`: what comes, until the agent stops, `closing` is cancelled, or the caller goes.
pub async fn listen<L: Line>(line: &L, uri: &Uri, closing: &Closing) -> Response {
    match listening(line, uri, closing).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn listening<L: Line>(line: &L, uri: &Uri, closing: &Closing) -> Result<Response, Refused> {
    let asked = Query::<Listening>::try_from_uri(uri).map_err(|rejection| bad(rejection.body_text()))?;
    let rx = line.listen(session(asked.session.as_deref())?, asked.after).await?;
    let (pieces, body) = mpsc::channel(PIECES);
    let closing = closing.clone();
    tokio::spawn(async move { closing.run_until_cancelled(pour(rx, pieces)).await });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(ReceiverStream::new(body))).into_response())
}

/// What stands in front of a message's bytes: one line.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub(crate) no: u64,
    pub(crate) id: String,
    pub(crate) what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) head: Vec<(String, String)>,
    /// Of the bytes that follow the line.
    pub(crate) len: u64,
}

async fn pour(mut rx: mpsc::Receiver<Heard>, pieces: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let heard = tokio::select! {
            heard = rx.recv() => heard,
            () = pieces.closed() => return,
        };
        let Some(heard) = heard else { return };
        if let Err(error) = put(heard, &pieces).await {
            // The connection ends in the middle of a message, as it must.
            let _ = pieces.send(Err(error)).await;
            return;
        }
    }
}

async fn put(heard: Heard, pieces: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut frame = Frame { no: heard.no, id: heard.id.to_string(), ..Frame::default() };
    let message = match heard.what {
        HeardWhat::Part(request, message) => frame.of("part", Some(request), Some(message)),
        HeardWhat::Answer(request, message) => frame.of("answer", Some(request), Some(message)),
        HeardWhat::Aside(message) => frame.of("aside", None, Some(message)),
        // It ends there: whoever listens here asks for nothing again.
        HeardWhat::Unread { request, why, .. } => {
            frame.of("answer", Some(request), Some(Message::json(Fault::unknown(&why).message(None))))
        }
        HeardWhat::End => frame.of("end", None, None),
        HeardWhat::Failed { request, why, note } => {
            frame.why = Some(why);
            frame.note = Some(data_encoding::HEXLOWER.encode(&note));
            frame.of("failed", Some(request), None)
        }
    };
    let body = message.map(|message| message.body);
    frame.len = body.as_ref().map_or(Ok(0), message::Body::len)?;
    let mut line = serde_json::to_vec(&frame)?;
    line.push(b'\n');
    pieces.send(Ok(line.into())).await.map_err(gone)?;
    let (Some(body), mut left) = (body, frame.len) else { return Ok(()) };
    let mut of_body = body.pieces();
    while let Some(piece) = of_body.recv().await {
        let piece = piece?;
        left = left.checked_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX)).ok_or(io::ErrorKind::InvalidData)?;
        pieces.send(Ok(piece)).await.map_err(gone)?;
    }
    if left == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

impl Frame {
    fn of(&mut self, what: &str, request: Option<LetterId>, message: Option<Message>) -> Option<Message> {
        self.what = what.to_owned();
        self.request = request.map(|id| id.to_string());
        if let Some(message) = &message {
            self.content_type = Some(message.content_type.as_str().to_owned());
            self.head = message.head.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        message
    }
}

#[derive(Deserialize)]
struct Taking {
    no: u64,
}

/// `POST taken`: the caller has what came under a number.
pub async fn taken<L: Line>(line: &L, uri: &Uri) -> Response {
    let taking = Query::<Taking>::try_from_uri(uri).map_err(|rejection| bad(rejection.body_text()));
    let taken = match taking {
        Ok(Query(Taking { no })) => line.taken(no).await.map_err(Refused::from),
        Err(refused) => Err(refused),
    };
    taken.map_or_else(IntoResponse::into_response, |()| StatusCode::NO_CONTENT.into_response())
}
