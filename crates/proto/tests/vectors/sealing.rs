//! Keys to bytes: the ratchet's steps, and the sealing of header and body.

use nuncio_proto::crypto;
use nuncio_proto::frame::{self, Frame};
use nuncio_proto::handshake::Secrets;
use nuncio_proto::header::{Ack, Header};
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::padding;
use nuncio_proto::ratchet::tag_of;
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::cbor::places;
use crate::make_vectors::kit::{Script, actor, hex};
use crate::names::Name;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "step", rename_all = "kebab-case")]
enum Step {
    Root { rk: Hex, secret: Hex, public: Hex },
    Chain { ck: Hex },
    Tag { hk: Hex },
}

/// Where a snapshot keeps them (contracts/store.md section 3).
const ROOT_KEY: &[usize] = &[5, 0];
const CHAIN_KEY: &[usize] = &[5, 3, 0];
const NEXT_HEADER_KEY: &[usize] = &[5, 5];

pub(crate) fn kdf(value: &Value, expect: &Value) -> Outcome {
    match input(value) {
        Step::Root { rk, secret, public } => {
            let session = session(rk.array(), secret.array(), &public.array())?;
            let dh = crypto::dh(&Key::new(secret.array()), &public.array()).unwrap();
            let snapshot = session.to_bytes();
            let part = |path| hex(key_at(&snapshot, path));
            Ok(
                json!({ "dh": hex(dh.expose()), "rk": part(ROOT_KEY), "ck": part(CHAIN_KEY), "nhk": part(NEXT_HEADER_KEY) }),
            )
        }
        Step::Chain { ck } => {
            let mut session = with_chain_key(&ck.array());
            let nonce = [5; 12];
            let sealing = session.seal(b"letter", nonce).unwrap();
            let opens = opens(&session, &sealing.frame, &nonce, &expect["mk"]);
            session.accept_sealed(sealing, 0);
            let mk = if opens { expect["mk"].clone() } else { json!("wrong") };
            Ok(json!({ "ck": hex(key_at(&session.to_bytes(), CHAIN_KEY)), "mk": mk }))
        }
        Step::Tag { hk } => Ok(json!({ "tag": hex(tag_of(&Key::new(hk.array())).as_bytes()) })),
    }
}

const SESSION: [u8; 32] = [9; 32];
const HKA: [u8; 32] = [3; 32];

fn session(rk: [u8; 32], secret: [u8; 32], public: &[u8; 32]) -> Result<Session, &'static str> {
    let [rk, hka, nhkb, exporter] = [rk, HKA, [4; 32], [8; 32]].map(Key::new);
    let secrets = Secrets { id: SessionId::from_bytes(SESSION), rk, hka, nhkb, exporter };
    let parties =
        Parties { initiator: actor("alice").identity.id(), responder: actor("bob").identity.id(), initiated: true };
    let begun = Session::initiate(secrets, parties, 0, public, None, UnixMillis(0), &mut Script(secret.to_vec()));
    begun.map_err(|error| error.name())
}

fn key_at<'a>(snapshot: &'a [u8], path: &[usize]) -> &'a [u8] {
    let place = places(snapshot).into_iter().find(|place| place.path == path).unwrap();
    &snapshot[place.at + place.head_len..place.end]
}

fn with_chain_key(ck: &[u8; 32]) -> Session {
    let mut snapshot = session([1; 32], [2; 32], &crypto::dh_public(&Key::new([6; 32]))).unwrap().to_bytes();
    let place = places(&snapshot).into_iter().find(|place| place.path == CHAIN_KEY).unwrap();
    snapshot[place.at + place.head_len..place.end].copy_from_slice(ck);
    Session::from_bytes(&snapshot).unwrap()
}

/// Whether this message key opens the body of a frame that the session sealed.
fn opens(session: &Session, frame: &[u8], nonce: &[u8; 12], mk: &Value) -> bool {
    let Frame::Sealed(sealed) = Frame::decode(frame).unwrap() else { panic!("a letter") };
    let header = sealed.open_header(&Key::new(HKA)).unwrap();
    let initiator = actor("alice").identity.id();
    let ad = body_ad(sealed.kind(), true, (&initiator, &session.peer()), &SESSION, &header);
    let (body, tag) = sealed.body.unwrap().split_last_chunk().unwrap();
    let mk: [u8; 32] = crate::make_vectors::kit::unhex(mk).try_into().unwrap();
    crypto::open_in_place(&mk, nonce, &ad, &mut body.to_vec(), tag).is_ok()
}

/// contracts/frame.md section 3.
pub(crate) fn body_ad(
    kind: u8,
    from_initiator: bool,
    agents: (&AgentId, &AgentId),
    session: &[u8; 32],
    header: &Header,
) -> Vec<u8> {
    let direction = u8::from(!from_initiator);
    [&[1, kind, direction], &agents.0.as_bytes()[..], agents.1.as_bytes(), session, &header.to_bytes()].concat()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFields {
    ratchet_key: Hex,
    n: u32,
    pn: u32,
    seq: String,
    floor_below: u16,
    ack_next: String,
    ack_check: Hex,
    ack_above: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealing {
    initiator: String,
    responder: String,
    session: Hex,
    from: From,
    hk: Hex,
    mk: Option<Hex>,
    nonce: Hex,
    handshake: Option<Hex>,
    header: HeaderFields,
    letter: Option<Hex>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum From {
    Initiator,
    Responder,
}

impl HeaderFields {
    fn header(&self) -> Header {
        Header {
            ratchet_key: self.ratchet_key.array(),
            n: self.n,
            pn: self.pn,
            seq: self.seq.parse().unwrap(),
            floor_below: self.floor_below,
            ack: Ack {
                next: self.ack_next.parse().unwrap(),
                check: self.ack_check.array(),
                above: u64::from_be_bytes(self.ack_above.array()),
            },
        }
    }
}

impl Sealing {
    fn body_ad(&self, kind: u8, header: &Header) -> Vec<u8> {
        let agents = (&self.initiator.parse().unwrap(), &self.responder.parse().unwrap());
        body_ad(kind, self.from == From::Initiator, agents, &self.session.array(), header)
    }
}

pub(crate) fn seal(value: &Value) -> Outcome {
    let sealing: Sealing = input(value);
    let (hk, header, nonce) = (Key::new(sealing.hk.array()), sealing.header.header(), sealing.nonce.array());
    let kind = match (&sealing.letter, &sealing.handshake) {
        (None, _) => 3,
        (Some(_), None) => 2,
        (Some(_), Some(_)) => 1,
    };
    let padded = sealing.letter.as_ref().map(|letter| {
        let mut padded = letter.0.clone();
        padding::pad(&mut padded);
        padded
    });
    let body_ad = padded.as_ref().map(|_| sealing.body_ad(kind, &header));
    let body = padded.clone().zip(body_ad.as_ref()).map(|(mut body, ad)| {
        let mk = sealing.mk.as_ref().unwrap().array();
        let tag = crypto::seal_in_place(&mk, &nonce, ad, &mut body);
        [body, tag.to_vec()].concat()
    });
    let handshake = sealing.handshake.as_ref().map(|handshake| handshake.0.as_slice());
    let tag = tag_of(&hk);
    let mk = sealing.mk.as_ref().map(|mk| Key::new(mk.array()));
    let sealed_body = sealing.letter.as_ref().map(|letter| frame::Body {
        letter: &letter.0,
        mk: mk.as_ref().unwrap(),
        ad: body_ad.as_deref().unwrap(),
    });
    let frame = frame::seal(&hk, tag, &nonce, handshake, sealed_body, &header).unwrap();
    open(value, &frame)?;
    Ok(json!({
        "kind": kind,
        "tag": hex(tag.as_bytes()),
        "header": hex(header.to_bytes()),
        "padded": padded.map(hex),
        "body_ad": body_ad.map(hex),
        "body": body.map(hex),
        "header_ad": hex(&frame[..frame.len() - 90]),
        "frame": hex(&frame),
    }))
}

/// Opens these bytes with the keys of a sealing vector: frame, tag, header, body, padding.
pub(crate) fn open(value: &Value, bytes: &[u8]) -> Outcome {
    let sealing: Sealing = input(value);
    let Frame::Sealed(frame) = Frame::decode(bytes).map_err(|error| error.name())? else { return Err("kind") };
    let hk = Key::new(sealing.hk.array());
    if frame.tag != tag_of(&hk) {
        return Err("unknown-tag");
    }
    let header = frame.open_header(&hk).map_err(|error| error.name())?;
    assert_eq!(header, sealing.header.header());
    let Some(body) = frame.body else { return Ok(json!({})) };
    let (body, tag) = body.split_last_chunk().ok_or("length")?;
    let mut clear = body.to_vec();
    let mk = sealing.mk.as_ref().unwrap().array();
    crypto::open_in_place(&mk, &frame.nonce, &sealing.body_ad(frame.kind(), &header), &mut clear, tag)
        .map_err(|error| error.name())?;
    let letter = padding::unpad(&clear).ok_or("padding")?;
    Ok(json!({ "letter": hex(letter) }))
}
