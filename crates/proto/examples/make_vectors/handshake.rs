//! The handshake in full, and the re-key (contracts/handshake.md).

use nuncio_contracts::registry::label;
use nuncio_proto::bundle::Bundle;
use nuncio_proto::crypto;
use nuncio_proto::handshake::{Secrets, initiate_with, rekey};
use nuncio_proto::secret::Key;
use serde_json::{Value, json};

use super::bundle::{ONE_TIME, PREKEY_ID, one_time, plain, signed_prekeys, with_one_time};
use super::cbor::{Array, Item, Null, Raw, Uint, bytes};
use super::kit::{Actor, Case, NOW, Script, actor, fixed, hex, key, secret};

const AREA: &str = "handshake";

pub(crate) fn cases() -> Vec<Case> {
    [transcripts(), initiations_refused(), responses_refused(), identities_refused(), rekeys()]
        .into_iter()
        .flatten()
        .collect()
}

/// What both agents know of one start, in values.
pub(crate) struct Start {
    pub(crate) initiator: Actor,
    pub(crate) responder: Actor,
    with_one_time: bool,
    parameters: u64,
    ephemeral: [u8; 32],
    m: [u8; 32],
}

/// The values between the inputs and the outputs, written out from the contract.
pub(crate) struct Stages {
    dh_prekey: Key,
    dh_identity: Key,
    dh_one_time: Option<Key>,
    kem_ciphertext: Vec<u8>,
    kem_shared: Key,
    transcript_one: [u8; 32],
    identity_key: [u8; 32],
    chaining: [u8; 32],
}

impl Start {
    pub(crate) fn new(with_one_time: bool, parameters: u64) -> Self {
        let (initiator, responder) = (actor("alice"), actor("bob"));
        Self {
            initiator,
            responder,
            with_one_time,
            parameters,
            ephemeral: fixed("ephemeral"),
            m: fixed("encapsulated"),
        }
    }

    fn bundle(&self) -> Vec<u8> {
        if self.with_one_time { with_one_time(&self.responder) } else { plain(&self.responder) }
    }

    fn one_time(&self) -> Value {
        if !self.with_one_time {
            return Value::Null;
        }
        json!({
            "batch": ONE_TIME.batch,
            "index": ONE_TIME.index,
            "agreement": hex(fixed::<32>(&format!("one-time {}", ONE_TIME.index))),
            "kem": hex(fixed::<64>(&format!("one-time {} kem", ONE_TIME.index))),
        })
    }

    fn signed_prekey(&self) -> Value {
        json!({ "id": PREKEY_ID, "agreement": hex(fixed::<32>("signed prekey")), "kem": hex(fixed::<64>("signed prekey kem")) })
    }

    pub(crate) fn stages(&self) -> Stages {
        let prekeys = signed_prekeys(&self.responder);
        let ephemeral = Key::new(self.ephemeral);
        let prekey = self.with_one_time.then(|| one_time(ONE_TIME.index));
        let kem_key = prekey.as_ref().map_or(&prekeys.kem_prekey, |prekey| &prekey.kem);
        let (kem_ciphertext, kem_shared) = crypto::kem_encapsulate_with(kem_key, &Key::new(self.m)).unwrap();
        let responder = self.responder.identity.id();
        let pair = Array(vec![Uint(ONE_TIME.batch.into()), Uint(ONE_TIME.index.into())]);
        let said = Array(vec![
            Array(vec![Uint(1)]),
            Uint(1),
            Uint(1),
            bytes(responder.as_bytes()),
            bytes(prekeys.hash(&responder)),
            prekey.as_ref().map_or(Null, |_| pair),
            prekey.as_ref().map_or(Null, |prekey| bytes(prekey.leaf())),
            bytes(crypto::dh_public(&ephemeral)),
            bytes(kem_ciphertext),
            Uint(self.parameters),
        ]);
        let transcript_one = crypto::sha256(&[label::SUITE, &[0], &said.encode()]);
        let dh_prekey = crypto::dh(&ephemeral, &prekeys.agreement_prekey).unwrap();
        let dh_identity = crypto::dh(&ephemeral, &prekeys.agreement).unwrap();
        let dh_one_time = prekey.map(|prekey| crypto::dh(&ephemeral, &prekey.agreement).unwrap());
        let mut ikm = vec![0xff; 32];
        [Some(&dh_prekey), Some(&dh_identity), dh_one_time.as_ref(), Some(&kem_shared)]
            .into_iter()
            .flatten()
            .for_each(|secret| ikm.extend(secret.expose()));
        let mut out = [0; 64];
        crypto::hkdf_sha256(&[0; 32], &ikm, &[label::STAGE_ONE, &[0], &transcript_one].concat(), &mut out);
        let [identity_key, chaining] = [0, 32].map(|at| out[at..at + 32].try_into().unwrap());
        let kem_ciphertext = kem_ciphertext.to_vec();
        Stages {
            dh_prekey,
            dh_identity,
            dh_one_time,
            kem_ciphertext,
            kem_shared,
            transcript_one,
            identity_key,
            chaining,
        }
    }

    /// The handshake as items, with this in place of the sealed identity.
    fn items(&self, stages: &Stages, sealed_identity: &[u8]) -> Item {
        let pair = Array(vec![Uint(ONE_TIME.batch.into()), Uint(ONE_TIME.index.into())]);
        Array(vec![
            Array(vec![Uint(1)]),
            Uint(1),
            Uint(1),
            Uint(PREKEY_ID.into()),
            if self.with_one_time { pair } else { Null },
            bytes(crypto::dh_public(&Key::new(self.ephemeral))),
            bytes(&stages.kem_ciphertext),
            Uint(self.parameters),
            bytes(sealed_identity),
        ])
    }

    /// The input of a case in which the responder answers these bytes.
    fn response(&self, handshake: &[u8]) -> Value {
        json!({
            "what": "respond",
            "responder": self.responder.secrets(),
            "signed_prekey": self.signed_prekey(),
            "one_time": self.one_time(),
            "handshake": hex(handshake),
        })
    }

    pub(crate) fn handshake(&self) -> (Vec<u8>, Secrets) {
        let bundle = Bundle::parse(&self.bundle(), NOW).unwrap();
        let (ephemeral, m) = (Key::new(self.ephemeral), Key::new(self.m));
        let begun = initiate_with(&self.initiator.identity, &bundle, self.parameters, &ephemeral, &m).unwrap();
        (begun.handshake, begun.secrets)
    }
}

fn seal_identity(stages: &Stages, clear: &[u8]) -> Vec<u8> {
    let mut sealed = clear.to_vec();
    let tag = crypto::seal_in_place(&stages.identity_key, &[0; 12], &stages.transcript_one, &mut sealed);
    [sealed, tag.to_vec()].concat()
}

fn transcripts() -> Vec<Case> {
    vec![
        transcript(
            "one-time",
            "with a one-time prekey, whose KEM key takes the place of the signed one",
            &Start::new(true, 0),
        ),
        transcript(
            "no-one-time",
            "without a one-time prekey: the signed KEM prekey is used, and the start is taken once",
            &Start::new(false, 0),
        ),
        transcript(
            "parameters",
            "the session's parameters are in the transcript, so both have the same or no session",
            &Start::new(true, u64::from(u32::MAX) + 1),
        ),
    ]
}

fn transcript(name: &str, comment: &str, start: &Start) -> Case {
    let stages = start.stages();
    let (handshake, secrets) = start.handshake();
    let alice = &start.initiator.identity;
    let dh_identities = crypto::dh(alice.agreement(), &signed_prekeys(&start.responder).agreement_prekey).unwrap();
    let transcript_two =
        crypto::sha256(&[label::SUITE, &[1], &stages.transcript_one, alice.id().as_bytes(), alice.agreement_public()]);
    let input = json!({
        "what": "initiate",
        "initiator": start.initiator.secrets(),
        "responder": start.responder.secrets(),
        "signed_prekey": start.signed_prekey(),
        "one_time": start.one_time(),
        "bundle": hex(start.bundle()),
        "now": NOW.0,
        "ephemeral": hex(start.ephemeral),
        "m": hex(start.m),
        "parameters": start.parameters,
    });
    let expect = json!({
        "handshake": hex(handshake),
        "stages": {
            "dh_prekey": hex(stages.dh_prekey.expose()),
            "dh_identity": hex(stages.dh_identity.expose()),
            "dh_one_time": stages.dh_one_time.as_ref().map_or(Value::Null, |dh| hex(dh.expose())),
            "kem_shared": hex(stages.kem_shared.expose()),
            "transcript_one": hex(stages.transcript_one),
            "identity_key": hex(stages.identity_key),
            "chaining": hex(stages.chaining),
            "dh_identities": hex(dh_identities.expose()),
            "transcript_two": hex(transcript_two),
        },
        "secrets": secrets_json(&secrets),
    });
    Case::valid(AREA, name, comment, input, expect)
}

pub(crate) fn secrets_json(secrets: &Secrets) -> Value {
    json!({
        "session": hex(secrets.id.as_bytes()),
        "rk": hex(secrets.rk.expose()),
        "hka": hex(secrets.hka.expose()),
        "nhkb": hex(secrets.nhkb.expose()),
        "exporter": hex(secrets.exporter.expose()),
    })
}

/// A bundle whose owner signed prekeys that give no secret.
fn initiations_refused() -> Vec<Case> {
    let start = Start::new(false, 0);
    let zero = [0; 32];
    let good = signed_prekeys(&start.responder);
    let case = |name: &str, comment: &str, agreement: [u8; 32], prekey: [u8; 32], kem: Vec<u8>, error: &str| {
        let owner = &start.responder.identity;
        let keys = nuncio_proto::bundle::SignedPrekeys {
            agreement,
            id: PREKEY_ID,
            agreement_prekey: prekey,
            kem_prekey: Box::new(kem.try_into().unwrap()),
        };
        let bundle = Bundle::sign(owner, &keys, NOW, NOW.plus(1_000), (&[], None), false);
        let input = json!({
            "what": "initiate",
            "initiator": start.initiator.secrets(),
            "responder": start.responder.secrets(),
            "signed_prekey": start.signed_prekey(),
            "one_time": null,
            "bundle": hex(bundle),
            "now": NOW.0,
            "ephemeral": hex(start.ephemeral),
            "m": hex(start.m),
            "parameters": 0,
        });
        Case::refused(AREA, name, comment, input, error)
    };
    let kem = good.kem_prekey.to_vec();
    let mut beyond = kem.clone();
    beyond[..3].copy_from_slice(&[0xff, 0xff, 0xff]);
    vec![
        case("bundle-prekey-zero", "a signed prekey of small order", good.agreement, zero, kem.clone(), "all-zero"),
        case("bundle-agreement-zero", "an agreement key of small order", zero, good.agreement_prekey, kem, "all-zero"),
        case(
            "bundle-kem-modulus",
            "coefficients of a KEM key beyond q (FIPS 203 section 7.2)",
            good.agreement,
            good.agreement_prekey,
            beyond,
            "bad-key",
        ),
    ]
}

fn responses_refused() -> Vec<Case> {
    let start = Start::new(true, 0);
    let (handshake, _) = start.handshake();
    let stages = start.stages();
    let good = start.items(&stages, &handshake[handshake.len() - 144..]);
    assert_eq!(good.encode(), handshake, "the items are the handshake");
    let no = |name: &str, comment: &str, item: Item, error: &str| {
        Case::refused(AREA, name, comment, start.response(&item.encode()), error)
    };
    let flip = |at: usize, byte: usize| {
        let Item::Bytes(mut value) = good.at(at).clone() else { panic!() };
        value[byte] ^= 1;
        good.with(at, bytes(value))
    };
    let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let order_8 = data_encoding::HEXLOWER.decode(order_8.as_bytes()).unwrap();
    let pair = |batch: u64, index: u64| Array(vec![Uint(batch), Uint(index)]);
    vec![
        no(
            "ciphertext-altered",
            "ML-KEM rejects implicitly: another secret, and the identity does not open",
            flip(6, 0),
            "not-authentic",
        ),
        no("ciphertext-end-altered", "its last byte", flip(6, 1087), "not-authentic"),
        no("ephemeral-altered", "another ephemeral key", flip(5, 3), "not-authentic"),
        no(
            "ephemeral-zero",
            "an ephemeral key of zeros gives the all-zero secret",
            good.with(5, bytes([0; 32])),
            "all-zero",
        ),
        no(
            "ephemeral-order-8",
            "a small-order ephemeral key gives the all-zero secret",
            good.with(5, bytes(order_8)),
            "all-zero",
        ),
        no("identity-altered", "a bit of the sealed identity", flip(8, 0), "not-authentic"),
        no("identity-tag-altered", "a bit of its tag", flip(8, 143), "not-authentic"),
        no("prekey-id-wide", "a prekey's number has 32 bits", good.with(3, Uint(1 << 32)), "codec"),
        no("one-time-index-altered", "another index in the transcript", good.with(4, pair(3, 40)), "not-authentic"),
        no("one-time-batch-altered", "another batch in the transcript", good.with(4, pair(4, 41)), "not-authentic"),
        no("one-time-removed", "a start that is stripped of its one-time prekey", good.with(4, Null), "not-authentic"),
        no("parameters-altered", "other parameters", good.with(7, Uint(1)), "not-authentic"),
        no("version-2", "one version exists", good.with(1, Uint(2)), "version"),
        no("version-0", "one version exists", good.with(1, Uint(0)), "version"),
        no("suite-2", "one suite exists", good.with(2, Uint(2)), "version"),
        no("suite-0", "one suite exists", good.with(2, Uint(0)), "version"),
        no("versions-none", "nothing offered", good.with(0, Array(vec![])), "version"),
        no(
            "versions-more",
            "a downgrade to 1 from an offer of 2 and 1 is not of this version",
            good.with(0, Array(vec![Uint(1), Uint(2)])),
            "version",
        ),
        no("versions-bytes", "versions are a list of integers", good.with(0, bytes([1])), "codec"),
        no("ciphertext-short", "1,087 bytes", good.with(6, bytes([1; 1087])), "codec"),
        no("ciphertext-long", "1,089 bytes", good.with(6, bytes([1; 1089])), "codec"),
        no("identity-short", "143 bytes", good.with(8, bytes([1; 143])), "codec"),
        no("identity-missing", "an empty string", good.with(8, bytes([])), "codec"),
        no("ephemeral-short", "31 bytes", good.with(5, bytes([1; 31])), "codec"),
        no("parameters-long", "00 is 0 in one byte", good.with(7, Raw(vec![0x18, 0])), "codec"),
        no("trailing", "a byte behind", Raw([&handshake[..], &[0]].concat()), "codec"),
        no("too-long", "more than a handshake may have is not decoded", good.with(8, bytes([1; 1_000])), "too-long"),
    ]
}

/// Identities that are sealed under the right key, and are not right.
fn identities_refused() -> Vec<Case> {
    let start = Start::new(false, 0);
    let stages = start.stages();
    let (alice, carol) = (&start.initiator, actor("carol"));
    let (id, agreement, proof) =
        (*alice.identity.id().as_bytes(), *alice.identity.agreement_public(), alice.identity.agreement_proof());
    let no = |name: &str, comment: &str, parts: [&[u8]; 3], error: &str| {
        let sealed = seal_identity(&stages, &parts.concat());
        Case::refused(AREA, name, comment, start.response(&start.items(&stages, &sealed).encode()), error)
    };
    let weak = [&[1_u8][..], &[0; 31]].concat();
    let zero_proof = alice.identity.signing().sign(label::AGREEMENT, &[0; 32]);
    let unlabelled = alice.identity.signing().sign_raw(&agreement);
    vec![
        no(
            "proof-other-identity",
            "carol says that alice's agreement key is hers",
            [carol.identity.id().as_bytes(), &agreement, &proof],
            "bad-signature",
        ),
        no(
            "proof-other-agreement",
            "alice's proof beside carol's agreement key",
            [&id, carol.identity.agreement_public(), &proof],
            "bad-signature",
        ),
        no("proof-zero", "no proof", [&id, &agreement, &[0; 64]], "bad-signature"),
        no("proof-no-label", "a signature over the key alone", [&id, &agreement, &unlabelled], "bad-signature"),
        no("initiator-weak", "a small-order key is nobody", [&weak, &agreement, &proof], "bad-key"),
        no(
            "initiator-agreement-zero",
            "an honest proof over a key that gives no secret",
            [&id, &[0; 32], &zero_proof],
            "all-zero",
        ),
    ]
}

fn rekeys() -> Vec<Case> {
    let (leader, follower) = (actor("alice"), actor("bob"));
    let parties = [&leader.identity.id(), &follower.identity.id()];
    let (offer_secret, kem): ([u8; 32], [u8; 64]) = (fixed("rekey agreement"), fixed("rekey kem"));
    let (ephemeral, m): ([u8; 32], [u8; 32]) = (fixed("rekey ephemeral"), fixed("rekey m"));
    let exporter = key("rekey exporter");
    let offer = rekey::Offer { agreement: Key::new(offer_secret), kem: secret(&kem) };
    let public = offer.public();
    let input = json!({
        "what": "rekey",
        "leader": leader.did(),
        "follower": follower.did(),
        "exporter": hex(exporter.expose()),
        "agreement": hex(offer_secret),
        "kem": hex(kem),
        "ephemeral": hex(ephemeral),
        "m": hex(m),
    });
    let (answer, secrets) = rekey::answer(&exporter, parties, &public, &mut Script([ephemeral, m].concat())).unwrap();
    assert_eq!(offer.complete(&exporter, parties, &answer).unwrap(), secrets);
    let expect = json!({ "offer": hex(&public), "answer": hex(&answer), "secrets": secrets_json(&secrets) });
    let mut cases =
        vec![Case::valid(AREA, "rekey", "a handshake inside a session, authenticated by its exporter", input, expect)];

    let asked = |name: &str, comment: &str, offer: &[u8], error: &str| {
        let input = json!({ "what": "rekey-offer", "leader": leader.did(), "follower": follower.did(), "exporter": hex(exporter.expose()),
            "offer": hex(offer), "ephemeral": hex(ephemeral), "m": hex(m) });
        Case::refused(AREA, name, comment, input, error)
    };
    let answered = |name: &str, comment: &str, answer: &[u8], error: &str| {
        let input = json!({ "what": "rekey-answer", "leader": leader.did(), "follower": follower.did(), "exporter": hex(exporter.expose()),
            "agreement": hex(offer_secret), "kem": hex(kem), "answer": hex(answer) });
        Case::refused(AREA, name, comment, input, error)
    };
    let mut beyond = public.clone();
    beyond[32..35].copy_from_slice(&[0xff, 0xff, 0xff]);
    cases.extend([
        asked("rekey-offer-short", "1,215 bytes", &public[..1_215], "codec"),
        asked("rekey-offer-long", "1,217 bytes", &[&public[..], &[0]].concat(), "codec"),
        asked("rekey-offer-zero", "an agreement key of zeros", &[&[0; 32], &public[32..]].concat(), "all-zero"),
        asked("rekey-offer-kem-modulus", "coefficients beyond q", &beyond, "bad-key"),
        answered("rekey-answer-short", "1,119 bytes", &answer[..1_119], "codec"),
        answered("rekey-answer-long", "1,121 bytes", &[&answer[..], &[0]].concat(), "codec"),
        answered("rekey-answer-empty", "nothing", &[], "codec"),
        answered("rekey-answer-zero", "an ephemeral key of zeros", &[&[0; 32], &answer[32..]].concat(), "all-zero"),
    ]);
    cases
}
