//! Doors, permissions, starting and stopping.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::support::{Fixture, GATEWAY, ISSUER, PLANNER, Params, body, now_s, policy, write_policy};
use crate::authn::{self, Attempt, Door};
use crate::form::Form;
use crate::page::Page;
use crate::routes::{Needs, Row, Served, TABLE, router};
use crate::{Node, NodeError, Tls};

/// What the routes of a node are about, with another table and tasks of their own.
pub(super) fn served(at: &Fixture, table: &'static [Row]) -> Served {
    let service = Arc::clone(at.node().service());
    let page = Arc::new(Page::new(Some(at.tcp), false, ISSUER));
    Served { service, page, table, closing: CancellationToken::new(), tasks: TaskTracker::new() }
}

async fn status(at: &Fixture, table: &'static [Row], door: Option<Door>, row: &Row) -> u16 {
    let request = Request::builder().method(row.method).uri(row.path).header(header::HOST, "127.0.0.1");
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().extend(
        door.map(|door| {
            let mut extensions = axum::http::Extensions::new();
            extensions.insert(door);
            extensions
        })
        .unwrap_or_default(),
    );
    let response = TowerToHyperService::new(router(served(at, table))).call(request).await.unwrap();
    let status = response.status().as_u16();
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        // It has no end.
        return status;
    }
    let _ = to_bytes(Body::new(response.into_body()), 1 << 20).await.unwrap();
    status
}

/// contracts/txts.md N33: each row is taken away once.
#[tokio::test]
async fn a_route_without_its_row_is_open_to_nobody() {
    let at = Fixture::new().await;
    for gone in TABLE {
        let table: &'static [Row] = Vec::leak(TABLE.iter().copied().filter(|row| row.path != gone.path).collect());
        assert_eq!(status(&at, table, Some(Door::Owner), gone).await, 403, "{}", gone.path);
        assert_ne!(status(&at, TABLE, Some(Door::Owner), gone).await, 403, "{}", gone.path);
        assert_eq!(status(&at, TABLE, None, gone).await, 403, "by no door: {}", gone.path);
    }
}

/// Each permission, from each door.
#[tokio::test]
async fn who_may_ask_is_what_the_table_says() {
    let at = Fixture::new().await;
    let near = Door::Tcp { from: "127.0.0.1".parse().unwrap() };
    let far = Door::Tcp { from: "192.0.2.1".parse().unwrap() };
    let row = |path: &str| TABLE.iter().find(|row| row.path == path).unwrap();
    for (path, door, wanted) in [
        ("/jwks", far, 200),
        ("/metrics", near, 200),
        ("/metrics", Door::Owner, 200),
        ("/metrics", far, 403),
        ("/owner/reload", near, 403),
        ("/owner/reload", far, 403),
        ("/owner/reload", Door::Owner, 200),
        ("/owner/keys/rotate", near, 403),
        ("/owner/revoke", near, 403),
        ("/owner/revoke", far, 403),
        ("/log/stream", near, 200),
        ("/log/stream", Door::Owner, 200),
        ("/log/stream", far, 403),
        ("/log/checkpoint", far, 403),
        ("/log/tile/{*tile}", far, 403),
        ("/log/anchor/{file}", far, 403),
        ("/log/names", near, 200),
        ("/log/names", far, 403),
        ("/", near, 403),
        ("/", far, 403),
        ("/", Door::Owner, 200),
        ("/sign-out", near, 403),
        ("/sign-in", far, 200),
        ("/owner/page", near, 403),
        ("/owner/page", far, 403),
        ("/owner/page", Door::Owner, 200),
        ("/events", near, 401),
        ("/events", Door::Owner, 401),
        ("/token", near, 400),
    ] {
        assert_eq!(status(&at, TABLE, Some(door), row(path)).await, wanted, "{path} {door:?}");
    }
}

#[tokio::test]
async fn the_owner_s_socket_is_the_owner_s_and_turns_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let at = Fixture::new().await;
    let path = at.node().owner_socket().to_owned();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    let head =
        b"POST /owner/keys/rotate?force=true HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(head).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"signs\""), "{answer}");
    assert_eq!(at.keys().await.len(), 3);
}

/// RFC 8414.
#[tokio::test]
async fn the_metadata_say_where_everything_is() {
    let at = Fixture::new().await;
    let (status, text) = at.get("/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &metadata["issuer"]), (200, &ISSUER.into()));
    for (member, path) in [("token_endpoint", "/token"), ("revocation_endpoint", "/revoke"), ("jwks_uri", "/jwks")] {
        assert_eq!(metadata[member], format!("{ISSUER}{path}"));
        assert!(TABLE.iter().any(|row| row.path == path));
    }
    at.ask(GATEWAY, Params::begin()).await;
    let (_, figures) = at.get("/metrics").await;
    assert!(figures.contains(r#"nuncio_node_answers_total{route="/token",status="2xx"} 1"#), "{figures}");
    assert!(figures.contains("nuncio_node_audit_records_waiting 2"));
}

/// contracts/txts.md N13: what a policy allows together is never allowed by halves of two.
#[tokio::test]
async fn a_request_is_decided_by_the_policy_by_which_its_caller_is_known() {
    let at = Fixture::new().await;
    let service = at.node().service();
    let params = Params::begin().asserted(GATEWAY);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    let form = Form::parse(&headers, params.encode().as_bytes()).unwrap();
    let asks = authn::Request { door: Door::Owner, headers: &headers, form: &form, path: "/token", now_s: now_s() };
    let mut attempt = Attempt::default();
    let caller = service.authenticate(&asks, Needs::Client, &mut attempt).unwrap();
    write_policy(at.folder.path(), &policy().replace("hops_max = 6", "hops_max = 2").replace("_s = 3600", "_s = 60"));
    at.node().reload().await.unwrap();
    let lasts = |claims: Value| claims["txn_exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    let former = body(&service.token(&caller, attempt, &form).await.unwrap().token);
    assert_eq!((former["hop"]["max"].clone(), lasts(former) > 60), (6.into(), true));
    let latter = body(&at.begun().await);
    assert_eq!((latter["hop"]["max"].clone(), lasts(latter) > 60), (2.into(), false));
}

/// contracts/txts.md N32.
#[tokio::test]
async fn plain_tcp_beyond_loopback_is_refused_at_the_start() {
    let mut at = Fixture::new().await;
    at.stop().await;
    for wide in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let mut config = at.config();
        config.tcp = wide.parse().ok();
        assert!(matches!(Node::start(config).await, Err(NodeError::PlainTcp(_))), "{wide}");
    }
    let mut config = at.config();
    (config.tcp, config.quic) = (None, None);
    assert!(matches!(Node::start(config).await, Err(NodeError::Deaf)));
    let mut config = at.config();
    let nowhere = at.folder.path().join("nowhere.pem");
    config.tls = Some(Tls { cert: nowhere.clone(), key: nowhere.clone() });
    assert!(matches!(Node::start(config).await, Err(NodeError::Io { .. })));
    std::fs::write(&nowhere, "neither chain nor key").unwrap();
    let mut config = at.config();
    config.tls = Some(Tls { cert: nowhere.clone(), key: nowhere });
    assert!(matches!(Node::start(config).await, Err(NodeError::Tls(_))));
    at.start().await;
}

/// With a certificate TCP is TLS, and nothing else.
#[tokio::test]
async fn with_a_certificate_tcp_is_tls() {
    let mut at = Fixture::new().await;
    let (node, address, trusting) = at.with_certificate().await;
    let url = format!("https://localhost:{}/health/ready", address.port());
    assert_eq!(trusting.get(&url).send().await.unwrap().status(), 200);
    assert!(at.http.get(format!("http://{address}/health/ready")).send().await.is_err(), "plain");
    node.stop().await.unwrap();
}

/// contracts/txts.md N34: whoever holds all the places of one address shuts the door to that address alone.
#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let at = Fixture::with(&policy().replace("[service]", "[service]\nconnections_per_source = 3")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = dialled("127.0.0.3", at.tcp).await;
        assert_eq!(answer(&mut stream).await, "HTTP/1.1 200");
        held.push(stream);
    }
    let mut one_more = dialled("127.0.0.3", at.tcp).await;
    assert_eq!(answer(&mut one_more).await, "", "closed without a word");
    assert_eq!(answer(&mut dialled("127.0.0.4", at.tcp).await).await, "HTTP/1.1 200");
    assert_eq!(answer(&mut held[0]).await, "HTTP/1.1 200", "who has a place keeps it");
}

async fn dialled(from: &str, to: std::net::SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(std::net::SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// The first words of an answer; nothing if the connection is closed.
async fn answer(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = [0; 1_024];
    let _ = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: node\r\n\r\n").await;
    let len = stream.read(&mut bytes).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes[..len.min(12)]).into_owned()
}

/// contracts/txts.md N13.
#[tokio::test]
async fn a_bad_policy_leaves_the_former_in_force() {
    let mut at = Fixture::new().await;
    let form = |scope: &str| Params::begin().set("scope", scope);
    for bad in [
        String::new(),
        policy().replace("policy/1", "policy/2"),
        policy().replace("[\"operator\"]", "[\"nobody\"]"),
        policy().replace("trust_domain = \"acme.example\"", "trust_domain = \"other.example\""),
        policy().replace("[service]", "[service]\nalgorithm = \"ES256\""),
    ] {
        write_policy(at.folder.path(), &bad);
        assert!(at.node().reload().await.is_err());
        assert_eq!(at.ask(GATEWAY, form("travel.pay")).await.status, 200);
    }
    write_policy(at.folder.path(), &policy().replacen("travel.book travel.pay", "travel.book", 1));
    at.node().reload().await.unwrap();
    assert_eq!(at.ask(GATEWAY, form("travel.pay")).await.error(), (400, "invalid_scope"));
    write_policy(at.folder.path(), "nonsense");
    at.stop().await;
    assert!(matches!(at.try_start().await, Err(NodeError::Policy { .. })), "and none is started with");
    write_policy(at.folder.path(), &policy());
    at.start().await;
}

/// contracts/txts.md N35: a request under way is answered, and the home is free afterwards.
#[tokio::test]
async fn a_node_that_stops_answers_what_is_under_way() {
    let mut at = Fixture::new().await;
    let form = Params::begin().asserted(GATEWAY).encode();
    let mut stream = tokio::net::TcpStream::connect(at.tcp).await.unwrap();
    let head = format!(
        "POST /token HTTP/1.1\r\nhost: node\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&form.as_bytes()[..100]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let node = at.node.take().unwrap();
    let stopping = tokio::spawn(node.stop());
    let mut tries = 0;
    while tokio::net::TcpStream::connect(at.tcp).await.is_ok() {
        tries += 1;
        assert!(tries < 100, "new ones are taken");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stream.write_all(&form.as_bytes()[100..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stopping.await.unwrap().unwrap();
    at.start().await;
    assert_eq!(at.ask(PLANNER, Params::begin()).await.status, 400);
}
