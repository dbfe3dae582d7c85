//! Channels in the local API's JSON.

use serde::{Deserialize, Serialize};

use super::{Delivery, Under};

/// A channel that this agent is or was in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id: 64 hexadecimal digits.
    pub channel: String,
    /// What its owner calls it; others may be called the same.
    pub name: String,
    /// The owner's DID.
    pub owner: String,
    /// What this agent is in it.
    pub role: Role,
    /// Everybody in it.
    pub members: Vec<ChannelMember>,
    /// How often its record has moved.
    pub number: u32,
    /// Its letters are signed, and events of all who keep an audit log.
    #[serde(default)]
    pub audits: bool,
    /// The DID of whom the owner has asked to be the next: this agent, or, where this is the owner, another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heir: Option<String>,
    /// The DIDs of admins that would be owner and ask this agent for its support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asking: Vec<String>,
}

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMember {
    /// Its DID.
    pub agent: String,
    /// Its short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub role: Role,
}

/// What an agent is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It says who is in, and what the channel is called.
    Owner,
    /// It invites, and proposes to the owner.
    Admin,
    /// It reads and writes.
    Member,
    /// It has left, and hears nothing more; the owner has still to say so.
    Leaving,
    /// It was in, and is no more.
    Gone,
}

/// An invitation that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelInvitation {
    /// Into which channel.
    pub channel: String,
    /// What it is called, by the word of who invites.
    pub name: String,
    /// The DID of who invites.
    pub by: String,
    /// Its short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// Until when it may be answered, in Unix milliseconds.
    pub expires_ms: u64,
    /// It was answered.
    pub joining: bool,
}

/// All channels, and invitations into others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// Those that this agent is or was in.
    pub channels: Vec<Channel>,
    /// Invitations that came.
    pub invitations: Vec<ChannelInvitation>,
}

/// An admin would be the owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSuccession {
    /// The number of the record's entry that is the last good one; by default the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u32>,
}

/// A channel to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// What it is called.
    pub name: String,
    /// Its letters are signed, and events of all who keep an audit log.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub audits: bool,
}

/// Whom to invite.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// A DID or a peer's short name.
    pub agent: String,
}

/// A change of a channel: exactly one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    /// A member that is one no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<String>,
    /// A member that is an admin from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// An admin that is none from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_admin: Option<String>,
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// A member that is asked to be the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<String>,
}

/// Earlier letters that are handed to a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHistory {
    /// The member's DID or short name.
    pub to: String,
    /// Their numbers in the inbox.
    pub letters: Vec<u64>,
    /// Their numbers among what this agent said itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<u64>,
    /// Also those that were handed over to it before.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub again: bool,
}

/// Letters that are on their way to a member, each with an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedHistory {
    /// The channel's id.
    pub channel: String,
    /// The member's DID.
    pub to: String,
    /// The ids under which they go, in their order.
    pub letters: Vec<String>,
    /// How many were handed over to it before, and do not go again.
    pub before: u64,
}

/// Whose an earlier letter of a channel was, by the word of who hands it over alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// In which channel it was.
    pub channel: String,
    /// What that channel is called, where it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_name: Option<String>,
    /// The DID of who is said to have written it.
    pub author: String,
    /// That one's short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_name: Option<String>,
    /// Its id then.
    pub id: String,
    /// When it was made, by that id, in Unix milliseconds.
    pub sent_ms: u64,
    /// The letter that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// The channel that a request was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelNamed {
    /// Its id.
    pub channel: String,
}

/// A letter to a channel. Exactly one of `text` and `base64` is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewChannelLetter {
    /// The payload as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in standard base64, padded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
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

/// A letter to a channel that is on disk and on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelAccepted {
    /// The channel's id.
    pub channel: String,
    /// The letter's id.
    pub id: String,
}

/// Who has a letter of ours to a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelTally {
    /// The channel's id.
    pub channel: String,
    /// The letter's id.
    pub id: String,
    /// For how many it is.
    pub of: u64,
    /// How many have it on disk.
    pub delivered: u64,
    /// For how many it is on its way.
    pub waiting: u64,
    /// Each of them.
    pub members: Vec<MemberTold>,
}

/// What became of a letter, for one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberTold {
    /// Its DID.
    pub agent: String,
    /// Its short name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What became of it.
    pub state: Delivery,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// From how many members a letter to a channel was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCancelled {
    /// Those who did not have it.
    pub cancelled: u64,
}

/// A letter of this agent's own to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidLetter {
    /// Its number among what this agent said; later ones have higher numbers.
    pub said: u64,
    /// Its id.
    pub id: String,
    /// This agent's DID.
    pub from: String,
    /// The channel's id.
    pub channel: String,
    /// When it was made, in Unix milliseconds.
    pub sent_ms: u64,
    /// The letter that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Media type.
    pub content_type: String,
    /// Length of the payload in bytes.
    pub len: u64,
    /// The payload, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload, when it is not, in standard base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// For how many it is.
    pub of: u64,
    /// How many have it on disk.
    pub delivered: u64,
    /// For how many it is on its way.
    pub waiting: u64,
    /// Those who will never have it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<MemberTold>,
}

/// Some of what this agent said to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidPage {
    /// Letters in the order in which they were sent.
    pub letters: Vec<SaidLetter>,
    /// Another number once a letter was sent, or has ended for a member, to whichever channel: what `moved` waits on.
    pub moved: u64,
}
