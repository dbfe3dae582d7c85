//! Large payloads: the handle in a letter, and the chunks beside it (contracts/letter.md section 6).

use nuncio_contracts::registry::label;
use nuncio_proto::crypto;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes};
use super::kit::{Case, fixed, hex};

const AREA: &str = "payload";
const CHUNK: u64 = 65_536;
const GIB: u64 = 1 << 30;

pub(crate) fn cases() -> Vec<Case> {
    [handles(), handles_refused(), sealed(), opened(), opened_refused()].into_iter().flatten().collect()
}

fn items(len: u64) -> Item {
    Array(vec![bytes(fixed::<16>("payload id")), bytes(fixed::<32>("payload key")), Uint(len)])
}

fn chunks(len: u64) -> u64 {
    len.div_ceil(CHUNK).max(1)
}

fn chunk_len(len: u64, index: u64) -> u64 {
    CHUNK.min(len - index * CHUNK)
}

/// Ciphertext and tag of a chunk.
fn seal(len: u64, index: u64, chunk: &[u8]) -> Vec<u8> {
    let last = u8::from(index + 1 == chunks(len));
    let nonce: [u8; 12] = [&[0, 0, 0, last][..], &index.to_be_bytes()].concat().try_into().unwrap();
    let ad = [label::PAYLOAD, &[0], &fixed::<16>("payload id"), &len.to_be_bytes()].concat();
    let mut sealed = chunk.to_vec();
    let tag = crypto::seal_in_place(&fixed("payload key"), &nonce, &ad, &mut sealed);
    [sealed, tag.to_vec()].concat()
}

fn handles() -> Vec<Case> {
    let case = |name: &str, comment: &str, len: u64| {
        let (id, key) = (hex(fixed::<16>("payload id")), hex(fixed::<32>("payload key")));
        let expect =
            json!({ "id": id, "key": key, "len": len, "chunks": chunks(len), "sealed_len": len + 16 * chunks(len) });
        Case::valid(AREA, name, comment, json!({ "what": "handle", "bytes": hex(items(len).encode()) }), expect)
    };
    vec![
        case("handle", "an ordinary one", 1_000_000),
        case("handle-empty", "no bytes are one chunk, so that there is something to authenticate", 0),
        case("handle-one-chunk", "a full chunk is the last one", CHUNK),
        case("handle-two-chunks", "a byte more is a second chunk", CHUNK + 1),
        case("handle-largest", "1 GiB", GIB),
    ]
}

fn handles_refused() -> Vec<Case> {
    let no = |name: &str, comment: &str, item: &Item| {
        Case::refused(AREA, name, comment, json!({ "what": "handle", "bytes": hex(item.encode()) }), "malformed")
    };
    vec![
        no("handle-too-large", "a byte more than 1 GiB", &items(GIB + 1)),
        no("handle-huge", "2^64 - 1", &items(u64::MAX)),
        no("handle-id-short", "15 bytes", &items(5).with(0, bytes([1; 15]))),
        no("handle-key-short", "31 bytes", &items(5).with(1, bytes([1; 31]))),
        no("handle-len-null", "a length is known", &items(5).with(2, Null)),
        no("handle-len-long", "05 is 5 in one byte", &items(5).with(2, Raw(vec![0x18, 5]))),
        no("handle-trailing", "a byte behind", &Raw([items(5).encode(), vec![0]].concat())),
        no("handle-empty-bytes", "nothing", &Raw(vec![])),
    ]
}

fn sealed() -> Vec<Case> {
    let case = |name: &str, comment: &str, len: u64, index: u64| {
        let sealed = seal(len, index, &vec![0x61; chunk_len(len, index) as usize]);
        let input = json!({ "what": "seal", "handle": hex(items(len).encode()), "index": index, "byte": 0x61 });
        let expect = json!({
            "sealed_len": sealed.len(),
            "sealed_sha256": hex(crypto::sha256(&[&sealed])),
            "tag": hex(&sealed[sealed.len() - 16..]),
        });
        Case::valid(AREA, name, comment, input, expect)
    };
    vec![
        case("seal-first", "the first of three chunks, all of them of one byte's value", 2 * CHUNK + 5, 0),
        case("seal-middle", "the same plaintext in another place", 2 * CHUNK + 5, 1),
        case("seal-last", "the last, shorter one", 2 * CHUNK + 5, 2),
        case("seal-only", "one chunk is the first and the last", 5, 0),
        case("seal-full-last", "a last chunk that is full", 2 * CHUNK, 1),
        case("seal-empty", "no bytes are a chunk of a tag", 0, 0),
        case("seal-last-of-1-gib", "index 16,383", GIB, GIB / CHUNK - 1),
    ]
}

fn opening(len: u64, index: u64, sealed: &[u8]) -> Value {
    json!({ "what": "open", "handle": hex(items(len).encode()), "index": index, "sealed": hex(sealed) })
}

fn opened() -> Vec<Case> {
    let good = seal(5, 0, b"hello");
    vec![Case::valid(AREA, "open", "five bytes", opening(5, 0, &good), json!({ "plaintext": hex(b"hello") }))]
}

fn opened_refused() -> Vec<Case> {
    let good = seal(5, 0, b"hello");
    let end = seal(2 * CHUNK + 5, 2, b"hello");
    let no = |name: &str, comment: &str, len: u64, index: u64, sealed: &[u8]| {
        Case::refused(AREA, name, comment, opening(len, index, sealed), "not-authentic")
    };
    let altered = |at: usize| {
        let mut sealed = good.clone();
        sealed[at] ^= 1;
        sealed
    };
    vec![
        no("open-altered", "a bit of the ciphertext", 5, 0, &altered(0)),
        no("open-tag-altered", "a bit of the tag", 5, 0, &altered(20)),
        no("open-cut", "a byte is missing", 5, 0, &good[..20]),
        no("open-longer", "a byte too many", 5, 0, &[&good[..], &[0]].concat()),
        no("open-empty", "no tag", 5, 0, &[]),
        no(
            "open-other-length",
            "the handle's length is bound: a payload is not cut to fewer chunks",
            6,
            0,
            &seal(5, 0, b"hello!"),
        ),
        no("open-other-place", "the last chunk of a longer payload, in place 2 of another", 3 * CHUNK + 5, 3, &end),
        no("open-not-the-last", "a chunk that is the last of a shorter payload", 5, 0, &end),
    ]
}
