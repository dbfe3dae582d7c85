//! A home's store as its users meet it: creation, keys, versions, corruption, backup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nuncio_proto::secret::Key;
use nuncio_store::{Argon2Cost, Engine, Kek, KeyFault, Op, Refusal, RowFault, SledEngine, Store, StoreError};
use zeroize::Zeroizing;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn create(&self) -> Store {
        Store::create(&self.home(), &kek()).unwrap()
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.home(), &kek())
    }

    /// The engine beneath, as a repair tool or a thief would open it.
    fn raw(&self) -> SledEngine {
        SledEngine::open(&self.home().join("db")).unwrap()
    }
}

fn kek() -> Kek {
    Kek::from_key(Key::new([5; 32]))
}

fn passphrase(text: &str) -> Kek {
    let cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
    Kek::passphrase_with_cost(Zeroizing::new(text.as_bytes().to_vec()), cost)
}

fn put(key: &[u8], value: &[u8]) -> Op {
    Op::Put { key: key.to_vec(), value: value.to_vec() }
}

#[test]
fn rows_are_there_after_a_restart_and_not_in_clear_on_the_disk() {
    let place = Place::new();
    place.create().commit(&[put(b"s1", b"a very secret chain key"), put(b"o1", b"letter")]).unwrap();
    let store = place.open().unwrap();
    assert_eq!(store.get(b"s1").unwrap().unwrap(), b"a very secret chain key");
    let mut all = Vec::new();
    store
        .scan(b"", &mut |key, _| {
            all.push(key.to_vec());
            Ok(())
        })
        .unwrap();
    assert_eq!(all, [b"o1", b"s1"], "the store's own records are not shown");
    drop(store);
    let log = fs::read(place.home().join("db/db")).unwrap();
    assert!(!log.windows(11).any(|bytes| bytes == b"very secret"));
}

#[test]
fn a_home_is_made_once_opened_once_and_not_guessed() {
    let place = Place::new();
    assert!(matches!(place.open(), Err(StoreError::Missing(_))));
    assert!(!place.home().exists(), "looking makes nothing");
    let store = place.create();
    assert!(matches!(place.open(), Err(StoreError::Locked { pid: Some(_), .. })));
    assert!(matches!(Store::create(&place.home(), &kek()), Err(StoreError::Locked { .. })));
    drop(store);
    assert!(matches!(Store::create(&place.home(), &kek()), Err(StoreError::Exists(_))));
    assert!(place.open().is_ok());
}

#[test]
fn a_creation_cut_short_is_taken_up_again_but_rows_without_keys_are_kept() {
    let place = Place::new();
    drop(place.create());
    fs::rename(place.home().join("keys"), place.home().join("keys.new")).unwrap();
    place.create().commit(&[put(b"s1", b"x")]).unwrap();
    fs::remove_file(place.home().join("keys")).unwrap();
    assert!(matches!(Store::create(&place.home(), &kek()), Err(StoreError::Exists(_))));
    assert!(place.raw().get(b"s1").unwrap().is_some());
}

#[test]
fn a_wrong_passphrase_is_refused_and_rekey_changes_it_without_touching_a_row() {
    let place = Place::new();
    let store = Store::create(&place.home(), &passphrase("one")).unwrap();
    store.commit(&[put(b"s1", b"x")]).unwrap();
    drop(store);
    let wrong = Store::open(&place.home(), &passphrase("two")).unwrap_err();
    assert!(matches!(&wrong, StoreError::Key { fault: KeyFault::WrongKey(_), .. }), "{wrong}");
    assert!(wrong.to_string().contains("opens with: a passphrase"), "{wrong}");

    let row = place.raw().get(b"s1").unwrap();
    Store::open(&place.home(), &passphrase("one")).unwrap().rekey(&passphrase("two"), true).unwrap();
    assert_eq!(place.raw().get(b"s1").unwrap(), row);
    assert!(Store::open(&place.home(), &passphrase("one")).is_err());
    assert_eq!(Store::open(&place.home(), &passphrase("two")).unwrap().get(b"s1").unwrap().unwrap(), b"x");
}

#[test]
fn a_corrupt_row_is_named_counted_and_left_as_it_is() {
    let place = Place::new();
    place.create().commit(&[put(b"s1", b"one"), put(b"s2", b"two"), put(b"s3", b"three")]).unwrap();
    let mut bad = place.raw().get(b"s2").unwrap().unwrap();
    bad[40] ^= 1;
    place.raw().commit(&[put(b"s2", &bad)]).unwrap();

    let store = place.open().unwrap();
    let error = store.get(b"s2").unwrap_err();
    assert!(matches!(&error, StoreError::Row { key, fault: RowFault::SealBroken } if key == "7332"), "{error}");
    assert!(error.to_string().contains("restore the newest backup"), "{error}");
    assert!(store.scan(b"s", &mut |_, _| Ok(())).is_err());
    let checkup = store.check().unwrap();
    assert_eq!((checkup.bad, checkup.rows[&b's'], checkup.rows[&b'!']), (1, 2, 1));
    assert!(matches!(checkup.first_bad, Some(StoreError::Row { .. })));
    assert_eq!(store.get(b"s1").unwrap().unwrap(), b"one", "a bad row does not stop the others");
    assert!(matches!(store.turn_epoch(), Err(StoreError::Row { .. })), "a turn does not lose what it cannot open");
    drop(store);
    assert_eq!(place.raw().get(b"s2").unwrap().unwrap(), bad);
}

#[test]
fn what_a_newer_program_wrote_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.create().commit(&[put(b"s1", b"one")]).unwrap();
    let mut newer = place.raw().get(b"s1").unwrap().unwrap();
    newer[0] = 2;
    place.raw().commit(&[put(b"s1", &newer)]).unwrap();
    let store = place.open().unwrap();
    assert!(matches!(store.get(b"s1"), Err(StoreError::Newer { found: 2, known: 1, .. })));
    drop(store);
    assert_eq!(place.raw().get(b"s1").unwrap().unwrap(), newer);

    let mut format = place.raw().get(b"!format").unwrap().unwrap();
    format[0] = 9;
    place.raw().commit(&[put(b"!format", &format)]).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 9, .. }), "{refused}");
}

#[test]
fn keys_without_the_rows_are_not_taken_for_an_empty_store() {
    let place = Place::new();
    place.create().commit(&[put(b"s1", b"one")]).unwrap();
    fs::remove_dir_all(place.home().join("db")).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::Row { fault: RowFault::Missing, .. }), "{error}");
}

#[test]
fn the_own_tree_is_not_for_others() {
    let refused = Place::new().create().commit(&[put(b"!format", b"\0\0\0\x02")]).unwrap_err();
    assert!(matches!(refused, StoreError::Refused(Refusal::ReservedKey)), "{refused}");
}

#[test]
fn half_written_and_empty_snapshots_do_not_stop_an_opening() {
    let place = Place::new();
    place.create().commit(&[put(b"s1", b"one")]).unwrap();
    drop(place.open().unwrap());
    let snapshots = || -> Vec<PathBuf> {
        let entries = fs::read_dir(place.home().join("db")).unwrap();
        entries.map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains("snap.")).collect()
    };
    let [snapshot] = snapshots().try_into().unwrap();
    let whole = fs::read(&snapshot).unwrap();
    fs::write(snapshot.with_extension("FFFFFFFFFFFFFFFF.generating"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(place.open().unwrap().get(b"s1").unwrap().unwrap(), b"one");
    for broken in [&b""[..], &whole[..whole.len() / 2]] {
        for path in snapshots() {
            fs::write(path, broken).unwrap();
        }
        assert_eq!(place.open().unwrap().get(b"s1").unwrap().unwrap(), b"one");
    }
}

fn assert_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_private(&path);
        } else {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
    }
}

#[test]
fn a_backup_is_the_store_at_one_commit_private_and_opens_with_the_same_key() {
    let place = Place::new();
    let store = place.create();
    let rows: Vec<_> = (0..2000_u32).map(|n| put(&[b"s", n.to_be_bytes().as_slice()].concat(), &[7; 400])).collect();
    store.commit(&rows).unwrap();
    store.turn_epoch().unwrap();
    let to = place.dir.path().join("backup");
    store.backup(&to).unwrap();
    store.commit(&[put(b"s-later", b"x")]).unwrap();
    assert!(matches!(store.backup(&to), Err(StoreError::Exists(_))));

    assert_private(&to);
    let copy = Store::open(&to, &kek()).unwrap();
    assert_eq!((copy.check().unwrap().rows[&b's'], copy.check().unwrap().bad), (2000, 0));
    assert_eq!(copy.get(b"s-later").unwrap(), None);
    assert!(Store::open(&place.dir.path().join("backup2"), &kek()).is_err());
}
