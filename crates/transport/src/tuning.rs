//! Every QUIC setting, once, with its reason. What is not named here is quinn's default.

use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;

use nuncio_contracts::registry::{limit, time};
use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

use crate::error::TransportError;
use crate::reset::{CidKey, ResetKey};

pub use nuncio_contracts::registry::limit::FRAME_LEN_MAX;

/// What ALPN carries: another version of the transport is another name, so that a mismatch is told in the handshake.
// contracts/transport.md T1
pub const ALPN: &[u8] = b"nuncio/1";

/// A quiet connection is kept: middleboxes forget a UDP flow after 30 s or more (RFC 9308 section 3.2), and hear this
/// twice before.
pub const KEEP_ALIVE: Duration = Duration::from_millis(time::KEEP_ALIVE);

/// Three keep-alives lost in a row, and a little: the peer is gone. Also the longest that a frame sent to a peer that
/// died without its stateless reset waits for a new connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(time::IDLE_TIMEOUT);

/// A handshake takes two round trips; with a retransmission or two on a bad path still less than this. A half-open
/// connection costs memory for so long.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(time::HANDSHAKE_TIMEOUT);

/// A dialler waits a little longer than the server holds its half, so that it learns of the server's refusal.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(time::DIAL_TIMEOUT);

/// How long an opened stream may keep its first byte to itself.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_millis(time::FIRST_BYTE_TIMEOUT);

/// How long `Link::close` waits for the peers to have heard of it.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Before a round trip is measured. quinn's 333 ms is RFC 9002's choice for the open Internet; a third of it makes a
/// lost first packet cost 0.3 s instead of 1 s, at the price of a spurious retransmission on paths slower than that.
pub const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Streams that a welcome peer may have open: one of frames, a few requests, the large payloads under way.
pub const STREAMS_MAX: u32 = limit::STREAMS_MAX;

/// Bytes of one stream that the peer may send ahead of our reading: 2 MiB fill 160 Mbit/s over 100 ms.
pub const STREAM_WINDOW: u32 = limit::STREAM_WINDOW;

/// Bytes of all streams: every stream may be full at once, so that large payloads nobody reads yet cannot stop the frames.
pub const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;

/// Bytes of ours that are kept until the peer's QUIC acknowledges them.
pub const SEND_WINDOW: u64 = 8 * 1024 * 1024;

/// Streams that a stranger may open: one of frames, one request, and one of each to come.
pub const STRANGER_STREAMS_MAX: u32 = limit::STRANGER_STREAMS_MAX;

/// Bytes that a stranger may make us hold. Flow control returns credit as we read, so a whole frame still fits through.
pub const STRANGER_WINDOW: u32 = limit::STRANGER_WINDOW;

/// Bytes of ours that are kept until a stranger's QUIC acknowledges them: one that takes nothing in has no more of our memory.
pub const STRANGER_SEND_WINDOW: u64 = limit::STRANGER_SEND_WINDOW;

/// Bytes that a guest may make a node hold: a stranger that leaves frames there (contracts/mailbox.md section 2).
pub const GUEST_WINDOW: u32 = limit::GUEST_WINDOW;

/// Bytes that a client which a node's policy names may make it hold, on one connection (contracts/transport.md T16).
pub const CLIENT_WINDOW: u32 = limit::CLIENT_WINDOW;

/// Handshake bytes out of order: a ClientHello with an ML-KEM share is 1.7 KiB and nothing else in the handshake is longer.
pub const CRYPTO_BUFFER: usize = 8 * 1024;

/// First packets that wait for a decision, which takes microseconds: a burst, not a queue.
pub const INCOMING_MAX: usize = 1024;

/// What may follow a first packet before the decision: the rest of a ClientHello, twice.
pub const INCOMING_BUFFER: u64 = 8 * 1024;

/// Of the UDP socket, each way, as far as the system allows (`net.core.rmem_max`): a full window of 32 peers that send at
/// the same moment, or one peer at 1 Gbit/s for 30 ms in which we are not scheduled.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Connections that are complete and that nobody has taken from the link yet.
pub const READY_MAX: usize = 64;

/// Bounds on who may take our time and memory before anything is known of them. The defaults suit an agent; a node that
/// serves thousands behind one address raises `per_source_per_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Handshakes under way in all, about 40 KiB each: 10 MiB. At 0.1 s each still 2,500 a second.
    pub handshakes_max: usize,
    /// Handshakes a second from one address (IPv6: one /64), and twice as many at once: half a millisecond of work each.
    pub per_source_per_s: u32,
    /// Connections in all, both ways, handshakes and those still closing included.
    pub connections_max: usize,
    /// How long one handshake may take.
    pub handshake_timeout: Duration,
    /// How long a dialler waits.
    pub dial_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            handshakes_max: limit::HANDSHAKES_MAX,
            per_source_per_s: limit::HANDSHAKES_PER_SOURCE,
            connections_max: limit::CONNECTIONS_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
        }
    }
}

/// For a peer that we chose: whom we dialled.
pub(crate) fn welcome() -> Result<Arc<TransportConfig>, TransportError> {
    let mut config = common()?;
    config.max_concurrent_bidi_streams(STREAMS_MAX.into()).receive_window(CONNECTION_WINDOW.into());
    Ok(Arc::new(config))
}

/// For whoever dials us, until the layer above says that the peer is welcome.
// contracts/transport.md T16: a stranger's bytes are bounded before it is known who they are.
pub(crate) fn stranger() -> Result<Arc<TransportConfig>, TransportError> {
    let mut config = common()?;
    config
        .max_concurrent_bidi_streams(STRANGER_STREAMS_MAX.into())
        .receive_window(STRANGER_WINDOW.into())
        .send_window(STRANGER_SEND_WINDOW);
    Ok(Arc::new(config))
}

fn common() -> Result<TransportConfig, TransportError> {
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).map_err(|_| TransportError::Setting("IDLE_TIMEOUT"))?;
    let mut config = TransportConfig::default();
    config
        // Every stream is a pair: a kind that needs one way leaves the other empty. One limit instead of two.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Letters are never datagrams.
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(STREAM_WINDOW.into())
        .send_window(SEND_WINDOW)
        .crypto_buffer_size(CRYPTO_BUFFER)
        // The spin bit shows a watcher our round trip and serves only the network's operator.
        .allow_spin(false)
        // CUBIC: fair beside TCP and proven; quinn's BBR is marked experimental.
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        // From 1,200 bytes up to Ethernet's size by probing; a larger size would multiply every receive buffer.
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        // Many datagrams in one system call where kernel and device can; quinn turns it off where they cannot.
        .enable_segmentation_offload(true);
    Ok(config)
}

/// Both halves: how the one socket names connections, and how it says that it knows one no more.
pub(crate) fn endpoint(reset: ResetKey, cids: CidKey) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(reset));
    // quinn's own ids are marked with a key that, to let resets outlive a restart, would have to stay the same; it can be
    // found from ids seen, and would mark the agent wherever it goes.
    config.cid_generator(move || Box::new(cids.generator()));
    config
}

/// The server's half. 0-RTT and address tokens for later connections are off: nothing is sent before the handshake.
pub(crate) fn server(crypto: Arc<dyn quinn::crypto::ServerConfig>) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(stranger()?)
        // contracts/transport.md T15: an agent that changes its network keeps its connections.
        .migration(true)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER.saturating_mul(64));
    Ok(config)
}

/// Asks for larger socket buffers. A system that gives less still works: what is lost is sent again.
pub(crate) fn enlarge_buffers(socket: &UdpSocket) {
    let grown = quinn::udp::UdpSocketState::new(socket.into()).and_then(|state| {
        state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER)?;
        state.set_send_buffer_size(socket.into(), SOCKET_BUFFER)
    });
    if let Err(error) = grown {
        tracing::debug!(%error, "the system's socket buffers stay as they are");
    }
}

const _: () = {
    assert!(CONNECTION_WINDOW / STREAMS_MAX >= STREAM_WINDOW, "no stream may starve another");
    assert!(IDLE_TIMEOUT.as_millis() > 3 * KEEP_ALIVE.as_millis(), "three keep-alives fit the idle timeout");
    assert!(DIAL_TIMEOUT.as_millis() > HANDSHAKE_TIMEOUT.as_millis(), "the server decides before the dialler gives up");
};
