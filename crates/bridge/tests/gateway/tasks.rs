//! Tasks of people's own clients of A2A: whose they are, what they become, and what is told of them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::provider::Provider;
use super::scene::{Scene, login, private, within};

const ASK: &str = "/v1/a2a/ask";
const KEY: &str = "sk-of-the-owner-alone";
const TASKS: &str = "[tasks.ask]\nscope = \"chat.complete\"\nmodel = \"small\"\n[tasks.other]\nscope = \"chat.complete\"\nmodel = \"small\"\n";
const STREAM: &str = "text/event-stream";

fn chat(provider: &Provider) -> String {
    let at = provider.at;
    format!(
        "[chat]\nurl = \"http://{at}/v1\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\ntimeout_s = 5\n"
    )
}

fn said(pieces: &[&str], usage: u64) -> String {
    let chunk = |piece: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": piece } }] }));
    let all: String = pieces.iter().map(|piece| chunk(piece)).collect();
    format!("{all}data: {{\"choices\":[],\"usage\":{{\"total_tokens\":{usage}}}}}\n\ndata: [DONE]\n\n")
}

async fn scene(provider: &Provider, more: &str) -> Scene {
    let scene = Scene::new("").await;
    private(&scene.home().join("provider.key"), KEY);
    scene.again(&format!("{more}{TASKS}{}", chat(provider))).await
}

pub(crate) fn message(parts: &Value, configuration: &Value) -> Value {
    json!({ "message": { "messageId": "m1", "role": "ROLE_USER", "parts": parts }, "configuration": configuration })
}

fn text(text: &str) -> Value {
    message(&json!([{ "text": text }]), &json!({}))
}

/// The text of a question that is not waited for.
fn at_once() -> Value {
    message(&json!([{ "text": "?" }]), &json!({ "returnImmediately": true }))
}

pub(crate) fn request(scene: &Scene, path: &str, token: &str, method: &str, params: &Value) -> reqwest::RequestBuilder {
    let body = json!({ "jsonrpc": "2.0", "id": "a-1", "method": method, "params": params });
    scene.post(path, token, body.to_string()).header("a2a-version", "1.0")
}

/// The result, or the error's code.
pub(crate) async fn asked(scene: &Scene, path: &str, token: &str, method: &str, params: Value) -> Result<Value, i64> {
    let response = within(request(scene, path, token, method, &params).send()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let answer: Value = serde_json::from_str(&within(response.text()).await.unwrap()).unwrap();
    assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!("a-1"), &json!("2.0")));
    answer.get("result").cloned().ok_or_else(|| answer["error"]["code"].as_i64().unwrap())
}

async fn json_of(request: reqwest::RequestBuilder) -> Value {
    let text = within(within(request.send()).await.unwrap().text()).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A refusal's status and code.
async fn refused(scene: &Scene, token: &str, method: &str, params: &Value) -> (u16, String) {
    let response = within(request(scene, ASK, token, method, params).send()).await.unwrap();
    let status = response.status().as_u16();
    let told: Value = serde_json::from_str(&within(response.text()).await.unwrap()).unwrap();
    (status, told["error"]["code"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str::<Value>(data).unwrap()["result"].take()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event.as_object().unwrap().keys().next().unwrap().as_str()).collect()
}

async fn streamed(scene: &Scene, token: &str, method: &str, params: &Value) -> reqwest::Response {
    let response = within(request(scene, ASK, token, method, params).send()).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &STREAM.parse().unwrap()));
    response
}

/// Until a task has another state than that it works.
pub(crate) async fn ended(scene: &Scene, path: &str, token: &str, id: &Value) -> Value {
    for _ in 0..200 {
        let task = asked(scene, path, token, "GetTask", json!({ "id": id })).await.unwrap();
        if !matches!(task["status"]["state"].as_str(), Some("TASK_STATE_WORKING" | "TASK_STATE_SUBMITTED")) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not end")
}

/// contracts/gateway.md W31, W32, W37.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_becomes_a_completion_and_its_pieces_come_in_their_order() {
    let provider = Provider::new(200, STREAM, &said(&["bl", "ü", "e"], 12)).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    let task = asked(&scene, ASK, &token, "SendMessage", text("why?")).await.unwrap()["task"].take();
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
    assert_eq!(task["artifacts"][0]["parts"], json!([{ "text": "blüe" }]));
    assert_eq!(task["history"][0]["parts"], json!([{ "text": "why?" }]));
    assert_eq!(task["history"][0]["taskId"], task["id"]);
    let (_, head, body) = provider.seen.lock().unwrap()[0].clone();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["model"], &body["messages"]), (&json!("small"), &json!([{ "role": "user", "content": "why?" }])));
    assert_eq!((&body["max_tokens"], &body["stream_options"]), (&json!(4096), &json!({ "include_usage": true })));
    assert!(head.contains(KEY) && !head.contains(&token), "{head}");

    let stream = streamed(&scene, &token, "SendStreamingMessage", &text("why?")).await;
    let told = events(&within(stream.text()).await.unwrap());
    let order = ["task", "statusUpdate", "artifactUpdate", "artifactUpdate", "artifactUpdate", "statusUpdate"];
    assert_eq!(kinds(&told), order, "{told:?}");
    assert_eq!(told[0]["task"]["status"]["state"], "TASK_STATE_SUBMITTED");
    assert_eq!(told[1]["statusUpdate"]["status"]["state"], "TASK_STATE_WORKING");
    let pieces: String =
        told[2..5].iter().map(|one| one["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(pieces, "blüe");
    assert_eq!(told[5]["statusUpdate"]["status"]["state"], "TASK_STATE_COMPLETED");
    assert_eq!(told[5]["statusUpdate"]["taskId"], told[0]["task"]["id"]);
    let kept = asked(&scene, ASK, &token, "GetTask", json!({ "id": told[0]["task"]["id"], "historyLength": 0 }))
        .await
        .unwrap();
    assert!(kept["artifacts"][0]["parts"][0]["text"] == "blüe" && kept.get("history").is_none());
    scene.stop().await;
}

/// contracts/gateway.md W37.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_ends_no_task_and_one_that_comes_is_told_how_it_stands() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    provider.leave.forget_permits(1_000);
    let mut stream = streamed(&scene, &token, "SendStreamingMessage", &text("why?")).await;
    let first = within(stream.chunk()).await.unwrap().unwrap();
    let id = events(std::str::from_utf8(&first).unwrap())[0]["task"]["id"].clone();
    drop(stream);
    let now = asked(&scene, ASK, &token, "SendMessage", at_once()).await.unwrap();
    assert!(now["task"]["status"]["state"] != "TASK_STATE_COMPLETED", "{now}");
    let again = streamed(&scene, &token, "SubscribeToTask", &json!({ "id": id })).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    provider.leave.add_permits(10);
    let told = events(&within(again.text()).await.unwrap());
    assert_eq!(kinds(&told), ["task", "artifactUpdate", "statusUpdate"], "{told:?}");
    assert_eq!(told[0]["task"]["status"]["state"], "TASK_STATE_WORKING");
    assert_eq!(ended(&scene, ASK, &token, &now["task"]["id"]).await["artifacts"][0]["parts"][0]["text"], "blue");
    assert_eq!(asked(&scene, ASK, &token, "SubscribeToTask", json!({ "id": id })).await, Err(-32004), "it has ended");
    scene.stop().await;
}

/// contracts/gateway.md W37.
#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_a_task_listens_as_long_as_the_token_lives() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    provider.leave.forget_permits(1_000);
    let task = asked(&scene, ASK, &login(&json!({})), "SendMessage", at_once()).await.unwrap();
    let short = login(&json!({ "exp": now + 3 }));
    let listening = streamed(&scene, &short, "SubscribeToTask", &json!({ "id": task["task"]["id"] })).await;
    let told = tokio::time::timeout(Duration::from_secs(4), listening.text()).await;
    assert_eq!(kinds(&events(&told.expect("it has ended").unwrap()))[0], "task");
    provider.leave.add_permits(10);
    scene.stop().await;
}

/// contracts/gateway.md W35.
#[tokio::test(flavor = "multi_thread")]
async fn another_s_task_is_as_one_that_never_was() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let (anna, ben) = (login(&json!({})), login(&json!({ "sub": "ben" })));
    let done = asked(&scene, ASK, &anna, "SendMessage", text("why?")).await.unwrap()["task"]["id"].take();
    provider.leave.forget_permits(1_000);
    let works = asked(&scene, ASK, &anna, "SendMessage", at_once()).await.unwrap()["task"]["id"].take();
    for (path, token) in [(ASK, &ben), ("/v1/a2a/other", &anna)] {
        for id in [&done, &works, &json!("00000000-0000-4000-8000-000000000000"), &json!("x")] {
            for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
                assert_eq!(asked(&scene, path, token, method, json!({ "id": id })).await, Err(-32001), "{method}");
            }
            let mut more = text("more");
            more["message"]["taskId"] = id.clone();
            assert_eq!(asked(&scene, path, token, "SendMessage", more).await, Err(-32001));
        }
        let listed = asked(&scene, path, token, "ListTasks", json!({})).await.unwrap();
        assert_eq!(listed, json!({ "tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0 }));
    }
    assert_eq!(provider.asked(), 2, "and nothing was done for it");
    let mut more = text("more");
    more["message"]["taskId"] = works.clone();
    assert_eq!(asked(&scene, ASK, &anna, "SendMessage", more.clone()).await, Err(-32004));
    more["message"]["contextId"] = json!("of another");
    assert_eq!(asked(&scene, ASK, &anna, "SendMessage", more).await, Err(-32602));

    let listed = asked(&scene, ASK, &anna, "ListTasks", json!({ "pageSize": 1 })).await.unwrap();
    assert_eq!((&listed["tasks"][0]["id"], &listed["totalSize"]), (&works, &json!(2)), "the newest first");
    assert!(listed["tasks"][0].get("artifacts").is_none());
    let next = json!({ "pageToken": listed["nextPageToken"], "includeArtifacts": true });
    let listed = asked(&scene, ASK, &anna, "ListTasks", next).await.unwrap();
    assert_eq!((&listed["tasks"][0]["id"], &listed["nextPageToken"]), (&done, &json!("")));
    assert_eq!(listed["tasks"][0]["artifacts"][0]["parts"][0]["text"], "blue");
    let working = asked(&scene, ASK, &anna, "ListTasks", json!({ "status": "TASK_STATE_WORKING" })).await.unwrap();
    assert_eq!((working["tasks"].as_array().unwrap().len(), &working["tasks"][0]["id"]), (1, &works));
    provider.leave.add_permits(10);
    scene.stop().await;
}

/// contracts/gateway.md W38, W15.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_ends_at_the_provider_and_has_used_what_was_reserved() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let budget = "[budget.tokens]\nmode = \"hard\"\nlimit = 5000\nper = \"day\"\n";
    let scene = scene(&provider, budget).await;
    let token = login(&json!({}));
    provider.leave.forget_permits(1_000);
    let id = asked(&scene, ASK, &token, "SendMessage", at_once()).await.unwrap()["task"]["id"].take();
    let listening = streamed(&scene, &token, "SubscribeToTask", &json!({ "id": id })).await;
    let task = asked(&scene, ASK, &token, "CancelTask", json!({ "id": id })).await.unwrap();
    assert_eq!(task["status"]["state"], "TASK_STATE_CANCELED");
    let told = events(&within(listening.text()).await.unwrap());
    assert_eq!(told.last().unwrap()["statusUpdate"]["status"]["state"], "TASK_STATE_CANCELED");
    assert_eq!(asked(&scene, ASK, &token, "CancelTask", json!({ "id": id })).await, Err(-32002));
    provider.leave.add_permits(10);
    assert_eq!(
        refused(&scene, &token, "SendMessage", &text("?")).await,
        (429, "budget".to_owned()),
        "4096 of 5000 are used"
    );
    let kept = asked(&scene, ASK, &token, "GetTask", json!({ "id": id })).await.unwrap();
    assert_eq!(kept["status"]["state"], "TASK_STATE_CANCELED");
    scene.stop().await;
}

/// contracts/gateway.md W11, W32.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_no_task() {
    let scene = Scene::new(TASKS).await;
    let token = login(&json!({}));
    for method in ["SendMessage", "SendStreamingMessage"] {
        assert_eq!(refused(&scene, &token, method, &text("why?")).await, (503, "no_provider".to_owned()));
    }
    let listed = asked(&scene, ASK, &token, "ListTasks", json!({})).await.unwrap();
    assert_eq!(listed["totalSize"], 0);
    scene.stop().await;
}

/// contracts/gateway.md W39.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_is_refused_for_counts_as_a_request() {
    let budget = "[budget.requests]\nmode = \"hard\"\nlimit = 1\nper = \"day\"\n";
    let scene = Scene::new(&format!("{budget}{TASKS}")).await;
    let many = message(&json!([{ "text": "?" }]), &json!({ "x": vec![json!({}); 1_000] }));
    for (sub, params, first) in [("anna", text("?"), (503, "no_provider")), ("ben", many, (413, "too_large"))] {
        let token = login(&json!({ "sub": sub }));
        assert_eq!(refused(&scene, &token, "SendMessage", &params).await, (first.0, first.1.to_owned()));
        assert_eq!(refused(&scene, &token, "SendMessage", &params).await, (429, "budget".to_owned()), "{sub}");
    }
    scene.stop().await;
}

/// contracts/gateway.md W41: before anything is begun, as a client would ask again.
#[tokio::test(flavor = "multi_thread")]
async fn answers_of_tasks_are_memory_of_their_person() {
    let provider = Provider::new(200, STREAM, &said(&[&"x".repeat(8 << 10)], 12)).await;
    let letters = "[agents.planner]\nletters = \"travel.plan\"\n";
    let scene = scene(&provider, letters).await;
    let (anna, ben) = (login(&json!({})), login(&json!({ "sub": "ben" })));
    let id = asked(&scene, ASK, &anna, "SendMessage", text("?")).await.unwrap()["task"]["id"].take();
    // Two bodies that do not end: of 32 MiB four KiB are left.
    let sending: Vec<_> = (0..2)
        .map(|_| {
            let pieces = (0..(16 << 20) / 2_048 - 1).map(|_| Bytes::from_static(&[b' '; 2_048]));
            let pieces = tokio_stream::iter(pieces).chain(tokio_stream::pending());
            let body = StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
            tokio::spawn(scene.post("/v1/agents/planner/letters", &anna, reqwest::Body::wrap(body)).send())
        })
        .collect();
    let get = json!({ "id": id });
    within(async {
        while request(&scene, ASK, &anna, "GetTask", &get).send().await.unwrap().status() == 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for (method, params) in [("GetTask", &get), ("SendMessage", &text("?"))] {
        assert_eq!(refused(&scene, &anna, method, params).await, (429, "too_many".to_owned()), "{method}");
    }
    assert_eq!(provider.asked(), 1, "nothing is begun");
    asked(&scene, ASK, &ben, "SendMessage", text("?")).await.unwrap();
    sending.iter().for_each(tokio::task::JoinHandle::abort);
    scene.stop().await;
}

/// contracts/gateway.md W13, W39.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_counts_as_a_request_and_whoever_is_over_can_still_end_it() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let budget = "[budget.requests]\nmode = \"hard\"\nlimit = 2\nper = \"day\"\n";
    let scene = scene(&provider, budget).await;
    let token = login(&json!({}));
    provider.leave.forget_permits(1_000);
    let id = asked(&scene, ASK, &token, "SendMessage", at_once()).await.unwrap()["task"]["id"].take();
    asked(&scene, ASK, &token, "GetTask", json!({ "id": id })).await.unwrap();
    for (method, params) in [("SendMessage", text("?")), ("GetTask", json!({ "id": id })), ("ListTasks", json!({}))] {
        assert_eq!(refused(&scene, &token, method, &params).await, (429, "budget".to_owned()), "{method}");
    }
    assert_eq!(provider.asked(), 1);
    asked(&scene, ASK, &token, "CancelTask", json!({ "id": id })).await.unwrap();
    scene.stop().await;
}

/// contracts/gateway.md W10, W15, W32.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_bring_to_its_end_has_failed_and_none_of_its_words_are_told() {
    let provider = Provider::new(200, STREAM, "").await;
    let budget = "[budget.tokens]\nmode = \"hard\"\nlimit = 10000\nper = \"day\"\n";
    let scene = scene(&provider, budget).await;
    let token = login(&json!({}));
    let words = format!("{{\"error\":{{\"message\":\"bad key {KEY}\"}}}}");
    // What was refused used nothing, so that there is room for all of these.
    for status in [401, 403, 429, 500, 302] {
        provider.says(status, "application/json", &words);
        let task = asked(&scene, ASK, &token, "SendMessage", text("?")).await.unwrap();
        assert_eq!(task["task"]["status"]["state"], "TASK_STATE_FAILED", "{status}");
        assert!(!task.to_string().contains("bad key"), "{task}");
        // What is about the key, or the address, is the owner's to know.
        let told = task["task"]["status"]["message"]["parts"][0]["text"].as_str().unwrap();
        assert_eq!(told.contains(&status.to_string()), matches!(status, 429 | 500), "{told}");
    }
    let whole = said(&["bl", "ue"], 12);
    let broken = whole.split("data: {\"choices\":[],").next().unwrap().to_owned();
    provider.says(200, STREAM, &broken);
    let task = asked(&scene, ASK, &token, "SendMessage", text("?")).await.unwrap();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_FAILED", "{task}");
    assert_eq!(task["task"]["artifacts"][0]["parts"][0]["text"], "blue", "what came is there");
    provider.says(200, STREAM, &whole);
    assert!(asked(&scene, ASK, &token, "SendMessage", text("?")).await.is_ok());
    assert!(asked(&scene, ASK, &token, "SendMessage", text("?")).await.is_ok(), "that used 12");
    provider.says(200, STREAM, &broken);
    assert!(asked(&scene, ASK, &token, "SendMessage", text("?")).await.is_ok());
    let over = refused(&scene, &token, "SendMessage", &text("?")).await;
    assert_eq!(over, (429, "budget".to_owned()), "what broke off has used what was reserved");
    scene.stop().await;
}

/// contracts/gateway.md W36.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_person_so_many_tasks_work_and_an_answer_has_an_end() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let (token, most) = (login(&json!({})), 8);
    provider.leave.forget_permits(1_000);
    for _ in 0..most {
        asked(&scene, ASK, &token, "SendMessage", at_once()).await.unwrap();
    }
    assert_eq!(refused(&scene, &token, "SendMessage", &text("?")).await, (503, "busy".to_owned()));
    let other = login(&json!({ "sub": "ben" }));
    let id = asked(&scene, ASK, &other, "SendMessage", at_once()).await.unwrap()["task"]["id"].take();
    provider.leave.add_permits(1_000);
    ended(&scene, ASK, &other, &id).await;
    let long = "x".repeat(600 << 10);
    provider.says(200, STREAM, &said(&[&long, &long], 12));
    let task = asked(&scene, ASK, &other, "SendMessage", text("?")).await.unwrap();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_FAILED");
    assert_eq!(task["task"]["artifacts"][0]["parts"][0]["text"], long.as_str());
    assert_eq!(refused(&scene, &other, "SendMessage", &text(&long)).await, (413, "too_large".to_owned()));
    scene.stop().await;
}

/// contracts/gateway.md W34.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_there_after_a_start_and_its_end_not_made_up() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    let done = asked(&scene, ASK, &token, "SendMessage", text("?")).await.unwrap()["task"].take();
    provider.leave.forget_permits(1_000);
    let works = asked(&scene, ASK, &token, "SendMessage", at_once()).await.unwrap()["task"]["id"].take();
    let file = format!("{TASKS}{}", chat(&provider));
    let scene = within(scene.again(&file)).await;
    provider.leave.add_permits(10);
    assert_eq!(asked(&scene, ASK, &token, "GetTask", json!({ "id": done["id"] })).await, Ok(done));
    let failed = asked(&scene, ASK, &token, "GetTask", json!({ "id": works })).await.unwrap();
    assert_eq!(failed["status"]["state"], "TASK_STATE_FAILED");
    let words = failed["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(words.contains("not known"), "{words}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(provider.asked(), 2, "it is not done again");
    scene.stop().await;
}

/// contracts/gateway.md W30, W31.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_begins_nothing() {
    let provider = Provider::new(200, STREAM, &said(&["blue"], 12)).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    for (params, code) in [
        (json!({}), -32602),
        (message(&json!([]), &json!({})), -32602),
        (message(&json!([{ "data": {} }]), &json!({})), -32005),
        (message(&json!([{ "url": "file:///etc/passwd" }]), &json!({})), -32005),
        (
            message(
                &json!([{ "text": "?" }]),
                &json!({ "taskPushNotificationConfig": { "url": "https://a.example" } }),
            ),
            -32003,
        ),
    ] {
        assert_eq!(asked(&scene, ASK, &token, "SendMessage", params.clone()).await, Err(code), "{params}");
    }
    for (method, code) in [
        ("message/send", -32601),
        ("CreateTaskPushNotificationConfig", -32003),
        ("GetExtendedAgentCard", -32004),
        ("GetTask", -32602),
    ] {
        assert_eq!(asked(&scene, ASK, &token, method, json!({})).await, Err(code), "{method}");
    }
    let whole = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": text("?") }).to_string();
    let again = whole.replace("\"id\":1", "\"id\":1,\"id\":2");
    for (body, version, code) in [
        (whole.as_str(), None, -32009),
        (&whole, Some("0.3"), -32009),
        (&whole, Some("2.0"), -32009),
        (&again, Some("1.0"), -32600),
        ("[]", Some("1.0"), -32600),
        ("{", Some("1.0"), -32700),
    ] {
        let request = scene.post(ASK, &token, body.to_owned());
        let request = version.into_iter().fold(request, |request, version| request.header("a2a-version", version));
        let answer: Value = json_of(request).await;
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
    for (token, status) in [
        (login(&json!({ "scope": "travel.plan" })), 403),
        (login(&json!({ "sub": "mallory" })), 403),
        (login(&json!({ "iat": 1_700_000_000, "exp": 1_700_000_600 })), 401),
    ] {
        for method in ["SendMessage", "GetTask", "ListTasks", "CancelTask", "SubscribeToTask"] {
            assert_eq!(refused(&scene, &token, method, &text("?")).await.0, status, "{method}");
        }
    }
    let nowhere = within(request(&scene, "/v1/a2a/none", "x", "GetTask", &json!({})).send()).await.unwrap();
    assert_eq!(nowhere.status(), 404);
    assert_eq!(provider.asked(), 0);
    scene.stop().await;
}

/// contracts/gateway.md W30.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_everybody_s_and_says_nothing_of_what_lies_behind() {
    let file = "[tasks.look]\nscope = \"tools.read\"\nservice = \"planner/files\"\ntool = \"secret-tool\"\ndescription = \"looks\"\n";
    let scene = Scene::new(file).await;
    let base = format!("http://{}", scene.gateway.address());
    let url = format!("{base}/v1/a2a/look/.well-known/agent-card.json");
    let card: Value = json_of(scene.client.get(&url)).await;
    let interface =
        json!({ "url": format!("{base}/v1/a2a/look"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0" });
    assert_eq!(card["supportedInterfaces"], json!([interface]));
    assert_eq!((&card["name"], &card["description"]), (&json!("look"), &json!("looks")));
    assert_eq!(
        card["capabilities"],
        json!({ "streaming": true, "pushNotifications": false, "extendedAgentCard": false })
    );
    let text = card.to_string();
    assert!(!text.contains("planner") && !text.contains("files") && !text.contains("secret-tool"), "{text}");
    let none = format!("{base}/v1/a2a/none/.well-known/agent-card.json");
    assert_eq!(within(scene.client.get(&none).send()).await.unwrap().status(), 404);
    let login = "[login]\nurl = \"https://gate.example\"\nissuers = [\"https://login.example\"]\n";
    let scene = scene.again(&format!("{login}{file}")).await;
    let url = format!("http://{}/v1/a2a/look/.well-known/agent-card.json", scene.gateway.address());
    let card: Value = json_of(scene.client.get(&url)).await;
    assert_eq!(card["supportedInterfaces"][0]["url"], "https://gate.example/v1/a2a/look");
    scene.stop().await;
}
