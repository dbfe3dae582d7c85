//! What this agent said to channels: the newest letters, on disk beside their tallies, so that a conversation can be read from one end.

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op, Store, StoreError};

use crate::agent::Agent;
use crate::chunks;
use crate::error::Error;
use crate::tally::Tally;

/// The rows, each the channel and the letter: behind these a number.
const SAID: [u8; 2] = [rows::RUNTIME, b's'];

/// A letter of this agent's own to a channel.
#[derive(Debug)]
#[non_exhaustive]
pub struct Said {
    /// Its number among what this agent said: later ones have higher numbers.
    pub no: u64,
    /// Its id.
    pub id: LetterId,
    /// The letter that it answers.
    pub reply_to: Option<LetterId>,
    /// Media type.
    pub content_type: ContentType,
    /// What it said.
    pub payload: Vec<u8>,
    /// Who has it.
    pub tally: Tally,
}

/// What is kept, by number: how long each row is.
#[derive(Debug, Default)]
pub(crate) struct SaidRows {
    kept: BTreeMap<u64, usize>,
    bytes: usize,
}

impl SaidRows {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        store.scan(&SAID, &mut |key, value| {
            if let Some(no) = number(key) {
                rows.bytes += value.len();
                rows.kept.insert(no, value.len());
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// A letter goes out: its row, and those of the oldest that make place for it.
    pub(crate) fn keep(&mut self, channel: &ChannelId, letter: &Letter) -> Vec<Op> {
        // No token is kept: it says what was said, and not by whose leave.
        let mut said = Letter::plain(letter.id, letter.content_type.clone(), letter.payload.clone());
        said.reply_to = letter.reply_to;
        let value = [channel.as_bytes().as_slice(), &said.encode()].concat();
        let no = self.kept.last_key_value().map_or(0, |(last, _)| last + 1);
        self.bytes += value.len();
        self.kept.insert(no, value.len());
        let mut ops = vec![Op::Put { key: key(no), value }];
        while self.kept.len() > limit::CHANNEL_SAID_MAX || self.bytes > limit::CHANNEL_SAID_BYTES_MAX {
            let Some((oldest, len)) = self.kept.pop_first() else { break };
            self.bytes -= len;
            ops.push(Op::Delete { key: key(oldest) });
        }
        ops
    }

    /// Rows that are gone.
    pub(crate) fn forget(&mut self, keys: &[Vec<u8>]) {
        for no in keys.iter().filter_map(|key| number(key)) {
            self.bytes -= self.kept.remove(&no).unwrap_or(0);
        }
    }
}

impl Agent {
    /// What this agent said to a channel, with numbers above `after`, the oldest first and at most so much, each with who has it. Kept are the newest
    /// 1,000 letters to all channels, up to 16 MiB, each for as long as a letter may live.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn said_to_channel(
        &self,
        channel: ChannelId,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<Said>, Error> {
        let store = self.store()?;
        let rows = chunks::blocking(move || Ok::<_, Error>(read(&store, channel, after, max)?)).await?;
        let mut said = Vec::with_capacity(rows.len());
        for (no, Letter { id, reply_to, content_type, payload, .. }) in rows {
            // It is as old as its tally, and goes with it.
            if let Some(tally) = self.tally(id).await? {
                said.push(Said { no, id, reply_to, content_type, payload, tally });
            }
        }
        Ok(said)
    }
}

fn read(store: &Store, of: ChannelId, after: Option<u64>, max: usize) -> Result<Vec<(u64, Letter)>, StoreError> {
    let mut rows = Vec::new();
    store.scan(&SAID, &mut |key, value| {
        let no = number(key).filter(|no| rows.len() < max && after.is_none_or(|after| *no > after));
        let row = no.and_then(|no| Some((no, opened(value)?))).filter(|(_, (channel, _))| *channel == of);
        rows.extend(row.map(|(no, (_, letter))| (no, letter)));
        Ok(())
    })?;
    Ok(rows)
}

fn opened(row: &[u8]) -> Option<(ChannelId, Letter)> {
    let (channel, letter) = row.split_first_chunk()?;
    Some((ChannelId::from_bytes(*channel), Letter::decode(letter).ok()?))
}

/// The letter of this number, if it is of this channel.
pub(crate) fn of(store: &Store, channel: &ChannelId, no: u64) -> Result<Option<Letter>, StoreError> {
    let row = store.get(&key(no))?.and_then(|row| opened(&row));
    Ok(row.filter(|(of, _)| of == channel).map(|(_, letter)| letter))
}

/// Rows of letters that are older than this.
pub(crate) fn old(store: &Store, now: UnixMillis, life: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    keys(store, |_, letter| now.since(letter.id.created()) > life)
}

/// Rows of what was said to one channel.
pub(crate) fn of_channel(store: &Store, channel: &ChannelId) -> Result<Vec<Vec<u8>>, StoreError> {
    keys(store, |other, _| other == channel)
}

/// Rows that are chosen, and those that cannot be read.
fn keys(store: &Store, is_chosen: impl Fn(&ChannelId, &Letter) -> bool) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    store.scan(&SAID, &mut |key, value| {
        if opened(value).is_none_or(|(channel, letter)| is_chosen(&channel, &letter)) {
            keys.push(key.to_vec());
        }
        Ok(())
    })?;
    Ok(keys)
}

fn key(no: u64) -> Vec<u8> {
    [SAID.as_slice(), &no.to_be_bytes()].concat()
}

fn number(key: &[u8]) -> Option<u64> {
    key.strip_prefix(&SAID).and_then(|no| no.try_into().ok()).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(len: usize) -> Letter {
        Letter::plain(LetterId::new(UnixMillis(1), [7; 10]), ContentType::BYTES, vec![7; len])
    }

    /// Nothing of it grows with time: the oldest makes place.
    #[test]
    fn what_is_kept_of_what_was_said_has_an_end_in_number_and_in_bytes() {
        let (mut rows, channel) = (SaidRows::default(), ChannelId::from_bytes([1; 32]));
        for _ in 0..limit::CHANNEL_SAID_MAX {
            assert_eq!(rows.keep(&channel, &letter(1)).len(), 1);
        }
        let ops = rows.keep(&channel, &letter(1));
        assert!(matches!(ops.as_slice(), [Op::Put { .. }, Op::Delete { key: oldest }] if *oldest == key(0)));
        for _ in 0..limit::CHANNEL_SAID_BYTES_MAX / 40_000 + 1 {
            rows.keep(&channel, &letter(40_000));
        }
        assert!(rows.bytes <= limit::CHANNEL_SAID_BYTES_MAX && rows.bytes == rows.kept.values().sum::<usize>());
        let all: Vec<_> = rows.kept.keys().copied().map(key).collect();
        rows.forget(&all);
        assert_eq!((rows.bytes, rows.kept.len()), (0, 0));
    }
}
