//! The handshake: PQXDH-shaped, in two stages (contracts/handshake.md).
//!
//! ```text
//!   initiator A                                             responder B
//!   ───────────                                             ───────────
//!   Bundle::parse ── verified bundle, one-time prekey
//!   stage one: EK·SPK, EK·IK_B, [EK·OPK], KEM
//!        └── key that seals A's identity ───── start ─────► stage one with SPK, IK_B, [OPK], KEM
//!   stage two: + IK_A·SPK                                   opens A's identity, verifies its proof
//!        └── session id, rk, hka, nhkb                      stage two: + IK_A·SPK
//!                                                           the first header opens, or nothing has happened
//! ```
//!
//! Authentication is classical (X25519 and Ed25519); secrecy against one who records now is hybrid.

use nuncio_contracts::registry::{label, limit};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use crate::bundle::{Bundle, OneTimeRef, SignedPrekeys};
use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, KEM_CIPHERTEXT_LEN, KemSeed};
use crate::identity::Identity;
use crate::ids::{AgentId, IdError, SessionId};
use crate::secret::Key;

/// Suite 1: the registry's label names its primitives.
const SUITE: u8 = 1;
/// Longest handshake header in bytes.
const HANDSHAKE_LEN_MAX: usize = 2_048;
/// The agent's key, its agreement key and the proof, sealed.
const SEALED_IDENTITY_LEN: usize = 32 + 32 + 64 + crypto::TAG_LEN;

/// What both ends have after a handshake, and nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Names the session.
    pub id: SessionId,
    /// First root key, `SK` of the Double Ratchet.
    pub rk: Key,
    /// The initiator's first header key.
    pub hka: Key,
    /// The responder's first next header key.
    pub nhkb: Key,
    /// Mixed into the handshake that renews this session.
    pub exporter: Key,
}

/// The initiator's result.
#[derive(Debug)]
pub struct Initiation {
    /// Rides in front of every frame until the first answer.
    pub handshake: Vec<u8>,
    /// Of the session.
    pub secrets: Secrets,
}

/// The responder's result. Nothing is spent until the first header has opened under these secrets.
#[derive(Debug)]
pub struct Response {
    /// Who began.
    pub initiator: AgentId,
    /// Of the session.
    pub secrets: Secrets,
    /// Which prekeys it used.
    pub used: Used,
}

/// The responder's prekeys that a start names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Number of the signed prekeys.
    pub signed: u32,
    /// The one-time prekey, if any; deleted in the commit that stores the session.
    pub one_time: Option<OneTimeRef>,
    /// Hash of the ephemeral key: a start without one-time prekey is taken once.
    pub ephemeral: [u8; 32],
}

/// The private halves that answer a start.
#[derive(Debug)]
pub struct ResponderKeys<'a> {
    /// The public prekeys, as they were signed.
    pub public: &'a SignedPrekeys,
    /// Private half of `SPK`.
    pub agreement_prekey: &'a Key,
    /// Private half of the KEM prekey.
    pub kem_prekey: &'a KemSeed,
    /// Private halves of the one-time prekey that the start names, and its leaf.
    pub one_time: Option<(&'a Key, &'a KemSeed, [u8; 32])>,
}

/// Why a start is refused. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not canonical.
    #[error("handshake: {0}")]
    Codec(#[from] CodecError),
    /// A version or suite that this agent does not speak.
    #[error("handshake of another version or suite")]
    Version,
    /// A forged or altered part, a weak key, or a proof that does not verify.
    #[error("handshake: {0}")]
    Crypto(#[from] CryptoError),
    /// The initiator's key is no identity.
    #[error("handshake: {0}")]
    Id(#[from] IdError),
    /// Names prekeys that are spent or gone.
    #[error("handshake names prekeys that are spent or gone")]
    UnknownPrekey,
}

#[derive(Serialize, Deserialize)]
struct StartWire<'a>(
    Vec<u8>,
    u8,
    u8,
    u32,
    Option<(u32, u16)>,
    ByteArray<32>,
    #[serde(borrow)] &'a Bytes,
    u64,
    #[serde(borrow)] &'a Bytes,
);

/// The parts of a start that its responder looks keys up by.
pub struct Start<'a> {
    wire: StartWire<'a>,
}

/// Begins a session with the owner of a verified bundle.
pub fn initiate<R: CryptoRng + ?Sized>(
    me: &Identity,
    bundle: &Bundle,
    parameters: u64,
    rng: &mut R,
) -> Result<Initiation, HandshakeError> {
    let ephemeral = Key::random(rng);
    let m = Key::random(rng);
    initiate_with(me, bundle, parameters, &ephemeral, &m)
}

/// [`initiate`] with its randomness given, for vectors.
pub fn initiate_with(
    me: &Identity,
    bundle: &Bundle,
    parameters: u64,
    ephemeral: &Key,
    m: &Key,
) -> Result<Initiation, HandshakeError> {
    let keys = &bundle.prekeys;
    let one_time = bundle.one_time.as_ref();
    let kem_key = one_time.map_or(&keys.kem_prekey, |prekey| &prekey.kem);
    let (kem_ciphertext, kem_shared) = crypto::kem_encapsulate_with(kem_key, m)?;
    let wire = StartWire(
        vec![limit::WIRE_VERSION],
        limit::WIRE_VERSION,
        SUITE,
        keys.id,
        one_time.map(|prekey| (prekey.at.batch, prekey.at.index)),
        ByteArray::new(crypto::dh_public(ephemeral)),
        Bytes::new(&kem_ciphertext),
        parameters,
        Bytes::new(&[]),
    );
    let transcript = Transcript::of(&wire, &bundle.agent, keys, one_time.map(crate::bundle::OneTimePrekey::leaf));

    let with_prekey = crypto::dh(ephemeral, &keys.agreement_prekey)?;
    let with_identity = crypto::dh(ephemeral, &keys.agreement)?;
    let with_one_time = one_time.map(|prekey| crypto::dh(ephemeral, &prekey.agreement)).transpose()?;
    let stage = stage_one(&transcript, &with_prekey, &with_identity, with_one_time.as_ref(), &kem_shared);

    let sealed = seal_identity(me, &stage.identity_key, &transcript);
    let StartWire(offered, chosen, suite, id, at, ek, ct, parameters, _) = wire;
    let handshake = codec::encode(&StartWire(offered, chosen, suite, id, at, ek, ct, parameters, Bytes::new(&sealed)));
    let secrets = stage_two(
        &stage,
        &transcript,
        &me.id(),
        me.agreement_public(),
        &crypto::dh(me.agreement(), &keys.agreement_prekey)?,
    );
    Ok(Initiation { handshake, secrets })
}

impl<'a> Start<'a> {
    /// Reads the handshake header of a start.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let wire: StartWire<'a> = codec::decode(bytes, HANDSHAKE_LEN_MAX)?;
        // contracts/handshake.md H3: one version and one suite exist.
        if wire.0 != [limit::WIRE_VERSION] || wire.1 != limit::WIRE_VERSION || wire.2 != SUITE {
            return Err(HandshakeError::Version);
        }
        if wire.6.len() != KEM_CIPHERTEXT_LEN || wire.8.len() != SEALED_IDENTITY_LEN {
            return Err(CodecError::Malformed.into());
        }
        Ok(Self { wire })
    }

    /// Which prekeys it names.
    #[must_use]
    pub fn used(&self) -> Used {
        Used {
            signed: self.wire.3,
            one_time: self.wire.4.map(|(batch, index)| OneTimeRef { batch, index }),
            ephemeral: crypto::sha256(&[&*self.wire.5]),
        }
    }

    /// The session's parameters that the initiator proposes.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.wire.7
    }

    /// Answers: both stages, and the initiator's identity verified between them.
    pub fn respond(&self, me: &Identity, keys: &ResponderKeys<'_>) -> Result<Response, HandshakeError> {
        let ephemeral: [u8; 32] = self.wire.5.into_array();
        let ciphertext =
            <&[u8; KEM_CIPHERTEXT_LEN]>::try_from(self.wire.6.as_ref()).map_err(|_| CodecError::Malformed)?;
        let transcript = Transcript::of(&self.wire, &me.id(), keys.public, keys.one_time.map(|(_, _, leaf)| leaf));

        let with_prekey = crypto::dh(keys.agreement_prekey, &ephemeral)?;
        let with_identity = crypto::dh(me.agreement(), &ephemeral)?;
        let with_one_time = keys.one_time.map(|(secret, ..)| crypto::dh(secret, &ephemeral)).transpose()?;
        let kem_seed = keys.one_time.map_or(keys.kem_prekey, |(_, seed, _)| seed);
        let kem_shared = crypto::kem_decapsulate(kem_seed, ciphertext);
        let stage = stage_one(&transcript, &with_prekey, &with_identity, with_one_time.as_ref(), &kem_shared);

        let (initiator, agreement) = open_identity(self.wire.8, &stage.identity_key, &transcript)?;
        let secrets =
            stage_two(&stage, &transcript, &initiator, &agreement, &crypto::dh(keys.agreement_prekey, &agreement)?);
        Ok(Response { initiator, secrets, used: self.used() })
    }
}

/// Everything said before the initiator has shown who it is, hashed.
struct Transcript([u8; 32]);

#[derive(Serialize)]
struct TranscriptWire<'a>(
    &'a [u8],
    u8,
    u8,
    ByteArray<32>,
    ByteArray<32>,
    Option<(u32, u16)>,
    Option<ByteArray<32>>,
    ByteArray<32>,
    &'a Bytes,
    u64,
);

impl Transcript {
    fn of(wire: &StartWire<'_>, responder: &AgentId, keys: &SignedPrekeys, one_time_leaf: Option<[u8; 32]>) -> Self {
        let said = codec::encode(&TranscriptWire(
            &wire.0,
            wire.1,
            wire.2,
            ByteArray::new(*responder.as_bytes()),
            ByteArray::new(keys.hash(responder)),
            wire.4,
            one_time_leaf.map(ByteArray::new),
            wire.5,
            wire.6,
            wire.7,
        ));
        Self(crypto::sha256(&[label::SUITE, &[0], &said]))
    }

    /// The same with the initiator's identity and agreement key.
    fn with_initiator(&self, initiator: &AgentId, agreement: &[u8; 32]) -> [u8; 32] {
        crypto::sha256(&[label::SUITE, &[1], &self.0, initiator.as_bytes(), agreement])
    }
}

struct StageOne {
    identity_key: Key,
    chaining: Key,
}

fn stage_one(transcript: &Transcript, prekey: &Key, identity: &Key, one_time: Option<&Key>, kem: &Key) -> StageOne {
    // X3DH section 2.2: 32 bytes of 0xFF in front, so the input is no X25519 scalar or point.
    let mut ikm = zeroize::Zeroizing::new(vec![0xff; 32]);
    for secret in [Some(prekey), Some(identity), one_time, Some(kem)].into_iter().flatten() {
        ikm.extend_from_slice(secret.expose());
    }
    let mut out = zeroize::Zeroizing::new([0; 64]);
    crypto::hkdf_sha256(&[0; 32], &ikm, &[label::STAGE_ONE, &[0], &transcript.0].concat(), out.as_mut());
    let [identity_key, chaining] = keys_of(out.as_slice());
    StageOne { identity_key, chaining }
}

fn stage_two(
    stage: &StageOne,
    transcript: &Transcript,
    initiator: &AgentId,
    agreement: &[u8; 32],
    dh: &Key,
) -> Secrets {
    let transcript = transcript.with_initiator(initiator, agreement);
    let mut out = zeroize::Zeroizing::new([0; 160]);
    crypto::hkdf_sha256(
        stage.chaining.expose(),
        dh.expose(),
        &[label::STAGE_TWO, &[0], &transcript].concat(),
        out.as_mut(),
    );
    secrets_of(&out)
}

/// `session id ‖ rk ‖ hka ‖ nhkb ‖ exporter`
fn secrets_of(out: &[u8; 160]) -> Secrets {
    let [id, rk, hka, nhkb, exporter] = keys_of(out.as_slice());
    Secrets { id: SessionId::from_bytes(*id.expose()), rk, hka, nhkb, exporter }
}

fn keys_of<const N: usize>(out: &[u8]) -> [Key; N] {
    let (chunks, _) = out.as_chunks::<32>();
    core::array::from_fn(|i| Key::new(chunks.get(i).copied().unwrap_or_default()))
}

/// The key is used once, so its nonce is zero.
const IDENTITY_NONCE: [u8; 12] = [0; 12];

fn seal_identity(me: &Identity, key: &Key, transcript: &Transcript) -> Vec<u8> {
    let mut clear = [me.id().as_bytes().as_slice(), me.agreement_public(), &me.agreement_proof()].concat();
    let tag = crypto::seal_in_place(key.expose(), &IDENTITY_NONCE, &transcript.0, &mut clear);
    clear.extend_from_slice(&tag);
    clear
}

fn open_identity(sealed: &[u8], key: &Key, transcript: &Transcript) -> Result<(AgentId, [u8; 32]), HandshakeError> {
    let (ciphertext, tag) = sealed.split_last_chunk().ok_or(CodecError::Malformed)?;
    let mut clear = <[u8; 128]>::try_from(ciphertext).map_err(|_| CodecError::Malformed)?;
    crypto::open_in_place(key.expose(), &IDENTITY_NONCE, &transcript.0, &mut clear, tag)?;
    let (id, rest) = clear.split_first_chunk::<32>().ok_or(CodecError::Malformed)?;
    let (agreement, proof) = rest.split_first_chunk::<32>().ok_or(CodecError::Malformed)?;
    let proof = <&[u8; 64]>::try_from(proof).map_err(|_| CodecError::Malformed)?;
    let initiator = AgentId::from_bytes(*id)?;
    crypto::verify(initiator.as_bytes(), label::AGREEMENT, agreement, proof)?;
    Ok((initiator, *agreement))
}

/// A handshake inside a session (contracts/handshake.md section 6): the leader offers fresh prekeys, the follower answers with an ephemeral key
/// and a KEM ciphertext; the old session's exporter authenticates both.
pub mod rekey {
    use super::{
        AgentId, CodecError, CryptoError, CryptoRng, HandshakeError, KemSeed, Key, Secrets, crypto, label, secrets_of,
    };
    use crate::crypto::{KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN};

    /// The leader's private halves, kept until the answer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Offer {
        /// Private half of the fresh X25519 prekey, which becomes the first ratchet pair.
        pub agreement: Key,
        /// Private half of the fresh ML-KEM prekey.
        pub kem: KemSeed,
    }

    impl Offer {
        /// Draws fresh prekeys.
        pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
            Self { agreement: Key::random(rng), kem: KemSeed::random(rng) }
        }

        /// The public halves, as the control letter carries them.
        #[must_use]
        pub fn public(&self) -> Vec<u8> {
            [crypto::dh_public(&self.agreement).as_slice(), &crypto::kem_public(&self.kem)].concat()
        }

        /// The new session's secrets from the follower's answer.
        pub fn complete(
            &self,
            exporter: &Key,
            parties: [&AgentId; 2],
            answer: &[u8],
        ) -> Result<Secrets, HandshakeError> {
            let (ephemeral, ciphertext) = answer.split_first_chunk::<32>().ok_or(CodecError::Malformed)?;
            let ciphertext = <&[u8; KEM_CIPHERTEXT_LEN]>::try_from(ciphertext).map_err(|_| CodecError::Malformed)?;
            let dh = crypto::dh(&self.agreement, ephemeral)?;
            let kem = crypto::kem_decapsulate(&self.kem, ciphertext);
            Ok(secrets(exporter, parties, &self.public(), answer, &dh, &kem))
        }
    }

    /// The follower's answer to an offer and the new session's secrets.
    pub fn answer<R: CryptoRng + ?Sized>(
        exporter: &Key,
        parties: [&AgentId; 2],
        offer: &[u8],
        rng: &mut R,
    ) -> Result<(Vec<u8>, Secrets), HandshakeError> {
        let (agreement, kem_public) = offer.split_first_chunk::<32>().ok_or(CodecError::Malformed)?;
        let kem_public = <&[u8; KEM_PUBLIC_LEN]>::try_from(kem_public).map_err(|_| CodecError::Malformed)?;
        let ephemeral = Key::random(rng);
        let dh: Key = crypto::dh(&ephemeral, agreement).map_err(|e: CryptoError| e)?;
        let (ciphertext, kem) = crypto::kem_encapsulate(kem_public, rng)?;
        let answer = [crypto::dh_public(&ephemeral).as_slice(), &ciphertext].concat();
        let secrets = secrets(exporter, parties, offer, &answer, &dh, &kem);
        Ok((answer, secrets))
    }

    /// `parties` are leader and follower.
    fn secrets(
        exporter: &Key,
        [leader, follower]: [&AgentId; 2],
        offer: &[u8],
        answer: &[u8],
        dh: &Key,
        kem: &Key,
    ) -> Secrets {
        let transcript = crypto::sha256(&[label::SUITE, &[2], leader.as_bytes(), follower.as_bytes(), offer, answer]);
        let ikm = zeroize::Zeroizing::new([[0xff; 32].as_slice(), dh.expose(), kem.expose()].concat());
        let mut out = zeroize::Zeroizing::new([0; 160]);
        crypto::hkdf_sha256(exporter.expose(), &ikm, &[label::REKEY, &[0], &transcript].concat(), out.as_mut());
        secrets_of(&out)
    }
}
