//! What must be cleared away before sled opens a directory.
//!
//! A snapshot is a shortcut through sled's log, written at opening. One that was cut short makes every later opening fail; without any,
//! sled reads the whole log, which holds everything.

use std::fs;
use std::path::{Path, PathBuf};

use crate::durable::sync_dir;
use crate::error::StoreError;

/// Length of the content, as u64, and its CRC-32, both little-endian, at the end of a snapshot.
const TRAILER_LEN: usize = 12;

/// Removes half-written snapshots, and all of them when one is empty or does not match its checksum.
pub(super) fn clear_broken_snapshots(dir: &Path) -> Result<(), StoreError> {
    let snapshots = find_snapshots(dir)?;
    let (unfinished, finished): (Vec<_>, Vec<_>) =
        snapshots.into_iter().partition(|path| path.extension().is_some_and(|e| e == "generating"));
    let mut broken = unfinished;
    for path in &finished {
        let content = fs::read(path).map_err(|e| StoreError::io("read", path, e))?;
        if !is_whole(&content) {
            broken.extend(finished);
            break;
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    for path in &broken {
        tracing::warn!(snapshot = %path.display(), "removing a broken snapshot; it is made again from the log");
        fs::remove_file(path).map_err(|e| StoreError::io("remove", path, e))?;
    }
    sync_dir(dir)
}

fn find_snapshots(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |e| StoreError::io("list", dir, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_whole(snapshot: &[u8]) -> bool {
    let Some((content, trailer)) = snapshot.len().checked_sub(TRAILER_LEN).and_then(|at| snapshot.split_at_checked(at))
    else {
        return false;
    };
    !content.is_empty() && trailer.get(8..) == Some(crc32(content).to_le_bytes().as_slice())
}

/// CRC-32 as in IEEE 802.3, bit by bit: snapshots are small and read once a start.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low_bit = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 & low_bit.wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn crc32_has_its_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn only_broken_snapshots_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let whole = |content: &[u8]| [content, &8_u64.to_le_bytes(), &crc32(content).to_le_bytes()].concat();
        let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
        write("snap.0001", &whole(b"pages"));
        write("snap.0002.generating", b"pag");
        clear_broken_snapshots(dir.path()).unwrap();
        assert_eq!(find_snapshots(dir.path()).unwrap(), [dir.path().join("snap.0001")]);

        for broken in [&b""[..], &[0; 40], &whole(b"pages")[1..]] {
            write("snap.0001", &whole(b"pages"));
            write("snap.0003", broken);
            clear_broken_snapshots(dir.path()).unwrap();
            assert!(find_snapshots(dir.path()).unwrap().is_empty());
        }
    }
}
