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

    /// Milliseconds from `earlier` to this; 0 if it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
