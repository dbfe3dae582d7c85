//! What may be used once: the `jti` of assertions and proofs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// As many are remembered as may be, of this client or of all: nothing is taken, rather than something forgotten.
    Full,
}

/// All that were used and could come again. Authentic ones alone reach it, so a stranger fills nothing.
#[derive(Debug, Default)]
pub(crate) struct Once(Mutex<Memory>);

/// An id, and the client that brought it.
type Owned = ([u8; 16], Arc<str>);

#[derive(Debug, Default)]
struct Memory {
    ids: HashSet<[u8; 16]>,
    ends: BTreeMap<u64, Vec<Owned>>,
    /// How many are each client's.
    held: HashMap<Arc<str>, usize>,
}

impl Once {
    /// Uses an id up that this client brings.
    pub(crate) fn take(&self, client: &str, used: UsedId, now_s: u64) -> Result<(), Unusable> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(now_s);
        let (client, held) = match memory.held.get_key_value(client) {
            Some((client, held)) => (Arc::clone(client), *held),
            None => (Arc::from(client), 0),
        };
        if memory.ids.len() >= limit::USED_IDS_MAX || held >= limit::USED_IDS_PER_CLIENT {
            return Err(Unusable::Full);
        }
        if !memory.ids.insert(used.id) {
            return Err(Unusable::Used);
        }
        memory.held.insert(Arc::clone(&client), held + 1);
        memory.ends.entry(used.until_s).or_default().push((used.id, client));
        Ok(())
    }
}

impl Memory {
    fn forget(&mut self, now_s: u64) {
        while let Some(first) = self.ends.first_entry() {
            if *first.key() >= now_s {
                return;
            }
            for (id, client) in first.remove() {
                self.ids.remove(&id);
                match self.held.get_mut(&client) {
                    Some(held) if *held > 1 => *held -= 1,
                    _ => drop(self.held.remove(&client)),
                }
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
        let take = |user, jti, now_s| once.take(user, UsedId::new(user, jti, exp), now_s);
        assert_eq!(take("a", "1", now), Ok(()));
        assert_eq!(take("a", "1", now), Err(Unusable::Used));
        assert_eq!(take("b", "1", now), Ok(()));
        assert_eq!(take("a", "2", now), Ok(()));
        // With the skew it would still be taken in this second, so it is still remembered.
        assert_eq!(take("a", "1", exp + time::TOKEN_SKEW / 1_000), Err(Unusable::Used));
        assert_eq!(take("a", "1", exp + time::TOKEN_SKEW / 1_000 + 2), Ok(()));
        let memory = once.0.lock().unwrap();
        assert_eq!((memory.ids.len(), memory.held.len()), (1, 1), "what has expired is forgotten");
    }

    /// contracts/txts.md N2.
    #[test]
    fn one_client_fills_its_own_share_and_no_other_s() {
        let once = Once::default();
        let take = |client, number: usize, until_s| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            once.take(client, UsedId { id, until_s }, 1_000)
        };
        assert_eq!(take("a", 0, 999), Ok(()));
        for number in 1..=limit::USED_IDS_PER_CLIENT {
            assert_eq!(take("a", number, 1_060), Ok(()), "what has expired does not count");
        }
        assert_eq!(take("a", usize::MAX, 1_060), Err(Unusable::Full));
        assert_eq!(take("b", usize::MAX, 1_060), Ok(()));
    }
}
