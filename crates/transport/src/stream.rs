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
    /// HTTP to a node.
    Http,
    /// A frame that is left at a node.
    Deposit,
    /// Requests that only read, and their answers, without letters.
    Queries,
}

/// Which kinds a peer may open, of an end that is an agent and no node.
pub const SERVED_BY_AGENTS: &[StreamKind] =
    &[StreamKind::Frames, StreamKind::Large, StreamKind::Prekeys, StreamKind::Queries];
/// Which kinds a peer may open, of an end that is a node and no agent.
pub const SERVED_BY_NODES: &[StreamKind] = &[StreamKind::Http, StreamKind::Deposit];

impl StreamKind {
    /// The byte that opens a stream of this kind.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Frames => stream::FRAMES,
            Self::Large => stream::LARGE,
            Self::Prekeys => stream::PREKEYS,
            Self::Http => stream::HTTP,
            Self::Deposit => stream::DEPOSIT,
            Self::Queries => stream::QUERIES,
        }
    }

    /// The kind that this byte opens, if it is one of these.
    // contracts/transport.md T9: a kind that is not served is refused by its first byte.
    pub(crate) fn served(byte: u8, kinds: &[Self]) -> Option<Self> {
        kinds.iter().copied().find(|kind| kind.byte() == byte)
    }

    /// Which stream's bytes leave first when several wait: a large payload yields to everything.
    // contracts/transport.md T11
    pub(crate) const fn priority(self) -> i32 {
        match self {
            Self::Frames | Self::Queries => 2,
            Self::Prekeys => 1,
            Self::Large | Self::Http | Self::Deposit => 0,
        }
    }
}
