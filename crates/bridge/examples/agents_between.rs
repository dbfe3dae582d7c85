//! Two agents and their letters between a client and an agent of A2A, whose address is the one argument: prints the URL for the client, ends with its
//! input. For clients that are tried by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/memory/end.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "tests use the rest")]
mod end;

use end::{End, acquaint};
use nuncio_bridge::{Front, Guard, allow, expose_a2a, serve_fronts};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("the address of an agent of A2A");
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    std::fs::create_dir(&far).unwrap();
    let service = "helper".parse().unwrap();
    expose_a2a(&far, &service, &url).unwrap();
    allow(&far, &service, "near", &["tools.read".to_owned(), "tools.write".to_owned()]).unwrap();
    let (near, far) = (End::open(&near).await, End::open(&far).await);
    acquaint(&near, &far).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
    let guard = Guard::new(address, None, "secret".to_owned().into());
    let app = Front::new(near.bridge.line(far.agent.id(), service), guard, stopping.clone()).router();
    let served = tokio::spawn(serve_fronts(listener, app, stopping.clone()));
    println!("http://{address}/secret");
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    stopping.cancel();
    served.await.unwrap();
    near.stop().await;
    far.stop().await;
}
