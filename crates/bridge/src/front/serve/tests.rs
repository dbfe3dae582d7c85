use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::routing::any;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

const SOON: Duration = Duration::from_secs(20);

struct Door {
    at: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

/// Answers at once, or with more than anybody reads.
async fn door(bounds: Bounds) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
    let endless = || {
        Body::from_stream(tokio_stream::iter(std::iter::repeat_with(|| {
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 65_536]))
        })))
    };
    let app = Router::new().route("/", any(async || "here")).route("/endless", any(async move || endless()));
    let serving = tokio::spawn(serve_with(listener, None, app, bounds, stopping.clone()));
    Door { at, stopping, serving }
}

fn bounds() -> Bounds {
    Bounds { head: Duration::from_secs(1), write: Some(Duration::from_secs(1)), ..Bounds::of_people(2) }
}

/// Whether the other side ends it.
async fn ends(stream: &mut TcpStream) -> bool {
    let mut all = Vec::new();
    timeout(SOON, stream.read_to_end(&mut all)).await.is_ok()
}

async fn asks(at: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // One that is refused may be closed before it is written to.
    let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").as_bytes()).await;
    stream
}

async fn is_served(at: SocketAddr) -> bool {
    let (mut stream, mut first) = (asks(at, "/").await, [0; 8]);
    matches!(timeout(SOON, stream.read_exact(&mut first)).await, Ok(Ok(_))) && first.starts_with(b"HTTP/1.1")
}

/// contracts/gateway.md W40.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_who_says_no_head_loses_its_own() {
    let door = door(bounds()).await;
    let (mut one, mut two) = (TcpStream::connect(door.at).await.unwrap(), TcpStream::connect(door.at).await.unwrap());
    assert!(!is_served(door.at).await, "both places are taken");
    one.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    assert!(ends(&mut one).await && ends(&mut two).await);
    assert!(is_served(door.at).await);
    door.stopping.cancel();
    door.serving.await.unwrap();
}

/// contracts/gateway.md W40.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_not_kept() {
    let door = door(Bounds { head: SOON * 2, ..bounds() }).await;
    let mut stream = TcpStream::connect(door.at).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let line = format!("x: {}\r\n", "a".repeat(1_000));
    // 100 KiB: more than is read of a head, less than hyper keeps by itself.
    for _ in 0..100 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut said = [0; 12];
    let read = timeout(SOON, stream.read_exact(&mut said)).await.unwrap();
    assert!(read.is_err() || &said == b"HTTP/1.1 431", "{said:?}");
    door.stopping.cancel();
    door.serving.await.unwrap();
}

/// contracts/gateway.md W40.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_of_its_answer_loses_its_place() {
    let door = door(bounds()).await;
    let held = [asks(door.at, "/endless").await, asks(door.at, "/endless").await];
    assert!(!is_served(door.at).await, "both places are taken");
    let since = Instant::now();
    while !is_served(door.at).await {
        assert!(since.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(held);
    door.stopping.cancel();
    door.serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_has_stopped_no_connection_goes_on() {
    let door = door(Bounds { write: None, ..bounds() }).await;
    let mut held = asks(door.at, "/endless").await;
    let mut first = [0; 1];
    held.read_exact(&mut first).await.unwrap();
    door.stopping.cancel();
    timeout(SOON, door.serving).await.unwrap().unwrap();
    assert!(ends(&mut held).await, "it goes on for ever");
}
