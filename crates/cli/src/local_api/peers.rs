//! Known agents.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use nuncio::Invitation;

use super::Served;
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
    // What a line lets in for is its maker's to say.
    let by_line = || invitation.knock.as_ref().map(|_| Purpose::default());
    let agent = match new.knock.clone().or_else(by_line) {
        None => served.agent.add_peer(&invitation, name).await?,
        Some(purpose) => {
            let (service, scope) = super::knocks::read(&purpose)?;
            served.agent.knock(&invitation, name, service, scope, None).await?
        }
    };
    Ok((StatusCode::CREATED, Json(Named { agent: agent.to_string() })))
}

pub(super) async fn remove(State(served): State<Served>, Path(peer): Path<String>) -> Result<Json<Named>, Refused> {
    let agent = served.agent.resolve(&peer).await?;
    if served.agent.remove_peer(agent).await? {
        return Ok(Json(Named { agent: agent.to_string() }));
    }
    Err(nuncio::Error::NoSuchPeer(peer).into())
}
