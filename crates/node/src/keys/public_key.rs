//! The public half of a key that signs tokens, or did.

use nuncio_proto::token::{Json, Thumbprint, VerifyingKey};
use serde_json::{Map, Value};

use super::token_key::name;

/// What everybody may know of a key.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    jwk: Map<String, Value>,
    key: VerifyingKey,
    kid: Thumbprint,
}

impl PublicKey {
    /// From the members of a JWK that say which key it is; `alg`, `use` and `kid` are added.
    pub(super) fn new(mut jwk: Map<String, Value>) -> Option<Self> {
        let members = Json::parse_object(&serde_json::to_vec(&jwk).ok()?).ok()?;
        let key = VerifyingKey::parse(&Json::Object(members))?;
        let kid = key.thumbprint();
        for (member, value) in [("alg", name(key.algorithm())), ("use", "sig"), ("kid", &kid.to_string())] {
            jwk.insert(member.to_owned(), value.into());
        }
        Some(Self { jwk, key, kid })
    }

    /// From what its row holds.
    pub(super) fn from_row(bytes: &[u8]) -> Option<Self> {
        Self::new(serde_json::from_slice(bytes).ok()?)
    }

    /// What its row holds: the JWK.
    pub(super) fn to_row(&self) -> Vec<u8> {
        Value::Object(self.jwk.clone()).to_string().into_bytes()
    }

    /// As a member of a JWK set.
    pub(crate) fn jwk(&self) -> Value {
        Value::Object(self.jwk.clone())
    }

    /// As what verifies.
    pub(crate) const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Its RFC 7638 thumbprint.
    pub(crate) const fn kid(&self) -> &Thumbprint {
        &self.kid
    }
}
