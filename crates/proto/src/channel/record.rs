//! The record of a channel: entries, each on the one before, and what they come to (contracts/channel.md sections 1 to 4).
//!
//! ```text
//!   E0 ◄─ E1 ◄─ E2 ◄─ E3        next       stands on the newest
//!          ▲     └─ also E3'    fork       two by one owner on one epoch: the first stays, both are evidence
//!          └─ S2                succession by a majority of the admins of E1: takes the place of E2 and E3 for a time
//! ```

use std::collections::BTreeMap;

use nuncio_contracts::registry::{limit, time};

use super::change::{Change, ChangeError};
use super::entry::{Entry, EntryError};
use super::roster::Roster;
use super::statement::{Proposal, StatementError};
use crate::crypto::{CryptoError, SigningKey};
use crate::ids::{AgentId, ChannelId, EpochId};
use crate::time::UnixMillis;

mod consents;

use consents::no_consents;

/// A channel's record, verified from its first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    channel: ChannelId,
    entries: Vec<Kept>,
    numbers: BTreeMap<EpochId, u32>,
    roster: Roster,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    bytes: Vec<u8>,
    epoch: EpochId,
    change: Change,
    /// Who appends behind it.
    owner: AgentId,
    /// By the holder's clock; of entries that a newcomer was given, not later than they say themselves.
    taken: UnixMillis,
}

/// What an entry is to a record.
#[derive(Debug)]
#[must_use]
pub enum Judged {
    /// It is in it.
    Known,
    /// It goes on: apply it.
    Next(Box<Next>),
    /// Two by one signer on one epoch. The record stays as it is.
    Fork(Fork),
}

/// An entry that goes on, as a value.
#[derive(Debug)]
#[must_use]
pub struct Next {
    kept: Kept,
    roster: Roster,
    /// How many entries stay in front of it.
    stands_on: usize,
    /// The epoch of the record that it was judged by.
    head: EpochId,
}

/// Evidence that one owner, or admins, told two stories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The entry that was taken first, and stays.
    pub first: Vec<u8>,
    /// The other on the same epoch.
    pub second: Vec<u8>,
}

/// Why an entry, a record or a proposal is refused. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// There is no record yet, or none without its first entry.
    #[error("a record begins with an entry 0 that creates the channel")]
    NotFirst,
    /// Of another channel.
    #[error("of another channel")]
    Channel,
    /// Stands on an epoch that the record has not.
    #[error("stands on an epoch that is not known here")]
    UnknownEpoch,
    /// Another number than the one behind its epoch.
    #[error("entry out of its place")]
    Number,
    /// A change that cannot be made to this roster.
    #[error("entry changes what is not so")]
    Impossible,
    /// Over a bound of members, admins, entries or bytes.
    #[error("the channel is full")]
    Full,
    /// The roster behind it is another than it says.
    #[error("entry says another roster than it makes")]
    Roster,
    /// Consents that are missing, too many, of others, of another time, or over.
    #[error("entry lacks the consent of somebody whom it needs")]
    Consent,
    /// Not so many admins as make a majority.
    #[error("succession without a majority of the admins")]
    Majority,
    /// The entries that it would take the place of are here for too long.
    #[error("succession too late")]
    TooLate,
    /// An owner's entry on an epoch on which a succession stands.
    #[error("entry of an owner that was succeeded")]
    Outranked,
    /// A proposal by somebody who is no admin, or was none when it was made.
    #[error("proposal of somebody who may not make it")]
    NotAdmin,
    /// A proposal on an epoch that lies too far back, or of a change that is not proposed.
    #[error("proposal that is stale, or of what nobody proposes")]
    Stale,
    /// The record has moved since the entry was judged.
    #[error("the record has moved since this entry was judged")]
    Moved,
}

impl From<ChangeError> for RecordError {
    fn from(error: ChangeError) -> Self {
        Self::Entry(error.into())
    }
}

impl From<CryptoError> for RecordError {
    fn from(error: CryptoError) -> Self {
        Self::Entry(error.into())
    }
}

impl From<StatementError> for RecordError {
    fn from(error: StatementError) -> Self {
        Self::Entry(error.into())
    }
}

impl Record {
    /// A channel that begins, with its first entry. `random` makes its id one of its own.
    ///
    /// # Errors
    /// [`RecordError`] for a name that is none.
    pub fn create(
        signing: &SigningKey,
        name: &str,
        audits: bool,
        at: UnixMillis,
        random: [u8; 32],
    ) -> Result<Self, RecordError> {
        let owner = AgentId::from_bytes(signing.public()).map_err(ChangeError::Id)?;
        let change = Change::Create { owner, audits, name: name.into() };
        change.check()?;
        let roster = Roster::first(&change)?;
        let entry = Entry::draft(0, EpochId::from_bytes(random), at, change, roster.hash());
        Self::begin(&entry.sign(signing, Vec::new()).to_bytes(), at)
    }

    /// The record of a first entry, taken now.
    ///
    /// # Errors
    /// [`RecordError`].
    // contracts/channel.md C5, C6.
    pub fn begin(bytes: &[u8], now: UnixMillis) -> Result<Self, RecordError> {
        let entry = Entry::parse(bytes)?;
        let roster = Roster::first(&entry.change)?;
        if entry.number != 0 {
            return Err(RecordError::NotFirst);
        }
        entry.verify(&roster.owner())?;
        check_roster(&entry, &roster)?;
        no_consents(&entry)?;
        let kept = Kept::new(bytes, &entry, roster.owner(), now);
        let numbers = BTreeMap::from([(kept.epoch, 0)]);
        Ok(Self { channel: entry.channel(), entries: vec![kept], numbers, roster, len: bytes.len() })
    }

    /// A whole record, from its first entry, as a newcomer is given it.
    ///
    /// # Errors
    /// [`RecordError`] of the first entry that is refused.
    // contracts/channel.md C9, C21.
    pub fn verify<'a>(entries: impl IntoIterator<Item = &'a [u8]>, now: UnixMillis) -> Result<Self, RecordError> {
        Self::replay(entries.into_iter().map(|bytes| (bytes, None)), now)
    }

    /// A record that its holder kept, each entry with the time at which it was taken ([`Record::taken`]).
    ///
    /// # Errors
    /// [`RecordError`] of the first entry that is refused.
    pub fn restore<'a>(entries: impl IntoIterator<Item = (&'a [u8], UnixMillis)>) -> Result<Self, RecordError> {
        Self::replay(entries.into_iter().map(|(bytes, taken)| (bytes, Some(taken))), UnixMillis::NEVER)
    }

    fn replay<'a>(
        mut entries: impl Iterator<Item = (&'a [u8], Option<UnixMillis>)>,
        now: UnixMillis,
    ) -> Result<Self, RecordError> {
        let (first, taken) = entries.next().ok_or(RecordError::NotFirst)?;
        let at = Entry::parse(first)?.at.min(now);
        let mut record = Self::begin(first, taken.unwrap_or(at))?;
        for (bytes, taken) in entries {
            let entry = Entry::parse(bytes)?;
            if entry.prev != record.epoch() {
                return Err(RecordError::UnknownEpoch);
            }
            let next = record.follow(bytes, &entry, taken.unwrap_or(entry.at.min(now)))?;
            record.apply(next)?;
        }
        Ok(record)
    }

    /// What an entry is to this record, received now.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn check(&self, bytes: &[u8], now: UnixMillis) -> Result<Judged, RecordError> {
        let entry = Entry::parse(bytes)?;
        if self.numbers.contains_key(&entry.epoch()) {
            return Ok(Judged::Known);
        }
        let stands_on = self.number_of(&entry.prev).ok_or(RecordError::UnknownEpoch)?;
        let Some(first) = self.kept(stands_on.saturating_add(1)) else {
            return self.follow(bytes, &entry, now).map(|next| Judged::Next(Box::new(next)));
        };
        self.check_rival(bytes, &entry, first, now)
    }

    /// An entry that stands where another stands already.
    // contracts/channel.md C17 to C20.
    fn check_rival(&self, bytes: &[u8], entry: &Entry, first: &Kept, now: UnixMillis) -> Result<Judged, RecordError> {
        // The signature first: nobody but an owner makes this agent go through its record.
        entry.verify(&self.owner_in(&entry.prev)?)?;
        let base = self.until(entry.prev)?;
        let fork = || Fork { first: first.bytes.clone(), second: bytes.to_vec() };
        let succeeded = matches!(first.change, Change::Succeed(_));
        match (&entry.change, succeeded) {
            (Change::Succeed(_), false) => {}
            (Change::Succeed(_), true) => {
                // Only what could have been taken is a story of its own.
                return self.next_on(&base, bytes, entry, now).map(|_| Judged::Fork(fork()));
            }
            (_, true) => return Err(RecordError::Outranked),
            (_, false) => return Ok(Judged::Fork(fork())),
        }
        if now.since(first.taken) >= time::CHANNEL_SUCCESSION_WINDOW {
            return Err(RecordError::TooLate);
        }
        self.next_on(&base, bytes, entry, now).map(|next| Judged::Next(Box::new(next)))
    }

    /// An entry on the newest epoch.
    fn follow(&self, bytes: &[u8], entry: &Entry, taken: UnixMillis) -> Result<Next, RecordError> {
        entry.verify(&self.roster.owner())?;
        self.next_on(&self.roster, bytes, entry, taken)
    }

    /// Whether an entry, whose signature holds, makes what it says of the roster on which it stands.
    // contracts/channel.md C6 to C9.
    fn next_on(&self, base: &Roster, bytes: &[u8], entry: &Entry, taken: UnixMillis) -> Result<Next, RecordError> {
        if entry.number != base.number().saturating_add(1) {
            return Err(RecordError::Number);
        }
        let roster = base.after(&entry.change)?;
        check_roster(entry, &roster)?;
        self.check_consents(base, entry)?;
        let stands_on = usize::try_from(entry.number).map_err(|_| RecordError::Full)?;
        let behind: usize = self.entries.iter().skip(stands_on).map(|kept| kept.bytes.len()).sum();
        let len = self.len.saturating_sub(behind);
        if entry.number >= limit::CHANNEL_ENTRIES_MAX || len + bytes.len() > limit::CHANNEL_RECORD_LEN_MAX {
            return Err(RecordError::Full);
        }
        let kept = Kept::new(bytes, entry, roster.owner(), taken);
        Ok(Next { kept, roster, stands_on, head: self.epoch() })
    }

    /// Moves the record, and gives back the entries that another took the place of.
    ///
    /// # Errors
    /// [`RecordError::Moved`] where the entry was judged by another state.
    pub fn apply(&mut self, next: Next) -> Result<Vec<Vec<u8>>, RecordError> {
        if next.head != self.epoch() {
            return Err(RecordError::Moved);
        }
        let dropped = self.entries.split_off(next.stands_on.min(self.entries.len()));
        for kept in &dropped {
            self.numbers.remove(&kept.epoch);
            self.len = self.len.saturating_sub(kept.bytes.len());
        }
        self.len = self.len.saturating_add(next.kept.bytes.len());
        self.numbers.insert(next.kept.epoch, next.roster.number());
        self.roster = next.roster;
        self.entries.push(next.kept);
        Ok(dropped.into_iter().map(|kept| kept.bytes).collect())
    }

    /// The owner's next entry, signed and judged: its bytes, and what applies it.
    ///
    /// # Errors
    /// [`RecordError`], as anybody would refuse it.
    pub fn append(
        &self,
        change: Change,
        consents: Vec<Vec<u8>>,
        now: UnixMillis,
        signing: &SigningKey,
    ) -> Result<(Vec<u8>, Next), RecordError> {
        let entry = self.draft(&self.epoch(), change, now)?.sign(signing, consents);
        let bytes = entry.to_bytes();
        match self.check(&bytes, now)? {
            Judged::Next(next) => Ok((bytes, *next)),
            Judged::Known | Judged::Fork(_) => Err(RecordError::Moved),
        }
    }

    /// An entry on an epoch, to be signed: for a succession, whose admins sign for its body first.
    ///
    /// # Errors
    /// [`RecordError`] where the change cannot be made there.
    pub fn draft(&self, on: &EpochId, change: Change, at: UnixMillis) -> Result<Entry, RecordError> {
        change.check()?;
        let base = self.until(*on)?;
        let roster = base.after(&change)?;
        Ok(Entry::draft(roster.number(), *on, at, change, roster.hash()))
    }

    /// Whether the owner may follow a proposal: by an admin of now, who was one when it was made, on an epoch that is not far behind.
    ///
    /// # Errors
    /// [`RecordError`].
    // contracts/channel.md C16.
    pub fn check_proposal(&self, proposal: &Proposal) -> Result<(), RecordError> {
        if proposal.channel != self.channel {
            return Err(RecordError::Channel);
        }
        let made = self.number_of(&proposal.epoch).ok_or(RecordError::UnknownEpoch)?;
        if !self.roster.is_admin(&proposal.by) || !self.roster.speaks_since(&proposal.by, made) {
            return Err(RecordError::NotAdmin);
        }
        let is_proposed = match &proposal.change {
            Change::Add(_) | Change::Rename(_) => true,
            // One admin of several must not make itself their majority.
            Change::Remove(agents) => !agents.iter().any(|agent| self.roster.is_admin(agent)),
            _ => false,
        };
        let is_near = self.roster.number().saturating_sub(made) <= limit::CHANNEL_BEHIND_MAX;
        if !is_proposed || !is_near {
            return Err(RecordError::Stale);
        }
        self.roster.after(&proposal.change).map(drop)
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The newest epoch.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.entries.last().map_or(EpochId::from_bytes([0; 32]), |kept| kept.epoch)
    }

    /// Who is in it now.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// All entries, in their order: what a newcomer is given.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        self.entries.iter().map(|kept| kept.bytes.as_slice())
    }

    /// When an entry was taken, by its number: kept beside it, as a restart has to know it.
    #[must_use]
    pub fn taken(&self, number: u32) -> Option<UnixMillis> {
        self.kept(number).map(|kept| kept.taken)
    }

    /// The number of the entry with which an epoch began.
    #[must_use]
    pub fn number_of(&self, epoch: &EpochId) -> Option<u32> {
        self.numbers.get(epoch).copied()
    }

    /// The epoch that began with the entry of a number.
    #[must_use]
    pub fn epoch_of(&self, number: u32) -> Option<EpochId> {
        self.kept(number).map(|kept| kept.epoch)
    }

    /// Who was in it in an epoch.
    ///
    /// # Errors
    /// [`RecordError::UnknownEpoch`].
    pub fn until(&self, epoch: EpochId) -> Result<Roster, RecordError> {
        let number = self.number_of(&epoch).ok_or(RecordError::UnknownEpoch)?;
        if number == self.roster.number() {
            return Ok(self.roster.clone());
        }
        let (first, rest) = self.entries.split_first().ok_or(RecordError::NotFirst)?;
        let mut roster = Roster::first(&first.change)?;
        let mut rest = rest.iter().take(usize::try_from(number).unwrap_or(usize::MAX));
        rest.try_for_each(|kept| roster.change(&kept.change))?;
        Ok(roster)
    }

    /// Who appends behind an epoch.
    fn owner_in(&self, epoch: &EpochId) -> Result<AgentId, RecordError> {
        let kept = self.number_of(epoch).and_then(|number| self.kept(number));
        kept.map(|kept| kept.owner).ok_or(RecordError::UnknownEpoch)
    }

    fn kept(&self, number: u32) -> Option<&Kept> {
        self.entries.get(usize::try_from(number).ok()?)
    }
}

impl Kept {
    fn new(bytes: &[u8], entry: &Entry, owner: AgentId, taken: UnixMillis) -> Self {
        Self { bytes: bytes.to_vec(), epoch: entry.epoch(), change: entry.change.clone(), owner, taken }
    }
}

impl Next {
    /// The epoch that begins with it.
    #[must_use]
    pub const fn epoch(&self) -> EpochId {
        self.kept.epoch
    }

    /// What it changes.
    #[must_use]
    pub const fn change(&self) -> &Change {
        &self.kept.change
    }

    /// Who is in the channel behind it.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }
}

fn check_roster(entry: &Entry, roster: &Roster) -> Result<(), RecordError> {
    if entry.roster == roster.hash() { Ok(()) } else { Err(RecordError::Roster) }
}
