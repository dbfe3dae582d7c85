//! `nuncio.toml` in a home: what letters need before they are delivered, and whose tokens are taken.

use std::path::{Path, PathBuf};

use nuncio::{AgentId, AuditPolicy, Auditing, Config, ContentType, Invitation, PeerNames, Rule, Scope, WhenFull};
use serde::Deserialize;

use crate::failure::Failure;

/// The file's name.
pub(crate) const FILE: &str = "nuncio.toml";

/// What the file says. What it does not say is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default)]
    letters_without_token: WithoutToken,
    trust: Option<Trust>,
    #[serde(default)]
    needs_proof: bool,
    #[serde(default)]
    needs: Vec<Need>,
    audit: Option<Audit>,
    #[serde(default)]
    mailbox: bool,
    queries: Option<bool>,
}

/// What is written down of letters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    sessions: Sessions,
    #[serde(default = "room")]
    room: u64,
    #[serde(default)]
    when_full: Full,
    #[serde(default = "heartbeat_s")]
    heartbeat_s: u64,
    #[serde(default)]
    peers: Peers,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Peers {
    #[default]
    Keys,
    Pseudonyms,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sessions {
    Off,
    Offered,
    Required,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Full {
    #[default]
    Stop,
    Gap,
}

/// Events that wait for the log, unless another number is said: some 40 MB.
const fn room() -> u64 {
    100_000
}

/// An hour.
const fn heartbeat_s() -> u64 {
    3_600
}

impl From<Audit> for AuditPolicy {
    fn from(audit: Audit) -> Self {
        let auditing = match audit.sessions {
            Sessions::Off => Auditing::Off,
            Sessions::Offered => Auditing::Offered,
            Sessions::Required => Auditing::Required,
        };
        let when_full = match audit.when_full {
            Full::Stop => WhenFull::Stop,
            Full::Gap => WhenFull::Gap,
        };
        let peer_names = match audit.peers {
            Peers::Keys => PeerNames::Keys,
            Peers::Pseudonyms => PeerNames::Pseudonyms,
        };
        Self { auditing, peer_names, room: audit.room, when_full, heartbeat: audit.heartbeat_s.saturating_mul(1_000) }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WithoutToken {
    /// Letters without a transaction token are refused, and their senders told.
    #[default]
    Refuse,
    /// They are delivered, unless `needs` wants a scope of them.
    Deliver,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    domain: String,
    node: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Need {
    content_type: Option<String>,
    from: Option<String>,
    scope: String,
}

/// What a new home's file says.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) letters_without_token: WithoutToken,
    pub(crate) trust: Option<(&'a str, &'a Invitation)>,
}

impl New<'_> {
    /// The file's text, with what else it could say.
    pub(crate) fn text(&self) -> String {
        let without = match self.letters_without_token {
            WithoutToken::Refuse => "refuse",
            WithoutToken::Deliver => "deliver",
        };
        let trust = self.trust.map_or_else(
            || {
                "# [trust]\n# domain = \"acme.example\"\n# node = \"nuncio:did:key:…?at=node.acme.example:7431\"\n"
                    .to_owned()
            },
            |(domain, node)| {
                format!(
                    "[trust]\ndomain = {}\nnode = {}\n",
                    toml::Value::from(domain),
                    toml::Value::from(node.to_string())
                )
            },
        );
        format!(
            "# Letters that carry no transaction token: \"refuse\" or \"deliver\". Answers to `nuncio request` need none.\n\
             letters_without_token = \"{without}\"\n\n\
             # Letters with a token need the sender's signature over what they do with it.\n\
             # needs_proof = true\n\n\
             # Letters wait at the trust domain's node while this agent is away or cannot be dialled, and strangers claim its bundle there.\n\
             # mailbox = true\n\n\
             # Requests to services that only read go without letters, and leave nothing on a disk, where both ends allow it; false: letters alone.\n\
             # queries = false\n\n\
             # The trust domain whose tokens are taken and asked for, and the node of its token service, as `nuncio node` prints it.\n\
             {trust}\n\
             # The scope that a letter's token must have; a rule without type or sender names every letter.\n\
             # [[needs]]\n# content_type = \"application/json\"\n# from = \"did:key:…\"\n# scope = \"travel.book\"\n\n\
             # Each session is written down, signed by both ends, in the log of the domain's node, if both want it (\"offered\"), or there is none (\"required\").\n\
             # [audit]\n# sessions = \"offered\"\n"
        )
    }
}

impl Settings {
    /// Reads a home's file; a home without one says nothing.
    pub(crate) fn read(home: &Path) -> Result<Self, Failure> {
        let path = home.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| bad(path, error.message())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::io("read", &path)(error)),
        }
    }

    /// The trust domain, and its node.
    pub(crate) fn domain(&self, home: &Path) -> Result<Option<(String, AgentId)>, Failure> {
        let Some(Trust { domain, node }) = &self.trust else { return Ok(None) };
        let node: Invitation = node.parse().map_err(|error| bad(home.join(FILE), &format!("trust.node: {error}")))?;
        Ok(Some((domain.clone(), node.agent)))
    }

    /// Puts them into an agent's configuration.
    pub(crate) fn apply(self, home: &Path, mut config: Config) -> Result<Config, Failure> {
        let path = || home.join(FILE);
        config.wants_proof = self.needs_proof;
        config.letters_without_token = self.letters_without_token == WithoutToken::Deliver;
        if let Some(Trust { domain, node }) = self.trust {
            let node = node.parse().map_err(|error| bad(path(), &format!("trust.node: {error}")))?;
            config = config.trust(domain, node);
        }
        if let Some(audit) = self.audit {
            if audit.room == 0 {
                return Err(bad(path(), "audit.room: without room for events no letter could be sent"));
            }
            config = config.audit(audit.into());
            if config.trust.is_none() && config.audit.auditing != Auditing::Off {
                return Err(bad(path(), "[audit] needs [trust]: that domain's node keeps the log"));
            }
        }
        if self.mailbox {
            let node = config
                .trust
                .as_ref()
                .ok_or_else(|| bad(path(), "mailbox needs [trust]: letters wait at that domain's node"))?;
            if node.node.endpoints.is_empty() {
                return Err(bad(
                    path(),
                    "mailbox: trust.node names no address (?at=HOST:PORT) at which letters could be left",
                ));
            }
            config = config.mailbox();
        }
        if self.queries == Some(false) {
            config = config.without_queries();
        }
        for need in self.needs {
            config = config.rule(need.rule().map_err(|what| bad(path(), what))?);
        }
        Ok(config)
    }
}

impl Need {
    fn rule(&self) -> Result<Rule, &'static str> {
        let content_type = self.content_type.as_deref().map(|text| text.parse::<ContentType>()).transpose();
        let from = self.from.as_deref().map(str::parse::<AgentId>).transpose();
        Ok(Rule {
            content_type: content_type.map_err(|_| "needs.content_type is no media type")?,
            from: from.map_err(|_| "needs.from is no did:key")?,
            scope: Scope::parse(&self.scope)
                .filter(|scope| !scope.is_empty())
                .ok_or("needs.scope is a list of scopes with one space between two")?,
        })
    }
}

fn bad(path: PathBuf, what: &str) -> Failure {
    Failure::Settings { path, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "nuncio:did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd?at=127.0.0.1:1";

    fn read(text: &str) -> Result<Config, Failure> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FILE), text).unwrap();
        Settings::read(home.path())?.apply(home.path(), Config::new(home.path()))
    }

    #[test]
    fn what_is_not_said_is_refused() {
        let none = tempfile::tempdir().unwrap();
        let config = Settings::read(none.path()).unwrap().apply(none.path(), Config::new(none.path())).unwrap();
        assert!(!config.letters_without_token && config.trust.is_none());
        assert!(!read("").unwrap().letters_without_token);
        for bad in [
            "letters_without_token = true",
            "letters_without_token = \"yes\"",
            "letters_without_tokens = \"deliver\"",
            "[trust]\ndomain = \"d\"",
            "[trust]\ndomain = \"d\"\nnode = \"nowhere\"",
            "mailbox = true",
            "mailbox = \"yes\"\n[trust]\ndomain = \"d\"\nnode = \"nuncio:did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd?at=h:1\"",
            "mailbox = true\n[trust]\ndomain = \"d\"\nnode = \"nuncio:did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd\"",
            "[[needs]]\nscope = \"\"",
            "[[needs]]\nscope = \"a  b\"",
            "[[needs]]\nscope = \"a\"\nfrom = \"anna\"",
            "[[needs]]\nscope = \"a\"\ncontent_type = \"\"",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_init_writes_is_read_again() {
        let node: Invitation = NODE.parse().unwrap();
        let new = New { letters_without_token: WithoutToken::Deliver, trust: Some(("acme.example", &node)) };
        let config = read(&new.text()).unwrap();
        assert!(config.letters_without_token);
        let trust = config.trust.unwrap();
        assert_eq!((trust.domain.as_str(), &trust.node), ("acme.example", &node));
        let closed = New { letters_without_token: WithoutToken::Refuse, trust: None };
        assert!(!read(&closed.text()).unwrap().letters_without_token);
        // What it could say holds where it stands.
        let (hint, said) = ("# needs_proof = true", "needs_proof = true");
        assert!(new.text().contains(hint) && !config.wants_proof);
        assert!(read(&new.text().replace(hint, said)).unwrap().wants_proof);
        let (hint, said) = ("# mailbox = true", "mailbox = true");
        assert!(new.text().contains(hint) && !config.mailbox);
        assert!(read(&new.text().replace(hint, said)).unwrap().mailbox);
        let (hint, said) = ("# queries = false", "queries = false");
        assert!(new.text().contains(hint) && config.queries);
        assert!(!read(&new.text().replace(hint, said)).unwrap().queries);
    }

    #[test]
    fn needs_become_rules() {
        let config =
            read("[[needs]]\nscope = \"travel.book\"\ncontent_type = \"application/json\"\n[[needs]]\nscope = \"a b\"")
                .unwrap();
        assert_eq!(config.rules.len(), 2);
        assert_eq!(config.rules[0].content_type, Some(ContentType::JSON));
        assert_eq!(config.rules[1].scope.to_string(), "a b");
    }
}
