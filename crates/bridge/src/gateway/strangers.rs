//! How often tokens are shown that are none (contracts/gateway.md W5).
//!
//! ```text
//!   an address ─► known: a token of it was taken ──────────────► exchanged
//!      └─ not ──► its own bucket ─► the bucket of all such ────► exchanged
//!                    └─ empty: 429       └─ empty: 429
//! ```
//!
//! What is paid before the exchange cannot be had twice by asking twice at once.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use nuncio_contracts::registry::{limit, time};

use crate::front::Address;

/// Addresses that are remembered at once; one more is a stranger each time.
const ADDRESSES_MAX: usize = 16_384;

/// Who has shown what.
pub(super) struct Strangers {
    of: DefaultKeyedRateLimiter<Address>,
    all: DefaultDirectRateLimiter,
    known: Mutex<HashMap<Address, Instant>>,
}

impl Strangers {
    pub(super) fn new() -> Self {
        let of = RateLimiter::keyed(quota(limit::FAILURES_PER_SOURCE));
        Self { of, all: RateLimiter::direct(quota(limit::GATEWAY_STRANGERS)), known: Mutex::default() }
    }

    /// Whether a token of an address is exchanged now.
    pub(super) fn admits(&self, source: Address) -> bool {
        self.is_known(source) || self.pays(source)
    }

    /// What became of it.
    pub(super) fn note(&self, source: Address, taken: bool) {
        let is_known = self.is_known(source);
        let mut known = self.known();
        if taken {
            if known.len() >= ADDRESSES_MAX {
                known.retain(|_, since| is_recent(since));
            }
            if is_known || known.len() < ADDRESSES_MAX {
                known.insert(source, Instant::now());
            }
        } else if is_known && !self.pays(source) {
            known.remove(&source);
        }
    }

    fn pays(&self, source: Address) -> bool {
        if self.of.len() > ADDRESSES_MAX {
            self.of.retain_recent();
        }
        self.of.check_key(&source).is_ok() && self.all.check().is_ok()
    }

    fn is_known(&self, source: Address) -> bool {
        self.known().get(&source).is_some_and(is_recent)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Address, Instant>> {
        // What it guards stays whole even if a holder panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(since: &Instant) -> bool {
    since.elapsed() < Duration::from_millis(time::GATEWAY_KNOWN)
}

/// So many a second, ten times as many at once.
fn quota(rate: u32) -> Quota {
    let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(some(rate)).allow_burst(some(rate.saturating_mul(10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Address {
        Address::of([192, 0, 2, last].into())
    }

    /// How many of so many false ones are exchanged.
    fn passed(strangers: &Strangers, last: u8, of: usize) -> usize {
        (0..of).filter(|_| strangers.admits(source(last))).map(|_| strangers.note(source(last), false)).count()
    }

    fn burst(rate: u32) -> std::ops::RangeInclusive<usize> {
        let most = usize::try_from(rate).unwrap() * 10;
        // Some come back while it is counted.
        most..=most + 5
    }

    #[test]
    fn one_address_has_so_many_false_ones_and_all_together_have() {
        let strangers = Strangers::new();
        assert!(burst(limit::FAILURES_PER_SOURCE).contains(&passed(&strangers, 1, 1_000)));
        let all: usize = (2..60).map(|last| passed(&strangers, last, 40)).sum();
        let left = usize::try_from(limit::GATEWAY_STRANGERS * 10 - limit::FAILURES_PER_SOURCE * 10).unwrap();
        assert!((left - 5..=left + 5).contains(&all), "{all}");
    }

    #[test]
    fn whose_token_was_taken_is_known_until_it_shows_false_ones_without_end() {
        let strangers = Strangers::new();
        strangers.note(source(1), true);
        for last in 2..60 {
            passed(&strangers, last, 40);
        }
        assert!(!strangers.admits(source(99)), "strangers are over");
        assert!((0..1_000).all(|_| strangers.admits(source(1))));
        assert!(passed(&strangers, 1, 1_000) <= 5, "and then it is a stranger");
    }
}
