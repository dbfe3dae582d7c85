//! A service of another agent over the local API of this machine's.

use std::path::PathBuf;

use axum::Router;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nuncio_proto::call::What;
use nuncio_proto::ids::{CallSessionId, LetterId};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::local::{Frame, NOTE};

/// Longest line in front of a message.
const LINE_LEN_MAX: usize = 128 << 10;
/// Longest answer that comes at once.
const ANSWER_LEN_MAX: usize = 64 << 10;

/// Why a request to the agent was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    /// It is not there, or stops: the same may be asked again.
    #[error("the agent is not reached: {0}")]
    Away(String),
    /// It says no, now and later.
    #[error("{message}")]
    Refused {
        /// A fixed word.
        code: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Bytes that wait in a connection within the process.
const WAITING: usize = 64 << 10;

/// Where the agent is asked, and for which service.
#[derive(Debug)]
pub struct Remote {
    road: Road,
    base: String,
    spare: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

#[derive(Debug)]
enum Road {
    Socket(PathBuf),
    Within(Router),
}

/// What a program says.
pub(super) struct Saying {
    pub(super) id: LetterId,
    pub(super) what: What,
    pub(super) session: CallSessionId,
    pub(super) reply_to: Option<LetterId>,
    pub(super) bytes: Bytes,
    pub(super) note: String,
}

/// What comes, message by message.
pub(super) struct Coming {
    body: Incoming,
    seen: BytesMut,
    /// Bytes of the message that was begun.
    left: u64,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
}

impl Remote {
    /// Of the agent with that socket; `base` is the path above `/messages`.
    #[must_use]
    pub const fn new(socket: PathBuf, base: String) -> Self {
        Self { road: Road::Socket(socket), base, spare: Mutex::const_new(None) }
    }

    /// Of an agent in this process: its own `/messages` and `/taken`.
    pub(crate) const fn within(router: Router) -> Self {
        Self { road: Road::Within(router), base: String::new(), spare: Mutex::const_new(None) }
    }

    /// Says a message, for the first time or `again`. Of a request that the agent has asked without a letter the answer comes back, if it is not longer than one may be.
    pub(super) async fn say(&self, saying: &Saying, again: bool) -> Result<Option<Bytes>, RemoteError> {
        let what = match saying.what {
            What::Request => "request",
            What::End => "end",
            _ => "notice",
        };
        let reply = saying.reply_to.map(|letter| format!("&reply_to={letter}")).unwrap_or_default();
        let (id, session) = (saying.id, saying.session);
        // Whether it was said is not known from the second time on: then a letter of this id may be there.
        let query = if saying.what == What::Request && !again { "&query=true" } else { "" };
        let path = format!("{}/messages?id={id}&what={what}&session={session}{reply}{query}", self.base);
        let note = data_encoding::HEXLOWER.encode(saying.note.as_bytes());
        self.settled(&path, saying.bytes.clone(), &note).await
    }

    pub(super) async fn taken(&self, no: u64) -> Result<(), RemoteError> {
        self.settled(&format!("{}/taken?no={no}", self.base), Bytes::new(), "").await.map(drop)
    }

    /// What comes for a session behind a number.
    pub(super) async fn listen(&self, session: CallSessionId, after: Option<u64>) -> Result<Coming, RemoteError> {
        let after = after.map(|no| format!("&after={no}")).unwrap_or_default();
        let path = format!("{}/messages?session={session}{after}", self.base);
        let mut line = self.connect().await?;
        let response = exchange(&mut line, Method::GET, &path, Bytes::new(), "").await?;
        Ok(Coming { body: checked(response).await?, seen: BytesMut::new(), left: 0 })
    }

    /// What came with the answer, where it says that it is one.
    async fn settled(&self, path: &str, body: Bytes, note: &str) -> Result<Option<Bytes>, RemoteError> {
        let mut line = self.usable().await?;
        let response = exchange(&mut line, Method::POST, path, body, note).await?;
        let answers = response.status() == StatusCode::OK;
        let bytes = Limited::new(checked(response).await?, ANSWER_LEN_MAX).collect().await.map_err(away)?.to_bytes();
        self.spare.lock().await.replace(line);
        Ok(answers.then_some(bytes))
    }

    /// The connection that an earlier request left, if it is still open, or a new one.
    async fn usable(&self) -> Result<SendRequest<Full<Bytes>>, RemoteError> {
        let spare = self.spare.lock().await.take();
        if let Some(mut line) = spare
            && line.ready().await.is_ok()
        {
            return Ok(line);
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, RemoteError> {
        match &self.road {
            Road::Socket(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| RemoteError::Away(format!("{}: {error}", socket.display())))?;
                begun(stream).await
            }
            Road::Within(router) => {
                let (near, far) = tokio::io::duplex(WAITING);
                let service = TowerToHyperService::new(router.clone());
                // Ends with the line too.
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service));
                begun(near).await
            }
        }
    }
}

async fn begun(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, RemoteError> {
    let (line, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(away)?;
    // Ends with the line.
    tokio::spawn(connection);
    Ok(line)
}

async fn exchange(
    line: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Bytes,
    note: &str,
) -> Result<Response<Incoming>, RemoteError> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "nuncio");
    request = request.header(header::CONTENT_TYPE, "application/json");
    if !note.is_empty() {
        request = request.header(NOTE, note);
    }
    line.send_request(request.body(Full::new(body)).map_err(away)?).await.map_err(away)
}

async fn checked(response: Response<Incoming>) -> Result<Incoming, RemoteError> {
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let bytes = body.collect().await.map_err(away)?.to_bytes();
    let problem = serde_json::from_slice::<Problem>(&bytes);
    if head.status.is_server_error() {
        return Err(away(problem.map_or_else(|_| head.status.to_string(), |problem| problem.message)));
    }
    let Problem { code, message } = problem.map_err(|_| away(head.status))?;
    Err(RemoteError::Refused { code, message })
}

fn away(error: impl std::fmt::Display) -> RemoteError {
    RemoteError::Away(error.to_string())
}

impl Coming {
    /// What stands in front of the next message. Its bytes are to be read before another. May be given up while it waits.
    pub(super) async fn next(&mut self) -> Result<Frame, RemoteError> {
        loop {
            if let Some(at) = self.seen.iter().position(|byte| *byte == b'\n') {
                let line = self.seen.split_to(at.saturating_add(1));
                let frame: Frame = serde_json::from_slice(&line).map_err(away)?;
                self.left = frame.len;
                return Ok(frame);
            }
            if self.seen.len() > LINE_LEN_MAX {
                return Err(away("what comes is not of the local API's form"));
            }
            let piece = self.more().await?;
            self.seen.extend_from_slice(&piece);
        }
    }

    /// The next bytes of the message; `None` behind its last.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, RemoteError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut piece = if self.seen.is_empty() { self.more().await? } else { self.seen.split().freeze() };
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let rest = piece.split_off(len);
        self.seen.extend_from_slice(&rest);
        self.left = self.left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(Some(piece))
    }

    async fn more(&mut self) -> Result<Bytes, RemoteError> {
        loop {
            let frame = self.body.frame().await.ok_or_else(|| away("the connection ended"))?.map_err(away)?;
            if let Ok(piece) = frame.into_data() {
                return Ok(piece);
            }
        }
    }
}
