//! The gateway: people come with the token of a login, over HTTP, and what they ask is done under a transaction of theirs (contracts/gateway.md).
//!
//! ```text
//!   POST ─► route ─► bearer ─► the token service ─► transaction ─► a letter under it ─► its answer
//!            404      401        401, 403, 503                       403, 502, 504
//! ```

mod budget;
mod chat;
mod config;
mod letters;
mod login;
mod names;
mod person;
mod refusal;
mod services;
mod share;
mod strangers;
mod tasks;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, delete, get, post};
use nuncio::Agent;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bridge::Bridge;
use crate::config::ConfigError;
use crate::front::{Bounds, serve_with};
use budget::Book;
use chat::Provider;
use config::AgentRoute;
pub use config::{FILE, GatewayConfig};
pub use names::routes_to;
use person::People;
use refusal::Refusal;
use services::Services;
use tasks::Tasks;

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Certificate or key.
    #[error("[tls]: {0}")]
    Tls(String),
    /// How the provider is asked.
    #[error("[chat]: {0}")]
    Provider(String),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] nuncio::Error),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    listening: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

/// What every request is served with.
struct Inner {
    agent: Agent,
    people: People,
    agents: BTreeMap<String, AgentRoute>,
    chat: Option<Provider>,
    book: Book,
    services: Services,
    tasks: Tasks,
    stopping: CancellationToken,
}

type Served = Arc<Inner>;

impl Inner {
    /// Says which routes lead to nobody so far: such an agent may be added while the gateway runs.
    async fn miss_peers(&self) {
        let agents = self.agents.values().map(|route| route.peer.as_str());
        let named: BTreeSet<&str> = agents.chain(self.tasks.peers()).collect();
        for peer in named {
            if self.agent.resolve(peer).await.is_err() {
                tracing::warn!(
                    peer,
                    "gateway.toml names a peer that is not known here: its routes answer 503 until it is added"
                );
            }
        }
    }
}

impl GatewayConfig {
    /// Whether a gateway could start with it: what it names is there, and can be used. Nothing listens.
    ///
    /// # Errors
    /// Certificate, key, or how the provider is asked.
    pub fn check(self) -> Result<(), GatewayError> {
        self.tls.as_ref().map(tls::acceptor).transpose().map_err(GatewayError::Tls)?;
        self.chat.map(Provider::new).transpose().map_err(GatewayError::Provider)?;
        Ok(())
    }
}

impl Gateway {
    /// Listens, and serves until [`Gateway::stop`]. The agent has a trust domain: without one nobody is anybody.
    ///
    /// # Errors
    /// The address or the certificate.
    pub async fn start(agent: Agent, bridge: Arc<Bridge>, config: GatewayConfig) -> Result<Self, GatewayError> {
        let GatewayConfig { listen, tls, subject, login, agents, chat, tasks, budget, connections_per_source } = config;
        let tls = tls.as_ref().map(tls::acceptor).transpose().map_err(GatewayError::Tls)?;
        let chat = chat.map(Provider::new).transpose().map_err(GatewayError::Provider)?;
        let book = Book::open(agent.clone(), budget).await?;
        let tasks = Tasks::open(agent.clone(), tasks, tls.is_some()).await?;
        let listener = TcpListener::bind(listen).await.map_err(|error| GatewayError::Listen(listen, error))?;
        let listening = listener.local_addr().map_err(|error| GatewayError::Listen(listen, error))?;
        let stopping = CancellationToken::new();
        let people = People::new(agent.clone(), subject, login);
        let services = Services::new(bridge, stopping.clone()).map_err(|error| GatewayError::Listen(listen, error))?;
        let (own, bounds) = (stopping.clone(), Bounds::of_people(connections_per_source));
        let served = Arc::new(Inner { agent, people, agents, chat, book, services, tasks, stopping: own });
        served.miss_peers().await;
        tokio::spawn(Services::give_way(Arc::clone(&served)));
        let serving = tokio::spawn(serve_with(listener, tls, router(served), bounds, stopping.clone()));
        Ok(Self { listening, stopping, serving })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listening
    }

    /// Takes no new requests, ends waits, and returns when answers under way have had their time.
    pub async fn stop(self) {
        self.stopping.cancel();
        // It ends by itself; one that panicked has ended.
        let _ = self.serving.await;
    }
}

/// One endpoint. The table is held against the contract by a test.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "`to` says it to axum; the table says it to the test"))]
    method: &'static str,
    path: &'static str,
    to: fn() -> MethodRouter<Served>,
}

const ROUTES: &[Route] = &[
    Route { method: "get", path: login::PATH, to: || get(login::tell) },
    Route { method: "post", path: "/v1/agents/{name}/letters", to: || post(letters::answer) },
    Route { method: "post", path: "/v1/chat/completions", to: || post(chat::complete) },
    Route { method: "post", path: "/v1/mcp/{name}/{service}", to: || post(services::call) },
    Route { method: "get", path: "/v1/mcp/{name}/{service}", to: || get(services::call) },
    Route { method: "post", path: "/v1/a2a/{name}", to: || post(tasks::ask) },
    Route { method: "get", path: "/v1/a2a/{name}/.well-known/agent-card.json", to: || get(tasks::tell) },
    Route { method: "delete", path: "/v1/mcp/{name}/{service}", to: || delete(services::call) },
];

fn router(served: Served) -> Router {
    let table = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.to)()));
    let method =
        || async { Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path is asked with another method") };
    table.fallback(async || Refusal::nowhere()).method_not_allowed_fallback(method).with_state(served)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nuncio_contracts::openapi::{GATEWAY, operations};

    use super::ROUTES;

    #[test]
    fn the_gateway_s_routes_are_those_of_the_contract() {
        let served: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method)).collect();
        assert_eq!(served.len(), ROUTES.len(), "a route is listed twice");
        assert_eq!(served, operations(GATEWAY).map(|one| (one.path, one.method)).collect());
    }
}
