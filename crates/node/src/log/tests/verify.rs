//! A published log, spoilt in every way there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nuncio_proto::audit::{Chain, ChainError, Event, SignedEvent};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{Tile, TileKind, bundle_of, entries_of, leaf_hash};

use super::events::{Teller, open, take};
use super::{Home, key};
use crate::log::{Events, Files, Verdict, Wrong, verify};

/// A log of three agents, published at several sizes.
fn published() -> (Home, Events) {
    let home = Home::new();
    let mut events = open(&home);
    let mut tellers = [Teller::new(1), Teller::new(2), Teller::new(3)];
    for count in [1, 85, 4] {
        for teller in &mut tellers {
            take(&mut events, &teller.tell_many(count));
        }
        events.log_mut().publish().unwrap();
    }
    (home, events)
}

fn check(home: &Home) -> Result<Verdict, Wrong> {
    verify(&home.folder(), &key(), |_| {})
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

#[test]
fn a_log_as_it_was_published_is_verified() {
    let (home, events) = published();
    let mut progress = Vec::new();
    let verdict = verify(&home.folder(), &key(), |size| progress.push(size)).unwrap();
    assert_eq!((verdict.head.size, verdict.head.root), (270, events.log().view().root_at(270).unwrap()));
    assert_eq!(progress, [256, 270]);
    assert!(verdict.other_stories.is_empty());
    let agents: BTreeSet<_> = verdict.chains.keys().copied().collect();
    assert_eq!(agents.len(), 3);
    let is_whole = |chains: &Vec<Chain>| chains.len() == 1 && chains[0].head().is_some_and(|head| head.seq == 89);
    assert!(verdict.chains.values().all(is_whole));
}

#[test]
fn a_thousand_turned_bits_anywhere_are_all_caught() {
    let (home, _events) = published();
    let files = files(&home.folder());
    assert!(files.len() > 6, "{files:?}");
    let sizes: Vec<usize> = files.iter().map(|file| fs::read(file).unwrap().len()).collect();
    let all: usize = sizes.iter().sum();
    // Every file has its share, and each at least ten.
    for (file, size) in files.iter().zip(sizes) {
        let whole = fs::read(file).unwrap();
        let turns = (size * 1_000 / all).max(10);
        for turn in 0..turns {
            let bit = (turn * 7_919 + 13) * size * 8 / (turns * 7_919 + 14) % (size * 8);
            let mut turned = whole.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, turned).unwrap();
            assert!(check(&home).is_err(), "bit {bit} of {}", file.display());
        }
        fs::write(file, whole).unwrap();
    }
    check(&home).unwrap();
}

#[test]
fn every_file_that_is_missing_cut_or_strange_is_named() {
    let (home, _events) = published();
    let needed: BTreeSet<PathBuf> = Tile::all(270).map(|tile| home.folder().join(tile.path())).collect();
    for file in files(&home.folder()) {
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert!(check(&home).is_err(), "{} is cut", file.display());
        fs::remove_file(&file).unwrap();
        let missed = matches!(check(&home), Err(Wrong::Io { path, .. }) if path == file);
        assert_eq!(missed, needed.contains(&file) || file.ends_with("checkpoint"), "{}", file.display());
        fs::write(&file, whole).unwrap();
    }
    for stranger in ["readme", "tile/0/000.p/300", "tile/9/000", "tile/0/77"] {
        let path = home.folder().join(stranger);
        fs::write(&path, b"?").unwrap_or_else(|_| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"?").unwrap();
        });
        assert!(matches!(check(&home), Err(Wrong::File(it)) if it == path), "{stranger}");
        fs::remove_file(&path).unwrap();
    }
    check(&home).unwrap();
}

/// A log that its owner has written anew, signatures of the log and all, but without its agents' keys.
#[test]
fn a_log_that_leaves_an_event_out_names_the_entry_behind_it() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(5);
    let mut log = home.open();
    let kept = [0, 1, 3, 4].map(|at: usize| told[at].as_bytes().to_vec());
    log.append(kept.into(), Vec::new()).unwrap();
    log.publish().unwrap();
    let gap = ChainError::Gap { expected: 2, found: 3 };
    assert!(matches!(check(&home), Err(Wrong::Chain(2, error)) if error == gap));
}

#[test]
fn entries_that_no_agent_has_signed_are_named() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let mut forged = a.tell().as_bytes().to_vec();
    let genuine = forged.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut log = home.open();
    log.append(vec![genuine, forged], Vec::new()).unwrap();
    log.publish().unwrap();
    assert!(matches!(check(&home), Err(Wrong::Entry(1, _))));
}

#[test]
fn two_stories_are_told_of() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(2);
    let other = a.sign(Event { at: UnixMillis(told[1].event().at.0 - 1), ..told[1].event().clone() });
    let elsewhere = a.sign(Event { prev: [9; 32], ..a.event() });
    let mut events = open(&home);
    take(&mut events, &[told.as_slice(), &[other, elsewhere, a.tell()]].concat());
    events.log_mut().publish().unwrap();
    let verdict = check(&home).unwrap();
    assert_eq!(verdict.other_stories, [2, 3]);
    assert_eq!(verdict.chains.values().next().unwrap(), &[a.chain]);
}

#[test]
fn who_names_another_event_than_it_told_has_told_two_stories() {
    let home = Home::new();
    let mut a = Teller::new(1);
    let told = a.tell_many(2);
    // Nothing is told under its number but this.
    let elsewhere = a.sign(Event { prev: [9; 32], ..a.event() });
    let mut events = open(&home);
    take(&mut events, &[told.as_slice(), &[elsewhere]].concat());
    events.log_mut().publish().unwrap();
    assert_eq!(check(&home).unwrap().other_stories, [2]);
}

#[test]
fn a_bundle_of_other_entries_has_other_hashes() {
    let (home, _events) = published();
    let tile = Tile::in_tree(TileKind::Entries, 0, 270).unwrap();
    let path = home.folder().join(tile.path());
    let bundle = fs::read(&path).unwrap();
    let mut entries = entries_of(&bundle, 256).unwrap();
    // Two entries of different agents change places: each chain is whole, the tree is another.
    entries.swap(87, 88);
    fs::write(&path, bundle_of(entries).unwrap()).unwrap();
    assert!(matches!(check(&home), Err(Wrong::Tile(it)) if it == "tile/0/000"));
}

/// Writes a log of these events, whoever told them.
fn forge(events: &[SignedEvent]) -> Home {
    let home = Home::new();
    let mut log = home.open();
    log.append(events.iter().map(|event| event.as_bytes().to_vec()).collect(), Vec::new()).unwrap();
    log.publish().unwrap();
    home
}

#[test]
fn no_log_can_frame_an_honest_agent() {
    let mut a = Teller::new(1);
    let told = a.tell_many(3);
    let [zero, one, two] = <[SignedEvent; 3]>::try_from(told).unwrap();
    let twice = forge(&[zero.clone(), one.clone(), two.clone(), one.clone()]);
    assert!(matches!(check(&twice), Err(Wrong::Twice(3))));
    let other = a.sign(Event { at: UnixMillis(one.event().at.0 - 1), ..one.event().clone() });
    let evidence_twice = forge(&[zero.clone(), one.clone(), other.clone(), other]);
    assert!(matches!(check(&evidence_twice), Err(Wrong::Twice(3))));
    // An event of a count that is over, which nobody had seen.
    let anew = Teller::new(1);
    let mut event = anew.event();
    event.epoch += 1;
    let first = anew.sign(event);
    let late = forge(&[zero.clone(), one, first.clone(), two]);
    assert!(matches!(check(&late), Err(Wrong::OutOfPlace(3))));
    let verdict = check(&forge(&[zero, first])).unwrap();
    assert_eq!(verdict.chains.values().next().unwrap().len(), 2, "who counts anew is seen to");
}

#[test]
fn a_log_that_goes_on_while_it_is_verified_is_verified() {
    let (home, mut events) = published();
    let mut more = Teller::new(4);
    take(&mut events, &more.tell_many(300));
    assert_eq!(check(&home).unwrap().head.size, 270);
    fs::write(home.folder().join("unfinished"), b"half").unwrap();
    assert_eq!(check(&home).unwrap().head.size, 270);
    // What is behind the head begins with what is in front of it, or is no part of the log.
    let tile = home.folder().join("tile/0/001");
    let mut hashes = fs::read(&tile).unwrap();
    hashes[0] ^= 1;
    fs::write(&tile, hashes).unwrap();
    assert!(matches!(check(&home), Err(Wrong::Tile(it)) if it == "tile/0/001"));
}

#[test]
fn entries_are_read_as_their_head_has_them() {
    let (home, _events) = published();
    let files = Files::folder(&home.folder());
    let (_, head) = files.checkpoint(&key()).unwrap();
    let first = files.entries(0, &head).unwrap();
    assert_eq!((first.len(), files.entries(250, &head).unwrap()), (256, first[250..].to_vec()));
    // An entry and its hash that belong together, in no tree.
    let other = Teller::new(9).tell().as_bytes().to_vec();
    let mut entries = first.clone();
    entries[3] = other;
    let mut hashes = fs::read(home.folder().join("tile/0/000")).unwrap();
    hashes[96..128].copy_from_slice(&leaf_hash(&entries[3]));
    fs::write(home.folder().join("tile/0/000"), hashes).unwrap();
    fs::write(home.folder().join("tile/entries/000"), bundle_of(entries.iter().map(Vec::as_slice)).unwrap()).unwrap();
    assert!(files.entries(0, &head).is_err());
}

#[test]
fn what_is_no_plain_file_of_its_length_is_not_read() {
    let (home, _events) = published();
    let path = home.folder().join("tile/0/001.p/5");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(matches!(check(&home), Err(Wrong::File(it)) if it == path));
    fs::remove_file(&path).unwrap();
    let elsewhere = home.folder().join("../elsewhere");
    fs::write(&elsewhere, &fs::read(home.folder().join("tile/0/001.p/14")).unwrap()[..5 * 32]).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(matches!(check(&home), Err(Wrong::File(it)) if it == path), "what it names is as it should be");
    fs::remove_file(&path).unwrap();
    let checkpoint = home.folder().join("checkpoint");
    let mut note = fs::read(&checkpoint).unwrap();
    note.resize(200_000, b'a');
    fs::write(&checkpoint, note).unwrap();
    assert!(matches!(check(&home), Err(Wrong::File(it)) if it == checkpoint));
}
