//! The end of a transaction before its time, and the list of those that ended.

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::time;
use nuncio_proto::crypto;
use nuncio_proto::token::Thumbprint;
use serde_json::{Value, json};

use super::support::{BOOKING, DOMAIN, Fixture, GATEWAY, OPERATOR, PLANNER, Params, body, now_s};
use crate::audit::Deed;

/// Header and payload of a statement that the node's identity key has signed.
pub(super) fn opened(at: &Fixture, statement: &str) -> (Value, Value) {
    let (signed, signature) = statement.rsplit_once('.').unwrap();
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let node = at.node().id();
    crypto::verify_raw(node.as_bytes(), signed.as_bytes(), &bytes(signature).try_into().unwrap()).unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let json = |text: &str| serde_json::from_slice(&bytes(text)).unwrap();
    (json(header), json(payload))
}

async fn revoke(at: &Fixture, as_whom: u8, form: Params) -> super::support::Answer {
    at.post("/revoke", &form.asserted(as_whom)).await
}

/// contracts/txts.md N24.
#[tokio::test]
async fn the_owner_of_the_home_revokes_by_name() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let txn = body(&token)["txn"].as_str().unwrap().to_owned();
    assert!(at.node().service().revoke_as_owner("whatever").await.is_err());
    at.node().service().revoke_as_owner(&txn).await.unwrap();
    let replaced = at.ask(PLANNER, Params::replace(&token, BOOKING)).await;
    assert_eq!(replaced.error(), (400, "invalid_grant"));
    let list = at.get("/revoked").await.1;
    assert!(opened(&at, &list).1["txns"].as_array().unwrap().iter().any(|entry| entry["txn"] == txn));
}

/// contracts/txts.md N24.
#[tokio::test]
async fn a_revoked_transaction_gets_no_further_token_whoever_asks() {
    let mut at = Fixture::new().await;
    let (token, other) = (at.handed(&[GATEWAY, PLANNER]).await, at.handed(&[GATEWAY, PLANNER]).await);
    let answer =
        revoke(&at, OPERATOR, Params::none().with("token", &token).with("token_type_hint", "access_token")).await;
    assert_eq!((answer.status, answer.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
    for _ in 0..2 {
        let replaced = at.ask(PLANNER, Params::replace(&token, BOOKING)).await;
        assert_eq!(replaced.error(), (400, "invalid_grant"));
        assert_eq!(at.ask(GATEWAY, Params::renew(&token)).await.error(), (400, "invalid_grant"));
        assert_eq!(at.ask(PLANNER, Params::replace(&other, BOOKING)).await.status, 200, "another transaction goes on");
        at.stop().await;
        at.start().await;
    }
    // Not even one that was then kept back.
    let issued = at.records().await.into_iter().filter(|record| record.deed == Deed::Replace);
    let (revoked, went_on) = (body(&token)["txn"].clone(), body(&other)["txn"].clone());
    let count = |txn: &Value| issued.clone().filter(|record| record.txn.as_deref() == txn.as_str()).count();
    assert_eq!((count(&revoked), count(&went_on)), (1, 3));
}

#[tokio::test]
async fn only_operators_revoke_and_only_what_is_a_transaction() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let txn = body(&token)["txn"].as_str().unwrap().to_owned();
    for who in [GATEWAY, PLANNER] {
        let answer = revoke(&at, who, Params::none().with("token", &token)).await;
        assert_eq!(answer.error(), (400, "unauthorized_client"));
    }
    assert_eq!(at.post("/revoke", &Params::none().with("token", &token)).await.error(), (401, "invalid_client"));
    for form in [
        Params::none(),
        Params::none().with("txn", "*"),
        Params::none().with("txn", &txn.to_uppercase()),
        Params::none().with("txn", &txn.replace('-', "")),
        Params::none().with("txn", &txn).with("token", &token),
    ] {
        assert_eq!(revoke(&at, OPERATOR, form).await.error(), (400, "invalid_request"));
    }
    // RFC 7009 section 2.2: what is no token of ours is no error, and revokes nothing.
    assert_eq!(revoke(&at, OPERATOR, Params::none().with("token", "x")).await.status, 200);
    assert_eq!(at.ask(PLANNER, Params::replace(&token, BOOKING)).await.status, 200);
    assert_eq!(revoke(&at, OPERATOR, Params::none().with("txn", &txn)).await.status, 200);
    assert_eq!(at.ask(PLANNER, Params::replace(&token, BOOKING)).await.error(), (400, "invalid_grant"));
}

/// contracts/txts.md section 8, N25 to N27.
#[tokio::test]
async fn the_list_is_signed_by_the_node_and_only_grows_in_number() {
    let mut at = Fixture::new().await;
    let (header, payload) = opened(&at, &at.get("/revoked").await.1);
    assert_eq!(
        header,
        json!({
            "alg": "EdDSA", "typ": "nuncio-revoked+jwt", "kid": Thumbprint::of_agent(&at.node().id()).to_string(),
        })
    );
    assert_eq!((&payload["iss"], &payload["aud"]), (&json!(at.node().id().to_string()), &json!(DOMAIN)));
    assert_eq!((&payload["serial"], &payload["txns"]), (&json!(0), &json!([])));
    let (iat, exp) = (payload["iat"].as_u64().unwrap(), payload["exp"].as_u64().unwrap());
    assert!(iat.abs_diff(now_s()) <= 5 && exp == iat + time::REVOKED_LIST_LIFE / 1_000);

    let token = at.begun().await;
    let (claims, before) = (body(&token), now_s());
    revoke(&at, OPERATOR, Params::none().with("token", &token)).await;
    let entry = json!({ "txn": claims["txn"], "exp": claims["txn_exp"].as_u64().unwrap() + 60 });
    assert_eq!(opened(&at, &at.get("/revoked").await.1).1["txns"], json!([entry]));
    at.stop().await;
    at.start().await;
    let (_, payload) = opened(&at, &at.get("/revoked").await.1);
    assert_eq!(payload["txns"], json!([entry]));
    let serial = payload["serial"].as_u64().unwrap();
    assert!((before..=now_s()).contains(&serial), "{serial}");
    revoke(&at, OPERATOR, Params::none().with("token", &token)).await;
    assert!(opened(&at, &at.get("/revoked").await.1).1["serial"].as_u64().unwrap() > serial);
}

/// contracts/txts.md N27: what a restart would take back is told to nobody.
#[tokio::test]
async fn what_was_not_written_is_not_in_the_list() {
    let at = Fixture::new().await;
    let before = opened(&at, &at.get("/revoked").await.1).1;
    let tokens = [at.begun().await, at.begun().await, at.begun().await];
    at.node().close_store_for_test();
    for token in &tokens {
        let answer = revoke(&at, OPERATOR, Params::none().with("token", token)).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    }
    let after = opened(&at, &at.get("/revoked").await.1).1;
    assert_eq!((&after["serial"], &after["txns"]), (&before["serial"], &before["txns"]));
}

/// contracts/txts.md N27.
#[tokio::test]
async fn many_at_once_are_all_in_the_list_that_a_restart_finds() {
    let mut at = Fixture::new().await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..16 {
        let txn = uuid::Uuid::from_bytes([number; 16]).to_string();
        let form = Params::none().with("txn", &txn).asserted(OPERATOR).encode();
        let request = at.http.post(at.url("/revoke")).header("content-type", "application/x-www-form-urlencoded");
        asked.spawn(async move { request.body(form).send().await.unwrap().status().as_u16() });
    }
    assert_eq!(asked.join_all().await, [200; 16]);
    let before = opened(&at, &at.get("/revoked").await.1).1;
    at.stop().await;
    at.start().await;
    let after = opened(&at, &at.get("/revoked").await.1).1;
    assert_eq!((&after["serial"], &after["txns"]), (&before["serial"], &before["txns"]));
    assert_eq!(after["txns"].as_array().unwrap().len(), 16);
}
