//! `connections.toml` in an agent's home: which services of others its owner's programs reach, and at which addresses of this machine.
//!
//! ```toml
//! port = 43127                  # of all of them; it stays, so that addresses do
//! card_seed = "…"               # of the key that signs cards of agents, in 64 hexadecimal digits
//!
//! [connections.files]           # http://127.0.0.1:43127/files/SECRET
//! peer = "did:key:z6Mk…"
//! service = "files"
//! secret = "…"                  # 32 hexadecimal digits
//! webhooks = { mine = "https://hooks.example/a2a" }   # addresses of its clients that an agent of A2A may have called
//! under = "eyJ…"                # the token of a transaction in which its messages act, if it names one
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use nuncio::Transaction;
use nuncio_proto::call::ServiceName;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::a2a;
use crate::config::{ConfigError, Others, put, read_private, without_value};

/// The file's name in the home.
pub const FILE: &str = "connections.toml";
/// In front of the file, for whoever opens it.
const HEAD: &str =
    "# Written by `nuncio connect`. Whoever knows a secret here can use that service from this machine.\n";
const SECRET_LEN: usize = 16;

/// A service of another agent that programs of this machine reach.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub peer: AgentId,
    /// Under which name it offers it.
    pub service: ServiceName,
    /// What stands behind the name in its address.
    pub(crate) secret: Zeroizing<String>,
    /// In which transaction its messages act, where they name none themselves.
    pub under: Option<Transaction>,
    /// Addresses of its clients that the service may have called, by name; none, if not said.
    pub webhooks: BTreeMap<String, String>,
}

/// What else a connection may have.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// In which transaction its messages act, where they name none themselves.
    pub under: Option<Transaction>,
    /// Addresses of its clients that the service may have called, by name.
    pub webhooks: BTreeMap<String, String>,
}

impl fmt::Debug for Connection {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({}/{})", self.peer, self.service)
    }
}

impl Connection {
    /// Whether they differ at most in their transactions and in the webhooks that they name.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        (self.peer, &self.service, &self.secret) == (other.peer, &other.service, &other.secret)
    }
}

/// All of a home's, by the names that its owner gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    pub(crate) port: Option<u16>,
    /// Of the key that signs cards.
    pub(crate) seed: Option<Seed>,
    pub(crate) all: BTreeMap<ServiceName, Connection>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_seed: Option<String>,
    #[serde(default)]
    connections: BTreeMap<String, Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    peer: String,
    service: String,
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    under: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    webhooks: BTreeMap<String, String>,
}

impl Connections {
    /// Reads the file of a home. Where there is none, there are none.
    ///
    /// # Errors
    /// It is not whole what this program writes, or others of this machine can read it.
    pub fn load(home: &Path) -> Result<Self, ConfigError> {
        let path = home.join(FILE);
        let text = match read_private(&path, Others::MayNotRead) {
            Err(ConfigError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            other => Zeroizing::new(other?),
        };
        let whole: Whole = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::Line { path: path.clone(), line, what: without_value(error.message()) }
        })?;
        let rows = whole.connections.into_iter().map(|(name, row)| {
            let said = |what: &str| ConfigError::Service {
                path: path.clone(),
                service: name.clone(),
                what: format!("{what}: `nuncio connect` writes this file"),
            };
            let parsed = name.parse().map_err(|_| said("a name is letters, digits, - _ and . in lower case"))?;
            Ok((parsed, row.check().map_err(said)?))
        });
        let seed = whole.card_seed.map(|text| Seed::parse(&text).ok_or_else(|| bad_seed(&path))).transpose()?;
        Ok(Self { seed, port: whole.port.filter(|port| *port != 0), all: rows.collect::<Result<_, ConfigError>>()? })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn save(&self, home: &Path) -> Result<(), ConfigError> {
        let row = |connection: &Connection| Row {
            peer: connection.peer.to_string(),
            service: connection.service.to_string(),
            secret: connection.secret.to_string(),
            webhooks: connection.webhooks.clone(),
            under: connection.under.as_ref().map(|transaction| transaction.token().to_owned()),
        };
        let connections = self.all.iter().map(|(name, connection)| (name.to_string(), row(connection))).collect();
        let written = toml::to_string(&Whole {
            port: self.port,
            card_seed: self.seed.as_ref().map(|seed| seed.text().to_string()),
            connections,
        })
        .map_err(io::Error::other);
        let put = |text: String| put(home, FILE, &Zeroizing::new(format!("{HEAD}{text}")));
        written.and_then(put).map_err(|source| ConfigError::File { path: home.join(FILE), source })
    }

    /// The key that signs what is served in the stead of an agent's signed card.
    #[must_use]
    pub fn signer(&self) -> Option<SigningKey> {
        self.seed.as_ref().map(|seed| SigningKey::from_seed(&seed.0))
    }

    /// Its public half, as a JWK: what clients check such a card by.
    #[must_use]
    pub fn card_key(&self) -> Option<serde_json::Value> {
        self.signer().map(|signer| a2a::jwk(&signer))
    }

    /// The one to a service, if there is one.
    #[must_use]
    pub fn to(&self, peer: &AgentId, service: &ServiceName) -> Option<(&ServiceName, &Connection)> {
        self.all.iter().find(|(_, one)| one.peer == *peer && one.service == *service)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, &Connection)> {
        self.all.iter()
    }

    /// The address at which programs reach one: it is a secret.
    #[must_use]
    pub fn url(&self, name: &ServiceName, connection: &Connection) -> Option<Zeroizing<String>> {
        let port = self.port?;
        Some(Zeroizing::new(format!("http://127.0.0.1:{port}/{name}/{}", connection.secret.as_str())))
    }
}

/// Addresses of HTTP.
pub(crate) fn checked(webhooks: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, &'static str> {
    let is_http = |url: &String| {
        let url = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.is_some_and(|url| url.has_host() && url.username().is_empty() && url.password().is_none())
    };
    if webhooks.values().all(is_http) { Ok(webhooks) } else { Err("`webhooks` are addresses: NAME = \"https://…\"") }
}

/// What a signing key is made of.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seed(Zeroizing<[u8; 32]>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// A new one.
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(data_encoding::HEXLOWER.encode(self.0.as_slice()))
    }
}

fn bad_seed(path: &Path) -> ConfigError {
    let what = "`card_seed` is 64 hexadecimal digits: `nuncio connect` writes this file".to_owned();
    ConfigError::Line { path: path.to_owned(), line: 1, what }
}

impl Row {
    fn check(self) -> Result<Connection, &'static str> {
        let is_secret = self.secret.len() == 2 * SECRET_LEN && self.secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_secret {
            return Err("a secret is 32 hexadecimal digits");
        }
        let under = self.under.map(|token| Transaction::from_token(&token).ok_or("`under` is no transaction token"));
        Ok(Connection {
            webhooks: checked(self.webhooks)?,
            under: under.transpose()?,
            peer: self.peer.parse().map_err(|_| "`peer` is no did:key of an agent")?,
            service: self.service.parse().map_err(|_| "`service` is no name of one")?,
            secret: Zeroizing::new(self.secret),
        })
    }
}

/// A new secret: 128 random bits.
// contracts/call.md X15.
pub(crate) fn secret() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; SECRET_LEN]);
    getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
    Ok(Zeroizing::new(data_encoding::HEXLOWER.encode(bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn some() -> Connections {
        let one = Connection {
            peer: "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".parse().unwrap(),
            service: "files".parse().unwrap(),
            secret: secret().unwrap(),
            under: None,
            webhooks: BTreeMap::from([("mine".to_owned(), "https://hooks.example/a2a".to_owned())]),
        };
        Connections { port: Some(4000), seed: Some(Seed::new().unwrap()), all: [("docs".parse().unwrap(), one)].into() }
    }

    #[test]
    fn what_is_written_is_read_and_is_its_owner_s_alone() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Connections::load(home.path()).unwrap(), Connections::default());
        let written = some();
        written.save(home.path()).unwrap();
        assert_eq!(Connections::load(home.path()).unwrap(), written);
        let path = home.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Connections::load(home.path()).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused_without_its_secrets() {
        let home = tempfile::tempdir().unwrap();
        let good = {
            some().save(home.path()).unwrap();
            std::fs::read_to_string(home.path().join(FILE)).unwrap()
        };
        for (from, to, said) in [
            ("port = 4000", "port = \"s3cret\"", "line 2"),
            ("peer = \"did", "peer = \"nid", "`peer`"),
            ("service", "servise", "unknown field"),
            ("secret = \"", "secret = \"x", "32 hexadecimal"),
            ("[connections.docs", "[connections.Docs", "lower case"),
            ("https://hooks", "nowhere", "`webhooks`"),
            ("card_seed = \"", "card_seed = \"x", "64 hexadecimal"),
            ("secret =", "under = \"s3cret\"\nsecret =", "`under`"),
        ] {
            assert!(good.contains(from), "{good}");
            put(home.path(), FILE, &good.replace(from, to)).unwrap();
            let error = Connections::load(home.path()).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
    }
}
