//! Transactions in the local API's JSON.

use serde::{Deserialize, Serialize};

/// The transaction in which a letter acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Under {
    /// The token of the transaction, or of the letter's grant that is gone on with.
    pub token: String,
    /// Hands on only this of its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The token that is handed on allows this one payload.
    #[serde(default)]
    pub bind_payload: bool,
    /// The letter carries a hop proof: this agent's signature over what it does with the token.
    #[serde(default)]
    pub prove: bool,
    /// How long to wait for a token service that cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// A transaction to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTransaction {
    /// What `subject` is.
    pub subject_type: SubjectType,
    /// A token of an issuer that the token service knows; for `self_signed` the principal.
    pub subject: String,
    /// What it may do.
    pub scope: String,
    /// An object that stays as it is through the whole transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// What says for whom a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SubjectType {
    /// An access token.
    AccessToken,
    /// Another JWT.
    Jwt,
    /// An ID token of OpenID Connect.
    IdToken,
    /// This agent's own word.
    SelfSigned,
}

/// A transaction that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its id.
    pub transaction: String,
    /// For whom.
    pub principal: String,
    /// For what.
    pub scope: String,
    /// How often it may be handed on.
    pub hops_left: u8,
    /// Until when, in Unix milliseconds.
    pub expires_ms: u64,
    /// What letters are sent under. Of use to this agent alone; not for logs.
    pub token: String,
}

/// What a letter may do: verified before it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// In which transaction.
    pub transaction: String,
    /// For whom.
    pub principal: String,
    /// Every workload that acted in it so far; the last is the sender.
    pub chain: Vec<String>,
    /// Who acts for the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actors: Option<serde_json::Value>,
    /// For what.
    pub scope: String,
    /// What stays as it is through the whole transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// The environment of the request that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<serde_json::Value>,
    /// How often it may still be handed on.
    pub hops_left: u8,
    /// It allows this one payload.
    pub bound: bool,
    /// Until when it can be gone on with, in Unix milliseconds.
    pub expires_ms: u64,
    /// To go on with it: `under.token` of a letter. Not for logs.
    pub token: String,
}
