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
    Url { url: String, fetch: Fetch, kept: Mutex<Option<Kept>> },
}

#[derive(Debug)]
pub(super) struct Kept {
    keys: Arc<KeyRing>,
    at: UnixMillis,
}

impl Issuer {
    /// Whether one of its keys has signed it. Keys that cannot be had are no verdict: the request may come again.
    pub(crate) async fn has_signed(&self, jws: &Jws<'_>) -> Result<bool, Refusal> {
        match &self.keys {
            Source::File(keys) => Ok(keys.verifies(jws)),
            Source::Url { url, fetch, kept } => Ok(current(url, fetch, kept, jws).await?.verifies(jws)),
        }
    }
}

/// The keys to verify with. While one request fetches them the others wait, and find them here.
async fn current(url: &str, fetch: &Fetch, kept: &Mutex<Option<Kept>>, jws: &Jws<'_>) -> Result<Arc<KeyRing>, Refusal> {
    let mut kept = kept.lock().await;
    let now = now();
    if let Some(Kept { keys, at }) = &*kept {
        let fresh = if keys.knows(jws) { time::KEY_SET_AGE_MAX } else { time::KEY_SET_RETRY };
        if now.since(*at) < fresh {
            return Ok(Arc::clone(keys));
        }
    }
    let fetched = fetch.get(url).await.and_then(|jwks| KeyRing::parse(&jwks).map_err(str::to_owned));
    match (fetched, &mut *kept) {
        (Ok(keys), kept) => {
            let keys = Arc::new(keys);
            *kept = Some(Kept { keys: Arc::clone(&keys), at: now });
            Ok(keys)
        }
        // An issuer that is down is outlived by its keys for a while, as we are by ours.
        (Err(why), Some(kept)) if now.since(kept.at) < time::KEY_BUNDLE_LIFE => {
            tracing::warn!(url, why, "the issuer's keys cannot be had; those from before are used");
            Ok(Arc::clone(&kept.keys))
        }
        (Err(why), _) => {
            tracing::warn!(url, why, "the issuer's keys cannot be had");
            Err(Refusal::unavailable("the keys of the subject token's issuer cannot be had"))
        }
    }
}
