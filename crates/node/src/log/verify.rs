//! A log checked by somebody who has only its files and its key: every entry, every chain, every tile, the head.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nuncio_contracts::registry::limit;
use nuncio_proto::audit::{Chain, ChainError, EventError, Place, SignedEvent};
use nuncio_proto::ids::AgentId;
use nuncio_proto::tlog::{Checkpoint, CheckpointError, Edge, Note, NoteKey, Tile, TileError, TileKind, entries_of};

const CHECKPOINT: &str = "checkpoint";

/// What a log was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its head.
    pub head: Checkpoint,
    /// How far each agent's chain is in it.
    pub chains: BTreeMap<AgentId, Chain>,
    /// Entries that prove that their agent told two stories.
    pub other_stories: Vec<u64>,
}

/// The first thing that is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A file that should be there is not, or cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoint is not the log's.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A file is no part of this log.
    #[error("{0} is no part of this log")]
    File(PathBuf),
    /// A bundle has not the entries that it should have.
    #[error("{0}: {1}")]
    Bundle(String, TileError),
    /// A tile has other hashes than the entries.
    #[error("{0} has other hashes than the entries")]
    Tile(String),
    /// An entry is no event that its agent has signed.
    #[error("entry {0}: {1}")]
    Entry(u64, EventError),
    /// An event in front of an entry was left out.
    #[error("entry {0}: {1}")]
    Chain(u64, ChainError),
    /// The entries have another root than the head.
    #[error("the entries have another root than the checkpoint")]
    Root,
}

/// Checks a log from its first entry on, and tells how many entries are checked.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(folder: &Path, key: &NoteKey, mut progress: impl FnMut(u64)) -> Result<Verdict, Wrong> {
    let note = read(&folder.join(CHECKPOINT))?;
    let note = Note::parse(&note).map_err(CheckpointError::Note)?;
    let head = Checkpoint::open(&note, key)?;
    let mut reading =
        Reading { folder, size: head.size, edge: Edge::default(), chains: BTreeMap::new(), other_stories: Vec::new() };
    for tile in Tile::all(head.size).filter(|tile| tile.kind() == TileKind::Entries) {
        reading.bundle(&tile)?;
        progress(reading.edge.size());
    }
    for (tile, hashes) in reading.edge.unfinished() {
        reading.compare(&tile, &hashes)?;
    }
    if reading.edge.root() != head.root {
        return Err(Wrong::Root);
    }
    reading.check_files(folder)?;
    let Reading { chains, other_stories, .. } = reading;
    Ok(Verdict { head, chains, other_stories })
}

struct Reading<'a> {
    folder: &'a Path,
    size: u64,
    edge: Edge,
    chains: BTreeMap<AgentId, Chain>,
    other_stories: Vec<u64>,
}

impl Reading<'_> {
    fn bundle(&mut self, tile: &Tile) -> Result<(), Wrong> {
        let bytes = read(&self.folder.join(tile.path()))?;
        let entries = entries_of(&bytes, tile.width()).map_err(|error| Wrong::Bundle(tile.path(), error))?;
        for entry in entries {
            self.entry(entry)?;
            for (tile, hashes) in self.edge.push(entry) {
                self.compare(&tile, &hashes)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), Wrong> {
        let index = self.edge.size();
        let event = SignedEvent::parse(entry).map_err(|error| Wrong::Entry(index, error))?;
        let chain = self.chains.entry(event.event().agent).or_default();
        match chain.place(&event) {
            Ok(Place::Next) => chain.follow(&event),
            // The log keeps no event twice: what is known is told again in another way.
            Ok(Place::Known) | Err(ChainError::Prev(_)) => self.other_stories.push(index),
            Err(error) => return Err(Wrong::Chain(index, error)),
        }
        Ok(())
    }

    fn compare(&self, tile: &Tile, hashes: &[u8]) -> Result<(), Wrong> {
        if read(&self.folder.join(tile.path()))? == hashes { Ok(()) } else { Err(Wrong::Tile(tile.path())) }
    }

    /// What else lies in the folder: tiles as they were for earlier heads, each the beginning of what it is now.
    fn check_files(&self, folder: &Path) -> Result<(), Wrong> {
        let entries = fs::read_dir(folder).map_err(at(folder))?;
        for entry in entries {
            let path = entry.map_err(at(folder))?.path();
            if path.is_dir() {
                self.check_files(&path)?;
            } else if path != self.folder.join(CHECKPOINT) {
                self.check_file(&path)?;
            }
        }
        Ok(())
    }

    fn check_file(&self, path: &Path) -> Result<(), Wrong> {
        let stranger = || Wrong::File(path.to_owned());
        let below = path.strip_prefix(self.folder).ok().and_then(Path::to_str).ok_or_else(stranger)?;
        let tile = Tile::parse(below).map_err(|_| stranger())?;
        let now = Tile::in_tree(tile.kind(), tile.index(), self.size).ok_or_else(stranger)?;
        if now.width() < tile.width() {
            return Err(stranger());
        }
        let (then, now) = (read(path)?, read(&self.folder.join(now.path()))?);
        let is_whole = match tile.kind() {
            TileKind::Entries => entries_of(&then, tile.width()).is_ok(),
            TileKind::Hashes(_) => then.len() == usize::from(tile.width()) * 32,
        };
        if is_whole && now.starts_with(&then) { Ok(()) } else { Err(Wrong::Tile(tile.path())) }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Wrong> {
    fs::read(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Wrong {
    move |source| Wrong::Io { path: path.to_owned(), source }
}
