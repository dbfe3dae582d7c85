//! In whose name a program asks: the transaction that it names with its message (contracts/call.md X44).

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nuncio::{Agent, Transaction};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::fronts::Fronts;

/// A token that lives shorter than this is not renewed.
const LEFT_LEAST_MS: u64 = 500;
/// The field that holds its token.
pub(crate) const FIELD: &str = "txn-token";

/// The transaction that a message's field names, of all values that it has; `None` where there is none.
///
/// # Errors
/// What stands there cannot count: why, for people.
pub(crate) fn named<'a>(
    mut values: impl Iterator<Item = Option<&'a str>>,
) -> Result<Option<Transaction>, &'static str> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("not allowed: Txn-Token stands twice in the head");
    }
    let named = value.and_then(Transaction::from_token);
    named.map(Some).ok_or("not allowed: Txn-Token is no transaction token")
}

/// The transaction that a connection names, as it stands now: it is renewed while the agent runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<Mutex<Option<Transaction>>>);

impl Standing {
    pub(crate) fn new(transaction: Option<Transaction>) -> Self {
        Self(Arc::new(Mutex::new(transaction)))
    }

    pub(crate) fn get(&self) -> Option<Transaction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, transaction: Option<Transaction>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = transaction;
    }

    /// Renews it before it is over, each time with half of its time left, for as long as this is waited for. What is over stays over.
    pub(crate) async fn lasts(&self, agent: &Agent) -> Infallible {
        while let Some(under) = self.get() {
            let left_ms = under.expires().0.saturating_sub(Agent::now().0);
            if left_ms < LEFT_LEAST_MS {
                tracing::info!(transaction = under.id(), "a transaction is over before what is done under it");
                break;
            }
            sleep(Duration::from_millis(left_ms / 2)).await;
            match agent.renewed(&under).await {
                Ok(fresh) => self.set(Some(fresh)),
                Err(error) => tracing::debug!(%error, "a transaction is not renewed"),
            }
        }
        std::future::pending().await
    }
}

/// How often it is looked whether the transactions of connections are about to be over.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps them alive until the agent stops.
pub(crate) async fn kept(fronts: Weak<Fronts>, stopping: CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    while stopping.run_until_cancelled(look.tick()).await.is_some() {
        let Some(fronts) = fronts.upgrade() else { return };
        stopping.run_until_cancelled(fronts.renew()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_token_that_cannot_count_is_not_taken_for_none() {
        assert!(named([].into_iter()).unwrap().is_none());
        for bad in [&[Some("")][..], &[Some("x")], &[None], &[Some("a.b.c")], &[Some("x"), Some("x")], &[None, None]] {
            assert!(named(bad.iter().copied()).is_err(), "{bad:?}");
        }
    }
}
