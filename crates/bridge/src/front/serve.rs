//! Connections of programs of this machine.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flush::{Flushing, Marks};

/// Connections at once: a request has one to itself until it is answered.
const CONNECTIONS_MAX: usize = 2048;
/// How long a request's head may take to come; an idle connection ends after it too.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const TLS_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers under way may take once it stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// Pause after `accept` failed, which a lack of file descriptors does many times in a row.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves fronts until `stopping` is cancelled and answers under way have had their time. The listener is loopback's: the caller sees to it.
pub async fn serve(listener: TcpListener, app: Router, stopping: CancellationToken) {
    serve_with(listener, None, app, stopping).await;
}

/// [`serve`], behind TLS where there is a certificate.
pub(crate) async fn serve_with(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    stopping: CancellationToken,
) {
    let (places, tasks) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a front cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(CONNECTIONS_MAX, "a connection to a front was refused: there are too many");
            continue;
        };
        // An event is for now.
        let _ = stream.set_nodelay(true);
        let (app, tls, stopping) = (app.clone(), tls.clone(), stopping.clone());
        tasks.spawn(async move {
            match tls {
                None => connection(stream, app, stopping).await,
                Some(tls) => match timeout(TLS_PATIENCE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, app, stopping).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                },
            }
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    let _ = tokio::time::timeout(DRAIN_PATIENCE, tasks.wait()).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    stopping: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let marks = Marks::default();
    let service = TowerToHyperService::new(app.layer(Extension(marks.clone())));
    let served = http.serve_connection(TokioIo::new(Flushing::new(stream, marks)), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to a front ended");
    }
}
