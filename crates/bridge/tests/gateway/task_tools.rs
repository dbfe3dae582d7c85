//! Tasks that are calls of tools: whose transaction, once, and what nobody knows.

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use nuncio::Transaction;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::scene::{Scene, login, within};
use super::tasks::{asked, ended, events, message, request};

const LOOK: &str = "/v1/a2a/look";
const FILE: &str = "[tasks.look]\nscope = \"tools.read\"\nservice = \"planner/files\"\ntool = \"look\"\nargument = \"query\"\n\
     [tasks.write]\nscope = \"tools.read\"\nservice = \"planner/files\"\ntool = \"write\"\n\
     [tasks.slow]\nscope = \"tools.read\"\nservice = \"planner/files\"\ntool = \"look\"\ntimeout_s = 1\n";

/// The token of each message, the message, and how many answers may leave.
#[derive(Clone)]
struct Server {
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    result: Arc<Mutex<Value>>,
    leave: Arc<Semaphore>,
    /// Calls that were given up before they were answered.
    given_up: Arc<AtomicUsize>,
}

/// A call that is being answered.
struct Answering<'a>(&'a Server, bool);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(usize::from(!self.1), SeqCst);
    }
}

impl Server {
    fn calls(&self) -> Vec<(String, Value)> {
        self.seen.lock().unwrap().iter().filter(|(_, said)| said["method"] == "tools/call").cloned().collect()
    }

    fn says(&self, result: Value) {
        *self.result.lock().unwrap() = result;
    }
}

async fn scene() -> (Scene, Server) {
    scene_of("").await
}

/// Whose token service's policy says this too.
async fn scene_of(service: &str) -> (Scene, Server) {
    let server = Server {
        seen: Arc::default(),
        result: Arc::new(Mutex::new(json!({ "content": [{ "type": "text", "text": "found" }] }))),
        leave: Arc::new(Semaphore::new(1_000)),
        given_up: Arc::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let own = server.clone();
    let app = axum::Router::new().fallback(any(move |request: Request| serve(own.clone(), request)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let services = format!(
        "[services.files]\nmcp_url = \"http://{at}/mcp\"\nread = [\"look\"]\n[services.files.tokens]\nscopes = [\"tools.read\", \"tools.write\"]\n"
    );
    let offer = |home: &Path| std::fs::write(home.join("services.toml"), services).unwrap();
    (Scene::of(service, FILE, offer).await, server)
}

async fn serve(server: Server, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let Ok(said) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let token = parts.headers.get("txn-token").map(|token| token.to_str().unwrap().to_owned()).unwrap_or_default();
    server.seen.lock().unwrap().push((token, said.clone()));
    if said.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    let mut answering = Answering(&server, false);
    server.leave.acquire().await.unwrap().forget();
    answering.1 = true;
    let result = server.result.lock().unwrap().clone();
    axum::Json(json!({ "jsonrpc": "2.0", "id": said["id"], "result": result })).into_response()
}

fn data(arguments: &Value) -> Value {
    message(&json!([{ "data": arguments }]), &json!({}))
}

/// contracts/gateway.md W33.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_a_call_under_the_person_s_transaction_and_its_result_the_answer() {
    let (scene, server) = scene().await;
    let token = login(&json!({}));
    let task = asked(&scene, LOOK, &token, "SendMessage", data(&json!({ "path": "a" }))).await.unwrap()["task"].take();
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
    assert_eq!(task["artifacts"][0]["parts"], json!([{ "text": "found" }]));
    let (given, said) = server.calls().pop().unwrap();
    assert_eq!((&said["params"]["name"], &said["params"]["arguments"]), (&json!("look"), &json!({ "path": "a" })));
    assert_eq!(said["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    let given = Transaction::from_token(&given).unwrap();
    assert_eq!((given.principal(), given.scope().to_string().as_str()), ("user:anna", "tools.read"));
    assert_eq!(task["metadata"]["transaction"], given.id());

    let text = message(&json!([{ "text": "b" }]), &json!({}));
    asked(&scene, LOOK, &login(&json!({ "sub": "ben" })), "SendMessage", text.clone()).await.unwrap();
    let (given, said) = server.calls().pop().unwrap();
    assert_eq!(said["params"]["arguments"], json!({ "query": "b" }));
    assert_eq!(Transaction::from_token(&given).unwrap().principal(), "user:ben");
    assert_eq!(asked(&scene, "/v1/a2a/write", &token, "SendMessage", text).await, Err(-32005), "no argument is named");

    server.says(json!({ "isError": true, "content": [{ "type": "text", "text": "no such file" }] }));
    let stream = within(request(&scene, LOOK, &token, "SendStreamingMessage", &data(&json!({}))).send()).await.unwrap();
    let told = events(&within(stream.text()).await.unwrap());
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[2]["artifactUpdate"]["artifact"]["parts"], json!([{ "text": "no such file" }]));
    let status = &told[3]["statusUpdate"]["status"];
    assert_eq!(
        (&status["state"], &status["message"]["parts"][0]["text"]),
        (&json!("TASK_STATE_FAILED"), &json!("no such file"))
    );
    scene.stop().await;
}

/// contracts/gateway.md W33.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_s_owner_does_not_allow_reaches_no_tool() {
    let (scene, server) = scene().await;
    let task = asked(&scene, "/v1/a2a/write", &login(&json!({})), "SendMessage", data(&json!({}))).await.unwrap();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_FAILED", "the scope only reads: {task}");
    let why = task["task"]["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(
        why.contains("tools.write") && why.contains("[services.NAME.tokens]"),
        "whoever reads it can mend it: {why}"
    );
    assert!(server.calls().is_empty());
    scene.stop().await;
}

/// contracts/gateway.md W33, W38.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_said_once_and_who_cancels_it_tells_the_service() {
    let (scene, server) = scene().await;
    let token = login(&json!({}));
    server.leave.forget_permits(1_000);
    let once = |path: &'static str| {
        let params = message(&json!([{ "data": {} }]), &json!({ "returnImmediately": true }));
        asked(&scene, path, &token, "SendMessage", params)
    };
    let slow = once("/v1/a2a/slow").await.unwrap()["task"]["id"].take();
    let task = ended(&scene, "/v1/a2a/slow", &token, &slow).await;
    assert_eq!(task["status"]["state"], "TASK_STATE_FAILED");
    assert!(task["status"]["message"]["parts"][0]["text"].as_str().unwrap().contains("not known"), "{task}");
    assert_eq!(server.calls().len(), 1);
    let id = once(LOOK).await.unwrap()["task"]["id"].take();
    for _ in 0..200 {
        if server.calls().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let task = asked(&scene, LOOK, &token, "CancelTask", json!({ "id": id })).await.unwrap();
    assert_eq!(task["status"]["state"], "TASK_STATE_CANCELED", "{task}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.given_up.load(SeqCst), 2, "the service is told that nobody waits");
    server.leave.add_permits(1_000);
    assert_eq!(server.calls().len(), 2, "and never again");
    let again = asked(&scene, LOOK, &token, "SendMessage", data(&json!({}))).await.unwrap();
    assert_eq!(again["task"]["status"]["state"], "TASK_STATE_COMPLETED", "the next has its own answer: {again}");
    scene.stop().await;
}

/// contracts/gateway.md W38.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_outlives_its_first_token_is_cancelled_at_the_service_all_the_same() {
    let (scene, server) = scene_of("token_life_s = 4").await;
    let token = login(&json!({}));
    server.leave.forget_permits(1_000);
    let params = message(&json!([{ "data": {} }]), &json!({ "returnImmediately": true }));
    let id = asked(&scene, LOOK, &token, "SendMessage", params).await.unwrap()["task"]["id"].take();
    within(async {
        while server.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let task = asked(&scene, LOOK, &token, "CancelTask", json!({ "id": id })).await.unwrap();
    assert_eq!(task["status"]["state"], "TASK_STATE_CANCELED", "{task}");
    within(async {
        while server.given_up.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    scene.stop().await;
}
