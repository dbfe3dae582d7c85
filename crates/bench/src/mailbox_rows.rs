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
use nuncio_proto::deposit::{Deposit, DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::step::Op;
use nuncio_store::{Staged, Store, Writer};
use nuncio_transport::{Connection, FrameSender, Link, StreamKind};
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
/// Frames that are left for each of these, over the same connection.
const EACH: usize = 100;
const FRAME_LEN: usize = 1_024;

type Guest = (Link, Connection);
/// An agent, and a key to its mailbox.
type To = (AgentId, DepositKey);

/// Deposits a second over QUIC, durable, beside the node's store alone: the same rows, as many at once. Those who leave them share the machine.
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
    let mut guests: Vec<(Guest, Vec<To>)> = Vec::new();
    for seed in 100..100 + u8::try_from(GUESTS)? {
        guests.push((dial(node, seed).await?, recipients(seed)?));
    }
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for (guest, to) in guests {
        tasks.spawn(leave(guest, to));
    }
    while let Some(left) = tasks.join_next().await {
        left??;
    }
    Ok(rate(begun))
}

/// Whom a guest leaves frames for: with so many keys that none has more than its burst.
fn recipients(guest: u8) -> Result<Vec<To>> {
    let to = |key: u8| {
        let seed = (guest + key) % AGENTS + 1;
        let mut id = [0; 16];
        [id[0], id[1]] = [guest, key];
        Ok((agent(seed)?, secret(seed).deposit_key(id)))
    };
    (0..u8::try_from(AT_ONCE)?).map(to).collect()
}

/// Leaves frames over one stream, so many under way at once.
async fn leave((_link, connection): Guest, to: Vec<To>) -> Result<()> {
    let (send, mut answers) = connection.open(StreamKind::Deposit).await?;
    let mut send = FrameSender::deposits(send);
    let mut left = to.iter().cycle().take(AT_ONCE * EACH);
    // Of answers, each of which has two.
    let (mut bytes_to_come, mut answer) = (0_usize, [0; 2 * AT_ONCE]);
    loop {
        let next = left.by_ref().take(AT_ONCE - bytes_to_come.div_ceil(2)).map(|(agent, key)| {
            let deposit = Deposit::new(vec![(*agent, Some(key.clone()))], vec![7; FRAME_LEN])?;
            Ok(Bytes::from(deposit.to_bytes()))
        });
        let next = next.collect::<Result<Vec<_>>>()?;
        bytes_to_come += 2 * next.len();
        if bytes_to_come == 0 {
            return Ok(());
        }
        send.send_many(&next).await?;
        let len = answers.read(&mut answer).await?.context("no answer")?;
        let answer = answer.get(..len).context("an answer")?;
        ensure!(answer.iter().all(|byte| *byte == 0), "a frame was not kept: {answer:?}");
        bytes_to_come -= len;
    }
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
