//! Letters, outbox and inbox in the local API's JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Grant, HandedOver, Under};

/// A letter to be sent. Exactly one of `text`, `base64` and `file` is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLetter {
    /// A DID or a peer's short name.
    pub to: String,
    /// The payload as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in standard base64, padded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Absolute path of a file that the agent reads; over the Unix socket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Media type; by default text or octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Id of the letter that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Not delivered after so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// The transaction in which it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<Under>,
}

/// A letter that is to be opened to others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedOpening {
    /// The letter's id.
    pub id: String,
    /// Who wrote it, by DID or short name: this agent where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its payload in standard base64, padded; none for a letter without one, or with a large one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Show whom the log's events under pseudonyms mean: of all events of the two ends.
    #[serde(default)]
    pub show_pair: bool,
}

/// A letter that is on disk and on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The receiver's DID.
    pub to: String,
    /// The letter's id.
    pub id: String,
}

/// Where a letter of ours is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterState {
    /// The receiver's DID.
    pub to: String,
    /// The letter's id.
    pub id: String,
    /// What became of it.
    pub state: Delivery,
    /// By which way it has left, while it is listed as waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// Since when its frame waits at the receiver's node, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_since_ms: Option<u64>,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed, for programs: the name of a code of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a letter to a channel, which is listed once for each that lacks it: the channel's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What that channel is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_name: Option<String>,
    /// For how many it is: those who are not listed have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Bytes of its large payload that were handed to the network, while it is waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_sent: Option<u64>,
    /// Bytes of its large payload, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_len: Option<u64>,
}

/// Letters of ours that are not delivered, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Them.
    pub letters: Vec<LetterState>,
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// On its way.
    Waiting,
    /// The peer has it on disk.
    Delivered,
    /// It will not be delivered.
    Failed,
}

/// By which way a letter has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It has not: it waits for a session, a token, a connection, or room.
    None,
    /// Over a connection that there is.
    Direct,
    /// It waits at the receiver's node.
    Mailbox,
}

/// Whether a letter was still there to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// False when it was not on its way any more.
    pub cancelled: bool,
}

/// A letter in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxLetter {
    /// Its number in the inbox; later ones have higher numbers.
    pub no: u64,
    /// Its id, unique for its sender.
    pub id: String,
    /// The sender's DID: proven.
    pub from: String,
    /// The sender's short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// To which channel it was sent, if to one: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What that channel is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_name: Option<String>,
    /// It hands over an earlier letter of a channel: whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<HandedOver>,
    /// When it was made, by the sender's clock, in Unix milliseconds.
    pub sent_ms: u64,
    /// When it came, in Unix milliseconds.
    pub received_ms: u64,
    /// The letter of ours that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Media type, by the sender's word.
    pub content_type: String,
    /// Length of the payload in bytes.
    pub len: u64,
    /// Bytes of the payload that are here; all of them unless it is a large one under way.
    pub arrived: u64,
    /// The payload, when it is text and not large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload, when it is not text and not large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// What it may do, if it came with a transaction token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The sender's hop proof, verified, if it made one: to be shown to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Some of the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxPage {
    /// Letters in the order of their arrival.
    pub letters: Vec<InboxLetter>,
}
