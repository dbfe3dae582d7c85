//! The local API's JSON, the same for both ends (contracts/openapi/local.yaml).

mod calls;
mod channels;
mod knocks;
mod permits;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use calls::{Connection, Connections, NewConnection, Services};
pub use channels::{
    Channel, ChannelAccepted, ChannelCancelled, ChannelChange, ChannelInvitation, ChannelMember, ChannelNamed,
    ChannelTally, Channels, HandedHistory, HandedOver, MemberTold, NewChannel, NewChannelLetter, NewHistory, NewMember,
    NewSuccession, Role, SaidLetter, SaidPage,
};
pub use knocks::{Invited, KnockTold, Knocks, LetIn, LineNamed, LineTold, Lines, NewInvitation, Purpose};
pub use permits::{KeepPermit, NewNarrower, NewPermit, PermitLink, PermitTold, Permits, Revoked};
use serde::{Deserialize, Serialize};

/// Why a request was refused: the body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A fixed word for programs; `error` where a node answers, as OAuth has it.
    #[serde(alias = "error")]
    pub code: String,
    /// A sentence for people: what is wrong and what to do.
    #[serde(alias = "error_description")]
    pub message: String,
    /// Of a letter that was not delivered: why, as the registry's codes are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_code: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

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

/// Where frames wait for an agent while it is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The node that keeps it: `did:key:…@host:port`.
    pub at: String,
    /// It is open, and fetched from.
    pub open: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// One-time prekeys that the node's directory had left when it was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_prekeys: Option<u64>,
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Each of them.
    pub sessions: Vec<Session>,
}

/// How an agent fares. Counters begin with the agent's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its DID.
    pub agent: String,
    /// Its identity is over: peers take no letters of it, and it sends none.
    pub retired: bool,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// `host:port` at which it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening: Option<String>,
    /// Letters in the inbox.
    pub inbox: u64,
    /// Letters sent and not acknowledged.
    pub outbox: u64,
    /// Letters sent that failed since the start.
    pub letters_failed: u64,
    /// Events that wait for the audit log.
    pub events_waiting: u64,
    /// Why the log does not take events now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_wait: Option<String>,
    /// Known agents.
    pub peers: u64,
    /// Sessions.
    pub sessions: u64,
    /// Connections now.
    pub connections: u64,
    /// One-time prekeys that were not given away.
    pub one_time_prekeys: u64,
    /// This agent's mailbox, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<Mailbox>,
    /// Sessions in which a number is missing for longer than resends explain.
    #[serde(default)]
    pub gaps: u64,
    /// Letters, by what happened to them.
    pub counters: Counters,
    /// Frames refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// What the store has done.
    pub commits: Commits,
    /// What went over the wire.
    pub wire: Wire,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Letters sealed, control letters included.
    pub sealed: u64,
    /// Letters opened, control letters included.
    pub opened: u64,
    /// Letters that came again and were not delivered again.
    pub duplicates: u64,
    /// Frames sent again.
    pub resent: u64,
    /// Acknowledgements sent alone.
    pub acks_alone: u64,
    /// DH turns of a receiving ratchet.
    pub turns: u64,
    /// Handshakes begun or answered.
    pub handshakes: u64,
    /// Re-keys completed.
    pub rekeys: u64,
    /// Letters sealed again in another session.
    pub sealed_again: u64,
}

/// Commits since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commits {
    /// Groups committed, each with one sync of the device.
    pub groups: u64,
    /// Steps in them.
    pub steps: u64,
    /// Microseconds that they took in all.
    pub took_us: u64,
}

/// Frames since the start; large payloads' chunks are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// Frames handed to connections.
    pub frames_sent: u64,
    /// Their bytes.
    pub frame_bytes_sent: u64,
    /// Frames that came.
    pub frames_received: u64,
    /// Their bytes.
    pub frame_bytes_received: u64,
}

/// A statement that retires an identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// The statement in standard base64, padded.
    pub statement: String,
}

/// Where a backup goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackup {
    /// Absolute path of a directory that is not there yet.
    pub to: PathBuf,
}

/// What opening every row found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// Rows that opened, by what they hold.
    pub rows: BTreeMap<String, u64>,
    /// Bytes of all values, as they are sealed.
    pub sealed_bytes: u64,
    /// Rows that did not open.
    pub bad: u64,
    /// The first of them, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<String>,
}
