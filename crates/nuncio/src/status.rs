//! What an agent tells of itself.

use nuncio_proto::ids::{AgentId, ChannelId, LetterId, SessionId};
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{Counters, Way};
use nuncio_proto::time::UnixMillis;

use crate::error::Error;

/// A known agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who.
    pub agent: AgentId,
    /// Its short name here.
    pub name: Option<String>,
    /// `host:port` to dial.
    pub endpoints: Vec<String>,
    /// Its first letters are taken.
    pub allowed: bool,
    /// It is known as a member of a channel alone.
    pub fellow: bool,
    /// Its owner ended this identity.
    pub retired: bool,
    /// How often it was removed here: what was given to it before counts no more.
    pub removals: u32,
    /// There is a connection now.
    pub connected: bool,
    /// Letters to it that are not acknowledged.
    pub waiting: usize,
    /// What went wrong last, if anything.
    pub problem: Option<String>,
    /// Where frames wait for it, as far as that is known.
    pub mailbox: Option<Mailbox>,
    /// By what this agent's events name it, where they do not by its key (contracts/audit.md V26).
    pub pseudonym: Option<[u8; 16]>,
}

/// A letter of ours that is not delivered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// To whom.
    pub to: AgentId,
    /// Which.
    pub id: LetterId,
    /// Why it never will be: [`Error::NotDelivered`]. `None` while it is on its way.
    pub failed: Option<Error>,
    /// By which way it has left, while it is on its way. `None` of one that waits for its large payload alone.
    pub way: Option<Way>,
    /// Of a letter to a channel, which is listed once for each that lacks it: which channel, and for how many it is.
    pub channel: Option<(ChannelId, usize)>,
}

/// A number that did not come although a higher one did (contracts/mailbox.md M16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lowest number that is missing.
    pub seq: u64,
    /// Since when it is missed.
    pub since: UnixMillis,
}

/// Where frames wait for this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxStatus {
    /// Which node keeps it.
    pub at: Mailbox,
    /// It is open, and fetched from.
    pub open: bool,
    /// Why it is not.
    pub problem: Option<String>,
    /// One-time prekeys that the node's directory had left when it was asked last.
    pub listed_prekeys: Option<u64>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its name.
    pub id: SessionId,
    /// With whom.
    pub with: AgentId,
    /// Letters are sealed in it.
    pub current: bool,
    /// A frame has opened each way.
    pub confirmed: bool,
    /// Letters sealed in it.
    pub sealed: u64,
    /// Letters received in it without a gap.
    pub received: u64,
    /// Frames of ours in it that are not acknowledged.
    pub under_way: usize,
    /// What is missing of the peer's frames, from the moment on at which it is missed: resends bring most of it.
    pub gap: Option<Gap>,
}

/// How an agent fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Who this is.
    pub agent: AgentId,
    /// This identity is over: peers take no letters of it, and it sends none.
    pub retired: bool,
    /// `host:port` at which it listens.
    pub listening: Option<String>,
    /// Letters in the inbox.
    pub inbox: usize,
    /// Letters sent and not acknowledged.
    pub outbox: usize,
    /// Letters sent that failed since the start.
    pub letters_failed: u64,
    /// Events that wait for the audit log.
    pub events_waiting: u64,
    /// Why the log does not take events now.
    pub events_wait: Option<String>,
    /// Known agents.
    pub peers: usize,
    /// Sessions.
    pub sessions: usize,
    /// Connections now.
    pub connections: usize,
    /// One-time prekeys that were not given away.
    pub one_time_prekeys: usize,
    /// This agent's mailbox, if it has one.
    pub mailbox: Option<MailboxStatus>,
    /// Sessions in which a number is missing for longer than resends explain.
    pub gaps: usize,
    /// What happened since the start.
    pub counters: Counters,
    /// Frames refused since the start, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Commits since the start: groups, steps, and the microseconds they took in all.
    pub commits: (u64, u64, u64),
    /// Frames handed to connections since the start.
    pub frames_sent: u64,
    /// Their bytes.
    pub frame_bytes_sent: u64,
    /// Frames that came since the start.
    pub frames_received: u64,
    /// Their bytes.
    pub frame_bytes_received: u64,
}

/// Frames on connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) frames_sent: u64,
    pub(crate) frame_bytes_sent: u64,
    pub(crate) frames_received: u64,
    pub(crate) frame_bytes_received: u64,
}

impl Wire {
    pub(crate) fn sent(&mut self, len: usize) {
        self.frames_sent += 1;
        self.frame_bytes_sent += u64::try_from(len).unwrap_or(0);
    }

    pub(crate) fn received(&mut self, len: usize) {
        self.frames_received += 1;
        self.frame_bytes_received += u64::try_from(len).unwrap_or(0);
    }
}
