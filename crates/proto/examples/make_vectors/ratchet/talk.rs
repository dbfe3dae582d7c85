//! A conversation as it is written down: what is done, step by step, and what comes of it.

use std::collections::BTreeMap;

use nuncio_proto::crypto;
use nuncio_proto::header::Header;
use serde_json::{Value, json};

use super::super::kit::{Case, actor, fixed, hex};
use super::super::model::{Setup, Side, Took, pad};

const AREA: &str = "ratchet";

/// Initiator and responder.
pub(super) const A: usize = 0;

pub(super) const B: usize = 1;

const NAMES: [&str; 2] = ["initiator", "responder"];

/// A conversation as it is written down.
pub(super) struct Talk {
    name: &'static str,
    comment: &'static str,
    pub(super) setup: Setup,
    pub(super) dhs: [u8; 32],
    pub(super) sides: [Side; 2],
    pub(super) frames: Vec<Vec<u8>>,
    /// Of a step that seals many.
    many: BTreeMap<usize, Vec<Vec<u8>>>,
    steps: Vec<Value>,
    outcomes: Vec<Value>,
    pub(super) room: usize,
}

impl Talk {
    pub(super) fn new(name: &'static str, comment: &'static str) -> Self {
        Self::with(name, comment, None)
    }

    pub(super) fn with(name: &'static str, comment: &'static str, handshake: Option<Vec<u8>>) -> Self {
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

    pub(super) fn nonce(&self) -> [u8; 12] {
        fixed(&format!("{} nonce {}", self.name, self.steps.len()))
    }

    /// Seals the next letter; the number of its step.
    pub(super) fn seal(&mut self, by: usize) -> usize {
        self.seal_letter(by, format!("letter {} of the {}", self.steps.len(), NAMES[by]).as_bytes())
    }

    pub(super) fn seal_letter(&mut self, by: usize, letter: &[u8]) -> usize {
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
    pub(super) fn seal_many(&mut self, by: usize, count: u32, byte: u8, len: usize) -> usize {
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
    pub(super) fn seal_refused(&mut self, by: usize, error: &str) {
        let nonce = self.nonce();
        let input = json!({ "by": NAMES[by], "do": "seal", "letter": hex(b"one more"), "nonce": hex(nonce) });
        self.note(input, json!({ "error": error }), Vec::new());
    }

    pub(super) fn leap(&mut self, by: usize, n: u32) {
        self.sides[by].leap(n);
        self.sides[1 - by].leap_behind(n);
        self.note(json!({ "by": NAMES[by], "do": "leap", "n": n }), json!({}), Vec::new());
    }

    pub(super) fn ack(&mut self, by: usize) -> usize {
        let nonce = self.nonce();
        let made = self.sides[by].ack(&nonce);
        let outcome = json!({ "frame": hex(&made.frame), "hk": hex(made.hk), "header": hex(made.header) });
        self.note(json!({ "by": NAMES[by], "do": "ack", "nonce": hex(nonce) }), outcome, made.frame)
    }

    pub(super) fn give_up(&mut self, by: usize, seq: u64) {
        self.sides[by].give_up(seq);
        self.note(json!({ "by": NAMES[by], "do": "give-up", "seq": seq }), json!({}), Vec::new());
    }

    pub(super) fn open(&mut self, by: usize, step: usize) {
        let frame = self.frames[step].clone();
        let (input, draw) = self.opening(by, &frame, json!({ "frame": step }));
        let took = self.sides[by].open(&frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }

    /// Opens a frame that was made beside the written conversation.
    pub(super) fn open_bytes(&mut self, by: usize, frame: &[u8]) {
        let (input, draw) = self.opening(by, frame, json!({ "bytes": hex(frame) }));
        let took = self.sides[by].open(frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }

    pub(super) fn open_many(&mut self, by: usize, step: usize) {
        let mut all = Took { in_order: Vec::new(), settled: Vec::new() };
        for frame in self.many[&step].clone() {
            let took = self.sides[by].open(&frame, None);
            all.in_order.extend(took.in_order);
            all.settled.extend(took.settled);
        }
        self.note(json!({ "by": NAMES[by], "do": "open-many", "frames": step }), took_json(&all), Vec::new());
    }

    /// Opens a letter of this number, which will not be delivered.
    pub(super) fn open_refusing(&mut self, by: usize, step: usize, seq: u64) {
        let frame = self.frames[step].clone();
        let (input, draw) = self.opening(by, &frame, json!({ "frame": step, "refuse": true }));
        self.sides[by].refuse(seq);
        let took = self.sides[by].open(&frame, draw);
        self.note(input, took_json(&took), Vec::new());
    }

    pub(super) fn refuse(&mut self, by: usize, step: usize, error: &str) {
        let input = json!({ "by": NAMES[by], "do": "open", "frame": step });
        self.note(input, json!({ "error": error }), Vec::new());
    }

    /// A frame that no honest peer sends; `turned` if it is refused only after a ratchet secret was drawn.
    pub(super) fn refuse_bytes(&mut self, by: usize, frame: &[u8], turned: bool, error: &str) {
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
    pub(super) fn forged(&self, by: usize, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut header = self.sides[by].header();
        edit(&mut header);
        self.sides[by].seal_as(Some(&pad(b"forged")), &self.nonce(), &header).frame
    }

    pub(super) fn case(self) -> Case {
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
