//! `cargo xtask walls`: strangers and peers that take all that they can from one agent, while another peer writes to it.
//!
//! What is claimed: the memory of the agent stays under a bound, and every letter of the peer that behaves arrives meanwhile.

#![expect(clippy::print_stdout, reason = "a campaign reports here")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use nuncio_cli::chaos::path::{Path, Weather};
use nuncio_cli::process::{AgentProcess, Program};
use nuncio_cli::wire::{InboxPage, Named, NewPeer};
use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{Connection, Link, LinkConfig, StreamKind};
use tokio::task::JoinSet;

/// By this word the program becomes `nuncio`, so that it needs no other binary.
const BECOME: &str = "become-nuncio";
/// Between two letters of the peer that behaves.
const LETTER_PAUSE: Duration = Duration::from_millis(50);
/// How long one of its letters may take.
const LETTER_PATIENCE: Duration = Duration::from_secs(60);
/// Dialled from one address: more than `handshakes_per_source` lets through.
const DIALS_PER_SOURCE: u32 = 160;
/// Strangers behind one address.
const STRANGERS_PER_SOURCE: u32 = 40;

#[derive(Parser)]
struct Args {
    /// Handshakes that are begun and not ended
    #[arg(long, default_value_t = 10_000)]
    handshakes: u32,
    /// Connections that say next to nothing
    #[arg(long, default_value_t = 1_000)]
    slow: u32,
    /// Streams that are opened and abandoned
    #[arg(long, default_value_t = 20_000)]
    streams: u32,
    /// Walls whose names begin so; all of them where none is named
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// A wall: what is thrown at it, and how much more memory than before that may take.
#[derive(Clone, Copy)]
struct Wall {
    name: &'static str,
    attack: Attack,
    bound_mib: u64,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Attack {
    HalfOpen,
    SlowStrangers,
    AbandonedStreams,
    FullWindows,
}

const WALLS: &[Wall] = &[
    Wall {
        name: "handshakes-half-open",
        attack: Attack::HalfOpen,
        bound_mib: 32,
        reason: "handshakes_max of some 40 KiB, and first packets that wait",
    },
    Wall {
        name: "strangers-slow",
        attack: Attack::SlowStrangers,
        bound_mib: 128,
        reason: "1,000 connections of some 100 KiB, their buffers and stranger_window",
    },
    Wall {
        name: "streams-abandoned",
        attack: Attack::AbandonedStreams,
        bound_mib: 64,
        reason: "8 connections of a peer, of streams_max streams that nobody waits for",
    },
    Wall {
        name: "windows-full",
        attack: Attack::FullWindows,
        bound_mib: 288,
        reason: "8 connections of a peer, streams_max times stream_window on each",
    },
];

fn main() -> Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == BECOME) {
        return Ok(nuncio_cli::main(words.into_iter().skip(1)));
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let wanted =
        |wall: &&Wall| args.only.is_empty() || args.only.iter().any(|name| wall.name.starts_with(name.as_str()));
    println!("wall                     attempts   through  bound MiB  reached MiB  letters served  slowest ms");
    let mut stands = true;
    for wall in WALLS.iter().filter(wanted) {
        stands &= runtime.block_on(meet(wall, &args))?;
    }
    Ok(if stands { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One wall, with agents of its own.
async fn meet(wall: &Wall, args: &Args) -> Result<bool> {
    let (dir, program) = (tempfile::tempdir()?, Program::this(&[BECOME])?);
    let homes = ["anna", "ben"].map(|name| dir.path().join(name));
    let [anna, ben] = &homes;
    program.init(anna).await?;
    let victim: AgentId = program.init(ben).await?.parse()?;
    let everywhere: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let strangers: &[&str] = if matches!(wall.attack, Attack::SlowStrangers) { &["--accept-strangers"] } else { &[] };
    let anna = program.launch(anna, Some(everywhere)).await?;
    let ben = program.launch_with(ben, Some(everywhere), strangers).await?;
    let to_ben = anna.add(&ben, "ben").await?;
    ben.add(&anna, "anna").await?;
    served(&anna, &to_ben, &ben, Duration::ZERO).await?;
    let pid = ben.pid().context("the agent has ended")?;
    let before = memory_kib(pid, "VmRSS:")?;

    let hostile = SigningKey::from_seed(&[66; 32]);
    let peer = AgentId::from_bytes(hostile.public())?;
    if !matches!(wall.attack, Attack::HalfOpen | Attack::SlowStrangers) {
        let invitation = format!("nuncio:{peer}");
        let _added: Named = ben.api().post("/v1/peers", &NewPeer { invitation, name: None, knock: None }).await?;
    }
    let target = Target { agent: victim, addr: ben.listening(), hostile };
    let (done, meanwhile) =
        tokio::join!(target.attack(wall.attack, args), served(&anna, &to_ben, &ben, LETTER_PATIENCE / 4));
    let ((attempts, through), (letters, slowest)) = (done?, meanwhile?);
    let reached_mib = memory_kib(pid, "VmHWM:")?.saturating_sub(before) >> 10;
    let stands = reached_mib <= wall.bound_mib && letters > 0;
    println!(
        "{:<24} {attempts:>8}  {through:>8}  {:>9}  {reached_mib:>11}  {letters:>14}  {:>10}{}",
        wall.name,
        wall.bound_mib,
        slowest.as_millis(),
        if stands { String::new() } else { format!("  NOT UNDER ITS BOUND: {}", wall.reason) }
    );
    ben.stop().await?;
    anna.stop().await?;
    Ok(stands)
}

/// Letters of the peer that behaves, one after the other for so long: how many arrived, and how long the slowest took.
async fn served(from: &AgentProcess, to: &str, at: &AgentProcess, while_: Duration) -> Result<(u64, Duration)> {
    let (until, mut letters, mut slowest) = (Instant::now() + while_, 0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let sent = from.send(to, &format!("letter {letters}")).await?;
        let arrived = async {
            loop {
                let page: InboxPage = at.api().get("/v1/inbox?wait_ms=1000").await?;
                for letter in &page.letters {
                    at.api().tell(&format!("/v1/inbox/{}/done", letter.no)).await?;
                }
                if page.letters.iter().any(|letter| letter.id == sent.id) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(LETTER_PATIENCE, arrived)
            .await
            .context("a letter of the peer that behaves is not served")??;
        letters += 1;
        slowest = slowest.max(began.elapsed());
        if Instant::now() >= until {
            return Ok((letters, slowest));
        }
        tokio::time::sleep(LETTER_PAUSE).await;
    }
}

fn memory_kib(pid: u32, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(what)) else { bail!("no {what} of {pid}") };
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Who is attacked, and the key of the peer that attacks.
struct Target {
    agent: AgentId,
    addr: SocketAddr,
    hostile: SigningKey,
}

impl Target {
    /// How often something was tried, and how often it came through.
    async fn attack(&self, attack: Attack, args: &Args) -> Result<(u32, u32)> {
        match attack {
            Attack::HalfOpen => self.half_open(args.handshakes).await,
            Attack::SlowStrangers => self.slow_strangers(args.slow).await,
            Attack::AbandonedStreams => self.abandoned_streams(args.streams).await,
            Attack::FullWindows => self.full_windows().await,
        }
    }

    /// From many addresses: each shows its address, begins a handshake, and hears nothing more.
    async fn half_open(&self, handshakes: u32) -> Result<(u32, u32)> {
        let (mut dials, mut kept) = (JoinSet::new(), Vec::new());
        for source in 0..handshakes.div_ceil(DIALS_PER_SOURCE) {
            let [.., third, fourth] = source.to_be_bytes();
            // A Retry is short, and whatever belongs to a handshake is as long as a first packet has to be.
            let weather = Weather { answer_len_max: 600, ..Weather::FAIR };
            let path = Path::open_as(Ipv4Addr::new(127, 5, third, fourth.saturating_add(1)), weather, 1).await?;
            path.leads_to(self.addr);
            let link = std::sync::Arc::new(link(&SigningKey::from_seed(&[9; 32]), Ipv4Addr::LOCALHOST)?);
            for _ in 0..DIALS_PER_SOURCE {
                let (link, agent, addr) = (std::sync::Arc::clone(&link), self.agent, path.addr());
                dials.spawn(async move { link.dial(agent, addr).await.is_ok() });
            }
            kept.push(path);
        }
        let mut through = 0;
        while let Some(dialled) = dials.join_next().await {
            through += u32::from(dialled?);
        }
        Ok((handshakes, through))
    }

    /// Each with a key of its own: connected, a stream of frames begun, and the first byte of a long frame said.
    async fn slow_strangers(&self, strangers: u32) -> Result<(u32, u32)> {
        let mut held = Vec::new();
        for number in 0..strangers {
            let [.., third, fourth] = (number / STRANGERS_PER_SOURCE).to_be_bytes();
            let mut seed = [77; 32];
            seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, of)| *byte = of);
            let link = link(&SigningKey::from_seed(&seed), Ipv4Addr::new(127, 6, third, fourth.saturating_add(1)))?;
            let Ok(connection) = link.dial(self.agent, self.addr).await else { continue };
            let Ok((mut send, recv)) = connection.open(StreamKind::Frames).await else { continue };
            // The length of the longest frame, and a byte of it.
            if send.write_all(&[0x80, 0x01, 0, 0, 0x87]).await.is_ok() {
                held.push((link, connection, send, recv));
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let through = held.iter().filter(|(_, connection, ..)| connection.close_reason().is_none()).count();
        Ok((strangers, u32::try_from(through)?))
    }

    /// As many connections as one peer may have.
    async fn connections(&self) -> Result<(Link, Vec<Connection>)> {
        let link = link(&self.hostile, Ipv4Addr::LOCALHOST)?;
        let mut connections = Vec::new();
        for _ in 0..8 {
            connections.push(link.dial(self.agent, self.addr).await?);
        }
        Ok((link, connections))
    }

    async fn abandoned_streams(&self, streams: u32) -> Result<(u32, u32)> {
        let (_link, mut connections) = self.connections().await?;
        let (mut through, mut nth) = (0, 0_usize);
        let kinds = [StreamKind::Large, StreamKind::Prekeys, StreamKind::Queries, StreamKind::Http, StreamKind::Frames];
        for (_, kind) in (0..streams).zip(kinds.into_iter().cycle()) {
            nth += 1;
            let Some(connection) = connections.get(nth % connections.len().max(1)) else { break };
            let opened = tokio::time::timeout(Duration::from_secs(5), connection.open(kind)).await;
            if let Ok(Ok((mut send, _recv))) = opened {
                let _refused = send.write_all(&[7]).await;
                // Both halves are dropped: the one is ended in the middle, the other stopped.
                through += 1;
            }
            connections.retain(|connection| connection.close_reason().is_none());
        }
        Ok((streams, through))
    }

    /// Every stream of every connection, as full as its window lets it be, and nothing of it ever whole.
    async fn full_windows(&self) -> Result<(u32, u32)> {
        let (_link, connections) = self.connections().await?;
        let (mut writers, mut attempts) = (JoinSet::new(), 0);
        for connection in connections {
            for nth in 0..limit::STREAMS_MAX {
                attempts += 1;
                let connection = connection.clone();
                writers.spawn(async move {
                    let kind = if nth == 0 { StreamKind::Frames } else { StreamKind::Large };
                    let Ok(Ok((mut send, recv))) =
                        tokio::time::timeout(Duration::from_secs(5), connection.open(kind)).await
                    else {
                        return false;
                    };
                    let filled = async {
                        let mut len = 0_u32;
                        while len < limit::STREAM_WINDOW && send.write_all(&[7; 1 << 15]).await.is_ok() {
                            len += 1 << 15;
                        }
                    };
                    let is_held = tokio::time::timeout(Duration::from_secs(8), filled).await.is_err();
                    drop(recv);
                    is_held
                });
            }
        }
        let mut through = 0;
        while let Some(held) = writers.join_next().await {
            through += u32::from(held?);
        }
        Ok((attempts, through))
    }
}

fn link(key: &SigningKey, at: Ipv4Addr) -> Result<Link> {
    Ok(Link::bind(LinkConfig::new((at, 0).into()), key)?)
}
