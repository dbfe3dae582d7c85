//! Conversations: every secret listed, every frame's bytes (contracts/ratchet.md).

use nuncio_contracts::registry::limit;

use super::handshake::{Start, secrets_json};
use super::kit::{Case, fixed};
use super::model::{Side, pad};

#[path = "ratchet/hostile.rs"]
mod hostile;
#[path = "ratchet/talk.rs"]
pub(crate) mod talk;

use hostile::{first_refused, later_refused, skip_too_far, skip_too_far_first, turns_refused};
use talk::{A, B, Talk};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        first_letters(),
        start(),
        out_of_order(),
        late_over_turns(),
        ping_pong(),
        acks_alone(),
        old_acks(),
        replays(),
        forgeries(),
        reflection(),
        window_edge(),
        old_chains_full(),
        given_up(),
        given_up_told_by_ack(),
        given_up_but_arrived(),
        given_up_before_any(),
        ack_floor_beyond_chain(),
        held_full(),
        skip_too_far(),
        skip_too_far_first(),
        spent(),
        exhausted(),
        refused(),
        refused_early(),
        refused_not_given_up(),
        two_under_one_number(),
    ];
    cases.extend(first_refused());
    cases.extend(later_refused());
    cases.extend(turns_refused());
    cases
}

fn first_letters() -> Case {
    let mut talk = Talk::new(
        "first-letters",
        "the first letters each way: the responder can answer once it has opened one, and each answer turns the ratchet",
    );
    let a = [talk.seal(A), talk.seal(A)];
    talk.open(B, a[0]);
    talk.open(B, a[1]);
    let b = talk.seal(B);
    talk.open(A, b);
    let a = talk.seal(A);
    talk.open(B, a);
    talk.case()
}

fn start() -> Case {
    let (handshake, secrets) = Start::new(true, 0).handshake();
    let mut talk = Talk::with(
        "start",
        "a whole first exchange: the handshake of handshake/one-time rides on every frame until the first answer",
        Some(handshake),
    );
    let secrets = secrets_json(&secrets);
    let of = |name: &str| super::kit::unhex(&secrets[name]).try_into().unwrap();
    talk.setup.session = of("session");
    (talk.setup.rk, talk.setup.hka, talk.setup.nhkb) = (of("rk"), of("hka"), of("nhkb"));
    talk.setup.prekey = fixed("signed prekey");
    talk.sides = [Side::initiator(&talk.setup, talk.dhs), Side::responder(&talk.setup)];
    let a = [talk.seal(A), talk.seal(A), talk.seal(A)];
    talk.open(B, a[1]);
    talk.open(B, a[0]);
    let b = talk.seal(B);
    talk.open(A, b);
    let last = talk.seal(A);
    talk.open(B, last);
    talk.open(B, a[2]);
    talk.case()
}

fn out_of_order() -> Case {
    let mut talk = Talk::new(
        "out-of-order",
        "letters of one chain in another order: keys of those passed over are kept, letters are delivered in order",
    );
    let a: Vec<_> = (0..6).map(|_| talk.seal(A)).collect();
    for at in [4, 0, 2, 1, 5, 3] {
        talk.open(B, a[at]);
    }
    talk.case()
}

fn late_over_turns() -> Case {
    let mut talk = Talk::new(
        "late-over-turns",
        "letters of chains that are over, on both sides: pn says how many keys the old chain still owes",
    );
    let a: Vec<_> = (0..3).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    let b: Vec<_> = (0..3).map(|_| talk.seal(B)).collect();
    talk.open(A, b[1]);
    let next = [talk.seal(A), talk.seal(A)];
    talk.open(B, next[1]);
    let answer = talk.seal(B);
    talk.open(A, answer);
    talk.open(A, b[2]);
    talk.open(A, b[0]);
    let last = talk.seal(A);
    talk.open(B, last);
    for late in [a[2], next[0], a[1]] {
        talk.open(B, late);
    }
    talk.case()
}

fn ping_pong() -> Case {
    let mut talk = Talk::new("ping-pong", "sixteen turns");
    for turn in 0..16 {
        let by = [A, B][turn % 2];
        let frame = talk.seal(by);
        talk.open(1 - by, frame);
    }
    talk.case()
}

fn acks_alone() -> Case {
    let mut talk = Talk::new(
        "acks-alone",
        "acknowledgements without letters: they take no number and no key, and the bitmap shows what came early without settling it",
    );
    let a: Vec<_> = (0..5).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    talk.open(B, a[2]);
    talk.open(B, a[4]);
    let early = talk.ack(B);
    talk.open(A, early);
    talk.open(B, a[1]);
    talk.open(B, a[3]);
    let all = talk.ack(B);
    talk.open(A, all);
    talk.open(A, all);
    let b = talk.seal(B);
    talk.open(A, b);
    let back = talk.ack(A);
    talk.open(B, back);
    talk.case()
}

fn old_acks() -> Case {
    let mut talk =
        Talk::new("old-acks", "acknowledgements merge by maximum: an older one that comes late says nothing");
    let a: Vec<_> = (0..4).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    let old = talk.ack(B);
    talk.open(B, a[1]);
    let older_letter = talk.seal(B);
    talk.open(B, a[2]);
    talk.open(B, a[3]);
    let new = talk.seal(B);
    talk.open(A, new);
    talk.open(A, older_letter);
    talk.open(A, old);
    talk.case()
}

fn replays() -> Case {
    let mut talk = Talk::new("replays", "a frame that was opened is never opened again, whichever chain it is of");
    let a: Vec<_> = (0..3).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    talk.refuse(B, a[0], "replayed");
    talk.open(B, a[2]);
    talk.refuse(B, a[2], "replayed");
    let b = talk.seal(B);
    talk.open(A, b);
    talk.refuse(A, b, "replayed");
    let turned = talk.seal(A);
    talk.open(B, turned);
    talk.refuse(B, a[0], "replayed");
    talk.refuse(B, turned, "replayed");
    talk.open(B, a[1]);
    talk.refuse(B, a[1], "replayed");
    // The old chain's header key is kept until the floor shows that its sender has heard of all its letters.
    let ack = talk.ack(B);
    talk.open(A, ack);
    let after = talk.seal(A);
    talk.open(B, after);
    talk.refuse(B, a[1], "unknown-tag");
    talk.case()
}

fn forgeries() -> Case {
    let mut talk =
        Talk::new("forgeries", "one altered byte anywhere fails at the header; afterwards the genuine frame opens");
    let first = talk.seal(A);
    let frame = talk.frames[first].clone();
    // Nonce, body, the body's tag, header, the header's tag.
    for at in [21, 32, 35, 60, 114, frame.len() - 90, frame.len() - 17, frame.len() - 16, frame.len() - 1] {
        let mut forged = frame.clone();
        forged[at] ^= 0x40;
        talk.refuse_bytes(B, &forged, false, "not-authentic");
    }
    let mut tag = frame;
    tag[4] ^= 1;
    talk.refuse_bytes(B, &tag, false, "unknown-tag");
    talk.open(B, first);
    talk.case()
}

fn reflection() -> Case {
    let mut talk = Talk::new("reflection", "a frame that comes back to its sender is of no chain that it receives in");
    let a = talk.seal(A);
    talk.refuse(A, a, "unknown-tag");
    talk.open(B, a);
    let b = talk.seal(B);
    talk.refuse(B, b, "unknown-tag");
    talk.open(A, b);
    talk.case()
}

fn window_edge() -> Case {
    let mut talk = Talk::new(
        "window-edge",
        "the last number of the window opens and keeps 1,023 keys; one further is refused before any key is derived",
    );
    let far = talk.forged(A, |header| (header.n, header.seq, header.floor_below) = (1_024, 1_024, 1_024));
    talk.refuse_bytes(B, &far, false, "too-far");
    // What the initiator seals is not written down 1,024 times: only the frames that arrive are.
    let letters: Vec<_> =
        (0..1_024).map(|i| talk.sides[A].seal(b"far", &fixed(&format!("window-edge far {i}"))).frame).collect();
    for at in [1_023, 0, 1_022, 64] {
        talk.open_bytes(B, &letters[at]);
    }
    talk.ack(B);
    talk.case()
}

fn old_chains_full() -> Case {
    let mut talk = Talk::new(
        "old-chains-full",
        "eight chains that are over and lack a letter are kept; a ninth turn waits until one of them is complete",
    );
    let mut lost = Vec::new();
    for _ in 0..9 {
        lost.push(talk.seal(A));
        let a = talk.seal(A);
        talk.open(B, a);
        let b = talk.seal(B);
        talk.open(A, b);
    }
    let tenth = talk.seal(A);
    talk.refuse(B, tenth, "chains-full");
    talk.open(B, lost[3]);
    talk.open(B, tenth);
    talk.case()
}

fn given_up() -> Case {
    let mut talk = Talk::new(
        "given-up",
        "numbers below the floor are passed over: no hole is waited for, and the running hash begins anew behind it",
    );
    let a: Vec<_> = (0..4).map(|_| talk.seal(A)).collect();
    talk.open(B, a[3]);
    talk.give_up(A, 0);
    talk.give_up(A, 1);
    talk.give_up(A, 2);
    let next = talk.seal(A);
    talk.open(B, next);
    talk.refuse(B, a[1], "replayed");
    let b = talk.seal(B);
    talk.open(A, b);
    let last = talk.seal(A);
    talk.open(B, last);
    talk.case()
}

fn given_up_told_by_ack() -> Case {
    let mut talk = Talk::new(
        "given-up-told-by-ack",
        "an acknowledgement alone carries the floor too: nothing is left to send, and nothing is waited for",
    );
    let a: Vec<_> = (0..3).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    talk.open(B, a[2]);
    talk.give_up(A, 1);
    let floor = talk.ack(A);
    talk.open(B, floor);
    talk.give_up(A, 2);
    let floor = talk.ack(A);
    talk.open(B, floor);
    let b = talk.ack(B);
    talk.open(A, b);
    talk.case()
}

fn given_up_before_any() -> Case {
    let mut talk = Talk::new(
        "given-up-before-any",
        "all letters so far are given up: an acknowledgement alone cannot say so to one who has opened none, the next letter does",
    );
    talk.seal(A);
    talk.seal(A);
    talk.give_up(A, 0);
    talk.give_up(A, 1);
    let next = talk.seal(A);
    talk.open(B, next);
    let floor = talk.ack(A);
    talk.open(B, floor);
    let b = talk.seal(B);
    talk.open(A, b);
    talk.case()
}

fn given_up_but_arrived() -> Case {
    let mut talk = Talk::new(
        "given-up-but-arrived",
        "a letter that was given up and had arrived: the receiver's hash has no hole, and the sender accepts either",
    );
    let a: Vec<_> = (0..3).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    talk.open(B, a[1]);
    talk.give_up(A, 1);
    let ack = talk.ack(B);
    talk.open(A, ack);
    talk.open(B, a[2]);
    let ack = talk.ack(B);
    talk.open(A, ack);
    talk.case()
}

fn held_full() -> Case {
    let mut talk = Talk::new(
        "held-full",
        "letters that came early wait up to held_bytes_max: what would exceed it beside them is refused, and comes again when there is room",
    );
    let missing = talk.seal(A);
    let early = talk.seal_letter(A, b"letter 1");
    talk.open(B, early);
    // With these, 80 bytes are left: a body of the shortest padding.
    for (count, len) in [(68, 61_439), (4, 4_091)] {
        let many = talk.seal_many(A, count, b'w', len);
        talk.open_many(B, many);
    }
    assert_eq!(8 + 68 * 61_439 + 4 * 4_091, limit::HELD_BYTES_MAX - 80);
    let longer = talk.seal_letter(A, &[b'l'; 64]);
    let just = talk.seal_letter(A, &[b'j'; 63]);
    let over = talk.seal_letter(A, b"over");
    talk.refuse(B, longer, "held-full");
    talk.open(B, just);
    talk.refuse(B, longer, "held-full");
    talk.refuse(B, over, "held-full");
    talk.open(B, missing);
    talk.open(B, over);
    talk.open(B, longer);
    talk.case()
}

fn spent() -> Case {
    let mut talk = Talk::new(
        "spent",
        "pn is obeyed: of a chain that is over only the kept keys open, and its sender goes on in it all the same, under a number that is fresh",
    );
    let a = [talk.seal(A), talk.seal(A)];
    talk.open(B, a[0]);
    let copy = talk.sides[A].clone();
    let b = talk.seal(B);
    talk.open(A, b);
    let new = [talk.seal(A), talk.seal(A)];
    talk.open(B, new[1]);
    let beyond = copy.seal_as(Some(&pad(b"beyond")), &talk.nonce(), &copy.header()).frame;
    talk.refuse_bytes(B, &beyond, false, "spent");
    talk.open(B, a[1]);
    talk.refuse_bytes(B, &beyond, false, "spent");
    talk.open(B, new[0]);
    talk.refuse_bytes(B, &beyond, false, "replayed");
    talk.case()
}

fn exhausted() -> Case {
    let mut talk = Talk::new(
        "exhausted",
        "a chain at chain_len_max seals nothing and opens nothing more; acknowledgements go on, and a turn begins a new chain",
    );
    let a = talk.seal(A);
    talk.open(B, a);
    let ack = talk.ack(B);
    talk.open(A, ack);
    talk.leap(A, limit::CHAIN_LEN_MAX - 1);
    let last = talk.seal(A);
    talk.seal_refused(A, "exhausted");
    let ack = talk.ack(A);
    talk.open(B, last);
    talk.open(B, ack);
    let beyond = talk.forged(A, |_| {});
    talk.refuse_bytes(B, &beyond, false, "exhausted");
    let b = talk.seal(B);
    talk.open(A, b);
    let turned = talk.seal(A);
    talk.open(B, turned);
    talk.case()
}

fn refused() -> Case {
    let mut talk = Talk::new(
        "refused",
        "a letter that will not be delivered stops next before its number until its sender gives it up; the running hash takes a hole there",
    );
    let a: Vec<_> = (0..3).map(|_| talk.seal(A)).collect();
    talk.open(B, a[0]);
    talk.open_refusing(B, a[1], 1);
    talk.open(B, a[2]);
    talk.refuse(B, a[1], "replayed");
    let told = talk.seal(B);
    talk.open(A, told);
    talk.give_up(A, 1);
    let floor = talk.ack(A);
    talk.open(B, floor);
    let behind = talk.ack(B);
    talk.open(A, behind);
    let next = talk.seal(A);
    talk.open(B, next);
    let b = talk.seal(B);
    talk.open(A, b);
    talk.case()
}

fn refused_early() -> Case {
    let mut talk = Talk::new(
        "refused-early",
        "refused letters that came before others: next comes up to each and stops, and a letter's floor frees it as an acknowledgement's does",
    );
    let a: Vec<_> = (0..5).map(|_| talk.seal(A)).collect();
    talk.open_refusing(B, a[2], 2);
    talk.open_refusing(B, a[4], 4);
    for at in [0, 1, 3] {
        talk.open(B, a[at]);
    }
    let told = talk.ack(B);
    talk.open(A, told);
    talk.give_up(A, 2);
    let next = talk.seal(A);
    talk.open(B, next);
    let told = talk.seal(B);
    talk.open(A, told);
    talk.give_up(A, 4);
    let last = talk.seal(A);
    talk.open(B, last);
    let b = talk.ack(B);
    talk.open(A, b);
    talk.case()
}

fn two_under_one_number() -> Case {
    let mut talk = Talk::new(
        "two-under-one-number",
        "two letters under one number that was not passed: the sender was restored to a time before, and will never give up what it does not know",
    );
    let first = talk.seal(A);
    talk.open(B, first);
    let copy = talk.sides[A].clone();
    let refused = talk.seal(A);
    talk.open_refusing(B, refused, 1);
    let other = copy.seal_as(Some(&pad(b"other")), &talk.nonce(), &copy.header()).frame;
    talk.refuse_bytes(B, &other, false, "restored");
    let again = talk.frames[refused].clone();
    talk.refuse_bytes(B, &again, false, "replayed");
    let b = talk.seal(B);
    talk.open(A, b);
    talk.give_up(A, 1);
    let floor = talk.ack(A);
    talk.open(B, floor);
    talk.refuse_bytes(B, &other, false, "replayed");
    talk.case()
}

fn refused_not_given_up() -> Case {
    let mut talk = Talk::new(
        "refused-not-given-up",
        "a hole where nothing was given up: the sender was restored to a time before, and must not take its letter for delivered",
    );
    let a = [talk.seal(A), talk.seal(A)];
    talk.open(B, a[0]);
    talk.open_refusing(B, a[1], 1);
    let hole = talk.forged(B, |header| (header.ack.next, header.ack.check) = (2, talk.sides[A].hole(1)));
    talk.refuse_bytes(A, &hole, false, "restored");
    talk.give_up(A, 1);
    let floor = talk.ack(A);
    talk.open(B, floor);
    let b = talk.seal(B);
    talk.open(A, b);
    talk.case()
}

fn ack_floor_beyond_chain() -> Case {
    let mut talk = Talk::new(
        "ack-floor-beyond-chain",
        "an acknowledgement's floor counts up to where letters have stepped the chain: a further one would cost a step for each number",
    );
    let a = talk.seal(A);
    talk.open(B, a);
    let mut header = talk.sides[A].header();
    (header.seq, header.floor_below) = (1 << 62, 0);
    let frame = talk.sides[A].seal_as(None, &talk.nonce(), &header).frame;
    talk.open_bytes(B, &frame);
    let b = talk.ack(B);
    talk.open(A, b);
    let genuine = talk.seal(A);
    talk.open(B, genuine);
    talk.case()
}
