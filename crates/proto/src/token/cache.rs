//! Genuine tokens by their hashes: what was verified once is not verified again, only checked.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::{Genuine, TokenHash};
use crate::time::UnixMillis;

#[expect(clippy::disallowed_types, reason = "only looked up, never walked, so its order is seen by nobody")]
type Map = std::collections::HashMap<TokenHash, Arc<Genuine>, BuildHasherDefault<Prefix>>;

/// At most so many genuine tokens; the one that expires first makes room.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    tokens: Map,
    /// By expiry, in seconds.
    expiries: BTreeSet<(u64, TokenHash)>,
    max: usize,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// The token of a hash. What it allows is still to be checked.
    #[must_use]
    pub fn get(&self, hash: &TokenHash) -> Option<&Arc<Genuine>> {
        self.tokens.get(hash)
    }

    /// Keeps a token.
    pub fn insert(&mut self, token: Arc<Genuine>) {
        let (expiry, hash) = (token.claims().exp, *token.hash());
        self.tokens.insert(hash, token);
        self.expiries.insert((expiry, hash));
        while self.tokens.len() > self.max {
            let Some((_, first)) = self.expiries.pop_first() else { return };
            self.tokens.remove(&first);
        }
    }

    /// Forgets all but some.
    pub fn retain(&mut self, keep: impl Fn(&Genuine) -> bool) {
        let over: Vec<_> = self
            .tokens
            .values()
            .filter(|token| !keep(token))
            .map(|token| (token.claims().exp, *token.hash()))
            .collect();
        for (expiry, hash) in over {
            self.expiries.remove(&(expiry, hash));
            self.tokens.remove(&hash);
        }
    }

    /// Forgets tokens that have expired, whatever the skew.
    pub fn expire(&mut self, now: UnixMillis) {
        let over = now.0.saturating_sub(nuncio_contracts::registry::time::TOKEN_SKEW) / 1_000;
        let kept = self.expiries.split_off(&(over, [0; 32]));
        for (_, hash) in core::mem::replace(&mut self.expiries, kept) {
            self.tokens.remove(&hash);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// The keys are SHA-256 values of signed tokens: their first bytes are as good as any hash of them.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(self.0, |first| u64::from_le_bytes(*first));
    }

    /// The length of an array says nothing.
    fn write_usize(&mut self, _: usize) {}
}
