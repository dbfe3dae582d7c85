//! Requests over loopback, and the least that can answer them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::cpu::ASKING;

/// Connections that ask at once.
const CONNECTIONS: usize = 20;

/// A runtime of one core, its threads of this name.
pub(crate) fn one_core(name: &str) -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?)
}

/// Answers every form that is posted to it with nothing.
pub(crate) async fn serve_nothing() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let router = Router::new().route("/token", post(async |_: Bytes| ()));
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}

/// What was answered, and how long it took.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) wait: Duration,
}

/// Connections that are kept, by which forms are posted.
pub(crate) struct Clients {
    runtime: Runtime,
    connections: Vec<SendRequest<Full<Bytes>>>,
}

impl Clients {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self> {
        let runtime = one_core(ASKING)?;
        let connections = (0..CONNECTIONS).map(|_| runtime.block_on(connect(to))).collect::<Result<_>>()?;
        Ok(Self { runtime, connections })
    }

    /// Posts all, by each connection one after the other.
    pub(crate) fn post(&mut self, forms: Vec<Bytes>) -> Result<Vec<Answer>> {
        let forms = Arc::new(Mutex::new(forms));
        let connections = core::mem::take(&mut self.connections).into_iter();
        let asking: Vec<_> = connections.map(|by| self.runtime.spawn(ask(by, Arc::clone(&forms)))).collect();
        let mut answers = Vec::new();
        for connection in asking {
            let (connection, answered) = self.runtime.block_on(connection)??;
            self.connections.push(connection);
            answers.extend(answered);
        }
        Ok(answers)
    }
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(send)
}

async fn ask(
    mut by: SendRequest<Full<Bytes>>,
    forms: Arc<Mutex<Vec<Bytes>>>,
) -> Result<(SendRequest<Full<Bytes>>, Vec<Answer>)> {
    let next = || forms.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut answers = Vec::new();
    while let Some(form) = next() {
        let request = Request::post("/token").header("host", "node");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(Full::new(form))?;
        let asked = Instant::now();
        let response = by.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        answers.push(Answer { body, wait: asked.elapsed() });
    }
    Ok((by, answers))
}
