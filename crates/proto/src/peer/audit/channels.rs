//! What an agent writes down of letters to channels that audit (contracts/audit.md section 8).

use nuncio_contracts::registry::{code, event, extension};

use super::super::{Out, Peer};
use super::{PeerNames, Told, about, audited, put_opening};
use crate::audit::{Audited, Event, EventChannel, KeptOpening, What};
use crate::channel::{Attestation, Outgoing};
use crate::ids::{AgentId, ChannelId, SessionId};
use crate::letter::{Extension, Letter, LetterKind};
use crate::time::UnixMillis;
use crate::token::proof::Hop;
use crate::token::{Genuine, Receiver};

impl Peer {
    /// Whether nothing is written down until the log has taken events.
    pub(in crate::peer) fn is_log_full(&self) -> bool {
        self.keeps_log() && self.audit.is_stopped()
    }

    /// An event of what was done in a channel, about an agent or about nobody.
    fn channel_event(&self, what: u8, id: ChannelId, peer: Option<AgentId>, now: UnixMillis) -> Option<Event> {
        let named = peer.and_then(|peer| self.named(&peer));
        let channel = Some(self.channel_named(id));
        let event = Event { peer: named, channel, ..Event::new(self.id(), now, What::of(what)?) };
        self.keeps_log().then_some(event)
    }

    // contracts/audit.md V30.
    fn channel_named(&self, id: ChannelId) -> EventChannel {
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
        let event = self.channel_event(event::CHANNEL_CHANGED, id, Some(about), now);
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
        let mut event = self.channel_event(event::LETTER_SENT, id, None, now)?;
        about(&mut event, letter, token.as_ref().map(|token| (token.hash(), token.claims().txn.as_str())));
        event.commitment = Some(opening.commitment());
        Some(Told(Box::new(event), put_opening(&self.id(), letter, &opening)))
    }

    /// Tells that a letter to a channel that audits is this agent's from now on.
    pub(in crate::peer) fn tell_channel_received(
        &mut self,
        id: ChannelId,
        from: AgentId,
        letter: &Letter,
        token: Option<&Genuine>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(audited) = audited(letter) else { return };
        self.audit.heads.extend(audited.head.map(|head| (from, head)));
        self.keep_pair(from);
        let Some(mut event) = self.channel_event(event::LETTER_RECEIVED, id, Some(from), now) else { return };
        about(&mut event, letter, token.map(|token| (token.hash(), token.claims().txn.as_str())));
        event.commitment = Some(audited.commitment);
        event.head = audited.head.and_then(|head| self.told_head(&from, head));
        self.write_down(event, out);
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
        let event = self.channel_event(event::LETTER_REFUSED, id, Some(from), now);
        let Some(mut event) = event.filter(|_| audits) else { return };
        event.outcome = Some(code);
        if let Some(letter) = letter.filter(|letter| letter.kind == LetterKind::Plain) {
            about(&mut event, letter, None);
            let audited = audited(letter);
            // One that is not the letter's is no commitment of its sender.
            event.commitment = audited.filter(|_| code != code::COMMITMENT).map(|audited| audited.commitment);
            event.head = audited.and_then(|audited| audited.head).and_then(|head| self.told_head(&from, head));
        }
        self.write_down(event, out);
    }
}
