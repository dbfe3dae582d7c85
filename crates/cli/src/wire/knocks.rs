//! Agents that would be let in, as the local API speaks of them.

use serde::{Deserialize, Serialize};

/// For what an agent would be let in, or a line lets in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// A service; for none where nothing stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it may there, or would.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A line to make that lets its bearer in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// What for.
    pub purpose: Purpose,
    /// How long it is good, in seconds.
    pub life_s: u64,
    /// How often.
    pub times: u32,
}

/// The line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Invited {
    /// To be sent like a password.
    pub invitation: String,
}

/// Lines that may still let somebody in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lines {
    /// All of them.
    pub lines: Vec<LineTold>,
}

/// One of them; not its secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct LineTold {
    /// Its name.
    pub line: String,
    /// What it lets in for.
    pub purpose: Purpose,
    /// Until when.
    pub until_ms: u64,
    /// How often still.
    pub times: u32,
}

/// A line, by its name.
#[derive(Debug, Serialize, Deserialize)]
pub struct LineNamed {
    /// Its name.
    pub line: String,
}

/// Who would be let in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Knocks {
    /// All that wait for a person.
    pub knocks: Vec<KnockTold>,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct KnockTold {
    /// Who: it has signed that it is this one.
    pub agent: String,
    /// When it was heard last.
    pub at_ms: u64,
    /// What for, by its own word.
    pub purpose: Purpose,
    /// In which transaction, by its own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Where it says that it is reached.
    pub endpoints: Vec<String>,
}

/// How an agent is let in.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetIn {
    /// A short name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
