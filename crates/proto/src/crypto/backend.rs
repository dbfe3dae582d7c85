//! What there is twice. Each function is the one of its name in [`crate::crypto`], where it is described; what both share is there and not here.
//!
//! Public for what compares the two: the rest of this crate, and every other, goes through [`crate::crypto`].

use super::{CryptoError, TAG_LEN};
use crate::secret::Key;

#[cfg(any(feature = "aws-lc", feature = "differential"))]
pub use super::aws_lc::AwsLc;
pub use super::card::Card;

/// The one that [`crate::crypto`] uses.
#[cfg(not(feature = "aws-lc"))]
pub type InUse = Card;
/// The one that [`crate::crypto`] uses.
#[cfg(feature = "aws-lc")]
pub type InUse = AwsLc;

/// The other one.
#[cfg(all(feature = "differential", not(feature = "aws-lc")))]
pub type Other = AwsLc;
/// The other one.
#[cfg(feature = "aws-lc")]
pub type Other = Card;

/// The primitives of which a build has one choice. Two backends give the same bytes and the same verdicts for every input.
pub trait Backend {
    /// What tables call it.
    const NAME: &'static str;

    /// An Ed25519 key pair, ready to sign with.
    type SigningKey: Clone + Send + Sync;

    /// ChaCha20-Poly1305.
    fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN];

    /// ChaCha20-Poly1305; what a buffer holds that did not open is not said.
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`].
    fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;

    /// X25519 with the base point.
    fn dh_public(secret: &Key) -> [u8; 32];

    /// X25519.
    ///
    /// # Errors
    /// [`CryptoError::AllZero`].
    fn dh(secret: &Key, public: &[u8; 32]) -> Result<Key, CryptoError>;

    /// The key pair of a seed.
    fn signing_key(seed: &[u8; 32]) -> Self::SigningKey;

    /// The same for what signs nothing: its public half, its scalar, its PKCS #8.
    fn pair(key: &Self::SigningKey) -> &ed25519_dalek::SigningKey;

    /// Signs bytes as they are.
    fn sign(key: &Self::SigningKey, message: &[u8]) -> [u8; 64];

    /// Strict verification with a key that was read: canonical, and not of small order.
    fn verify_read(key: &ed25519_dalek::VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool;

    /// Strict verification with a key whose `y` is reduced, and of which nothing else is known.
    ///
    /// # Errors
    /// [`CryptoError::BadPublicKey`] where it is no point, [`CryptoError::BadSignature`].
    fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError>;
}
