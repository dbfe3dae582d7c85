//! An issuer of subject tokens, and its keys: from a file, or fetched and kept for a while.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use tokio::sync::OwnedMutexGuard;

use super::SubjectType;
use crate::entropy::now;
use crate::fetch::Fetch;
use crate::jose::{Jws, KeyRing};
use crate::refusal::Refusal;

/// One who issues subject tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) audience: Vec<String>,
    pub(crate) types: BTreeSet<SubjectType>,
    pub(crate) subject_prefix: String,
    /// What a token may do that names no scope.
    pub(crate) scope: Option<Scope>,
    pub(super) keys: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    File(KeyRing),
    Url(Arc<Fetched>),
}

/// Keys by URL.
#[derive(Debug)]
pub(super) struct Fetched {
    url: String,
    fetch: Fetch,
    kept: Mutex<Kept>,
    /// Held by the one task that fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Keys that were fetched, and the last try to.
#[derive(Debug, Default)]
struct Kept {
    keys: Option<Arc<KeyRing>>,
    at: UnixMillis,
    tried: UnixMillis,
}

/// Whether the issuer is asked for its keys before a token is verified (contracts/txts.md N37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// It is asked, and nobody waits for the answer.
    Meanwhile,
    First,
}

impl Issuer {
    /// Whether one of its keys has signed it. Keys that cannot be had are no verdict: the request may come again.
    pub(crate) async fn has_signed(&self, jws: &Jws<'_>) -> Result<bool, Refusal> {
        match &self.keys {
            Source::File(keys) => Ok(keys.verifies(jws)),
            Source::Url(fetched) => {
                let keys = fetched.keys_for(jws).await;
                let keys =
                    keys.ok_or_else(|| Refusal::unavailable("the keys of the subject token's issuer cannot be had"))?;
                Ok(keys.verifies(jws))
            }
        }
    }
}

impl Fetched {
    pub(super) fn new(url: String) -> Result<Self, String> {
        let fetch = Fetch::new(time::FETCH_PATIENCE)?;
        Ok(Self { url, fetch, kept: Mutex::default(), fetching: Arc::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keys_for(self: &Arc<Self>, jws: &Jws<'_>) -> Option<Arc<KeyRing>> {
        let need = self.kept().need(jws, now());
        let alone = match need {
            Need::Nothing => None,
            Need::Meanwhile => Arc::clone(&self.fetching).try_lock_owned().ok(),
            Need::First => Some(Arc::clone(&self.fetching).lock_owned().await),
        };
        // Whoever waited finds what was found.
        if let Some(alone) = alone
            && self.kept().need(jws, now()) != Need::Nothing
        {
            // A task of its own: a client that goes away does not end what others wait for.
            let fetched = tokio::spawn(Arc::clone(self).refresh(alone));
            if need == Need::First {
                let _ = fetched.await;
            }
        }
        self.kept().keys(now())
    }

    async fn refresh(self: Arc<Self>, _alone: OwnedMutexGuard<()>) {
        let fetched = self.fetch.get(&self.url).await;
        let fetched = fetched.and_then(|jwks| KeyRing::parse(&jwks).map_err(str::to_owned));
        let mut kept = self.kept();
        kept.tried = now();
        match fetched {
            Ok(keys) => (kept.keys, kept.at) = (Some(Arc::new(keys)), kept.tried),
            Err(why) => tracing::warn!(url = self.url, why, "the issuer's keys cannot be had"),
        }
    }
}

impl Kept {
    /// Keys that are old, or do not have this one, are asked for, if the last try is a while ago. Who has a key that is known waits only
    /// where nobody has asked for long: neither a slow issuer nor a stranger's `kid` holds others up.
    fn need(&self, jws: &Jws<'_>, now: UnixMillis) -> Need {
        let (known, age) = (self.keys(now).is_some_and(|keys| keys.knows(jws)), now.since(self.at));
        if now.since(self.tried) < time::KEY_SET_RETRY || known && age < time::KEY_SET_AGE_MAX {
            Need::Nothing
        } else if known && (age < 2 * time::KEY_SET_AGE_MAX || self.tried > self.at) {
            Need::Meanwhile
        } else {
            Need::First
        }
    }

    /// An issuer that is down is outlived by its keys for a while, as we are by ours.
    fn keys(&self, now: UnixMillis) -> Option<Arc<KeyRing>> {
        self.keys.clone().filter(|_| now.since(self.at) < time::KEY_BUNDLE_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use nuncio_proto::crypto::SigningKey;
    use nuncio_proto::testing::jws;

    use super::*;

    const AT: UnixMillis = UnixMillis(1_800_000_000_000);

    fn jwks(seed: u8) -> KeyRing {
        let x = BASE64URL_NOPAD.encode(&SigningKey::from_seed(&[seed; 32]).public());
        let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{x}"}}]}}"#);
        KeyRing::parse(jwks.as_bytes()).unwrap()
    }

    fn signed(kid: &str) -> String {
        jws(&SigningKey::from_seed(&[1; 32]), &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), "{}")
    }

    #[test]
    fn keys_are_asked_for_when_they_are_old_and_outlive_their_issuer_for_a_while() {
        let (known, unknown) = (signed("a"), signed("b"));
        let (known, unknown) = (Jws::parse(&known).unwrap(), Jws::parse(&unknown).unwrap());
        let kept = Kept { keys: Some(Arc::new(jwks(1))), at: AT, tried: AT };
        let (old, retry) = (time::KEY_SET_AGE_MAX, time::KEY_SET_RETRY);
        assert_eq!(Kept::default().need(&known, AT), Need::First);
        for (jws, age, need) in [
            (&known, old - 1, Need::Nothing),
            (&known, old, Need::Meanwhile),
            (&known, 2 * old - 1, Need::Meanwhile),
            (&known, 2 * old, Need::First),
            (&unknown, retry - 1, Need::Nothing),
            (&unknown, retry, Need::First),
        ] {
            assert_eq!(kept.need(jws, AT.plus(age)), need, "{age}");
        }
        let failed = Kept { tried: AT.plus(old), ..kept };
        assert_eq!(failed.need(&known, AT.plus(old + retry - 1)), Need::Nothing);
        assert_eq!(failed.need(&known, AT.plus(2 * old)), Need::Meanwhile, "an issuer that is down makes nobody wait");
        assert!(failed.keys(AT.plus(time::KEY_BUNDLE_LIFE - 1)).is_some());
        assert!(failed.keys(AT.plus(time::KEY_BUNDLE_LIFE)).is_none());
        assert_eq!(failed.need(&known, AT.plus(time::KEY_BUNDLE_LIFE)), Need::First);
    }

    /// contracts/txts.md N37.
    #[tokio::test]
    async fn who_asks_for_an_unknown_key_holds_up_nobody_whose_key_is_known() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fetched = Fetched::new(format!("http://{}/jwks", silent.local_addr().unwrap())).unwrap();
        let long_ago = UnixMillis(now().0 - time::KEY_SET_RETRY);
        *fetched.kept() = Kept { keys: Some(Arc::new(jwks(1))), at: long_ago, tried: long_ago };
        let fetched = Arc::new(fetched);
        let of_stranger = Arc::clone(&fetched);
        let waits = tokio::spawn(async move {
            let unknown = signed("b");
            of_stranger.keys_for(&Jws::parse(&unknown).unwrap()).await.is_some()
        });
        let (asked, _) = silent.accept().await.unwrap();
        let known = signed("a");
        let known = Jws::parse(&known).unwrap();
        assert!(fetched.keys_for(&known).await.unwrap().verifies(&known));
        assert!(!waits.is_finished(), "it was waited for");
        drop((asked, silent));
        assert!(waits.await.unwrap(), "the keys before are there still");
    }
}
