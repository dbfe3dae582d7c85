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
    async fn give_up(&self, no: u64, why: &str) {
        let Some(Opened { called, method, id, of, .. }) = self.open.take(no) else { return };
        if let Some(offered) = self.offered(&called.place.service) {
            offered.service.forget(&of, no);
        }
        let message = failure(&id, Reason::Unknown, &format!("{why}; nobody knows whether it was done"));
        if let Err(error) = self.answer(&called, message, (Outcome::Unknown, &method), None).await {
            tracing::warn!(%error, "that a request is given up was not sent");
        }
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
