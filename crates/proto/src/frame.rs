//! Bytes on the wire. A frame is one CBOR array whose last item is the sealed header, so that what the header authenticates is simply every
//! byte in front of it (contracts/frame.md).
//!
//! ```text
//!   start   [1, 1, tag, nonce, handshake, sealed body, sealed header]
//!   letter  [1, 2, tag, nonce,            sealed body, sealed header]
//!   ack     [1, 3, tag, nonce,                         sealed header]
//!   notice  [1, 4, tag, code]
//!           |<------------- associated data ---------->|
//! ```

use nuncio_contracts::registry::{kind, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use crate::codec::{self, CodecError};
use crate::crypto;
use crate::header::{HEADER_LEN, Header, SEALED_HEADER_LEN};
use crate::ids::Tag;
use crate::padding;
use crate::seal_log;
use crate::secret::Key;

pub(crate) use nuncio_contracts::registry::kind::{FRAME_LETTER as LETTER, FRAME_START as START};

/// The AEAD nonce of a frame, random, one for its header and its body.
pub type Nonce = [u8; 12];

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not the canonical encoding of one frame.
    #[error("frame: {0}")]
    Codec(#[from] CodecError),
    /// A wire version that this one does not know.
    #[error("frame of wire version {0}; this agent speaks version 1")]
    Version(u8),
    /// A kind that this version does not know.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// A sealed header or body of impossible length.
    #[error("frame with a header or body of impossible length")]
    Length,
}

/// A frame, borrowed from its bytes. Well formed, nothing more: no key has touched it.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// Carries a sealed header.
    Sealed(Sealed<'a>),
    /// An unsealed hint.
    Notice(Notice),
}

/// The parts of a frame with a sealed header.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// Finds the session and chain.
    pub tag: Tag,
    /// Of header and body.
    pub nonce: Nonce,
    /// Handshake in front of a start.
    pub handshake: Option<&'a [u8]>,
    /// Ciphertext and tag; `None` in an acknowledgement.
    pub body: Option<&'a [u8]>,
    /// Ciphertext and tag of the header.
    pub header: &'a [u8; SEALED_HEADER_LEN],
    /// Every byte of the frame in front of the sealed header: its associated data.
    pub in_front: &'a [u8],
}

/// An unsealed hint, believed only from the QUIC-authenticated peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The tag of the frame that provoked it.
    pub tag: Tag,
    /// One of the registry's codes.
    pub code: u16,
}

#[derive(Serialize, Deserialize)]
struct StartWire<'a>(
    u8,
    u8,
    ByteArray<16>,
    ByteArray<12>,
    #[serde(borrow)] &'a Bytes,
    #[serde(borrow)] &'a Bytes,
    #[serde(borrow)] &'a Bytes,
);
#[derive(Serialize, Deserialize)]
struct LetterWire<'a>(u8, u8, ByteArray<16>, ByteArray<12>, #[serde(borrow)] &'a Bytes, #[serde(borrow)] &'a Bytes);
#[derive(Serialize, Deserialize)]
struct AckWire<'a>(u8, u8, ByteArray<16>, ByteArray<12>, #[serde(borrow)] &'a Bytes);
#[derive(Serialize, Deserialize)]
struct NoticeWire(u8, u8, ByteArray<16>, u16);

/// The tag in the bytes of a frame, without reading the rest.
pub(crate) fn tag_of(frame: &[u8]) -> Option<Tag> {
    let tag = frame.get(3..)?.strip_prefix(&[0x50])?;
    tag.first_chunk().map(|tag| Tag::from_bytes(*tag))
}

impl<'a> Frame<'a> {
    /// Reads one frame from at most `frame_len_max` canonical bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let &[_, version, kind, ..] = bytes else {
            return Err(CodecError::Malformed.into());
        };
        // contracts/frame.md F2: the version is looked at before anything behind it.
        if version != limit::WIRE_VERSION {
            return Err(FrameError::Version(version));
        }
        match kind {
            kind::FRAME_START => {
                let StartWire(_, _, tag, nonce, handshake, body, header) = codec::decode(bytes, limit::FRAME_LEN_MAX)?;
                Self::sealed(bytes, tag, nonce, Some(handshake), Some(body), header)
            }
            kind::FRAME_LETTER => {
                let LetterWire(_, _, tag, nonce, body, header) = codec::decode(bytes, limit::FRAME_LEN_MAX)?;
                Self::sealed(bytes, tag, nonce, None, Some(body), header)
            }
            kind::FRAME_ACK => {
                let AckWire(_, _, tag, nonce, header) = codec::decode(bytes, limit::FRAME_LEN_MAX)?;
                Self::sealed(bytes, tag, nonce, None, None, header)
            }
            kind::FRAME_NOTICE => {
                let NoticeWire(_, _, tag, code) = codec::decode(bytes, limit::FRAME_LEN_MAX)?;
                Ok(Self::Notice(Notice { tag: Tag::from_bytes(tag.into_array()), code }))
            }
            other => Err(FrameError::Kind(other)),
        }
    }

    fn sealed(
        bytes: &'a [u8],
        tag: ByteArray<16>,
        nonce: ByteArray<12>,
        handshake: Option<&'a Bytes>,
        body: Option<&'a Bytes>,
        header: &'a Bytes,
    ) -> Result<Self, FrameError> {
        let header = <&[u8; SEALED_HEADER_LEN]>::try_from(header.as_ref()).map_err(|_| FrameError::Length)?;
        let in_front = bytes.split_last_chunk::<SEALED_HEADER_LEN>().ok_or(FrameError::Length)?.0;
        if body.is_some_and(|body| body.len() < limit::PADDING_LEN_MIN + crypto::TAG_LEN) {
            return Err(FrameError::Length);
        }
        Ok(Self::Sealed(Sealed {
            tag: Tag::from_bytes(tag.into_array()),
            nonce: nonce.into_array(),
            handshake: handshake.map(AsRef::as_ref),
            body: body.map(AsRef::as_ref),
            header,
            in_front,
        }))
    }
}

impl Sealed<'_> {
    /// The kind, as the body's associated data names it.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match (self.body, self.handshake) {
            (None, _) => kind::FRAME_ACK,
            (Some(_), None) => kind::FRAME_LETTER,
            (Some(_), Some(_)) => kind::FRAME_START,
        }
    }

    /// Opens the header. It authenticates the whole frame: what fails here has cost one AEAD and moved nothing.
    pub fn open_header(&self, hk: &Key) -> Result<Header, crypto::CryptoError> {
        let mut header = [0; HEADER_LEN];
        let mut tag = [0; crypto::TAG_LEN];
        let (ciphertext, sealed_tag) = self.header.split_at(HEADER_LEN);
        header.copy_from_slice(ciphertext);
        tag.copy_from_slice(sealed_tag);
        crypto::open_in_place(hk.expose(), &self.nonce, self.in_front, &mut header, &tag)?;
        Ok(Header::from_bytes(&header))
    }
}

impl Notice {
    /// The frame's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&NoticeWire(
            limit::WIRE_VERSION,
            kind::FRAME_NOTICE,
            ByteArray::new(*self.tag.as_bytes()),
            self.code,
        ))
    }
}

/// What is sealed as a frame's body.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// The letter's bytes, not padded.
    pub letter: &'a [u8],
    /// The letter's key.
    pub mk: &'a Key,
    /// Associated data (contracts/frame.md section 3).
    pub ad: &'a [u8],
}

/// The head of the sealed header's byte string, between body and sealed header.
const HEADER_HEAD_LEN: usize = 2;
/// What stands where something is sealed, until it is.
static BLANK: [u8; limit::FRAME_LEN_MAX] = [0; limit::FRAME_LEN_MAX];

/// Writes a frame with blank places, seals the body in its own, and then the header over all of it.
///
/// The kind follows from what is there: handshake and body, body alone, or neither. `None` if the body is longer than any frame.
#[must_use]
pub fn seal(
    hk: &Key,
    tag: Tag,
    nonce: &Nonce,
    handshake: Option<&[u8]>,
    body: Option<Body<'_>>,
    header: &Header,
) -> Option<Vec<u8>> {
    let body_len = body.map_or(0, |body| padding::padded_len(body.letter.len()) + crypto::TAG_LEN);
    let blank_body = BLANK.get(..body_len)?;
    let mut frame = blank(tag, nonce, handshake, body.map(|_| blank_body));
    let (in_front, place) = frame.split_last_chunk_mut::<SEALED_HEADER_LEN>()?;
    if let Some(Body { letter, mk, ad }) = body {
        let end = in_front.len().checked_sub(HEADER_HEAD_LEN)?;
        let place = in_front.get_mut(end.checked_sub(body_len)?..end)?;
        padding::pad_in_place(place, letter)?;
        seal_in_place(mk, nonce, ad, place)?;
    }
    place.split_first_chunk_mut()?.0.clone_from(&header.to_bytes());
    seal_in_place(hk, nonce, in_front, place)?;
    seal_log::sealed("header", hk, nonce, &frame);
    if let Some(body) = body {
        seal_log::sealed("body", body.mk, nonce, &frame);
    }
    Some(frame)
}

fn blank(tag: Tag, nonce: &Nonce, handshake: Option<&[u8]>, body: Option<&[u8]>) -> Vec<u8> {
    const HEADER: [u8; SEALED_HEADER_LEN] = [0; SEALED_HEADER_LEN];
    let (tag, nonce, header) = (ByteArray::new(*tag.as_bytes()), ByteArray::new(*nonce), Bytes::new(&HEADER));
    let version = limit::WIRE_VERSION;
    let capacity = 160 + body.map_or(0, <[u8]>::len) + handshake.map_or(0, <[u8]>::len);
    match (handshake.map(Bytes::new), body.map(Bytes::new)) {
        (Some(handshake), Some(body)) => {
            codec::encode_sized(&StartWire(version, kind::FRAME_START, tag, nonce, handshake, body, header), capacity)
        }
        (_, Some(body)) => {
            codec::encode_sized(&LetterWire(version, kind::FRAME_LETTER, tag, nonce, body, header), capacity)
        }
        (_, None) => codec::encode_sized(&AckWire(version, kind::FRAME_ACK, tag, nonce, header), capacity),
    }
}

/// Seals all of a place but its last bytes, where the tag comes.
fn seal_in_place(key: &Key, nonce: &Nonce, ad: &[u8], place: &mut [u8]) -> Option<()> {
    let (text, tag) = place.split_last_chunk_mut::<{ crypto::TAG_LEN }>()?;
    *tag = crypto::seal_in_place(key.expose(), nonce, ad, text);
    Some(())
}
