//! The engine of tests and simulations: a map, with the same promises minus the device.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio_proto::step::Op;

use crate::engine::{Engine, Visit, admit};
use crate::error::StoreError;
use crate::rest::ROW_OVERHEAD;

type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// Rows in memory. Clones share them; [`MemoryEngine::clone_durable`] copies what is committed, as a disk would keep it.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    rows: Arc<Mutex<Rows>>,
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a restart would find: every commit that has returned, in an engine of its own. Values are shared, so this costs the keys.
    #[must_use]
    pub fn clone_durable(&self) -> Self {
        Self { rows: Arc::new(Mutex::new(self.lock().clone())) }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        admit(ops, ROW_OVERHEAD)?;
        let mut rows = self.lock();
        for op in ops {
            match op {
                Op::Put { key, value } => rows.insert(key.clone(), value.as_slice().into()),
                Op::Delete { key } => rows.remove(key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().get(key).map(|value| value.to_vec()))
    }

    /// The lock is not held while the visitor runs, so a visitor may read and commit.
    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut after = Bound::Included(prefix.to_vec());
        loop {
            let next = {
                let rows = self.lock();
                rows.range((after, Bound::Unbounded)).next().map(|(key, value)| (key.clone(), Arc::clone(value)))
            };
            match next {
                Some((key, value)) if key.starts_with(prefix) => {
                    each(&key, &value)?;
                    after = Bound::Excluded(key);
                }
                _ => return Ok(()),
            }
        }
    }
}

impl std::fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryEngine({} rows)", self.lock().len())
    }
}
