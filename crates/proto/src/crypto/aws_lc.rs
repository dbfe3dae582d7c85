//! The backend of aws-lc, the provider that rustls brings to every program with a network: assembly for x86-64 and ARM64, much of it proven.
//!
//! | primitive | whose | why |
//! |---|---|---|
//! | ChaCha20-Poly1305 | aws-lc | cipher and tag in one pass |
//! | X25519 | aws-lc | s2n-bignum; a private key is read for each agreement, which makes its public half again and still pays |
//! | Ed25519, to sign | aws-lc | s2n-bignum; the key is read once |
//! | Ed25519, to verify | aws-lc, the points checked here | s2n-bignum; of small order it refuses nothing |
//! | Ed25519 as X25519, PKCS #8 | the card | aws-lc gives no scalar |
//! | SHA-256, HMAC, HKDF | the card | the same instructions; taking up a key costs more than its two blocks, and a salt of its HKDF, our root key, would stay in memory |
//! | ML-KEM-768 | the card | aws-lc's takes no seed and no message, and draws randomness of its own |
//! | XChaCha20-Poly1305, ML-DSA-44 | the card | the first it does not show; the second is for a few cosignatures a day |
//!
//! All bytes come from the caller: nothing here draws randomness. Where aws-lc cannot take a key up, for want of memory alone, the card does the work.
//!
//! Of secrets: keys of its own it keeps on the heap, overwrites when it frees them, and the shared secret with them. Its stack it leaves as it is, as
//! the card does. A [`SigningKey`](super::SigningKey) holds the seed twice, once in each form, as long as it lives.
//!
//! The C code is built by aws-lc-rs; no unsafe code is here.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::signature::{self, ED25519, Ed25519KeyPair};
use ed25519_dalek::VerifyingKey;

use super::backend::Backend;
use super::card::Card;
use super::{CryptoError, TAG_LEN};
use crate::secret::Key;

/// Primitives of aws-lc.
#[derive(Debug, Clone, Copy)]
pub struct AwsLc;

/// A key pair in both forms.
#[derive(Clone)]
pub struct Pair {
    card: ed25519_dalek::SigningKey,
    signs: Option<Ed25519KeyPair>,
}

impl core::fmt::Debug for Pair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pair(..)")
    }
}

impl Backend for AwsLc {
    const NAME: &'static str = "aws-lc";

    type SigningKey = Pair;

    fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed = cipher(key)
            .and_then(|cipher| cipher.seal_in_place_separate_tag(once(nonce), Aad::from(ad), buf).ok())
            .and_then(|tag| tag.as_ref().try_into().ok());
        sealed.unwrap_or_else(|| Card::seal(key, nonce, ad, buf))
    }

    fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let Some(cipher) = cipher(key) else { return Card::open(key, nonce, ad, buf, tag) };
        let opened = cipher.open_in_place_separate_tag(once(nonce), Aad::from(ad), tag, buf);
        opened.map(drop).map_err(|_| CryptoError::NotAuthentic)
    }

    fn dh_public(secret: &Key) -> [u8; 32] {
        let public = private(secret)
            .and_then(|private| private.compute_public_key().ok())
            .and_then(|public| public.as_ref().try_into().ok());
        public.unwrap_or_else(|| Card::dh_public(secret))
    }

    // The all-zero output is refused by aws-lc itself.
    fn dh(secret: &Key, public: &[u8; 32]) -> Result<Key, CryptoError> {
        let Some(private) = private(secret) else { return Card::dh(secret, public) };
        let public = UnparsedPublicKey::new(&X25519, public);
        agreement::agree(&private, public, CryptoError::AllZero, |shared| {
            Key::from_slice(shared).ok_or(CryptoError::AllZero)
        })
    }

    fn signing_key(seed: &[u8; 32]) -> Pair {
        Pair { card: Card::signing_key(seed), signs: Ed25519KeyPair::from_seed_unchecked(seed).ok() }
    }

    fn pair(key: &Pair) -> &ed25519_dalek::SigningKey {
        &key.card
    }

    fn sign(key: &Pair, message: &[u8]) -> [u8; 64] {
        let signature = key.signs.as_ref().and_then(|key| key.try_sign(message).ok());
        let signature = signature.and_then(|signature| signature.as_ref().try_into().ok());
        signature.unwrap_or_else(|| Card::sign(&key.card, message))
    }

    fn verify_read(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        is_genuine(key.as_bytes(), message, signature)
    }

    fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        if is_genuine(public, message, signature) {
            return Ok(());
        }
        // Why not: only what is refused costs the reading of a point.
        VerifyingKey::from_bytes(public).map_err(|_| CryptoError::BadPublicKey)?;
        Err(CryptoError::BadSignature)
    }
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// That it is used once is the caller's to see to, as for every backend.
fn once(nonce: &[u8; 12]) -> Nonce {
    Nonce::assume_unique_for_key(*nonce)
}

fn private(secret: &Key) -> Option<PrivateKey> {
    PrivateKey::from_private_key(&X25519, secret.expose()).ok()
}

/// Strict verification. aws-lc holds `s` to the group's order and compares `R`, as bytes, with the canonical one that it computes; neither it nor RFC
/// 8032 refuses points of small order, under which a signature says nothing of its message.
fn is_genuine(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    !is_of_small_order(public)
        && signature.first_chunk().is_some_and(|r| !is_of_small_order(r))
        && signature::UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// The `y` of the eight points whose order divides 8; the highest bit, `x`'s sign, is left out.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // y = 0: order 4, twice.
    [0; 32],
    // y = 1: the neutral point.
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    // y = -1: order 2.
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    // Order 8, twice each.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// The two spellings with an `x` that has no sign are met too; aws-lc reads neither.
fn is_of_small_order([rest @ .., highest]: &[u8; 32]) -> bool {
    SMALL_ORDER.iter().any(|[small @ .., top]| small == rest && *top == highest & 0x7f)
}
