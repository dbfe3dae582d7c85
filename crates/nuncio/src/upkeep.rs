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
use crate::{history, said, tally};

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

/// The row that says when a letter of ours failed.
pub(crate) fn failed_at(letter: &LetterId, at: UnixMillis) -> Op {
    Op::Put { key: failed_at_row(letter), value: at.0.to_be_bytes().to_vec() }
}

fn failed_at_row(letter: &LetterId) -> Vec<u8> {
    [&[rows::RUNTIME, b'f'], letter.as_bytes().as_slice()].concat()
}

/// Rows of letters that were delivered longer ago than any letter lives, clocks' skew included, and of letters that failed so long ago.
fn old_rows(store: &Store, now: UnixMillis) -> Result<Vec<Vec<u8>>, Error> {
    let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
    let mut old = first_old(store, rows::SEEN, now, life)?;
    old.extend(tally::old(store, now, life)?);
    old.extend(said::old(store, now, life)?);
    old.extend(history::old(store, now, life)?);
    old.extend(first_old(store, rows::OPENING, now, time::OPENING_LIFE)?);
    let mut failed = Vec::new();
    store.scan(&[rows::FAILED], &mut |key, _| {
        failed.extend(id_in(key));
        Ok(())
    })?;
    for letter in failed {
        let said = store.get(&failed_at_row(&letter))?.and_then(|row| row.try_into().ok()).map(u64::from_be_bytes);
        let at = said.map_or(letter.created(), UnixMillis);
        if now.since(at) > life {
            old.extend([rows::failed(&letter), failed_at_row(&letter)]);
        }
    }
    Ok(old)
}

fn id_in(key: &[u8]) -> Option<LetterId> {
    key.get(1..17).and_then(|id| id.try_into().ok()).and_then(LetterId::parse)
}

/// Keys of a tree's rows of letters that are older than this. Letter ids begin with their time, so old rows come first, and the first young row ends
/// the scan.
fn first_old(store: &Store, tree: u8, now: UnixMillis, life: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut old = Vec::new();
    let scanned = store.scan(&[tree], &mut |key, _| {
        if id_in(key).is_some_and(|id| now.since(id.created()) <= life) {
            return Err(StoreError::Stopped);
        }
        old.push(key.to_vec());
        Ok(())
    });
    match scanned {
        Ok(()) | Err(StoreError::Stopped) => Ok(old),
        Err(error) => Err(error),
    }
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
        let agent =
            nuncio_proto::ids::AgentId::from_bytes(nuncio_proto::crypto::SigningKey::from_seed(&[1; 32]).public());
        let of = |at: u64, random: u8| LetterId::new(UnixMillis(at), [random; 10]);
        let (old, young) = (of(now.0 - life - 1, 1), of(now.0 - life, 1));
        // One that lived as long as it could, and failed just now, is told of as long as any other.
        let (late, long_over) = (of(now.0 - life - 1, 2), of(now.0 - 2 * life, 3));
        let seen = |letter| rows::seen(agent.as_ref().unwrap(), letter);
        for key in [seen(&old), seen(&young), rows::failed(&old), rows::failed(&young)] {
            store.commit(&[Op::Put { key, value: vec![1] }]).unwrap();
        }
        for (letter, at) in [(&late, now.0), (&long_over, now.0 - life - 1)] {
            let row = Op::Put { key: rows::failed(letter), value: vec![1] };
            store.commit(&[row, failed_at(letter, UnixMillis(at))]).unwrap();
        }
        // What opens a letter is kept longer than any letter lives.
        let [kept, let_go] = [0, 1].map(|over| of(now.0 - time::OPENING_LIFE - over, 4));
        let opening = |letter| rows::opening(agent.as_ref().unwrap(), letter);
        for key in [opening(&old), opening(&kept), opening(&let_go)] {
            store.commit(&[Op::Put { key, value: vec![1] }]).unwrap();
        }
        let mut gone = old_rows(&store, now).unwrap();
        gone.sort();
        let mut expected = vec![seen(&old), rows::failed(&old), rows::failed(&long_over), opening(&let_go)];
        expected.extend([failed_at_row(&old), failed_at_row(&long_over)]);
        expected.sort();
        assert_eq!(gone, expected);
    }
}
