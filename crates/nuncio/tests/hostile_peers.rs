//! Peers that were added, hold their keys, and do as they like: each has a bare link instead of an agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nuncio::{Agent, AgentId, Config, ContentType, Invitation, Message};
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_transport::{CloseCode, CloseReason, Connection, Link, LinkConfig, RecvStream, StreamKind, TransportError};

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

/// An agent, and a peer of it that has nothing but a key and a link.
struct Scene {
    bob: Agent,
    addr: SocketAddr,
    link: Link,
    peer: AgentId,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path()).listen(([127, 0, 0, 1], 0).into()).letters_without_token();
        let bob = Agent::open(config).await.unwrap();
        let key = SigningKey::from_seed(&[3; 32]);
        let peer = AgentId::from_bytes(key.public()).unwrap();
        let invitation =
            Invitation { agent: peer, endpoints: Vec::new(), mailbox: None, bundle_hash: None, knock: None };
        bob.add_peer(&invitation, Some("peer")).await.unwrap();
        let addr = bob.status().await.unwrap().listening.unwrap().parse().unwrap();
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key).unwrap();
        Self { bob, addr, link, peer, dir }
    }

    async fn dial(&self) -> Connection {
        within(self.link.dial(self.bob.id(), self.addr)).await.unwrap()
    }
}

/// The code of the reset that ends a stream, after whatever came on it.
async fn reset_code(stream: &mut RecvStream) -> CloseCode {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match within(stream.read(&mut bytes)).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended in order"),
            Err(error) => match TransportError::from(error) {
                TransportError::StreamReset(code) => return code,
                other => panic!("{other}"),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peer_is_cut_off_and_gets_nothing_more() {
    let scene = Scene::new().await;
    let (quiet, talking) = (scene.dial().await, scene.dial().await);
    // One connection carries frames, the other asks for things alone.
    let _frames = talking.open(StreamKind::Frames).await.unwrap();
    let (mut send, mut recv) = quiet.open(StreamKind::Prekeys).await.unwrap();
    send.finish().unwrap();
    assert!(!within(recv.read_to_end(limit::BUNDLE_LEN_MAX)).await.unwrap().is_empty());
    let left = scene.bob.status().await.unwrap().one_time_prekeys;

    assert!(scene.bob.remove_peer(scene.peer).await.unwrap());
    for connection in [&quiet, &talking] {
        let why = within(connection.closed()).await;
        assert!(matches!(why, CloseReason::ByPeer { code: CloseCode::STRANGER, .. }), "{why}");
    }
    let again = scene.dial().await;
    let why = within(again.closed()).await;
    assert!(matches!(why, CloseReason::ByPeer { code: CloseCode::STRANGER, .. }), "{why}");
    let status = scene.bob.status().await.unwrap();
    assert_eq!((status.connections, status.one_time_prekeys), (0, left));
    scene.bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_one_stream_of_frames() {
    let scene = Scene::new().await;
    let connection = scene.dial().await;
    let (_first, mut kept) = connection.open(StreamKind::Frames).await.unwrap();
    within(async {
        while scene.bob.status().await.unwrap().connections == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for _ in 0..20 {
        let (_second, mut refused) = connection.open(StreamKind::Frames).await.unwrap();
        assert_eq!(reset_code(&mut refused).await, CloseCode::PROTOCOL);
    }
    assert_eq!(scene.bob.status().await.unwrap().connections, 1);
    let still = tokio::time::timeout(Duration::from_millis(200), kept.read(&mut [0; 16])).await;
    assert!(still.is_err(), "the first goes on: {still:?}");
    scene.bob.shutdown().await.unwrap();
}

/// contracts/handshake.md H17
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_again_and_again_is_asked_for_no_more_starts_than_are_due() {
    let scene = Scene::new().await;
    scene.bob.send(scene.peer, Message::text("in no session yet")).await.unwrap();
    let began = Instant::now();
    let mut asked: u64 = 0;
    for _ in 0..8 {
        let connection = scene.dial().await;
        let _frames = connection.open(StreamKind::Frames).await.unwrap();
        if let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), connection.accept_stream()).await {
            let (kind, mut send, _) = stream.unwrap();
            assert_eq!(kind, StreamKind::Prekeys);
            send.reset(CloseCode::BUSY.into()).unwrap();
            asked += 1;
        }
        connection.close(CloseCode::CLOSED, "and again");
    }
    let due = 1 + u64::try_from(began.elapsed().as_millis()).unwrap() / time::START_RETRY;
    assert!((1..=due).contains(&asked), "{asked} starts, {due} due");
    scene.bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_its_time_has_a_few_places_and_no_more() {
    let scene = Scene::new().await;
    // More than the network holds, so that each transfer waits for its reader.
    scene.bob.send(scene.peer, Message::bytes(ContentType::BYTES, vec![7; 40 << 20])).await.unwrap();
    let file = std::fs::read_dir(scene.dir.path().join("large/out")).unwrap().next().unwrap().unwrap();
    let id = data_encoding::HEXLOWER.decode(file.file_name().as_encoded_bytes()).unwrap();
    let connection = scene.dial().await;
    let mut taken = Vec::new();
    for _ in 0..limit::FETCHES_PER_PEER {
        taken.push(ask(&connection, &id).await);
        // Its first bytes: it has a place.
        within(taken.last_mut().unwrap().read_exact(&mut [0; 1_000])).await.unwrap();
    }
    assert_eq!(reset_code(&mut ask(&connection, &id).await).await, CloseCode::BUSY);
    // A place that is given back is there for the next.
    taken.pop().unwrap().stop(CloseCode::CANCELLED.into()).unwrap();
    within(async {
        while ask(&connection, &id).await.read_exact(&mut [0; 1_000]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    scene.bob.shutdown().await.unwrap();
}

/// Asks for a payload from its beginning.
async fn ask(connection: &Connection, id: &[u8]) -> RecvStream {
    let (mut send, recv) = connection.open(StreamKind::Large).await.unwrap();
    send.write_all(&[id, &[0; 8]].concat()).await.unwrap();
    send.finish().unwrap();
    recv
}

/// contracts/call.md X41
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_says_nothing_is_shown_out_and_few_are_there_at_once() {
    let scene = Scene::new().await;
    scene.bob.hear_knocks(true).await.unwrap();
    let mut there = Vec::new();
    for seed in 0..u8::try_from(limit::KNOCKING_MAX).unwrap() {
        let key = SigningKey::from_seed(&[100 + seed; 32]);
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key).unwrap();
        let connection = within(link.dial(scene.bob.id(), scene.addr)).await.unwrap();
        there.push((Instant::now(), link, connection));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &SigningKey::from_seed(&[99; 32])).unwrap();
    let one_more = within(link.dial(scene.bob.id(), scene.addr)).await.unwrap();
    let why = within(one_more.closed()).await;
    assert!(matches!(why, CloseReason::ByPeer { code: CloseCode::BUSY, .. }), "{why}");
    let added = scene.dial().await;
    for (since, _, connection) in &there {
        let why = within(connection.closed()).await;
        assert!(matches!(why, CloseReason::ByPeer { code: CloseCode::STRANGER, .. }), "{why}");
        assert!(since.elapsed() < Duration::from_millis(time::STRANGER_STAYS) + Duration::from_secs(3));
    }
    assert!(added.close_reason().is_none(), "who was added stays");
    scene.bob.shutdown().await.unwrap();
}

/// Without it whoever was dialled waits for its own resends, a minute apart after a while, though it knows the other's new address.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_dialled_dials_where_the_connection_ends_and_letters_wait() {
    let scene = Scene::new().await;
    let at = vec![scene.link.local_addr().unwrap().to_string()];
    let invitation = Invitation { agent: scene.peer, endpoints: at, mailbox: None, bundle_hash: None, knock: None };
    scene.bob.add_peer(&invitation, Some("peer")).await.unwrap();
    let connection = scene.dial().await;
    let _frames = connection.open(StreamKind::Frames).await.unwrap();
    within(async {
        while scene.bob.status().await.unwrap().connections == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    scene.bob.send(scene.peer, Message::text("which waits")).await.unwrap();
    let (kind, mut send, _) = within(connection.accept_stream()).await.unwrap();
    assert_eq!(kind, StreamKind::Prekeys);
    send.reset(CloseCode::BUSY.into()).unwrap();
    connection.close(CloseCode::CLOSED, "and gone");
    // Sooner than the next start is due, which would have it dialled as well.
    let soon = Duration::from_millis(time::START_RETRY / 2);
    let back = tokio::time::timeout(soon, scene.link.accept()).await.expect("it is dialled").unwrap();
    assert_eq!(back.peer(), scene.bob.id());
    scene.bob.shutdown().await.unwrap();
}
