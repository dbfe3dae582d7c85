//! Conversations: every secret listed, every frame's bytes (contracts/ratchet.md).

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto;
use nuncio_proto::header::Header;
use serde_json::{Value, json};

use super::handshake::{Start, secrets_json};
use super::kit::{Case, actor, fixed, hex};
use super::model::{Setup, Side, Took, pad};

const AREA: &str = "ratchet";
/// Initiator and responder.
const A: usize = 0;
const B: usize = 1;
const NAMES: [&str; 2] = ["initiator", "responder"];

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

/// A conversation as it is written down.
struct Talk {
    name: &'static str,
    comment: &'static str,
    setup: Setup,
    dhs: [u8; 32],
    sides: [Side; 2],
    frames: Vec<Vec<u8>>,
    /// Of a step that seals many.
    many: BTreeMap<usize, Vec<Vec<u8>>>,
    steps: Vec<Value>,
    outcomes: Vec<Value>,
    room: usize,
}

impl Talk {
    fn new(name: &'static str, comment: &'static str) -> Self {
        Self::with(name, comment, None)
    }

    fn with(name: &'static str, comment: &'static str, handshake: Option<Vec<u8>>) -> Self {
        let setup = Setup {
            initiator: actor("alice").identity.id(),
            responder: actor("bob").identity.id(),
            session: fixed("ratchet session"),
            rk: fixed("ratchet rk"),
            hka: fixed("ratchet hka"),
            nhkb: fixed("ratchet nhkb"),
            prekey: fixed("ratchet prekey"),
            handshake,
        };
        let dhs = fixed("ratchet initiator's first secret");
        let sides = [Side::initiator(&setup, dhs), Side::responder(&setup)];
        Self {
            name,
            comment,
            setup,
            dhs,
            sides,
            frames: Vec::new(),
            many: BTreeMap::new(),
            steps: Vec::new(),
            outcomes: Vec::new(),
            room: 65_536,
        }
    }

    fn nonce(&self) -> [u8; 12] {
        fixed(&format!("{} nonce {}", self.name, self.steps.len()))
    }

    /// Seals the next letter; the number of its step.
    fn seal(&mut self, by: usize) -> usize {
        self.seal_letter(by, format!("letter {} of the {}", self.steps.len(), NAMES[by]).as_bytes())
    }

    fn seal_letter(&mut self, by: usize, letter: &[u8]) -> usize {
        let nonce = self.nonce();
        let made = self.sides[by].seal(letter, &nonce);
        let outcome = json!({ "frame": hex(&made.frame), "hk": hex(made.hk), "mk": made.mk.map(hex), "header": hex(made.header) });
        self.note(
            json!({ "by": NAMES[by], "do": "seal", "letter": hex(letter), "nonce": hex(nonce) }),
            outcome,
            made.frame,
        )
    }

    /// Seals letters that are too many or too long to be written down.
    fn seal_many(&mut self, by: usize, count: u32, byte: u8, len: usize) -> usize {
        let start: [u8; 8] = fixed(&format!("{} nonces {}", self.name, self.steps.len()));
        let nonce = |i: u32| [&start[..], &i.to_be_bytes()].concat().try_into().unwrap();
        let frames: Vec<_> = (0..count).map(|i| self.sides[by].seal(&vec![byte; len], &nonce(i)).frame).collect();
        let outcome = json!({ "frames_sha256": hex(crypto::sha256(&[&frames.concat()])) });
        let input = json!({ "by": NAMES[by], "do": "seal-many", "count": count, "byte": byte, "len": len, "nonce": hex(start) });
        let step = self.note(input, outcome, Vec::new());
        self.many.insert(step, frames);
        step
    }

    /// What must be refused when it is asked for.
    fn seal_refused(&mut self, by: usize, error: &str) {
        let nonce = self.nonce();
        let input = json!({ "by": NAMES[by], "do": "seal", "letter": hex(b"one more"), "nonce": hex(nonce) });
        self.note(input, json!({ "error": error }), Vec::new());
    }

    fn leap(&mut self, by: usize, n: u32) {
        self.sides[by].leap(n);
        self.sides[1 - by].leap_behind(n);
        self.note(json!({ "by": NAMES[by], "do": "leap", "n": n }), json!({}), Vec::new());
    }

    fn ack(&mut self, by: usize) -> usize {
        let nonce = self.nonce();
        let made = self.sides[by].ack(&nonce);
        let outcome = json!({ "frame": hex(&made.frame), "hk": hex(made.hk), "header": hex(made.header) });
        self.note(json!({ "by": NAMES[by], "do": "ack", "nonce": hex(nonce) }), outcome, made.frame)
    }

    fn give_up(&mut self, by: usize, seq: u64) {
        self.sides[by].give_up(seq);
        self.note(json!({ "by": NAMES[by], "do": "give-up", "seq": seq }), json!({}), Vec::new());
    }

    fn open(&mut self, by: usize, step: usize) {
        let frame = self.frames[step].clone();
        let (input, draw) = self.opening(by, &frame, json!({ "frame": step }));
        let took = self.sides[by].open(&frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }

    fn open_many(&mut self, by: usize, step: usize) {
        let mut all = Took { in_order: Vec::new(), settled: Vec::new() };
        for frame in self.many[&step].clone() {
            let took = self.sides[by].open(&frame, None);
            all.in_order.extend(took.in_order);
            all.settled.extend(took.settled);
        }
        self.note(json!({ "by": NAMES[by], "do": "open-many", "frames": step }), took_json(&all), Vec::new());
    }

    /// Opens a letter of this number, which will not be delivered.
    fn open_refusing(&mut self, by: usize, step: usize, seq: u64) {
        let frame = self.frames[step].clone();
        let (input, draw) = self.opening(by, &frame, json!({ "frame": step, "refuse": true }));
        self.sides[by].refuse(seq);
        let took = self.sides[by].open(&frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }

    fn refuse(&mut self, by: usize, step: usize, error: &str) {
        let input = json!({ "by": NAMES[by], "do": "open", "frame": step });
        self.note(input, json!({ "error": error }), Vec::new());
    }

    /// A frame that no honest peer sends; `turned` if it is refused only after a ratchet secret was drawn.
    fn refuse_bytes(&mut self, by: usize, frame: &[u8], turned: bool, error: &str) {
        let bytes = json!({ "bytes": hex(frame) });
        let input = if turned {
            self.opening(by, frame, bytes).0
        } else {
            merge(json!({ "by": NAMES[by], "do": "open" }), bytes)
        };
        self.note(input, json!({ "error": error }), Vec::new());
    }

    fn opening(&self, by: usize, frame: &[u8], what: Value) -> (Value, Option<[u8; 32]>) {
        let draw = self.sides[by].turns(frame).then(|| fixed(&format!("{} secret {}", self.name, self.steps.len())));
        let drawn = draw.map_or(json!({}), |draw| json!({ "draw": hex(draw) }));
        (merge(merge(json!({ "by": NAMES[by], "do": "open" }), what), drawn), draw)
    }

    fn note(&mut self, step: Value, outcome: Value, frame: Vec<u8>) -> usize {
        self.steps.push(step);
        self.outcomes.push(outcome);
        self.frames.push(frame);
        self.steps.len() - 1
    }

    /// A frame of this side's next letter, with its header as one likes.
    fn forged(&self, by: usize, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut header = self.sides[by].header();
        edit(&mut header);
        self.sides[by].seal_as(Some(&pad(b"forged")), &self.nonce(), &header).frame
    }

    fn case(self) -> Case {
        let input = json!({
            "initiator": self.setup.initiator.to_string(),
            "responder": self.setup.responder.to_string(),
            "session": hex(self.setup.session),
            "rk": hex(self.setup.rk),
            "hka": hex(self.setup.hka),
            "nhkb": hex(self.setup.nhkb),
            "prekey": hex(self.setup.prekey),
            "initiator_secret": hex(self.dhs),
            "handshake": self.setup.handshake.map(hex),
            "room": self.room,
            "steps": self.steps,
        });
        Case::valid(AREA, self.name, self.comment, input, json!({ "steps": self.outcomes }))
    }
}

fn took_json(took: &Took) -> Value {
    let letters: Vec<_> = took.in_order.iter().map(|(seq, letter)| delivered(*seq, letter)).collect();
    json!({ "letters": letters, "settled": took.settled })
}

/// A delivered letter; a long one is written as its hash.
pub(crate) fn delivered(seq: u64, letter: &[u8]) -> Value {
    if letter.len() > 1_024 {
        return json!({ "seq": seq, "len": letter.len(), "sha256": hex(crypto::sha256(&[letter])) });
    }
    json!({ "seq": seq, "letter": hex(letter) })
}

fn merge(mut into: Value, from: Value) -> Value {
    let Value::Object(from) = from else { panic!() };
    into.as_object_mut().unwrap().extend(from);
    into
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

impl Talk {
    /// Opens a frame that was made beside the written conversation.
    fn open_bytes(&mut self, by: usize, frame: &[u8]) {
        let (input, draw) = self.opening(by, frame, json!({ "bytes": hex(frame) }));
        let took = self.sides[by].open(frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }
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

/// A frame of this side's current chain with this number, below which all is given up.
fn far(talk: &Talk, n: u32) -> Vec<u8> {
    talk.forged(A, |header| {
        header.seq += u64::from(n - header.n);
        (header.n, header.floor_below) = (n, 0);
    })
}

fn skip_too_far() -> Case {
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

fn skip_too_far_first() -> Case {
    let mut talk = Talk::new("skip-too-far-first", "the first letter's n is bounded before the turn's secret is drawn");
    for n in [1_024, limit::CHAIN_LEN_MAX - 1] {
        let frame = far(&talk, n);
        talk.refuse_bytes(B, &frame, false, "skip-too-far");
    }
    let genuine = talk.seal(A);
    talk.open(B, genuine);
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

/// Refused as the first letter of a session.
fn first_refused() -> Vec<Case> {
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
fn later_refused() -> Vec<Case> {
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

/// Refused at a turn, after two letters of the initiator and an answer.
fn turns_refused() -> Vec<Case> {
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
