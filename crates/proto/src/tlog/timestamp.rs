//! When a note was there already: OpenTimestamps, as far as calendars and Bitcoin go (contracts/log.md section 8).
//!
//! ```text
//!   digest ─► append nonce ─► SHA-256 ─┬─► … ─► pending at a calendar
//!                                      └─► … ─► SHA-256 ─► the merkle root of a Bitcoin block
//! ```
//!
//! A timestamp is a tree: each operation makes a message of the one in front of it, and attestations speak of messages. Nothing here knows a block.

mod attestation;
mod reader;

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::limit;

pub use attestation::Attestation;
use reader::{Reader, put_bytes};

use super::tree::Hash;
use crate::crypto;

const MAGIC: &[u8; 31] = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94";
const VERSION: u8 = 1;
const SHA256: u8 = 0x08;
const APPEND: u8 = 0xf0;
const PREPEND: u8 = 0xf1;
/// An attestation, where an operation may stand.
const ATTESTATION: u8 = 0x00;
/// In front of every item but the last.
const MORE: u8 = 0xff;

/// A detached timestamp: of a file, by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// SHA-256 of the file.
    pub digest: Hash,
    /// What is known of it.
    pub timestamp: Timestamp,
}

/// What is known of a message, which it does not hold. Items stand in their order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    attestations: Vec<Attestation>,
    operations: Vec<(Operation, Timestamp)>,
}

/// What makes one message of another. The order is that of the tags, then of the operands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Its hash.
    Sha256,
    /// With this behind it.
    Append(Vec<u8>),
    /// With this in front of it.
    Prepend(Vec<u8>),
}

/// An attestation, and the message that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attested {
    /// The message.
    pub message: Vec<u8>,
    /// What is said of it.
    pub attestation: Attestation,
}

/// Why a timestamp is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// It is longer than it may be.
    #[error("the timestamp is longer than it may be")]
    TooLong,
    /// Of another version.
    #[error("the timestamp is of another version")]
    Version,
    /// An operation, or a hash of the file, that no calendar of ours uses.
    #[error("an operation of the timestamp is not SHA-256, append or prepend")]
    Kind,
    /// Not the form of a timestamp.
    #[error("not a timestamp")]
    Malformed,
}

impl Operation {
    /// How long a message comes out; `None` for one that is too long.
    fn len_of(&self, len: usize) -> Option<usize> {
        let len = match self {
            Self::Sha256 => 32,
            Self::Append(operand) | Self::Prepend(operand) => len.checked_add(operand.len())?,
        };
        (len <= limit::TIMESTAMP_MESSAGE_LEN_MAX).then_some(len)
    }

    fn apply(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => crypto::sha256(&[message]).to_vec(),
            Self::Append(operand) => [message, operand].concat(),
            Self::Prepend(operand) => [operand, message].concat(),
        }
    }

    fn read(tag: u8, reader: &mut Reader<'_>) -> Result<Self, TimestampError> {
        let make = match tag {
            SHA256 => return Ok(Self::Sha256),
            APPEND => Self::Append,
            PREPEND => Self::Prepend,
            _ => return Err(TimestampError::Kind),
        };
        let operand = reader.bytes_up_to(limit::TIMESTAMP_MESSAGE_LEN_MAX)?;
        if operand.is_empty() { Err(TimestampError::Malformed) } else { Ok(make(operand.to_vec())) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (tag, operand) = match self {
            Self::Sha256 => return out.push(SHA256),
            Self::Append(operand) => (APPEND, operand),
            Self::Prepend(operand) => (PREPEND, operand),
        };
        out.push(tag);
        put_bytes(out, operand);
    }
}

impl Timestamp {
    /// A timestamp of one attestation, behind these operations.
    #[must_use]
    pub fn path(operations: impl IntoIterator<Item = Operation, IntoIter: DoubleEndedIterator>, end: Self) -> Self {
        let under = |below, operation| Self { attestations: Vec::new(), operations: vec![(operation, below)] };
        operations.into_iter().rev().fold(end, under)
    }

    /// A timestamp that is this attestation.
    #[must_use]
    pub fn attested(attestation: Attestation) -> Self {
        Self { attestations: vec![attestation], operations: Vec::new() }
    }

    /// Reads a calendar's answer: the timestamp of a message of this length.
    ///
    /// # Errors
    /// [`TimestampError`].
    // contracts/log.md G23, G25.
    pub fn parse(bytes: &[u8], message_len: usize) -> Result<Self, TimestampError> {
        if bytes.len() > limit::TIMESTAMP_ANSWER_LEN_MAX {
            return Err(TimestampError::TooLong);
        }
        let mut reader = Reader(bytes);
        let read = Self::read(&mut reader, message_len, 0)?;
        reader.end().map(|()| read)
    }

    /// The depth is bounded, and with it the stack.
    fn read(reader: &mut Reader<'_>, message_len: usize, depth: usize) -> Result<Self, TimestampError> {
        let mut read = Self::default();
        loop {
            let (tag, is_last) = match reader.byte()? {
                MORE => (reader.byte()?, false),
                tag => (tag, true),
            };
            if tag == ATTESTATION {
                let attestation = Attestation::read(reader, message_len)?;
                if read.attestations.contains(&attestation) {
                    return Err(TimestampError::Malformed);
                }
                read.attestations.push(attestation);
            } else {
                let operation = Operation::read(tag, reader)?;
                let is_twice = read.operations.iter().any(|(there, _)| *there == operation);
                let len = operation.len_of(message_len).filter(|_| depth < limit::TIMESTAMP_DEPTH_MAX && !is_twice);
                let below = Self::read(reader, len.ok_or(TimestampError::Malformed)?, depth + 1)?;
                read.operations.push((operation, below));
            }
            if is_last {
                break;
            }
        }
        read.attestations.sort_unstable();
        read.operations.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(read)
    }

    /// Its bytes, every item in its place.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut left = self.attestations.len() + self.operations.len();
        let mut separate = |out: &mut Vec<u8>| {
            left -= 1;
            if left > 0 {
                out.push(MORE);
            }
        };
        for attestation in &self.attestations {
            separate(out);
            out.push(ATTESTATION);
            attestation.write(out);
        }
        for (operation, below) in &self.operations {
            separate(out);
            operation.write(out);
            below.write(out);
        }
    }

    /// Takes what another timestamp of the same message says.
    fn merge(&mut self, other: Self) {
        for attestation in other.attestations {
            if let Err(at) = self.attestations.binary_search(&attestation) {
                self.attestations.insert(at, attestation);
            }
        }
        for (operation, below) in other.operations {
            match self.operations.binary_search_by(|(there, _)| there.cmp(&operation)) {
                Ok(at) => {
                    if let Some((_, there)) = self.operations.get_mut(at) {
                        there.merge(below);
                    }
                }
                Err(at) => self.operations.insert(at, (operation, below)),
            }
        }
    }

    /// Every attestation with the message that it speaks of, of this one on.
    #[must_use]
    pub fn evaluate(&self, message: &[u8]) -> Vec<Attested> {
        let mut found = Vec::new();
        self.collect(message, &mut found);
        found
    }

    fn collect(&self, message: &[u8], found: &mut Vec<Attested>) {
        found.extend(
            self.attestations
                .iter()
                .map(|attestation| Attested { message: message.to_vec(), attestation: attestation.clone() }),
        );
        for (operation, below) in &self.operations {
            below.collect(&operation.apply(message), found);
        }
    }

    /// Takes an attestation of `of` away wherever it speaks of `of`, and something else stands there.
    fn take(&mut self, message: &[u8], of: &Attested) {
        let is_here = message == of.message && self.attestations.len() + self.operations.len() > 1;
        self.attestations.retain(|there| !is_here || *there != of.attestation);
        for (operation, below) in &mut self.operations {
            below.take(&operation.apply(message), of);
        }
    }

    /// Puts a timestamp of `of` wherever that attestation speaks of `of`; whether there was such a place.
    fn put(&mut self, message: &[u8], of: &Attested, more: &Self) -> bool {
        let is_here = message == of.message && self.attestations.contains(&of.attestation);
        if is_here {
            self.merge(more.clone());
        }
        let mut is_below = false;
        for (operation, below) in &mut self.operations {
            is_below |= !is_here && below.put(&operation.apply(message), of, more);
        }
        is_here || is_below
    }
}

impl Detached {
    /// Reads a detached timestamp. What it says nobody has checked.
    ///
    /// # Errors
    /// [`TimestampError`].
    // contracts/log.md G23.
    pub fn parse(bytes: &[u8]) -> Result<Self, TimestampError> {
        if bytes.len() > limit::TIMESTAMP_LEN_MAX {
            return Err(TimestampError::TooLong);
        }
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(TimestampError::Malformed);
        }
        if reader.number()? != u32::from(VERSION) {
            return Err(TimestampError::Version);
        }
        if reader.byte()? != SHA256 {
            return Err(TimestampError::Kind);
        }
        let digest = reader.take(32)?.try_into().map_err(|_| TimestampError::Malformed)?;
        let timestamp = Timestamp::read(&mut reader, 32, 0)?;
        reader.end().map(|()| Self { digest, timestamp })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &[VERSION, SHA256], &self.digest, &self.timestamp.to_bytes()].concat()
    }

    /// Every attestation with the message that it speaks of.
    #[must_use]
    pub fn attested(&self) -> Vec<Attested> {
        self.timestamp.evaluate(&self.digest)
    }

    /// The attestations that wait for a calendar.
    #[must_use]
    pub fn open(&self) -> Vec<Attested> {
        self.attested().into_iter().filter(|it| it.pending().is_some()).collect()
    }

    /// With the block that the calendar of a pending attestation has named, in the place of that attestation.
    ///
    /// # Errors
    /// As [`Detached::with_answer`].
    // contracts/log.md G25.
    pub fn settled(&self, of: &Attested, answer: &Timestamp) -> Result<Self, TimestampError> {
        let mut settled = self.with_answer(of, answer)?;
        settled.timestamp.take(&self.digest, of);
        Ok(settled)
    }

    /// With what a calendar answered for the message of one of its attestations.
    ///
    /// # Errors
    /// What comes of it is no timestamp any more (it would be too long, or too deep), or has no such attestation.
    pub fn with_answer(&self, of: &Attested, answer: &Timestamp) -> Result<Self, TimestampError> {
        let mut merged = self.clone();
        if !merged.timestamp.put(&self.digest, of, answer) {
            return Err(TimestampError::Malformed);
        }
        Self::parse(&merged.to_bytes())
    }

    /// Of a file that calendars have been asked about: `nonce` behind its digest, hashed, and what each of them answered.
    ///
    /// # Errors
    /// No answers; together they are too much.
    // contracts/log.md G25.
    pub fn of_answers(digest: Hash, nonce: [u8; 16], answers: Vec<Timestamp>) -> Result<Self, TimestampError> {
        let mut merged = Timestamp::default();
        answers.into_iter().for_each(|answer| merged.merge(answer));
        let timestamp = Timestamp::path([Operation::Append(nonce.to_vec()), Operation::Sha256], merged);
        Self::parse(&Self { digest, timestamp }.to_bytes())
    }
}

impl Attested {
    /// The merkle root that the block of this height must have, as block explorers write it; `None` of any other attestation.
    // contracts/log.md G24.
    #[must_use]
    pub fn block(&self) -> Option<(u32, String)> {
        let Attestation::Bitcoin(height) = self.attestation else { return None };
        let reversed: Vec<u8> = self.message.iter().rev().copied().collect();
        Some((height, HEXLOWER.encode(&reversed)))
    }

    /// The calendar that it waits for; `None` of any other attestation.
    #[must_use]
    pub fn pending(&self) -> Option<&str> {
        match &self.attestation {
            Attestation::Pending(uri) => Some(uri),
            _ => None,
        }
    }
}

/// What a calendar is sent for a file: not the digest itself, so that it does not learn whose it is.
// contracts/log.md G25.
#[must_use]
pub fn blinded(digest: &Hash, nonce: &[u8; 16]) -> Hash {
    crypto::sha256(&[digest, nonce])
}
