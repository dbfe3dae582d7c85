//! What is written down, and that it is written before the answer.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto;
use nuncio_proto::token::hash_of;
use nuncio_store::{Engine as _, Op, RowFault, StoreError};

use super::support::{BOOKING, Fixture, GATEWAY, OPERATOR, PLANNER, Params, body, kek, policy, write_policy};
use crate::audit::{Deed, Record};
use crate::{NodeError, rotate};

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
    // Records of one millisecond are in no order.
    tokio::time::sleep(Duration::from_millis(2)).await;
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

/// contracts/txts.md N30.
#[tokio::test]
async fn what_the_owner_does_is_a_record_too() {
    let mut at = Fixture::new().await;
    let narrower = policy().replace("hops_max = 6", "hops_max = 2");
    write_policy(at.folder.path(), &narrower);
    at.node().reload().await.unwrap();
    write_policy(at.folder.path(), "schema = 1");
    assert!(at.node().reload().await.is_err(), "what is not taken is no record");
    // Records of one millisecond are in no order.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let first = at.node().rotate(true).await.unwrap();
    assert!(at.node().rotate(false).await.is_err());
    at.stop().await;
    let second = rotate(&at.home(), &kek(), true).unwrap();
    write_policy(at.folder.path(), &policy());
    at.start().await;
    let done: Vec<_> =
        at.all_records().await.into_iter().map(|record| (record.deed, record.subject.unwrap())).collect();
    let hash = |text: &str| BASE64URL_NOPAD.encode(&crypto::sha256(&[text.as_bytes()]));
    let expected = [
        (Deed::Policy, hash(&policy())),
        (Deed::Policy, hash(&narrower)),
        (Deed::Rotate, first.signs),
        (Deed::Rotate, second.signs),
        (Deed::Policy, hash(&policy())),
    ];
    assert_eq!(done, expected);
}

/// They become events in this order.
#[tokio::test]
async fn records_of_one_millisecond_are_in_their_order() {
    let mut at = Fixture::new().await;
    let (names, moment): (Vec<String>, _) =
        ((0..300).map(|number| number.to_string()).collect(), crate::entropy::now());
    for name in &names {
        let record = Record::of_owner(Deed::Rotate, moment, name);
        at.node().service().ledger.keep(record, Vec::new()).await.unwrap();
    }
    let records = at.all_records().await.into_iter().filter(|record| record.deed == Deed::Rotate);
    assert_eq!(records.map(|record| record.subject.unwrap()).collect::<Vec<_>>(), names);
}

/// contracts/txts.md N30: what a record used up must be known, or it would serve again.
#[tokio::test]
async fn a_node_does_not_start_on_a_record_that_it_cannot_read() {
    let mut at = Fixture::new().await;
    at.stop().await;
    let (store, _) = crate::home::open(&at.home(), &kek()).unwrap();
    let key = [b"A".as_slice(), &[7; 16]].concat();
    store.commit(&[Op::Put { key: key.clone(), value: b"no record".to_vec() }]).unwrap();
    drop(store);
    let Err(NodeError::Store(StoreError::Row { key: named, fault })) = at.try_start().await else {
        panic!("it starts, or says something else")
    };
    assert_eq!((named, fault), (data_encoding::HEXLOWER.encode(&key), RowFault::Malformed));
    let (store, _) = crate::home::open(&at.home(), &kek()).unwrap();
    assert_eq!(store.get(&key).unwrap().unwrap(), b"no record", "it is left as it is");
}
