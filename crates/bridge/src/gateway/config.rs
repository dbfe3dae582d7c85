//! `gateway.toml`: where the gateway listens, what people may ask, and with which scope.
//!
//! ```toml
//! listen = "127.0.0.1:7480"        # beyond loopback only with [tls]
//! subject = "access_token"         # what people's tokens are: access_token, jwt or id_token
//! connections_per_source = 64      # of one address at once; behind a proxy all people have its address
//!
//! [login]                          # told to clients that come without a token; need not be said
//! url = "https://gate.acme.example"
//! issuers = ["https://login.acme.example"]
//!
//! [agents.planner]                 # /v1/agents/planner/letters
//! peer = "planner"                 # a peer's short name or its DID; the name above, if not said
//! letters = "travel.plan"          # the scope in which a person's letters act; without it they are not taken
//! timeout_s = 60
//! [agents.planner.services]
//! files = "tools.read"             # /v1/mcp/planner/files: the scope in which its messages act
//!
//! [budget.requests]                # of each person; [budget.tokens]: of completions
//! mode = "hard"                    # off, warn or hard
//! limit = 1000
//! per = "day"                      # hour or day
//! ```
//!
//! `[chat]` is told of in `chat/config.rs`, `[tasks]` in `tasks/config.rs`.
//!
//! What is not named is not served.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nuncio_contracts::registry::limit;
use nuncio_proto::call::ServiceName;
use nuncio_proto::token::Scope;
use serde::Deserialize;

use super::budget::Budgets;
use super::chat::{ChatRoute, ChatTable};
use super::login::Login;
use super::tasks::{TaskRoute, TaskTable};
use crate::config::{ConfigError, Others, read_private, without_value};

/// The file's name in the home.
pub const FILE: &str = "gateway.toml";
/// How long an answer is waited for where the file does not say, and at most.
const PATIENCE_S: (u64, u64) = (60, 600);

/// What the file says.
#[derive(Debug)]
pub struct GatewayConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) subject: SubjectKind,
    pub(crate) login: Option<Login>,
    pub(crate) agents: BTreeMap<String, AgentRoute>,
    pub(crate) chat: Option<ChatRoute>,
    pub(crate) tasks: BTreeMap<String, TaskRoute>,
    pub(crate) budget: Budgets,
    pub(crate) connections_per_source: usize,
}

/// Certificate chain and key, both PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What people's tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubjectKind {
    /// RFC 9068.
    #[default]
    AccessToken,
    /// Another JWT.
    Jwt,
    /// OpenID Connect.
    IdToken,
}

/// An agent that people reach.
#[derive(Debug)]
pub(crate) struct AgentRoute {
    /// A peer's name or DID.
    pub(crate) peer: String,
    /// In which scope letters act.
    pub(crate) letters: Option<Scope>,
    pub(crate) patience: Duration,
    /// In which scope each of its services is called.
    pub(crate) services: BTreeMap<ServiceName, Scope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    listen: Option<SocketAddr>,
    tls: Option<TlsFiles>,
    #[serde(default)]
    subject: SubjectKind,
    login: Option<Login>,
    connections_per_source: Option<usize>,
    #[serde(default)]
    agents: BTreeMap<String, AgentTable>,
    chat: Option<ChatTable>,
    #[serde(default)]
    tasks: BTreeMap<String, TaskTable>,
    #[serde(default)]
    budget: Budgets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentTable {
    peer: Option<String>,
    letters: Option<String>,
    timeout_s: Option<u64>,
    #[serde(default)]
    services: BTreeMap<String, String>,
}

impl GatewayConfig {
    /// Reads the file; those that it names stand beside it, if it does not say where.
    ///
    /// # Errors
    /// It is not whole what this program reads, or others of this machine can change it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_private(path, Others::MayNotWrite)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let whole: Whole = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::Line { path: path.to_owned(), line, what: without_value(error.message()) }
        })?;
        whole.check(path.parent().unwrap_or(path)).map_err(|what| ConfigError::Whole { path: path.to_owned(), what })
    }
}

impl Whole {
    fn check(self, beside: &Path) -> Result<GatewayConfig, String> {
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7480)));
        // contracts/gateway.md W5.
        if self.tls.is_none() && !listen.ip().to_canonical().is_loopback() {
            return Err(format!("`listen`: {listen} is not loopback: people's tokens go there with [tls] alone"));
        }
        let tls = self.tls.map(|tls| TlsFiles { cert: beside.join(tls.cert), key: beside.join(tls.key) });
        let agents = self.agents.into_iter().map(|(name, table)| {
            let route = table.check(&name).map_err(|what| format!("agents.{name}: {what}"))?;
            Ok((name, route))
        });
        let agents = agents.collect::<Result<_, String>>()?;
        let chat = self.chat.map(|chat| chat.check(beside)).transpose().map_err(|what| format!("chat: {what}"))?;
        let tasks = self.tasks.into_iter().map(|(name, table)| {
            let route = table.check(&name, chat.as_ref()).map_err(|what| format!("tasks.{name}: {what}"))?;
            Ok((name, route))
        });
        let tasks = tasks.collect::<Result<_, String>>()?;
        let login = self.login.map(Login::check).transpose().map_err(|what| format!("login: {what}"))?;
        let connections_per_source =
            self.connections_per_source.unwrap_or(limit::GATEWAY_CONNECTIONS_PER_SOURCE).max(1);
        let (subject, budget) = (self.subject, self.budget);
        Ok(GatewayConfig { listen, tls, subject, login, agents, chat, tasks, budget, connections_per_source })
    }
}

impl AgentTable {
    fn check(self, name: &str) -> Result<AgentRoute, String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err("a name in a path is of letters, digits, '-', '_' and '.'".to_owned());
        }
        let services = self.services.iter().map(|(service, text)| {
            let named = service.parse::<ServiceName>().map_err(|_| format!("`{service}` is no name of a service"))?;
            Ok((named, scope(service, text)?))
        });
        let letters = self.letters.as_deref().map(|text| scope("letters", text)).transpose()?;
        Ok(AgentRoute {
            peer: self.peer.unwrap_or_else(|| name.to_owned()),
            letters,
            patience: patience(self.timeout_s)?,
            services: services.collect::<Result<_, String>>()?,
        })
    }
}

pub(super) fn scope(key: &str, text: &str) -> Result<Scope, String> {
    let scope = Scope::parse(text).filter(|scope| !scope.is_empty());
    scope.ok_or_else(|| format!("`{key}` is a list of scopes with one space between two, such as \"travel.plan\""))
}

pub(super) fn patience(seconds: Option<u64>) -> Result<Duration, String> {
    let (usual, most) = PATIENCE_S;
    let seconds = seconds.unwrap_or(usual);
    if (1..=most).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(format!("`timeout_s` is 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GatewayConfig, ConfigError> {
        GatewayConfig::parse(Path::new("gateway.toml"), text)
    }

    #[test]
    fn what_is_not_said_is_not_served() {
        let config = parse("").unwrap();
        assert!(config.listen.ip().is_loopback() && config.agents.is_empty());
        let config = parse("[agents.planner]").unwrap();
        assert!(config.agents["planner"].letters.is_none());
        assert_eq!(config.agents["planner"].peer, "planner");
        for bad in [
            "listens = \"127.0.0.1:1\"",
            "listen = \"localhost:1\"",
            "subject = \"saml\"",
            "[agents.planner]\nletter = \"a\"",
            "[agents.planner]\nletters = \"\"",
            "[agents.planner]\nletters = \"a  b\"",
            "[agents.planner]\ntimeout_s = 0",
            "[agents.\"a/b\"]\nletters = \"a\"",
            "[agents.planner.services]\n\"a/b\" = \"tools.read\"",
            "[agents.planner.services]\nfiles = \"\"",
            "[login]\nurl = \"https://gate.example\"\nissuers = []",
            "[login]\nurl = \"https://gate.example/people\"\nissuers = [\"https://login.example\"]",
            "[login]\nurl = \"http://gate.example\"\nissuers = [\"https://login.example\"]",
            "[tls]\ncert = \"c\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn beyond_loopback_there_is_tls_or_nothing() {
        for wide in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(parse(&format!("listen = \"{wide}\"")).is_err(), "{wide}");
            assert!(parse(&format!("listen = \"{wide}\"\n[tls]\ncert = \"c\"\nkey = \"k\"")).is_ok(), "{wide}");
        }
    }
}
