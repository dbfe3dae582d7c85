//! Conversations, played by two real sessions.

use nuncio_proto::crypto;
use nuncio_proto::frame::{Frame, Sealed};
use nuncio_proto::handshake::Secrets;
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::{Script, hex, unhex};
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
    Open { by: By, frame: Option<usize>, bytes: Option<Hex>, draw: Option<Hex> },
    GiveUp { by: By, seq: u64 },
}

impl Step {
    const fn by(&self) -> By {
        match self {
            Self::Seal { by, .. } | Self::Ack { by, .. } | Self::Open { by, .. } | Self::GiveUp { by, .. } => *by,
        }
    }
}

impl Talk {
    /// Giving up is a peer's decision, not a session's: the side that does is played by the vector.
    fn played(&self) -> Option<By> {
        self.steps.iter().find(|step| matches!(step, Step::GiveUp { .. })).map(Step::by)
    }

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

/// Steps whose outcomes are the vector's own: what the side opens that is played by the vector.
pub(crate) fn not_played(value: &Value) -> Vec<usize> {
    let talk: Talk = input(value);
    let played = talk.played();
    let own = |step: &Step| Some(step.by()) == played && matches!(step, Step::Open { .. });
    talk.steps.iter().enumerate().filter(|(_, step)| own(step)).map(|(at, _)| at).collect()
}

pub(crate) fn outcome(value: &Value, expect: &Value) -> Outcome {
    let talk: Talk = input(value);
    let played = talk.played();
    let (mut initiator, mut responder) = (talk.session(By::Initiator), talk.session(By::Responder));
    let mut outcomes: Vec<Value> = Vec::new();
    for (at, step) in talk.steps.iter().enumerate() {
        let expected = &expect["steps"][at];
        if played == Some(step.by()) {
            let made = expected.get("frame").map(unhex);
            outcomes.push(made.map_or_else(|| expected.clone(), |frame| confirm(&talk, step.by(), &frame, expected)));
            continue;
        }
        let session = if step.by() == By::Initiator { &mut initiator } else { &mut responder };
        let outcome = play(&talk, session, step, &outcomes, expected);
        if let Some(frame) = outcome.get("frame") {
            outcomes.push(confirm(&talk, step.by(), &unhex(frame), expected));
        } else {
            outcomes.push(outcome);
        }
    }
    Ok(json!({ "steps": outcomes }))
}

fn play(talk: &Talk, session: &mut Session, step: &Step, outcomes: &[Value], expected: &Value) -> Value {
    match step {
        Step::Seal { letter, nonce, .. } => {
            let sealing = session.seal(letter.0.clone(), nonce.array()).unwrap();
            let (frame, seq) = (sealing.frame.clone(), sealing.seq);
            session.accept_sealed(sealing, seq);
            json!({ "frame": hex(frame) })
        }
        Step::Ack { nonce, .. } => json!({ "frame": hex(session.seal_ack(nonce.array()).unwrap()) }),
        Step::Open { frame, bytes, draw, .. } => {
            let bytes = match (frame, bytes) {
                (Some(step), None) => unhex(&outcomes[*step]["frame"]),
                (None, Some(bytes)) => bytes.0.clone(),
                _ => panic!("a frame or bytes"),
            };
            let mut rng = Script(draw.as_ref().map_or(Vec::new(), |draw| draw.0.clone()));
            let outcome = open(session, &bytes, talk.room, &mut rng, expected.get("error").is_some());
            assert!(rng.0.is_empty(), "the listed randomness was drawn");
            outcome.unwrap_or_else(|error| json!({ "error": error }))
        }
        Step::GiveUp { seq, .. } => panic!("{seq} is given up by a side that is played by the vector"),
    }
}

/// What must be refused is not accepted even if it opens: accepting it may never end.
fn open(session: &mut Session, bytes: &[u8], room: usize, rng: &mut Script, hostile: bool) -> Outcome {
    let Frame::Sealed(frame) = Frame::decode(bytes).map_err(|error| error.name())? else { return Err("kind") };
    let before = session.to_bytes();
    let opened = session.open(&frame, room, rng).map_err(|error| error.name());
    assert_eq!(session.to_bytes(), before, "opening moves nothing");
    let opened = opened?;
    if hostile {
        return Ok(json!({ "opened": "although it must be refused" }));
    }
    let accepted = session.accept_opened(opened, UnixMillis(0));
    let letters: Vec<_> =
        accepted.in_order.iter().map(|(seq, letter)| json!({ "seq": seq, "letter": hex(letter) })).collect();
    Ok(json!({ "letters": letters, "settled": accepted.settled }))
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
