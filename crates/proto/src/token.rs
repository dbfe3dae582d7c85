//! Transaction tokens: what a letter may do, for whom, in which transaction (contracts/token.md).
//!
//! ```text
//!   bytes ─► Genuine::open   form, key, signature, claims: depends on the token alone, may be remembered by its hash
//!              └─► Genuine::check   time, peer, receiver, hops, revocation, scope, payload: for every letter
//!                     └─► Grant, or why not: Denial
//! ```
//!
//! Minting is the token service's; it lives above this crate.

mod cache;
mod check;
mod claims;
mod json;
mod keys;
mod policy;
pub mod proof;
mod receiver;
mod scope;
mod statement;
mod verifier;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{code, limit};

use crate::crypto;

pub use cache::Cache;
pub use check::{Circumstances, Grant};
pub use claims::{Claims, Hop, PayloadHash};
pub use json::Json;
pub use keys::{Algorithm, EdDsaOnly, KeySet, Signatures, Thumbprint, VerifyingKey};
pub use policy::{Policy, Rule};
pub use receiver::Receiver;
pub use scope::Scope;
pub use statement::{KeyBundle, RevokedList, StatementError, Trusted, sign};
pub use verifier::{Bearer, Verifier};

/// SHA-256 of a whole token: its name in logs, caches and later letters.
pub type TokenHash = [u8; 32];

/// The value of the header parameter `typ`.
pub const TYPE: &str = "txntoken+jwt";

/// Why a token allows nothing. [`Denial::code`] is what the letter's sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// A letter of this kind needs a token.
    #[error("a letter of this kind needs a token")]
    Missing,
    /// Its form is wrong, in this place.
    #[error("token is malformed: {0}")]
    Malformed(&'static str),
    /// Its algorithm is not allowed, or not that of its key.
    #[error("token is signed with an algorithm that is not allowed")]
    Algorithm,
    /// Its `typ` is another.
    #[error("token is not a transaction token")]
    Type,
    /// No key of this thumbprint can be had.
    #[error("token is signed with a key that nobody knows")]
    Key,
    /// Its signature does not verify.
    #[error("token's signature does not verify")]
    Signature,
    /// It is of another trust domain.
    #[error("token is of another trust domain")]
    Audience,
    /// It has expired; the same letter may come again with a fresh one.
    #[error("token has expired")]
    Expired,
    /// It was issued later than now.
    #[error("token was issued in the future")]
    Early,
    /// It claims to live longer than any token may.
    #[error("token claims too long a life")]
    Life,
    /// It belongs to another sender.
    #[error("token belongs to another sender")]
    Sender,
    /// It is for another receiver.
    #[error("token is for another receiver")]
    Receiver,
    /// It has been handed on too often.
    #[error("token has been handed on too often")]
    Hops,
    /// Its transaction was revoked.
    #[error("token's transaction was revoked")]
    Revoked,
    /// Its scope does not allow this letter.
    #[error("token's scope does not allow this letter")]
    Scope,
    /// Its hop proof is another hop's, or missing where one is wanted.
    #[error("its hop proof is not this letter's")]
    Proof,
    /// It is bound to another payload.
    #[error("token is bound to another payload")]
    Payload,
}

impl Denial {
    /// The registry's code of the refusal.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Missing => code::TOKEN_MISSING,
            Self::Malformed(_) => code::TOKEN_MALFORMED,
            Self::Algorithm => code::TOKEN_ALGORITHM,
            Self::Type => code::TOKEN_TYPE,
            Self::Key => code::TOKEN_KEY,
            Self::Signature => code::TOKEN_SIGNATURE,
            Self::Audience => code::TOKEN_AUDIENCE,
            Self::Expired => code::TOKEN_EXPIRED,
            Self::Early => code::TOKEN_EARLY,
            Self::Life => code::TOKEN_LIFE,
            Self::Sender => code::TOKEN_SENDER,
            Self::Receiver => code::TOKEN_RECEIVER,
            Self::Hops => code::TOKEN_HOPS,
            Self::Revoked => code::TOKEN_REVOKED,
            Self::Scope => code::TOKEN_SCOPE,
            Self::Payload => code::TOKEN_PAYLOAD,
            Self::Proof => code::TOKEN_PROOF,
        }
    }
}

/// Why a token is not opened now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// It never will be.
    Denied(Denial),
    /// The key of this thumbprint is needed first.
    Need(Thumbprint),
}

impl From<Denial> for Unopened {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// A token whose signature is genuine and whose claims have their form. Nothing that depends on a letter was looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Genuine {
    claims: Claims,
    hash: TokenHash,
    kid: Thumbprint,
    text: String,
}

/// The JOSE header, as far as it is looked at.
struct Header {
    algorithm: Algorithm,
    kid: Thumbprint,
}

impl Genuine {
    /// Opens a compact token: form, key, signature, claims (contracts/token.md section 3, steps 1 to 5).
    ///
    /// # Errors
    /// [`Unopened::Need`] when its key is not in the set; otherwise the first step that fails.
    pub fn open(token: &[u8], keys: &KeySet, signatures: &dyn Signatures) -> Result<Self, Unopened> {
        let parts = Parts::split(token)?;
        let header = Header::parse(&decode(parts.header)?)?;
        let key = keys.get(&header.kid).ok_or(Unopened::Need(header.kid))?;
        if key.algorithm() != header.algorithm {
            return Err(Denial::Algorithm.into());
        }
        if !key.verifies(parts.signed, &decode(parts.signature)?, signatures) {
            return Err(Denial::Signature.into());
        }
        let claims = Claims::parse(&decode(parts.body)?)?;
        Ok(Self { claims, hash: hash_of(token), kid: header.kid, text: text_of(token)? })
    }

    /// Reads a token again that was opened before and was kept where nobody else writes. No signature is looked at.
    #[must_use]
    pub fn kept(token: &[u8]) -> Option<Self> {
        let parts = Parts::split(token).ok()?;
        let header = Header::parse(&decode(parts.header).ok()?).ok()?;
        let claims = Claims::parse(&decode(parts.body).ok()?).ok()?;
        Some(Self { claims, hash: hash_of(token), kid: header.kid, text: text_of(token).ok()? })
    }

    /// The token as it came: what a letter carries, and what is exchanged for the next. Not for logs.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Thumbprint of the key that signed it.
    #[must_use]
    pub const fn kid(&self) -> &Thumbprint {
        &self.kid
    }

    /// How often it may still be handed on.
    #[must_use]
    pub const fn hops_left(&self) -> u8 {
        self.claims.hop.max.saturating_sub(self.claims.hop.n)
    }

    /// What it claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its name.
    #[must_use]
    pub const fn hash(&self) -> &TokenHash {
        &self.hash
    }
}

impl core::fmt::Debug for Genuine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Genuine({})", data_encoding::HEXLOWER.encode(&self.hash))
    }
}

fn text_of(token: &[u8]) -> Result<String, Denial> {
    String::from_utf8(token.to_vec()).map_err(|_| Denial::Malformed("not base64url"))
}

/// The name of a token.
#[must_use]
pub fn hash_of(token: &[u8]) -> TokenHash {
    crypto::sha256(&[token])
}

/// The three segments, and what the signature is over.
struct Parts<'a> {
    header: &'a [u8],
    body: &'a [u8],
    signature: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Parts<'a> {
    // contracts/token.md K1
    fn split(token: &'a [u8]) -> Result<Self, Denial> {
        if token.len() > limit::TOKEN_LEN_MAX {
            return Err(Denial::Malformed("longer than token_len_max"));
        }
        Self::split_any(token)
    }

    fn split_any(token: &'a [u8]) -> Result<Self, Denial> {
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Denial::Malformed("not three segments"));
        };
        let part = |from: usize, to: usize| token.get(from..to).unwrap_or_default();
        Ok(Self {
            header: part(0, first),
            body: part(first + 1, second),
            signature: part(second + 1, token.len()),
            signed: part(0, second),
        })
    }
}

fn decode(segment: &[u8]) -> Result<Vec<u8>, Denial> {
    BASE64URL_NOPAD.decode(segment).map_err(|_| Denial::Malformed("not base64url"))
}

impl Header {
    // contracts/token.md K2
    fn parse(bytes: &[u8]) -> Result<Self, Denial> {
        let header = Json::parse_object(bytes)?;
        let text = |name: &str| header.get(name).and_then(Json::as_text);
        let algorithm = text("alg").and_then(Algorithm::parse).ok_or(Denial::Algorithm)?;
        if text("typ") != Some(TYPE) {
            return Err(Denial::Type);
        }
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Denial::Malformed("a critical header parameter"));
        }
        let kid = text("kid").and_then(Thumbprint::parse).ok_or(Denial::Malformed("kid is no thumbprint"))?;
        Ok(Self { algorithm, kid })
    }
}
