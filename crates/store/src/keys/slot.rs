//! The bytes of one slot of the key file.
//!
//! ```text
//!   "nunckeys" | format u16 | generation u64 | recipients u8 | epochs u8
//!   recipient: kind u8 | memory_kib u32 | passes u32 | lanes u32 | salt 16 | nonce 24 | sealed root 32 | tag 16
//!   epoch:     number u32 | nonce 24 | sealed key 32 | tag 16                newest first, at most two
//!   zeros | SHA-256 of all before                                            4,096 bytes in all, integers big-endian
//! ```

use nuncio_contracts::registry::label;
use nuncio_proto::crypto;
use nuncio_proto::secret::Key;

use super::EpochKey;
use super::kek::{Argon2Cost, Recipient, RecipientKind, Wrapped, derive};
use crate::error::StoreError;

/// One slot: a page of most devices and file systems, so that a write to it touches no other.
pub(super) const SLOT_LEN: usize = 4096;
pub(super) const FORMAT: u16 = 1;
/// A key file, a passphrase, and some of each for a change of hands.
pub(super) const MAX_RECIPIENTS: usize = 8;

const MAX_EPOCHS: usize = 2;
const MAGIC: [u8; 8] = *b"nunckeys";
const CHECKSUM_LEN: usize = 32;
const BODY_LEN: usize = SLOT_LEN - CHECKSUM_LEN;

/// What a slot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    generation: u64,
    recipients: Vec<Recipient>,
    epochs: Vec<(u32, Wrapped)>,
}

/// What a slot's bytes are.
pub(super) enum SlotRead {
    Whole(Slot),
    /// The checksum does not hold: a torn write, or decay.
    Damaged,
    /// The checksum holds, the content makes no sense.
    Malformed,
    Newer(u32),
}

impl Slot {
    pub(super) fn seal<'a>(
        generation: u64,
        recipients: Vec<Recipient>,
        root: &Key,
        epochs: impl Iterator<Item = &'a EpochKey>,
    ) -> Result<Self, StoreError> {
        let under = epoch_wrapping_key(root);
        let epochs = epochs
            .map(|key| Ok((key.epoch(), Wrapped::seal(&under, &epoch_ad(key.epoch()), key.key())?)))
            .collect::<Result<_, StoreError>>()?;
        Ok(Self { generation, recipients, epochs })
    }

    /// The data keys, newest first.
    pub(super) fn open_epochs(&self, root: &Key) -> Option<Vec<EpochKey>> {
        let under = epoch_wrapping_key(root);
        self.epochs
            .iter()
            .map(|(epoch, wrapped)| Some(EpochKey { epoch: *epoch, key: wrapped.open(&under, &epoch_ad(*epoch))? }))
            .collect()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    pub(super) fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        self.recipients == other.recipients && self.epochs == other.epochs
    }

    pub(super) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut body = Vec::with_capacity(SLOT_LEN);
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&FORMAT.to_be_bytes());
        body.extend_from_slice(&self.generation.to_be_bytes());
        body.push(count(&self.recipients));
        body.push(count(&self.epochs));
        for recipient in &self.recipients {
            body.push(recipient.kind.code());
            for cost in [recipient.cost.memory_kib, recipient.cost.passes, recipient.cost.lanes] {
                body.extend_from_slice(&cost.to_be_bytes());
            }
            body.extend_from_slice(&recipient.salt);
            push_wrapped(&mut body, &recipient.root);
        }
        for (epoch, wrapped) in &self.epochs {
            body.extend_from_slice(&epoch.to_be_bytes());
            push_wrapped(&mut body, wrapped);
        }
        body.resize(BODY_LEN, 0);
        let checksum = crypto::sha256(&[&body]);
        body.extend_from_slice(&checksum);
        let mut slot = [0; SLOT_LEN];
        slot.copy_from_slice(&body);
        slot
    }

    pub(super) fn decode(bytes: &[u8; SLOT_LEN]) -> SlotRead {
        let (body, checksum) = bytes.split_at(BODY_LEN);
        if crypto::sha256(&[body]) != checksum {
            return SlotRead::Damaged;
        }
        let mut rest = body;
        if take(&mut rest) != Some(MAGIC) {
            return SlotRead::Malformed;
        }
        match take(&mut rest).map(u16::from_be_bytes) {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => return SlotRead::Newer(found.into()),
            _ => return SlotRead::Malformed,
        }
        decode_body(rest).map_or(SlotRead::Malformed, SlotRead::Whole)
    }
}

/// See [`crate::testing::key_slot`].
pub(crate) fn again(begins: &[u8]) -> ([u8; SLOT_LEN], Option<[u8; SLOT_LEN]>) {
    let mut slot = [0; SLOT_LEN];
    let (body, checksum) = slot.split_at_mut(BODY_LEN);
    body.iter_mut().zip(begins).for_each(|(byte, begins)| *byte = *begins);
    checksum.copy_from_slice(&crypto::sha256(&[body]));
    let again = match Slot::decode(&slot) {
        SlotRead::Whole(read) => Some(read.encode()),
        SlotRead::Damaged | SlotRead::Malformed | SlotRead::Newer(_) => None,
    };
    (slot, again)
}

fn decode_body(mut rest: &[u8]) -> Option<Slot> {
    let rest = &mut rest;
    let generation = u64::from_be_bytes(take(rest)?);
    let [recipients, epochs] = take(rest)?;
    if usize::from(recipients) > MAX_RECIPIENTS || usize::from(epochs) > MAX_EPOCHS {
        return None;
    }
    let recipients = (0..recipients).map(|_| take_recipient(rest)).collect::<Option<_>>()?;
    let epochs =
        (0..epochs).map(|_| Some((u32::from_be_bytes(take(rest)?), take_wrapped(rest)?))).collect::<Option<_>>()?;
    rest.iter().all(|byte| *byte == 0).then_some(Slot { generation, recipients, epochs })
}

fn take_recipient(rest: &mut &[u8]) -> Option<Recipient> {
    let [kind] = take(rest)?;
    let kind = RecipientKind::from_code(kind)?;
    let memory_kib = u32::from_be_bytes(take(rest)?);
    let passes = u32::from_be_bytes(take(rest)?);
    let lanes = u32::from_be_bytes(take(rest)?);
    let cost = Argon2Cost { memory_kib, passes, lanes };
    Some(Recipient { kind, cost, salt: take(rest)?, root: take_wrapped(rest)? })
}

fn take_wrapped(rest: &mut &[u8]) -> Option<Wrapped> {
    Some(Wrapped { nonce: take(rest)?, sealed: take(rest)?, tag: take(rest)? })
}

fn push_wrapped(body: &mut Vec<u8>, wrapped: &Wrapped) {
    body.extend_from_slice(&wrapped.nonce);
    body.extend_from_slice(&wrapped.sealed);
    body.extend_from_slice(&wrapped.tag);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// At most [`MAX_RECIPIENTS`] or [`MAX_EPOCHS`].
fn count<T>(items: &[T]) -> u8 {
    u8::try_from(items.len()).unwrap_or(u8::MAX)
}

fn epoch_wrapping_key(root: &Key) -> Key {
    derive(root, &[], label::EPOCH_KEY)
}

fn epoch_ad(epoch: u32) -> Vec<u8> {
    [label::EPOCH_KEY, &epoch.to_be_bytes()].concat()
}
