//! What may be used once: the `jti` of assertions and proofs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::crypto;

/// One `jti` that was used, by a hash of who used it and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedId {
    pub(crate) id: [u8; 16],
    /// When it would be refused for its age anyway, in seconds.
    pub(crate) until_s: u64,
}

impl UsedId {
    /// `user` tells apart whose ids these are; `exp` is the last second in which the id would be taken.
    pub(crate) fn new(user: &str, jti: &str, exp: u64) -> Self {
        let hash = crypto::sha256(&[user.as_bytes(), &[0], jti.as_bytes()]);
        let mut id = [0; 16];
        id.copy_from_slice(hash.first_chunk::<16>().unwrap_or(&[0; 16]));
        Self { id, until_s: exp.saturating_add(time::TOKEN_SKEW / 1_000 + 1) }
    }
}

/// Why an id is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    Used,
    /// As many are remembered as may be: nothing is taken, rather than something forgotten.
    Full,
}

/// All that were used and could come again. Authentic ones alone reach it, so a stranger fills nothing.
#[derive(Debug, Default)]
pub(crate) struct Once(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    ids: HashSet<[u8; 16]>,
    ends: BTreeMap<u64, Vec<[u8; 16]>>,
}

impl Once {
    /// Uses an id up.
    pub(crate) fn take(&self, used: UsedId, now_s: u64) -> Result<(), Unusable> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(now_s);
        if memory.ids.len() >= limit::USED_IDS_MAX {
            return Err(Unusable::Full);
        }
        if !memory.ids.insert(used.id) {
            return Err(Unusable::Used);
        }
        memory.ends.entry(used.until_s).or_default().push(used.id);
        Ok(())
    }
}

impl Memory {
    fn forget(&mut self, now_s: u64) {
        while let Some(first) = self.ends.first_entry() {
            if *first.key() >= now_s {
                return;
            }
            for id in first.remove() {
                self.ids.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_used_once_by_each_until_it_has_expired() {
        let once = Once::default();
        let (now, exp) = (1_000, 1_060);
        let used = |user, jti| UsedId::new(user, jti, exp);
        assert_eq!(once.take(used("a", "1"), now), Ok(()));
        assert_eq!(once.take(used("a", "1"), now), Err(Unusable::Used));
        assert_eq!(once.take(used("b", "1"), now), Ok(()));
        assert_eq!(once.take(used("a", "2"), now), Ok(()));
        // With the skew it would still be taken in this second, so it is still remembered.
        assert_eq!(once.take(used("a", "1"), exp + time::TOKEN_SKEW / 1_000), Err(Unusable::Used));
        assert_eq!(once.take(used("a", "1"), exp + time::TOKEN_SKEW / 1_000 + 2), Ok(()));
        assert_eq!(once.0.lock().unwrap().ids.len(), 1, "what has expired is forgotten");
    }
}
