use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server whose answers are two writes, head and body, and which ends each connection after so many.
struct Server {
    url: Url,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

async fn server(answers: usize) -> Server {
    server_that_takes(Duration::ZERO, answers).await
}

/// So long between the head of an answer and its body.
async fn server_that_takes(time: Duration, answers: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rpc?a=b", listener.local_addr().unwrap()).parse().unwrap();
    let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = Server { url, connections: Arc::clone(&connections), open: Arc::clone(&open) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            open.fetch_add(1, Ordering::Relaxed);
            let open = Arc::clone(&open);
            tokio::spawn(async move {
                let _ = answer(stream, answers, time).await;
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    server
}

async fn answer(mut stream: TcpStream, answers: usize, time: Duration) -> io::Result<()> {
    for _ in 0..answers {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        assert!(head.starts_with(b"GET /rpc?a=b HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await?;
        sleep(time).await;
        stream.write_all(b"do").await?;
        stream.write_all(b"ne").await?;
    }
    Ok(())
}

async fn ask(plain: &Plain, url: &Url) {
    let response = plain.send(Request::new(Method::GET, url.clone())).await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "done");
}

/// As long as it takes to see that a connection lasts.
async fn pause() {
    sleep(LASTS * 3).await;
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_lasts_is_used_again_and_none_is_kept_that_nobody_uses() {
    let (server, plain) = (server(usize::MAX).await, Plain::new(Duration::from_secs(5)));
    ask(&plain, &server.url).await;
    ask(&plain, &server.url).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 2, "nobody knows yet that they last");
    pause().await;
    for _ in 0..50 {
        ask(&plain, &server.url).await;
    }
    // One whose answer has just ended may not be free yet.
    let connections = server.connections.load(Ordering::Relaxed);
    assert!(connections < 20, "{connections} for 52 requests");
    sleep(KEPT + LASTS * 3).await;
    assert_eq!(server.open.load(Ordering::Relaxed), 0, "none is kept that nobody uses");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_on_a_connection_that_its_server_may_just_be_ending() {
    let (server, plain) = (server(1).await, Plain::new(Duration::from_secs(5)));
    for round in 1..=3 {
        for _ in 0..20 {
            ask(&plain, &server.url).await;
        }
        assert_eq!(server.connections.load(Ordering::Relaxed), 20 * round);
        pause().await;
    }
}

/// What lasts does so behind its answer's end, however long that took to come.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_long_in_coming_does_not_show_that_its_connection_lasts() {
    let (server, plain) = (server_that_takes(LASTS * 2, usize::MAX).await, Plain::new(Duration::from_secs(5)));
    ask(&plain, &server.url).await;
    let seen = || {
        let mut idle = lock(&plain.idle);
        idle.sweep();
        idle.kept.last().and_then(|kept| kept.ended).map(|ended| (idle.lasts, ended))
    };
    let (lasts, ended) = loop {
        if let Some(seen) = seen() {
            break seen;
        }
        tokio::task::yield_now().await;
    };
    assert!(!lasts || ended.elapsed() >= LASTS, "it lasts since {:?}", ended.elapsed());
}
