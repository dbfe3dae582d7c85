//! Calls of other agents' services, what this agent offers, and its connections.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use nuncio::ServiceName;
use nuncio_bridge::{AgentLine, Bridge, Wants, connected, disconnected, forget_withdrawn, local, services as told};

use super::Served;
use super::read::Body;
use super::refused::Refused;
use crate::wire::{Connection, Connections, Named, NewConnection, Services};

type Whom = Path<(String, String)>;

/// The line to a service of a peer.
async fn line(served: &Served, Path((peer, service)): Whom) -> Result<AgentLine, Refused> {
    let to = served.agent.resolve(&peer).await?;
    Ok(running(served)?.line(to, name(&service)?))
}

fn running(served: &Served) -> Result<&Bridge, Refused> {
    let none =
        || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "no agent runs: start it with `nuncio agent`");
    served.bridge.as_deref().ok_or_else(none)
}

fn name(text: &str) -> Result<ServiceName, Refused> {
    text.parse().map_err(|_| Refused::bad(format!("{text:?} is no name of a service: a to z, 0 to 9, - _ and .")))
}

pub(super) async fn say(State(served): State<Served>, whom: Whom, request: Request) -> Response {
    match line(&served, whom).await {
        Ok(line) => local::say(&line, &served.room, request).await,
        Err(refused) => refused.into_response(),
    }
}

pub(super) async fn listen(State(served): State<Served>, whom: Whom, uri: Uri) -> Response {
    match line(&served, whom).await {
        Ok(line) => local::listen(&line, &uri, &served.closing).await,
        Err(refused) => refused.into_response(),
    }
}

pub(super) async fn taken(State(served): State<Served>, whom: Whom, uri: Uri) -> Response {
    match line(&served, whom).await {
        Ok(line) => local::taken(&line, &uri).await,
        Err(refused) => refused.into_response(),
    }
}

pub(super) async fn services(State(served): State<Served>) -> Result<Json<Services>, Refused> {
    Ok(Json(Services { services: told(&served.home)? }))
}

/// Follows the file as it stands now. Where no service runs, what stands upon one that is offered no more goes.
pub(super) async fn reload(State(served): State<Served>) -> Result<Json<Services>, Refused> {
    follow(&served).await?;
    services(State(served)).await
}

async fn follow(served: &Served) -> Result<(), Refused> {
    match served.bridge.as_deref() {
        Some(bridge) => Ok(bridge.reload().await?),
        None => Ok(forget_withdrawn(&served.agent, &served.home).await?),
    }
}

pub(super) async fn connections(State(served): State<Served>) -> Result<Json<Connections>, Refused> {
    let (connections, problem) = match &served.bridge {
        Some(bridge) => bridge.fronts().connections(),
        None => (nuncio_bridge::Connections::load(&served.home)?, Some("no agent runs".to_owned())),
    };
    let all = connections.iter().map(|(name, one)| Connection {
        name: name.to_string(),
        peer: one.peer.to_string(),
        service: one.service.to_string(),
        url: connections.url(name, one).map(|url| url.to_string()).unwrap_or_default(),
        card_key: connections.card_key(),
        webhooks: one.webhooks.clone(),
        transaction: one.under.as_ref().map(|transaction| transaction.id().to_owned()),
    });
    let all = all.collect();
    Ok(Json(Connections { connections: all, problem }))
}

pub(super) async fn connect(
    State(served): State<Served>,
    Body(new): Body<NewConnection>,
) -> Result<(StatusCode, Json<Connection>), Refused> {
    let peer = served.agent.resolve(&new.peer).await?;
    if !served.agent.peers().await?.iter().any(|known| known.agent == peer) {
        return Err(nuncio::Error::NoSuchPeer(new.peer).into());
    }
    let (called, service) = (new.name.as_deref().map(name).transpose()?, name(&new.service)?);
    let under = new.under.as_deref().map(super::transactions::named).transpose()?;
    if under.is_some() && !served.agent.is_of_trust_domain() {
        return Err(nuncio::Error::NoTrust.into());
    }
    let wants = Wants { under, webhooks: new.webhooks };
    let made = match &served.bridge {
        Some(bridge) => bridge.fronts().connect(called, peer, service, wants).await?.to_string(),
        None => connected(&served.home, called, peer, service, wants)?.0.to_string(),
    };
    let Json(all) = connections(State(served)).await?;
    let one = all.connections.into_iter().find(|one| one.name == made);
    one.map(|one| (StatusCode::CREATED, Json(one))).ok_or_else(|| Refused::no_such_connection(&made))
}

pub(super) async fn disconnect(
    State(served): State<Served>,
    Path(called): Path<String>,
) -> Result<Json<Named>, Refused> {
    let name = name(&called)?;
    let peer = nuncio_bridge::Connections::load(&served.home)?;
    let peer = peer.iter().find(|(known, _)| **known == name).map(|(_, one)| one.peer.to_string());
    let was = match &served.bridge {
        Some(bridge) => bridge.fronts().disconnect(&name).await?,
        None => disconnected(&served.home, &name)?,
    };
    match peer.filter(|_| was) {
        Some(agent) => Ok(Json(Named { agent })),
        None => Err(Refused::no_such_connection(&called)),
    }
}
