//! OpenTimestamps: any tree of operations, beside its flat list of ways; what is cut, turned or too much is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto;
use nuncio_proto::testing::rng;
use nuncio_proto::tlog::{Attestation, Attested, Detached, Operation, Timestamp, TimestampError, blinded};
use rand_core::Rng;

const ONE: &str = "https://one.example";

fn pending(uri: &str) -> Timestamp {
    Timestamp::attested(Attestation::Pending(uri.to_owned()))
}

/// An answer as calendars give it first.
fn taken(salt: u8, uri: &str) -> Timestamp {
    Timestamp::path(
        [Operation::Append(vec![salt; 32]), Operation::Sha256, Operation::Prepend(vec![salt; 4])],
        pending(uri),
    )
}

/// An answer as they give it once there is a block.
fn in_block(height: u32) -> Timestamp {
    let block = Timestamp::attested(Attestation::Bitcoin(height));
    Timestamp::path([Operation::Append(vec![9; 8]), Operation::Sha256, Operation::Sha256], block)
}

fn two() -> Detached {
    Detached::of_answers([7; 32], [1; 16], vec![taken(2, "https://two.example"), taken(1, ONE)]).unwrap()
}

fn pending_at(stamp: &Detached, uri: &str) -> Attested {
    stamp.attested().into_iter().find(|it| it.pending() == Some(uri)).unwrap()
}

#[test]
fn calendars_are_sent_what_their_answers_are_of() {
    let sent = blinded(&[7; 32], &[1; 16]);
    assert_eq!(sent, crypto::sha256(&[&[7; 32], &[1; 16]]));
    let alone = taken(1, ONE).evaluate(&sent);
    assert!(two().attested().contains(&alone[0]));
    assert_eq!(two().attested().len(), 2);
}

#[test]
fn a_block_is_merged_in_where_it_was_asked_for_and_nothing_goes() {
    let before = two();
    let at = pending_at(&before, ONE);
    let after = before.with_answer(&at, &in_block(970_000)).unwrap();
    let (told, said) = (after.attested(), before.attested());
    assert!(said.iter().all(|attested| told.contains(attested)));
    let new: Vec<&Attested> = told.iter().filter(|attested| !said.contains(attested)).collect();
    let root = crypto::sha256(&[&crypto::sha256(&[&at.message, &[9; 8]])]);
    assert_eq!(new, [&Attested { message: root.to_vec(), attestation: Attestation::Bitcoin(970_000) }]);
    let reversed: Vec<u8> = root.iter().rev().copied().collect();
    assert_eq!(new[0].block(), Some((970_000, data_encoding::HEXLOWER.encode(&reversed))));
    assert_eq!(after.with_answer(&at, &in_block(970_000)).unwrap(), after, "again is nothing new");
    // The message alone, or the calendar alone, is no place.
    let other = Attested { message: vec![0; 44], ..at.clone() };
    assert_eq!(before.with_answer(&other, &in_block(1)), Err(TimestampError::Malformed));
    let other = Attested { attestation: Attestation::Pending("https://x.example".to_owned()), ..at };
    assert_eq!(before.with_answer(&other, &in_block(1)), Err(TimestampError::Malformed));
}

#[test]
fn what_grows_too_long_or_too_deep_is_not_merged() {
    let before = two();
    let at = pending_at(&before, ONE);
    let deep =
        |count: usize| Timestamp::path(vec![Operation::Sha256; count], Timestamp::attested(Attestation::Bitcoin(1)));
    // Five operations lead to where it is pending.
    assert!(before.with_answer(&at, &deep(limit::TIMESTAMP_DEPTH_MAX - 5)).is_ok());
    assert_eq!(before.with_answer(&at, &deep(limit::TIMESTAMP_DEPTH_MAX - 4)), Err(TimestampError::Malformed));
    let mut grown = before;
    let long = |salt: u8| {
        let payload = vec![salt; limit::TIMESTAMP_PAYLOAD_LEN_MAX];
        Timestamp::attested(Attestation::Other { tag: *b"whatever", payload })
    };
    let merged = (0..9).find_map(|salt| match grown.with_answer(&at, &long(salt)) {
        Ok(more) => {
            grown = more;
            None
        }
        Err(error) => Some((salt, error)),
    });
    assert_eq!(merged, Some((7, TimestampError::TooLong)), "{} bytes", grown.to_bytes().len());
    assert_eq!(Detached::of_answers([7; 32], [1; 16], Vec::new()), Err(TimestampError::Malformed), "nobody answered");
}

/// A tree, and every way through it to an attestation.
fn draw(
    rng: &mut impl Rng,
    depth: usize,
    len: usize,
    way: &[Operation],
    ways: &mut Vec<(Vec<Operation>, Attestation)>,
) -> Vec<u8> {
    let mut below = |bound: usize| rng.next_u32() as usize % bound;
    let attestation = match below(3) {
        0 if len == 32 => Attestation::Bitcoin(below(1 << 20) as u32),
        1 => Attestation::Other { tag: [below(3) as u8; 8], payload: vec![below(9) as u8; below(200)] },
        _ => Attestation::Pending(format!("https://{}.example", below(50))),
    };
    ways.push((way.to_vec(), attestation.clone()));
    let mut items = vec![Timestamp::attested(attestation).to_bytes()];
    let operations: BTreeSet<Operation> = (0..if depth < 6 { below(3) } else { 0 })
        .map(|_| match below(3) {
            0 => Operation::Sha256,
            1 => Operation::Append(vec![below(4) as u8; 1 + below(150)]),
            _ => Operation::Prepend(vec![below(4) as u8; 1 + below(3)]),
        })
        .collect();
    for operation in operations {
        let longer = match &operation {
            Operation::Sha256 => 32,
            Operation::Append(operand) | Operation::Prepend(operand) => len + operand.len(),
        };
        let way = [way, std::slice::from_ref(&operation)].concat();
        // The operation's own bytes.
        let head = Timestamp::path([operation], pending("")).to_bytes();
        let head = head[..head.len() - pending("").to_bytes().len()].to_vec();
        items.push([head, draw(rng, depth + 1, longer, &way, ways)].concat());
    }
    // In any order.
    for at in (1..items.len()).rev() {
        let other = rng.next_u32() as usize % (at + 1);
        items.swap(at, other);
    }
    let (last, rest) = items.split_last().unwrap();
    let rest: Vec<u8> = rest.iter().flat_map(|item| [&[0xff], item.as_slice()].concat()).collect();
    [rest.as_slice(), last].concat()
}

#[test]
fn any_tree_says_what_its_ways_come_to_and_is_written_in_one_order() {
    let mut rng = rng(21);
    for _ in 0..300 {
        let mut ways = Vec::new();
        let bytes = draw(&mut rng, 0, 44, &[], &mut ways);
        if bytes.len() > limit::TIMESTAMP_ANSWER_LEN_MAX {
            continue;
        }
        let read = Timestamp::parse(&bytes, 44).unwrap();
        let message = vec![3; 44];
        let mut wanted: Vec<Attested> = ways
            .into_iter()
            .map(|(way, attestation)| {
                let message = way.iter().fold(message.clone(), |message, operation| match operation {
                    Operation::Sha256 => crypto::sha256(&[&message]).to_vec(),
                    Operation::Append(operand) => [message.as_slice(), operand].concat(),
                    Operation::Prepend(operand) => [operand.as_slice(), &message].concat(),
                });
                Attested { message, attestation }
            })
            .collect();
        let mut told = read.evaluate(&message);
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted);
        let written = read.to_bytes();
        assert_eq!(written.len(), bytes.len());
        assert_eq!(Timestamp::parse(&written, 44).unwrap().to_bytes(), written);
        assert!((0..bytes.len()).all(|len| Timestamp::parse(&bytes[..len], 44).is_err()), "what is cut is refused");
        assert!(Timestamp::parse(&[bytes.as_slice(), &[0]].concat(), 44).is_err());
    }
}

/// Nothing vouches for an operand but the block: a bit that is turned there shows as another merkle root, and anywhere else as no timestamp or as another.
#[test]
fn a_turned_bit_never_says_the_same() {
    let whole = two().with_answer(&pending_at(&two(), ONE), &in_block(970_000)).unwrap();
    let (bytes, said) = (whole.to_bytes(), (whole.digest, whole.attested()));
    for bit in 0..bytes.len() * 8 {
        let mut turned = bytes.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Detached::parse(&turned) {
            assert_ne!((read.digest, read.attested()), said, "bit {bit}");
        }
    }
}
