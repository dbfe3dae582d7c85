//! What is offered, as it is told to people and programs: without what may be a secret.

use std::collections::BTreeMap;
use std::path::Path;

use nuncio_proto::token::Scope;
use serde::{Deserialize, Serialize};

use super::{ConfigError, ReadTools, Runs, ServiceConfig, Services};

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTold {
    /// Its name.
    pub name: String,
    /// The program's first words, the place of the address, or `native`. What may be a secret (options, what is behind them, a path) is left out.
    pub runs: String,
    /// Tools that only read; `*`: all do.
    pub read: Vec<String>,
    /// What every peer may.
    pub open: Vec<String>,
    /// What some peers may, by name or identity.
    pub peers: BTreeMap<String, Vec<String>>,
    /// What a transaction token may allow.
    pub tokens: Vec<String>,
}

/// What a home offers.
///
/// # Errors
/// The file is not what this program reads.
pub fn told(home: &Path) -> Result<Vec<ServiceTold>, ConfigError> {
    Ok(Services::load(home)?.iter().map(|(name, config)| tell(name.as_str(), config)).collect())
}

fn tell(name: &str, config: &ServiceConfig) -> ServiceTold {
    let by_identity = config.agents.iter().map(|(agent, scope)| (agent.to_string(), words(scope)));
    let by_name = config.peers.iter().map(|(peer, scope)| (peer.clone(), words(scope)));
    ServiceTold {
        name: name.to_owned(),
        runs: match &config.runs {
            Runs::Program(program) => first_words(&program.command),
            Runs::Url(upstream) => place(&upstream.url),
            Runs::Native => "native".to_owned(),
        },
        read: match &config.read {
            ReadTools::All => vec!["*".to_owned()],
            ReadTools::Named(names) => names.iter().cloned().collect(),
        },
        open: words(&config.open),
        peers: by_name.chain(by_identity).collect(),
        tokens: words(&config.tokens),
    }
}

fn words(scope: &Scope) -> Vec<String> {
    scope.iter().map(str::to_owned).collect()
}

/// Up to the first option: behind one a secret may stand.
fn first_words(command: &[String]) -> String {
    let plain = command.iter().take_while(|word| !word.starts_with('-') && !word.contains('='));
    let shown: Vec<&str> = plain.map(String::as_str).collect();
    let more = if shown.len() < command.len() { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}

fn place(url: &reqwest::Url) -> String {
    let path = if matches!(url.path(), "/" | "/mcp") && url.query().is_none() { url.path() } else { "/…" };
    format!("{}{path}", url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_told() {
        let words = |text: &str| first_words(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(words("python3 server.py /srv"), "python3 server.py /srv");
        assert_eq!(words("npx -y server --token s3cret"), "npx …");
        assert_eq!(words("env TOKEN=s3cret server"), "env …");
        let place = |text: &str| place(&text.parse().unwrap());
        assert_eq!(place("http://127.0.0.1:9/mcp"), "http://127.0.0.1:9/mcp");
        assert_eq!(place("https://box.example/s3cret/mcp"), "https://box.example/…");
        assert_eq!(place("https://box.example/mcp?key=s3cret"), "https://box.example/…");
    }
}
