//! An issuer of subject tokens, and its keys: from a file, or fetched and kept for a while.

use std::collections::BTreeSet;
use std::sync::Arc;

use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use tokio::sync::Mutex;

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
    Url { url: String, fetch: Fetch, kept: Mutex<Kept> },
}

/// Keys that were fetched, and the last try to.
#[derive(Debug, Default)]
pub(super) struct Kept {
    keys: Option<Arc<KeyRing>>,
    at: UnixMillis,
    tried: UnixMillis,
}

impl Issuer {
    /// Whether one of its keys has signed it. Keys that cannot be had are no verdict: the request may come again.
    pub(crate) async fn has_signed(&self, jws: &Jws<'_>) -> Result<bool, Refusal> {
        match &self.keys {
            Source::File(keys) => Ok(keys.verifies(jws)),
            Source::Url { url, fetch, kept } => {
                // While one request fetches the others wait, and find what it found.
                let mut kept = kept.lock().await;
                if kept.wants(jws, now()) {
                    kept.refresh(url, fetch).await;
                }
                let keys = kept.keys(now());
                let keys =
                    keys.ok_or_else(|| Refusal::unavailable("the keys of the subject token's issuer cannot be had"))?;
                drop(kept);
                Ok(keys.verifies(jws))
            }
        }
    }
}

impl Kept {
    /// Whether it is time to ask: the keys are old or do not have this one, and the last try is a while ago. An issuer that is down, or
    /// a stranger's `kid`, makes nobody wait twice.
    fn wants(&self, jws: &Jws<'_>, now: UnixMillis) -> bool {
        let known = self.keys.as_ref().is_some_and(|keys| keys.knows(jws));
        let is_current = known && now.since(self.at) < time::KEY_SET_AGE_MAX;
        !is_current && now.since(self.tried) >= time::KEY_SET_RETRY
    }

    async fn refresh(&mut self, url: &str, fetch: &Fetch) {
        let fetched = fetch.get(url).await.and_then(|jwks| KeyRing::parse(&jwks).map_err(str::to_owned));
        self.tried = now();
        match fetched {
            Ok(keys) => (self.keys, self.at) = (Some(Arc::new(keys)), self.tried),
            Err(why) => tracing::warn!(url, why, "the issuer's keys cannot be had"),
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

    #[test]
    fn keys_are_asked_for_when_they_are_old_and_outlive_their_issuer_for_a_while() {
        let key = SigningKey::from_seed(&[1; 32]);
        let x = BASE64URL_NOPAD.encode(&key.public());
        let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{x}"}}]}}"#);
        let keys = Some(Arc::new(KeyRing::parse(jwks.as_bytes()).unwrap()));
        let (known, unknown) =
            (jws(&key, r#"{"alg":"EdDSA","kid":"a"}"#, "{}"), jws(&key, r#"{"alg":"EdDSA","kid":"b"}"#, "{}"));
        let (known, unknown) = (Jws::parse(&known).unwrap(), Jws::parse(&unknown).unwrap());
        let at = UnixMillis(1_800_000_000_000);
        let kept = Kept { keys, at, tried: at };
        assert!(Kept::default().wants(&known, at));
        assert!(
            !kept.wants(&known, at.plus(time::KEY_SET_AGE_MAX - 1))
                && kept.wants(&known, at.plus(time::KEY_SET_AGE_MAX))
        );
        assert!(
            !kept.wants(&unknown, at.plus(time::KEY_SET_RETRY - 1))
                && kept.wants(&unknown, at.plus(time::KEY_SET_RETRY))
        );
        let failed = Kept { tried: at.plus(time::KEY_SET_AGE_MAX), ..kept };
        assert!(
            !failed.wants(&known, at.plus(time::KEY_SET_AGE_MAX + 1)),
            "an issuer that is down makes nobody wait twice"
        );
        assert!(failed.keys(at.plus(time::KEY_BUNDLE_LIFE - 1)).is_some());
        assert!(failed.keys(at.plus(time::KEY_BUNDLE_LIFE)).is_none());
    }
}
