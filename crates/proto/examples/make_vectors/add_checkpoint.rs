//! What a log asks of a witness (contracts/log.md section 6).

use data_encoding::BASE64;
use nuncio_contracts::registry::limit;
use nuncio_proto::tlog::{AddCheckpoint, Checkpoint, Hash, Note};
use serde_json::{Value, json};

use super::kit::{Case, hex};
use super::log::{head, leaves, log_key, log_signer, mth, no, signed, subproof, witness_key, yes};

const AREA: &str = "add-checkpoint";

pub(crate) fn cases() -> Vec<Case> {
    [taken(), forms(), checks(), order()].into_iter().flatten().collect()
}

fn at(size: usize) -> Checkpoint {
    Checkpoint { size: size as u64, root: mth(&leaves(size)), ..head() }
}

/// The proof from a tree of `old` entries to one of seven.
fn proof(old: usize) -> Vec<Hash> {
    if old == 0 { Vec::new() } else { subproof(old, &leaves(7), true) }
}

fn request(old: u64, proof: Vec<Hash>, checkpoint: Note) -> String {
    AddCheckpoint { old, proof, checkpoint }.to_string()
}

/// From a tree of three entries to one of seven.
fn good() -> String {
    request(3, proof(3), signed(&at(7).text()))
}

fn input(request: &str, last: Option<&Checkpoint>) -> Value {
    let last = last.map(|last| json!({ "size": last.size.to_string(), "root": hex(last.root) }));
    json!({ "request": request, "key": log_key().to_string(), "last": last })
}

fn taken() -> Vec<Case> {
    let is = |name: &str, comment: &str, request: &str, last: Option<&Checkpoint>, of: &Checkpoint| {
        let expect = json!({ "origin": of.origin, "size": of.size.to_string(), "root": hex(of.root) });
        yes(AREA, name, comment, input(request, last), expect)
    };
    let text = at(7).text();
    let mut two = signed(&text);
    two.add(witness_key().line(&[7; 72]));
    let extended = signed(&format!("{text}later 1\n"));
    vec![
        is("first", "the first head that the witness sees", &request(0, vec![], signed(&text)), None, &at(7)),
        is("first-empty", "of a log without entries", &request(0, vec![], signed(&at(0).text())), None, &at(0)),
        is("grown", "a log that grew", &good(), Some(&at(3)), &at(7)),
        is("grown-from-4", "from a whole tree", &request(4, proof(4), signed(&text)), Some(&at(4)), &at(7)),
        is("again", "the head that was cosigned last", &request(7, vec![], signed(&text)), Some(&at(7)), &at(7)),
        is("two-lines", "a line of somebody else's", &request(3, proof(3), two), Some(&at(3)), &at(7)),
        is("extension", "lines behind the root", &request(3, proof(3), extended), Some(&at(3)), &at(7)),
    ]
}

fn forms() -> Vec<Case> {
    let bad =
        |name: &str, comment: &str, request: &str| no(AREA, name, comment, input(request, Some(&at(3))), "malformed");
    let old = |to: &str| good().replacen("old 3", to, 1);
    let first_hash = BASE64.encode(&proof(3)[0]);
    let hash = |to: &str| good().replacen(&first_hash, to, 1);
    let long = Note::new(format!("{}later\n", at(7).text())).unwrap().signed(&log_key(), &log_signer());
    let long = request(3, proof(3), long).replace("later", &"l".repeat(limit::NOTE_LEN_MAX));
    vec![
        bad("nothing", "nothing", ""),
        bad("no-old", "no line `old`", good().split_once('\n').unwrap().1),
        bad("old-zero", "a zero in front", &old("old 03")),
        bad("old-sign", "a sign", &old("old +3")),
        bad("old-too-large", "beyond 2^64", &old("old 18446744073709551616")),
        bad("old-two-spaces", "one space", &old("old  3")),
        bad("old-alone", "no size", &old("old")),
        bad("old-twice", "one size", &old("old 3\nold 3")),
        bad("hash-short", "31 bytes", &hash(&BASE64.encode(&[7; 31]))),
        bad("hash-unpadded", "base64 without its padding", &hash(first_hash.trim_end_matches('='))),
        bad("hash-space", "a space behind a hash", &hash(&format!("{first_hash} "))),
        bad(
            "sixty-four",
            "more hashes than a witness takes",
            &request(3, vec![proof(3)[0]; 64], signed(&at(7).text())),
        ),
        bad("return", "lines end in a newline alone", &good().replace('\n', "\r\n")),
        bad("no-division", "no empty line behind the proof", &good().replacen("\n\n", "\n", 1)),
        bad("no-checkpoint", "nothing behind the empty line", good().split_once("\n\n").unwrap().0),
        bad("no-signature", "a checkpoint that nobody has signed", good().rsplit_once("\n\n").unwrap().0),
        bad("cut", "the last newline is missing", good().trim_end()),
        bad("too-long", "a note longer than note_len_max", &long),
    ]
}

fn checks() -> Vec<Case> {
    let not = |name: &str, comment: &str, request: &str, last: Option<&Checkpoint>, error: &str| {
        no(AREA, name, comment, input(request, last), error)
    };
    let from = |old: u64, proof: Vec<Hash>| request(old, proof, signed(&at(7).text()));
    let other = Checkpoint { root: [7; 32], ..at(7) };
    let forked = Checkpoint { root: mth(&leaves(2)), ..at(3) };
    let elsewhere = Checkpoint { origin: "other.example/log".to_owned(), ..at(7) };
    let known = proof(3);
    vec![
        not(
            "other-log",
            "a log that the witness does not know",
            &request(3, proof(3), signed(&elsewhere.text())),
            Some(&at(3)),
            "origin",
        ),
        not("altered", "another size than was signed", &good().replace("\n7\n", "\n8\n"), Some(&at(3)), "signature"),
        not(
            "by-another",
            "no line of the log's key",
            &good().replace("— nuncio.example/log", "— other.example/log"),
            Some(&at(3)),
            "signature",
        ),
        not("shrunk", "more entries before than now", &from(8, vec![]), Some(&at(8)), "malformed"),
        not("behind", "the witness has seen more", &good(), Some(&at(5)), "size"),
        not("ahead", "the witness has seen less", &good(), Some(&at(2)), "size"),
        not("unseen", "the witness has seen nothing", &good(), None, "size"),
        not("from-nothing", "the witness has seen something", &from(0, vec![]), Some(&at(3)), "size"),
        not("other-root", "two trees of one size", &request(7, vec![], signed(&other.text())), Some(&at(7)), "size"),
        not("forked", "another past than the witness has seen", &good(), Some(&forked), "root"),
        not(
            "rewritten",
            "another present than the proof's",
            &request(3, proof(3), signed(&other.text())),
            Some(&at(3)),
            "root",
        ),
        not("short", "a hash is missing", &from(3, known[1..].to_vec()), Some(&at(3)), "length"),
        not("long", "a hash more", &from(3, [known.clone(), vec![[7; 32]]].concat()), Some(&at(3)), "length"),
        not("sixty-three", "as many hashes as a witness takes", &from(3, vec![known[0]; 63]), Some(&at(3)), "length"),
        not("first-with-proof", "nothing needs no proof", &from(0, known), None, "length"),
        not("again-with-proof", "the same tree needs no proof", &from(7, vec![[7; 32]]), Some(&at(7)), "length"),
    ]
}

/// Where two things are wrong, the first check of G16 says so.
fn order() -> Vec<Case> {
    let not = |name: &str, comment: &str, request: &str, last: Option<&Checkpoint>, error: &str| {
        no(AREA, name, comment, input(request, last), error)
    };
    let elsewhere = good().replace("nuncio.example/log", "other.example/log");
    let altered = request(9, vec![], signed(&at(7).text())).replace("\n7\n", "\n8\n");
    let larger = request(9, proof(3), signed(&at(7).text()));
    vec![
        not(
            "origin-first",
            "an unknown log, and not signed by the one that is known",
            &elsewhere,
            Some(&at(3)),
            "origin",
        ),
        not("signature-second", "not what was signed, and smaller than before", &altered, Some(&at(9)), "signature"),
        not(
            "smaller-third",
            "smaller than before, and not from where the witness is",
            &larger,
            Some(&at(3)),
            "malformed",
        ),
        not(
            "size-fourth",
            "not from where the witness is, and a proof of nothing",
            &request(3, vec![], signed(&at(7).text())),
            Some(&at(4)),
            "size",
        ),
    ]
}
