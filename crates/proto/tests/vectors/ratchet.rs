//! Conversations, played by two real sessions.

use nuncio_proto::crypto;
use nuncio_proto::frame::{Frame, Sealed};
use nuncio_proto::handshake::Secrets;
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Accepted, Parties, Session};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::cbor::{Place, Uint, places};
use crate::make_vectors::kit::{Script, hex, unhex};
use crate::make_vectors::ratchet::talk::delivered;
use crate::names::Name;
use crate::sealing::body_ad;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Talk {
    initiator: String,
    responder: String,
    session: Hex,
    rk: Hex,
    hka: Hex,
    nhkb: Hex,
    prekey: Hex,
    initiator_secret: Hex,
    handshake: Option<Hex>,
    room: usize,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum By {
    Initiator,
    Responder,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "do", rename_all = "kebab-case")]
enum Step {
    Seal { by: By, letter: Hex, nonce: Hex },
    Ack { by: By, nonce: Hex },
    SealMany { by: By, count: u32, byte: u8, len: usize, nonce: Hex },
    Open { by: By, frame: Option<usize>, bytes: Option<Hex>, draw: Option<Hex>, refuse: Option<bool> },
    OpenMany { by: By, frames: usize },
    GiveUp { by: By, seq: u64 },
    Leap { by: By, n: u32 },
}

impl Step {
    const fn by(&self) -> By {
        match self {
            Self::Seal { by, .. }
            | Self::Ack { by, .. }
            | Self::SealMany { by, .. }
            | Self::Open { by, .. }
            | Self::OpenMany { by, .. }
            | Self::GiveUp { by, .. }
            | Self::Leap { by, .. } => *by,
        }
    }
}

impl Talk {
    fn agents(&self) -> (AgentId, AgentId) {
        (self.initiator.parse().unwrap(), self.responder.parse().unwrap())
    }

    fn session(&self, by: By) -> Session {
        let secrets = Secrets {
            id: SessionId::from_bytes(self.session.array()),
            rk: Key::new(self.rk.array()),
            hka: Key::new(self.hka.array()),
            nhkb: Key::new(self.nhkb.array()),
            exporter: Key::new([0; 32]),
        };
        let (initiator, responder) = self.agents();
        let parties = Parties { initiator, responder, initiated: by == By::Initiator };
        let prekey = Key::new(self.prekey.array());
        if by == By::Responder {
            return Session::respond(secrets, parties, 0, &prekey, UnixMillis(0));
        }
        let handshake = self.handshake.as_ref().map(|handshake| handshake.0.clone());
        let mut rng = Script(self.initiator_secret.0.clone());
        Session::initiate(secrets, parties, 0, &crypto::dh_public(&prekey), handshake, UnixMillis(0), &mut rng).unwrap()
    }
}

pub(crate) fn outcome(value: &Value, expect: &Value) -> Outcome {
    let talk: Talk = input(value);
    let sides = [talk.session(By::Initiator), talk.session(By::Responder)];
    let mut playing = Playing { talk: &talk, sides, frames: Vec::new() };
    let outcomes: Vec<_> =
        talk.steps.iter().enumerate().map(|(at, step)| playing.play(step, &expect["steps"][at])).collect();
    Ok(json!({ "steps": outcomes }))
}

struct Playing<'a> {
    talk: &'a Talk,
    sides: [Session; 2],
    /// What each step made.
    frames: Vec<Vec<Vec<u8>>>,
}

impl Playing<'_> {
    fn play(&mut self, step: &Step, expected: &Value) -> Value {
        let mut made = Vec::new();
        let by = step.by();
        let session = &mut self.sides[usize::from(by == By::Responder)];
        let outcome = match step {
            Step::Seal { letter, nonce, .. } => match seal(session, &letter.0, nonce.array()) {
                Ok(frame) => {
                    made.push(frame);
                    confirm(self.talk, by, &made[0], expected)
                }
                Err(error) => json!({ "error": error }),
            },
            Step::Ack { nonce, .. } => {
                made.push(session.seal_ack(nonce.array()).unwrap());
                confirm(self.talk, by, &made[0], expected)
            }
            Step::SealMany { count, byte, len, nonce, .. } => {
                let nonce = |i: u32| [&nonce.0[..], &i.to_be_bytes()].concat().try_into().unwrap();
                made.extend((0..*count).map(|i| seal(session, &vec![*byte; *len], nonce(i)).unwrap()));
                json!({ "frames_sha256": hex(crypto::sha256(&[&made.concat()])) })
            }
            Step::Open { frame, bytes, draw, refuse, .. } => {
                let bytes = match (frame, bytes) {
                    (Some(step), None) => self.frames[*step][0].clone(),
                    (None, Some(bytes)) => bytes.0.clone(),
                    _ => panic!("a frame or bytes"),
                };
                let hostile = expected.get("error").is_some();
                let how = How { room: self.talk.room, refuse: *refuse == Some(true), hostile };
                let mut rng = Script(draw.as_ref().map_or(vec![0x42; UNLISTED], |draw| draw.0.clone()));
                let outcome = open(session, &bytes, how, &mut rng);
                let taken_unlisted = draw.is_none() && outcome.is_ok() && rng.0.len() != UNLISTED;
                assert!(!taken_unlisted, "a frame that is taken draws what its vector lists");
                assert!(draw.is_none() || rng.0.is_empty(), "the listed randomness was drawn");
                outcome.map_or_else(|error| json!({ "error": error }), |accepted| accepted_json(&[accepted]))
            }
            Step::OpenMany { frames, .. } => {
                let how = How { room: self.talk.room, refuse: false, hostile: false };
                let open = |frame: &Vec<u8>| open(session, frame, how, &mut Script(Vec::new())).unwrap();
                accepted_json(&self.frames[*frames].iter().map(open).collect::<Vec<_>>())
            }
            Step::GiveUp { seq, .. } => {
                session.give_up(*seq).unwrap();
                json!({})
            }
            Step::Leap { n, .. } => {
                self.leap(by, *n);
                json!({})
            }
        };
        self.frames.push(made);
        outcome
    }

    /// As though the sending chain had made `n` steps, and all of its numbers were settled: a snapshot holds these counters.
    fn leap(&mut self, by: By, n: u32) {
        let (from, to) = if by == By::Initiator { (0, 1) } else { (1, 0) };
        let made = |session: &Session, path| place(&session.to_bytes(), path).value;
        let (sender, receiver) = (&self.sides[from], &self.sides[to]);
        let seq = made(sender, SEND_SEQ) + u64::from(n) - made(sender, SEND_N);
        let next = made(receiver, RECV_BASE) + u64::from(n);
        assert_eq!(seq, next, "all was settled");
        let sender = altered(sender, &[(SEND_N, n.into()), (SEND_SEQ, seq), (ACKED, seq)]);
        let receiver = altered(receiver, &[(RECV_N, n.into()), (RECV_NEXT, next)]);
        self.sides = if from == 0 { [sender, receiver] } else { [receiver, sender] };
    }
}

/// Places in a snapshot.
const SEND_N: &[usize] = &[5, 3, 2];
const RECV_N: &[usize] = &[5, 4, 0, 2];
const RECV_BASE: &[usize] = &[5, 4, 1];
const RECV_NEXT: &[usize] = &[7, 0];
const SEND_SEQ: &[usize] = &[8, 0];
const ACKED: &[usize] = &[8, 1];

fn place(snapshot: &[u8], path: &[usize]) -> Place {
    places(snapshot).into_iter().find(|place| place.path == path).unwrap()
}

fn altered(session: &Session, numbers: &[(&[usize], u64)]) -> Session {
    let mut snapshot = session.to_bytes();
    for (path, number) in numbers {
        let Place { at, end, .. } = place(&snapshot, path);
        snapshot.splice(at..end, Uint(*number).encode());
    }
    Session::from_bytes(&snapshot).unwrap()
}

fn seal(session: &mut Session, letter: &[u8], nonce: [u8; 12]) -> Result<Vec<u8>, &'static str> {
    let sealing = session.seal(letter, nonce).ok_or("exhausted")?;
    let (frame, seq) = (sealing.frame.clone(), sealing.seq);
    session.accept_sealed(sealing, seq);
    Ok(frame)
}

#[derive(Clone, Copy)]
struct How {
    room: usize,
    /// The letter will not be delivered.
    refuse: bool,
    /// What must be refused is not accepted even if it opens: accepting it may never end.
    hostile: bool,
}

fn open(session: &mut Session, bytes: &[u8], how: How, rng: &mut Script) -> Result<Accepted, &'static str> {
    let Frame::Sealed(frame) = Frame::decode(bytes).map_err(|error| error.name())? else { return Err("kind") };
    let before = session.to_bytes();
    let opened = session.open(&frame, how.room, rng).map_err(|error| error.name());
    assert_eq!(session.to_bytes(), before, "opening moves nothing");
    let mut opened = opened?;
    if how.hostile {
        return Err("opened although it must be refused");
    }
    if how.refuse {
        opened.refuse();
    }
    Ok(session.accept_opened(opened, UnixMillis(0)))
}

/// A frame that is refused may have drawn a ratchet secret first, which is thrown away with it.
const UNLISTED: usize = 32;

fn accepted_json(accepted: &[Accepted]) -> Value {
    let letters = accepted.iter().flat_map(|accepted| &accepted.in_order);
    let letters: Vec<_> = letters.map(|(seq, letter)| delivered(*seq, letter)).collect();
    let settled: Vec<_> = accepted.iter().flat_map(|accepted| accepted.settled.clone()).collect();
    json!({ "letters": letters, "settled": settled })
}

/// Keys are private to the session: the listed ones are confirmed by opening with them.
fn confirm(talk: &Talk, by: By, bytes: &[u8], expected: &Value) -> Value {
    let Frame::Sealed(frame) = Frame::decode(bytes).unwrap() else { panic!("a session seals no notice") };
    let key = |name: &str| Key::new(unhex(&expected[name]).try_into().unwrap());
    let Ok(header) = frame.open_header(&key("hk")) else { return json!({ "frame": hex(bytes), "hk": "wrong" }) };
    let mut outcome = json!({ "frame": hex(bytes), "hk": expected["hk"], "header": hex(header.to_bytes()) });
    if let Some(body) = frame.body {
        let right = opens(talk, by, &frame, body, &key("mk"), &header);
        outcome["mk"] = if right { expected["mk"].clone() } else { json!("wrong") };
    }
    outcome
}

fn opens(
    talk: &Talk,
    by: By,
    frame: &Sealed<'_>,
    body: &[u8],
    mk: &Key,
    header: &nuncio_proto::header::Header,
) -> bool {
    let (initiator, responder) = talk.agents();
    let ad = body_ad(frame.kind(), by == By::Initiator, (&initiator, &responder), &talk.session.array(), header);
    let (sealed, tag) = body.split_last_chunk().unwrap();
    crypto::open_in_place(mk.expose(), &frame.nonce, &ad, &mut sealed.to_vec(), tag).is_ok()
}
