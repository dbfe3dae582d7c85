//! Verifiers' policies: any nesting of groups over any set of witnesses, against the rule written out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::BTreeMap;

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::testing::rng;
use nuncio_proto::tlog::{Checkpoint, KeyKind, Note, NoteKey, Policy, cosign};
use rand_core::Rng;

const WITNESSES: usize = 5;

/// Each name's members, and how many of them are needed; none of a witness.
type Groups = BTreeMap<String, (usize, Vec<String>)>;

fn witness(number: usize) -> (NoteKey, SigningKey) {
    let signer = SigningKey::from_seed(&[number as u8; 32]);
    (NoteKey::new(&format!("w{number}.example"), KeyKind::CosignatureV1, signer.public()).unwrap(), signer)
}

/// A head, cosigned by each set of witnesses: a bit for each.
fn notes() -> Vec<Note> {
    let signer = SigningKey::from_seed(&[99; 32]);
    let log = NoteKey::new("log.example", KeyKind::Ed25519, signer.public()).unwrap();
    let head = Checkpoint { origin: "log.example".to_owned(), size: 3, root: [7; 32] };
    let plain = head.sign(&log, &signer).unwrap();
    let lines: Vec<_> = (0..WITNESSES)
        .map(|number| {
            let (key, signer) = witness(number);
            cosign(plain.text(), 1_800_000_000, &key, &signer)
        })
        .collect();
    (0..1 << WITNESSES)
        .map(|set| {
            let mut note = plain.clone();
            lines.iter().enumerate().filter(|(number, _)| set >> number & 1 == 1).for_each(|(_, line)| {
                note.add(line.clone());
            });
            note
        })
        .collect()
}

/// Groups of whatever is in none yet, until one holds all that was drawn: its text, its groups, its quorum.
fn draw(rng: &mut impl Rng) -> (String, Groups, String) {
    let mut below = |bound: usize| rng.next_u32() as usize % bound;
    let mut text: String = (0..WITNESSES).map(|number| format!("witness w{number} {}\n", witness(number).0)).collect();
    let (mut free, mut groups) = ((0..WITNESSES).map(|number| format!("w{number}")).collect::<Vec<_>>(), Groups::new());
    for number in 0..1 + below(4) {
        let members: Vec<String> = (0..1 + below(free.len())).map(|_| free.swap_remove(below(free.len()))).collect();
        let needed = 1 + below(members.len());
        let written = match needed {
            needed if needed == members.len() && below(2) == 0 => "all".to_owned(),
            1 if below(2) == 0 => "any".to_owned(),
            needed => needed.to_string(),
        };
        text += &format!("group g{number} {written} {}\n", members.join(" "));
        groups.insert(format!("g{number}"), (needed, members));
        free.push(format!("g{number}"));
    }
    let quorum = free.swap_remove(below(free.len()));
    (format!("{text}quorum {quorum}\n"), groups, quorum)
}

fn is_met(name: &str, groups: &Groups, set: usize) -> bool {
    match groups.get(name) {
        Some((needed, members)) => members.iter().filter(|member| is_met(member, groups, set)).count() >= *needed,
        None => set >> name[1..].parse::<usize>().unwrap() & 1 == 1,
    }
}

#[test]
fn a_quorum_is_what_its_groups_say_of_every_set_of_witnesses() {
    let (mut rng, notes) = (rng(11), notes());
    let (mut reached, mut missed) = (0, 0);
    for _ in 0..60 {
        let (text, groups, quorum) = draw(&mut rng);
        let policy = Policy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text}"));
        for (set, note) in notes.iter().enumerate() {
            let cosigned = policy.cosigned(note).unwrap();
            assert_eq!(cosigned.is_quorum, is_met(&quorum, &groups, set), "{set:05b} under {text}");
            assert_eq!(cosigned.by.len(), set.count_ones() as usize);
            // With those that are missing it would be reached.
            let number = |name: &[u8]| usize::from(name[1] - b'0');
            let whole = cosigned.missing.iter().fold(set, |set, witness| set | 1 << number(&witness.name));
            assert!(
                is_met(&quorum, &groups, whole)
                    && whole.count_ones() as usize == cosigned.by.len() + cosigned.missing.len()
            );
            *(if cosigned.is_quorum { &mut reached } else { &mut missed }) += 1;
        }
    }
    assert!(reached > 200 && missed > 200, "{reached} reached, {missed} missed");
}

/// What `--witness` asks for: all of them, whoever the log is.
#[test]
fn all_of_some_keys_is_a_policy() {
    let notes = notes();
    let keys = |numbers: &[usize]| numbers.iter().map(|number| witness(*number).0).collect::<Vec<_>>();
    for (set, note) in notes.iter().enumerate() {
        assert!(Policy::all_of(Vec::new()).cosigned(note).unwrap().is_quorum);
        assert_eq!(Policy::all_of(keys(&[1])).cosigned(note).unwrap().is_quorum, set & 2 == 2);
        assert_eq!(Policy::all_of(keys(&[0, 3])).cosigned(note).unwrap().is_quorum, set & 9 == 9);
    }
    // A key of the same name, and of another witness, counts for nothing.
    let named = NoteKey::new("w1.example", KeyKind::CosignatureV1, witness(7).1.public()).unwrap();
    assert!(!Policy::all_of(vec![named]).cosigned(&notes[31]).unwrap().is_quorum);
}
