//! What is said of a peer goes with the peer (contracts/local-api.md A26).
//!
//! ```text
//!   another name: copied to it, in the file and in force ─► the agent calls it so ─► the former is taken out of both
//!   removed:      taken out of both ─► the agent removes it
//! ```
//! Cut short nobody may more than before. The same asked again goes on, but for the last arrow: what is said of the former name stays in the file then,
//! and whoever gives that name to an agent is told.

use std::future::Future;

use axum::http::StatusCode;
use nuncio::AgentId;
use nuncio_proto::call::ServiceName;

use super::Served;
use super::refused::Refused;

/// Does it one after the other, and to its end, also where the client goes.
pub(super) async fn in_turn<T: Send + 'static>(
    served: &Served,
    done: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    let turn = std::sync::Arc::clone(&served.naming);
    let whole = tokio::spawn(async move {
        let _turn = turn.lock().await;
        done.await
    });
    let broken = |_| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "it was broken off");
    whole.await.map_err(broken)?
}

/// Gives an agent a name: what may be done under its former one an agent may under its new one, and nobody under the former.
// contracts/local-api.md A26.
pub(super) async fn named<T>(
    served: &Served,
    agent: AgentId,
    name: Option<&str>,
    give: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let Some((former, name)) = former(served, &agent, name).await? else { return give.await };
    let copied = Copied::make(served, &former, name).await?;
    let given = give.await;
    // It may be called so although not all went well.
    if called(served, &agent).await?.as_deref() != Some(name) {
        let undone = copied.undo(served, name);
        let given = given?;
        return undone.map(|()| given);
    }
    if let Some(bridge) = &served.bridge {
        bridge.forget_name(&former);
    }
    let forgotten = nuncio_bridge::forget_peer(&served.home, &[&former]);
    let given = given?;
    forgotten.map_err(|error| {
        let done = format!("it is called {name} now; what services.toml says of {former} is still there");
        Refused::from(error).behind(&done)
    })?;
    Ok(given)
}

/// Nothing that was said of an agent is there for whoever gets its name. In force is nothing of it either way.
///
/// # Errors
/// The file stays as it is.
// contracts/local-api.md A26.
pub(super) fn forget(served: &Served, agent: &AgentId, name: Option<&str>) -> Result<(), Refused> {
    let did = agent.to_string();
    let spellings: Vec<&str> = std::iter::once(did.as_str()).chain(name).collect();
    let forgotten = nuncio_bridge::forget_peer(&served.home, &spellings);
    // Behind the file: one that is being followed was read before, or says nothing of it.
    if let Some(bridge) = &served.bridge {
        bridge.forget_peer(agent, name);
    }
    forgotten.map(drop).map_err(Refused::from)
}

/// What an agent is called that is to be called otherwise, and how.
async fn former<'a>(
    served: &Served,
    agent: &AgentId,
    name: Option<&'a str>,
) -> Result<Option<(String, &'a str)>, Refused> {
    let Some(name) = name else { return Ok(None) };
    let former = called(served, agent).await?.filter(|former| former != name);
    Ok(former.map(|former| (former, name)))
}

async fn called(served: &Served, agent: &AgentId) -> Result<Option<String>, Refused> {
    Ok(served.agent.peers().await?.into_iter().find(|peer| peer.agent == *agent).and_then(|peer| peer.name))
}

/// Of which services something is said of the new name now, in the file and in force.
#[derive(Default)]
struct Copied {
    file: Vec<String>,
    force: Vec<ServiceName>,
}

impl Copied {
    async fn make(served: &Served, former: &str, name: &str) -> Result<Self, Refused> {
        // Of a name that another has nothing is said here: the agent gives it to nobody else.
        if served.agent.peers().await?.iter().any(|peer| peer.name.as_deref() == Some(name)) {
            return Ok(Self::default());
        }
        let file = nuncio_bridge::copy_peer(&served.home, former, name)?;
        let force = served.bridge.as_ref().map(|bridge| bridge.copy_name(former, name));
        Ok(Self { file, force: force.unwrap_or_default() })
    }

    fn undo(&self, served: &Served, name: &str) -> Result<(), Refused> {
        let undone = nuncio_bridge::uncopy_peer(&served.home, name, &self.file);
        if let Some(bridge) = &served.bridge {
            bridge.uncopy_name(name, &self.force);
        }
        undone.map_err(Refused::from)
    }
}
