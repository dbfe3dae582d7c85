//! The key file through torn writes, damage, wrong keys and changes of hands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use zeroize::Zeroizing;

use super::*;

const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };

fn own_key(byte: u8) -> Kek {
    Kek::from_key(Key::new([byte; 32]))
}

fn passphrase(text: &str) -> Kek {
    Kek::passphrase_with_cost(Zeroizing::new(text.as_bytes().to_vec()), CHEAP)
}

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    fn with(bytes: &[u8]) -> Self {
        let home = Self::new();
        fs::write(home.path(), bytes).unwrap();
        home
    }

    fn create(&self, kek: &Kek) -> KeyFile {
        KeyFile::create(&self.path(), kek).unwrap()
    }

    fn open(&self, kek: &Kek) -> Result<KeyFile, StoreError> {
        KeyFile::open(&self.path(), kek)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

fn fault(result: Result<KeyFile, StoreError>) -> KeyFault {
    match result.unwrap_err() {
        StoreError::Key { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn the_right_key_opens_and_another_is_told_what_would() {
    let home = Home::new();
    let created = home.create(&own_key(1)).epochs().clone();
    assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.open(&own_key(1)).unwrap().epochs(), &created);
    for wrong in [own_key(2), passphrase("guess")] {
        assert_eq!(fault(home.open(&wrong)), KeyFault::WrongKey("a key file".into()));
    }
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_opens() {
    let home = Home::new();
    home.create(&passphrase("correct horse"));
    let error = home.open(&passphrase("correct hors")).unwrap_err();
    assert!(error.to_string().contains("the passphrase or key does not open this store"), "{error}");
    // The cost is the file's, not the caller's.
    let expensive = Kek::passphrase(Zeroizing::new(b"correct horse".to_vec()));
    assert!(home.open(&expensive).is_ok());
}

#[test]
fn a_damaged_slot_is_passed_over_and_made_whole() {
    let home = Home::new();
    let created = home.create(&own_key(1)).epochs().clone();
    let whole = home.bytes();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let hurt = Home::with(&bytes);
        assert_eq!(hurt.open(&own_key(1)).unwrap().epochs(), &created, "byte {at}");
        let healed = hurt.bytes();
        for slot in healed.chunks(SLOT_LEN) {
            assert!(matches!(Slot::decode(slot.try_into().unwrap()), SlotRead::Whole(_)), "byte {at}");
        }
    }
}

#[test]
fn damage_to_both_slots_truncation_and_newer_forms_are_named() {
    let home = Home::new();
    home.create(&own_key(1));
    let whole = home.bytes();

    let mut both = whole.clone();
    both[9] ^= 1;
    both[SLOT_LEN + 9] ^= 1;
    assert_eq!(fault(Home::with(&both).open(&own_key(1))), KeyFault::BothSlotsDamaged);

    for len in [0, 1, SLOT_LEN, whole.len() - 1] {
        let cut = Home::with(&whole[..len]);
        assert_eq!(fault(cut.open(&own_key(1))), KeyFault::WrongLength(len.try_into().unwrap()));
        assert_eq!(cut.bytes(), whole[..len], "nothing is overwritten");
    }

    let mut newer = whole.clone();
    newer[9] = 2;
    let checksum = nuncio_proto::crypto::sha256(&[&newer[..SLOT_LEN - 32]]);
    newer[SLOT_LEN - 32..SLOT_LEN].copy_from_slice(&checksum);
    let error = Home::with(&newer).open(&own_key(1)).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
}

/// Every way in which the power can cut a write of one slot: its first sectors new, the others old.
fn torn_between(before: &[u8], after: &[u8]) -> Vec<Vec<u8>> {
    (0..=SLOT_LEN / 512)
        .map(|sectors| {
            let mut bytes = before.to_vec();
            for slot in 0..2 {
                let range = slot * SLOT_LEN..slot * SLOT_LEN + sectors * 512;
                bytes[range.clone()].copy_from_slice(&after[range]);
            }
            bytes
        })
        .collect()
}

#[test]
fn a_turn_survives_a_cut_within_every_write() {
    let home = Home::new();
    let mut keys = home.create(&own_key(1));
    let old = keys.epochs().clone();
    let before = home.bytes();
    keys.begin_turn().unwrap();
    let begun = home.bytes();
    let both = keys.epochs().clone();
    let mut one_slot = Vec::new();
    keys.finish_turn(|| one_slot = home.bytes()).unwrap();
    let new = keys.epochs().clone();
    let finished = home.bytes();

    assert_eq!(both.old(), Some(old.current()));
    assert_eq!((new.current(), new.old()), (both.current(), None));
    for (from, to, then) in
        [(&before, &begun, [&old, &both]), (&begun, &one_slot, [&both, &new]), (&one_slot, &finished, [&new, &new])]
    {
        for torn in torn_between(from, to) {
            let opened = Home::with(&torn).open(&own_key(1)).unwrap();
            assert!(then.contains(&opened.epochs()));
        }
    }
}

#[test]
fn after_a_turn_neither_slot_knows_the_old_key() {
    let home = Home::new();
    let mut keys = home.create(&own_key(1));
    let old = keys.epochs().current().clone();
    keys.begin_turn().unwrap();
    let mut cut = Vec::new();
    keys.finish_turn(|| cut = home.bytes()).unwrap();
    // At the end, and also when the power went between the two writes and the file was opened since.
    let levelled = Home::with(&cut);
    levelled.open(&own_key(1)).unwrap();
    for bytes in [home.bytes(), levelled.bytes()] {
        for damaged in 0..2 {
            let mut bytes = bytes.clone();
            bytes[damaged * SLOT_LEN] ^= 1;
            let opened = Home::with(&bytes).open(&own_key(1)).unwrap();
            assert_eq!(opened.epochs().find(old.epoch()), None);
        }
    }
}

#[test]
fn rekey_adds_or_replaces_and_survives_a_cut_within_every_write() {
    let home = Home::new();
    let mut keys = home.create(&own_key(1));
    let epochs = keys.epochs().clone();
    keys.rekey(&passphrase("two"), false).unwrap();
    for kek in [own_key(1), passphrase("two")] {
        assert_eq!(home.open(&kek).unwrap().epochs(), &epochs);
    }

    let before = home.bytes();
    let idle = keys.newest.other();
    keys.rekey(&own_key(3), true).unwrap();
    let after = home.bytes();
    let idle_range = if idle == SlotIndex::First { 0..SLOT_LEN } else { SLOT_LEN..2 * SLOT_LEN };
    let mut halfway = before.clone();
    halfway[idle_range.clone()].copy_from_slice(&after[idle_range]);
    for torn in torn_between(&before, &halfway).into_iter().chain(torn_between(&halfway, &after)) {
        let opened = [own_key(1), own_key(3)].iter().find_map(|kek| Home::with(&torn).open(kek).ok()).unwrap();
        assert_eq!(opened.epochs(), &epochs);
    }
    for damaged in 0..2 {
        let mut bytes = after.clone();
        bytes[damaged * SLOT_LEN] ^= 1;
        for dropped in [own_key(1), passphrase("two")] {
            assert!(matches!(fault(Home::with(&bytes).open(&dropped)), KeyFault::WrongKey(_)));
        }
        assert_eq!(Home::with(&bytes).open(&own_key(3)).unwrap().epochs(), &epochs);
    }
}

#[test]
fn a_dropped_kek_with_an_old_copy_of_the_file_opens_no_later_epoch() {
    let home = Home::new();
    let mut keys = home.create(&own_key(1));
    let stolen_root = home.open(&own_key(1)).unwrap().root;
    keys.rekey(&own_key(2), true).unwrap();
    keys.begin_turn().unwrap();
    assert_eq!(keys.slot.open_epochs(&stolen_root), None);
}

#[test]
fn recipients_are_bounded() {
    let home = Home::new();
    let mut keys = home.create(&own_key(0));
    for n in 1..slot::MAX_RECIPIENTS {
        keys.rekey(&own_key(n.try_into().unwrap()), false).unwrap();
    }
    let full = keys.rekey(&own_key(99), false).unwrap_err();
    assert!(matches!(full, StoreError::Key { fault: KeyFault::TooManyRecipients(8), .. }), "{full}");
    assert!(home.open(&own_key(7)).is_ok());
}

#[test]
fn a_file_that_asks_for_all_memory_is_refused() {
    let home = Home::new();
    let keys = home.create(&passphrase("x"));
    let mut slot = keys.slot.clone();
    slot.set_generation(99);
    let mut recipients = slot.recipients().to_vec();
    recipients[0].cost.memory_kib = u32::MAX;
    let hostile = Slot::seal(99, recipients, &keys.root, keys.epochs.newest_first()).unwrap().encode();
    assert_eq!(fault(Home::with(&[hostile, hostile].concat()).open(&passphrase("x"))), KeyFault::BadCost);
}

#[test]
fn key_files_are_private_whole_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    let made = Kek::create_key_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Kek::create_key_file(&path), Err(StoreError::Io { .. })));
    let home = Home::new();
    home.create(&made);
    assert!(home.open(&Kek::read_key_file(&path).unwrap()).is_ok());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let readable = Kek::read_key_file(&path).unwrap_err();
    assert!(matches!(readable, StoreError::Key { fault: KeyFault::OthersCanRead(0o640), .. }), "{readable}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for len in [0, 31, 33] {
        fs::write(&path, vec![1; len]).unwrap();
        assert!(matches!(Kek::read_key_file(&path), Err(StoreError::Key { fault: KeyFault::NotAKey, .. })));
    }
}

#[test]
fn nothing_secret_is_printed() {
    let home = Home::new();
    let keys = home.create(&own_key(0xAB));
    let printed = format!("{:?} {:?}", own_key(0xAB), keys.epochs());
    assert!(!printed.contains("171"), "{printed}");
    assert_eq!(format!("{:?}", passphrase("hush")), "Kek(..)");
    let key = keys.epochs().current().key().expose();
    let dump = format!("{keys:?}");
    assert!(!dump.contains(&format!("{}, {}, {}, {}", key[0], key[1], key[2], key[3])));
}

#[test]
fn the_file_is_two_slots_long() {
    assert_eq!(FILE_LEN, u64::try_from(2 * SLOT_LEN).unwrap());
}
