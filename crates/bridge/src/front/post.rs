//! What a client sends, read and held against the protocol before anything is said of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use nuncio::Transaction;
use nuncio_proto::call::Head;
use nuncio_proto::ids::CallSessionId;
use tokio::sync::Semaphore;

use super::exchange::{Accepts, Era};
use super::fault::Fault;
use super::reading::{self, Kind, Reading, Unread};
use crate::message::request_len_max;
use crate::{a2a, under};

/// How long a body may take to come.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Bodies up to this length are read without asking for room.
const SMALL_LEN: usize = 64 << 10;
/// Longer ones that are in memory at once.
const LARGE_AT_ONCE: usize = 8;
/// The first revision without sessions.
const WITHOUT_SESSIONS: &str = "2026-07-28";
/// The first revision in which an event may hold no message.
const WITH_PRIMING: &str = "2025-11-25";
/// What of HTTP travels. Nothing that shows who the client is to this machine does.
// contracts/call.md X17.
const TRAVELS: [&str; 5] = ["mcp-protocol-version", "mcp-method", "mcp-name", "traceparent", "tracestate"];
/// What travels by the beginning of its name: parameters that a tool's schema has mirrored in the head.
const PARAMETER: &str = "mcp-param-";
/// Where a session's id stands.
pub(crate) const SESSION: &str = "mcp-session-id";

/// Room for long bodies in memory: what finds none waits.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

/// A message of a client.
pub(super) struct Posted {
    pub(super) reading: Reading,
    pub(super) bytes: Bytes,
    pub(super) head: Head,
    pub(super) era: Era,
    pub(super) accepts: Accepts,
    pub(super) session: Named,
    pub(super) under: Option<Transaction>,
    /// Before the path of an interface in the card that answers it.
    pub(super) card_base: Option<String>,
}

/// Which session a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// None.
    No,
    /// This one.
    This(CallSessionId),
}

/// What a refused message may be told by: its id, where it has one.
pub(super) struct Refused(pub(super) Fault, pub(super) Option<String>);

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self(fault, None)
    }
}

/// Reads a message.
pub(super) async fn read(headers: &HeaderMap, body: Body, room: &Room) -> Result<Posted, Refused> {
    let accepts = accepts(headers);
    if !accepts.json && !accepts.stream {
        let fault = Fault::malformed("an answer is application/json or text/event-stream: accept both");
        return Err(fault.with(StatusCode::NOT_ACCEPTABLE).into());
    }
    let (bytes, reading) = message(headers, body, room).await?;
    let refused = |fault| Refused(fault, id(&reading.kind));
    let era = era(headers, Some(&reading)).map_err(refused)?;
    let session = named(headers).map_err(refused)?;
    if era == Era::Requests {
        agrees(headers, &reading).map_err(refused)?;
    }
    let under = transaction(headers, &reading)?;
    Ok(Posted { head: head(headers), reading, bytes, era, accepts, session, under, card_base: None })
}

/// Reads a message of A2A to the interface of a path.
// contracts/call.md X33, X36.
pub(super) async fn read_a2a(headers: &HeaderMap, body: Body, room: &Room, path: &str) -> Result<Posted, Refused> {
    let (bytes, reading) = message(headers, body, room).await?;
    let fields = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let mut head = a2a::fields(fields);
    if !head.set(":path", path) {
        return Err(Refused(Fault::malformed("the path is longer than one that travels"), id(&reading.kind)));
    }
    let streams = reading.method.as_deref().is_some_and(a2a::streams);
    // Clients that want a message alone say that they take anything, or nothing of it.
    let accepts = Accepts { json: true, stream: true };
    let under = transaction(headers, &reading)?;
    Ok(Posted {
        head,
        reading,
        bytes,
        era: Era::Tasks { streams },
        accepts,
        session: Named::No,
        under,
        card_base: None,
    })
}

/// The transaction that a message's client names.
// contracts/call.md X44.
fn transaction(headers: &HeaderMap, reading: &Reading) -> Result<Option<Transaction>, Refused> {
    named_in(headers).map_err(|fault| match id(&reading.kind) {
        None => fault.of_notice().into(),
        id => Refused(fault, id),
    })
}

/// The transaction that the fields of a request name.
pub(super) fn named_in(headers: &HeaderMap) -> Result<Option<Transaction>, Fault> {
    under::named(headers.get_all(under::FIELD).iter().map(|value| value.to_str().ok())).map_err(Fault::denied)
}

async fn message(headers: &HeaderMap, body: Body, room: &Room) -> Result<(Bytes, Reading), Refused> {
    let kind = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or("").split(';').next().unwrap_or("");
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let fault = Fault::malformed("a message is application/json").with(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        return Err(fault.into());
    }
    let bytes = gather(body, room).await?;
    let reading = reading::read(bytes.as_ref()).map_err(|unread| match unread {
        Unread::Json(why) => Fault::no_json(format!("no JSON: {why}")),
        Unread::Rpc(why) => Fault::malformed(why),
    })?;
    Ok((bytes, reading))
}

/// A request's id, as it was written.
pub(super) fn id(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Request(id) => Some(id.raw().to_owned()),
        Kind::Notification | Kind::Response(_) => None,
    }
}

/// A body, whole. One that is too long is read to its end all the same, within bounds: whoever is still writing would not see the answer.
pub(crate) async fn gather(body: Body, room: &Room) -> Result<Bytes, Fault> {
    let read = tokio::time::timeout(BODY_PATIENCE, gather_all(body, room)).await;
    read.map_err(|_| Fault::malformed("the body did not come in time").with(StatusCode::REQUEST_TIMEOUT))?
}

async fn gather_all(mut body: Body, room: &Room) -> Result<Bytes, Fault> {
    let max = request_len_max();
    let (mut bytes, mut len, mut place) = (BytesMut::new(), 0_usize, None);
    while let Some(frame) = body.frame().await {
        let piece = frame.map_err(|error| Fault::malformed(error.to_string()))?.into_data().unwrap_or_default();
        len = len.saturating_add(piece.len());
        if len > SMALL_LEN && place.is_none() {
            place = room.0.acquire().await.ok();
        }
        if len <= max {
            bytes.extend_from_slice(&piece);
        } else if len > max.saturating_mul(4) {
            break;
        }
    }
    if len <= max { Ok(bytes.freeze()) } else { Err(Fault::too_large()) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

/// Which revision a request is of: its header says so, or its body where there is neither header nor session.
pub(super) fn era(headers: &HeaderMap, reading: Option<&Reading>) -> Result<Era, Fault> {
    let said = text(headers, "mcp-protocol-version");
    if said.is_some_and(|version| !is_version(version)) {
        return Err(Fault::malformed("MCP-Protocol-Version is no revision of the protocol"));
    }
    let own = reading.and_then(|reading| reading.version.as_deref()).filter(|_| !headers.contains_key(SESSION));
    let version = said.or(own).unwrap_or("");
    if version >= WITHOUT_SESSIONS { Ok(Era::Requests) } else { Ok(Era::Sessions { primes: version >= WITH_PRIMING }) }
}

fn is_version(text: &str) -> bool {
    let digit = |at: usize, byte: u8| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(|(at, byte)| digit(at, byte))
}

/// The session that a request names: its id is ours to give, so what is none is unknown.
pub(super) fn named(headers: &HeaderMap) -> Result<Named, Fault> {
    let Some(text) = text(headers, SESSION) else { return Ok(Named::No) };
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(|bytes| Named::This(CallSessionId::from_bytes(bytes)))
        .ok_or_else(|| Fault::gone("there is no such session"))
}

/// Since whoever stands between may have gone by the header, it must say what the body does.
// contracts/call.md X18.
fn agrees(headers: &HeaderMap, reading: &Reading) -> Result<(), Fault> {
    let twice = ["mcp-protocol-version", "mcp-method", "mcp-name"];
    if let Some(name) = twice.into_iter().find(|name| headers.get_all(*name).iter().count() > 1) {
        return Err(Fault::mismatch(format!("{name} stands twice in the head")));
    }
    let Kind::Request(_) = reading.kind else { return Ok(()) };
    if text(headers, "mcp-protocol-version")
        .is_none_or(|said| reading.version.as_deref().is_some_and(|own| own != said))
    {
        return Err(Fault::mismatch("MCP-Protocol-Version is not what the message says in `_meta`"));
    }
    if text(headers, "mcp-method") != reading.method.as_deref() {
        return Err(Fault::mismatch("Mcp-Method is not the message's method"));
    }
    let named = matches!(reading.method.as_deref(), Some("tools/call" | "prompts/get" | "resources/read"));
    let said = text(headers, "mcp-name").map(plain);
    match (&reading.name, said) {
        (Some(name), said) if named && said.as_ref().and_then(Option::as_ref) != Some(name) => {
            Err(Fault::mismatch("Mcp-Name is not what the message names"))
        }
        _ => Ok(()),
    }
}

/// A header's text: what does not fit in one is written as `=?base64?…?=`.
fn plain(value: &str) -> Option<String> {
    let Some(coded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    data_encoding::BASE64.decode(coded.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

fn head(headers: &HeaderMap) -> Head {
    let travels = |name: &str| TRAVELS.contains(&name) || name.starts_with(PARAMETER);
    let fields = headers.iter().filter(|(name, _)| travels(name.as_str()));
    Head::of(fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))))
}

/// What a client takes; everything where it does not say.
pub(super) fn accepts(headers: &HeaderMap) -> Accepts {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<_> = lines
        .flat_map(|line| line.split(','))
        .map(|range| range.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
        .collect();
    let any = |ranges: [&str; 3]| said.is_empty() || said.iter().any(|range| ranges.contains(&range.as_str()));
    Accepts {
        json: any(["application/json", "application/*", "*/*"]),
        stream: any(["text/event-stream", "text/*", "*/*"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
    }

    #[test]
    fn of_a_request_s_head_travels_what_is_listed_and_nothing_of_who_asks() {
        let told = [
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("mcp-session-id", "00"),
            ("last-event-id", "1"),
            ("user-agent", "u"),
            ("host", "h"),
            ("origin", "http://h"),
            ("mcp-method", "ping"),
            ("traceparent", "00-1"),
            ("mcp-param-region", "eu"),
        ];
        let head = head(&headers(&told));
        let names: Vec<_> = head.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["mcp-method", "mcp-param-region", "traceparent"]);
    }

    #[test]
    fn the_head_must_say_what_the_body_does() {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let reading = reading::read(body.as_bytes()).unwrap();
        let good =
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "=?base64?w6k=?=")];
        assert!(agrees(&headers(&good), &reading).is_ok());
        for (at, wrong) in [(0, "2026-07-29"), (1, "tools/list"), (2, "e"), (2, "=?base64?w6k?=")] {
            let mut told = good;
            told[at].1 = wrong;
            assert!(agrees(&headers(&told), &reading).is_err(), "{wrong}");
        }
        for left_out in 0..3 {
            let told: Vec<_> =
                good.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, field)| *field).collect();
            assert!(agrees(&headers(&told), &reading).is_err(), "{left_out}");
        }
        let mut twice = headers(&good);
        twice.append("mcp-method", "tools/call".parse().unwrap());
        assert!(agrees(&twice, &reading).is_err());
    }

    #[test]
    fn revisions_have_an_era() {
        let of = |version| era(&headers(&[("mcp-protocol-version", version)]), None);
        assert_eq!(of("2025-06-18").unwrap(), Era::Sessions { primes: false });
        assert_eq!(of("2025-11-25").unwrap(), Era::Sessions { primes: true });
        assert_eq!(of("2026-07-28").unwrap(), Era::Requests);
        assert!(of("9").is_err() && of("2026-07-2x").is_err());
    }
}
