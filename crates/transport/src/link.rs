//! The one endpoint of an agent: dials, listens, closes.

use core::fmt;
use core::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use quinn::{ClientConfig, Endpoint, TokioRuntime, TransportConfig};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::accept::{self, Door};
use crate::close::{CloseCode, CloseReason};
use crate::connection::Connection;
use crate::error::TransportError;
use crate::identity::{self, Identity};
use crate::reset::{CidKey, ResetKey};
use crate::stream::{SERVED_BY_AGENTS, StreamKind};
use crate::tuning::{self, Tuning};

/// Where a link listens and what it lets strangers take.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Address of the UDP socket, for dialling and listening; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bounds on handshakes and connections.
    pub tuning: Tuning,
    /// Kinds of streams that peers may open; others are refused. An agent's, unless it is said otherwise.
    pub served: &'static [StreamKind],
}

impl LinkConfig {
    /// Listens on `listen` with the default bounds.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, tuning: Tuning::default(), served: SERVED_BY_AGENTS }
    }
}

/// Counts of a link since it was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Handshakes begun with those who dial us.
    pub handshakes_accepted: u64,
    /// First packets answered with a Retry.
    pub handshakes_retried: u64,
    /// First packets answered with a refusal.
    pub handshakes_refused: u64,
    /// Handshakes under way now.
    pub handshakes_under_way: usize,
    /// Connections now, both ways, handshakes and those still closing included.
    pub connections: usize,
}

/// One UDP socket with everything on it. Dropping it stops the listener; connections handed out live on until dropped.
pub struct Link {
    endpoint: Endpoint,
    identity: Identity,
    welcome: Arc<TransportConfig>,
    tuning: Tuning,
    served: &'static [StreamKind],
    door: Door,
    ready: Mutex<mpsc::Receiver<Connection>>,
    listener: JoinHandle<()>,
}

impl Link {
    /// Opens the socket and starts to listen. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::Listen`] if the address cannot be used, [`TransportError::Identity`] if the key cannot.
    pub fn bind(config: LinkConfig, key: &SigningKey) -> Result<Self, TransportError> {
        let LinkConfig { listen, tuning, served } = config;
        let identity = Identity::new(key)?;
        let server = tuning::server(identity.server()?)?;
        let ours = tuning::endpoint(ResetKey::derive(key), CidKey::new(identity.random()?));

        let failed = |source| TransportError::Listen { addr: listen, source };
        let socket = UdpSocket::bind(listen).map_err(failed)?;
        tuning::enlarge_buffers(&socket);
        let endpoint = Endpoint::new(ours, Some(server), socket, Arc::new(TokioRuntime)).map_err(failed)?;

        let door = Door::new(tuning);
        let (ready_send, ready) = mpsc::channel(tuning::READY_MAX);
        let listener = tokio::spawn(accept::listen(endpoint.clone(), door.clone(), (tuning, served), ready_send));
        let (welcome, ready) = (tuning::welcome()?, Mutex::new(ready));
        Ok(Self { endpoint, identity, welcome, tuning, served, door, ready, listener })
    }

    /// The address of the socket, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// [`TransportError::Listen`] if the system does not tell.
    pub fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        self.endpoint.local_addr().map_err(|source| TransportError::Listen { addr: unspecified, source })
    }

    /// Connects to `peer` at `addr`. The other end has proved that it holds the peer's key.
    ///
    /// It has not shown yet that it takes ours: that, and that it welcomes us, is known at its first byte and not before.
    ///
    /// # Errors
    ///
    /// [`TransportError::WrongPeer`] if another agent answers; it does not learn who dialled. [`TransportError::Closed`]
    /// with [`CloseReason::TimedOut`] if nobody answers, [`CloseReason::Refused`] if the other end is too busy.
    pub async fn dial(&self, peer: AgentId, addr: SocketAddr) -> Result<Connection, TransportError> {
        let (crypto, verifier) = self.identity.client(peer)?;
        let mut config = ClientConfig::new(crypto);
        config.transport_config(self.welcome.clone());
        let connecting = self
            .endpoint
            .connect_with(config, addr, identity::SERVER_NAME)
            .map_err(|source| TransportError::Dial { addr, source })?;

        let wrong = |found| TransportError::WrongPeer { expected: peer, found };
        let quic = match timeout(self.tuning.dial_timeout, connecting).await {
            Err(_) => return Err(CloseReason::TimedOut.into()),
            Ok(Err(error)) => return Err(verifier.other().map_or_else(|| error.into(), wrong)),
            Ok(Ok(quic)) => quic,
        };
        // The verifier has seen to it; a second look costs nothing and does not depend on rustls calling it.
        match identity::proved(&quic) {
            Ok(found) if found == peer => Ok(Connection::new(quic, peer, self.served)),
            Ok(found) => Err(wrong(found)),
            Err(error) => Err(TransportError::Identity(error)),
        }
    }

    /// The next connection that somebody made to us: the handshake is complete and the peer's key is proved. `None` when
    /// the link is closed. The peer is a stranger with small windows until [`Connection::welcome`] is called.
    pub async fn accept(&self) -> Option<Connection> {
        self.ready.lock().await.recv().await
    }

    /// What the link has seen.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let door = self.door.lock();
        let tally = door.tally();
        LinkStats {
            handshakes_accepted: tally.accepted,
            handshakes_retried: tally.retried,
            handshakes_refused: tally.refused,
            handshakes_under_way: door.under_way(),
            connections: self.endpoint.open_connections(),
        }
    }

    /// Closes every connection with a code and a reason, takes no more, and waits (for a bounded time) until the peers
    /// could hear of it.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.endpoint.close(code.into(), reason.as_bytes());
        if timeout(tuning::CLOSE_TIMEOUT, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some peers did not hear that the link closes; they will time out");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("listen", &self.endpoint.local_addr())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
