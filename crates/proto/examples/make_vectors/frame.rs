//! Frames as bytes: well formed or refused, before any key (contracts/frame.md).

use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, long_head, text};
use super::kit::{Case, fixed, hex};

const AREA: &str = "frame";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), versions(), kinds(), lengths(), spellings()].into_iter().flatten().collect()
}

fn tag() -> Item {
    bytes(fixed::<16>("frame tag"))
}

fn nonce() -> Item {
    bytes(fixed::<12>("frame nonce"))
}

fn sealed_header() -> Item {
    bytes(fixed::<90>("frame sealed header"))
}

fn body(len: usize) -> Item {
    bytes(&fixed::<200>("frame sealed body")[..len])
}

fn start() -> Item {
    Array(vec![Uint(1), Uint(1), tag(), nonce(), bytes(fixed::<40>("frame handshake")), body(80), sealed_header()])
}

fn letter() -> Item {
    Array(vec![Uint(1), Uint(2), tag(), nonce(), body(80), sealed_header()])
}

fn ack() -> Item {
    Array(vec![Uint(1), Uint(3), tag(), nonce(), sealed_header()])
}

fn notice() -> Item {
    Array(vec![Uint(1), Uint(4), tag(), Uint(16)])
}

fn sealed(name: &str, comment: &str, frame: &Item, kind: u8, handshake: Option<Item>, body: Option<Item>) -> Case {
    let part = |item: Option<Item>| {
        item.map_or(Value::Null, |item| if let Item::Bytes(b) = item { hex(b) } else { Value::Null })
    };
    let frame = frame.encode();
    let expect = json!({
        "kind": kind,
        "tag": part(Some(tag())),
        "nonce": part(Some(nonce())),
        "handshake": part(handshake),
        "body": part(body),
        "header": part(Some(sealed_header())),
        "in_front_len": frame.len() - 90,
    });
    Case::valid(AREA, name, comment, json!({ "bytes": hex(&frame) }), expect)
}

fn valid() -> Vec<Case> {
    let code = |code: u64| notice().with(3, Uint(code)).encode();
    let noticed = |code: u64| json!({ "kind": 4, "tag": hex(fixed::<16>("frame tag")), "code": code });
    vec![
        sealed(
            "start",
            "a letter with the handshake in front",
            &start(),
            1,
            Some(bytes(fixed::<40>("frame handshake"))),
            Some(body(80)),
        ),
        sealed("letter", "the shortest body: 64 bytes padded, and the AEAD's tag", &letter(), 2, None, Some(body(80))),
        sealed("letter-200", "a longer body", &letter().with(4, body(200)), 2, None, Some(body(200))),
        sealed("ack", "an acknowledgement alone has no body", &ack(), 3, None, None),
        Case::valid(AREA, "notice", "a hint without a seal", json!({ "bytes": hex(notice().encode()) }), noticed(16)),
        Case::valid(
            AREA,
            "notice-unknown-code",
            "a code of the future is well formed",
            json!({ "bytes": hex(code(65_535)) }),
            noticed(65_535),
        ),
    ]
}

fn no(name: &str, comment: &str, frame: &[u8], error: &str) -> Case {
    Case::refused(AREA, name, comment, json!({ "bytes": hex(frame) }), error)
}

fn versions() -> Vec<Case> {
    let with = |version: Item| letter().with(0, version).encode();
    let tagged = [vec![0xd9, 0xd9, 0xf7], letter().encode()].concat();
    let long = [long_head(4, 6, 1), letter().encode()[1..].to_vec()].concat();
    vec![
        no("version-0", "never existed", &with(Uint(0)), "version"),
        no("version-2", "of the future: refused, not guessed", &with(Uint(2)), "version"),
        no("version-23", "the last version that fits the byte", &with(Uint(23)), "version"),
        no(
            "version-long",
            "18 01 is 1 in two bytes: the second byte of a frame is 01, or it is another version",
            &with(Raw(vec![0x18, 1])),
            "version",
        ),
        no("version-text", "a version that is text", &with(text("1")), "version"),
        no(
            "version-2-garbage",
            "a version is looked at before anything behind it, so that a new form is told as new",
            &[0x9f, 0x02, 0xff, 0xff],
            "version",
        ),
        no("tagged", "the self-described tag 55799 moves the version away", &tagged, "version"),
        no("array-long-head", "98 06 is an array of six in two bytes", &long, "version"),
    ]
}

fn kinds() -> Vec<Case> {
    let with = |kind: Item| letter().with(1, kind).encode();
    vec![
        no("kind-0", "never existed", &with(Uint(0)), "kind"),
        no("kind-5", "a channel's frame, which has its own reader", &with(Uint(5)), "kind"),
        no("kind-long", "18 02 is 2 in two bytes", &with(Raw(vec![0x18, 2])), "kind"),
        no("kind-16", "a letter's kind is none of a frame", &with(Uint(16)), "kind"),
        no("kind-start-without-handshake", "a start has seven items", &with(Uint(1)), "codec"),
        no("kind-ack-with-body", "an acknowledgement has five items", &with(Uint(3)), "codec"),
        no("kind-letter-with-handshake", "a letter has six items", &start().with(1, Uint(2)).encode(), "codec"),
        no("kind-letter-without-body", "a letter has six items", &ack().with(1, Uint(2)).encode(), "codec"),
        no("kind-notice-with-header", "a notice has four items", &ack().with(1, Uint(4)).encode(), "codec"),
    ]
}

fn lengths() -> Vec<Case> {
    let with = |at: usize, len: usize| letter().with(at, body(len)).encode();
    vec![
        no("tag-15", "a tag has 16 bytes", &with(2, 15), "codec"),
        no("tag-17", "a tag has 16 bytes", &with(2, 17), "codec"),
        no("nonce-11", "a nonce has 12 bytes", &with(3, 11), "codec"),
        no("nonce-13", "a nonce has 12 bytes", &with(3, 13), "codec"),
        no("nonce-24", "not the nonce of XChaCha20", &with(3, 24), "codec"),
        no("body-0", "an empty body", &with(4, 0), "length"),
        no("body-79", "shorter than any padded letter", &with(4, 79), "length"),
        no("header-0", "an empty header", &with(5, 0), "length"),
        no("header-89", "a sealed header has 90 bytes", &with(5, 89), "length"),
        no("header-91", "a sealed header has 90 bytes", &with(5, 91), "length"),
        no("ack-header-74", "a header in clear", &ack().with(4, body(74)).encode(), "length"),
    ]
}

fn spellings() -> Vec<Case> {
    let raw = letter().encode();
    let (front, header) = raw.split_at(raw.len() - 92);
    let indefinite = [vec![0x9f], raw[1..].to_vec(), vec![0xff]].concat();
    let chunked = [front, &[0x5f], header, &[0xff]].concat();
    let long_header = [front, &[0x59, 0x00, 90], &header[2..]].concat();
    let as_array = Array(fixed::<12>("frame nonce").iter().map(|byte| Uint((*byte).into())).collect());
    vec![
        no("empty", "no bytes", &[], "codec"),
        no("one-byte", "an array head alone", &[0x86], "codec"),
        no("two-bytes", "head and version", &[0x86, 0x01], "codec"),
        no("cut", "the last byte is missing", &raw[..raw.len() - 1], "codec"),
        no("trailing", "a byte behind the frame", &[&raw[..], &[0]].concat(), "codec"),
        no("twice", "a frame behind the frame", &[&raw[..], &raw].concat(), "codec"),
        no("array-indefinite", "an array without length", &indefinite, "codec"),
        no("header-chunked", "a byte string in chunks", &chunked, "codec"),
        no("header-long-head", "59 00 5a is 90 in three bytes", &long_header, "codec"),
        no("map", "six pairs are not six items", &[&[0xa6], &raw[1..]].concat(), "codec"),
        no("nonce-array", "twelve integers are not twelve bytes", &letter().with(3, as_array).encode(), "codec"),
        no(
            "tag-text",
            "sixteen characters are not sixteen bytes",
            &letter().with(2, text("sixteen letters!")).encode(),
            "codec",
        ),
        no("body-text", "a body that is text", &letter().with(4, text(&"a".repeat(80))).encode(), "codec"),
        no(
            "body-null",
            "a letter without body is an acknowledgement of another kind",
            &letter().with(4, Null).encode(),
            "codec",
        ),
        no(
            "notice-code-long",
            "18 10 is canonical, 19 0010 is not",
            &notice().with(3, Raw(vec![0x19, 0, 16])).encode(),
            "codec",
        ),
        no("notice-code-wide", "a code has 16 bits", &notice().with(3, Uint(65_536)).encode(), "codec"),
        no("notice-code-negative", "-1", &notice().with(3, Raw(vec![0x20])).encode(), "codec"),
        no("notice-code-float", "16.0 is not 16", &notice().with(3, Raw(vec![0xf9, 0x4c, 0x00])).encode(), "codec"),
        no(
            "huge-length",
            "a body that claims 2^63 bytes meets the end of the frame, not the allocator",
            &[&front[..front.len() - 82], &[0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0]].concat(),
            "codec",
        ),
    ]
}
