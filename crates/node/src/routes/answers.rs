//! From the service's words to HTTP's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Served;
use crate::error::NodeError;
use crate::gate::Known;
use crate::keys::Rotated;
use crate::refusal::{Code, Refusal};
use crate::request::TXN_TOKEN;

const NO_STORE: [(HeaderName, &str); 2] = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
/// As long as an agent may keep a list or a key set before it asks again.
const MINUTES: (HeaderName, &str) = (header::CACHE_CONTROL, "max-age=300");

/// RFC 8693 section 2.2.1.
#[derive(Serialize)]
struct Issued {
    access_token: String,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
}

pub(super) async fn token(State(at): State<Served>, Extension(known): Extension<Known>) -> Result<Response, Refusal> {
    let service = Arc::clone(&at.service);
    let minted = to_its_end(&at, async move { service.token(&known.caller, known.attempt, &known.form).await }).await?;
    let issued = Issued {
        access_token: minted.token,
        issued_token_type: TXN_TOKEN,
        // RFC 8693 section 2.2.1: it is no access token.
        token_type: "N_A",
        expires_in: minted.expires_in,
    };
    Ok((NO_STORE, Json(issued)).into_response())
}

pub(super) async fn revoke(State(at): State<Served>, Extension(known): Extension<Known>) -> Result<Response, Refusal> {
    let service = Arc::clone(&at.service);
    to_its_end(&at, async move { service.revoke(known.attempt, &known.form).await }).await?;
    Ok((StatusCode::OK, NO_STORE).into_response())
}

pub(super) async fn jwks(State(at): State<Served>) -> Response {
    let kind = (header::CONTENT_TYPE, "application/jwk-set+json");
    ([kind, MINUTES], json!({ "keys": at.service.jwks() }).to_string()).into_response()
}

pub(super) async fn keys(State(at): State<Served>) -> Response {
    ([(header::CONTENT_TYPE, "application/jwt"), MINUTES], at.service.signed_keys()).into_response()
}

pub(super) async fn revoked(State(at): State<Served>) -> Response {
    let kind = (header::CONTENT_TYPE, "application/jwt");
    ([kind, (header::CACHE_CONTROL, "no-cache")], at.service.signed_revocations()).into_response()
}

pub(super) async fn metadata(State(at): State<Served>) -> Json<Value> {
    const ALGORITHMS: [&str; 4] = ["EdDSA", "Ed25519", "ES256", "RS256"];
    let policy = at.service.policy();
    let issuer = &policy.service.issuer;
    Json(json!({
        "issuer": issuer,
        "token_endpoint": policy.service.token_endpoint,
        "revocation_endpoint": format!("{issuer}/revoke"),
        "jwks_uri": format!("{issuer}/jwks"),
        // RFC 8414 wants the member; there is no authorization endpoint.
        "response_types_supported": [],
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "dpop_signing_alg_values_supported": ALGORITHMS,
    }))
}

pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn ready(State(at): State<Served>) -> StatusCode {
    let is_ready = at.service.ledger.is_sound() && at.service.scribe.is_sound() && !at.closing.is_cancelled();
    if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

pub(super) async fn metrics(State(at): State<Served>) -> Response {
    let text = at.service.metrics.text(at.service.ledger.waiting().load(Ordering::Relaxed), at.service.revoked_len());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

#[derive(Deserialize)]
pub(super) struct Force {
    #[serde(default)]
    force: bool,
}

pub(super) async fn rotate(
    State(at): State<Served>,
    Query(Force { force }): Query<Force>,
) -> Result<Json<Rotated>, Refusal> {
    let service = Arc::clone(&at.service);
    to_its_end(&at, async move { service.rotate(force).await.map_err(refused) }).await.map(Json)
}

pub(super) async fn reload(State(at): State<Served>) -> Result<StatusCode, Refusal> {
    let service = Arc::clone(&at.service);
    to_its_end(&at, async move { service.reload().await.map_err(refused) }).await.map(|()| StatusCode::OK)
}

#[derive(Deserialize)]
pub(super) struct Named {
    txn: String,
}

pub(super) async fn revoke_as_owner(
    State(at): State<Served>,
    Query(Named { txn }): Query<Named>,
) -> Result<StatusCode, Refusal> {
    let service = Arc::clone(&at.service);
    to_its_end(&at, async move { service.revoke_as_owner(&txn).await }).await.map(|()| StatusCode::OK)
}

/// A task of its own, for which a node that stops waits: whoever goes away in the middle leaves nothing on disk that is not in force, and
/// nothing done that is not on disk.
pub(super) async fn to_its_end<T: Send + 'static>(
    at: &Served,
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    at.tasks.spawn(work).await.unwrap_or_else(|_| Err(Refusal::unavailable("it broke off")))
}

/// The owner is told what the log is told.
pub(super) fn refused(error: NodeError) -> Refusal {
    Refusal::new(Code::InvalidRequest, error.to_string())
}
