//! K2: the header.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [taken(), algorithms(), algorithms_of_keys(), types(), criticals(), kids()].into_iter().flatten().collect()
}

fn taken() -> Vec<Case> {
    let is = |name: &str, comment: &str, header: Value| granted(name, comment, given(token(&header, &body())), &body());
    let own = with(okp(&stranger().public()), "/kid", thumbprint(&stranger()));
    let known = with(with(header(), "/jwk", own), "/jku", "https://evil.example/jwks");
    vec![
        is("valid-alg-ed25519", "the name of RFC 9864", with(header(), "/alg", "Ed25519")),
        is("valid-header-unknown", "other members are passed over, and give no key", with(known, "/cty", "JWT")),
    ]
}

/// A token with one member of the header exchanged, signed as though it were good.
fn exchanged(pointer: &str, value: impl Into<Value>) -> Value {
    given(token(&with(header(), pointer, value), &body()))
}

fn algorithms() -> Vec<Case> {
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_algorithm");
    let alg = |name: &str, comment: &str, alg: &str| no(name, comment, exchanged("/alg", alg));
    let unsigned = format!("{}.{}.", encode(text(&with(header(), "/alg", "none"))), encode(text(&body())));
    vec![
        alg("alg-none", "no signature is no algorithm", "none"),
        alg("alg-none-capital", "in whatever case", "None"),
        no("alg-none-unsigned", "and no signature there", given(unsigned)),
        no("alg-hs256", "the public key taken for a secret one", given(hs256())),
        alg("alg-case", "names are compared byte for byte", "eddsa"),
        alg("alg-case-last", "names are compared byte for byte", "EdDSa"),
        alg("alg-space", "names are compared byte for byte", "EdDSA "),
        alg("alg-es384", "not of the list", "ES384"),
        alg("alg-ps256", "not of the list", "PS256"),
        alg("alg-ed448", "not of the list", "Ed448"),
        alg("alg-empty", "the empty name", ""),
        no("alg-number", "not a text", exchanged("/alg", -8)),
        no("alg-array", "not a text", exchanged("/alg", json!(["EdDSA"]))),
        no("alg-missing", "no algorithm", given(token(&without(header(), "/alg"), &body()))),
    ]
}

/// HMAC under the service's public key.
fn hs256() -> String {
    let signed = format!("{}.{}", encode(text(&with(header(), "/alg", "HS256"))), encode(text(&body())));
    let tag = encode(crypto::hmac_sha256(&service().public(), &[signed.as_bytes()]));
    format!("{signed}.{tag}")
}

/// RFC 7515 appendix A.3.
pub(super) fn p256() -> (Value, &'static str) {
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    (json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U")
}

/// RFC 7638 section 3.1.
pub(super) fn rsa() -> (Value, &'static str) {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    (json!({ "kty": "RSA", "n": n, "e": "AQAB" }), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
}

/// A token under the `kid` of a key that did not sign it.
pub(super) fn under((jwk, kid): (Value, &str), alg: &str, signature: &[u8]) -> Value {
    let header = with(with(header(), "/kid", kid), "/alg", alg);
    let token = format!("{}.{}.{}", encode(text(&header)), encode(text(&body())), encode(signature));
    with(given(token), "/keys", set_of(&[jwk]))
}

fn algorithms_of_keys() -> Vec<Case> {
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_algorithm");
    vec![
        no("alg-es256-ed25519-key", "of the list, and not that of the key", exchanged("/alg", "ES256")),
        no("alg-rs256-ed25519-key", "of the list, and not that of the key", exchanged("/alg", "RS256")),
        no("alg-eddsa-p256-key", "of the list, and not that of the key", under(p256(), "EdDSA", &[7; 64])),
        no("alg-rs256-p256-key", "of the list, and not that of the key", under(p256(), "RS256", &[7; 64])),
        no("alg-es256-rsa-key", "of the list, and not that of the key", under(rsa(), "ES256", &[7; 64])),
    ]
}

fn types() -> Vec<Case> {
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_type");
    let typ = |name: &str, comment: &str, typ: &str| no(name, comment, exchanged("/typ", typ));
    vec![
        typ("typ-jwt", "any token", "JWT"),
        typ("typ-access-token", "a token for access is none for a transaction", "at+jwt"),
        typ("typ-case", "compared byte for byte", "TXNTOKEN+JWT"),
        typ("typ-application", "the long name of the media type", "application/txntoken+jwt"),
        typ("typ-space", "compared byte for byte", "txntoken+jwt "),
        typ("typ-empty", "the empty text", ""),
        no("typ-array", "not a text", exchanged("/typ", json!(["txntoken+jwt"]))),
        no("typ-missing", "no type", given(token(&without(header(), "/typ"), &body()))),
    ]
}

fn criticals() -> Vec<Case> {
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_malformed");
    vec![
        no("crit", "nothing is critical that we know", exchanged("/crit", json!(["exp"]))),
        no("crit-empty", "not even with nothing in it", exchanged("/crit", json!([]))),
        no("crit-null", "null is not absent", exchanged("/crit", Value::Null)),
        no("b64-false", "a body that is not encoded", exchanged("/b64", false)),
        no("b64-true", "not even with the value that changes nothing", exchanged("/b64", true)),
    ]
}

fn kids() -> Vec<Case> {
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_malformed");
    let kid = |name: &str, comment: &str, kid: &str| no(name, comment, exchanged("/kid", kid));
    let own = thumbprint(&service());
    let other = with(header(), "/kid", thumbprint(&stranger()));
    let carried = with(other.clone(), "/jwk", okp(&stranger().public()));
    let by_stranger = |header: &Value| given(sign(&stranger(), &encode(text(header)), &encode(text(&body()))));
    let need = thumbprint(&stranger());
    vec![
        kid("kid-name", "a name that somebody gave", "key-1"),
        kid("kid-empty", "the empty text", ""),
        kid("kid-short", "31 bytes", &encode([7; 31])),
        kid("kid-long", "33 bytes", &encode([7; 33])),
        kid("kid-padded", "no padding is written", &format!("{own}=")),
        kid("kid-stray-bits", "the same bytes in a second spelling", &stray(&own)),
        kid("kid-hexadecimal", "another spelling of the bytes", &"07".repeat(32)),
        kid("kid-uri", "the URI of RFC 9278", &format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{own}")),
        no("kid-number", "not a text", exchanged("/kid", 1)),
        no("kid-missing", "no key is tried that is not named", given(token(&without(header(), "/kid"), &body()))),
        needs("kid-unknown", "a key that is not in the set is asked for", by_stranger(&other), &need),
        needs("kid-unknown-jwk", "and not taken from the header", by_stranger(&carried), &need),
    ]
}
