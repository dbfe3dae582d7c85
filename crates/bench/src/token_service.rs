//! A token service that runs, with one client that asks it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use nuncio_node::{Config, Node, init};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::testing::jws;
use nuncio_store::Kek;
use tokio::runtime::Runtime;

use crate::http::{Answer, Clients, one_core};

const DOMAIN: &str = "acme.example";
const ISSUER: &str = "https://txts.example";
const URN: &str = "urn:ietf:params:oauth";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The first token of a transaction, for a subject in plain JSON.
    Issue,
    /// The next, for another receiver.
    Replace,
}

pub(crate) struct TokenService {
    pub(crate) node: Node,
    pub(crate) clients: Clients,
    runtime: Runtime,
    asked: u64,
}

impl TokenService {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (home, policy) = (folder.join("home"), folder.join("policy.toml"));
        if !home.exists() {
            init(&home, &kek())?;
            std::fs::write(&policy, policy_text()?)?;
        }
        let mut config = Config::new(home, kek(), policy);
        config.tcp = Some("127.0.0.1:0".parse()?);
        let runtime = one_core("bench-node")?;
        let node = runtime.block_on(Node::start(config))?;
        let clients = Clients::connect(node.tcp_addr().context("an address")?)?;
        Ok(Self { node, clients, runtime, asked: 0 })
    }

    pub(crate) fn stop(self) -> Result<()> {
        drop(self.clients);
        Ok(self.runtime.block_on(self.node.stop())?)
    }

    /// So many requests. Those for a replacement each come with a token of their own, which is got first.
    pub(crate) fn requests(&mut self, deed: Deed, count: usize) -> Result<Vec<Bytes>> {
        match deed {
            Deed::Issue => (0..count).map(|_| self.form(&first())).collect(),
            Deed::Replace => {
                let firsts = self.requests(Deed::Issue, count)?;
                let firsts = self.clients.post(firsts)?;
                firsts.iter().map(|first| self.form(&next(&token(first)?)?)).collect()
            }
        }
    }

    /// What every request has, with an assertion that nobody has seen.
    fn form(&mut self, subject: &[(&str, String)]) -> Result<Bytes> {
        self.asked += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // Of no other start of the service either.
        let (exp, jti) = (now.as_secs() + 60, format!("{}-{}", now.as_nanos(), self.asked));
        let claims = serde_json::json!({ "iss": "gateway", "sub": "gateway", "aud": ISSUER, "jti": jti, "exp": exp });
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", &format!("{URN}:grant-type:token-exchange"))
            .append_pair("requested_token_type", &format!("{URN}:token-type:txn_token"))
            .append_pair("audience", DOMAIN)
            .append_pair("scope", "travel.book travel.pay")
            .append_pair("client_assertion_type", &format!("{URN}:client-assertion-type:jwt-bearer"))
            .append_pair("client_assertion", &jws(&key(), r#"{"alg":"EdDSA"}"#, &claims.to_string()))
            .extend_pairs(subject);
        Ok(Bytes::from(form.finish()))
    }
}

fn first() -> [(&'static str, String); 3] {
    [
        ("subject_token_type", format!("{URN}:token-type:unsigned_json")),
        ("subject_token", r#"{"sub":"user:anna"}"#.to_owned()),
        ("request_details", r#"{"trip":"4711"}"#.to_owned()),
    ]
}

fn next(token: &str) -> Result<[(&'static str, String); 3]> {
    let planner = AgentId::from_bytes(SigningKey::from_seed(&[2; 32]).public())?;
    Ok([
        ("subject_token_type", format!("{URN}:token-type:txn_token")),
        ("subject_token", token.to_owned()),
        ("resource", planner.to_string()),
    ])
}

/// The token of an answer.
pub(crate) fn token(answer: &Answer) -> Result<String> {
    let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
    Ok(answer.get("access_token").and_then(serde_json::Value::as_str).context("a token")?.to_owned())
}

/// The client's key.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

fn policy_text() -> Result<String> {
    let did = AgentId::from_bytes(key().public())?;
    Ok(format!(
        "schema = \"nuncio/policy/1\"\n[service]\ntrust_domain = \"{DOMAIN}\"\nissuer = \"{ISSUER}\"\ntransaction_life_s = 3600\n\
         [[client]]\nname = \"gateway\"\ndid = \"{did}\"\nrequests_per_s = 1000000\n\
         [[client.grant]]\nsubject_types = [\"unsigned_json\", \"txn_token\"]\nsubjects = [\"user:*\"]\n\
         scope = \"travel.book travel.pay\"\nreceivers = [\"*\"]\ndetails = {{ trip = \"copy\" }}\n"
    ))
}
