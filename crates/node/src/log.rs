//! A transparency log on disk (contracts/log.md): full bundles of entries and full tiles in files that never change, what is not in them yet in
//! the store.
//!
//! ```text
//!   append   entries ─► what they fill becomes files ─► the rest is a row, one commit ─► they have their indexes
//!   publish  the unfinished tiles become files ─► the head is kept as signed ─► the checkpoint becomes a file
//! ```
//!
//! Nothing counts before the commit: files of an append that was stopped are written again, since nobody reads what no checkpoint has.

mod error;
mod events;
mod folder;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;
use std::sync::Arc;

use nuncio_proto::codec;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::tlog::{
    Checkpoint, Edge, Hash, Note, NoteKey, Receipt, Tile, TileKind, TileNodes, bundle_of, consistency_proof,
    entries_of, inclusion_proof, root_of,
};
use nuncio_store::{Engine as _, Op, Store};
use serde_bytes::ByteArray;

use crate::rows;
pub use error::LogError;
pub use events::{Answer, Events, NotTaken};
use folder::Folder;
pub use verify::{Verdict, Wrong, verify};

/// Entries in a full bundle.
const WIDTH: u64 = 256;
const VERSION: u8 = 1;

/// A log that one process appends to.
#[derive(Debug)]
pub struct Log {
    store: Arc<Store>,
    folder: Folder,
    key: NoteKey,
    signer: SigningKey,
    edge: Edge,
    tail: Tail,
    /// The newest head that was signed.
    signed: Option<(u64, Hash)>,
}

/// The bundle that is being filled.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Entries in full bundles in front of it.
    filed: u64,
    entries: Vec<Vec<u8>>,
    /// Its rows, each by the index of its first entry.
    rows: Vec<u64>,
}

impl Log {
    /// Opens the log of a store, or begins it. Its files are in a folder that any web server may serve.
    ///
    /// # Errors
    /// A file or a row that is missing or damaged; a log that is behind a head that it has signed, or has another root there.
    pub fn open(store: Arc<Store>, folder: &Path, key: NoteKey, signer: SigningKey) -> Result<Self, LogError> {
        let folder = Folder::open(folder)?;
        let (filed, root) = head_row(&store, rows::LOG_FILED)?.unwrap_or_else(|| (0, Edge::default().root()));
        let edge = Edge::read(filed, |tile: &Tile| folder.tile_or_below(tile))?;
        // Nothing else vouches for files that no checkpoint has yet.
        if edge.root() != root {
            return Err(LogError::Damaged(format!("a tile of the first {filed} entries")));
        }
        let signed = head_row(&store, rows::LOG_SIGNED)?;
        let mut log = Self { store, folder, key, signer, edge, tail: Tail { filed, ..Tail::default() }, signed };
        log.read_rows()?;
        log.check_signed()?;
        Ok(log)
    }

    /// The entries that are in no full bundle, row by row, with none left out.
    fn read_rows(&mut self) -> Result<(), LogError> {
        let mut rows = Vec::new();
        self.store.scan(&[rows::LOG_ENTRIES], &mut |key, row| {
            rows.push((key.to_vec(), row.to_vec()));
            Ok(())
        })?;
        rows.sort();
        for (key, row) in rows {
            let first = self.size();
            let entries = read_row(&row).filter(|_| key == rows::log_entries(first)).ok_or(LogError::Row)?;
            for entry in &entries {
                if !self.edge.push(entry).is_empty() {
                    return Err(LogError::Row);
                }
            }
            self.tail.rows.push(first);
            self.tail.entries.extend(entries);
        }
        Ok(())
    }

    /// A rolled-back disk shows here: what was signed is no part of the log.
    fn check_signed(&self) -> Result<(), LogError> {
        let published = self.folder.checkpoint()?.map(|note| Checkpoint::open(&note, &self.key)).transpose()?;
        let heads = self.signed.into_iter().chain(published.map(|head| (head.size, head.root)));
        for (size, root) in heads {
            if size > self.size() {
                return Err(LogError::Behind { signed: size, size: self.size() });
            }
            if self.root_at(size)? != root {
                return Err(LogError::Forked(size));
            }
        }
        Ok(())
    }

    /// Entries in it.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Appends entries, with rows of the caller's own in the same commit. When it returns they are durable, and have the indexes from the one
    /// that it returns on.
    ///
    /// # Errors
    /// Nothing was appended: an entry that no bundle holds, entries of an unfinished bundle that are together longer than a value of the store (1 MiB), a
    /// file or a row that cannot be written.
    pub fn append(&mut self, entries: Vec<Vec<u8>>, with: Vec<Op>) -> Result<u64, LogError> {
        let first = self.size();
        let (mut edge, mut tail, mut ops) = (self.edge.clone(), self.tail.clone(), with);
        let (mut in_row, mut filed_root) = (first, None);
        for entry in entries {
            let filled = edge.push(&entry);
            tail.entries.push(entry);
            if !filled.is_empty() {
                self.folder.write(&full(TileKind::Entries, tail.filed / WIDTH)?, &bundle(&tail.entries)?)?;
                filled.iter().try_for_each(|(tile, hashes)| self.folder.write(tile, hashes))?;
                ops.extend(tail.rows.drain(..).map(|first| Op::Delete { key: rows::log_entries(first) }));
                tail.filed += WIDTH;
                tail.entries.clear();
                (in_row, filed_root) = (tail.filed, Some(edge.root()));
            }
        }
        let new = usize::try_from(in_row - tail.filed).ok().and_then(|at| tail.entries.get(at..)).unwrap_or_default();
        if !new.is_empty() {
            ops.push(Op::Put { key: rows::log_entries(in_row), value: [&[VERSION], bundle(new)?.as_slice()].concat() });
            tail.rows.push(in_row);
        }
        ops.extend(filed_root.map(|root| put_head(rows::LOG_FILED, tail.filed, root)));
        self.store.commit(&ops)?;
        (self.edge, self.tail) = (edge, tail);
        Ok(first)
    }

    /// Signs the log as it is now, and publishes it: first what the head needs, then the head.
    ///
    /// # Errors
    /// A file or a row that cannot be written.
    pub fn publish(&mut self) -> Result<Checkpoint, LogError> {
        let head = Checkpoint { origin: self.key.name().to_owned(), size: self.size(), root: self.edge.root() };
        if let Some(tile) = Tile::in_tree(TileKind::Entries, self.tail.filed / WIDTH, self.size()) {
            self.folder.write(&tile, &bundle(&self.tail.entries)?)?;
        }
        for (tile, hashes) in self.edge.unfinished() {
            self.folder.write(&tile, &hashes)?;
        }
        self.store.commit(&[put_head(rows::LOG_SIGNED, head.size, head.root)])?;
        let before = self.signed.replace((head.size, head.root)).map_or(0, |(size, _)| size);
        let note = head.sign(&self.key, &self.signer).ok_or(LogError::Name)?;
        self.folder.write_checkpoint(&note)?;
        // C2SP tlog-tiles: an unfinished tile may go once the full one is there.
        Tile::filled_between(before, head.size).try_for_each(|tile| self.folder.remove_unfinished(&tile))?;
        Ok(head)
    }

    /// The checkpoint that is published.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Note>, LogError> {
        self.folder.checkpoint()
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

    /// The receipt of an entry, under the checkpoint that is published.
    ///
    /// # Errors
    /// No checkpoint with such an entry yet; a file that cannot be read.
    pub fn receipt(&self, index: u64) -> Result<Receipt, LogError> {
        let checkpoint = self.folder.checkpoint()?.ok_or(LogError::Index(index))?;
        let head = Checkpoint::open(&checkpoint, &self.key)?;
        if index >= head.size {
            return Err(LogError::Index(index));
        }
        Ok(Receipt { index, proof: inclusion_proof(&self.nodes(), index, head.size)?, checkpoint })
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

    /// The hashes of the tree as it is now: full tiles from their files, the unfinished ones from memory.
    fn nodes(&self) -> TileNodes<impl Fn(&Tile) -> Result<Vec<u8>, LogError> + '_> {
        TileNodes::new(self.size(), |tile: &Tile| {
            if tile.is_full() {
                return self.folder.tile(tile);
            }
            let unfinished = self.edge.unfinished().find(|(there, _)| there == tile);
            unfinished.map(|(_, hashes)| hashes).ok_or_else(|| LogError::Damaged(tile.path()))
        })
    }
}

fn bundle(entries: &[Vec<u8>]) -> Result<Vec<u8>, LogError> {
    bundle_of(entries.iter().map(Vec::as_slice)).map_err(|_| LogError::Entry)
}

/// The entries of a row: fewer than a bundle has.
fn read_row(row: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (&VERSION, mut rest) = row.split_first()? else { return None };
    let mut entries = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk() {
        let (entry, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
        entries.push(entry.to_vec());
        rest = behind;
    }
    (rest.is_empty() && !entries.is_empty()).then_some(entries)
}

fn full(kind: TileKind, index: u64) -> Result<Tile, LogError> {
    Tile::new(kind, index, 256).ok_or(LogError::Entry)
}

/// A size, and the root that the log has there.
fn head_row(store: &Store, key: &[u8]) -> Result<Option<(u64, Hash)>, LogError> {
    let Some(row) = store.get(key)? else { return Ok(None) };
    match codec::decode::<(u8, u64, ByteArray<32>)>(&row, 64) {
        Ok((VERSION, size, root)) => Ok(Some((size, root.into_array()))),
        _ => Err(LogError::Row),
    }
}

fn put_head(key: &[u8], size: u64, root: Hash) -> Op {
    Op::Put { key: key.to_vec(), value: codec::encode(&(VERSION, size, ByteArray::new(root))) }
}
