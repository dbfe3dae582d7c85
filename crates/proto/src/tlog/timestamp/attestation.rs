//! What is said of a message.

use core::cmp::Ordering;

use nuncio_contracts::registry::limit;

use super::TimestampError;
use super::reader::{Reader, put_bytes, put_number};

const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];
const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];

/// An attestation. The order is that of the tags, then of what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attestation {
    /// A calendar has taken the message, and will say more of it at this address.
    Pending(String),
    /// The message is the merkle root of the Bitcoin block of this height.
    Bitcoin(u32),
    /// Something that is passed over.
    Other {
        /// What.
        tag: [u8; 8],
        /// Its content.
        payload: Vec<u8>,
    },
}

impl Attestation {
    /// Reads one of a message of this length.
    // contracts/log.md G23.
    pub(super) fn read(reader: &mut Reader<'_>, message_len: usize) -> Result<Self, TimestampError> {
        let tag = reader.take(8)?;
        let payload = reader.bytes_up_to(limit::TIMESTAMP_PAYLOAD_LEN_MAX)?;
        let mut inside = Reader(payload);
        let read = match tag {
            tag if tag == PENDING => {
                let uri = inside.bytes_up_to(limit::TIMESTAMP_URI_LEN_MAX)?;
                let uri = Some(uri).filter(|uri| uri.iter().copied().all(is_uri_byte));
                let uri = uri.and_then(|uri| core::str::from_utf8(uri).ok()).ok_or(TimestampError::Malformed)?;
                Self::Pending(uri.to_owned())
            }
            // A merkle root has 32 bytes.
            tag if tag == BITCOIN && message_len == 32 => Self::Bitcoin(inside.number()?),
            tag if tag == BITCOIN => return Err(TimestampError::Malformed),
            tag => {
                let tag = tag.try_into().map_err(|_| TimestampError::Malformed)?;
                return Ok(Self::Other { tag, payload: payload.to_vec() });
            }
        };
        inside.end().map(|()| read)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        match self {
            Self::Pending(uri) => put_bytes(&mut payload, uri.as_bytes()),
            Self::Bitcoin(height) => put_number(&mut payload, *height),
            Self::Other { payload: said, .. } => payload.clone_from(said),
        }
        out.extend_from_slice(self.tag());
        put_bytes(out, &payload);
    }

    const fn tag(&self) -> &[u8; 8] {
        match self {
            Self::Pending(_) => &PENDING,
            Self::Bitcoin(_) => &BITCOIN,
            Self::Other { tag, .. } => tag,
        }
    }
}

impl Ord for Attestation {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tag().cmp(other.tag()).then_with(|| match (self, other) {
            (Self::Pending(one), Self::Pending(other)) => one.cmp(other),
            (Self::Bitcoin(one), Self::Bitcoin(other)) => one.cmp(other),
            (Self::Other { payload: one, .. }, Self::Other { payload: other, .. }) => one.cmp(other),
            // One tag is one kind.
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for Attestation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// No query, no fragment, no user, no escape.
const fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b':')
}
