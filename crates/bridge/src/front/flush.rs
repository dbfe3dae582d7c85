//! When the system has what was written: a connection that says so.
//!
//! ```text
//!   a body gives a piece ─▶ its mark waits here ─▶ the connection has flushed ─▶ told
//!                                  └─ the connection ends before ─▶ dropped
//! ```

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Told when all that was written up to here is the system's; dropped where that does not happen.
pub type Mark = oneshot::Sender<()>;

/// The marks of one connection that was not flushed since.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Vec<Mark>>>);

impl Marks {
    fn all(&self) -> MutexGuard<'_, Vec<Mark>> {
        // What it guards stays whole even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a mark until the next flush.
    pub fn put(&self, mark: Mark) {
        self.all().push(mark);
    }

    fn flushed(&self) {
        for mark in self.all().drain(..) {
            // Nobody waits for it any more.
            let _ = mark.send(());
        }
    }
}

/// A connection and its marks.
#[derive(Debug)]
pub struct Flushing<S> {
    stream: S,
    marks: Marks,
}

impl<S> Flushing<S> {
    /// A connection that tells the marks that are put into these.
    #[must_use]
    pub const fn new(stream: S, marks: Marks) -> Self {
        Self { stream, marks }
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
            self.marks.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Flushing<S> {
    fn drop(&mut self) {
        self.marks.all().clear();
    }
}
