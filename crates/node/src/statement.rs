//! Statements that the node signs with its identity key, and that agents may hand each other (contracts/txts.md section 8).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{text, time};
use nuncio_proto::identity::Identity;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Thumbprint;
use serde_json::{Map, Value, json};

/// A statement that is made once for all who ask in a second: anybody may ask.
#[derive(Debug, Default)]
pub(crate) struct Made(Mutex<Option<(Edition, Bytes)>>);

/// Which it is: the number of what it says, and the second in which it says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edition {
    pub(crate) number: u64,
    pub(crate) iat: u64,
}

impl Made {
    /// This edition. Whoever asks while it is made waits for it.
    pub(crate) fn edition(&self, wanted: Edition, make: impl FnOnce() -> String) -> Bytes {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((edition, statement)) = made.as_ref()
            && *edition == wanted
        {
            return statement.clone();
        }
        let statement = Bytes::from(make());
        *made = Some((wanted, statement.clone()));
        statement
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_signed_once_in_a_second_however_many_ask() {
        let (made, mut signed) = (Made::default(), 0);
        for (number, iat, expected) in [(1, 10, 1), (1, 10, 1), (2, 10, 2), (2, 11, 3), (2, 11, 3), (1, 11, 4)] {
            let text = format!("{number} in {iat}");
            let statement = made.edition(Edition { number, iat }, || {
                signed += 1;
                text.clone()
            });
            assert_eq!((statement, signed), (Bytes::from(text.clone()), expected));
        }
    }
}
