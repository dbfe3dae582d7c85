//! The backend of the crates that this package names: dalek's curves and RustCrypto's cipher. All of it is Rust, and any machine builds it.

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use ed25519_dalek::{Signer, VerifyingKey};

use super::backend::Backend;
use super::{CryptoError, TAG_LEN, tag_of};
use crate::secret::Key;

/// Primitives of the card.
#[derive(Debug, Clone, Copy)]
pub struct Card;

impl Backend for Card {
    const NAME: &'static str = "dalek, RustCrypto";

    type SigningKey = ed25519_dalek::SigningKey;

    fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed = ChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), ad, InOutBuf::from(buf));
        tag_of(sealed)
    }

    fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        ChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), ad, InOutBuf::from(buf), tag.into())
            .map_err(|_| CryptoError::NotAuthentic)
    }

    fn dh_public(secret: &Key) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*secret.expose())).to_bytes()
    }

    fn dh(secret: &Key, public: &[u8; 32]) -> Result<Key, CryptoError> {
        let shared = x25519_dalek::StaticSecret::from(*secret.expose()).diffie_hellman(&(*public).into());
        if !shared.was_contributory() {
            return Err(CryptoError::AllZero);
        }
        Ok(Key::new(shared.to_bytes()))
    }

    fn signing_key(seed: &[u8; 32]) -> Self::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(seed)
    }

    fn pair(key: &Self::SigningKey) -> &ed25519_dalek::SigningKey {
        key
    }

    fn sign(key: &Self::SigningKey, message: &[u8]) -> [u8; 64] {
        key.sign(message).to_bytes()
    }

    fn verify_read(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }

    fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| CryptoError::BadPublicKey)?;
        if Self::verify_read(&key, message, signature) { Ok(()) } else { Err(CryptoError::BadSignature) }
    }
}
