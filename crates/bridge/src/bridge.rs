//! All of an agent's calls: what it serves, and the lines of its own programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nuncio::{Agent, CallNews, Knocked, Meant};
use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::Scope;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::caller::{AgentLine, Calling};
use crate::config::{self, ConfigError, Services};
use crate::fronts::Fronts;
use crate::serving::Serving;

/// Why calls are not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The file of services.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] nuncio::Error),
}

/// All of an agent's calls, while it runs. An agent has one.
pub struct Bridge {
    agent: Agent,
    calling: Arc<Calling>,
    serving: Arc<Serving>,
    fronts: Arc<Fronts>,
    stopping: CancellationToken,
    hears: JoinHandle<()>,
    lets_in: JoinHandle<()>,
}

impl Bridge {
    /// Whether a home offers services: its agent is then opened with [`nuncio::Config::serve_calls`], so that it takes calls from its start on.
    ///
    /// # Errors
    /// The file is not what this program reads.
    pub fn offers(home: &Path) -> Result<bool, ConfigError> {
        Ok(Services::load(home)?.iter().next().is_some())
    }

    /// Starts what the home offers and the fronts of its connections, and hears what comes.
    ///
    /// # Errors
    /// The file of services, or that of connections, is not what this program reads; the agent stops.
    pub async fn start(agent: Agent, home: &Path) -> Result<Self, BridgeError> {
        let serving = Serving::start(agent.clone(), home)?;
        let calling = Calling::new(agent.clone());
        serve(&agent, &serving).await?;
        let lets_in = tokio::spawn(let_in(agent.clone(), home.to_owned(), Arc::clone(&serving)));
        let mut watch = agent.calls().await?;
        let (to_serve, to_call) = (Arc::clone(&serving), Arc::clone(&calling));
        let hears = tokio::spawn(async move {
            // Until the agent has stopped.
            while let Ok(news) = watch.next().await {
                match &news {
                    CallNews::Came(called) if !called.own => to_serve.note(called),
                    _ => to_call.note(&news),
                }
            }
        });
        let stopping = CancellationToken::new();
        let fronts = Fronts::start(home, Arc::clone(&calling), stopping.clone())?;
        Ok(Self { agent, calling, serving, fronts, stopping, hears, lets_in })
    }

    /// The fronts of this agent's connections.
    #[must_use]
    pub fn fronts(&self) -> &Fronts {
        &self.fronts
    }

    /// The line to a service of another agent.
    #[must_use]
    pub fn line(&self, to: AgentId, service: ServiceName) -> AgentLine {
        let standing = self.fronts.standing(&to, &service);
        AgentLine::new(Arc::clone(&self.calling), to, service, standing)
    }

    /// Follows the home's file of services as it stands now.
    ///
    /// # Errors
    /// It is not what this program reads: what was offered goes on.
    pub async fn reload(&self) -> Result<(), BridgeError> {
        self.serving.reload().await?;
        Ok(serve(&self.agent, &self.serving).await?)
    }

    /// Ends what is served, before the agent is shut down: what was handed over and has no answer is told as of unknown outcome.
    pub async fn stop(&self) {
        self.lets_in.abort();
        self.stopping.cancel();
        self.serving.stop().await;
        self.fronts.stopped().await;
        self.hears.abort();
    }
}

/// Who offers something takes calls, and hears who would be let in.
async fn serve(agent: &Agent, serving: &Serving) -> Result<(), nuncio::Error> {
    let yes = !serving.is_empty();
    agent.serve_calls(yes).await?;
    agent.hear_knocks(yes).await
}

/// Writes down what those may who were let in by an invitation (contracts/call.md X30).
async fn let_in(agent: Agent, home: PathBuf, serving: Arc<Serving>) {
    let Ok(mut bell) = agent.knock_bell().await else { return };
    loop {
        let Ok(knocks) = agent.knocks().await else { return };
        for Knocked { by, let_in, .. } in knocks {
            let Some(Meant { service, scope }) = let_in else { continue };
            let noted = match &service {
                Some(service) => note(&home, service, &by, &scope),
                None => Ok(()),
            };
            let noted = match noted {
                Ok(()) => serving.reload().await,
                Err(error) => Err(error),
            };
            match noted {
                Ok(()) => drop(agent.admit(by).await),
                Err(error) => {
                    tracing::error!(%error, peer = %by, "it has an invitation, and what it may cannot be written down: it is not let in")
                }
            }
        }
        if bell.changed().await.is_err() {
            return;
        }
    }
}

/// Adds to what a peer may of a service.
fn note(home: &Path, service: &ServiceName, by: &AgentId, scope: &Scope) -> Result<(), ConfigError> {
    let services = Services::load(home)?;
    // A service that is offered no more: nothing is to be had of it.
    let Some(offered) = services.get(service) else { return Ok(()) };
    let all = offered.agents.get(by).map_or_else(|| scope.clone(), |held| held.union(scope));
    config::allow(home, service, &by.to_string(), &all.iter().map(str::to_owned).collect::<Vec<_>>())
}
