//! An unmodified client, two agents, and tools that only read: asked without letters (contracts/query.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/end.rs"]
mod end;

use std::future::Future;
use std::time::Duration;

use client::{Running, Stream, front, whole};
use end::{End, acquaint};
use nuncio::Config;
use nuncio_bridge::{AgentLine, allow, expose};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/tests/server.py");
const V25: &str = "2025-11-25";

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

struct Two {
    dir: tempfile::TempDir,
    near: End,
    far: End,
    front: Running,
    session: String,
}

/// What the service's owner says reads.
const READ: [&str; 8] = ["echo", "raw", "seen", "who", "progress", "note", "hold", "big"];

impl Two {
    async fn new(alter: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (near, far) = (dir.path().join("near"), dir.path().join("far"));
        std::fs::create_dir(&far).unwrap();
        let service = "files".parse().unwrap();
        expose(&far, &service, &["python3".to_owned(), SERVER.to_owned()]).unwrap();
        allow(&far, &service, "near", &["tools.read".to_owned(), "tools.write".to_owned()]).unwrap();
        let file = far.join(nuncio_bridge::SERVICES_FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let read = format!("[services.files]\nread = {}\n", json!(READ));
        let text = text.replacen("[services.files]\n", &read, 1);
        assert!(text.contains("\nread = ["), "{text}");
        std::fs::write(&file, text).unwrap();
        let (near, far) = (End::open(&near).await, End::open_as(&far, alter).await);
        acquaint(&near, &far).await;
        let line: AgentLine = near.bridge.line(far.agent.id(), service);
        let front = front(line).await;
        let session = front.session(V25).await;
        let two = Self { dir, near, far, front, session };
        two.quiet().await;
        two
    }

    /// Until no letter is under way, nor anything kept.
    async fn quiet(&self) {
        within(async {
            let mut last = (0, 0);
            loop {
                tokio::time::sleep(Duration::from_millis(400)).await;
                let (near, far) = (&self.near.agent, &self.far.agent);
                let waiting = near.status().await.unwrap().outbox + far.status().await.unwrap().outbox;
                let now = self.commits().await;
                if waiting == 0 && now == last {
                    return;
                }
                last = now;
            }
        })
        .await;
    }

    async fn commits(&self) -> (u64, u64) {
        let of = async |end: &End| end.agent.status().await.unwrap().commits.0;
        (of(&self.near).await, of(&self.far).await)
    }

    async fn post(&self, body: &str) -> axum::http::Response<axum::body::Body> {
        let headers = [("mcp-session-id", self.session.as_str()), ("mcp-protocol-version", V25)];
        within(self.front.post(&headers, body.to_owned())).await
    }

    /// A call's answer, which comes alone.
    async fn call(&self, id: u64, tool: &str, arguments: Value) -> Value {
        serde_json::from_slice(&whole(self.post(&call(id, tool, arguments)).await).await).unwrap()
    }

    /// What the service has been sent.
    async fn seen(&self, id: u64) -> Vec<String> {
        serde_json::from_value(self.call(id, "seen", Value::Null).await["result"].clone()).unwrap()
    }
}

fn call(id: u64, tool: &str, arguments: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

fn as_it_is(config: Config) -> Config {
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_makes_no_commit_and_comes_as_it_is() {
    let two = Two::new(as_it_is).await;
    two.call(1, "echo", json!("opens the stream")).await;
    let before = two.commits().await;
    for id in 2..12 {
        let asked = call(id, "raw", json!({ "b": "ä", "a": [1.50, id] })).replace(":", " :\t");
        let answer: Value = serde_json::from_slice(&whole(two.post(&asked).await).await).unwrap();
        assert_eq!((&answer["id"], answer["result"].as_str().unwrap().trim_end()), (&json!(id), asked.as_str()));
    }
    assert_eq!(two.commits().await, before, "no agent has written anything down");
    // The server writes `{"jsonrpc": "2.0", …`, with its spaces.
    let bytes = whole(two.post(&call(12, "echo", json!([1]))).await).await;
    assert_eq!(bytes, br#"{"jsonrpc": "2.0", "id": 12, "result": [1]}"#.as_slice());
    assert_eq!(two.commits().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_acts_is_never_called_by_a_query() {
    let two = Two::new(as_it_is).await;
    two.call(1, "echo", json!("opens the stream")).await;
    let before = two.commits().await;
    let answer = two.call(2, "chatter", json!(1)).await;
    assert_eq!(answer["result"], "silent", "it is done, once, by a letter");
    two.quiet().await;
    let after = two.commits().await;
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    assert_eq!(two.seen(3).await.iter().filter(|method| *method == "tools/call").count(), 3);
    // Asked straight, past the front's own list.
    let place = nuncio::CallPlace {
        what: nuncio::What::Request,
        service: "files".parse().unwrap(),
        session: Some(nuncio::CallSessionId::from_bytes(bytes_of(&two.session))),
        head: nuncio::Head::default(),
    };
    two.quiet().await;
    for method in ["tools/call", "initialize", "tasks/cancel", "logging/setLevel", "resources/subscribe"] {
        let params = json!({ "name": "chatter", "arguments": 1 });
        let body = json!({ "jsonrpc": "2.0", "id": 99, "method": method, "params": params }).to_string();
        let asked = two.near.agent.query(two.far.agent.id(), &place, nuncio::ContentType::JSON, body.into_bytes());
        assert_eq!(within(asked).await.unwrap(), nuncio::Queried::Letter, "{method}");
    }
    // One that reads, and of which its service makes a task.
    let params = json!({ "name": "echo", "arguments": "a", "task": { "ttl": 1 } });
    let body = json!({ "jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": params }).to_string();
    let asked = two.near.agent.query(two.far.agent.id(), &place, nuncio::ContentType::JSON, body.into_bytes());
    assert_eq!(within(asked).await.unwrap(), nuncio::Queried::Letter, "it would be two");
    let seen = two.seen(4).await;
    assert_eq!(seen.iter().filter(|method| *method == "tools/call").count(), 4, "{seen:?}");
    assert!(
        seen.iter().filter(|method| *method == "initialize").count() == 1 && !seen.contains(&"tasks/cancel".to_owned())
    );
}

fn bytes_of(session: &str) -> [u8; 16] {
    u128::from_str_radix(session, 16).unwrap().to_be_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_or_says_more_than_an_answer_comes_by_letters() {
    let two = Two::new(as_it_is).await;
    two.call(1, "echo", json!("opens the stream")).await;
    // Progress belongs to a stream; what came of it before the letter may be missing.
    let mut stream = Stream::of(two.post(&call(2, "progress", Value::Null)).await);
    let mut said = Vec::new();
    while let Some((_, data)) = stream.next().await {
        said.push(data);
    }
    let many = |word: &str| said.iter().filter(|data| data.contains(word)).count();
    assert!(said.last().unwrap().contains("\"done\"") && many("\"done\"") == 1 && many("progress") <= 2, "{said:?}");
    // An answer that no query holds.
    let big = two.call(3, "big", json!(1)).await;
    assert_eq!(big["result"].as_str().unwrap().len(), 1 << 20);
    // One that is not there in time; its id is free for its letter, and it is answered once.
    let hold = call(4, "hold", Value::Null);
    let held = two.post(&hold);
    let (held, released) = tokio::join!(held, async {
        tokio::time::sleep(Duration::from_millis(3_000)).await;
        two.call(5, "release", Value::Null).await
    });
    assert_eq!(released["result"], "released");
    let (_, data) = Stream::of(held).next().await.unwrap_or_default();
    assert!(data.is_empty() || data.contains("\"id\": 4"), "{data}");
    // Whatever came of those, what only reads is asked as before.
    two.quiet().await;
    let before = two.commits().await;
    assert_eq!(two.call(6, "echo", json!("again")).await["result"], "again");
    assert_eq!(two.commits().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_answers_no_queries_is_asked_by_letters() {
    let two = Two::new(Config::without_queries).await;
    let before = two.commits().await;
    assert_eq!(two.call(1, "echo", json!("by letter")).await["result"], "by letter");
    two.quiet().await;
    let after = two.commits().await;
    assert!(after.0 > before.0 && after.1 > before.1);
}

// What an agent dies over is asked again, and answered as a letter is.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_over_a_query_answers_its_letter_once_it_is_back() {
    let two = Two::new(as_it_is).await;
    two.call(1, "echo", json!("opens the stream")).await;
    let Two { dir, near, far, front, session } = two;
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", V25)];
    let asked = front.post(&headers, call(2, "hold", Value::Null));
    let back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        far.bridge.stop().await;
        far.agent.shutdown().await.unwrap();
        let far = End::open(&dir.path().join("far")).await;
        acquaint(&near, &far).await;
        let released = within(front.post(&headers, call(3, "release", Value::Null))).await;
        (far, released)
    };
    let (answer, (far, _released)) = within(async { tokio::join!(asked, back) }).await;
    let said = match answer.headers()["content-type"].to_str().unwrap() {
        "application/json" => String::from_utf8(whole(answer).await.to_vec()).unwrap(),
        _ => {
            let mut stream = Stream::of(answer);
            loop {
                let (_, data) = within(stream.next()).await.expect("an answer");
                if !data.is_empty() {
                    break data;
                }
            }
        }
    };
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["id"], 2, "{said}");
    drop((near, far));
}

// contracts/local-api.md A25.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_s_input_and_output_are_answered_without_a_commit_and_in_their_form() {
    let two = Two::new(as_it_is).await;
    let socket = two.dir.path().join("api.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let line = two.near.bridge.line(two.far.agent.id(), "files".parse().unwrap());
    let app = axum::Router::new().nest("/base", nuncio_bridge::local::router(line));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (stdout, output) = tokio::io::duplex(1 << 16);
    let remote = nuncio_bridge::shim::Remote::new(socket, "/base".to_owned());
    let stopping = tokio_util::sync::CancellationToken::new();
    let shim = tokio::spawn(nuncio_bridge::shim::run(remote, stdin, stdout, stopping.clone()));
    let mut output = BufReader::new(output).lines();
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} }).to_string();
    let mut ask = async |line: String| {
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        within(output.next_line()).await.unwrap().unwrap()
    };
    assert!(ask(initialize).await.contains("serverInfo"));
    two.quiet().await;
    ask(call(1, "echo", json!("opens the stream"))).await;
    let before = two.commits().await;
    for id in 2..8 {
        let expected = format!(r#"{{"jsonrpc": "2.0", "id": {id}, "result": [{id}, "\u00e4"]}}"#);
        assert_eq!(ask(call(id, "echo", json!([id, "ä"]))).await, expected);
    }
    assert_eq!(two.commits().await, before);
    assert!(ask(call(9, "chatter", json!(1))).await.contains("silent"), "and what acts by a letter");
    assert!(two.commits().await.1 > before.1);
    stopping.cancel();
    within(shim).await.unwrap().unwrap();
}
