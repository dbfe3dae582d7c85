//! Who may use a token: `cnf.jkt`.

use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Thumbprint, VerifyingKey};

/// The key that a token is bound to, and the agent whose it is, if it is an agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) jkt: Thumbprint,
    pub(crate) agent: Option<AgentId>,
}

impl Holder {
    pub(crate) fn agent(agent: AgentId) -> Self {
        Self { jkt: Thumbprint::of_agent(&agent), agent: Some(agent) }
    }

    /// The holder of a key that was proved.
    pub(crate) fn key(key: &VerifyingKey) -> Self {
        let agent = match key {
            VerifyingKey::Ed25519(public) => AgentId::from_bytes(*public).ok(),
            VerifyingKey::Other { .. } => None,
        };
        Self { jkt: key.thumbprint(), agent }
    }
}
