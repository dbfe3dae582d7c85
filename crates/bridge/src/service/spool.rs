//! Where a message is while it is read: in memory while it is short, else in a file that only this agent reads.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::message::Body;

const PREFIX: &str = "message-";

/// The directory, and what goes there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
    memory_max: usize,
    max: u64,
}

impl Place {
    pub(super) fn new(dir: &Path, memory_max: usize, max: u64) -> Self {
        Self { dir: dir.to_owned(), memory_max, max }
    }

    pub(super) fn begin(&self) -> Spool {
        Spool { place: self.clone(), memory: Vec::new(), file: None, len: 0 }
    }
}

/// A message of which more comes.
#[derive(Debug)]
pub(super) struct Spool {
    place: Place,
    memory: Vec<u8>,
    file: Option<(File, TempPath)>,
    len: u64,
}

impl Spool {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds to it.
    ///
    /// # Errors
    /// It is longer than it may be, or the file cannot be written.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.len > self.place.max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a message is longer than one may be"));
        }
        if self.file.is_none() && self.memory.len().saturating_add(bytes.len()) <= self.place.memory_max {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let (file, _) = match &mut self.file {
            Some(file) => file,
            none => {
                // Made with mode 0600, and gone with its last handle.
                let (file, path) = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&self.place.dir)?.into_parts();
                none.insert((File::from_std(file), path))
            }
        };
        file.write_all(&std::mem::take(&mut self.memory)).await?;
        file.write_all(bytes).await
    }

    /// All of it is there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) async fn end(self) -> io::Result<Body> {
        let Some((mut file, path)) = self.file else { return Ok(Body::Bytes(Bytes::from(self.memory))) };
        file.flush().await?;
        Ok(Body::File(Arc::new(path)))
    }
}

/// Makes the directory, its owner's alone, and takes away what was left in it.
pub(super) fn clear(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_long_message_is_in_a_private_file_that_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), 4, 10);
        let mut short = place.begin();
        short.push(b"abcd").await.unwrap();
        assert!(matches!(short.end().await.unwrap(), Body::Bytes(bytes) if bytes == "abcd"));
        let mut long = place.begin();
        for piece in [&b"abcd"[..], b"e", b"fghij"] {
            long.push(piece).await.unwrap();
        }
        let Body::File(path) = long.end().await.unwrap() else { panic!() };
        assert_eq!(std::fs::read(&*path).unwrap(), b"abcdefghij");
        assert_eq!(std::fs::metadata(&*path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(path);
        let mut longer = place.begin();
        longer.push(b"abcdefghij").await.unwrap();
        longer.push(b"k").await.unwrap_err();
        drop(longer);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        clear(&spool).unwrap();
        std::fs::write(spool.join("message-x"), "").unwrap();
        std::fs::write(spool.join("other"), "").unwrap();
        clear(&spool).unwrap();
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&spool).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
