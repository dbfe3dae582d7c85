//! What a token service says of itself, signed (contracts/token.md section 5).

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Thumbprint, sign};
use serde_json::{Value, json};

use super::kit::{Case, NOW, fixed};
use super::token::{encode, okp, text, with, without};

const AREA: &str = "statement";
const NOW_S: u64 = NOW.0 / 1_000;
const KEYS: &str = "nuncio-keys+jwt";
const REVOKED: &str = "nuncio-revoked+jwt";

/// The node of the token service, and the key that signs its tokens.
fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&fixed(name))
}

fn node() -> SigningKey {
    key("statement node seed")
}

fn did(key: &SigningKey) -> String {
    AgentId::from_bytes(key.public()).unwrap().to_string()
}

fn keys() -> Value {
    json!({
        "iss": did(&node()), "aud": "acme.example", "iat": NOW_S - 60, "exp": NOW_S + 86_340,
        "keys": [okp(&key("statement service seed").public())],
    })
}

fn revoked() -> Value {
    json!({
        "iss": did(&node()), "aud": "acme.example", "iat": NOW_S - 60, "exp": NOW_S + 3_540, "serial": 7,
        "txns": [{ "txn": "t-1", "exp": NOW_S + 60 }, { "txn": "t-2", "exp": NOW_S }],
    })
}

fn given(what: &str, statement: impl Into<String>) -> Value {
    json!({
        "what": what, "statement": statement.into(), "node": did(&node()), "domain": "acme.example", "now": NOW.0,
    })
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": KEYS, "kid": Thumbprint::of_ed25519(&node().public()).to_string() })
}

/// A statement of these texts, by the node.
fn under(header: &Value, members: &Value) -> String {
    let signed = format!("{}.{}", encode(text(header)), encode(text(members)));
    format!("{signed}.{}", encode(node().sign_raw(signed.as_bytes())))
}

fn said(members: &Value) -> Value {
    given("keys", sign(&node(), KEYS, &text(members)))
}

fn listed(members: &Value) -> Value {
    given("revoked", sign(&node(), REVOKED, &text(members)))
}

pub(crate) fn cases() -> Vec<Case> {
    [taken(), of_keys(), of_lists(), forms()].into_iter().flatten().collect()
}

fn is_keys(name: &str, comment: &str, input: Value, members: &Value, kids: &[String]) -> Case {
    let expect = json!({ "issued": members["iat"], "expires": members["exp"], "keys": kids });
    Case::valid(AREA, name, comment, input, expect)
}

fn is_list(name: &str, comment: &str, members: &Value, transactions: &[&str]) -> Case {
    let expect = json!({ "expires": members["exp"], "serial": members["serial"], "transactions": transactions });
    Case::valid(AREA, name, comment, listed(members), expect)
}

fn taken() -> Vec<Case> {
    let kid = Thumbprint::of_ed25519(&key("statement service seed").public()).to_string();
    let (ahead, late) = (with(keys(), "/iat", NOW_S + 29), with(keys(), "/exp", NOW_S - 29));
    let named = with(header(), "/alg", "Ed25519");
    let long_ago = with(with(revoked(), "/iat", 1_000), "/exp", 2_000);
    let is =
        |name, comment, members: &Value| is_keys(name, comment, said(members), members, core::slice::from_ref(&kid));
    vec![
        is("valid-keys", "the keys of a token service, by its node", &keys()),
        is("valid-keys-ahead", "the node's clock is ahead, within the skew", &ahead),
        is("valid-keys-late", "over, within the skew", &late),
        is("valid-keys-members", "other members are passed over", &with(keys(), "/later", 1)),
        is_keys(
            "valid-alg-ed25519",
            "RFC 9864's name",
            given("keys", under(&named, &keys())),
            &keys(),
            core::slice::from_ref(&kid),
        ),
        is_keys(
            "valid-keys-none",
            "a service without keys verifies nothing",
            said(&with(keys(), "/keys", json!([]))),
            &keys(),
            &[],
        ),
        is_list("valid-revoked", "two transactions", &revoked(), &["t-1", "t-2"]),
        is_list("valid-revoked-none", "none yet", &with(revoked(), "/txns", json!([])), &[]),
        is_list("valid-revoked-old", "a transaction is not unrevoked by time", &long_ago, &["t-1", "t-2"]),
    ]
}

fn no(name: &str, comment: &str, input: Value, error: &str) -> Case {
    Case::refused(AREA, name, comment, input, error)
}

fn of_keys() -> Vec<Case> {
    let other = key("statement stranger seed");
    let by_other = sign(&other, KEYS, &text(&keys()));
    vec![
        no("keys-other-signer", "another agent", given("keys", by_other), "signature"),
        no("keys-other-iss", "of another node", said(&with(keys(), "/iss", did(&other))), "signature"),
        no("keys-no-iss", "of nobody", said(&without(keys(), "/iss")), "signature"),
        no("keys-other-domain", "another trust domain", said(&with(keys(), "/aud", "other.example")), "domain"),
        no("keys-no-aud", "of no domain", said(&without(keys(), "/aud")), "domain"),
        no("keys-early", "made in the future", said(&with(keys(), "/iat", NOW_S + 30)), "time"),
        no("keys-over", "over", said(&with(keys(), "/exp", NOW_S - 30)), "time"),
        no("keys-no-exp", "without an end", said(&without(keys(), "/exp")), "malformed"),
        no("keys-no-iat", "without a beginning", said(&without(keys(), "/iat")), "malformed"),
        no("keys-missing", "no keys", said(&without(keys(), "/keys")), "malformed"),
        no("keys-wrong-kid", "a kid that is not its key's", said(&with(keys(), "/keys/0/kid", "key-1")), "malformed"),
    ]
}

fn of_lists() -> Vec<Case> {
    vec![
        no("revoked-as-keys", "a list is no key set", given("keys", sign(&node(), REVOKED, &text(&revoked()))), "type"),
        no("keys-as-revoked", "a key set is no list", given("revoked", sign(&node(), KEYS, &text(&keys()))), "type"),
        no("revoked-no-serial", "which is newer?", listed(&without(revoked(), "/serial")), "malformed"),
        no("revoked-no-exp", "until when is it current?", listed(&without(revoked(), "/exp")), "malformed"),
        no("revoked-no-txns", "no list", listed(&without(revoked(), "/txns")), "malformed"),
        no("revoked-txn-number", "a transaction has a name", listed(&with(revoked(), "/txns/0/txn", 1)), "malformed"),
        no("revoked-txn-empty", "an empty name is none", listed(&with(revoked(), "/txns/0/txn", "")), "malformed"),
        no("revoked-text", "an entry is an object", listed(&with(revoked(), "/txns", json!(["t-1"]))), "malformed"),
    ]
}

fn forms() -> Vec<Case> {
    let good = under(&header(), &keys());
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let headed = |header: Value| given("keys", under(&header, &keys()));
    let altered = format!("{rest}.{}", encode([7; 64]));
    vec![
        no("empty", "nothing at all", given("keys", ""), "malformed"),
        no("two-segments", "no signature", given("keys", rest), "malformed"),
        no("four-segments", "one segment more", given("keys", format!("{good}.{signature}")), "malformed"),
        no("signature-short", "63 bytes", given("keys", format!("{rest}.{}", encode([7; 63]))), "malformed"),
        no("signature-altered", "another signature", given("keys", altered), "signature"),
        no("header-alg-none", "unsigned", headed(with(header(), "/alg", "none")), "signature"),
        no("header-alg-other", "not the algorithm of the key", headed(with(header(), "/alg", "ES256")), "signature"),
        no("header-kid-other", "another key", headed(with(header(), "/kid", "key-1")), "signature"),
        no("header-no-kid", "no key", headed(without(header(), "/kid")), "signature"),
        no(
            "header-crit",
            "something that must be understood",
            headed(with(header(), "/crit", json!(["b64"]))),
            "malformed",
        ),
        no("header-b64", "RFC 7797", headed(with(header(), "/b64", false)), "malformed"),
        no("header-typ-case", "compared byte for byte", headed(with(header(), "/typ", "Nuncio-Keys+jwt")), "type"),
        no("too-long", "longer than any", given("keys", "a".repeat(limit::STATEMENT_LEN_MAX + 1)), "malformed"),
    ]
}
