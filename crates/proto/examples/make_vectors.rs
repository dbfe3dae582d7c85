//! Writes `contracts/vectors`: `cargo run -p nuncio-proto --example make_vectors`.
//!
//! Deterministic: a second run changes nothing, and `tests/vectors.rs` holds that what is committed is what this writes. Positive expectations
//! come from the implementation or from formulas written out here; the reason of every refusal is named by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    missing_docs,
    reason = "a tool of the repository: a failure stops it and is read by its author"
)]

#[path = "make_vectors/add_checkpoint.rs"]
mod add_checkpoint;
#[path = "make_vectors/batch.rs"]
mod batch;
#[path = "make_vectors/bundle.rs"]
mod bundle;
#[path = "make_vectors/call.rs"]
mod call;
#[path = "make_vectors/cbor.rs"]
pub(crate) mod cbor;
#[path = "make_vectors/channel.rs"]
mod channel;
#[path = "make_vectors/channel_frame.rs"]
mod channel_frame;
#[path = "make_vectors/channel_record.rs"]
mod channel_record;
#[path = "make_vectors/control.rs"]
mod control;
#[path = "make_vectors/cosignature.rs"]
mod cosignature;
#[path = "make_vectors/deposit.rs"]
mod deposit;
#[path = "make_vectors/did_key.rs"]
mod did_key;
#[path = "make_vectors/event.rs"]
mod event;
#[path = "make_vectors/frame.rs"]
mod frame;
#[path = "make_vectors/handshake.rs"]
pub(crate) mod handshake;
#[path = "make_vectors/hop_proof.rs"]
mod hop_proof;
#[path = "make_vectors/hostile.rs"]
mod hostile;
#[path = "make_vectors/invitation.rs"]
mod invitation;
#[path = "make_vectors/kdf.rs"]
mod kdf;
#[path = "make_vectors/kit.rs"]
pub(crate) mod kit;
#[path = "make_vectors/knock.rs"]
mod knock;
#[path = "make_vectors/letter.rs"]
mod letter;
#[path = "make_vectors/log.rs"]
mod log;
#[path = "make_vectors/model.rs"]
mod model;
#[path = "make_vectors/padding.rs"]
mod padding;
#[path = "make_vectors/payload.rs"]
mod payload;
#[path = "make_vectors/permit.rs"]
mod permit;
#[path = "make_vectors/query.rs"]
mod query;
#[path = "make_vectors/ratchet.rs"]
pub(crate) mod ratchet;
#[path = "make_vectors/retirement.rs"]
mod retirement;
#[path = "make_vectors/sealing.rs"]
mod sealing;
#[path = "make_vectors/snapshot.rs"]
mod snapshot;
#[path = "make_vectors/statement.rs"]
mod statement;
#[path = "make_vectors/timestamp.rs"]
pub(crate) mod timestamp;
#[path = "make_vectors/tlog_policy.rs"]
mod tlog_policy;
#[path = "make_vectors/token.rs"]
mod token;
#[path = "make_vectors/window.rs"]
mod window;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the vectors live.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/vectors")
}

/// Every vector: its path below the folder, and its text.
pub(crate) fn files() -> BTreeMap<String, String> {
    let areas = [
        did_key::cases(),
        bundle::cases(),
        batch::cases(),
        deposit::cases(),
        retirement::cases(),
        handshake::cases(),
        kdf::cases(),
        sealing::cases(),
        frame::cases(),
        ratchet::cases(),
        window::cases(),
        letter::cases(),
        control::cases(),
        knock::cases(),
        padding::cases(),
        payload::cases(),
        snapshot::cases(),
        query::cases(),
        invitation::cases(),
        statement::cases(),
        token::cases(),
        hop_proof::cases(),
        log::cases(),
        cosignature::cases(),
        add_checkpoint::cases(),
        tlog_policy::cases(),
        timestamp::cases(),
        event::cases(),
        channel::cases(),
        channel_frame::cases(),
        channel_record::cases(),
        call::cases(),
        permit::cases(),
    ];
    let mut files = BTreeMap::new();
    for case in areas.into_iter().flatten() {
        let text = case.to_text();
        assert!(files.insert(case.path(), text).is_none(), "two vectors are called {}", case.path());
    }
    for case in hostile::cases(&files) {
        files.insert(case.path(), case.to_text());
    }
    files
}

#[allow(dead_code, reason = "this file is also a module of tests/vectors.rs")]
fn main() {
    let (folder, files) = (folder(), files());
    for (path, text) in &files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        fs::write(path, text).unwrap();
    }
    let stale: Vec<_> = kit::json_files(&folder).into_iter().filter(|path| !files.contains_key(path)).collect();
    for path in &stale {
        fs::remove_file(folder.join(path)).unwrap();
    }
    println!("{} vectors, {} stale ones removed", files.len(), stale.len());
}
