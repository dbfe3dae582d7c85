//! The transparency log (contracts/log.md). Roots and proofs are of RFC 6962's recursive formulas, written out here.

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::tlog::{Checkpoint, Hash, KeyKind, Note, NoteKey, Receipt, bundle_of};
use serde_json::{Value, json};

use super::cosignature;
use super::kit::{Case, fixed, hex};

pub(crate) const LOG: &str = "nuncio.example/log";
pub(crate) const WITNESS: &str = "witness.example/w1";

fn leaf(entry: &[u8]) -> Hash {
    crypto::sha256(&[&[0], entry])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    crypto::sha256(&[&[1], left, right])
}

pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => crypto::sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(&mth(left), &mth(right))
        }
    }
}

fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    match m.checked_sub(left.len()) {
        None => [path(m, left), vec![mth(right)]].concat(),
        Some(m) => [path(m, right), vec![mth(left)]].concat(),
    }
}

pub(crate) fn subproof(m: usize, leaves: &[Hash], is_known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if is_known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    match m.checked_sub(left.len()).filter(|m| *m > 0) {
        None => [subproof(m, left, is_known), vec![mth(right)]].concat(),
        Some(m) => [subproof(m, right, false), vec![mth(left)]].concat(),
    }
}

/// Entries of growing length, the first of them empty.
fn entry(index: usize) -> Vec<u8> {
    (0..index).map(|byte| u8::try_from((index * 16 + byte) % 256).unwrap()).collect()
}

pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| leaf(&entry(index))).collect()
}

fn hexes<'a>(all: impl IntoIterator<Item = &'a Hash>) -> Value {
    all.into_iter().map(hex).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    [roots(), inclusion(), consistency(), paths(), widths(), bundles(), keys(), notes(), heads(), receipts()]
        .into_iter()
        .flatten()
        .collect()
}

pub(crate) fn yes(area: &'static str, name: &str, comment: &str, input: Value, expect: Value) -> Case {
    Case::valid(area, name, comment, input, expect)
}

pub(crate) fn no(area: &'static str, name: &str, comment: &str, input: Value, error: &str) -> Case {
    Case::refused(area, name, comment, input, error)
}

fn roots() -> Vec<Case> {
    let root = |count: usize| {
        let entries: Vec<Value> = (0..count).map(|index| hex(entry(index))).collect();
        let comment = format!("the tree of {count} entries");
        let expect = json!({ "root": hex(mth(&leaves(count))) });
        yes("tree", &format!("root-{count}"), &comment, json!({ "what": "root", "entries": entries }), expect)
    };
    [0, 1, 2, 3, 4, 5, 7, 8, 9].into_iter().map(root).collect()
}

fn included(index: u64, size: u64, proof: &[Hash], root: &Hash) -> Value {
    let entry = entry(usize::try_from(index).unwrap_or(0).min(20));
    json!({
        "what": "inclusion", "index": index.to_string(), "size": size.to_string(), "entry": hex(entry),
        "proof": hexes(proof), "root": hex(root),
    })
}

fn inclusion() -> Vec<Case> {
    let holds = |index: usize, size: usize| {
        let (all, name) = (leaves(size), format!("inclusion-{index}-of-{size}"));
        let input = included(index as u64, size as u64, &path(index, &all), &mth(&all));
        yes("tree", &name, "an entry is in the tree", input, json!({ "holds": true }))
    };
    let all = leaves(7);
    let (root, proof) = (mth(&all), path(5, &all));
    let swapped: Vec<Hash> = proof.iter().rev().copied().collect();
    let mut cases: Vec<Case> =
        [(0, 1), (0, 2), (1, 2), (2, 3), (0, 5), (4, 5), (5, 7), (6, 7), (3, 8)].map(|(i, s)| holds(i, s)).into();
    cases.extend([
        no("tree", "inclusion-beyond", "no such entry", included(7, 7, &proof, &root), "range"),
        no("tree", "inclusion-empty-tree", "an empty tree holds nothing", included(0, 0, &[], &mth(&[])), "range"),
        no("tree", "inclusion-short", "a hash is missing", included(5, 7, &proof[..2], &root), "length"),
        no(
            "tree",
            "inclusion-long",
            "a hash more",
            included(5, 7, &[proof.clone(), vec![root]].concat(), &root),
            "length",
        ),
        no("tree", "inclusion-neighbour", "the index of another entry", included(4, 7, &proof, &root), "root"),
        no("tree", "inclusion-order", "the hashes in another order", included(5, 7, &swapped, &root), "root"),
        no("tree", "inclusion-other-root", "another tree", included(5, 7, &proof, &mth(&leaves(8))), "root"),
        yes(
            "tree",
            "inclusion-other-size",
            "a proof alone does not say how large the tree is: the checkpoint does",
            included(5, 8, &proof, &root),
            json!({ "holds": true }),
        ),
    ]);
    // A node's two children, side by side, are no entry: leaves and nodes are hashed apart.
    let children = [all[0], all[1]].concat();
    let mut inner = included(0, 2, &[node(&all[2], &all[3])], &mth(&all[..4]));
    inner["entry"] = hex(children);
    cases.push(no("tree", "inclusion-node-as-entry", "a node passes for no entry", inner, "root"));
    cases
}

fn grown(old: u64, new: u64, proof: &[Hash], old_root: &Hash, new_root: &Hash) -> Value {
    json!({
        "what": "consistency", "old": old.to_string(), "new": new.to_string(), "proof": hexes(proof),
        "old_root": hex(old_root), "new_root": hex(new_root),
    })
}

fn consistency() -> Vec<Case> {
    let all = leaves(8);
    let root = |size: usize| mth(&all[..size]);
    let proof = |old: usize, new: usize| if old == 0 { Vec::new() } else { subproof(old, &all[..new], true) };
    let holds = |old: usize, new: usize| {
        let input = grown(old as u64, new as u64, &proof(old, new), &root(old), &root(new));
        let name = format!("consistency-{old}-to-{new}");
        yes("tree", &name, "one tree is the beginning of the other", input, json!({ "holds": true }))
    };
    let mut cases: Vec<Case> = [(0, 0), (0, 5), (1, 2), (1, 8), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (7, 8), (8, 8)]
        .map(|(o, n)| holds(o, n))
        .into();
    let known = proof(3, 7);
    let grows = |proof: &[Hash], old_root: &Hash, new_root: &Hash| grown(3, 7, proof, old_root, new_root);
    let longer = [known.clone(), vec![root(1)]].concat();
    cases.extend([
        no("tree", "consistency-shrunk", "a log does not shrink", grown(7, 3, &known, &root(7), &root(3)), "range"),
        no(
            "tree",
            "consistency-short",
            "a hash is missing",
            grows(&known[..known.len() - 1], &root(3), &root(7)),
            "length",
        ),
        no("tree", "consistency-none", "no hash at all", grows(&[], &root(3), &root(7)), "length"),
        no("tree", "consistency-long", "a hash more", grows(&longer, &root(3), &root(7)), "length"),
        no("tree", "consistency-other-old", "another past", grows(&known, &root(2), &root(7)), "root"),
        no("tree", "consistency-other-new", "another present", grows(&known, &root(3), &root(8)), "root"),
        no("tree", "consistency-same-size", "two trees of one size", grown(4, 4, &[], &root(4), &root(5)), "root"),
        no(
            "tree",
            "consistency-same-size-proof",
            "no proof is needed",
            grown(4, 4, &[root(1)], &root(4), &root(4)),
            "length",
        ),
        no("tree", "consistency-from-nothing", "nothing has one root", grown(0, 4, &[], &root(1), &root(4)), "root"),
        no(
            "tree",
            "consistency-nothing-to-other",
            "nothing is not something",
            grown(0, 0, &[], &root(0), &root(1)),
            "root",
        ),
        no(
            "tree",
            "consistency-from-nothing-proof",
            "and needs no proof",
            grown(0, 4, &[root(1)], &root(0), &root(4)),
            "length",
        ),
    ]);
    cases
}

fn paths() -> Vec<Case> {
    let is = |name: &str, comment: &str, path: &str, kind: &str, level: Option<u8>, index: u64, width: u16| {
        let expect = json!({ "kind": kind, "level": level, "index": index.to_string(), "width": width });
        yes("tile", name, comment, json!({ "what": "path", "path": path }), expect)
    };
    let not = |name: &str, comment: &str, path: &str| {
        no("tile", name, comment, json!({ "what": "path", "path": path }), "path")
    };
    vec![
        is("path-first", "the first full tile of leaves", "tile/0/000", "hashes", Some(0), 0, 256),
        is("path-millions", "C2SP's own example", "tile/0/x001/x234/067", "hashes", Some(0), 1_234_067, 256),
        is("path-partial", "seventeen hashes of level 1", "tile/1/000.p/17", "hashes", Some(1), 0, 17),
        is("path-top", "the highest level", "tile/7/000.p/255", "hashes", Some(7), 0, 255),
        is("path-entries", "a bundle", "tile/entries/x001/000", "entries", None, 1_000, 256),
        is("path-entries-partial", "a bundle of one", "tile/entries/999.p/1", "entries", None, 999, 1),
        not("path-level-8", "no tree is so high", "tile/8/000"),
        not("path-level-zero", "a zero in front of the level", "tile/00/000"),
        not("path-level-sign", "a sign", "tile/+0/000"),
        not("path-two-digits", "groups have three digits", "tile/0/00"),
        not("path-four-digits", "groups have three digits", "tile/0/1000"),
        not("path-no-x", "all groups but the last have an x", "tile/0/001/000"),
        not("path-last-x", "the last group has none", "tile/0/x001/x000"),
        not("path-zero-group", "a group of zeros in front", "tile/0/x000/000"),
        not("path-two-x", "one x", "tile/0/xx01/000"),
        not("path-width-0", "an empty tile does not exist", "tile/0/000.p/0"),
        not("path-width-256", "a full tile has no width", "tile/0/000.p/256"),
        not("path-width-zero", "a zero in front of the width", "tile/0/000.p/05"),
        not("path-too-far", "beyond 2^64", "tile/0/x018/x446/x744/x073/x709/x551/616"),
        not("path-slash", "a slash behind it", "tile/0/000/"),
        not("path-other", "no tile", "tile/leaves/000"),
    ]
}

fn widths() -> Vec<Case> {
    let of = |size: u64, paths: &[&str]| {
        let input = json!({ "what": "tiles", "size": size.to_string() });
        yes("tile", &format!("tiles-of-{size}"), "every tile of a tree", input, json!({ "paths": paths }))
    };
    vec![
        of(0, &[]),
        of(1, &["tile/entries/000.p/1", "tile/0/000.p/1"]),
        of(255, &["tile/entries/000.p/255", "tile/0/000.p/255"]),
        of(256, &["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]),
        of(
            513,
            &[
                "tile/entries/000",
                "tile/entries/001",
                "tile/entries/002.p/1",
                "tile/0/000",
                "tile/0/001",
                "tile/0/002.p/1",
                "tile/1/000.p/2",
            ],
        ),
    ]
}

fn bundles() -> Vec<Case> {
    let entries: [&[u8]; 3] = [b"one", b"", b"three"];
    let bundle = bundle_of(entries).unwrap();
    let input = |bytes: &[u8], width: u16| json!({ "what": "bundle", "bytes": hex(bytes), "width": width });
    let all: Vec<Value> = entries.iter().map(hex).collect();
    vec![
        yes("tile", "bundle", "three entries, one of them empty", input(&bundle, 3), json!({ "entries": all })),
        no("tile", "bundle-more", "an entry more than its path says", input(&bundle, 2), "width"),
        no("tile", "bundle-fewer", "an entry less", input(&bundle, 4), "width"),
        no("tile", "bundle-cut", "the last entry is cut", input(&bundle[..bundle.len() - 1], 3), "width"),
        no("tile", "bundle-half-length", "half a length", input(&[0], 1), "width"),
        no("tile", "bundle-behind", "a byte behind the last", input(&[bundle.as_slice(), &[0]].concat(), 3), "width"),
    ]
}

pub(crate) fn signer(name: &str) -> SigningKey {
    SigningKey::from_seed(&fixed(name))
}

pub(crate) fn log_signer() -> SigningKey {
    signer("log signer seed")
}

pub(crate) fn log_key() -> NoteKey {
    NoteKey::new(LOG, KeyKind::Ed25519, log_signer().public()).unwrap()
}

pub(crate) fn witness_signer() -> SigningKey {
    signer("log witness seed")
}

pub(crate) fn witness_key() -> NoteKey {
    NoteKey::new(WITNESS, KeyKind::CosignatureV1, witness_signer().public()).unwrap()
}

fn keys() -> Vec<Case> {
    let key = |text: &str| json!({ "what": "key", "text": text });
    let is = |name: &str, comment: &str, of: &NoteKey, kind: u8| {
        let expect = json!({ "name": of.name(), "id": hex(of.id()), "kind": kind, "public": hex(of.public()) });
        yes("note", name, comment, key(&of.to_string()), expect)
    };
    let go = NoteKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
    let text = log_key().to_string();
    let ml_dsa = cosignature::ml_dsa_key();
    let named = |len: usize| NoteKey::new(&"w".repeat(len), KeyKind::MlDsa44, ml_dsa.public());
    let written = |kind: u8, public: &[u8]| written_as(WITNESS, kind, public);
    let not = |name: &str, comment: &str, text: &str| no("note", name, comment, key(text), "malformed");
    vec![
        is("key-log", "a log's key", &log_key(), 1),
        is("key-witness", "a witness's key", &witness_key(), 4),
        is("key-ml-dsa", "a witness's key for ML-DSA-44", &ml_dsa, 6),
        is("key-ml-dsa-name", "the longest name that it can have", &named(255).unwrap(), 6),
        is("key-go", "the key of Go's checksum database", &go, 1),
        not("key-id", "an id that is not the key's", &text.replace("log+", "logs+")),
        not("key-upper", "an id in capitals", &text.replace(&id_text(), &id_text().to_uppercase())),
        not("key-space", "a space in its name", &text.replace("nuncio.", "nuncio ")),
        not("key-two", "two parts", text.rsplit_once('+').unwrap().0),
        not("key-ml-dsa-short", "a key of ML-DSA-44 of 1,311 bytes", &written(6, &ml_dsa.public()[1..])),
        not("key-ml-dsa-of-32", "a key of Ed25519 as one of ML-DSA-44", &written(6, &log_signer().public())),
        not("key-long", "a key of ML-DSA-44 as one of Ed25519", &written(4, ml_dsa.public())),
        not("key-kind", "a kind that nobody knows", &written(5, &log_signer().public())),
        not(
            "key-ml-dsa-long-name",
            "a name of 256 bytes for ML-DSA-44",
            &written_as(&"w".repeat(256), 6, ml_dsa.public()),
        ),
        not("key-cut", "base64 that is cut", &text[..text.len() - 1]),
        not("key-empty", "nothing", ""),
    ]
}

/// A key in its written form, with the id that it would have, if there were such a key.
fn written_as(name: &str, kind: u8, public: &[u8]) -> String {
    let key = [&[kind], public].concat();
    let id = crypto::sha256(&[name.as_bytes(), b"\n", &key]);
    format!("{name}+{}+{}", data_encoding::HEXLOWER.encode(&id[..4]), data_encoding::BASE64.encode(&key))
}

fn id_text() -> String {
    data_encoding::HEXLOWER.encode(&log_key().id())
}

pub(crate) fn given(what: &str, note: impl Into<String>, key: &NoteKey) -> Value {
    json!({ "what": what, "note": note.into(), "key": key.to_string() })
}

pub(crate) fn signed(text: &str) -> Note {
    Note::new(text.to_owned()).unwrap().signed(&log_key(), &log_signer())
}

fn notes() -> Vec<Case> {
    let note = |text: &str| given("note", text, &log_key());
    let is = |name: &str, comment: &str, of: &Note, text: &str| {
        yes("note", name, comment, note(&of.to_string()), json!({ "text": text }))
    };
    let plain = signed("hello\n");
    let text = plain.to_string();
    let line = text.rsplit_once("\n\n").unwrap().1.trim_end().to_owned();
    let bad = |name: &str, comment: &str, text: &str| no("note", name, comment, note(text), "malformed");
    let mut other_too = plain.clone();
    other_too.add(witness_key().line(&[7; 5]));
    let mut spoilt = plain.clone();
    spoilt.add(log_key().line(&[7; 64]));
    let stranger = NoteKey::new(LOG, KeyKind::Ed25519, signer("log stranger seed").public()).unwrap();
    let by_stranger = Note::new("hello\n".into()).unwrap().signed(&stranger, &signer("log stranger seed"));
    let renamed = NoteKey::new("other.example/log", KeyKind::Ed25519, log_signer().public()).unwrap();
    let many = (0..=limit::NOTE_SIGNATURES_MAX).fold(Note::new("hello\n".into()).unwrap(), |mut note, _| {
        note.add(witness_key().line(&[7; 5]));
        note
    });
    let sixteen = (0..15).fold(plain.clone(), |mut note, _| {
        note.add(witness_key().line(&[7; 5_000]));
        note
    });
    vec![
        is("plain", "one line of text", &plain, "hello\n"),
        is("empty-lines", "the last empty line divides", &signed("a\n\nb\n\n\n"), "a\n\nb\n\n\n"),
        is("unicode", "any text", &signed("già — sera\n"), "già — sera\n"),
        is("other-lines", "lines of other keys count for nothing", &other_too, "hello\n"),
        is("sixteen", "sixteen lines, fifteen of them long", &sixteen, "hello\n"),
        no("note", "unsigned", "another key of the name", note(&by_stranger.to_string()), "unsigned"),
        no("note", "renamed", "the key under another name", given("note", text.clone(), &renamed), "unsigned"),
        no(
            "note",
            "of-a-witness",
            "a cosigning key signs no text",
            given("note", text.clone(), &witness_key()),
            "unsigned",
        ),
        no("note", "altered", "another text", note(&text.replace("hello", "hallo")), "signature"),
        no("note", "spoilt", "one line of the key does not verify", note(&spoilt.to_string()), "signature"),
        bad("no-line", "no signature", "hello\n\n"),
        bad("no-division", "no empty line", &format!("hello\n{line}\n")),
        bad("no-newline", "no newline behind the last line", text.trim_end()),
        bad("hyphen", "a hyphen is no dash", &text.replace('—', "-")),
        bad("two-spaces", "one space", &text.replace("— ", "—  ")),
        bad("plus", "a plus in the name", &text.replace("nuncio.", "nuncio+")),
        bad("unicode-space", "a space of Unicode's in the name", &text.replace("nuncio.", "nuncio\u{2003}")),
        bad("control", "a control character", &text.replace("hello", "hel\tlo")),
        bad("return", "lines end in a newline alone", &text.replace('\n', "\r\n")),
        bad("unpadded", "base64 without its padding", &text.replace("=\n", "\n")),
        bad("padded-pieces", "padding inside, twice encoded", &text.replace(&line, &pieces(&line))),
        bad("short-id", "no signature behind the id", &format!("hello\n\n— {LOG} AAAAAA==\n")),
        bad("too-many", "more lines than note_signatures_max", &many.to_string()),
        bad(
            "too-long",
            "longer than note_len_max",
            &signed(&format!("{}\n", "a".repeat(limit::NOTE_LEN_MAX))).to_string(),
        ),
    ]
}

/// A signature line whose base64 is that of its first byte, and then of the rest.
fn pieces(line: &str) -> String {
    let (name, encoded) = line.rsplit_once(' ').unwrap();
    let bytes = data_encoding::BASE64.decode(encoded.as_bytes()).unwrap();
    let [first, rest] = [&bytes[..1], &bytes[1..]].map(|part| data_encoding::BASE64.encode(part));
    format!("{name} {first}{rest}")
}

pub(crate) fn head() -> Checkpoint {
    Checkpoint { origin: LOG.to_owned(), size: 7, root: mth(&leaves(7)) }
}

fn heads() -> Vec<Case> {
    let is = |name: &str, comment: &str, text: &str, of: &Checkpoint| {
        let expect = json!({ "origin": of.origin, "size": of.size.to_string(), "root": hex(of.root) });
        yes("note", name, comment, given("checkpoint", signed(text).to_string(), &log_key()), expect)
    };
    let text = head().text();
    let (root, empty) = (data_encoding::BASE64.encode(&head().root), Checkpoint { size: 0, root: mth(&[]), ..head() });
    let not = |name: &str, comment: &str, text: &str| {
        no("note", name, comment, given("checkpoint", signed(text).to_string(), &log_key()), "malformed")
    };
    let other = Checkpoint { origin: "other.example/log".to_owned(), ..head() };
    vec![
        is("checkpoint", "a log of seven entries", &text, &head()),
        is("checkpoint-empty", "a log of none", &empty.text(), &empty),
        is("checkpoint-extension", "lines behind the root are passed over", &format!("{text}later 1\n"), &head()),
        no(
            "note",
            "checkpoint-other-log",
            "signed by a log's key for another log",
            given("checkpoint", signed(&other.text()).to_string(), &log_key()),
            "origin",
        ),
        no(
            "note",
            "checkpoint-altered",
            "it is authenticated before it is read",
            given("checkpoint", signed(&text).to_string().replace("\n7\n", "\n007\n"), &log_key()),
            "signature",
        ),
        not("checkpoint-zero", "a zero in front of the size", &text.replace("\n7\n", "\n07\n")),
        not("checkpoint-sign", "a sign", &text.replace("\n7\n", "\n+7\n")),
        not("checkpoint-too-large", "beyond 2^64", &text.replace("\n7\n", "\n18446744073709551616\n")),
        not("checkpoint-short-root", "31 bytes", &text.replace(&root, &data_encoding::BASE64.encode(&[7; 31]))),
        not("checkpoint-no-root", "two lines", &format!("{LOG}\n7\n")),
        not("checkpoint-no-origin", "an empty line for an origin", &format!("\n7\n{root}\n")),
        not("checkpoint-empty-extension", "an empty line behind the root", &format!("{text}\nlater\n")),
    ]
}

fn receipts() -> Vec<Case> {
    let all = leaves(7);
    let receipt = Receipt { index: 5, proof: path(5, &all), checkpoint: signed(&head().text()) };
    let input =
        |text: &str, index: usize| json!({ "receipt": text, "entry": hex(entry(index)), "key": log_key().to_string() });
    let text = receipt.to_string();
    let taken = json!({ "index": "5", "origin": LOG, "size": "7", "root": hex(head().root) });
    let bad = |name: &str, comment: &str, text: &str| no("receipt", name, comment, input(text, 5), "malformed");
    let first_hash = text.lines().nth(2).unwrap().to_owned();
    let hashes = format!("{}\n", first_hash).repeat(65);
    vec![
        yes("receipt", "plain", "an entry of a log of seven", input(&text, 5), taken.clone()),
        yes(
            "receipt",
            "extra",
            "extra data is passed over",
            input(&text.replacen("index", "extra aGVsbG8=\nindex", 1), 5),
            taken,
        ),
        no("receipt", "other-entry", "another entry", input(&text, 4), "root"),
        no("receipt", "other-index", "another index", input(&text.replace("index 5", "index 4"), 5), "root"),
        no("receipt", "beyond", "an index beyond the log", input(&text.replace("index 5", "index 7"), 5), "range"),
        no("receipt", "short", "a hash is missing", input(&text.replace(&format!("{first_hash}\n"), ""), 5), "length"),
        no("receipt", "altered", "another head", input(&text.replace("\n7\n", "\n8\n"), 5), "signature"),
        no(
            "receipt",
            "unsigned",
            "no log's",
            input(&text.replace(&format!("— {LOG}"), "— other.example/log"), 5),
            "unsigned",
        ),
        bad("first-line", "another version", &text.replace("@v1", "@v2")),
        bad("no-index", "no index", &text.replace("index 5\n", "")),
        bad("zero-index", "a zero in front", &text.replace("index 5", "index 05")),
        bad(
            "two-extras",
            "one line of extra data",
            &text.replacen("index", "extra aGVsbG8=\nextra aGVsbG8=\nindex", 1),
        ),
        bad("extra-unpadded", "base64 without its padding", &text.replacen("index", "extra aGVsbG8\nindex", 1)),
        bad("short-hash", "31 bytes", &text.replace(&first_hash, &data_encoding::BASE64.encode(&[7; 31]))),
        bad("sixty-five", "more hashes than any tree is high", &text.replacen(&format!("{first_hash}\n"), &hashes, 1)),
        bad("no-checkpoint", "nothing behind the empty line", text.split_once("\n\n").unwrap().0),
        bad(
            "too-long",
            "longer than receipt_len_max",
            &text.replacen("index", &format!("extra {}\nindex", "AAAA".repeat(limit::RECEIPT_LEN_MAX / 4)), 1),
        ),
    ]
}
