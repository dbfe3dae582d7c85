//! A signed event: COSE_Sign1 (RFC 9052 section 4.2) in its one spelling, all of it constant but the payload and the signature.

use nuncio_contracts::registry::limit;

use super::event::{Event, EventError};
use crate::codec::CodecError;
use crate::crypto::{self, SigningKey};

/// Tag 18, an array of four, and the protected header.
const TAG_AND_ARRAY: [u8; 2] = [0xd2, 0x84];
/// `{1: -8, 3: "application/nuncio-event"}` in a byte string of 30 bytes.
const PROTECTED: &[u8] = b"\x58\x1e\xa2\x01\x27\x03\x78\x18application/nuncio-event";
/// The empty unprotected header.
const UNPROTECTED: [u8; 1] = [0xa0];
/// Head of a byte string of 64 bytes.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];
/// Array of four, `"Signature1"`: what stands in front of the protected header in a `Sig_structure`.
const CONTEXT: &[u8] = b"\x84\x6aSignature1";
/// No external data.
const NO_EXTERNAL: [u8; 1] = [0x40];

/// An event that its agent has signed: there is no other way to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEvent {
    event: Event,
    bytes: Vec<u8>,
}

impl SignedEvent {
    /// Signs an event. `None` when a text of it is none, all of it is too long, or it is another agent's.
    #[must_use]
    pub fn sign(event: Event, signer: &SigningKey) -> Option<Self> {
        // Whoever signs need not verify.
        event.check_texts().ok().filter(|()| signer.public() == *event.agent.as_bytes())?;
        let bytes = seal(&event.encode(), signer);
        (bytes.len() <= limit::EVENT_LEN_MAX).then_some(Self { event, bytes })
    }

    /// Reads a signed event, and believes it.
    ///
    /// # Errors
    /// The first check that fails.
    // contracts/audit.md V5, V6: its length, its form, its agent, the signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        if bytes.len() > limit::EVENT_LEN_MAX {
            return Err(CodecError::TooLong { max: limit::EVENT_LEN_MAX }.into());
        }
        let (payload, signature) = split(bytes).ok_or(CodecError::Malformed)?;
        let (event, key) = Event::decode(payload)?;
        let message = signed(&head_of(payload.len()), payload);
        key.verify_raw(&message, signature).map_err(|_| EventError::Signature)?;
        Ok(Self { event, bytes: bytes.to_vec() })
    }

    /// What it says.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// The entry of a log.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its hash: what the next event of its chain names.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(&[&self.bytes])
    }
}

/// The COSE_Sign1 of a payload, whatever it says.
pub(crate) fn seal(payload: &[u8], signer: &SigningKey) -> Vec<u8> {
    let head = head_of(payload.len());
    let signature = signer.sign_raw(&signed(&head, payload));
    let parts: [&[u8]; 7] = [&TAG_AND_ARRAY, PROTECTED, &UNPROTECTED, &head, payload, &SIGNATURE_HEAD, &signature];
    parts.concat()
}

/// The payload and the signature.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8; 64])> {
    let rest = bytes.strip_prefix(&TAG_AND_ARRAY)?.strip_prefix(PROTECTED)?.strip_prefix(&UNPROTECTED)?;
    let (rest, signature) = rest.split_last_chunk()?;
    let rest = rest.strip_suffix(&SIGNATURE_HEAD)?;
    // The head in front of the payload is the one that its length has.
    let head_len = match rest.first()? {
        0x40..=0x57 => 1,
        0x58 => 2,
        0x59 => 3,
        _ => return None,
    };
    let (head, payload) = rest.split_at_checked(head_len)?;
    (head == head_of(payload.len())).then_some((payload, signature))
}

/// The head of a byte string, in its shortest form.
fn head_of(len: usize) -> Vec<u8> {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=23), _) => vec![0x40 | short],
        (Ok(byte), _) => vec![0x58, byte],
        (_, Ok(word)) => [&[0x59], word.to_be_bytes().as_slice()].concat(),
        // No event is so long: nothing begins like this.
        _ => Vec::new(),
    }
}

fn signed(head: &[u8], payload: &[u8]) -> Vec<u8> {
    [CONTEXT, PROTECTED, &NO_EXTERNAL, head, payload].concat()
}
