//! One peer, whichever side dialled.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use nuncio_proto::ids::AgentId;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::close::{CloseCode, CloseReason};
use crate::error::TransportError;
use crate::stream::StreamKind;
use crate::tuning;

/// A stream that a peer opened, with its first byte read.
type Opened = (StreamKind, SendStream, RecvStream);

/// A connection to a peer whose key is proved. Cheap to clone; it closes when the last clone and the last stream are gone.
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    peer: AgentId,
    served: &'static [StreamKind],
    /// Streams whose first byte has not come; at most as many as the peer may open.
    opening: Arc<Mutex<JoinSet<Option<Opened>>>>,
}

/// How a connection fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Best estimate of the round trip.
    pub rtt: Duration,
    /// Bytes in UDP datagrams sent.
    pub sent_bytes: u64,
    /// Bytes in UDP datagrams received.
    pub received_bytes: u64,
    /// Packets found lost, and sent again.
    pub lost_packets: u64,
    /// Bytes that may be under way at once.
    pub congestion_window: u64,
    /// Bytes of the largest datagram that the path takes.
    pub mtu: u16,
}

impl Connection {
    pub(crate) fn new(quic: quinn::Connection, peer: AgentId, served: &'static [StreamKind]) -> Self {
        Self { quic, peer, served, opening: Arc::default() }
    }

    /// Whose key the handshake proved.
    #[must_use]
    pub fn peer(&self) -> AgentId {
        self.peer
    }

    /// Where the peer is now; it changes when the peer moves.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Whether two values are the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.quic.stable_id() == other.quic.stable_id()
    }

    /// Gives a peer that dialled us the windows and streams of one that we dialled. Until then it is a stranger, whose
    /// bytes are bounded tightly.
    pub fn welcome(&self) {
        self.welcome_with(tuning::CONNECTION_WINDOW);
    }

    /// Gives a peer that dialled us and stays a stranger the window of one that leaves frames here.
    // contracts/mailbox.md section 2.
    pub fn welcome_guest(&self) {
        self.quic.set_receive_window(VarInt::from_u32(tuning::GUEST_WINDOW));
    }

    /// Gives a client of a node that dialled us the streams of one that we dialled, and the window of one that asks and does not send much.
    // contracts/transport.md T16.
    pub fn welcome_client(&self) {
        self.welcome_with(tuning::CLIENT_WINDOW);
    }

    /// A window that was given is not taken back: it is set once.
    fn welcome_with(&self, window: u32) {
        self.quic.set_max_concurrent_bi_streams(VarInt::from_u32(tuning::STREAMS_MAX));
        self.quic.set_receive_window(VarInt::from_u32(window));
        self.quic.set_send_window(tuning::SEND_WINDOW);
    }

    /// Opens a stream and writes its first byte. Waits while the peer allows no more streams.
    ///
    /// # Errors
    ///
    /// [`TransportError::Closed`] if the connection is gone.
    // contracts/transport.md T8: the first byte of a stream says its kind.
    pub async fn open(&self, kind: StreamKind) -> Result<(SendStream, RecvStream), TransportError> {
        let (mut send, recv) = self.quic.open_bi().await?;
        // A new stream cannot have been finished; were it, the write would fail.
        let _ = send.set_priority(kind.priority());
        send.write_all(&[kind.byte()]).await?;
        Ok((send, recv))
    }

    /// The next stream that the peer opened and whose first byte names a kind that we serve. Streams of other kinds are
    /// refused on the way, and one whose first byte does not come holds up no other. Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// [`TransportError::Closed`] if the connection is gone.
    pub async fn accept_stream(&self) -> Result<(StreamKind, SendStream, RecvStream), TransportError> {
        let mut opening = self.opening.lock().await;
        loop {
            tokio::select! {
                streams = self.quic.accept_bi() => {
                    let (send, recv) = streams?;
                    opening.spawn(first_byte(send, recv, self.served));
                }
                Some(opened) = opening.join_next() => {
                    if let Ok(Some(opened)) = opened {
                        return Ok(opened);
                    }
                }
            }
        }
    }

    /// Closes the connection; the peer is told the code and the reason. Streams end at once, unsent bytes are dropped.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.quic.close(code.into(), reason.as_bytes());
    }

    /// Waits until the connection is gone, and says why.
    pub async fn closed(&self) -> CloseReason {
        self.quic.closed().await.into()
    }

    /// Why the connection is gone, if it is.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.quic.close_reason().map(CloseReason::from)
    }

    /// Best estimate of the round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.quic.rtt()
    }

    /// How the connection fares.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let stats = self.quic.stats();
        ConnectionStats {
            rtt: stats.path.rtt,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
            congestion_window: stats.path.cwnd,
            mtu: stats.path.current_mtu,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} at {})", self.peer, self.remote_address())
    }
}

/// Reads what a stream is for, or refuses it.
async fn first_byte(mut send: SendStream, mut recv: RecvStream, served: &[StreamKind]) -> Option<Opened> {
    let mut byte = [0];
    let refusal = match timeout(tuning::FIRST_BYTE_TIMEOUT, recv.read_exact(&mut byte)).await {
        Ok(Ok(())) => match StreamKind::served(byte[0], served) {
            Some(kind) => {
                // As in `open`: a stream that ended meanwhile says so at the first write.
                let _ = send.set_priority(kind.priority());
                return Some((kind, send, recv));
            }
            None => CloseCode::UNSUPPORTED_STREAM,
        },
        // contracts/transport.md T10: a stream that does not say what it is for is refused.
        Ok(Err(_)) | Err(_) => CloseCode::PROTOCOL,
    };
    // Both may fail only because the peer has ended that half already.
    let _ = send.reset(refusal.into());
    let _ = recv.stop(refusal.into());
    None
}
