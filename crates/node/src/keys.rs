//! The keys that sign tokens: one signs, the next is known already, those that are over are known still.
//!
//! ```text
//!   Next ── rotate ──▶ Signs ── rotate ──▶ Over ── no token of it can live ──▶ gone
//!    └── published all the while ────────────┘
//! ```

mod token_key;

use std::sync::Arc;

use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Algorithm, KeySet};
use nuncio_store::{Engine, Op};
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::rows::{self, Stage, TokenKeyRow};

pub(crate) use token_key::TokenKey;

/// What a rotation came to, by the keys' thumbprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The key that signs from now on.
    pub signs: String,
    /// The one after it.
    pub next: String,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    signs: Kept,
    next: Kept,
    over: Vec<Kept>,
    /// What verifies a token of ours, whichever of them signed it.
    set: KeySet,
}

#[derive(Clone, Debug)]
struct Kept {
    number: u32,
    key: Arc<TokenKey>,
    since: UnixMillis,
}

impl Kept {
    fn make(number: u32, algorithm: Algorithm, now: UnixMillis) -> Result<Self, NodeError> {
        Ok(Self { number, key: Arc::new(TokenKey::generate(algorithm)?), since: now })
    }

    fn put(&self, stage: Stage) -> Result<Op, NodeError> {
        let (algorithm, secret) = self.key.to_row()?;
        Ok(TokenKeyRow { algorithm, secret, stage, since: self.since }.put(self.number))
    }
}

impl Keys {
    /// The first keys of a node, and what is to be written of them.
    pub(crate) fn make(algorithm: Algorithm, now: UnixMillis) -> Result<(Self, Vec<Op>), NodeError> {
        let (signs, next) = (Kept::make(0, algorithm, now)?, Kept::make(1, algorithm, now)?);
        let ops = vec![signs.put(Stage::Signs)?, next.put(Stage::Next)?];
        Ok((Self::new(signs, next, Vec::new())?, ops))
    }

    /// Those of a store, if it has any.
    pub(crate) fn load(store: &impl Engine) -> Result<Option<Self>, NodeError> {
        let mut read = Vec::new();
        store.scan(&[rows::TOKEN_KEYS], &mut |key, value| {
            read.push(TokenKeyRow::read(key, value));
            Ok(())
        })?;
        let (mut signs, mut next, mut over) = (None, None, Vec::new());
        for row in read {
            let (number, row) = row?;
            let key = Arc::new(TokenKey::from_row(row.algorithm, row.secret)?);
            let kept = Kept { number, key, since: row.since };
            match row.stage {
                Stage::Signs => signs = Some(kept),
                Stage::Next => next = Some(kept),
                Stage::Over => over.push(kept),
            }
        }
        match (signs, next) {
            (Some(signs), Some(next)) => Self::new(signs, next, over).map(Some),
            (None, None) => Ok(None),
            _ => Err(NodeError::Record("the token keys: one is missing")),
        }
    }

    fn new(signs: Kept, next: Kept, over: Vec<Kept>) -> Result<Self, NodeError> {
        let mut keys = Self { signs, next, over, set: KeySet::default() };
        for kept in keys.all() {
            keys.set.insert(kept.key.verifying()?);
        }
        Ok(keys)
    }

    fn all(&self) -> Vec<Kept> {
        [&self.signs, &self.next].into_iter().chain(&self.over).cloned().collect()
    }

    /// The key that signs.
    pub(crate) fn signing(&self) -> &Arc<TokenKey> {
        &self.signs.key
    }

    /// What verifies a token of ours.
    pub(crate) const fn set(&self) -> &KeySet {
        &self.set
    }

    /// The public halves as members of a JWK set.
    pub(crate) fn jwks(&self, now: UnixMillis) -> Vec<serde_json::Value> {
        let known = self.over.iter().filter(|kept| !is_gone(kept, now));
        [&self.signs, &self.next].into_iter().chain(known).map(|kept| kept.key.public_jwk()).collect()
    }

    /// Puts a key of another algorithm in the place of the next one, where the policy wants another now.
    pub(crate) fn prepare(&mut self, algorithm: Algorithm, now: UnixMillis) -> Result<Vec<Op>, NodeError> {
        if self.next.key.algorithm() == algorithm {
            return Ok(Vec::new());
        }
        let next = Kept::make(self.next.number.saturating_add(1), algorithm, now)?;
        let ops = vec![Op::Delete { key: rows::token_key(self.next.number) }, next.put(Stage::Next)?];
        *self = Self::new(self.signs.clone(), next, self.over.clone())?;
        Ok(ops)
    }

    /// The next key signs from now on (contracts/txts.md N29). Nothing is in force before the writes are.
    pub(crate) fn rotate(&mut self, now: UnixMillis, force: bool) -> Result<(Vec<Op>, Rotated), NodeError> {
        let published = now.since(self.next.since);
        if !force && published < time::KEY_LEAD {
            return Err(NodeError::TooEarly { published_s: published / 1_000, lead_s: time::KEY_LEAD / 1_000 });
        }
        let next = Kept::make(self.next.number.saturating_add(1), self.next.key.algorithm(), now)?;
        let signs = Kept { since: now, ..self.next.clone() };
        let ended = Kept { since: now, ..self.signs.clone() };
        let (gone, mut over): (Vec<_>, Vec<_>) = self.over.iter().cloned().partition(|kept| is_gone(kept, now));
        let mut ops = vec![signs.put(Stage::Signs)?, next.put(Stage::Next)?, ended.put(Stage::Over)?];
        ops.extend(gone.iter().map(|kept| Op::Delete { key: rows::token_key(kept.number) }));
        over.push(ended);
        let rotated = Rotated { signs: signs.key.kid().to_string(), next: next.key.kid().to_string() };
        *self = Self::new(signs, next, over)?;
        Ok((ops, rotated))
    }
}

/// Whether no token that it signed can live.
fn is_gone(kept: &Kept, now: UnixMillis) -> bool {
    now.since(kept.since) > time::TOKEN_LIFE_MAX + time::TOKEN_SKEW
}

#[cfg(test)]
mod tests {
    use nuncio_store::MemoryEngine;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn kids(keys: &Keys, now: UnixMillis) -> Vec<String> {
        keys.jwks(now).iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// contracts/txts.md N28, N29.
    #[test]
    fn a_key_is_known_before_it_signs_and_as_long_as_its_tokens_live() {
        let (mut keys, _) = Keys::make(Algorithm::EdDsa, NOW).unwrap();
        let before = kids(&keys, NOW);
        assert!(matches!(keys.rotate(NOW.plus(time::KEY_LEAD - 1), false), Err(NodeError::TooEarly { .. })));
        let turned = NOW.plus(time::KEY_LEAD);
        let (_, rotated) = keys.rotate(turned, false).unwrap();
        assert_eq!(rotated.signs, before[1], "the one that was published signs");
        let lives = time::TOKEN_LIFE_MAX + time::TOKEN_SKEW;
        assert_eq!(kids(&keys, turned.plus(lives)), [rotated.signs.clone(), rotated.next.clone(), before[0].clone()]);
        assert_eq!(kids(&keys, turned.plus(lives + 1)), [rotated.signs, rotated.next]);
    }

    #[test]
    fn keys_of_every_algorithm_survive_a_restart_and_verify_what_they_signed() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
            let store = MemoryEngine::default();
            let (mut keys, ops) = Keys::make(algorithm, NOW).unwrap();
            store.commit(&ops).unwrap();
            store.commit(&keys.rotate(NOW, true).unwrap().0).unwrap();
            let again = Keys::load(&store).unwrap().unwrap();
            assert_eq!(kids(&again, NOW), kids(&keys, NOW));
            let signature = again.signing().sign(b"message").unwrap();
            let key = again.set().get(again.signing().kid()).unwrap();
            assert!(key.verifies(b"message", &signature, &crate::jose::AwsLc));
            assert!(!key.verifies(b"messagf", &signature, &crate::jose::AwsLc));
        }
    }

    #[test]
    fn a_new_algorithm_begins_with_the_next_key() {
        let (mut keys, _) = Keys::make(Algorithm::EdDsa, NOW).unwrap();
        assert!(keys.prepare(Algorithm::EdDsa, NOW).unwrap().is_empty());
        assert_eq!(keys.prepare(Algorithm::Es256, NOW).unwrap().len(), 2);
        assert_eq!(keys.signing().algorithm(), Algorithm::EdDsa);
        keys.rotate(NOW, true).unwrap();
        assert_eq!(keys.signing().algorithm(), Algorithm::Es256);
    }

    #[test]
    fn no_private_half_is_printed() {
        let key = TokenKey::generate(Algorithm::EdDsa).unwrap();
        assert_eq!(format!("{key:?}"), format!("TokenKey({})", key.kid()));
    }
}
