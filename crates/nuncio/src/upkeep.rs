//! What is forgotten with time: ids of letters that are too old to be taken again, and failures long told.

use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::time;
use nuncio_proto::ids::LetterId;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::chunks::blocking;
use crate::entropy::now;
use crate::error::Error;
use crate::wake::Wake;

const EVERY: Duration = Duration::from_secs(3_600);
/// Rows forgotten in one commit.
const AT_ONCE: usize = 1_000;

/// Looks once an hour until the agent stops.
pub(crate) async fn keep(store: Arc<Store>, wakes: mpsc::Sender<Wake>, cancel: CancellationToken) {
    loop {
        let rows = Arc::clone(&store);
        match blocking(move || old_rows(&rows, now())).await {
            Ok(rows) => {
                for rows in rows.chunks(AT_ONCE) {
                    if wakes.send(Wake::Forget(rows.to_vec())).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "old records were not looked through"),
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Rows whose letter was made longer ago than any letter lives, clocks' skew included. Letter ids begin with their time, so old rows come first.
fn old_rows(store: &Store, now: UnixMillis) -> Result<Vec<Vec<u8>>, Error> {
    let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
    let mut old = Vec::new();
    for tree in [rows::SEEN, rows::FAILED] {
        let result = store.scan(&[tree], &mut |key, _| {
            let id = key.get(1..17).and_then(|id| id.try_into().ok()).and_then(LetterId::parse);
            if id.is_some_and(|id| now.since(id.created()) <= life) {
                return Err(StoreError::Stopped);
            }
            old.push(key.to_vec());
            Ok(())
        });
        match result {
            // The first young row ends the scan.
            Ok(()) | Err(StoreError::Stopped) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(old)
}
