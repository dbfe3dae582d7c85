//! Agents that have said that they are over.

use nuncio_contracts::registry::label;
use nuncio_proto::codec;
use nuncio_proto::testing::jws;
use serde_bytes::ByteArray;
use serde_json::{Value, json};

use super::clients::{keyed_policy, proof};
use super::support::{
    Answer, BOOKING, Fixture, GATEWAY, ISSUER, OPERATOR, PLANNER, Params, agent, jwk, key, name, now_s, policy, unique,
    write_policy,
};
use crate::NodeError;

/// The statement that ends one, signed by another where they differ.
fn statement(ends: u8, signs: u8) -> Vec<u8> {
    let body = (ByteArray::new(*agent(ends).as_bytes()), None::<ByteArray<32>>, 1_800_000_000_000_u64);
    let signature = key(signs).sign(label::RETIREMENT, &codec::encode(&body));
    codec::encode(&(body, ByteArray::new(signature)))
}

/// Names one statement in a policy, and puts that in force.
async fn retire(at: &Fixture, policy: &str, statement: Vec<u8>) -> Result<(), NodeError> {
    std::fs::write(at.folder.path().join("retirement"), statement).unwrap();
    write_policy(at.folder.path(), &policy.replace("operators =", "retired_files = [\"retirement\"]\noperators ="));
    at.node().reload().await
}

async fn ask_with_key(at: &Fixture, signer: u8, client: &str, headers: &[(&str, &str)]) -> Answer {
    let claims = json!({ "iss": client, "sub": client, "aud": ISSUER, "jti": unique(), "exp": now_s() + 60 });
    let assertion = jws(&key(signer), r#"{"alg":"EdDSA"}"#, &claims.to_string());
    let form = Params::begin().set("scope", "travel.pay").with("resource", &agent(BOOKING).to_string());
    at.send("/token", &form.with_assertion(&assertion), headers).await
}

/// contracts/txts.md N36.
#[tokio::test]
async fn a_retired_agent_gets_nothing_and_is_sent_nothing() {
    let at = Fixture::new().await;
    let token = at.handed(&[GATEWAY, PLANNER]).await;
    let first = at.begun().await;
    assert_eq!(at.ask(PLANNER, Params::replace(&token, BOOKING)).await.status, 200);
    retire(&at, &policy(), statement(PLANNER, PLANNER)).await.unwrap();
    assert!(at.node().service().policy().client_of(&agent(PLANNER)).is_none(), "over QUIC it is a stranger");
    assert_eq!(at.ask(PLANNER, Params::replace(&token, BOOKING)).await.error(), (401, "invalid_client"));
    assert_eq!(at.ask(GATEWAY, Params::replace(&first, PLANNER)).await.error(), (400, "invalid_target"));
    assert_eq!(at.ask(GATEWAY, Params::renew(&token)).await.error(), (400, "invalid_target"));
    let to_others = Params::begin().with("resource", &agent(GATEWAY).to_string());
    assert_eq!(at.ask(GATEWAY, to_others).await.status, 200, "the others go on");
    retire(&at, &policy(), statement(OPERATOR, OPERATOR)).await.unwrap();
    let revoked = at.post("/revoke", &Params::none().with("token", &token).asserted(OPERATOR)).await;
    assert_eq!(revoked.error(), (401, "invalid_client"), "and revokes nothing");
}

/// A client that has keys besides its agent's, and one that has no agent and proves a key.
#[tokio::test]
async fn a_retired_agent_is_no_holder_by_another_key_either() {
    let web = keyed_policy(&json!({ "keys": [jwk(20)] })).replace("[\"planner\"]", "[\"booking\"]");
    let keys: toml::Value = toml::Value::try_from(json!({ "keys": [jwk(20)] })).unwrap();
    let did = format!("did = \"{}\"", agent(GATEWAY));
    let both = web.replace(&did, &format!("{did}\njwks = {keys}"));
    let at = Fixture::with(&both).await;
    let (by_gateway, by_web) = (name(GATEWAY), "web");
    assert_eq!(ask_with_key(&at, 20, by_gateway, &[]).await.status, 200);
    assert_eq!(ask_with_key(&at, 20, by_web, &[("dpop", &proof(GATEWAY, &json!({})))]).await.status, 200);
    retire(&at, &both, statement(GATEWAY, GATEWAY)).await.unwrap();
    assert_eq!(ask_with_key(&at, 20, by_gateway, &[]).await.error(), (401, "invalid_client"));
    let proved = ask_with_key(&at, 20, by_web, &[("dpop", &proof(GATEWAY, &json!({})))]).await;
    assert_eq!(proved.error(), (401, "invalid_client"));
    assert_eq!(ask_with_key(&at, 20, by_web, &[("dpop", &proof(21, &json!({})))]).await.status, 200);
}

#[tokio::test]
async fn nobody_else_can_say_that_an_agent_is_over() {
    let at = Fixture::new().await;
    for bad in [statement(GATEWAY, PLANNER), Vec::new(), Value::Null.to_string().into_bytes()] {
        assert!(matches!(retire(&at, &policy(), bad).await, Err(NodeError::Policy { .. })));
        assert_eq!(at.ask(GATEWAY, Params::begin()).await.status, 200, "the former policy is in force");
    }
}
