//! The operating system's clock and randomness: where they enter.

use core::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use nuncio_proto::time::UnixMillis;
use rand_core::utils::next_word_via_fill;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::error::NodeError;

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fresh bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NodeError::Randomness)?;
    Ok(bytes)
}

/// More than the making of an identity draws.
const DRAWN_LEN: usize = 256;

/// Randomness that was drawn before: a failure of the operating system is an error then, and not in the middle.
pub(crate) struct Drawn {
    bytes: Zeroizing<[u8; DRAWN_LEN]>,
    used: usize,
}

impl Drawn {
    pub(crate) fn new() -> Result<Self, NodeError> {
        Ok(Self { bytes: Zeroizing::new(random()?), used: 0 })
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let end = self.used.saturating_add(out.len());
        match self.bytes.get(self.used..end) {
            Some(fresh) => out.copy_from_slice(fresh),
            // Going on with bytes that are not random would be worse than ending.
            None => std::process::abort(),
        }
        self.used = end;
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}
