//! Padding: lengths and the one form (contracts/frame.md section 4).

use nuncio_proto::padding;
use serde_json::json;

use super::kit::{Case, fixed, hex};

const AREA: &str = "padding";

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), valid(), refused()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Case> {
    let table = |name: &str, comment: &str, lengths: Vec<usize>| {
        let padded: Vec<_> = lengths.iter().map(|len| padding::padded_len(*len)).collect();
        Case::valid(AREA, name, comment, json!({ "lengths": lengths }), json!({ "padded": padded }))
    };
    let around = |exponent: u32| [-2, -1, 0, 1, 2].map(|by| (1_usize << exponent).checked_add_signed(by).unwrap());
    vec![
        table("lengths-short", "up to 63 bytes all look alike", vec![0, 1, 35, 62, 63]),
        table("lengths-all-to-300", "every length from 64 to 300", (64..=300).collect()),
        table("lengths-powers", "around each power of two up to a letter's bound", (7..16).flat_map(around).collect()),
        table("lengths-large", "the longest letters", vec![49_152, 60_000, 61_439, 61_440]),
    ]
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, plaintext: &[u8]| {
        let mut padded = plaintext.to_vec();
        padding::pad(&mut padded);
        Case::valid(AREA, name, comment, json!({ "padded": hex(padded) }), json!({ "plaintext": hex(plaintext) }))
    };
    let bytes = fixed::<200>("padding");
    vec![
        case("empty", "no bytes become the marker and 63 zeros", &[]),
        case("one-byte", "the shortest text", b"a"),
        case("full-63", "one byte of padding: the marker alone", &bytes[..63]),
        case("first-64", "the first length above the floor", &bytes[..64]),
        case("long-200", "200 bytes", &bytes),
        case("ends-in-marker", "a plaintext that ends like padding comes back whole", &[1, 0x80]),
        case("ends-in-zeros", "a plaintext that ends in zeros comes back whole", &[1, 0, 0, 0]),
        case("all-zeros", "a plaintext of zeros", &[0; 40]),
    ]
}

fn refused() -> Vec<Case> {
    let no = |name: &str, comment: &str, padded: &[u8]| {
        Case::refused(AREA, name, comment, json!({ "padded": hex(padded) }), "padding")
    };
    let padded = |plaintext: &[u8], len: usize| {
        let mut padded = [plaintext, &[0x80]].concat();
        padded.resize(len, 0);
        padded
    };
    vec![
        no("no-bytes", "nothing was padded", &[]),
        no("no-marker", "zeros alone", &[0; 64]),
        no("other-marker", "the marker is 0x80", &[&[1_u8][..], &[0; 63]].concat()),
        no("marker-bits", "0x81 is not the marker", &[&[0x81_u8][..], &[0; 63]].concat()),
        no("too-long", "one zero too many: 65 bytes hold no letter of 6", &padded(b"letter", 65)),
        no("too-short", "one zero too few", &padded(b"letter", 63)),
        no("next-step", "a whole step of padding too many", &padded(b"letter", 72)),
        no("cut-to-marker", "no zeros at all", &padded(b"letter", 7)),
        no("step-below", "a length that Padme has no step at", &padded(&[7; 130], 137)),
    ]
}
