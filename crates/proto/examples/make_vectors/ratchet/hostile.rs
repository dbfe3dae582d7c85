//! Frames that no honest peer sends: refused, with nothing moved.

use nuncio_contracts::registry::limit;
use nuncio_proto::header::Header;

use super::super::kit::Case;
use super::super::model::pad;
use super::talk::{A, B, Talk};

/// A frame of this side's current chain with this number, below which all is given up.
fn far(talk: &Talk, n: u32) -> Vec<u8> {
    talk.forged(A, |header| {
        header.seq += u64::from(n - header.n);
        (header.n, header.floor_below) = (n, 0);
    })
}

pub(super) fn skip_too_far() -> Case {
    let mut talk = Talk::new(
        "skip-too-far",
        "a floor lets a number into the window that is 1,024 steps and more ahead in its chain: refused before a key is derived; 1,023 are made",
    );
    let a = talk.seal(A);
    talk.open(B, a);
    for n in [1 + 1_024, limit::CHAIN_LEN_MAX - 1] {
        let frame = far(&talk, n);
        talk.refuse_bytes(B, &frame, false, "skip-too-far");
    }
    let genuine = talk.seal(A);
    talk.open(B, genuine);
    let last = far(&talk, 2 + 1_023);
    talk.open_bytes(B, &last);
    talk.case()
}

pub(super) fn skip_too_far_first() -> Case {
    let mut talk = Talk::new("skip-too-far-first", "the first letter's n is bounded before the turn's secret is drawn");
    for n in [1_024, limit::CHAIN_LEN_MAX - 1] {
        let frame = far(&talk, n);
        talk.refuse_bytes(B, &frame, false, "skip-too-far");
    }
    let genuine = talk.seal(A);
    talk.open(B, genuine);
    talk.case()
}

/// Refused as the first letter of a session.
pub(super) fn first_refused() -> Vec<Case> {
    let case = |name, comment, error: &str, edit: &dyn Fn(&mut Header)| {
        let mut talk = Talk::new(name, comment);
        let forged = talk.forged(A, edit);
        talk.refuse_bytes(B, &forged, error == "not-authentic", error);
        let genuine = talk.seal(A);
        talk.open(B, genuine);
        talk.case()
    };
    let mut cases = vec![
        case("first-pn", "nothing came before the first chain, so pn is 0", "contradiction", &|h| h.pn = 1),
        case("first-base", "the first chain's first number is 0", "contradiction", &|h| h.seq = 1),
        case("first-n-above-seq", "n is never above seq", "contradiction", &|h| h.n = 1),
        case("first-ratchet-key-zero", "a ratchet key that gives no secret", "all-zero", &|h| h.ratchet_key = [0; 32]),
        case("floor-above-seq", "a floor is at or below its frame's number", "malformed", &|h| h.floor_below = 1),
        case(
            "ack-of-nothing",
            "acknowledges a letter that was never sent: one of the two was restored from a copy",
            "restored",
            &|h| h.ack.next = 1,
        ),
        case("ack-bit-of-nothing", "the bitmap shows a letter that was never sent", "restored", &|h| h.ack.above = 1),
        case("ack-other-session", "the running hash begins with the session's name", "restored", &|h| {
            h.ack.check = [0; 8]
        }),
        case("ack-largest", "2^64 - 1", "restored", &|h| (h.ack.next, h.ack.above) = (u64::MAX, u64::MAX)),
    ];
    cases.push(no_room());
    cases.push(bad_padding());
    cases.push(body_altered());
    cases.push(body_empty_padding());
    cases
}

fn no_room() -> Case {
    let mut talk =
        Talk::new("no-room", "no more keys are kept than there is room for, and the letter comes again when there is");
    talk.room = 2;
    let a: Vec<_> = (0..4).map(|_| talk.seal(A)).collect();
    talk.refuse(B, a[3], "no-room");
    talk.open(B, a[2]);
    talk.open(B, a[0]);
    talk.open(B, a[3]);
    talk.case()
}

fn bad_padding() -> Case {
    let mut talk = Talk::new("bad-padding", "an authentic body whose padding is not the one form");
    let made = talk.sides[A].seal_as(Some(&[1; 64]), &talk.nonce(), &talk.sides[A].header());
    talk.refuse_bytes(B, &made.frame, true, "malformed");
    talk.case()
}

fn body_empty_padding() -> Case {
    let mut talk = Talk::new("bad-padding-longer", "an authentic body that is padded to more than its length asks for");
    let mut padded = pad(b"letter");
    padded.resize(72, 0);
    let made = talk.sides[A].seal_as(Some(&padded), &talk.nonce(), &talk.sides[A].header());
    talk.refuse_bytes(B, &made.frame, true, "malformed");
    talk.case()
}

fn body_altered() -> Case {
    let mut talk = Talk::new(
        "body-other-chain-key",
        "a peer that seals its body under a key which is not its chain's: refused whole, with nothing moved",
    );
    let mut broken = talk.sides[A].clone();
    broken.break_chain();
    let frame = broken.seal(b"letter", &talk.nonce()).frame;
    talk.refuse_bytes(B, &frame, true, "parted");
    let genuine = talk.seal(A);
    talk.open(B, genuine);
    talk.case()
}

/// Refused after two letters, in the same chain.
pub(super) fn later_refused() -> Vec<Case> {
    let case = |name, comment, error: &str, edit: &dyn Fn(&mut Header)| {
        let mut talk = Talk::new(name, comment);
        for _ in 0..2 {
            let a = talk.seal(A);
            talk.open(B, a);
        }
        let forged = talk.forged(A, edit);
        talk.refuse_bytes(B, &forged, false, error);
        let genuine = talk.seal(A);
        talk.open(B, genuine);
        talk.case()
    };
    vec![
        case("chain-base-moves", "within a chain, seq - n is constant", "contradiction", &|h| h.n = 3),
        case("chain-seq-jumps", "a number of another place in the chain", "contradiction", &|h| h.seq = 9),
        case("seq-received", "a number that was received", "replayed", &|h| (h.seq, h.floor_below) = (1, 0)),
        case("seq-largest", "2^64 - 1 has no successor", "too-far", &|h| (h.seq, h.floor_below) = (u64::MAX, 0)),
        case(
            "floor-jumps",
            "a floor that jumps names numbers of no chain, however far the window would move",
            "contradiction",
            &|h| (h.seq, h.floor_below) = (1 << 40, 0),
        ),
        case("ack-check-altered", "a running hash that is not ours", "restored", &|h| h.ack.check[7] ^= 1),
    ]
}

/// Refused at a turn, after two letters of the initiator and an answer.
pub(super) fn turns_refused() -> Vec<Case> {
    let case = |name, comment, error: &str, edit: &dyn Fn(&mut Header)| {
        let mut talk = Talk::new(name, comment);
        let a = [talk.seal(A), talk.seal(A)];
        talk.open(B, a[0]);
        let b = talk.seal(B);
        talk.open(A, b);
        let forged = talk.forged(A, edit);
        talk.refuse_bytes(B, &forged, false, error);
        let genuine = talk.seal(A);
        talk.open(B, genuine);
        talk.open(B, a[1]);
        talk.case()
    };
    vec![
        case(
            "turn-pn-short",
            "the old chain is longer than pn says: letter 0 of it was opened",
            "contradiction",
            &|h| h.pn = 0,
        ),
        case("turn-pn-long", "the new chain's first number follows the old chain's last", "contradiction", &|h| {
            h.pn = 3
        }),
        case(
            "turn-pn-too-far",
            "pn asks for 1,024 steps in the chain that is over, and a floor lets it into the window",
            "skip-too-far",
            &|h| (h.pn, h.seq, h.floor_below) = (1 + 1_024, 1 + 1_024, 0),
        ),
        case(
            "turn-n-too-far",
            "n asks for 1,024 steps in the new chain: refused before its secret is drawn",
            "skip-too-far",
            &|h| (h.n, h.seq, h.floor_below) = (1_024, h.seq + 1_024, 0),
        ),
        case("turn-gap", "a number between the chains", "contradiction", &|h| h.seq = 3),
        case("turn-ratchet-key-zero", "a ratchet key that gives no secret", "all-zero", &|h| h.ratchet_key = [0; 32]),
        case("turn-n-above-seq", "n is never above seq", "contradiction", &|h| h.n = 3),
    ]
}
