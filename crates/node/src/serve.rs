//! The doors: TCP, QUIC, the owner's socket. One router behind all.

mod deposits;
mod guests;
mod quic;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nuncio_contracts::registry::limit;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::Door;
use crate::error::NodeError;
use crate::limits::Places;
use crate::service::Service;

pub(crate) use quic::serve_quic;
pub(crate) use tls::acceptor;

/// Pause after `accept` failed, which a lack of file descriptors does many times in a row.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all doors lead to.
#[derive(Clone)]
pub(crate) struct Hall {
    pub(crate) router: Router,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// How long the head of a request may take to come, and an answer may lie without a byte of it being taken.
    pub(crate) patience: Duration,
}

impl Hall {
    /// Serves one connection, or one QUIC stream, until it or the node ends (contracts/txts.md N35).
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, door: Door) {
        let app = self.router.clone().layer(Extension(door));
        let mut http = http1::Builder::new();
        // Whoever ends its half behind a request still hears the answer (contracts/transport.md T20).
        http.timer(TokioTimer::new()).header_read_timeout(self.patience).half_close(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience));
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(app));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Serves TCP, with TLS where there is a certificate.
pub(crate) async fn serve_tcp(listener: TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>, hall: Hall) {
    let places = Places::new(limit::NODE_CONNECTIONS_MAX);
    loop {
        let accepted = tokio::select! {
            () = hall.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let source = from.ip().to_canonical();
        let Some(place) = places.take(source, service.policy().service.connections_per_source) else {
            tracing::warn!(%from, "a connection was refused: there are too many");
            continue;
        };
        // An answer is one small write: waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        let (tls, own) = (tls.clone(), hall.clone());
        hall.tasks.spawn(async move {
            let door = Door::Tcp { from: source };
            match tls {
                None => own.serve(stream, door).await,
                Some(tls) => match timeout(own.patience, tls.accept(stream)).await {
                    Ok(Ok(stream)) => own.serve(stream, door).await,
                    Ok(Err(error)) => tracing::debug!(%from, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(%from, "a TLS handshake took too long"),
                },
            }
            drop(place);
        });
    }
}

/// Binds TCP; without TLS on loopback alone (contracts/txts.md N32).
pub(crate) async fn bind_tcp(address: SocketAddr, has_tls: bool) -> Result<TcpListener, NodeError> {
    if !has_tls && !address.ip().to_canonical().is_loopback() {
        return Err(NodeError::PlainTcp(address));
    }
    TcpListener::bind(address).await.map_err(NodeError::io("listen on", address))
}

/// Binds the owner's socket. The caller holds the home's lock, so a socket that lies there is a dead one's; the home is its owner's
/// alone, so nobody meets the socket before its mode is set.
pub(crate) fn bind_owner(path: &Path) -> Result<UnixListener, NodeError> {
    let failed = || NodeError::io("listen on", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
    Ok(listener)
}

/// Serves the owner.
pub(crate) async fn serve_owner(listener: UnixListener, hall: Hall) {
    loop {
        tokio::select! {
            () = hall.closing.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let own = hall.clone();
                    hall.tasks.spawn(async move { own.serve(stream, Door::Owner).await });
                }
                Err(error) => pause(&error).await,
            },
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection cannot be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// contracts/txts.md N34.
    #[tokio::test]
    async fn whoever_takes_nothing_of_its_answers_loses_its_place() {
        let hall = Hall {
            router: Router::new().route("/", get(async || "x".repeat(4_096))),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            patience: Duration::from_millis(100),
        };
        let (mut stream, served) = tokio::io::duplex(1_024);
        stream.write_all(&b"GET / HTTP/1.1\r\nhost: node\r\n\r\n".repeat(8)).await.unwrap();
        // The stream is held, and nothing is read of it.
        let ended = timeout(Duration::from_secs(20), hall.serve(served, Door::Owner)).await;
        assert!(ended.is_ok(), "it holds its place still");
        drop(stream);
    }
}
