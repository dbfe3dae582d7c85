//! The keys that sign tokens: one signs, the next is known already, those that are over are known still.
//!
//! ```text
//!   Next ── rotate ──▶ Signs ── rotate ──▶ Over ── no token of it can live ──▶ Over ── no transaction can ──▶ gone
//!    └── published all the while ────────────┘                                   │
//!                                             └ its public half alone is kept ───┘
//! ```

mod public_key;
mod token_key;

use std::sync::Arc;

use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Algorithm, KeySet, Thumbprint};
use nuncio_store::{Engine, Op};
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::rows::{self, Stage, TokenKeyRow};

use public_key::PublicKey;
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
    over: Vec<Over>,
    /// What verifies a token of ours, whichever of them signed it.
    set: KeySet,
}

#[derive(Clone, Debug)]
struct Kept {
    number: u32,
    key: Arc<TokenKey>,
    since: UnixMillis,
}

/// A key that signs no more: nobody can sign with it who did not steal it before.
#[derive(Clone, Debug)]
struct Over {
    number: u32,
    key: PublicKey,
    since: UnixMillis,
}

impl Kept {
    fn make(number: u32, algorithm: Algorithm, now: UnixMillis) -> Result<Self, NodeError> {
        Ok(Self { number, key: Arc::new(TokenKey::generate(algorithm)?), since: now })
    }

    fn put(&self, stage: Stage) -> Op {
        let (algorithm, half) = self.key.to_row();
        TokenKeyRow { algorithm, half, stage, since: self.since }.put(self.number)
    }

    fn ended(&self, now: UnixMillis) -> Over {
        Over { number: self.number, key: self.key.public().clone(), since: now }
    }
}

impl Over {
    fn read(number: u32, row: TokenKeyRow) -> Result<Self, NodeError> {
        let key = match PublicKey::from_row(&row.half) {
            Some(key) => key,
            // A row of version 1: the next start or rotation writes it without its secret.
            None => TokenKey::from_row(row.algorithm, row.half)?.public().clone(),
        };
        Ok(Self { number, key, since: row.since })
    }

    /// In the place of what the row held, in which the secret was.
    fn put(&self) -> Op {
        let (algorithm, half) = (token_key::number(self.key.key().algorithm()), self.key.to_row());
        TokenKeyRow { algorithm, half, stage: Stage::Over, since: self.since }.put(self.number)
    }

    /// Whether a token that it signed can live (contracts/txts.md N28).
    fn has_tokens(&self, now: UnixMillis) -> bool {
        now.since(self.since) <= time::TOKEN_LIFE_MAX + time::TOKEN_SKEW
    }

    /// Whether a transaction can, of which it signed a token.
    fn has_transactions(&self, now: UnixMillis) -> bool {
        now.since(self.since) <= time::TRANSACTION_LIFE_MAX + 2 * time::TOKEN_SKEW
    }
}

impl Keys {
    /// The first keys of a node, and what is to be written of them.
    pub(crate) fn make(algorithm: Algorithm, now: UnixMillis) -> Result<(Self, Vec<Op>), NodeError> {
        let (signs, next) = (Kept::make(0, algorithm, now)?, Kept::make(1, algorithm, now)?);
        let ops = vec![signs.put(Stage::Signs), next.put(Stage::Next)];
        Ok((Self::new(signs, next, Vec::new()), ops))
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
            if row.stage == Stage::Over {
                over.push(Over::read(number, row)?);
                continue;
            }
            let place = if row.stage == Stage::Signs { &mut signs } else { &mut next };
            let key = Arc::new(TokenKey::from_row(row.algorithm, row.half)?);
            *place = Some(Kept { number, key, since: row.since });
        }
        match (signs, next) {
            (Some(signs), Some(next)) => Ok(Some(Self::new(signs, next, over))),
            (None, None) => Ok(None),
            _ => Err(NodeError::Record("the token keys: one is missing")),
        }
    }

    fn new(signs: Kept, next: Kept, over: Vec<Over>) -> Self {
        let mut set = KeySet::default();
        for key in [signs.key.public(), next.key.public()].into_iter().chain(over.iter().map(|over| &over.key)) {
            set.insert(key.key().clone());
        }
        Self { signs, next, over, set }
    }

    /// The key that signs.
    pub(crate) fn signing(&self) -> &Arc<TokenKey> {
        &self.signs.key
    }

    /// How many signed before it.
    pub(crate) fn number(&self) -> u64 {
        self.signs.number.into()
    }

    /// What verifies a token of ours, of any age.
    pub(crate) const fn set(&self) -> &KeySet {
        &self.set
    }

    /// Whether this key can have signed a live token at that second (contracts/txts.md N19).
    pub(crate) fn can_have_signed(&self, kid: &Thumbprint, iat: u64, now: UnixMillis) -> bool {
        let over = self.over.iter().find(|over| over.key.kid() == kid);
        over.is_none_or(|over| {
            // A token under way while the keys turned is a little younger than the end of its key.
            over.has_tokens(now) && iat.saturating_mul(1_000) <= over.since.plus(time::TOKEN_SKEW).0
        })
    }

    /// The public halves as members of a JWK set.
    pub(crate) fn jwks(&self, now: UnixMillis) -> Vec<serde_json::Value> {
        let known = self.over.iter().filter(|over| over.has_tokens(now)).map(|over| &over.key);
        [self.signs.key.public(), self.next.key.public()].into_iter().chain(known).map(PublicKey::jwk).collect()
    }

    /// At a start: forgets keys that are of no use any more, and puts a key of another algorithm in the place of the next one, where the
    /// policy wants another now.
    pub(crate) fn prepare(&mut self, algorithm: Algorithm, now: UnixMillis) -> Result<Vec<Op>, NodeError> {
        let (over, mut ops) = self.tidied(now);
        let mut next = self.next.clone();
        if next.key.algorithm() != algorithm {
            ops.push(Op::Delete { key: rows::token_key(next.number) });
            next = Kept::make(next.number.saturating_add(1), algorithm, now)?;
            ops.push(next.put(Stage::Next));
        }
        *self = Self::new(self.signs.clone(), next, over);
        Ok(ops)
    }

    /// The next key signs from now on (contracts/txts.md N29). Nothing is in force before the writes are: one commit, with which the
    /// secret of the former goes.
    pub(crate) fn rotate(&mut self, now: UnixMillis, force: bool) -> Result<(Vec<Op>, Rotated), NodeError> {
        let published = now.since(self.next.since);
        if !force && published < time::KEY_LEAD {
            return Err(NodeError::TooEarly { published_s: published / 1_000, lead_s: time::KEY_LEAD / 1_000 });
        }
        let next = Kept::make(self.next.number.saturating_add(1), self.next.key.algorithm(), now)?;
        let signs = Kept { since: now, ..self.next.clone() };
        let ended = self.signs.ended(now);
        let (mut over, mut ops) = self.tidied(now);
        ops.extend([signs.put(Stage::Signs), next.put(Stage::Next), ended.put()]);
        over.push(ended);
        let rotated = Rotated { signs: signs.key.kid().to_string(), next: next.key.kid().to_string() };
        *self = Self::new(signs, next, over);
        Ok((ops, rotated))
    }

    /// Those that are over and of use, and how their rows come to be so.
    fn tidied(&self, now: UnixMillis) -> (Vec<Over>, Vec<Op>) {
        let (over, gone): (Vec<_>, Vec<_>) = self.over.iter().cloned().partition(|over| over.has_transactions(now));
        let gone = gone.iter().map(|over| Op::Delete { key: rows::token_key(over.number) });
        let ops = over.iter().map(Over::put).chain(gone).collect();
        (over, ops)
    }
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

    /// contracts/txts.md N19, N28.
    #[test]
    fn a_key_that_stopped_vouches_for_what_it_signed_before_while_that_lives() {
        let (mut keys, _) = Keys::make(Algorithm::EdDsa, NOW).unwrap();
        let (kid, next) = (*keys.signing().kid(), *keys.next.key.kid());
        let (now_s, skew_s) = (NOW.0 / 1_000, time::TOKEN_SKEW / 1_000);
        assert!(keys.can_have_signed(&kid, now_s + 3_600, NOW.plus(3_600_000)), "it signs");
        keys.rotate(NOW, true).unwrap();
        let lives = NOW.plus(time::TOKEN_LIFE_MAX + time::TOKEN_SKEW);
        assert!(keys.can_have_signed(&kid, now_s + skew_s, lives));
        assert!(!keys.can_have_signed(&kid, now_s + skew_s + 1, lives), "it had stopped");
        assert!(!keys.can_have_signed(&kid, now_s, lives.plus(1)), "what it signed has expired");
        assert!(keys.can_have_signed(&next, now_s + 3_600, lives.plus(1)));
    }

    fn holds(store: &MemoryEngine, bytes: &[u8]) -> bool {
        let mut found = false;
        store
            .scan(&[rows::TOKEN_KEYS], &mut |_, value| {
                found |= value.windows(bytes.len()).any(|window| window == bytes);
                Ok(())
            })
            .unwrap();
        found
    }

    /// contracts/txts.md N28: the rotation takes the private half away, the end of its transactions the public one.
    #[test]
    fn what_is_kept_of_a_key_that_stopped_signs_nothing_and_goes_with_its_transactions() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
            let store = MemoryEngine::default();
            let (mut keys, ops) = Keys::make(algorithm, NOW).unwrap();
            store.commit(&ops).unwrap();
            let (kid, secret) = (*keys.signing().kid(), keys.signing().to_row().1);
            assert!(holds(&store, &secret));
            store.commit(&keys.rotate(NOW, true).unwrap().0).unwrap();
            assert!(!holds(&store, &secret));
            let end = NOW.plus(time::TRANSACTION_LIFE_MAX + 2 * time::TOKEN_SKEW);
            for (now, is_known) in [(end, true), (end.plus(1), false)] {
                let mut again = Keys::load(&store).unwrap().unwrap();
                store.commit(&again.prepare(algorithm, now).unwrap()).unwrap();
                assert_eq!(again.set().get(&kid).is_some(), is_known);
                assert_eq!(Keys::load(&store).unwrap().unwrap().set(), again.set());
            }
        }
    }

    #[test]
    fn a_row_of_version_1_loses_its_secret_at_the_next_start() {
        let store = MemoryEngine::default();
        let (keys, ops) = Keys::make(Algorithm::Es256, NOW).unwrap();
        store.commit(&ops).unwrap();
        let old = TokenKey::generate(Algorithm::Es256).unwrap();
        let (algorithm, secret) = old.to_row();
        let value = nuncio_proto::codec::encode(&(1, algorithm, serde_bytes::Bytes::new(&secret), 2, NOW.0));
        store.commit(&[Op::Put { key: rows::token_key(7), value }]).unwrap();
        let mut again = Keys::load(&store).unwrap().unwrap();
        store.commit(&again.prepare(Algorithm::Es256, NOW).unwrap()).unwrap();
        assert!(!holds(&store, &secret) && holds(&store, &keys.signing().to_row().1));
        assert!(Keys::load(&store).unwrap().unwrap().set().get(old.kid()).is_some());
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
