//! Another owner by a majority of the admins, when the owner is gone or its key is another's (contracts/channel.md sections 4 and 10).
//!
//! ```text
//!   channel_succeed ─► drafted, to the other admins ─► channel_support ─► supported ─► a majority: signed, applied, told to all
//! ```

use std::collections::BTreeMap;

use super::super::{Change, Out, Peer};
use super::{Channel, ChannelChange, ChannelError, ChannelNews};
use crate::channel::{self, Entry, Judged, Roster, Says, Support, Word};
use crate::ids::{AgentId, ChannelId, EpochId};
use crate::step::{Effect, Step};
use crate::time::UnixMillis;

/// An entry by which this agent would be owner, and who is for it. A start forgets it: it is made again.
#[derive(Debug)]
pub(super) struct Draft {
    entry: Entry,
    supports: BTreeMap<AgentId, Vec<u8>>,
}

impl Draft {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry, supports: BTreeMap::new() }
    }
}

impl Peer {
    /// Asks the other admins of an epoch, the newest where none is said, to make this agent the owner. It must be an admin of that epoch.
    ///
    /// An earlier epoch is for an owner's key that was stolen: what was appended behind it goes.
    ///
    /// # Errors
    /// [`ChannelError`].
    // contracts/channel.md C15, C18.
    pub fn channel_succeed(
        &self,
        channel: ChannelId,
        on: Option<EpochId>,
        now: UnixMillis,
    ) -> Result<Step, ChannelError> {
        // One whom the owner has taken out may, one that has left may not.
        let has_left = self.channel_left_by_word(&channel);
        let record = self.channel(&channel).filter(|_| !has_left).ok_or(ChannelError::NotMember)?;
        let on = on.unwrap_or_else(|| record.epoch());
        if !record.until(on)?.is_admin(&self.id()) {
            return Err(ChannelError::NotAllowed);
        }
        let entry = Box::new(record.draft(&on, channel::Change::Succeed(self.id()), now)?);
        Ok(self.step(Change::Channel(ChannelChange::Succeeding { channel, entry, now })))
    }

    /// Supports an admin that asked for it ([`ChannelNews::SupportWanted`]).
    ///
    /// # Errors
    /// [`ChannelError::NotAsked`] where that one has not.
    pub fn channel_support(&self, channel: ChannelId, by: AgentId, now: UnixMillis) -> Result<Step, ChannelError> {
        let found = self.channels.all.get(&channel).filter(|one| one.left.is_none()).ok_or(ChannelError::NotMember)?;
        let entry = found.asking.get(&by).ok_or(ChannelError::NotAsked)?;
        let support = Support { channel, agent: self.id(), body: entry.body_hash() };
        let says = Says::Supported(support.sign(self.identity.signing()));
        Ok(self.step(Change::Channel(ChannelChange::Say { to: by, word: Word { channel, says }, now })))
    }

    /// Admins that ask this one for its support, as long as this agent has not been started anew ([`Peer::channel_support`]).
    pub fn channel_asking(&self, channel: &ChannelId) -> impl Iterator<Item = AgentId> {
        self.channels.all.get(channel).into_iter().flat_map(|channel| channel.asking.keys().copied())
    }

    pub(super) fn apply_succeeding(&mut self, id: ChannelId, entry: Entry, now: UnixMillis, out: &mut Out) {
        let me = self.id();
        let Some(base) = self.base_of(&id, &entry) else { return };
        let drafted = entry.to_bytes();
        let support = Support { channel: id, agent: me, body: entry.body_hash() }.sign(self.identity.signing());
        if let Some(channel) = self.channels.all.get_mut(&id) {
            channel.draft = Some(Draft::new(entry));
        }
        let admins: Vec<AgentId> =
            base.members().map(|(agent, _)| *agent).filter(|agent| base.is_admin(agent)).collect();
        for admin in admins.into_iter().filter(|admin| *admin != me) {
            self.say(admin, Word { channel: id, says: Says::Drafted(drafted.clone()) }, now, out);
        }
        self.take_supported(me, id, support, now, out);
    }

    /// An admin asks for support: whether it has it is for the application to say.
    pub(super) fn take_drafted(&mut self, from: AgentId, id: ChannelId, bytes: &[u8], out: &mut Out) {
        let Ok(entry) = Entry::parse(bytes) else { return };
        // What costs nothing is asked first: the record is read from its beginning for who may ask alone, and once for each draft.
        let was_in = |channel: &Channel| {
            let roster = channel.record.roster();
            let is_known = channel.asking.get(&from) == Some(&entry);
            (roster.has(&from) || roster.gone(&from).is_some()) && !is_known
        };
        let is_new = self.channels.all.get(&id).is_some_and(was_in);
        if entry.change != channel::Change::Succeed(from) || !is_new {
            return;
        }
        let Some(base) = self.base_of(&id, &entry) else { return };
        if !base.is_admin(&from) || !base.is_admin(&self.id()) {
            return;
        }
        let number = base.number();
        if let Some(channel) = self.channels.all.get_mut(&id) {
            // One of each admin, and of those there are few.
            channel.asking.insert(from, entry);
        }
        let news = ChannelNews::SupportWanted { by: from, number };
        out.effects.push(Effect::Channel { channel: id, news });
    }

    pub(super) fn take_supported(
        &mut self,
        from: AgentId,
        id: ChannelId,
        bytes: Vec<u8>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Ok(support) = Support::parse(&bytes) else { return };
        let Some(Channel { record, draft, .. }) = self.channels.all.get_mut(&id) else { return };
        let Some(Draft { entry, supports }) = draft else { return };
        if support.agent != from || support.channel != id || support.body != entry.body_hash() {
            return;
        }
        let Some(base) = record.until(entry.prev).ok().filter(|base| base.is_admin(&from)) else { return };
        supports.insert(from, bytes);
        if supports.len() * 2 <= base.admins() {
            return;
        }
        let consents = supports.values().cloned().collect();
        let entry = entry.clone().sign(self.identity.signing(), consents);
        *draft = None;
        let bytes = entry.to_bytes();
        if let Ok(Judged::Next(next)) = record.check(&bytes, now) {
            self.apply_own_entry(id, &bytes, *next, now, out);
        }
    }

    /// The roster on which an entry stands.
    fn base_of(&self, id: &ChannelId, entry: &Entry) -> Option<Roster> {
        self.channel(id)?.until(entry.prev).ok()
    }
}
