//! What a peer that holds the keys but means harm can ask for has walls.

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::{self, CryptoError};
use nuncio_proto::header::{Ack, Header};
use nuncio_proto::ratchet::RatchetError;
use nuncio_proto::replay::ReplayError;
use nuncio_proto::secret::Key;
use nuncio_proto::session::OpenError;

use crate::opening::SMALL_ORDER;
use crate::pair::{Pair, sealed};
use crate::thief::Thief;

/// The window, or the longest gap in a chain: both are met before any key is derived, so numbers beyond reach cost nothing.
const fn is_wall(error: &OpenError) -> bool {
    matches!(error, OpenError::Replay(ReplayError::TooFar(_)) | OpenError::Ratchet(RatchetError::SkipTooFar(_)))
}

#[test]
fn a_hostile_peer_meets_walls_before_any_key_is_derived() {
    const WINDOW: u64 = limit::WINDOW;
    let mut pair = Pair::talking(4);
    assert!(pair.seal(0));
    assert_eq!(pair.deliver(1, 0), Ok(()));
    let thief = Thief::of(&pair.ends[0]);
    let (honest, (_, hk, n), mk) = (thief.header(), thief.chain(), thief.mk());
    let (seq, far) = (honest.seq, u32::MAX - 1);
    let ahead = |by: u32, floor_below| Header { n: n + by, seq: seq + u64::from(by), floor_below, ..honest };
    let at = |header: Header| thief.letter(&hk, &mk, &header);
    let mut open = |frame: Vec<u8>| pair.open(1, &frame).unwrap_err();

    // Two walls stand one behind the other: the window, and the longest gap in a chain. A floor raised to the letter passes the first alone.
    for frame in [
        at(ahead(far - n, 0)),
        at(ahead(far - n, u16::MAX)),
        at(ahead(WINDOW as u32, 0)),
        at(ahead(WINDOW as u32, WINDOW as u16)),
        at(Header { seq: u64::MAX, floor_below: 0, ..honest }),
    ] {
        let wall = open(frame);
        assert!(is_wall(&wall), "{wall:?}");
    }
    let mut refused = |frame: Vec<u8>, why: OpenError| assert_eq!(open(frame), why);
    refused(at(Header { n: n + 1, ..honest }), RatchetError::Contradiction.into());
    refused(at(Header { seq: seq + 1, floor_below: 0, ..honest }), RatchetError::Contradiction.into());
    refused(at(Header { seq: 1, floor_below: 2, ..honest }), OpenError::Malformed);
    refused(at(Header { seq: seq - 1, n: n - 1, floor_below: 1, ..honest }), ReplayError::Replayed(seq - 1).into());
}

#[test]
fn the_window_ends_before_the_chain() {
    let mut pair = Pair::talking(12);
    let next = pair.ends[1].session.next_expected();
    while pair.seal(0) {}
    assert!(pair.seal_beyond(0));
    let beyond = pair.frames[1].last().unwrap().1.clone();
    // After this one the chain is a short step from the end of the window.
    assert_eq!(pair.deliver(1, 600), Ok(()));
    assert_eq!(pair.open(1, &beyond), Err(ReplayError::TooFar(next + limit::WINDOW).into()));
    pair.deliver_all(|| 0);
}

/// An acknowledgement's floor takes the window no further than the chain has stepped; the chain is not walked through all that was given up.
#[test]
fn a_chain_is_not_walked_without_end() {
    const STEPS: u32 = 100 * limit::WINDOW as u32;
    let mut pair = Pair::talking(15);
    assert!(pair.seal(0));
    assert_eq!(pair.deliver(1, 0), Ok(()));
    let thief = Thief::of(&pair.ends[0]);
    let (honest, (_, hk, n)) = (thief.header(), thief.chain());
    for step in 1..=100 {
        let header = Header { seq: honest.seq + step * limit::WINDOW, floor_below: 0, ..honest };
        let refused = pair.open(1, &thief.acknowledgement(&header)).err();
        assert!(refused.is_none_or(|wall| is_wall(&wall)));
        assert_eq!(pair.ends[1].session.next_expected(), honest.seq);
    }
    let header = Header { n: n + STEPS, seq: honest.seq + u64::from(STEPS), floor_below: 0, ..honest };
    let wall = pair.open(1, &thief.letter(&hk, &thief.mk(), &header)).unwrap_err();
    assert!(is_wall(&wall), "{wall:?}");
}

#[test]
fn a_hostile_turn_meets_walls_before_any_key_is_derived() {
    let mut pair = Pair::talking(5);
    assert!(pair.seal(0));
    assert_eq!(pair.deliver(1, 0), Ok(()));
    let thief = Thief::of(&pair.ends[0]);
    let (honest, hk) = (thief.header(), thief.next_hk());
    let n = thief.chain().2;
    let turned = Header { ratchet_key: crypto::dh_public(&Key::new([5; 32])), n: 0, pn: n, floor_below: 0, ..honest };
    let (far, window) = (u32::MAX - 1, limit::WINDOW as u32);
    for header in [
        Header { n: far, seq: turned.seq + u64::from(far), ..turned },
        Header { n: window, seq: turned.seq + limit::WINDOW, ..turned },
        Header { pn: far, seq: turned.seq + u64::from(far - n), ..turned },
    ] {
        let wall = pair.open(1, &thief.letter(&hk, &[0; 32], &header)).unwrap_err();
        assert!(is_wall(&wall), "{wall:?}");
    }
    let mut refused =
        |header: Header, why: OpenError| assert_eq!(pair.open(1, &thief.letter(&hk, &[0; 32], &header)), Err(why));
    refused(Header { pn: n + 1, ..turned }, RatchetError::Contradiction.into());
    refused(Header { pn: n - 1, ..turned }, RatchetError::Contradiction.into());
    refused(Header { n: window, ..turned }, RatchetError::Contradiction.into());
    for point in SMALL_ORDER {
        refused(Header { ratchet_key: point, ..turned }, RatchetError::Crypto(CryptoError::AllZero).into());
    }
    refused(turned, OpenError::Parted);
    pair.assert_well();
}

#[test]
fn a_hostile_acknowledgement_moves_nothing() {
    let mut pair = Pair::talking(6);
    assert!(pair.seal(1) && pair.seal(1));
    let thief = Thief::of(&pair.ends[0]);
    let honest = thief.header();
    let ack = honest.ack;
    let mut refused = |header: Header| {
        let result = pair.open(1, &thief.acknowledgement(&header));
        assert!(result.is_err(), "{header:?}");
        result.unwrap_err()
    };
    for ack in [
        Ack { next: ack.next + 1, ..ack },
        Ack { next: ack.next + 3, ..ack },
        Ack { next: u64::MAX, ..ack },
        Ack { above: 1 << 63, ..ack },
        Ack { above: u64::MAX, ..ack },
        Ack { check: [0; 8], ..ack },
    ] {
        assert_eq!(refused(Header { ack, ..honest }), OpenError::Restored);
    }
    refused(Header { seq: 1, floor_below: 2, ..honest });
    // A floor beyond all that an honest sender can have sealed is not walked to.
    let next = pair.ends[1].session.next_expected();
    for far in [2 * limit::WINDOW + 2, 1 << 40, u64::MAX] {
        let header = Header { seq: far, floor_below: 0, ..honest };
        assert_eq!(pair.open(1, &thief.acknowledgement(&header)), Ok(()));
        assert_eq!(pair.ends[1].session.next_expected(), next);
    }
    assert_eq!(pair.open(1, &thief.acknowledgement(&honest)), Ok(()));
    pair.deliver_all(|| 0);
    pair.assert_well();
}

#[test]
fn keys_that_are_kept_have_a_bound() {
    let mut pair = Pair::talking(7);
    for _ in 0..3 {
        assert!(pair.seal(0));
    }
    let last = pair.frames[1][2].1.clone();
    let open = |pair: &mut Pair, room| pair.ends[1].session.open(&sealed(&last), room, &mut pair.rng).map(drop);
    assert_eq!(open(&mut pair, 1), Err(RatchetError::NoRoom.into()));
    assert_eq!(open(&mut pair, 2), Ok(()));
    pair.deliver_all(|| 2);
}

#[test]
fn a_kept_key_is_deleted_when_its_letter_opens() {
    let mut pair = Pair::talking(13);
    for _ in 0..4 {
        assert!(pair.seal(0));
    }
    let kept = |pair: &Pair| format!("{:?}", pair.ends[1].session).matches("SkippedKey").count();
    assert_eq!((pair.deliver(1, 3), kept(&pair)), (Ok(()), 3));
    assert_eq!((pair.deliver(1, 1), kept(&pair)), (Ok(()), 2), "although the window has not passed it");
    pair.deliver_all(|| 0);
    assert_eq!(kept(&pair), 0);
}

#[test]
fn receiving_chains_that_lack_letters_have_a_bound() {
    let mut pair = Pair::talking(8);
    let mut kept = Vec::new();
    let refused = (0..=limit::OLD_CHAINS_MAX + 1).find_map(|_| {
        // Two letters of Alice's in one chain; the first one is late.
        assert!(pair.seal(0) && pair.seal(0));
        let refused = pair.deliver(1, pair.frames[1].len() - 1).err();
        assert!(pair.seal(1));
        pair.deliver(0, 0).unwrap();
        kept.push(pair.ends[1].session.tags().count());
        refused
    });
    assert_eq!(refused, Some(OpenError::ChainsFull));
    assert_eq!(kept.iter().max(), Some(&(limit::OLD_CHAINS_MAX + 2)));
    pair.deliver_all(|| 0);
    // An old chain goes once its sender has heard that all of it came.
    assert!(pair.seal(1));
    pair.deliver(0, 0).unwrap();
    assert!(pair.seal(0));
    pair.deliver(1, 0).unwrap();
    assert_eq!(pair.ends[1].session.tags().count(), 2, "what nothing needs any more is deleted");
}
