//! Who may ask for what: deny by default, read whole or not at all (contracts/txts.md section 4).

mod file;
mod grant;
mod issuer;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nuncio_proto::ids::AgentId;
use nuncio_proto::tlog::NoteKey;
use nuncio_proto::token::{Algorithm, Json};

use crate::decisions::DecisionPoint;
use crate::holder::Holder;
use crate::jose::KeyRing;
use crate::limits::Rate;

pub(crate) use grant::{Asked, Grant, SubjectType};
pub(crate) use issuer::Issuer;
pub(crate) use load::{load, parse};

/// A policy in force.
#[derive(Debug)]
pub(crate) struct Policy {
    /// SHA-256 of its file, in base64url.
    pub(crate) hash: String,
    pub(crate) service: Service,
    pub(crate) issuers: BTreeMap<String, Issuer>,
    clients: BTreeMap<String, Arc<Client>>,
    agents: BTreeMap<AgentId, Arc<Client>>,
    operators: BTreeSet<String>,
    retired: BTreeSet<AgentId>,
    pub(crate) decisions: Option<DecisionPoint>,
    /// Who cosigns the log.
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) anchors: Anchors,
}

/// Who anchors the log, and how often (contracts/log.md G26).
#[derive(Clone, Debug)]
pub(crate) struct Anchors {
    /// Addresses of calendars, without a slash at the end.
    pub(crate) calendars: Vec<String>,
    pub(crate) every: Duration,
}

/// Who cosigns the log.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) key: NoteKey,
    /// Where `add-checkpoint` is.
    pub(crate) url: String,
}

/// What all tokens have in common.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) domain: String,
    pub(crate) issuer: String,
    pub(crate) token_endpoint: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) token_life_s: u64,
    pub(crate) transaction_life_s: u64,
    pub(crate) hops_max: u8,
    /// Places over TCP that one address may have.
    pub(crate) connections_per_source: usize,
}

impl Service {
    /// Whether another policy speaks of the same service: what its tokens and clients rely on does not change while it runs.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.domain, &self.issuer, self.algorithm) == (&other.domain, &other.issuer, other.algorithm)
    }
}

/// One who may ask.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    /// Its agent.
    pub(crate) did: Option<AgentId>,
    /// Who holds its tokens, where it has an agent.
    pub(crate) holder: Option<Holder>,
    /// What its assertions and self-signed tokens are signed with.
    pub(crate) keys: KeyRing,
    pub(crate) rate: Rate,
    pub(crate) agentic_ctx: Option<Json>,
    pub(crate) grants: Vec<Grant>,
}

impl Policy {
    pub(crate) fn client(&self, name: &str) -> Option<&Arc<Client>> {
        self.clients.get(name).filter(|client| !client.did.is_some_and(|did| self.is_retired(&did)))
    }

    /// The client whose agent this is.
    pub(crate) fn client_of(&self, agent: &AgentId) -> Option<&Arc<Client>> {
        self.agents.get(agent).filter(|_| !self.is_retired(agent))
    }

    /// Whether the agent has said that its identity is over (contracts/txts.md N36).
    pub(crate) fn is_retired(&self, agent: &AgentId) -> bool {
        self.retired.contains(agent)
    }

    /// Who there is.
    pub(crate) fn client_names(&self) -> impl Iterator<Item = &str> {
        self.clients.keys().map(String::as_str)
    }

    /// What the agents are called.
    pub(crate) fn agent_names(&self) -> impl Iterator<Item = (&AgentId, &str)> {
        self.agents.iter().map(|(agent, client)| (agent, client.name.as_str()))
    }

    /// Who may revoke.
    pub(crate) fn operator_names(&self) -> impl Iterator<Item = &str> {
        self.operators.iter().map(String::as_str)
    }

    pub(crate) fn is_operator(&self, client: &Client) -> bool {
        self.operators.contains(&client.name)
    }
}
