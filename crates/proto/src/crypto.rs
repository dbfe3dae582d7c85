//! The only place that names a primitive: this file and those below it. Everything above speaks of keys, chains and frames.
//!
//! | purpose | primitive | source |
//! |---|---|---|
//! | identity, bundles, statements | Ed25519, strict verification | RFC 8032 |
//! | agreement, ratchet, pair keys | X25519, all-zero output refused | RFC 7748 |
//! | post-quantum half | ML-KEM-768 | FIPS 203 |
//! | witnesses' cosignatures | ML-DSA-44, verified alone | FIPS 204 |
//! | header, body | ChaCha20-Poly1305 | RFC 8439 |
//! | values at rest | XChaCha20-Poly1305 | draft-irtf-cfrg-xchacha-03 |
//! | root step, secrets | HKDF-SHA256 | RFC 5869 |
//! | chain step, tags | HMAC-SHA256 | RFC 2104 |
//! | transcripts | SHA-256 | FIPS 180-4 |
//!
//! Ed25519, X25519 and ChaCha20-Poly1305 are there twice: `crypto/card.rs`, in Rust, and `crypto/aws_lc.rs` with the feature `aws-lc`, which is faster.
//! A build uses one of the two; they give the same bytes and the same verdicts.

#[cfg(any(feature = "aws-lc", feature = "differential"))]
mod aws_lc;
#[doc(hidden)]
pub mod backend;
mod card;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use ed25519_dalek::pkcs8::EncodePrivateKey;
use hmac::Mac;
use libcrux_ml_dsa::ml_dsa_44;
use libcrux_ml_kem::mlkem768;
use rand_core::CryptoRng;
use sha2::Digest;
use zeroize::Zeroizing;

use self::backend::{Backend, InUse};
use crate::secret::{Key, Secret};

/// Bytes of an authentication tag of both AEADs.
pub const TAG_LEN: usize = 16;
/// Bytes of an ML-KEM-768 encapsulation key.
pub const KEM_PUBLIC_LEN: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
pub const KEM_CIPHERTEXT_LEN: usize = 1088;
/// Bytes of an ML-DSA-44 public key.
pub const ML_DSA_PUBLIC_LEN: usize = 1312;
/// Bytes of an ML-DSA-44 signature.
pub const ML_DSA_SIGNATURE_LEN: usize = 2420;

/// Why a primitive refused its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The ciphertext or its associated data is not what was sealed under this key.
    #[error("not authentic under this key")]
    NotAuthentic,
    /// The signature does not verify under this key and message.
    #[error("signature does not verify")]
    BadSignature,
    /// The public key is not a point, is of small order, or is not in canonical form.
    #[error("public key is malformed or weak")]
    BadPublicKey,
    /// The X25519 output is all zero: the other side sent a point of small order.
    #[error("key agreement gave the all-zero secret")]
    AllZero,
}

/// SHA-256 over the parts, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 over the parts, one after the other. A key longer than a block is hashed first (RFC 2104 section 2).
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// [`hmac_sha256`] of two messages, each alone; the key is taken up once.
#[must_use]
pub fn hmac_sha256_each(key: &[u8], one: &[u8], other: &[u8]) -> [[u8; 32]; 2] {
    let mac = keyed(key);
    [mac.clone().chain_update(one), mac.chain_update(other)].map(|mac| mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> hmac::Hmac<sha2::Sha256> {
    const BLOCK_LEN: usize = 64;
    let mut block = Zeroizing::new([0_u8; BLOCK_LEN]);
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block.iter_mut().zip(sha256(&[key])).for_each(|(to, from)| *to = from),
    }
    KeyInit::new((&*block).into())
}

/// HKDF-SHA256 with extract and expand; `out` is at most 255 × 32 bytes, which every caller's fixed size keeps.
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) {
    let bounded = hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), ikm).expand(info, out);
    debug_assert!(bounded.is_ok(), "HKDF output is at most 8,160 bytes");
}

/// ChaCha20-Poly1305 in place; the tag is returned apart.
pub fn seal_in_place(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
    InUse::seal(key, nonce, ad, buf)
}

/// Opens what [`seal_in_place`] sealed. On failure the buffer is all zero: of what is not authentic nothing is handed on.
pub fn open_in_place(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CryptoError> {
    let opened = InUse::open(key, nonce, ad, buf, tag);
    if opened.is_err() {
        buf.fill(0);
    }
    opened
}

/// XChaCha20-Poly1305 in place, for values at rest; the tag is returned apart.
pub fn xseal_in_place(key: &[u8; 32], nonce: &[u8; 24], ad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), ad, InOutBuf::from(buf));
    tag_of(sealed)
}

/// Opens what [`xseal_in_place`] sealed. On failure the buffer is as it came.
pub fn xopen_in_place(
    key: &[u8; 32],
    nonce: &[u8; 24],
    ad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CryptoError> {
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), ad, InOutBuf::from(buf), tag.into())
        .map_err(|_| CryptoError::NotAuthentic)
}

#[expect(
    clippy::expect_used,
    reason = "the cipher refuses only plaintexts over 256 GiB; a frame is at most 64 KiB, a chunk less"
)]
fn tag_of(sealed: Result<chacha20poly1305::Tag, chacha20poly1305::Error>) -> [u8; TAG_LEN] {
    sealed.expect("plaintext within the cipher's limit").into()
}

/// An Ed25519 key pair: who an agent is.
#[derive(Clone)]
pub struct SigningKey(<InUse as Backend>::SigningKey);

impl SigningKey {
    /// The key pair of a 32-byte seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(InUse::signing_key(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        InUse::pair(&self.0).verifying_key().to_bytes()
    }

    /// Signs bytes as they are. Transcripts of ours go through [`SigningKey::sign`], which separates them by label.
    #[must_use]
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        InUse::sign(&self.0, message)
    }

    /// Signs `label ‖ 0x00 ‖ message`: no signature for one purpose serves another.
    #[must_use]
    pub fn sign(&self, label: &[u8], message: &[u8]) -> [u8; 64] {
        self.sign_raw(&labelled(label, message))
    }

    /// X25519 between the twins that two identity keys have on Curve25519: the same at both ends (contracts/audit.md V26).
    ///
    /// # Errors
    /// [`CryptoError::AllZero`], which no [`PublicKey`] gives.
    pub fn agree(&self, other: &PublicKey) -> Result<Key, CryptoError> {
        dh(&Key::new(InUse::pair(&self.0).to_scalar_bytes()), &other.0.to_montgomery().to_bytes())
    }

    /// PKCS #8 DER with the public key beside the private one (RFC 5958, RFC 8410 section 7), the form that TLS libraries load.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = InUse::pair(&self.0).to_pkcs8_der();
        Zeroizing::new(document.map(|d| d.as_bytes().to_vec()).unwrap_or_default())
    }
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// An Ed25519 public key: a canonical point that is not of small order, ready to verify with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`CryptoError::BadPublicKey`].
    pub fn from_bytes(public: &[u8; 32]) -> Result<Self, CryptoError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| CryptoError::BadPublicKey)?;
        if key.is_weak() || !is_reduced(public) {
            return Err(CryptoError::BadPublicKey);
        }
        Ok(Self(key))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// [`verify_raw`], with the key read already.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`].
    pub fn verify_raw(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        if InUse::verify_read(&self.0, message, signature) { Ok(()) } else { Err(CryptoError::BadSignature) }
    }
}

/// Whether these bytes are a canonical Ed25519 point that is not of small order.
pub fn check_signing_public(public: &[u8; 32]) -> Result<(), CryptoError> {
    PublicKey::from_bytes(public).map(drop)
}

/// Whether the `y` of a point is below 2^255 - 19. The one other way to spell a point twice, a sign for `x = 0`, is of points of small order.
fn is_reduced(point: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = point;
    *lowest < 0xed || highest & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// Strict Ed25519 verification (no small-order keys, no malleable `s`, canonical encodings) of raw bytes.
pub fn verify_raw(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
    if !is_reduced(public) {
        return Err(CryptoError::BadPublicKey);
    }
    InUse::verify(public, message, signature)
}

/// Verifies what [`SigningKey::sign`] signed.
pub fn verify(public: &[u8; 32], label: &[u8], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
    verify_raw(public, &labelled(label, message), signature)
}

/// Verifies a pure ML-DSA-44 signature with an empty context (FIPS 204, algorithm 3). Any bytes of its length are a public key.
///
/// The portable code alone is used: on every machine it is the same, and what the known answers are tried on.
pub fn verify_ml_dsa_44(
    public: &[u8; ML_DSA_PUBLIC_LEN],
    message: &[u8],
    signature: &[u8; ML_DSA_SIGNATURE_LEN],
) -> Result<(), CryptoError> {
    let key = ml_dsa_44::MLDSA44VerificationKey::new(*public);
    let signature = ml_dsa_44::MLDSA44Signature::new(*signature);
    ml_dsa_44::portable::verify(&key, message, &[], &signature).map_err(|_| CryptoError::BadSignature)
}

fn labelled(label: &[u8], message: &[u8]) -> Vec<u8> {
    [label, &[0], message].concat()
}

/// The X25519 public key of a secret.
#[must_use]
pub fn dh_public(secret: &Key) -> [u8; 32] {
    InUse::dh_public(secret)
}

/// X25519. The all-zero output, which only a point of small order gives, is refused (RFC 7748 section 6.1).
pub fn dh(secret: &Key, public: &[u8; 32]) -> Result<Key, CryptoError> {
    InUse::dh(secret, public)
}

/// An ML-KEM-768 private key as its 64-byte seed `d ‖ z`: 37 times smaller than the expanded key, which costs 13 µs to make again.
pub type KemSeed = Secret<64>;

/// The encapsulation key of a seed (FIPS 203, algorithm 16).
#[must_use]
pub fn kem_public(seed: &KemSeed) -> [u8; KEM_PUBLIC_LEN] {
    *mlkem768::generate_key_pair(*seed.expose()).pk()
}

/// Encapsulates to a public key that passes FIPS 203's modulus check.
pub fn kem_encapsulate<R: CryptoRng + ?Sized>(
    public: &[u8; KEM_PUBLIC_LEN],
    rng: &mut R,
) -> Result<([u8; KEM_CIPHERTEXT_LEN], Key), CryptoError> {
    kem_encapsulate_with(public, &Secret::random(rng))
}

/// [`kem_encapsulate`] with the message `m` given, for vectors.
pub fn kem_encapsulate_with(
    public: &[u8; KEM_PUBLIC_LEN],
    m: &Key,
) -> Result<([u8; KEM_CIPHERTEXT_LEN], Key), CryptoError> {
    let public = mlkem768::MlKem768PublicKey::from(*public);
    if !mlkem768::validate_public_key(&public) {
        return Err(CryptoError::BadPublicKey);
    }
    let (ciphertext, shared) = mlkem768::encapsulate(&public, *m.expose());
    Ok((*ciphertext.as_slice(), Key::new(shared)))
}

/// Decapsulates. A ciphertext that was altered gives another secret, never an error (implicit rejection).
#[must_use]
pub fn kem_decapsulate(seed: &KemSeed, ciphertext: &[u8; KEM_CIPHERTEXT_LEN]) -> Key {
    let pair = mlkem768::generate_key_pair(*seed.expose());
    Key::new(mlkem768::decapsulate(pair.private_key(), &(*ciphertext).into()))
}
