//! Letters: what is inside a sealed frame (contracts/letter.md).

use nuncio_proto::call::{CallPlace, Head, What};
use nuncio_proto::channel::History;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{ChannelId, LetterId};
use nuncio_proto::letter::{Extension, Letter, LetterKind};
use nuncio_proto::time::UnixMillis;
use serde_json::{Value, json};

use super::cbor::{Array, Bool, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Case, NOW, actor, fixed, hex};

const AREA: &str = "letter";
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const SKEW: u64 = 300_000;

pub(crate) fn id() -> LetterId {
    LetterId::new(NOW, fixed("letter id"))
}

pub(crate) fn full() -> Letter {
    Letter {
        id: id(),
        kind: LetterKind::Plain,
        reply_to: Some(LetterId::new(UnixMillis(NOW.0 - HOUR), fixed("letter replied to"))),
        deadline: Some(UnixMillis(NOW.0 + HOUR)),
        content_type: "text/markdown".parse().unwrap(),
        payload: b"# Hello\n".to_vec(),
        extensions: vec![
            Extension { number: 1, critical: true, value: vec![1, 2, 3] },
            Extension { number: 2, critical: false, value: Vec::new() },
            Extension { number: 700, critical: false, value: vec![9] },
        ],
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [valid(), times(), identifiers(), fields(), extensions(), spellings()].into_iter().flatten().collect()
}

pub(crate) fn valid_case(name: &str, comment: &str, letter: &Letter) -> Case {
    let extension = |e: &Extension| json!({ "number": e.number, "critical": e.critical, "value": hex(&e.value) });
    let expect = json!({
        "id": hex(letter.id.as_bytes()),
        "created": letter.id.created().0,
        "kind": if letter.kind == LetterKind::Plain { 16 } else { 17 },
        "reply_to": letter.reply_to.map_or(Value::Null, |id| hex(id.as_bytes())),
        "deadline": letter.deadline.map(|at| at.0),
        "content_type": letter.content_type.as_str(),
        "payload": hex(&letter.payload),
        "content": hex(letter.content()),
        "extensions": letter.extensions.iter().map(extension).collect::<Vec<_>>(),
        "expires": letter.expires().0,
    });
    Case::valid(AREA, name, comment, json!({ "bytes": hex(letter.encode()), "now": NOW.0 }), expect)
}

fn valid() -> Vec<Case> {
    let plain = |content_type: ContentType, payload: &[u8]| Letter::plain(id(), content_type, payload.to_vec());
    let control = Letter { kind: LetterKind::Control, ..plain(ContentType::CBOR, &[0x84, 0x04, 0xf6, 0x00, 0x40]) };
    let extension = |number, critical| Extension { number, critical, value: Vec::new() };
    let token = |value| Extension { number: 2, critical: true, value };
    let eight = Letter { extensions: (2..10).map(|n| extension(n, false)).collect(), ..plain(ContentType::TEXT, b"8") };
    let longest = "application/".to_owned() + &"x".repeat(115);
    vec![
        valid_case(
            "valid-35",
            "35 bytes of text, the size that the overhead is counted for",
            &plain(ContentType::TEXT, b"The quick brown fox is at your door"),
        ),
        valid_case("valid-empty", "no payload", &plain(ContentType::BYTES, b"")),
        valid_case("valid-json", "content format 50", &plain(ContentType::JSON, b"{}")),
        valid_case(
            "valid-media-type",
            "a media type that has no number",
            &plain("image/png".parse().unwrap(), b"\x89PNG"),
        ),
        valid_case("valid-media-type-127", "the longest content type", &plain(longest.parse().unwrap(), b"x")),
        valid_case("valid-control", "a letter between the two runtimes", &control),
        valid_case("valid-all-fields", "every field, and extensions known and unknown", &full()),
        valid_case(
            "valid-critical-known",
            "a critical extension that this version knows",
            &Letter { extensions: vec![extension(1, true)], ..plain(ContentType::TEXT, b"") },
        ),
        valid_case(
            "valid-unknown-not-critical",
            "an unknown extension that is not critical is passed over",
            &Letter { extensions: vec![extension(65_535, false)], ..plain(ContentType::TEXT, b"") },
        ),
        valid_case(
            "valid-token",
            "a transaction token, whole; what it is worth is seen after the letter was read",
            &Letter { extensions: vec![token(b"e30.e30.AAAA".repeat(9))], ..plain(ContentType::TEXT, b"") },
        ),
        valid_case(
            "valid-history",
            "an earlier letter of a channel, handed over",
            &Letter { extensions: vec![history()], ..plain(ContentType::TEXT, b"the ship leaves at six") },
        ),
        valid_case("valid-call", "part of a call: a request", &called()),
        valid_case(
            "valid-token-hash",
            "a token that came before, by its hash",
            &Letter { extensions: vec![token(vec![0x5a; 32])], ..plain(ContentType::TEXT, b"") },
        ),
        valid_case("valid-eight-extensions", "as many as a list may have", &eight),
        valid_case(
            "valid-deadline-after-life",
            "a deadline beyond the longest life does not lengthen it",
            &Letter { deadline: Some(UnixMillis(NOW.0 + 30 * DAY)), ..plain(ContentType::TEXT, b"late") },
        ),
    ]
}

fn times() -> Vec<Case> {
    let made =
        |at: u64| Letter::plain(LetterId::new(UnixMillis(at), fixed("letter times")), ContentType::TEXT, b"t".to_vec());
    let no = |name: &str, comment: &str, letter: &Letter, error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(letter.encode()), "now": NOW.0 }), error)
    };
    let due = |at: u64| Letter { deadline: Some(UnixMillis(at)), ..made(NOW.0 - HOUR) };
    vec![
        valid_case("valid-skew-ahead", "made as far in the future as the skew allows", &made(NOW.0 + SKEW)),
        no("future", "made a millisecond later than the skew allows", &made(NOW.0 + SKEW + 1), "future"),
        valid_case(
            "valid-oldest",
            "the last millisecond of the longest life and its margin",
            &made(NOW.0 - 7 * DAY - SKEW),
        ),
        no("too-old", "a millisecond later", &made(NOW.0 - 7 * DAY - SKEW - 1), "expired"),
        valid_case("valid-deadline", "the last millisecond of a deadline and its margin", &due(NOW.0 - SKEW)),
        no("deadline", "a millisecond later", &due(NOW.0 - SKEW - 1), "expired"),
        no("deadline-0", "a deadline of 1970", &due(0), "expired"),
    ]
}

/// A valid letter as items.
fn items() -> Item {
    let extension = |number, critical| Array(vec![Uint(number), Bool(critical), bytes([5])]);
    Array(vec![
        bytes(id().as_bytes()),
        Uint(16),
        Null,
        Null,
        Uint(0),
        bytes("payload"),
        Array(vec![extension(1, true), extension(9, false)]),
    ])
}

fn no(name: &str, comment: &str, letter: &Item, error: &str) -> Case {
    Case::refused(AREA, name, comment, json!({ "bytes": hex(letter.encode()), "now": NOW.0 }), error)
}

fn identifiers() -> Vec<Case> {
    let with = |at: usize, byte: u8| {
        let mut id = *id().as_bytes();
        id[at] = byte;
        bytes(id)
    };
    let shown = *id().as_bytes();
    vec![
        no("id-version-4", "a random UUID carries no time", &items().with(0, with(6, 0x4a)), "malformed"),
        no("id-variant", "not the variant of RFC 9562", &items().with(0, with(8, 0xc0)), "malformed"),
        no("id-zero", "the nil UUID", &items().with(0, bytes([0; 16])), "malformed"),
        no("id-short", "15 bytes", &items().with(0, bytes(&shown[..15])), "codec"),
        no("id-text", "the id as 16 characters", &items().with(0, text("0123456789abcdef")), "codec"),
        no("reply-to-version-4", "a letter id too", &items().with(2, with(6, 0x4a)), "malformed"),
        no("reply-to-short", "15 bytes", &items().with(2, bytes(&shown[..15])), "codec"),
        no("reply-to-empty", "null is the only way to say none", &items().with(2, bytes([])), "codec"),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        no("kind-0", "no letter", &items().with(1, Uint(0)), "malformed"),
        no("kind-frame", "a frame's kind is none of a letter", &items().with(1, Uint(2)), "malformed"),
        no("kind-18", "of the future", &items().with(1, Uint(18)), "malformed"),
        no("kind-256", "a kind has 8 bits", &items().with(1, Uint(256)), "codec"),
        no("deadline-negative", "-1", &items().with(3, Raw(vec![0x20])), "codec"),
        no(
            "deadline-float",
            "a time has no fractions",
            &items().with(3, Raw(vec![0xfb, 0x42, 0x78, 0, 0, 0, 0, 0, 0])),
            "codec",
        ),
        no("content-type-unknown-number", "a content format without a name here", &items().with(4, Uint(99)), "codec"),
        no(
            "content-type-number-as-text",
            "a type that has a number is written as the number",
            &items().with(4, text("application/json")),
            "codec",
        ),
        no("content-type-empty", "an empty text", &items().with(4, text("")), "codec"),
        no("content-type-128", "a character too many", &items().with(4, text(&"x".repeat(128))), "codec"),
        no(
            "content-type-line-end",
            "a line end would forge a header line",
            &items().with(4, text("text/html\r\nX: y")),
            "codec",
        ),
        no("content-type-not-ascii", "a letter that is not ASCII", &items().with(4, text("text/plaïn")), "codec"),
        no("content-type-null", "there is always a type", &items().with(4, Null), "codec"),
        no("content-type-bytes", "a byte string is no text", &items().with(4, bytes("text/html")), "codec"),
        no("payload-text", "a payload is bytes", &items().with(5, text("payload")), "codec"),
        no("payload-null", "no payload is the empty byte string", &items().with(5, Null), "codec"),
        no(
            "six-items",
            "the extensions are missing",
            &Array((0..6).map(|at| items().at(at).clone()).collect()),
            "codec",
        ),
        no(
            "eight-items",
            "an item too many",
            &Array((0..7).map(|at| items().at(at).clone()).chain([Null]).collect()),
            "codec",
        ),
    ]
}

/// contracts/channel.md C66.
fn history() -> Extension {
    let channel = ChannelId::from_bytes(fixed("channel"));
    let (author, reply_to) = (actor("carol").identity.id(), Some(id()));
    History { channel, author, id: id(), reply_to }.extension()
}

/// contracts/call.md X1.
fn called() -> Letter {
    let service = "files".parse().unwrap();
    let place = CallPlace { what: What::Request, service, session: None, head: Head::of([("traceparent", "00-")]) };
    let asked = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_vec();
    Letter { extensions: vec![place.extension().unwrap()], ..Letter::plain(id(), ContentType::JSON, asked) }
}

fn extensions() -> Vec<Case> {
    let list = |numbers: &[(u64, bool)]| {
        let one = |(number, critical): &(u64, bool)| Array(vec![Uint(*number), Bool(*critical), bytes([])]);
        items().with(6, Array(numbers.iter().map(one).collect()))
    };
    let broken = |item: Item| items().with(6, Array(vec![item]));
    let nine: Vec<_> = (1..10).map(|number| (number, false)).collect();
    vec![
        no("extensions-descending", "a list has one order", &list(&[(9, false), (2, false)]), "malformed"),
        no("extensions-twice", "each number once", &list(&[(2, false), (2, false)]), "malformed"),
        no("extensions-nine", "one more than a list may have", &list(&nine), "malformed"),
        no(
            "extension-unknown-critical",
            "a receiver that does not know it cannot do what the letter asks",
            &list(&[(3, true)]),
            "unknown-extension",
        ),
        no("extension-zero-critical", "number 0 has no meaning", &list(&[(0, true)]), "unknown-extension"),
        no(
            "extensions-order-first",
            "a broken list is told before an unknown number in it",
            &list(&[(9, true), (2, false)]),
            "malformed",
        ),
        no("extension-wide", "a number has 16 bits", &list(&[(65_536, false)]), "codec"),
        no("extension-two-items", "a value is never left out", &broken(Array(vec![Uint(5), Bool(false)])), "codec"),
        no("extension-flag-1", "1 is not true", &broken(Array(vec![Uint(5), Uint(1), bytes([])])), "codec"),
        no("extension-value-text", "a value is bytes", &broken(Array(vec![Uint(5), Bool(false), text("x")])), "codec"),
        no("extensions-null", "no extensions is the empty list", &items().with(6, Null), "codec"),
        no("extensions-map", "a map is no list", &items().with(6, Raw(vec![0xa0])), "codec"),
    ]
}

fn spellings() -> Vec<Case> {
    let raw = items().encode();
    let indefinite = |at: usize, item: &[u8]| items().with(at, Raw([&[0x9f], item, &[0xff]].concat()));
    let list: Vec<u8> = items().at(6).encode()[1..].to_vec();
    let bad = |name: &str, comment: &str, bytes: &[u8]| no(name, comment, &Raw(bytes.to_vec()), "codec");
    vec![
        bad("empty", "no bytes", &[]),
        bad("trailing", "a byte behind the letter", &[&raw[..], &[0]].concat()),
        bad("cut", "the last byte is missing", &raw[..raw.len() - 1]),
        bad("padded", "padding is taken off before", &[&raw[..], &[0x80, 0, 0]].concat()),
        no("kind-long", "10 is 16 in one byte", &items().with(1, Raw(vec![0x18, 16])), "codec"),
        no("content-type-long", "00 is 0 in one byte", &items().with(4, Raw(vec![0x18, 0])), "codec"),
        no(
            "payload-chunked",
            "a byte string in chunks",
            &items().with(5, Raw(b"\x5f\x43pay\x44load\xff".to_vec())),
            "codec",
        ),
        no("extensions-indefinite", "a list without length", &indefinite(6, &list), "codec"),
        no("reply-to-undefined", "undefined is not null", &items().with(2, Raw(vec![0xf7])), "codec"),
        no(
            "deadline-tagged",
            "a tagged time",
            &items().with(3, Raw(vec![0xc1, 0x1a, 0x6a, 0xb1, 0x00, 0x00])),
            "codec",
        ),
    ]
}
