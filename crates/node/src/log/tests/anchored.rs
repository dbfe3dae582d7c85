//! Anchors in a log's folder, and whatever else may lie in their place.

use std::fs;
use std::path::PathBuf;

use nuncio_proto::crypto;
use nuncio_proto::tlog::{Attestation, CheckpointError, Detached, NoteError, Timestamp, TimestampError};

use super::events::{Teller, open, take};
use super::*;
use crate::log::{Anchored, Files, verify, verify_against};

struct Scene {
    home: Home,
    events: Events,
    teller: Teller,
}

impl Scene {
    /// A log of so many entries, published.
    fn new(count: usize) -> Self {
        let home = Home::new();
        let events = open(&home);
        let mut scene = Self { home, events, teller: Teller::new(1) };
        scene.grow(count);
        scene
    }

    fn grow(&mut self, count: usize) {
        take(&mut self.events, &self.teller.tell_many(count));
        self.events.log_mut().publish().unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.folder().join("anchor").join(name)
    }

    fn view(&self) -> &View {
        self.events.log().view()
    }

    /// Anchors the published head.
    fn anchor(&self) -> u64 {
        let note = self.view().published().unwrap().unwrap().to_string();
        self.put(self.view().size(), note.as_bytes(), note.as_bytes())
    }

    /// A note, and a timestamp of other bytes.
    fn put(&self, size: u64, note: &[u8], of: &[u8]) -> u64 {
        let stamp = Detached { digest: crypto::sha256(&[of]), timestamp: Timestamp::attested(Attestation::Bitcoin(7)) };
        let view = self.view();
        view.put_anchor(AnchorFile::Note(size), note).unwrap();
        view.put_anchor(AnchorFile::Timestamp(size), &stamp.to_bytes()).unwrap();
        view.put_anchor(AnchorFile::Newest, format!("{size}\n").as_bytes()).unwrap();
        size
    }

    fn verdict(&self) -> Result<Verdict, Wrong> {
        verify(&self.home.folder(), &key(), |_| {})
    }

    fn fault(&self) -> (String, AnchorFault) {
        match self.verdict() {
            Err(Wrong::Anchor(path, fault)) => (path, fault),
            other => panic!("{other:?}"),
        }
    }
}

/// contracts/log.md G22.
#[test]
fn the_newest_anchor_is_told_and_every_one_is_of_this_log() {
    let mut scene = Scene::new(3);
    assert_eq!(scene.verdict().unwrap().anchor, None);
    scene.anchor();
    scene.grow(297);
    assert_eq!(scene.anchor(), 300);
    scene.grow(9);
    let anchor = scene.verdict().unwrap().anchor.unwrap();
    assert_eq!((anchor.head.size, anchor.head.root), (300, scene.view().root_at(300).unwrap()));
    let digest = crypto::sha256(&[anchor.note.to_string().as_bytes()]);
    assert_eq!(anchor.attested.len(), 1);
    assert_eq!(anchor.attested[0].message, digest);
    // A node that was stopped before it wrote the last of an anchor's files.
    fs::remove_file(scene.file("3.ots")).unwrap();
    fs::write(scene.file("unfinished"), "half").unwrap();
    assert!(scene.verdict().is_ok());
    fs::remove_file(scene.file("newest")).unwrap();
    assert_eq!(scene.verdict().unwrap().anchor, None);
}

/// contracts/log.md G22: an anchor that somebody has kept finds out a log that was rewritten, and anchored anew, since.
#[test]
fn what_was_kept_elsewhere_is_held_against_the_log() {
    let mut scene = Scene::new(5);
    scene.anchor();
    let read = |name: &str| fs::read(scene.file(name)).unwrap();
    let (note, stamp) = (read("5"), read("5.ots"));
    scene.grow(3);
    let kept = Anchored::kept(&note, &stamp, &key()).unwrap();
    let against = |scene: &Scene, kept: &Anchored| {
        verify_against(&Files::folder(&scene.home.folder()), &key(), core::slice::from_ref(kept), |_| {})
            .map(|it| it.head.size)
    };
    assert_eq!(against(&scene, &kept).unwrap(), 8);
    let mut rewritten = Scene { teller: Teller::new(2), ..Scene::new(0) };
    rewritten.grow(9);
    rewritten.anchor();
    assert!(rewritten.verdict().is_ok(), "by itself it is whole");
    assert!(matches!(against(&rewritten, &kept), Err(Wrong::Anchor(path, AnchorFault::Root)) if path == "anchor/5"));
    let rolled_back = Scene::new(4);
    assert!(matches!(against(&rolled_back, &kept), Err(Wrong::Anchor(path, AnchorFault::Ahead)) if path == "anchor/5"));
    // A timestamp of another file, and a note of another log.
    let of_other = Detached { digest: [7; 32], ..Detached::parse(&stamp).unwrap() }.to_bytes();
    assert_eq!(Anchored::kept(&note, &of_other, &key()).unwrap_err(), AnchorFault::Digest);
    let mut turned = note.clone();
    turned[20] ^= 1;
    assert!(matches!(Anchored::kept(&turned, &stamp, &key()), Err(AnchorFault::Checkpoint(_))));
}

#[test]
fn an_anchor_of_another_log_or_past_is_found_out() {
    let mut scene = Scene::new(5);
    let size = scene.anchor();
    let own = fs::read(scene.file("5")).unwrap();
    scene.grow(2);
    let path = |name: &str| format!("anchor/{name}");
    // Signed by the log, and of other entries: it was rewritten.
    let mut other = Checkpoint { origin: "log.example".to_owned(), size, root: [7; 32] };
    let rewritten = other.sign(&key(), &signer()).unwrap().to_string().into_bytes();
    scene.put(size, &rewritten, &rewritten);
    assert_eq!(scene.fault(), (path("5"), AnchorFault::Root));
    // Of more than there is: it was rolled back.
    other.size = 8;
    let ahead = other.sign(&key(), &signer()).unwrap().to_string().into_bytes();
    scene.put(size, &own, &own);
    scene.put(8, &ahead, &ahead);
    assert_eq!(scene.fault(), (path("8"), AnchorFault::Ahead));
    scene.put(size, &ahead, &ahead);
    for gone in ["8", "8.ots"] {
        fs::remove_file(scene.file(gone)).unwrap();
    }
    assert_eq!(scene.fault(), (path("5"), AnchorFault::Size));
    // Another log's.
    let stranger = SigningKey::from_seed(&[4; 32]);
    let stranger_key = NoteKey::new("log.example", KeyKind::Ed25519, stranger.public()).unwrap();
    other.size = size;
    let foreign = other.sign(&stranger_key, &stranger).unwrap().to_string().into_bytes();
    scene.put(size, &foreign, &foreign);
    let unsigned = AnchorFault::Checkpoint(CheckpointError::Note(NoteError::Unsigned));
    assert_eq!(scene.fault(), (path("5"), unsigned));
    // A timestamp of another file, or of nothing.
    scene.put(size, &own, &foreign);
    assert_eq!(scene.fault(), (path("5.ots"), AnchorFault::Digest));
    fs::write(scene.file("5.ots"), "nothing").unwrap();
    assert_eq!(scene.fault(), (path("5.ots"), AnchorFault::Timestamp(TimestampError::Malformed)));
    scene.put(size, &own, &own);
    assert!(scene.verdict().is_ok());
}

#[test]
fn what_is_no_anchor_is_not_passed_over() {
    let scene = Scene::new(5);
    scene.anchor();
    for name in ["05", "5.OTS", "note", "5.ots.bak"] {
        fs::write(scene.file(name), "x").unwrap();
        assert!(matches!(scene.verdict(), Err(Wrong::File(path)) if path == scene.file(name)), "{name}");
        fs::remove_file(scene.file(name)).unwrap();
    }
    fs::create_dir(scene.file("deeper")).unwrap();
    fs::write(scene.file("deeper/5"), "x").unwrap();
    assert!(matches!(scene.verdict(), Err(Wrong::File(_))));
    fs::remove_dir_all(scene.file("deeper")).unwrap();
    for newest in ["5", "05\n", "five\n", ""] {
        fs::write(scene.file("newest"), newest).unwrap();
        assert_eq!(scene.fault(), ("anchor/newest".to_owned(), AnchorFault::Name), "{newest:?}");
    }
    // The newest is there whole, or the log is not as it was.
    for gone in ["5.ots", "5"] {
        fs::write(scene.file("newest"), "5\n").unwrap();
        fs::remove_file(scene.file(gone)).unwrap();
        assert!(matches!(scene.verdict(), Err(Wrong::Io { .. })), "{gone}");
    }
}
