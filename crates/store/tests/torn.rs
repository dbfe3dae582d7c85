//! A commit whose bytes reached the log only in part: it is there whole or not at all, wherever it was torn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::path::Path;

use nuncio_store::{Engine, Op, SledEngine};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

const CUTS: usize = 40;

fn put(n: u8, value: &[u8]) -> Op {
    Op::Put { key: vec![b'r', n], value: value.to_vec() }
}

fn rows(engine: &SledEngine) -> Rows {
    let mut rows = Vec::new();
    engine
        .scan(b"", &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    rows
}

/// A copy with the log replaced. The reserve is shared, to save making one.
fn copy_with_log(from: &Path, to: &Path, log: &[u8]) {
    fs::create_dir_all(to.join("blobs")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::hard_link(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::remove_file(to.join("db")).unwrap();
    fs::write(to.join("db"), log).unwrap();
}

#[test]
fn a_commit_torn_at_any_point_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let engine = SledEngine::open(&home).unwrap();
    engine.commit(&(0..60).map(|n| put(n, b"before")).collect::<Vec<_>>()).unwrap();
    let (before, log_before) = (rows(&engine), fs::read(home.join("db")).unwrap());
    // Overwrites, new rows and deletions; more bytes than a segment of the log holds.
    let mut commit: Vec<_> = (30..250).map(|n| put(n, &[n; 3000])).collect();
    commit.extend((0..30).map(|n| Op::Delete { key: vec![b'r', n] }));
    engine.commit(&commit).unwrap();
    let (after, log_after) = (rows(&engine), fs::read(home.join("db")).unwrap());
    drop(engine);

    let mut log_before = log_before;
    log_before.resize(log_after.len(), 0);
    let differs: Vec<_> = (0..log_after.len()).filter(|at| log_before[*at] != log_after[*at]).collect();
    let (first, last) = (differs[0], differs[differs.len() - 1]);
    assert!(last - first > 600_000, "the commit spans segments");
    let mut absent = 0;
    for cut in (0..CUTS).map(|n| first + (last - first) * n / CUTS) {
        let copy = dir.path().join(format!("cut-{cut}"));
        copy_with_log(&home, &copy, &[&log_after[..cut], &log_before[cut..]].concat());
        let found = rows(&SledEngine::open(&copy).unwrap());
        assert!(found == before || found == after, "torn at byte {cut}: {} rows", found.len());
        absent += usize::from(found == before);
        fs::remove_dir_all(&copy).unwrap();
    }
    // Behind the commit's last write sled pads the segment; a cut there is one after the commit.
    assert!(absent >= CUTS / 2, "only {absent} cuts tore the commit");
    let copy = dir.path().join("whole");
    copy_with_log(&home, &copy, &log_after);
    assert!(rows(&SledEngine::open(&copy).unwrap()) == after);
}
