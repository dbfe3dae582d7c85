//! Requests to a node: HTTP on a stream of a QUIC connection, where our own key says who asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::ids::AgentId;
use nuncio_transport::{CloseCode, CloseReason, Connection, Link, StreamKind};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::dial;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);
/// Nothing that a node answers is longer.
const ANSWER_LEN_MAX: usize = limit::STATEMENT_LEN_MAX;

/// A node, reached when it is asked for something.
pub(crate) struct Node {
    link: Arc<Link>,
    id: AgentId,
    endpoints: Vec<String>,
    connection: Mutex<Option<Connection>>,
}

/// The node could not be asked, and why.
#[derive(Debug, Clone)]
pub(crate) struct Unreachable {
    pub(crate) reason: String,
    /// It turns this agent away: its policy names none with this key.
    pub(crate) stranger: bool,
}

/// An answer that comes as long as it is listened to.
#[derive(Debug)]
pub(crate) struct Following {
    body: Incoming,
    _serving: AbortOnDropHandle<()>,
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Node {
    pub(crate) fn new(link: Arc<Link>, id: AgentId, endpoints: Vec<String>) -> Self {
        Self { link, id, endpoints, connection: Mutex::new(None) }
    }

    /// Whose key answers.
    pub(crate) const fn id(&self) -> AgentId {
        self.id
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answered, Unreachable> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Sends a form that may be sent twice without harm.
    pub(crate) async fn post(&self, path: &str, form: String) -> Result<Answered, Unreachable> {
        self.ask(Method::POST, path, form.into()).await
    }

    /// Sends what may be sent twice without harm.
    pub(crate) async fn post_bytes(&self, path: &str, body: Bytes) -> Result<Answered, Unreachable> {
        self.ask(Method::POST, path, body).await
    }

    /// Puts what may be put twice without harm.
    pub(crate) async fn put(&self, path: &str, body: Bytes) -> Result<Answered, Unreachable> {
        self.ask(Method::PUT, path, body).await
    }

    /// Takes away what may be taken away twice.
    pub(crate) async fn delete(&self, path: &str) -> Result<Answered, Unreachable> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    /// The body of an answer that has no end, as it comes.
    pub(crate) async fn follow(&self, path: &str) -> Result<Following, Unreachable> {
        let (connection, _) = self.connection().await?;
        let followed = tokio::time::timeout(PATIENCE, follow(&connection, path)).await;
        followed
            .unwrap_or_else(|_| Err("it did not answer in time".into()))
            .map_err(|error| unreachable(&connection, &error))
    }

    /// Asks; once more on a fresh connection where the former has died.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answered, Unreachable> {
        let (connection, fresh) = self.connection().await?;
        let first = answer(&connection, &method, path, body.clone()).await;
        if first.is_ok() || fresh || connection.close_reason().is_none() {
            return first;
        }
        let (connection, _) = self.connection().await?;
        answer(&connection, &method, path, body).await
    }

    /// The connection, and whether it was made for this.
    async fn connection(&self) -> Result<(Connection, bool), Unreachable> {
        let mut kept = self.connection.lock().await;
        if let Some(alive) = kept.as_ref().filter(|connection| connection.close_reason().is_none()) {
            return Ok((alive.clone(), false));
        }
        let dialled = dial::round(&self.link, self.id, &self.endpoints)
            .await
            .map_err(|reason| Unreachable { reason, stranger: false })?;
        Ok((kept.insert(dialled).clone(), true))
    }
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Node({} at {:?})", self.id, self.endpoints)
    }
}

async fn answer(connection: &Connection, method: &Method, path: &str, body: Bytes) -> Result<Answered, Unreachable> {
    let answer = tokio::time::timeout(PATIENCE, exchange(connection, method, path, body)).await;
    answer.unwrap_or_else(|_| Err("it did not answer in time".into())).map_err(|error| unreachable(connection, &error))
}

fn unreachable(connection: &Connection, error: &Failure) -> Unreachable {
    let closed = connection.close_reason().map(|reason| format!("{error} ({reason})"));
    let stranger = matches!(connection.close_reason(), Some(CloseReason::ByPeer { code: CloseCode::STRANGER, .. }));
    Unreachable { reason: closed.unwrap_or_else(|| error.to_string()), stranger }
}

type Failure = Box<dyn core::error::Error + Send + Sync>;

fn request(method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let head = Request::builder().method(method).uri(path).header(hyper::header::HOST, "node");
    Ok(head.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Full::new(body))?)
}

async fn follow(connection: &Connection, path: &str) -> Result<Following, Failure> {
    let (send, recv) = connection.open(StreamKind::Http).await?;
    let (mut sender, serving) =
        hyper::client::conn::http1::handshake(TokioIo::new(tokio::io::join(recv, send))).await?;
    let serving = AbortOnDropHandle::new(tokio::spawn(async move {
        // How the stream ends is seen in the body.
        let _ = serving.await;
    }));
    let response = sender.send_request(request(&Method::GET, path, Bytes::new())?).await?;
    let status = response.status();
    if status.is_success() {
        Ok(Following { body: response.into_body(), _serving: serving })
    } else {
        Err(format!("it answers {status}").into())
    }
}

impl Following {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(bytes);
            }
        }
    }
}

async fn exchange(connection: &Connection, method: &Method, path: &str, body: Bytes) -> Result<Answered, Failure> {
    let (send, recv) = connection.open(StreamKind::Http).await?;
    let io = TokioIo::new(tokio::io::join(recv, send));
    let (mut sender, serving) = hyper::client::conn::http1::handshake(io).await?;
    let request = request(method, path, body)?;
    let asked = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await?.to_bytes();
        Ok(Answered { status, body })
    };
    tokio::pin!(serving, asked);
    tokio::select! {
        answered = &mut asked => answered,
        // The answer may have come whole before the connection ended.
        ended = &mut serving => {
            ended?;
            asked.await
        }
    }
}
