//! Requests that nobody waits for any longer (contracts/call.md X13).

use std::sync::{Arc, Weak};
use std::time::Duration;

use nuncio::Outcome;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Serving;
use super::open::Opened;
use super::reply::failure;
use crate::jsonrpc::Reason;

/// How long a service may take to answer a request that was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(30);
/// After how long it is tried again to tell what became of a request.
const TOLD_AGAIN: Duration = Duration::from_secs(5);
/// A request to which its service says nothing for so long is not waited for, and how often that is looked at.
const REQUEST_LIFE: Duration = Duration::from_hours(24);
const OLD_EVERY: Duration = Duration::from_mins(10);

impl Serving {
    /// A request was cancelled: most services say nothing to it any more.
    pub(super) fn give_up_in_a_while(self: &Arc<Self>, no: u64) {
        let serving = Arc::clone(self);
        drop(tokio::spawn(async move {
            tokio::select! {
                () = sleep(CANCEL_GRACE) => serving.give_up(no, "it was cancelled").await,
                () = serving.stopping.cancelled() => (),
            }
        }));
    }

    /// A request that is not waited for any longer: its service is not heard to it, and its id is free.
    pub(super) async fn give_up(self: &Arc<Self>, no: u64, why: &str) {
        let Some(opened) = self.open.take(no) else { return };
        if let Some(offered) = self.offered(&opened.called.place.service) {
            offered.service.forget(&opened.of, no);
        }
        let why = format!("{why}; nobody knows whether it was done");
        if let Err(error) = self.tell_unknown(opened, Reason::Unknown, why).await {
            tracing::warn!(%error, "that a request is given up was not sent");
        }
    }

    /// Tells that nobody knows what came of a request. Where there is no room for that now it stays open, and is told once there is.
    ///
    /// # Errors
    /// The agent has stopped: it is told at its next start.
    // contracts/call.md section 4, -32041.
    pub(super) async fn tell_unknown(
        self: &Arc<Self>,
        opened: Opened,
        reason: Reason,
        why: String,
    ) -> Result<(), nuncio::Error> {
        let why = match self.say_unknown(&opened, reason, &why).await {
            Err(error) if !matches!(error, nuncio::Error::Stopped) => why,
            said => return said,
        };
        let no = opened.called.letter.no;
        self.open.give_up(no, opened);
        let serving = Arc::clone(self);
        drop(tokio::spawn(async move {
            while serving.stopping.run_until_cancelled(sleep(TOLD_AGAIN)).await.is_some() {
                let Some(opened) = serving.open.take_given_up(no) else { return };
                match serving.say_unknown(&opened, reason, &why).await {
                    Err(nuncio::Error::Stopped) | Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "what became of a request cannot be told yet"),
                }
                serving.open.give_up(no, opened);
            }
        }));
        Ok(())
    }

    async fn say_unknown(&self, opened: &Opened, reason: Reason, why: &str) -> Result<(), nuncio::Error> {
        let message = failure(&opened.id, reason, why);
        self.answer(&opened.called, message, (Outcome::Unknown, &opened.method), None).await
    }

    /// Gives up requests to which their services have said nothing for a day.
    pub(super) async fn give_up_old(serving: Weak<Self>, stopping: CancellationToken) {
        while stopping.run_until_cancelled(sleep(OLD_EVERY)).await.is_some() {
            let Some(serving) = serving.upgrade() else { return };
            for no in serving.open.silent(REQUEST_LIFE) {
                serving.give_up(no, "its service said nothing for a day").await;
            }
        }
    }
}
