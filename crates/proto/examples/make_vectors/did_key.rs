//! `did:key`: one agent, one spelling (contracts/identity.md section 1).

use multibase::Base;
use serde_json::json;

use super::kit::{Case, actor, hex};

const AREA: &str = "did-key";
const ED25519: &[u8] = &[0xed, 0x01];

pub(crate) fn cases() -> Vec<Case> {
    [valid(), spelling(), other_keys(), unusable()].into_iter().flatten().collect()
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, key: &[u8]| {
        Case::valid(AREA, name, comment, json!({ "text": did(key) }), json!({ "key": hex(key) }))
    };
    let rfc8032 = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    vec![
        case("valid-alice", "the initiator of the handshake vectors", actor("alice").identity.id().as_bytes()),
        case("valid-bob", "the responder of the handshake vectors", actor("bob").identity.id().as_bytes()),
        case("valid-rfc8032", "the public key of RFC 8032 section 7.1, test 1", &rfc8032),
        case(
            "valid-y-3",
            "a canonical point of an unusual form: y = 3, and all other bytes zero",
            &[&[3_u8][..], &[0; 31]].concat(),
        ),
    ]
}

fn spelling() -> Vec<Case> {
    let alice = actor("alice").did();
    let encoded = alice.strip_prefix("did:key:").unwrap().to_owned();
    let bytes = [ED25519, actor("alice").identity.id().as_bytes()].concat();
    let other = |base| format!("did:key:{}", multibase::encode(base, &bytes));
    let no = |name: &str, comment: &str, text: String, error: &str| {
        Case::refused(AREA, name, comment, json!({ "text": text }), error)
    };
    vec![
        no("empty", "nothing at all", String::new(), "not-did-key"),
        no("no-prefix", "the multibase text alone", encoded.clone(), "not-did-key"),
        no("other-method", "another DID method", format!("did:web:{encoded}"), "not-did-key"),
        no("uppercase-prefix", "DID methods are lowercase", alice.replace("did:key", "DID:KEY"), "not-did-key"),
        no("leading-space", "no white space is skipped in front", format!(" {alice}"), "not-did-key"),
        no("trailing-space", "no white space is skipped behind", format!("{alice} "), "not-base58"),
        no("trailing-newline", "a line end is white space too", format!("{alice}\n"), "not-base58"),
        no(
            "inner-space",
            "no white space is skipped inside",
            format!("did:key:{} {}", &encoded[..20], &encoded[20..]),
            "not-base58",
        ),
        no("prefix-alone", "nothing behind did:key:", "did:key:".into(), "not-base58"),
        no("uppercase-z", "Z is base58flickr, another alphabet", alice.replacen(":z", ":Z", 1), "not-base58"),
        no("base16", "multibase f: the same key in a second spelling", other(Base::Base16Lower), "not-base58"),
        no("base32", "multibase b: the same key in a second spelling", other(Base::Base32Lower), "not-base58"),
        no("base64url", "multibase u: the same key in a second spelling", other(Base::Base64Url), "not-base58"),
        no("base58flickr", "multibase Z: the same key in a second spelling", other(Base::Base58Flickr), "not-base58"),
        no("character-zero", "0 is not in the base58 alphabet", replace_last(&alice, '0'), "not-base58"),
        no("character-l", "l is not in the base58 alphabet", replace_last(&alice, 'l'), "not-base58"),
        no("character-not-ascii", "a letter that is not ASCII", replace_last(&alice, 'é'), "not-base58"),
        no(
            "fragment",
            "a DID URL names a key of a document; an agent is the DID alone",
            format!("{alice}#{encoded}"),
            "not-base58",
        ),
        no("too-long", "more than 64 characters are not decoded", format!("did:key:z{}", "1".repeat(64)), "not-base58"),
    ]
}

fn other_keys() -> Vec<Case> {
    let key = *actor("alice").identity.id().as_bytes();
    let no = |name: &str, comment: &str, parts: &[&[u8]]| {
        let text = format!("did:key:{}", multibase::encode(Base::Base58Btc, parts.concat()));
        Case::refused(AREA, name, comment, json!({ "text": text }), "not-ed25519")
    };
    vec![
        no("z-alone", "no bytes at all", &[]),
        no("multicodec-x25519", "a key agreement key signs nothing", &[&[0xec, 0x01], &key]),
        no("multicodec-secp256k1", "another curve", &[&[0xe7, 0x01], &key]),
        no("multicodec-private", "an Ed25519 private key", &[&[0x80, 0x26], &key]),
        no("multicodec-missing", "the key without its multicodec", &[&key]),
        no("multicodec-long-varint", "ed 81 00 is the same number with a byte too many", &[&[0xed, 0x81, 0x00], &key]),
        no("leading-zero", "a zero byte in front", &[&[0x00], ED25519, &key]),
        no("short", "31 bytes of key", &[ED25519, &key[..31]]),
        no("long", "33 bytes of key", &[ED25519, &key, &[0]]),
        no("no-key", "the multicodec alone", &[ED25519]),
    ]
}

fn unusable() -> Vec<Case> {
    let no = |name: &str, comment: &str, key: &str| {
        Case::refused(AREA, name, comment, json!({ "text": did(&unhex(key)) }), "bad-key")
    };
    let f = "ff".repeat(30);
    vec![
        no("order-1", "the neutral point: every signature verifies under it", &format!("01{}", "00".repeat(31))),
        no("order-2", "y = -1", &format!("ec{f}7f")),
        no("order-4", "y = 0", &"00".repeat(32)),
        no("order-4-negative", "y = 0 with the sign bit", &format!("{}80", "00".repeat(31))),
        no("order-8-a", "a point of order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        no("order-8-b", "a point of order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        no(
            "negative-zero",
            "x = 0 with the sign bit: a second spelling of the neutral point",
            &format!("01{}80", "00".repeat(30)),
        ),
        no("not-canonical-order-4", "y = p is y = 0 in a second spelling", &format!("ed{f}7f")),
        no("not-canonical", "y = p + 3: a good point in a second spelling", &format!("f0{f}7f")),
        no("not-a-point", "y = 2 is on no point of the curve", &format!("02{}", "00".repeat(31))),
        no("all-ones", "y = 2^255 - 1 with the sign bit", &"ff".repeat(32)),
    ]
}

fn did(key: &[u8]) -> String {
    format!("did:key:{}", multibase::encode(Base::Base58Btc, [ED25519, key].concat()))
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn replace_last(text: &str, with: char) -> String {
    format!("{}{with}", &text[..text.len() - 1])
}
