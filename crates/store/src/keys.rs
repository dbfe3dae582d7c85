//! The epoch keys, in a small file of their own that is overwritten in place.
//!
//! ```text
//!   recipients' keys ──wrap──▶ root key ──wraps──▶ data keys of at most two epochs ──seal──▶ rows
//!   (key file, passphrase)     random             current, and old while a turn is under way
//! ```
//!
//! Two fixed slots. A change is written to the slot that is not the newest, synced and read back before the other one is touched, so one of
//! them is always whole; at rest both say the same, so nothing that was dropped lingers in the other.

mod kek;
mod slot;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nuncio_proto::secret::Key;

use crate::durable::sync_dir;
use crate::error::{KeyFault, StoreError};
use kek::{Recipient, random};
use slot::{SLOT_LEN, Slot, SlotRead};

pub use kek::{Argon2Cost, Kek};

/// Two slots.
const FILE_LEN: u64 = 8192;

/// The data key of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochKey {
    epoch: u32,
    key: Key,
}

impl EpochKey {
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

/// The data keys that a vault seals and opens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochKeys {
    current: EpochKey,
    old: Option<EpochKey>,
}

impl EpochKeys {
    /// A fresh key for the first epoch: for a new store, or a vault in memory.
    pub fn generate() -> Result<Self, StoreError> {
        Ok(Self { current: EpochKey { epoch: 1, key: Key::new(random()?) }, old: None })
    }

    pub(crate) fn current(&self) -> &EpochKey {
        &self.current
    }

    pub(crate) fn old(&self) -> Option<&EpochKey> {
        self.old.as_ref()
    }

    pub(crate) fn find(&self, epoch: u32) -> Option<&EpochKey> {
        self.newest_first().find(|key| key.epoch == epoch)
    }

    fn newest_first(&self) -> impl Iterator<Item = &EpochKey> {
        std::iter::once(&self.current).chain(&self.old)
    }

    fn from_newest_first(mut keys: Vec<EpochKey>) -> Option<Self> {
        let old = if keys.len() > 1 { keys.pop() } else { None };
        let current = keys.pop()?;
        (keys.is_empty() && old.as_ref().is_none_or(|old| old.epoch < current.epoch)).then_some(Self { current, old })
    }

    fn turned(&self) -> Option<Self> {
        let epoch = self.current.epoch.checked_add(1)?;
        let key = Key::new(random().ok()?);
        Some(Self { current: EpochKey { epoch, key }, old: Some(self.current.clone()) })
    }
}

/// The epoch-key file of a home, open.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    file: File,
    newest: SlotIndex,
    slot: Slot,
    root: Key,
    epochs: EpochKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotIndex {
    First,
    Second,
}

impl SlotIndex {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => FILE_LEN / 2,
        }
    }
}

impl KeyFile {
    /// Makes the file (mode 0600) with fresh keys that the KEK opens. Fails when there is one.
    pub fn create(path: &Path, kek: &Kek) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| StoreError::io("make", path, e))?;
        let root = Key::new(random()?);
        let epochs = EpochKeys::generate()?;
        let recipient = Recipient::seal(kek, &root).map_err(|fault| StoreError::key(path, fault))?;
        let slot = Slot::seal(0, vec![recipient], &root, epochs.newest_first())?;
        let mut keys = Self { path: path.to_owned(), file, newest: SlotIndex::First, slot, root, epochs };
        keys.write_both(keys.slot.clone())?;
        path.parent().map_or(Ok(()), sync_dir)?;
        Ok(keys)
    }

    /// Opens the file with any of its recipients' keys. [`KeyFault::WrongKey`] when the key is none of theirs.
    ///
    /// A slot that a power cut has left behind, or torn, is brought level with the other one.
    pub fn open(path: &Path, kek: &Kek) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| StoreError::io("open", path, e))?;
        let fault = |fault| StoreError::key(path, fault);
        let len = file.metadata().map_err(|e| StoreError::io("read", path, e))?.len();
        if len != FILE_LEN {
            return Err(fault(KeyFault::WrongLength(len)));
        }
        let first = read_slot(&file, path, SlotIndex::First)?;
        let second = read_slot(&file, path, SlotIndex::Second)?;
        let level = first.as_ref().zip(second.as_ref()).is_some_and(|(a, b)| a.says_the_same_as(b));
        let (newest, slot) = match (first, second) {
            (Some(first), Some(second)) if second.generation() > first.generation() => (SlotIndex::Second, second),
            (Some(first), _) => (SlotIndex::First, first),
            (None, Some(second)) => (SlotIndex::Second, second),
            (None, None) => return Err(fault(KeyFault::BothSlotsDamaged)),
        };
        let root = kek::open_root(kek, slot.recipients()).map_err(fault)?;
        let epochs =
            slot.open_epochs(&root).and_then(EpochKeys::from_newest_first).ok_or_else(|| fault(KeyFault::Malformed))?;
        let mut keys = Self { path: path.to_owned(), file, newest, slot, root, epochs };
        // In the middle of a turn the other slot may hold the old key alone; finishing the turn overwrites both.
        if !level && keys.epochs.old.is_none() {
            keys.write_next(keys.slot.clone())?;
        }
        Ok(keys)
    }

    /// The data keys.
    #[must_use]
    pub fn epochs(&self) -> &EpochKeys {
        &self.epochs
    }

    /// Adds a recipient. With `drop_old` it becomes the only one, and the root key is replaced, so that a KEK that was given up opens no
    /// later state of this file either.
    pub fn rekey(&mut self, add: &Kek, drop_old: bool) -> Result<(), StoreError> {
        let root = if drop_old { Key::new(random()?) } else { self.root.clone() };
        let mut recipients = if drop_old { Vec::new() } else { self.slot.recipients().to_vec() };
        if recipients.len() >= slot::MAX_RECIPIENTS {
            return Err(StoreError::key(&self.path, KeyFault::TooManyRecipients(recipients.len())));
        }
        recipients.push(Recipient::seal(add, &root).map_err(|fault| StoreError::key(&self.path, fault))?);
        let slot = Slot::seal(self.slot.generation(), recipients, &root, self.epochs.newest_first())?;
        self.write_both(slot)?;
        self.root = root;
        Ok(())
    }

    /// Writes old and new data key to the idle slot. Nothing to do when a turn is under way already.
    pub(crate) fn begin_turn(&mut self) -> Result<(), StoreError> {
        if self.epochs.old.is_some() {
            return Ok(());
        }
        let turned = self.epochs.turned().ok_or_else(|| StoreError::key(&self.path, KeyFault::EpochsExhausted))?;
        self.write_next(self.sealed(&turned)?)?;
        self.epochs = turned;
        Ok(())
    }

    /// Writes the new data key alone, to one slot and then to the other. `between` is called when one is written.
    pub(crate) fn finish_turn(&mut self, between: impl FnOnce()) -> Result<(), StoreError> {
        let alone = EpochKeys { current: self.epochs.current.clone(), old: None };
        self.write_next(self.sealed(&alone)?)?;
        between();
        self.write_next(self.slot.clone())?;
        self.epochs = alone;
        Ok(())
    }

    fn sealed(&self, epochs: &EpochKeys) -> Result<Slot, StoreError> {
        Slot::seal(self.slot.generation(), self.slot.recipients().to_vec(), &self.root, epochs.newest_first())
    }

    fn write_both(&mut self, slot: Slot) -> Result<(), StoreError> {
        self.write_next(slot)?;
        self.write_next(self.slot.clone())
    }

    /// Writes to the slot that is not the newest, syncs, reads back; then it is the newest.
    fn write_next(&mut self, mut slot: Slot) -> Result<(), StoreError> {
        let target = self.newest.other();
        slot.set_generation(self.slot.generation().saturating_add(1));
        let bytes = slot.encode();
        self.file
            .write_all_at(&bytes, target.offset())
            .and_then(|()| self.file.sync_all())
            .map_err(|e| StoreError::io("write", &self.path, e))?;
        if read_slot(&self.file, &self.path, target)?.as_ref() != Some(&slot) {
            return Err(StoreError::key(&self.path, KeyFault::ReadBack));
        }
        self.newest = target;
        self.slot = slot;
        Ok(())
    }
}

/// `None` when the slot is damaged, as a torn write leaves it.
fn read_slot(file: &File, path: &Path, index: SlotIndex) -> Result<Option<Slot>, StoreError> {
    let mut bytes = [0; SLOT_LEN];
    file.read_exact_at(&mut bytes, index.offset()).map_err(|e| StoreError::io("read", path, e))?;
    match Slot::decode(&bytes) {
        SlotRead::Whole(slot) => Ok(Some(slot)),
        SlotRead::Damaged => Ok(None),
        SlotRead::Malformed => Err(StoreError::key(path, KeyFault::Malformed)),
        SlotRead::Newer(found) => {
            Err(StoreError::Newer { what: "the key file".to_owned(), found, known: slot::FORMAT.into() })
        }
    }
}

pub(crate) use slot::again as slot_again;

#[cfg(test)]
mod tests;
