//! Secrets that are handed out and serve for a while: links, and the sessions that they become.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto;
use tokio_util::sync::CancellationToken;

use crate::entropy;
use crate::error::NodeError;

/// Bytes of a secret: nobody guesses one.
const SECRET_LEN: usize = 32;

/// One that was handed out.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// SHA-256 of its secret: by it the pass is found, so the time that a search takes tells nothing of a secret.
    hash: [u8; 32],
    ends: Instant,
    over: CancellationToken,
}

impl Pass {
    /// Returns when it serves no more.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = tokio::time::sleep_until(self.ends.into()) => {}
        }
    }
}

/// All that serve, the oldest first.
#[derive(Debug)]
pub(crate) struct Passes {
    life: Duration,
    max: usize,
    out: Mutex<VecDeque<Pass>>,
}

impl Passes {
    pub(crate) const fn new(life_ms: u64, max: usize) -> Self {
        Self { life: Duration::from_millis(life_ms), max, out: Mutex::new(VecDeque::new()) }
    }

    /// How long one serves.
    pub(crate) const fn life(&self) -> Duration {
        self.life
    }

    /// Hands one out: its secret. One too many ends the oldest.
    pub(crate) fn issue(&self, now: Instant) -> Result<String, NodeError> {
        let secret = BASE64URL_NOPAD.encode(&entropy::random::<SECRET_LEN>()?);
        let mut out = self.serving(now);
        while out.len() >= self.max {
            if let Some(oldest) = out.pop_front() {
                oldest.over.cancel();
            }
        }
        out.push_back(Pass { hash: hash(&secret), ends: now + self.life, over: CancellationToken::new() });
        Ok(secret)
    }

    /// The pass of a secret, if it serves.
    pub(crate) fn find(&self, secret: &str, now: Instant) -> Option<Pass> {
        let wanted = hash(secret);
        self.serving(now).iter().find(|pass| pass.hash == wanted).cloned()
    }

    /// Ends the pass of a secret; whether it served until now.
    pub(crate) fn take(&self, secret: &str, now: Instant) -> bool {
        self.find(secret, now).is_some_and(|pass| self.end(&pass, now))
    }

    /// Ends a pass; whether it served until now. Of many who try at once one is told so.
    pub(crate) fn end(&self, pass: &Pass, now: Instant) -> bool {
        let mut out = self.serving(now);
        let before = out.len();
        out.retain(|other| other.hash != pass.hash);
        pass.over.cancel();
        out.len() < before
    }

    fn serving(&self, now: Instant) -> MutexGuard<'_, VecDeque<Pass>> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|pass| pass.ends > now);
        out
    }
}

fn hash(secret: &str) -> [u8; 32] {
    crypto::sha256(&[secret.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE_MS: u64 = 600_000;

    /// contracts/txts.md N38.
    #[test]
    fn a_pass_serves_until_it_is_taken_or_its_life_is_over() {
        let (passes, now) = (Passes::new(LIFE_MS, 4), Instant::now());
        let secret = passes.issue(now).unwrap();
        assert_eq!(BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap().len(), SECRET_LEN);
        let last = now + Duration::from_millis(LIFE_MS - 1);
        assert!(passes.find(&secret, last).is_some());
        for other in ["", "A", &secret[1..], &format!("{secret}A"), &secret.to_lowercase()] {
            assert!(passes.find(other, now).is_none() && !passes.take(other, now), "{other}");
        }
        assert!(passes.find(&secret, now + Duration::from_millis(LIFE_MS)).is_none(), "its life is over");
        let secret = passes.issue(now).unwrap();
        assert!(passes.take(&secret, last) && !passes.take(&secret, last), "once");
    }

    /// contracts/txts.md N38.
    #[tokio::test]
    async fn one_too_many_ends_the_oldest_and_what_reads_by_it() {
        let (passes, now) = (Passes::new(LIFE_MS, 2), Instant::now());
        let secrets: Vec<String> = (0..2).map(|_| passes.issue(now).unwrap()).collect();
        let oldest = passes.find(&secrets[0], now).unwrap();
        let third = passes.issue(now).unwrap();
        oldest.ended().await;
        assert!(passes.find(&secrets[0], now).is_none());
        assert!(passes.find(&secrets[1], now).is_some() && passes.find(&third, now).is_some());
    }

    #[test]
    fn no_secret_is_kept() {
        let (passes, now) = (Passes::new(LIFE_MS, 2), Instant::now());
        let secret = passes.issue(now).unwrap();
        assert!(!format!("{passes:?}").contains(&secret));
    }
}
