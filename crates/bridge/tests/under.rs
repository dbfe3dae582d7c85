//! Calls in somebody's name: tokens of a real token service on their letters (contracts/call.md X44).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use nuncio::{Agent, AuditPolicy, Auditing, Config, Invitation, PeerNames, Scope, Subject, Transaction, WhenFull};
use nuncio_bridge::{Bridge, Line as _, Message, Say, Wants};
use nuncio_contracts::registry::event;
use nuncio_node::Node;
use nuncio_node::log::{Verdict, verify};
use nuncio_proto::audit::{Event, EventPeer, SignedEvent};
use nuncio_proto::secret::Key;
use nuncio_proto::tlog::{KeyKind, NoteKey, Tile, TileKind, entries_of};
use nuncio_store::Kek;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const DOMAIN: &str = "acme.example";
const AUDITED: AuditPolicy = AuditPolicy {
    auditing: Auditing::Required,
    peer_names: PeerNames::Keys,
    room: 10_000,
    when_full: WhenFull::Stop,
    heartbeat: 0,
};

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

/// What a server of MCP was asked: the token that came with it, and the message.
type Seen = Arc<Mutex<Vec<(Option<String>, Value)>>>;

async fn server(seen: Seen) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(any(move |request: Request| answer(seen.clone(), request)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn answer(seen: Seen, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked: Value = serde_json::from_slice(&axum::body::to_bytes(body, 1 << 24).await.unwrap()).unwrap();
    let token = parts.headers.get("txn-token").map(|value| value.to_str().unwrap().to_owned());
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "done": true } });
    seen.lock().unwrap().push((token, asked));
    axum::Json(answer).into_response()
}

struct End {
    agent: Agent,
    bridge: Bridge,
}

/// A domain with its node, an agent that calls, one that serves, and one that steals.
struct Scene {
    dir: TempDir,
    node: Node,
    near: End,
    far: End,
    thief: End,
    seen: Seen,
    url: String,
}

fn client(name: &str, id: nuncio::AgentId) -> String {
    format!(
        "[[client]]\nname = \"{name}\"\ndid = \"{id}\"\n[[client.grant]]\nsubject_types = [\"self_signed\", \"txn_token\"]\n\
         subjects = [\"user:*\"]\nscope = \"tools.read tools.write\"\nreceivers = [\"*\"]\n"
    )
}

fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

/// Said to a tool, and for nobody else.
const PLANTED: &str = "a-word-that-no-log-has";

impl Scene {
    async fn new(token_life_s: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seen = Seen::default();
        let ids =
            ["near", "far", "thief"].map(|name| (name, nuncio::init(&Config::new(dir.path().join(name))).unwrap().0));
        let clients: String = ids.iter().map(|(name, id)| client(name, *id)).collect();
        let policy = format!(
            "schema = \"nuncio/policy/1\"\noperators = [\"near\"]\n[service]\ntrust_domain = \"{DOMAIN}\"\n\
             issuer = \"https://txts.acme.example\"\ntransaction_life_s = 3600\ntoken_life_s = {token_life_s}\n{clients}"
        );
        std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
        nuncio_node::init(&dir.path().join("node"), &kek()).unwrap();
        let mut config = nuncio_node::Config::new(dir.path().join("node"), kek(), dir.path().join("policy.toml"));
        config.quic = "127.0.0.1:0".parse().ok();
        let node = Node::start(config).await.unwrap();
        // Nobody may anything of it but by tokens.
        let services = format!(
            "[services.files]\nmcp_url = \"{}\"\nread = [\"look\"]\n[services.files.tokens]\nscopes = [\"tools.read\", \"tools.write\"]\n",
            server(seen.clone()).await
        );
        std::fs::write(dir.path().join("far/services.toml"), services).unwrap();
        let [near, far, thief] =
            [open(&dir, &node, "near").await, open(&dir, &node, "far").await, open(&dir, &node, "thief").await];
        for one in [&near, &thief] {
            one.agent.add_peer(&far.agent.invitation().await.unwrap(), Some("far")).await.unwrap();
            far.agent.add_peer(&one.agent.invitation().await.unwrap(), None).await.unwrap();
        }
        let mut scene = Self { dir, node, near, far, thief, seen, url: String::new() };
        scene.url = scene.connect(&scene.near, None).await;
        scene
    }

    async fn connect(&self, end: &End, under: Option<Transaction>) -> String {
        let fronts = end.bridge.fronts();
        let name = fronts
            .connect(None, self.far.agent.id(), "files".parse().unwrap(), Wants { under, ..Wants::default() })
            .await
            .unwrap();
        let all = fronts.connections().0;
        let (name, one) = all.iter().find(|(known, _)| **known == name).unwrap();
        let url = all.url(name, one).unwrap().to_string();
        let place = url.split('/').nth(2).unwrap();
        while tokio::net::TcpStream::connect(place).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        url
    }

    async fn begin(&self, scope: &str) -> Transaction {
        let subject = Subject::SelfSigned("user:anna".to_owned());
        self.near.agent.begin(subject, &Scope::parse(scope).unwrap(), None).await.unwrap()
    }

    /// Calls a tool; the answer.
    async fn call<'a>(&self, url: &str, tool: &'a str, tokens: impl IntoIterator<Item = &'a str>) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": { "word": PLANTED },
            "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } } });
        let fields = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        let request = reqwest::Client::new().post(url).body(message.to_string());
        let fields = fields.into_iter().chain(tokens.into_iter().map(|token| ("txn-token", token)));
        let request = fields.fold(request, |request, (name, value)| request.header(name, value));
        let answer = within(request.send()).await.unwrap();
        assert_eq!(answer.status(), 200, "an error to a request is an answer");
        serde_json::from_slice(&within(answer.bytes()).await.unwrap()).unwrap()
    }

    fn reached(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits for an event of an agent's.
    async fn logged(&self, agent: nuncio::AgentId, what: u8, outcome: Option<u16>) -> Event {
        let (folder, key) = (self.dir.path().join("node/log"), *self.node.id().as_bytes());
        let key = NoteKey::new(&format!("{DOMAIN}/log"), KeyKind::Ed25519, key).unwrap();
        let looked = async {
            loop {
                if let Ok(Verdict { head, .. }) = verify(&folder, &key, |_| {}) {
                    let is =
                        |event: &Event| event.agent == agent && event.what.number() == what && event.outcome == outcome;
                    if let Some(event) = read(&folder, head.size).into_iter().find(is) {
                        return event;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within(looked).await
    }
}

async fn open(dir: &TempDir, node: &Node, name: &str) -> End {
    let home = dir.path().join(name);
    let endpoints = vec![node.quic_addr().unwrap().to_string()];
    let line = Invitation { agent: node.id(), endpoints, mailbox: None, bundle_hash: None, knock: None };
    let config = Config::new(&home).listen(([127, 0, 0, 1], 0).into()).trust(DOMAIN, line).audit(AUDITED);
    let config = if Bridge::offers(&home).unwrap() { config.serve_calls() } else { config };
    let agent = Agent::open(config).await.unwrap();
    let bridge = Bridge::start(agent.clone(), &home).await.unwrap();
    End { agent, bridge }
}

fn read(folder: &std::path::Path, size: u64) -> Vec<Event> {
    let tiles = Tile::all(size).filter(|tile| tile.kind() == TileKind::Entries);
    let entries = tiles.flat_map(|tile| {
        let bytes = std::fs::read(folder.join(tile.path())).unwrap();
        entries_of(&bytes, tile.width()).unwrap().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    entries.map(|entry| SignedEvent::parse(&entry).unwrap().event().clone()).collect()
}

fn reason(answer: &Value) -> (i64, &str) {
    let error = &answer["error"];
    (error["code"].as_i64().unwrap_or_default(), error["data"]["nuncio"]["reason"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_token_becomes_one_for_the_service_s_agent_and_allows_what_it_says() {
    let scene = Scene::new(120).await;
    let begun = scene.begin("tools.read").await;
    assert_eq!(reason(&scene.call(&scene.url, "look", None).await), (-32040, "denied"));
    assert_eq!(scene.reached(), 0);
    let answer = scene.call(&scene.url, "look", Some(begun.token())).await;
    assert_eq!(answer["result"]["done"], true, "{answer}");
    let (token, _) = scene.seen.lock().unwrap().last().unwrap().clone();
    let token = token.expect("the service is given the letter's token");
    assert_ne!(token, begun.token(), "the client's own stays here");
    let given = Transaction::from_token(&token).unwrap();
    assert_eq!((given.id(), given.principal()), (begun.id(), "user:anna"));
    // What it does not say it does not allow.
    assert_eq!(reason(&scene.call(&scene.url, "write", Some(begun.token())).await), (-32040, "denied"));
    assert_eq!(scene.reached(), 1);
    let invoked = scene.logged(scene.far.agent.id(), event::TOOL_INVOKED, None).await;
    assert_eq!(invoked.transaction.as_deref(), Some(begun.id()));
    let denied = nuncio_contracts::registry::code::REFUSED;
    let refused = scene.logged(scene.far.agent.id(), event::TOOL_INVOKED, Some(denied)).await;
    assert_eq!(refused.transaction, None, "the first had none");
    let answered = scene.logged(scene.far.agent.id(), event::TOOL_ANSWERED, None).await;
    assert_eq!(answered.transaction.as_deref(), Some(begun.id()));
    // Of a call the log has hashes: neither the tool nor what it was given.
    let log = scene.dir.path().join("node/log");
    let mut folders = vec![log];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let bytes = std::fs::read(&entry).unwrap();
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                assert!(!has(PLANTED.as_bytes()) && !has(b"\x64look"), "{}", entry.display());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_is_told_recorded_and_reaches_nobody() {
    let scene = Scene::new(120).await;
    let begun = scene.begin("tools.read tools.write").await;
    // Another agent's.
    let theirs = scene.connect(&scene.thief, None).await;
    assert_eq!(reason(&scene.call(&theirs, "look", Some(begun.token())).await), (-32040, "denied"));
    let thief = scene.thief.agent.id();
    let denied = scene.logged(scene.node.id(), event::TOKEN_DENIED, None).await;
    assert_eq!(denied.peer, Some(EventPeer::Agent(thief)));
    for none in ["", "x", "a.b.c"] {
        assert_eq!(reason(&scene.call(&scene.url, "look", Some(none)).await), (-32040, "denied"), "{none:?}");
    }
    let twice = [begun.token(), begun.token()];
    assert_eq!(reason(&scene.call(&scene.url, "look", twice).await), (-32040, "denied"), "which of them?");
    assert_eq!(scene.reached(), 0);
    // Revoked, before anything was done under it.
    scene.near.agent.revoke(&begun).await.unwrap();
    assert_eq!(reason(&scene.call(&scene.url, "look", Some(begun.token())).await), (-32040, "denied"));
    // Revoked, where its token for this receiver is there.
    let second = scene.begin("tools.read").await;
    assert_eq!(scene.call(&scene.url, "look", Some(second.token())).await["result"]["done"], true);
    scene.near.agent.revoke(&second).await.unwrap();
    // The list travels by itself.
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while scene.call(&scene.url, "look", Some(second.token())).await["result"]["done"] == true {
        assert!(std::time::Instant::now() < until, "a transaction that was revoked goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reached = scene.reached();
    let told = scene.call(&scene.url, "look", Some(second.token())).await;
    assert!(matches!(reason(&told), (-32040, "denied") | (-32042, "failed")), "{told}");
    assert_eq!(scene.reached(), reached);
    let revoked = nuncio_contracts::registry::code::TOKEN_REVOKED;
    scene.logged(scene.far.agent.id(), event::LETTER_REFUSED, Some(revoked)).await;
    // The connection lives on.
    let third = scene.begin("tools.read").await;
    assert_eq!(scene.call(&scene.url, "look", Some(third.token())).await["result"]["done"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_under_a_transaction_that_is_over_is_said_once() {
    let scene = Scene::new(2).await;
    let begun = scene.begin("tools.read").await;
    let line = scene.near.bridge.line(scene.far.agent.id(), "files".parse().unwrap());
    let id = Agent::new_letter_id().unwrap();
    let message = Message::json(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"look"}}"#);
    let say = |id| Say {
        id,
        what: nuncio::What::Request,
        session: None,
        reply_to: None,
        message: message.clone(),
        note: Vec::new(),
        under: Some(begun.clone()),
    };
    within(line.say(say(id))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Whoever does not know whether it was accepted says it again, and is not told that it cannot be.
    within(line.say(say(id))).await.unwrap();
    let other = within(line.say(say(Agent::new_letter_id().unwrap()))).await;
    assert!(matches!(other, Err(nuncio_bridge::LineError::Denied(_))), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_acts_in_the_transaction_that_it_names_and_keeps_it_alive() {
    let scene = Scene::new(20).await;
    let begun = scene.begin("tools.read").await;
    assert_eq!(scene.connect(&scene.near, Some(begun.clone())).await, scene.url, "the address stays");
    assert_eq!(scene.call(&scene.url, "look", None).await["result"]["done"], true);
    // What a client names itself counts in its stead.
    assert_eq!(reason(&scene.call(&scene.url, "look", Some("x")).await), (-32040, "denied"));
    let under = || scene.near.bridge.fronts().connections().0.iter().next().unwrap().1.under.clone().unwrap();
    let renewed = async {
        while under().expires() <= begun.expires() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    within(renewed).await;
    tokio::time::sleep(Duration::from_millis(begun.expires().0.saturating_sub(now_ms()) + 1_500)).await;
    assert_eq!(scene.call(&scene.url, "look", None).await["result"]["done"], true);
    let file = std::fs::read_to_string(scene.dir.path().join("near/connections.toml")).unwrap();
    assert!(file.contains(under().token()) && !file.contains(begun.token()), "a restart goes on with the fresh one");
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
