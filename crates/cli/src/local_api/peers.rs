//! Known agents.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use nuncio::{AgentId, Invitation};

use super::Served;
use super::calls::follow;
use super::read::Body;
use super::refused::Refused;
use super::state::wide;
use crate::wire::{Named, NewPeer, Peer, Peers, Purpose};

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Peers>, Refused> {
    let peers = served.agent.peers().await?.into_iter().map(|peer| Peer {
        agent: peer.agent.to_string(),
        name: peer.name,
        endpoints: peer.endpoints,
        allowed: peer.allowed,
        fellow: peer.fellow,
        retired: peer.retired,
        connected: peer.connected,
        waiting: wide(peer.waiting),
        problem: peer.problem,
        mailbox: peer.mailbox.map(|at| at.to_string()),
        pseudonym: peer.pseudonym.map(|pseudonym| HEXLOWER.encode(&pseudonym)),
    });
    Ok(Json(Peers { peers: peers.collect() }))
}

pub(super) async fn add(
    State(served): State<Served>,
    Body(new): Body<NewPeer>,
) -> Result<(StatusCode, Json<Named>), Refused> {
    let invitation: Invitation = new.invitation.parse().map_err(nuncio::Error::from)?;
    let name = new.name.as_deref();
    let former = called(&served, invitation.agent, name).await?;
    // What a line lets in for is its maker's to say.
    let by_line = || invitation.knock.as_ref().map(|_| Purpose::default());
    let agent = match new.knock.clone().or_else(by_line) {
        None => served.agent.add_peer(&invitation, name).await?,
        Some(purpose) => {
            let (service, scope) = super::knocks::read(&purpose)?;
            served.agent.knock(&invitation, name, service, scope, None).await?
        }
    };
    renamed(&served, former, name).await?;
    Ok((StatusCode::CREATED, Json(Named { agent: agent.to_string() })))
}

/// What an agent is called that is to be called otherwise. It is asked before, so that a file that cannot be read keeps its name as it is.
pub(super) async fn called(served: &Served, agent: AgentId, name: Option<&str>) -> Result<Option<String>, Refused> {
    let Some(name) = name else { return Ok(None) };
    let former = served.agent.peers().await?.into_iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name);
    let former = former.filter(|former| former != name);
    if former.is_some() {
        nuncio_bridge::services(&served.home)?;
    }
    Ok(former)
}

/// What may be done under its former name an agent may under its new one, and nobody under the former.
// contracts/local-api.md A26.
pub(super) async fn renamed(served: &Served, former: Option<String>, name: Option<&str>) -> Result<(), Refused> {
    let (Some(former), Some(name)) = (former, name) else { return Ok(()) };
    nuncio_bridge::rename_peer(&served.home, &former, name)?;
    follow(served).await
}

pub(super) async fn remove(State(served): State<Served>, Path(peer): Path<String>) -> Result<Json<Named>, Refused> {
    let agent = served.agent.resolve(&peer).await?;
    let known = served.agent.peers().await?.into_iter().find(|known| known.agent == agent);
    let forgotten = match known {
        Some(known) => forget(&served, agent, known.name).await,
        None => Ok(()),
    };
    if !served.agent.remove_peer(agent).await? {
        return Err(nuncio::Error::NoSuchPeer(peer).into());
    }
    forgotten.map_err(|error| error.behind("it is removed; what services.toml says of it is still there"))?;
    Ok(Json(Named { agent: agent.to_string() }))
}

/// Nothing that was said of it is there for whoever gets its name. That comes first: cut short in between, the peer may nothing.
// contracts/local-api.md A26.
async fn forget(served: &Served, agent: AgentId, name: Option<String>) -> Result<(), Refused> {
    let did = agent.to_string();
    let spellings: Vec<&str> = std::iter::once(did.as_str()).chain(name.as_deref()).collect();
    nuncio_bridge::forget_peer(&served.home, &spellings)?;
    // Also of a file out of which it was taken by hand, and which was not followed since.
    follow(served).await
}
