//! Two sessions of ours, and two of vodozemac's, ready to talk.

use anyhow::{Context, Result, anyhow};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::frame::{Frame, Sealed};
use nuncio_proto::handshake::{self, Initiation, ResponderKeys, Start};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::Letter;
use nuncio_proto::secret::{Key, Secret};
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::{bundle::SignedPrekeys, crypto, crypto::KemSeed};
use rand_core::{TryCryptoRng, TryRng};
use vodozemac::olm::{Account, OlmMessage, SessionConfig};

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The operating system's randomness, drawn in blocks as the runtime does.
pub(crate) struct BlockRng {
    block: Vec<u8>,
    used: usize,
}

impl BlockRng {
    pub(crate) fn new() -> Self {
        Self { block: vec![0; 32 * 1024], used: 32 * 1024 }
    }
}

impl TryRng for BlockRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[expect(clippy::expect_used, reason = "a bench without randomness ends")]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        if self.used + out.len() > self.block.len() {
            getrandom::fill(&mut self.block).expect("randomness");
            self.used = 0;
        }
        let fresh = self.block.get(self.used..self.used + out.len()).expect("a step draws less than a block");
        out.copy_from_slice(fresh);
        self.used += out.len();
        Ok(())
    }
}

impl TryCryptoRng for BlockRng {}

/// The responder's side of a handshake: identity and prekeys.
pub(crate) struct Responder {
    pub(crate) identity: Identity,
    prekey: Key,
    kem: KemSeed,
    public: SignedPrekeys,
    pub(crate) bundle: Vec<u8>,
}

impl Responder {
    pub(crate) fn new(rng: &mut BlockRng) -> Result<Self> {
        let identity = Identity::generate(rng)?;
        let (prekey, kem): (Key, KemSeed) = (Secret::random(rng), Secret::random(rng));
        let public = SignedPrekeys {
            agreement: *identity.agreement_public(),
            id: 1,
            agreement_prekey: crypto::dh_public(&prekey),
            kem_prekey: Box::new(crypto::kem_public(&kem)),
        };
        let bundle = Bundle::sign(&identity, &public, NOW, NOW.plus(1_000_000), (&[], None), false);
        Ok(Self { identity, prekey, kem, public, bundle })
    }

    pub(crate) fn keys(&self) -> ResponderKeys<'_> {
        ResponderKeys { public: &self.public, agreement_prekey: &self.prekey, kem_prekey: &self.kem, one_time: None }
    }
}

/// Begins a session and seals its first letter.
pub(crate) fn first(alice: &Identity, bob: &Responder, rng: &mut BlockRng) -> Result<(Session, Vec<u8>)> {
    let bundle = Bundle::parse(&bob.bundle, NOW)?;
    let Initiation { handshake, secrets } = handshake::initiate(alice, &bundle, 0, rng)?;
    let parties = Parties { initiator: alice.id(), responder: bob.identity.id(), initiated: true };
    let prekey = &bundle.prekeys.agreement_prekey;
    let mut session = Session::initiate(secrets, parties, 0, prekey, Some(handshake), NOW, rng)?;
    let frame = seal(&mut session, &letter(32), rng)?;
    Ok((session, frame))
}

/// Answers a start and opens its letter.
pub(crate) fn answer(bob: &Responder, frame: &[u8], rng: &mut BlockRng) -> Result<Session> {
    let sealed = sealed(frame)?;
    let start = Start::decode(sealed.handshake.context("a start")?)?;
    let response = start.respond(&bob.identity, &bob.keys())?;
    let parties = Parties { initiator: response.initiator, responder: bob.identity.id(), initiated: false };
    let mut session = Session::respond(response.secrets, parties, 0, &bob.prekey, NOW);
    open(&mut session, frame, rng)?;
    Ok(session)
}

/// Two sessions that have each opened a frame of the other.
pub(crate) fn confirmed(rng: &mut BlockRng) -> Result<(Session, Session)> {
    let (alice, bob) = (Identity::generate(rng)?, Responder::new(rng)?);
    let (mut a, frame) = first(&alice, &bob, rng)?;
    let mut b = answer(&bob, &frame, rng)?;
    let back = seal(&mut b, &letter(32), rng)?;
    open(&mut a, &back, rng)?;
    let last = seal(&mut a, &letter(32), rng)?;
    open(&mut b, &last, rng)?;
    acknowledge(&mut b, &mut a, rng)?;
    Ok((a, b))
}

pub(crate) fn letter(len: usize) -> Letter {
    Letter::plain(LetterId::new(NOW, [7; 10]), ContentType::TEXT, vec![b'x'; len])
}

pub(crate) fn sealed(frame: &[u8]) -> Result<Sealed<'_>> {
    match Frame::decode(frame)? {
        Frame::Sealed(sealed) => Ok(sealed),
        Frame::Notice(_) => Err(anyhow!("a notice")),
    }
}

/// A letter to its frame, the state moved.
pub(crate) fn seal(session: &mut Session, letter: &Letter, rng: &mut BlockRng) -> Result<Vec<u8>> {
    let mut nonce = [0; 12];
    rng.try_fill_bytes(&mut nonce)?;
    let mut sealing = session.seal(&letter.encode(), nonce).context("room to seal")?;
    let frame = core::mem::take(&mut sealing.frame);
    session.accept_sealed(sealing, 0);
    Ok(frame)
}

/// A frame to its letters, the state moved: how many they are.
pub(crate) fn open(session: &mut Session, frame: &[u8], rng: &mut BlockRng) -> Result<usize> {
    let opened = session.open(&sealed(frame)?, 1_024, rng)?;
    let mut letters = 0;
    for (_, bytes) in session.accept_opened(opened, NOW).in_order {
        std::hint::black_box(Letter::decode(&bytes).map_err(|(_, error)| error)?);
        letters += 1;
    }
    Ok(letters)
}

/// [`open`], with the letters.
pub(crate) fn opened(session: &mut Session, frame: &[u8], rng: &mut BlockRng) -> Result<Vec<Letter>> {
    let opened = session.open(&sealed(frame)?, 1_024, rng)?;
    let letters = session.accept_opened(opened, NOW).in_order;
    letters.into_iter().map(|(_, bytes)| Letter::decode(&bytes).map_err(|(_, error)| error.into())).collect()
}

pub(crate) fn acknowledge(from: &mut Session, to: &mut Session, rng: &mut BlockRng) -> Result<()> {
    let mut nonce = [0; 12];
    rng.try_fill_bytes(&mut nonce)?;
    let ack = from.seal_ack(nonce).context("a sending chain")?;
    open(to, &ack, rng)?;
    Ok(())
}

/// Two vodozemac sessions that have each decrypted a message of the other.
pub(crate) fn vodozemac() -> Result<(vodozemac::olm::Session, vodozemac::olm::Session)> {
    let (alice, mut bob) = (Account::new(), Account::new());
    bob.generate_one_time_keys(1);
    let key = bob.one_time_keys().into_values().next().context("a one-time key")?;
    let mut a = alice.create_outbound_session(SessionConfig::version_1(), bob.curve25519_key(), key)?;
    let OlmMessage::PreKey(first) = a.encrypt("hello")? else { return Err(anyhow!("a first message")) };
    let mut b = bob.create_inbound_session(SessionConfig::version_1(), alice.curve25519_key(), &first)?.session;
    let back = b.encrypt("hello")?;
    a.decrypt(&back)?;
    let last = a.encrypt("hello")?;
    b.decrypt(&last)?;
    Ok((a, b))
}
