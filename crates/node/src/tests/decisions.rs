//! A decision point: only a plain yes lets a request pass.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::doors::served;
use super::support::{Fixture, GATEWAY, OPERATOR, PLANNER, Params, agent, policy};
use crate::audit::Deed;
use crate::authn::Door;
use crate::routes::{TABLE, router};

type Asked = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// Answers everything with these words, after a while.
async fn point(status: u16, words: &'static str, after_ms: u64) -> (String, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let answer = move |headers: HeaderMap, body: String| {
        seen.lock().unwrap().push((headers, serde_json::from_str(&body).unwrap()));
        async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            (StatusCode::from_u16(status).unwrap(), words)
        }
    };
    let app = Router::new().route("/access/v1/evaluation", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

async fn fixture(url: &str) -> Fixture {
    Fixture::with(&format!("{}\n[decisions]\nurl = \"{url}\"\n", policy())).await
}

/// contracts/txts.md N16.
#[tokio::test]
async fn the_decision_point_is_asked_and_obeyed() {
    let (url, asked) = point(200, r#"{"decision":true}"#, 0).await;
    let at = fixture(&url).await;
    let token = at.token(GATEWAY, Params::begin().with("request_details", r#"{"trip":"4711"}"#)).await;
    at.token(GATEWAY, Params::replace(&token, PLANNER)).await;
    let questions: Vec<Value> = asked.lock().unwrap().iter().map(|(_, question)| question.clone()).collect();
    assert_eq!(questions[0]["subject"], json!({ "type": "workload", "id": "gateway" }));
    assert_eq!(questions[0]["action"], json!({ "name": "issue" }));
    assert_eq!(questions[0]["resource"]["properties"]["sub"], "user:anna");
    assert_eq!(questions[0]["resource"]["properties"]["tctx"], json!({ "trip": "4711" }));
    assert_eq!(questions[1]["action"], json!({ "name": "replace" }));
    assert_eq!(questions[1]["resource"]["properties"]["receiver"], agent(PLANNER).to_string());

    let (url, _) = point(200, r#"{"decision":false}"#, 0).await;
    let at = fixture(&url).await;
    assert_eq!(at.ask(GATEWAY, Params::begin()).await.error(), (400, "unauthorized_client"));
}

#[tokio::test]
async fn no_decision_is_no_token() {
    for (status, words, after_ms) in [
        (200, r#"{"decision":"true"}"#, 0),
        (200, "{}", 0),
        (200, "yes", 0),
        (500, r#"{"decision":true}"#, 0),
        (302, r#"{"decision":true}"#, 0),
        (200, r#"{"decision":true}"#, 3_000),
    ] {
        let (url, _) = point(status, words, after_ms).await;
        let at = fixture(&url).await;
        let answer = at.ask(GATEWAY, Params::begin()).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"), "{status} {words} {after_ms}");
    }
    let at = fixture("http://127.0.0.1:1").await;
    assert_eq!(at.ask(GATEWAY, Params::begin()).await.error(), (503, "temporarily_unavailable"));
}

#[tokio::test]
async fn what_the_policy_denies_is_not_even_asked() {
    let (url, asked) = point(200, r#"{"decision":true}"#, 0).await;
    let at = fixture(&url).await;
    assert_eq!(at.ask(GATEWAY, Params::begin().set("scope", "travel.fly")).await.error(), (400, "invalid_scope"));
    assert!(asked.lock().unwrap().is_empty());
}

/// contracts/txts.md N24: from the revocation's answer on, also for a request that was looked at before.
#[tokio::test]
async fn a_transaction_that_is_revoked_while_it_is_decided_gets_no_token() {
    let (url, asked) = point(200, r#"{"decision":true}"#, 600).await;
    let mut at = fixture(&url).await;
    let token = at.begun().await;
    let revoked = async {
        times(&asked, 2).await;
        at.post("/revoke", &Params::none().with("token", &token).asserted(OPERATOR)).await
    };
    let (replaced, revoked) = tokio::join!(at.ask(GATEWAY, Params::replace(&token, PLANNER)), revoked);
    assert_eq!((revoked.status, replaced.error()), (200, (400, "invalid_grant")));
    // contracts/txts.md N30: the token that was made is a record, and that nobody got it.
    let records = at.records().await;
    let deeds: Vec<Deed> = records.iter().map(|record| record.deed).collect();
    assert_eq!(deeds, [Deed::Issue, Deed::Replace, Deed::Revoke, Deed::Deny]);
    assert!(records[1].token.is_some() && records[1].error.is_none() && !records[1].used.is_empty());
    assert_eq!((&records[3].token, records[3].error.as_deref()), (&records[1].token, Some("invalid_grant")));
    assert!(records[3].used.is_empty(), "an id is used up in one record");
}

/// Returns when the decision point was asked so often.
async fn times(asked: &Asked, wanted: usize) {
    while asked.lock().unwrap().len() < wanted {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// contracts/txts.md N30.
#[tokio::test]
async fn what_was_begun_is_written_down_though_whoever_asked_has_gone() {
    let (url, asked) = point(200, r#"{"decision":true}"#, 1_000).await;
    let mut at = fixture(&url).await;
    let (form, routes) = (Params::begin().asserted(GATEWAY), served(&at, TABLE));
    let tasks = routes.tasks.clone();
    let request = Request::post("/token").extension(Door::Owner);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = TowerToHyperService::new(router(routes)).call(request.body(Body::from(form.encode())).unwrap());
    tokio::select! {
        _ = answer => panic!("an answer without a decision"),
        () = times(&asked, 1) => {}
    }
    tasks.close();
    tasks.wait().await;
    at.stop().await;
    at.start().await;
    assert_eq!(at.post("/token", &form).await.error(), (401, "invalid_client"), "the assertion was used up");
    let deeds: Vec<Deed> = at.records().await.iter().map(|record| record.deed).collect();
    assert_eq!(deeds, [Deed::Issue, Deed::Deny]);
}
