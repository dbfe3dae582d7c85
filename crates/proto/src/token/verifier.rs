//! What a receiver knows to judge tokens by: its domain, keys, policy, and what it has verified.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_contracts::registry::limit;

use super::{
    Cache, Circumstances, Denial, EdDsaOnly, Genuine, KeySet, Policy, Receiver, Signatures, Thumbprint, TokenHash,
    Unopened, hash_of,
};
use crate::ids::AgentId;
use crate::letter::Letter;
use crate::time::UnixMillis;

/// Judges the tokens of letters. A new one knows no domain and no key, and its policy delivers nothing without a token.
pub struct Verifier {
    domain: Option<String>,
    keys: KeySet,
    revoked: BTreeSet<String>,
    policy: Policy,
    signatures: Box<dyn Signatures + Send + Sync>,
    cache: Cache,
    pins: Pins,
}

/// The letter that a token came with.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// Who sent it: the peer of its session, or the member whose frame it was in.
    pub from: &'a AgentId,
    /// The receiver.
    pub me: &'a AgentId,
    /// The letter.
    pub letter: &'a Letter,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            domain: None,
            keys: KeySet::default(),
            revoked: BTreeSet::new(),
            policy: Policy::default(),
            signatures: Box::new(EdDsaOnly),
            cache: Cache::new(limit::TOKENS_MAX),
            pins: Pins::default(),
        }
    }
}

impl Verifier {
    /// The trust domain whose tokens are taken.
    pub fn set_domain(&mut self, domain: impl Into<String>) {
        self.domain = Some(domain.into());
    }

    /// What letters need.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// What letters need.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The keys of the domain's token service. What a key verified that is no longer among them is forgotten.
    pub fn set_keys(&mut self, keys: KeySet) {
        self.cache.retain(|token| keys.get(token.kid()).is_some());
        self.keys = keys;
    }

    /// The keys of the domain's token service.
    #[must_use]
    pub const fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Transactions that were revoked.
    pub fn set_revoked(&mut self, revoked: BTreeSet<String>) {
        self.revoked = revoked;
    }

    /// Whether a transaction was revoked.
    #[must_use]
    pub fn is_revoked(&self, transaction: &str) -> bool {
        self.revoked.contains(transaction)
    }

    /// Verifies ES256 and RS256, which this crate does not itself.
    pub fn set_signatures(&mut self, signatures: impl Signatures + Send + Sync + 'static) {
        self.signatures = Box::new(signatures);
    }

    /// A token that was verified and is still known.
    #[must_use]
    pub fn known(&self, hash: &TokenHash) -> Option<Arc<Genuine>> {
        self.cache.get(hash).cloned()
    }

    /// Opens a whole token, from memory if it is there (contracts/token.md section 3, steps 1 to 5).
    ///
    /// # Errors
    /// As [`Genuine::open`]; every token is of another domain while none is set.
    pub fn open(&self, token: &[u8]) -> Result<Arc<Genuine>, Unopened> {
        if self.domain.is_none() {
            return Err(Denial::Audience.into());
        }
        match self.known(&hash_of(token)) {
            Some(known) => Ok(known),
            None => Genuine::open(token, &self.keys, &*self.signatures).map(Arc::new),
        }
    }

    /// Checks what an opened token allows a letter (contracts/token.md section 3, steps 6 to 14).
    ///
    /// # Errors
    /// The first step that fails.
    pub fn check(&self, token: &Genuine, bearer: &Bearer<'_>, now: UnixMillis) -> Result<(), Denial> {
        let (peer, wanted) = (Thumbprint::of_agent(bearer.from), self.policy.wanted(bearer.from, bearer.letter));
        let content = token.claims().hop.pay.as_ref().map(|_| bearer.letter.bound_content()).unwrap_or_default();
        let to = Receiver::of(bearer.letter, bearer.me);
        let circumstances = Circumstances {
            now,
            domain: self.domain.as_deref().ok_or(Denial::Audience)?,
            peer: &peer,
            to: &to,
            revoked: &self.revoked,
            wanted: &wanted,
            content: &content,
            first_seen_from: self.pins.0.get(&token.claims().jti).map(|(first, _)| first),
        };
        token.check(&circumstances).map(drop)
    }

    /// Whether a letter without a token is delivered (contracts/token.md K19).
    ///
    /// # Errors
    /// [`Denial::Missing`].
    pub fn check_without(&self, bearer: &Bearer<'_>, awaited: bool) -> Result<(), Denial> {
        let allowed = self.policy.deliver_without_token && self.policy.wanted(bearer.from, bearer.letter).is_empty();
        if allowed || awaited { Ok(()) } else { Err(Denial::Missing) }
    }

    /// Keeps a token that came with a delivered letter of this sender.
    pub fn keep(&mut self, token: Arc<Genuine>, from: &AgentId, now: UnixMillis) {
        self.pins.pin(&token, Thumbprint::of_agent(from), now);
        self.cache.insert(token);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, tokens) = (self.keys.len(), self.cache.len());
        write!(f, "Verifier({:?}, {keys} keys, {tokens} tokens, {} revoked)", self.domain, self.revoked.len())
    }
}

/// Who was the first to come with each token, by its `jti`, while one of that name may live.
#[derive(Debug, Default)]
struct Pins(BTreeMap<String, (Thumbprint, u64)>, BTreeSet<(u64, String)>);

impl Pins {
    fn pin(&mut self, token: &Genuine, from: Thumbprint, now: UnixMillis) {
        let claims = token.claims();
        if self.0.contains_key(&claims.jti) {
            return;
        }
        self.0.insert(claims.jti.clone(), (from, claims.exp));
        self.1.insert((claims.exp, claims.jti.clone()));
        let over = now.0.saturating_sub(nuncio_contracts::registry::time::TOKEN_SKEW) / 1_000;
        while self.0.len() > limit::TOKENS_PINNED_MAX || self.1.first().is_some_and(|(exp, _)| *exp < over) {
            let Some((_, jti)) = self.1.pop_first() else { return };
            self.0.remove(&jti);
        }
    }
}
