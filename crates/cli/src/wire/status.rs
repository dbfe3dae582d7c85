//! How an agent fares, in the local API's JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
