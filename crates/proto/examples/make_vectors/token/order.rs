//! Two faults at once: the first step that fails is the reason, and nothing after it is looked at.

use nuncio_contracts::registry::limit;

use super::circumstances::{bound_to_payload, from_to};
use super::*;

pub(super) fn cases() -> Vec<Case> {
    [within_the_header(), keys_and_signatures(), claims(), circumstances(), everything()]
        .into_iter()
        .flatten()
        .collect()
}

/// A token of the service with one member of the header exchanged.
fn header_with(pointer: &str, value: impl Into<Value>) -> Value {
    with(header(), pointer, value)
}

/// Signed by nobody.
fn rubbish(header: &Value, body: &Value) -> String {
    format!("{}.{}.{}", encode(text(header)), encode(text(body)), encode(fixed::<64>("rubbish")))
}

fn unknown_key() -> Value {
    header_with("/kid", thumbprint(&stranger()))
}

fn within_the_header() -> Vec<Case> {
    let no = |name: &str, comment: &str, header: Value, error: &str| {
        refused(name, comment, given(token(&header, &body())), error)
    };
    let none = header_with("/alg", "none");
    let jwt = header_with("/typ", "JWT");
    let long = with(body(), "/later", "x".repeat(limit::TOKEN_LEN_MAX));
    let twice = text(&none).replacen('{', r#"{"x":1,"x":1,"#, 1);
    vec![
        refused("order-length-alg", "too long, and no algorithm", given(token(&none, &long)), "token_malformed"),
        refused(
            "order-twice-alg",
            "a member twice, and no algorithm",
            given(token_of(&twice, &text(&body()))),
            "token_malformed",
        ),
        no(
            "order-alg-typ",
            "no algorithm, and no transaction token",
            with(none.clone(), "/typ", "JWT"),
            "token_algorithm",
        ),
        no("order-alg-crit", "no algorithm, and critical", with(none, "/crit", json!(["exp"])), "token_algorithm"),
        no("order-typ-crit", "another type, and critical", with(jwt.clone(), "/crit", json!(["exp"])), "token_type"),
        no("order-typ-kid", "another type, and no thumbprint", with(jwt, "/kid", "key-1"), "token_type"),
    ]
}

fn keys_and_signatures() -> Vec<Case> {
    let need = thumbprint(&stranger());
    let jwt_of_stranger = with(unknown_key(), "/typ", "JWT");
    let critical = with(unknown_key(), "/crit", json!(["exp"]));
    let es256 = header_with("/alg", "ES256");
    let no = |name: &str, comment: &str, token: String, error: &str| refused(name, comment, given(token), error);
    let needs = |name: &str, comment: &str, token: String| needs(name, comment, given(token), &need);
    let [head, body_segment, _] = segments();
    let rubbish_of = |body: &str| format!("{head}.{body}.{}", encode(fixed::<64>("rubbish")));
    vec![
        no("order-typ-key", "another type, of a key that nobody knows", token(&jwt_of_stranger, &body()), "token_type"),
        no("order-crit-key", "critical, of a key that nobody knows", token(&critical, &body()), "token_malformed"),
        no(
            "order-typ-signature-form",
            "another type, and a padded signature",
            format!("{}==", token(&header_with("/typ", "JWT"), &body())),
            "token_type",
        ),
        needs("order-key-signature", "a key that nobody knows, and signed by nobody", rubbish(&unknown_key(), &body())),
        needs(
            "order-key-alg",
            "a key that nobody knows has no algorithm yet",
            rubbish(&with(unknown_key(), "/alg", "ES256"), &body()),
        ),
        needs(
            "order-key-signature-form",
            "a key that nobody knows, and a padded signature",
            format!("{}==", rubbish(&unknown_key(), &body())),
        ),
        needs("order-key-claims", "a key that nobody knows, and no claim", rubbish(&unknown_key(), &json!({}))),
        no(
            "order-key-alg-signature",
            "not the key's algorithm, and signed by nobody",
            rubbish(&es256, &body()),
            "token_algorithm",
        ),
        no(
            "order-key-alg-signature-form",
            "not the key's algorithm, and a padded signature",
            format!("{}==", rubbish(&es256, &body())),
            "token_algorithm",
        ),
        no(
            "order-signature-form-claims",
            "no claims are read of a token without a signature",
            format!("{head}.{}.=", encode("{}")),
            "token_malformed",
        ),
        no(
            "order-signature-body-form",
            "signed by nobody, and the body is no base64url",
            rubbish_of(&format!("{body_segment}=")),
            "token_signature",
        ),
        no(
            "order-signature-body-json",
            "signed by nobody, and the body is no JSON",
            rubbish_of(&encode("x")),
            "token_signature",
        ),
        no(
            "order-signature-claims",
            "signed by nobody, and no claim",
            rubbish(&header(), &json!({})),
            "token_signature",
        ),
        no(
            "order-signature-audience",
            "signed by nobody, for another domain",
            rubbish(&header(), &with(body(), "/aud", "other.example")),
            "token_signature",
        ),
    ]
}

fn claims() -> Vec<Case> {
    let other = with(body(), "/aud", "other.example");
    let expired = with(from_to(-200, -100), "/aud", "other.example");
    let no = |name: &str, comment: &str, body: &Value, error: &str| {
        refused(name, comment, given(token(&header(), body)), error)
    };
    vec![
        no("order-claims-audience", "no jti, and for another domain", &without(other, "/jti"), "token_malformed"),
        no(
            "order-claims-expired",
            "an old token with a wrong hop",
            &with(from_to(-200, -100), "/hop/to", "booking"),
            "token_malformed",
        ),
        no("order-hop-form-hops", "max is out of its bounds, and n beyond it", &on_hop(18, 17), "token_malformed"),
        no("order-audience-expired", "for another domain, and expired", &expired, "token_audience"),
        no("order-expired-life", "expired, and its life was too long", &from_to(-1_000, -100), "token_expired"),
        no("order-expired-early", "expired before it was issued", &from_to(100, -100), "token_expired"),
        no("order-early-life", "in the future, and its life is too long", &from_to(100, 1_000), "token_early"),
    ]
}

/// What is wrong at a step: the body's member or the circumstance, and the refusal.
struct Fault {
    name: &'static str,
    /// Of the body; the others are circumstances.
    claim: bool,
    pointer: &'static str,
    value: Value,
    error: &'static str,
}

/// One fault a step from 7 on, in the order of the table.
fn faults() -> Vec<Fault> {
    let fault = |name, claim, pointer, value, error| Fault { name, claim, pointer, value, error };
    let carol = json!(actor("carol").did());
    vec![
        fault("audience", false, "/domain", json!("other.example"), "token_audience"),
        fault("life", true, "/exp", json!(NOW_S + 291), "token_life"),
        fault("sender", false, "/peer", carol.clone(), "token_sender"),
        fault("receiver", false, "/receiver", carol.clone(), "token_receiver"),
        fault("hops", true, "/hop/max", json!(0), "token_hops"),
        fault("revoked", false, "/revoked", json!(["t-1"]), "token_revoked"),
        fault("scope", false, "/wanted", json!("travel.cancel"), "token_scope"),
        fault("payload", false, "/content", json!(""), "token_payload"),
        fault("seen", false, "/first_seen_from", carol, "token_sender"),
    ]
}

/// A token that is bound to the payload, with these faults.
fn faulty(faults: &[Fault]) -> Value {
    let (claims, circumstances): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| fault.claim);
    let put = |value, faults: Vec<&Fault>| {
        faults.into_iter().fold(value, |value, fault| with(value, fault.pointer, fault.value.clone()))
    };
    put(given(token(&header(), &put(bound_to_payload(), claims))), circumstances)
}

fn circumstances() -> Vec<Case> {
    let pair = |pair: &[Fault]| {
        let name = format!("order-{}-{}", pair[0].name, pair[1].name);
        refused(&name, "two steps that follow each other both fail", faulty(pair), pair[0].error)
    };
    faults().windows(2).map(pair).collect()
}

fn everything() -> Vec<Case> {
    let all = faults();
    let case = |from: usize| {
        let name = format!("order-all-from-{}", all[from].name);
        refused(&name, "every step from this one on fails", faulty(&all[from..]), all[from].error)
    };
    (0..all.len() - 2).map(case).collect()
}
