//! Writes a log for strangers to read: `cargo run -p nuncio-node --example write_log -- FOLDER`.
//!
//! In the folder: the log's files; `checkpoint.SIZE` and the receipt `receipt.SIZE` of its last entry, for every size at an edge of its tiles; its key in
//! `key`; in `proofs`, a line each, `old new old-root new-root hash…` for all pairs of sizes up to 300 and of those edges. Entry `i` is the text of `i`.
#![allow(clippy::print_stdout, reason = "a tool of the repository")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use nuncio_node::log::Log;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::secret::Key;
use nuncio_proto::tlog::{KeyKind, NoteKey};
use nuncio_store::{Kek, Store};

const EDGES: [u64; 8] = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537];
const ALL_PAIRS_TO: u64 = 300;
/// Entries of one commit.
const BATCH: u64 = 1_000;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("which folder?")?);
    let home = tempfile::tempdir()?;
    let store = Arc::new(Store::create(&home.path().join("home"), &Kek::from_key(Key::new([7; 32])))?);
    let signer = SigningKey::from_seed(&[3; 32]);
    let key = NoteKey::new("log.example", KeyKind::Ed25519, signer.public()).context("a name")?;
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("key"), key.to_string())?;
    let mut log = Log::open(store, &folder, key, signer)?;
    for size in EDGES {
        grow(&mut log, size)?;
        log.publish()?;
        std::fs::copy(folder.join("checkpoint"), folder.join(format!("checkpoint.{size}")))?;
        std::fs::write(folder.join(format!("receipt.{size}")), log.view().receipt(size - 1)?.to_string())?;
    }
    std::fs::write(folder.join("proofs"), proofs(&log)?)?;
    println!("a log of {} entries in {}", log.size(), folder.display());
    Ok(())
}

fn grow(log: &mut Log, size: u64) -> Result<()> {
    while log.size() < size {
        let to = size.min(log.size() + BATCH);
        log.append((log.size()..to).map(|index| index.to_string().into_bytes()).collect(), Vec::new())?;
    }
    Ok(())
}

fn proofs(log: &Log) -> Result<String> {
    let small = (1..=ALL_PAIRS_TO).flat_map(|new| (1..=new).map(move |old| (old, new)));
    let large =
        EDGES.into_iter().flat_map(|new| EDGES.into_iter().filter(move |old| *old <= new).map(move |old| (old, new)));
    let mut roots = BTreeMap::new();
    for size in (0..=ALL_PAIRS_TO).chain(EDGES) {
        roots.insert(size, BASE64.encode(&log.view().root_at(size)?));
    }
    let root = |size: u64| roots.get(&size).map_or("", String::as_str);
    let mut lines = String::new();
    for (old, new) in small.chain(large) {
        write!(lines, "{old} {new} {} {}", root(old), root(new))?;
        for hash in log.view().consistency(old, new)? {
            write!(lines, " {}", BASE64.encode(&hash))?;
        }
        lines.push('\n');
    }
    Ok(lines)
}
