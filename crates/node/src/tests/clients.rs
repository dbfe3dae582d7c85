//! Who asks over TCP: one assertion, once, and nothing else.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::testing::jws;
use serde_json::{Value, json};

use super::support::{
    Answer, Fixture, GATEWAY, ISSUER, PLANNER, Params, access_token, agent, assertion, body, jkt, jwk, key, now_s,
    policy, unique,
};

fn claims() -> Value {
    json!({ "iss": "gateway", "sub": "gateway", "aud": ISSUER, "jti": unique(), "exp": now_s() + 60 })
}

fn signed(header: &str) -> String {
    jws(&key(GATEWAY), header, &claims().to_string())
}

/// contracts/txts.md N2.
#[tokio::test]
async fn an_assertion_that_is_not_right_in_every_claim_is_refused() {
    let at = Fixture::new().await;
    let now = now_s();
    for bent in [
        json!({ "iss": "planner" }),
        json!({ "sub": "planner" }),
        json!({ "iss": "nobody", "sub": "nobody" }),
        json!({ "iss": null }),
        json!({ "aud": "https://other.example" }),
        json!({ "aud": format!("{ISSUER}/") }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "exp": now - 31 }),
        json!({ "exp": now + 400 }),
        json!({ "exp": null }),
        json!({ "exp": (now + 60).to_string() }),
        json!({ "nbf": now + 60 }),
        json!({ "iat": now + 60 }),
        json!({ "jti": null }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
    ] {
        let answer = at.post("/token", &Params::begin().with_assertion(&assertion(GATEWAY, &bent))).await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{bent}");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    for good in [json!({ "aud": format!("{ISSUER}/token") }), json!({ "aud": [ISSUER, "x"] }), json!({ "iat": null })] {
        let answer = at.post("/token", &Params::begin().with_assertion(&assertion(GATEWAY, &good))).await;
        assert_eq!(answer.status, 200, "{good} {}", answer.json);
    }
}

#[tokio::test]
async fn an_assertion_of_another_key_form_or_kind_is_refused() {
    let at = Fixture::new().await;
    let foreign = jws(&key(PLANNER), r#"{"alg":"EdDSA"}"#, &claims().to_string());
    let unsigned = format!("{}.", signed(r#"{"alg":"EdDSA"}"#).rsplit_once('.').unwrap().0);
    for (bad, why) in [
        (foreign, "another's key"),
        (unsigned, "no signature"),
        (signed(r#"{"alg":"none"}"#), "alg none"),
        (signed(r#"{"alg":"HS256"}"#), "a symmetric alg"),
        (signed(r#"{"alg":"ES256"}"#), "an alg that is not the key's"),
        (signed(r#"{"alg":"EdDSA","crit":["b64"],"b64":true}"#), "crit"),
        (signed(r#"{"alg":"EdDSA","typ":"txntoken+jwt"}"#), "a transaction token"),
        (signed(r#"{"alg":"EdDSA","typ":"at+jwt"}"#), "an access token"),
        (signed(r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#), "a proof"),
        (
            jws(&key(GATEWAY), r#"{"alg":"EdDSA"}"#, &claims().to_string().replacen('{', r#"{"iss":"gateway","#, 1)),
            "a claim twice",
        ),
        ("x".to_owned(), "nonsense"),
        ("x.".repeat(5_000), "too long"),
    ] {
        let answer = at.post("/token", &Params::begin().with_assertion(&bad)).await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{why}");
    }
    for good in [
        r#"{"alg":"Ed25519"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","typ":"client-authentication+jwt"}"#,
    ] {
        assert_eq!(at.post("/token", &Params::begin().with_assertion(&signed(good))).await.status, 200, "{good}");
    }
}

/// contracts/txts.md N5: a token of ours authenticates nobody.
#[tokio::test]
async fn a_transaction_token_is_no_credential() {
    let at = Fixture::new().await;
    let token = at.begun().await;
    assert_eq!(at.post("/token", &Params::begin().with_assertion(&token)).await.error(), (401, "invalid_client"));
    let bearer = format!("Bearer {token}");
    let form = Params::begin().asserted(GATEWAY);
    let answer = at.send("/token", &form, &[("authorization", &bearer)]).await;
    assert_eq!(answer.error(), (401, "invalid_client"));
    for other in ["access_token", "jwt", "self_signed"] {
        let answer = at.ask(GATEWAY, Params::exchange(other, &token)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{other}");
    }
}

/// contracts/txts.md N1.
#[tokio::test]
async fn nobody_is_anonymous_and_no_other_way_is_taken() {
    let at = Fixture::new().await;
    let asserted = || Params::begin().asserted(GATEWAY);
    for (form, why) in [
        (Params::begin(), "nobody"),
        (Params::begin().with("client_id", "gateway"), "a name alone"),
        (asserted().with("client_secret", "x"), "a secret"),
        (asserted().with("client_id", "planner"), "another's name"),
        (
            asserted().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
            "another type",
        ),
        (asserted().without("client_assertion_type"), "no type"),
    ] {
        assert_eq!(at.post("/token", &form).await.error(), (401, "invalid_client"), "{why}");
    }
    let basic = at.send("/token", &asserted(), &[("authorization", "Basic Z2F0ZXdheTp4")]).await;
    assert_eq!(basic.error(), (401, "invalid_client"));
}

/// contracts/txts.md N2: also after a restart.
#[tokio::test]
async fn an_assertion_serves_once_in_one_life_and_the_next() {
    let mut at = Fixture::new().await;
    let form = Params::begin().with_assertion(&assertion(GATEWAY, &json!({})));
    let refused = Params::begin().set("scope", "travel.fly").with_assertion(&assertion(GATEWAY, &json!({})));
    assert_eq!(at.post("/token", &form).await.status, 200);
    assert_eq!(at.post("/token", &refused).await.error(), (400, "invalid_scope"));
    for _ in 0..2 {
        assert_eq!(at.post("/token", &form).await.error(), (401, "invalid_client"));
        assert_eq!(
            at.post("/token", &refused).await.error(),
            (401, "invalid_client"),
            "used up by a request that failed"
        );
        at.stop().await;
        at.start().await;
    }
}

pub(super) fn proof(number: u8, bent: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk(number) });
    let claims = json!({ "htm": "POST", "htu": format!("{ISSUER}/token"), "iat": now_s(), "jti": unique() });
    jws(&key(number), &header.to_string(), &super::support::bend(claims, bent).to_string())
}

pub(super) fn keyed_policy(jwks: &Value) -> String {
    let keys: toml::Value = toml::Value::try_from(jwks).unwrap();
    format!(
        "{}\n[[client]]\nname = \"web\"\njwks = {keys}\n[[client.grant]]\nsubject_types = [\"access_token\"]\nsubjects = [\"*\"]\nscope = \"travel.pay\"\nreceivers = [\"planner\"]\n",
        policy()
    )
}

/// A web client: a key of its own, no agent.
async fn web() -> Fixture {
    Fixture::with(&keyed_policy(&json!({ "keys": [jwk(20)] }))).await
}

fn web_form() -> Params {
    let claims = json!({ "iss": "web", "sub": "web", "aud": ISSUER, "jti": unique(), "exp": now_s() + 60 });
    let form = Params::exchange("access_token", &access_token(&json!({}))).set("scope", "travel.pay");
    form.with_assertion(&jws(&key(20), r#"{"alg":"EdDSA"}"#, &claims.to_string()))
}

/// contracts/txts.md N3, N4.
#[tokio::test]
async fn a_token_is_bound_to_the_key_of_a_proof_where_the_policy_names_no_agent() {
    let at = web().await;
    assert_eq!(at.post("/token", &web_form()).await.error(), (400, "invalid_request"), "bound to nothing");
    let form = web_form().with("resource", &agent(PLANNER).to_string());
    let answer = at.send("/token", &form, &[("dpop", &proof(21, &json!({})))]).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(body(answer.json["access_token"].as_str().unwrap())["cnf"]["jkt"], jkt(21).to_string());
    // An agent's proof is by its own key.
    let own = at.send("/token", &Params::begin().asserted(GATEWAY), &[("dpop", &proof(GATEWAY, &json!({})))]).await;
    assert_eq!(own.status, 200, "{}", own.json);
    let other = at.send("/token", &Params::begin().asserted(GATEWAY), &[("dpop", &proof(21, &json!({})))]).await;
    assert_eq!(other.error(), (400, "invalid_request"));
}

/// RFC 9449 section 4.3.
#[tokio::test]
async fn a_proof_that_is_not_right_in_every_part_is_refused() {
    let at = web().await;
    let (now, good) = (now_s(), proof(21, &json!({})));
    let with =
        |header: Value| jws(&key(21), &header.to_string(), &super::support::body(&proof(21, &json!({}))).to_string());
    let mut told = jwk(21);
    told["d"] = json!("AAAA");
    let mut bad = vec![
        with(json!({ "alg": "EdDSA", "jwk": jwk(21) })),
        with(json!({ "alg": "EdDSA", "typ": "jwt", "jwk": jwk(21) })),
        with(json!({ "alg": "EdDSA", "typ": "dpop+jwt" })),
        with(json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk(22) })),
        with(json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": told })),
        "x".to_owned(),
        good.clone(),
    ];
    for bent in [
        json!({ "htm": "GET" }),
        json!({ "htu": format!("{ISSUER}/revoke") }),
        json!({ "htu": null }),
        json!({ "iat": now - 61 }),
        json!({ "iat": now + 65 }),
        json!({ "iat": null }),
        json!({ "jti": null }),
    ] {
        bad.push(proof(21, &bent));
    }
    let form = || web_form().with("resource", &agent(PLANNER).to_string());
    assert_eq!(at.send("/token", &form(), &[("dpop", &good)]).await.status, 200);
    for proof in bad {
        let answer = at.send("/token", &form(), &[("dpop", &proof)]).await;
        assert_eq!(answer.error(), (400, "invalid_dpop_proof"), "{proof}");
    }
    let two = at.send("/token", &form(), &[("dpop", &proof(21, &json!({}))), ("dpop", &proof(21, &json!({})))]).await;
    assert_eq!(two.error(), (400, "invalid_dpop_proof"));
}

#[tokio::test]
async fn clients_may_sign_with_es256() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "x": text(&point[1..33]), "y": text(&point[33..]) });
    let at = Fixture::with(&keyed_policy(&json!({ "keys": [jwk] }))).await;
    let sign = |header: &str| {
        let claims = json!({ "iss": "web", "sub": "web", "aud": ISSUER, "jti": unique(), "exp": now_s() + 60 });
        let signed = format!("{}.{}", text(header.as_bytes()), text(claims.to_string().as_bytes()));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", text(signature.as_ref()))
    };
    let form = |assertion: &str| {
        let form = Params::exchange("access_token", &access_token(&json!({}))).set("scope", "travel.pay");
        form.with("resource", &agent(PLANNER).to_string()).with_assertion(assertion)
    };
    let good =
        at.send("/token", &form(&sign(r#"{"alg":"ES256","kid":"k1"}"#)), &[("dpop", &proof(21, &json!({})))]).await;
    assert_eq!(good.status, 200, "{}", good.json);
    for header in [r#"{"alg":"ES256","kid":"k2"}"#, r#"{"alg":"EdDSA","kid":"k1"}"#] {
        assert_eq!(at.post("/token", &form(&sign(header))).await.error(), (401, "invalid_client"), "{header}");
    }
    let mut forged = sign(r#"{"alg":"ES256"}"#);
    forged.truncate(forged.len() - 2);
    forged.push_str("AA");
    assert_eq!(at.post("/token", &form(&forged)).await.error(), (401, "invalid_client"));
}

/// contracts/txts.md N34.
#[tokio::test]
async fn rates_have_an_end_and_what_is_over_them_leaves_no_record() {
    let slow = policy().replace("agentic_ctx =", "requests_per_s = 1\nagentic_ctx =");
    let mut at = Fixture::with(&slow).await;
    // However slow the machine is: so many at once, and at some time one too many.
    let answered = until_too_many(async || at.ask(GATEWAY, Params::begin()).await, (200, "")).await;
    let failed = until_too_many(async || at.post("/token", &Params::begin()).await, (401, "invalid_client")).await;
    assert!((2..50).contains(&answered) && (50..400).contains(&failed), "{answered} {failed}");
    assert_eq!(at.records().await.len(), answered + failed);
}

/// contracts/txts.md N2: over a rate, an assertion is not used up, neither in this life nor in the next.
#[tokio::test]
async fn what_is_over_a_rate_may_come_again_as_it_is_and_serves_once() {
    let slow = policy().replace("agentic_ctx =", "requests_per_s = 1\nagentic_ctx =");
    let mut at = Fixture::with(&slow).await;
    let mut form = Params::begin().asserted(GATEWAY);
    while at.post("/token", &form).await.status != 429 {
        form = Params::begin().asserted(GATEWAY);
    }
    assert_eq!(patiently(&at, &form).await.status, 200);
    assert_eq!(patiently(&at, &form).await.error(), (401, "invalid_client"));
    at.stop().await;
    at.start().await;
    assert_eq!(patiently(&at, &form).await.error(), (401, "invalid_client"));
}

/// Asks with the same assertion until it is not too much.
async fn patiently(at: &Fixture, form: &Params) -> Answer {
    loop {
        let answer = at.post("/token", form).await;
        if answer.status != 429 {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// How often the answer is this, before it is that there were too many.
async fn until_too_many(ask: impl AsyncFn() -> Answer, usual: (u16, &str)) -> usize {
    for asked in 0..400 {
        let answer = ask().await;
        if answer.status == 429 {
            assert_eq!(answer.error(), (429, "temporarily_unavailable"));
            assert!(answer.headers.contains_key("retry-after"));
            return asked;
        }
        assert_eq!((answer.status, answer.json["error"].as_str().unwrap_or("")), usual);
    }
    400
}
