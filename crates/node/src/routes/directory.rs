//! The directory's doors (contracts/directory.md).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use nuncio_contracts::registry::limit;
use nuncio_proto::ids::AgentId;

use super::Served;
use super::answers::to_its_end;
use crate::directory::Left;
use crate::refusal::{Code, Refusal};
use crate::{entropy, gate};

/// contracts/directory.md D7.
pub(super) async fn left(State(at): State<Served>, Extension(agent): Extension<AgentId>) -> Json<Left> {
    Json(at.service.directory.left(&agent, entropy::now()))
}

/// contracts/directory.md D4.
pub(super) async fn list_bundle(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
    request: Request,
) -> Result<Json<Left>, Refusal> {
    let bundle = gate::read(request.into_body(), limit::LISTED_BUNDLE_LEN_MAX).await?.to_vec();
    let service = Arc::clone(&at.service);
    let listed = async move { service.directory.list_bundle(&service.ledger, agent, bundle, entropy::now()).await };
    Ok(Json(to_its_end(&at, listed).await?))
}

/// contracts/directory.md D5.
pub(super) async fn list_batch(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
    request: Request,
) -> Result<Json<Left>, Refusal> {
    let batch = gate::read(request.into_body(), limit::BATCH_LEN_MAX).await?.to_vec();
    let service = Arc::clone(&at.service);
    let listed = async move { service.directory.list_batch(&service.ledger, agent, batch, entropy::now()).await };
    Ok(Json(to_its_end(&at, listed).await?))
}

/// contracts/directory.md D8.
pub(super) async fn claim(
    State(at): State<Served>,
    Extension(by): Extension<AgentId>,
    Path(of): Path<String>,
) -> Result<Response, Refusal> {
    let of: AgentId = of.parse().map_err(|_| Refusal::request("this is no agent"))?;
    let policy = at.service.policy();
    if policy.is_retired(&of) || policy.client_of(&of).is_none() {
        return Err(Refusal::new(Code::NotFound, "the directory has no bundle of this agent"));
    }
    let service = Arc::clone(&at.service);
    let bundle = to_its_end(&at, async move { service.claim(by, of).await }).await?;
    Ok(([(header::CONTENT_TYPE, "application/cbor"), (header::CACHE_CONTROL, "no-store")], bundle).into_response())
}
