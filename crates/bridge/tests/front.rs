//! What a client meets: Streamable HTTP of both eras over a `Line` in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/line.rs"]
mod line;
#[path = "memory/server.rs"]
mod server;

use std::time::Duration;

use client::{Stream, front, whole};
use line::Memory;
use nuncio_bridge::{Line, Message, Say};
use nuncio_proto::call::{Head, What};
use server::json_of;

const V25: &str = "2025-11-25";

fn call(id: u32, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":{id}}}}}}}"#
    )
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds: {what}");
}

#[tokio::test]
async fn bytes_pass_untouched_both_ways_and_what_is_had_is_taken() {
    let odd = "{\"jsonrpc\":\"2.0\",\n\t\"id\" : 1.0e1 , \"result\":{\"é\":\"\\u00e9\"} }";
    let memory = Memory::new(move |far, say| {
        if json_of(&say)["method"] == "odd" {
            far.answer(&say, odd);
        } else {
            far.answer(&say, r#"{"jsonrpc":"2.0","id":0,"result":{}}"#);
        }
    });
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let asked = "{ \"method\":\"odd\",\r\n \"id\" : 1.0e1,\"jsonrpc\":\"2.0\" , \"params\":{\"b\":1,\"a\":2}}";
    let answer = front
        .post(&[("mcp-session-id", &session), ("authorization", "Bearer x"), ("traceparent", "00-1")], asked)
        .await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    assert_eq!(whole(answer).await, odd);
    let said = memory.said();
    let nuncio_bridge::Body::Bytes(bytes) = &said[1].message.body else { panic!() };
    assert_eq!((bytes.as_ref(), said[1].note.as_slice()), (asked.as_bytes(), b"1.0e1".as_slice()));
    assert_eq!(said[1].message.head.iter().collect::<Vec<_>>(), [("traceparent", "00-1")]);
    assert_eq!(said[1].session.unwrap().to_string(), session);
    // The same in a stream, its lines put together again as the reader does it.
    let only = front.post(&[("mcp-session-id", &session), ("accept", "text/event-stream")], asked).await;
    assert_eq!(Stream::of(only).next().await.unwrap().1, odd);
    until("answers alone are taken", || memory.left().len() == 1).await;
    assert_eq!(memory.let_go_count(), memory.taken_count(), "the next request would wait for a disk");
    // What a client may still ask for again goes once it may not.
    tokio::time::pause();
    tokio::time::advance(nuncio_bridge::GRACE_ENDED).await;
    tokio::time::resume();
    until("the grace is over", || memory.left().is_empty()).await;
}

#[tokio::test]
async fn parts_come_in_a_stream_before_the_answer() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let mut stream = Stream::of(front.post(&[("mcp-session-id", &session)], call(7, "count", r#"{"n":100}"#)).await);
    for done in 1..=100 {
        let (id, data) = stream.next().await.unwrap();
        assert!(data.contains(&format!("\"progress\":{done},")), "{data}");
        assert_eq!(id.len(), 32 + 1 + id.split_once('-').unwrap().1.len());
    }
    assert!(stream.next().await.unwrap().1.contains("counted"));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_broken_stream_goes_on_behind_its_last_event_also_in_another_front() {
    let memory = server::line();
    let first = front(memory.clone()).await;
    let session = first.session(V25).await;
    let mut stream = Stream::of(first.post(&[("mcp-session-id", &session)], call(7, "slow", r#"{"ms":400}"#)).await);
    let (id, data) = stream.next().await.unwrap();
    assert!(data.contains("\"progress\":1,"));
    drop(stream);
    let headers = [("mcp-session-id", session.as_str()), ("last-event-id", id.as_str()), ("mcp-protocol-version", V25)];
    let mut again = Stream::of(first.ask("GET", &headers, "").await);
    assert!(again.next().await.unwrap().1.contains("\"progress\":2,"));
    let (last, data) = again.next().await.unwrap();
    assert!(data.contains("awake"));
    assert!(again.next().await.is_none());
    // Nothing of it is given up yet: the client may not have had it.
    first.stopping.cancel();
    first.served.await.unwrap();
    let second = front(memory.clone()).await;
    let mut anew = Stream::of(second.ask("GET", &headers, "").await);
    assert!(anew.next().await.unwrap().1.contains("\"progress\":2,"));
    assert_eq!(anew.next().await.unwrap().0, last);
    assert!(anew.next().await.is_none());
    assert_eq!(memory.said().len(), 2, "it was said once");
    tokio::time::pause();
    tokio::time::advance(nuncio_bridge::GRACE_ENDED).await;
    tokio::time::resume();
    until("what was had before is taken too", || memory.left().is_empty()).await;
}

#[tokio::test]
async fn a_client_that_goes_does_not_cancel_and_does_not_lose_a_later_answer() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    // Nothing comes within a second: the stream is begun so that it can be resumed.
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", V25)];
    let quiet = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{"ms":1500}}}"#;
    let mut stream = Stream::of(front.post(&headers, quiet).await);
    let (id, data) = stream.next().await.unwrap();
    assert_eq!(data, "");
    drop(stream);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let headers = [headers[0], headers[1], ("last-event-id", id.as_str())];
    let mut again = Stream::of(front.ask("GET", &headers, "").await);
    assert!(again.next().await.unwrap().1.contains("awake"));
    assert_eq!(memory.said().len(), 2);
}

#[tokio::test]
async fn a_service_s_question_is_answered_under_the_letter_that_asked() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let headers = [("mcp-session-id", session.as_str())];
    let mut stream = Stream::of(front.post(&headers, call(1, "ask", "{}")).await);
    assert!(stream.next().await.unwrap().1.contains("elicitation/create"));
    let told = r#"{"jsonrpc":"2.0","id":"s-1","result":{"action":"accept","content":{"name":"Ada"}}}"#;
    let accepted = front.post(&headers, told).await;
    assert_eq!(accepted.status(), 202);
    assert_eq!(whole(accepted).await.len(), 0);
    assert!(stream.next().await.unwrap().1.contains("hello Ada"));
}

#[tokio::test]
async fn asides_go_to_one_stream_and_come_again_behind_the_last_that_was_had() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let headers = [("mcp-session-id", session.as_str())];
    // Without a GET, in a request's stream.
    let first = whole(front.post(&headers, call(1, "log", "{}")).await).await;
    assert!(String::from_utf8_lossy(&first).contains("an aside"));
    let mut get = Stream::of(front.ask("GET", &headers, "").await);
    let second = whole(front.post(&headers, call(2, "log", "{}")).await).await;
    assert!(!String::from_utf8_lossy(&second).contains("an aside"));
    let (id, data) = get.next().await.unwrap();
    assert!(data.contains("an aside") && id.starts_with("aside-"), "{id}: {data}");
    // Who names what was in front of it has it again; who does not, not.
    let no: u64 = id.strip_prefix("aside-").unwrap().parse().unwrap();
    let before = format!("aside-{}", no - 1);
    let mut again = Stream::of(front.ask("GET", &[headers[0], ("last-event-id", &before)], "").await);
    assert_eq!(again.next().await.unwrap().0, id);
    assert!(get.next().await.is_none(), "a session has one stream");
    let mut anew = Stream::of(front.ask("GET", &headers, "").await);
    let _ = whole(front.post(&headers, call(3, "log", "{}")).await).await;
    assert_ne!(anew.next().await.unwrap().0, id);
    let behind = memory.left();
    assert!(behind.contains(&no), "it is kept for a while");
}

#[tokio::test]
async fn sessions_begin_end_and_are_unknown() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(front.post(&[], ping).await.status(), 400);
    assert_eq!(front.post(&[("mcp-session-id", "nonsense")], ping).await.status(), 404);
    let session = front.session(V25).await;
    let headers = [("mcp-session-id", session.as_str())];
    assert_eq!(front.post(&headers, ping).await.status(), 200);
    assert_eq!(front.ask("DELETE", &headers, "").await.status(), 204);
    let last = memory.said().pop().unwrap();
    assert_eq!((last.what, last.session.unwrap().to_string()), (What::End, session.clone()));
    assert_eq!(front.post(&headers, ping).await.status(), 404, "nothing brings it back");
    assert_eq!(memory.said().pop().unwrap().what, What::End);
    // The service's side ends another.
    let other = front.session(V25).await;
    let headers = [("mcp-session-id", other.as_str())];
    let waits = front.post(&headers, call(1, "slow", r#"{"ms":60000}"#));
    let ends = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let say = memory.said().pop().unwrap();
        memory.far().end(say.session);
    };
    let mut stream = Stream::of(tokio::join!(waits, ends).0);
    while stream.next().await.is_some() {}
    assert_eq!(front.post(&headers, ping).await.status(), 404);
    assert_eq!(front.ask("GET", &headers, "").await.status(), 404);
}

#[tokio::test]
async fn failures_are_told_in_the_protocol_s_words() {
    let memory = Memory::new(|far, say| far.fail(&say, "it expired"));
    let front = front(memory.clone()).await;
    let answer = whole(front.post(&[], r#"{"jsonrpc":"2.0","id":"a\"b","method":"initialize"}"#).await).await;
    let told: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((&told["id"], &told["error"]["code"]), (&"a\"b".into(), &(-32042).into()));
    assert_eq!(told["error"]["data"]["nuncio"]["reason"], "failed");
    memory.refuse("no such peer");
    let answer = front.post(&[], r#"{"jsonrpc":"2.0","id":5,"method":"initialize"}"#).await;
    let told: serde_json::Value = serde_json::from_slice(&whole(answer).await).unwrap();
    assert_eq!((&told["id"], &told["error"]["message"]), (&5.into(), &"no such peer".into()));
    memory.stop(true);
    let answer = front.post(&[], r#"{"jsonrpc":"2.0","id":6,"method":"initialize"}"#).await;
    assert_eq!(answer.status(), 503);
    assert!(String::from_utf8_lossy(&whole(answer).await).contains("-32045"));
}

#[tokio::test]
async fn what_is_not_of_the_protocol_is_refused_and_the_next_request_is_served() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    for (status, code, headers, body) in [
        (403, "-32600", vec![("host", "evil.example")], init.to_owned()),
        (403, "-32600", vec![("origin", "http://evil.example")], init.to_owned()),
        (415, "-32600", vec![("content-type", "text/plain")], init.to_owned()),
        (406, "-32600", vec![("accept", "text/html")], init.to_owned()),
        (400, "-32700", vec![], "{".to_owned()),
        (400, "-32700", vec![], String::new()),
        (400, "-32600", vec![], format!("[{init}]")),
        (400, "-32600", vec![("mcp-protocol-version", "yesterday")], init.to_owned()),
        (413, "-32044", vec![], format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(16 << 20))),
    ] {
        let answer = front.post(&headers, body).await;
        assert_eq!(answer.status(), status, "{headers:?}");
        let told: serde_json::Value = serde_json::from_slice(&whole(answer).await).unwrap();
        assert_eq!(told["error"]["code"].to_string(), code, "{headers:?}");
    }
    assert_eq!(front.post(&[], init).await.status(), 200);
    assert_eq!(memory.said().len(), 1, "nothing of the others was said");
}

fn modern(id: u32, method: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!(r#""name":"{name}","arguments":{{"ms":60000,"n":3}},"#)).unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{name}"_meta":{{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

#[tokio::test]
async fn without_sessions_there_is_but_post_and_the_head_says_what_the_body_does() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let version = ("mcp-protocol-version", "2026-07-28");
    let list = front.post(&[version, ("mcp-method", "tools/list")], modern(1, "tools/list", None)).await;
    assert_eq!(list.status(), 200);
    assert!(list.headers().get("mcp-session-id").is_none());
    assert!(memory.said()[0].session.is_none());
    let wrong = [
        front.post(&[version, ("mcp-method", "tools/call")], modern(2, "tools/list", None)).await,
        front.post(&[version], modern(2, "tools/list", None)).await,
        front.post(&[("mcp-method", "tools/list")], modern(2, "tools/list", None)).await,
        front
            .post(&[version, ("mcp-method", "tools/call"), ("mcp-name", "a")], modern(2, "tools/call", Some("b")))
            .await,
    ];
    for answer in wrong {
        assert_eq!(answer.status(), 400);
        let told: serde_json::Value = serde_json::from_slice(&whole(answer).await).unwrap();
        assert_eq!((&told["error"]["code"], &told["id"]), (&(-32020).into(), &2.into()));
    }
    let none = front.post(&[version, ("mcp-method", "nothing")], modern(3, "nothing", None)).await;
    assert_eq!(none.status(), 404);
    assert_eq!(front.ask("GET", &[version], "").await.status(), 405);
    assert_eq!(front.ask("DELETE", &[version], "").await.status(), 405);
    let headers = [version, ("mcp-method", "tools/call"), ("mcp-name", "count")];
    let mut stream = Stream::of(front.post(&headers, modern(4, "tools/call", Some("count"))).await);
    assert_eq!(stream.next().await.unwrap().0, "", "a stream that cannot be resumed has no ids");
    while stream.next().await.is_some() {}
    until("all is taken", || memory.left().is_empty()).await;
}

#[tokio::test]
async fn without_sessions_whoever_leaves_cancels() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "slow")];
    let mut stream = Stream::of(front.post(&headers, modern(9, "tools/call", Some("slow"))).await);
    assert!(stream.next().await.is_some());
    drop(stream);
    until("it is cancelled", || memory.said().len() == 2).await;
    let said = memory.said();
    assert_eq!((said[1].what, said[1].reply_to), (What::Notice, Some(said[0].id)));
    assert_eq!(json_of(&said[1])["params"]["requestId"], 9);
    assert_eq!(json_of(&said[1])["method"], "notifications/cancelled");
}

/// contracts/call.md section 4, -32041.
#[tokio::test]
async fn what_cannot_be_read_is_told_as_of_unknown_outcome_and_of_a_part_the_request_is_cancelled() {
    let memory = Memory::new(|far, say| {
        if say.what == What::Request {
            far.unread(&say, json_of(&say)["params"]["name"] == "answer");
        }
    });
    let front = front(memory.clone()).await;
    for (name, said_in_all) in [("answer", 1), ("part", 3)] {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", name)];
        let answer = whole(front.post(&headers, modern(9, "tools/call", Some(name))).await).await;
        let told: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((&told["id"], &told["error"]["code"]), (&9.into(), &(-32041).into()), "{told}");
        assert_eq!(told["error"]["data"]["nuncio"]["reason"], "unknown");
        assert_eq!(memory.said().len(), said_in_all);
        until("it is taken", || memory.left().is_empty()).await;
    }
    assert_eq!(json_of(&memory.said()[2])["method"], "notifications/cancelled");
}

#[tokio::test]
async fn an_answer_that_another_program_asked_for_is_left_to_it_for_a_while() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let version = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let own = async || assert_eq!(front.post(&version, modern(1, "tools/list", None)).await.status(), 200);
    own().await;
    until("what its client has is taken", || memory.left().is_empty()).await;
    let other = modern(1, "tools/list", None);
    let (what, message) = (What::Request, Message::json(other));
    let id = nuncio::Agent::new_letter_id().unwrap();
    memory.say(Say { id, what, session: None, reply_to: None, message, note: Vec::new(), under: None }).await.unwrap();
    own().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(memory.left().len(), 1, "it is not the front's");
    tokio::time::pause();
    tokio::time::advance(nuncio_bridge::GRACE_BROKEN).await;
    tokio::time::resume();
    until("nobody has taken it", || memory.left().is_empty()).await;
}

#[tokio::test]
async fn an_answer_s_own_status_is_the_client_s() {
    let memory = Memory::new(|far, say| {
        let gone = Message {
            head: Head::of([(":status", "404")]),
            ..Message::json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#)
        };
        far.answer_with(&say, gone);
    });
    let front = front(memory).await;
    let answer =
        front.post(&[("mcp-session-id", &"ab".repeat(16))], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_nobody_and_loses_nothing() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let headers = [("mcp-session-id", session.as_str())];
    let mut lazy = Stream::of(front.post(&headers, call(1, "count", r#"{"n":20000}"#)).await);
    for id in 2..20 {
        let answer = whole(front.post(&headers, call(id, "echo", r#"{"text":"hi"}"#)).await).await;
        assert!(String::from_utf8_lossy(&answer).contains("hi"));
    }
    for done in 1..=20_000 {
        let (_, data) = lazy.next().await.unwrap();
        assert!(data.contains(&format!("\"progress\":{done},")), "{data}, not {done}");
    }
    assert!(lazy.next().await.unwrap().1.contains("counted"));
}

#[tokio::test]
async fn a_thousand_requests_of_one_session_are_under_way_at_once() {
    let memory = server::line();
    let front = front(memory.clone()).await;
    let session = front.session(V25).await;
    let asks = (1..=1000).map(|id| {
        let headers = [("mcp-session-id", session.as_str())];
        let (front, body) = (&front, call(id, "slow", r#"{"ms":700}"#));
        async move {
            let mut stream = Stream::of(front.post(&headers, body).await);
            let mut last = String::new();
            while let Some((_, data)) = stream.next().await {
                last = data;
            }
            assert!(last.contains("awake") && last.contains(&format!("\"id\":{id},")), "{id}: {last}");
        }
    });
    let mut all: Vec<_> = asks.map(Box::pin).collect();
    futures_join(&mut all).await;
    assert_eq!(memory.said().len(), 1001);
}

async fn futures_join<F: Future<Output = ()> + Unpin>(all: &mut Vec<F>) {
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| std::pin::Pin::new(one).poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
