//! Rows of the whole runtime: two processes, real stores, real QUIC on loopback.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use nuncio::{ContentType, Message};
use nuncio_contracts::registry::limit;
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::secret::Key;

use crate::floors;
use crate::measure::Row;
use crate::twin::{Batches, Talk};

const LETTERS: usize = 20_000;
/// Letters under way at once.
const PIPELINE: usize = 512;
const LARGE_LEN: u64 = limit::PAYLOAD_LARGE_MAX;

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

/// Letters of 256 bytes, durable on both sides, pipelined, beside the slower of the store alone and QUIC alone.
pub(crate) fn letters() -> Result<Row> {
    let (seconds, runs, frame_len, dir) = run(pipelined())?;
    let [ours, its] = &runs;
    let groups = (ours.len() + its.len()).max(1);
    let ops: usize = runs.iter().flatten().map(Vec::len).sum();
    let store = floors::replay(dir.path(), runs)?;
    let quinn = run(floors::carry_frames(LETTERS, frame_len))?;
    let count = rate(LETTERS, 1.0);
    eprintln!(
        "durable-letters: {:.0}/s; store alone {:.0}/s, quinn alone {:.0}/s; {groups} commits, {:.1} rows a commit, {:.2} ms a commit",
        count / seconds,
        count / store,
        count / quinn,
        rate(ops, 1.0) / rate(groups, 1.0),
        seconds * 1e3 / (rate(groups, 1.0) / 2.0),
    );
    let beside =
        if store >= quinn { "the store alone, both sides' very batches" } else { "quinn alone, the same bytes" };
    Ok(Row {
        unit: "1/s",
        ours: count / seconds,
        beside: Some((beside, count / store.max(quinn))),
        less_is_better: false,
    })
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

async fn pipelined() -> Result<(f64, [Batches; 2], usize, tempfile::TempDir)> {
    let mut talk = Talk::begin().await?;
    let to = talk.twin.invitation.agent;
    drop(talk.recorder.take());
    talk.twin.ask("forget")?;
    let before = talk.agent.status().await?;
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(PIPELINE));
    let mut under_way = tokio::task::JoinSet::new();
    let start = Instant::now();
    for _ in 0..LETTERS {
        let place = std::sync::Arc::clone(&places).acquire_owned().await?;
        let agent = talk.agent.clone();
        under_way.spawn(async move {
            let id = agent.send(to, Message::bytes(ContentType::BYTES, vec![b'x'; 256])).await?;
            let delivered = agent.delivered(to, id).await;
            drop(place);
            delivered
        });
    }
    while let Some(one) = under_way.join_next().await {
        one??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = talk.agent.status().await?;
    let frames = after.frames_sent.saturating_sub(before.frames_sent).max(1);
    let frame_len = usize::try_from(after.frame_bytes_sent.saturating_sub(before.frame_bytes_sent) / frames)?;
    talk.agent.shutdown().await?;
    let ours = talk.recorder.take();
    let its = talk.twin.finish()?;
    Ok((seconds, [ours, its], frame_len, talk.dir))
}

/// One letter at a time, `send()` to `delivered()`, beside two durable commits and one round trip of QUIC.
///
/// What is beside is measured alone, one straight after the other; what it takes when the machine has slept as long before each as it does in
/// the run is printed too.
pub(crate) fn round_trip() -> Result<Row> {
    let (ours, runs, dir) = run(one_by_one())?;
    let floor = |pause| anyhow::Ok((floors::commits_us(dir.path(), &runs, pause)?, run(floors::echo_us(460, pause))?));
    let (commits, echo) = floor(Duration::ZERO)?;
    let (slow_commits, slow_echo) = floor(Duration::from_secs_f64(ours / 3e6))?;
    eprintln!(
        "durable-round-trip: {ours:.0} us; two commits alone {commits:.0} us, an echo alone {echo:.0} us; \
         each after a pause: {slow_commits:.0} us and {slow_echo:.0} us"
    );
    Ok(Row::time_us(ours, "two durable commits and one QUIC round trip", commits + echo))
}

async fn one_by_one() -> Result<(f64, [Batches; 2], tempfile::TempDir)> {
    let mut talk = Talk::begin().await?;
    let to = talk.twin.invitation.agent;
    let mut times = Vec::new();
    drop(talk.recorder.take());
    talk.twin.ask("forget")?;
    // What the receiver's application does with a letter is no part of its delivery.
    talk.twin.ask("keep")?;
    for _ in 0..400 {
        let start = Instant::now();
        let id = talk.agent.send(to, Message::bytes(ContentType::BYTES, vec![b'x'; 256])).await?;
        talk.agent.delivered(to, id).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let ours = talk.recorder.take();
    talk.agent.shutdown().await?;
    let its = talk.twin.finish()?;
    Ok((floors::median(&mut times), [ours, its], talk.dir))
}

/// A payload of 1 GiB from a file to the peer's disk, beside the sum of QUIC, seal, open and one synced write of as many bytes.
pub(crate) fn large_payload() -> Result<Row> {
    let len = usize::try_from(LARGE_LEN)?;
    let ours = run(send_large(len))?;
    let quinn = run(floors::carry_bulk(len))?;
    let (seal, open) = seal_and_open();
    let write = synced_write(len)?;
    eprintln!(
        "large-payload: {ours:.2} s; quinn {quinn:.2} s, seal {seal:.2} s, open {open:.2} s, synced write {write:.2} s"
    );
    let mib = rate(len >> 20, 1.0);
    let floor = quinn + seal + open + write;
    Ok(Row {
        unit: "MiB/s",
        ours: mib / ours,
        beside: Some(("quinn + seal + open + one synced write", mib / floor)),
        less_is_better: false,
    })
}

async fn send_large(len: usize) -> Result<f64> {
    let mut talk = Talk::begin().await?;
    let to = talk.twin.invitation.agent;
    let path = talk.dir.path().join("payload");
    let mut file = std::fs::File::create(&path)?;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..len >> 20 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let start = Instant::now();
    let id = talk.agent.send(to, Message::file(ContentType::BYTES, &path)).await?;
    talk.agent.delivered(to, id).await?;
    let seconds = start.elapsed().as_secs_f64();
    talk.agent.shutdown().await?;
    talk.twin.ask("forget")?;
    talk.twin.finish()?;
    Ok(seconds)
}

/// Seconds to seal and to open every chunk once.
fn seal_and_open() -> (f64, f64) {
    let payload = PayloadKey { id: [1; 16], key: Key::new([2; 32]), len: LARGE_LEN };
    let mut chunk = vec![b'x'; limit::CHUNK_LEN];
    let (mut seal, mut open) = (0.0, 0.0);
    for index in 0..payload.chunks() {
        let start = Instant::now();
        payload.seal_chunk(index, &mut chunk);
        seal += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let opened = payload.open_chunk(index, &mut chunk).map(<[u8]>::len);
        open += start.elapsed().as_secs_f64();
        chunk.truncate(opened.unwrap_or(limit::CHUNK_LEN));
    }
    (seal, open)
}

fn synced_write(len: usize) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut file = std::fs::File::create(dir.path().join("write"))?;
    let block = vec![b'x'; 1 << 20];
    let start = Instant::now();
    for _ in 0..len >> 20 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(start.elapsed().as_secs_f64())
}
