//! The kinds of forgery: what one can make of frames that one has seen, without a key.

use nuncio_contracts::registry::{code, limit};
use nuncio_proto::frame::Notice;
use nuncio_proto::header::SEALED_HEADER_LEN;
use nuncio_proto::ids::{AgentId, Tag};
use nuncio_proto::testing::TestRng;
use rand_core::Rng;

use crate::scene::{Scene, below, sealed};

pub(crate) type Forgery = (Option<AgentId>, Vec<u8>);
pub(crate) type Forge = fn(&Scene, &mut TestRng) -> Forgery;

/// A kind of forgery, how it is made, and the one name that every refusal of it has, where there is but one.
pub(crate) const KINDS: [(&str, Forge, Option<&str>); 19] = [
    ("bit flip", bit_flip, None),
    ("several bytes changed", bytes_changed, None),
    ("cut short", cut_short, Some("frame_malformed")),
    ("bytes behind", bytes_behind, Some("frame_malformed")),
    ("byte inserted", byte_inserted, None),
    ("random bytes", random_bytes, None),
    ("random behind a genuine front", random_behind_front, Some("frame_malformed")),
    ("header of another frame", spliced_header, Some("forged")),
    ("body of another frame", spliced_body, Some("forged")),
    ("tag of another chain", spliced_tag, Some("forged")),
    ("reflected to its sender", reflected, Some("unknown_tag")),
    ("reflected under a live tag", reflected_under_live_tag, Some("forged")),
    ("of another session", of_another_session, None),
    ("over another connection", over_another_connection, Some("wrong_peer")),
    ("replayed", replayed, None),
    ("of another version", of_another_version, Some("frame_version")),
    ("of another kind", of_another_kind, Some("frame_malformed")),
    ("oversized", oversized, Some("frame_malformed")),
    ("notice", notice, Some("useless_notice")),
];

fn from_or_mailbox(from: AgentId, rng: &mut TestRng) -> Option<AgentId> {
    (below(rng, 2) == 0).then_some(from)
}

fn bit_flip(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    let at = below(rng, frame.len());
    frame[at] ^= 1 << below(rng, 8);
    (from_or_mailbox(from, rng), frame)
}

fn bytes_changed(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    let start = below(rng, frame.len());
    let end = (start + 1 + below(rng, 32)).min(frame.len());
    frame[start] = !frame[start];
    rng.fill_bytes(&mut frame[start + 1..end]);
    (Some(from), frame)
}

fn cut_short(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    frame.truncate(below(rng, frame.len()));
    (Some(from), frame)
}

fn bytes_behind(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    let len = frame.len() + 1 + below(rng, 100);
    frame.resize(len, 0);
    (Some(from), frame)
}

fn byte_inserted(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    // One more byte of the same value is another frame everywhere, unless it is the last of a run; the length then tells.
    let at = below(rng, frame.len());
    frame.insert(at, frame[at]);
    (Some(from), frame)
}

fn random_bytes(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let mut frame = vec![0; below(rng, 600)];
    rng.fill_bytes(&mut frame);
    (Some(scene.alice), frame)
}

fn random_behind_front(scene: &Scene, rng: &mut TestRng) -> Forgery {
    const FRONT_LEN: usize = 3 + 17 + 13;
    let (from, mut frame) = scene.any(rng);
    let start = FRONT_LEN.min(frame.len());
    rng.fill_bytes(&mut frame[start..]);
    (Some(from), frame)
}

fn spliced_header(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (first, second) = two_frames(scene, rng);
    let front = first.len() - SEALED_HEADER_LEN;
    (None, [&first[..front], &second[second.len() - SEALED_HEADER_LEN..]].concat())
}

fn spliced_body(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let letters: Vec<_> = scene.genuine.iter().filter(|(_, frame, _)| sealed(frame).body.is_some()).collect();
    let at = below(rng, letters.len());
    let (first, second) = (&letters[at].1, &letters[(at + 1 + below(rng, letters.len() - 1)) % letters.len()].1);
    let (mut spliced, body) = (first.clone(), sealed(second).body.unwrap());
    // Short letters are all padded to one length, so one body fits where another was.
    let place = spliced.windows(body.len()).position(|bytes| bytes == sealed(first).body.unwrap()).unwrap();
    spliced[place..place + body.len()].copy_from_slice(body);
    (None, spliced)
}

fn two_frames(scene: &Scene, rng: &mut TestRng) -> (Vec<u8>, Vec<u8>) {
    let (at, count) = (below(rng, scene.genuine.len()), scene.genuine.len());
    let other = (at + 1 + below(rng, count - 1)) % count;
    (scene.genuine[at].1.clone(), scene.genuine[other].1.clone())
}

pub(crate) fn with_tag(mut frame: Vec<u8>, tag: Tag) -> Vec<u8> {
    frame[4..20].copy_from_slice(tag.as_bytes());
    frame
}

fn live_tag(scene: &Scene, rng: &mut TestRng) -> Tag {
    let tags: Vec<_> = scene.bob.peer.sessions().flat_map(|(session, _)| session.tags()).collect();
    tags[below(rng, tags.len())]
}

fn spliced_tag(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (_, frame) = scene.any(rng);
    let tag = loop {
        let tag = live_tag(scene, rng);
        if tag != sealed(&frame).tag {
            break tag;
        }
    };
    (None, with_tag(frame, tag))
}

fn reflected(scene: &Scene, rng: &mut TestRng) -> Forgery {
    (Some(scene.alice), scene.of_bob[below(rng, scene.of_bob.len())].clone())
}

fn reflected_under_live_tag(scene: &Scene, rng: &mut TestRng) -> Forgery {
    (None, with_tag(reflected(scene, rng).1, live_tag(scene, rng)))
}

fn of_another_session(scene: &Scene, rng: &mut TestRng) -> Forgery {
    (Some(scene.alice), scene.of_others[below(rng, scene.of_others.len())].clone())
}

fn over_another_connection(scene: &Scene, rng: &mut TestRng) -> Forgery {
    (Some(scene.stranger), scene.any(rng).1)
}

fn replayed(scene: &Scene, rng: &mut TestRng) -> Forgery {
    (None, scene.opened[below(rng, scene.opened.len())].clone())
}

fn of_another_version(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    frame[1] = frame[1].wrapping_add(1 + u8::try_from(below(rng, 255)).unwrap());
    (Some(from), frame)
}

fn of_another_kind(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    frame[2] = frame[2].wrapping_add(1 + u8::try_from(below(rng, 255)).unwrap());
    (Some(from), frame)
}

fn oversized(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let (from, mut frame) = scene.any(rng);
    frame.resize(limit::FRAME_LEN_MAX + 1 + below(rng, 16), 0);
    (Some(from), frame)
}

/// A hint from nobody, or about a frame that Bob never sent.
fn notice(scene: &Scene, rng: &mut TestRng) -> Forgery {
    let code = [code::UNKNOWN_TAG, code::STRANGER, code::START_REFUSED, code::RETIRED, 0, u16::MAX][below(rng, 6)];
    let live = sealed(scene.of_bob.last().unwrap()).tag;
    if below(rng, 2) == 0 {
        return (None, Notice { tag: live, code }.encode());
    }
    let mut tag = [0; 16];
    rng.fill_bytes(&mut tag);
    (Some(scene.alice), Notice { tag: Tag::from_bytes(tag), code }.encode())
}
