//! Statements that the node signs with its identity key, and that agents may hand each other (contracts/txts.md section 8).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{text, time};
use nuncio_proto::identity::Identity;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Thumbprint;
use serde_json::{Map, Value, json};

/// The signed key bundle.
pub(crate) fn keys(node: &Identity, domain: &str, keys: Vec<Value>, now: UnixMillis) -> String {
    let said = [("keys".to_owned(), Value::Array(keys))];
    sign(node, text::KEYS_TYPE, claims(node, domain, now, time::KEY_BUNDLE_LIFE, said))
}

/// The signed list of revoked transactions.
pub(crate) fn revoked(node: &Identity, domain: &str, serial: u64, txns: Vec<Value>, now: UnixMillis) -> String {
    let said = [("serial".to_owned(), serial.into()), ("txns".to_owned(), Value::Array(txns))];
    sign(node, text::REVOKED_TYPE, claims(node, domain, now, time::REVOKED_LIST_LIFE, said))
}

// contracts/txts.md N26
fn claims(
    node: &Identity,
    domain: &str,
    now: UnixMillis,
    life_ms: u64,
    said: impl IntoIterator<Item = (String, Value)>,
) -> Map<String, Value> {
    let iat = now.0 / 1_000;
    let common = [
        ("iss".to_owned(), node.id().to_string().into()),
        ("aud".to_owned(), domain.into()),
        ("iat".to_owned(), iat.into()),
        ("exp".to_owned(), iat.saturating_add(life_ms / 1_000).into()),
    ];
    common.into_iter().chain(said).collect()
}

fn sign(node: &Identity, typ: &str, claims: Map<String, Value>) -> String {
    let header = json!({ "alg": "EdDSA", "typ": typ, "kid": Thumbprint::of_agent(&node.id()).to_string() });
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(Value::Object(claims).to_string().as_bytes()));
    let signature = node.signing().sign_raw(signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}
