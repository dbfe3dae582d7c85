//! Two agents and their letters between a client and an agent of A2A, whose address is the one argument: prints the URL for the client, ends with its
//! input. For clients that are tried by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;

use nuncio::{Agent, Config};
use nuncio_bridge::{Bridge, Front, Guard, allow, expose_a2a, serve_fronts};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

async fn open(home: &Path) -> (Agent, Bridge) {
    let config = Config::new(home).listen(([127, 0, 0, 1], 0).into());
    let config = if Bridge::offers(home).unwrap() { config.serve_calls() } else { config };
    let agent = Agent::open(config).await.unwrap();
    let bridge = Bridge::start(agent.clone(), home).await.unwrap();
    (agent, bridge)
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("the address of an agent of A2A");
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    std::fs::create_dir(&far).unwrap();
    let service = "helper".parse().unwrap();
    expose_a2a(&far, &service, &url).unwrap();
    allow(&far, &service, "near", &["tools.read".to_owned(), "tools.write".to_owned()]).unwrap();
    let ((near, calling), (far, serving)) = (open(&near).await, open(&far).await);
    near.add_peer(&far.invitation().await.unwrap(), Some("far")).await.unwrap();
    far.add_peer(&near.invitation().await.unwrap(), Some("near")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
    let guard = Guard::new(address, None, "secret".to_owned().into());
    let app = Front::new(calling.line(far.id(), service), guard, stopping.clone()).router();
    let served = tokio::spawn(serve_fronts(listener, app, stopping.clone()));
    println!("http://{address}/secret");
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    stopping.cancel();
    served.await.unwrap();
    for (agent, bridge) in [(near, calling), (far, serving)] {
        bridge.stop().await;
        agent.shutdown().await.unwrap();
    }
}
