//! Chance that can be repeated.

/// A repeatable sequence (xorshift64); moments and weather need no better one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) const fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    pub(crate) const fn percent(&mut self, percent: u64) -> bool {
        percent > 0 && self.roll(100) < percent
    }
}
