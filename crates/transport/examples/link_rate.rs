//! What the transport costs beside bare QUIC with the same bytes, on loopback in one process. Bare means quinn's defaults,
//! `write_all` of as many bytes as a batch of ours has, and `read_chunks` without looking at what came.
//!
//! `cargo run --release -p nuncio-transport --example link_rate`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_transport::{FrameReceiver, FrameSender, RecvStream, SendStream, StreamKind};

#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
#[path = "../tests/wire/support.rs"]
mod support;

const FRAME_LEN: usize = 256;
const FRAMES: usize = 200_000;
const BATCH: usize = 64;
const ECHOES: usize = 5_000;
const ROUNDS: usize = 5;

/// Both halves of one stream at both ends.
struct Ends {
    near: (SendStream, RecvStream),
    far: (SendStream, RecvStream),
}

#[tokio::main]
async fn main() {
    let pair = support::pair().await;
    pair.from.welcome();
    let server = support::bare_server(support::honest(2), b"nuncio/1");
    let client = support::honest_client(1);
    let connecting = client.connect(server.local_addr().unwrap(), "nuncio.invalid").unwrap();
    let (near, far) = tokio::join!(connecting, async { server.accept().await.unwrap().await });
    let (near, far) = (near.unwrap(), far.unwrap());

    let (mut rates, mut echoes) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        rates[0].push(framed_rate(ours(&pair).await).await);
        rates[1].push(bare_rate(bare(&near, &far).await).await);
        echoes[0].push(framed_echo(ours(&pair).await).await);
        echoes[1].push(bare_echo(bare(&near, &far).await).await);
    }
    let [rate, rate_bare] = rates.map(median);
    let [echo, echo_bare] = echoes.map(median);
    println!(
        "{FRAME_LEN}-byte frames a second, {BATCH} a write: {rate:>10.0}   bare quinn: {rate_bare:>10.0}   ratio {:.2}",
        rate / rate_bare
    );
    println!(
        "one frame there and back, p50, in us:    {echo:>10.1}   bare quinn: {echo_bare:>10.1}   ratio {:.2}",
        echo_bare / echo
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn ours(pair: &support::Pair) -> Ends {
    let near = pair.to.open(StreamKind::Frames).await.unwrap();
    let (_, send, recv) = pair.from.accept_stream().await.unwrap();
    Ends { near, far: (send, recv) }
}

async fn bare(near: &quinn::Connection, far: &quinn::Connection) -> Ends {
    let mut near = near.open_bi().await.unwrap();
    near.0.write_all(&[1]).await.unwrap();
    let mut far = far.accept_bi().await.unwrap();
    far.1.read_exact(&mut [0]).await.unwrap();
    Ends { near, far }
}

async fn framed_rate(ends: Ends) -> f64 {
    let batch = vec![Bytes::from(vec![7; FRAME_LEN]); BATCH];
    let start = Instant::now();
    let mut sender = FrameSender::new(ends.near.0);
    let sending = tokio::spawn(async move {
        for _ in 0..FRAMES / BATCH {
            sender.send_many(&batch).await.unwrap();
        }
        sender.finish().unwrap();
    });
    let mut receiver = FrameReceiver::new(ends.far.1);
    let (mut frames, mut count) = (Vec::new(), 0);
    loop {
        let more = receiver.recv_many(&mut frames, 256).await.unwrap();
        if more == 0 {
            break;
        }
        count += more;
        frames.clear();
    }
    sending.await.unwrap();
    count as f64 / start.elapsed().as_secs_f64()
}

async fn bare_rate(mut ends: Ends) -> f64 {
    let len = BATCH * (FRAME_LEN + 2);
    let batch = vec![7; len];
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..FRAMES / BATCH {
            ends.near.0.write_all(&batch).await.unwrap();
        }
        ends.near.0.finish().unwrap();
    });
    let mut pieces = [const { Bytes::new() }; 32];
    let mut count = 0;
    while let Some(more) = ends.far.1.read_chunks(&mut pieces).await.unwrap() {
        count += pieces[..more].iter().map(Bytes::len).sum::<usize>();
    }
    sending.await.unwrap();
    count as f64 / (FRAME_LEN + 2) as f64 / start.elapsed().as_secs_f64()
}

async fn framed_echo(ends: Ends) -> f64 {
    let (mut near, mut back) = (FrameSender::new(ends.near.0), FrameReceiver::new(ends.near.1));
    let (mut far, mut there) = (FrameSender::new(ends.far.0), FrameReceiver::new(ends.far.1));
    tokio::spawn(async move {
        let mut frames = Vec::new();
        while there.recv_many(&mut frames, 16).await.unwrap() > 0 {
            far.send_many(&frames).await.unwrap();
            frames.clear();
        }
    });
    let frame = [Bytes::from(vec![7; FRAME_LEN])];
    let (mut frames, mut taken) = (Vec::new(), Vec::with_capacity(ECHOES));
    for _ in 0..ECHOES {
        let start = Instant::now();
        near.send_many(&frame).await.unwrap();
        back.recv_many(&mut frames, 16).await.unwrap();
        taken.push(start.elapsed());
        frames.clear();
    }
    near.finish().unwrap();
    p50(taken)
}

async fn bare_echo(mut ends: Ends) -> f64 {
    tokio::spawn(async move {
        let mut frame = [0; FRAME_LEN + 2];
        while ends.far.1.read_exact(&mut frame).await.is_ok() {
            ends.far.0.write_all(&frame).await.unwrap();
        }
    });
    let (mut frame, mut taken) = ([0; FRAME_LEN + 2], Vec::with_capacity(ECHOES));
    for _ in 0..ECHOES {
        let start = Instant::now();
        ends.near.0.write_all(&frame).await.unwrap();
        ends.near.1.read_exact(&mut frame).await.unwrap();
        taken.push(start.elapsed());
    }
    ends.near.0.finish().unwrap();
    p50(taken)
}

fn p50(mut taken: Vec<Duration>) -> f64 {
    taken.sort();
    taken[taken.len() / 2].as_secs_f64() * 1e6
}
