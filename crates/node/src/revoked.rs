//! Transactions that were revoked.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use nuncio_contracts::registry::limit;
use nuncio_store::{Engine, Op};
use serde_json::{Value, json};

use crate::error::NodeError;
use crate::rows;

/// The list in force. It is on the device: a longer one is put in its place once it was written.
#[derive(Debug)]
pub(crate) struct Revoked(RwLock<Arc<List>>);

/// Transactions of which a token may still live.
#[derive(Clone, Debug)]
pub(crate) struct List {
    serial: u64,
    /// Until when each is kept, in seconds.
    ends: BTreeMap<String, u64>,
}

/// As many are kept as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Revoked {
    pub(crate) fn load(store: &impl Engine) -> Result<Self, NodeError> {
        let serial = store.get(rows::SERIAL)?.map_or(Ok(0), |value| rows::number(&value))?;
        let mut read = Vec::new();
        store.scan(&[rows::REVOKED], &mut |key, value| {
            let txn = key.get(1..).and_then(|txn| std::str::from_utf8(txn).ok()).map(str::to_owned);
            read.push((txn, rows::number(value)));
            Ok(())
        })?;
        let mut ends = BTreeMap::new();
        for (txn, until) in read {
            ends.insert(txn.ok_or(NodeError::Record("a revocation"))?, until?);
        }
        Ok(Self(RwLock::new(Arc::new(List { serial, ends }))))
    }

    /// Whether no token of this transaction is to be issued.
    pub(crate) fn has(&self, txn: &str) -> bool {
        self.list().ends.contains_key(txn)
    }

    /// The list in force.
    pub(crate) fn list(&self) -> Arc<List> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a list in force that was written.
    pub(crate) fn put(&self, list: List) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
    }
}

impl List {
    /// Revokes; what is returned is to be written. One that is revoked already stays so for the longer time.
    pub(crate) fn add(&mut self, txn: &str, until_s: u64, now_s: u64) -> Result<Vec<Op>, Full> {
        let mut ops = self.forget(now_s);
        let until_s = self.ends.get(txn).map_or(until_s, |kept| until_s.max(*kept));
        // contracts/txts.md N25: none is forgotten early, so one more is refused.
        if !self.ends.contains_key(txn) && self.ends.len() >= limit::REVOKED_MAX {
            return Err(Full);
        }
        self.ends.insert(txn.to_owned(), until_s);
        // contracts/txts.md N27
        self.serial = self.serial.saturating_add(1).max(now_s);
        ops.extend([rows::revoked(txn, until_s), rows::serial(self.serial)]);
        Ok(ops)
    }

    /// Lets go of those that cannot matter any more.
    fn forget(&mut self, now_s: u64) -> Vec<Op> {
        let (over, live) = std::mem::take(&mut self.ends).into_iter().partition(|(_, until)| *until <= now_s);
        self.ends = live;
        let over: BTreeMap<String, u64> = over;
        over.keys().map(|txn| Op::Delete { key: rows::revoked_key(txn) }).collect()
    }

    /// Which list it is.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    /// What stands in the signed list.
    pub(crate) fn entries(&self, now_s: u64) -> Vec<Value> {
        let live = self.ends.iter().filter(|(_, until)| **until > now_s);
        live.map(|(txn, until)| json!({ "txn": txn, "exp": until })).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use nuncio_store::MemoryEngine;

    use super::*;

    fn list() -> List {
        List { serial: 0, ends: BTreeMap::new() }
    }

    /// contracts/txts.md N25.
    #[test]
    fn a_revocation_lasts_through_restarts_and_leaves_when_no_token_can_live() {
        let (store, mut list) = (MemoryEngine::default(), list());
        store.commit(&list.add("a", 100, 50).unwrap()).unwrap();
        store.commit(&list.add("b", 200, 50).unwrap()).unwrap();
        let again = Revoked::load(&store).unwrap();
        assert!(again.has("a") && again.has("b") && !again.has("c"));
        assert_eq!(again.list().serial(), 51);
        assert_eq!(again.list().entries(100), [json!({ "txn": "b", "exp": 200 })]);
        let mut list = List::clone(&again.list());
        store.commit(&list.add("c", 300, 100).unwrap()).unwrap();
        assert!(again.has("a") && !again.has("c"), "nothing is in force that was not put");
        again.put(list);
        assert!(!again.has("a") && again.has("c"));
        assert_eq!(Revoked::load(&store).unwrap().list().len(), 2, "what is over has left the store");
    }

    /// contracts/txts.md N27: a home that a backup brought back is not taken for older by who knows what came after the backup.
    #[test]
    fn the_serial_grows_with_each_and_is_never_behind_the_time() {
        let mut list = list();
        list.add("a", 2_000, 1_000).unwrap();
        let mut backup = list.clone();
        let mut serials = vec![list.serial()];
        for (txn, now_s) in [("b", 1_000), ("c", 1_000), ("d", 990), ("e", 1_500)] {
            list.add(txn, 2_000, now_s).unwrap();
            serials.push(list.serial());
        }
        assert_eq!(serials, [1_000, 1_001, 1_002, 1_003, 1_500]);
        backup.add("f", 2_000, 1_501).unwrap();
        assert!(backup.serial() > list.serial());
    }

    #[test]
    fn when_the_list_is_full_one_more_is_refused_and_none_forgotten() {
        let mut list = list();
        for number in 0..limit::REVOKED_MAX {
            list.add(&number.to_string(), 100, 0).unwrap();
        }
        assert_eq!(list.add("more", 100, 0), Err(Full));
        assert!(list.add("0", 200, 0).is_ok(), "one that is there already");
        assert!(list.ends.contains_key("0") && list.add("more", 300, 100).is_ok());
    }
}
