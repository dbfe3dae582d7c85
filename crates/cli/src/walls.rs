//! Strangers, peers and clients that take all that they can of one agent, or of one node, while others ask for what is theirs beside them.
//!
//! What is claimed at every wall: the memory of the one that is attacked stays under a bound that its operator is told (docs/OPERATING.md), of what is
//! tried comes through no more than may, and whoever behaves is served meanwhile.
//!
//! ```text
//!   at an agent    hostile ══▶ ben  ◀── anna         letters
//!   at a node      hostile ══▶ node ◀── anna, ben    letters, each with a token, left in a mailbox, its events in the log
//! ```

mod agent;
mod node;
mod reader;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::rng;
use nuncio_transport::{Link, LinkConfig};

use crate::domain::{Domain, SCOPE};
use crate::kills::make_homes;
use crate::process::{AgentProcess, Program};
use crate::talk;
use crate::wire::{InboxPage, Named, NewPeer, Status};

/// Between two letters of the peer that behaves: fewer than one deposit key takes.
const LETTER_PAUSE: Duration = Duration::from_millis(200);
/// How long one of its letters may take.
const LETTER_PATIENCE: Duration = Duration::from_secs(60);
/// Has an agent's letters told to the log.
const AUDITED: &str = "[audit]\nsessions = \"required\"\n";

/// A wall: what is thrown at it, and how much more memory than before that may take.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    /// Its name, in the table and on the command line.
    pub name: &'static str,
    attack: Attack,
    bound_mib: u64,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Attack {
    Agent(agent::Attack),
    Node(node::Attack),
}

/// How much is thrown.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Handshakes that are begun and not ended.
    pub handshakes: u32,
    /// Connections of strangers that say next to nothing.
    pub slow: u32,
    /// Streams that are opened and abandoned.
    pub streams: u32,
    /// How long a flood goes on, and letters are sent beside it.
    pub seconds: u64,
}

/// What those who attack have counted.
#[derive(Clone, Copy, Debug)]
struct Tried {
    attempts: u64,
    through: u64,
    /// Fewer show that what was tried did nothing.
    through_min: u64,
    /// More may not come through, where that is bounded.
    through_max: Option<u64>,
}

/// What those who behave have counted.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    letters: u64,
    slowest: Duration,
}

/// What was counted at one wall.
#[derive(Debug)]
pub struct Row {
    wall: Wall,
    tried: Tried,
    reached_mib: u64,
    served: Served,
}

/// All of them.
pub const ALL: &[Wall] = &[
    Wall {
        name: "handshakes-half-open",
        attack: Attack::Agent(agent::Attack::HalfOpen),
        bound_mib: 32,
        reason: "handshakes_max of some 40 KiB, and first packets that wait",
    },
    Wall {
        name: "strangers-slow",
        attack: Attack::Agent(agent::Attack::SlowStrangers),
        bound_mib: 128,
        reason: "1,000 connections of some 100 KiB, their buffers and stranger_window",
    },
    Wall {
        name: "streams-abandoned",
        attack: Attack::Agent(agent::Attack::AbandonedStreams),
        bound_mib: 64,
        reason: "8 connections of a peer, of streams_max streams that nobody waits for",
    },
    Wall {
        name: "windows-full",
        attack: Attack::Agent(agent::Attack::FullWindows),
        bound_mib: 288,
        reason: "8 connections of a peer, streams_max times stream_window on each",
    },
    Wall {
        name: "peer-writes-slowly",
        attack: Attack::Agent(agent::Attack::SlowWriters),
        bound_mib: 8,
        reason: "streams_max streams on each connection that a peer may have, with a frame or a request that does not end",
    },
    Wall {
        name: "peer-reads-nothing",
        attack: Attack::Agent(agent::Attack::StoppedReader),
        bound_mib: 192,
        reason: "outbox_bytes_max of letters with their frames, 16 MiB that wait for a connection, and the window of QUIC",
    },
    Wall {
        name: "node-deposits-of-many",
        attack: Attack::Node(node::Attack::DepositsOfMany),
        bound_mib: 144,
        reason: "guests_max with deposits_under_way on their streams, what the disk has to write, its cache of 32 MiB",
    },
    Wall {
        name: "node-deposits-of-one",
        attack: Attack::Node(node::Attack::DepositsOfOne),
        bound_mib: 96,
        reason: "node_connections_per_peer times client_window, and streams_max streams with deposits_under_way_bytes on each",
    },
    Wall {
        name: "node-tokens",
        attack: Attack::Node(node::Attack::Tokens),
        bound_mib: 64,
        reason: "requests of request_len_max on every stream, and 80 bytes for each token that was issued in the last minutes",
    },
    Wall {
        name: "node-tokens-of-strangers",
        attack: Attack::Node(node::Attack::TokensOfStrangers),
        bound_mib: 16,
        reason: "node_connections_per_source with a request of request_len_max each",
    },
    Wall {
        name: "node-events",
        attack: Attack::Node(node::Attack::Events),
        bound_mib: 96,
        reason: "requests of 64 KiB on every stream, and the log's cache of 32 MiB",
    },
    Wall {
        name: "node-slow-clients",
        attack: Attack::Node(node::Attack::SlowClients),
        bound_mib: 16,
        reason: "every stream and every connection of one address with a request that does not come, or an answer that is not taken",
    },
];

impl Size {
    /// As the campaign has it.
    pub const WHOLE: Self = Self { handshakes: 10_000, slow: 1_000, streams: 20_000, seconds: 15 };
    /// Of a test.
    pub const SHORT: Self = Self { handshakes: 320, slow: 40, streams: 500, seconds: 3 };
}

/// The wall of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Wall> {
    ALL.iter().find(|wall| wall.name == name)
}

/// One wall, with agents of its own, in a directory that the caller removes.
///
/// # Errors
/// Agents or a node that cannot be started, and whoever behaves and is not served.
pub async fn meet(program: &Program, dir: &FilePath, wall: &Wall, size: &Size) -> Result<Row> {
    match wall.attack {
        Attack::Agent(attack) => meet_at_agent(program, dir, (wall, attack), size).await,
        Attack::Node(attack) => meet_at_node(program, dir, (wall, attack), size).await,
    }
}

async fn meet_at_agent(
    program: &Program,
    dir: &FilePath,
    (wall, attack): (&Wall, agent::Attack),
    size: &Size,
) -> Result<Row> {
    let [(anna, _), (ben, victim)] = make_homes(program, dir).await?;
    let everywhere: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let strangers: &[&str] = if attack.is_by_strangers() { &["--accept-strangers"] } else { &[] };
    let anna = program.launch(&anna, Some(everywhere)).await?;
    let ben = program.launch_with(&ben, Some(everywhere), strangers).await?;
    let to_ben = anna.add(&ben, "ben").await?;
    ben.add(&anna, "anna").await?;
    let honest = Honest { anna: &anna, to_ben: &to_ben, ben: &ben, scope: None };
    honest.are_served(Duration::ZERO).await?;
    let memory = Memory::of(ben.pid())?;

    let hostile = Identity::generate(&mut rng(66))?;
    if !attack.is_by_strangers() {
        let invitation = format!("nuncio:{}", hostile.id());
        let _added: Named =
            ben.api().post("/v1/peers", &NewPeer { invitation, name: None, knock: None, transaction: None }).await?;
    }
    let target = agent::Target { agent: victim.parse()?, addr: ben.listening(), api: ben.api(), hostile };
    let (tried, served) =
        tokio::join!(target.is_met_by(attack, size), honest.are_served(Duration::from_secs(size.seconds)));
    let row = Row { wall: *wall, tried: tried?, served: served?, reached_mib: memory.grown_mib()? };
    ben.stop().await?;
    anna.stop().await?;
    Ok(row)
}

async fn meet_at_node(
    program: &Program,
    dir: &FilePath,
    (wall, attack): (&Wall, node::Attack),
    size: &Size,
) -> Result<Row> {
    let homes = make_homes(program, dir).await?;
    let hostile: Vec<SigningKey> = (0..node::HOSTILE).map(|nth| SigningKey::from_seed(&[66 + nth; 32])).collect();
    let mut agents: Vec<String> = homes.iter().map(|(_, did)| did.clone()).collect();
    for key in &hostile {
        agents.push(AgentId::from_bytes(key.public())?.to_string());
    }
    let domain = Domain::found(program, dir, &agents).await?;
    let [(anna, _), (ben, of_ben)] = &homes;
    domain.settle(anna, AUDITED)?;
    domain.settle(ben, AUDITED)?;
    let (anna, ben) = (program.launch(anna, None).await?, program.launch(ben, None).await?);
    let to_ben = anna.add(&ben, "ben").await?;
    ben.add(&anna, "anna").await?;
    let honest = Honest { anna: &anna, to_ben: &to_ben, ben: &ben, scope: Some(SCOPE) };
    honest.are_served(Duration::ZERO).await?;
    let memory = Memory::of(domain.pid())?;

    let target = node::Target {
        node: domain.node().parse()?,
        quic: domain.quic(),
        tcp: domain.tcp(),
        someone: of_ben.parse()?,
        hostile,
    };
    let during = attack.during(Duration::from_secs(size.seconds));
    let (tried, served) = tokio::join!(target.is_met_by(attack, during), honest.are_served(during));
    let row = Row { wall: *wall, tried: tried?, served: served?, reached_mib: memory.grown_mib()? };
    ben.stop().await?;
    anna.stop().await?;
    Ok(row)
}

/// Two agents that want nothing but to write each other.
struct Honest<'a> {
    anna: &'a AgentProcess,
    to_ben: &'a str,
    ben: &'a AgentProcess,
    /// What each letter's token is for; without one there is no node, and no log.
    scope: Option<&'a str>,
}

impl Honest<'_> {
    /// Letters one after the other for so long. Each has arrived, and what its two ends tell of it is in the log, before the next.
    async fn are_served(&self, during: Duration) -> Result<Served> {
        let (until, mut served) = (Instant::now() + during, Served::default());
        loop {
            let began = Instant::now();
            let one = tokio::time::timeout(LETTER_PATIENCE, self.is_served(served.letters)).await;
            one.context("whoever behaves is not served")??;
            served.letters += 1;
            served.slowest = served.slowest.max(began.elapsed());
            if Instant::now() >= until {
                return Ok(served);
            }
            tokio::time::sleep(LETTER_PAUSE).await;
        }
    }

    async fn is_served(&self, number: u64) -> Result<()> {
        let sent = talk::said(self.anna.api(), self.to_ben, number, self.scope).await?;
        loop {
            let page: InboxPage = self.ben.api().get("/v1/inbox?wait_ms=1000").await?;
            for letter in &page.letters {
                self.ben.api().tell(&format!("/v1/inbox/{}/done", letter.no)).await?;
            }
            if page.letters.iter().any(|letter| letter.id == sent.id) {
                break;
            }
        }
        for agent in [self.anna, self.ben] {
            while agent.api().get::<Status>("/v1/status").await?.events_waiting > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

/// What a process has of the machine's memory, from now on.
struct Memory {
    pid: u32,
    before_kib: u64,
}

impl Memory {
    fn of(pid: Option<u32>) -> Result<Self> {
        let pid = pid.context("it has ended")?;
        Ok(Self { pid, before_kib: memory_kib(pid, "VmRSS:")? })
    }

    /// The most that it had at any time, beside what it had at first.
    fn grown_mib(&self) -> Result<u64> {
        Ok(memory_kib(self.pid, "VmHWM:")?.saturating_sub(self.before_kib) >> 10)
    }
}

fn memory_kib(pid: u32, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(what)) else { bail!("no {what} of {pid}") };
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn link(key: &SigningKey, at: Ipv4Addr) -> Result<Link> {
    Ok(Link::bind(LinkConfig::new((at, 0).into()), key)?)
}

impl Row {
    /// The names of what is printed.
    pub const HEAD: &'static str =
        "wall                      attempts   through   at most  bound MiB  reached MiB  letters served  slowest ms";

    /// Whether every claim is true.
    #[must_use]
    pub fn stands(&self) -> bool {
        let Tried { attempts, through, through_min, through_max } = self.tried;
        attempts > 0
            && through >= through_min
            && through_max.is_none_or(|most| through <= most)
            && self.reached_mib <= self.wall.bound_mib
            && self.served.letters > 0
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { attempts, through, through_max, .. } = self.tried;
        write!(
            f,
            "{:<24}  {attempts:>8}  {through:>8}  {:>8}  {:>9}  {:>11}  {:>14}  {:>10}",
            self.wall.name,
            through_max.map_or("-".to_owned(), |most| most.to_string()),
            self.wall.bound_mib,
            self.reached_mib,
            self.served.letters,
            self.served.slowest.as_millis(),
        )?;
        if self.stands() { Ok(()) } else { write!(f, "  DOES NOT STAND: {}", self.wall.reason) }
    }
}
