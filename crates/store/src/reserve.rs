//! Room kept for a full disk.
//!
//! On a full disk sled keeps what it acknowledged but cannot be opened again: opening writes. A file of real bytes is held back for that
//! moment and given up for it; until it can be made again, nothing is committed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::durable::sync_dir;
use crate::error::StoreError;

/// Bytes held back. Opening rewrites the tail of one 512 KiB segment and a snapshot (about 20 bytes a page); 8 MiB covers a snapshot
/// of 300,000 pages.
const RESERVE_LEN: usize = 8 << 20;

/// Written in pieces of this size, each of fresh random bytes, so that no file system stores them as a hole or compressed.
const PIECE_LEN: usize = 1 << 18;

/// The reserve file of one engine directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// Looks for the reserve of a directory. Makes none.
    pub(crate) fn find(dir: &Path) -> Self {
        let path = dir.join("reserve");
        let held =
            fs::metadata(&path).is_ok_and(|meta| usize::try_from(meta.len()).is_ok_and(|len| len == RESERVE_LEN));
        Self { path, held }
    }

    /// Gives the room up.
    pub(crate) fn release(&mut self) -> Result<(), StoreError> {
        self.held = false;
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", &self.path, e)),
            _ => Ok(()),
        }
    }

    /// Makes sure that the room is there: [`StoreError::DiskFull`] while it cannot be made again.
    pub(crate) fn hold(&mut self) -> Result<(), StoreError> {
        if self.held {
            return Ok(());
        }
        if let Err(error) = self.fill() {
            self.release()?;
            return Err(error);
        }
        self.held = true;
        Ok(())
    }

    fn fill(&self) -> Result<(), StoreError> {
        let failed = |e| StoreError::io("write", &self.path, e);
        let mut file = File::create(&self.path).map_err(failed)?;
        let mut piece = vec![0; PIECE_LEN];
        for _ in 0..RESERVE_LEN / PIECE_LEN {
            getrandom::fill(&mut piece).map_err(StoreError::Random)?;
            file.write_all(&piece).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        self.path.parent().map_or(Ok(()), sync_dir)
    }
}
