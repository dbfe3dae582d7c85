//! A log as it is after one commit: all that readers need, while the writer goes on.

use std::path::Path;
use std::time::SystemTime;

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::tlog::{
    Checkpoint, Edge, Hash, Note, NoteKey, Receipt, Tile, TileKind, TileNodes, consistency_proof, entries_of,
    inclusion_proof, root_of,
};

use super::anchor_file::{AnchorFile, read_newest};
use super::folder::Folder;
use super::{LogError, Tail, WIDTH, bundle, full};

/// A log at one size. It stays readable as long as it is held: full tiles never change, the unfinished ones are in it.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) folder: Folder,
    pub(super) key: NoteKey,
    pub(super) edge: Edge,
    pub(super) tail: Tail,
    /// Its checkpoint; `None` while nothing was signed.
    pub(super) signed: Option<Note>,
}

impl View {
    /// Entries in it.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Its key: who signs its checkpoints.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its head.
    #[must_use]
    pub fn head(&self) -> Checkpoint {
        Checkpoint { origin: self.key.name().to_owned(), size: self.size(), root: self.edge.root() }
    }

    /// Its checkpoint, as the log has signed it. Nothing else is in it: cosignatures are in the one that is published.
    #[must_use]
    pub const fn signed(&self) -> Option<&Note> {
        self.signed.as_ref()
    }

    /// The same; of a log that is empty, and has signed nothing, the head of an empty log.
    pub(crate) fn signed_or_empty(&self, signer: &SigningKey) -> Option<Note> {
        let empty = || (self.size() == 0).then(|| self.head().sign(&self.key, signer)).flatten();
        self.signed.clone().or_else(empty)
    }

    /// The checkpoint that is published: of this size, or of a smaller or larger one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn published(&self) -> Result<Option<Note>, LogError> {
        self.folder.checkpoint()
    }

    /// A file of an anchor (contracts/log.md G22); `None` where it is not there.
    ///
    /// # Errors
    /// A file that cannot be read, or is longer than it can be.
    pub fn anchor(&self, file: AnchorFile) -> Result<Option<Vec<u8>>, LogError> {
        self.folder.anchor(file)
    }

    /// The newest size that is anchored, and when that was written; none where it is damaged, so that it is written again.
    pub(crate) fn newest_anchor(&self) -> Result<Option<(u64, SystemTime)>, LogError> {
        let file = AnchorFile::Newest;
        let size = self.folder.anchor(file)?.and_then(|bytes| read_newest(&bytes));
        Ok(size.zip(self.folder.anchored_at(file)?))
    }

    /// The sizes that have a timestamp.
    pub(crate) fn timestamped(&self) -> Result<Vec<u64>, LogError> {
        self.folder.timestamped()
    }

    /// Puts a file of an anchor in its place. There is one who does.
    pub(crate) fn put_anchor(&self, file: AnchorFile, bytes: &[u8]) -> Result<(), LogError> {
        self.folder.write_anchor(file, bytes)
    }

    /// An entry.
    ///
    /// # Errors
    /// No such entry; a file that cannot be read.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let place = usize::try_from(index % WIDTH).map_err(|_| LogError::Index(index))?;
        let found = if index >= self.tail.filed {
            let place = usize::try_from(index - self.tail.filed).map_err(|_| LogError::Index(index))?;
            self.tail.entries.get(place).cloned()
        } else {
            let tile = full(TileKind::Entries, index / WIDTH)?;
            let bundle = self.folder.tile(&tile)?;
            let entries = entries_of(&bundle, tile.width()).map_err(|_| LogError::Damaged(tile.path()))?;
            entries.get(place).map(|entry| entry.to_vec())
        };
        found.ok_or(LogError::Index(index))
    }

    /// The entries from an index on to the end of their bundle.
    ///
    /// # Errors
    /// No such entry; a file that cannot be read.
    pub fn entries(&self, from: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let tile = Tile::in_tree(TileKind::Entries, from / WIDTH, self.size()).ok_or(LogError::Index(from))?;
        let bytes = self.tile(&tile)?.ok_or(LogError::Index(from))?;
        let entries = entries_of(&bytes, tile.width()).map_err(|_| LogError::Damaged(tile.path()))?;
        let skipped = usize::try_from(from % WIDTH).map_err(|_| LogError::Index(from))?;
        Ok(entries.into_iter().skip(skipped).map(<[u8]>::to_vec).collect())
    }

    /// The bytes of a tile, as it is in any tree that this one begins with; `None` when there is no such tile.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, LogError> {
        let Some(now) = Tile::in_tree(tile.kind(), tile.index(), self.size()) else { return Ok(None) };
        if now.width() < tile.width() {
            return Ok(None);
        }
        let bytes = match (now.is_full(), tile.kind()) {
            (true, _) => self.folder.tile(&now)?,
            (false, TileKind::Entries) => bundle(&self.tail.entries)?,
            (false, TileKind::Hashes(_)) => self.unfinished(&now)?,
        };
        if now.width() == tile.width() {
            return Ok(Some(bytes));
        }
        // What a tile was before it grew is its beginning.
        let damaged = || LogError::Damaged(now.path());
        Ok(Some(match tile.kind() {
            TileKind::Hashes(_) => bytes.get(..usize::from(tile.width()) * 32).ok_or_else(damaged)?.to_vec(),
            TileKind::Entries => {
                let entries = entries_of(&bytes, now.width()).map_err(|_| damaged())?;
                let first: Vec<Vec<u8>> = entries.into_iter().take(tile.width().into()).map(<[u8]>::to_vec).collect();
                bundle(&first)?
            }
        }))
    }

    /// The receipt of an entry, under the checkpoint of this size.
    ///
    /// # Errors
    /// No such entry; a file that cannot be read.
    pub fn receipt(&self, index: u64) -> Result<Receipt, LogError> {
        let checkpoint = self.signed.clone().filter(|_| index < self.size()).ok_or(LogError::Index(index))?;
        Ok(Receipt { index, proof: inclusion_proof(&self.nodes(), index, self.size())?, checkpoint })
    }

    /// The proof that the log's first `new` entries begin with its first `old`.
    ///
    /// # Errors
    /// A log that has not so many; a file that cannot be read.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        if new > self.size() {
            return Err(LogError::Index(new));
        }
        Ok(consistency_proof(&self.nodes(), old, new)?)
    }

    /// The root of the log's first entries.
    ///
    /// # Errors
    /// A log that has not so many; a file that cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        if size > self.size() {
            return Err(LogError::Index(size));
        }
        Ok(root_of(&self.nodes(), size)?)
    }

    /// The hashes of the tree: full tiles from their files, the unfinished ones from memory.
    fn nodes(&self) -> TileNodes<impl Fn(&Tile) -> Result<Vec<u8>, LogError> + '_> {
        TileNodes::new(
            self.size(),
            |tile: &Tile| {
                if tile.is_full() { self.folder.tile(tile) } else { self.unfinished(tile) }
            },
        )
    }

    fn unfinished(&self, tile: &Tile) -> Result<Vec<u8>, LogError> {
        let unfinished = self.edge.unfinished().find(|(there, _)| there == tile);
        unfinished.map(|(_, hashes)| hashes).ok_or_else(|| LogError::Damaged(tile.path()))
    }
}
