//! Keys that sign tokens, found by their thumbprints.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use super::{Denial, Json};
use crate::crypto;
use crate::ids::AgentId;

/// RFC 7638 thumbprint (SHA-256) of a key: its `kid`, and an agent's `cnf.jkt`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; 32]);

/// Signature algorithms that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: `EdDSA` (RFC 8037) or `Ed25519` (RFC 9864).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// A key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Verified here.
    Ed25519([u8; 32]),
    /// Verified by [`Signatures`]: the required members of the JWK, in the order of RFC 7638.
    Other {
        /// Which.
        algorithm: Algorithm,
        /// `{"crv":…}` or `{"e":…}`
        jwk: String,
    },
}

/// Signatures that this crate does not verify itself: ES256 and RS256, by the JOSE library of whoever runs it.
pub trait Signatures {
    /// Whether the signature is the key's over the message.
    fn verify(&self, algorithm: Algorithm, jwk: &str, message: &[u8], signature: &[u8]) -> bool;
}

/// No algorithm but Ed25519.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdDsaOnly;

impl Signatures for EdDsaOnly {
    fn verify(&self, _: Algorithm, _: &str, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// Keys of a trust domain's token service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(BTreeMap<Thumbprint, VerifyingKey>);

impl Thumbprint {
    /// Of an agent's identity key, as the JWK `{"crv":"Ed25519","kty":"OKP","x":…}`.
    #[must_use]
    pub fn of_agent(agent: &AgentId) -> Self {
        Self::of_ed25519(agent.as_bytes())
    }

    /// Of an Ed25519 key (RFC 8037 appendix A.3).
    #[must_use]
    pub fn of_ed25519(public: &[u8; 32]) -> Self {
        Self::of_jwk(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, BASE64URL_NOPAD.encode(public)))
    }

    fn of_jwk(required: &str) -> Self {
        Self(crypto::sha256(&[required.as_bytes()]))
    }

    /// Reads its base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Algorithm {
    /// The algorithm of an `alg`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl VerifyingKey {
    /// The one algorithm that it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::Other { algorithm, .. } => *algorithm,
        }
    }

    /// Its thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        match self {
            Self::Ed25519(public) => Thumbprint::of_ed25519(public),
            Self::Other { jwk, .. } => Thumbprint::of_jwk(jwk),
        }
    }

    /// Whether the signature is this key's over the message; Ed25519 strictly.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8], others: &dyn Signatures) -> bool {
        match self {
            Self::Ed25519(public) => {
                signature.try_into().is_ok_and(|signature| crypto::verify_raw(public, message, signature).is_ok())
            }
            Self::Other { algorithm, jwk } => others.verify(*algorithm, jwk, message, signature),
        }
    }

    /// Reads one member of a JWK set; `None` for a key of a kind that is not allowed.
    #[must_use]
    pub fn parse(jwk: &Json) -> Option<Self> {
        let members = jwk.as_object()?;
        let text = |name: &str| members.get(name).and_then(Json::as_text);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        match (text("kty")?, text("crv")) {
            ("OKP", Some("Ed25519")) => {
                let public = bytes("x")?.try_into().ok()?;
                crypto::check_signing_public(&public).ok()?;
                Some(Self::Ed25519(public))
            }
            ("EC", Some("P-256")) if bytes("x")?.len() == 32 && bytes("y")?.len() == 32 => {
                let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x")?, text("y")?);
                Some(Self::Other { algorithm: Algorithm::Es256, jwk })
            }
            ("RSA", None) if is_modulus(&bytes("n")?) => {
                bytes("e")?;
                let jwk = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e")?, text("n")?);
                Some(Self::Other { algorithm: Algorithm::Rs256, jwk })
            }
            _ => None,
        }
    }
}

/// A modulus of 2,048 bits or more, without zeros in front.
fn is_modulus(n: &[u8]) -> bool {
    let least = if n.len() == RSA_MODULUS_LEN_MIN { 0x80 } else { 1 };
    n.len() >= RSA_MODULUS_LEN_MIN && n.first() >= Some(&least)
}

/// Bytes of 2,048 bits.
const RSA_MODULUS_LEN_MIN: usize = 256;
/// A set holds the keys of one service: the one in use, the next, and some that are over.
const KEYS_MAX: usize = 32;
const JWKS_LEN_MAX: usize = 64 * 1024;

impl KeySet {
    /// Reads a JWK set (RFC 7517 section 5). Keys of kinds that are not allowed, and those for encryption, are passed over; a `kid` that is not
    /// the key's thumbprint is refused, since it could name another's key.
    ///
    /// # Errors
    /// What is no such set.
    pub fn parse(jwks: &[u8]) -> Result<Self, Denial> {
        if jwks.len() > JWKS_LEN_MAX {
            return Err(Denial::Malformed("a key set longer than 64 KiB"));
        }
        Self::of_members(&Json::parse_object(jwks)?)
    }

    pub(super) fn of_members(members: &BTreeMap<String, Json>) -> Result<Self, Denial> {
        let Some(Json::Array(listed)) = members.get("keys") else {
            return Err(Denial::Malformed("a key set without keys"));
        };
        let mut keys = BTreeMap::new();
        for jwk in listed.iter().take(KEYS_MAX) {
            let member = |name: &str| jwk.as_object().and_then(|jwk| jwk.get(name)).and_then(Json::as_text);
            if member("use").is_some_and(|purpose| purpose != "sig") {
                continue;
            }
            let Some(key) = VerifyingKey::parse(jwk) else { continue };
            let thumbprint = key.thumbprint();
            if member("kid").is_some_and(|kid| kid != thumbprint.to_string()) {
                return Err(Denial::Malformed("a kid that is not its key's thumbprint"));
            }
            keys.insert(thumbprint, key);
        }
        Ok(Self(keys))
    }

    /// Adds a key.
    pub fn insert(&mut self, key: VerifyingKey) {
        self.0.insert(key.thumbprint(), key);
    }

    /// The key of a thumbprint.
    #[must_use]
    pub fn get(&self, kid: &Thumbprint) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// The thumbprints of all.
    pub fn thumbprints(&self) -> impl Iterator<Item = &Thumbprint> {
        self.0.keys()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.3.
    #[test]
    fn the_thumbprint_of_rfc_8037() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let public: [u8; 32] = BASE64URL_NOPAD.decode(x.as_bytes()).unwrap().try_into().unwrap();
        assert_eq!(Thumbprint::of_ed25519(&public).to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// RFC 7638 section 3.1.
    #[test]
    fn the_thumbprint_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwks = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256"}}]}}"#);
        let keys = KeySet::parse(jwks.as_bytes()).unwrap();
        let kid = Thumbprint::parse("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").unwrap();
        assert_eq!(keys.get(&kid).unwrap().algorithm(), Algorithm::Rs256);
    }

    #[test]
    fn a_set_names_keys_by_their_thumbprints_only() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set = |members: &str| format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"{members}}}]}}"#);
        let good = r#","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig""#;
        assert_eq!(KeySet::parse(set(good).as_bytes()).unwrap().len(), 1);
        assert_eq!(KeySet::parse(set("").as_bytes()).unwrap().len(), 1);
        assert!(KeySet::parse(set(r#","kid":"mine""#).as_bytes()).is_err());
        assert!(KeySet::parse(set(r#","use":"enc""#).as_bytes()).unwrap().is_empty());
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for passed in [r#"{"kty":"oct","k":"AAAA"}"#, r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "7"] {
            assert!(KeySet::parse(format!(r#"{{"keys":[{passed}]}}"#).as_bytes()).unwrap().is_empty(), "{passed}");
        }
    }
}
