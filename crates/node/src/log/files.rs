//! A log as its readers have it: a folder, or a web server that publishes one. Nothing in it is believed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nuncio_contracts::registry::limit;
use nuncio_proto::tlog::{
    Checkpoint, CheckpointError, Hash, NodeError, Note, NoteKey, Receipt, Tile, TileKind, TileNodes, bundle_of,
    entries_of, inclusion_proof, leaf_hash, verify_inclusion,
};
use reqwest::{Client, Url};
use tokio::runtime::Handle;

use super::Wrong;
use super::folder::CHECKPOINT;
use crate::fetch::client;

/// The longest entry with its length in front.
const ENTRY_LEN_MAX: usize = 2 + 65_535;
/// How long a web server may take for one file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a log's files are.
#[derive(Clone, Debug)]
pub struct Files(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Folder(PathBuf),
    /// The client's own runtime is asked: reading waits, and so must not be done by one of its tasks.
    Web {
        client: Client,
        base: Url,
        handle: Handle,
    },
}

impl Files {
    /// A folder.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self(Kind::Folder(path.to_owned()))
    }

    /// A URL below which the files are. To be called within a tokio runtime, and read outside of its tasks.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn web(url: &str) -> Result<Self, String> {
        let mut base = Url::parse(url).map_err(|error| error.to_string())?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self(Kind::Web { client: client(PATIENCE)?, base, handle: Handle::current() }))
    }

    /// The folder, if it is one.
    pub(super) fn as_folder(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Folder(path) => Some(path),
            Kind::Web { .. } => None,
        }
    }

    /// The checkpoint, of whatever log: nobody has checked it.
    ///
    /// # Errors
    /// One that cannot be read, or is no note.
    pub fn note(&self) -> Result<Note, Wrong> {
        let note = self.read(CHECKPOINT, limit::NOTE_LEN_MAX)?;
        Ok(Note::parse(&note).map_err(CheckpointError::Note)?)
    }

    /// The checkpoint, and what it says.
    ///
    /// # Errors
    /// One that cannot be read, or is not the log's.
    pub fn checkpoint(&self, key: &NoteKey) -> Result<(Note, Checkpoint), Wrong> {
        let note = self.note()?;
        let head = Checkpoint::open(&note, key)?;
        Ok((note, head))
    }

    /// A tile's bytes.
    ///
    /// # Errors
    /// One that cannot be read, or is longer than it can be.
    pub fn tile(&self, tile: &Tile) -> Result<Vec<u8>, Wrong> {
        let each = if tile.kind() == TileKind::Entries { ENTRY_LEN_MAX } else { 32 };
        let read = |tile: &Tile| self.read(&tile.path(), usize::from(tile.width()) * each);
        let full = Tile::new(tile.kind(), tile.index(), 256).filter(|_| !tile.is_full());
        match (read(tile), full) {
            // C2SP tlog-tiles: an unfinished tile may have gone since, for the full one that begins with it.
            (Err(Wrong::Io { path, source }), Some(full)) => {
                let beginning = read(&full).ok().and_then(|bytes| beginning_of(tile, &bytes));
                beginning.ok_or(Wrong::Io { path, source })
            }
            (read, _) => read,
        }
    }

    /// The entries of a log from an index on, to the end of their bundle: each is in the tree of this head.
    ///
    /// # Errors
    /// A bundle that cannot be read, is none, or is of another tree.
    pub fn entries(&self, from: u64, head: &Checkpoint) -> Result<Vec<Vec<u8>>, Wrong> {
        let Some(tile) = Tile::in_tree(TileKind::Entries, from / 256, head.size) else { return Ok(Vec::new()) };
        let bytes = self.tile(&tile)?;
        let entries = entries_of(&bytes, tile.width()).map_err(|error| Wrong::Bundle(tile.path(), error))?;
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let hash_tile = Tile::in_tree(TileKind::Hashes(0), tile.index(), head.size).ok_or(Wrong::Root)?;
        if self.tile(&hash_tile)? != hashes.concat() {
            return Err(Wrong::Tile(hash_tile.path()));
        }
        // The proof of one entry needs every other hash of its tile, so it vouches for all of them.
        let first = tile.index() * 256;
        let proof = self.proof(first, head)?;
        let entry = entries.first().ok_or(Wrong::Root)?;
        verify_inclusion(first, head.size, entry, &proof, &head.root).map_err(|_| Wrong::Root)?;
        let skipped = usize::try_from(from % 256).unwrap_or(usize::MAX);
        Ok(entries.into_iter().skip(skipped).map(<[u8]>::to_vec).collect())
    }

    /// An entry, and the receipt that shows it to be in the log: checked.
    ///
    /// # Errors
    /// No such entry; files that cannot be read, or do not fit together.
    pub fn receipt(&self, index: u64, key: &NoteKey) -> Result<(Vec<u8>, Receipt), Wrong> {
        let (checkpoint, head) = self.checkpoint(key)?;
        let entry = self.entries(index, &head)?.into_iter().next().ok_or(Wrong::Index(index, head.size))?;
        let receipt = Receipt { index, proof: self.proof(index, &head)?, checkpoint };
        receipt.verify(&entry, key).map_err(|_| Wrong::Root)?;
        Ok((entry, receipt))
    }

    fn proof(&self, index: u64, head: &Checkpoint) -> Result<Vec<Hash>, Wrong> {
        let nodes = TileNodes::new(head.size, |tile: &Tile| self.tile(tile));
        inclusion_proof(&nodes, index, head.size).map_err(|error| match error {
            NodeError::Read(wrong) => wrong,
            NodeError::Width(tile) => Wrong::Tile(tile.path()),
            _ => Wrong::Root,
        })
    }

    /// A file, no longer than it may be.
    pub(super) fn read(&self, path: &str, max: usize) -> Result<Vec<u8>, Wrong> {
        match &self.0 {
            Kind::Folder(folder) => read_file(&folder.join(path), max),
            Kind::Web { client, base, handle } => handle.block_on(fetch(client, base, path, max)),
        }
    }
}

/// What a tile was when it was this wide.
fn beginning_of(tile: &Tile, full: &[u8]) -> Option<Vec<u8>> {
    let width = usize::from(tile.width());
    if let TileKind::Hashes(_) = tile.kind() {
        return full.get(..width * 32).map(<[u8]>::to_vec);
    }
    let entries = entries_of(full, 256).ok()?;
    bundle_of(entries.into_iter().take(width)).ok()
}

async fn fetch(client: &Client, base: &Url, path: &str, max: usize) -> Result<Vec<u8>, Wrong> {
    let failed = |why: String| Wrong::Io { path: path.into(), source: io::Error::other(why) };
    let url = base.join(path).map_err(|error| failed(error.to_string()))?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(|error| failed(error.without_url().to_string()))?;
    let status = response.status();
    if !status.is_success() {
        // Of a file that is not there, web servers that list nothing say that it is forbidden.
        let is_gone = matches!(status.as_u16(), 403 | 404 | 410);
        let kind = if is_gone { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
        let source = io::Error::new(kind, format!("the server answers {status}"));
        return Err(Wrong::Io { path: path.into(), source });
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(error.without_url().to_string()))? {
        if bytes.len() + piece.len() > max {
            return Err(Wrong::File(path.into()));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// A plain file, no longer than it may be.
fn read_file(path: &Path, max: usize) -> Result<Vec<u8>, Wrong> {
    let at = |source| Wrong::Io { path: path.to_owned(), source };
    let is_file = fs::symlink_metadata(path).map_err(at)?.is_file();
    let file = Some(path).filter(|_| is_file).ok_or_else(|| Wrong::File(path.to_owned()))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(at)?;
    if bytes.len() > max { Err(Wrong::File(path.to_owned())) } else { Ok(bytes) }
}
