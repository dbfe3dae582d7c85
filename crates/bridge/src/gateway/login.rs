//! Where people log in: what a client reads that was turned away for want of a token (RFC 9728; contracts/gateway.md W19).

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Inner, Served};
use crate::config::is_local;

/// Where it stands.
pub(super) const PATH: &str = "/.well-known/oauth-protected-resource";

/// `[login]` of `gateway.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Where people reach this gateway.
    url: String,
    /// Who issues their tokens.
    issuers: BTreeSet<String>,
}

impl Login {
    pub(super) fn check(self) -> Result<Self, String> {
        if self.issuers.is_empty() {
            return Err("`issuers` names where people log in".to_owned());
        }
        let good = |text: &str| {
            let url = Url::parse(text).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
            url.is_some_and(|url| url.scheme() == "https" || url.host_str().is_some_and(is_local))
                && !text.contains('"')
        };
        if let Some(text) = self.issuers.iter().chain([&self.url]).find(|text| !good(text)) {
            return Err(format!("{text:?} is no https address, or http one of this machine"));
        }
        // RFC 9728 section 3.1: with a path the document would stand between host and path, where nothing of ours is reached.
        if Url::parse(&self.url).is_ok_and(|url| url.path() != "/") {
            return Err(format!("`url` is the gateway's host, without a path: {:?}", self.url));
        }
        let url = self.url.trim_end_matches('/').to_owned();
        Ok(Self { url, ..self })
    }

    /// Who issues tokens.
    pub(super) const fn issuers(&self) -> &BTreeSet<String> {
        &self.issuers
    }

    /// What a challenge says beside all else.
    pub(super) fn challenge(&self) -> String {
        format!("resource_metadata=\"{}{PATH}\"", self.url)
    }

    /// Where people reach this gateway.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn told(&self, scopes: BTreeSet<&str>) -> Value {
        json!({
            "resource": self.url,
            "authorization_servers": self.issuers,
            "bearer_methods_supported": ["header"],
            "scopes_supported": scopes,
        })
    }
}

/// `GET /.well-known/oauth-protected-resource`
pub(super) async fn tell(State(served): State<Served>) -> Result<Json<Value>, Refusal> {
    let login = served.people.login().ok_or_else(Refusal::nowhere)?;
    Ok(Json(login.told(scopes(&served))))
}

/// All that a route needs.
fn scopes(served: &Inner) -> BTreeSet<&str> {
    let of_agents = served.agents.values().flat_map(|route| route.letters.iter().chain(route.services.values()));
    let of_chat = served.chat.iter().map(super::chat::Provider::scope);
    of_agents.chain(of_chat).chain(served.tasks.scopes()).flat_map(nuncio::Scope::iter).collect()
}
