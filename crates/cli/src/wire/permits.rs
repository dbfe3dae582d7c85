//! Permits, as the local API speaks of them.

use nuncio::{Permit, PermitId};
use serde::{Deserialize, Serialize};

/// A permit to give.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPermit {
    /// Whose it is: a DID or a short name.
    pub to: String,
    /// For which service of this agent's.
    pub service: String,
    /// What it allows there.
    pub scopes: Vec<String>,
    /// How long, in milliseconds.
    pub life_ms: u64,
    /// How many may hand it on, one after the other.
    #[serde(default)]
    pub further: u8,
}

/// A permit to hand on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewNarrower {
    /// Whose it is: a DID or a short name.
    pub to: String,
    /// What it allows of what is allowed above.
    pub scopes: Vec<String>,
    /// How long, in milliseconds; as long as above where nothing stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// How many may hand it on, one after the other.
    #[serde(default)]
    pub further: u8,
}

/// A permit of this agent's own to keep.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepPermit {
    /// The line.
    pub permit: String,
}

/// All that are kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Permits {
    /// Given here, shown here, held, and handed on.
    pub permits: Vec<PermitTold>,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct PermitTold {
    /// Its id: the last link's.
    pub id: String,
    /// Who gave it: the agent at which it counts.
    pub giver: String,
    /// For which service there.
    pub service: String,
    /// Whose it is.
    pub holder: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Until when.
    pub until_ms: u64,
    /// How many may hand it on from here, one after the other.
    pub further: u8,
    /// Its links, the giver's first.
    pub links: Vec<PermitLink>,
    /// The line to hand over. It is no secret: it is for its holder alone.
    pub permit: String,
}

/// A link of a permit.
#[derive(Debug, Serialize, Deserialize)]
pub struct PermitLink {
    /// By what it is revoked.
    pub id: String,
    /// Who signed it.
    pub by: String,
    /// For whom.
    pub holder: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Until when.
    pub until_ms: u64,
}

/// A link that was revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// Its id.
    pub id: String,
}

impl PermitTold {
    /// What is told of it.
    #[must_use]
    pub fn of(permit: &Permit) -> Self {
        let scopes = |scope: &nuncio::Scope| scope.iter().map(str::to_owned).collect();
        let links = permit.signed_links().map(|(by, link)| PermitLink {
            id: link.id().to_string(),
            by: by.to_string(),
            holder: link.terms.holder.to_string(),
            scopes: scopes(&link.terms.scope),
            until_ms: link.terms.until.0,
        });
        let last = &permit.last().terms;
        Self {
            id: permit.id().to_string(),
            giver: permit.giver().to_string(),
            service: permit.service().to_string(),
            holder: permit.holder().to_string(),
            scopes: scopes(&last.scope),
            until_ms: last.until.0,
            further: last.further,
            links: links.collect(),
            permit: permit.to_string(),
        }
    }
}

impl Revoked {
    /// What is told of it.
    #[must_use]
    pub fn of(id: PermitId) -> Self {
        Self { id: id.to_string() }
    }
}
