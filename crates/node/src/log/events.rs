//! A log whose entries are events of agents (contracts/audit.md): each agent's in their order, each once.

use std::collections::BTreeMap;

use nuncio_contracts::registry::time;
use nuncio_proto::audit::{Chain, ChainError, Event, Head, Place, SignedEvent};
use nuncio_proto::codec;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use serde_bytes::ByteArray;

use super::{Log, LogError, VERSION};
use crate::rows;

/// Numbers of an agent's events whose places in the log are one row.
const IN_ROW: u64 = 64;
/// Such a row at its longest.
const ROW_LEN_MAX: usize = 1_024;

/// The log, and how far each agent's chain is in it.
#[derive(Debug)]
pub struct Events {
    log: Log,
    chains: BTreeMap<AgentId, Chain>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the log, since now or before: its index.
    Logged(u64),
    /// It is not taken.
    NotTaken(NotTaken),
}

/// Why an event is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// It does not stand next in its chain.
    #[error(transparent)]
    Chain(ChainError),
    /// Its agent told another story before. That it told this one too is in the log, at this index.
    #[error("the agent has told another story before; this one is kept as evidence at {0}")]
    OtherStory(u64),
    /// It is of a time that has not come.
    #[error("the event is of a time that has not come")]
    Future,
}

/// Events that go into one commit.
#[derive(Default)]
struct Batch {
    entries: Vec<Vec<u8>>,
    chains: BTreeMap<AgentId, Chain>,
    /// Rows of places, by agent, epoch and number / 64.
    places: BTreeMap<(AgentId, u64, u64), Vec<u64>>,
    /// Evidence, by agent, epoch and number.
    evidence: BTreeMap<(AgentId, u64, u64), u64>,
}

/// What the log has under an event's number.
enum Found {
    /// That very event.
    Same(u64),
    /// Another one of its agent.
    Other,
    Nothing,
}

impl Events {
    /// Takes a log, with the chains of its store.
    ///
    /// # Errors
    /// A row that is damaged.
    pub fn open(log: Log) -> Result<Self, LogError> {
        let mut found = Vec::new();
        log.store.scan(&[rows::CHAIN], &mut |key, row| {
            found.push((key.to_vec(), row.to_vec()));
            Ok(())
        })?;
        let chains = found.iter().map(|(key, row)| read_chain(key, row).ok_or(LogError::Row));
        Ok(Self { chains: chains.collect::<Result<_, _>>()?, log })
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The log, to be published.
    pub const fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// How far an agent's chain is in the log.
    #[must_use]
    pub fn chain(&self, agent: &AgentId) -> Chain {
        self.chains.get(agent).copied().unwrap_or_default()
    }

    /// Takes events as they came, in one commit: when it returns, what is logged is durable. One answer for each.
    ///
    /// Whoever calls bounds how many come at once, and of whom: each new agent is remembered for ever.
    ///
    /// # Errors
    /// Nothing is logged: a file or a row that cannot be written, or is damaged.
    // contracts/audit.md V9 to V11.
    pub fn take(&mut self, events: &[SignedEvent], now: UnixMillis) -> Result<Vec<Answer>, LogError> {
        let (batch, answers) = self.stage_all(events, now)?;
        self.log_batch(batch, Vec::new())?;
        Ok(answers)
    }

    /// [`Events::take`] of events that must all be logged, with rows of the caller's own in the same commit: all of it, or nothing.
    ///
    /// # Errors
    /// As [`Events::take`]; [`LogError::Own`] with the first that is not taken.
    pub fn take_all(&mut self, events: &[SignedEvent], now: UnixMillis, with: Vec<Op>) -> Result<(), LogError> {
        let (batch, answers) = self.stage_all(events, now)?;
        if let Some(refused) = answers.iter().find(|answer| !matches!(answer, Answer::Logged(_))) {
            return Err(LogError::Own(format!("{refused:?}")));
        }
        self.log_batch(batch, with)
    }

    fn stage_all(&self, events: &[SignedEvent], now: UnixMillis) -> Result<(Batch, Vec<Answer>), LogError> {
        let mut batch = Batch::default();
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            answers.push(self.stage(event, now, &mut batch)?);
        }
        Ok((batch, answers))
    }

    fn log_batch(&mut self, batch: Batch, with: Vec<Op>) -> Result<(), LogError> {
        if batch.entries.is_empty() {
            return Ok(self.log.store.commit(&with)?);
        }
        let rows = batch.rows().into_iter().chain(with).collect();
        self.log.append(batch.entries, rows)?;
        self.chains.extend(batch.chains);
        Ok(())
    }

    fn stage(&self, signed: &SignedEvent, now: UnixMillis, batch: &mut Batch) -> Result<Answer, LogError> {
        let event = signed.event();
        let mut chain = batch.chains.get(&event.agent).copied().unwrap_or_else(|| self.chain(&event.agent));
        let is_future = event.at.0.max(event.epoch) > now.plus(time::CLOCK_SKEW).0;
        match chain.place(signed) {
            Ok(Place::Next) | Err(ChainError::Prev(_)) if is_future => Ok(Answer::NotTaken(NotTaken::Future)),
            Ok(Place::Next) => {
                chain.follow(signed);
                let index = batch.add(&self.log, signed);
                let key = (event.agent, event.epoch, event.seq / IN_ROW);
                let mut places = self.places(&key, batch)?;
                places.push(index);
                batch.places.insert(key, places);
                batch.chains.insert(event.agent, chain);
                Ok(Answer::Logged(index))
            }
            Err(ChainError::Prev(_)) => self.other_story(signed, batch),
            Err(error @ ChainError::Gap { .. }) => Ok(Answer::NotTaken(NotTaken::Chain(error))),
            told => match (self.find(signed, batch)?, told) {
                (Found::Same(index), _) => Ok(Answer::Logged(index)),
                (Found::Other, _) => self.other_story(signed, batch),
                (Found::Nothing, Err(error)) => Ok(Answer::NotTaken(NotTaken::Chain(error))),
                (Found::Nothing, Ok(_)) => Err(LogError::Row),
            },
        }
    }

    /// Keeps an event as evidence against its agent: one is enough for each number.
    fn other_story(&self, signed: &SignedEvent, batch: &mut Batch) -> Result<Answer, LogError> {
        let event = signed.event();
        let key = (event.agent, event.epoch, event.seq);
        let row = self.log.store.get(&rows::other_story(&event.agent, event.epoch, event.seq))?;
        let kept = row.map(|row| codec::decode::<(u8, u64)>(&row, 16).map_err(|_| LogError::Row)).transpose()?;
        let kept = kept.map(|(_, index)| index).or_else(|| batch.evidence.get(&key).copied());
        let index = kept.unwrap_or_else(|| batch.add(&self.log, signed));
        batch.evidence.insert(key, index);
        Ok(Answer::NotTaken(NotTaken::OtherStory(index)))
    }

    /// The places of a row of an agent's events, the first number's first.
    fn places(&self, key: &(AgentId, u64, u64), batch: &Batch) -> Result<Vec<u64>, LogError> {
        if let Some(places) = batch.places.get(key) {
            return Ok(places.clone());
        }
        let (agent, epoch, block) = key;
        let Some(row) = self.log.store.get(&rows::events_at(agent, *epoch, *block))? else { return Ok(Vec::new()) };
        match codec::decode::<(u8, Vec<u64>)>(&row, ROW_LEN_MAX) {
            Ok((VERSION, places)) => Ok(places),
            _ => Err(LogError::Row),
        }
    }

    /// What the log has under an event's number. An entry that is not as it was logged is no other story: it is damaged.
    fn find(&self, signed: &SignedEvent, batch: &Batch) -> Result<Found, LogError> {
        let wanted = signed.event();
        let places = self.places(&(wanted.agent, wanted.epoch, wanted.seq / IN_ROW), batch)?;
        let at = usize::try_from(wanted.seq % IN_ROW).ok().and_then(|at| places.get(at).copied());
        let Some(index) = at else { return Ok(Found::Nothing) };
        let entry = match index.checked_sub(self.log.size()).and_then(|at| usize::try_from(at).ok()) {
            Some(at) => batch.entries.get(at).cloned().ok_or(LogError::Row)?,
            None => self.log.view().entry(index)?,
        };
        if entry == signed.as_bytes() {
            return Ok(Found::Same(index));
        }
        let number = |event: &Event| (event.agent, event.epoch, event.seq);
        match SignedEvent::parse(&entry) {
            Ok(other) if number(other.event()) == number(wanted) => Ok(Found::Other),
            _ => Err(LogError::Damaged(format!("entry {index}"))),
        }
    }
}

impl Batch {
    fn add(&mut self, log: &Log, signed: &SignedEvent) -> u64 {
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        self.entries.push(signed.as_bytes().to_vec());
        log.size().saturating_add(count)
    }

    fn rows(&self) -> Vec<Op> {
        let chains = self.chains.iter().filter_map(|(agent, chain)| chain.head().map(|head| put_chain(agent, &head)));
        let places = self.places.iter().map(|((agent, epoch, block), places)| Op::Put {
            key: rows::events_at(agent, *epoch, *block),
            value: codec::encode(&(VERSION, places)),
        });
        let evidence = self.evidence.iter().map(|((agent, epoch, seq), index)| Op::Put {
            key: rows::other_story(agent, *epoch, *seq),
            value: codec::encode(&(VERSION, index)),
        });
        chains.chain(places).chain(evidence).collect()
    }
}

fn put_chain(agent: &AgentId, head: &Head) -> Op {
    let value = codec::encode(&(VERSION, head.epoch, head.seq, ByteArray::new(head.hash)));
    Op::Put { key: rows::chain(agent), value }
}

fn read_chain(key: &[u8], row: &[u8]) -> Option<(AgentId, Chain)> {
    let agent = AgentId::from_bytes(key.get(1..)?.try_into().ok()?).ok()?;
    let (version, epoch, seq, hash) = codec::decode::<(u8, u64, u64, ByteArray<32>)>(row, 64).ok()?;
    (version == VERSION).then(|| (agent, Chain::at(Some(Head { epoch, seq, hash: hash.into_array() }))))
}
