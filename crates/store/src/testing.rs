//! For fuzzers, what is read without being asked for by anybody who holds a key; for tests, what happens to a home behind its program's back.

use std::io;
use std::path::Path;

use crate::keys::slot_again;

/// Copies a folder's files and folders into a new one; what else is there (sockets) stays behind.
///
/// # Errors
/// The first that cannot be read or written.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A slot of the key file that begins with these bytes, zeros behind them, and whose checksum holds; with what is written for it once it was read,
/// unless it is refused.
#[must_use]
pub fn key_slot(begins: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let (slot, again) = slot_again(begins);
    (slot.to_vec(), again.map(|again| again.to_vec()))
}
