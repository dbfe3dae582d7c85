//! Messages of one session are handed over one after the other.

use std::sync::Arc;

use nuncio::{CallNews, Called};
use nuncio_proto::call::{ServiceName, What};
use tokio::sync::mpsc;

use super::{Serving, lock};
use crate::service::Of;

/// Whose messages to which service, which are handed over one after the other.
pub(super) type LaneId = (ServiceName, Of);

/// A message that came: its number, itself where it can be handed over now, and how often its peer had been removed by then.
pub(super) struct Noted(u64, Option<Called>, u64);

impl Serving {
    /// A message for a service came.
    pub(crate) fn note(self: &Arc<Self>, called: Called) {
        let of = Of { from: called.letter.from, session: called.place.session };
        let removals = self.removals(&of.from);
        let (no, service, what) = (called.letter.no, called.place.service.clone(), called.place.what);
        let at_hand = Some(called).filter(|called| called.admitted && called.at_hand && called.by.is_some());
        let Some(session) = of.session else {
            // Each stands alone.
            let serving = Arc::clone(self);
            drop(tokio::spawn(async move { serving.take(Noted(no, at_hand, removals)).await }));
            return;
        };
        if what == What::End {
            // At once: what stands before it may wait for a program that does not read. What is kept goes in its turn.
            if let Some(offered) = self.offered(&service) {
                drop(tokio::spawn(async move { offered.service.end(of).await }));
            }
        }
        let lane = (service, Of { session: Some(session), ..of });
        let mut lanes = lock(&self.lanes);
        // What has to wait is read in its turn, and its peer asked for again.
        let unheard = match lanes.get(&lane) {
            Some(sender) => sender.send(Noted(no, None, removals)).is_err(),
            None => true,
        };
        if unheard {
            let (sender, numbers) = mpsc::unbounded_channel();
            // The receiver is in our hands.
            let _ = sender.send(Noted(no, at_hand, removals));
            lanes.insert(lane.clone(), sender);
            tokio::spawn(Arc::clone(self).drive(lane, numbers));
        }
    }

    /// Hands the messages of one session over, in their order, until none is left.
    async fn drive(self: Arc<Self>, lane: LaneId, mut numbers: mpsc::UnboundedReceiver<Noted>) {
        loop {
            let next = {
                let mut lanes = lock(&self.lanes);
                let next = numbers.try_recv().ok();
                if next.is_none() {
                    lanes.remove(&lane);
                }
                next
            };
            match next {
                Some(noted) => self.take(noted).await,
                None => return,
            }
        }
    }

    /// One message.
    async fn take(self: &Arc<Self>, Noted(no, at_hand, removals): Noted) {
        if self.stopping.is_cancelled() {
            return;
        }
        let called = match at_hand {
            Some(called) => called,
            None => match self.agent.call(no).await {
                Ok(Some(CallNews::Came(called))) => *called,
                // An agent that has stopped keeps it for its next start.
                _ => return,
            },
        };
        let done = match called.place.what {
            What::Request => self.request(called, removals).await,
            What::Notice => self.notice(called, removals).await,
            _ => self.end(&called).await,
        };
        if let Err(error) = done {
            tracing::debug!(%error, "a message to a service waits for the next start");
        }
    }
}
