//! How the loop ends: all that was staged is committed and published, and peers take what is for them.

use std::time::Duration;

use nuncio_transport::CloseCode;

use super::{Actor, SHUTDOWN_PATIENCE};
use crate::command::Reply;
use crate::connections::LinkUp;
use crate::error::Error;
use crate::wake::Wake;

/// How long a shutdown waits for peers to take what is for them.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

impl Actor {
    pub(crate) fn stop_with(&mut self, reply: Reply<()>) {
        self.stopping = Some(reply);
    }

    /// What waits for a connection goes first, acknowledgements above all: whatever is not acknowledged comes again at the next start.
    async fn take_leave(&mut self) {
        let links = std::mem::take(&mut self.links).into_values().flatten();
        let sent: Vec<_> = links.map(LinkUp::end).collect();
        let all = async {
            for sent in sent {
                // It says nothing: it ends.
                let _ = sent.await;
            }
        };
        if tokio::time::timeout(LEAVE_PATIENCE, all).await.is_err() {
            tracing::debug!("some peers have not taken what was for them; it comes again");
        }
    }

    /// Commits what is staged, publishes it, closes the link.
    pub(super) async fn stop(mut self) {
        self.commands.close();
        while let Some(writer) = self.writer.as_ref().filter(|_| !self.backlog.is_empty() && !self.failed) {
            self.failed |= !self.backlog.flush_all(writer);
            if self.backlog.is_empty() {
                break;
            }
            match tokio::time::timeout(SHUTDOWN_PATIENCE, self.urgent.recv()).await {
                Ok(Some(Wake::Durable(durable))) => durable.into_iter().for_each(|durable| self.publish(durable)),
                Ok(Some(Wake::StoreFailed(_)) | None) | Err(_) => break,
                Ok(Some(_)) => {}
            }
        }
        let closed = match self.writer.take() {
            Some(writer) => tokio::task::spawn_blocking(move || writer.close())
                .await
                .unwrap_or(Err(nuncio_store::StoreError::Stopped)),
            None => Ok(()),
        };
        while let Ok(wake) = self.urgent.try_recv() {
            if let Wake::Durable(durable) = wake {
                durable.into_iter().for_each(|durable| self.publish(durable));
            }
        }
        self.cancel.cancel();
        self.take_leave().await;
        self.link.close(CloseCode::SHUTTING_DOWN, "the agent stops").await;
        if let Some(reply) = self.stopping.take() {
            // The caller may have gone.
            let _ = reply.send(closed.map_err(Error::from));
        }
    }
}
