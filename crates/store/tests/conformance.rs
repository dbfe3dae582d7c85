//! One suite for every engine: what `Engine` promises short of a crash (those are in `crash.rs` and in the power-cut harness).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use nuncio_proto::step::Op;
use nuncio_store::{
    Engine, EpochKeys, MAX_KEY_LEN, MAX_VALUE_LEN, MemoryEngine, Refusal, SledEngine, StoreError, Vault,
};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn put(key: &[u8], value: &[u8]) -> Op {
    Op::Put { key: key.to_vec(), value: value.to_vec() }
}

fn delete(key: &[u8]) -> Op {
    Op::Delete { key: key.to_vec() }
}

fn rows(engine: &dyn Engine, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    engine
        .scan(prefix, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    rows
}

fn conforms(engine: &dyn Engine) {
    writes_are_read(engine);
    scans_are_ordered_and_bounded(engine);
    the_later_write_holds(engine);
    a_visitor_ends_the_scan(engine);
    refusals_touch_nothing(engine);
}

fn writes_are_read(engine: &dyn Engine) {
    assert_eq!(engine.get(b"absent").unwrap(), None);
    engine.commit(&[]).unwrap();
    engine.commit(&[put(b"r1", b"one"), put(b"r2", b"")]).unwrap();
    assert_eq!(engine.get(b"r1").unwrap().unwrap(), b"one");
    assert_eq!(engine.get(b"r2").unwrap().unwrap(), b"");
    engine.commit(&[delete(b"r1"), delete(b"absent"), put(b"r2", b"two")]).unwrap();
    assert_eq!(engine.get(b"r1").unwrap(), None);
    assert_eq!(engine.get(b"r2").unwrap().unwrap(), b"two");
}

fn scans_are_ordered_and_bounded(engine: &dyn Engine) {
    let keys: [&[u8]; 6] = [b"p\x00", b"p", b"p\xff\xff", b"q", b"p\x7f", b"o\xff"];
    engine.commit(&keys.map(|key| put(key, key))).unwrap();
    let found: Vec<_> = rows(engine, b"p").into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, [&b"p"[..], b"p\x00", b"p\x7f", b"p\xff\xff"]);
    assert_eq!(rows(engine, b"p\xff").len(), 1);
    assert!(rows(engine, b"none").is_empty());
    assert!(rows(engine, b"").len() >= keys.len());
}

fn the_later_write_holds(engine: &dyn Engine) {
    engine.commit(&[put(b"l1", b"a"), put(b"l1", b"b"), put(b"l2", b"a"), delete(b"l2")]).unwrap();
    assert_eq!(engine.get(b"l1").unwrap().unwrap(), b"b");
    assert_eq!(engine.get(b"l2").unwrap(), None);
    engine.commit(&[delete(b"l1"), put(b"l1", b"c")]).unwrap();
    assert_eq!(engine.get(b"l1").unwrap().unwrap(), b"c");
}

fn a_visitor_ends_the_scan(engine: &dyn Engine) {
    engine.commit(&[put(b"v1", b""), put(b"v2", b""), put(b"v3", b"")]).unwrap();
    let mut seen = 0;
    let ended = engine.scan(b"v", &mut |_, _| {
        seen += 1;
        if seen == 2 { Err(StoreError::Stopped) } else { Ok(()) }
    });
    assert!(matches!(ended, Err(StoreError::Stopped)));
    assert_eq!(seen, 2);
    engine.commit(&[delete(b"v1")]).expect("a visitor's error is not the engine's");
}

fn refusals_touch_nothing(engine: &dyn Engine) {
    let long_key = vec![b'k'; MAX_KEY_LEN + 1];
    let long_value = vec![0; MAX_VALUE_LEN + 1024];
    for (bad, reason) in [
        (put(b"", b"x"), Refusal::EmptyKey),
        (put(&long_key, b"x"), Refusal::KeyTooLong { len: MAX_KEY_LEN + 1, max: MAX_KEY_LEN }),
        (
            put(b"t", &long_value),
            Refusal::ValueTooLong { key: "74".into(), len: MAX_VALUE_LEN + 1024, max: MAX_VALUE_LEN },
        ),
    ] {
        let refused = engine.commit(&[put(b"t-with", b"x"), bad]).unwrap_err();
        assert!(matches!(&refused, StoreError::Refused(found) if *found == reason), "{refused}");
        assert_eq!(engine.get(b"t-with").unwrap(), None);
    }
    let widest = vec![7; MAX_VALUE_LEN];
    engine.commit(&[put(&vec![b'k'; MAX_KEY_LEN], &widest)]).unwrap();
    assert_eq!(engine.get(&vec![b'k'; MAX_KEY_LEN]).unwrap().unwrap(), widest);
}

#[test]
fn memory_conforms() {
    conforms(&MemoryEngine::new());
}

#[test]
fn sled_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&SledEngine::open(&dir.path().join("db")).unwrap());
}

#[test]
fn a_vault_over_each_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&Vault::new(MemoryEngine::new(), EpochKeys::generate().unwrap()));
    conforms(&Vault::new(SledEngine::open(&dir.path().join("db")).unwrap(), EpochKeys::generate().unwrap()));
}

#[test]
fn a_durable_clone_of_memory_stands_apart() {
    let engine = MemoryEngine::new();
    engine.commit(&[put(b"a", b"1")]).unwrap();
    let copy = engine.clone_durable();
    engine.commit(&[put(b"a", b"2")]).unwrap();
    assert_eq!(copy.get(b"a").unwrap().unwrap(), b"1");
}

/// Few keys, so that they collide; values from nothing to what lies in many chunks.
fn any_commit() -> impl Strategy<Value = Vec<Op>> {
    let key = prop::collection::vec(prop::sample::select(b"ab\xff".to_vec()), 1..4);
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..600),
        1 => (any::<u8>(), 4090_usize..4100).prop_map(|(fill, len)| vec![fill; len]),
        1 => (any::<u8>(), 4090_usize..200_000).prop_map(|(fill, len)| vec![fill; len]),
    ];
    let op = prop_oneof![
        3 => (key.clone(), value).prop_map(|(key, value)| Op::Put { key, value }),
        1 => key.prop_map(|key| Op::Delete { key }),
    ];
    prop::collection::vec(op, 0..12)
}

fn apply(model: &mut Model, commit: &[Op]) {
    for op in commit {
        match op {
            Op::Put { key, value } => model.insert(key.clone(), value.clone()),
            Op::Delete { key } => model.remove(key),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each engine agrees with a map after every commit, and sled after every opening.
    #[test]
    fn engines_agree_with_a_map(runs in prop::collection::vec(prop::collection::vec(any_commit(), 1..12), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryEngine::new();
        let mut model = Model::new();
        for run in runs {
            let sled = SledEngine::open(&dir.path().join("db")).unwrap();
            prop_assert_eq!(rows(&sled, b""), model.clone().into_iter().collect::<Vec<_>>());
            for commit in run {
                apply(&mut model, &commit);
                sled.commit(&commit).unwrap();
                memory.commit(&commit).unwrap();
            }
            let expected: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(&rows(&sled, b""), &expected);
            prop_assert_eq!(&rows(&memory, b""), &expected);
        }
    }
}

/// What sled keeps in `blobs/` does not survive a power cut (`sled/rows.rs`), so nothing may ever lie there: the longest keys, the most
/// awkward values, leaves that split and merge.
#[test]
fn sled_never_keeps_a_page_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(&dir.path().join("db")).unwrap();
    let blobs = || std::fs::read_dir(dir.path().join("db/blobs")).unwrap().count();
    let key = |n: u32| {
        // Differing at the front, so that no common prefix shortens them.
        let mut key = n.wrapping_mul(0x9E37_79B9).to_be_bytes().to_vec();
        key.resize(MAX_KEY_LEN, b'k');
        key
    };
    for round in 0..4_u8 {
        for batch in (0..1200).collect::<Vec<u32>>().chunks(150) {
            let len = [4096, 4097, 8000, 4096][usize::from(round)];
            engine.commit(&batch.iter().map(|n| put(&key(*n), &vec![round; len])).collect::<Vec<_>>()).unwrap();
            assert_eq!(blobs(), 0);
        }
        let thinned: Vec<_> = (0..1200).filter(|n| n % 6 != 0).map(|n| delete(&key(n))).collect();
        engine.commit(&thinned).unwrap();
        assert_eq!(blobs(), 0);
    }
    engine.commit(&(0..20).map(|n| put(&key(n), &vec![9; MAX_VALUE_LEN])).collect::<Vec<_>>()).unwrap();
    assert_eq!(blobs(), 0);
}

/// A reader beside the writer sees one value or the other of a long row, never a mixture.
#[test]
fn a_long_row_is_read_whole_beside_commits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(&dir.path().join("db")).unwrap();
    engine.commit(&[put(b"r", &[0; 50_000])]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=60_u8 {
                engine.commit(&[put(b"r", &vec![n; 30_000 + usize::from(n) * 997])]).unwrap();
            }
        });
        while !writer.is_finished() {
            let mut found = vec![engine.get(b"r").unwrap().unwrap()];
            engine
                .scan(b"", &mut |_, value| {
                    found.push(value.to_vec());
                    Ok(())
                })
                .unwrap();
            for value in found {
                let n = value[0];
                assert!(value.iter().all(|byte| *byte == n));
                assert_eq!(value.len(), if n == 0 { 50_000 } else { 30_000 + usize::from(n) * 997 });
            }
        }
    });
}
