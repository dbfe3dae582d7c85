//! Permits (contracts/permit.md).

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nuncio::{AgentId, NotPermit, Permit, PermitError, PermitId, Scope, ServiceName};

use super::Served;
use super::read::Body;
use super::refused::Refused;
use crate::wire::{KeepPermit, NewNarrower, NewPermit, PermitTold, Permits, Revoked};

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Permits>, Refused> {
    let permits = served.agent.permits().await?;
    Ok(Json(Permits { permits: permits.iter().map(PermitTold::of).collect() }))
}

pub(super) async fn give(
    State(served): State<Served>,
    Body(new): Body<NewPermit>,
) -> Result<(StatusCode, Json<PermitTold>), Refused> {
    let service: ServiceName =
        new.service.parse().map_err(|error: nuncio::NotServiceName| Refused::bad(error.to_string()))?;
    // contracts/permit.md P16.
    if !nuncio_bridge::services(&served.home)?.iter().any(|told| told.name == service.as_str()) {
        return Err(Refused::bad(format!("{service} is not offered: a permit is given for a service that is")));
    }
    let scope = scope(&new.scopes)?;
    let holder = served.agent.resolve(&new.to).await?;
    let new = terms(holder, scope, Some(new.life_ms), new.further);
    made(&served.agent.give_permit(service, new).await?)
}

pub(super) async fn narrow(
    State(served): State<Served>,
    Path(id): Path<String>,
    Body(new): Body<NewNarrower>,
) -> Result<(StatusCode, Json<PermitTold>), Refused> {
    let scope = scope(&new.scopes)?;
    let holder = served.agent.resolve(&new.to).await?;
    let new = terms(holder, scope, new.life_ms, new.further);
    made(&served.agent.narrow_permit(id_of(&id)?, new).await?)
}

pub(super) async fn keep(
    State(served): State<Served>,
    Body(keep): Body<KeepPermit>,
) -> Result<Json<PermitTold>, Refused> {
    let permit: Permit =
        keep.permit.parse().map_err(|error: NotPermit| nuncio::Error::from(PermitError::from(error)))?;
    let told = PermitTold::of(&permit);
    served.agent.keep_permit(permit).await?;
    Ok(Json(told))
}

pub(super) async fn revoke(State(served): State<Served>, Path(id): Path<String>) -> Result<Json<Revoked>, Refused> {
    let id = id_of(&id)?;
    served.agent.revoke_permit(id).await?;
    Ok(Json(Revoked::of(id)))
}

fn id_of(text: &str) -> Result<PermitId, Refused> {
    Ok(text.parse().map_err(nuncio::Error::from)?)
}

/// Scopes that a service knows: another would allow nothing.
fn scope(scopes: &[String]) -> Result<Scope, Refused> {
    if let Some(unknown) = scopes.iter().find(|scope| !nuncio_bridge::is_scope(scope)) {
        return Err(Refused::bad(format!(
            "{unknown} is no scope of a service: service.use, tools.read, tools.write, tools.read:NAME or tools.write:NAME"
        )));
    }
    Scope::parse(&scopes.join(" ")).ok_or_else(|| Refused::bad("a scope stands twice"))
}

fn terms(holder: AgentId, scope: Scope, life_ms: Option<u64>, further: u8) -> nuncio::NewPermit {
    nuncio::NewPermit { holder, scope, life: life_ms.map(Duration::from_millis), further }
}

fn made(permit: &Permit) -> Result<(StatusCode, Json<PermitTold>), Refused> {
    Ok((StatusCode::CREATED, Json(PermitTold::of(permit))))
}
