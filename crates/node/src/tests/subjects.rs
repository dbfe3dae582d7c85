//! For whom: every type of subject token, and everything wrong with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::routing::get;
use nuncio_proto::testing::jws;
use serde_json::{Value, json};

use super::support::{
    DOMAIN, Fixture, GATEWAY, ISSUER, LOGIN, LOGIN_KEY, PLANNER, Params, access_token, agent, bend, body, jwk, key,
    now_s, policy,
};

/// contracts/txts.md N9.
#[tokio::test]
async fn an_access_token_that_is_not_right_in_every_claim_is_refused() {
    let at = Fixture::new().await;
    let now = now_s();
    for bent in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "aud": "https://other.example" }),
        json!({ "aud": null }),
        json!({ "exp": now - 31 }),
        json!({ "exp": null }),
        json!({ "nbf": now + 60 }),
        json!({ "iat": now + 60 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
    ] {
        let answer = at.ask(GATEWAY, Params::exchange("access_token", &access_token(&bent))).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{bent}: {}", answer.json);
    }
    let claims = body(&access_token(&json!({}))).to_string();
    for (token, why) in [
        (jws(&key(7), r#"{"alg":"EdDSA"}"#, &claims), "another's key"),
        (jws(&key(LOGIN_KEY), r#"{"alg":"none"}"#, &claims), "alg none"),
        (jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#, &claims), "a proof"),
        (jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","typ":"txntoken+jwt"}"#, &claims), "a transaction token"),
        (jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","typ":"logout+jwt"}"#, &claims), "a logout token"),
        (jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA"}"#, &claims.replacen('{', r#"{"sub":"ben","#, 1)), "a claim twice"),
        ("opaque".to_owned(), "an opaque one"),
    ] {
        let answer = at.ask(GATEWAY, Params::exchange("access_token", &token)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{why}");
    }
    let jwt = jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims);
    assert_eq!(at.ask(GATEWAY, Params::exchange("jwt", &jwt)).await.status, 200);
}

/// contracts/txts.md N9: where both are taken of one issuer, a token says which it is.
#[tokio::test]
async fn an_id_token_is_no_access_token_nor_the_other_way_round() {
    let granted = policy().replacen("\"self_signed\"", "\"id_token\", \"self_signed\"", 1);
    let both = granted.replace("[\"access_token\", \"jwt\"]", "[\"access_token\", \"id_token\"]");
    let claims = body(&access_token(&json!({}))).to_string();
    for (policy, kind, typ, status) in [
        (&granted, "access_token", r#","typ":"JWT""#, 200),
        (&granted, "id_token", r#","typ":"JWT""#, 400),
        (&both, "access_token", r#","typ":"at+jwt""#, 200),
        (&both, "access_token", r#","typ":"JWT""#, 400),
        (&both, "access_token", "", 400),
        (&both, "id_token", r#","typ":"at+jwt""#, 400),
        (&both, "id_token", r#","typ":"JWT""#, 200),
        (&both, "id_token", "", 200),
    ] {
        let at = Fixture::with(policy).await;
        let token = jws(&key(LOGIN_KEY), &format!(r#"{{"alg":"EdDSA"{typ}}}"#), &claims);
        let answer = at.ask(GATEWAY, Params::exchange(kind, &token)).await;
        let error = if status == 200 { Value::Null } else { json!("invalid_request") };
        assert_eq!((answer.status, &answer.json["error"]), (status, &error), "{kind} {typ}");
    }
}

/// contracts/txts.md N10: a scope that is not known is not all.
#[tokio::test]
async fn what_a_subject_may_do_is_known_or_the_request_is_refused() {
    let at = Fixture::new().await;
    let ask = async |bent: Value| at.ask(GATEWAY, Params::exchange("access_token", &access_token(&bent))).await;
    for unknown in [
        json!({ "scope": null }),
        json!({ "scope": "" }),
        json!({ "scope": 7 }),
        json!({ "scope": "travel.book  travel.pay" }),
        json!({ "scope": null, "scp": ["travel.book", 7] }),
        json!({ "scp": ["travel.book", "travel.pay"] }),
        json!({ "scope": "travel.book" }),
    ] {
        assert_eq!(ask(unknown.clone()).await.error(), (400, "invalid_scope"), "{unknown}");
    }
    for scp in [json!(["travel.book", "travel.pay"]), json!("travel.book travel.pay")] {
        assert_eq!(ask(json!({ "scope": null, "scp": scp })).await.status, 200, "{scp}");
    }
    let trusted = policy().replace("subject_prefix = \"user:\"", "subject_prefix = \"user:\"\nscope = \"travel.pay\"");
    let at = Fixture::with(&trusted).await;
    let form =
        |scope: &str| Params::exchange("access_token", &access_token(&json!({ "scope": null }))).set("scope", scope);
    assert_eq!(at.ask(GATEWAY, form("travel.pay")).await.status, 200, "what the policy says of its issuer");
    assert_eq!(at.ask(GATEWAY, form("travel.book")).await.error(), (400, "invalid_scope"));
}

/// contracts/txts.md N14.
#[tokio::test]
async fn what_the_policy_does_not_say_is_not_allowed() {
    let at = Fixture::new().await;
    let form = || Params::exchange("access_token", &access_token(&json!({})));
    assert_eq!(at.ask(PLANNER, form()).await.error(), (400, "unauthorized_client"), "a type that it may not use");
    let narrow = policy().replacen("subjects = [\"user:*\"]", "subjects = [\"user:ben\", \"user:b*\"]", 1);
    let at = Fixture::with(&narrow).await;
    assert_eq!(at.ask(GATEWAY, form()).await.error(), (400, "unauthorized_client"), "a subject that is not its");
    let ben = Params::exchange("access_token", &access_token(&json!({ "sub": "berta" })));
    assert_eq!(at.ask(GATEWAY, ben).await.status, 200);
}

fn self_signed(number: u8, header: &str, bent: &Value) -> String {
    let claims = json!({ "iss": "gateway", "sub": "user:cron", "aud": ISSUER, "iat": now_s(), "exp": now_s() + 60 });
    jws(&key(number), header, &bend(claims, bent).to_string())
}

#[tokio::test]
async fn a_client_may_vouch_for_a_subject_with_its_own_key() {
    let at = Fixture::new().await;
    let (plain, now) = (r#"{"alg":"EdDSA"}"#, now_s());
    let did = json!({ "iss": agent(GATEWAY).to_string() });
    let node = json!({ "aud": at.node().id().to_string() });
    for bent in [json!({}), did, node, json!({ "scope": "travel.book travel.pay" })] {
        let token = at.token(GATEWAY, Params::exchange("self_signed", &self_signed(GATEWAY, plain, &bent))).await;
        assert_eq!(body(&token)["sub"], "user:cron");
    }
    for bent in [
        json!({ "iss": "planner" }),
        json!({ "iss": null }),
        json!({ "aud": LOGIN }),
        json!({ "aud": DOMAIN }),
        json!({ "exp": now - 31 }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "iat": now - 400, "exp": now + 60 }),
        json!({ "iat": now + 60 }),
        json!({ "sub": null }),
    ] {
        let form = Params::exchange("self_signed", &self_signed(GATEWAY, plain, &bent));
        assert_eq!(at.ask(GATEWAY, form).await.error(), (400, "invalid_request"), "{bent}");
    }
    let forged = Params::exchange("self_signed", &self_signed(PLANNER, plain, &json!({})));
    assert_eq!(at.ask(GATEWAY, forged).await.error(), (400, "invalid_request"));
    let typed = Params::exchange("self_signed", &self_signed(GATEWAY, r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &json!({})));
    assert_eq!(at.ask(GATEWAY, typed).await.error(), (400, "invalid_request"));
    let narrow = Params::exchange("self_signed", &self_signed(GATEWAY, plain, &json!({ "scope": "travel.pay" })));
    assert_eq!(at.ask(GATEWAY, narrow).await.error(), (400, "invalid_scope"), "it binds itself");
}

/// contracts/txts.md N9: only for a client that the policy names.
#[tokio::test]
async fn unsigned_subjects_are_for_those_alone_whom_the_policy_names() {
    let subject = json!({ "sub": "user:anna" }).to_string();
    let at = Fixture::new().await;
    let form = || Params::exchange("unsigned_json", &subject);
    assert_eq!(at.ask(GATEWAY, form()).await.error(), (400, "unauthorized_client"));
    let named = policy().replacen("\"self_signed\"", "\"self_signed\", \"unsigned_json\"", 1);
    let at = Fixture::with(&named).await;
    assert_eq!(body(&at.token(GATEWAY, form()).await)["sub"], "user:anna");
    assert_eq!(at.ask(PLANNER, form()).await.error(), (400, "unauthorized_client"));
    for bad in ["{}", "[]", r#"{"sub":""}"#, r#"{"sub":"a","sub":"b"}"#, "user:anna"] {
        let answer = at.ask(GATEWAY, Params::exchange("unsigned_json", bad)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{bad}");
    }
}

/// contracts/txts.md N11.
#[tokio::test]
async fn a_principal_has_an_end_and_one_without_is_in_no_record() {
    let named = policy().replacen("\"self_signed\"", "\"self_signed\", \"unsigned_json\"", 1);
    let mut at = Fixture::with(&named).await;
    for (len, status, error) in [(2_048, 200, Value::Null), (2_049, 400, json!("invalid_request"))] {
        let bare = "x".repeat(len - "user:".len());
        let whole = format!("user:{bare}");
        for form in [
            Params::exchange("unsigned_json", &json!({ "sub": whole }).to_string()),
            Params::exchange("self_signed", &self_signed(GATEWAY, r#"{"alg":"EdDSA"}"#, &json!({ "sub": whole }))),
            Params::exchange("access_token", &access_token(&json!({ "sub": bare }))),
        ] {
            let answer = at.ask(GATEWAY, form).await;
            assert_eq!((answer.status, &answer.json["error"]), (status, &error), "{}", answer.json);
        }
    }
    let endless = json!({ "sub": "x".repeat(30_000) }).to_string();
    let answer = at.ask(GATEWAY, Params::exchange("unsigned_json", &endless)).await;
    assert_eq!(answer.error(), (400, "invalid_request"));
    let lens: Vec<_> =
        at.records().await.into_iter().map(|record| record.subject.map(|subject| subject.len())).collect();
    assert_eq!(lens, [Some(2_048), Some(2_048), Some(2_048), None, None, None, None]);
}

/// A key set on loopback that can be changed, and how often it was asked for.
struct KeyServer {
    url: String,
    asked: Arc<AtomicU32>,
}

async fn key_server(keys: Value) -> KeyServer {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let app = Router::new().route(
        "/jwks",
        get(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let keys = keys.to_string();
            async move { keys }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    KeyServer { url, asked }
}

#[tokio::test]
async fn keys_by_url_are_fetched_once_for_all_who_wait_and_kept() {
    let server = key_server(json!({ "keys": [jwk(LOGIN_KEY)] })).await;
    let at =
        Fixture::with(&policy().replace("jwks_file = \"login.json\"", &format!("jwks_url = \"{}\"", server.url))).await;
    let ask = async |token: String| at.ask(GATEWAY, Params::exchange("access_token", &token)).await;
    let answers =
        tokio::join!(ask(access_token(&json!({}))), ask(access_token(&json!({}))), ask(access_token(&json!({}))));
    assert_eq!([answers.0.status, answers.1.status, answers.2.status], [200; 3]);
    assert_eq!(server.asked.load(Ordering::Relaxed), 1, "one coalesced fetch");
    let claims = body(&access_token(&json!({}))).to_string();
    for _ in 0..5 {
        let unknown = jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","kid":"new"}"#, &claims);
        assert_eq!(ask(unknown).await.error(), (400, "invalid_request"));
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 1, "an unknown kid does not ask each time");
}

/// contracts/txts.md N14.
#[tokio::test]
async fn a_token_of_a_type_that_no_grant_names_is_not_opened() {
    let server = key_server(json!({ "keys": [jwk(LOGIN_KEY)] })).await;
    let at =
        Fixture::with(&policy().replace("jwks_file = \"login.json\"", &format!("jwks_url = \"{}\"", server.url))).await;
    assert_eq!(at.ask(PLANNER, Params::begin()).await.error(), (400, "unauthorized_client"));
    assert_eq!(server.asked.load(Ordering::Relaxed), 0, "an issuer is asked for nobody's sake");
    assert_eq!(at.ask(GATEWAY, Params::begin()).await.status, 200);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_verdict_and_no_token() {
    for (keys, why) in [(json!({ "keys": [] }), "no keys"), (json!("x".repeat(70_000)), "an answer that is too long")] {
        let server = key_server(keys).await;
        let at =
            Fixture::with(&policy().replace("jwks_file = \"login.json\"", &format!("jwks_url = \"{}\"", server.url)))
                .await;
        for _ in 0..3 {
            let answer = at.ask(GATEWAY, Params::begin()).await;
            assert_eq!(answer.error(), (503, "temporarily_unavailable"), "{why}");
        }
        assert_eq!(server.asked.load(Ordering::Relaxed), 1, "it is not asked for every request");
    }
    let nobody = policy().replace("jwks_file = \"login.json\"", "jwks_url = \"http://127.0.0.1:1/jwks\"");
    let at = Fixture::with(&nobody).await;
    assert_eq!(at.ask(GATEWAY, Params::begin()).await.error(), (503, "temporarily_unavailable"));
}

/// contracts/txts.md N15.
#[tokio::test]
async fn no_token_holds_the_token_that_it_came_of() {
    let at = Fixture::new().await;
    let subject = access_token(&json!({}));
    let next = agent(PLANNER).to_string();
    let begun = at.token(GATEWAY, Params::exchange("access_token", &subject).with("resource", &next)).await;
    for (client, kind, token) in [(GATEWAY, "access_token", &subject), (PLANNER, "txn_token", &begun)] {
        let next = agent(client + 1).to_string();
        let form = |held: Value| {
            let details = json!({ "trip": held }).to_string();
            Params::exchange(kind, token).with("resource", &next).with("request_details", &details)
        };
        for held in
            [json!(token), json!(format!("Bearer {token}")), json!([{ "x": token }]), json!({ token.as_str(): 1 })]
        {
            assert_eq!(at.ask(client, form(held)).await.error(), (400, "invalid_request"), "{kind}");
        }
        assert_eq!(at.ask(client, form(json!(token.split('.').next()))).await.status, 200, "a part is no token");
    }
    let context = json!({ "req_ip": subject }).to_string().replace('.', "\\u002e");
    let form = Params::exchange("access_token", &subject).with("request_context", &context);
    assert_eq!(at.ask(GATEWAY, form).await.error(), (400, "invalid_request"), "escaped");
}
