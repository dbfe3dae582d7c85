//! What is done with time: the store's epoch turns, keys kept for letters that never came go, ids of letters that are too old to be taken again go, and failures long told.

use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::time;
use nuncio_proto::ids::LetterId;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine, Op, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::chunks::blocking;
use crate::entropy::now;
use crate::error::Error;
use crate::wake::Wake;

const EVERY: Duration = Duration::from_secs(3_600);
/// Rows forgotten in one commit.
const AT_ONCE: usize = 1_000;

/// The row of the runtime that tells when the epoch last turned.
const EPOCH_TURNED: [u8; 2] = [rows::RUNTIME, b'e'];

/// Looks once an hour until the agent stops.
pub(crate) async fn keep(store: Arc<Store>, wakes: mpsc::Sender<Wake>, cancel: CancellationToken) {
    loop {
        let rows = Arc::clone(&store);
        match blocking(move || old_rows(&rows, now())).await {
            Ok(rows) => {
                // Also when there are none: the actor has keys of its own to forget.
                let (first, rest) = rows.split_at(rows.len().min(AT_ONCE));
                for rows in std::iter::once(first).chain(rest.chunks(AT_ONCE)) {
                    if wakes.send(Wake::Forget(rows.to_vec())).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "old records were not looked through"),
        }
        let turning = Arc::clone(&store);
        if let Err(error) = blocking(move || turn_epoch(&turning, now())).await {
            tracing::warn!(%error, "the store's epoch was not turned; deleted records can still be read with today's key");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Turns the epoch when it is due. A new home's first turn is due after a whole epoch.
fn turn_epoch(store: &Store, now: UnixMillis) -> Result<(), Error> {
    let turned = store.get(&EPOCH_TURNED)?.and_then(|row| row.try_into().ok()).map(u64::from_be_bytes);
    if turned.is_some_and(|turned| now.since(UnixMillis(turned)) < time::EPOCH_LIFE) {
        return Ok(());
    }
    if turned.is_some() {
        let rows = store.turn_epoch()?;
        tracing::info!(rows, epoch = store.epoch(), "the store's epoch has turned");
    }
    Ok(store.commit(&[Op::Put { key: EPOCH_TURNED.to_vec(), value: now.0.to_be_bytes().to_vec() }])?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_proto::secret::Key;
    use nuncio_store::Kek;

    #[test]
    fn the_epoch_turns_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("home"), &Kek::from_key(Key::new([1; 32]))).unwrap();
        let (first, start) = (store.epoch(), UnixMillis(1_800_000_000_000));
        for (after, turns) in [
            (0, 0),
            (time::EPOCH_LIFE - 1, 0),
            (time::EPOCH_LIFE, 1),
            (time::EPOCH_LIFE + 5, 1),
            (2 * time::EPOCH_LIFE, 2),
        ] {
            turn_epoch(&store, start.plus(after)).unwrap();
            assert_eq!(store.epoch(), first + turns, "after {after} ms");
        }
    }

    #[test]
    fn only_rows_older_than_any_letter_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("home"), &Kek::from_key(Key::new([1; 32]))).unwrap();
        let now = UnixMillis(1_800_000_000_000);
        let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        let old = rows::failed(&LetterId::new(UnixMillis(now.0 - life - 1), [1; 10]));
        let young = rows::failed(&LetterId::new(UnixMillis(now.0 - life), [1; 10]));
        for key in [&old, &young] {
            store.commit(&[Op::Put { key: key.clone(), value: vec![1] }]).unwrap();
        }
        assert_eq!(old_rows(&store, now).unwrap(), [old]);
    }
}
