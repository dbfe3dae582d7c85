//! Services for people's own MCP clients: whose transaction, whose session, whose budget.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use nuncio::Transaction;
use serde_json::{Value, json};

use super::scene::{Scene, login, within};

const PATH: &str = "/v1/mcp/planner/files";
const FILE: &str = "[agents.planner]\n[agents.planner.services]\nfiles = \"tools.read\"\n";
const BOTH: &str = "application/json, text/event-stream";

/// What the server of MCP was asked: the head as text, the token in it, and the message.
type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

async fn scene(more: &str) -> (Scene, Seen) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let kept = Arc::clone(&seen);
    let app = axum::Router::new().fallback(any(move |request: Request| serve(kept.clone(), request)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let services = format!(
        "[services.files]\nmcp_url = \"http://{at}/mcp\"\nread = [\"look\"]\n[services.files.tokens]\nscopes = [\"tools.read\", \"tools.write\"]\n"
    );
    let offer = |home: &Path| std::fs::write(home.join("services.toml"), services).unwrap();
    (Scene::with(&format!("{more}{FILE}"), offer).await, seen)
}

async fn serve(seen: Seen, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let token = parts.headers.get("txn-token").map(|token| token.to_str().unwrap().to_owned()).unwrap_or_default();
    let told = String::from_utf8(body.to_vec()).unwrap();
    seen.lock().unwrap().push((format!("{:?}", parts.headers), token, told));
    if asked["method"] == "subscriptions/listen" {
        // It says one thing, and goes on.
        let heard = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {} });
        let first = endless(format!("data: {heard}\n\n"));
        return ([("content-type", "text/event-stream")], first).into_response();
    }
    let result = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": { "name": "s", "version": "1" }, "done": true });
    axum::Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })).into_response()
}

/// A piece, and no end.
fn endless(text: String) -> axum::body::Body {
    let (sender, rx) = tokio::sync::mpsc::channel::<std::io::Result<String>>(1);
    sender.try_send(Ok(text)).unwrap();
    tokio::spawn(async move { sender.closed().await });
    axum::body::Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(rx))
}

/// A call of a tool, by a client that has no session.
fn call(scene: &Scene, token: &str, tool: &str) -> reqwest::RequestBuilder {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\", \"id\":1,\n\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}}}}"
    );
    let fields = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", tool)];
    let request = scene.post(PATH, token, body).header("accept", BOTH);
    fields.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// The status, and the answer, alone or in a stream.
async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = within(request.send()).await.unwrap();
    let status = response.status().as_u16();
    let text = within(response.text()).await.unwrap();
    let json =
        text.lines().find_map(|line| line.strip_prefix("data: ").filter(|data| !data.is_empty())).unwrap_or(&text);
    (status, serde_json::from_str(json).unwrap_or_default())
}

/// contracts/gateway.md W17.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_client_calls_a_tool_under_the_person_s_transaction() {
    let (scene, seen) = scene("").await;
    let token = login(&json!({}));
    let (status, answer) = answered(call(&scene, &token, "look").header("cookie", "c=d")).await;
    assert_eq!((status, &answer["result"]["done"]), (200, &json!(true)), "{answer}");
    let (head, given, body) = seen.lock().unwrap().last().unwrap().clone();
    assert!(!head.contains(&token) && !head.contains("c=d"), "{head}");
    assert!(body.contains("\"2.0\", \"id\":1,\n"), "{body}");
    let given = Transaction::from_token(&given).unwrap();
    assert_eq!((given.principal(), given.scope().to_string().as_str()), ("user:anna", "tools.read"));
    // What stands in a person's head as a transaction is none of a person's to say.
    let (_, ben) =
        answered(call(&scene, &login(&json!({ "sub": "ben" })), "look").header("txn-token", given.token())).await;
    assert_eq!(ben["result"]["done"], true, "{ben}");
    let given = Transaction::from_token(&seen.lock().unwrap().last().unwrap().1).unwrap();
    assert_eq!(given.principal(), "user:ben");

    let reached = seen.lock().unwrap().len();
    let (status, refused) = answered(call(&scene, &token, "write")).await;
    assert_eq!((status, &refused["error"]["code"]), (200, &json!(-32040)), "the route's scope only reads: {refused}");
    for (token, status) in [
        (login(&json!({ "scope": "travel.plan" })), 403),
        (login(&json!({ "sub": "mallory" })), 403),
        (login(&json!({ "iat": 1_700_000_000, "exp": 1_700_000_600 })), 401),
    ] {
        assert_eq!(answered(call(&scene, &token, "look")).await.0, status);
    }
    let other = scene.post("/v1/mcp/planner/mail", &token, "{}");
    assert_eq!(answered(other).await.0, 404);
    assert_eq!(seen.lock().unwrap().len(), reached);
    scene.stop().await;
}

async fn begun(scene: &Scene, token: &str) -> String {
    let params =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let response = within(scene.post(PATH, token, body.to_string()).header("accept", BOTH).send()).await.unwrap();
    assert_eq!(response.status(), 200);
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    assert!(within(response.text()).await.unwrap().contains("serverInfo"));
    session
}

/// contracts/gateway.md W18.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_person_s_who_began_it_and_a_stream_ends_with_the_token() {
    let (scene, seen) = scene("").await;
    let (anna, ben) = (login(&json!({})), login(&json!({ "sub": "ben" })));
    let session = begun(&scene, &anna).await;
    let call = |token: &str, session: &str| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "look" } });
        scene.post(PATH, token, body.to_string()).header("accept", BOTH).header("mcp-session-id", session)
    };
    assert_eq!(answered(call(&anna, &session)).await.1["result"]["done"], true);
    let reached = seen.lock().unwrap().len();
    assert_eq!(answered(call(&ben, &session)).await.0, 404);
    assert_eq!(answered(call(&anna, &"0".repeat(32))).await.0, 404);
    let url = format!("http://{}{PATH}", scene.gateway.address());
    let ask = |method: Method, token: &str| {
        let request = scene.client.request(method, &url).bearer_auth(token).header("accept", "text/event-stream");
        request.header("mcp-session-id", &session).send()
    };
    assert_eq!(within(ask(Method::GET, &ben)).await.unwrap().status(), 404);
    assert_eq!(within(ask(Method::DELETE, &ben)).await.unwrap().status(), 404);
    assert_eq!(seen.lock().unwrap().len(), reached, "nobody else says anything in it");

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (short, since) = (login(&json!({ "exp": now + 4 })), Instant::now());
    let listening = within(ask(Method::GET, &short)).await.unwrap();
    assert_eq!(listening.status(), 200);
    within(listening.text()).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(10), "it has ended");

    assert_eq!(within(ask(Method::DELETE, &anna)).await.unwrap().status(), 204);
    assert_eq!(answered(call(&anna, &session)).await.0, 404);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_services_count_as_requests() {
    let (scene, seen) = scene("[budget.requests]\nmode = \"hard\"\nlimit = 2\nper = \"day\"\n").await;
    let token = login(&json!({}));
    for status in [200, 200, 429, 429] {
        assert_eq!(answered(call(&scene, &token, "look")).await.0, status);
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    scene.stop().await;
}

/// Two that hear what comes without session would take each other's answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_has_connected_for_itself_is_not_served_to_people() {
    let (scene, seen) = scene("").await;
    let (planner, files) = (scene.planner.id(), "files".parse().unwrap());
    scene.bridge.fronts().connect(None, planner, files, nuncio_bridge::Wants::default()).await.unwrap();
    assert_eq!(answered(call(&scene, &login(&json!({})), "look")).await.0, 503);
    assert!(seen.lock().unwrap().is_empty());
    scene.stop().await;
}

/// The front of a person's client would be closed to whoever asks it next, and its answers lost to both.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_connects_for_itself_later_is_its_own_from_then_on() {
    let (scene, _) = scene("").await;
    let token = login(&json!({}));
    assert_eq!(answered(call(&scene, &token, "look")).await.0, 200);
    let session = begun(&scene, &token).await;
    let url = format!("http://{}{PATH}", scene.gateway.address());
    let listening = scene.client.get(url).bearer_auth(&token).header("accept", BOTH).header("mcp-session-id", session);
    let listening = within(listening.send()).await.unwrap();
    assert_eq!(listening.status(), 200);
    let (planner, files) = (scene.planner.id(), "files".parse().unwrap());
    let scope = nuncio::Scope::parse("tools.read").unwrap();
    let under = scene.agent.begin(nuncio::Subject::AccessToken(token.clone()), &scope, None).await.unwrap();
    let wants = nuncio_bridge::Wants { under: Some(under), ..nuncio_bridge::Wants::default() };
    let name = scene.bridge.fronts().connect(None, planner, files, wants).await.unwrap();
    within(listening.text()).await.unwrap();
    assert_eq!(answered(call(&scene, &token, "look")).await.0, 503);
    let connections = scene.bridge.fronts().connections().0;
    let (_, connection) = connections.to(&scene.planner.id(), &"files".parse().unwrap()).unwrap();
    let url = connections.url(&name, connection).unwrap();
    for asked in 0..20 {
        let (request, url) = (call(&scene, &token, "look").build().unwrap(), url.parse().unwrap());
        let mut own = reqwest::Request::new(Method::POST, url);
        (*own.headers_mut(), *own.body_mut()) =
            (request.headers().clone(), Some(request.body().unwrap().as_bytes().unwrap().to_vec().into()));
        own.headers_mut().remove("authorization");
        let answer = tokio::time::timeout(Duration::from_secs(10), scene.client.execute(own)).await;
        let text = within(answer.expect("its answer is lost").unwrap().text()).await.unwrap();
        assert!(text.contains("\"done\":true"), "{asked}: {text}");
    }
    scene.stop().await;
}

fn listen(scene: &Scene, token: &str) -> reqwest::RequestBuilder {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "_meta": meta } });
    let request = scene.post(PATH, token, body.to_string()).header("accept", BOTH);
    request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "subscriptions/listen")
}

/// contracts/gateway.md W18.
#[tokio::test(flavor = "multi_thread")]
async fn listening_without_a_session_ends_with_the_token_too() {
    let (scene, _) = scene("").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (short, since) = (login(&json!({ "exp": now + 4 })), Instant::now());
    let response = within(listen(&scene, &short).send()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let heard = within(response.text()).await.unwrap();
    assert!(heard.contains("notifications/subscriptions/acknowledged"), "{heard}");
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&since.elapsed()), "{:?}", since.elapsed());
    scene.stop().await;
}

/// contracts/gateway.md W41.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_open_is_a_request_under_way() {
    let (scene, _) = scene("").await;
    let token = login(&json!({}));
    let mut open = Vec::new();
    for _ in 0..32 {
        let response = within(listen(&scene, &token).send()).await.unwrap();
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    assert_eq!(answered(call(&scene, &token, "look")).await.0, 429);
    drop(open.pop());
    let since = Instant::now();
    while answered(call(&scene, &token, "look")).await.0 != 200 {
        assert!(since.elapsed() < Duration::from_secs(20), "its place is held still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(open);
    scene.stop().await;
}

fn in_session(scene: &Scene, token: &str, session: &str) -> reqwest::RequestBuilder {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "look" } });
    scene.post(PATH, token, body.to_string()).header("accept", BOTH).header("mcp-session-id", session)
}

/// contracts/gateway.md W18.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_s_sessions_end_their_own_and_a_start_ends_all() {
    let (scene, _) = scene("").await;
    let (anna, ben) = (login(&json!({})), login(&json!({ "sub": "ben" })));
    let annas = begun(&scene, &anna).await;
    let mut bens = Vec::new();
    for _ in 0..9 {
        bens.push(begun(&scene, &ben).await);
    }
    assert_eq!(answered(in_session(&scene, &ben, &bens[0])).await.0, 404);
    for session in &bens[1..] {
        assert_eq!(answered(in_session(&scene, &ben, session)).await.1["result"]["done"], true);
    }
    assert_eq!(answered(in_session(&scene, &anna, &annas)).await.1["result"]["done"], true);
    let scene = scene.again(FILE).await;
    assert_eq!(answered(in_session(&scene, &anna, &annas)).await.0, 404);
    scene.stop().await;
}

/// contracts/gateway.md W17: both come through one front.
#[tokio::test(flavor = "multi_thread")]
async fn each_person_has_the_answers_to_its_own_questions() {
    let (scene, seen) = scene("").await;
    let mut asked = Vec::new();
    for one in 0..20 {
        let sub = if one % 2 == 0 { "anna" } else { "ben" };
        let token = login(&json!({ "sub": sub }));
        let body = json!({ "jsonrpc": "2.0", "id": format!("{sub}-{one}"), "method": "tools/call", "params": {
            "name": "look", "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } } });
        let request = scene.post(PATH, &token, body.to_string()).header("accept", BOTH);
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call");
        asked.push((format!("{sub}-{one}"), tokio::spawn(answered(request.header("mcp-name", "look")))));
    }
    for (id, answer) in asked {
        assert_eq!(answer.await.unwrap().1["id"], json!(id));
    }
    for (_, token, body) in seen.lock().unwrap().iter() {
        let principal = Transaction::from_token(token).unwrap().principal().to_owned();
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(
            body["id"].as_str().unwrap().starts_with(principal.strip_prefix("user:").unwrap()),
            "{body} {principal}"
        );
    }
    scene.stop().await;
}
