//! A plain HTTP client that sees every byte.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nuncio_bridge::{Front, Guard, Line, serve_fronts};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub const BOTH: &str = "application/json, text/event-stream";

/// A front that runs.
pub struct Running {
    pub address: SocketAddr,
    pub stopping: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
}

pub async fn front(line: impl Line) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
    let guard = Guard::new(address, None, "secret".to_owned().into());
    let app = Front::new(line, guard, stopping.clone()).router();
    let served = tokio::spawn(serve_fronts(listener, app, stopping.clone()));
    Running { address, stopping, served }
}

pub struct Stream {
    body: Body,
    seen: Vec<u8>,
}

impl Running {
    /// One request on a connection of its own, which ends with the answer's body.
    pub async fn ask(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let host = self.address.to_string();
        let mut all = vec![("host", host.as_str()), ("content-type", "application/json"), ("accept", BOTH)];
        all.retain(|(name, _)| headers.iter().all(|(theirs, _)| theirs != name));
        let mut request = Request::builder().method(method).uri("/secret");
        for (name, value) in all.iter().chain(headers) {
            request = request.header(*name, *value);
        }
        client.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap().map(Body::new)
    }

    pub async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
        self.ask("POST", headers, body).await
    }

    /// Begins a session of a revision.
    pub async fn session(&self, version: &str) -> String {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        );
        let answer = self.post(&[], body).await;
        assert_eq!(answer.status(), 200);
        answer.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    }
}

pub async fn whole(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

impl Stream {
    pub fn of(response: Response<Body>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), seen: Vec::new() }
    }

    /// The next event that says something: its id and its data. `None`: the stream has ended.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(at) = self.seen.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.seen.drain(..at + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let of = |field: &str| {
                    let lines = event
                        .lines()
                        .filter_map(|line| line.strip_prefix(field).map(|rest| rest.strip_prefix(' ').unwrap_or(rest)));
                    lines.collect::<Vec<_>>().join("\n")
                };
                if !event.starts_with(':') {
                    return Some((of("id:"), of("data:")));
                }
                continue;
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("a stream is silent");
            self.seen.extend_from_slice(&frame?.ok()?.into_data().unwrap_or_default());
        }
    }
}
