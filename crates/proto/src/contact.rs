//! What an agent knows of another: who may write, where it is, and which sessions they share.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec;
use crate::deposit::DepositKey;
use crate::ids::{LetterId, Seq, SessionId};
use crate::mailbox::Mailbox;
use crate::session::Told;
use crate::time::UnixMillis;

/// The lasting part: what a person or a program said of the other agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactInfo {
    /// A short name, unique in this home.
    pub name: Option<String>,
    /// `host:port` to dial.
    pub endpoints: Vec<String>,
    /// First letters of it are taken.
    pub allowed: bool,
    /// Hash of its bundle, from its invitation.
    pub bundle_hash: Option<[u8; 32]>,
    /// Its owner ended this identity.
    pub retired: bool,
    /// Nobody has added it: it is known by channels alone, and no longer than they are shared (contracts/channel.md C64).
    pub met: bool,
}

#[derive(Serialize, Deserialize)]
struct Row(u8, Option<String>, Vec<String>, bool, Option<ByteArray<32>>, bool, bool);

impl ContactInfo {
    pub(crate) fn to_row(&self) -> Vec<u8> {
        codec::encode(&Row(
            1,
            self.name.clone(),
            self.endpoints.clone(),
            self.allowed,
            self.bundle_hash.map(ByteArray::new),
            self.retired,
            self.met,
        ))
    }

    pub(crate) fn from_row(bytes: &[u8]) -> Option<Self> {
        let Row(_, name, endpoints, allowed, hash, retired, met) = codec::decode(bytes, limit::BUNDLE_LEN_MAX).ok()?;
        Some(Self { name, endpoints, allowed, bundle_hash: hash.map(ByteArray::into_array), retired, met })
    }
}

/// All that is in memory for one other agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    pub(crate) info: ContactInfo,
    /// Letters are sealed in it.
    pub(crate) current: Option<SessionId>,
    /// Begun by the peer while another is current.
    pub(crate) candidate: Option<SessionId>,
    /// Receive-only, oldest first.
    pub(crate) old: Vec<SessionId>,
    /// Outbox entries that are not sealed: control letters first, then in the order of `send`.
    pub(crate) drafts: BTreeSet<(bool, u64)>,
    /// Outbox entries of this runtime's own.
    pub(crate) controls: usize,
    /// Ids of letters delivered whose frames the peer may still send again, and their number of sessions.
    pub(crate) recent: BTreeMap<LetterId, SessionId>,
    /// Sessions in which letters came that are not acknowledged.
    pub(crate) ack_in: BTreeSet<SessionId>,
    /// When an acknowledgement is due.
    pub(crate) ack_due: Option<UnixMillis>,
    /// Letters received since the last acknowledgement.
    pub(crate) unacked: u32,
    /// When unacknowledged frames are sent again, and the delay after that.
    pub(crate) resend: Option<(UnixMillis, u64)>,
    /// Where the last burst of them ended.
    pub(crate) resent_to: Seq,
    /// When a bundle is to be asked for.
    pub(crate) start_at: Option<UnixMillis>,
    /// When the last handshake was begun.
    pub(crate) started: Option<UnixMillis>,
    /// The least time from that to the next; doubles until a session is confirmed.
    pub(crate) start_delay: u64,
    /// What the two know of each other's mailboxes.
    pub(crate) mail: ContactMail,
    /// The timer under which the peer lists this contact.
    pub(crate) timer: Option<UnixMillis>,
}

/// What this agent gave the contact of its mailbox, and the contact of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContactMail {
    /// Id of the deposit key that it was given.
    pub(crate) id: Option<[u8; 16]>,
    /// The session in which it was told.
    pub(crate) told: Option<SessionId>,
    /// What it was told is over.
    pub(crate) stale: bool,
    /// The outbox entry that tells it.
    pub(crate) telling: Option<u64>,
    /// It was not heard while a letter that told it lived: it is told again once it is.
    pub(crate) silent: bool,
    /// Where frames wait for it, and by what some are left.
    pub(crate) at: Option<(Mailbox, Option<DepositKey>)>,
    /// When a frame of it was opened last.
    pub(crate) heard: Option<UnixMillis>,
    /// What frames left at its node have told it.
    pub(crate) mailed: Option<Told>,
}

impl Contact {
    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.current.iter().chain(&self.candidate).chain(&self.old).copied()
    }

    /// When something is to be done for it, sessions' ends aside.
    pub(crate) fn due(&self) -> Option<UnixMillis> {
        [self.ack_due, self.resend.map(|(at, _)| at), self.start_at].into_iter().flatten().min()
    }

    pub(crate) fn forget_session(&mut self, id: SessionId) {
        self.old.retain(|old| *old != id);
        self.current = self.current.filter(|current| *current != id);
        self.candidate = self.candidate.filter(|candidate| *candidate != id);
        self.ack_in.remove(&id);
        self.recent.retain(|_, session| *session != id);
    }
}
