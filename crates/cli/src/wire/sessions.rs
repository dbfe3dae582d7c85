//! Sessions in the local API's JSON, and what is missing in them.

use serde::{Deserialize, Serialize};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name.
    pub id: String,
    /// The other agent's DID.
    pub with: String,
    /// Letters are sealed in it.
    pub current: bool,
    /// A frame has opened each way.
    pub confirmed: bool,
    /// Letters sealed in it.
    pub sealed: u64,
    /// Letters received in it without a gap.
    pub received: u64,
    /// Frames of ours in it that are not acknowledged.
    #[serde(default)]
    pub under_way: u64,
    /// What is missing of the peer's frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// A number that did not come although a higher one did: resends bring it, or somebody withholds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The lowest number that is missing.
    pub seq: u64,
    /// Since when it is missed, in Unix milliseconds.
    pub since_ms: u64,
}

/// A number that is missing for longer than resends explain: somebody may withhold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The DID of whose it is.
    pub from: String,
    /// Its short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// In which session, if it is a frame of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// To which channel, if it is a letter that was sealed once for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The lowest number that is missing.
    pub seq: u64,
    /// Since when it is missed, in Unix milliseconds.
    pub since_ms: u64,
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Each of them.
    pub sessions: Vec<Session>,
}
