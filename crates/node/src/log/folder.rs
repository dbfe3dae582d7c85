//! The files of a log, as any web server publishes them (C2SP tlog-tiles): each is there whole, and durable, or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nuncio_contracts::registry::limit;
use nuncio_proto::tlog::{Hash, Note, Tile, TileKind, subtree_root};

use super::LogError;
use super::anchor_file::{ANCHORS, AnchorFile};

pub(super) const CHECKPOINT: &str = "checkpoint";
/// What is being written. There is one writer; of anchors another one, in their folder.
pub(super) const UNFINISHED: &str = "unfinished";

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        make_folders(path)?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The bytes of a tile.
    pub(super) fn tile(&self, tile: &Tile) -> Result<Vec<u8>, LogError> {
        let path = self.0.join(tile.path());
        fs::read(&path).map_err(LogError::io("read", &path))
    }

    /// The bytes of a tile of hashes; an unfinished one out of the full ones below it, since it may never have been published.
    pub(super) fn tile_or_below(&self, tile: &Tile) -> Result<Vec<u8>, LogError> {
        let TileKind::Hashes(level @ 1..) = tile.kind() else { return self.tile(tile) };
        if tile.is_full() {
            return self.tile(tile);
        }
        let first = tile.index() * 256;
        let roots = (first..first + u64::from(tile.width())).map(|index| {
            let below = Tile::new(TileKind::Hashes(level - 1), index, 256).ok_or(LogError::Row)?;
            let hashes = self.tile(&below)?;
            let (hashes, odd) = hashes.as_chunks::<32>();
            if hashes.len() != 256 || !odd.is_empty() {
                return Err(LogError::Damaged(below.path()));
            }
            Ok(subtree_root(hashes))
        });
        Ok(roots.collect::<Result<Vec<Hash>, LogError>>()?.concat())
    }

    /// Writes tiles: when it returns all of them are durable.
    pub(super) fn write(&self, tiles: &[(Tile, Vec<u8>)]) -> Result<(), LogError> {
        let mut folders = BTreeSet::new();
        for (tile, bytes) in tiles {
            let path = self.0.join(tile.path());
            put_in_place(&path, &self.0.join(UNFINISHED), bytes)?;
            folders.insert(path.parent().unwrap_or(&path).to_owned());
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Removes what a full tile was before it was full.
    pub(super) fn remove_unfinished(&self, tile: &Tile) -> Result<(), LogError> {
        let path = self.0.join(format!("{}.p", tile.path()));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(LogError::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn checkpoint(&self) -> Result<Option<Note>, LogError> {
        let path = self.0.join(CHECKPOINT);
        let damaged = || LogError::Damaged(CHECKPOINT.to_owned());
        match fs::read(&path) {
            Ok(note) if note.len() <= limit::NOTE_LEN_MAX => Note::parse(&note).map(Some).map_err(|_| damaged()),
            Ok(_) => Err(damaged()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    pub(super) fn write_checkpoint(&self, note: &Note) -> Result<(), LogError> {
        self.put(&self.0.join(CHECKPOINT), note.to_string().as_bytes())
    }

    /// A file of an anchor; `None` where it is not there.
    pub(super) fn anchor(&self, file: AnchorFile) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.0.join(file.path());
        let mut bytes = Vec::new();
        let max = u64::try_from(file.len_max()).unwrap_or(u64::MAX);
        match File::open(&path).and_then(|there| there.take(max.saturating_add(1)).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() <= file.len_max() => Ok(Some(bytes)),
            Ok(_) => Err(LogError::Damaged(file.path())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    /// When a file of an anchor was written; `None` where it is not there.
    pub(super) fn anchored_at(&self, file: AnchorFile) -> Result<Option<SystemTime>, LogError> {
        let path = self.0.join(file.path());
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(at) => Ok(Some(at)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    /// The sizes that have a timestamp.
    pub(super) fn timestamped(&self) -> Result<Vec<u64>, LogError> {
        let path = self.0.join(ANCHORS);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(LogError::io("read", &path))?,
        };
        let mut sizes = Vec::new();
        for entry in entries {
            let name = entry.map_err(LogError::io("read", &path))?.file_name();
            if let Some(AnchorFile::Timestamp(size)) = name.to_str().and_then(AnchorFile::parse) {
                sizes.push(size);
            }
        }
        Ok(sizes)
    }

    pub(super) fn write_anchor(&self, file: AnchorFile, bytes: &[u8]) -> Result<(), LogError> {
        put(&self.0.join(file.path()), &self.0.join(ANCHORS).join(UNFINISHED), bytes)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        put(path, &self.0.join(UNFINISHED), bytes)
    }
}

/// Writes a file beside its place, syncs it, puts it there, and syncs that.
fn put(path: &Path, unfinished: &Path, bytes: &[u8]) -> Result<(), LogError> {
    put_in_place(path, unfinished, bytes)?;
    sync_folder(path.parent().unwrap_or(path))
}

/// Writes a file beside its place, syncs it, and puts it there: after a crash it is there whole, or not at all.
fn put_in_place(path: &Path, unfinished: &Path, bytes: &[u8]) -> Result<(), LogError> {
    make_folders(path.parent().unwrap_or(path))?;
    let mut file = File::create(unfinished).map_err(LogError::io("write", unfinished))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(LogError::io("write", unfinished))?;
    fs::rename(unfinished, path).map_err(LogError::io("put in place", path))
}

/// Makes a folder and those above it, each durable in the one above.
fn make_folders(path: &Path) -> Result<(), LogError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), make_folders)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(LogError::io("make", path)(error)),
        _ => {}
    }
    sync_folder(above.unwrap_or_else(|| Path::new(".")))
}

fn sync_folder(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(LogError::io("sync", path))
}
