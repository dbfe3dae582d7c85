//! Keys: known before they sign, signed for those who hand them on, sealed at rest.

use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Algorithm, KeySet};
use nuncio_store::Engine as _;
use serde_json::{Value, json};

use super::revocation::opened;
use super::support::{BOOKING, DOMAIN, Fixture, GATEWAY, OPERATOR, PLANNER, Params, bend, body, kek, now_s, policy};
use crate::keys::TokenKey;
use crate::rows::{Stage, TokenKeyRow};
use crate::{NodeError, rotate};

/// contracts/txts.md N28, N29.
#[tokio::test]
async fn keys_turn_and_every_token_stays_good() {
    let mut at = Fixture::new().await;
    let before = at.keys().await;
    assert_eq!(before.len(), 2, "the next is known before it signs");
    let old = at.handed(&[GATEWAY, PLANNER]).await;
    assert!(matches!(at.node().rotate(false).await, Err(NodeError::TooEarly { .. })));
    let rotated = at.node().rotate(true).await.unwrap();
    let new = at.token(PLANNER, Params::replace(&old, BOOKING)).await;
    assert_eq!(kid(&new), rotated.signs);
    assert!(before.get(&nuncio_proto::token::Thumbprint::parse(&kid(&new)).unwrap()).is_some(), "published before");
    let set: Value = serde_json::from_str(&at.get("/jwks").await.1).unwrap();
    let kids: Vec<&Value> = set["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    assert_eq!(kids, [rotated.signs.as_str(), &rotated.next, &kid(&old)], "the one that signs, the next, those before");
    at.open(&old).await;
    at.stop().await;
    // The owner may turn them while no node runs, too.
    assert!(matches!(rotate(&at.home(), &kek(), false), Err(NodeError::TooEarly { .. })));
    let again = rotate(&at.home(), &kek(), true).unwrap();
    assert_eq!(again.signs, rotated.next);
    at.start().await;
    at.open(&old).await;
    assert_eq!(kid(&at.begun().await), again.signs);
}

fn kid(token: &str) -> String {
    let header = data_encoding::BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["typ"], "txntoken+jwt");
    header["kid"].as_str().unwrap().to_owned()
}

/// A token's body with some claims replaced, signed by one who has the key.
fn forged(thief: &TokenKey, token: &str, bent: Value) -> String {
    thief.token(bend(body(token), &bent).to_string().as_bytes()).unwrap()
}

/// As if the keys that stopped had stopped so much earlier.
async fn age(at: &mut Fixture, seconds: u64) {
    at.stop().await;
    let (store, _) = crate::home::open(&at.home(), &kek()).unwrap();
    let mut aged = Vec::new();
    store
        .scan(b"K", &mut |key, value| {
            let (number, mut row) = TokenKeyRow::read(key, value).unwrap();
            if row.stage == Stage::Over {
                row.since = UnixMillis(row.since.0 - seconds * 1_000);
                aged.push(row.put(number));
            }
            Ok(())
        })
        .unwrap();
    store.commit(&aged).unwrap();
    drop(store);
    at.start().await;
}

/// contracts/txts.md N19.
#[tokio::test]
async fn a_stolen_key_that_stopped_is_of_no_use() {
    let mut at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let thief = std::sync::Arc::clone(at.node().service().keys().signing());
    at.node().rotate(true).await.unwrap();
    let now = now_s();
    let lives = json!({ "iat": now, "exp": now + 120, "txn_exp": now + 3_600 });
    let earlier = json!({ "iat": now - 100, "exp": now + 100, "txn_exp": now + 3_600 });
    // It stopped now, a minute ago, and longer ago than any token of it lives.
    for (more_s, forged_now, forged_before) in [(0, 200, 200), (60, 400, 200), (271, 400, 400)] {
        age(&mut at, more_s).await;
        for (claims, status) in [(&lives, forged_now), (&earlier, forged_before)] {
            let answer = at.ask(PLANNER, Params::replace(&forged(&thief, &token, claims.clone()), BOOKING)).await;
            assert_eq!(answer.status, status, "{more_s} {claims} {}", answer.json);
            assert!(status == 200 || answer.error() == (400, "invalid_request"));
        }
    }
}

/// contracts/txts.md N19: whoever has a key that signs makes tokens, but none that outlives what the service would make.
#[tokio::test]
async fn a_token_that_the_service_would_not_make_is_none_of_its() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let (keys, now) = (at.node().service().keys(), now_s());
    let claims =
        |iat: u64, life: u64, txn_life: u64| json!({ "iat": iat, "exp": iat + life, "txn_exp": iat + txn_life });
    for (bent, status) in [
        (claims(now, 300, 86_400), 200),
        (claims(now, 301, 3_600), 400),
        (claims(now, 300, 86_401), 400),
        (claims(now + 40, 120, 3_600), 400),
    ] {
        let answer = at.ask(PLANNER, Params::replace(&forged(keys.signing(), &token, bent.clone()), BOOKING)).await;
        assert_eq!(answer.status, status, "{bent} {}", answer.json);
        assert!(status == 200 || answer.error() == (400, "invalid_request"));
    }
}

/// contracts/txts.md N24, N28: a transaction may live longer than the key that signed its first token.
#[tokio::test]
async fn a_token_whose_key_is_long_gone_still_revokes_its_transaction() {
    let mut at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    at.node().rotate(true).await.unwrap();
    age(&mut at, 3_600).await;
    at.node().rotate(true).await.unwrap();
    assert_eq!(at.keys().await.len(), 3, "it is not in the key set any more");
    let answer = at.post("/revoke", &Params::none().with("token", &token).asserted(OPERATOR)).await;
    assert_eq!(answer.status, 200);
    let listed = opened(&at, &at.get("/revoked").await.1).1["txns"].clone();
    assert_eq!(listed[0]["txn"], body(&token)["txn"]);
}

#[tokio::test]
async fn tokens_are_signed_as_the_policy_says() {
    for (name, algorithm) in [("ES256", Algorithm::Es256), ("RS256", Algorithm::Rs256)] {
        let at = Fixture::with(&policy().replace("[service]", &format!("[service]\nalgorithm = \"{name}\""))).await;
        let token = at.handed(&[GATEWAY, PLANNER]).await;
        let key = nuncio_proto::token::Thumbprint::parse(&kid(&token)).unwrap();
        assert_eq!(at.keys().await.get(&key).unwrap().algorithm(), algorithm);
        at.open(&token).await;
        at.token(PLANNER, Params::replace(&token, BOOKING)).await;
    }
}

/// contracts/txts.md section 8, N26.
#[tokio::test]
async fn the_keys_are_handed_out_signed_by_the_node() {
    let at = Fixture::new().await;
    let (header, payload) = opened(&at, &at.get("/keys").await.1);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("nuncio-keys+jwt")));
    assert_eq!((&payload["iss"], &payload["aud"]), (&json!(at.node().id().to_string()), &json!(DOMAIN)));
    let (iat, exp) = (payload["iat"].as_u64().unwrap(), payload["exp"].as_u64().unwrap());
    assert!(iat.abs_diff(now_s()) <= 5 && exp == iat + time::KEY_BUNDLE_LIFE / 1_000);
    let keys = KeySet::parse(json!({ "keys": payload["keys"] }).to_string().as_bytes()).unwrap();
    assert_eq!(keys, at.keys().await);
    assert!(!payload.to_string().contains("\"d\""));
}

/// Nothing that signs is plain in any file of the home.
#[tokio::test]
async fn no_key_is_plain_on_disk() {
    let mut at = Fixture::new().await;
    at.stop().await;
    let (store, identity) = crate::home::open(&at.home(), &kek()).unwrap();
    let mut secrets = Vec::new();
    store
        .scan(b"K", &mut |key, value| {
            secrets.push(TokenKeyRow::read(key, value).unwrap().1.half);
            Ok(())
        })
        .unwrap();
    assert_eq!(secrets.len(), 2);
    secrets.push(identity.to_bytes()[3..35].to_vec());
    drop(store);
    let mut files = Vec::new();
    walk(&at.home(), &mut files);
    assert!(files.iter().any(|file| file.len() > 1_000));
    for secret in &secrets {
        assert!(files.iter().all(|file| !file.windows(secret.len()).any(|window| window == secret)));
    }
}

fn walk(folder: &std::path::Path, files: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(std::fs::read(path).unwrap()) }
    }
}
