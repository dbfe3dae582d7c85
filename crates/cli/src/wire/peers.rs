//! Agents in the local API's JSON: this one's line, and those that it knows.

use serde::{Deserialize, Serialize};

use super::Purpose;

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    /// Its DID.
    pub agent: String,
    /// The line to paste to another agent.
    pub invitation: String,
}

/// A peer to be added.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPeer {
    /// The line that the other agent's `nuncio id` printed.
    pub invitation: String,
    /// A short name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For what this agent asks that one to be let in there; without it, for nothing, and it asks only where the line lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock: Option<Purpose>,
    /// In which transaction it would act, in words: whoever lets it in is shown them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
}

/// The agent that a request was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its DID.
    pub agent: String,
}

/// A known agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its DID.
    pub agent: String,
    /// Its short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host:port` to dial.
    pub endpoints: Vec<String>,
    /// Its first letters are taken.
    pub allowed: bool,
    /// It is known as a member of a channel alone.
    #[serde(default)]
    pub fellow: bool,
    /// Its owner ended this identity.
    pub retired: bool,
    /// There is a connection now.
    pub connected: bool,
    /// Letters to it that are not acknowledged.
    pub waiting: u64,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Where frames wait for it, as far as that is known: `did:key:…@host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// By what this agent's audit events name it, where they do not by its key: in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
}

/// All known agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// Each of them.
    pub peers: Vec<Peer>,
}

/// A statement that retires an identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// The statement in standard base64, padded.
    pub statement: String,
}
