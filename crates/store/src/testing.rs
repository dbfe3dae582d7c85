//! For fuzzers: what is read without being asked for by anybody who holds a key.

use crate::keys::slot_again;

/// A slot of the key file that begins with these bytes, zeros behind them, and whose checksum holds; with what is written for it once it was read,
/// unless it is refused.
#[must_use]
pub fn key_slot(begins: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let (slot, again) = slot_again(begins);
    (slot.to_vec(), again.map(|again| again.to_vec()))
}
