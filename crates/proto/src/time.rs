//! Time as an argument.

/// Milliseconds since 1970-01-01T00:00:00Z, by whichever clock the caller keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later than any other.
    pub const NEVER: Self = Self(u64::MAX);

    /// This time plus so many milliseconds; stops at [`UnixMillis::NEVER`].
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whether a moment has come that was set at most `ahead_ms` ahead. One that is further ahead was set by a clock that was put back since, and
    /// nobody waits until it shows that time again.
    #[must_use]
    pub const fn has_come(self, now: Self, ahead_ms: u64) -> bool {
        self.0 <= now.0 || self.0 > now.plus(ahead_ms).0
    }

    /// Milliseconds from `earlier` to this; 0 if it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
