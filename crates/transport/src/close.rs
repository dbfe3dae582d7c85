//! Why a connection or a stream ended.

use core::fmt;

use nuncio_contracts::registry::code;
use quinn::{ConnectionError, VarInt};

/// Characters kept of the reason that a peer gives: it is the peer's text, for a log line at most.
const REASON_LEN_MAX: usize = 120;

/// A number that says why: QUIC's application error code of a connection or of a stream, from `contracts/registry.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(VarInt);

impl CloseCode {
    /// An orderly end.
    pub const CLOSED: Self = Self::new(code::CLOSED);
    /// The agent drains and stops; dial again later.
    pub const SHUTTING_DOWN: Self = Self::new(code::SHUTTING_DOWN);
    /// The peer broke a MUST of `contracts/transport.md`.
    pub const PROTOCOL: Self = Self::new(code::PROTOCOL);
    /// More was asked than is given; come again later.
    pub const BUSY: Self = Self::new(code::BUSY);
    /// A first byte that this version does not serve.
    pub const UNSUPPORTED_STREAM: Self = Self::new(code::UNSUPPORTED_STREAM);
    /// Another connection of the same two agents is kept.
    pub const REPLACED: Self = Self::new(code::REPLACED);
    /// The key is well formed but not one that this agent talks to.
    pub const STRANGER: Self = Self::new(code::STRANGER);
    /// The sender gave up what the stream carries.
    pub const CANCELLED: Self = Self::new(code::CANCELLED);

    /// A code by its number.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        // `VarInt::from_u32` is the const door, and `u32::from` is not const yet.
        let [high, low] = code.to_be_bytes();
        Self(VarInt::from_u32(u32::from_be_bytes([0, 0, high, low])))
    }

    /// The number as it travels; a peer's may be any of 62 bits.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.into_inner()
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::CLOSED => "closed",
            Self::SHUTTING_DOWN => "shutting down",
            Self::PROTOCOL => "protocol",
            Self::BUSY => "busy",
            Self::UNSUPPORTED_STREAM => "unsupported stream",
            Self::REPLACED => "replaced",
            Self::STRANGER => "stranger",
            Self::CANCELLED => "cancelled",
            _ => return None,
        })
    }
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl From<VarInt> for CloseCode {
    fn from(code: VarInt) -> Self {
        Self(code)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.get()),
        }
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self})", self.get())
    }
}

/// Why a connection is no more, or never was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it and said why. The text is the peer's own, shortened, without control characters.
    #[error("the peer closed the connection: {code} ({reason})")]
    ByPeer {
        /// The peer's code.
        code: CloseCode,
        /// The peer's words.
        reason: String,
    },
    /// This side closed it.
    #[error("this side closed the connection")]
    ByUs,
    /// The peer takes no connection now; try later.
    #[error("the peer is too busy to take a connection: try again later")]
    Refused,
    /// TLS failed on either side, with this alert (RFC 8446 section 6): 120 when no ALPN is shared.
    #[error("the TLS handshake failed with alert {alert}: is the other end a Nuncio agent of this version?")]
    Tls {
        /// The alert's number.
        alert: u8,
    },
    /// Nothing was heard for longer than the idle timeout, or no answer came to the handshake.
    #[error("the peer does not answer: check its address, and that UDP passes")]
    TimedOut,
    /// The peer knows nothing of the connection: it was started anew.
    #[error("the peer was restarted: dial again")]
    Reset,
    /// QUIC itself failed, with this transport error code (RFC 9000 section 20.1).
    #[error("QUIC failed with error {code:#x}")]
    Quic {
        /// The transport error code.
        code: u64,
    },
    /// The two sides speak no common version of QUIC.
    #[error("the other end speaks no common version of QUIC")]
    Version,
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::ByPeer { code: close.error_code.into(), reason: printable(&close.reason) }
            }
            ConnectionError::ConnectionClosed(close) => Self::from_quic(close.error_code.into()),
            ConnectionError::TransportError(error) => Self::from_quic(error.code.into()),
            ConnectionError::LocallyClosed => Self::ByUs,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::VersionMismatch => Self::Version,
            // Connection ids are 8 random bytes: the space is not exhausted, but the variant exists.
            ConnectionError::CidsExhausted => Self::Quic { code: quinn::TransportErrorCode::INTERNAL_ERROR.into() },
        }
    }
}

impl CloseReason {
    fn from_quic(code: u64) -> Self {
        if code == u64::from(quinn::TransportErrorCode::CONNECTION_REFUSED) {
            return Self::Refused;
        }
        // RFC 9001 section 4.8: a TLS alert is 0x0100 plus the alert.
        match (code >> 8, u8::try_from(code & 0xff)) {
            (1, Ok(alert)) => Self::Tls { alert },
            _ => Self::Quic { code },
        }
    }
}

fn printable(reason: &[u8]) -> String {
    let text = String::from_utf8_lossy(reason);
    text.chars().take(REASON_LEN_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_cannot_drive_a_terminal() {
        let long = [b"\x1b[2J\n".as_slice(), &[b'a'; 500]].concat();
        let shown = printable(&long);
        assert_eq!(shown.chars().count(), REASON_LEN_MAX);
        assert!(shown.chars().all(|c| !c.is_control()));
    }
}
