//! Keys: known before they sign, signed for those who hand them on, sealed at rest.

use nuncio_contracts::registry::time;
use nuncio_proto::token::{Algorithm, KeySet};
use serde_json::{Value, json};

use super::revocation::opened;
use super::support::{BOOKING, DOMAIN, Fixture, GATEWAY, PLANNER, Params, kek, now_s, policy};
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
    assert_eq!(at.keys().await.len(), 3);
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
    nuncio_store::Engine::scan(&store, b"K", &mut |key, value| {
        secrets.push(crate::rows::TokenKeyRow::read(key, value).unwrap().1.secret);
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
