//! Who of a channel has a letter of ours: the members for whom it was, and of whom it failed, on disk beside it.

use std::collections::HashMap;

use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op, Store, StoreError};
use tokio::sync::watch;

use crate::actor::Actor;
use crate::error::Error;
use crate::wake::Answer;

/// The rows: behind these a letter's id, and in those of failures the agent's.
const TALLY: [u8; 2] = [rows::RUNTIME, b't'];
const FAILED: [u8; 2] = [rows::RUNTIME, b'u'];

/// Where a letter to a channel is.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tally {
    /// Which channel.
    pub channel: ChannelId,
    /// Which letter.
    pub id: LetterId,
    /// Everybody for whom it is: those who were members when it was sent, without its sender.
    pub members: Vec<(AgentId, Told)>,
}

/// What became of a letter, for one member.
#[derive(Debug)]
pub enum Told {
    /// It is on its way.
    Waiting,
    /// The member has it on disk.
    Delivered,
    /// It will not be delivered: [`Error::NotDelivered`].
    Failed(Error),
}

impl Tally {
    /// How many have it on disk.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.members.iter().filter(|(_, told)| matches!(told, Told::Delivered)).count()
    }

    /// For how many it is on its way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.members.iter().filter(|(_, told)| matches!(told, Told::Waiting)).count()
    }
}

/// Letters to channels that were sent since the start and are on their way to somebody.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// To how many.
    waiting: HashMap<LetterId, usize>,
    /// Rings whenever a letter was sent, or has ended for somebody.
    bell: watch::Sender<u64>,
}

impl Tallies {
    /// A letter goes out: the row that remembers for whom.
    pub(crate) fn sent(&mut self, channel: &ChannelId, letter: LetterId, members: &[AgentId]) -> Op {
        if !members.is_empty() {
            self.waiting.insert(letter, members.len());
        }
        let members = members.iter().flat_map(AgentId::as_bytes).copied();
        Op::Put { key: key(TALLY, &letter), value: channel.as_bytes().iter().copied().chain(members).collect() }
    }

    /// The row that remembers a failure, of a letter to a channel. One that was sent just now may have no row on disk yet.
    pub(crate) fn failed(&self, store: &Store, to: &AgentId, letter: &LetterId, code: u16) -> Option<Op> {
        let of_channel =
            self.waiting.contains_key(letter) || store.get(&key(TALLY, letter)).is_ok_and(|row| row.is_some());
        of_channel.then(|| Op::Put { key: failed_key(to, letter), value: code.to_be_bytes().into() })
    }

    /// It has ended for one of them.
    pub(crate) fn settled(&mut self, letter: &LetterId) {
        if let Some(waiting) = self.waiting.get_mut(letter) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.waiting.remove(letter);
            }
        }
        self.bell.send_modify(|rung| *rung += 1);
    }

    /// Rings once what was sent is durable.
    pub(crate) fn ring(&self) -> Answer {
        let bell = self.bell.clone();
        Answer(Box::new(move || bell.send_modify(|rung| *rung += 1)))
    }

    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}

impl Actor {
    /// Whether a letter to a channel is on its way to a member, whichever way it goes.
    pub(crate) fn waits_in_channel(&self, to: AgentId, id: LetterId) -> bool {
        let row = self.store.get(&key(TALLY, &id)).ok().flatten();
        let channel = row.as_deref().and_then(read).map(|(channel, _)| channel);
        channel.is_some_and(|channel| self.peer.channel_left(&channel, &id).contains(&to))
    }

    /// Where a letter to a channel is; `None` of any other.
    pub(crate) fn tally(&self, id: LetterId) -> Result<Option<Tally>, Error> {
        let row = self.store.get(&key(TALLY, &id))?;
        let Some((channel, members)) = row.as_deref().and_then(read) else { return Ok(None) };
        let left = self.peer.channel_left(&channel, &id);
        let told = |agent: AgentId| {
            let waits = left.contains(&agent) || self.failing.contains(&(agent, id));
            let told = match failed_code(&self.store, &agent, &id)? {
                _ if waits => Told::Waiting,
                Some(code) => Told::Failed(Error::NotDelivered(code)),
                None => Told::Delivered,
            };
            Ok((agent, told))
        };
        let members = members.into_iter().map(told).collect::<Result<_, Error>>()?;
        Ok(Some(Tally { channel, id, members }))
    }
}

fn read(row: &[u8]) -> Option<(ChannelId, Vec<AgentId>)> {
    let (channel, members) = row.split_first_chunk()?;
    let members = members.chunks_exact(32).map(|agent| AgentId::from_bytes(agent.try_into().ok()?).ok());
    Some((ChannelId::from_bytes(*channel), members.collect::<Option<_>>()?))
}

/// Of letters those to channels: which channel, and for how many it is.
pub(crate) fn channels_of(
    store: &Store,
    letters: impl IntoIterator<Item = LetterId>,
) -> Result<HashMap<LetterId, (ChannelId, usize)>, StoreError> {
    let mut of = HashMap::new();
    for letter in letters {
        if !of.contains_key(&letter)
            && let Some((channel, members)) = store.get(&key(TALLY, &letter))?.as_deref().and_then(read)
        {
            of.insert(letter, (channel, members.len()));
        }
    }
    Ok(of)
}

/// Why a channel's letter failed for a member, as the disk has it.
pub(crate) fn failed_code(store: &Store, to: &AgentId, letter: &LetterId) -> Result<Option<u16>, StoreError> {
    let row = store.get(&failed_key(to, letter))?;
    Ok(row.and_then(|row| row.try_into().ok()).map(u16::from_be_bytes))
}

/// All failures of letters to channels that are remembered.
pub(crate) fn all_failed(store: &Store) -> Result<Vec<(AgentId, LetterId, u16)>, StoreError> {
    let mut failed = Vec::new();
    let read = |key: &[u8], row: &[u8]| {
        let (letter, agent) = key.get(2..)?.split_first_chunk::<16>()?;
        let agent = AgentId::from_bytes(agent.try_into().ok()?).ok()?;
        Some((agent, LetterId::parse(*letter)?, u16::from_be_bytes(row.try_into().ok()?)))
    };
    store.scan(&FAILED, &mut |key, row| {
        failed.extend(read(key, row));
        Ok(())
    })?;
    Ok(failed)
}

/// Rows of letters that are older than this.
pub(crate) fn old(store: &Store, now: UnixMillis, life: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut old = Vec::new();
    for tree in [TALLY, FAILED] {
        store.scan(&tree, &mut |key, _| {
            let id = key.get(2..18).and_then(|id| id.try_into().ok()).and_then(LetterId::parse);
            if id.is_none_or(|id| now.since(id.created()) > life) {
                old.push(key.to_vec());
            }
            Ok(())
        })?;
    }
    Ok(old)
}

fn key(tree: [u8; 2], letter: &LetterId) -> Vec<u8> {
    [tree.as_slice(), letter.as_bytes()].concat()
}

fn failed_key(to: &AgentId, letter: &LetterId) -> Vec<u8> {
    [FAILED.as_slice(), letter.as_bytes(), to.as_bytes()].concat()
}
