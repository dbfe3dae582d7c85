//! A channel's frame: sealed once, the same for all but its last 16 bytes (contracts/channel.md section 6).
//!
//! ```text
//!   [1, 5, tag, nonce, sealed body, sealed header, signature or null, mac]
//!   |<--------- header's associated data -------->|
//!   |<------------------- signed ---------------->|
//!   |<------------------------- common part ------------------------->|
//! ```

use nuncio_contracts::registry::{kind, label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};
use subtle::ConstantTimeEq;

use super::chain::Chain;
use super::header::{CHANNEL_HEADER_LEN, ChannelHeader, SEALED_LEN, put};
use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, SigningKey, TAG_LEN};
use crate::frame::{FrameError, Nonce};
use crate::ids::{AgentId, ChainId, ChannelId, EpochId, Tag};
use crate::padding;
use crate::seal_log;
use crate::secret::Key;

/// Bytes of one recipient's MAC.
pub const MAC_LEN: usize = 16;
/// One recipient's MAC: the last bytes of its frame.
pub type Mac = [u8; MAC_LEN];

/// A channel's frame, borrowed from its bytes. Well formed, nothing more: no key has touched it.
#[derive(Clone, Copy, Debug)]
pub struct ChannelFrame<'a> {
    /// Finds channel, sender and chain.
    pub tag: Tag,
    /// Of header and body.
    pub nonce: Nonce,
    /// Ciphertext and tag.
    pub body: &'a [u8],
    /// Ciphertext and tag of the header.
    pub header: &'a [u8; SEALED_LEN],
    /// The sender's, in a channel that audits.
    pub signature: Option<[u8; 64]>,
    /// The recipient's.
    pub mac: Mac,
    /// Everything in front of the sealed header: its associated data.
    in_front: &'a [u8],
    /// Everything in front of the signature.
    signed: &'a [u8],
    /// Everything but the MAC.
    common: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(
    u8,
    u8,
    ByteArray<16>,
    ByteArray<12>,
    #[serde(borrow)] &'a Bytes,
    #[serde(borrow)] &'a Bytes,
    Option<ByteArray<64>>,
    ByteArray<MAC_LEN>,
);

/// Behind the heads of array, tag and nonce, version and kind, and the tag.
const NONCE_AT: usize = 1 + 2 + 1 + 16 + 1;
/// Bytes of the head of a signature, and of a MAC.
const SIGNATURE_HEAD_LEN: usize = 2;
const MAC_HEAD_LEN: usize = 1;
/// Bytes of a body's associated data.
const BODY_AD_LEN: usize = 2 + 4 * 32 + CHANNEL_HEADER_LEN;

impl<'a> ChannelFrame<'a> {
    /// Whether bytes are to be read as a channel's frame, of whatever version.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.get(2) == Some(&kind::FRAME_CHANNEL)
    }

    /// Reads one frame from at most `frame_len_max` canonical bytes.
    ///
    /// # Errors
    /// [`FrameError`].
    // contracts/channel.md C31, C32.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let &[_, version, kind, ..] = bytes else { return Err(CodecError::Malformed.into()) };
        if version != limit::WIRE_VERSION {
            return Err(FrameError::Version(version));
        }
        if kind != kind::FRAME_CHANNEL {
            return Err(FrameError::Kind(kind));
        }
        let Wire(_, _, tag, nonce, body, header, signature, mac) = codec::decode(bytes, limit::FRAME_LEN_MAX)?;
        let header = <&[u8; SEALED_LEN]>::try_from(header.as_ref()).map_err(|_| FrameError::Length)?;
        if body.len() < limit::PADDING_LEN_MIN + TAG_LEN {
            return Err(FrameError::Length);
        }
        let (common, _) = bytes.split_last_chunk::<MAC_LEN>().ok_or(FrameError::Length)?;
        let behind = signature.map_or(1, |signature| SIGNATURE_HEAD_LEN + signature.len()) + MAC_HEAD_LEN;
        let signed = common.len().checked_sub(behind).and_then(|len| common.get(..len)).ok_or(FrameError::Length)?;
        let (in_front, _) = signed.split_last_chunk::<SEALED_LEN>().ok_or(FrameError::Length)?;
        Ok(Self {
            tag: Tag::from_bytes(tag.into_array()),
            nonce: nonce.into_array(),
            body,
            header,
            signature: signature.map(ByteArray::into_array),
            mac: mac.into_array(),
            in_front,
            signed,
            common,
        })
    }

    /// What is the same for all recipients.
    #[must_use]
    pub const fn common(&self) -> &'a [u8] {
        self.common
    }

    /// SHA-256 of that.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crypto::sha256(&[self.common])
    }

    // contracts/channel.md C33.
    pub(super) fn check_mac(&self, key: &Key, chain: &ChainId, me: &AgentId, digest: &[u8; 32]) -> bool {
        mac(key, chain, digest, me).ct_eq(&self.mac).into()
    }

    // contracts/channel.md C35.
    pub(super) fn check_signature(
        &self,
        channel: &ChannelId,
        epoch: &EpochId,
        by: &AgentId,
    ) -> Result<(), CryptoError> {
        let signature = self.signature.ok_or(CryptoError::BadSignature)?;
        crypto::verify(by.as_bytes(), label::CHANNEL_FRAME, &to_sign(self.signed, channel, epoch), &signature)
    }

    pub(super) fn open_header(&self, hk: &Key) -> Result<ChannelHeader, CryptoError> {
        let mut header = [0; CHANNEL_HEADER_LEN];
        let mut tag = [0; TAG_LEN];
        let (ciphertext, sealed_tag) = self.header.split_at(CHANNEL_HEADER_LEN);
        header.copy_from_slice(ciphertext);
        tag.copy_from_slice(sealed_tag);
        crypto::open_in_place(hk.expose(), &self.nonce, self.in_front, &mut header, &tag)?;
        Ok(ChannelHeader::from_bytes(&header))
    }

    /// The padded letter.
    pub(super) fn open_body(
        &self,
        mk: &Key,
        channel: &ChannelId,
        chain: &Chain,
        header: &ChannelHeader,
    ) -> Result<Vec<u8>, CryptoError> {
        let (ciphertext, tag) = self.body.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::NotAuthentic)?;
        let mut clear = ciphertext.to_vec();
        crypto::open_in_place(mk.expose(), &self.nonce, &body_ad(channel, chain, header), &mut clear, tag)?;
        Ok(clear)
    }
}

/// The nonce of a frame's common part.
#[must_use]
pub fn nonce_of(common: &[u8]) -> Option<Nonce> {
    common.get(NONCE_AT..)?.first_chunk().copied()
}

/// The MAC for one recipient.
pub(super) fn mac(key: &Key, chain: &ChainId, digest: &[u8; 32], recipient: &AgentId) -> Mac {
    let parts: [&[u8]; 5] = [label::CHANNEL_MAC, &[0], chain.as_bytes(), digest, recipient.as_bytes()];
    let [mac @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = crypto::hmac_sha256(key.expose(), &parts);
    mac
}

fn to_sign(signed: &[u8], channel: &ChannelId, epoch: &EpochId) -> Vec<u8> {
    [crypto::sha256(&[signed]).as_slice(), channel.as_bytes(), epoch.as_bytes()].concat()
}

/// `version ‖ kind ‖ channel ‖ epoch ‖ sender ‖ chain id ‖ header`
// contracts/channel.md C36.
fn body_ad(channel: &ChannelId, chain: &Chain, header: &ChannelHeader) -> [u8; BODY_AD_LEN] {
    let mut ad = [0; BODY_AD_LEN];
    let mut rest = ad.as_mut_slice();
    put(&mut rest, &[limit::WIRE_VERSION, kind::FRAME_CHANNEL]);
    put(&mut rest, channel.as_bytes());
    put(&mut rest, chain.base.epoch.as_bytes());
    put(&mut rest, chain.base.sender.as_bytes());
    put(&mut rest, chain.id.as_bytes());
    put(&mut rest, &header.to_bytes());
    ad
}

/// Seals a letter for all: the common part of its frames. Body first, then the header over it, then the signature over both.
// contracts/channel.md C34 to C36.
pub(super) fn seal(
    channel: &ChannelId,
    chain: &Chain,
    mk: &Key,
    nonce: &Nonce,
    header: &ChannelHeader,
    mut letter: Vec<u8>,
    signing: Option<&SigningKey>,
) -> Vec<u8> {
    const EMPTY: [u8; SEALED_LEN] = [0; SEALED_LEN];
    padding::pad(&mut letter);
    let tag = crypto::seal_in_place(mk.expose(), nonce, &body_ad(channel, chain, header), &mut letter);
    letter.extend_from_slice(&tag);
    let (version, kind, at) = (limit::WIRE_VERSION, kind::FRAME_CHANNEL, ByteArray::new(*chain.tag.as_bytes()));
    let (array_nonce, body) = (ByteArray::new(*nonce), Bytes::new(&letter));
    let wire = Wire(version, kind, at, array_nonce, body, Bytes::new(&EMPTY), None, ByteArray::new([0; MAC_LEN]));
    let mut frame = codec::encode_sized(&wire, letter.len() + 256);
    // Behind the header: null, and the MAC with its head.
    let len = frame.len().saturating_sub(1 + MAC_HEAD_LEN + MAC_LEN);
    frame.truncate(len);
    let (in_front, sealed) = frame.split_at_mut(len.saturating_sub(SEALED_LEN));
    let mut clear = header.to_bytes();
    let header_tag = crypto::seal_in_place(chain.hk.expose(), nonce, in_front, &mut clear);
    let (ciphertext, tag_place) = sealed.split_at_mut(CHANNEL_HEADER_LEN);
    ciphertext.copy_from_slice(&clear);
    tag_place.copy_from_slice(&header_tag);
    seal_log::sealed("body", mk, nonce, &frame);
    seal_log::sealed("header", &chain.hk, nonce, &frame);
    let signature = signing.map(|key| key.sign(label::CHANNEL_FRAME, &to_sign(&frame, channel, &chain.base.epoch)));
    frame.extend_from_slice(&codec::encode(&signature.map(ByteArray::new)));
    // The head of 16 bytes.
    frame.push(0x50);
    frame
}
