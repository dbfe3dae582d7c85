//! Webhooks of a client of A2A, with two agents and their letters between the agent that calls and the client that is called.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "memory/end.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod end;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use end::{End, acquaint};
use nuncio_bridge::{Wants, allow, disconnected, expose_a2a};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const NOTIFIED: &str = "{ \"statusUpdate\" : {\"taskId\":\"t\", \"n\":1.50} }";

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

/// What a server was asked: path, two fields, body.
type Seen = Arc<Mutex<Vec<(String, [Option<String>; 2], String)>>>;

async fn serve(seen: Seen, answer: fn(usize, &str) -> Response) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(any(move |request: Request| heard(Arc::clone(&seen), request, answer)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn heard(seen: Seen, request: Request, answer: fn(usize, &str) -> Response) -> Response {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(axum::body::to_bytes(body, 1 << 24).await.unwrap().into()).unwrap();
    let field = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let fields = [field("x-a2a-notification-token"), field("authorization")];
    let holds = body.contains("hold");
    let answer = {
        let mut seen = seen.lock().unwrap();
        seen.push((parts.uri.to_string(), fields, body));
        answer(seen.len(), parts.uri.path())
    };
    if holds {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    answer
}

fn agent(_: usize, path: &str) -> Response {
    match path {
        "/rpc" => axum::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).into_response(),
        "/.well-known/agent-card.json" => axum::Json(json!({ "name": "far", "supportedInterfaces": [
            { "url": "http://public.example/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }] }))
        .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A client that takes nothing at first.
fn client(times: usize, _: &str) -> Response {
    if times == 1 { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { StatusCode::OK.into_response() }
}

struct Scene {
    dir: TempDir,
    near: End,
    far: End,
    asked: Seen,
    called: Seen,
    hook: String,
    url: String,
}

impl Scene {
    async fn new() -> Self {
        let (asked, called) = (Seen::default(), Seen::default());
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("far");
        std::fs::create_dir(&home).unwrap();
        let service = "helper".parse().unwrap();
        expose_a2a(&home, &service, &serve(Arc::clone(&asked), agent).await).unwrap();
        allow(&home, &service, "near", &["tools.write".to_owned()]).unwrap();
        let (near, far) = (End::open(&dir.path().join("near")).await, End::open(&home).await);
        let hook = format!("{}/hook", serve(Arc::clone(&called), client).await);
        let mut scene = Self { dir, near, far, asked, called, hook, url: String::new() };
        acquaint(&scene.near, &scene.far).await;
        let webhooks = BTreeMap::from([("mine".to_owned(), scene.hook.clone())]);
        let fronts = scene.near.bridge.fronts();
        fronts.connect(None, scene.far.agent.id(), service, Wants { webhooks, ..Wants::default() }).await.unwrap();
        let all = fronts.connections().0;
        let (name, one) = all.iter().next().unwrap();
        scene.url = all.url(name, one).unwrap().to_string();
        scene
    }

    /// Both agents stop and start.
    async fn again(self) -> Self {
        self.near.stop().await;
        self.far.stop().await;
        let (near, far) = (self.dir.path().join("near"), self.dir.path().join("far"));
        let scene = Self { near: End::open(&near).await, far: End::open(&far).await, ..self };
        acquaint(&scene.near, &scene.far).await;
        scene
    }

    /// Gives the agent a webhook; the answer, and the address that the agent was given.
    async fn give(&self, url: &str) -> (Value, Option<String>) {
        self.give_in(url, "kept").await
    }

    /// [`Scene::give`] in a message of which a part is this text.
    async fn give_in(&self, url: &str, text: &str) -> (Value, Option<String>) {
        let config = json!({ "url": url, "token": "s3cret", "authentication": { "scheme": "Bearer", "credentials": "their-own" } });
        let params = json!({ "message": { "parts": [{ "url": text }] }, "configuration": { "taskPushNotificationConfig": config } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params });
        let ask = async || {
            let request = reqwest::Client::new().post(format!("{}/a2a/rpc", self.url)).body(body.to_string());
            request.header("content-type", "application/json").send().await
        };
        let answer = loop {
            // The address is opened beside us.
            match within(ask()).await {
                Ok(answer) => break answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let answer = serde_json::from_slice(&within(answer.bytes()).await.unwrap()).unwrap();
        let asked = self.asked.lock().unwrap();
        let given = asked.iter().rfind(|(path, ..)| path == "/rpc").map(|(_, _, body)| {
            assert!(!body.contains("s3cret") && !body.contains("their-own") && !body.contains("/hook"), "{body}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["params"]["message"]["parts"][0]["url"], text);
            body["params"]["configuration"]["taskPushNotificationConfig"]["url"].as_str().unwrap().to_owned()
        });
        (answer, given)
    }

    /// What the client was told, once it is so often.
    async fn told(&self, times: usize) -> Vec<(String, [Option<String>; 2], String)> {
        let seen = async {
            while self.called.lock().unwrap().len() < times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(seen).await;
        self.called.lock().unwrap().clone()
    }
}

/// The agent calls back; the status.
async fn call(url: &str, host: Option<&str>, body: &str) -> u16 {
    for _ in 0..500 {
        let request = reqwest::Client::new().post(url).body(body.to_owned());
        let request = host.into_iter().fold(request, |request, host| request.header("host", host));
        if let Ok(answer) = within(request.send()).await {
            return answer.status().as_u16();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_at_its_own_address_and_the_agent_never_sees_it() {
    let scene = Scene::new().await;
    let (answer, given) = scene.give(&format!("{}/x?y=1", scene.hook)).await;
    assert!(answer["result"].is_object(), "{answer}");
    let given = given.unwrap();
    assert!(given.starts_with("http://127.0.0.1:") && given.contains("/callback/helper/did:key:"), "{given}");
    assert_eq!(call(&given, None, NOTIFIED).await, 200);
    // It was away at first.
    let told = scene.told(2).await;
    let wanted = (
        "/hook/x?y=1".to_owned(),
        [Some("s3cret".to_owned()), Some("Bearer their-own".to_owned())],
        NOTIFIED.to_owned(),
    );
    assert_eq!(told, [wanted.clone(), wanted.clone()]);

    let scene = scene.again().await;
    assert_eq!(call(&given, None, NOTIFIED).await, 200);
    assert_eq!(scene.told(3).await[2], wanted);

    assert!(scene.near.bridge.fronts().disconnect(&"helper".parse().unwrap()).await.unwrap());
    assert_eq!(call(&given, None, NOTIFIED).await, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.told(3).await.len(), 3, "nobody is told over a connection that is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_that_the_connection_does_not_name_and_nobody_calls_with_a_wrong_address() {
    let scene = Scene::new().await;
    for url in [
        "http://169.254.169.254/",
        &format!("{}x", scene.hook),
        &scene.hook.replace("/hook", ""),
        &format!("{}/../admin", scene.hook),
        &format!("{}/%2e%2e/admin", scene.hook),
        "",
    ] {
        let (answer, given) = scene.give(url).await;
        assert_eq!((&answer["error"]["code"], given), (&json!(-32040), None), "{url}");
    }
    let given = scene.give(&scene.hook).await.1.unwrap();
    let (place, mac) = given.rsplit_once('/').unwrap();
    let other = format!("{place}/{}{}", if mac.starts_with('0') { '1' } else { '0' }, &mac[1..]);
    assert_eq!(call(&other, None, NOTIFIED).await, 404);
    assert_eq!(call(&given.replace("helper", "other"), None, NOTIFIED).await, 404);
    assert_eq!(call(&given, Some("evil.example"), NOTIFIED).await, 403);
    assert_eq!(call(&given, None, "no json").await, 400);
    assert_eq!(within(reqwest::get(&given)).await.unwrap().status(), 405);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(scene.called.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_nothing_any_more_is_not_called_back_and_another_agent_of_that_name_does_not_call() {
    let scene = Scene::new().await;
    let (home, service) = (scene.dir.path().join("far"), "helper".parse().unwrap());
    let given = scene.give(&scene.hook).await.1.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 200);

    allow(&home, &service, "near", &[]).unwrap();
    within(scene.far.bridge.reload()).await.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 404, "it may nothing");
    allow(&home, &service, "near", &["tools.read".to_owned()]).unwrap();
    within(scene.far.bridge.reload()).await.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 200, "it may something");

    expose_a2a(&home, &service, &serve(Seen::default(), agent).await).unwrap();
    within(scene.far.bridge.reload()).await.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 404, "it was another's");
    scene.told(3).await;
}

/// contracts/call.md X47.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_and_is_added_again_is_not_called_back_at_an_address_of_before() {
    let scene = Scene::new().await;
    let given = scene.give(&scene.hook).await.1.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 200);
    let invitation = scene.near.agent.invitation().await.unwrap();
    assert!(scene.far.agent.remove_peer(scene.near.agent.id()).await.unwrap());
    assert_eq!(call(&given, None, NOTIFIED).await, 404, "it is none");
    scene.far.agent.add_peer(&invitation, Some("near")).await.unwrap();
    assert_eq!(call(&given, None, NOTIFIED).await, 404, "it was removed since");
    let anew = scene.give(&scene.hook).await.1.unwrap();
    assert_eq!(call(&anew, None, NOTIFIED).await, 200);
    scene.told(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_goes_on_where_a_connection_names_another_webhook() {
    let scene = Scene::new().await;
    let ask = |params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params }).to_string();
        let request = reqwest::Client::new().post(format!("{}/a2a/rpc", scene.url)).body(body);
        request.header("content-type", "application/json").send()
    };
    scene.give(&scene.hook).await;
    let asked = async {
        let answer = within(ask(json!({ "hold": true }))).await.unwrap();
        serde_json::from_slice::<Value>(&within(answer.bytes()).await.unwrap()).unwrap()
    };
    let other = scene.hook.replace("/hook", "/other");
    let named = async {
        while !scene.asked.lock().unwrap().iter().any(|(.., body)| body.contains("hold")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let webhooks = BTreeMap::from([("other".to_owned(), other.clone())]);
        let (far, wants) = (scene.far.agent.id(), Wants { webhooks, ..Wants::default() });
        scene.near.bridge.fronts().connect(None, far, "helper".parse().unwrap(), wants).await.unwrap();
    };
    let (answer, ()) = tokio::join!(asked, named);
    assert!(answer["result"].is_object(), "{answer}");
    assert!(scene.give(&other).await.1.is_some(), "it is named from now on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_webhooks_is_not_long() {
    let scene = Scene::new().await;
    let (answer, given) = scene.give_in(&scene.hook, &"x".repeat(256 << 10)).await;
    assert_eq!((&answer["error"]["code"], given), (&json!(-32042), None), "it is read whole");
    let (answer, given) = scene.give_in(&scene.hook, &"x".repeat(200 << 10)).await;
    assert!(answer["result"].is_object() && given.is_some(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_webhooks_goes_with_the_connection_also_where_no_agent_runs() {
    let scene = Scene::new().await;
    scene.give(&scene.hook).await;
    let (home, name) = (scene.dir.path().join("near"), "helper".parse().unwrap());
    let kept = || std::fs::read_to_string(home.join("webhooks.json")).unwrap();
    let before = kept();
    assert!(before.contains("s3cret"));
    scene.near.stop().await;
    assert!(disconnected(&home, &name).unwrap());
    assert_eq!(kept(), "[]");
    // Where something else took the connection out of its file, the next start does.
    std::fs::write(home.join("webhooks.json"), before).unwrap();
    End::open(&home).await.stop().await;
    assert_eq!(kept(), "[]");
}
