//! The fronts of an agent's connections: one address of this machine, a path for each.
//!
//! ```text
//!   http://127.0.0.1:PORT/NAME/SECRET ─▶ Front of NAME ─▶ its line
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use nuncio::Transaction;
use nuncio_proto::call::ServiceName;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as Turn, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{AgentLine, Calling};
use crate::config::ConfigError;
use crate::connections::{Connection, Connections, Seed, Wants, checked, secret};
use crate::front::fault::Fault;
use crate::front::guard::{hosts, is_here};
use crate::front::{Front, Guard, now, serve};
use crate::hooks::{self, Hooks};
use crate::under::{Standing, kept};

/// A token that lives shorter than this is renewed.
const RENEWED_BEFORE_MS: u64 = 60_000;
/// Before a port that was taken is tried again.
const TAKEN_PAUSE: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotConnected {
    /// The name is another's.
    #[error("{0} is the name of another connection: choose one with --name")]
    Name(ServiceName),
    /// The service has a connection of another name.
    #[error("that service is connected as {0}: `nuncio disconnect {0}` first")]
    Connected(ServiceName),
    /// The file.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// An address of a client is none.
    #[error("{0}")]
    Webhook(&'static str),
    /// No port of this machine can be had.
    #[error("no port of this machine can be had: {0}")]
    Port(io::Error),
}

/// The fronts, while the agent runs.
pub struct Fronts {
    home: PathBuf,
    calling: Arc<Calling>,
    hooks: Arc<Hooks>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// Who changes the file, one after the other.
    turn: Turn<()>,
    state: Arc<Mutex<Open>>,
    changes: watch::Sender<()>,
}

/// What is open now.
#[derive(Default)]
struct Open {
    connections: Connections,
    fronts: HashMap<ServiceName, Opened>,
    /// Why programs cannot reach them now.
    problem: Option<String>,
    listens: bool,
}

#[derive(Clone)]
struct Opened {
    front: Front<AgentLine>,
    standing: Standing,
    ending: CancellationToken,
}

impl Fronts {
    /// Opens what the home's file names. A port that is taken is waited for; everything else goes on.
    ///
    /// # Errors
    /// The file is not what this program writes.
    pub(crate) fn start(
        home: &Path,
        calling: Arc<Calling>,
        stopping: CancellationToken,
    ) -> Result<Arc<Self>, ConfigError> {
        let connections = Connections::load(home)?;
        hooks::forget(home, |name| !connections.all.keys().any(|known| known.as_str() == name))?;
        let fronts = Arc::new(Self {
            home: home.to_owned(),
            calling,
            hooks: Hooks::load(home)?,
            stopping,
            tasks: TaskTracker::new(),
            turn: Turn::default(),
            state: Arc::default(),
            changes: watch::Sender::default(),
        });
        fronts.tasks.spawn(kept(Arc::downgrade(&fronts), fronts.stopping.clone()));
        if let (Some(port), false) = (connections.port, connections.all.is_empty()) {
            fronts.take(connections, port);
        }
        Ok(fronts)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // What it guards stays whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All connections, and why programs cannot reach them now, if so.
    #[must_use]
    pub fn connections(&self) -> (Connections, Option<String>) {
        let open = self.open();
        (open.connections.clone(), open.problem.clone())
    }

    /// Tells when there may be a connection that was not there before.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Connects a service: from here on programs reach it, also after a restart. One that is connected stays as it is, but for the transaction in which its
    /// messages act, where one is named.
    ///
    /// # Errors
    /// The name is another's, the file cannot be written, or there is no port.
    pub async fn connect(
        &self,
        name: Option<ServiceName>,
        peer: AgentId,
        service: ServiceName,
        wants: Wants,
    ) -> Result<ServiceName, NotConnected> {
        let _mine = self.turn.lock().await;
        let (name, connections) = connected(&self.home, name, peer, service, wants)?;
        if let Some(port) = connections.port {
            self.take(connections, port);
        }
        Ok(name)
    }

    /// Ends one: its address answers no more. `false`: there is none of that name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn disconnect(&self, name: &ServiceName) -> Result<bool, ConfigError> {
        let _mine = self.turn.lock().await;
        let was = disconnected(&self.home, name)?;
        let opened = {
            let mut open = self.open();
            open.connections.all.remove(name);
            open.fronts.remove(name)
        };
        if let Some(opened) = opened {
            opened.ending.cancel();
            opened.front.end_hooks().await;
        }
        Ok(was)
    }

    /// Opens the fronts of connections that have none, and the address.
    fn take(&self, connections: Connections, port: u16) {
        let mut open = self.open();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for (_, ended) in open.fronts.extract_if(|name, _| !connections.all.contains_key(name)) {
            ended.ending.cancel();
            self.tasks.spawn(async move { ended.front.end_hooks().await });
        }
        for (name, connection) in &connections.all {
            match open
                .fronts
                .get(name)
                .filter(|_| open.connections.all.get(name).is_some_and(|was| was.is_as(connection)))
            {
                // What is under way goes on.
                Some(known) => {
                    known.standing.set(connection.under.clone());
                    known.front.allow_hooks(&connection.webhooks);
                }
                None => {
                    let opened = self.front(address, name, connection, connections.signer());
                    open.fronts.insert(name.clone(), opened).into_iter().for_each(|old| old.ending.cancel());
                }
            }
        }
        open.connections = connections;
        self.changes.send_replace(());
        if !open.listens {
            open.listens = true;
            let app = Router::new().fallback(any(answer)).with_state(Arc::clone(&self.state));
            self.tasks.spawn(listen(address, app, Arc::clone(&self.state), self.stopping.clone()));
        }
    }

    fn front(
        &self,
        address: SocketAddr,
        name: &ServiceName,
        connection: &Connection,
        signer: Option<SigningKey>,
    ) -> Opened {
        let standing = Standing::new(connection.under.clone());
        let calling = Arc::clone(&self.calling);
        let line = AgentLine::new(calling, connection.peer, connection.service.clone(), standing.clone());
        let guard = Guard::new(address, Some(name.clone()), connection.secret.clone());
        let ending = self.stopping.child_token();
        let hooks = self.hooks.of(name.as_str(), &connection.webhooks, ending.clone());
        hooks.hear_all(&line);
        Opened { front: Front::serving(line, guard, ending.clone(), signer, Some(hooks)), standing, ending }
    }

    /// The transaction that the connection to a service names, as it stands now and later.
    pub(crate) fn standing(&self, peer: &AgentId, service: &ServiceName) -> Standing {
        let open = self.open();
        let opened = open.connections.to(peer, service).and_then(|(name, _)| open.fronts.get(name));
        opened.map(|opened| opened.standing.clone()).unwrap_or_default()
    }

    /// Renews what connections name before it is over.
    // contracts/call.md X44.
    pub(crate) async fn renew(&self) {
        let due = |one: &Connection| one.under.clone().filter(is_due);
        let due: Vec<_> =
            self.open().connections.iter().filter_map(|(name, one)| Some((name.clone(), due(one)?))).collect();
        for (name, former) in due {
            match self.calling.renewed(&former).await {
                Ok(fresh) if fresh.token() != former.token() => self.renewed(&name, &former, fresh).await,
                Ok(_) => {}
                Err(error) => tracing::info!(%name, %error, "the transaction of a connection is not renewed"),
            }
        }
    }

    /// Keeps a connection's transaction with a fresh token, if it is still the one that it names.
    async fn renewed(&self, name: &ServiceName, former: &Transaction, fresh: Transaction) {
        let _mine = self.turn.lock().await;
        let kept = Connections::load(&self.home).and_then(|mut connections| {
            let one = connections.all.get_mut(name).filter(|one| one.under.as_ref() == Some(former));
            let Some(one) = one else { return Ok(()) };
            one.under = Some(fresh);
            connections.save(&self.home)?;
            connections.port.into_iter().for_each(|port| self.take(connections.clone(), port));
            Ok(())
        });
        if let Err(error) = kept {
            tracing::warn!(%name, %error, "a fresh token cannot be kept");
        }
    }

    /// Returns when answers under way have had their time, once the agent's stop was said.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Writes a connection into a home's file; its name, and all of them. For a home whose agent does not run, or for the agent.
///
/// # Errors
/// As [`Fronts::connect`].
pub fn connected(
    home: &Path,
    name: Option<ServiceName>,
    peer: AgentId,
    service: ServiceName,
    Wants { under, webhooks }: Wants,
) -> Result<(ServiceName, Connections), NotConnected> {
    let webhooks = checked(webhooks).map_err(NotConnected::Webhook)?;
    let mut connections = Connections::load(home)?;
    if connections.seed.is_none() {
        connections.seed = Some(Seed::new().map_err(NotConnected::Port)?);
        connections.save(home)?;
    }
    if let Some((known, _)) = connections.to(&peer, &service) {
        let known = known.clone();
        if name.is_some_and(|other| other != known) {
            return Err(NotConnected::Connected(known));
        }
        let more = under.is_some() || !webhooks.is_empty();
        if let Some(one) = connections.all.get_mut(&known).filter(|_| more) {
            one.under = under.or(one.under.take());
            one.webhooks.extend(webhooks);
            connections.save(home)?;
        }
        return Ok((known, connections));
    }
    let name = name.unwrap_or_else(|| service.clone());
    if connections.all.contains_key(&name) {
        return Err(NotConnected::Name(name));
    }
    if connections.port.is_none() {
        connections.port = Some(free_port().map_err(NotConnected::Port)?);
    }
    let secret = secret().map_err(NotConnected::Port)?;
    connections.all.insert(name.clone(), Connection { peer, service, secret, under, webhooks });
    connections.save(home)?;
    Ok((name, connections))
}

/// Takes a connection out of a home's file, with what is kept of it; `false` where there is none.
///
/// # Errors
/// The file cannot be read or written.
pub fn disconnected(home: &Path, name: &ServiceName) -> Result<bool, ConfigError> {
    let mut connections = Connections::load(home)?;
    let was = connections.all.remove(name).is_some();
    if was {
        connections.save(home)?;
    }
    // An agent that runs has its own in memory, and tells the other side of them.
    hooks::forget(home, |of| of == name.as_str())?;
    Ok(was)
}

/// Whether it is renewed now: it has time left for some tries.
fn is_due(transaction: &Transaction) -> bool {
    let left = transaction.expires().0.saturating_sub(now().0);
    (1..RENEWED_BEFORE_MS).contains(&left)
}

/// One that nobody listens on now; it is kept from here on.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Serves the address; while another has it, waits and says so.
async fn listen(address: SocketAddr, app: Router, state: Arc<Mutex<Open>>, stopping: CancellationToken) {
    let tell = |problem: Option<String>| {
        state.lock().unwrap_or_else(PoisonError::into_inner).problem = problem;
    };
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tell(None);
                return serve(listener, app, stopping).await;
            }
            Err(error) => {
                if !told {
                    tracing::warn!(%address, %error, "connections are not served over HTTP: another program has their port; \
                        `nuncio mcp` serves them all the same");
                }
                told = true;
                tell(Some(format!("{address}: {error}")));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TAKEN_PAUSE) => {}
            () = stopping.cancelled() => return,
        }
    }
}

async fn answer(State(state): State<Arc<Mutex<Open>>>, request: Request) -> Response {
    let front = {
        let open = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(fault) = is_here(&hosts(open.connections.port.unwrap_or_default()), request.headers()) {
            return fault.response(None);
        }
        let name = request.uri().path().split('/').nth(1);
        name.and_then(|name| open.fronts.get(&name.parse::<ServiceName>().ok()?)).map(|opened| opened.front.clone())
    };
    match front {
        Some(front) => front.answer(request).await,
        None => Fault::malformed("nothing is served under this address").with(StatusCode::NOT_FOUND).response(None),
    }
}

#[cfg(test)]
mod tests;
