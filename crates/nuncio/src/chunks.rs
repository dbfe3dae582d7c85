//! Large payloads on disk: constant memory, verified chunk by chunk; how they travel is in `streams`.
//!
//! Both sides keep the same file: the sealed chunks, one after the other. Its key is in the letter, which the store seals, so the file needs no
//! sealing of its own and dies with the letter.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nuncio_contracts::registry::limit;
use nuncio_proto::ids::AgentId;
use nuncio_proto::payload::{PayloadKey, SEALED_CHUNK_LEN};
use nuncio_proto::secret::Key;

use crate::behind::WriteBehind;
use crate::entropy;
use crate::error::Error;
use crate::message::Body;

mod streams;

pub(crate) use streams::{Fetched, fetch, give};

/// Opens one large payload.
pub(crate) type Handle = PayloadKey;

/// Names a large payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PayloadId(pub(crate) [u8; 16]);

/// Names a large payload that comes. Its sender has chosen the id, so two senders may have chosen the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PayloadFrom {
    pub(crate) from: AgentId,
    pub(crate) id: PayloadId,
}

/// How far a payload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes are here.
    Arrived(u64),
    /// All of it is here and on disk.
    Whole,
    /// Its sender no longer has it.
    Lost,
}

/// Runs what blocks on the threads that are there for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Failed(error.to_string()))?
}

fn dir(home: &Path, side: &str) -> PathBuf {
    home.join("large").join(side)
}

/// Where we keep a payload that we send.
pub(crate) fn out_path(home: &Path, id: PayloadId) -> PathBuf {
    dir(home, "out").join(data_encoding::HEXLOWER.encode(&id.0))
}

/// Where we keep a payload that comes.
pub(crate) fn in_path(home: &Path, payload: PayloadFrom) -> PathBuf {
    let name = [payload.from.as_bytes().as_slice(), &payload.id.0].concat();
    dir(home, "in").join(data_encoding::HEXLOWER.encode(&name))
}

fn part_path(path: &Path) -> PathBuf {
    path.with_extension("part")
}

fn create(path: &Path) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(Error::file(path))
}

/// Makes a synced file appear under its name, durably.
fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file(to))?;
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::file(parent))?;
    }
    Ok(())
}

/// Writes a file that appears whole or not at all.
pub(crate) fn write_whole(
    to: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    // Others may write to the directory: what they put there beforehand, a link above all, is neither followed nor overwritten.
    let part = to.with_file_name(format!(".{}.nuncio-part", data_encoding::HEXLOWER.encode(&entropy::random::<16>()?)));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(&part).map_err(Error::file(&part))?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    let written = write(&mut writer).and_then(|()| writer.flush());
    drop(writer);
    let whole = written.and_then(|()| file.sync_all()).map_err(Error::file(to)).and_then(|()| publish(&part, to));
    if whole.is_err() {
        delete(&part);
    }
    whole
}

/// A payload that was sealed for a letter which is not accepted yet: if it never is, its file goes with this value.
#[derive(Debug)]
pub(crate) struct Unsent {
    handle: Handle,
    path: Option<PathBuf>,
}

impl Unsent {
    pub(crate) fn new(home: &Path, handle: Handle) -> Self {
        Self { path: Some(out_path(home, PayloadId(handle.id))), handle }
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The letter is accepted.
    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.path.iter().for_each(|path| delete(path));
    }
}

/// Seals a payload into the home, durably.
pub(crate) async fn seal_body(home: &Path, body: Body) -> Result<Unsent, Error> {
    let home = home.to_owned();
    blocking(move || match body {
        Body::Bytes(bytes) => {
            seal(&home, u64::try_from(bytes.len()).unwrap_or(u64::MAX), &mut bytes.as_slice(), Path::new("payload"))
        }
        Body::File(path) => {
            let file = File::open(&path).map_err(Error::file(&path))?;
            let about = file.metadata().map_err(Error::file(&path))?;
            if !about.is_file() {
                return Err(Error::NoFile(path));
            }
            let len = about.len();
            seal(&home, len, &mut BufReader::with_capacity(1 << 20, file), &path)
        }
    })
    .await
}

fn seal(home: &Path, len: u64, from: &mut dyn Read, name: &Path) -> Result<Unsent, Error> {
    if len > limit::PAYLOAD_LARGE_MAX {
        return Err(Error::TooLarge);
    }
    let handle = PayloadKey { id: entropy::random()?, key: Key::new(entropy::random()?), len };
    let unsent = Unsent::new(home, handle);
    write_sealed(&unsent.handle, from, name, &out_path(home, PayloadId(unsent.handle.id)))?;
    Ok(unsent)
}

pub(crate) fn write_sealed(handle: &Handle, from: &mut dyn Read, name: &Path, path: &Path) -> Result<(), Error> {
    let part = part_path(path);
    let writer = WriteBehind::new(create(&part)?).map_err(Error::file(&part))?;
    for index in 0..handle.chunks() {
        let mut chunk = Vec::with_capacity(SEALED_CHUNK_LEN);
        chunk.resize(handle.chunk_len(index), 0);
        from.read_exact(&mut chunk).map_err(Error::file(name))?;
        handle.seal_chunk(index, &mut chunk);
        if !writer.push(chunk) {
            break;
        }
    }
    writer.finish().map_err(Error::file(&part))?;
    publish(&part, path)
}

/// Opens a whole payload into a file.
pub(crate) fn open_to(handle: &Handle, from: &Path, to: &Path) -> Result<(), Error> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(from).map_err(Error::file(from))?);
    write_whole(to, |writer| {
        let mut chunk = Vec::with_capacity(SEALED_CHUNK_LEN);
        for index in 0..handle.chunks() {
            read_chunk(handle, index, &mut reader, &mut chunk)?;
            let clear = handle.open_chunk(index, &mut chunk).map_err(std::io::Error::other)?;
            writer.write_all(clear)?;
        }
        Ok(())
    })
}

/// Reads a whole payload, chunk by chunk.
pub(crate) fn reader(handle: &Handle, from: &Path) -> Result<ClearReader, Error> {
    let file = File::open(from).map_err(Error::file(from))?;
    Ok(ClearReader {
        handle: handle.clone(),
        from: BufReader::with_capacity(1 << 20, file),
        next: 0,
        clear: Vec::new(),
        read: 0,
    })
}

/// The plaintext of a payload, verified as it is read.
pub(crate) struct ClearReader {
    handle: Handle,
    from: BufReader<File>,
    next: u64,
    clear: Vec<u8>,
    read: usize,
}

impl Read for ClearReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.clear.len() && self.next < self.handle.chunks() {
            read_chunk(&self.handle, self.next, &mut self.from, &mut self.clear)?;
            let len = self.handle.open_chunk(self.next, &mut self.clear).map_err(std::io::Error::other)?.len();
            self.clear.truncate(len);
            (self.next, self.read) = (self.next + 1, 0);
        }
        let mut rest = self.clear.get(self.read..).unwrap_or_default();
        let len = rest.read(out)?;
        self.read += len;
        Ok(len)
    }
}

fn read_chunk(handle: &Handle, index: u64, from: &mut dyn Read, chunk: &mut Vec<u8>) -> std::io::Result<()> {
    chunk.resize(sealed_chunk_len(handle, index), 0);
    from.read_exact(chunk)
}

const fn sealed_chunk_len(handle: &Handle, index: u64) -> usize {
    handle.chunk_len(index) + (SEALED_CHUNK_LEN - limit::CHUNK_LEN)
}

/// Deletes a payload that nobody needs any more.
pub(crate) fn delete(path: &Path) {
    for path in [path.to_owned(), part_path(path)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a large payload that is not needed cannot be deleted");
            }
            _ => {}
        }
    }
}

/// Deletes files of payloads that no letter names.
pub(crate) fn sweep(home: &Path, side: &str, keep: &HashSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir(home, side)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if !keep.contains(&path.with_extension("")) {
            delete(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_file_that_is_saved_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (to, victim) = (dir.path().join("saved"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for name in ["saved.nuncio-part", "saved.part", "saved"] {
            std::os::unix::fs::symlink(&victim, dir.path().join(name)).unwrap();
        }
        write_whole(&to, |file| file.write_all(b"content")).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!((fs::read(&to).unwrap(), to.is_symlink()), (b"content".to_vec(), false));
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("saved");
        write_whole(&to, |_| Err(std::io::Error::other("no"))).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
