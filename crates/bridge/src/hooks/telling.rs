//! What comes for one webhook, told one after the other (contracts/call.md X48).
//!
//! ```text
//!   taking ─► none of its tries is taken ─► stalled: one short try each ─► one is taken ─► taking
//! ```
//!
//! From the first try that is not taken on, of what waits the newest stay, until one is taken: what lies in the agent's inbox is of what may
//! wait there of that peer, for everybody here.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::line::{Heard, HeardWhat, Line};

/// How long a client may take to take a notification.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long one that did not take the one before.
const STALLED_PATIENCE: Duration = Duration::from_secs(5);
/// After these a notification is tried again; then it is given up.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];
/// Notifications that are kept for a client that takes nothing.
const KEPT_MAX: usize = 16;
/// No more of them from here on: those of a home's webhooks are less than what may wait of one peer.
const KEPT_LEN_MAX: u64 = 64 << 10;

/// What comes for one.
pub(super) struct Telling<'a, L> {
    line: &'a L,
    heard: mpsc::Receiver<Heard>,
    kept: VecDeque<Heard>,
    stalled: bool,
}

impl<'a, L: Line> Telling<'a, L> {
    pub(super) const fn new(line: &'a L, heard: mpsc::Receiver<Heard>) -> Self {
        Self { line, heard, kept: VecDeque::new(), stalled: false }
    }

    /// What is told next; `None` once nothing will come.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        match self.kept.pop_front() {
            Some(kept) => Some(kept),
            None => self.heard.recv().await,
        }
    }

    /// Tells one, by a try that takes so long at most, until it is taken or given up.
    ///
    /// # Errors
    /// It was given up: why, for people.
    pub(super) async fn tell<F>(&mut self, post: impl Fn(Duration) -> F) -> Result<(), String>
    where
        F: Future<Output = Result<(), String>>,
    {
        let again: &[Duration] = if self.stalled { &[] } else { &AGAIN };
        let mut told = if self.stalled { self.meanwhile(post(STALLED_PATIENCE)).await } else { post(PATIENCE).await };
        for pause in again {
            if told.is_ok() {
                break;
            }
            let next = async {
                tokio::time::sleep(*pause).await;
                post(PATIENCE).await
            };
            told = self.meanwhile(next).await;
        }
        self.stalled = told.is_err();
        told
    }

    /// What is done with a client that takes nothing: of what comes meanwhile the newest are kept.
    async fn meanwhile<T>(&mut self, doing: impl Future<Output = T>) -> T {
        let mut doing = pin!(doing);
        loop {
            tokio::select! {
                biased;
                done = &mut doing => return done,
                Some(heard) = self.heard.recv() => self.keep(heard).await,
            }
        }
    }

    async fn keep(&mut self, heard: Heard) {
        self.kept.push_back(heard);
        // The newest stays, however long: it lies with the agent.
        while self.kept.len() > KEPT_MAX || self.kept.len() > 1 && self.kept.iter().map(len).sum::<u64>() > KEPT_LEN_MAX
        {
            let Some(oldest) = self.kept.pop_front() else { return };
            tracing::info!("a notification for a client that takes none is passed over");
            // An agent that has stopped says it again at its next start.
            let _ = self.line.let_go(oldest.no).await;
        }
    }
}

fn len(heard: &Heard) -> u64 {
    let HeardWhat::Aside(message) = &heard.what else { return 0 };
    message.body.len().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
