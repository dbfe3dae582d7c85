//! What is long passes in constant memory. Alone in its process: others' memory would be counted too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/line.rs"]
mod line;

use client::front;
use line::Memory;
use nuncio_bridge::Message;

/// The most bytes that this process ever had in memory.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Bytes that this process has in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn a_hundred_megabytes_pass_in_constant_memory() {
    use http_body_util::BodyExt as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    let len = 100_u64 << 20;
    {
        use std::io::Write as _;
        let mut file = std::io::BufWriter::new(file.as_file());
        file.write_all(br#"{"jsonrpc":"2.0","id":1,"result":""#).unwrap();
        for _ in 0..len >> 10 {
            file.write_all(&[b'x'; 1024]).unwrap();
        }
        file.write_all(b"\"}").unwrap();
    }
    let path = std::sync::Arc::new(file.into_temp_path());
    let memory = Memory::new(move |far, say| {
        let body = nuncio_bridge::Body::File(std::sync::Arc::clone(&path));
        far.answer_with(&say, Message { body, ..Message::json("") });
    });
    let front = front(memory.clone()).await;
    // A message that is too long is passed over without being kept.
    let long = bytes::Bytes::from(vec![b' '; 60 << 20]);
    let before = resident();
    assert_eq!(front.post(&[], long.clone()).await.status(), 413);
    let grown = peak().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more in memory");
    drop(long);
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    for accept in ["application/json", "text/event-stream"] {
        let before = resident();
        let mut body = front.post(&[("accept", accept)], init).await.into_body();
        let (mut seen, mut most) = (0_u64, 0);
        while let Some(frame) = body.frame().await {
            seen += frame.unwrap().into_data().unwrap().len() as u64;
            most = most.max(resident());
        }
        assert!(seen > len, "{seen}");
        let grown = most.saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes more in memory with {accept}");
    }
}
