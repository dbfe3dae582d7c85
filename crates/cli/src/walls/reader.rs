//! A peer that reads until it has one letter with a large payload, asks for that payload on every stream that it may open, and then reads nothing more:
//! no frame, no chunk. Its QUIC goes on.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use nuncio_contracts::registry::{extension, limit};
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::step::{Effect, Step};
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;
use nuncio_transport::{Connection, FrameReceiver, FrameSender, StreamKind};
use tokio::time::{Instant, timeout};

use super::agent::Target;
use super::link;
use crate::wire::{Accepted, NewLetter};

/// Of a letter that goes to it while it reads nothing.
const LETTER_LEN: usize = 30_000;
/// Of the payload that it asks for: more than all windows hold.
const PAYLOAD_LEN: usize = 64 << 20;
/// How long the one letter may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Letters that its friend wrote to it meanwhile, and those that were accepted.
pub(super) async fn stops(target: &Target<'_>, seconds: u64) -> Result<(u32, u32)> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let payload = tempfile::NamedTempFile::new()?;
    tokio::fs::write(payload.path(), vec![7; PAYLOAD_LEN]).await?;
    let to = target.hostile.id().to_string();
    let large = NewLetter { to: to.clone(), file: Some(payload.path().to_owned()), ..NewLetter::default() };
    let _accepted: Accepted = target.api.post("/v1/letters", &large).await?;

    let link = link(target.hostile.signing(), std::net::Ipv4Addr::LOCALHOST)?;
    let connection = link.dial(target.agent, target.addr).await?;
    let (mut reader, mut frames) = Reader::new(target, &connection).await?;
    let handle =
        timeout(PATIENCE, reader.first_payload(&connection, &mut frames)).await.context("no letter came")??;
    let mut held = Vec::new();
    for _ in 1..limit::STREAMS_MAX {
        let (mut send, recv) = connection.open(StreamKind::Large).await?;
        send.write_all(&[handle.id.as_slice(), &0_u64.to_be_bytes()].concat()).await?;
        send.finish()?;
        held.push(recv);
    }
    let (mut written, mut accepted) = (0, 0);
    let small = NewLetter { to, text: Some("7".repeat(LETTER_LEN)), ..NewLetter::default() };
    while Instant::now() < until {
        written += 1;
        accepted += u32::from(target.api.post::<Accepted>("/v1/letters", &small).await.is_ok());
    }
    if let Some(reason) = connection.close_reason() {
        bail!("its connection has ended: {reason:?}");
    }
    Ok((written, accepted))
}

/// An agent without a disk.
struct Reader {
    peer: Peer,
    rng: TestRng,
    friend: AgentId,
    frames: FrameSender,
}

/// It takes so few letters that none comes twice.
struct Nothing;

impl Seen for Nothing {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

impl Reader {
    async fn new(target: &Target<'_>, connection: &Connection) -> Result<(Self, FrameReceiver)> {
        let mut rng = rng(7);
        let (mut peer, _) = Peer::create(target.hostile.clone(), now()?, &mut rng);
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        let (send, recv) = connection.open(StreamKind::Frames).await?;
        let mut reader = Self { peer, rng, friend: target.agent, frames: FrameSender::new(send) };
        let known = reader.peer.set_contact(target.agent, ContactInfo { allowed: true, ..ContactInfo::default() });
        reader.take(known.context("it is its own friend")?).await?;
        Ok((reader, FrameReceiver::new(recv)))
    }

    /// Gives its bundle away, answers the start of a session, and reads up to a letter with a large payload.
    async fn first_payload(&mut self, connection: &Connection, frames: &mut FrameReceiver) -> Result<PayloadKey> {
        loop {
            let mut came = Vec::new();
            let mut effects = Vec::new();
            tokio::select! {
                opened = connection.accept_stream() => {
                    let (StreamKind::Prekeys, mut send, _) = opened? else { bail!("it is asked for more than its bundle") };
                    for effect in self.take(self.peer.claim(self.friend, 0, &[], now()?)?).await? {
                        if let Effect::Bundle { bundle, .. } = effect {
                            send.write_all(&bundle).await?;
                            send.finish()?;
                        }
                    }
                }
                read = frames.recv_many(&mut came, 16) => drop(read?),
            }
            for frame in came {
                let step = self.peer.receive(Some(self.friend), &frame, now()?, &mut self.rng, &Nothing)?;
                effects.extend(self.take(step).await?);
            }
            while let Some(step) = self.peer.next(now()?, true, &mut self.rng) {
                effects.extend(self.take(step).await?);
            }
            let arrivals = effects.iter().filter_map(|effect| match effect {
                Effect::Deliver(arrival) => arrival.letter.extension(extension::LARGE_PAYLOAD),
                _ => None,
            });
            if let Some(handle) = arrivals.filter_map(PayloadKey::decode).next() {
                return Ok(handle);
            }
        }
    }

    /// Does what a step wants, but for what is given back.
    async fn take(&mut self, step: Step) -> Result<Vec<Effect>> {
        let (mut rest, mut frames) = (Vec::new(), Vec::new());
        for effect in self.peer.stage(step)?.effects.after_commit() {
            match effect {
                Effect::Send { frame, .. } => frames.push(Bytes::from(frame)),
                other => rest.push(other),
            }
        }
        self.frames.send_many(&frames).await?;
        Ok(rest)
    }
}

fn now() -> Result<UnixMillis> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(UnixMillis(u64::try_from(since.as_millis())?))
}
