//! The trust domain of one run: a node that issues tokens, and whoever users log in with.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use nuncio::{AgentId, AuditPolicy, Auditing, Config, Invitation, PeerNames, WhenFull};
use nuncio_node::Node;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::secret::Key;
use nuncio_proto::token::{self, Thumbprint};
use nuncio_store::Kek;
use serde_json::json;

/// As in policy.toml.
pub(crate) const DOMAIN: &str = "travel.example";
const POLICY: &str = include_str!("policy.toml");
const LOGIN_LIFE: Duration = Duration::from_secs(600);

/// Agents write down what happens in their sessions, and the node's log has it.
pub(crate) const AUDIT: AuditPolicy = AuditPolicy {
    auditing: Auditing::Offered,
    peer_names: PeerNames::Keys,
    room: 10_000,
    when_full: WhenFull::Stop,
    heartbeat: 0,
};

pub(crate) struct Domain {
    pub(crate) node: Node,
    login: SigningKey,
}

impl Domain {
    /// Makes the node's home and starts it under a policy.
    pub(crate) async fn start(dir: &Path, policy: &str) -> Result<Self> {
        let login = SigningKey::from_seed(&random()?);
        fs::write(dir.join("login.jwks.json"), key_set(&login))?;
        let file = dir.join("policy.toml");
        fs::write(&file, policy)?;
        let (home, kek) = (dir.join("node"), Kek::from_key(Key::new(random()?)));
        nuncio_node::init(&home, &kek)?;
        let mut config = nuncio_node::Config::new(home, kek, file);
        config.quic = Some(([127, 0, 0, 1], 0).into());
        config.tcp = Some(([127, 0, 0, 1], 0).into());
        Ok(Self { node: Node::start(config).await?, login })
    }

    /// What agents are configured with.
    pub(crate) fn invitation(&self) -> Result<Invitation> {
        let endpoint = self.node.quic_addr().context("the node serves QUIC")?.to_string();
        Ok(Invitation {
            agent: self.node.id(),
            endpoints: vec![endpoint],
            mailbox: None,
            bundle_hash: None,
            knock: None,
        })
    }

    /// The access token (RFC 9068) that a user's login gives them.
    pub(crate) fn log_in(&self, user: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let members = json!({
            "iss": "https://login.travel.example", "aud": "travel", "sub": user, "client_id": "app", "jti": hex(&random::<16>()?),
            "iat": now.as_secs(), "exp": (now + LOGIN_LIFE).as_secs(),
            "scope": "profile travel.plan travel.book travel.pay travel.refund travel.notify",
        });
        Ok(token::sign(&self.login, "at+jwt", &members.to_string()))
    }

    pub(crate) async fn stop(self) -> Result<()> {
        Ok(self.node.stop().await?)
    }
}

/// Makes an identity and a home, called by its name, for each agent.
pub(crate) fn identities<'a>(dir: &Path, names: &[&'a str]) -> Result<Vec<(&'a str, AgentId)>> {
    names.iter().map(|name| Ok((*name, nuncio::init(&Config::new(dir.join(name)))?.0))).collect()
}

/// The policy, with each agent's DID in its place.
pub(crate) fn policy(agents: &[(&str, AgentId)]) -> String {
    agents
        .iter()
        .fold(POLICY.to_owned(), |policy, (name, did)| policy.replace(&format!("{{{name}}}"), &did.to_string()))
}

fn key_set(key: &SigningKey) -> String {
    let (x, kid) = (data_encoding::BASE64URL_NOPAD.encode(&key.public()), Thumbprint::of_ed25519(&key.public()));
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x, "kid": kid.to_string() }] })
        .to_string()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}
