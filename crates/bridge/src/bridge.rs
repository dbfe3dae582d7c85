//! All of an agent's calls: what it serves, and the lines of its own programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nuncio::{Agent, CallNews, Knocked, Meant};
use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::caller::{AgentLine, Calling};
use crate::config::{self, ConfigError, Services};
use crate::fronts::Fronts;
use crate::native::{self, Natives};
use crate::serving::Serving;

/// A session to which no program of this machine has listened for so long is over, and how often that is looked at.
const FORSAKEN: Duration = Duration::from_hours(24);
const FORSAKEN_EVERY: Duration = Duration::from_mins(10);

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
        Self::start_with(agent, home, Natives::default()).await
    }

    /// [`Bridge::start`] of a program that serves some itself.
    ///
    /// # Errors
    /// As [`Bridge::start`]; what is `native` in the file is not among these.
    pub async fn start_with(agent: Agent, home: &Path, natives: Natives) -> Result<Self, BridgeError> {
        let serving = Serving::start(agent.clone(), home, natives)?;
        let calling = Calling::new(agent.clone());
        if says_what_is_offered(home) {
            forget(&agent, |service| serving.offers(service)).await?;
        }
        agent.admit_calls(Serving::admission(&serving)).await?;
        serve(&agent, &serving).await?;
        let lets_in = tokio::spawn(let_in(agent.clone(), home.to_owned(), Arc::clone(&serving)));
        let mut removed = agent.removed_peers().await?;
        let mut watch = agent.calls().await?;
        let (to_serve, to_call) = (Arc::clone(&serving), Arc::clone(&calling));
        let hears = tokio::spawn(async move {
            // Until the agent has stopped. What comes of a peer that is one again comes behind its removal.
            loop {
                tokio::select! {
                    biased;
                    Some(agent) = removed.recv() => to_serve.end_peer(&agent),
                    news = watch.next() => match news {
                        Ok(CallNews::Came(called)) if !called.own => to_serve.note(*called),
                        Ok(news) => to_call.note(news),
                        Err(_) => return,
                    },
                }
            }
        });
        let stopping = CancellationToken::new();
        tokio::spawn(Arc::clone(&calling).end_forsaken(FORSAKEN, FORSAKEN_EVERY, stopping.clone()));
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

    /// A new session of MCP with a service of another agent, as a stream of lines: the transport of an SDK's client in this program. The session ends with
    /// it.
    #[must_use]
    pub fn mcp(&self, to: AgentId, service: ServiceName) -> DuplexStream {
        native::call(self.line(to, service), self.stopping.child_token())
    }

    /// Follows the home's file of services as it stands now.
    ///
    /// # Errors
    /// It is not what this program reads: what was offered goes on.
    pub async fn reload(&self) -> Result<(), BridgeError> {
        self.serving.reload().await?;
        forget(&self.agent, |service| self.serving.offers(service)).await?;
        Ok(serve(&self.agent, &self.serving).await?)
    }

    /// A peer goes: what it may by its name and its identity it may no more, whatever the file says ([`forget_peer`](crate::forget_peer)). Of the file nothing is
    /// followed.
    // contracts/local-api.md A26.
    pub fn forget_peer(&self, agent: &AgentId, name: Option<&str>) {
        self.serving.forget_agent(agent);
        name.into_iter().for_each(|name| self.serving.forget_name(name));
    }

    /// A peer is called otherwise now: nobody may what it could under its name before.
    // contracts/local-api.md A26.
    pub fn forget_name(&self, former: &str) {
        self.serving.forget_name(former);
    }

    /// A peer is about to be called otherwise: what may be done under its name may be done under the other too, where nothing is said of that one. Of which
    /// services that is.
    // contracts/local-api.md A26.
    #[must_use]
    pub fn copy_name(&self, former: &str, name: &str) -> Vec<ServiceName> {
        self.serving.copy_name(former, name)
    }

    /// It is not called so after all: [`Bridge::copy_name`] is undone, of these services.
    pub fn uncopy_name(&self, name: &str, of: &[ServiceName]) {
        self.serving.uncopy_name(name, of);
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

/// Of what the home's file offers no more no line lets in, and no permit counts: of an agent whose services do not run ([`Bridge::reload`] of one
/// whose do).
///
/// # Errors
/// The file is not what this program reads; the agent stops.
pub async fn forget_withdrawn(agent: &Agent, home: &Path) -> Result<(), BridgeError> {
    let services = Services::load(home)?;
    if !says_what_is_offered(home) {
        return Ok(());
    }
    Ok(forget(agent, |service| services.get(service).is_some()).await?)
}

/// A home without the file does not say that anything was withdrawn: it was restored without it, or never offered.
fn says_what_is_offered(home: &Path) -> bool {
    home.join(config::FILE).exists()
}

/// Lines and permits for what is offered no more: offered again under that name, it is another service.
// contracts/permit.md P16.
async fn forget(agent: &Agent, offers: impl Fn(&ServiceName) -> bool) -> Result<(), nuncio::Error> {
    for line in agent.lines().await? {
        if line.meant.service.is_some_and(|service| !offers(&service)) {
            agent.revoke_line(line.id).await?;
        }
    }
    let me = agent.id();
    let permits = agent.permits().await?;
    let gone = permits.iter().filter(|permit| *permit.giver() == me && !offers(permit.service()));
    // What was handed on stands below it.
    let given: BTreeSet<_> = gone.filter_map(|permit| permit.links().next()).map(|link| link.id()).collect();
    for link in given {
        tracing::info!(%link, "a permit is revoked: its service is offered no more");
        agent.revoke_permit(link).await?;
    }
    Ok(())
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
                Some(service) => config::allow_also(&home, service, &by, &scope),
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
