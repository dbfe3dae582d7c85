//! Handshakes, both sides, and re-keys.

use nuncio_contracts::registry::label;
use nuncio_proto::bundle::{Bundle, OneTimePrekey, OneTimeRef, SignedPrekeys};
use nuncio_proto::crypto;
use nuncio_proto::handshake::{ResponderKeys, Response, Start, initiate_with, rekey};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::{Key, Secret};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::{Script, hex, identity_of};
use crate::names::Name;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Actor {
    seed: Hex,
    agreement: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedPrekey {
    id: u32,
    agreement: Hex,
    kem: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneTime {
    batch: u32,
    index: u16,
    agreement: Hex,
    kem: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "what", rename_all = "kebab-case")]
enum Input {
    Initiate {
        initiator: Actor,
        responder: Actor,
        signed_prekey: SignedPrekey,
        one_time: Option<OneTime>,
        bundle: Hex,
        now: u64,
        ephemeral: Hex,
        m: Hex,
        parameters: u64,
    },
    Respond {
        responder: Actor,
        signed_prekey: SignedPrekey,
        one_time: Option<OneTime>,
        handshake: Hex,
    },
    Rekey {
        leader: String,
        follower: String,
        exporter: Hex,
        agreement: Hex,
        kem: Hex,
        ephemeral: Hex,
        m: Hex,
    },
    RekeyOffer {
        leader: String,
        follower: String,
        exporter: Hex,
        offer: Hex,
        ephemeral: Hex,
        m: Hex,
    },
    RekeyAnswer {
        leader: String,
        follower: String,
        exporter: Hex,
        agreement: Hex,
        kem: Hex,
        answer: Hex,
    },
}

impl Actor {
    fn identity(&self) -> Identity {
        identity_of(self.seed.array(), self.agreement.array())
    }
}

impl Hex {
    fn key<const N: usize>(&self) -> Secret<N> {
        Secret::new(self.array())
    }
}

pub(crate) fn outcome(value: &Value, expect: &Value) -> Outcome {
    match input(value) {
        Input::Initiate { initiator, responder, signed_prekey, one_time, bundle, now, ephemeral, m, parameters } => {
            let (alice, bob) = (initiator.identity(), responder.identity());
            let parsed = Bundle::parse(&bundle.0, UnixMillis(now)).map_err(|error| error.name())?;
            let begun =
                initiate_with(&alice, &parsed, parameters, &ephemeral.key(), &m.key()).map_err(|error| error.name())?;
            let answered = respond(&bob, &signed_prekey, one_time.as_ref(), &begun.handshake)?;
            assert_eq!(
                (answered.initiator, &answered.secrets),
                (alice.id(), &begun.secrets),
                "both sides have the same"
            );
            let stages = confirm(&alice, &bob, (&signed_prekey, one_time.as_ref()), &begun.handshake, expect);
            Ok(
                json!({ "handshake": hex(begun.handshake), "stages": stages, "secrets": crate::make_vectors::handshake::secrets_json(&begun.secrets) }),
            )
        }
        Input::Respond { responder, signed_prekey, one_time, handshake } => {
            let answered = respond(&responder.identity(), &signed_prekey, one_time.as_ref(), &handshake.0)?;
            Ok(json!({ "initiator": answered.initiator.to_string() }))
        }
        Input::Rekey { leader, follower, exporter, agreement, kem, ephemeral, m } => {
            let parties = [&agent(&leader), &agent(&follower)];
            let offer = rekey::Offer { agreement: agreement.key(), kem: kem.key() };
            let mut rng = Script([ephemeral.0, m.0].concat());
            let (answer, secrets) =
                rekey::answer(&exporter.key(), parties, &offer.public(), &mut rng).map_err(|error| error.name())?;
            assert_eq!(offer.complete(&exporter.key(), parties, &answer).unwrap(), secrets, "both sides have the same");
            let secrets = crate::make_vectors::handshake::secrets_json(&secrets);
            Ok(json!({ "offer": hex(offer.public()), "answer": hex(answer), "secrets": secrets }))
        }
        Input::RekeyOffer { leader, follower, exporter, offer, ephemeral, m } => {
            let mut rng = Script([ephemeral.0, m.0].concat());
            rekey::answer(&exporter.key(), [&agent(&leader), &agent(&follower)], &offer.0, &mut rng)
                .map_err(|error| error.name())?;
            Ok(json!({}))
        }
        Input::RekeyAnswer { leader, follower, exporter, agreement, kem, answer } => {
            let offer = rekey::Offer { agreement: agreement.key(), kem: kem.key() };
            offer
                .complete(&exporter.key(), [&agent(&leader), &agent(&follower)], &answer.0)
                .map_err(|error| error.name())?;
            Ok(json!({}))
        }
    }
}

fn agent(did: &str) -> AgentId {
    did.parse().unwrap()
}

fn respond(
    me: &Identity,
    signed: &SignedPrekey,
    one_time: Option<&OneTime>,
    handshake: &[u8],
) -> Result<Response, &'static str> {
    let (agreement, kem): (Key, Secret<64>) = (signed.agreement.key(), signed.kem.key());
    let public = SignedPrekeys {
        agreement: *me.agreement_public(),
        id: signed.id,
        agreement_prekey: crypto::dh_public(&agreement),
        kem_prekey: Box::new(crypto::kem_public(&kem)),
    };
    let pair: Option<(Key, Secret<64>)> = one_time.map(|prekey| (prekey.agreement.key(), prekey.kem.key()));
    let leaf = one_time.zip(pair.as_ref()).map(|(prekey, (agreement, kem))| leaf(prekey, agreement, kem));
    let one_time = pair.as_ref().zip(leaf).map(|((agreement, kem), leaf)| (agreement, kem, leaf));
    let keys = ResponderKeys { public: &public, agreement_prekey: &agreement, kem_prekey: &kem, one_time };
    let start = Start::decode(handshake).map_err(|error| error.name())?;
    start.respond(me, &keys).map_err(|error| error.name())
}

fn leaf(prekey: &OneTime, agreement: &Key, kem: &Secret<64>) -> [u8; 32] {
    let at = OneTimeRef { batch: prekey.batch, index: prekey.index };
    OneTimePrekey { at, agreement: crypto::dh_public(agreement), kem: Box::new(crypto::kem_public(kem)) }.leaf()
}

/// The values between are private to the implementation: each is confirmed by what it opens or gives.
fn confirm(
    alice: &Identity,
    bob: &Identity,
    prekeys: (&SignedPrekey, Option<&OneTime>),
    handshake: &[u8],
    expect: &Value,
) -> Value {
    let (signed, one_time) = prekeys;
    let stages = &expect["stages"];
    let text = |name: &str| stages[name].as_str().unwrap_or_else(|| panic!("no {name}"));
    let bytes = |name: &str| data_encoding::HEXLOWER.decode(text(name).as_bytes()).unwrap();
    let array = |name: &str| -> [u8; 32] { bytes(name).try_into().unwrap() };

    let places = crate::make_vectors::cbor::places(handshake);
    let part = |at: usize| {
        let place = places.iter().find(|place| place.path == [at]).unwrap();
        &handshake[place.at + place.head_len..place.end]
    };
    let ephemeral: [u8; 32] = part(5).try_into().unwrap();
    let kem = one_time.map_or(&signed.kem, |prekey| &prekey.kem);
    let dh = |secret: &Key, public: &[u8; 32]| hex(crypto::dh(secret, public).unwrap().expose());

    // The sealed identity opens under this key with this associated data, or one of the two is wrong.
    let (sealed, tag) = part(8).split_last_chunk().unwrap();
    let mut clear = sealed.to_vec();
    let opened = crypto::open_in_place(&array("identity_key"), &[0; 12], &array("transcript_one"), &mut clear, tag);
    let identity_is_right = opened.is_ok() && clear.starts_with(alice.id().as_bytes());

    let mut out = [0; 160];
    let info = [label::STAGE_TWO, &[0], &array("transcript_two")].concat();
    crypto::hkdf_sha256(&array("chaining"), &array("dh_identities"), &info, &mut out);
    let names = ["session", "rk", "hka", "nhkb", "exporter"];
    let outputs_are_right = names.iter().zip(out.chunks(32)).all(|(name, key)| expect["secrets"][*name] == hex(key));

    let or_wrong = |right: bool, name: &str| if right { stages[name].clone() } else { json!("wrong") };
    json!({
        "dh_prekey": dh(&signed.agreement.key(), &ephemeral),
        "dh_identity": dh(bob.agreement(), &ephemeral),
        "dh_one_time": one_time.map(|prekey| dh(&prekey.agreement.key(), &ephemeral)),
        "kem_shared": hex(crypto::kem_decapsulate(&kem.key(), part(6).try_into().unwrap()).expose()),
        "transcript_one": or_wrong(identity_is_right, "transcript_one"),
        "identity_key": or_wrong(identity_is_right, "identity_key"),
        "chaining": or_wrong(outputs_are_right, "chaining"),
        "dh_identities": dh(&signed.agreement.key(), alice.agreement_public()),
        "transcript_two": or_wrong(outputs_are_right, "transcript_two"),
    })
}
