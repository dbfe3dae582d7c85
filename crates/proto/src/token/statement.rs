//! What the token service says of itself, signed, so that agents may hand it to each other: its keys, and the transactions that are revoked
//! (contracts/token.md section 5).

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::text::{KEYS_TYPE, REVOKED_TYPE};
use nuncio_contracts::registry::{limit, time};

use super::{Algorithm, Denial, Json, KeySet, Parts, Thumbprint, decode};
use crate::crypto;
use crate::ids::AgentId;
use crate::time::UnixMillis;

/// The keys with which a domain's tokens are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBundle {
    /// When it was made, in seconds: the later of two counts.
    pub issued: u64,
    /// Until when it holds, in seconds.
    pub expires: u64,
    /// The keys.
    pub keys: KeySet,
}

/// The transactions of a domain that are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedList {
    /// Until when it is current, in seconds. It is obeyed after that too: a transaction is not unrevoked.
    pub expires: u64,
    /// Grows with every revocation: the higher of two counts.
    pub serial: u64,
    /// The transactions.
    pub transactions: BTreeSet<String>,
}

/// Why a statement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Its form is wrong, in this place.
    #[error("statement is malformed: {0}")]
    Malformed(&'static str),
    /// It says something else than was asked for.
    #[error("statement is of another type")]
    Type,
    /// It is not signed by the node that this agent trusts.
    #[error("statement is not signed by the trusted node")]
    Signature,
    /// It is of another domain.
    #[error("statement is of another trust domain")]
    Domain,
    /// It has expired, or was made later than now.
    #[error("statement is not of this time")]
    Time,
}

impl From<Denial> for StatementError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Malformed(place) => Self::Malformed(place),
            _ => Self::Malformed("form"),
        }
    }
}

/// Who is believed, about what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// The node of the domain's token service.
    pub node: &'a AgentId,
    /// The trust domain.
    pub domain: &'a str,
    /// The time.
    pub now: UnixMillis,
}

type Members = std::collections::BTreeMap<String, Json>;

impl KeyBundle {
    /// Reads a signed set of keys.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(statement: &[u8], trusted: &Trusted<'_>) -> Result<Self, StatementError> {
        let members = trusted.open(statement, KEYS_TYPE)?;
        let (issued, expires) = (integer(&members, "iat")?, integer(&members, "exp")?);
        // Keys of a service that nobody has heard of for longer may have been stolen since.
        if expires.saturating_mul(1_000).saturating_add(time::TOKEN_SKEW) <= trusted.now.0 {
            return Err(StatementError::Time);
        }
        Ok(Self { issued, expires, keys: KeySet::of_members(&members)? })
    }
}

impl RevokedList {
    /// Reads a signed list of revoked transactions, of any age.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(statement: &[u8], trusted: &Trusted<'_>) -> Result<Self, StatementError> {
        let members = trusted.open(statement, REVOKED_TYPE)?;
        let Some(Json::Array(listed)) = members.get("txns") else { return Err(StatementError::Malformed("txns")) };
        let name =
            |entry: &Json| entry.as_object()?.get("txn")?.as_text().filter(|txn| !txn.is_empty()).map(str::to_owned);
        let transactions: Option<BTreeSet<_>> = listed.iter().map(name).collect();
        Ok(Self {
            expires: integer(&members, "exp")?,
            serial: integer(&members, "serial")?,
            transactions: transactions.ok_or(StatementError::Malformed("txns"))?,
        })
    }
}

impl Trusted<'_> {
    /// The members of a statement of this type that the trusted node has signed.
    fn open(&self, statement: &[u8], of_type: &str) -> Result<Members, StatementError> {
        if statement.len() > limit::STATEMENT_LEN_MAX {
            return Err(StatementError::Malformed("longer than statement_len_max"));
        }
        let parts = Parts::split_any(statement)?;
        self.check_header(&Json::parse_object(&decode(parts.header)?)?, of_type)?;
        let signature: [u8; 64] =
            decode(parts.signature)?.try_into().map_err(|_| StatementError::Malformed("signature"))?;
        crypto::verify_raw(self.node.as_bytes(), parts.signed, &signature).map_err(|_| StatementError::Signature)?;
        let members = Json::parse_object(&decode(parts.body)?)?;
        let text = |name: &str| members.get(name).and_then(Json::as_text);
        if text("iss") != Some(self.node.to_string().as_str()) {
            return Err(StatementError::Signature);
        }
        if text("aud") != Some(self.domain) {
            return Err(StatementError::Domain);
        }
        if integer(&members, "iat")?.saturating_mul(1_000) >= self.now.0.saturating_add(time::TOKEN_SKEW) {
            return Err(StatementError::Time);
        }
        Ok(members)
    }

    fn check_header(&self, header: &Members, of_type: &str) -> Result<(), StatementError> {
        let text = |name: &str| header.get(name).and_then(Json::as_text);
        if text("typ") != Some(of_type) {
            return Err(StatementError::Type);
        }
        let signer = text("alg").and_then(Algorithm::parse) == Some(Algorithm::EdDsa)
            && text("kid") == Some(Thumbprint::of_agent(self.node).to_string().as_str());
        if !signer {
            return Err(StatementError::Signature);
        }
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(StatementError::Malformed("a critical header parameter"));
        }
        Ok(())
    }
}

fn integer(members: &Members, name: &'static str) -> Result<u64, StatementError> {
    members.get(name).and_then(Json::as_integer).ok_or(StatementError::Malformed(name))
}

/// Signs a JSON object with an agent's identity key, as compact JWS of a type: what it says of itself to a token service.
#[must_use]
pub fn sign(signer: &crypto::SigningKey, of_type: &str, members: &str) -> String {
    let kid = Thumbprint::of_ed25519(&signer.public());
    let header = format!(r#"{{"alg":"EdDSA","typ":"{of_type}","kid":"{kid}"}}"#);
    let signed =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(members.as_bytes()));
    let signature = BASE64URL_NOPAD.encode(&signer.sign_raw(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn node() -> SigningKey {
        SigningKey::from_seed(&[4; 32])
    }

    fn did(key: &SigningKey) -> AgentId {
        AgentId::from_bytes(key.public()).unwrap()
    }

    fn keys(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut members = serde_json::json!({
            "iss": did(&node()).to_string(), "aud": "acme.example", "iat": 1_800_000_000, "exp": 1_800_086_400,
            "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&node().public()) }],
        });
        change(&mut members);
        members.to_string()
    }

    fn open(statement: &str, now: UnixMillis) -> Result<KeyBundle, StatementError> {
        let node = did(&node());
        KeyBundle::open(statement.as_bytes(), &Trusted { node: &node, domain: "acme.example", now })
    }

    #[test]
    fn only_what_the_trusted_node_signed_for_this_domain_and_time_is_believed() {
        let good = sign(&node(), KEYS_TYPE, &keys(|_| {}));
        assert_eq!(open(&good, NOW).unwrap().keys.len(), 1);
        let other = sign(&SigningKey::from_seed(&[5; 32]), KEYS_TYPE, &keys(|_| {}));
        assert_eq!(open(&other, NOW), Err(StatementError::Signature));
        let bad = |change: &dyn Fn(&mut serde_json::Value)| open(&sign(&node(), KEYS_TYPE, &keys(change)), NOW);
        assert_eq!(bad(&|m| m["iss"] = "did:key:z6Mk".into()), Err(StatementError::Signature));
        assert_eq!(bad(&|m| m["aud"] = "other.example".into()), Err(StatementError::Domain));
        assert_eq!(bad(&|m| m["iat"] = 1_800_000_031.into()), Err(StatementError::Time));
        assert_eq!(bad(&|m| m["exp"] = 1_799_999_970.into()), Err(StatementError::Time));
        assert_eq!(bad(&|m| m["keys"] = 1.into()), Err(StatementError::Malformed("a key set without keys")));
        assert_eq!(open(&sign(&node(), REVOKED_TYPE, &keys(|_| {})), NOW), Err(StatementError::Type));
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(open(&String::from_utf8(bytes).unwrap(), NOW).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_list_of_revoked_transactions_is_obeyed_at_any_age() {
        let members = format!(
            r#"{{"iss":"{}","aud":"acme.example","iat":1700000000,"exp":1700003600,"serial":7,"txns":[{{"txn":"t-1","exp":1}},{{"txn":"t-2","exp":2}}]}}"#,
            did(&node())
        );
        let node_id = did(&node());
        let trusted = Trusted { node: &node_id, domain: "acme.example", now: NOW };
        let list = RevokedList::open(sign(&node(), REVOKED_TYPE, &members).as_bytes(), &trusted).unwrap();
        assert_eq!((list.serial, list.transactions.len()), (7, 2));
        let bad = sign(&node(), REVOKED_TYPE, &members.replace(r#""t-2""#, "null"));
        assert_eq!(RevokedList::open(bad.as_bytes(), &trusted), Err(StatementError::Malformed("txns")));
    }
}
