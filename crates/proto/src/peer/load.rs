//! An agent from its records. Start-up after a crash and after a shutdown are the same.

use std::collections::BTreeMap;

use super::Peer;
use super::renew::Renewal;
use crate::codec;
use crate::contact::ContactInfo;
use crate::error::LoadError;
use crate::identity::{Identity, Retirement};
use crate::ids::{AgentId, Seq, SessionId};
use crate::outbox::Entry;
use crate::rows;
use crate::session::{Outstanding, Place, Session};
use crate::step::Arrival;
use crate::time::UnixMillis;

/// One record: its key, tree byte included, and its opened value.
pub type Record = (Vec<u8>, Vec<u8>);

impl Peer {
    /// Whether a record with this tree byte is one that [`Peer::load`] reads. The record of letters seen, events that wait, and openings are not: they may be many.
    #[must_use]
    pub const fn loads(tree: u8) -> bool {
        !matches!(tree, rows::SEEN | rows::RUNTIME | rows::FAILED | rows::SPOOL | rows::OPENING)
    }

    /// Reads an agent from its records, in any order.
    ///
    /// # Errors
    /// A record that is damaged or newer than this program, by its key. Nothing is ever overwritten or guessed.
    pub fn load(records: &[Record], now: UnixMillis) -> Result<Self, LoadError> {
        let by_tree = |tree: u8| records.iter().filter(move |(key, _)| key.first() == Some(&tree));
        let (_, identity) = by_tree(rows::IDENTITY).next().ok_or(LoadError::NoIdentity)?;
        let identity = Identity::from_bytes(identity).map_err(|_| damaged(&[rows::IDENTITY]))?;
        let mut peer = Self::empty(identity);
        for tree in [rows::SIGNED_PREKEY, rows::ONE_TIME, rows::BATCH, rows::LISTED, rows::START] {
            for (key, value) in by_tree(tree) {
                peer.prekeys.load(&peer.identity, key, value).ok_or_else(|| damaged(key))?;
            }
        }
        for (key, value) in by_tree(rows::CONTACT) {
            peer.load_contact(key, value).ok_or_else(|| damaged(key))?;
        }
        // In the order of their numbers.
        let mut entries: Vec<_> = by_tree(rows::CHANNEL_ENTRY).collect();
        entries.sort_by_key(|(key, _)| key);
        for (key, value) in entries {
            peer.load_channel_entry(key, value).ok_or_else(|| damaged(key))?;
        }
        for (tree, load) in Self::CHANNEL_ROWS {
            for (key, value) in by_tree(tree) {
                load(&mut peer, key, value).ok_or_else(|| damaged(key))?;
            }
        }
        for (key, value) in by_tree(rows::MAILBOX) {
            peer.load_mailbox(value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::MAILBOX_OF) {
            peer.load_mailbox_of(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::PERMIT) {
            peer.load_permit(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::PERMIT_OVER) {
            peer.load_permit_over(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::PERMIT_REMOVED) {
            peer.load_permit_removed(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::RETIRED) {
            let own = Retirement::parse(value).is_ok_and(|statement| statement.agent == peer.id());
            peer.retired = own.then_some(true).ok_or_else(|| damaged(key))?;
        }
        let mut sessions = BTreeMap::new();
        for (key, value) in by_tree(rows::SESSION) {
            let session = Session::from_bytes(value).map_err(|error| LoadError::Snapshot { key: hex(key), error })?;
            sessions.insert(session.id(), session);
        }
        for tree in [rows::SKIPPED, rows::HELD, rows::GIVEN_UP] {
            for (key, value) in by_tree(tree) {
                load_part(&mut sessions, tree, key, value).ok_or_else(|| damaged(key))?;
            }
        }
        let mut sessions: Vec<_> = sessions.into_values().collect();
        // The old ones of a contact are listed oldest first.
        sessions.sort_by_key(|session| match session.place {
            Place::Old(until) => until,
            Place::Current | Place::Candidate => UnixMillis::NEVER,
        });
        for session in sessions {
            peer.insert_session(session);
        }
        for (key, value) in by_tree(rows::RENEWAL) {
            let renewal = Renewal::from_row(value).ok_or_else(|| damaged(key))?;
            let session = SessionId::from_bytes(rows::split_32(key).ok_or_else(|| damaged(key))?);
            peer.sessions.get(&session).ok_or_else(|| damaged(key))?;
            peer.insert_renewal(session, renewal);
        }
        for (key, value) in by_tree(rows::OUTBOX) {
            peer.load_entry(key, value).ok_or_else(|| damaged(key))?;
        }
        peer.load_in_session();
        for (key, value) in by_tree(rows::DEPOSITED) {
            peer.load_deposited(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::NEXT_ARRIVAL) {
            let (_, next): (u8, u64) = codec::decode(value, 16).map_err(|_| damaged(key))?;
            peer.next_arrival = next;
        }
        for (key, value) in by_tree(rows::INBOX) {
            peer.load_arrival(key, value).ok_or_else(|| damaged(key))?;
        }
        for (key, value) in by_tree(rows::CHAIN) {
            peer.load_chain(value).ok_or_else(|| damaged(key))?;
        }
        peer.resume_parting();
        peer.resume(now);
        Ok(peer)
    }

    fn load_contact(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let agent = AgentId::from_bytes(rows::split_32(key)?).ok()?;
        self.contacts.entry(agent).or_default().info = ContactInfo::from_row(value)?;
        Some(())
    }

    fn load_entry(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let no = rows::split_numbered(key)?;
        let entry = Entry::from_row(value)?;
        if let Some(sealed) = &entry.sealed {
            let nonce = entry.nonce()?;
            let session = self.sessions.get_mut(&sealed.session)?;
            session.outstanding.insert(sealed.seq, Outstanding { nonce, entry: Some(no), seen: false });
        }
        self.insert_entry(no, entry);
        self.next_entry = self.next_entry.max(no.checked_add(1)?);
        Some(())
    }

    fn load_arrival(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let arrival = Arrival::from_row(key, value)?;
        self.note_came(arrival.no, arrival.from, &arrival.letter, value.len());
        self.inbox.insert(arrival.no, value.len());
        self.inbox_bytes += value.len();
        self.next_arrival = self.next_arrival.max(arrival.no.checked_add(1)?);
        Some(())
    }

    /// What was under way goes on: unacknowledged frames are sent again, and what was received is acknowledged again.
    fn resume(&mut self, now: UnixMillis) {
        let agents: Vec<AgentId> = self.contacts.keys().copied().collect();
        for agent in agents {
            let under_way = self
                .current(&agent)
                .is_some_and(|session| session.outstanding.values().any(|frame| frame.entry.is_some()));
            if let Some(contact) = self.contacts.get_mut(&agent).filter(|_| under_way) {
                contact.resend = Some((now, nuncio_contracts::registry::time::RESEND_FIRST));
            }
            self.touch(&agent);
        }
        self.sessions.values_mut().for_each(|session| session.note_gap(now));
        self.resume_waiting(now);
    }
}

fn load_part(sessions: &mut BTreeMap<SessionId, Session>, tree: u8, key: &[u8], value: &[u8]) -> Option<()> {
    let (id, seq): (SessionId, Seq) = rows::split_of_session(key)?;
    let session = sessions.get_mut(&id)?;
    match tree {
        rows::SKIPPED => Peer::load_skipped(session, seq, value),
        rows::HELD => Peer::load_held(session, seq, value),
        _ => {
            let nonce = value.try_into().ok()?;
            if !matches!(session.place, Place::Old(_)) {
                session.outstanding.insert(seq, Outstanding { nonce, entry: None, seen: false });
            }
            Some(())
        }
    }
}

fn damaged(key: &[u8]) -> LoadError {
    LoadError::Record(hex(key))
}

fn hex(key: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(key)
}
