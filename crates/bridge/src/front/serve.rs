//! Connections of programs of this machine, and of people at a gateway.

use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nuncio_contracts::registry::{limit, time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flush::{Flushing, Marks};
use super::places::{Address, Places};

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
/// Between two lines of the log about connections that are refused.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What one connection may have of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    connections: usize,
    per_source: usize,
    head: Duration,
    head_len: Option<usize>,
    /// How long an answer may lie without a byte of it being taken.
    write: Option<Duration>,
}

impl Bounds {
    /// Of programs of this machine.
    const HERE: Self = Self {
        connections: CONNECTIONS_MAX,
        per_source: CONNECTIONS_MAX,
        head: HEAD_PATIENCE,
        head_len: None,
        write: None,
    };

    /// Of whoever comes, so many of them from one address.
    // contracts/gateway.md W40.
    pub(crate) const fn of_people(per_source: usize) -> Self {
        Self {
            connections: limit::GATEWAY_CONNECTIONS_MAX,
            per_source,
            head: Duration::from_millis(time::GATEWAY_HEAD_PATIENCE),
            head_len: Some(limit::GATEWAY_HEAD_MAX),
            write: Some(Duration::from_millis(time::GATEWAY_WRITE_PATIENCE)),
        }
    }
}

/// Serves fronts until `stopping` is cancelled and answers under way have had their time. The listener is loopback's: the caller sees to it.
pub async fn serve(listener: TcpListener, app: Router, stopping: CancellationToken) {
    serve_with(listener, None, app, Bounds::HERE, stopping).await;
}

/// [`serve`] within bounds, and behind TLS where there is a certificate.
pub(crate) async fn serve_with(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    bounds: Bounds,
    stopping: CancellationToken,
) {
    let (places, tasks) = (Places::new(bounds.connections, bounds.per_source), TaskTracker::new());
    let (mut refused, ended) = (Refused::default(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a front cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let source = Address::of(from.ip());
        let Some(place) = places.take(source) else {
            refused.note();
            continue;
        };
        // An event is for now.
        let _ = stream.set_nodelay(true);
        let one = One { app: app.clone().layer(Extension(source)), bounds, stopping: stopping.clone() };
        let (tls, ended) = (tls.clone(), ended.clone());
        tasks.spawn(async move {
            let _ = ended.run_until_cancelled(one.serve(stream, tls)).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    if timeout(DRAIN_PATIENCE, tasks.wait()).await.is_err() {
        ended.cancel();
        tasks.wait().await;
    }
}

/// Connections for which there was no place.
#[derive(Debug, Default)]
struct Refused {
    since: u64,
    told: Option<Instant>,
}

impl Refused {
    /// Says so once in a while: how many come is not ours to say.
    fn note(&mut self) {
        self.since = self.since.saturating_add(1);
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            tracing::warn!(refused = self.since, "connections to a front are refused: there are too many");
            *self = Self { since: 0, told: Some(Instant::now()) };
        }
    }
}

/// One connection.
struct One {
    app: Router,
    bounds: Bounds,
    stopping: CancellationToken,
}

impl One {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else { return self.http(stream).await };
        match timeout(TLS_PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { app, bounds, stopping } = self;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
        if let Some(len) = bounds.head_len {
            http.max_buf_size(len);
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(bounds.write);
        let marks = Marks::default();
        let service = TowerToHyperService::new(app.layer(Extension(marks.clone())));
        let served = http.serve_connection(TokioIo::new(Flushing::new(Box::pin(stream), marks)), service);
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
}

#[cfg(test)]
mod tests;
