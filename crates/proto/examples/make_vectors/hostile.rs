//! Malformed inputs, made systematically: each is a vector that is taken, with one thing done to it that must make it refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cbor::{Place, long_head, places};
use super::kit::{Case, unhex};

/// A vector to spoil: its area, its file, where its bytes stand, and which items may be replaced by which without being refused.
struct Base {
    area: &'static str,
    path: &'static str,
    pointer: &'static str,
    /// Nothing of it can be altered unnoticed: it is signed or sealed.
    sealed: bool,
    /// Every so many of the mutations of each kind.
    every: usize,
}

const BASES: &[Base] = &[
    Base { area: "hostile/frame", path: "sealing/letter.json", pointer: "/expect/frame", sealed: true, every: 1 },
    Base { area: "hostile/frame", path: "sealing/start.json", pointer: "/expect/frame", sealed: true, every: 2 },
    Base { area: "hostile/frame", path: "sealing/ack.json", pointer: "/expect/frame", sealed: true, every: 2 },
    Base { area: "hostile/frame", path: "frame/notice.json", pointer: "/input/bytes", sealed: false, every: 2 },
    Base {
        area: "hostile/bundle",
        path: "bundle/valid-one-time.json",
        pointer: "/input/bytes",
        sealed: true,
        every: 4,
    },
    Base {
        area: "hostile/handshake",
        path: "handshake/one-time.json",
        pointer: "/expect/handshake",
        sealed: true,
        every: 2,
    },
    Base {
        area: "hostile/letter",
        path: "letter/valid-all-fields.json",
        pointer: "/input/bytes",
        sealed: false,
        every: 2,
    },
    Base {
        area: "hostile/retirement",
        path: "retirement/valid-successor.json",
        pointer: "/input/bytes",
        sealed: true,
        every: 2,
    },
    Base { area: "hostile/control", path: "control/refused.json", pointer: "/input/payload", sealed: false, every: 2 },
    Base {
        area: "hostile/snapshot",
        path: "snapshot/valid-initiator.json",
        pointer: "/input/bytes",
        sealed: false,
        every: 6,
    },
    Base { area: "hostile/call", path: "call/request.json", pointer: "/input/bytes", sealed: false, every: 2 },
    Base { area: "hostile/permit", path: "permit/handed-on.json", pointer: "/input/bytes", sealed: true, every: 4 },
];

/// One thing done to a vector's bytes: so many are removed at a place, and others put there.
struct Mutation {
    comment: String,
    at: usize,
    remove: usize,
    insert: Vec<u8>,
}

pub(crate) fn cases(files: &BTreeMap<String, String>) -> Vec<Case> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cases = Vec::new();
    for base in BASES {
        let vector: Value = serde_json::from_str(&files[base.path]).unwrap();
        let bytes = unhex(vector.pointer(base.pointer).unwrap());
        for mutation in mutations(&bytes, base.sealed).into_iter().step_by(base.every) {
            let number = numbers.entry(base.area).or_default();
            *number += 1;
            cases.push(case(base, &bytes, *number, &mutation));
        }
    }
    cases
}

fn case(base: &Base, bytes: &[u8], number: usize, mutation: &Mutation) -> Case {
    let Mutation { at, remove, insert, comment } = mutation;
    let after = [&bytes[..*at], insert, &bytes[at + remove..]].concat();
    assert_ne!(after, bytes, "{comment}: nothing was done");
    let input = json!({
        "base": base.path,
        "pointer": base.pointer,
        "at": at,
        "remove": remove,
        "insert": data_encoding::HEXLOWER.encode(insert),
    });
    Case::refused(base.area, &format!("{number:04}"), comment, input, "any")
}

fn mutations(bytes: &[u8], sealed: bool) -> Vec<Mutation> {
    let mut all = whole(bytes);
    for place in places(bytes) {
        all.extend(heads(&place));
        all.extend(items(bytes, &place));
        all.extend(swaps(bytes, &place, sealed));
        all.extend(cuts(bytes, &place));
        if sealed {
            all.extend(flips(bytes, &place));
        }
    }
    all
}

fn whole(bytes: &[u8]) -> Vec<Mutation> {
    let at_end = |comment: &str, insert: &[u8]| Mutation {
        comment: comment.into(),
        at: bytes.len(),
        remove: 0,
        insert: insert.to_vec(),
    };
    vec![
        at_end("a zero byte behind", &[0]),
        at_end("a break behind", &[0xff]),
        at_end("a null behind", &[0xf6]),
        at_end("the whole once more behind", bytes),
        Mutation {
            comment: "the self-described tag in front".into(),
            at: 0,
            remove: 0,
            insert: vec![0xd9, 0xd9, 0xf7],
        },
        Mutation { comment: "an array around it".into(), at: 0, remove: 0, insert: vec![0x81] },
        Mutation {
            comment: "a byte string around it".into(),
            at: 0,
            remove: 0,
            insert: super::cbor::head(2, bytes.len() as u64),
        },
        Mutation { comment: "nothing left".into(), at: 0, remove: bytes.len(), insert: vec![] },
    ]
}

fn named(what: &str, place: &Place) -> String {
    let path: Vec<String> = place.path.iter().map(usize::to_string).collect();
    if path.is_empty() { format!("{what}: the whole") } else { format!("{what}: item {}", path.join(".")) }
}

/// The same number in a longer head; and a length that is not true.
fn heads(place: &Place) -> Vec<Mutation> {
    if place.major == 7 {
        return Vec::new();
    }
    let head = |what: &str, insert: Vec<u8>| Mutation {
        comment: named(what, place),
        at: place.at,
        remove: place.head_len,
        insert,
    };
    let widths = [1, 2, 4, 8].into_iter().filter(|width| width + 1 > place.head_len);
    let mut all: Vec<_> = widths
        .map(|width| head(&format!("head with {width} bytes of number"), long_head(place.major, place.value, width)))
        .collect();
    if place.major >= 2 {
        all.push(head("length one more", super::cbor::head(place.major, place.value + 1)));
        all.push(head("length 2^63", long_head(place.major, 1 << 63, 8)));
        all.push(head("length 2^32 - 1", long_head(place.major, 0xffff_ffff, 4)));
        if place.value > 0 {
            all.push(head("length one less", super::cbor::head(place.major, place.value - 1)));
        }
    }
    all.push(head("reserved additional information", vec![place.major << 5 | 28]));
    all
}

/// An item left out, doubled, tagged, or of indefinite length.
fn items(bytes: &[u8], place: &Place) -> Vec<Mutation> {
    let item = &bytes[place.at..place.end];
    let replaced = |what: &str, insert: Vec<u8>| Mutation {
        comment: named(what, place),
        at: place.at,
        remove: item.len(),
        insert,
    };
    let mut all = vec![replaced("tagged", [&[0xc0], item].concat())];
    if !place.path.is_empty() {
        all.push(replaced("left out", Vec::new()));
        all.push(replaced("twice", [item, item].concat()));
    }
    match place.major {
        2 | 3 => all.push(replaced("in chunks", [&[place.major << 5 | 31], item, &[0xff]].concat())),
        4 => all.push(replaced("without length", [&[0x9f], &item[place.head_len..], &[0xff]].concat())),
        _ => {}
    }
    all
}

/// An item of another type. What is not sealed or signed may hold another value of its own type, so only other types are put in.
fn swaps(bytes: &[u8], place: &Place, sealed: bool) -> Vec<Mutation> {
    let item = &bytes[place.at..place.end];
    let others: [(&str, &[u8]); 6] = [
        ("undefined", &[0xf7]),
        ("-1", &[0x20]),
        ("0.0", &[0xf9, 0, 0]),
        ("an empty map", &[0xa0]),
        ("an unassigned simple value", &[0xf8, 0x20]),
        ("null", &[0xf6]),
    ];
    let fits = |other: &[u8]| other == item || (!sealed && other == [0xf6]);
    let swap = |(what, other): &(&str, &[u8])| Mutation {
        comment: named(&format!("{what} instead"), place),
        at: place.at,
        remove: item.len(),
        insert: other.to_vec(),
    };
    others.iter().filter(|(_, other)| !fits(other)).map(swap).collect()
}

fn cuts(bytes: &[u8], place: &Place) -> Vec<Mutation> {
    let cut = |what: &str, at: usize| Mutation {
        comment: named(what, place),
        at,
        remove: bytes.len() - at,
        insert: Vec::new(),
    };
    let mut all = Vec::new();
    if place.at > 0 {
        all.push(cut("cut in front", place.at));
    }
    if place.head_len > 1 {
        all.push(cut("cut in the head", place.at + 1));
    }
    if place.end > place.at + place.head_len + 1 {
        all.push(cut("cut inside", place.end - 1));
    }
    all
}

/// One bit: of the head, of the first, the middle and the last byte behind it.
fn flips(bytes: &[u8], place: &Place) -> Vec<Mutation> {
    let last = place.end - 1;
    let mut ats = vec![place.at, (place.at + place.head_len).min(last), (place.at + last) / 2, last];
    ats.dedup();
    let bit = |at: &usize| 1 << ((at + place.path.len()) % 8);
    ats.iter()
        .map(|at| Mutation {
            comment: named(&format!("bit {} of byte {at} flipped", bit(at)), place),
            at: *at,
            remove: 1,
            insert: vec![bytes[*at] ^ bit(at)],
        })
        .collect()
}
