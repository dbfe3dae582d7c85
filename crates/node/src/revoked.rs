//! Transactions that were revoked.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use nuncio_contracts::registry::limit;
use nuncio_store::{Engine, Op};
use serde_json::{Value, json};

use crate::error::NodeError;
use crate::rows;

/// Those of which a token may still live, and how many there ever were.
#[derive(Debug)]
pub(crate) struct Revoked(RwLock<List>);

#[derive(Debug)]
struct List {
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
        Ok(Self(RwLock::new(List { serial, ends })))
    }

    /// Whether no token of this transaction is to be issued.
    pub(crate) fn has(&self, txn: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ends.contains_key(txn)
    }

    /// Revokes, at once; what is returned makes it last. One that is revoked already stays so for the longer time.
    pub(crate) fn add(&self, txn: &str, until_s: u64, now_s: u64) -> Result<Vec<Op>, Full> {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut ops = list.forget(now_s);
        let until_s = list.ends.get(txn).map_or(until_s, |kept| until_s.max(*kept));
        // contracts/txts.md N25: none is forgotten early, so one more is refused.
        if !list.ends.contains_key(txn) && list.ends.len() >= limit::REVOKED_MAX {
            return Err(Full);
        }
        list.ends.insert(txn.to_owned(), until_s);
        list.serial = list.serial.saturating_add(1);
        ops.extend([rows::revoked(txn, until_s), rows::serial(list.serial)]);
        Ok(ops)
    }

    /// Serial and entries of the signed list.
    pub(crate) fn list(&self, now_s: u64) -> (u64, Vec<Value>) {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let live = list.ends.iter().filter(|(_, until)| **until > now_s);
        (list.serial, live.map(|(txn, until)| json!({ "txn": txn, "exp": until })).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ends.len()
    }
}

impl List {
    /// Lets go of those that cannot matter any more.
    fn forget(&mut self, now_s: u64) -> Vec<Op> {
        let (over, live) = std::mem::take(&mut self.ends).into_iter().partition(|(_, until)| *until <= now_s);
        self.ends = live;
        let over: BTreeMap<String, u64> = over;
        over.keys().map(|txn| Op::Delete { key: rows::revoked_key(txn) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use nuncio_store::MemoryEngine;

    use super::*;

    /// contracts/txts.md N25, N27.
    #[test]
    fn a_revocation_lasts_through_restarts_and_leaves_when_no_token_can_live() {
        let store = MemoryEngine::default();
        let revoked = Revoked::load(&store).unwrap();
        store.commit(&revoked.add("a", 100, 50).unwrap()).unwrap();
        store.commit(&revoked.add("b", 200, 50).unwrap()).unwrap();
        let again = Revoked::load(&store).unwrap();
        assert!(again.has("a") && again.has("b") && !again.has("c"));
        assert_eq!(again.list(99).0, 2);
        assert_eq!(again.list(100).1, [json!({ "txn": "b", "exp": 200 })]);
        store.commit(&again.add("c", 300, 100).unwrap()).unwrap();
        assert_eq!(Revoked::load(&store).unwrap().list(100).1.len(), 2, "what is over has left the store");
    }

    #[test]
    fn when_the_list_is_full_one_more_is_refused_and_none_forgotten() {
        let revoked = Revoked::load(&MemoryEngine::default()).unwrap();
        for number in 0..limit::REVOKED_MAX {
            revoked.add(&number.to_string(), 100, 0).unwrap();
        }
        assert_eq!(revoked.add("more", 100, 0), Err(Full));
        assert!(revoked.add("0", 200, 0).is_ok(), "one that is there already");
        assert!(revoked.has("0") && revoked.add("more", 300, 100).is_ok());
    }
}
