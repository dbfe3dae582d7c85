//! A full disk: a clear error, nothing acknowledged lost, and on it goes when there is space again. On a small tmpfs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use nuncio_proto::secret::Key;
use nuncio_store::{Engine, Kek, Op, Store, StoreError};

/// Reserve 8 MiB, ballast 8 MiB, the rest for rows.
const DISK: &str = "size=28m";
const BALLAST_LEN: usize = 8 << 20;

/// A mounted tmpfs, unmounted on drop.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left_behind = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn not_run(reason: &str) {
    let line = format!("disk_full (crates/store): no tmpfs mount: {reason}");
    eprintln!("NOT RUN: {line}");
    if let Some(path) = std::env::var_os("NUNCIO_NOT_RUN_FILE") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

fn kek() -> Kek {
    Kek::from_key(Key::new([1; 32]))
}

fn put(n: u32) -> Op {
    Op::Put { key: [b"r", n.to_be_bytes().as_slice()].concat(), value: vec![n.to_be_bytes()[3]; 4000] }
}

fn assert_holds(store: &Store, rows: u32) {
    for n in 0..rows {
        let Op::Put { key, value } = put(n) else { unreachable!() };
        assert_eq!(store.get(&key).unwrap().as_ref(), Some(&value), "row {n} of {rows}");
    }
}

/// Commits until the disk is full; the number of the first row that is not acknowledged.
fn fill(store: &Store, from: u32) -> u32 {
    for n in from.. {
        match store.commit(&[put(n)]) {
            Ok(()) => {}
            Err(StoreError::DiskFull(_)) => return n,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

#[test]
fn a_full_disk_loses_nothing_and_is_left_behind_when_there_is_space() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => return not_run(&reason),
    };
    let home = disk.path().join("home");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; BALLAST_LEN]).unwrap();

    let store = Store::create(&home, &kek()).unwrap();
    let acknowledged = fill(&store, 0);
    assert!(acknowledged > 500, "only {acknowledged} rows fitted");
    assert!(matches!(store.commit(&[put(0)]), Err(StoreError::Poisoned)), "nothing after the first error");
    drop(store);

    // Still full: the reserve lets it open; it reads, refuses to write, and does so again and again.
    for _ in 0..3 {
        let store = Store::open(&home, &kek()).unwrap();
        assert_holds(&store, acknowledged);
        assert!(matches!(store.commit(&[put(acknowledged)]), Err(StoreError::DiskFull(_))));
        assert_holds(&store, acknowledged);
    }

    // Space returns under an open store: it goes on without another start.
    let store = Store::open(&home, &kek()).unwrap();
    fs::remove_file(&ballast).unwrap();
    store.commit(&[put(acknowledged)]).unwrap();
    assert!(home.join("db/reserve").exists(), "there is a reserve for the next time");
    drop(store);
    let store = Store::open(&home, &kek()).unwrap();
    assert_holds(&store, acknowledged + 1);
}
