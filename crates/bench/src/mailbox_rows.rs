//! Frames left at a node, each on its disk before the answer, beside the node's store alone with the same rows.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use nuncio_node::Node;
use nuncio_proto::deposit::{Deposit, MailboxSecret};
use nuncio_proto::step::Op;
use nuncio_store::{Staged, Store, Writer};
use nuncio_transport::{Connection, Link, StreamKind};
use tokio::task::JoinSet;

use crate::cpu::ASKING;
use crate::http::one_core;
use crate::measure::Row;
use crate::serving::{agent, dial, kek, start};

/// Agents with a mailbox, in turn.
const AGENTS: u8 = 16;
/// Connections of those who leave frames.
const GUESTS: usize = 8;
/// Frames that one connection has under way at once.
const AT_ONCE: usize = 32;
/// Frames that each of these leaves, one after the other.
const EACH: usize = 100;
const FRAME_LEN: usize = 1_024;

type Guest = Arc<(Link, Connection)>;

/// Deposits a second over QUIC, durable, beside the node's store alone: the same rows, as many at once.
pub(crate) fn deposit() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let serving = one_core("bench-node")?;
    let node = start(folder.path(), AGENTS, &serving)?;
    let asking = one_core(ASKING)?;
    let ours = asking.block_on(leave_all(&node))?;
    serving.block_on(node.stop())?;
    let its = asking.block_on(write_all(folder.path()))?;
    Ok(Row {
        unit: "1/s",
        ours,
        beside: Some(("the store alone: such rows, as many at once", its)),
        less_is_better: false,
    })
}

fn secret(seed: u8) -> MailboxSecret {
    MailboxSecret::new([seed; 32])
}

async fn open_mailbox(node: &Node, seed: u8) -> Result<()> {
    let (_link, connection) = dial(node, seed).await?;
    let (send, recv) = connection.open(StreamKind::Http).await?;
    let (mut client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await?;
    tokio::spawn(driver);
    let secret = Bytes::copy_from_slice(secret(seed).expose());
    let request = Request::put("/mailbox/secret").header("host", "node").body(Full::new(secret))?;
    let status = client.send_request(request).await?.status();
    ensure!(status.is_success(), "no mailbox: {status}");
    Ok(())
}

async fn leave_all(node: &Node) -> Result<f64> {
    for seed in 1..=AGENTS {
        open_mailbox(node, seed).await?;
    }
    let mut guests: Vec<Guest> = Vec::new();
    for seed in 0..GUESTS {
        guests.push(Arc::new(dial(node, u8::try_from(100 + seed)?).await?));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..GUESTS * AT_ONCE {
        let guest = Arc::clone(guests.get(task % GUESTS).context("a guest")?);
        tasks.spawn(leave(guest, u16::try_from(task)?));
    }
    while let Some(left) = tasks.join_next().await {
        left??;
    }
    Ok(rate(begun))
}

/// Leaves frames one after the other, each task with a key of its own.
async fn leave(guest: Guest, task: u16) -> Result<()> {
    for number in 0..EACH {
        let seed = u8::try_from((usize::from(task) + number) % usize::from(AGENTS))? + 1;
        let mut id = [0; 16];
        id.iter_mut().zip(task.to_be_bytes()).for_each(|(to, from)| *to = from);
        let to = vec![(agent(seed)?, Some(secret(seed).deposit_key(id)))];
        let deposit = Deposit::new(to, vec![7; FRAME_LEN])?.to_bytes();
        let (mut send, mut recv) = guest.1.open(StreamKind::Deposit).await?;
        send.write_all(&deposit).await?;
        send.finish()?;
        let answer = recv.read_to_end(2).await?;
        ensure!(answer == [0, 0], "a frame was not kept: {answer:?}");
    }
    Ok(())
}

/// Rows as long as those of the node, by as many as wait for theirs at once.
async fn write_all(folder: &Path) -> Result<f64> {
    let store = Arc::new(Store::create(&folder.join("alone"), &kek())?);
    let answer = |durable: Vec<nuncio_store::Durable<tokio::sync::oneshot::Sender<()>>>| {
        for one in durable {
            // Its task waits for it.
            let _ = one.into_inner().send(());
        }
    };
    let writer = Arc::new(Writer::spawn(store, answer, |_| {})?);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..GUESTS * AT_ONCE {
        let writer = Arc::clone(&writer);
        tasks.spawn(async move {
            for number in 0..EACH {
                let key = [b"V".as_slice(), &task.to_be_bytes(), &[0; 24], &number.to_be_bytes()].concat();
                let (ticket, durable) = tokio::sync::oneshot::channel();
                let ops = vec![Op::Put { key, value: vec![7; FRAME_LEN + 16] }];
                ensure!(writer.try_submit(Staged { ops, ticket }).is_ok(), "the writer has too much to do");
                durable.await?;
            }
            Ok(())
        });
    }
    while let Some(written) = tasks.join_next().await {
        written??;
    }
    Ok(rate(begun))
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count far below 2^52")]
fn rate(begun: Instant) -> f64 {
    (GUESTS * AT_ONCE * EACH) as f64 / begun.elapsed().as_secs_f64()
}
