//! Answers that are taken out of the agent's keeping only once the system has every byte of the response (contracts/local-api.md A11).
//!
//! ```text
//!   response's body is read ─▶ the answer waits here ─▶ the connection has flushed ─▶ taken
//!                                      └─ the connection ends before ─▶ dropped: it is in the inbox
//! ```

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use nuncio::{Error, HeldAnswer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt as _;

use super::refused::Refused;
use crate::wire::InboxLetter;

/// The answers that one connection has been given and has not flushed.
#[derive(Clone, Debug, Default)]
pub(super) struct Handover(Arc<Mutex<Vec<HeldAnswer>>>);

impl Handover {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<HeldAnswer>> {
        // What it guards stays whole even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushed(&self) {
        for answer in self.all().drain(..) {
            tokio::spawn(async move {
                if let Err(error) = answer.take().await {
                    tracing::debug!(%error, "an answer that was handed out is in the inbox too");
                }
            });
        }
    }
}

/// The response that tells an answer. Without a connection, in a command's own process, the answer is taken first.
pub(super) async fn response(
    answer: HeldAnswer,
    told: &InboxLetter,
    handover: Option<Handover>,
) -> Result<Response, Refused> {
    let bytes = serde_json::to_vec(told).map_err(|error| Refused::from(Error::Failed(error.to_string())))?;
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, bytes.len().to_string())];
    let Some(handover) = handover else {
        answer.take().await?;
        return Ok((headers, bytes).into_response());
    };
    let mut answer = Some(answer);
    let body = tokio_stream::once(bytes).map(move |bytes| {
        handover.all().extend(answer.take());
        Ok::<_, io::Error>(bytes)
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

/// A connection that says when everything written to it has been flushed.
pub(super) struct Flushing<S> {
    stream: S,
    handover: Handover,
}

impl<S> Flushing<S> {
    pub(super) const fn new(stream: S, handover: Handover) -> Self {
        Self { stream, handover }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flushing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flushing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.handover.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Flushing<S> {
    fn drop(&mut self) {
        // Their bytes were not all handed over: back to the inbox.
        self.handover.all().clear();
    }
}
