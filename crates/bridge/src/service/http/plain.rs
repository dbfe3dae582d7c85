//! Connections to a server of this machine that is spoken to without TLS: one that was used a moment ago is used again.
//!
//! ```text
//!   send ─► one that is kept, of a server whose connections last ─► answer ─► kept again
//!           └ none, or it has ended meanwhile: a new one ────────┘             └ nobody asks for a moment: it ends
//! ```
//!
//! Some servers end a connection behind each answer and do not say so: what is written to it just then, nobody knows whether it was done. So none is used
//! again before one was seen to last, and none from when one was seen to end.
//!
//! A server that answers in several writes has each wait until the one before is acknowledged, which the system delays by 40 ms on a connection that was
//! used before. Ours acknowledges what it reads at once. Where the system cannot be told so, each request has a connection to itself.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use reqwest::header::{ACCEPT, HOST, HeaderValue};
use reqwest::{Body, Request, Response, Url};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::super::lock;

/// How long a connection is kept that nobody uses: shorter than servers keep theirs, so that none is ended while a request is on its way.
const KEPT: Duration = Duration::from_secs(1);
/// A connection that is still there so long after its answer lasts.
const LASTS: Duration = Duration::from_millis(100);
/// Connections that are kept at once.
const KEPT_MAX: usize = 8;
const IS_PROMPT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Plain {
    idle: Mutex<Idle>,
    patience: Duration,
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The newest last; each answers a request at most.
    kept: Vec<Kept>,
    /// The server's connections last.
    lasts: bool,
    /// Somebody looks after them.
    swept: bool,
}

/// One connection, since when it is kept, and since when its answer was seen to have ended.
#[derive(Debug)]
struct Kept {
    sender: SendRequest<Body>,
    since: Instant,
    ended: Option<Instant>,
}

impl Plain {
    /// Connects within a time.
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { idle: Mutex::default(), patience, this: this.clone() })
    }

    /// Sends a request: its answer's head.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) async fn send(&self, request: Request) -> Result<Response, String> {
        let (url, wait) = (request.url().clone(), request.timeout().copied());
        let sent = self.exchange(&url, prepared(request, &url)?);
        let response = match wait {
            Some(wait) => timeout(wait, sent).await.map_err(|_| "it does not answer in time".to_owned())?,
            None => sent.await,
        };
        response.map(|response| Response::from(response.map(Body::wrap)))
    }

    async fn exchange(
        &self,
        url: &Url,
        mut request: hyper::Request<Body>,
    ) -> Result<hyper::Response<hyper::body::Incoming>, String> {
        if let Some(mut sender) = self.kept() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(sender);
                    return Ok(response);
                }
                // Nothing of it was written: the server has ended that connection.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(told(error.error())),
                },
            }
        }
        let mut sender = self.connect(url).await?;
        let response = sender.send_request(request).await.map_err(|error| told(&error))?;
        self.keep(sender);
        Ok(response)
    }

    async fn connect(&self, url: &Url) -> Result<SendRequest<Body>, String> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let to = (host, url.port_or_known_default().unwrap_or(80));
        let stream = timeout(self.patience, TcpStream::connect(to)).await;
        let stream = stream.map_err(|_| "it takes no connection in time".to_owned())?;
        let stream = stream.map_err(|error| error.to_string())?;
        // A request is for now.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(Prompt(stream))).await.map_err(|error| told(&error))?;
        drop(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a service ended");
            }
        }));
        Ok(sender)
    }

    /// One that can be used again.
    fn kept(&self) -> Option<SendRequest<Body>> {
        let mut idle = lock(&self.idle);
        idle.sweep();
        if !idle.lasts {
            // A server that hears one at a time hears the next then.
            idle.kept.clear();
            return None;
        }
        let at = idle.kept.iter().rposition(|kept| kept.sender.is_ready())?;
        Some(idle.kept.swap_remove(at).sender)
    }

    /// Keeps one whose answer has begun: it is used again once that has ended.
    fn keep(&self, sender: SendRequest<Body>) {
        if !IS_PROMPT {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.kept.len() >= KEPT_MAX {
            idle.kept.remove(0);
        }
        idle.kept.push(Kept { sender, since: Instant::now(), ended: None });
        if !std::mem::replace(&mut idle.swept, true) {
            drop(tokio::spawn(look_after(self.this.clone())));
        }
    }
}

impl Idle {
    fn sweep(&mut self) {
        let now = Instant::now();
        for kept in self.kept.iter_mut().filter(|kept| kept.sender.is_ready()) {
            kept.ended.get_or_insert(now);
        }
        let broken = self.kept.iter().any(|kept| kept.sender.is_closed());
        let last = |kept: &Kept| kept.sender.is_ready() && kept.ended.is_some_and(|at| at.elapsed() >= LASTS);
        self.lasts = !broken && (self.lasts || self.kept.iter().any(last));
        self.kept.retain(|kept| !kept.sender.is_closed() && kept.ended.unwrap_or(kept.since).elapsed() < KEPT);
    }
}

/// Looks whether they last, and ends those that nobody has used for a moment: a server may hear one at a time.
async fn look_after(plain: Weak<Plain>) {
    loop {
        sleep(LASTS).await;
        let Some(plain) = plain.upgrade() else { return };
        let mut idle = lock(&plain.idle);
        idle.sweep();
        if idle.kept.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

/// A request as it is written to a server, and not to a proxy.
fn prepared(request: Request, url: &Url) -> Result<hyper::Request<Body>, String> {
    let mut request = hyper::Request::<Body>::try_from(request).map_err(|error| error.without_url().to_string())?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| "its path is none of HTTP".to_owned())?;
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let host = HeaderValue::from_str(&host).map_err(|_| "its host is none of HTTP".to_owned())?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    Ok(request)
}

fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A connection that acknowledges what it reads at once.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if buf.filled().len() > before {
            // Without it the server waits; it is heard all the same.
            let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
