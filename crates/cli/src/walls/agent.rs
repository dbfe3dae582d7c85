//! What is thrown at an agent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{Connection, Link, StreamKind};
use tokio::task::JoinSet;

use super::{Size, Tried, link, reader};
use crate::chaos::path::{Path, Weather};
use crate::client::Api;

/// Dialled from one address: more than `handshakes_per_source` lets through.
const DIALS_PER_SOURCE: u32 = 160;
/// Strangers behind one address.
const STRANGERS_PER_SOURCE: u32 = 40;
/// Connections that an agent has with one peer.
const CONNECTIONS: usize = 8;
/// The length of the longest frame.
const LONGEST: [u8; 4] = [0x80, 0x01, 0, 0];

#[derive(Clone, Copy, Debug)]
pub(super) enum Attack {
    HalfOpen,
    SlowStrangers,
    AbandonedStreams,
    FullWindows,
    SlowWriters,
    StoppedReader,
}

impl Attack {
    pub(super) const fn is_by_strangers(self) -> bool {
        matches!(self, Self::HalfOpen | Self::SlowStrangers)
    }
}

/// Who is attacked, and the peer that attacks.
pub(super) struct Target<'a> {
    pub(super) agent: AgentId,
    pub(super) addr: SocketAddr,
    /// By which its owner writes to the peer that attacks.
    pub(super) api: &'a Api,
    pub(super) hostile: Identity,
}

impl Target<'_> {
    pub(super) async fn is_met_by(&self, attack: Attack, size: &Size) -> Result<Tried> {
        let (attempts, through) = match attack {
            Attack::HalfOpen => self.half_open(size.handshakes).await?,
            Attack::SlowStrangers => self.slow_strangers(size.slow).await?,
            Attack::AbandonedStreams => self.abandoned_streams(size.streams).await?,
            Attack::FullWindows => self.full_windows().await?,
            Attack::SlowWriters => self.slow_writers(size.seconds).await?,
            Attack::StoppedReader => reader::stops(self, size.seconds).await?,
        };
        Ok(Tried { attempts: attempts.into(), through: through.into(), through_min: 0, through_max: None })
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
            let link = Arc::new(link(&SigningKey::from_seed(&[9; 32]), Ipv4Addr::LOCALHOST)?);
            for _ in 0..DIALS_PER_SOURCE {
                let (link, agent, addr) = (Arc::clone(&link), self.agent, path.addr());
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
            if send.write_all(&LONGEST).await.is_ok() && send.write_all(&[0x87]).await.is_ok() {
                held.push((link, connection, send, recv));
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let through = held.iter().filter(|(_, connection, ..)| connection.close_reason().is_none()).count();
        Ok((strangers, u32::try_from(through)?))
    }

    /// As many connections as one peer may have.
    async fn connections(&self) -> Result<(Link, Vec<Connection>)> {
        let link = link(self.hostile.signing(), Ipv4Addr::LOCALHOST)?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
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
        let filled = |connection: Connection, kind| async move {
            let Ok(Ok((mut send, recv))) = tokio::time::timeout(Duration::from_secs(5), connection.open(kind)).await
            else {
                return false;
            };
            let filling = async {
                let mut len = 0_u32;
                while len < limit::STREAM_WINDOW && send.write_all(&[7; 1 << 15]).await.is_ok() {
                    len += 1 << 15;
                }
            };
            let is_held = tokio::time::timeout(Duration::from_secs(8), filling).await.is_err();
            drop(recv);
            is_held
        };
        self.on_every_stream(filled).await
    }

    /// Every stream of every connection, with a long frame or a request of which a byte comes each second.
    async fn slow_writers(&self, seconds: u64) -> Result<(u32, u32)> {
        let written = move |connection: Connection, kind| async move {
            let Ok(Ok((mut send, _recv))) = tokio::time::timeout(Duration::from_secs(5), connection.open(kind)).await
            else {
                return false;
            };
            let bytes = LONGEST.into_iter().chain(core::iter::repeat(0x87));
            for (byte, _) in bytes.zip(0..seconds) {
                if send.write_all(&[byte]).await.is_err() {
                    return false;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            true
        };
        self.on_every_stream(written).await
    }

    /// The same on every stream of every connection that one peer may have: one of frames on each, and large payloads. How many there are, and how often
    /// it came through.
    async fn on_every_stream<F>(&self, does: impl Fn(Connection, StreamKind) -> F) -> Result<(u32, u32)>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let (_link, connections) = self.connections().await?;
        let (mut tasks, mut attempts, mut through) = (JoinSet::new(), 0, 0);
        for connection in connections {
            for nth in 0..limit::STREAMS_MAX {
                attempts += 1;
                tasks.spawn(does(connection.clone(), if nth == 0 { StreamKind::Frames } else { StreamKind::Large }));
            }
        }
        while let Some(came_through) = tasks.join_next().await {
            through += u32::from(came_through?);
        }
        Ok((attempts, through))
    }
}
