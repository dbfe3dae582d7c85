//! Which session's secret queries are sealed under, and what they must not overtake (contracts/query.md section 1).

use super::Peer;
use crate::ids::{AgentId, CallSessionId, SessionId};
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
        self.calls.says_in(to, session)
    }
}
