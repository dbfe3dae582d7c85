//! The log on a disk, stopped wherever it can be.

use std::fs;
use std::path::PathBuf;

use nuncio_proto::secret::Key;
use nuncio_proto::tlog::{KeyKind, cosign, cosigned_at, leaf_hash, node_hash};
use nuncio_store::Kek;
use tempfile::TempDir;

use super::*;

mod anchored;
mod events;
mod reconcile;
mod verify;

pub(super) struct Home {
    dir: TempDir,
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

pub(super) fn key() -> NoteKey {
    NoteKey::new("log.example", KeyKind::Ed25519, signer().public()).unwrap()
}

fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

fn entries(from: u64, count: u64) -> Vec<Vec<u8>> {
    (from..from + count).map(|index| index.to_string().into_bytes()).collect()
}

fn mth(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    node_hash(&mth(left), &mth(right))
}

fn root(size: u64) -> Hash {
    mth(&entries(0, size).iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>())
}

impl Home {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::create(&dir.path().join("home"), &kek()).unwrap());
        Self { dir }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.dir.path().join("home"), &kek()).unwrap())
    }

    fn try_open(&self) -> Result<Log, LogError> {
        Log::open(self.store(), &self.folder(), key(), signer())
    }

    pub(super) fn open(&self) -> Log {
        self.try_open().unwrap()
    }

    /// A copy of the store, as a backup would have it.
    fn copy_store(&self, to: &str) {
        self.store().backup(&self.dir.path().join(to)).unwrap();
    }

    fn put_back(&self, from: &str) {
        let home = self.dir.path().join("home");
        fs::remove_dir_all(&home).unwrap();
        fs::rename(self.dir.path().join(from), home).unwrap();
    }
}

/// Everything that a reader can ask of a log of so many entries.
fn holds(log: &Log, size: u64) {
    assert_eq!((log.size(), log.view().edge.root()), (size, root(size)));
    for index in [0, 1, size / 3, size.saturating_sub(257), size - 1].into_iter().filter(|index| *index < size) {
        assert_eq!(log.view().entry(index).unwrap(), index.to_string().into_bytes());
    }
    assert!(matches!(log.view().entry(size), Err(LogError::Index(at)) if at == size));
}

#[test]
fn a_log_grows_through_every_stop_and_has_the_root_of_its_entries() {
    let home = Home::new();
    let mut size = 0;
    for step in [1, 254, 1, 1, 255, 256, 300, 700, 1] {
        let mut log = home.open();
        assert_eq!(log.append(entries(size, step), Vec::new()).unwrap(), size);
        size += step;
        holds(&log, size);
        let head = log.publish().unwrap();
        assert_eq!((head.size, head.root), (size, root(size)));
        for index in [0, size / 2, size - 1] {
            let receipt = log.view().receipt(index).unwrap();
            assert_eq!(receipt.verify(index.to_string().as_bytes(), &key()).unwrap(), head, "{index} of {size}");
        }
        assert!(matches!(log.view().receipt(size), Err(LogError::Index(_))));
        drop(log);
        holds(&home.open(), size);
    }
}

/// Lines of witnesses stand under the published head as long as it is the newest, in the log's next life too.
#[test]
fn cosignatures_stay_under_their_head() {
    let home = Home::new();
    let signed_by = |name: &str, seed: u8, at_s: u64| {
        let signer = SigningKey::from_seed(&[seed; 32]);
        let witness = NoteKey::new(name, KeyKind::CosignatureV1, signer.public()).unwrap();
        let text = home.open().view().signed().unwrap().text().to_owned();
        (cosign(&text, at_s, &witness, &signer), witness)
    };
    let file = || Note::parse(&fs::read(home.folder().join("checkpoint")).unwrap()).unwrap();
    let mut log = home.open();
    log.append(entries(0, 3), Vec::new()).unwrap();
    log.publish().unwrap();
    drop(log);
    let ((first, one), (second, two), (later, _)) =
        (signed_by("w/1", 1, 10), signed_by("w/2", 2, 20), signed_by("w/1", 1, 30));
    home.open().cosign_published(vec![first]).unwrap();
    assert_eq!((cosigned_at(&file(), &one), file().signatures().len()), (Ok(10), 2));
    // One that was away before the restart comes, and the same head is published again.
    let mut log = home.open();
    log.cosign_published(vec![second]).unwrap();
    log.publish().unwrap();
    assert_eq!((cosigned_at(&file(), &one), cosigned_at(&file(), &two)), (Ok(10), Ok(20)));
    // The disk is full meanwhile: what stands there stays, and what came is written once there is space.
    std::os::unix::fs::symlink("/dev/full", home.folder().join("unfinished")).unwrap();
    assert!(log.publish().is_err_and(|error| error.is_full()));
    // A witness that is asked again has one line, the newer.
    assert!(log.cosign_published(vec![later]).is_err_and(|error| error.is_full()));
    assert_eq!((cosigned_at(&file(), &one), cosigned_at(&file(), &two)), (Ok(10), Ok(20)));
    fs::remove_file(home.folder().join("unfinished")).unwrap();
    log.publish().unwrap();
    assert_eq!((cosigned_at(&file(), &one), cosigned_at(&file(), &two)), (Ok(30), Ok(20)));
    assert_eq!(file().signatures().len(), 3);
    // A checkpoint that cannot be put in its place is put there with all lines once it can.
    fs::remove_file(home.folder().join("checkpoint")).unwrap();
    fs::create_dir(home.folder().join("checkpoint")).unwrap();
    assert!(log.publish().is_err());
    fs::remove_dir(home.folder().join("checkpoint")).unwrap();
    log.publish().unwrap();
    assert_eq!((cosigned_at(&file(), &one), cosigned_at(&file(), &two)), (Ok(30), Ok(20)));
    // Another head has none of them.
    log.append(entries(3, 1), Vec::new()).unwrap();
    log.publish().unwrap();
    assert_eq!((Checkpoint::open(&file(), &key()).unwrap().size, file().signatures().len()), (4, 1));
}

#[test]
fn what_is_published_is_every_tile_of_the_tree_and_nothing_waits_in_the_store_that_is_there() {
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 700), Vec::new()).unwrap();
    log.publish().unwrap();
    for tile in Tile::all(700) {
        let bytes = fs::read(home.folder().join(tile.path())).unwrap();
        match tile.kind() {
            TileKind::Hashes(_) => assert_eq!(bytes.len(), usize::from(tile.width()) * 32, "{}", tile.path()),
            TileKind::Entries => {
                let said = nuncio_proto::tlog::entries_of(&bytes, tile.width()).unwrap();
                assert_eq!(said, entries(tile.index() * 256, tile.width().into()), "{}", tile.path());
            }
        }
    }
    assert_eq!(log.view().tail.rows, [512]);
    assert_eq!(log.view().tail.entries, entries(512, 188));
    let note = fs::read_to_string(home.folder().join("checkpoint")).unwrap();
    assert!(note.starts_with("log.example\n700\n"), "{note}");
}

#[test]
fn unfinished_tiles_go_once_the_full_one_is_published() {
    let home = Home::new();
    let mut log = home.open();
    for size in [10, 200, 255] {
        log.append(entries(log.size(), size - log.size()), Vec::new()).unwrap();
        log.publish().unwrap();
    }
    let unfinished = |name: &str| fs::read_dir(home.folder().join(name)).map_or(0, |files| files.count());
    assert_eq!([unfinished("tile/entries/000.p"), unfinished("tile/0/000.p")], [3, 3]);
    log.append(entries(255, 3), Vec::new()).unwrap();
    assert_eq!(unfinished("tile/0/000.p"), 3, "the head that is published needs them");
    log.publish().unwrap();
    assert_eq!([unfinished("tile/entries/000.p"), unfinished("tile/0/000.p")], [0, 0]);
    assert_eq!([unfinished("tile/entries/001.p"), unfinished("tile/0/001.p"), unfinished("tile/1/000.p")], [1, 1, 1]);
}

#[test]
fn a_log_that_stops_between_two_of_its_steps_goes_on() {
    // Files of an append that never was committed: others come in their place.
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 255), Vec::new()).unwrap();
    let lost = bundle(&entries(1_000, 256)).unwrap();
    let hashes = full(TileKind::Hashes(0), 0).unwrap();
    log.view().folder.write(&[(full(TileKind::Entries, 0).unwrap(), lost), (hashes, vec![7; 8_192])]).unwrap();
    drop(log);
    let mut log = home.open();
    holds(&log, 255);
    log.append(entries(255, 1), Vec::new()).unwrap();
    drop(log);
    holds(&home.open(), 256);
    // The head is kept as signed, and its checkpoint is not published.
    let mut log = home.open();
    log.publish().unwrap();
    log.append(entries(256, 1), Vec::new()).unwrap();
    fs::write(home.folder().join("unfinished"), b"half a file").unwrap();
    log.store.commit(&[put_head(rows::LOG_SIGNED, 257, log.view().edge.root())]).unwrap();
    drop(log);
    let mut log = home.open();
    assert_eq!(log.publish().unwrap().size, 257);
}

#[test]
fn a_log_whose_store_was_rolled_back_signs_nothing() {
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 100), Vec::new()).unwrap();
    log.publish().unwrap();
    drop(log);
    home.copy_store("copy");
    let mut log = home.open();
    log.append(entries(100, 1), Vec::new()).unwrap();
    log.publish().unwrap();
    drop(log);
    home.put_back("copy");
    assert!(matches!(home.try_open(), Err(LogError::Behind { signed: 101, size: 100 })));
}

#[test]
fn a_log_that_was_rewritten_signs_nothing() {
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 3), Vec::new()).unwrap();
    log.publish().unwrap();
    let mut other = entries(0, 3);
    other[1] = b"another story".to_vec();
    let value = [&[VERSION], bundle(&other).unwrap().as_slice()].concat();
    log.store.commit(&[Op::Put { key: rows::log_entries(0), value }]).unwrap();
    drop(log);
    assert!(matches!(home.try_open(), Err(LogError::Forked(3))));
    // The head that the store keeps tells it too, when nothing is published any more.
    fs::remove_file(home.folder().join("checkpoint")).unwrap();
    assert!(matches!(home.try_open(), Err(LogError::Forked(3))));
}

#[test]
fn files_and_rows_that_are_missing_or_altered_are_named() {
    let home = Home::new();
    let mut log = home.open();
    for from in [0, 550, 570] {
        log.append(entries(from, if from == 0 { 550 } else { 20 }), Vec::new()).unwrap();
    }
    log.append(entries(590, 10), Vec::new()).unwrap();
    log.publish().unwrap();
    let gap = Op::Delete { key: rows::log_entries(550) };
    let tile = home.folder().join("tile/0/001");
    let whole = fs::read(&tile).unwrap();
    drop(log);

    fs::write(&tile, &whole[1..]).unwrap();
    assert_eq!(
        home.try_open().unwrap_err().to_string(),
        "tile/0/001 is not as it was written: put it back from a copy, every tile is as it was published"
    );
    let mut altered = whole.clone();
    altered[40] ^= 1;
    fs::write(&tile, &altered).unwrap();
    assert!(matches!(home.try_open(), Err(LogError::Damaged(_))));
    // Also when no checkpoint has the tile yet.
    fs::remove_file(home.folder().join("checkpoint")).unwrap();
    home.store().commit(&[Op::Delete { key: rows::LOG_SIGNED.to_vec() }]).unwrap();
    assert!(matches!(home.try_open(), Err(LogError::Damaged(_))));
    fs::remove_file(&tile).unwrap();
    assert!(matches!(home.try_open(), Err(LogError::Io { action: "read", .. })));
    fs::write(&tile, &whole).unwrap();
    let log = home.open();
    assert_eq!(log.view().tail.rows, [512, 550, 570, 590]);
    log.store.commit(&[gap]).unwrap();
    drop(log);
    assert!(matches!(home.try_open(), Err(LogError::Row)));
    for damaged in [vec![], vec![VERSION], vec![2, 0, 1, 7], vec![VERSION, 0, 2, 7], vec![VERSION, 0]] {
        let row = Op::Put { key: rows::log_entries(512), value: damaged };
        home.store().commit(&[row]).unwrap();
        assert!(matches!(home.try_open(), Err(LogError::Row)));
    }
}

#[test]
fn the_checkpoint_of_another_key_is_not_taken_for_the_logs() {
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 3), Vec::new()).unwrap();
    log.publish().unwrap();
    drop(log);
    let other = SigningKey::from_seed(&[4; 32]);
    let key = NoteKey::new("log.example", KeyKind::Ed25519, other.public()).unwrap();
    assert!(matches!(Log::open(home.store(), &home.folder(), key, other), Err(LogError::Checkpoint(_))));
}

#[test]
fn an_entry_that_no_bundle_holds_appends_nothing() {
    let home = Home::new();
    let mut log = home.open();
    let refused = log.append(vec![b"short".to_vec(), vec![0; 65_536]], Vec::new());
    assert!(matches!(refused, Err(LogError::Entry)));
    assert_eq!(log.size(), 0);
    drop(log);
    assert_eq!(home.open().size(), 0);
}

#[test]
fn a_file_that_cannot_be_written_appends_nothing() {
    let home = Home::new();
    let mut log = home.open();
    log.append(entries(0, 10), Vec::new()).unwrap();
    fs::write(home.folder().join("tile"), b"in the way").unwrap();
    assert!(matches!(log.append(entries(10, 300), Vec::new()), Err(LogError::Io { .. })));
    holds(&log, 10);
    fs::remove_file(home.folder().join("tile")).unwrap();
    log.append(entries(10, 300), Vec::new()).unwrap();
    holds(&log, 310);
    drop(log);
    holds(&home.open(), 310);
}

#[test]
fn rows_of_the_caller_are_in_the_commit_of_its_entries() {
    let home = Home::new();
    let mut log = home.open();
    let mine = Op::Put { key: b"Zmine".to_vec(), value: b"1".to_vec() };
    log.append(entries(0, 1), vec![mine]).unwrap();
    assert_eq!(log.store.get(b"Zmine").unwrap().unwrap(), b"1");
}
