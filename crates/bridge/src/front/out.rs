//! What goes back to a client: first a head, then pieces, none of them before the one in front of it was taken.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::flush::{Mark, Marks};
use super::sse::{self, Framing};
use crate::message;

/// Pieces that wait for the connection.
const PIECES: usize = 2;

/// The client is not there any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// The way to one client, for one answer.
pub(super) struct Out {
    head: Option<oneshot::Sender<Response>>,
    headers: HeaderMap,
    body: Option<Body>,
    streams: bool,
    pieces: mpsc::Sender<Piece>,
}

struct Piece {
    bytes: Bytes,
    mark: Option<Mark>,
}

impl Out {
    /// A way on a connection, and the answer once its head is known.
    pub(super) fn new(marks: Marks) -> (Self, oneshot::Receiver<Response>) {
        let (head, answer) = oneshot::channel();
        let (pieces, rx) = mpsc::channel(PIECES);
        let body = Body::from_stream(ReceiverStream::new(rx).map(move |piece: Piece| {
            if let Some(mark) = piece.mark {
                marks.put(mark);
            }
            Ok::<_, io::Error>(piece.bytes)
        }));
        (Self { head: Some(head), headers: HeaderMap::new(), body: Some(body), streams: false, pieces }, answer)
    }

    /// A field of the head; of no effect once that has gone.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    /// Whether the head has gone.
    pub(super) const fn has_begun(&self) -> bool {
        self.head.is_none()
    }

    /// Whether it is a stream of events.
    pub(super) const fn has_stream(&self) -> bool {
        self.streams
    }

    /// Returns when the client has gone.
    pub(super) async fn gone(&mut self) {
        match &mut self.head {
            Some(head) => head.closed().await,
            None => self.pieces.closed().await,
        }
    }

    /// Answers without a message, or with one of ours.
    pub(super) async fn say(&mut self, response: Response) -> Result<(), Gone> {
        let (parts, body) = response.into_parts();
        self.headers.extend(parts.headers.into_iter().filter_map(|(name, value)| Some((name?, value))));
        let whole = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Gone)?;
        self.headers.insert(header::CONTENT_LENGTH, whole.len().into());
        self.whole(parts.status, whole).await
    }

    /// Answers with a message alone. Returns when the system has its last byte.
    pub(super) async fn message(&mut self, status: StatusCode, message: &message::Message) -> Result<(), Gone> {
        let len = message.body.len().map_err(unreadable)?;
        self.set(header::CONTENT_TYPE.as_str(), message.content_type.as_str());
        self.headers.insert(header::CONTENT_LENGTH, len.into());
        if let message::Body::Bytes(bytes) = &message.body {
            return self.whole(status, bytes.clone()).await;
        }
        let mut pieces = message.body.pieces();
        self.begin(status)?;
        let mut left = len;
        while let Some(bytes) = pieces.recv().await {
            let bytes = bytes.map_err(unreadable)?;
            left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            self.piece(bytes, left == 0).await?;
        }
        // A file that has become shorter: the connection ends, as it must.
        if left == 0 { Ok(()) } else { Err(Gone) }
    }

    /// Answers with bytes that are there before the head is: both are written at once, and the client wakes once.
    async fn whole(&mut self, status: StatusCode, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return self.begin(status);
        }
        let (mark, told) = oneshot::channel();
        // Nothing was put in before: there is room.
        self.pieces.try_send(Piece { bytes, mark: Some(mark) }).map_err(|_| Gone)?;
        self.begin(status)?;
        told.await.map_err(|_| Gone)
    }

    /// Begins a stream of events, if it has not begun.
    pub(super) fn begin_stream(&mut self) -> Result<(), Gone> {
        if self.has_begun() {
            return Ok(());
        }
        self.streams = true;
        self.set(header::CONTENT_TYPE.as_str(), "text/event-stream");
        self.set(header::CACHE_CONTROL.as_str(), "no-cache, no-transform");
        self.begin(StatusCode::OK)
    }

    /// An event with a message; `flushed` waits until the system has its last byte.
    pub(super) async fn event(&mut self, id: Option<&str>, body: &message::Body, flushed: bool) -> Result<(), Gone> {
        self.begin_stream()?;
        let mut pieces = body.pieces();
        self.piece(sse::head(id), false).await?;
        let mut framing = Framing::default();
        while let Some(bytes) = pieces.recv().await {
            let bytes = bytes.map_err(unreadable)?;
            self.piece(framing.put(&bytes), false).await?;
        }
        self.piece(Bytes::from_static(sse::TAIL), flushed).await
    }

    /// Ends a stream, which may have had no event. Returns when the system has all of it.
    pub(super) async fn end(&mut self) -> Result<(), Gone> {
        self.begin_stream()?;
        self.piece(Bytes::from_static(sse::COMMENT), true).await
    }

    /// Bytes of a stream that are no message.
    pub(super) async fn aside(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.begin_stream()?;
        self.piece(bytes, false).await
    }

    fn begin(&mut self, status: StatusCode) -> Result<(), Gone> {
        let (Some(head), Some(body)) = (self.head.take(), self.body.take()) else { return Err(Gone) };
        let mut response = (status, body).into_response();
        response.headers_mut().extend(std::mem::take(&mut self.headers));
        head.send(response).map_err(|_| Gone)
    }

    async fn piece(&mut self, bytes: Bytes, flushed: bool) -> Result<(), Gone> {
        let (mark, told) = if flushed { Some(oneshot::channel()) } else { None }.unzip();
        self.pieces.send(Piece { bytes, mark }).await.map_err(|_| Gone)?;
        match told {
            Some(told) => told.await.map_err(|_| Gone),
            None => Ok(()),
        }
    }
}

fn unreadable(error: io::Error) -> Gone {
    tracing::error!(%error, "a message cannot be read");
    Gone
}
