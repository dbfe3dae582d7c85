//! A front of a small MCP server in this process: prints its URL, ends with its input. For clients that are tried by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(missing_docs, unreachable_pub, dead_code)]

use std::io::Write as _;

#[path = "../tests/memory/client.rs"]
mod client;
#[path = "../tests/memory/line.rs"]
mod line;
#[path = "../tests/memory/server.rs"]
mod server;

#[tokio::main]
async fn main() {
    let memory = server::line();
    let front = client::front(memory.clone()).await;
    println!("http://{}/secret", front.address);
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    front.stopping.cancel();
    front.served.await.unwrap();
    // Whoever started it may be gone.
    let (said, taken, left) = (memory.said().len(), memory.taken_count(), memory.left().len());
    let _ = writeln!(std::io::stdout(), "{said} said, {taken} taken, {left} left");
}
