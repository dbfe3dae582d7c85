//! Services of this agent, and connections to those of others.

use nuncio_bridge::ServiceTold;
use serde::{Deserialize, Serialize};

/// What the agent offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// By name.
    pub services: Vec<ServiceTold>,
}

/// A service to connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// Whose: a DID or short name.
    pub peer: String,
    /// Under which name it offers it.
    pub service: String,
    /// What it is called here; the service's name where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The token of a transaction in which its messages act, where they name none themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// What it is called here.
    pub name: String,
    /// Whose service.
    pub peer: String,
    /// Under which name that one offers it.
    pub service: String,
    /// Where programs of this machine reach it. It is a secret.
    pub url: String,
    /// In which transaction its messages act, where they name none themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// By name.
    pub connections: Vec<Connection>,
    /// Why their addresses do not answer now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
