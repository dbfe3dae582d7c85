//! What can go wrong between two agents' sockets.

use core::net::SocketAddr;
use std::io;

use nuncio_proto::ids::AgentId;

use crate::close::{CloseCode, CloseReason};

/// Why the transport did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The UDP socket could not be opened or asked for its address.
    #[error("cannot listen on {addr}: {source}; choose another address")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The identity key cannot be used for TLS.
    #[error("the identity key cannot be used for TLS: {0}")]
    Identity(#[source] rustls::Error),
    /// A setting is out of the range that QUIC allows.
    #[error("the transport setting {0} is out of range")]
    Setting(&'static str),
    /// The other end holds another key than the agent dialled. `found` is what it presented; it was not asked to prove it.
    #[error("{expected} was dialled but {found} answered: check the address, or whether the peer changed its identity")]
    WrongPeer {
        /// Who was dialled.
        expected: AgentId,
        /// Whose key was presented.
        found: AgentId,
    },
    /// The address cannot be dialled from this socket.
    #[error("cannot dial {addr}: {source}")]
    Dial {
        /// The address dialled.
        addr: SocketAddr,
        /// What QUIC says.
        source: quinn::ConnectError,
    },
    /// The connection is gone, or was never made.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The peer gave up sending on this stream.
    #[error("the peer reset the stream: {0}")]
    StreamReset(CloseCode),
    /// The peer no longer reads this stream.
    #[error("the peer stopped the stream: {0}")]
    StreamStopped(CloseCode),
    /// This side already ended the stream.
    #[error("the stream was already ended by this side")]
    StreamEnded,
    /// A frame is empty, or longer than the limit, or its length is not in the shortest form. Our own frames and the peer's.
    #[error("a frame of {len} bytes: frames have 1 to {max} bytes")]
    FrameLen {
        /// The length given; 0 also stands for a prefix that is not in its shortest form.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// The peer ended the stream in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    FrameTruncated,
}

impl From<quinn::ConnectionError> for TransportError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Closed(error.into())
    }
}

impl From<quinn::WriteError> for TransportError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::StreamStopped(code.into()),
            quinn::WriteError::ConnectionLost(error) => error.into(),
            // 0-RTT is off, so the last one cannot come.
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::StreamEnded,
        }
    }
}

impl From<quinn::ReadError> for TransportError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::StreamReset(code.into()),
            quinn::ReadError::ConnectionLost(error) => error.into(),
            // Reads are ordered and 0-RTT is off, so the last two cannot come.
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => Self::StreamEnded,
        }
    }
}
