//! Invitations into channels: made, answered, kept.

use std::collections::BTreeSet;

use nuncio_contracts::registry::{limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::super::{Change, Out, Peer};
use super::{ChannelChange, ChannelError, Mistake, ROW_VERSION};
use crate::channel::{self, Invite, Join, Reach, Says, Word};
use crate::codec;
use crate::ids::{AgentId, ChannelId};
use crate::rows;
use crate::step::{Op, Step};
use crate::time::UnixMillis;

/// An invitation that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// Who invites.
    pub by: AgentId,
    /// What the channel was called then.
    pub name: String,
    /// Until when it may be answered.
    pub expires: UnixMillis,
    /// It was answered.
    pub joining: bool,
    pub(super) bytes: Vec<u8>,
    /// Whose invitations were answered: any of them may bring the record.
    pub(super) answered: BTreeSet<AgentId>,
}

#[derive(Serialize, Deserialize)]
struct InvitedRow(u8, ByteArray<32>, String, u64, bool, ByteBuf, Vec<ByteArray<32>>);

/// An invitation, and whose were answered.
const INVITED_LEN_MAX: usize = 2_048;

impl Peer {
    /// Invitations into channels of which this agent is no member yet.
    pub fn channel_invitations(&self) -> impl Iterator<Item = (ChannelId, &Invited)> {
        self.channels.invited.iter().map(|(channel, invited)| (*channel, invited))
    }

    /// Asks an agent that is known to join: the owner, or an admin.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_invite<R: CryptoRng + ?Sized>(
        &self,
        channel: ChannelId,
        agent: AgentId,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Step, ChannelError> {
        let record = self.member_of(&channel)?;
        let roster = record.roster();
        if roster.owner() != self.id() && !roster.is_admin(&self.id()) {
            return Err(ChannelError::NotAllowed);
        }
        let change = channel::Change::Add(vec![agent]);
        Mistake::check(roster, &change)?;
        if self.contact(&agent).is_none() {
            return Err(ChannelError::Unknown);
        }
        // What the record would refuse later is refused now.
        let _after = record.draft(&record.epoch(), change, now)?;
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let expires = now.plus(time::LETTER_LIFE_MAX);
        let invite = Invite { channel, epoch: record.epoch(), by: self.id(), agent, expires, id };
        let says = Says::Invited { invite: invite.sign(self.identity.signing()), name: roster.name().to_owned() };
        Ok(self.step(Change::Channel(ChannelChange::Say { to: agent, word: Word { channel, says }, now })))
    }

    /// Answers an invitation. Others reach this agent as it says.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_join(&self, channel: ChannelId, reach: Reach, now: UnixMillis) -> Result<Step, ChannelError> {
        let invited = self.channels.invited.get(&channel).ok_or(ChannelError::NotInvited)?;
        if now > invited.expires {
            return Err(ChannelError::NotInvited);
        }
        if self.channels.all.len() >= limit::CHANNELS_MAX && !self.channels.all.contains_key(&channel) {
            return Err(ChannelError::TooMany);
        }
        Ok(self.step(Change::Channel(ChannelChange::Joining { channel, reach, now })))
    }

    /// Forgets an invitation; `None` where there is none. Nobody is told.
    #[must_use]
    pub fn channel_decline(&self, channel: ChannelId) -> Option<Step> {
        let is_there = self.channels.invited.contains_key(&channel);
        is_there.then(|| self.step(Change::Channel(ChannelChange::Declined(channel))))
    }

    pub(super) fn apply_joining(&mut self, channel: ChannelId, reach: Reach, now: UnixMillis, out: &mut Out) {
        let Some(invited) = self.channels.invited.get_mut(&channel) else { return };
        invited.joining = true;
        invited.answered.insert(invited.by);
        out.ops.push(Op::Put { key: rows::channel_invited(&channel), value: invited.to_row() });
        self.come_back(channel, out);
        let Some(invited) = self.channels.invited.get(&channel) else { return };
        let (by, invite) = (invited.by, invited.bytes.clone());
        let join = Join { channel, agent: self.id(), invite: Invite::hash(&invite) };
        let join = join.sign(self.identity.signing());
        self.say(by, Word { channel, says: Says::Joined { join, invite, reach } }, now, out);
    }

    pub(super) fn forget_invitation(&mut self, channel: &ChannelId, out: &mut Out) {
        if self.channels.invited.remove(channel).is_some() {
            out.ops.push(Op::Delete { key: rows::channel_invited(channel) });
            let early = self.channels.early.remove(channel);
            drop(early.map(|mut aside| aside.take(channel, |_, _| true, out)));
        }
    }

    pub(in super::super) fn load_invited(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, []) = rows::split_of_channel::<0>(key)?;
        let InvitedRow(version, by, name, expires, joining, bytes, answered) =
            codec::decode(value, INVITED_LEN_MAX).ok()?;
        let by = AgentId::from_bytes(by.into_array()).ok().filter(|_| version == ROW_VERSION)?;
        let answered = answered.into_iter().map(|agent| AgentId::from_bytes(agent.into_array()).ok());
        let (answered, bytes) = (answered.collect::<Option<_>>()?, bytes.into_vec());
        let invited = Invited { by, name, expires: UnixMillis(expires), joining, bytes, answered };
        self.channels.invited.insert(id, invited);
        Some(())
    }
}

impl Invited {
    pub(super) fn to_row(&self) -> Vec<u8> {
        let (by, bytes) = (ByteArray::new(*self.by.as_bytes()), ByteBuf::from(self.bytes.as_slice()));
        let answered = self.answered.iter().map(|agent| ByteArray::new(*agent.as_bytes())).collect();
        let row = InvitedRow(ROW_VERSION, by, self.name.clone(), self.expires.0, self.joining, bytes, answered);
        codec::encode(&row)
    }
}
