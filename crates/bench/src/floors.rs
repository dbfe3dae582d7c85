//! What the runtime's rows are measured beside: the store alone, the transport alone, the disk alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_store::{Engine, Kek, Op, Store};
use nuncio_transport::{FrameReceiver, FrameSender, Link, LinkConfig, StreamKind};

use crate::twin::Batches;

fn store_at(dir: &Path) -> Result<Store> {
    Ok(Store::create(dir, &Kek::from_key(Key::new([7; 32])))?)
}

/// Seconds in which as many stores, side by side, commit what agents committed: the same keys, sizes and groups.
pub(crate) fn replay(dir: &Path, runs: impl IntoIterator<Item = Batches>) -> Result<f64> {
    let runs = runs.into_iter().zip(0..);
    let runs = runs.map(|(batches, number)| Ok((store_at(&dir.join(format!("replay-{number}")))?, batches)));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let commit = |(store, batches): (Store, Batches)| {
        std::thread::spawn(move || batches.into_iter().try_for_each(|batch| store.commit(&ops(batch))))
    };
    let threads: Vec<_> = runs.into_iter().map(commit).collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a replay ended early"))??;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn ops(batch: Vec<(Vec<u8>, Option<usize>)>) -> Vec<Op> {
    let op = |(key, len): (Vec<u8>, Option<usize>)| match len {
        Some(len) => Op::Put { key, value: vec![7; len] },
        None => Op::Delete { key },
    };
    batch.into_iter().map(op).collect()
}

/// Microseconds of one durable commit of two agents' very batches, one agent's after the other's: the sum of the medians. Each commit comes a
/// pause after the one before.
pub(crate) fn commits_us(dir: &Path, runs: &[Batches; 2], pause: Duration) -> Result<f64> {
    let [a, b] = runs;
    let stores = [store_at(&dir.join("commit-a"))?, store_at(&dir.join("commit-b"))?];
    let mut times = [Vec::new(), Vec::new()];
    for pair in a.iter().zip(b) {
        for ((store, batch), times) in stores.iter().zip([pair.0, pair.1]).zip(&mut times) {
            let ops = ops(batch.clone());
            std::thread::sleep(pause);
            let start = Instant::now();
            store.commit(&ops)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    drop(stores);
    for name in ["commit-a", "commit-b"] {
        std::fs::remove_dir_all(dir.join(name))?;
    }
    Ok(times.iter_mut().map(|times| median(times)).sum())
}

pub(crate) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two endpoints and a connection between them.
async fn linked() -> Result<(Arc<Link>, Link, nuncio_transport::Connection, nuncio_transport::Connection)> {
    let keys = [SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32])];
    let [a, b] = &keys;
    let one = Arc::new(Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), a)?);
    let two = Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), b)?;
    let accepting = Arc::clone(&one);
    let accept = tokio::spawn(async move { accepting.accept().await });
    let dialled = two.dial(AgentId::from_bytes(a.public())?, one.local_addr()?).await?;
    let (mut send, recv) = dialled.open(StreamKind::Prekeys).await?;
    send.finish()?;
    drop(recv);
    let accepted = accept.await?.context("a connection")?;
    accepted.welcome();
    Ok((one, two, dialled, accepted))
}

/// Seconds in which QUIC alone carries so many frames of a length.
pub(crate) async fn carry_frames(count: usize, len: usize) -> Result<f64> {
    let (_one, _two, dialled, accepted) = linked().await?;
    let receiving = tokio::spawn(async move {
        let mut got = 0;
        loop {
            let (kind, _, recv) = accepted.accept_stream().await?;
            if kind != StreamKind::Frames {
                continue;
            }
            let mut receiver = FrameReceiver::new(recv);
            let mut frames = Vec::new();
            while got < count {
                frames.clear();
                got += receiver.recv_many(&mut frames, 256).await?;
            }
            return anyhow::Ok(());
        }
    });
    let (send, _recv) = dialled.open(StreamKind::Frames).await?;
    let mut sender = FrameSender::new(send);
    let batch: Vec<Bytes> = (0..16).map(|_| Bytes::from(vec![7; len])).collect();
    let start = Instant::now();
    for _ in 0..count.div_ceil(16) {
        sender.send_many(&batch).await?;
    }
    receiving.await??;
    Ok(start.elapsed().as_secs_f64())
}

/// Microseconds of one frame's way there and another's back, the median of many, each a pause after the one before.
pub(crate) async fn echo_us(len: usize, pause: Duration) -> Result<f64> {
    let (_one, _two, dialled, accepted) = linked().await?;
    tokio::spawn(async move {
        loop {
            let (kind, send, recv) = accepted.accept_stream().await?;
            if kind != StreamKind::Frames {
                continue;
            }
            let (mut sender, mut receiver) = (FrameSender::new(send), FrameReceiver::new(recv));
            let mut frames = Vec::new();
            while receiver.recv_many(&mut frames, 1).await? > 0 {
                sender.send_many(&frames).await?;
                frames.clear();
            }
            return anyhow::Ok(());
        }
    });
    let (send, recv) = dialled.open(StreamKind::Frames).await?;
    let (mut sender, mut receiver) = (FrameSender::new(send), FrameReceiver::new(recv));
    let mut times = Vec::new();
    for _ in 0..500 {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let start = Instant::now();
        sender.send_many(&[Bytes::from(vec![7; len])]).await?;
        receiver.recv_many(&mut Vec::new(), 1).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

/// Seconds in which QUIC alone carries bytes on one stream.
pub(crate) async fn carry_bulk(len: usize) -> Result<f64> {
    let (_one, _two, dialled, accepted) = linked().await?;
    let receiving = tokio::spawn(async move {
        loop {
            let (kind, _, mut recv) = accepted.accept_stream().await?;
            if kind != StreamKind::Large {
                continue;
            }
            while recv.read_chunk(1 << 16, true).await?.is_some() {}
            return anyhow::Ok(());
        }
    });
    let (mut send, _recv) = dialled.open(StreamKind::Large).await?;
    let chunk = Bytes::from(vec![7; 1 << 16]);
    let start = Instant::now();
    for _ in 0..len.div_ceil(1 << 16) {
        send.write_chunk(chunk.clone()).await?;
    }
    send.finish()?;
    receiving.await??;
    Ok(start.elapsed().as_secs_f64())
}
