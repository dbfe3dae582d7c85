//! A program and a service, with two agents and their letters between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "memory/end.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod end;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use end::{End, acquaint};
use nuncio::{Agent, AgentId, CallNews, CallSessionId, Config, LetterId, Trace, What};
use nuncio_bridge::{AgentLine, Body, Heard, HeardWhat, Line, Message, Say, allow, expose};
use nuncio_proto::rows;
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[path = "two_agents/permits.rs"]
mod permits;
#[path = "two_agents/removed.rs"]
mod removed;

const SESSION: CallSessionId = CallSessionId::from_bytes([3; 16]);
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/tests/server.py");

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

struct Two {
    dir: tempfile::TempDir,
    near: End,
    far: End,
}

impl Two {
    async fn new(scopes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (near, far) = (dir.path().join("near"), dir.path().join("far"));
        std::fs::create_dir(&far).unwrap();
        let service = "files".parse().unwrap();
        expose(&far, &service, &["python3".to_owned(), SERVER.to_owned()]).unwrap();
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        allow(&far, &service, "near", &scopes).unwrap();
        let two = Self { near: End::open(&near).await, far: End::open(&far).await, dir };
        two.acquaint().await;
        two
    }

    async fn acquaint(&self) {
        acquaint(&self.near, &self.far).await;
    }

    fn line(&self) -> AgentLine {
        self.near.bridge.line(self.far.agent.id(), "files".parse().unwrap())
    }

    async fn restart_far(self) -> Self {
        self.far.stop().await;
        let far = End::open(&self.dir.path().join("far")).await;
        let two = Self { far, ..self };
        two.acquaint().await;
        two
    }
}

async fn say(line: &AgentLine, what: What, body: &Value) -> LetterId {
    let id = Agent::new_letter_id().unwrap();
    say_as(line, id, what, body).await;
    id
}

async fn say_as(line: &AgentLine, id: LetterId, what: What, body: &Value) {
    let message = Message::json(if body.is_null() { String::new() } else { body.to_string() });
    let say = Say { id, what, session: Some(SESSION), reply_to: None, message, note: Vec::new(), under: None };
    within(line.say(say)).await.unwrap();
}

fn read(message: &Message) -> Value {
    serde_json::from_reader(message.body.reader().unwrap()).unwrap()
}

/// The answer to a request, and what came before it.
async fn answer(line: &AgentLine, heard: &mut mpsc::Receiver<Heard>, asked: LetterId) -> (Vec<Value>, Value) {
    let mut before = Vec::new();
    loop {
        let Heard { no, what, .. } = within(heard.recv()).await.unwrap();
        line.taken(no).await.unwrap();
        match what {
            HeardWhat::Answer(request, message) if request == asked => return (before, read(&message)),
            HeardWhat::Part(_, message) | HeardWhat::Aside(message) => before.push(read(&message)),
            other => panic!("{other:?}"),
        }
    }
}

fn call(id: u64, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

async fn initialize(line: &AgentLine, heard: &mut mpsc::Receiver<Heard>) -> Value {
    let params =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let asked =
        say(line, What::Request, &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })).await;
    let (_, answer) = answer(line, heard, asked).await;
    say(line, What::Notice, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_from_its_beginning_to_its_end() {
    let two = Two::new(&["tools.read", "tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    assert!(initialize(&line, &mut heard).await["result"].is_object());
    let asked = say(&line, What::Request, &call(1, "echo", json!({ "a": ["ä", 1.50] }))).await;
    assert_eq!(answer(&line, &mut heard, asked).await.1["result"], json!({ "a": ["ä", 1.5] }));
    let asked = say(&line, What::Request, &call(2, "progress", json!(null))).await;
    let (parts, last) = answer(&line, &mut heard, asked).await;
    assert_eq!((parts.len(), &last["result"]), (2, &json!("done")));
    assert_eq!(parts[1]["params"]["progress"], 2);
    say(&line, What::End, &Value::Null).await;
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_never_reaches_the_service_and_the_session_lives_on() {
    let two = Two::new(&["tools.write:seen"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let asked = say(&line, What::Request, &call(1, "echo", json!(null))).await;
    let (_, denied) = answer(&line, &mut heard, asked).await;
    assert_eq!((&denied["id"], &denied["error"]["code"]), (&json!(1), &json!(-32040)));
    assert_eq!(denied["error"]["data"]["nuncio"], json!({ "reason": "denied", "needs": "tools.write" }));
    let asked = say(&line, What::Request, &call(2, "seen", json!(null))).await;
    let (_, seen) = answer(&line, &mut heard, asked).await;
    assert!(!seen["result"].to_string().contains("echo"), "{seen}");
    // Of a service that is not there nothing else is told.
    let other = two.near.bridge.line(two.far.agent.id(), "other".parse().unwrap());
    let session = CallSessionId::from_bytes([4; 16]);
    let mut from_other = other.listen(Some(session), None).await.unwrap();
    let (asked, message) = (Agent::new_letter_id().unwrap(), Message::json(call(3, "seen", json!(null)).to_string()));
    let (session, what) = (Some(session), What::Request);
    let say = Say { id: asked, what, session, reply_to: None, message, note: Vec::new(), under: None };
    within(other.say(say)).await.unwrap();
    let (_, denied) = answer(&other, &mut from_other, asked).await;
    assert_eq!(denied["error"]["data"]["nuncio"], json!({ "reason": "denied", "needs": "service.use" }));
    two.near.stop().await;
    two.far.stop().await;
}

// contracts/call.md X10.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_begun_as_it_comes_and_what_is_not_never_is() {
    let two = Two::new(&["tools.write:echo"]).await;
    two.far.stop().await;
    let (begun, with_letter) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, count_with) = (Arc::clone(&begun), Arc::clone(&with_letter));
    let trace = Trace::new(move |ops| {
        let put = |tree: &[u8]| {
            ops.iter().any(|op| matches!(op, nuncio_proto::step::Op::Put { key, .. } if key.starts_with(tree)))
        };
        if put(&[rows::RUNTIME, b'B']) {
            count.fetch_add(1, SeqCst);
            count_with.fetch_add(usize::from(put(&[rows::INBOX])), SeqCst);
        }
    });
    let traced = |mut config: Config| {
        config.trace = Some(trace);
        config
    };
    let two = Two { far: End::open_as(&two.dir.path().join("far"), traced).await, ..two };
    two.acquaint().await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    for id in 1..=3 {
        let asked = say(&line, What::Request, &call(id, "echo", json!(id))).await;
        assert_eq!(answer(&line, &mut heard, asked).await.1["result"], id);
    }
    // The first may have come behind the notice, which was not handed over yet.
    assert!(begun.load(SeqCst) == 4 && with_letter.load(SeqCst) >= 3, "{begun:?}, {with_letter:?}");
    let asked = say(&line, What::Request, &call(4, "seen", json!(null))).await;
    assert_eq!(answer(&line, &mut heard, asked).await.1["error"]["code"], -32040);
    assert_eq!(begun.load(SeqCst), 4);
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_in_a_call_leaves_its_outcome_unknown_and_comes_back() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let asked = say(&line, What::Request, &call(1, "die", json!(null))).await;
    let (_, gone) = answer(&line, &mut heard, asked).await;
    assert_eq!((&gone["id"], &gone["error"]["code"]), (&json!(1), &json!(-32043)), "{gone}");
    let asked = say(&line, What::Request, &call(2, "echo", json!("again"))).await;
    assert_eq!(answer(&line, &mut heard, asked).await.1["result"], "again");
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_in_a_call_tells_that_nobody_knows_and_the_session_goes_on() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let held = say(&line, What::Request, &call(1, "hold", json!(null))).await;
    let asked = say(&line, What::Request, &call(2, "echo", json!("there"))).await;
    assert_eq!(answer(&line, &mut heard, asked).await.1["result"], "there");
    let two = two.restart_far().await;
    let (_, unknown) = answer(&line, &mut heard, held).await;
    assert_eq!(unknown["id"], 1);
    assert!([-32041, -32043].contains(&unknown["error"]["code"].as_i64().unwrap()), "{unknown}");
    // The same request again is the same request: it has its answer.
    say_as(&line, held, What::Request, &call(1, "hold", json!(null))).await;
    let asked = say(&line, What::Request, &call(3, "seen", json!(null))).await;
    let seen = answer(&line, &mut heard, asked).await.1["result"].to_string();
    assert!(seen.contains("initialize") && !seen.contains("hold"), "begun anew, and not with what was begun: {seen}");
    two.near.stop().await;
    two.far.stop().await;
}

// contracts/call.md X11.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_begun_before_a_start_is_of_unknown_outcome_and_not_handed_over_again() {
    let Two { near, far, dir } = Two::new(&["tools.write"]).await;
    let line = near.bridge.line(far.agent.id(), "files".parse().unwrap());
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    // Nothing serves there, as if it had been killed between the commit and the service.
    far.bridge.stop().await;
    let mut calls = far.agent.calls().await.unwrap();
    let begun = say(&line, What::Request, &call(1, "echo", json!("once"))).await;
    loop {
        let CallNews::Came(came) = within(calls.next()).await.unwrap() else { continue };
        if came.letter.id == begun {
            assert!(far.agent.begin_call(came.letter.no, "tools/call").await.unwrap());
            break;
        }
    }
    far.agent.shutdown().await.unwrap();
    let two = Two { far: End::open(&dir.path().join("far")).await, near, dir };
    two.acquaint().await;
    let (_, unknown) = answer(&line, &mut heard, begun).await;
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(1), &json!(-32041)), "{unknown}");
    let asked = say(&line, What::Request, &call(2, "seen", json!(null))).await;
    let seen = answer(&line, &mut heard, asked).await.1["result"].to_string();
    assert!(!seen.contains("once"), "{seen}");
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_goes_with_its_service() {
    let two = Two::new(&["tools.read"]).await;
    let (far, day) = (&two.far.agent, Duration::from_secs(86_400));
    let (service, scope): (nuncio::ServiceName, _) =
        ("files".parse().unwrap(), nuncio::Scope::parse("tools.read").unwrap());
    far.invite_for(Some(service.clone()), scope.clone(), day, 1).await.unwrap();
    far.invite_for(None, scope, day, 1).await.unwrap();
    two.far.bridge.reload().await.unwrap();
    assert_eq!(far.lines().await.unwrap().len(), 2);
    nuncio_bridge::withdraw(&two.dir.path().join("far"), &service).unwrap();
    two.far.bridge.reload().await.unwrap();
    assert_eq!(far.lines().await.unwrap().iter().map(|line| &line.meant.service).collect::<Vec<_>>(), [&None]);
    two.near.stop().await;
    two.far.stop().await;
}

// contracts/call.md section 4, -32041.
#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_is_told_once_there_is_room() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let away = End::open(&two.dir.path().join("away")).await;
    let (to, far) = (away.agent.id(), &two.far.agent);
    far.add_peer(&away.agent.invitation().await.unwrap(), None).await.unwrap();
    away.stop().await;
    // An outbox that is full of letters to one that is away.
    let mut waiting = Vec::new();
    for len in [40_000, 1] {
        let letter = || nuncio::Message::bytes(nuncio::ContentType::JSON, vec![b' '; len]);
        while let Ok(id) = far.send(to, letter()).await {
            waiting.push(id);
        }
    }
    let asked = say(&line, What::Request, &call(1, "echo", json!("there"))).await;
    assert!(tokio::time::timeout(Duration::from_secs(2), heard.recv()).await.is_err());
    for id in waiting.drain(..waiting.len() / 4) {
        far.cancel(to, id).await.unwrap();
    }
    let (_, unknown) = answer(&line, &mut heard, asked).await;
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(1), &json!(-32041)), "{unknown}");
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_pass() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let long = "x".repeat(1_000_000);
    let asked = say(&line, What::Request, &call(1, "echo", json!(long))).await;
    let Heard { what, .. } = within(heard.recv()).await.unwrap();
    let HeardWhat::Answer(request, message) = what else { panic!("{what:?}") };
    assert!(request == asked && matches!(message.body, Body::Large(_)));
    assert_eq!(read(&message)["result"], json!(long));
    two.near.stop().await;
    two.far.stop().await;
}

// contracts/local-api.md A16.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_for_one_service_is_not_taken_by_whoever_has_the_line_of_another() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    let asked = say(&line, What::Request, &call(1, "echo", json!(7))).await;
    let Heard { no, what: HeardWhat::Answer(request, _), .. } = within(heard.recv()).await.unwrap() else { panic!() };
    assert_eq!(request, asked);
    let other = two.near.bridge.line(two.far.agent.id(), "other".parse().unwrap());
    other.taken(no).await.unwrap();
    assert!(two.near.agent.call(no).await.unwrap().is_some());
    line.taken(no).await.unwrap();
    assert!(two.near.agent.call(no).await.unwrap().is_none());
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_served_nothing() {
    let two = Two::new(&["tools.write"]).await;
    let far: AgentId = two.far.agent.id();
    two.far.agent.remove_peer(two.near.agent.id()).await.unwrap();
    let line = two.near.bridge.line(far, "files".parse().unwrap());
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    say(&line, What::Request, &call(1, "echo", json!(null))).await;
    assert!(tokio::time::timeout(Duration::from_secs(2), heard.recv()).await.is_err());
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_lets_in_for_what_it_means_and_what_runs_goes_on() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let guest = End::open(&two.dir.path().join("guest")).await;
    let service: nuncio::ServiceName = "files".parse().unwrap();
    let scope = nuncio::Scope::parse("tools.write:echo").unwrap();
    let day = Duration::from_secs(86_400);
    let invitation = two.far.agent.invite_for(Some(service.clone()), scope, day, 1).await.unwrap();
    let to = guest.agent.knock(&invitation, None, Some(service.clone()), nuncio::Scope::default(), None).await.unwrap();
    let its = guest.bridge.line(to, service);
    let mut to_guest = its.listen(Some(SESSION), None).await.unwrap();
    let asked = say(&its, What::Request, &call(1, "echo", json!("in"))).await;
    assert_eq!(answer(&its, &mut to_guest, asked).await.1["result"], "in");
    let asked = say(&its, What::Request, &call(2, "seen", json!(null))).await;
    assert_eq!(answer(&its, &mut to_guest, asked).await.1["error"]["code"], -32040);
    // Whoever was there goes on in the same program, which has seen its beginning once.
    let asked = say(&line, What::Request, &call(1, "seen", json!(null))).await;
    let seen = answer(&line, &mut heard, asked).await.1["result"].to_string();
    assert_eq!(seen.matches("notifications/initialized").count(), 1, "{seen}");
    for end in [guest, two.near, two.far] {
        end.stop().await;
    }
}

// contracts/call.md X5: the policy and the service read one message.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_another_charset_goes_to_no_service() {
    let two = Two::new(&["tools.read", "tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    let id = Agent::new_letter_id().unwrap();
    let mut message = Message::json(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string());
    message.content_type = "application/json; charset=utf-7".parse().unwrap();
    let say =
        Say { id, what: What::Request, session: Some(SESSION), reply_to: None, message, note: Vec::new(), under: None };
    within(line.say(say)).await.unwrap();
    let (_, said) = answer(&line, &mut heard, id).await;
    assert_eq!((&said["id"], &said["error"]["code"]), (&json!(1), &json!(-32600)));
}

// contracts/call.md X8, X10: what acts is a request, of which the agent keeps a trace.
#[tokio::test(flavor = "multi_thread")]
async fn no_tool_is_called_by_a_notice() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    // One that needs no id of it: a tool that answers would end its program.
    say(&line, What::Notice, &json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "hold"}})).await;
    let long = "x".repeat(1_000_000);
    say(&line, What::Notice, &json!({"jsonrpc": "2.0", "method": "notifications/long", "params": {"x": long}})).await;
    let asked = say(&line, What::Request, &call(1, "seen", json!(null))).await;
    let seen = answer(&line, &mut heard, asked).await.1["result"].to_string();
    assert!(seen.contains("notifications/long") && seen.matches("tools/call").count() == 1, "{seen}");
}

// What one program had begun is lost with it; what runs in another of the same peer is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dies_takes_no_request_of_another_with_it() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(None, None).await.unwrap();
    let ask = async |id: u64, tool: &str, arguments| {
        let (asked, message) = (Agent::new_letter_id().unwrap(), Message::json(call(id, tool, arguments).to_string()));
        let say = Say {
            id: asked,
            what: What::Request,
            session: None,
            reply_to: None,
            message,
            note: Vec::new(),
            under: None,
        };
        within(line.say(say)).await.unwrap();
        asked
    };
    // Of one id, so that each has a program of its own.
    let held = ask(1, "hold", json!(null)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let dead = ask(1, "die", json!(null)).await;
    assert_eq!(answer(&line, &mut heard, dead).await.1["error"]["code"], -32043);
    let none = tokio::time::timeout(Duration::from_secs(1), heard.recv()).await;
    assert!(none.is_err(), "{held:?} is answered: {none:?}");
}

// Who cancels gets no answer of most services: the request is not open for ever, and its id is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_cancelled_is_given_up_after_a_while() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(Some(SESSION), None).await.unwrap();
    initialize(&line, &mut heard).await;
    let held = say(&line, What::Request, &call(1, "hold", json!(null))).await;
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    say(&line, What::Notice, &cancelled).await;
    let (_, unknown) = answer(&line, &mut heard, held).await;
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(1), &json!(-32041)), "{unknown}");
    let asked = say(&line, What::Request, &call(1, "echo", json!("again"))).await;
    assert_eq!(answer(&line, &mut heard, asked).await.1["result"], "again");
}
