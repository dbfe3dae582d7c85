//! What durable means: the engine's own flush, and then the device's word for it.
//!
//! sled 0.34 flushes with `sync_file_range`, which neither writes the file's metadata nor empties the device's cache: alone it survived 8
//! of 45 simulated power cuts. `fdatasync` of its `db` file after the flush survived all of them. (Pages that sled would keep in files of
//! their own are another matter: `sled/rows.rs` sees to it that there are none.)

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// The log of an open engine, and the sync that makes its commits durable.
#[derive(Debug)]
pub(crate) struct Durability {
    log: File,
    path: PathBuf,
}

impl Durability {
    /// Syncs everything that the engine has found or made at opening: after `kill -9` the log holds commits that never were acknowledged
    /// and are in the page cache alone, and from here on they are visible.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("db");
        let log = File::open(&path).map_err(|e| StoreError::io("open", &path, e))?;
        let durability = Self { log, path };
        sync_file(&dir.join("conf"))?;
        durability.log.sync_all().map_err(|e| StoreError::io("sync", &durability.path, e))?;
        sync_dir(&dir.join("blobs"))?;
        sync_dir(dir)?;
        Ok(durability)
    }

    /// Makes durable what the engine has flushed. On Apple systems the standard library's sync is `F_FULLFSYNC`.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.log.sync_data().map_err(|e| StoreError::io("sync", &self.path, e))
    }
}

/// Syncs a file's content and metadata.
pub(crate) fn sync_file(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| StoreError::io("sync", path, e))
}

/// Makes the names in a directory durable: creations, renames and removals. An empty path is the parent of a bare name.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| StoreError::io("sync the directory", path, e))
}
