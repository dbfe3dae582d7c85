//! How long an agent waits for the receipts of its events, while others give theirs to the same log: from when they were due, not from when they
//! could be sent, so that a log that falls behind shows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nuncio_node::{Config, Node, init};
use nuncio_proto::audit::Chain;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::time::UnixMillis;
use nuncio_store::Kek;
use nuncio_transport::{Connection, Link, LinkConfig, StreamKind};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

use crate::cpu::ASKING;
use crate::http::one_core;
use crate::log_rows::sent;
use crate::measure::Row;

/// Agents that give events, each over a connection of its own.
const AGENTS: u8 = 20;
/// Events of one request.
const EVENTS: usize = 10;
/// Between two requests of one agent: 5,000 events a second in all.
const EVERY: Duration = Duration::from_millis(40);
/// Requests of each agent: 20 seconds of them.
const REQUESTS: usize = 500;
const DOMAIN: &str = "acme.example";

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
    let node = start(folder.path(), &serving)?;
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

fn start(folder: &Path, runtime: &Runtime) -> Result<Node> {
    let (home, policy) = (folder.join("home"), folder.join("policy.toml"));
    let kek = || Kek::from_key(Key::new([7; 32]));
    init(&home, &kek())?;
    let agents =
        (1..=AGENTS).map(|seed| Ok(format!("[[client]]\nname = \"agent-{seed}\"\ndid = \"{}\"\n", agent(seed)?)));
    let agents = agents.collect::<Result<String>>()?;
    let service = format!(
        "schema = \"nuncio/policy/1\"\n[service]\ntrust_domain = \"{DOMAIN}\"\nissuer = \"https://txts.example\"\ntransaction_life_s = 3600\n"
    );
    std::fs::write(&policy, service + &agents)?;
    let mut config = Config::new(home, kek(), policy);
    config.quic = Some("127.0.0.1:0".parse()?);
    Ok(runtime.block_on(Node::start(config))?)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn agent(seed: u8) -> Result<AgentId> {
    Ok(AgentId::from_bytes(key(seed).public())?)
}

impl Giver {
    async fn new(seed: u8, node: &Node) -> Result<Self> {
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), &key(seed))?;
        let connection = link.dial(node.id(), node.quic_addr().context("an address")?).await?;
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
