//! A turn of the epoch: cut at each step, and the old key gone for good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use nuncio_proto::crypto;
use nuncio_proto::secret::Key;

use super::*;
use crate::keys::Kek;
use crate::rest::ROW_OVERHEAD;
use crate::sled::SledEngine;
use crate::store::Store;

const ROWS: u32 = 600;

fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

fn key_of_row(n: u32) -> Vec<u8> {
    [b"s", n.to_be_bytes().as_slice()].concat()
}

fn value_of_row(n: u32) -> Vec<u8> {
    format!("state of session {n}").into_bytes()
}

fn fill(engine: &dyn Engine) {
    let rows: Vec<_> = (0..ROWS).map(|n| Op::Put { key: key_of_row(n), value: value_of_row(n) }).collect();
    engine.commit(&rows).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_name() != "reserve" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every step's return has synced what it wrote, so a copy of the files is what a cut there would leave.
#[test]
fn a_turn_cut_at_any_step_is_finished_by_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fill(&Store::create(&home, &kek()).unwrap());

    let mut cuts = Vec::new();
    {
        let mut keys = KeyFile::open(&home.join("keys"), &kek()).unwrap();
        let vault = Vault::new(SledEngine::open(&home.join("db")).unwrap(), keys.epochs().clone());
        let sealed = turn(&vault, &mut keys, &mut |step| {
            let copy = dir.path().join(format!("cut-{}", cuts.len()));
            copy_dir(&home, &copy);
            cuts.push((step, copy));
        });
        assert_eq!(sealed.unwrap(), u64::from(ROWS) + 1, "every row and the format record");
    }
    let steps: Vec<_> = cuts.iter().map(|(step, _)| *step).collect();
    use TurnStep::*;
    let batches = usize::try_from(ROWS).unwrap() / ROWS_PER_BATCH + 1;
    let expected: Vec<_> = std::iter::once(BothKeysWritten)
        .chain(std::iter::repeat_n(BatchSealed, batches))
        .chain([NoneNamesOld, NewKeyInOneSlot, NewKeyInBothSlots])
        .collect();
    assert_eq!(steps, expected);

    for (step, copy) in cuts {
        let store = Store::open(&copy, &kek()).unwrap_or_else(|e| panic!("{step:?}: {e}"));
        assert_eq!(store.epoch(), 2, "{step:?}");
        for n in 0..ROWS {
            assert_eq!(store.get(&key_of_row(n)).unwrap().unwrap(), value_of_row(n), "{step:?}");
        }
        let checkup = store.check().unwrap();
        assert_eq!((checkup.bad, checkup.rows[&b's']), (0, u64::from(ROWS)), "{step:?}");
    }
}

/// A value that looks like one of ours, wherever it lies in the engine's files.
struct OldRow {
    key: Vec<u8>,
    nonce: [u8; 24],
    body: Vec<u8>,
    tag: [u8; 16],
}

fn rows_in(engine: &SledEngine) -> Vec<OldRow> {
    let mut rows = Vec::new();
    engine
        .scan(b"s", &mut |key, row| {
            let (nonce, rest) = row[5..].split_first_chunk().unwrap();
            let (body, tag) = rest.split_last_chunk().unwrap();
            rows.push(OldRow { key: key.to_vec(), nonce: *nonce, body: body.to_vec(), tag: *tag });
            Ok(())
        })
        .unwrap();
    rows
}

fn opens_with(row: &OldRow, key: &[u8; 32], epoch: u32) -> bool {
    let ad = [b"nuncio/1 row".as_slice(), &[1], &epoch.to_be_bytes(), &row.key].concat();
    crypto::xopen_in_place(key, &row.nonce, &ad, &mut row.body.clone(), &row.tag).is_ok()
}

fn files_under(dir: &Path) -> Vec<Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files_under(&path) } else { vec![fs::read(path).unwrap()] }
        })
        .collect()
}

#[test]
fn a_stolen_disk_with_todays_keys_opens_nothing_of_a_past_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let store = Store::create(&home, &kek()).unwrap();
    fill(&store);
    drop(store);
    let keys_then = fs::read(home.join("keys")).unwrap();
    let old_key = KeyFile::open(&home.join("keys"), &kek()).unwrap().epochs().current().clone();
    let old_rows = rows_in(&SledEngine::open(&home.join("db")).unwrap());
    assert_eq!(old_rows.len(), usize::try_from(ROWS).unwrap());
    assert!(old_rows.iter().all(|row| opens_with(row, old_key.key().expose(), 1)), "before the turn they open");

    assert_eq!(Store::open(&home, &kek()).unwrap().turn_epoch().unwrap(), u64::from(ROWS) + 1);

    // The engine still holds the bytes: without the turn a thief would read them.
    let files = files_under(&home.join("db"));
    let still_there = old_rows
        .iter()
        .filter(|row| files.iter().any(|file| file.windows(row.tag.len()).any(|bytes| bytes == row.tag)))
        .count();
    assert!(still_there > 0, "sled keeps superseded rows; if it did not, this test would show nothing");

    // Today's keys, every one of them: both slots, each with all that it opens.
    let keys_now = fs::read(home.join("keys")).unwrap();
    for damaged in [0, 4096] {
        let copy = dir.path().join(format!("keys-{damaged}"));
        let mut bytes = keys_now.clone();
        bytes[damaged] ^= 1;
        fs::write(&copy, bytes).unwrap();
        let stolen = KeyFile::open(&copy, &kek()).unwrap();
        assert_eq!(stolen.epochs().find(1), None);
        let key = stolen.epochs().current().key().expose();
        for row in &old_rows {
            assert!(!opens_with(row, key, 1) && !opens_with(row, key, 2));
        }
    }
    // And nothing of what the old slots held is left in the file: no run of its wrapped keys' bytes.
    let wrapped_then = &keys_then[8 + 2 + 8 + 2 + 101..8 + 2 + 8 + 2 + 101 + 76];
    assert!(!keys_now.windows(32).any(|now| wrapped_then.windows(32).any(|then| now == then)));
}

#[test]
fn letters_go_on_during_a_turn_and_are_sealed_under_the_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut keys = KeyFile::create(&dir.path().join("keys"), &kek()).unwrap();
    let vault = Vault::new(crate::memory::MemoryEngine::new(), keys.epochs().clone());
    fill(&vault);
    let mut written = 0;
    turn(&vault, &mut keys, &mut |step| {
        if step == TurnStep::BatchSealed {
            written += 1;
            let ops = [
                Op::Put { key: key_of_row(written), value: b"written meanwhile".to_vec() },
                Op::Delete { key: key_of_row(ROWS - written) },
            ];
            vault.commit(&ops).unwrap();
        }
    })
    .unwrap();
    for n in 1..=written {
        assert_eq!(vault.get(&key_of_row(n)).unwrap().unwrap(), b"written meanwhile");
        assert_eq!(vault.get(&key_of_row(ROWS - n)).unwrap(), None);
    }
    let row = vault.engine().get(&key_of_row(1)).unwrap().unwrap();
    assert_eq!((row.len(), &row[..5]), (ROW_OVERHEAD + 17, [1, 0, 0, 0, 2].as_slice()));
}
