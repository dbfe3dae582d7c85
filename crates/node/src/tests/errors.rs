//! Every malformed request: the exact error, no token, a record, nothing else.

use serde_json::json;

use super::support::{BOOKING, Fixture, GATEWAY, PLANNER, Params, access_token, agent};

/// contracts/txts.md N6, N7, N8.
#[tokio::test]
async fn each_parameter_has_its_error() {
    let mut at = Fixture::new().await;
    let urn = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    let begin = Params::begin;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
    let cases = [
        (begin().without("grant_type"), "invalid_request", "no grant type"),
        (begin().set("grant_type", ""), "invalid_request", "an empty grant type is none"),
        (begin().set("grant_type", "client_credentials"), "unsupported_grant_type", "another grant type"),
        (begin().set("grant_type", "refresh_token"), "unsupported_grant_type", "refresh tokens"),
        (begin().without("requested_token_type"), "invalid_request", "no requested type"),
        (begin().set("requested_token_type", &urn("access_token")), "invalid_request", "another requested type"),
        (begin().without("audience"), "invalid_request", "no audience"),
        (begin().set("audience", "other.example"), "invalid_target", "another domain"),
        (begin().set("audience", "ACME.example"), "invalid_target", "another spelling"),
        (begin().without("scope"), "invalid_request", "no scope"),
        (begin().set("scope", " "), "invalid_scope", "no scope token"),
        (begin().set("scope", "travel.pay  travel.book"), "invalid_scope", "two spaces"),
        (begin().set("scope", "travel.pay travel.pay"), "invalid_scope", "one twice"),
        (begin().set("scope", "travel.fly"), "invalid_scope", "not the subject's"),
        (begin().set("scope", "travel.cancel"), "invalid_scope", "the subject's, not the client's"),
        (begin().set("scope", "travel.pay travel.*"), "invalid_scope", "no wildcard"),
        (begin().without("subject_token"), "invalid_request", "no subject"),
        (begin().without("subject_token_type"), "invalid_request", "no subject type"),
        (begin().set("subject_token_type", "access_token"), "invalid_request", "no URN"),
        (begin().set("subject_token_type", &urn("refresh_token")), "invalid_request", "refresh tokens never"),
        (begin().set("subject_token_type", &urn("saml2")), "invalid_request", "an unknown type"),
        (begin().set("subject_token_type", &urn("id_token")), "unauthorized_client", "a type of no grant"),
        (begin().set("subject_token_type", &urn("unsigned_json")), "unauthorized_client", "nor unsigned"),
        (begin().with("actor_token", "x"), "invalid_request", "actor tokens"),
        (begin().with("actor_token_type", &urn("jwt")), "invalid_request", "an actor's type"),
        (begin().with("resource", "https://planner.example"), "invalid_target", "no DID"),
        (begin().with("resource", "did:key:z6Mk"), "invalid_target", "half a DID"),
        (begin().with("resource", &agent(BOOKING).to_string()), "invalid_target", "a receiver that is not allowed"),
        (begin().with("request_details", "[]"), "invalid_request", "no object"),
        (begin().with("request_details", r#"{"a":1,"a":1}"#), "invalid_request", "a member twice"),
        (begin().with("request_details", &deep), "invalid_request", "too deep"),
        (begin().with("request_details", r#"{"amount":18446744073709551616}"#), "invalid_request", "no 64 bits"),
        (begin().with("request_context", r#"{"x":[0.12345678901234567891]}"#), "invalid_request", "nor binary64"),
        (begin().with("request_context", "{"), "invalid_request", "no JSON"),
        (begin().with("payload_hash", "x"), "invalid_request", "no hash"),
        (begin().with("payload_hash", "AAAA.AAAA"), "invalid_request", "short bytes"),
        (begin().with("hops_max", "17"), "invalid_request", "more hops than there are"),
        (begin().with("hops_max", "-1"), "invalid_request", "fewer hops than none"),
        (begin().with("hops_max", "003"), "invalid_request", "three digits"),
        (begin().with("audience", "acme.example"), "invalid_request", "a parameter twice"),
        (begin().with("x", "1").with("x", "1"), "invalid_request", "an unknown one twice"),
    ];
    let len = cases.len();
    for (form, error, why) in cases {
        let answer = at.ask(GATEWAY, form).await;
        assert_eq!(answer.error(), (400, error), "{why}: {}", answer.json);
        assert_eq!(answer.headers["cache-control"], "no-store", "{why}");
    }
    let records = at.records().await;
    assert_eq!(records.len(), len, "a record each");
    assert!(records.iter().all(|record| record.token.is_none() && record.error.is_some()));
}

/// Everything that can be wrong with a token that is to be replaced.
#[tokio::test]
async fn a_bent_token_is_replaced_by_nothing() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let none = token.replacen(token.split('.').next().unwrap(), "eyJhbGciOiJub25lIiwidHlwIjoidHhudG9rZW4rand0In0", 1);
    for (bent, why) in [
        (format!("{signed}.{other}{}", &signature[1..]), "another signature"),
        (format!("{signed}."), "no signature"),
        (format!("{token}="), "padding"),
        (format!("{token}.x"), "four segments"),
        (none, "alg none"),
        (token.replacen('.', "..", 1), "an empty segment"),
        ("x".repeat(8_193), "too long"),
        (access_token(&json!({})), "an access token"),
    ] {
        let answer = at.ask(PLANNER, Params::replace(&bent, BOOKING)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{why}: {}", answer.json);
    }
    assert_eq!(at.ask(PLANNER, Params::replace(&token, BOOKING)).await.status, 200, "the token itself is unharmed");
}

/// contracts/txts.md N6, N22, N34.
#[tokio::test]
async fn what_is_too_large_is_refused() {
    let at = Fixture::new().await;
    let large = Params::begin().with("x", &"x".repeat(33_000)).asserted(GATEWAY);
    assert_eq!(at.post("/token", &large).await.error(), (413, "invalid_request"));
    let trip = |len: usize| Params::begin().with("request_details", &json!({ "trip": "x".repeat(len) }).to_string());
    let token = at.token(GATEWAY, trip(1)).await;
    // Three characters of the body are four of the token.
    let left = (8_192 - token.len()) / 4 * 3;
    assert!(at.token(GATEWAY, trip(left)).await.len() > 8_180);
    let answer = at.ask(GATEWAY, trip(left + 8)).await;
    assert_eq!(answer.error(), (400, "invalid_request"), "{}", answer.json);
    assert_eq!(answer.json["error_description"], "the token would be longer than 8 KiB");
}

#[tokio::test]
async fn a_body_of_another_kind_is_no_request() {
    let at = Fixture::new().await;
    for kind in ["application/json", "multipart/form-data", "application/x-www-form-urlencoded; charset=latin1"] {
        let request = at.http.post(at.url("/token")).header("content-type", kind).body("{}");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400, "{kind}");
        assert!(response.text().await.unwrap().contains("invalid_request"), "{kind}");
    }
    assert_eq!(at.get("/token").await.0, 405);
    assert_eq!(at.get("/nothing").await.0, 404);
}
