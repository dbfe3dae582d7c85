//! The sockets of the local API.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nuncio::Agent;
use nuncio_bridge::{Bridge, Flushing, Marks, Room};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::guard::{self, Guard};
use super::{Door, Served, router};
use crate::failure::Failure;

/// The Unix socket's name in the home.
pub(crate) const SOCKET: &str = "api.sock";
/// The token file's name in the home.
pub(crate) const TOKEN: &str = "api.token";

/// Connections at once, on each door.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take to come; an idle connection ends after it too.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long answers under way may take once the agent stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// Pause after `accept` failed, which a lack of file descriptors does many times in a row.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The local API while it is served.
pub(crate) struct LocalApi {
    /// The Unix socket.
    pub(crate) socket: PathBuf,
    /// The loopback address, if one was asked for.
    pub(crate) tcp: Option<SocketAddr>,
    token: Option<PathBuf>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl LocalApi {
    /// Serves an agent. The caller holds the home's lock, so a socket that lies there is a dead one's.
    pub(crate) async fn start(
        agent: Agent,
        bridge: Arc<Bridge>,
        home: &Path,
        tcp: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let closing = CancellationToken::new();
        let (bridge, room) = (Some(bridge), Room::default());
        let app =
            router(Served { agent, home: home.into(), bridge, room, closing: closing.clone(), naming: Arc::default() });
        let tasks = TaskTracker::new();
        let socket = home.join(SOCKET);
        let listener = bind_private(home, &socket)?;
        let own = app.clone().layer(Extension(Door::Own));
        let accept = async move || listener.accept().await.map(|(stream, _)| stream);
        tasks.spawn(Doorway::new(own, &closing, &tasks).take_all(accept));
        let mut api = Self { socket, tcp: None, token: None, closing, tasks };
        if let Some(address) = tcp {
            api.open_tcp(address, app, home).await?;
        }
        Ok(api)
    }

    async fn open_tcp(&mut self, address: SocketAddr, app: Router, home: &Path) -> Result<(), Failure> {
        let listener = TcpListener::bind(address).await.map_err(Failure::io("listen on", address.to_string()))?;
        let address = listener.local_addr().map_err(Failure::io("listen on", address.to_string()))?;
        let path = home.join(TOKEN);
        let guard = Guard::new(address, new_token(&path)?);
        let app = app.layer(Extension(Door::Tcp)).layer(middleware::from_fn_with_state(guard, guard::stand));
        let accept = async move || listener.accept().await.map(|(stream, _)| stream);
        self.tasks.spawn(Doorway::new(app, &self.closing, &self.tasks).take_all(accept));
        (self.tcp, self.token) = (Some(address), Some(path));
        Ok(())
    }

    /// Takes no new requests, ends waits, lets answers finish, and removes what it left in the home.
    pub(crate) async fn stop(self) {
        self.closing.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(DRAIN_PATIENCE, self.tasks.wait()).await;
        for path in self.token.iter().chain([&self.socket]) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "not removed");
            }
        }
    }
}

/// A socket that is private before anybody can find it: made inside a directory that only its owner enters, then moved out of it.
fn bind_private(home: &Path, socket: &Path) -> Result<UnixListener, Failure> {
    let nursery = home.join(".api");
    let hatched = nursery.join("s");
    let failed = || Failure::io("listen on", socket);
    remove_if_there(&hatched).map_err(failed())?;
    if !nursery.is_dir() {
        DirBuilder::new().mode(0o700).create(&nursery).map_err(failed())?;
    }
    let listener = UnixListener::bind(&hatched).map_err(failed())?;
    fs::set_permissions(&hatched, Permissions::from_mode(0o600)).map_err(failed())?;
    fs::rename(&hatched, socket).map_err(failed())?;
    fs::remove_dir(&nursery).map_err(failed())?;
    Ok(listener)
}

/// A new token in a file that only its owner reads.
fn new_token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = || Failure::io("write", path);
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| failed()(io::Error::other(error)))?;
    let token = Zeroizing::new(data_encoding::HEXLOWER.encode(bytes.as_slice()));
    remove_if_there(path).map_err(failed())?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed())?;
    file.write_all(token.as_bytes()).map_err(failed())?;
    Ok(token)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What every connection of one door gets.
struct Doorway {
    app: Router,
    places: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Doorway {
    fn new(app: Router, closing: &CancellationToken, tasks: &TaskTracker) -> Self {
        Self { app, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), closing: closing.clone(), tasks: tasks.clone() }
    }

    /// Takes connections until the door closes.
    async fn take_all<S>(self, accept: impl AsyncFn() -> io::Result<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = accept() => match accepted {
                    Ok(stream) => self.take(stream),
                    Err(error) => {
                        tracing::warn!(%error, "the local API cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Serves a connection in a task of its own; one too many is closed at once.
    fn take(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(CONNECTIONS_MAX, "a connection to the local API was refused: there are too many");
            return;
        };
        let (app, closing) = (self.app.clone(), self.closing.clone());
        self.tasks.spawn(async move {
            serve(stream, app, closing).await;
            drop(place);
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, closing: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let marks = Marks::default();
    let service = TowerToHyperService::new(app.layer(Extension(marks.clone())));
    let connection = http.serve_connection(TokioIo::new(Flushing::new(stream, marks)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the local API ended");
    }
}
