//! Header and body sealing: keys, nonce and header to the bytes of a frame (contracts/frame.md sections 2 and 3).

use nuncio_proto::header::{Ack, Header};
use serde_json::{Value, json};

use super::kit::{Case, actor, fixed, hex};
use super::letter;
use super::model::{Setup, body_ad, make_frame, pad, tag_of};

const AREA: &str = "sealing";

pub(crate) fn cases() -> Vec<Case> {
    let text = nuncio_proto::letter::Letter::plain(
        letter::id(),
        nuncio_proto::content_type::ContentType::TEXT,
        b"The quick brown fox is at your door".to_vec(),
    );
    let (text, full) = (text.encode(), letter::full().encode());
    let handshake = Some(vec![0xaa; 48]);
    vec![
        case(
            "letter",
            "a letter of 35 bytes of text: 176 bytes on the wire are allowed, and padding is in it",
            true,
            None,
            Some(&text),
            &header(),
        ),
        case(
            "letter-from-responder",
            "the same keys in the other direction would give another body",
            false,
            None,
            Some(&text),
            &header(),
        ),
        case("letter-all-fields", "a letter with every field", true, None, Some(&full), &header()),
        case("letter-empty", "no letter is empty, but sealing does not know that", true, None, Some(b""), &header()),
        case("letter-large-numbers", "each field of the header at its bound", false, None, Some(&text), &largest()),
        case(
            "start",
            "the handshake stands in front of the body, and the header binds it",
            true,
            handshake.clone(),
            Some(&text),
            &header(),
        ),
        case("ack", "a header alone; its n and seq are those of the next letter", true, None, None, &header()),
        case("ack-during-start", "an acknowledgement alone carries no handshake", true, handshake, None, &header()),
    ]
}

fn header() -> Header {
    Header {
        ratchet_key: fixed("sealing ratchet key"),
        n: 3,
        pn: 2,
        seq: 9,
        floor_below: 4,
        ack: Ack { next: 6, check: fixed("sealing check"), above: 0b101 },
    }
}

fn largest() -> Header {
    Header {
        ratchet_key: fixed("sealing ratchet key"),
        n: u32::MAX,
        pn: u32::MAX,
        seq: u64::MAX,
        floor_below: u16::MAX,
        ack: Ack { next: u64::MAX, check: [0xff; 8], above: u64::MAX },
    }
}

/// 64-bit numbers as text: JSON's readers keep 53 bits.
pub(crate) fn header_json(header: &Header) -> Value {
    json!({
        "ratchet_key": hex(header.ratchet_key),
        "n": header.n,
        "pn": header.pn,
        "seq": header.seq.to_string(),
        "floor_below": header.floor_below,
        "ack_next": header.ack.next.to_string(),
        "ack_check": hex(header.ack.check),
        "ack_above": hex(header.ack.above.to_be_bytes()),
    })
}

fn case(
    name: &str,
    comment: &str,
    from_initiator: bool,
    handshake: Option<Vec<u8>>,
    letter: Option<&[u8]>,
    header: &Header,
) -> Case {
    let setup = Setup {
        initiator: actor("alice").identity.id(),
        responder: actor("bob").identity.id(),
        session: fixed("sealing session"),
        rk: [0; 32],
        hka: [0; 32],
        nhkb: [0; 32],
        prekey: [0; 32],
        handshake,
    };
    let (hk, mk, nonce): ([u8; 32], [u8; 32], [u8; 12]) =
        (fixed("sealing hk"), fixed("sealing mk"), fixed("sealing nonce"));
    let clear = header.to_bytes();
    let padded = letter.map(pad);
    let (kind, body, frame) =
        make_frame(&setup, from_initiator, (&hk, letter.map(|_| &mk)), &nonce, padded.as_deref(), &clear);
    let or_null = |bytes: Option<Vec<u8>>| bytes.map_or(Value::Null, hex);
    let input = json!({
        "initiator": setup.initiator.to_string(),
        "responder": setup.responder.to_string(),
        "session": hex(setup.session),
        "from": if from_initiator { "initiator" } else { "responder" },
        "hk": hex(hk),
        "mk": or_null(letter.map(|_| mk.to_vec())),
        "nonce": hex(nonce),
        "handshake": or_null(setup.handshake.clone().filter(|_| letter.is_some())),
        "header": header_json(header),
        "letter": or_null(letter.map(<[u8]>::to_vec)),
    });
    let expect = json!({
        "kind": kind,
        "tag": hex(tag_of(&hk)),
        "header": hex(clear),
        "padded": or_null(padded),
        "body_ad": or_null(letter.map(|_| body_ad(kind, from_initiator, &setup, &clear))),
        "body": or_null(body),
        "header_ad": hex(&frame[..frame.len() - 90]),
        "frame": hex(&frame),
    });
    Case::valid(AREA, name, comment, input, expect)
}
