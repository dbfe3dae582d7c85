//! One key that signs tokens.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::secret::Key;
use nuncio_proto::token::{Algorithm, TYPE, Thumbprint};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::PublicKey;
use crate::entropy;
use crate::error::NodeError;

/// A key pair, its name, and the header that all its tokens have.
pub(crate) struct TokenKey {
    secret: Secret,
    public: PublicKey,
    header: String,
}

enum Secret {
    EdDsa { seed: Key, key: Box<SigningKey> },
    Es256 { pkcs8: Zeroizing<Vec<u8>>, key: EcdsaKeyPair },
    Rs256 { pkcs8: Zeroizing<Vec<u8>>, key: RsaKeyPair },
}

impl TokenKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, NodeError> {
        let failed = |_| NodeError::Key(name(algorithm));
        let secret = match algorithm {
            Algorithm::EdDsa => entropy::random::<32>()?.to_vec(),
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            Algorithm::Rs256 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let pkcs8: Pkcs8V1Der<'static> = key.as_der().map_err(failed)?;
                pkcs8.as_ref().to_vec()
            }
        };
        Self::new(algorithm, Zeroizing::new(secret))
    }

    fn new(algorithm: Algorithm, secret: Zeroizing<Vec<u8>>) -> Result<Self, NodeError> {
        let failed = || NodeError::Key(name(algorithm));
        let secret = match algorithm {
            Algorithm::EdDsa => {
                let seed = Key::from_slice(&secret).ok_or_else(failed)?;
                Secret::EdDsa { key: Box::new(SigningKey::from_seed(seed.expose())), seed }
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &secret).map_err(|_| failed())?;
                Secret::Es256 { pkcs8: secret, key }
            }
            Algorithm::Rs256 => {
                let key = RsaKeyPair::from_pkcs8(&secret).map_err(|_| failed())?;
                Secret::Rs256 { pkcs8: secret, key }
            }
        };
        let public = secret.public().and_then(PublicKey::new).ok_or_else(failed)?;
        let header = json!({ "alg": name(algorithm), "typ": TYPE, "kid": public.kid().to_string() }).to_string();
        Ok(Self { secret, public, header: BASE64URL_NOPAD.encode(header.as_bytes()) })
    }

    /// What its row holds: algorithm and secret.
    pub(crate) fn to_row(&self) -> (u8, Vec<u8>) {
        let secret = match &self.secret {
            Secret::EdDsa { seed, .. } => seed.expose().to_vec(),
            Secret::Es256 { pkcs8, .. } | Secret::Rs256 { pkcs8, .. } => pkcs8.to_vec(),
        };
        (number(self.algorithm()), secret)
    }

    pub(crate) fn from_row(algorithm: u8, secret: Vec<u8>) -> Result<Self, NodeError> {
        let secret = Zeroizing::new(secret);
        let algorithm = match algorithm {
            0 => Algorithm::EdDsa,
            1 => Algorithm::Es256,
            2 => Algorithm::Rs256,
            _ => return Err(NodeError::Record("a token key: an unknown algorithm")),
        };
        Self::new(algorithm, secret)
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.secret {
            Secret::EdDsa { .. } => Algorithm::EdDsa,
            Secret::Es256 { .. } => Algorithm::Es256,
            Secret::Rs256 { .. } => Algorithm::Rs256,
        }
    }

    /// Its RFC 7638 thumbprint.
    pub(crate) const fn kid(&self) -> &Thumbprint {
        self.public.kid()
    }

    /// What everybody may know of it.
    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A whole token of this body.
    pub(crate) fn token(&self, body: &[u8]) -> Result<String, NodeError> {
        let mut token = String::with_capacity(self.header.len() + body.len() * 4 / 3 + 100);
        token.push_str(&self.header);
        token.push('.');
        BASE64URL_NOPAD.encode_append(body, &mut token);
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NodeError> {
        let failed = |_| NodeError::Key(name(self.algorithm()));
        match &self.secret {
            Secret::EdDsa { key, .. } => Ok(key.sign_raw(message).to_vec()),
            Secret::Es256 { key, .. } => Ok(key.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Secret::Rs256 { key, .. } => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl Secret {
    /// The required members of the public half's JWK.
    fn public(&self) -> Option<Map<String, Value>> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let jwk = match self {
            Self::EdDsa { key, .. } => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&key.public()) }),
            Self::Es256 { key, .. } => {
                // SEC 1 section 2.3.3: 04, x, y.
                let (x, y) = key.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Rs256 { key, .. } => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": text(n), "e": text(e) })
            }
        };
        jwk.as_object().cloned()
    }
}

/// As rows have it.
pub(super) const fn number(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::EdDsa => 0,
        Algorithm::Es256 => 1,
        Algorithm::Rs256 => 2,
    }
}

/// The `alg` of tokens.
pub(crate) const fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDsa => "EdDSA",
        Algorithm::Es256 => "ES256",
        Algorithm::Rs256 => "RS256",
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.kid())
    }
}
