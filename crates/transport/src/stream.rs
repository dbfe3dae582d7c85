//! What a stream is for: its first byte.

use nuncio_contracts::registry::stream;

/// The kinds of stream, by the byte that opens them (`contracts/registry.toml`, `stream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Length-prefixed frames, in order, for as long as the connection lives.
    Frames,
    /// One large payload.
    Large,
    /// A request for a bundle and a one-time prekey.
    Prekeys,
    /// HTTP to a node. The number is taken; this version neither opens nor takes such streams.
    Http,
}

impl StreamKind {
    /// The byte that opens a stream of this kind.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Frames => stream::FRAMES,
            Self::Large => stream::LARGE,
            Self::Prekeys => stream::PREKEYS,
            Self::Http => stream::HTTP,
        }
    }

    /// The kind that a peer may open with this byte, if this version takes it.
    // contracts/transport.md T9: a kind that is not served is refused by its first byte.
    #[must_use]
    pub const fn served(byte: u8) -> Option<Self> {
        match byte {
            stream::FRAMES => Some(Self::Frames),
            stream::LARGE => Some(Self::Large),
            stream::PREKEYS => Some(Self::Prekeys),
            _ => None,
        }
    }

    /// Which stream's bytes leave first when several wait: a large payload yields to everything.
    // contracts/transport.md T11
    pub(crate) const fn priority(self) -> i32 {
        match self {
            Self::Frames => 2,
            Self::Prekeys => 1,
            Self::Large | Self::Http => 0,
        }
    }
}
