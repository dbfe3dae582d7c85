//! Which session's secret queries are sealed under, and what they must not overtake (contracts/query.md section 1).

use super::Peer;
use crate::call::CallPlace;
use crate::ids::{AgentId, CallSessionId, LetterId, SessionId};
use crate::letter::Letter;
use crate::query::QuerySecret;
use crate::session::Session;

impl Peer {
    /// The current session with an agent, and what it gives queries. `None` where there is none that is confirmed, or what is done is written down.
    // contracts/query.md Q4, Q6.
    #[must_use]
    pub fn query_secret(&self, with: &AgentId) -> Option<(SessionId, QuerySecret)> {
        let session = self.query_session(with)?;
        Some((session.id, QuerySecret::of(&session.exporter)))
    }

    /// The session that queries with an agent are of, as [`Peer::query_secret`].
    #[must_use]
    pub fn query_session(&self, with: &AgentId) -> Option<&Session> {
        let contact = self.contacts.get(with).filter(|contact| contact.info.allowed && !contact.info.retired)?;
        let session = contact.current.and_then(|id| self.sessions.get(&id))?;
        let silent = !self.audit.tells() && !session.audits();
        (session.confirmed && silent && !self.retired).then_some(session)
    }

    /// Whether a letter of a call's session is under way to an agent.
    // contracts/query.md Q3.
    #[must_use]
    pub fn says_in(&self, to: AgentId, session: CallSessionId) -> bool {
        if !self.calls.out.has(&to) {
            return false;
        }
        let all = (to, LetterId::from_bytes([0; 16]))..=(to, LetterId::from_bytes([u8::MAX; 16]));
        let entries = self.letters.range(all).filter_map(|(_, no)| self.outbox.get(no)).filter(|entry| entry.call);
        entries.into_iter().any(|entry| {
            let letter = Letter::decode(&entry.letter).ok();
            let place = letter.and_then(|letter| CallPlace::of(&letter).ok().flatten());
            // One that cannot be read is nobody's: it is taken for this session's.
            place.is_none_or(|place| place.session == Some(session))
        })
    }
}
