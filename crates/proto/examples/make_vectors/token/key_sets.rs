//! K14 to K16: the keys of a token service.

use super::header::{p256, rsa, under};
use super::*;

pub(super) fn cases() -> Vec<Case> {
    [taken(), passed_over(), others_passed_over(), refused_sets(), bounds()].into_iter().flatten().collect()
}

fn own() -> Value {
    okp(&service().public())
}

/// A good token, and this key set.
fn by(keys: &str) -> Value {
    with(given(token(&header(), &body())), "/keys", keys)
}

fn with_key(pointer: &str, value: impl Into<Value>) -> Value {
    by(&set_of(&[with(own(), pointer, value)]))
}

fn is(name: &str, comment: &str, input: Value) -> Case {
    granted(name, comment, input, &body())
}

fn passed(name: &str, comment: &str, input: Value) -> Case {
    needs(name, comment, input, &thumbprint(&service()))
}

fn no(name: &str, comment: &str, input: Value) -> Case {
    refused(name, comment, input, "not-key-set")
}

fn taken() -> Vec<Case> {
    let wrong_kid_passed = with(with(own(), "/kid", "key-1"), "/use", "enc");
    vec![
        is("valid-set-kid", "a kid that is the thumbprint", with_key("/kid", thumbprint(&service()))),
        is("valid-set-kid-number", "a kid that is no text is none", with_key("/kid", 1)),
        is("valid-set-use", "a key for signatures", with_key("/use", "sig")),
        is("valid-set-use-number", "a use that is no text is none", with_key("/use", 1)),
        is("valid-set-unknown", "other members are passed over", with_key("/alg", "ES256")),
        is("valid-set-many", "others beside it", by(&set_of(&[okp(&stranger().public()), p256().0, rsa().0, own()]))),
        is("valid-set-twice", "one key, listed twice", by(&set_of(&[own(), own()]))),
        is(
            "valid-set-passed",
            "what is passed over does no harm",
            by(&set_of(&[json!(7), json!({}), json!([]), own()])),
        ),
        is("valid-set-passed-kid", "nor does its kid", by(&set_of(&[wrong_kid_passed, own()]))),
        is(
            "valid-set-members",
            "other members of the set",
            by(&format!("{{\"keys\":[{}],\"later\":1}}", text(&own()))),
        ),
    ]
}

fn passed_over() -> Vec<Case> {
    let x = encode(service().public());
    vec![
        passed("set-empty", "no key at all", by(&set_of(&[]))),
        passed("set-use-enc", "a key for encryption", with_key("/use", "enc")),
        passed("set-use-case", "compared byte for byte", with_key("/use", "SIG")),
        passed("set-use-empty", "for nothing", with_key("/use", "")),
        passed("set-crv-x25519", "another curve", with_key("/crv", "X25519")),
        passed("set-crv-missing", "no curve", by(&set_of(&[without(own(), "/crv")]))),
        passed("set-kty-other", "another type", with_key("/kty", "EC")),
        passed("set-kty-oct", "a secret key is none of a service", with_key("/kty", "oct")),
        passed("set-x-missing", "no point", by(&set_of(&[without(own(), "/x")]))),
        passed("set-x-short", "31 bytes", with_key("/x", encode(&service().public()[..31]))),
        passed("set-x-padded", "no padding is written", with_key("/x", format!("{x}="))),
        passed("set-x-stray-bits", "the same bytes in a second spelling", with_key("/x", stray(&x))),
        passed("set-key-text", "not an object", by(&format!("{{\"keys\":[\"{x}\"]}}"))),
    ]
}

/// The number of a JWK's member, in bytes.
fn number(jwk: &Value, name: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(jwk[name].as_str().unwrap().as_bytes()).unwrap()
}

/// Passed over although its thumbprint, as its members stand, is the one that the token names.
fn unusable(name: &str, comment: &str, jwk: Value, alg: &str) -> Case {
    let members = if alg == "ES256" { &["crv", "kty", "x", "y"][..] } else { &["e", "kty", "n"] };
    let required: serde_json::Map<_, _> = members.iter().map(|name| ((*name).to_owned(), jwk[*name].clone())).collect();
    let kid = encode(crypto::sha256(&[text(&Value::Object(required)).as_bytes()]));
    needs(name, comment, under((jwk, &kid), alg, &[7; 64]), &kid)
}

fn others_passed_over() -> Vec<Case> {
    let ((ec, _), (rsa, _)) = (p256(), rsa());
    let (x, n) = (number(&ec, "x"), number(&rsa, "n"));
    let zero = |bytes: &[u8]| encode([&[0], bytes].concat());
    vec![
        unusable("set-p256-x-31", "a coordinate of 31 bytes", with(ec.clone(), "/x", encode(&x[..31])), "ES256"),
        unusable("set-p256-x-33", "a coordinate of 33 bytes", with(ec.clone(), "/x", zero(&x)), "ES256"),
        unusable("set-p384", "another curve", with(ec, "/crv", "P-384"), "ES256"),
        unusable("set-rsa-2040", "fewer than 2,048 bits", with(rsa.clone(), "/n", encode(&n[..255])), "RS256"),
        unusable(
            "set-rsa-2047",
            "one bit too few",
            with(rsa.clone(), "/n", encode([&[n[0] & 0x7f], &n[1..]].concat())),
            "RS256",
        ),
        unusable("set-rsa-zero-in-front", "2,048 bits in 257 bytes", with(rsa.clone(), "/n", zero(&n)), "RS256"),
        unusable("set-rsa-2040-zero-in-front", "fewer bits, filled up", with(rsa, "/n", zero(&n[..255])), "RS256"),
    ]
}

fn refused_sets() -> Vec<Case> {
    let good = set_of(&[own()]);
    let own_kid = thumbprint(&service());
    let named = |kid: &str| with(okp(&stranger().public()), "/kid", kid);
    let twice = text(&own()).replacen('{', "{\"kty\":\"OKP\",", 1);
    vec![
        no("set-kid-name", "a kid that is no thumbprint", with_key("/kid", "key-1")),
        no("set-kid-padded", "a second spelling of the thumbprint", with_key("/kid", format!("{own_kid}="))),
        no("set-kid-of-other", "another key under the name of ours", by(&set_of(&[named(&own_kid)]))),
        no("set-kid-of-other-beside", "also beside ours", by(&set_of(&[own(), named(&own_kid)]))),
        no("set-twice", "keys twice", by(&good.replacen('{', "{\"keys\":[],", 1))),
        no("set-key-twice", "a member of a key twice", by(&format!("{{\"keys\":[{twice}]}}"))),
        no("set-deep-twice", "also where nobody reads", by(&good.replacen('{', r#"{"later":{"a":1,"a":1},"#, 1))),
        no(
            "set-depth",
            "nested too deep",
            by(&good.replacen('{', &format!("{{\"later\":{}{},", "[".repeat(16), "]".repeat(16)), 1)),
        ),
        no("set-no-keys", "no keys", by("{}")),
        no("set-keys-object", "keys are listed", by(&format!("{{\"keys\":{}}}", text(&own())))),
        no("set-array", "a list alone is no set", by(&format!("[{}]", text(&own())))),
        no("set-key-alone", "a key alone is no set", by(&text(&own()))),
        no("set-nothing", "nothing at all", by("")),
        no("set-behind", "nothing follows it", by(&format!("{good}{good}"))),
    ]
}

fn bounds() -> Vec<Case> {
    let nth = |n: usize| by(&set_of(&[vec![json!(7); n - 1], vec![own()]].concat()));
    let bad_beyond = [vec![own()], vec![json!(7); 31], vec![with(own(), "/kid", "key-1")]].concat();
    let good = set_of(&[own()]);
    let long = |len: usize| format!("{good}{}", " ".repeat(len - good.len()));
    vec![
        is("valid-set-32", "the last key that is looked at", nth(32)),
        is("valid-set-33-bad-kid", "what stands behind it is not looked at", by(&set_of(&bad_beyond))),
        passed("set-33", "one behind it", nth(33)),
        is("valid-set-length", "the longest set", by(&long(64 * 1024))),
        no("set-too-long", "one byte more", by(&long(64 * 1024 + 1))),
    ]
}
