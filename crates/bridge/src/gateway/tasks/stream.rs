//! A task as it goes, to one who listens (contracts/gateway.md W37).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::rpc;
use super::task::{Had, Task};

/// How long a stream says nothing before it shows that it lives.
const PULSE: Duration = Duration::from_secs(15);
/// A stream that is longer than any task.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Who listens.
pub(super) struct Listening {
    /// The request's, as it is written.
    pub(super) id: String,
    pub(super) task: Arc<Task>,
    /// What is told first, and what was had with it.
    pub(super) first: (Value, Had),
    /// Until then, where it is not to the end.
    pub(super) lives: Option<Duration>,
    pub(super) stopping: CancellationToken,
}

impl Listening {
    pub(super) fn stream(self) -> Response {
        let (events, rx) = mpsc::channel(2);
        tokio::spawn(self.pour(events));
        let mut response = (StatusCode::OK, Body::from_stream(ReceiverStream::new(rx))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        response
    }

    async fn pour(self, events: mpsc::Sender<io::Result<Bytes>>) {
        let Self { id, task, first: (first, mut had), lives, stopping } = self;
        let event = |result: &Value| Ok(Bytes::from(format!("data: {}\n\n", rpc::said(&id, result))));
        let mut bell = task.follow();
        let mut pulse = interval_at(Instant::now() + PULSE, PULSE);
        let mut end = std::pin::pin!(sleep(lives.unwrap_or(LONGEST)));
        let mut told = vec![json!({ "task": first })];
        loop {
            told.extend(task.news(&mut had));
            for one in told.drain(..) {
                // Whoever has gone ends no task.
                if events.send(event(&one)).await.is_err() {
                    return;
                }
            }
            if had.is_over {
                return;
            }
            tokio::select! {
                changed = bell.changed() => if changed.is_err() { return },
                _ = pulse.tick() => drop(events.try_send(Ok(Bytes::from_static(b":\n\n")))),
                () = end.as_mut() => return,
                () = events.closed() => return,
                () = stopping.cancelled() => return,
            }
        }
    }
}
