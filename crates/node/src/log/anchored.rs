//! Anchors of a log as its readers have them (contracts/log.md section 8). What calendars say of one nobody has checked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::ErrorKind;

use nuncio_proto::crypto;
use nuncio_proto::tlog::{Attested, Checkpoint, CheckpointError, Detached, Hash, Note, NoteKey, TimestampError};

use super::anchor_file::{ANCHORS, AnchorFile, read_newest};
use super::{Files, Wrong};

/// A checkpoint that was anchored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// What it says.
    pub head: Checkpoint,
    /// Its note: nobody has checked the lines of others.
    pub note: Note,
    /// What is said of when it was there; empty where a timestamp was not written any more.
    pub attested: Vec<Attested>,
}

/// What is wrong with an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorFault {
    /// It is no size in decimal and a newline.
    #[error("it does not name a size")]
    Name,
    /// The note is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The note is of another size.
    #[error("its note is of another size than its name says")]
    Size,
    /// It is of entries that the log does not have.
    #[error("the log does not have so many entries: it was rolled back since, or is another")]
    Ahead,
    /// It is of other entries.
    #[error("the log's first entries have another root than was anchored: it was rewritten since")]
    Root,
    /// Its timestamp is none.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// Its timestamp is another file's.
    #[error("the timestamp is of another file than the note beside it")]
    Digest,
}

impl Anchored {
    /// An anchor that somebody has kept, of whatever log has this key: its note and its timestamp.
    ///
    /// # Errors
    /// [`AnchorFault`].
    // contracts/log.md G22.
    pub fn kept(note: &[u8], timestamp: &[u8], key: &NoteKey) -> Result<Self, AnchorFault> {
        let (head, parsed) = read_note(note, key)?;
        let timestamp = Detached::parse(timestamp)?;
        if timestamp.digest != crypto::sha256(&[note]) {
            return Err(AnchorFault::Digest);
        }
        Ok(Self { head, note: parsed, attested: timestamp.attested() })
    }
}

fn read_note(bytes: &[u8], key: &NoteKey) -> Result<(Checkpoint, Note), AnchorFault> {
    let note = Note::parse(bytes).map_err(CheckpointError::Note)?;
    Ok((Checkpoint::open(&note, key)?, note))
}

/// The anchors that are known: in a folder all of them, on the web the newest.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    /// Their roots, by their sizes.
    pub(super) roots: BTreeMap<u64, Hash>,
    pub(super) newest: Option<Anchored>,
}

impl Files {
    /// The anchors, as far as their own files say.
    pub(super) fn anchors(&self, key: &NoteKey) -> Result<Anchors, Wrong> {
        let mut anchors = Anchors::default();
        if let Some(bytes) = self.anchor_file(AnchorFile::Newest)? {
            let wrong = || Wrong::Anchor(AnchorFile::Newest.path(), AnchorFault::Name);
            let size = read_newest(&bytes).ok_or_else(wrong)?;
            let newest = self.anchor(size, key, true)?;
            anchors.roots.insert(size, newest.head.root);
            anchors.newest = Some(newest);
        }
        for size in self.anchored_sizes()? {
            if let Entry::Vacant(place) = anchors.roots.entry(size) {
                place.insert(self.anchor(size, key, false)?.head.root);
            }
        }
        Ok(anchors)
    }

    /// One of them.
    // contracts/log.md G22.
    fn anchor(&self, size: u64, key: &NoteKey, must_be_whole: bool) -> Result<Anchored, Wrong> {
        let (note_file, timestamp_file) = (AnchorFile::Note(size), AnchorFile::Timestamp(size));
        let bytes = self.read(&note_file.path(), note_file.len_max())?;
        let wrong = |fault: AnchorFault| Wrong::Anchor(note_file.path(), fault);
        let (head, note) = read_note(&bytes, key).map_err(wrong)?;
        if head.size != size {
            return Err(wrong(AnchorFault::Size));
        }
        let timestamp = match self.anchor_file(timestamp_file)? {
            // A node that was stopped between the two files.
            None if !must_be_whole => return Ok(Anchored { head, note, attested: Vec::new() }),
            None => self.read(&timestamp_file.path(), timestamp_file.len_max())?,
            Some(timestamp) => timestamp,
        };
        let wrong = |fault: AnchorFault| Wrong::Anchor(timestamp_file.path(), fault);
        Anchored::kept(&bytes, &timestamp, key).map_err(wrong)
    }

    /// A file that need not be there.
    fn anchor_file(&self, file: AnchorFile) -> Result<Option<Vec<u8>>, Wrong> {
        match self.read(&file.path(), file.len_max()) {
            Err(Wrong::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// The sizes that files in a folder are named for.
    fn anchored_sizes(&self) -> Result<Vec<u64>, Wrong> {
        let Some(folder) = self.as_folder().map(|folder| folder.join(ANCHORS)) else { return Ok(Vec::new()) };
        let at = |source| Wrong::Io { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at)?,
        };
        let mut sizes = Vec::new();
        for entry in entries {
            let name = entry.map_err(at)?.file_name();
            // What is named otherwise is found with the log's other files.
            if let Some(AnchorFile::Note(size) | AnchorFile::Timestamp(size)) =
                name.to_str().and_then(AnchorFile::parse)
            {
                sizes.push(size);
            }
        }
        Ok(sizes)
    }
}
