//! Snapshots of a session: local, versioned, never guessed (contracts/store.md section 3).

use nuncio_proto::handshake::Secrets;
use nuncio_proto::ids::SessionId;
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use serde_json::json;

use super::cbor::{Raw, Uint, bytes, places};
use super::kit::{Case, NOW, Script, actor, fixed, hex, key};

const AREA: &str = "snapshot";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), refused()].into_iter().flatten().collect()
}

fn secrets() -> Secrets {
    let id = SessionId::from_bytes(fixed("snapshot session"));
    Secrets {
        id,
        rk: key("snapshot rk"),
        hka: key("snapshot hka"),
        nhkb: key("snapshot nhkb"),
        exporter: key("snapshot exporter"),
    }
}

fn parties(initiated: bool) -> Parties {
    Parties { initiator: actor("alice").identity.id(), responder: actor("bob").identity.id(), initiated }
}

pub(crate) fn initiator() -> Session {
    let prekey = super::model::public_of(&fixed("snapshot prekey"));
    let mut rng = Script(fixed::<32>("snapshot secret").to_vec());
    Session::initiate(secrets(), parties(true), 5, &prekey, Some(vec![0xaa; 40]), NOW, &mut rng).unwrap()
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, session: &Session| {
        let expect = json!({
            "session": hex(session.id().as_bytes()),
            "peer": session.peer().to_string(),
            "confirmed": session.is_confirmed(),
            "sealed": session.sealed_count(),
            "next_expected": session.next_expected(),
            "tags": session.tags().map(|tag| hex(tag.as_bytes())).collect::<Vec<_>>(),
        });
        Case::valid(AREA, name, comment, json!({ "bytes": hex(session.to_bytes()) }), expect)
    };
    let responder = Session::respond(secrets(), parties(false), 5, &Key::new(fixed("snapshot prekey")), NOW);
    let mut talked = initiator();
    for nonce in [[1; 12], [2; 12]] {
        let sealing = talked.seal(b"letter", nonce).unwrap();
        talked.accept_sealed(sealing, 0);
    }
    vec![
        case("valid-initiator", "begun, nothing sealed", &initiator()),
        case("valid-responder", "answered, nothing opened: no chain yet", &responder),
        case("valid-sealed", "two letters sealed; the frames under way are rows of their own", &talked),
    ]
}

fn refused() -> Vec<Case> {
    let good = initiator().to_bytes();
    let no = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(bytes) }), error)
    };
    let with = |path: &[usize], item: Vec<u8>| {
        let place = places(&good).into_iter().find(|place| place.path == path).unwrap();
        [&good[..place.at], &item, &good[place.end..]].concat()
    };
    let weak = bytes([&[1_u8][..], &[0; 31]].concat()).encode();
    let mut long = good.clone();
    long.resize(8_193, 0);
    vec![
        no("version-2", "written by a newer program: refused, never guessed", &with(&[0], Uint(2).encode()), "newer"),
        no("version-23", "the newest that fits a byte", &with(&[0], Uint(23).encode()), "newer"),
        no(
            "version-2-other-shape",
            "a newer version is told as newer whatever its shape",
            &[0x82, 0x02, 0x00],
            "newer",
        ),
        no("initiator-weak", "a key that no agent has", &with(&[2, 0], weak.clone()), "bad-key"),
        no("responder-weak", "a key that no agent has", &with(&[2, 1], weak), "bad-key"),
        no("place-unknown", "a place that no session has", &with(&[3, 0], Uint(3).encode()), "codec"),
        no("root-short", "31 bytes of root key", &with(&[5, 0], bytes([1; 31]).encode()), "codec"),
        no("n-long", "canonical, or refused", &with(&[8, 0], Raw(vec![0x18, 0]).encode()), "codec"),
        no("cut", "a record that was not written whole", &good[..good.len() - 1], "codec"),
        no("empty", "no record", &[], "codec"),
        no("too-long", "more than a snapshot may have", &long, "too-long"),
    ]
}
