//! The transparency log.

use nuncio_proto::tlog::{
    AddCheckpoint, Checkpoint, CheckpointError, Frontier, Hash, KeyKind, LineError, Note, NoteError, NoteKey, Policy,
    PolicyError, ProofError, Receipt, ReceiptError, Tile, TileKind, WitnessError, cosigned_at, entries_of, leaf_hash,
    verify_consistency, verify_inclusion,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase", deny_unknown_fields)]
enum Tree {
    Root { entries: Vec<Hex> },
    Inclusion { index: String, size: String, entry: Hex, proof: Vec<Hex>, root: Hex },
    Consistency { old: String, new: String, proof: Vec<Hex>, old_root: Hex, new_root: Hex },
}

pub(crate) fn tree(value: &Value) -> Outcome {
    let hashes = |all: &[Hex]| all.iter().map(Hex::array).collect::<Vec<Hash>>();
    let number = |text: String| text.parse().unwrap();
    let held = match input(value) {
        Tree::Root { entries } => {
            let mut tree = Frontier::default();
            entries.iter().for_each(|entry| tree.push(leaf_hash(&entry.0)));
            return Ok(json!({ "root": hex(tree.root()) }));
        }
        Tree::Inclusion { index, size, entry, proof, root } => {
            verify_inclusion(number(index), number(size), &entry.0, &hashes(&proof), &root.array())
        }
        Tree::Consistency { old, new, proof, old_root, new_root } => {
            verify_consistency(number(old), number(new), &hashes(&proof), &old_root.array(), &new_root.array())
        }
    };
    held.map(|()| json!({ "holds": true })).map_err(of_proof)
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase", deny_unknown_fields)]
enum Of {
    Path { path: String },
    Tiles { size: String },
    Bundle { bytes: Hex, width: u16 },
}

pub(crate) fn tile(value: &Value) -> Outcome {
    match input(value) {
        Of::Path { path } => {
            let tile = Tile::parse(&path).map_err(|_| "path")?;
            let (kind, level) = match tile.kind() {
                TileKind::Entries => ("entries", None),
                TileKind::Hashes(level) => ("hashes", Some(level)),
            };
            Ok(json!({ "kind": kind, "level": level, "index": tile.index().to_string(), "width": tile.width() }))
        }
        Of::Tiles { size } => {
            let paths: Vec<String> = Tile::all(size.parse().unwrap()).map(|tile| tile.path()).collect();
            Ok(json!({ "paths": paths }))
        }
        Of::Bundle { bytes, width } => {
            let entries = entries_of(&bytes.0, width).map_err(|_| "width")?;
            Ok(json!({ "entries": entries.into_iter().map(hex).collect::<Vec<_>>() }))
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase", deny_unknown_fields)]
enum Signed {
    Key { text: String },
    Note { note: String, key: String },
    Checkpoint { note: String, key: String },
    Cosignature { note: String, key: String },
}

pub(crate) fn note(value: &Value) -> Outcome {
    let read =
        |note: &str, key: &str| Ok((Note::parse(note.as_bytes()).map_err(of_note)?, NoteKey::parse(key).unwrap()));
    match input(value) {
        Signed::Key { text } => {
            let key = NoteKey::parse(&text).ok_or("malformed")?;
            let kind = match key.kind() {
                KeyKind::Ed25519 => 1,
                KeyKind::CosignatureV1 => 4,
                KeyKind::MlDsa44 => 6,
            };
            Ok(json!({ "name": key.name(), "id": hex(key.id()), "kind": kind, "public": hex(key.public()) }))
        }
        Signed::Note { note, key } => {
            let (note, key) = read(&note, &key)?;
            note.verify(&key).map_err(of_note)?;
            Ok(json!({ "text": note.text() }))
        }
        Signed::Checkpoint { note, key } => {
            let (note, key) = read(&note, &key)?;
            Checkpoint::open(&note, &key).map(of_head).map_err(of_checkpoint)
        }
        Signed::Cosignature { note, key } => {
            let (note, key) = read(&note, &key)?;
            let at = cosigned_at(&note, &key).map_err(of_note)?;
            Ok(json!({ "at": at.to_string() }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    receipt: String,
    entry: Hex,
    key: String,
}

pub(crate) fn receipt(value: &Value) -> Outcome {
    let given: Received = input(value);
    let checked = Receipt::parse(given.receipt.as_bytes()).and_then(|receipt| {
        let head = receipt.verify(&given.entry.0, &NoteKey::parse(&given.key).unwrap())?;
        Ok((receipt.index, head))
    });
    let (index, head) = checked.map_err(|error| match error {
        ReceiptError::Checkpoint(error) => of_checkpoint(error),
        ReceiptError::Proof(error) => of_proof(error),
        _ => "malformed",
    })?;
    let mut out = of_head(head);
    out["index"] = json!(index.to_string());
    Ok(out)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    request: String,
    key: String,
    last: Option<Last>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    size: String,
    root: Hex,
}

pub(crate) fn add_checkpoint(value: &Value) -> Outcome {
    let Asked { request, key, last } = input(value);
    let key = NoteKey::parse(&key).unwrap();
    let last = last.map(|last| (last.size.parse().unwrap(), last.root.array()));
    let checked = AddCheckpoint::parse(request.as_bytes()).and_then(|request| {
        assert!(value["request"] == request.to_string(), "it is written as it was read");
        if request.origin() == key.name() { request.check(&key, last) } else { Err(WitnessError::Origin) }
    });
    checked.map(of_head).map_err(|error| match error {
        WitnessError::Origin => "origin",
        WitnessError::Signature => "signature",
        WitnessError::Size(_) => "size",
        WitnessError::Proof(error) => of_proof(error),
        _ => "malformed",
    })
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase", deny_unknown_fields)]
enum Wanted {
    Policy { policy: String },
    Bytes { bytes: Hex },
    Checkpoint { policy: String, note: String },
}

pub(crate) fn policy(value: &Value) -> Outcome {
    let read = |policy: &[u8]| {
        Policy::parse(policy).map_err(|error| match error {
            PolicyError::Length | PolicyError::Line(_, LineError::TooMany) => "too-long",
            PolicyError::Line(_, LineError::Key) => "bad-key",
            PolicyError::Line(_, LineError::Duplicate) => "duplicate",
            PolicyError::Line(_, LineError::Unknown) => "unknown-name",
            PolicyError::Line(_, LineError::Threshold) => "threshold",
            _ => "malformed",
        })
    };
    let (policy, note) = match input(value) {
        Wanted::Policy { policy } => (read(policy.as_bytes())?, None),
        Wanted::Bytes { bytes } => (read(&bytes.0)?, None),
        Wanted::Checkpoint { policy, note } => (read(policy.as_bytes())?, Some(note)),
    };
    let Some(note) = note else {
        let logs: Vec<&str> = policy.logs().iter().map(NoteKey::name).collect();
        let witnesses: Vec<Value> = policy.witnesses().iter().map(|witness| hex(&witness.name)).collect();
        return Ok(json!({ "logs": logs, "witnesses": witnesses }));
    };
    let note = Note::parse(note.as_bytes()).map_err(of_note)?;
    let head = policy.log_of(&note).and_then(|log| Checkpoint::open(&note, log)).map_err(of_checkpoint)?;
    let cosigned = policy.cosigned(&note).map_err(of_note)?;
    let by: Vec<Value> = cosigned.by.iter().map(|(by, at_s)| json!([hex(&by.name), at_s.to_string()])).collect();
    let mut out = of_head(head);
    out["by"] = json!(by);
    out["missing"] = cosigned.missing.iter().map(|witness| hex(&witness.name)).collect();
    if cosigned.is_quorum { Ok(out) } else { Err("quorum") }
}

fn of_head(head: Checkpoint) -> Value {
    json!({ "origin": head.origin, "size": head.size.to_string(), "root": hex(head.root) })
}

fn of_checkpoint(error: CheckpointError) -> &'static str {
    match error {
        CheckpointError::Note(error) => of_note(error),
        CheckpointError::Origin => "origin",
        _ => "malformed",
    }
}

fn of_note(error: NoteError) -> &'static str {
    match error {
        NoteError::Unsigned => "unsigned",
        NoteError::Signature => "signature",
        _ => "malformed",
    }
}

fn of_proof(error: ProofError) -> &'static str {
    match error {
        ProofError::Range => "range",
        ProofError::Length => "length",
        ProofError::Root => "root",
        _ => "unknown",
    }
}
