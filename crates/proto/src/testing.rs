//! Deterministic randomness for tests, vectors and the simulator. Never for keys that protect anything.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::channel::SenderKey;
use crate::crypto;
use crate::frame;
use crate::header::Header;
use crate::ids::AgentId;
use crate::session::Session;

/// A counter hashed with a seed: reproducible, and unrelated streams for unrelated seeds.
#[derive(Clone, Debug)]
pub struct TestRng {
    seed: [u8; 32],
    counter: u64,
    block: Vec<u8>,
}

/// The generator of a seed.
#[must_use]
pub fn rng(seed: u64) -> TestRng {
    TestRng { seed: crypto::sha256(&[b"nuncio test rng", &seed.to_be_bytes()]), counter: 0, block: Vec::new() }
}

/// A compact JWS with this header and body: a token, or what should not be taken for one.
#[must_use]
pub fn jws(signer: &crypto::SigningKey, header: &str, body: &str) -> String {
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(body.as_bytes()));
    let signature = encode(&signer.sign_raw(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// An event that is signed and says anything.
#[must_use]
pub fn signed_event(signer: &crypto::SigningKey, payload: &[u8]) -> Vec<u8> {
    crate::audit::seal(payload, signer)
}

/// A frame that is authentic and says anything: whoever owns the session seals any bytes as a letter, or none, under a header of its choice. The
/// session does not move.
#[must_use]
pub fn seal_as(session: &Session, letter: Option<Vec<u8>>, alter: impl FnOnce(&mut Header)) -> Option<Vec<u8>> {
    let chain = session.ratchet.sending()?;
    let (mut header, nonce) = (session.header(chain.n)?, [0x5a; 12]);
    alter(&mut header);
    let ad = session.body_ad(frame::LETTER, session.parties.initiated, &header);
    let body = letter.as_ref().map(|letter| frame::Body { letter, mk: &chain.mk, ad: &ad });
    frame::seal(&chain.hk, chain.tag, &nonce, None, body, &header)
}

/// What a channel's forger writes.
#[derive(Clone, Debug)]
pub struct ChannelForgery {
    /// The number.
    pub seq: u64,
    /// How far below the floor lies.
    pub floor_below: u16,
    /// The letter.
    pub letter: Vec<u8>,
}

/// A channel's frame by whoever was handed a sender's chain: right in every seal, unsigned, with the common part altered before the MAC, and the MAC by
/// the forger's own key.
#[must_use]
pub fn forge_channel(
    key: &SenderKey,
    sender: &AgentId,
    recipient: &AgentId,
    forgery: ChannelForgery,
    alter: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    crate::channel::forge(key, sender, recipient, forgery, alter)
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.block.is_empty() {
                self.block = crypto::sha256(&[&self.seed, &self.counter.to_be_bytes()]).to_vec();
                self.counter += 1;
            }
            *byte = self.block.pop().unwrap_or_default();
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
