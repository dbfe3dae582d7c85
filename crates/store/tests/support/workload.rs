//! Steps whose effect is known exactly, so that a lost or torn one shows. Shared by the crash test and the power-cut harness.
//!
//! Step n writes row n, replaces the state row, and deletes the row that has become too old.

use std::collections::BTreeMap;

use nuncio_proto::secret::Key;
use nuncio_store::{Engine, Kek, Op, StoreError};

/// Enough that the engine's files grow for a while: it is what a file system has not yet written about them that a cut takes.
const ROWS_KEPT: u64 = 4000;
const STATE: &[u8] = b"state";

/// The key-encryption key of the stores that are put through this.
pub fn kek() -> Kek {
    Kek::from_key(Key::new([1; 32]))
}

/// The writes of step n; the first step is 1.
pub fn step(n: u64) -> Vec<Op> {
    let mut ops = vec![
        Op::Put { key: row(n), value: value(n) },
        Op::Put { key: STATE.to_vec(), value: n.to_be_bytes().to_vec() },
    ];
    if let Some(too_old) = n.checked_sub(ROWS_KEPT) {
        ops.push(Op::Delete { key: row(too_old) });
    }
    ops
}

/// The last step that the store holds, or what is wrong: it must be exactly what that many whole steps make.
pub fn last_whole_step(store: &dyn Engine) -> Result<u64, String> {
    let plain = |e: StoreError| e.to_string();
    let state = store.get(STATE).map_err(plain)?;
    let last = match state {
        None => 0,
        Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| "the state row is malformed")?),
    };
    let first = (last + 1).saturating_sub(ROWS_KEPT).max(1);
    let expected: BTreeMap<_, _> = (first..=last).map(|n| (row(n), value(n))).collect();
    let mut found = BTreeMap::new();
    store
        .scan(b"r", &mut |key, value| {
            found.insert(key.to_vec(), value.to_vec());
            Ok(())
        })
        .map_err(plain)?;
    if found == expected {
        return Ok(last);
    }
    let missing = expected.keys().filter(|key| !found.contains_key(*key)).count();
    let extra = found.keys().filter(|key| !expected.contains_key(*key)).count();
    Err(format!("torn: after step {last}, {missing} rows are missing, {extra} too many, or values differ"))
}

fn row(n: u64) -> Vec<u8> {
    [b"r", n.to_be_bytes().as_slice()].concat()
}

/// Most values are small, some are larger than a page of the engine's.
fn value(n: u64) -> Vec<u8> {
    let len = if n.is_multiple_of(97) { 150_000 } else { 100 + n % 700 };
    (0..len).zip(n.to_be_bytes().into_iter().cycle()).map(|(_, byte)| byte).collect()
}
