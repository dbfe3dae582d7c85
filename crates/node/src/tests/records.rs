//! What is written down, and that it is written before the answer.

use nuncio_proto::token::hash_of;

use super::support::{BOOKING, Fixture, GATEWAY, OPERATOR, PLANNER, Params, body};
use crate::audit::Deed;

/// contracts/txts.md N30.
#[tokio::test]
async fn everything_that_was_done_is_a_record_and_no_token_is_in_it() {
    let mut at = Fixture::new().await;
    let first = at.begun().await;
    let second = at.token(GATEWAY, Params::replace(&first, PLANNER)).await;
    let renewed = at.token(GATEWAY, Params::renew(&second)).await;
    at.ask(PLANNER, Params::replace(&second, BOOKING).set("scope", "travel.fly")).await;
    at.post("/revoke", &Params::none().with("token", &second).asserted(OPERATOR)).await;
    at.ask(PLANNER, Params::replace(&second, BOOKING)).await;
    at.post("/token", &Params::begin()).await;

    let txn = body(&first)["txn"].as_str().unwrap().to_owned();
    let records = at.records().await;
    let deeds: Vec<Deed> = records.iter().map(|record| record.deed).collect();
    assert_eq!(deeds, [Deed::Issue, Deed::Replace, Deed::Renew, Deed::Deny, Deed::Revoke, Deed::Deny, Deed::Deny]);
    let token = |text: &str| Some(hash_of(text.as_bytes()));
    assert_eq!(
        [records[0].token, records[1].token, records[2].token],
        [token(&first), token(&second), token(&renewed)]
    );
    assert_eq!([records[1].input, records[2].input], [token(&first), token(&second)]);
    assert!(records[0].input.is_some(), "the access token's, too");
    assert_eq!(records[1].client.as_deref(), Some("gateway"));
    assert_eq!(records[1].subject.as_deref(), Some("user:anna"));
    assert_eq!((records[1].hop, records[4].client.as_deref()), (Some(1), Some("operator")));
    let errors: Vec<_> = records.iter().filter_map(|record| record.error.as_deref()).collect();
    assert_eq!(errors, ["invalid_scope", "invalid_grant", "invalid_client"]);
    assert!(records[..6].iter().all(|record| record.txn.as_deref() == Some(&txn)));
    assert_eq!(records[6].client, None);
    let printed = format!("{records:?}");
    assert!([&first, &second, &renewed].iter().all(|token| !printed.contains(token.rsplit('.').next().unwrap())));
}

/// contracts/txts.md N31: what cannot be written down is not issued.
#[tokio::test]
async fn without_a_store_nothing_is_issued() {
    let at = Fixture::new().await;
    assert_eq!(at.get("/health/ready").await.0, 200);
    at.node().close_store_for_test();
    let answer = at.ask(GATEWAY, Params::begin()).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert_eq!((at.get("/health/ready").await.0, at.get("/health/live").await.0), (503, 200));
}
