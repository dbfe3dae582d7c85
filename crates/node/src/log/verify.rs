//! A log checked by somebody who has only its files and its key: every entry, every chain, every tile, the head.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nuncio_proto::audit::{Chain, ChainError, Event, EventError, Place, SignedEvent};
use nuncio_proto::ids::AgentId;
use nuncio_proto::tlog::{
    Checkpoint, CheckpointError, Edge, Hash, Note, NoteKey, Tile, TileError, TileKind, entries_of,
};

use super::Files;
use super::anchor_file::{ANCHORS, AnchorFile};
use super::anchored::{AnchorFault, Anchored, Anchors};
use super::folder::{CHECKPOINT, UNFINISHED};

/// What a log was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its head.
    pub head: Checkpoint,
    /// The note that says so, with the lines of whoever else signed it: nobody has checked those.
    pub note: Note,
    /// How far each agent's chains are in it, one for each epoch. What the log left out behind the newest event of one shows nowhere here.
    pub chains: BTreeMap<AgentId, Vec<Chain>>,
    /// Entries that prove that their agent told two stories.
    pub other_stories: Vec<u64>,
    /// The newest anchor: of this log, and of no more than it says; what calendars say of it nobody has checked.
    pub anchor: Option<Anchored>,
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
    /// An entry is in the log twice.
    #[error("entry {0} is in the log before")]
    Twice(u64),
    /// An entry that stands in no chain, and contradicts none.
    #[error("entry {0} is behind its agent's chain and contradicts nothing in it")]
    OutOfPlace(u64),
    /// There is no such entry.
    #[error("there is no entry {0}: the log has {1}")]
    Index(u64, u64),
    /// The entries have another root than the head.
    #[error("the entries have another root than the checkpoint")]
    Root,
    /// An anchor is not of this log.
    #[error("{0}: {1}")]
    Anchor(String, AnchorFault),
}

/// Checks a log in a folder from its first entry on, and every file in it, and tells how many entries are checked.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(folder: &Path, key: &NoteKey, progress: impl FnMut(u64)) -> Result<Verdict, Wrong> {
    verify_files(&Files::folder(folder), key, progress)
}

/// [`verify`], wherever the log is; on the web, what no checkpoint names is not looked for.
///
/// # Errors
/// As [`verify`].
pub fn verify_files(files: &Files, key: &NoteKey, progress: impl FnMut(u64)) -> Result<Verdict, Wrong> {
    verify_against(files, key, &[], progress)
}

/// [`verify_files`], and that what was anchored and kept elsewhere is in it.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(
    files: &Files,
    key: &NoteKey,
    kept: &[Anchored],
    mut progress: impl FnMut(u64),
) -> Result<Verdict, Wrong> {
    // Before the head: a log that goes on anchors later ones meanwhile.
    let Anchors { roots: mut anchors, newest } = files.anchors(key)?;
    for Checkpoint { size, root, .. } in kept.iter().map(|kept| &kept.head) {
        if anchors.insert(*size, *root).is_some_and(|there| there != *root) {
            return Err(anchor_fault(*size, AnchorFault::Root));
        }
    }
    let (note, head) = files.checkpoint(key)?;
    let (edge, chains, strange) = (Edge::default(), BTreeMap::new(), Vec::new());
    let mut reading = Reading { files, size: head.size, edge, chains, strange, anchors };
    reading.check_anchors()?;
    for tile in reading.bundles() {
        reading.bundle(&tile)?;
        progress(reading.edge.size());
    }
    for (tile, hashes) in reading.edge.unfinished() {
        reading.compare(&tile, &hashes)?;
    }
    if reading.edge.root() != head.root {
        return Err(Wrong::Root);
    }
    let other_stories = reading.other_stories()?;
    if let Some(folder) = files.as_folder() {
        reading.check_files(folder, folder)?;
    }
    Ok(Verdict { head, note, chains: reading.chains, other_stories, anchor: newest })
}

struct Reading<'a> {
    files: &'a Files,
    size: u64,
    edge: Edge,
    chains: BTreeMap<AgentId, Vec<Chain>>,
    /// Entries that stand in no chain.
    strange: Vec<(u64, SignedEvent)>,
    /// Roots that were anchored, by their sizes.
    anchors: BTreeMap<u64, Hash>,
}

impl Reading<'_> {
    fn bundles(&self) -> impl Iterator<Item = Tile> + use<> {
        Tile::all(self.size).filter(|tile| tile.kind() == TileKind::Entries)
    }

    fn bundle(&mut self, tile: &Tile) -> Result<(), Wrong> {
        let bytes = self.read(tile)?;
        for entry in entries_of(&bytes, tile.width()).map_err(|error| Wrong::Bundle(tile.path(), error))? {
            self.entry(entry)?;
            for (tile, hashes) in self.edge.push(entry) {
                self.compare(&tile, &hashes)?;
            }
            self.check_anchor()?;
        }
        Ok(())
    }

    /// None is of more than there is, or of an empty log that had something in it.
    fn check_anchors(&self) -> Result<(), Wrong> {
        match self.anchors.last_key_value() {
            Some((size, _)) if *size > self.size => Err(anchor_fault(*size, AnchorFault::Ahead)),
            _ => self.check_anchor(),
        }
    }

    /// The anchor of as many entries as are read, if there is one.
    // contracts/log.md G22.
    fn check_anchor(&self) -> Result<(), Wrong> {
        let size = self.edge.size();
        match self.anchors.get(&size) {
            Some(root) if *root != self.edge.root() => Err(anchor_fault(size, AnchorFault::Root)),
            _ => Ok(()),
        }
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), Wrong> {
        let index = self.edge.size();
        let event = SignedEvent::parse(entry).map_err(|error| Wrong::Entry(index, error))?;
        let chains = self.chains.entry(event.event().agent).or_default();
        let mut chain = chains.last().copied().unwrap_or_default();
        match chain.place(&event) {
            Ok(Place::Next) => {
                chain.follow(&event);
                match chains.last_mut().filter(|_| event.event().seq > 0) {
                    Some(last) => *last = chain,
                    None => chains.push(chain),
                }
            }
            Err(error @ ChainError::Gap { .. }) => return Err(Wrong::Chain(index, error)),
            _ => self.strange.push((index, event)),
        }
        Ok(())
    }

    /// The entries that stand in no chain: each must contradict one that does. It is another event under the same number, or names another one as
    /// the one before it.
    fn other_stories(&self) -> Result<Vec<u64>, Wrong> {
        let (mut hashes, mut accused) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (index, event) in &self.strange {
            // The first of two that are alike is found below, as one that is not strange.
            hashes.insert(event.hash(), *index);
            accused.entry(number_of(event, 0)).or_default().push((*index, event));
        }
        let strange: BTreeSet<u64> = hashes.values().copied().collect();
        // What begins an epoch with something in front of it contradicts itself.
        let is_first_with_prev = |event: &Event| event.seq == 0 && event.prev != [0; 32];
        let mut unproven: BTreeSet<u64> =
            self.strange.iter().filter(|(_, it)| !is_first_with_prev(it.event())).map(|(index, _)| *index).collect();
        let mut index = 0;
        for tile in self.bundles().filter(|_| !strange.is_empty()) {
            let bytes = self.read(&tile)?;
            for entry in entries_of(&bytes, tile.width()).map_err(|error| Wrong::Bundle(tile.path(), error))? {
                let told = SignedEvent::parse(entry).map_err(|error| Wrong::Entry(index, error))?;
                if !strange.contains(&index) {
                    if let Some(again) = hashes.get(&told.hash()) {
                        return Err(Wrong::Twice(*again));
                    }
                    let same_number = accused.get(&number_of(&told, 0)).into_iter().flatten();
                    let behind = accused.get(&number_of(&told, 1)).into_iter().flatten();
                    let behind_another = behind.filter(|(_, it)| it.event().prev != told.hash());
                    for (proven, _) in same_number.chain(behind_another) {
                        unproven.remove(proven);
                    }
                }
                index += 1;
            }
        }
        match unproven.first() {
            Some(index) => Err(Wrong::OutOfPlace(*index)),
            None => Ok(strange.into_iter().collect()),
        }
    }

    fn compare(&self, tile: &Tile, hashes: &[u8]) -> Result<(), Wrong> {
        if self.read(tile)? == hashes { Ok(()) } else { Err(Wrong::Tile(tile.path())) }
    }

    fn read(&self, tile: &Tile) -> Result<Vec<u8>, Wrong> {
        self.files.tile(tile)
    }

    /// What else lies in the folder: tiles as they were for earlier heads, and as they will be for later ones.
    fn check_files(&self, log: &Path, folder: &Path) -> Result<(), Wrong> {
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            if path.is_dir() {
                self.check_files(log, &path)?;
            } else if folder == log.join(ANCHORS) {
                self.check_anchor_file(&path)?;
            } else if ![CHECKPOINT, UNFINISHED].iter().any(|known| path == log.join(known)) {
                self.check_file(log, &path)?;
            }
        }
        Ok(())
    }

    /// Those that were there before are checked; a later one came since.
    fn check_anchor_file(&self, path: &Path) -> Result<(), Wrong> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_later = |size| self.anchors.last_key_value().is_none_or(|(last, _)| size > *last);
        let is_known = match AnchorFile::parse(name) {
            Some(AnchorFile::Newest) => true,
            Some(AnchorFile::Note(size) | AnchorFile::Timestamp(size)) => {
                self.anchors.contains_key(&size) || is_later(size)
            }
            None => name == UNFINISHED,
        };
        if is_known { Ok(()) } else { Err(Wrong::File(path.to_owned())) }
    }

    fn check_file(&self, log: &Path, path: &Path) -> Result<(), Wrong> {
        let stranger = || Wrong::File(path.to_owned());
        let below = path.strip_prefix(log).ok().and_then(Path::to_str).ok_or_else(stranger)?;
        let tile = Tile::parse(below).map_err(|_| stranger())?;
        let there = self.read(&tile)?;
        let is_whole = match tile.kind() {
            TileKind::Entries => entries_of(&there, tile.width()).is_ok(),
            TileKind::Hashes(_) => there.len() == usize::from(tile.width()) * 32,
        };
        let now = Tile::in_tree(tile.kind(), tile.index(), self.size).map(|now| self.read(&now)).transpose()?;
        // One is the beginning of the other; of what lies behind the head nothing is known.
        let fits = now.is_none_or(|now| now.starts_with(&there) || there.starts_with(&now));
        if is_whole && fits { Ok(()) } else { Err(Wrong::Tile(tile.path())) }
    }
}

/// The number of an event that stands so far behind this one in its chain.
fn number_of(signed: &SignedEvent, behind: u64) -> (AgentId, u64, u64) {
    let event = signed.event();
    (event.agent, event.epoch, event.seq.saturating_add(behind))
}

fn anchor_fault(size: u64, fault: AnchorFault) -> Wrong {
    Wrong::Anchor(AnchorFile::Note(size).path(), fault)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Wrong {
    move |source| Wrong::Io { path: path.to_owned(), source }
}
