//! The home directory: who holds it, and where things lie in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::durable::sync_dir;
use crate::error::StoreError;

/// A home directory that this process holds until the value is dropped.
///
/// The lock is the operating system's on the file `lock`; it goes with the process, however that ends. The process id inside is for
/// people.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the home, making the directory (mode 0700) when it is not there. [`StoreError::Locked`] when it is taken.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        if make_private_dir(path)?
            && let Some(parent) = path.parent()
        {
            sync_dir(parent)?;
        }
        let lock_path = path.join("lock");
        let failed = |e| StoreError::io("lock", &lock_path, e);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { home: path.to_owned(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        write_pid(&mut lock);
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The engine's own directory.
    pub(crate) fn engine_dir(&self) -> PathBuf {
        self.path.join("db")
    }

    /// The epoch-key file.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join("keys")
    }
}

/// Makes a directory that only its owner enters. `true` when it was not there.
pub(crate) fn make_private_dir(path: &Path) -> Result<bool, StoreError> {
    if path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| StoreError::io("make", path, e))?;
    Ok(true)
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// On a full disk the id is not written; the lock holds all the same.
fn write_pid(lock: &mut File) {
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::debug!(%error, "the process id is not in the lock file");
    }
}

/// The name of the file system that holds a path, when it copies on write: there, overwriting a key in place leaves the old one on the
/// device, and erasure cannot be promised.
pub(crate) fn copies_on_write(path: &Path) -> Option<String> {
    if cfg!(target_vendor = "apple") {
        return Some("apfs".to_owned());
    }
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let (_, kind) = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mount, _)| path.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len())?;
    const COPYING: [&str; 5] = ["btrfs", "zfs", "bcachefs", "f2fs", "nilfs2"];
    COPYING.contains(&kind).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_home_is_held_once_and_says_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        let home = Home::take(&path).unwrap();
        let taken = Home::take(&path).unwrap_err();
        assert!(matches!(&taken, StoreError::Locked { pid: Some(pid), .. } if *pid == std::process::id()), "{taken}");
        drop(home);
        assert!(Home::take(&path).is_ok());
    }

    #[test]
    fn a_new_home_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::take(&dir.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
