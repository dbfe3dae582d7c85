//! The operating system's clock and randomness: where they enter.

use core::convert::Infallible;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nuncio_proto::time::UnixMillis;
use rand_core::utils::next_word_via_fill;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

use crate::error::Error;

/// More than any single step draws: a batch of one-time prekeys takes 6 KiB.
const STEP_MAX: usize = 8 * 1024;
const BLOCK_LEN: usize = 32 * 1024;

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock beside time that passes: whether somebody has put it forward or back, or the machine has slept.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch(Option<(UnixMillis, Instant)>);

impl ClockWatch {
    /// Less between two looks shortens no wait that matters, and a clock that is slewed never runs off by as much.
    const SET_MS: u64 = 1_000;

    /// Whether it was put since the last look.
    pub(crate) fn was_set(&mut self, now: UnixMillis, at: Instant) -> bool {
        let (then, since) = self.0.replace((now, at)).unwrap_or((now, at));
        let passed = u64::try_from(at.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        now.0.abs_diff(then.plus(passed).0) > Self::SET_MS
    }
}

/// Fresh bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Randomness)?;
    Ok(bytes)
}

/// Randomness drawn in blocks. A failure of the operating system is an error before a step begins, so the step itself cannot fail.
#[derive(Debug)]
pub(crate) struct Entropy {
    block: Box<[u8; BLOCK_LEN]>,
    used: usize,
}

impl Entropy {
    pub(crate) fn new() -> Self {
        Self { block: Box::new([0; BLOCK_LEN]), used: BLOCK_LEN }
    }

    /// Makes sure that one step's randomness is there.
    pub(crate) fn ready(&mut self) -> Result<&mut Self, Error> {
        if BLOCK_LEN - self.used < STEP_MAX {
            getrandom::fill(self.block.as_mut_slice()).map_err(Error::Randomness)?;
            self.used = 0;
        }
        Ok(self)
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let end = self.used.saturating_add(out.len());
        match self.block.get_mut(self.used..end) {
            Some(fresh) => {
                out.copy_from_slice(fresh);
                // A byte is given once, and not kept for whoever reads this memory later.
                fresh.fill(0);
                self.used = end;
            }
            // A step that draws more than `STEP_MAX`: going on with bytes that are not random would be worse than ending.
            None => std::process::abort(),
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_put_is_seen_and_one_that_runs_is_not() {
        let (start, began) = (UnixMillis(1_800_000_000_000), Instant::now());
        let mut clock = ClockWatch::default();
        let mut seen = |wall_ms: u64, passed_ms| {
            clock.was_set(UnixMillis(start.0 - 10_000_000 + wall_ms), began + Duration::from_millis(passed_ms))
        };
        let right = 10_000_000;
        assert!(!seen(right, 0), "the first look");
        assert!(!seen(right + 3_600_000, 3_600_000), "an hour passed");
        assert!(!seen(right + 3_600_900, 3_600_000), "slewed");
        assert!(seen(right + 7_200_900, 3_600_000) && !seen(right + 7_200_900, 3_600_000), "an hour forward, once");
        assert!(seen(right, 3_601_000), "and back");
    }
}
