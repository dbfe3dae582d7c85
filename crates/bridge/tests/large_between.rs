//! A long answer passes two agents in constant memory. Alone in its process: others' memory would be counted too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/two.rs"]
mod two;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use client::front;
use http_body_util::BodyExt as _;
use two::{ALONE, Two, call, resident};

const LEN: u64 = 100 << 20;
const PIECE: usize = 16 << 10;

/// A server whose answers to 1 are long, and are made as they are read.
fn server() -> Router {
    let answer = async |asked: String| {
        if !asked.contains(r#""id":1,"#) {
            return ([(CONTENT_TYPE, "application/json")], Body::from(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        }
        let begin = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":""#);
        let pieces = (0..LEN >> 14).map(|_| Bytes::from_static(&[b'x'; PIECE]));
        let all = std::iter::once(begin).chain(pieces).chain([Bytes::from_static(b"\"}")]);
        let body = Body::from_stream(tokio_stream::iter(all.map(Ok::<_, Infallible>)));
        ([(CONTENT_TYPE, "application/json")], body)
    };
    Router::new().fallback(post(answer))
}

/// The most that this process has in memory until it is told to stop.
fn watch_memory(over: &Arc<AtomicBool>) -> Arc<AtomicU64> {
    let (most, over) = (Arc::new(AtomicU64::new(0)), Arc::clone(over));
    let seen = Arc::clone(&most);
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            seen.fetch_max(resident(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_pass_two_agents_in_constant_memory() {
    let two = Two::before(server()).await;
    let front = front(two.line()).await;
    let ask = async |id| {
        let mut body = front.post(&ALONE, call(id)).await.into_body();
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            len += frame.unwrap().into_data().unwrap().len() as u64;
        }
        len
    };
    let within = async |ask| tokio::time::timeout(Duration::from_secs(120), ask).await.expect("it takes too long");
    let (over, before) = (Arc::new(AtomicBool::new(false)), resident());
    let most = watch_memory(&over);
    assert!(within(ask(1)).await > LEN);
    over.store(true, Ordering::Relaxed);
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    println!("{} MiB before, {} MiB more at most", before >> 20, grown >> 20);
    assert!(grown < 32 << 20, "{grown} bytes more in memory");
    front.stopping.cancel();
    two.stop().await;
}
