//! A transparency log on disk (contracts/log.md): full bundles of entries and full tiles in files that never change, what is not in them yet in
//! the store.
//!
//! ```text
//!   append   entries ─► what they fill becomes files ─► the rest is a row, the head is kept as signed: one commit ─► indexes, a checkpoint
//!   publish  the unfinished tiles become files ─► the checkpoint becomes a file
//! ```
//!
//! Nothing counts before the commit: files of an append that was stopped are written again, since nobody reads what no checkpoint has.

mod anchor_file;
mod anchored;
mod error;
mod events;
mod files;
mod folder;
mod opened;
mod reconcile;
#[cfg(test)]
mod tests;
mod told;
mod verify;
mod view;

use std::path::Path;
use std::sync::Arc;

use nuncio_proto::codec;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::tlog::{Checkpoint, Edge, Hash, Note, NoteKey, NoteSignature, Tile, TileKind, bundle_of};
use nuncio_store::{Engine as _, Op, Store};
use serde_bytes::ByteArray;

use crate::rows;
pub use anchor_file::AnchorFile;
pub use anchored::{AnchorFault, Anchored};
pub use error::LogError;
pub use events::{Answer, Events, NotTaken};
pub use files::Files;
use folder::Folder;
pub use opened::{Ends, ends};
pub use reconcile::{Account, Mismatch, reconcile};
pub use told::{Told, ToldHead};
pub use verify::{Verdict, Wrong, verify, verify_against, verify_files};
pub use view::View;

/// Entries in a full bundle.
const WIDTH: u64 = 256;
const VERSION: u8 = 1;

/// A log that one process appends to.
#[derive(Debug)]
pub struct Log {
    store: Arc<Store>,
    signer: SigningKey,
    view: Arc<View>,
    /// Entries of the checkpoint that is published, and the note.
    published: u64,
    published_note: Option<Note>,
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
        let mut view = View { folder, key, edge, tail: Tail { filed, ..Tail::default() }, signed: None };
        read_rows(&store, &mut view)?;
        let signed = head_row(&store, rows::LOG_SIGNED)?;
        let published_note = view.published()?;
        let published = published_note.as_ref().map(|note| Checkpoint::open(note, &view.key)).transpose()?;
        let published = published.map(|head| (head.size, head.root));
        let shown = head_row(&store, rows::LOG_SHOWN)?;
        signed.into_iter().chain(published).chain(shown).try_for_each(|head| check_signed(&view, head))?;
        // It grows in the commit in which its head is signed: what it has it has signed.
        let is_signed = signed.is_some_and(|(size, _)| size == view.size());
        view.signed = is_signed.then(|| sign(&view, &signer)).transpose()?;
        let published = published.map_or(0, |(size, _)| size);
        Ok(Self { store, signer, view: Arc::new(view), published, published_note })
    }

    /// The log as it is now.
    #[must_use]
    pub const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Entries in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.view.size()
    }

    /// Appends entries and signs the head that comes of it, with rows of the caller's own in the same commit. When it returns they are durable, and
    /// have the indexes from the one that it returns on.
    ///
    /// # Errors
    /// Nothing was appended: an entry that no bundle holds, entries of an unfinished bundle that are together longer than a value of the store (1 MiB), a
    /// file or a row that cannot be written.
    pub fn append(&mut self, entries: Vec<Vec<u8>>, with: Vec<Op>) -> Result<u64, LogError> {
        let first = self.size();
        let (mut view, mut ops) = (View::clone(&self.view), with);
        let View { folder, edge, tail, .. } = &mut view;
        let (mut in_row, mut filed_root, mut files) = (first, None, Vec::new());
        for entry in entries {
            let filled = edge.push(&entry);
            tail.entries.push(entry);
            if !filled.is_empty() {
                files.push((full(TileKind::Entries, tail.filed / WIDTH)?, bundle(&tail.entries)?));
                files.extend(filled);
                ops.extend(tail.rows.drain(..).map(|first| Op::Delete { key: rows::log_entries(first) }));
                tail.filed += WIDTH;
                tail.entries.clear();
                (in_row, filed_root) = (tail.filed, Some(edge.root()));
            }
        }
        folder.write(&files)?;
        let new = usize::try_from(in_row - tail.filed).ok().and_then(|at| tail.entries.get(at..)).unwrap_or_default();
        if !new.is_empty() {
            ops.push(Op::Put { key: rows::log_entries(in_row), value: [&[VERSION], bundle(new)?.as_slice()].concat() });
            tail.rows.push(in_row);
        }
        ops.extend(filed_root.map(|root| put_head(rows::LOG_FILED, tail.filed, root)));
        self.commit(view, ops)?;
        Ok(first)
    }

    /// Keeps a head as signed with what it is the head of; only then there is a signature.
    fn commit(&mut self, mut view: View, mut ops: Vec<Op>) -> Result<(), LogError> {
        ops.push(put_head(rows::LOG_SIGNED, view.size(), view.edge.root()));
        let note = sign(&view, &self.signer)?;
        self.store.commit(&ops)?;
        view.signed = Some(note);
        self.view = Arc::new(view);
        Ok(())
    }

    /// Publishes the log as it is now: first what its head needs, then the head, with the lines of others that stand under it already.
    ///
    /// # Errors
    /// A file or a row that cannot be written.
    pub fn publish(&mut self) -> Result<Checkpoint, LogError> {
        if self.view.signed.is_none() {
            self.commit(View::clone(&self.view), Vec::new())?;
        }
        let View { folder, edge, tail, signed, .. } = &*self.view;
        let entries = Tile::in_tree(TileKind::Entries, tail.filed / WIDTH, edge.size());
        let mut files = Vec::new();
        if let Some(tile) = entries {
            files.push((tile, bundle(&tail.entries)?));
        }
        files.extend(edge.unfinished());
        folder.write(&files)?;
        let signed = signed.clone().ok_or(LogError::Name)?;
        let there = self.published_note.as_ref().filter(|there| there.text() == signed.text());
        let note = there.cloned().unwrap_or(signed);
        folder.write_checkpoint(&note)?;
        // C2SP tlog-tiles: an unfinished tile may go once the full one is there.
        Tile::filled_between(self.published, edge.size()).try_for_each(|tile| folder.remove_unfinished(&tile))?;
        self.published = edge.size();
        self.published_note = Some(note);
        Ok(self.view.head())
    }

    /// Puts lines of others under the checkpoint that is published, in the place of those that they put there before.
    ///
    /// # Errors
    /// A file that cannot be written.
    // contracts/log.md G17.
    pub fn cosign_published(&mut self, lines: Vec<NoteSignature>) -> Result<(), LogError> {
        if let Some(note) = &mut self.published_note {
            lines.into_iter().for_each(|line| note.put(line));
            self.view.folder.write_checkpoint(note)?;
        }
        Ok(())
    }

    /// Keeps a head that this log has signed and does not have: it does not open again without it.
    pub(crate) fn remember_shown(&self, head: &Checkpoint) -> Result<(), LogError> {
        Ok(self.store.commit(&[put_head(rows::LOG_SHOWN, head.size, head.root)])?)
    }

    /// Entries of the checkpoint that is published.
    #[must_use]
    pub const fn published(&self) -> u64 {
        self.published
    }
}

/// The entries that are in no full bundle, row by row, with none left out.
fn read_rows(store: &Store, view: &mut View) -> Result<(), LogError> {
    let mut rows = Vec::new();
    store.scan(&[rows::LOG_ENTRIES], &mut |key, row| {
        rows.push((key.to_vec(), row.to_vec()));
        Ok(())
    })?;
    rows.sort();
    for (key, row) in rows {
        let first = view.size();
        let entries = read_row(&row).filter(|_| key == rows::log_entries(first)).ok_or(LogError::Row)?;
        for entry in &entries {
            if !view.edge.push(entry).is_empty() {
                return Err(LogError::Row);
            }
        }
        view.tail.rows.push(first);
        view.tail.entries.extend(entries);
    }
    Ok(())
}

/// A rolled-back disk shows here: what was signed is no part of the log.
fn check_signed(view: &View, (size, root): (u64, Hash)) -> Result<(), LogError> {
    if size > view.size() {
        return Err(LogError::Behind { signed: size, size: view.size() });
    }
    if view.root_at(size)? == root { Ok(()) } else { Err(LogError::Forked(size)) }
}

fn sign(view: &View, signer: &SigningKey) -> Result<Note, LogError> {
    view.head().sign(&view.key, signer).ok_or(LogError::Name)
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
