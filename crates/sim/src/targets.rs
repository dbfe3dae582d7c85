//! What the fuzzers run, and what the tests replay on stable: bytes in, a panic when a promise is broken.
#![expect(clippy::panic, reason = "a fuzzer learns of a broken promise by a panic")]

use nuncio_proto::bundle::Bundle;
use nuncio_proto::control::Control;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::frame::Frame;
use nuncio_proto::handshake::Start;
use nuncio_proto::identity::Retirement;
use nuncio_proto::invitation::Invitation;
use nuncio_proto::letter::Letter;
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::session::Session;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{EdDsaOnly, Genuine, KeySet, VerifyingKey};

use crate::net::Weather;
use crate::plan::{Faults, Plan, Tokens};
use crate::trace::Trace;
use crate::world;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const ALL: &[(&str, Target)] = &[
    ("frame", frame),
    ("bundle", bundle),
    ("letter", letter),
    ("snapshot", snapshot),
    ("invitation", invitation),
    ("handshake", handshake),
    ("control", control),
    ("statement", statement),
    ("token", token),
    ("jwks", jwks),
    ("conversation", conversation),
];

/// Two encodings of one thing must be one.
fn same(what: &str, again: &[u8], bytes: &[u8]) {
    if again != bytes {
        panic!("{what}: what was taken is encoded in another way");
    }
}

/// A frame is refused, or its parts lie within it.
pub fn frame(bytes: &[u8]) {
    match Frame::decode(bytes) {
        Ok(Frame::Sealed(sealed)) => same("frame", &[sealed.in_front, sealed.header].concat(), bytes),
        Ok(Frame::Notice(notice)) => same("notice", &notice.encode(), bytes),
        Err(_) => {}
    }
}

/// A bundle is refused at any time, since nobody here can sign one.
pub fn bundle(bytes: &[u8]) {
    // The corpus holds genuine bundles; what is taken must parse again to the same.
    let now = UnixMillis(1_800_000_000_000);
    if let Ok(parsed) = Bundle::parse(bytes, now)
        && Bundle::parse(bytes, now).as_ref() != Ok(&parsed)
    {
        panic!("bundle: two readings differ");
    }
}

/// A letter is refused, or has one spelling.
pub fn letter(bytes: &[u8]) {
    if let Ok(letter) = Letter::decode(bytes) {
        same("letter", &letter.encode(), bytes);
        if let Some(payload) = letter.extensions.iter().find_map(|extension| PayloadKey::decode(&extension.value)) {
            let whole: u64 =
                (0..payload.chunks().min(4)).map(|index| u64::try_from(payload.chunk_len(index)).unwrap_or(0)).sum();
            if payload.chunks() <= 4 && whole != payload.len {
                panic!("payload: chunks do not add up");
            }
        }
    }
}

/// A snapshot is refused, or comes back as it was.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(session) = Session::from_bytes(bytes) {
        same("snapshot", &session.to_bytes(), bytes);
    }
}

/// An invitation is refused, or what it says survives printing.
pub fn invitation(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(invitation) = text.parse::<Invitation>()
        && invitation.to_string().parse::<Invitation>() != Ok(invitation)
    {
        panic!("invitation: printed and read, it says something else");
    }
}

/// The header of a start is refused, or read.
pub fn handshake(bytes: &[u8]) {
    if let Ok(start) = Start::decode(bytes)
        && start.used() != start.used()
    {
        panic!("handshake: two readings differ");
    }
}

/// A control letter's payload is refused, or has one spelling.
pub fn control(bytes: &[u8]) {
    if let Some(control) = Control::decode(bytes) {
        same("control", &control.encode(), bytes);
    }
}

/// A retirement is refused, or speaks of who signed it.
pub fn statement(bytes: &[u8]) {
    if let Ok(retirement) = Retirement::parse(bytes)
        && Retirement::parse(bytes).as_ref() != Ok(&retirement)
    {
        panic!("statement: two readings differ");
    }
}

/// A header and a body, a zero byte between them, under a genuine signature: refused, or read as every other JSON parser reads it.
pub fn token(bytes: &[u8]) {
    let (header, body) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (signer, body) = (SigningKey::from_seed(&[9; 32]), text(body.strip_prefix(&[0]).unwrap_or(body)));
    let mut keys = KeySet::default();
    keys.insert(VerifyingKey::Ed25519(signer.public()));
    let Ok(genuine) = Genuine::open(jws(&signer, &text(header), &body).as_bytes(), &keys, &EdDsaOnly) else { return };
    let Ok(other) = serde_json::from_str::<serde_json::Value>(&body) else {
        panic!("token: what was taken is no JSON")
    };
    let claims = genuine.claims();
    for (name, ours) in [("sub", &claims.sub), ("aud", &claims.aud), ("txn", &claims.txn), ("jti", &claims.jti)] {
        if other.get(name).and_then(serde_json::Value::as_str) != Some(ours) {
            panic!("token: {name} is read in two ways");
        }
    }
    if claims.req_wl_chain.len() != usize::from(claims.hop.n) + 1 {
        panic!("token: a chain and a hop that differ");
    }
}

/// A set of keys is refused, or every key in it is found by its own thumbprint.
pub fn jwks(bytes: &[u8]) {
    if let Ok(keys) = KeySet::parse(bytes)
        && KeySet::parse(bytes).as_ref() != Ok(&keys)
    {
        panic!("jwks: two readings differ");
    }
}

/// Agents talk under faults that the bytes choose; the simulator's promises hold.
pub fn conversation(bytes: &[u8]) {
    let plan = plan_of(bytes);
    if let Err(violation) = world::run(&plan, &mut Trace::off()) {
        panic!("{violation}: {plan:?}");
    }
}

/// Each byte turns one screw of the plan. It is a short one: a fuzzer learns more from many runs than from long ones.
fn plan_of(bytes: &[u8]) -> Plan {
    let mut bytes = bytes.iter().copied();
    let mut next = |most: u32| u32::from(bytes.next().unwrap_or(0)).saturating_mul(most) / 255;
    let weather = Weather {
        loss: next(400),
        duplicate: next(300),
        reorder: next(300),
        ghost: next(40),
        delay_ms: u64::from(next(3_000)) + 1,
    };
    let faults = Faults {
        crash: next(100),
        only_first: next(1) == 1,
        partition: next(30),
        clock_step: next(10),
        restore: next(60),
        lost_sessions: next(50),
        forget_contact: next(10),
        silence: next(30),
        deadline: next(300),
        cancel: next(150),
        forge: next(100),
        done: next(600),
    };
    let agents = 2 + usize::try_from(next(1)).unwrap_or(0);
    let (letters, gap_ms, burst) = (u64::from(next(16)) + 1, u64::from(next(5_000)) + 1, u64::from(next(30)) + 1);
    let tokens = Tokens {
        carry: next(1_000),
        shared: next(1_000),
        stolen: next(100),
        wants: next(1) == 1,
        keyless: next(60),
        revoke: next(60),
        renew: next(1_000),
        ahead: next(200),
    };
    let seed = bytes.fold(0, |seed: u64, byte| seed.wrapping_mul(257).wrapping_add(byte.into()));
    Plan { seed, agents, letters, gap_ms, burst, weather, faults, tokens }
}
