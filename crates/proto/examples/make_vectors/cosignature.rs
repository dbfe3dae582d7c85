//! Witnesses' cosignatures (contracts/log.md G12, G18). ML-DSA-44 is signed by another implementation than the one that verifies.

use ml_dsa::{Keypair as _, MlDsa44, SigningKey};
use nuncio_proto::tlog::{Checkpoint, KeyKind, Note, NoteKey, cosign};
use serde_json::{Value, json};

use super::kit::{Case, fixed, hex};
use super::log::{LOG, WITNESS, given, head, log_key, no, signed, witness_key, witness_signer, yes};

const AT_S: u64 = 1_790_000_000;

pub(crate) fn cases() -> Vec<Case> {
    [ed25519(), ml_dsa(), ml_dsa_texts(), ml_dsa_logs()].into_iter().flatten().collect()
}

fn ed25519() -> Vec<Case> {
    let text = head().text();
    let by = |at_s| {
        let mut note = signed(&text);
        note.add(cosign(&text, at_s, &witness_key(), &witness_signer()));
        note
    };
    let is = |name: &str, comment: &str, at_s: u64| {
        let expect = json!({ "at": at_s.to_string() });
        yes("note", name, comment, given("cosignature", by(at_s).to_string(), &witness_key()), expect)
    };
    let with = |signature: &[u8]| cosigned(&signed(&text), &witness_key(), signature);
    let bare = witness_signer().sign_raw(text.as_bytes());
    let good = cosign(&text, AT_S, &witness_key(), &witness_signer()).signature;
    let later = [(AT_S + 1).to_be_bytes().as_slice(), &good[8..]].concat();
    let not = |name: &str, comment: &str, input: Value, error: &str| no("note", name, comment, input, error);
    let (alone, by_log) = (
        given("cosignature", signed(&text).to_string(), &witness_key()),
        given("cosignature", by(AT_S).to_string(), &log_key()),
    );
    let timed_bare = [AT_S.to_be_bytes().as_slice(), &bare].concat();
    let too_late = given("cosignature", by(1 << 63).to_string(), &witness_key());
    vec![
        is("cosignature", "a witness's word", AT_S),
        is("cosignature-zero", "of the year 1970", 0),
        not("cosignature-none", "no witness", alone, "unsigned"),
        not("cosignature-by-log", "a log's key is no witness's", by_log, "unsigned"),
        not("cosignature-later", "another time than was signed", with(&later), "signature"),
        not("cosignature-bare", "the text alone was signed", with(&timed_bare), "signature"),
        not("cosignature-no-time", "64 bytes", with(&good[8..]), "signature"),
        not("cosignature-time-max", "no time that a signed number holds", too_late, "signature"),
    ]
}

fn cosigned(note: &Note, key: &NoteKey, signature: &[u8]) -> Value {
    let mut note = note.clone();
    note.add(key.line(signature));
    given("cosignature", note.to_string(), key)
}

fn ml_dsa_signer() -> SigningKey<MlDsa44> {
    SigningKey::from_seed(&fixed::<32>("log witness ML-DSA seed").into())
}

/// The witness's key of kind 6.
pub(crate) fn ml_dsa_key() -> NoteKey {
    NoteKey::new(WITNESS, KeyKind::MlDsa44, ml_dsa_signer().verifying_key().encode()).unwrap()
}

/// `time ‖ signature` of a message that begins in one of the ways below.
fn timed(at_s: u64, message: &[u8], context: &[u8]) -> Vec<u8> {
    let signature = ml_dsa_signer().expanded_key().sign_deterministic(message, context).unwrap().encode();
    [at_s.to_be_bytes().as_slice(), &signature].concat()
}

/// What is signed, with every part of it to be chosen.
#[derive(Clone)]
struct Message<'a> {
    label: &'a [u8],
    name: &'a str,
    at_s: u64,
    start: u64,
    head: Checkpoint,
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Self { label, name, at_s, start, head } = self;
        let len = |text: &str| [u8::try_from(text.len() % 256).unwrap()];
        [
            *label,
            &len(name),
            name.as_bytes(),
            &at_s.to_be_bytes(),
            &len(&head.origin),
            head.origin.as_bytes(),
            &start.to_be_bytes(),
            &head.size.to_be_bytes(),
            &head.root,
        ]
        .concat()
    }

    fn signed(&self) -> Vec<u8> {
        timed(self.at_s, &self.bytes(), b"")
    }
}

fn message() -> Message<'static> {
    Message { label: b"subtree/v1\n\0", name: WITNESS, at_s: AT_S, start: 0, head: head() }
}

/// The line of the witness's key of kind 6 under a head, for other vectors.
pub(crate) fn ml_dsa_line(head: &Checkpoint, at_s: u64) -> Vec<u8> {
    Message { at_s, head: head.clone(), ..message() }.signed()
}

fn ml_dsa() -> Vec<Case> {
    let with = |signature: &[u8]| cosigned(&signed(&head().text()), &ml_dsa_key(), signature);
    let is = |name: &str, comment: &str, at_s: u64| {
        let signed = Message { at_s, ..message() }.signed();
        yes("note", name, comment, with(&signed), json!({ "at": at_s.to_string() }))
    };
    let not = |name: &str, comment: &str, signature: &[u8]| {
        no("note", &format!("ml-dsa-{name}"), comment, with(signature), "signature")
    };
    let of = |message: Message<'_>| message.signed();
    let good = message().signed();
    let turned = |at: usize| {
        let mut turned = good.clone();
        turned[at] ^= 1;
        turned
    };
    let later = [(AT_S + 1).to_be_bytes().as_slice(), &good[8..]].concat();
    let as_v1 = format!("cosignature/v1\ntime {AT_S}\n{}", head().text());
    let other = |size: u64| Message { head: Checkpoint { size, ..head() }, ..message() };
    let mut spoilt = signed(&head().text());
    spoilt.add(ml_dsa_key().line(&good));
    spoilt.add(ml_dsa_key().line(&turned(100)));
    let wrong_key = cosigned(&signed(&head().text()), &witness_key(), &good);
    vec![
        is("ml-dsa", "a witness's word, by ML-DSA-44", AT_S),
        is("ml-dsa-zero", "of no time", 0),
        not("later", "another time than was signed", &later),
        not("time-max", "no time that a signed number holds", &of(Message { at_s: 1 << 63, ..message() })),
        not("as-ed25519", "what an Ed25519 key signs", &timed(AT_S, as_v1.as_bytes(), b"")),
        not("label", "another label", &of(Message { label: b"subtree/v2\n\0", ..message() })),
        not("no-zero", "the label without its zero byte", &of(Message { label: b"subtree/v1\n", ..message() })),
        not("name", "under another witness's name", &of(Message { name: "witness.example/w2", ..message() })),
        not(
            "origin",
            "of another log",
            &of(Message { head: Checkpoint { origin: "other.example/log".into(), ..head() }, ..message() }),
        ),
        not("subtree", "a part of the tree alone", &of(Message { start: 4, ..message() })),
        not("size", "another size", &of(other(8))),
        not("root", "another root", &of(Message { head: Checkpoint { root: [7; 32], ..head() }, ..message() })),
        not("context", "a context", &timed(AT_S, &message().bytes(), b"cosignature")),
        not("turned-challenge", "one bit in front", &turned(8)),
        not("turned-response", "one bit in the middle", &turned(8 + 1_200)),
        not("turned-hint", "one bit of the hint", &turned(8 + 2_420 - 84)),
        not("short", "a byte less", &good[..good.len() - 1]),
        not("long", "a byte more", &[good.as_slice(), &[0]].concat()),
        no(
            "note",
            "ml-dsa-spoilt",
            "one line of the key does not verify",
            given("cosignature", spoilt.to_string(), &ml_dsa_key()),
            "signature",
        ),
        no(
            "note",
            "ml-dsa-none",
            "no line of the key",
            given("cosignature", signed(&head().text()).to_string(), &ml_dsa_key()),
            "unsigned",
        ),
        no("note", "ml-dsa-as-v1", "a line of it under a key of kind 4", wrong_key, "signature"),
    ]
}

/// Texts behind the three lines, and texts that are no checkpoint.
fn ml_dsa_texts() -> Vec<Case> {
    let line = |head: &Checkpoint| Message { head: head.clone(), ..message() }.signed();
    let extended = signed(&format!("{}later 1\n", head().text()));
    let no_head = signed(&head().text().replace("\n7\n", "\n07\n"));
    let origin = |len: usize| Checkpoint { origin: "o".repeat(len), ..head() };
    let at = json!({ "at": AT_S.to_string() });
    let key = ml_dsa_key();
    vec![
        yes(
            "note",
            "ml-dsa-extension",
            "lines behind the root are not signed",
            cosigned(&extended, &key, &line(&head())),
            at.clone(),
        ),
        yes(
            "note",
            "ml-dsa-origin-255",
            "the longest origin",
            cosigned(&signed(&origin(255).text()), &key, &line(&origin(255))),
            at,
        ),
        no(
            "note",
            "ml-dsa-origin-256",
            "an origin too long to be signed",
            cosigned(&signed(&origin(256).text()), &key, &line(&origin(256))),
            "signature",
        ),
        no(
            "note",
            "ml-dsa-no-checkpoint",
            "a text that is no checkpoint",
            cosigned(&no_head, &key, &line(&head())),
            "signature",
        ),
    ]
}

/// A log may sign with such a key too.
fn ml_dsa_logs() -> Vec<Case> {
    let key = NoteKey::new(LOG, KeyKind::MlDsa44, ml_dsa_signer().verifying_key().encode()).unwrap();
    let under = |of: &Checkpoint, key: &NoteKey| {
        let mut note = Note::new(of.text()).unwrap();
        note.add(key.line(&Message { name: key.name(), head: of.clone(), ..message() }.signed()));
        note
    };
    let other = Checkpoint { origin: "other.example/log".into(), ..head() };
    let expect = json!({ "origin": LOG, "size": "7", "root": hex(head().root) });
    let altered = under(&head(), &key).to_string().replace("\n7\n", "\n8\n");
    vec![
        yes(
            "note",
            "checkpoint-ml-dsa",
            "a log's head, by ML-DSA-44",
            given("checkpoint", under(&head(), &key).to_string(), &key),
            expect,
        ),
        no("note", "checkpoint-ml-dsa-altered", "another size", given("checkpoint", altered, &key), "signature"),
        no(
            "note",
            "checkpoint-ml-dsa-other-log",
            "signed for another log",
            given("checkpoint", under(&other, &key).to_string(), &key),
            "origin",
        ),
        no(
            "note",
            "note-ml-dsa",
            "such a key signs no text",
            given("note", under(&head(), &key).to_string(), &key),
            "unsigned",
        ),
    ]
}
