//! The steps of the ratchet, one at a time (contracts/ratchet.md section 1).

use nuncio_proto::crypto;
use nuncio_proto::secret::Key;
use serde_json::json;

use super::kit::{Case, fixed, hex};
use super::model::{kdf_ck, kdf_rk, public_of, tag_of};

const AREA: &str = "kdf";

pub(crate) fn cases() -> Vec<Case> {
    [roots(), small_orders(), chains(), tags()].into_iter().flatten().collect()
}

fn roots() -> Vec<Case> {
    let case = |name: &str, comment: &str, rk: [u8; 32]| {
        let (mine, theirs) = (fixed(&format!("{name} mine")), public_of(&fixed(&format!("{name} theirs"))));
        let dh = *crypto::dh(&Key::new(mine), &theirs).unwrap().expose();
        let [next, ck, nhk] = kdf_rk(&rk, &dh);
        let input = json!({ "step": "root", "rk": hex(rk), "secret": hex(mine), "public": hex(theirs) });
        let expect = json!({ "dh": hex(dh), "rk": hex(next), "ck": hex(ck), "nhk": hex(nhk) });
        Case::valid(AREA, name, comment, input, expect)
    };
    vec![
        case("root", "root key and DH output to root key, chain key and next header key", fixed("kdf rk")),
        case("root-zero-key", "a root key of zeros is a salt like any other", [0; 32]),
    ]
}

fn small_orders() -> Vec<Case> {
    let f = "ff".repeat(30);
    let points = [
        ("root-public-0", "u = 0", "00".repeat(32)),
        ("root-public-1", "u = 1", format!("01{}", "00".repeat(31))),
        (
            "root-public-order-8-a",
            "a point of order 8",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800".into(),
        ),
        (
            "root-public-order-8-b",
            "a point of order 8",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157".into(),
        ),
        ("root-public-p-minus-1", "u = p - 1", format!("ec{f}7f")),
        ("root-public-p", "u = p is 0 in a second spelling", format!("ed{f}7f")),
        ("root-public-p-plus-1", "u = p + 1 is 1 in a second spelling", format!("ee{f}7f")),
        ("root-public-0-high-bit", "u = 0 with the bit that X25519 ignores", format!("{}80", "00".repeat(31))),
    ];
    points
        .map(|(name, comment, public)| {
            let input = json!({ "step": "root", "rk": hex(fixed::<32>("kdf rk")), "secret": hex(fixed::<32>("kdf mine")), "public": public });
            Case::refused(AREA, name, &format!("{comment}: the secret is all zero, whoever computes it"), input, "all-zero")
        })
        .into()
}

fn chains() -> Vec<Case> {
    let case = |name: &str, comment: &str, ck: [u8; 32]| {
        let [next, mk] = kdf_ck(&ck);
        Case::valid(
            AREA,
            name,
            comment,
            json!({ "step": "chain", "ck": hex(ck) }),
            json!({ "ck": hex(next), "mk": hex(mk) }),
        )
    };
    let first: [u8; 32] = fixed("kdf ck");
    vec![
        case("chain", "message key from 0x01, next chain key from 0x02", first),
        case("chain-next", "the step after it", kdf_ck(&first)[0]),
        case("chain-zero-key", "a chain key of zeros", [0; 32]),
    ]
}

fn tags() -> Vec<Case> {
    let case = |name: &str, comment: &str, hk: [u8; 32]| {
        Case::valid(AREA, name, comment, json!({ "step": "tag", "hk": hex(hk) }), json!({ "tag": hex(tag_of(&hk)) }))
    };
    vec![
        case("tag", "half of an HMAC names a header key", fixed("kdf hk")),
        case("tag-zero-key", "a header key of zeros", [0; 32]),
    ]
}
