//! The local API from the other end: over the socket of a running agent, or straight into the router when the command holds the store itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nuncio::Agent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::local_api::{self, SOCKET};
use crate::wire::Problem;

/// What fails when no node runs.
pub(crate) const REACH_NODE: &str = "reach the node at";

/// What fails when the agent cannot be asked.
const REACH_AGENT: &str = "reach the agent at";
/// How often what changes nothing is asked, where the line broke before an answer came: an agent that stops
/// closes lines that it has not read from, and is gone a moment later.
const ASKED_AT_MOST: u32 = 3;
const BEFORE_ASKING_AGAIN: Duration = Duration::from_millis(20);

/// A client of one agent's local API.
pub struct Api {
    road: Road,
}

enum Road {
    Socket { path: PathBuf, reach: &'static str, spare: Mutex<Option<Line>> },
    Own { agent: Agent, router: Router },
}

type Line = SendRequest<Full<Bytes>>;

impl Api {
    /// Of the agent that runs on a home. Nothing is asked yet.
    #[must_use]
    pub fn at(home: &Path) -> Self {
        Self::on(home.join(SOCKET), REACH_AGENT)
    }

    /// Of the node whose owner's socket this is.
    pub(crate) fn of_node(socket: PathBuf) -> Self {
        Self::on(socket, REACH_NODE)
    }

    fn on(path: PathBuf, reach: &'static str) -> Self {
        Self { road: Road::Socket { path, reach, spare: Mutex::new(None) } }
    }

    /// Whether an agent runs on a home.
    pub async fn is_served(home: &Path) -> bool {
        UnixStream::connect(home.join(SOCKET)).await.is_ok()
    }

    /// Of an agent in this process.
    pub(crate) fn own(agent: Agent, home: &Path) -> Self {
        let router = local_api::own(agent.clone(), home);
        Self { road: Road::Own { agent, router } }
    }

    /// Whether an agent runs that goes on when this command has ended.
    #[must_use]
    pub const fn is_daemon(&self) -> bool {
        matches!(self.road, Road::Socket { .. })
    }

    /// Ends the agent of this process, if it is one.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        match self.road {
            Road::Socket { .. } => Ok(()),
            Road::Own { agent, .. } => Ok(agent.shutdown().await?),
        }
    }

    /// GET.
    ///
    /// # Errors
    /// What the API refuses, or an agent that is gone.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.ask(Method::GET, path, Bytes::new()).await?)
    }

    /// POST with a body.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        read(self.ask(Method::POST, path, body.into()).await?)
    }

    /// POST with neither body nor answer.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn tell(&self, path: &str) -> Result<(), Failure> {
        self.ask(Method::POST, path, Bytes::new()).await.map(drop)
    }

    /// DELETE.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.ask(Method::DELETE, path, Bytes::new()).await?)
    }

    /// GET, all bytes of the answer.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn bytes(&self, path: &str) -> Result<Bytes, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// GET, the answer piece by piece. `None` of the sink ends it.
    ///
    /// # Errors
    /// As [`Api::get`], and whatever the sink says.
    pub async fn pour(&self, path: &str, mut sink: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let (response, _line) = self.exchange(Method::GET, path, Bytes::new()).await?;
        let mut body = checked(response).await?;
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.map_err(broken)?.into_data() {
                sink(&piece)?;
            }
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let (response, line) = self.exchange(method, path, body).await?;
        let bytes = checked(response).await?.collect().await.map_err(broken)?.to_bytes();
        if let (Road::Socket { spare, .. }, Some(line)) = (&self.road, line) {
            spare.lock().await.replace(line);
        }
        Ok(bytes)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Body>, Option<Line>), Failure> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "nuncio");
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(body)).map_err(broken)?;
        match &self.road {
            Road::Own { router, .. } => {
                let Ok(response) = TowerToHyperService::new(router.clone()).call(request).await;
                Ok((response, None))
            }
            Road::Socket { path, reach, spare } => {
                let spare = spare.lock().await.take();
                if request.method() != Method::GET {
                    return said(spare, path, reach, request).await;
                }
                let mut last = said(spare, path, reach, request.clone()).await;
                for _ in 1..ASKED_AT_MOST {
                    if !matches!(last, Err(Failure::Broken(_))) {
                        break;
                    }
                    tokio::time::sleep(BEFORE_ASKING_AGAIN).await;
                    last = said(None, path, reach, request.clone()).await;
                }
                last
            }
        }
    }
}

/// A request and the beginning of its answer, over a line.
async fn said(
    spare: Option<Line>,
    socket: &Path,
    reach: &'static str,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Body>, Option<Line>), Failure> {
    let mut line = usable(spare, socket, reach).await?;
    let answer = match line.try_send_request(request).await {
        Ok(response) => Ok(response),
        Err(mut unsent) => match unsent.take_message() {
            // The line was closed before anything went over it: another, if somebody is there.
            Some(request) => {
                line = usable(None, socket, reach).await?;
                line.send_request(request).await
            }
            None => Err(unsent.into_error()),
        },
    };
    Ok((answer.map_err(broken)?.map(Body::new), Some(line)))
}

/// The line that an earlier request left, if it is still open, or a new one.
async fn usable(spare: Option<Line>, socket: &Path, reach: &'static str) -> Result<Line, Failure> {
    if let Some(mut line) = spare
        && line.ready().await.is_ok()
    {
        return Ok(line);
    }
    let stream = UnixStream::connect(socket).await.map_err(|error| match Failure::io(reach, socket)(error) {
        // A command that finds no agent opens the store itself: this one was there.
        gone if reach == REACH_AGENT && is_gone(&gone) => Failure::Gone(socket.into()),
        other => other,
    })?;
    let (line, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the line.
    tokio::spawn(connection);
    Ok(line)
}

async fn checked(response: Response<Body>) -> Result<Body, Failure> {
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let bytes = body.collect().await.map_err(broken)?.to_bytes();
    let problem = serde_json::from_slice::<Problem>(&bytes);
    Err(problem.map_or_else(|_| Failure::Broken(format!("status {}", head.status)), Failure::Api))
}

fn read<T: DeserializeOwned>(bytes: Bytes) -> Result<T, Failure> {
    serde_json::from_slice(&bytes).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

/// One segment of a path, whatever a person typed.
#[must_use]
pub fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // A String takes everything.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Waits until an agent answers on a home.
///
/// # Errors
/// The last failure, when the time is over.
pub async fn wait_until_served(home: &Path, patience: Duration) -> Result<Api, Failure> {
    const PAUSE: Duration = Duration::from_millis(10);
    let until = tokio::time::Instant::now() + patience;
    let api = Api::at(home);
    loop {
        match api.get::<crate::wire::Id>("/v1/id").await {
            Ok(_) => return Ok(api),
            Err(error) if tokio::time::Instant::now() >= until => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.road {
            Road::Socket { path, .. } => write!(f, "Api({})", path.display()),
            Road::Own { .. } => f.write_str("Api(own)"),
        }
    }
}

/// True when nobody listens: the agent is gone, or not there yet.
#[must_use]
pub fn is_gone(failure: &Failure) -> bool {
    match failure {
        Failure::Broken(_) | Failure::Gone(_) => true,
        Failure::Io { source, .. } => {
            matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            )
        }
        Failure::Api(problem) => problem.code == "stopped",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::{Api, Failure, SOCKET, segment};

    /// An agent that closes one line without having read from it, and then does what `then` says.
    async fn closes_one(
        asked: impl AsyncFnOnce(Api) -> Result<(), Failure>,
        then: impl FnOnce(UnixListener),
    ) -> Failure {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join(SOCKET)).unwrap();
        let api = Api::at(home.path());
        let closing = async {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            drop(stream);
            then(listener);
        };
        let (failure, ()) = tokio::join!(asked(api), closing);
        failure.unwrap_err()
    }

    #[tokio::test]
    async fn an_agent_that_stops_before_it_has_read_a_question_has_stopped() {
        let gone = closes_one(async |api| api.bytes("/v1/id").await.map(drop), drop).await;
        assert!(matches!(gone, Failure::Gone(_)), "{gone}");
    }

    /// It may have been done: nobody asks for it twice.
    #[tokio::test]
    async fn what_changes_something_is_said_once() {
        let (told, later) = std::sync::mpsc::channel();
        let broken = closes_one(async |api| api.tell("/v1/peers").await, |listener| told.send(listener).unwrap()).await;
        assert!(matches!(broken, Failure::Broken(_)), "{broken}");
        let listener = later.recv().unwrap();
        let again = tokio::time::timeout(super::BEFORE_ASKING_AGAIN * 10, listener.accept()).await;
        assert!(again.is_err(), "a second line");
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("did:key:z6Mk-_.x"), "did:key:z6Mk-_.x");
        assert_eq!(segment("a/b?c=ü "), "a%2Fb%3Fc%3D%C3%BC%20");
    }
}
