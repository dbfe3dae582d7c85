//! Large payloads on their own streams: given, fetched from where an earlier try stopped, verified chunk by chunk.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::payload::SEALED_CHUNK_LEN;
use nuncio_transport::{CloseCode, Connection, ReadExactError, RecvStream, SendStream, StreamKind, TransportError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Handle, Progress, blocking, part_path, publish, read_chunk, sealed_chunk_len};
use crate::behind::WriteBehind;
use crate::error::Error;

/// Sealed chunks between the disk's thread and the stream's task.
const CHUNKS_WAITING: usize = 16;

/// How long the other end may keep a stream still.
const PATIENCE: Duration = Duration::from_millis(time::LARGE_PATIENCE);

/// How a try to fetch a payload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    Whole,
    /// The connection ended; the next one goes on from where this one stopped.
    Again,
    Lost,
}

/// Sends a payload's chunks from the one asked for to the last, and counts the bytes.
pub(crate) async fn give(path: PathBuf, from_chunk: u64, mut stream: SendStream, sent: Arc<AtomicU64>) {
    sent.store(from_chunk.saturating_mul(u64::try_from(SEALED_CHUNK_LEN).unwrap_or(u64::MAX)), Ordering::Relaxed);
    let (chunks, mut waiting) = mpsc::channel::<std::io::Result<Bytes>>(CHUNKS_WAITING);
    let reading = tokio::task::spawn_blocking(move || {
        if let Err(error) = read_from(&path, from_chunk, &chunks) {
            // The stream's task may be gone already.
            let _ = chunks.blocking_send(Err(error));
        }
    });
    let mut until = Instant::now() + PATIENCE;
    while let Some(chunk) = waiting.recv().await {
        match chunk {
            Ok(chunk) => {
                let len = u64::try_from(chunk.len()).unwrap_or(0);
                if !matches!(tokio::time::timeout_at(until, stream.write_chunk(chunk)).await, Ok(Ok(()))) {
                    break;
                }
                until = earned(until, Instant::now(), len);
                sent.fetch_add(len, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "a large payload cannot be read");
                drop(stream.reset(CloseCode::BUSY.into()));
                break;
            }
        }
    }
    drop(waiting);
    let _ = stream.finish();
    let _ = reading.await;
}

/// Until when the other end may take or bring the next bytes, after so many (contracts/letter.md L19): they earn it the time that they may take at
/// the least rate, and what it was faster is good for as long as it may keep still.
fn earned(until: Instant, now: Instant, bytes: u64) -> Instant {
    let worth = Duration::from_millis(bytes.saturating_mul(1_000) / limit::LARGE_RATE_MIN);
    (until + worth).min(now + PATIENCE)
}

fn read_from(path: &Path, from_chunk: u64, chunks: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let sealed = u64::try_from(SEALED_CHUNK_LEN).unwrap_or(u64::MAX);
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from_chunk.saturating_mul(sealed)))?;
    loop {
        let mut chunk = Vec::with_capacity(4 * SEALED_CHUNK_LEN);
        let read = Read::by_ref(&mut file).take(4 * sealed).read_to_end(&mut chunk)?;
        if read == 0 || chunks.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
    }
}

/// Fetches a payload, from where an earlier try stopped: where that is, is looked up only if it is not known. Returns how many chunks are verified and
/// on disk at the end, if that is certain.
pub(crate) async fn fetch(
    connection: Connection,
    handle: Handle,
    path: PathBuf,
    verified: Option<u64>,
    progress: watch::Sender<Progress>,
) -> (Fetched, Option<u64>) {
    let from_chunk = match verified {
        Some(verified) => Ok(verified),
        None => {
            let (handle, path) = (handle.clone(), path.clone());
            blocking(move || verified_chunks(&handle, &part_path(&path))).await
        }
    };
    match from_chunk {
        Ok(from_chunk) => fetch_from(connection, handle, path, from_chunk, progress).await,
        Err(error) => {
            tracing::warn!(%error, "a large payload cannot be written");
            (Fetched::Again, None)
        }
    }
}

async fn fetch_from(
    connection: Connection,
    handle: Handle,
    path: PathBuf,
    from_chunk: u64,
    progress: watch::Sender<Progress>,
) -> (Fetched, Option<u64>) {
    let nothing = (Fetched::Again, Some(from_chunk));
    let Ok(Ok((mut send, recv))) = tokio::time::timeout(PATIENCE, connection.open(StreamKind::Large)).await else {
        return nothing;
    };
    let request = [handle.id.as_slice(), &from_chunk.to_be_bytes()].concat();
    if send.write_all(&request).await.is_err() || send.finish().is_err() {
        return nothing;
    }
    let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING);
    let writing = {
        let handle = handle.clone();
        tokio::task::spawn_blocking(move || write_verified(&handle, &path, from_chunk, waiting, &progress))
    };
    let lost = receive(recv, &handle, from_chunk, chunks).await;
    match writing.await {
        Ok(Ok(verified)) if verified == handle.chunks() => (Fetched::Whole, Some(verified)),
        Ok(Ok(verified)) => (if lost { Fetched::Lost } else { Fetched::Again }, Some(verified)),
        Ok(Err(Error::PayloadLost)) => (Fetched::Lost, None),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a large payload cannot be written");
            (Fetched::Again, None)
        }
        Err(_) => (Fetched::Again, None),
    }
}

/// Takes chunks from a stream as they come, to its end or its last patience. `true`: the sender has the payload no more.
async fn receive(mut stream: RecvStream, handle: &Handle, from_chunk: u64, chunks: mpsc::Sender<Vec<u8>>) -> bool {
    let mut until = Instant::now() + PATIENCE;
    for index in from_chunk..handle.chunks() {
        let mut chunk = vec![0; sealed_chunk_len(handle, index)];
        match tokio::time::timeout_at(until, stream.read_exact(&mut chunk)).await {
            Ok(Ok(())) => {
                until = earned(until, Instant::now(), u64::try_from(chunk.len()).unwrap_or(0));
                if chunks.send(chunk).await.is_err() {
                    return false;
                }
            }
            // contracts/letter.md L17: only this says that the sender has it no more.
            Ok(Err(ReadExactError::ReadError(error))) => {
                return matches!(TransportError::from(error), TransportError::StreamReset(code) if code == CloseCode::CANCELLED);
            }
            Ok(Err(ReadExactError::FinishedEarly(_))) | Err(_) => return false,
        }
    }
    false
}

/// How many chunks at the start of a part file are whole and authentic. What follows is cut off.
fn verified_chunks(handle: &Handle, part: &Path) -> Result<u64, Error> {
    let Ok(file) = File::options().read(true).write(true).open(part) else { return Ok(0) };
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    let mut chunk = Vec::with_capacity(SEALED_CHUNK_LEN);
    let mut verified = 0;
    while verified < handle.chunks() {
        if read_chunk(handle, verified, &mut reader, &mut chunk).is_err()
            || handle.open_chunk(verified, &mut chunk).is_err()
        {
            break;
        }
        verified += 1;
    }
    let sealed = u64::try_from(SEALED_CHUNK_LEN).unwrap_or(u64::MAX);
    let len = verified.saturating_mul(sealed).min(handle.sealed_len());
    file.set_len(len).map_err(Error::file(part))?;
    Ok(verified)
}

/// Verifies each chunk and writes it. Returns how many are on disk; when they are all, the payload is there under its name.
fn write_verified(
    handle: &Handle,
    path: &Path,
    from_chunk: u64,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    progress: &watch::Sender<Progress>,
) -> Result<u64, Error> {
    let part = part_path(path);
    if let Some(parent) = part.parent() {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    let file = File::options().append(true).create(true).mode(0o600).open(&part).map_err(Error::file(&part))?;
    let writer = WriteBehind::new(file).map_err(Error::file(&part))?;
    let mut index = from_chunk;
    let mut arrived = index.saturating_mul(u64::try_from(limit::CHUNK_LEN).unwrap_or(0)).min(handle.len);
    let mut opened: Vec<u8> = Vec::with_capacity(SEALED_CHUNK_LEN);
    let mut authentic = true;
    while let Some(chunk) = waiting.blocking_recv() {
        opened.clone_from(&chunk);
        authentic = handle.open_chunk(index, &mut opened).is_ok();
        if !authentic || !writer.push(chunk) {
            break;
        }
        arrived += u64::try_from(handle.chunk_len(index)).unwrap_or(0);
        index += 1;
        // Nobody may be looking.
        progress.send_replace(Progress::Arrived(arrived));
    }
    writer.finish().map_err(Error::file(&part))?;
    if !authentic {
        return Err(Error::PayloadLost);
    }
    if index == handle.chunks() {
        publish(&part, path)?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brings so much in every second until its patience is over.
    fn seconds_at(bytes_per_second: u64) -> u64 {
        let start = Instant::now();
        let mut until = start + PATIENCE;
        (1..100_000)
            .find(|second| {
                let now = start + Duration::from_secs(*second);
                let over = now > until;
                until = earned(until, now, bytes_per_second);
                over
            })
            .unwrap_or(u64::MAX)
    }

    #[test]
    fn a_transfer_that_drips_ends_and_one_that_keeps_up_does_not() {
        assert_eq!(seconds_at(0), 31);
        assert_eq!(seconds_at(limit::LARGE_RATE_MIN / 2), 60);
        assert_eq!(seconds_at(limit::LARGE_RATE_MIN), u64::MAX);
        // What came fast at first is not saved up.
        let (start, mut until) = (Instant::now(), Instant::now() + PATIENCE);
        until = earned(until, start, 1 << 30);
        assert!(until <= start + PATIENCE);
    }
}
