//! How often the core asks for memory for one letter. What is asked for here is asked for by every agent for every letter; keys in order take none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use agent::{Agent, settle};
use allocation_counter::measure;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::frame::Frame;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::Letter;
use nuncio_proto::step::{Effect, Staged};
use pair::{NOW, Pair};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod agent;
#[path = "ratchet/pair.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod pair;

/// Half a window.
const LETTERS: u64 = 500;
/// Of a list of numbers that rise, a node for six of them.
const NODES: u64 = LETTERS / 6 + 1;

fn letter(number: u64) -> Letter {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    Letter::plain(LetterId::new(NOW, random), ContentType::BYTES, vec![b'x'; 1_024])
}

/// Two to seal it, its bytes and its frame; two to open it, its bytes and its payload.
#[test]
fn a_letter_takes_four_allocations_in_its_sessions() {
    let mut pair = Pair::talking(1);
    // The ratchet turns with it.
    assert!(pair.seal(0));
    assert_eq!(pair.deliver(1, 0), Ok(()));
    let [a, b] = &mut pair.ends;
    let (letter, mut frames) = (letter(0), Vec::with_capacity(LETTERS as usize));
    let sealing = measure(|| {
        for _ in 0..LETTERS {
            let mut sealing = a.session.seal(&letter.encode(), [7; 12]).unwrap();
            frames.push(core::mem::take(&mut sealing.frame));
            a.session.accept_sealed(sealing, 0);
        }
    });
    assert!(sealing.count_total <= 2 * LETTERS + NODES, "{sealing:?}");

    let opening = measure(|| {
        for frame in &frames {
            let Ok(Frame::Sealed(frame)) = Frame::decode(frame) else { panic!("a frame") };
            let opened = b.session.open(&frame, 0, &mut pair.rng).unwrap();
            let accepted = b.session.accept_opened(opened, NOW);
            assert_eq!(Letter::decode(&accepted.in_order[0].1).unwrap(), letter);
        }
    });
    assert!(opening.count_total <= 2 * LETTERS, "{opening:?}");
}

/// With what is written down of it at both ends: rows and their keys, the frame as it is kept, what is to be done.
#[test]
fn a_letter_takes_few_allocations_from_one_agent_to_another() {
    let (mut a, mut b) = agent::pair();
    let (from, to) = (a.peer.id(), b.peer.id());
    for (one, other) in [(&mut a, to), (&mut b, from)] {
        one.send(other, "hello");
    }
    settle(&mut a, &mut b);
    let stage = |agent: &mut Agent, step| {
        let Staged { ops: _, effects } = agent.peer.stage(step).unwrap();
        effects.after_commit()
    };
    let letters: Vec<_> = (0..LETTERS).map(letter).collect();
    let all = measure(|| {
        for letter in &letters {
            let step = a.peer.send(to, letter, a.now).unwrap();
            drop(stage(&mut a, step));
            let step = a.peer.next(a.now, false, &mut a.rng).unwrap();
            let effects = stage(&mut a, step);
            let [Effect::Send { frame, .. }] = effects.as_slice() else { panic!("{effects:?}") };
            let step = b.peer.receive(Some(from), frame, b.now, &mut b.rng, &b.disk).unwrap();
            let effects = stage(&mut b, step);
            assert!(matches!(effects.as_slice(), [Effect::Deliver(_)]), "{effects:?}");
        }
    });
    assert!(all.count_total <= 30 * LETTERS, "{all:?}");
}
