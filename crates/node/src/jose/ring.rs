//! Keys of one who signs: of a client, or of an issuer of subject tokens.

use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Json, VerifyingKey};

use super::{Flaw, Jws};

/// A JWK set whose `kid`s mean what their owner wants them to. (Keys that sign our tokens are found by thumbprint instead.)
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRing(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    kid: Option<String>,
    key: VerifyingKey,
}

/// One who signs has the key in use, the next, and some that are over.
const KEYS_MAX: usize = nuncio_contracts::registry::limit::KEY_SET_KEYS_MAX;
/// Without a `kid` at most so many keys are tried: each costs a signature check.
const TRIES_MAX: usize = 4;

impl KeyRing {
    /// Reads a JWK set. Keys of kinds that are not allowed are passed over; a set without any key that is left is refused.
    pub(crate) fn parse(jwks: &[u8]) -> Result<Self, Flaw> {
        let set = Json::parse_object(jwks).map_err(|_| "a key set is no JSON object that means one thing")?;
        let Some(Json::Array(listed)) = set.get("keys") else { return Err("a key set without keys") };
        let entries: Vec<Entry> = listed.iter().take(KEYS_MAX).filter_map(Entry::read).collect();
        if entries.is_empty() { Err("a key set without a key that can be used") } else { Ok(Self(entries)) }
    }

    /// Adds an agent's identity key.
    pub(crate) fn insert(&mut self, agent: &AgentId) {
        self.0.push(Entry { kid: None, key: VerifyingKey::Ed25519(*agent.as_bytes()) });
    }

    /// Whether one of its keys has signed it: the one that its `kid` names, where it names one.
    pub(crate) fn verifies(&self, jws: &Jws<'_>) -> bool {
        self.candidates(jws).take(TRIES_MAX).any(|entry| jws.is_signed_by(&entry.key))
    }

    /// Whether there is a key that could have signed it.
    pub(crate) fn knows(&self, jws: &Jws<'_>) -> bool {
        self.candidates(jws).next().is_some()
    }

    fn candidates<'a>(&'a self, jws: &'a Jws<'_>) -> impl Iterator<Item = &'a Entry> {
        let kid = jws.header.get("kid").map(Json::as_text);
        let right = jws.algorithm;
        self.0.iter().filter(move |entry| entry.key.algorithm() == right && kid.is_none_or(|kid| entry.is_called(kid)))
    }
}

impl Entry {
    fn read(jwk: &Json) -> Option<Self> {
        let member = |name: &str| jwk.as_object()?.get(name)?.as_text();
        if member("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        Some(Self { kid: member("kid").map(str::to_owned), key: VerifyingKey::parse(jwk)? })
    }

    /// By its own name, or by its thumbprint where it has none.
    fn is_called(&self, kid: Option<&str>) -> bool {
        match &self.kid {
            Some(name) => kid == Some(name),
            None => kid.is_some_and(|kid| kid == self.key.thumbprint().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use nuncio_proto::crypto::SigningKey;
    use nuncio_proto::testing::jws;

    use super::*;

    fn jwk(seed: u8, kid: &str) -> String {
        let x = BASE64URL_NOPAD.encode(&SigningKey::from_seed(&[seed; 32]).public());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{kid}}}"#)
    }

    fn verifies(ring: &str, header: &str) -> bool {
        let text = jws(&SigningKey::from_seed(&[1; 32]), header, "{}");
        KeyRing::parse(ring.as_bytes()).unwrap().verifies(&Jws::parse(&text).unwrap())
    }

    #[test]
    fn a_kid_names_the_key_and_no_other_is_tried() {
        let ring = format!(r#"{{"keys":[{},{}]}}"#, jwk(1, r#","kid":"one""#), jwk(2, r#","kid":"two""#));
        assert!(verifies(&ring, r#"{"alg":"EdDSA","kid":"one"}"#));
        assert!(verifies(&ring, r#"{"alg":"EdDSA"}"#));
        for kid in [r#""two""#, r#""three""#, "7"] {
            assert!(!verifies(&ring, &format!(r#"{{"alg":"EdDSA","kid":{kid}}}"#)), "{kid}");
        }
        let thumbprint = VerifyingKey::Ed25519(SigningKey::from_seed(&[1; 32]).public()).thumbprint();
        let unnamed = format!(r#"{{"keys":[{}]}}"#, jwk(1, ""));
        assert!(verifies(&unnamed, &format!(r#"{{"alg":"EdDSA","kid":"{thumbprint}"}}"#)));
        assert!(!verifies(&unnamed, r#"{"alg":"EdDSA","kid":"one"}"#));
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        for bad in [
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
            &format!(r#"{{"keys":[{}]}}"#, jwk(1, r#","use":"enc""#)),
        ] {
            assert!(KeyRing::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
