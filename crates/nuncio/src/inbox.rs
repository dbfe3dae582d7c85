//! The inbox as a stream.

use tokio::sync::mpsc;

use crate::error::Error;
use crate::message::Incoming;

/// Letters in the order of their arrival: first those that are there, then those that come. A letter is given again after a restart unless it
/// was [`crate::Agent::done`].
#[derive(Debug)]
pub struct Inbox {
    pub(crate) letters: mpsc::UnboundedReceiver<Incoming>,
}

impl Inbox {
    /// The next letter; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<Incoming, Error> {
        self.letters.recv().await.ok_or(Error::Stopped)
    }
}

impl tokio_stream::Stream for Inbox {
    type Item = Incoming;

    fn poll_next(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Option<Incoming>> {
        self.letters.poll_recv(cx)
    }
}
