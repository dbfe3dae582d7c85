//! Another owner by the one before: asked, and by its own consent (contracts/channel.md sections 3 and 10).
//!
//! ```text
//!   channel_change(HandOver) ─► offered, to the heir ─► channel_take_over ─► accepted ─► the owner's entry, told to all
//! ```

use super::super::{Change, Out, Peer};
use super::{ChannelChange, ChannelError, ChannelNews, Mistake};
use crate::channel::{self, Heir, Says, Word};
use crate::ids::{AgentId, ChannelId};
use crate::step::{Effect, Step};
use crate::time::UnixMillis;

impl Peer {
    /// Who was asked to be a channel's next owner, by this agent or of this agent.
    #[must_use]
    pub fn channel_heir(&self, channel: &ChannelId) -> Option<AgentId> {
        self.channels.all.get(channel)?.heir
    }

    /// Consents to be the owner of a channel, as its owner has asked ([`ChannelNews::Offered`]).
    ///
    /// # Errors
    /// [`ChannelError::NotOffered`] where nobody has.
    // contracts/channel.md C60.
    pub fn channel_take_over(&self, channel: ChannelId, now: UnixMillis) -> Result<Step, ChannelError> {
        let (record, me) = (self.member_of(&channel)?, self.id());
        let owner = record.roster().owner();
        if owner == me || self.channel_heir(&channel) != Some(me) {
            return Err(ChannelError::NotOffered);
        }
        let word = Heir { channel, epoch: record.epoch(), agent: me };
        let says = Says::Accepted(word.sign(self.identity.signing()));
        Ok(self.step(Change::Channel(ChannelChange::Say { to: owner, word: Word { channel, says }, now })))
    }

    /// The owner asks a member.
    pub(super) fn offer(&self, channel: ChannelId, heir: AgentId, now: UnixMillis) -> Result<Step, ChannelError> {
        let record = self.member_of(&channel)?;
        let change = channel::Change::HandOver(heir);
        Mistake::check(record.roster(), &change)?;
        // What the record would refuse later is refused now.
        let _after = record.draft(&record.epoch(), change, now)?;
        Ok(self.step(Change::Channel(ChannelChange::Offered { channel, heir, now })))
    }

    pub(super) fn apply_offered(&mut self, id: ChannelId, heir: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        channel.heir = Some(heir);
        self.keep_own(id, out);
        // It knows by the record who may ask it.
        self.tell_member(heir, id, now, out);
        self.say(heir, Word { channel: id, says: Says::Offered }, now, out);
    }

    pub(super) fn take_offered(&mut self, from: AgentId, id: ChannelId, out: &mut Out) {
        let (me, is_owner) = (self.id(), self.member_of(&id).is_ok_and(|record| record.roster().owner() == from));
        let Some(channel) = self.channels.all.get_mut(&id).filter(|_| is_owner) else { return };
        channel.heir = Some(me);
        self.keep_own(id, out);
        out.effects.push(Effect::Channel { channel: id, news: ChannelNews::Offered { by: from } });
    }

    /// A consent: it counts of the one that was asked last.
    pub(super) fn take_accepted(&mut self, id: ChannelId, bytes: Vec<u8>, now: UnixMillis, out: &mut Out) {
        let Ok(heir) = Heir::parse(&bytes).map(|word| word.agent) else { return };
        if self.channel_heir(&id) == Some(heir) {
            self.append(id, channel::Change::HandOver(heir), vec![bytes], now, out);
        }
    }

    /// The record has moved: who was asked by another owner, or is no member any more, was asked in vain.
    pub(super) fn follow_heir(&mut self, id: ChannelId, before: AgentId, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let roster = channel.record.roster();
        if channel.heir.is_some_and(|heir| roster.owner() != before || !roster.has(&heir)) {
            channel.heir = None;
            self.keep_own(id, out);
        }
    }
}
