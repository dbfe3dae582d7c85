//! The inbox as the API reads it: letters by their number, and a bell that rings when one comes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio::{Agent, Error, Inbox, Incoming};
use tokio::sync::watch;

/// A view of the agent's inbox that many requests can look at.
#[derive(Clone)]
pub(super) struct Shelf {
    letters: Letters,
    bell: watch::Receiver<()>,
}

type Letters = Arc<Mutex<BTreeMap<u64, Incoming>>>;

impl Shelf {
    /// Takes the letters that are there, and then those that come, until the agent stops.
    pub(super) async fn fill(agent: &Agent) -> Result<Self, Error> {
        let mut inbox = agent.inbox().await?;
        let letters = Letters::default();
        while let Some(letter) = ready(&mut inbox).await {
            lock(&letters).insert(letter.no, letter);
        }
        let (ring, bell) = watch::channel(());
        let shelf = Self { letters: Arc::clone(&letters), bell };
        tokio::spawn(async move {
            while let Ok(letter) = inbox.next().await {
                lock(&letters).insert(letter.no, letter);
                ring.send_replace(());
            }
        });
        Ok(shelf)
    }

    /// Letters with higher numbers than this one, in their order.
    pub(super) fn page(&self, after: Option<u64>, max: usize) -> Vec<Incoming> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        lock(&self.letters).range((from, Bound::Unbounded)).take(max).map(|(_, letter)| letter.clone()).collect()
    }

    pub(super) fn letter(&self, no: u64) -> Option<Incoming> {
        lock(&self.letters).get(&no).cloned()
    }

    /// Takes away a letter that is done.
    pub(super) fn clear(&self, no: u64) {
        lock(&self.letters).remove(&no);
    }

    /// Rings when a letter has come since it was made.
    pub(super) fn bell(&self) -> watch::Receiver<()> {
        let mut bell = self.bell.clone();
        bell.mark_unchanged();
        bell
    }
}

/// A letter that is there already. Outside tokio's budget, which would end the run of them after 128.
async fn ready(inbox: &mut Inbox) -> Option<Incoming> {
    tokio::task::unconstrained(async {
        tokio::select! {
            biased;
            letter = inbox.next() => letter.ok(),
            () = std::future::ready(()) => None,
        }
    })
    .await
}

fn lock(letters: &Mutex<BTreeMap<u64, Incoming>>) -> MutexGuard<'_, BTreeMap<u64, Incoming>> {
    letters.lock().unwrap_or_else(PoisonError::into_inner)
}
