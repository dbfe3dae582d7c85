//! While a long answer is sealed others of the same service go out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/two.rs"]
mod two;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use nuncio::{Agent, LetterId, What};
use nuncio_bridge::{HeardWhat, Line as _, Message, Say};
use two::{ALONE, Two, call};

const LEN: usize = 256 << 20;
const PIECE: usize = 64 << 10;

/// A server whose answers to 1 are long.
fn server() -> Router {
    let answer = async move |asked: String| {
        if !asked.contains(r#""id":1,"#) {
            return ([(CONTENT_TYPE, "application/json")], Body::from(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        }
        let begin = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":""#);
        let pieces = (0..LEN / PIECE).map(|_| Bytes::from_static(&[b'x'; PIECE]));
        let last = std::iter::once(Bytes::from_static(b"\"}"));
        let all = std::iter::once(begin).chain(pieces).chain(last);
        let body = Body::from_stream(tokio_stream::iter(all.map(Ok::<_, Infallible>)));
        ([(CONTENT_TYPE, "application/json")], body)
    };
    Router::new().fallback(post(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_holds_up_nobody_else_s_while_it_is_sealed() {
    let two = Two::before(server()).await;
    let line = two.line();
    let mut heard = line.listen(None, None).await.unwrap();
    let ask = async |id| {
        let mut message = Message::json(call(id));
        message.head = nuncio_proto::call::Head::of(ALONE);
        let letter = Agent::new_letter_id().unwrap();
        let (what, note) = (What::Request, Vec::new());
        line.say(Say { id: letter, what, session: None, reply_to: None, message, note, under: None }).await.unwrap();
        letter
    };
    let long = ask(1).await;
    let sealing = async {
        while !two.seals() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), sealing).await.expect("it is not sealed");
    let short = ask(2).await;
    let mut numbers: HashMap<LetterId, u64> = HashMap::new();
    while numbers.len() < 2 {
        let heard = tokio::time::timeout(Duration::from_secs(120), heard.recv()).await.expect("it takes too long");
        let heard = heard.unwrap();
        let HeardWhat::Answer(request, _) = heard.what else { panic!("{heard:?}") };
        numbers.insert(request, heard.no);
    }
    assert!(numbers[&short] < numbers[&long], "{numbers:?}");
    two.stop().await;
}
