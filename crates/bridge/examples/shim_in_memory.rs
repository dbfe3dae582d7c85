//! A shim over an agent's local API in this process, behind which is a small MCP server: what an MCP client starts, to be tried by hand. The agent
//! dies and comes again now and then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../tests/memory/agent.rs"]
mod agent;
#[path = "../tests/memory/line.rs"]
mod line;
#[path = "../tests/memory/server.rs"]
mod server;

use std::time::Duration;

use nuncio_bridge::shim;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let mut agent = agent::Agent::new(server::line());
    agent.start();
    let remote = agent.remote();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            agent.kill().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            agent.start();
        }
    });
    let ended = shim::run(remote, tokio::io::stdin(), tokio::io::stdout(), CancellationToken::new()).await;
    // A read of the input that is under way would keep the runtime.
    std::process::exit(i32::from(ended.is_err()))
}
