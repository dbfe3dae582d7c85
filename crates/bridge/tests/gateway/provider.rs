//! A stand-in for a provider of completions: it says what it was told to, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::sync::Semaphore;

/// What it was asked: the path, the whole head as text, and the body.
pub(crate) type Seen = (String, String, Bytes);

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) at: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Mutex<(u16, &'static str, String)>>,
    breaks: Arc<AtomicBool>,
    /// Before it answers, one of these is taken.
    pub(crate) leave: Arc<Semaphore>,
}

impl Provider {
    pub(crate) async fn new(status: u16, kind: &'static str, body: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            at: listener.local_addr().unwrap(),
            seen: Arc::default(),
            answer: Arc::new(Mutex::new((status, kind, body.to_owned()))),
            breaks: Arc::default(),
            leave: Arc::new(Semaphore::new(1_000)),
        };
        let app = axum::Router::new().fallback(any(complete)).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    pub(crate) fn says(&self, status: u16, kind: &'static str, body: &str) {
        *self.answer.lock().unwrap() = (status, kind, body.to_owned());
    }

    /// From now on its answer is a stream that says this, and then its connection breaks.
    pub(crate) fn breaks_off_after(&self, said: &str) {
        self.says(200, "text/event-stream", said);
        self.breaks.store(true, Relaxed);
    }

    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn complete(State(provider): State<Provider>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    provider.seen.lock().unwrap().push((parts.uri.to_string(), format!("{:?}", parts.headers), body));
    provider.leave.acquire().await.unwrap().forget();
    let (status, kind, text) = provider.answer.lock().unwrap().clone();
    let head = [(header::CONTENT_TYPE, kind), (header::LOCATION, "/elsewhere"), (header::SET_COOKIE, "a=b")];
    let body = match provider.breaks.load(Relaxed) {
        true => {
            let (sender, rx) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                sender.send(Ok(Bytes::from(text))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                sender.send(Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe))).await.unwrap();
            });
            Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(rx))
        }
        false => Body::from(text),
    };
    (StatusCode::from_u16(status).unwrap(), head, body).into_response()
}
