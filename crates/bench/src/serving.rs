//! A node that serves agents over QUIC, each by a seed.

use std::path::Path;

use anyhow::{Context, Result};
use nuncio_node::{Config, Node, init};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_store::Kek;
use nuncio_transport::{Connection, Link, LinkConfig};
use tokio::runtime::Runtime;

/// Starts a node whose policy names the agents of the seeds from 1 on.
pub(crate) fn start(folder: &Path, agents: u8, runtime: &Runtime) -> Result<Node> {
    let (home, policy) = (folder.join("home"), folder.join("policy.toml"));
    init(&home, &kek())?;
    let agents =
        (1..=agents).map(|seed| Ok(format!("[[client]]\nname = \"agent-{seed}\"\ndid = \"{}\"\n", agent(seed)?)));
    let agents = agents.collect::<Result<String>>()?;
    let service = "schema = \"nuncio/policy/1\"\n[service]\ntrust_domain = \"acme.example\"\nissuer = \"https://txts.example\"\ntransaction_life_s = 3600\n";
    std::fs::write(&policy, service.to_owned() + &agents)?;
    let mut config = Config::new(home, kek(), policy);
    config.quic = Some("127.0.0.1:0".parse()?);
    Ok(runtime.block_on(Node::start(config))?)
}

pub(crate) fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn agent(seed: u8) -> Result<AgentId> {
    Ok(AgentId::from_bytes(key(seed).public())?)
}

/// Connects to the node as whoever has a seed.
pub(crate) async fn dial(node: &Node, seed: u8) -> Result<(Link, Connection)> {
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), &key(seed))?;
    let connection = link.dial(node.id(), node.quic_addr().context("an address")?).await?;
    Ok((link, connection))
}
