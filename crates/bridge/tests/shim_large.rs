//! A long answer passes a shim in constant memory. Alone in its process: others' memory would be counted too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/agent.rs"]
mod agent;
#[path = "memory/line.rs"]
mod line;

use std::io::Write as _;
use std::sync::Arc;

use agent::Agent;
use line::Memory;
use nuncio_bridge::{Body, Message, shim};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn a_hundred_megabytes_pass_a_shim_in_constant_memory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let len = 100_usize << 20;
    {
        let mut file = std::io::BufWriter::new(file.as_file());
        file.write_all(br#"{"jsonrpc":"2.0","id":1,"result":""#).unwrap();
        for _ in 0..len >> 10 {
            file.write_all(&[b'x'; 1024]).unwrap();
        }
        file.write_all(b"\"}").unwrap();
    }
    let path = Arc::new(file.into_temp_path());
    let mut agent = Agent::new(Memory::new(move |far, say| {
        far.answer_with(&say, Message { body: Body::File(Arc::clone(&path)), ..Message::json("") });
    }));
    agent.start();
    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (stdout, mut output) = tokio::io::duplex(1 << 16);
    let shim = tokio::spawn(shim::run(agent.remote(), stdin, stdout, CancellationToken::new()));
    let before = resident();
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}\n").await.unwrap();
    let (mut seen, mut most, mut piece) = (0, 0, vec![0; 1 << 16]);
    loop {
        let read = output.read(&mut piece).await.unwrap();
        seen += read;
        most = most.max(resident());
        if piece[..read].last() == Some(&b'\n') {
            break;
        }
    }
    assert!(seen > len);
    let grown = most.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more in memory");
    drop(input);
    shim.await.unwrap().unwrap();
}
