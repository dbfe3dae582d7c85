//! Known agents.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use nuncio::Invitation;
use nuncio_contracts::registry::limit;

use super::Served;
use super::names::{forget, in_turn, named};
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
    // What a line lets in for is its maker's to say.
    let by_line = || invitation.knock.as_ref().map(|_| Purpose::default());
    let knock = new.knock.clone().or_else(by_line).map(|purpose| super::knocks::read(&purpose)).transpose()?;
    let transaction = new.transaction.clone();
    if let Some(words) = transaction.as_ref().filter(|words| !is_transaction(words)) {
        return Err(Refused::bad(format!(
            "{words:?} is not 1 to {} bytes without control characters",
            limit::EVENT_TEXT_MAX
        )));
    }
    let (at, agent, name) = (served.clone(), invitation.agent, new.name.clone());
    let added = async move {
        let name = name.as_deref();
        let give = async {
            let given = match knock {
                None => at.agent.add_peer(&invitation, name).await,
                Some((service, scope)) => at.agent.knock(&invitation, name, service, scope, transaction).await,
            };
            Ok(given?)
        };
        named(&at, agent, name, give).await
    };
    let agent = in_turn(&served, added).await?;
    Ok((StatusCode::CREATED, Json(Named { agent: agent.to_string() })))
}

/// Whether a knock may say so.
// contracts/call.md X28.
fn is_transaction(words: &str) -> bool {
    (1..=limit::EVENT_TEXT_MAX).contains(&words.len()) && !words.chars().any(char::is_control)
}

pub(super) async fn remove(State(served): State<Served>, Path(peer): Path<String>) -> Result<Json<Named>, Refused> {
    let at = served.clone();
    in_turn(&served, async move {
        let agent = at.agent.resolve(&peer).await?;
        let known = at.agent.peers().await?.into_iter().find(|known| known.agent == agent);
        // That comes first: cut short in between, the peer may nothing.
        let forgotten = known.map_or(Ok(()), |known| forget(&at, &agent, known.name.as_deref()));
        if !at.agent.remove_peer(agent).await? {
            return Err(nuncio::Error::NoSuchPeer(peer).into());
        }
        forgotten.map_err(|error| error.behind("it is removed; what services.toml says of it is still there"))?;
        Ok(Json(Named { agent: agent.to_string() }))
    })
    .await
}
