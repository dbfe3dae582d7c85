//! Over an agent's own connection: the key is who asks.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::limit;
use nuncio_transport::{CloseCode, CloseReason, Connection, Link, LinkConfig, StreamKind};
use serde_json::Value;

use super::support::{BOOKING, Fixture, GATEWAY, PLANNER, Params, agent, assertion, check, key, policy, write_policy};

async fn dial(at: &Fixture, number: u8) -> (Link, Connection) {
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key(number)).unwrap();
    let connection = link.dial(at.node().id(), at.node().quic_addr().unwrap()).await.unwrap();
    (link, connection)
}

async fn client(connection: &Connection) -> SendRequest<Full<Bytes>> {
    let (send, recv) = connection.open(StreamKind::Http).await.unwrap();
    let (client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await.unwrap();
    tokio::spawn(driver);
    client
}

async fn ask(client: &mut SendRequest<Full<Bytes>>, form: &Params) -> (u16, Value) {
    let request = hyper::Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let response = client.send_request(request.body(Full::from(form.encode())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

/// contracts/txts.md N1, N4; contracts/transport.md T20: one stream, many requests.
#[tokio::test]
async fn an_agent_is_known_by_its_connection_and_its_tokens_are_bound_to_it() {
    let at = Fixture::new().await;
    let (_link, connection) = dial(&at, GATEWAY).await;
    let mut client = client(&connection).await;
    for _ in 0..3 {
        let (status, answer) = ask(&mut client, &Params::begin().with("resource", &agent(PLANNER).to_string())).await;
        assert_eq!(status, 200, "{answer}");
        let token = at.open(answer["access_token"].as_str().unwrap()).await;
        assert!(check(&token, GATEWAY, PLANNER, b"").is_ok());
    }
    // What one began over QUIC the next may go on with over TCP: the same clients, the same rules.
    let (_, answer) = ask(&mut client, &Params::begin().with("resource", &agent(PLANNER).to_string())).await;
    at.token(PLANNER, Params::replace(answer["access_token"].as_str().unwrap(), BOOKING)).await;
}

#[tokio::test]
async fn over_quic_no_second_way_to_authenticate_is_taken() {
    let at = Fixture::new().await;
    let (_link, connection) = dial(&at, GATEWAY).await;
    let mut client = client(&connection).await;
    let (status, answer) =
        ask(&mut client, &Params::begin().with_assertion(&assertion(PLANNER, &serde_json::json!({})))).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_request")));
    let (status, answer) = ask(&mut client, &Params::begin().with("client_id", "planner")).await;
    assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(ask(&mut client, &Params::begin().with("client_id", "gateway")).await.0, 200);
}

/// contracts/txts.md N32.
#[tokio::test]
async fn a_stranger_is_turned_away_and_one_who_left_the_policy_gets_nothing_more() {
    let at = Fixture::new().await;
    let (_link, stranger) = dial(&at, 77).await;
    // It may leave a frame for an agent, and nothing else (contracts/mailbox.md section 2).
    let _stream = stranger.open(StreamKind::Http).await.unwrap();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(5), stranger.closed()).await;
    match closed.expect("it is closed at once") {
        CloseReason::ByPeer { code, .. } => assert_eq!(code, CloseCode::STRANGER),
        other => panic!("{other:?}"),
    }
    let (_link, connection) = dial(&at, GATEWAY).await;
    let mut client = client(&connection).await;
    assert_eq!(ask(&mut client, &Params::begin()).await.0, 200);
    write_policy(at.folder.path(), &policy().replace(&agent(GATEWAY).to_string(), &agent(78).to_string()));
    at.node().reload().await.unwrap();
    let (status, answer) = ask(&mut client, &Params::begin()).await;
    assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")));
}

/// contracts/txts.md N34.
#[tokio::test]
async fn one_agent_has_a_few_connections_and_one_more_ends_its_oldest() {
    let at = Fixture::new().await;
    let (_link, other) = dial(&at, PLANNER).await;
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key(GATEWAY)).unwrap();
    let mut held = Vec::new();
    for _ in 0..=limit::NODE_CONNECTIONS_PER_PEER {
        let connection = link.dial(at.node().id(), at.node().quic_addr().unwrap()).await.unwrap();
        assert_eq!(ask(&mut client(&connection).await, &Params::begin()).await.0, 200);
        held.push(connection);
    }
    match tokio::time::timeout(std::time::Duration::from_secs(5), held[0].closed()).await.expect("it is closed") {
        CloseReason::ByPeer { code, .. } => assert_eq!(code, CloseCode::REPLACED),
        reason => panic!("{reason:?}"),
    }
    for connection in &held[1..] {
        assert_eq!(ask(&mut client(connection).await, &Params::begin()).await.0, 200);
    }
    assert!(other.close_reason().is_none(), "another's are its own");
}

/// contracts/transport.md T20.
#[tokio::test]
async fn whoever_ends_its_half_behind_a_request_still_hears_the_answer() {
    let at = Fixture::new().await;
    let (_link, connection) = dial(&at, GATEWAY).await;
    let (mut send, mut recv) = connection.open(StreamKind::Http).await.unwrap();
    send.write_all(b"GET /health/live HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(4096).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}
