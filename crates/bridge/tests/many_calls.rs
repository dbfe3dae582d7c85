//! A thousand calls under way at once. Alone in its process: others' memory would be counted too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/two.rs"]
mod two;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use client::{Running, front, whole};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use two::{ALONE, Two, call, resident};

const CALLS: usize = 1_000;
const ROUNDS: usize = 10;
/// Bytes that may stay in memory of one call, of both agents, its client and its server.
const LEFT_MAX: u64 = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(120);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// A server that answers once as many ask as it waits for.
fn server(asked: watch::Sender<usize>, round: watch::Receiver<usize>) -> Router {
    let answer = async move |body: String| {
        let (mut round, id) = (round.clone(), serde_json::from_str::<Value>(&body).unwrap()["id"].clone());
        let mine = *round.borrow_and_update();
        asked.send_modify(|asked| *asked += 1);
        round.wait_for(|now| *now > mine).await.unwrap();
        ([(CONTENT_TYPE, "application/json")], format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#))
    };
    Router::new().fallback(post(answer))
}

async fn ask(front: Arc<Running>, id: usize) {
    let answer = front.post(&ALONE, call(id)).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&whole(answer).await).unwrap();
    assert_eq!((&answer["id"], answer["result"].is_object()), (&Value::from(id), true), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_are_under_way_at_once_and_little_is_left_of_them() {
    let (asked, mut are_asked) = watch::channel(0);
    let (round, rounds) = watch::channel(0);
    let two = Two::before(server(asked, rounds)).await;
    let front = Arc::new(front(two.line()).await);
    let mut after = Vec::new();
    for now in 1..=ROUNDS {
        let begun = std::time::Instant::now();
        let mut all: JoinSet<()> = (0..CALLS).map(|id| ask(Arc::clone(&front), id)).collect();
        let open = within(are_asked.wait_for(|asked| *asked == now * CALLS)).await.map(|asked| *asked);
        assert_eq!(open.unwrap(), now * CALLS, "all are open at once");
        let held = begun.elapsed();
        round.send_replace(now);
        while let Some(one) = within(all.join_next()).await {
            one.unwrap();
        }
        after.push(resident());
        println!("round {now}: {held:?} until all were open, {:?}, {} MiB", begun.elapsed(), resident() >> 20);
    }
    let left = after[ROUNDS - 1].saturating_sub(after[1]) / ((ROUNDS - 2) * CALLS) as u64;
    assert!(left < LEFT_MAX, "{left} bytes of each call are left in memory: {after:?}");
    front.stopping.cancel();
    two.stop().await;
}
