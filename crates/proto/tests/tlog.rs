//! The log's formats, beside RFC 6962's own recursive formulas and the trees that others have published.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::tlog::{
    Checkpoint, CheckpointError, Edge, Frontier, Hash, KeyKind, NodeError, Nodes, Note, NoteError, NoteKey, ProofError,
    Receipt, ReceiptError, Tile, TileError, TileKind, TileNodes, bundle_of, consistency_proof, cosign, cosigned_at,
    entries_of, inclusion_proof, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};

fn hex(text: &str) -> Hash {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

/// RFC 6962 section 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => crypto::sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// The formulas of RFC 6962 over some leaves, each range of them hashed once.
struct Formulas {
    leaves: Vec<Hash>,
    known: RefCell<BTreeMap<(usize, usize), Hash>>,
}

impl Formulas {
    fn of(leaves: Vec<Hash>) -> Self {
        Self { leaves, known: RefCell::default() }
    }

    fn mth(&self, from: usize, to: usize) -> Hash {
        if to - from < 2 {
            return mth(&self.leaves[from..to]);
        }
        if let Some(hash) = self.known.borrow().get(&(from, to)) {
            return *hash;
        }
        let k = from + (to - from).next_power_of_two() / 2;
        let hash = node_hash(&self.mth(from, k), &self.mth(k, to));
        self.known.borrow_mut().insert((from, to), hash);
        hash
    }

    /// Section 2.1.1, word for word.
    fn path(&self, m: usize, from: usize, to: usize) -> Vec<Hash> {
        if to - from == 1 {
            return Vec::new();
        }
        let k = from + (to - from).next_power_of_two() / 2;
        if m < k {
            [self.path(m, from, k), vec![self.mth(k, to)]].concat()
        } else {
            [self.path(m, k, to), vec![self.mth(from, k)]].concat()
        }
    }

    /// Section 2.1.2, word for word.
    fn subproof(&self, m: usize, from: usize, to: usize, is_known: bool) -> Vec<Hash> {
        if m == to {
            return if is_known { Vec::new() } else { vec![self.mth(from, to)] };
        }
        let k = from + (to - from).next_power_of_two() / 2;
        if m <= k {
            [self.subproof(m, from, k, is_known), vec![self.mth(k, to)]].concat()
        } else {
            [self.subproof(m, k, to, false), vec![self.mth(from, k)]].concat()
        }
    }
}

impl Nodes for Formulas {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let from = (index as usize) << level;
        Ok(self.mth(from, from + (1 << level)))
    }
}

fn entry(index: usize) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&entry(index))).collect()
}

/// The reference tree of the Certificate Transparency project: its eight leaves, and the roots of its first trees.
#[test]
fn the_trees_of_certificate_transparency_have_their_published_roots() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let mut tree = Frontier::default();
    assert_eq!(tree.root(), hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let roots = entries.map(|entry| {
        tree.push(leaf_hash(entry));
        tree.root()
    });
    assert_eq!(roots[0], hex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"));
    assert_eq!(roots[7], hex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"));
}

#[test]
fn a_tree_that_grows_has_the_root_of_its_leaves() {
    let leaves = leaves(600);
    let mut tree = Frontier::default();
    for size in 0..=leaves.len() {
        assert_eq!((tree.size(), tree.root()), (size as u64, mth(&leaves[..size])), "{size}");
        assert_eq!(Frontier::restore(size as u64, tree.peaks().to_vec()), Some(tree.clone()));
        assert_eq!(
            Frontier::restore(size as u64 + 1, tree.peaks().to_vec()).is_some(),
            size % 2 == 1 && (size + 1).count_ones() == size.count_ones()
        );
        if let Some(leaf) = leaves.get(size) {
            tree.push(*leaf);
        }
    }
}

#[test]
fn every_inclusion_proof_of_trees_up_to_130_is_the_specifications_and_holds_for_its_entry_alone() {
    let all = Formulas::of(leaves(130));
    for size in 1..=all.leaves.len() {
        let root = all.mth(0, size);
        for index in 0..size {
            let proof = inclusion_proof(&all, index as u64, size as u64).unwrap();
            assert_eq!(proof, all.path(index, 0, size));
            let check = |index, size, entry: &[u8], proof: &[Hash]| verify_inclusion(index, size, entry, proof, &root);
            let (at, of, it) = (index as u64, size as u64, entry(index));
            assert_eq!(check(at, of, &it, &proof), Ok(()));
            assert_eq!(check(at, of, &entry(index + 1), &proof), Err(ProofError::Root));
            assert!(check(at ^ 1, of, &it, &proof).is_err());
            assert_eq!(check(of, of, &it, &proof), Err(ProofError::Range));
            assert_eq!(check(at, of, &it, &[proof.as_slice(), &[root]].concat()), Err(ProofError::Length));
            if let Some((_, short)) = proof.split_last() {
                assert_eq!(check(at, of, &it, short), Err(ProofError::Length));
            }
        }
    }
    assert!(inclusion_proof(&all, 130, 130).unwrap().is_empty());
}

#[test]
fn every_consistency_proof_of_trees_up_to_300_is_the_specifications_and_holds_for_its_trees_alone() {
    let all = Formulas::of(leaves(300));
    let roots: Vec<Hash> = (0..=300).map(|size| all.mth(0, size)).collect();
    let other = leaf_hash(b"another tree");
    for new in 0..=300 {
        for old in 0..=new {
            let proof = consistency_proof(&all, old as u64, new as u64).unwrap();
            let expected = if old == 0 { Vec::new() } else { all.subproof(old, 0, new, true) };
            assert_eq!(proof, expected, "{old} to {new}");
            let check = |proof: &[Hash], from, to| verify_consistency(old as u64, new as u64, proof, from, to);
            assert_eq!(check(&proof, &roots[old], &roots[new]), Ok(()), "{old} to {new}");
            assert_eq!(check(&proof, &other, &roots[new]), Err(ProofError::Root), "{old} to {new}");
            if old > 0 {
                assert_eq!(check(&proof, &roots[old], &other), Err(ProofError::Root), "{old} to {new}");
            }
            let long = [proof.as_slice(), &[other]].concat();
            assert_eq!(check(&long, &roots[old], &roots[new]), Err(ProofError::Length), "{old} to {new}");
            if let Some((_, short)) = proof.split_last() {
                assert_eq!(check(short, &roots[old], &roots[new]), Err(ProofError::Length), "{old} to {new}");
            }
        }
    }
    assert_eq!(verify_consistency(2, 1, &[], &roots[2], &roots[1]), Err(ProofError::Range));
}

#[test]
fn tiles_have_one_path_each() {
    let tile = |kind, index, width| Tile::new(kind, index, width).unwrap();
    for (tile, path) in [
        (tile(TileKind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(TileKind::Hashes(1), 0, 17), "tile/1/000.p/17"),
        (tile(TileKind::Entries, 999, 1), "tile/entries/999.p/1"),
        (tile(TileKind::Entries, 1_000, 256), "tile/entries/x001/000"),
        (tile(TileKind::Hashes(7), 0, 255), "tile/7/000.p/255"),
    ] {
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::parse(path), Ok(tile));
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/+0/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/1000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p/1.p/1",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/+00",
        "tile/x/000",
        "tile/0/xx001/000",
        "tile/0/x18446744073709551616/000",
        "tile/0/000\n",
    ] {
        assert_eq!(Tile::parse(path), Err(TileError::Path), "{path:?}");
    }
    assert_eq!(Tile::new(TileKind::Hashes(8), 0, 1), None);
    assert_eq!(Tile::new(TileKind::Entries, 0, 0), None);
    assert_eq!(Tile::new(TileKind::Entries, 0, 257), None);
}

#[test]
fn a_tree_of_seventy_thousand_has_the_tiles_that_the_specification_counts() {
    let all: Vec<Tile> = Tile::all(70_000).collect();
    let count = |kind, width| all.iter().filter(|tile| tile.kind() == kind && tile.width() == width).count();
    let level = TileKind::Hashes;
    assert_eq!((count(level(0), 256), count(level(0), 112)), (273, 1));
    assert_eq!((count(level(1), 256), count(level(1), 17), count(level(2), 1)), (1, 1, 1));
    assert_eq!((count(TileKind::Entries, 256), count(TileKind::Entries, 112)), (273, 1));
    assert_eq!(all.len(), 2 * 274 + 3);
    assert_eq!(Tile::all(0).count(), 0);
    assert_eq!(
        Tile::all(256).map(|tile| tile.path()).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    );
}

/// The tiles of a tree, as a server would keep them.
fn tiles(leaves: &[Hash]) -> BTreeMap<String, Vec<u8>> {
    let hashes = |tile: &Tile, level: u8| {
        let span = 256_usize.pow(level.into());
        let from = tile.index() as usize * 256 * span;
        let hash = |at| mth(&leaves[from + at * span..from + (at + 1) * span]);
        (0..tile.width().into()).map(hash).collect::<Vec<_>>().concat()
    };
    let tiles = Tile::all(leaves.len() as u64).filter_map(|tile| match tile.kind() {
        TileKind::Hashes(level) => Some((tile.path(), hashes(&tile, level))),
        TileKind::Entries => None,
    });
    tiles.collect()
}

#[test]
fn proofs_come_out_of_tiles_at_every_edge_of_theirs() {
    for size in [1, 2, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537] {
        let leaves = leaves(size);
        let (tiles, root) = (tiles(&leaves), mth(&leaves));
        let asked = RefCell::new(0);
        let nodes = TileNodes::new(size as u64, |tile: &Tile| {
            *asked.borrow_mut() += 1;
            tiles.get(&tile.path()).cloned().ok_or("no such tile")
        });
        for index in [0, 1, size / 2, size - 1].map(|index| index.min(size - 1)) {
            let proof = inclusion_proof(&nodes, index as u64, size as u64).unwrap();
            assert_eq!(
                verify_inclusion(index as u64, size as u64, &entry(index), &proof, &root),
                Ok(()),
                "{index} of {size}"
            );
        }
        for old in [1, 2, 255, 256, 257, 65_535, 65_536].into_iter().filter(|old| *old <= size) {
            let proof = consistency_proof(&nodes, old as u64, size as u64).unwrap();
            let old_root = mth(&leaves[..old]);
            assert_eq!(
                verify_consistency(old as u64, size as u64, &proof, &old_root, &root),
                Ok(()),
                "{old} to {size}"
            );
        }
        assert!(*asked.borrow() <= 11 * 40, "a proof reads no more tiles than it has hashes");
    }
}

#[test]
fn an_edge_fills_the_tiles_of_its_tree_and_comes_back_out_of_them() {
    const SIZE: usize = 65_538;
    let all = leaves(SIZE);
    let mut edge = Edge::default();
    let mut kept: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for size in 0..=SIZE {
        if [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537].contains(&size) {
            assert_eq!((edge.size(), edge.root()), (size as u64, mth(&all[..size])));
            let mut served = kept.clone();
            served.extend(edge.unfinished().map(|(tile, bytes)| (tile.path(), bytes)));
            assert_eq!(served, tiles(&all[..size]), "{size}");
            let read = |tile: &Tile| served.get(&tile.path()).cloned().ok_or("no such tile");
            assert_eq!(Edge::read(size as u64, read).unwrap(), edge, "{size}");
            if size > 0 {
                let lost = |tile: &Tile| if tile.is_full() { read(tile) } else { Err("lost") };
                assert_eq!(Edge::read(size as u64, lost).unwrap_err(), NodeError::Read("lost"), "{size}");
            }
        }
        if size < SIZE {
            kept.extend(edge.push(&entry(size)).into_iter().map(|(tile, bytes)| (tile.path(), bytes)));
        }
    }
}

#[test]
fn tiles_that_are_not_there_or_of_another_width_are_named() {
    let nodes =
        TileNodes::new(300, |tile: &Tile| if tile.index() == 0 { Ok(vec![7; 256 * 32 - 1]) } else { Err("gone") });
    let first = Tile::new(TileKind::Hashes(0), 0, 256).unwrap();
    assert_eq!(nodes.node(0, 5), Err(NodeError::Width(first)));
    assert_eq!(nodes.node(0, 299), Err(NodeError::Read("gone")));
    assert_eq!(nodes.node(0, 300), Err(NodeError::Range), "beyond the tree");
    assert_eq!(nodes.node(3, 36), Err(NodeError::Read("gone")));
    assert_eq!(nodes.node(3, 37), Err(NodeError::Range), "half beyond the tree");
    assert_eq!(nodes.node(64, 0), Err(NodeError::Range));
    assert_eq!(NodeError::<Infallible>::Width(first).to_string(), "tile/0/000: not as wide as it must be");
}

#[test]
fn a_bundle_holds_its_entries_and_nothing_else() {
    let entries: [&[u8]; 3] = [b"one", b"", &[3; 65_535]];
    let bundle = bundle_of(entries).unwrap();
    assert_eq!(entries_of(&bundle, 3).unwrap(), entries);
    for (bytes, width) in [(bundle.as_slice(), 2), (&bundle, 4), (&bundle[..bundle.len() - 1], 3), (&[0], 1), (&[], 1)]
    {
        assert_eq!(entries_of(bytes, width), Err(TileError::Width));
    }
    assert_eq!(bundle_of([[0; 65_536].as_slice()]), Err(TileError::Entry));
}

fn log() -> (NoteKey, SigningKey) {
    let signer = SigningKey::from_seed(&[1; 32]);
    (NoteKey::new("nuncio.example/log", KeyKind::Ed25519, signer.public()).unwrap(), signer)
}

fn witness() -> (NoteKey, SigningKey) {
    let signer = SigningKey::from_seed(&[2; 32]);
    (NoteKey::new("witness.example/w1", KeyKind::CosignatureV1, signer.public()).unwrap(), signer)
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "nuncio.example/log".to_owned(), size: 3, root: mth(&leaves(3)) }
}

#[test]
fn a_checkpoint_is_believed_of_its_log_alone() {
    let (key, signer) = log();
    let note = checkpoint().sign(&key, &signer).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!((read.clone(), Checkpoint::open(&read, &key)), (note.clone(), Ok(checkpoint())));

    let other = SigningKey::from_seed(&[3; 32]);
    let named = |name: &str, signer: &SigningKey| NoteKey::new(name, KeyKind::Ed25519, signer.public()).unwrap();
    let unsigned = Err(CheckpointError::Note(NoteError::Unsigned));
    assert_eq!(Checkpoint::open(&note, &named("nuncio.example/log", &other)), unsigned, "another key of the name");
    assert_eq!(Checkpoint::open(&note, &named("other.example/log", &signer)), unsigned, "the key under another name");
    // A key that signs for two logs: the name must be the origin.
    let elsewhere = named("other.example/log", &signer);
    let of_two = note.clone().signed(&elsewhere, &signer);
    assert_eq!(Checkpoint::open(&of_two, &elsewhere), Err(CheckpointError::Origin));
    // One line of the key that does not verify spoils the note, whatever stands beside it.
    let mut spoilt = note;
    spoilt.add(key.line(&[7; 64]));
    assert_eq!(Checkpoint::open(&spoilt, &key), Err(CheckpointError::Note(NoteError::Signature)));
}

#[test]
fn every_flipped_bit_of_a_receipt_is_caught() {
    let (key, signer) = log();
    let all = Formulas::of(leaves(3));
    let note = checkpoint().sign(&key, &signer).unwrap();
    let receipt = Receipt { index: 1, proof: inclusion_proof(&all, 1, 3).unwrap(), checkpoint: note };
    let text = receipt.to_string().into_bytes();
    assert_eq!(Receipt::parse(&text).unwrap().verify(&entry(1), &key), Ok(checkpoint()));
    assert!(matches!(
        Receipt::parse(&text).unwrap().verify(&entry(2), &key),
        Err(ReceiptError::Proof(ProofError::Root))
    ));
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outcome = Receipt::parse(&flipped).and_then(|receipt| receipt.verify(&entry(1), &key));
        assert!(outcome.is_err(), "bit {bit}: {}", String::from_utf8_lossy(&flipped));
    }
    for len in 0..text.len() {
        assert!(Receipt::parse(&text[..len]).and_then(|receipt| receipt.verify(&entry(1), &key)).is_err(), "{len}");
    }
}

#[test]
fn a_witness_cosigns_a_text_and_a_time() {
    let ((key, signer), (w, hers)) = (log(), witness());
    let mut note = checkpoint().sign(&key, &signer).unwrap();
    assert_eq!(cosigned_at(&note, &w), Err(NoteError::Unsigned));
    let line = cosign(note.text(), 1_800_000_000, &w, &hers);
    note.add(line.clone());
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!((cosigned_at(&read, &w), Checkpoint::open(&read, &key)), (Ok(1_800_000_000), Ok(checkpoint())));
    // Her word is of a time, and no log's signature; the log's is no cosignature.
    assert_eq!(read.verify(&w), Err(NoteError::Unsigned));
    assert_eq!(cosigned_at(&read, &key), Err(NoteError::Unsigned));
    for bit in 0..line.signature.len() * 8 {
        let mut flipped = line.clone();
        flipped.signature[bit / 8] ^= 1 << (bit % 8);
        let mut note = checkpoint().sign(&key, &signer).unwrap();
        note.add(flipped);
        assert_eq!(cosigned_at(&note, &w), Err(NoteError::Signature), "bit {bit}");
    }
    let mut late = checkpoint().sign(&key, &signer).unwrap();
    late.add(cosign(late.text(), 1 << 63, &w, &hers));
    assert_eq!(cosigned_at(&late, &w), Err(NoteError::Signature), "no time that a signed number holds");
}

#[test]
fn a_key_is_written_in_one_way() {
    let (key, _) = log();
    assert_eq!(NoteKey::parse(&key.to_string()), Some(key.clone()));
    // The published key of Go's checksum database, of kind 1.
    let go = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(NoteKey::parse(go).unwrap().to_string(), go);
    let text = key.to_string();
    for bad in [
        "",
        "a",
        "a+b",
        "a+b+c",
        &text.replace("log", "l og"),
        &text.replace("log", "logs"),
        &format!("{text}+"),
        &text.to_uppercase(),
    ] {
        assert_eq!(NoteKey::parse(bad), None, "{bad}");
    }
    for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\u{1}b"] {
        assert_eq!(NoteKey::new(name, KeyKind::Ed25519, key.public()), None, "{name:?}");
    }
}
