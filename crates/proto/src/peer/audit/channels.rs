//! What an agent writes down of letters to channels that audit (contracts/audit.md section 8).

use nuncio_contracts::registry::{event, extension};

use super::super::{Out, Peer};
use super::{PeerNames, Told, about, put_opening};
use crate::audit::{Audited, EventChannel, KeptOpening};
use crate::channel::{Attestation, Outgoing};
use crate::ids::{AgentId, ChannelId, SessionId};
use crate::letter::{Extension, Letter};
use crate::time::UnixMillis;
use crate::token::proof::Hop;
use crate::token::{Genuine, Receiver};

impl Peer {
    /// Whether nothing is written down until the log has taken events.
    pub(in crate::peer) fn is_log_full(&self) -> bool {
        self.keeps_log() && self.audit.is_stopped()
    }

    /// How events name a channel.
    // contracts/audit.md V30.
    pub(super) fn channel_named(&self, id: ChannelId) -> EventChannel {
        match self.audit.policy.peer_names {
            PeerNames::Keys => EventChannel::Id(id),
            PeerNames::Pseudonyms => EventChannel::pseudonym(&id, &self.id()),
        }
    }

    /// Tells of a change of a channel, about an agent.
    pub(in crate::peer) fn tell_channel_changed(
        &mut self,
        id: ChannelId,
        about: AgentId,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let event = self.event_in(event::CHANNEL_CHANGED, Some(id), Some(about), now);
        event.into_iter().for_each(|event| self.write_down(event, out));
    }

    /// The hop proof that a letter which is sealed once for all was asked to carry.
    // contracts/channel.md C70.
    pub(in crate::peer) fn prove_in_channel(&self, id: ChannelId, outgoing: &Outgoing, letter: &mut Letter) {
        let token = letter.extension(extension::TOKEN).and_then(Genuine::kept);
        let (Some(token), Some(chain), true) = (token, outgoing.chain(), letter.wants_proof()) else { return };
        let (from, to) = (self.id(), Receiver::Channel(id));
        let session = SessionId::from_bytes(*chain.as_bytes());
        let content = letter.content();
        let hop =
            Hop { from: &from, to: &to, session: &session, letter: &letter.id, token: token.hash(), content: &content };
        letter.set_proof(hop.sign(self.identity.signing()).into_bytes());
    }

    /// Puts its commitment into a letter of a channel that audits: what is told of it when it is sealed.
    // contracts/audit.md V28, V29.
    pub(in crate::peer) fn commit_in_channel(
        &self,
        id: ChannelId,
        outgoing: &Outgoing,
        attestation: Option<Attestation>,
        letter: &mut Letter,
        now: UnixMillis,
    ) -> Option<Told> {
        let (key, header) = outgoing.next_commitment(attestation)?;
        let opening = KeptOpening::of(key, header.to_vec(), letter, self.id());
        let value = Audited { commitment: opening.commitment(), head: self.audit_head() }.encode();
        letter.set_extension(Extension { number: extension::AUDIT, critical: true, value });
        let token = letter.extension(extension::TOKEN).and_then(Genuine::kept);
        let mut event = self.event_in(event::LETTER_SENT, Some(id), None, now)?;
        about(&mut event, letter, token.as_ref().map(|token| (token.hash(), token.claims().txn.as_str())));
        event.commitment = Some(opening.commitment());
        Some(Told(Box::new(event), put_opening(&self.id(), letter, &opening)))
    }

    /// Tells that a letter to a channel that audits is not delivered.
    pub(in crate::peer) fn tell_channel_refused(
        &mut self,
        id: ChannelId,
        from: AgentId,
        code: u16,
        letter: Option<&Letter>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let audits = self.channel(&id).is_some_and(|record| record.roster().audits());
        if audits {
            self.write_refused(from, Some(id), code, letter, now, out);
        }
    }
}
