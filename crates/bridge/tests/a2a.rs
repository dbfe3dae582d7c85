//! A client of A2A and an agent that speaks it, with two agents and their letters between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "memory/end.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod end;

use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use end::{End, acquaint};
use nuncio_bridge::{Front, Guard, allow, serve_fronts};
use nuncio_proto::crypto::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

const CARD: &str = "/.well-known/agent-card.json";
const ODD: &str = "{ \"jsonrpc\":\"2.0\",\n\t\"result\" :{\"b\":1.50,\"a\":\"\\u00e9é\"}, \"id\":\"1\" }";

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

type Seen = (String, Vec<(String, String)>, String);

/// An agent of A2A, which keeps what it was asked: method, path, fields, body.
#[derive(Clone, Default)]
struct Far {
    seen: Arc<Mutex<Vec<Seen>>>,
    signatures: Value,
    /// How many streams that never end are heard.
    heard: Arc<AtomicUsize>,
}

struct Heard(Arc<AtomicUsize>);

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Far {
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let far = self.clone();
        let app = axum::Router::new().fallback(any(move |request: Request| far.clone().answer(request)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(axum::body::to_bytes(body, 1 << 24).await.unwrap().into()).unwrap();
        let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let place = format!("{} {}", parts.method, parts.uri);
        self.seen.lock().unwrap().push((place.clone(), fields.collect(), body.clone()));
        match place.as_str() {
            "GET /.well-known/agent-card.json" => axum::Json(card(&self.signatures)).into_response(),
            "POST /rpc?v=1" if body.contains("hold") => {
                self.heard.fetch_add(1, SeqCst);
                let heard = Heard(Arc::clone(&self.heard));
                let forever = tokio_stream::pending::<Result<Bytes, std::io::Error>>().map(move |never| {
                    let _ = &heard;
                    never
                });
                let stream = tokio_stream::once(Ok(Bytes::from(event(1)))).chain(forever);
                ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
            }
            "POST /rpc?v=1" => message(&body),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn places(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(place, ..)| place.clone()).collect()
    }
}

fn card(signatures: &Value) -> Value {
    let mut card = json!({ "name": "far", "capabilities": { "streaming": true }, "supportedInterfaces": [
        { "url": "https://public.example/rpc?v=1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
        { "url": "https://public.example/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0" } ] });
    if signatures.is_array() {
        card["signatures"] = signatures.clone();
    }
    card
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// What is signed of a card: names stand in their order, and it has no number.
fn payload(card: &Value) -> String {
    let mut card = card.clone();
    card.as_object_mut().unwrap().remove("signatures");
    BASE64URL_NOPAD.encode(card.to_string().as_bytes())
}

fn signatures(by: &SigningKey) -> Value {
    let protected = BASE64URL_NOPAD.encode(br#"{"alg":"EdDSA","kid":"any","jku":"http://127.0.0.1:1/keys"}"#);
    let signed = format!("{protected}.{}", payload(&card(&Value::Null)));
    json!([{ "protected": protected, "signature": BASE64URL_NOPAD.encode(&by.sign_raw(signed.as_bytes())) }])
}

fn is_signed(card: &Value, by: &SigningKey) -> bool {
    let one = &card["signatures"][0];
    let Some(protected) = one["protected"].as_str() else { return false };
    let signature = BASE64URL_NOPAD.decode(one["signature"].as_str().unwrap().as_bytes()).unwrap();
    let signed = format!("{protected}.{}", payload(card));
    nuncio_proto::crypto::verify_raw(&by.public(), signed.as_bytes(), &signature.try_into().unwrap()).is_ok()
}

fn event(n: u32) -> String {
    format!("data: {{\"jsonrpc\":\"2.0\", \"id\":\"1\",\ndata: \"result\":{{\"n\":{n}}}}}\n\n")
}

fn message(body: &str) -> Response {
    let method = serde_json::from_str::<Value>(body).unwrap()["method"].as_str().unwrap().to_owned();
    let stream = |events: Vec<Result<String, std::io::Error>>| {
        let slow = tokio_stream::iter(events).then(|event| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            event.map(Bytes::from)
        });
        ([("content-type", "text/event-stream"), ("a2a-extensions", "x")], Body::from_stream(slow)).into_response()
    };
    match method.as_str() {
        "GetExtendedAgentCard" => {
            let card = card(&json!([{ "protected": "e30", "signature": "AA" }]));
            axum::Json(json!({ "jsonrpc": "2.0", "id": "1", "result": card })).into_response()
        }
        "agent/getAuthenticatedExtendedCard" if body.contains("stream") => {
            let card = json!({ "jsonrpc": "2.0", "id": "1", "result": card(&Value::Null) });
            stream(vec![Ok(format!("data: {card}\n\n"))])
        }
        "agent/getAuthenticatedExtendedCard" => {
            axum::Json(json!({ "jsonrpc": "2.0", "id": "1", "result": { "url": "grpc://127.0.0.1:1" } }))
                .into_response()
        }
        "SendStreamingMessage" => stream(vec![Ok(event(1)), Ok(event(2)), Ok(event(3))]),
        "SubscribeToTask" => stream(vec![Ok(event(1)), Err(std::io::ErrorKind::BrokenPipe.into())]),
        "tasks/resubscribe" => stream(Vec::new()),
        "CancelTask" => StatusCode::OK.into_response(),
        _ => ([("content-type", "application/json"), ("a2a-version", "1.0")], ODD).into_response(),
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    _ends: (End, End),
    far: Far,
    url: String,
}

impl Scene {
    async fn new(scopes: &[&str], webhooks: &str) -> Self {
        let far = Far::default();
        let text = format!("[services.helper]\na2a = \"{}\"\nwebhooks = {webhooks}\n", far.serve().await);
        Self::of(far, &text, scopes).await
    }

    /// An agent whose card has signatures, and an owner who named the key of seed 1, if any.
    async fn signed(signatures: Value, names_key: bool) -> Self {
        let far = Far { signatures, ..Far::default() };
        let keys = if names_key { "card_keys = [\"key.jwk\"]\n" } else { "" };
        let text = format!("[services.helper]\na2a = \"{}\"\n{keys}", far.serve().await);
        Self::of(far, &text, &["tools.write"]).await
    }

    async fn of(far: Far, text: &str, scopes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (near, home) = (dir.path().join("near"), dir.path().join("far"));
        std::fs::create_dir(&home).unwrap();
        let service = "helper".parse().unwrap();
        std::fs::write(home.join("services.toml"), text).unwrap();
        let x = BASE64URL_NOPAD.encode(&key(1).public());
        std::fs::write(home.join("key.jwk"), json!({ "kty": "OKP", "crv": "Ed25519", "x": x }).to_string()).unwrap();
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        allow(&home, &service, "near", &scopes).unwrap();
        let (near, there) = (End::open(&near).await, End::open(&home).await);
        acquaint(&near, &there).await;
        let line = near.bridge.line(there.agent.id(), service);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard::new(address, Some("h".parse().unwrap()), "secret".to_owned().into());
        let stopping = CancellationToken::new();
        let app = Front::signing(line, guard, stopping.clone(), Some(key(9))).router();
        tokio::spawn(serve_fronts(listener, app, stopping));
        Self { _dir: dir, _ends: (near, there), far, url: format!("http://{address}/h/secret") }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        within(reqwest::get(format!("{}{path}", self.url))).await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> reqwest::Response {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).body(body.to_owned());
        let fields = [
            ("content-type", "application/json"),
            ("a2a-version", "1.0"),
            ("a2a-extensions", "https://e.example/x"),
            ("traceparent", "00-1"),
            ("authorization", "Bearer theirs"),
            ("cookie", "a=b"),
            ("mcp-method", "x"),
        ];
        let request = fields.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        within(request.send()).await.unwrap()
    }
}

fn asked(method: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": "1", "method": method, "params": { "x": 1 } }).to_string()
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&within(response.bytes()).await.unwrap()).unwrap()
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["nuncio"]["reason"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_card_has_addresses_of_this_machine_and_the_original_is_kept() {
    let scene = Scene::new(&["tools.read"], "[]").await;
    let served: Value = json_of(scene.get(CARD).await).await;
    let mut wanted = card(&Value::Null);
    wanted["supportedInterfaces"] = json!([
        { "url": format!("{}/a2a/rpc?v=1", scene.url), "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }]);
    assert_eq!(served, wanted);
    let original = scene.get(&format!("/original{CARD}")).await;
    assert_eq!(original.bytes().await.unwrap(), serde_json::to_vec(&card(&Value::Null)).unwrap());
    // What the agent does not have is told with its status.
    assert_eq!(scene.get("/.well-known/agent.json").await.status(), 404);
    for (path, status) in
        [("/", 404), ("/original/rpc", 404), ("/a2a", 404), ("/.well-known/other", 404), ("/a2a/rpc", 405)]
    {
        assert_eq!(scene.get(path).await.status(), status, "{path}");
    }
    assert_eq!(scene.post(CARD, "{}").await.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_a_good_signature_is_served_with_one_of_its_own() {
    let scene = Scene::signed(signatures(&key(1)), true).await;
    let served = json_of(scene.get(CARD).await).await;
    assert!(is_signed(&served, &key(9)) && !is_signed(&served, &key(1)), "{served}");
    assert!(served["supportedInterfaces"][0]["url"].as_str().unwrap().starts_with(&scene.url));
    let original: Value = json_of(scene.get(&format!("/original{CARD}")).await).await;
    assert_eq!(original, card(&signatures(&key(1))));
    assert!(is_signed(&original, &key(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_with_a_broken_signature_is_not_handed_on_nor_believed_and_the_connection_lives_on() {
    for broken in [signatures(&key(2)), json!([{ "protected": "e30", "signature": "AA" }]), json!([1])] {
        let scene = Scene::signed(broken.clone(), true).await;
        for path in [CARD.to_owned(), format!("/original{CARD}")] {
            let refused = scene.get(&path).await;
            assert_eq!(refused.status(), 502);
            let told = json_of(refused).await;
            assert_eq!((reason(&told), &told["error"]["code"]), ("card", &json!(-32046)));
        }
        // Nor are its addresses: nothing is asked there.
        assert_eq!(reason(&json_of(scene.post("/a2a/rpc?v=1", &asked("SendMessage")).await).await), "gone");
        assert!(!scene.far.places().iter().any(|place| place.starts_with("POST")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_nobody_checks_are_not_shown_as_good() {
    for theirs in [signatures(&key(1)), json!([{ "protected": "e30", "signature": "AA" }])] {
        let scene = Scene::signed(theirs.clone(), false).await;
        assert_eq!(json_of(scene.get(CARD).await).await.get("signatures"), None);
        assert_eq!(json_of(scene.get(&format!("/original{CARD}")).await).await, card(&theirs));
        assert_eq!(scene.post("/a2a/rpc?v=1", &asked("SendMessage")).await.text().await.unwrap(), ODD);
    }
    let unsigned = Scene::signed(Value::Null, true).await;
    assert_eq!(json_of(unsigned.get(CARD).await).await.get("signatures"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_byte_for_byte_with_a2a_s_own_fields_alone() {
    let scene = Scene::new(&["tools.write"], "[]").await;
    let odd = "{ \"id\" : \"1\",\r\n\"method\":\"SendMessage\" ,\"jsonrpc\":\"2.0\", \"params\":{\"b\":1,\"a\":2}}";
    let answer = scene.post("/a2a/rpc?v=1", odd).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    assert_eq!(answer.headers()["a2a-version"], "1.0");
    assert_eq!(answer.text().await.unwrap(), ODD);
    let (place, fields, body) = scene.far.seen.lock().unwrap().last().unwrap().clone();
    assert_eq!((place.as_str(), body.as_str()), ("POST /rpc?v=1", odd));
    let of = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(
        (of("a2a-version"), of("a2a-extensions"), of("traceparent")),
        (Some("1.0"), Some("https://e.example/x"), Some("00-1"))
    );
    assert_eq!((of("authorization"), of("cookie"), of("mcp-method")), (None, None, None));
    // An answer without a message is told.
    let nothing: Value = json_of(scene.post("/a2a/rpc?v=1", &asked("CancelTask")).await).await;
    assert_eq!((reason(&nothing), &nothing["id"]), ("gone", &json!("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_s_events_come_in_order_each_when_it_is_said() {
    let scene = Scene::new(&["tools.read", "tools.write"], "[]").await;
    let answer = scene.post("/a2a/rpc?v=1", &asked("SendStreamingMessage")).await;
    assert_eq!(
        (&answer.headers()["content-type"], &answer.headers()["a2a-extensions"]),
        (&"text/event-stream".parse().unwrap(), &"x".parse().unwrap())
    );
    let mut answer = answer;
    let first = within(answer.chunk()).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("\"n\":3"), "all at once");
    let text = [first, within(answer.bytes()).await.unwrap()].concat();
    let text = String::from_utf8(text).unwrap();
    let events: Vec<_> = text.split("\n\n").filter(|event| event.contains("data:")).collect();
    assert_eq!(events.len(), 3, "{text}");
    for (event, n) in events.iter().zip(1..) {
        assert!(
            event.ends_with(&format!("data: {{\"jsonrpc\":\"2.0\", \"id\":\"1\",\ndata: \"result\":{{\"n\":{n}}}}}")),
            "{event}"
        );
    }
    let empty = scene.post("/a2a/rpc?v=1", &asked("tasks/resubscribe")).await;
    assert_eq!(empty.headers()["content-type"], "text/event-stream");
    assert!(!empty.text().await.unwrap().contains("data:"));
    // One that broke is told so, and not taken for one that ended.
    let broken = scene.post("/a2a/rpc?v=1", &asked("SubscribeToTask")).await.text().await.unwrap();
    assert!(broken.contains("\"n\":1") && broken.contains("-32043"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_card_s_interfaces_is_asked() {
    let scene = Scene::new(&["tools.write"], "[]").await;
    for path in
        ["/a2a/admin", "/a2a/rpc", "/a2a/rpc?v=2", "/a2a/rest", "/a2a//other.example/rpc?v=1", "/a2a/x/../rpc?v=1"]
    {
        let answer = scene.post(path, &asked("SendMessage")).await;
        if answer.status() == 200 {
            assert!(path.contains("..") || reason(&json_of(answer).await) == "gone", "{path}");
        }
    }
    assert!(
        scene.far.places().iter().all(|place| place.starts_with("GET ") || place == "POST /rpc?v=1"),
        "{:?}",
        scene.far.places()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_an_answer_has_addresses_of_this_machine_too() {
    let scene = Scene::new(&["tools.read"], "[]").await;
    let told = json_of(scene.post("/a2a/rpc?v=1", &asked("GetExtendedAgentCard")).await).await;
    let served = json_of(scene.get(CARD).await).await;
    assert_eq!((&told["id"], &told["result"]), (&json!("1"), &served), "and nobody has checked its signatures");
    // What cannot be changed is not shown.
    let method = "agent/getAuthenticatedExtendedCard";
    for body in [asked(method), asked(method).replace("\"x\"", "\"stream\"")] {
        let refused = scene.post("/a2a/rpc?v=1", &body).await.text().await.unwrap();
        assert!(!refused.contains("grpc") && !refused.contains("public.example"), "{refused}");
        assert!(refused.contains("-32046") || refused.is_empty() || refused.starts_with(':'), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_under_no_interface_has_the_card_fetched_once() {
    let scene = Scene::new(&["tools.read"], "[]").await;
    for n in 0..20 {
        let answer = scene.post(&format!("/a2a/none/{n}"), &asked("GetTask")).await;
        assert_eq!(reason(&json_of(answer).await), "gone");
    }
    let fetched = scene.far.places().len();
    assert!((1..=3).contains(&fetched), "{fetched}");
    assert_eq!(scene.post("/a2a/rpc?v=1", &asked("GetTask")).await.text().await.unwrap(), ODD);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_not_asked() {
    let scene = Scene::new(&["tools.read"], "[]").await;
    for method in ["SendMessage", "message/send", "CancelTask", "agent card", "getTask", "unheard"] {
        let denied: Value = json_of(scene.post("/a2a/rpc?v=1", &asked(method)).await).await;
        assert_eq!(
            (reason(&denied), &denied["error"]["data"]["nuncio"]["needs"]),
            ("denied", &json!("tools.write")),
            "{method}"
        );
    }
    assert!(!scene.far.places().iter().any(|place| place.starts_with("POST")));
    for method in ["GetTask", "tasks/get", "ListTasks"] {
        assert_eq!(scene.post("/a2a/rpc?v=1", &asked(method)).await.text().await.unwrap(), ODD);
    }
    let nobody = Scene::new(&[], "[]").await;
    assert_eq!(nobody.get(CARD).await.status(), 403);
    assert!(nobody.far.places().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_made_to_call_only_what_its_owner_named() {
    let scene = Scene::new(&["tools.write"], "[\"https://hooks.example\"]").await;
    let with = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": "1", "method": method, "params": params }).to_string()
    };
    let hook =
        |url: &str| with("SendMessage", json!({ "configuration": { "taskPushNotificationConfig": { "url": url } } }));
    for url in [
        "https://other.example/",
        "https://hooks.example.evil/",
        "https://hooks.example:1/",
        "http://hooks.example/",
        "https://hooks.example@evil/",
        "",
    ] {
        let denied: Value = json_of(scene.post("/a2a/rpc?v=1", &hook(url)).await).await;
        assert_eq!(reason(&denied), "denied", "{url}");
    }
    let set = with("tasks/pushNotificationConfig/set", json!({ "config": { "url": "http://169.254.169.254/" } }));
    let denied: Value = json_of(scene.post("/a2a/rpc?v=1", &set).await).await;
    assert_eq!(reason(&denied), "denied");
    assert!(!scene.far.places().iter().any(|place| place.starts_with("POST")));
    assert_eq!(scene.post("/a2a/rpc?v=1", &hook("https://hooks.example/a?b")).await.text().await.unwrap(), ODD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_ends_its_own_request_and_no_other_s() {
    let scene = Scene::new(&["tools.write"], "[]").await;
    let mut first = scene.post("/a2a/rpc?v=1", &asked("hold")).await;
    let mut second = scene.post("/a2a/rpc?v=1", &asked("hold")).await;
    for one in [&mut first, &mut second] {
        assert!(within(one.chunk()).await.unwrap().is_some());
    }
    let heard = || scene.far.heard.load(SeqCst);
    assert_eq!(heard(), 2);
    drop(first);
    for _ in 0..300 {
        if heard() < 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(heard(), 1);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_mcp_has_no_places_of_an_agent() {
    let far = Far::default();
    let text = format!("[services.helper]\nmcp_url = \"{}/rpc?v=1\"\n", far.serve().await);
    let scene = Scene::of(far, &text, &["tools.read", "tools.write"]).await;
    let refused = json_of(scene.post("/a2a/rpc?v=1", &asked("ping")).await).await;
    assert_eq!(reason(&refused), "malformed");
    let refused = scene.get(CARD).await;
    assert_eq!(refused.status(), 502);
    assert_eq!(reason(&json_of(refused).await), "malformed");
    assert!(scene.far.places().is_empty());
}
