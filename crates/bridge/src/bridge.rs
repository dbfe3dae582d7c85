//! All of an agent's calls: what it serves, and the lines of its own programs.

use std::path::Path;
use std::sync::Arc;

use nuncio::{Agent, CallNews};
use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::caller::{AgentLine, Calling};
use crate::config::{ConfigError, Services};
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
        agent.serve_calls(!serving.is_empty()).await?;
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
        Ok(Self { agent, calling, serving, fronts, stopping, hears })
    }

    /// The fronts of this agent's connections.
    #[must_use]
    pub fn fronts(&self) -> &Fronts {
        &self.fronts
    }

    /// The line to a service of another agent.
    #[must_use]
    pub fn line(&self, to: AgentId, service: ServiceName) -> AgentLine {
        AgentLine::new(Arc::clone(&self.calling), to, service)
    }

    /// Follows the home's file of services as it stands now.
    ///
    /// # Errors
    /// It is not what this program reads: what was offered goes on.
    pub async fn reload(&self) -> Result<(), BridgeError> {
        self.serving.reload().await?;
        Ok(self.agent.serve_calls(!self.serving.is_empty()).await?)
    }

    /// Ends what is served, before the agent is shut down: what was handed over and has no answer is told as of unknown outcome.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.serving.stop().await;
        self.fronts.stopped().await;
        self.hears.abort();
    }
}
