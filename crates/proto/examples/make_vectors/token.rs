//! Transaction tokens as a receiver checks them (contracts/token.md).

#[path = "token/circumstances.rs"]
mod circumstances;
#[path = "token/claims.rs"]
mod claims;
#[path = "token/form.rs"]
mod form;
#[path = "token/header.rs"]
mod header;
#[path = "token/key_sets.rs"]
mod key_sets;
#[path = "token/order.rs"]
mod order;
#[path = "token/signature.rs"]
mod signature;

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::token::Thumbprint;
use serde_json::{Value, json};

use super::kit::{Case, NOW, actor, fixed, hex};

const AREA: &str = "token";
/// [`NOW`] in seconds, as claims have it.
const NOW_S: u64 = NOW.0 / 1_000;
const PAYLOAD: &[u8] = b"book the train";

pub(crate) fn cases() -> Vec<Case> {
    let areas = [
        form::cases(),
        header::cases(),
        signature::cases(),
        claims::cases(),
        circumstances::cases(),
        order::cases(),
        key_sets::cases(),
    ];
    areas.into_iter().flatten().collect()
}

/// The token service.
fn service() -> SigningKey {
    SigningKey::from_seed(&fixed("token service seed"))
}

/// A key that is in no set.
fn stranger() -> SigningKey {
    SigningKey::from_seed(&fixed("token stranger seed"))
}

fn thumbprint(key: &SigningKey) -> String {
    Thumbprint::of_ed25519(&key.public()).to_string()
}

/// What `cnf` says of an agent.
fn jkt(name: &str) -> String {
    Thumbprint::of_agent(&actor(name).identity.id()).to_string()
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// The JWK of a point, as bytes may name it.
pub(super) fn okp(public: &[u8]) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(public) })
}

fn set_of(keys: &[Value]) -> String {
    text(&json!({ "keys": keys }))
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "txntoken+jwt", "kid": thumbprint(&service()) })
}

/// Alice's token for Bob, on the second hop.
fn body() -> Value {
    json!({
        "iat": NOW_S - 10, "exp": NOW_S + 110, "aud": "acme.example", "txn": "t-1", "sub": "user:anna",
        "scope": "travel.book travel.pay", "req_wl": "gateway,planner", "req_wl_chain": ["gateway", "planner"],
        "jti": "j-1", "tctx": { "trip": "4711" }, "cnf": { "jkt": jkt("alice") },
        "hop": { "n": 1, "max": 4, "to": actor("bob").did(), "prev": encode(fixed::<32>("token before")) },
    })
}

/// The text of a value with its members in the order of their names, whatever serde_json's features make of a map.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> =
                map.iter().map(|(name, value)| format!("{}:{}", json!(name), text(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// A value with the member at a pointer put in or exchanged.
pub(super) fn with(mut value: Value, pointer: &str, item: impl Into<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[name] = item.into();
    value
}

pub(super) fn without(mut value: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    value
}

/// A hop of this number, with a chain and a token before that fit.
fn on_hop(n: usize, max: u64) -> Value {
    let chain: Vec<_> = (0..=n).map(|at| format!("w{at}")).collect();
    let body = with(with(body(), "/req_wl", chain.join(",")), "/req_wl_chain", chain);
    let body = with(with(body, "/hop/n", n), "/hop/max", max);
    if n == 0 { without(body, "/hop/prev") } else { body }
}

/// Two segments, and their signature by a key.
fn sign(key: &SigningKey, header: &str, body: &str) -> String {
    let signed = format!("{header}.{body}");
    let signature = encode(key.sign_raw(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A token of these texts, by the service.
fn token_of(header: &str, body: &str) -> String {
    sign(&service(), &encode(header), &encode(body))
}

fn token(header: &Value, body: &Value) -> String {
    token_of(&text(header), &text(body))
}

/// A good token's three segments.
fn segments() -> [String; 3] {
    let token = token(&header(), &body());
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// A token, and circumstances in which a good one is granted.
fn given(token: impl Into<String>) -> Value {
    json!({
        "keys": set_of(&[okp(&service().public())]), "token": token.into(), "now": NOW.0, "domain": "acme.example",
        "peer": actor("alice").did(), "receiver": actor("bob").did(), "revoked": [], "wanted": "travel.book",
        "content": hex(PAYLOAD), "first_seen_from": null,
    })
}

/// What a token of this body grants.
fn granted(name: &str, comment: &str, input: Value, body: &Value) -> Case {
    let mut scope: Vec<_> = body["scope"].as_str().unwrap().split(' ').collect();
    scope.sort_unstable();
    let hop = |name: &str| body["hop"][name].as_u64().unwrap();
    let expect = json!({
        "transaction": body["txn"], "principal": body["sub"], "scope": scope, "hops_left": hop("max") - hop("n"),
        "hash": hex(crypto::sha256(&[input["token"].as_str().unwrap().as_bytes()])),
    });
    Case::valid(AREA, name, comment, input, expect)
}

/// A token of this body is granted.
fn grants(name: &str, comment: &str, body: &Value) -> Case {
    granted(name, comment, given(token(&header(), body)), body)
}

fn refused(name: &str, comment: &str, input: Value, error: &str) -> Case {
    Case::refused(AREA, name, comment, input, error)
}

/// The key of this thumbprint is asked for.
fn needs(name: &str, comment: &str, input: Value, thumbprint: &str) -> Case {
    Case::valid(AREA, name, comment, input, json!({ "need": thumbprint }))
}

/// One more than fits into the last character: the same bytes in a second spelling.
fn stray(segment: &str) -> String {
    assert_ne!(segment.len() % 4, 0, "a segment whose last character has unused bits");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let at = alphabet.find(last).unwrap();
    format!("{rest}{}", &alphabet[at + 1..at + 2])
}

/// A JSON text, lengthened by white space until its segment has unused bits.
fn unaligned(text: &str) -> String {
    let spaces = if text.len().is_multiple_of(3) { " " } else { "" };
    encode(format!("{text}{spaces}"))
}

fn padded(segment: &str) -> String {
    format!("{segment}{}", "=".repeat(4 - segment.len() % 4))
}
