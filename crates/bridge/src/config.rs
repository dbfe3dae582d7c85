//! `services.toml` in an agent's home: what it offers to others, and who may.
//!
//! ```toml
//! [services.files]
//! mcp = ["npx", "some-mcp-server", "/srv"]   # a program on stdin and stdout; or mcp_url = "http://127.0.0.1:9999/mcp"
//! read = ["read_file", "list_directory"]     # tools that only read; ["*"]: all do
//!
//! [services.files.peers]
//! bob = ["tools.read", "tools.write:create_file"]
//!
//! [services.helper]
//! a2a = "http://127.0.0.1:9999"              # an agent that speaks A2A, under whose address its card stands
//! card_keys = ["helper.jwk"]               # files with the keys that sign its card; signatures of others are broken
//! webhooks = ["https://hooks.example"]       # origins that callers may have it call; none, if not said
//! ```
//!
//! A service with `native = true` is the embedding program's own.
//! What is not named is not allowed: a service without `open`, `peers` and `tokens` is offered to nobody.

mod child;
mod edit;
mod peers;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Scope, VerifyingKey};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub(crate) use child::environment;
pub use edit::{Offer, allow, expose, expose_a2a, expose_native, offer, withdraw};
pub(crate) use edit::{allow_also, drafted, drafted_a2a, put};
pub use peers::{copy_peer, forget_peer, uncopy_peer};
pub use told::{ServiceTold, told};

use crate::{a2a, policy};

/// The file's name in the home.
pub const FILE: &str = "services.toml";
/// A longer file is none of a person's.
const FILE_LEN_MAX: u64 = 1024 * 1024;
const IDLE_MINUTES: u64 = 30;
const SESSIONS_PER_PEER: usize = 64;
const CHILDREN: usize = 256;

/// Why the file is not taken. No line of it is in what this says: there may be secrets in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Others of this machine could change it, or read secrets in it.
    #[error("{0} can be {1} by others: `chmod 600` it")]
    Open(PathBuf, &'static str),
    /// It is not what this program reads.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// It can be read, and makes no sense.
    #[error("{path}: {what}")]
    Whole {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// One service in it makes no sense.
    #[error("{path}: service {service}: {what}")]
    Service {
        /// Which.
        path: PathBuf,
        /// Its name as it stands there.
        service: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// What was to be offered speaks something else than what is offered under its name, and what its peers may would mean another thing.
    #[error("{0} is offered already, and speaks {1}")]
    OtherKind(ServiceName, &'static str),
}

/// What an agent offers.
#[derive(Clone, Default)]
pub(crate) struct Services(BTreeMap<ServiceName, ServiceConfig>);

impl fmt::Debug for Services {
    /// Names alone: there are secrets behind them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One service.
#[derive(Clone, PartialEq)]
pub(crate) struct ServiceConfig {
    /// What it is.
    pub(crate) runs: Runs,
    /// Which tools only read.
    pub(crate) read: ReadTools,
    /// What every peer may.
    pub(crate) open: Scope,
    /// What some peers may, by name.
    pub(crate) peers: BTreeMap<String, Scope>,
    /// What some peers may, by identity.
    pub(crate) agents: BTreeMap<AgentId, Scope>,
    /// What a transaction token may allow.
    pub(crate) tokens: Scope,
    /// How long a session without open request keeps its program.
    pub(crate) idle: Duration,
    /// Sessions that one peer may have at once.
    pub(crate) sessions_per_peer: usize,
    /// Programs that run at once for all peers.
    pub(crate) children: usize,
}

/// What a service is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Runs {
    /// A program, one for each session, that speaks MCP on stdin and stdout.
    Program(Program),
    /// A server of MCP over HTTP, or an agent that speaks A2A.
    Url(Upstream),
    /// The program that embeds this agent, which speaks MCP itself.
    Native,
}

/// A program and what it gets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Where it runs; the home of the user if not said.
    pub(crate) directory: Option<PathBuf>,
    /// Its whole environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What a server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// MCP.
    Mcp,
    /// A2A.
    A2a {
        /// Origins of addresses that it may be made to call.
        webhooks: BTreeSet<String>,
        /// Keys by which its card's signatures count; without any they are not looked at.
        card_keys: Vec<VerifyingKey>,
    },
}

/// A server behind an address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// What it speaks.
    pub(crate) speaks: Speaks,
    /// Its address: `https`, or `http` on this machine.
    pub(crate) url: reqwest::Url,
    /// The value of `authorization` in requests to it.
    pub(crate) authorization: Option<String>,
}

/// Which tools only read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ReadTools {
    /// All.
    All,
    /// These.
    Named(BTreeSet<String>),
}

impl ServiceConfig {
    /// Whether what runs for one runs for the other too: they differ in who may at most.
    pub(crate) fn runs_as(&self, other: &Self) -> bool {
        let bounds = |of: &Self| (of.idle, of.sessions_per_peer, of.children);
        self.runs == other.runs && bounds(self) == bounds(other)
    }
}

impl ReadTools {
    pub(crate) fn has(&self, tool: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(tool),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    services: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mcp: Option<Vec<String>>,
    mcp_url: Option<String>,
    a2a: Option<String>,
    #[serde(default)]
    native: bool,
    #[serde(default)]
    webhooks: Vec<String>,
    #[serde(default)]
    card_keys: Vec<PathBuf>,
    authorization_file: Option<PathBuf>,
    directory: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    env_file: Option<PathBuf>,
    #[serde(default)]
    read: BTreeSet<String>,
    #[serde(default)]
    open: Vec<String>,
    #[serde(default)]
    peers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    tokens: Tokens,
    idle_minutes: Option<u64>,
    sessions_per_peer: Option<usize>,
    programs: Option<usize>,
}

#[derive(Default)]
struct Tokens {
    scopes: Vec<String>,
}

impl<'de> Deserialize<'de> for Tokens {
    /// A table, and no list: what is wanted in its stead is said in full.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Said {
            #[serde(default)]
            scopes: Vec<String>,
        }
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Tokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`tokens = { scopes = [\"tools.read\"] }`, or [services.NAME.tokens] with `scopes` below it,",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tokens, A::Error> {
                let Said { scopes } = Said::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Tokens { scopes })
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl Services {
    /// Reads the file of a home. Where there is none, nothing is offered.
    ///
    /// # Errors
    /// It is not whole what this program reads: nothing is offered then.
    pub(crate) fn load(home: &Path) -> Result<Self, ConfigError> {
        let path = home.join(FILE);
        match read_private(&path, Others::MayNotWrite) {
            Ok(text) => Self::parse(&path, &text, std::env::vars_os()),
            Err(ConfigError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The services, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceName, &ServiceConfig)> {
        self.0.iter()
    }

    /// One of them.
    pub(crate) fn get(&self, name: &ServiceName) -> Option<&ServiceConfig> {
        self.0.get(name)
    }

    fn parse(path: &Path, text: &str, vars: impl IntoIterator<Item = child::Var>) -> Result<Self, ConfigError> {
        let inherited = child::inherited(vars);
        let whole: Whole = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::Line { path: path.to_owned(), line, what: without_value(error.message()) }
        })?;
        let services = whole.services.into_iter().map(|(name, table)| {
            let said = |what| ConfigError::Service { path: path.to_owned(), service: name.clone(), what };
            let parsed = name.parse::<ServiceName>().map_err(|error| said(error.to_string()))?;
            let home = path.parent().unwrap_or(path);
            Ok((parsed, table.check(home, &inherited).map_err(said)?))
        });
        Ok(Self(services.collect::<Result<_, ConfigError>>()?))
    }
}

impl Table {
    fn check(self, home: &Path, inherited: &BTreeMap<String, String>) -> Result<ServiceConfig, String> {
        let read = match self.read.contains("*") {
            true if self.read.len() > 1 => return Err("`read` is either [\"*\"] or names of tools".to_owned()),
            true => ReadTools::All,
            false => ReadTools::Named(self.read.clone()),
        };
        let (mut peers, mut agents) = (BTreeMap::new(), BTreeMap::new());
        for (peer, scopes) in &self.peers {
            let scope = scope(scopes).map_err(|what| format!("peer {peer}: {what}"))?;
            if peer.starts_with("did:") {
                let agent = peer.parse().map_err(|_| format!("peer {peer} is no did:key of an agent"))?;
                agents.insert(agent, scope);
            } else {
                peers.insert(peer.clone(), scope);
            }
        }
        Ok(ServiceConfig {
            read,
            open: scope(&self.open)?,
            peers,
            agents,
            tokens: scope(&self.tokens.scopes)?,
            idle: Duration::from_secs(60 * self.idle_minutes.unwrap_or(IDLE_MINUTES).clamp(1, 7 * 24 * 60)),
            sessions_per_peer: self.sessions_per_peer.unwrap_or(SESSIONS_PER_PEER).max(1),
            children: self.programs.unwrap_or(CHILDREN).max(1),
            runs: self.runs(home, inherited)?,
        })
    }

    /// Files that it names stand in the home, if it does not say where.
    fn runs(self, home: &Path, inherited: &BTreeMap<String, String>) -> Result<Runs, String> {
        if self.a2a.is_none() && !self.webhooks.is_empty() {
            return Err("`webhooks` is for `a2a`".to_owned());
        }
        if self.a2a.is_none() && !self.card_keys.is_empty() {
            return Err("`card_keys` is for `a2a`".to_owned());
        }
        let card_keys = self.card_keys.iter().map(|file| a2a::keys(&home.join(file))).collect::<Result<Vec<_>, _>>()?;
        let card_keys = card_keys.concat();
        let webhooks = self.webhooks.iter().map(|text| a2a::origin(text)).collect::<Result<_, String>>()?;
        let speaks = if self.a2a.is_some() { Speaks::A2a { webhooks, card_keys } } else { Speaks::Mcp };
        let beside = self.directory.is_some() || !self.env.is_empty() || self.env_file.is_some();
        match (self.mcp, self.mcp_url, self.a2a, self.native) {
            (None, None, None, true) => {
                if beside || self.authorization_file.is_some() {
                    return Err(
                        "`directory`, `env`, `env_file` and `authorization_file` are not for `native`".to_owned()
                    );
                }
                Ok(Runs::Native)
            }
            (Some(command), None, None, false) => {
                if command.first().is_none_or(String::is_empty) {
                    return Err("`mcp` is empty: write the program and its arguments".to_owned());
                }
                if self.authorization_file.is_some() {
                    return Err("`authorization_file` is for `mcp_url` and `a2a`".to_owned());
                }
                if self.directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
                    return Err("`directory` begins with /".to_owned());
                }
                let environment =
                    environment(inherited, &self.env, self.env_file.map(|file| home.join(file)).as_deref())?;
                Ok(Runs::Program(Program { command, directory: self.directory, environment }))
            }
            (None, Some(url), None, false) | (None, None, Some(url), false) => {
                if beside {
                    return Err("`directory`, `env` and `env_file` are for `mcp`".to_owned());
                }
                let authorization = self.authorization_file.map(|file| home.join(file));
                Ok(Runs::Url(upstream(&url, speaks, authorization.as_deref())?))
            }
            _ => Err("one of `mcp`, `mcp_url`, `a2a` and `native` is wanted".to_owned()),
        }
    }
}

/// "invalid type: string "…", expected a sequence": what stood there may be a secret.
pub(crate) fn without_value(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((before, wanted)) if before.starts_with("invalid") => format!("{wanted} is wanted"),
        _ => message.to_owned(),
    }
}

fn scope(scopes: &[String]) -> Result<Scope, String> {
    if let Some(unknown) = scopes.iter().find(|scope| !policy::is_known(scope)) {
        let known = "service.use, tools.read, tools.write, tools.read:NAME or tools.write:NAME";
        return Err(format!("`{unknown}` is no scope of a service: {known}"));
    }
    Scope::parse(&scopes.join(" ")).ok_or_else(|| "a scope stands twice".to_owned())
}

fn upstream(url: &str, speaks: Speaks, authorization: Option<&Path>) -> Result<Upstream, String> {
    let key = if speaks == Speaks::Mcp { "mcp_url" } else { "a2a" };
    let url = reqwest::Url::parse(url).map_err(|error| format!("`{key}`: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("`{key}` has a secret in it: put it into a file, and the file into `authorization_file`"));
    }
    let local = url.host_str().is_some_and(is_local);
    if url.scheme() != "https" && !(url.scheme() == "http" && local) {
        return Err(format!(
            "`{key}` is https, or http on this machine: what came sealed goes no further in the clear"
        ));
    }
    let authorization = authorization.map(|path| read_private(path, Others::MayNotRead)).transpose();
    let authorization = authorization.map_err(|error| error.to_string())?.map(|text| text.trim().to_owned());
    if authorization.as_ref().is_some_and(|value| value.is_empty() || value.contains('\n')) {
        return Err("`authorization_file` has one line: `Bearer …`".to_owned());
    }
    Ok(Upstream { speaks, url, authorization })
}

pub(crate) fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    MayNotWrite,
    MayNotRead,
}

/// Reads a file that is its owner's alone.
pub(crate) fn read_private(path: &Path, others: Others) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    guard(path, &file.metadata().map_err(failed)?, others)?;
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {FILE_LEN_MAX} bytes"),
        )));
    }
    Ok(text)
}

fn guard(path: &Path, metadata: &Metadata, others: Others) -> Result<(), ConfigError> {
    let open = |word| Err(ConfigError::Open(path.to_owned(), word));
    match metadata.mode() {
        mode if mode & 0o022 != 0 => open("written"),
        mode if mode & 0o044 != 0 && others == Others::MayNotRead => open("read"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
