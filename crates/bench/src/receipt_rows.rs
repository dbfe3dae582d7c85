//! How long an agent waits for the receipts of its events, while others give theirs to the same log: from when they were due, not from when they
//! could be sent, so that a log that falls behind shows.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nuncio_node::Node;
use nuncio_proto::audit::Chain;
use nuncio_proto::time::UnixMillis;
use nuncio_transport::{Connection, Link, StreamKind};
use tokio::time::{Instant, sleep_until};

use crate::cpu::ASKING;
use crate::http::one_core;
use crate::log_rows::sent;
use crate::measure::Row;
use crate::serving::{agent, dial, key, start};

/// Agents that give events, each over a connection of its own.
const AGENTS: u8 = 20;
/// Events of one request.
const EVENTS: usize = 10;
/// Between two requests of one agent: 5,000 events a second in all.
const EVERY: Duration = Duration::from_millis(40);
/// Requests of each agent: 20 seconds of them.
const REQUESTS: usize = 500;

/// An agent that is connected, and what it will say.
struct Giver {
    client: SendRequest<Full<Bytes>>,
    bodies: Vec<Bytes>,
    _link: (Link, Connection),
}

/// The wait that one request in a hundred exceeds, at 5,000 events a second over QUIC.
pub(crate) fn p99() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let serving = one_core("bench-node")?;
    let node = start(folder.path(), AGENTS, &serving)?;
    let asking = one_core(ASKING)?;
    let givers = (1..=AGENTS).map(|seed| asking.block_on(Giver::new(seed, &node))).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now() + EVERY;
    let tasks: Vec<_> =
        (0..).zip(givers).map(|(turn, giver)| asking.spawn(giver.give(begun + EVERY * turn / AGENTS.into()))).collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(asking.block_on(task)??);
    }
    let took = begun.elapsed().as_secs_f64();
    serving.block_on(node.stop())?;
    waits.sort_unstable();
    let part = |of: usize| waits.get(waits.len().saturating_sub(1) * of / 100).copied().unwrap_or_default();
    let given = waits.len() * EVENTS;
    eprintln!(
        "audit-receipt-p99: {given} events in {took:.1} s; p50 {:?}, p90 {:?}, p99 {:?}",
        part(50),
        part(90),
        part(99)
    );
    Ok(Row { unit: "ms", ours: part(99).as_secs_f64() * 1e3, beside: None, less_is_better: true })
}

impl Giver {
    async fn new(seed: u8, node: &Node) -> Result<Self> {
        let (link, connection) = dial(node, seed).await?;
        let (send, recv) = connection.open(StreamKind::Http).await?;
        let (client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await?;
        tokio::spawn(driver);
        Ok(Self { client, bodies: bodies(seed)?, _link: (link, connection) })
    }

    /// Gives each request when it is due, or as soon as the one before it was answered: how long each waited.
    async fn give(mut self, begun: Instant) -> Result<Vec<Duration>> {
        let mut waits = Vec::new();
        let mut due = begun;
        for body in self.bodies {
            sleep_until(due).await;
            let request = Request::post("/events").header("host", "node").body(Full::new(body))?;
            let answer = self.client.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            waits.push(due.elapsed());
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let answers = answer.get("answers").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
            let are_logged = answers.len() == EVENTS && answers.iter().all(|answer| answer.get("index").is_some());
            ensure!(status == 200 && are_logged, "{status}: {}", String::from_utf8_lossy(&body));
            due += EVERY;
        }
        Ok(waits)
    }
}

/// All that an agent will say, signed before the clock runs.
fn bodies(seed: u8) -> Result<Vec<Bytes>> {
    let (signer, agent, peer) = (key(seed), agent(seed)?, agent(seed + 1)?);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = UnixMillis(u64::try_from(now.as_millis())?);
    let mut chain = Chain::default();
    let mut body = || {
        let mut bytes = Vec::new();
        for _ in 0..EVENTS {
            let signed = sent(&signer, agent, peer, &mut chain, now)?;
            bytes.extend_from_slice(&u16::try_from(signed.as_bytes().len())?.to_be_bytes());
            bytes.extend_from_slice(signed.as_bytes());
        }
        Ok(Bytes::from(bytes))
    };
    (0..REQUESTS).map(|_| body()).collect()
}
