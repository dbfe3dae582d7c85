//! A transparency log on disk (contracts/log.md): what is not in a full tile yet in the store, the rest in files that never change.
//!
//! ```text
//!   append   entries ─► rows, one commit ─► durable: they have their indexes
//!                                      └─► a bundle of 256 is full: its tiles become files, then its rows go
//!   publish  the unfinished tiles become files ─► the head is kept as signed ─► the checkpoint becomes a file
//! ```
//!
//! Whatever moment it is stopped at, opening goes on from there: rows come first and go last.

mod error;
mod events;
mod folder;
#[cfg(test)]
mod tests;

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
    /// Entries of the bundle that is being filled.
    tail: Vec<Vec<u8>>,
    /// Entries in full bundles whose rows are gone.
    filed: u64,
    /// The newest head that was signed.
    signed: Option<(u64, Hash)>,
    /// A file could not be written: memory and disk differ until the log is opened anew.
    stopped: bool,
}

impl Log {
    /// Opens the log of a store, or begins it. Its files are in a folder that any web server may serve.
    ///
    /// # Errors
    /// A file or a row that is missing or damaged; a log that is behind a head that it has signed, or has another root there.
    pub fn open(store: Arc<Store>, folder: &Path, key: NoteKey, signer: SigningKey) -> Result<Self, LogError> {
        let folder = Folder::open(folder)?;
        let filed = number(&store, rows::LOG_FILED)?.unwrap_or(0);
        let edge = Edge::read(filed, |tile: &Tile| folder.tile_or_below(tile))?;
        let signed = signed_head(&store)?;
        let mut log = Self { store, folder, key, signer, edge, tail: Vec::new(), filed, signed, stopped: false };
        let waiting = log.rows()?;
        // A bundle that is full and has its rows still was being filed when the log was stopped.
        log.take(waiting)?;
        log.check_signed()?;
        Ok(log)
    }

    /// The rows of entries, in order.
    fn rows(&self) -> Result<Vec<Vec<u8>>, LogError> {
        let mut found = Vec::new();
        self.store.scan(&[rows::LOG_ENTRY], &mut |key, entry| {
            found.push((key.to_vec(), entry.to_vec()));
            Ok(())
        })?;
        found.sort();
        let in_order = (self.filed..).zip(&found).all(|(index, (key, _))| *key == rows::log_entry(index));
        if in_order { Ok(found.into_iter().map(|(_, entry)| entry).collect()) } else { Err(LogError::Row) }
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
    /// Nothing was appended: the store's failure, an entry that no bundle holds. Or a file that cannot be written: the entries are in the log,
    /// which does nothing more until it is opened anew.
    pub fn append(&mut self, entries: Vec<Vec<u8>>, with: Vec<Op>) -> Result<u64, LogError> {
        self.check_running()?;
        let first = self.size();
        if entries.iter().any(|entry| u16::try_from(entry.len()).is_err()) {
            return Err(LogError::Entry);
        }
        let puts =
            (first..).zip(&entries).map(|(index, entry)| Op::Put { key: rows::log_entry(index), value: entry.clone() });
        let ops: Vec<Op> = puts.chain(with).collect();
        self.store.commit(&ops)?;
        let taken = self.take(entries);
        self.stopped = taken.is_err();
        taken.map(|()| first)
    }

    const fn check_running(&self) -> Result<(), LogError> {
        if self.stopped { Err(LogError::Stopped) } else { Ok(()) }
    }

    /// Moves the tree behind entries that are durable, and files the bundles that they fill.
    fn take(&mut self, entries: Vec<Vec<u8>>) -> Result<(), LogError> {
        for entry in entries {
            let filled = self.edge.push(&entry);
            self.tail.push(entry);
            if filled.is_empty() {
                continue;
            }
            let bundle = bundle_of(self.tail.iter().map(Vec::as_slice)).map_err(|_| LogError::Entry)?;
            self.folder.write(&full(TileKind::Entries, self.filed / WIDTH)?, &bundle)?;
            for (tile, hashes) in &filled {
                self.folder.write(tile, hashes)?;
            }
            self.forget_rows()?;
        }
        Ok(())
    }

    /// The bundle is in files: its rows go, all at once.
    fn forget_rows(&mut self) -> Result<(), LogError> {
        let filed = self.filed + WIDTH;
        let gone = (self.filed..filed).map(|index| Op::Delete { key: rows::log_entry(index) });
        let kept = Op::Put { key: rows::LOG_FILED.to_vec(), value: codec::encode(&(VERSION, filed)) };
        self.store.commit(&gone.chain([kept]).collect::<Vec<_>>())?;
        self.filed = filed;
        self.tail.clear();
        Ok(())
    }

    /// Signs the log as it is now, and publishes it: first what the head needs, then the head.
    ///
    /// # Errors
    /// A file or a row that cannot be written.
    pub fn publish(&mut self) -> Result<Checkpoint, LogError> {
        self.check_running()?;
        let head = Checkpoint { origin: self.key.name().to_owned(), size: self.size(), root: self.edge.root() };
        if !self.tail.is_empty() {
            let bundle = bundle_of(self.tail.iter().map(Vec::as_slice)).map_err(|_| LogError::Entry)?;
            let tile = Tile::in_tree(TileKind::Entries, self.filed / WIDTH, self.size()).ok_or(LogError::Entry)?;
            self.folder.write(&tile, &bundle)?;
        }
        for (tile, hashes) in self.edge.unfinished() {
            self.folder.write(&tile, &hashes)?;
        }
        let row = codec::encode(&(VERSION, head.size, ByteArray::new(head.root)));
        self.store.commit(&[Op::Put { key: rows::LOG_SIGNED.to_vec(), value: row }])?;
        self.signed = Some((head.size, head.root));
        let note = head.sign(&self.key, &self.signer).ok_or(LogError::Name)?;
        self.folder.write_checkpoint(&note)?;
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
        let found = if index >= self.filed {
            self.tail.get(usize::try_from(index - self.filed).map_err(|_| LogError::Index(index))?).cloned()
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

fn full(kind: TileKind, index: u64) -> Result<Tile, LogError> {
    Tile::new(kind, index, 256).ok_or(LogError::Entry)
}

fn number(store: &Store, key: &[u8]) -> Result<Option<u64>, LogError> {
    let Some(row) = store.get(key)? else { return Ok(None) };
    match codec::decode::<(u8, u64)>(&row, 16) {
        Ok((VERSION, number)) => Ok(Some(number)),
        _ => Err(LogError::Row),
    }
}

fn signed_head(store: &Store) -> Result<Option<(u64, Hash)>, LogError> {
    let Some(row) = store.get(rows::LOG_SIGNED)? else { return Ok(None) };
    match codec::decode::<(u8, u64, ByteArray<32>)>(&row, 64) {
        Ok((VERSION, size, root)) => Ok(Some((size, root.into_array()))),
        _ => Err(LogError::Row),
    }
}
