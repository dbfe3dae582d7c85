//! Transaction tokens: opened with a key set, and checked for one letter.

use std::collections::BTreeSet;

use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Circumstances, EdDsaOnly, Genuine, KeySet, Scope, Thumbprint, Unopened};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::names::Name;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    keys: String,
    token: String,
    now: u64,
    domain: String,
    peer: String,
    receiver: String,
    revoked: BTreeSet<String>,
    wanted: String,
    content: Hex,
    first_seen_from: Option<String>,
}

fn agent(did: &str) -> AgentId {
    did.parse().unwrap()
}

fn thumbprint(did: &str) -> Thumbprint {
    Thumbprint::of_agent(&agent(did))
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let given: Input = input(value);
    let keys = KeySet::parse(given.keys.as_bytes()).map_err(|_| "not-key-set")?;
    match Genuine::open(given.token.as_bytes(), &keys, &EdDsaOnly) {
        Ok(genuine) => given.check(&genuine),
        Err(Unopened::Need(kid)) => Ok(json!({ "need": kid.to_string() })),
        Err(Unopened::Denied(denial)) => Err(denial.name()),
    }
}

impl Input {
    fn check(&self, genuine: &Genuine) -> Outcome {
        let first_seen_from = self.first_seen_from.as_deref().map(thumbprint);
        let at = Circumstances {
            now: UnixMillis(self.now),
            domain: &self.domain,
            peer: &thumbprint(&self.peer),
            to: &self.receiver.parse().unwrap(),
            revoked: &self.revoked,
            wanted: &Scope::parse(&self.wanted).unwrap(),
            content: &self.content.0,
            first_seen_from: first_seen_from.as_ref(),
        };
        let grant = genuine.check(&at).map_err(|denial| denial.name())?;
        Ok(json!({
            "transaction": grant.transaction(),
            "principal": grant.principal(),
            "scope": grant.scope().iter().collect::<Vec<_>>(),
            "hops_left": grant.hops_left(),
            "hash": hex(genuine.hash()),
        }))
    }
}
