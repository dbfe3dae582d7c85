//! The seam: three methods behind which an engine keeps rows.

use std::sync::Arc;

use nuncio_proto::step::Op;

use crate::error::{Refusal, StoreError, hex};

/// Longest key in bytes. Ours have a tree byte, an id or two and a number, 73 bytes at most; 256 keys of this length still fit a page of
/// sled's.
pub const MAX_KEY_LEN: usize = 256;

/// Longest value in bytes, before it is sealed. Larger payloads are chunked and spooled; a row is read whole into memory.
pub const MAX_VALUE_LEN: usize = 1 << 20;

/// Sees one row of a scan: key and value. Its error ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// An ordered map from keys to values that forgets nothing it has promised.
///
/// **`commit` is atomic and durable.** When it returns `Ok`, all its writes are on the device, in the sense that they survive the loss of
/// power in the next instruction. When the process or the machine dies before it returns, the next opening finds all of its writes or
/// none of them. Of two writes to one key in a commit the later one holds. An empty commit does nothing.
///
/// **The first error is final.** After a failed commit the engine refuses everything with [`StoreError::Poisoned`]: what it holds in
/// memory may be more than what is on the device. Opening it again is the recovery. A refusal ([`StoreError::Refused`]) touches
/// nothing and is not such an error.
///
/// **Reading is not a promise.** `get` and `scan` may run beside a commit and may see its writes before it has returned; a `scan` may see
/// some of them. Whoever needs a row to be durable waits for the commit. What is read right after opening is durable.
pub trait Engine: Send + Sync + 'static {
    /// Applies all writes, or none; on the device when it returns.
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits every row whose key begins with the prefix, in the order of keys' bytes, until the visitor gives an error, which is
    /// returned as it is.
    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError>;
}

impl<E: Engine + ?Sized> Engine for Arc<E> {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        (**self).commit(ops)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        (**self).scan(prefix, each)
    }
}

/// The key that a write touches.
pub(crate) fn key_of(op: &Op) -> &[u8] {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

/// Refuses what no engine takes, before anything is touched. `overhead` is what sealing has added to each value.
pub(crate) fn admit(ops: &[Op], overhead: usize) -> Result<(), Refusal> {
    for op in ops {
        let key = key_of(op);
        if key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        if key.len() > MAX_KEY_LEN {
            return Err(Refusal::KeyTooLong { len: key.len(), max: MAX_KEY_LEN });
        }
        if let Op::Put { value, .. } = op
            && value.len() > MAX_VALUE_LEN + overhead
        {
            return Err(Refusal::ValueTooLong { key: hex(key), len: value.len(), max: MAX_VALUE_LEN });
        }
    }
    Ok(())
}
