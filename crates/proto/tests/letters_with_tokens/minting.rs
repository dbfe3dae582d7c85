//! A trust domain's token service, by hand: its key, and tokens that are right.

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{KeySet, Receiver, Thumbprint, VerifyingKey};
use serde_json::{Value, json};

pub(crate) const DOMAIN: &str = "acme.example";

pub(crate) fn service() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

pub(crate) fn keys() -> KeySet {
    let mut keys = KeySet::default();
    keys.insert(VerifyingKey::Ed25519(service().public()));
    keys
}

/// A token of one agent towards another, or for a channel, good for two minutes from a time; it may be bound to a payload.
pub(crate) fn minted(
    from: AgentId,
    to: impl Into<Receiver>,
    txn: &str,
    jti: &str,
    at: UnixMillis,
    pay: Option<Value>,
) -> Vec<u8> {
    let (kid, iat) = (Thumbprint::of_ed25519(&service().public()), at.0 / 1_000);
    let header = json!({ "typ": "txntoken+jwt", "alg": "EdDSA", "kid": kid.to_string() });
    let mut body = json!({
        "iat": iat, "exp": iat + 120, "aud": DOMAIN, "txn": txn, "sub": "user:anna", "scope": "travel.book",
        "req_wl": "gateway", "req_wl_chain": ["gateway"], "jti": jti,
        "cnf": { "jkt": Thumbprint::of_agent(&from).to_string() },
        "hop": { "n": 0, "max": 4, "to": to.into().to_string() },
    });
    pay.into_iter().for_each(|pay| body["hop"]["pay"] = pay);
    jws(&service(), &header.to_string(), &body.to_string()).into_bytes()
}
