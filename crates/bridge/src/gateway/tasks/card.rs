//! The card of a route of tasks, for everybody (contracts/gateway.md W30).

use axum::Json;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::super::refusal::{Named, Refusal};
use super::super::{Inner, Served};
use super::config::{Does, TaskRoute};
use super::rpc;

/// `GET /v1/a2a/{name}/.well-known/agent-card.json`
pub(crate) async fn tell(
    State(served): State<Served>,
    Named(name): Named<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let route = served.tasks.route(&name).ok_or_else(Refusal::nowhere)?;
    let base = base(&served, &headers).ok_or_else(|| Refusal::bad("`Host` is missing"))?;
    Ok(Json(card(&name, route, &base)))
}

/// Where people reach this gateway: by its owner's word, else as this client does.
fn base(served: &Inner, headers: &HeaderMap) -> Option<String> {
    if let Some(login) = served.people.login() {
        return Some(login.url().to_owned());
    }
    let host = headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok()?;
    let scheme = if served.tasks.is_tls { "https" } else { "http" };
    Some(format!("{scheme}://{host}"))
}

fn card(name: &str, route: &TaskRoute, base: &str) -> Value {
    let (input, output) = match &route.does {
        Does::Complete(_) => (&["text/plain"][..], &["text/plain"][..]),
        Does::Call(tool) if tool.argument.is_some() => {
            (&["application/json", "text/plain"][..], &["application/json", "text/plain"][..])
        }
        Does::Call(_) => (&["application/json"][..], &["application/json", "text/plain"][..]),
    };
    let skill = json!({ "id": name, "name": name, "description": route.description, "tags": [name] });
    let url = format!("{base}/v1/a2a/{name}");
    json!({
        "name": name,
        "description": route.description,
        "version": env!("CARGO_PKG_VERSION"),
        "supportedInterfaces": [{ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": rpc::VERSION }],
        "capabilities": { "streaming": true, "pushNotifications": false, "extendedAgentCard": false },
        "securitySchemes": { "login": { "httpAuthSecurityScheme": { "scheme": "Bearer" } } },
        "securityRequirements": [{ "schemes": { "login": { "list": [] } } }],
        "defaultInputModes": input,
        "defaultOutputModes": output,
        "skills": [skill],
    })
}
