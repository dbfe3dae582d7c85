//! First tokens: what a receiver makes of them.

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto;
use nuncio_proto::token::Denial;
use serde_json::json;

use super::support::{
    BOOKING, DOMAIN, Fixture, GATEWAY, ISSUER, PLANNER, Params, access_token, agent, assertion, body, check, jkt, now_s,
};

/// contracts/txts.md N17, and every claim of contracts/token.md K4.
#[tokio::test]
async fn a_first_token_is_what_its_receiver_wants() {
    let at = Fixture::new().await;
    let form = Params::begin()
        .with("resource", &agent(PLANNER).to_string())
        .with("request_details", r#"{"trip":"4711","secret":"x"}"#)
        .with("request_context", r#"{"req_ip":"192.0.2.7","other":1}"#)
        .with("hops_max", "3");
    let answer = at.ask(GATEWAY, form).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json["token_type"], "N_A");
    assert_eq!(answer.json["issued_token_type"], "urn:ietf:params:oauth:token-type:txn_token");
    assert_eq!(answer.json["expires_in"], 120);
    assert!(answer.json.get("refresh_token").is_none());

    let token = answer.json["access_token"].as_str().unwrap();
    let genuine = at.open(token).await;
    let grant = check(&genuine, GATEWAY, PLANNER, b"anything").unwrap();
    assert_eq!((grant.principal(), grant.hops_left()), ("user:anna", 3));
    assert_eq!(check(&genuine, BOOKING, PLANNER, b"").unwrap_err(), Denial::Sender, "stolen");
    assert_eq!(check(&genuine, GATEWAY, BOOKING, b"").unwrap_err(), Denial::Receiver, "sent elsewhere");

    let claims = body(token);
    assert_eq!((&claims["aud"], &claims["iss"], &claims["sub"]), (&json!(DOMAIN), &json!(ISSUER), &json!("user:anna")));
    assert_eq!((&claims["req_wl"], &claims["req_wl_chain"]), (&json!("gateway"), &json!(["gateway"])));
    assert_eq!(claims["act"], json!({ "sub": agent(GATEWAY).to_string() }));
    assert_eq!(claims["agentic_ctx"], json!({ "agent": "gateway" }));
    assert_eq!((&claims["tctx"], &claims["rctx"]), (&json!({ "trip": "4711" }), &json!({ "req_ip": "192.0.2.7" })));
    assert_eq!(claims["cnf"], json!({ "jkt": jkt(GATEWAY).to_string() }));
    assert_eq!(claims["hop"], json!({ "n": 0, "max": 3, "to": agent(PLANNER).to_string() }));
    assert_eq!(uuid::Uuid::try_parse(claims["txn"].as_str().unwrap()).unwrap().get_version_num(), 7);
    let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(iat.abs_diff(now_s()) <= 5 && exp == iat + 120);
}

#[tokio::test]
async fn a_transaction_can_begin_before_it_is_known_to_whom_it_leads() {
    let at = Fixture::new().await;
    let token = at.begun().await;
    assert_eq!(body(&token)["hop"]["to"], json!(agent(GATEWAY).to_string()));
    assert!(check(&at.open(&token).await, GATEWAY, GATEWAY, b"").is_ok());
    assert_ne!(body(&token)["txn"], body(&at.begun().await)["txn"], "each begins another");
}

#[tokio::test]
async fn a_token_can_be_bound_to_one_payload() {
    let at = Fixture::new().await;
    let (salt, payload) = ([5; 16], b"book the train".as_slice());
    let hash = crypto::sha256(&[nuncio_contracts::registry::label::PAYLOAD_HASH, &[0], &salt, payload]);
    let pay = format!("{}.{}", BASE64URL_NOPAD.encode(&salt), BASE64URL_NOPAD.encode(&hash));
    let token = at.token(GATEWAY, Params::begin().with("payload_hash", &pay)).await;
    let genuine = at.open(&token).await;
    assert!(check(&genuine, GATEWAY, GATEWAY, payload).is_ok());
    assert_eq!(check(&genuine, GATEWAY, GATEWAY, b"book a plane").unwrap_err(), Denial::Payload);
}

/// contracts/txts.md N17, N18: an access token's authority ends with it.
#[tokio::test]
async fn a_transaction_does_not_outlive_the_access_token_that_began_it() {
    let at = Fixture::new().await;
    let form = Params::exchange("access_token", &access_token(&json!({ "exp": now_s() + 50 })));
    let claims = body(&at.token(GATEWAY, form).await);
    assert_eq!(claims["exp"], claims["txn_exp"]);
    assert!(claims["exp"].as_u64().unwrap() <= now_s() + 50);
}

#[tokio::test]
async fn the_actors_before_are_kept_around() {
    let at = Fixture::new().await;
    let form = Params::exchange("access_token", &access_token(&json!({ "act": { "sub": "app" } })));
    let claims = body(&at.token(GATEWAY, form).await);
    assert_eq!(claims["act"], json!({ "sub": agent(GATEWAY).to_string(), "act": { "sub": "app" } }));
}

#[tokio::test]
async fn the_charset_may_be_said_and_unknown_or_empty_parameters_are_passed_over() {
    let at = Fixture::new().await;
    let form = Params::begin().with("surprise", "1").with("hops_max", "").with("resource", "");
    let form = form.with_assertion(&assertion(GATEWAY, &json!({ "aud": ["x", format!("{ISSUER}/token")] })));
    let request = at.http.post(at.url("/token")).body(form.encode());
    let response = request.header("content-type", "application/x-www-form-urlencoded;charset=UTF-8").send().await;
    assert_eq!(response.unwrap().status(), 200);
}
