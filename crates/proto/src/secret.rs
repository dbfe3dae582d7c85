//! Bytes that leave memory when they leave scope and never reach a log.
//!
//! They lie in a place of their own: a value that holds a secret moves a pointer, and leaves no copy where it was. What moves by value is copied, and
//! nobody overwrites a node of a map that was split, a list that grew, or a box that was emptied.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes: zeroized on drop, printed as `Secret(..)`, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

/// The common case: a symmetric key or a chain value.
pub type Key = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Takes ownership of bytes that are already secret.
    #[must_use]
    pub fn new(bytes: [u8; N]) -> Self {
        Self(Box::new(bytes))
    }

    /// Copies a slice of exactly `N` bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::new)
    }

    /// Draws `N` fresh bytes.
    pub fn random<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self::new([0; N]);
        rng.fill_bytes(secret.0.as_mut_slice());
        secret
    }

    /// Takes other bytes in the place of these.
    pub(crate) fn overwrite(&mut self, bytes: &[u8; N]) {
        self.0.copy_from_slice(bytes);
    }

    /// The bytes, for the primitive that needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
