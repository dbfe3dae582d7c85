//! The policy file, as its schema has it (contracts/schema/policy.json).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct File {
    pub(super) service: Service,
    #[serde(default)]
    pub(super) issuer: Vec<Issuer>,
    #[serde(default)]
    pub(super) client: Vec<Client>,
    #[serde(default)]
    pub(super) operators: Vec<String>,
    #[serde(default)]
    pub(super) retired_files: Vec<PathBuf>,
    pub(super) decisions: Option<Decisions>,
    #[serde(default)]
    pub(super) witness: Vec<Witness>,
    #[serde(default)]
    pub(super) anchor: Vec<Anchor>,
    pub(super) anchor_every_minutes: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Anchor {
    pub(super) calendar: String,
}

#[derive(Deserialize)]
pub(super) struct Witness {
    pub(super) key: String,
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) trust_domain: String,
    pub(super) issuer: String,
    pub(super) algorithm: Option<String>,
    pub(super) token_life_s: Option<u64>,
    pub(super) transaction_life_s: u64,
    pub(super) hops_max: Option<u8>,
    pub(super) connections_per_source: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Issuer {
    pub(super) issuer: String,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) types: Vec<String>,
    #[serde(default)]
    pub(super) subject_prefix: String,
    pub(super) scope: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) did: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks: Option<Value>,
    pub(super) requests_per_s: Option<u32>,
    pub(super) agentic_ctx: Option<Value>,
    #[serde(default)]
    pub(super) grant: Vec<Grant>,
}

#[derive(Deserialize)]
pub(super) struct Grant {
    pub(super) subject_types: Vec<String>,
    pub(super) subjects: Vec<String>,
    pub(super) scope: String,
    #[serde(default)]
    pub(super) receivers: Vec<String>,
    pub(super) hops_max: Option<u8>,
    #[serde(default)]
    pub(super) details: BTreeMap<String, Member>,
    #[serde(default)]
    pub(super) context: BTreeMap<String, Member>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Member {
    Word(String),
    Value { value: Value },
    Claim { claim: String },
}

#[derive(Deserialize)]
pub(super) struct Decisions {
    pub(super) url: String,
    pub(super) bearer_file: Option<PathBuf>,
}
