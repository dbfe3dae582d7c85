//! OpenTimestamps (contracts/log.md section 8). The bytes are put together here; what they say is read by the implementation.

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto;
use nuncio_proto::tlog::{Attestation, Attested, Detached, Timestamp};
use serde_json::{Value, json};

use super::kit::{Case, fixed, hex};
use super::log::{head, no, signed, yes};

const AREA: &str = "timestamp";
const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];
const ONE: &str = "https://one.calendar.example";
const TWO: &str = "https://two.calendar.example";
const NONCE: [u8; 16] = [0; 16];
const SHA256: &[u8] = &[8];

pub(crate) fn cases() -> Vec<Case> {
    [taken(), forms(), numbers(), attestations(), bounds(), answers(), merged()].into_iter().flatten().collect()
}

fn leb128(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 127 {
        out.push((number % 128) as u8 | 128);
        number /= 128;
    }
    out.push(number as u8);
    out
}

fn behind_len(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [leb128(bytes.as_ref().len() as u64), bytes.as_ref().to_vec()].concat()
}

fn append(operand: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0xf0], behind_len(operand)].concat()
}

fn prepend(operand: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0xf1], behind_len(operand)].concat()
}

fn attestation(tag: [u8; 8], payload: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0], tag.to_vec(), behind_len(payload)].concat()
}

fn pending(uri: impl AsRef<[u8]>) -> Vec<u8> {
    attestation(PENDING, behind_len(uri))
}

fn bitcoin(height: u64) -> Vec<u8> {
    attestation(BITCOIN, leb128(height))
}

/// One behind the other.
fn path(steps: &[&[u8]]) -> Vec<u8> {
    steps.concat()
}

/// Beside each other: all but the last are announced.
fn fork(items: &[&[u8]]) -> Vec<u8> {
    let (last, rest) = items.split_last().unwrap();
    let announced: Vec<u8> = rest.iter().flat_map(|item| [&[0xff][..], item].concat()).collect();
    [announced.as_slice(), last].concat()
}

fn digest() -> [u8; 32] {
    crypto::sha256(&[signed(&head().text()).to_string().as_bytes()])
}

fn magic() -> Vec<u8> {
    b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94".to_vec()
}

fn whole(timestamp: &[u8]) -> Vec<u8> {
    [magic().as_slice(), &[1, 8], &digest(), timestamp].concat()
}

/// What calendars are sent, and its timestamp.
fn nonced(timestamp: &[u8]) -> Vec<u8> {
    whole(&path(&[&append(NONCE), SHA256, timestamp]))
}

fn given(bytes: &[u8]) -> Value {
    json!({ "what": "detached", "bytes": hex(bytes) })
}

pub(crate) fn told(all: &[Attested]) -> Value {
    let one = |attested: &Attested| {
        let message = hex(&attested.message);
        match &attested.attestation {
            Attestation::Pending(uri) => json!({ "message": message, "pending": uri }),
            Attestation::Bitcoin(height) => {
                json!({ "message": message, "bitcoin": height, "root": attested.block().unwrap().1 })
            }
            Attestation::Other { tag, payload } => {
                json!({ "message": message, "other": hex(tag), "payload": hex(payload) })
            }
            other => panic!("{other:?}"),
        }
    };
    all.iter().map(one).collect()
}

pub(crate) fn of_whole(read: &Detached) -> Value {
    json!({ "digest": hex(read.digest), "attested": told(&read.attested()), "written": hex(read.to_bytes()) })
}

fn is(name: &str, comment: &str, bytes: &[u8]) -> Case {
    yes(AREA, name, comment, given(bytes), of_whole(&Detached::parse(bytes).unwrap()))
}

fn not(name: &str, comment: &str, bytes: &[u8], error: &str) -> Case {
    assert!(Detached::parse(bytes).is_err(), "{name}");
    no(AREA, name, comment, given(bytes), error)
}

fn bad(name: &str, comment: &str, bytes: &[u8]) -> Case {
    not(name, comment, bytes, "malformed")
}

/// A commitment as the published calendars make it: a time in front, a MAC behind.
fn to_calendar(uri: &str) -> Vec<u8> {
    path(&[
        &append(fixed::<32>(uri)),
        SHA256,
        &prepend([0x6a, 0xb1, 0x8d, 0x80]),
        &append(fixed::<8>(uri)),
        &pending(uri),
    ])
}

/// From there to a block: a merkle tree over other commitments, a transaction, the block's own tree.
fn to_block(height: u64) -> Vec<u8> {
    let (other, sibling) = (fixed::<32>("other commitment"), fixed::<32>("sibling transaction"));
    let transaction = [
        prepend(fixed::<41>("in front of the output")),
        append(fixed::<20>("behind the output")),
        SHA256.to_vec(),
        SHA256.to_vec(),
        prepend(sibling),
        SHA256.to_vec(),
        SHA256.to_vec(),
    ];
    path(&[SHA256, &append(other), SHA256, &transaction.concat(), &bitcoin(height)])
}

fn taken() -> Vec<Case> {
    let both = fork(&[&to_calendar(ONE), &to_calendar(TWO)]);
    let other = attestation(*b"whatever", b"it says");
    let block = fork(&[&pending(ONE), &to_block(970_000)]);
    let start = path(&[&append(fixed::<32>(ONE)), SHA256, &prepend([1, 2, 3, 4]), &append(fixed::<8>(ONE))]);
    vec![
        is("pending", "one calendar, as it answers at first", &nonced(&to_calendar(ONE))),
        is("pending-two", "two calendars", &nonced(&both)),
        is("block", "a block is named, and the calendar still", &nonced(&path(&[&start, &block]))),
        is("block-direct", "the digest itself is a merkle root", &whole(&bitcoin(0))),
        is("block-two", "two blocks", &whole(&fork(&[&bitcoin(7), &bitcoin(300)]))),
        is("other", "an attestation that nobody here knows", &whole(&other)),
        is("other-empty", "one that says nothing", &whole(&attestation([0; 8], []))),
        is(
            "order",
            "items in another order than they are written in",
            &whole(&fork(&[
                &path(&[&prepend("b"), &pending(TWO)]),
                &path(&[&append("b"), &pending(ONE)]),
                &path(&[SHA256, &bitcoin(9)]),
                &path(&[&append("ab"), &other]),
                &path(&[&append("a"), &other]),
                &bitcoin(300),
                &pending(TWO),
                &attestation(*b"whatever", b"it says"),
                &pending(ONE),
                &bitcoin(7),
            ])),
        ),
        is("uri-signs", "every sign that a URI may have", &whole(&pending("http://127.0.0.1:80/a-Z_9."))),
        is("uri-empty", "a URI of nothing", &whole(&pending(""))),
    ]
}

fn forms() -> Vec<Case> {
    let good = nonced(&to_calendar(ONE));
    let header = |version: &[u8], hash: &[u8]| [magic().as_slice(), version, hash, &digest(), &pending(ONE)].concat();
    let unknown = |operation: u8| whole(&path(&[&[operation], &pending(ONE)]));
    let mut other_magic = good.clone();
    other_magic[30] ^= 1;
    let twice = |item: &[u8]| whole(&fork(&[item, item]));
    vec![
        bad("empty", "nothing", &[]),
        bad("magic", "another magic", &other_magic),
        bad("magic-cut", "half the magic", &magic()[..16]),
        bad("no-version", "the magic alone", &magic()),
        not("version-0", "another version", &header(&[0], &[8]), "version"),
        not("version-2", "another version", &header(&[2], &[8]), "version"),
        bad("version-long", "version 1 in two bytes", &header(&[0x81, 0], &[8])),
        not("of-sha1", "of a file's SHA-1", &header(&[1], &[2]), "kind"),
        not("of-append", "of no hash", &header(&[1], &[0xf0]), "kind"),
        bad("digest-cut", "a byte of the digest is missing", &whole(&[])[..64]),
        bad("no-timestamp", "a digest alone", &whole(&[])),
        bad("nothing-made", "an operation without a timestamp", &whole(SHA256)),
        bad("cut", "the last byte is missing", &good[..good.len() - 1]),
        bad("behind", "a byte behind the end", &[good.as_slice(), &[0]].concat()),
        bad("more-and-nothing", "another item is announced", &[good.as_slice(), &[0xff]].concat()),
        bad("fork-cut", "another item is announced", &whole(&[&[0xff][..], &pending(ONE)].concat())),
        not(
            "fork-fork",
            "two announcements",
            &whole(&[&[0xff, 0xff][..], &pending(ONE), &bitcoin(1)].concat()),
            "kind",
        ),
        not("sha1", "SHA-1", &unknown(0x02), "kind"),
        not("ripemd160", "RIPEMD-160", &unknown(0x03), "kind"),
        not("keccak256", "Keccak-256", &unknown(0x67), "kind"),
        not("reverse", "reversing", &unknown(0xf2), "kind"),
        not("hexlify", "hexadecimal", &unknown(0xf3), "kind"),
        not("unknown", "no operation", &unknown(0x09), "kind"),
        bad("operand-empty", "an operand of nothing", &whole(&path(&[&append([]), &pending(ONE)]))),
        bad("operand-cut", "an operand that is longer than the rest", &whole(&[0xf0, 0x20, 1, 2, 3])),
        bad("twice-pending", "one attestation twice", &twice(&pending(ONE))),
        bad(
            "twice-in-front",
            "one attestation twice, in front of an operation that nobody knows",
            &whole(&fork(&[&pending(ONE), &pending(ONE), &[2]])),
        ),
        bad("twice-operation", "one operation twice", &twice(&path(&[SHA256, &bitcoin(1)]))),
        bad(
            "twice-apart",
            "one operation twice, with another beside it",
            &whole(&fork(&[
                &path(&[SHA256, &bitcoin(1)]),
                &path(&[&append("a"), &pending(ONE)]),
                &path(&[SHA256, &pending(ONE)]),
            ])),
        ),
    ]
}

fn numbers() -> Vec<Case> {
    let height = |bytes: &[u8]| whole(&attestation(BITCOIN, bytes));
    let operand = |len: &[u8]| whole(&path(&[&[0xf0], len, b"a", &pending(ONE)]));
    vec![
        is("height-127", "the last of one byte", &height(&[0x7f])),
        is("height-128", "the first of two", &height(&[0x80, 1])),
        is("height-most", "the last below 2^32", &height(&leb128(u64::from(u32::MAX)))),
        bad("height-2-32", "2^32", &height(&leb128(1 << 32))),
        bad("height-long", "zero in two bytes", &height(&[0x80, 0])),
        bad("height-longer", "one in six bytes", &height(&[0x81, 0x80, 0x80, 0x80, 0x80, 0])),
        bad("height-huge", "2^63 and more", &height(&[0xff; 10])),
        bad("height-cut", "a number that does not end", &height(&[0x80])),
        bad("height-empty", "no number", &height(&[])),
        bad("height-behind", "a byte behind it", &height(&[1, 1])),
        bad("len-long", "a length in two bytes", &operand(&[0x81, 0])),
        bad("len-huge", "a length of 2^35", &operand(&[0x80, 0x80, 0x80, 0x80, 0x80, 1])),
    ]
}

fn attestations() -> Vec<Case> {
    let uri = |text: &[u8]| whole(&pending(text));
    let short = |tag: &[u8]| whole(&[&[0][..], tag].concat());
    vec![
        bad("tag-cut", "half a tag", &short(&PENDING[..4])),
        bad("payload-none", "a tag alone", &short(&PENDING)),
        bad("payload-cut", "less than it says", &whole(&pending(ONE)[..30])),
        bad("uri-query", "a query", &uri(b"https://one.example/?a")),
        bad("uri-space", "a space", &uri(b"https://one.example/ ")),
        bad("uri-user", "a user", &uri(b"https://a@one.example/")),
        bad("uri-percent", "an escape", &uri(b"https://one.example/%41")),
        bad("uri-escape", "a sign that terminals obey", &uri(b"https://one.example/\x1b[2J")),
        bad("uri-not-ascii", "another alphabet", &uri("https://\u{0435}xample.com".as_bytes())),
        bad("uri-latin", "no UTF-8", &uri(b"https://\xe9.example")),
        bad("uri-bare", "a URI without its length", &whole(&attestation(PENDING, ONE))),
        bad("uri-behind", "a byte behind it", &whole(&attestation(PENDING, [behind_len(ONE), vec![0]].concat()))),
        bad("block-of-33", "a merkle root has 32 bytes", &whole(&path(&[&append("a"), &bitcoin(1)]))),
    ]
}

/// So many hashes, one behind the other.
fn deep(count: usize) -> Vec<u8> {
    whole(&[vec![8; count], bitcoin(1)].concat())
}

fn bounds() -> Vec<Case> {
    const MESSAGE: usize = limit::TIMESTAMP_MESSAGE_LEN_MAX;
    const DEPTH: usize = limit::TIMESTAMP_DEPTH_MAX;
    let long = |len: usize| whole(&path(&[&append(vec![7; len]), &pending(ONE)]));
    let grown = |len: usize| whole(&path(&[&prepend(vec![7; 4_000]), &append(vec![7; len]), SHA256, &bitcoin(1)]));
    let said = |len: usize| whole(&attestation(*b"whatever", vec![7; len]));
    let uri = |len: usize| whole(&pending("a".repeat(len)));
    let wide = |forks: usize| {
        let items: Vec<Vec<u8>> = (0..forks).map(|at| path(&[&append([1, at as u8]), SHA256, &pending(ONE)])).collect();
        whole(&fork(&items.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    };
    vec![
        is("message-most", "a message at its longest", &long(MESSAGE - 32)),
        bad("message-longer", "a byte more", &long(MESSAGE - 31)),
        is("grown-most", "one that grew to it", &grown(MESSAGE - 4_032)),
        bad("grown-longer", "and a byte more, even if it is hashed then", &grown(MESSAGE - 4_031)),
        bad("operand-longer", "an operand that no message has room for", &long(MESSAGE + 1)),
        is("depth-most", "as many operations as there may be", &deep(DEPTH)),
        bad("depth-more", "one more", &deep(DEPTH + 1)),
        bad("depth-bomb", "sixty thousand", &deep(60_000)),
        is("payload-most", "an attestation at its longest", &said(limit::TIMESTAMP_PAYLOAD_LEN_MAX)),
        bad("payload-longer", "a byte more", &said(limit::TIMESTAMP_PAYLOAD_LEN_MAX + 1)),
        is("uri-most", "a URI at its longest", &uri(limit::TIMESTAMP_URI_LEN_MAX)),
        bad("uri-longer", "a byte more", &uri(limit::TIMESTAMP_URI_LEN_MAX + 1)),
        is("wide", "many items beside each other", &wide(100)),
        not("too-long", "longer than timestamp_len_max", &deep(limit::TIMESTAMP_LEN_MAX), "too-long"),
    ]
}

fn answers() -> Vec<Case> {
    let sent = crypto::sha256(&[&digest(), &NONCE]);
    let given =
        |message: &[u8], bytes: &[u8]| json!({ "what": "answer", "message": hex(message), "bytes": hex(bytes) });
    let is = |name: &str, comment: &str, message: &[u8], bytes: &[u8]| {
        let read = Timestamp::parse(bytes, message.len()).unwrap();
        let expect = json!({ "attested": told(&read.evaluate(message)), "written": hex(read.to_bytes()) });
        yes(AREA, &format!("answer-{name}"), comment, given(message, bytes), expect)
    };
    let not = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        no(AREA, &format!("answer-{name}"), comment, given(&sent, bytes), error)
    };
    let longest = attestation(*b"whatever", vec![7; limit::TIMESTAMP_PAYLOAD_LEN_MAX]);
    let filler = append(vec![7; limit::TIMESTAMP_ANSWER_LEN_MAX - longest.len() - 3]);
    let most = path(&[&filler, &longest]);
    vec![
        is("pending", "what `digest` answers", &sent, &to_calendar(ONE)),
        is("block", "what `timestamp` answers", &fixed::<44>("commitment"), &to_block(970_000)),
        is("most", "an answer at its longest", &sent, &most),
        not("longer", "longer than timestamp_answer_len_max", &[most.as_slice(), &[0]].concat(), "too-long"),
        not("detached", "a whole file where an answer is wanted", &nonced(&to_calendar(ONE)), "malformed"),
        not("page", "a page of text", b"<html>Bad gateway</html>", "kind"),
        not("empty", "nothing", b"", "malformed"),
        not("cut", "half an answer", &to_calendar(ONE)[..50], "malformed"),
    ]
}

fn merged() -> Vec<Case> {
    let both = nonced(&fork(&[&to_calendar(ONE), &to_calendar(TWO)]));
    let read = Detached::parse(&both).unwrap();
    let at = |uri: &str| read.attested().into_iter().find(|it| it.pending() == Some(uri)).unwrap();
    let given = |bytes: &[u8], of: &Attested, answer: &[u8]| {
        json!({
            "what": "merge", "bytes": hex(bytes), "message": hex(&of.message), "uri": of.pending().unwrap(), "answer": hex(answer),
        })
    };
    let is = |name: &str, comment: &str, bytes: &[u8], of: &Attested, answer: &[u8]| {
        let read = Timestamp::parse(answer, of.message.len()).unwrap();
        let merged = Detached::parse(bytes).unwrap().with_answer(of, &read).unwrap();
        yes(AREA, &format!("merge-{name}"), comment, given(bytes, of, answer), of_whole(&merged))
    };
    let not = |name: &str, comment: &str, bytes: &[u8], of: &Attested, answer: &[u8], error: &str| {
        no(AREA, &format!("merge-{name}"), comment, given(bytes, of, answer), error)
    };
    let answer = Timestamp::parse(&to_block(970_000), at(ONE).message.len()).unwrap();
    let once = read.with_answer(&at(ONE), &answer).unwrap().to_bytes();
    let (mut elsewhere, mut unknown) = (at(ONE), at(ONE));
    elsewhere.attestation = Attestation::Pending("https://three.calendar.example".to_owned());
    unknown.message[0] ^= 1;
    let deepest = [vec![8; 250], bitcoin(1)].concat();
    vec![
        is("block", "one of two calendars names a block", &both, &at(ONE), &to_block(970_000)),
        is("second", "and then the other", &once, &at(TWO), &to_block(970_001)),
        is("again", "the same answer again changes nothing", &once, &at(ONE), &to_block(970_000)),
        is("other-block", "another block beside the first", &once, &at(ONE), &to_block(970_009)),
        is("pending", "it is pending still", &both, &at(ONE), &pending(ONE)),
        not("elsewhere", "pending at no such calendar", &both, &elsewhere, &to_block(1), "malformed"),
        not("unknown", "a message that is not there", &both, &unknown, &to_block(1), "malformed"),
        not("too-deep", "each is taken, both together are too deep", &both, &at(ONE), &deepest, "malformed"),
        not("answer-cut", "half an answer", &both, &at(ONE), &to_block(970_000)[..40], "malformed"),
    ]
}
