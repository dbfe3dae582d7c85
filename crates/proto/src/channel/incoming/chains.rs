//! Which chains of a sender stay: the newest, and those before it while letters of them are missing (contracts/channel.md C29, C30).

use std::collections::BTreeSet;

use nuncio_contracts::registry::limit;

use super::{Incoming, KeyError, Receiving, Sender};
use crate::channel::record::Record;
use crate::channel::sender_key::SenderKey;
use crate::channel::transcript::Broken;
use crate::ids::{AgentId, Tag};

impl Incoming {
    /// Whose oldest chains went since this was asked, as there were too many: what is kept of these has moved.
    pub fn thinned(&mut self) -> BTreeSet<AgentId> {
        core::mem::take(&mut self.thinned)
    }

    /// As many chains that are over stay as may; of more the oldest of whoever has most goes, so that nobody pushes out another's who has fewer.
    // contracts/channel.md C30.
    pub(super) fn make_room(&mut self) {
        let over = |sender: &Sender| sender.chains.len().saturating_sub(1);
        let mut all: usize = self.senders.values().map(over).sum();
        while all > limit::CHANNEL_CHAINS_MAX {
            let Some((agent, sender)) = self.senders.iter_mut().max_by_key(|(_, sender)| over(sender)) else { return };
            sender.forget_oldest();
            self.thinned.insert(*agent);
            all -= 1;
        }
    }

    pub(super) fn forget_tags(&mut self) {
        let senders = &self.senders;
        if self.tags.len() == senders.values().map(|sender| sender.chains.len()).sum::<usize>() {
            return;
        }
        self.tags.retain(|tag, (agent, first)| {
            let chain = senders.get(agent).and_then(|sender| sender.chains.get(first));
            chain.is_some_and(|receiving| receiving.chain.tag == *tag)
        });
    }
}

impl Sender {
    // contracts/channel.md C29.
    pub(super) fn check_newer(&self, key: &SenderKey, number: u32, record: &Record) -> Result<(), KeyError> {
        if self.chains.get(&key.first).is_some_and(|receiving| receiving.chain.id == key.chain) {
            return Err(KeyError::Known);
        }
        let newest = self.chains.last_key_value().map(|(first, receiving)| (*first, receiving.chain.base.epoch));
        let epoch = newest.and_then(|(_, epoch)| record.number_of(&epoch));
        if epoch.is_some_and(|epoch| number < epoch) {
            return Err(KeyError::Stale);
        }
        if key.first < self.top || newest.is_some_and(|(first, _)| key.first < first) {
            return Err(KeyError::Number);
        }
        Ok(())
    }

    /// Begins a chain: the one before is over, and goes at once where it has no letter.
    pub(super) fn begin(&mut self, receiving: Receiving) -> Option<Broken> {
        let Receiving { chain, since, .. } = &receiving;
        let (first, run, since) = (chain.base.first, chain.base.run, *since);
        if let Some(mut before) = self.chains.last_entry() {
            let before = before.get_mut();
            (before.end, before.since) = (before.end.min(first), since);
        }
        let broken = self.transcript.mark(first, run);
        self.chains.insert(first, receiving);
        self.drop_complete();
        broken
    }

    /// Forgets chains, but the newest, of which nothing is missing: whether there were any. A chain ends before the next begins.
    pub(super) fn drop_complete(&mut self) -> bool {
        let (next, before) = (self.window.next(), self.chains.len());
        let is_complete =
            |sender: &Self| sender.chains.first_key_value().is_some_and(|(_, receiving)| receiving.end <= next);
        while self.chains.len() > 1 && is_complete(self) {
            self.chains.pop_first();
        }
        self.chains.len() != before
    }

    fn forget_oldest(&mut self) {
        let gone = self.chains.pop_first().map(|(_, receiving)| receiving.chain.tag);
        self.passed.retain(|_, key| Some(key.tag) != gone);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Receiving) -> bool) {
        self.chains.retain(|_, receiving| keep(receiving));
        let tags: BTreeSet<Tag> = self.chains.values().map(|receiving| receiving.chain.tag).collect();
        self.passed.retain(|_, key| tags.contains(&key.tag));
    }
}
