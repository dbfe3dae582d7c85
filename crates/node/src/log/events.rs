//! A log whose entries are events of agents (contracts/audit.md): each agent's in their order, each once.

use std::collections::BTreeMap;

use nuncio_contracts::registry::time;
use nuncio_proto::audit::{Chain, ChainError, Head, Place, SignedEvent};
use nuncio_proto::codec;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use serde_bytes::ByteArray;

use super::{Log, LogError, VERSION, number};
use crate::rows;

/// Every so many events of an agent, their place in the log is kept: between two of those it is looked for.
const KEPT_EVERY: u64 = 64;

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
    rows: Vec<Op>,
    chains: BTreeMap<AgentId, Chain>,
    /// Index of each new event, by its hash.
    fresh: BTreeMap<[u8; 32], u64>,
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
    /// # Errors
    /// Nothing is logged: a file or a row that cannot be written.
    // contracts/audit.md V9 to V11.
    pub fn take(&mut self, events: &[SignedEvent], now: UnixMillis) -> Result<Vec<Answer>, LogError> {
        let mut batch = Batch::default();
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            answers.push(self.stage(event, now, &mut batch)?);
        }
        if !batch.entries.is_empty() {
            self.log.append(batch.entries, batch.rows)?;
            self.chains.extend(batch.chains);
        }
        Ok(answers)
    }

    fn stage(&self, signed: &SignedEvent, now: UnixMillis, batch: &mut Batch) -> Result<Answer, LogError> {
        let event = signed.event();
        if let Some(index) = batch.fresh.get(&signed.hash()) {
            return Ok(batch.again(signed, *index));
        }
        if event.at > now.plus(time::CLOCK_SKEW) {
            return Ok(Answer::NotTaken(NotTaken::Future));
        }
        let mut chain = batch.chains.get(&event.agent).copied().unwrap_or_else(|| self.chain(&event.agent));
        match chain.place(signed) {
            Ok(Place::Next) => {
                chain.follow(signed);
                let index = batch.add(&self.log, signed);
                batch.chains.insert(event.agent, chain);
                batch.rows.extend(chain.head().map(|head| put_chain(&event.agent, &head)));
                if event.seq.is_multiple_of(KEPT_EVERY) {
                    let key = rows::event_at(&event.agent, event.epoch, event.seq / KEPT_EVERY);
                    batch.rows.push(put_number(key, index));
                }
                Ok(Answer::Logged(index))
            }
            Ok(Place::Known) => match self.find(signed)? {
                Some(index) => Ok(Answer::Logged(index)),
                None => self.other_story(signed, batch),
            },
            Err(ChainError::Prev(_)) => self.other_story(signed, batch),
            Err(error) => match self.find(signed)? {
                Some(index) => Ok(Answer::Logged(index)),
                None => Ok(Answer::NotTaken(NotTaken::Chain(error))),
            },
        }
    }

    /// Keeps an event as evidence against its agent, once.
    fn other_story(&self, signed: &SignedEvent, batch: &mut Batch) -> Result<Answer, LogError> {
        let key = rows::other_story(&signed.hash());
        let index = match number(&self.log.store, &key)? {
            Some(index) => index,
            None => {
                let index = batch.add(&self.log, signed);
                batch.rows.push(put_number(key, index));
                index
            }
        };
        Ok(Answer::NotTaken(NotTaken::OtherStory(index)))
    }

    /// Where this very event is in the log: not in front of the last of its agent's whose place is kept, and not behind one with a higher number.
    fn find(&self, signed: &SignedEvent) -> Result<Option<u64>, LogError> {
        let wanted = signed.event();
        let key = rows::event_at(&wanted.agent, wanted.epoch, wanted.seq / KEPT_EVERY);
        let Some(from) = number(&self.log.store, &key)? else { return Ok(None) };
        for index in from..self.log.size() {
            let entry = self.log.entry(index)?;
            if entry == signed.as_bytes() {
                return Ok(Some(index));
            }
            let event = SignedEvent::kept(&entry).map_err(|_| LogError::Row)?;
            let event = event.event();
            if event.agent == wanted.agent && (event.epoch, event.seq) > (wanted.epoch, wanted.seq) {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

impl Batch {
    fn add(&mut self, log: &Log, signed: &SignedEvent) -> u64 {
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let index = log.size().saturating_add(count);
        self.entries.push(signed.as_bytes().to_vec());
        self.fresh.insert(signed.hash(), index);
        index
    }

    /// The answer to an event that came before in this batch.
    fn again(&self, signed: &SignedEvent, index: u64) -> Answer {
        let evidence = rows::other_story(&signed.hash());
        let is_evidence = self.rows.iter().any(|row| matches!(row, Op::Put { key, .. } if *key == evidence));
        if is_evidence { Answer::NotTaken(NotTaken::OtherStory(index)) } else { Answer::Logged(index) }
    }
}

fn put_number(key: Vec<u8>, number: u64) -> Op {
    Op::Put { key, value: codec::encode(&(VERSION, number)) }
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
