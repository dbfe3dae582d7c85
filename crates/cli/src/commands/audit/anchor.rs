//! What is said of when a log was there (contracts/log.md section 8). No block is known here: nothing of it is called proven.

use std::path::Path;

use data_encoding::BASE64;
use nuncio_node::log::{AnchorFault, AnchorFile, Anchored};
use nuncio_proto::tlog::{Attested, NoteKey};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

/// An anchor that somebody has kept.
pub(super) fn kept(path: &Path, key: &NoteKey) -> Result<Anchored, Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(Failure::io("read", path));
    let timestamp = &path.with_file_name(format!("{}.ots", path.file_name().unwrap_or_default().display()));
    Anchored::kept(&read(path)?, &read(timestamp)?, key).map_err(|fault| {
        let of_timestamp = matches!(fault, AnchorFault::Timestamp(_) | AnchorFault::Digest);
        let wrong = if of_timestamp { timestamp } else { path };
        Failure::Unsound(format!("{}: {fault}; it says nothing of this log", wrong.display()))
    })
}

/// For programs.
pub(super) fn told(anchored: &Anchored) -> Value {
    let blocks: Vec<Value> = anchored
        .attested
        .iter()
        .filter_map(Attested::block)
        .map(|(height, root)| json!({ "height": height, "merkle_root": root }))
        .collect();
    let pending: Vec<&str> = anchored.attested.iter().filter_map(Attested::pending).collect();
    let root = BASE64.encode(&anchored.head.root);
    json!({ "size": anchored.head.size, "root": root, "pending": pending, "blocks": blocks, "blocks_checked": false })
}

/// For people.
pub(super) fn print(anchored: &Anchored) -> Result<(), Failure> {
    let size = anchored.head.size;
    output::line(format_args!("anchor of the first {size} entries"))?;
    let mut has_block = false;
    for attested in &anchored.attested {
        if let Some((height, root)) = attested.block() {
            has_block = true;
            output::line(format_args!("  Bitcoin block {height}, not checked here: its merkle root must be {root}"))?;
        } else if let Some(calendar) = attested.pending() {
            output::line(format_args!("  pending at {calendar}"))?;
        }
    }
    if has_block {
        let file = AnchorFile::Timestamp(size).path();
        output::note(format_args!(
            "whether a block has that root a block explorer says, or your own Bitcoin node by `ots verify {file}`"
        ));
    }
    Ok(())
}
