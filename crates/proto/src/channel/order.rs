//! In which order letters of a channel are handed out: each sender's in the order of their numbers, and none before the one that it answers
//! (contracts/channel.md section 9).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nuncio_contracts::registry::{limit, time};

use crate::ids::{AgentId, LetterId, Seq};
use crate::time::UnixMillis;

/// A letter that may wait. `T` is whatever the caller hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<T> {
    /// Whose it is.
    pub sender: AgentId,
    /// Its number.
    pub seq: Seq,
    /// Its id.
    pub id: LetterId,
    /// The letter that it answers.
    pub reply_to: Option<LetterId>,
    /// Its bytes, for the bound.
    pub len: usize,
    /// The letter.
    pub letter: T,
}

/// A letter whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed<T> {
    /// The letter.
    pub letter: Waiting<T>,
    /// What it answers or follows is not here: it waited as long as any does, or what it answers is old.
    pub early: bool,
}

/// Letters of one channel that wait for what they answer, or for earlier ones of their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order<T> {
    /// The number of each sender's next letter.
    next: BTreeMap<AgentId, Seq>,
    /// Numbers from there on that will not be handed out.
    never: BTreeMap<AgentId, BTreeSet<Seq>>,
    /// By arrival.
    waiting: VecDeque<(UnixMillis, Waiting<T>)>,
    len: usize,
    /// Whose each of them is; nobody's among the others is this agent's own.
    handed: BTreeMap<LetterId, Option<AgentId>>,
    handed_order: VecDeque<LetterId>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        let (waiting, handed_order) = (VecDeque::new(), VecDeque::new());
        let (next, never) = (BTreeMap::new(), BTreeMap::new());
        Self { next, never, waiting, len: 0, handed: BTreeMap::new(), handed_order }
    }
}

impl<T> Order<T> {
    /// A letter came, after [`Order::passed`] of what came with it: all letters whose turn it is now.
    // contracts/channel.md C45, C46.
    pub fn offer(&mut self, letter: Waiting<T>, now: UnixMillis) -> Vec<Handed<T>> {
        self.len = self.len.saturating_add(letter.len);
        self.waiting.push_back((now, letter));
        self.due(now)
    }

    /// A sender's letters begin with this number here: its first chain.
    pub fn begins(&mut self, sender: AgentId, first: Seq) {
        self.next.entry(sender).or_insert(first);
    }

    /// A letter of this number waits, as it did before a start: its sender's next is not above it.
    pub fn waits(&mut self, sender: AgentId, seq: Seq) {
        self.next.entry(sender).and_modify(|next| *next = seq.min(*next)).or_insert(seq);
    }

    /// Letters that nobody hears any more go, and their senders begin anew if they come back.
    pub fn forget(
        &mut self,
        mut is_heard: impl FnMut(&AgentId, &T) -> bool,
        stays: impl Fn(&AgentId) -> bool,
    ) -> Vec<Waiting<T>> {
        let (kept, gone): (VecDeque<_>, VecDeque<_>) =
            core::mem::take(&mut self.waiting).into_iter().partition(|(_, one)| is_heard(&one.sender, &one.letter));
        self.waiting = kept;
        self.len = self.waiting.iter().map(|(_, one)| one.len).sum();
        self.next.retain(|sender, _| stays(sender));
        self.never.retain(|sender, _| stays(sender));
        gone.into_iter().map(|(_, one)| one).collect()
    }

    /// Everything of a sender below a number came or never will, and what waits of it goes first: holes are waited for no more.
    pub fn passed(&mut self, sender: AgentId, holes: &[(Seq, Seq)], now: UnixMillis) -> Vec<Handed<T>> {
        let mut out = Vec::new();
        for (from, to) in holes {
            out.extend(self.due(now));
            if let Some(next) = self.next.get_mut(&sender).filter(|next| (*from..*to).contains(next)) {
                *next = *to;
            }
            self.step_over(sender);
        }
        out.extend(self.due(now));
        out
    }

    /// A letter of this number came and is not handed out: those behind it do not wait for it.
    // contracts/channel.md C45.
    pub fn never(&mut self, sender: AgentId, seq: Seq, now: UnixMillis) -> Vec<Handed<T>> {
        let never = self.never.entry(sender).or_default();
        let is_ahead = self.next.get(&sender).is_some_and(|next| *next <= seq);
        if is_ahead && never.len() < limit::CHANNEL_WAITING_MAX {
            never.insert(seq);
        }
        self.step_over(sender);
        self.due(now)
    }

    fn step_over(&mut self, sender: AgentId) {
        let (Some(next), Some(never)) = (self.next.get_mut(&sender), self.never.get_mut(&sender)) else { return };
        *never = never.split_off(next);
        while never.remove(next) {
            *next = next.saturating_add(1);
        }
        if never.is_empty() {
            self.never.remove(&sender);
        }
    }

    /// This agent's own letter: others may answer it.
    pub fn sent(&mut self, id: LetterId, now: UnixMillis) -> Vec<Handed<T>> {
        self.remember(id, None);
        self.due(now)
    }

    /// All letters whose turn it is, by what came, by time, or because too much waits.
    pub fn due(&mut self, now: UnixMillis) -> Vec<Handed<T>> {
        let mut out = Vec::new();
        loop {
            let turn = self.waiting.iter().position(|(_, letter)| self.is_next(letter, now));
            let forced = || self.is_over(now).then(|| self.first_of_oldest()).flatten();
            let Some(at) = turn.or_else(forced) else { return out };
            let Some((_, letter)) = self.waiting.remove(at) else { return out };
            let early = !self.follows(&letter) || !self.is_answered(&letter);
            self.len = self.len.saturating_sub(letter.len);
            let next = self.next.entry(letter.sender).or_default();
            *next = letter.seq.saturating_add(1).max(*next);
            self.step_over(letter.sender);
            self.remember(letter.id, Some(letter.sender));
            out.push(Handed { letter, early });
        }
    }

    /// When [`Order::due`] has something to hand out at the latest.
    #[must_use]
    pub fn wakes(&self) -> Option<UnixMillis> {
        self.waiting.front().map(|(since, _)| since.plus(time::CHANNEL_WAIT))
    }

    fn follows(&self, letter: &Waiting<T>) -> bool {
        let is_behind = |(_, other): &(UnixMillis, Waiting<T>)| other.sender == letter.sender && other.seq < letter.seq;
        self.next.get(&letter.sender).is_some_and(|next| letter.seq <= *next) && !self.waiting.iter().any(is_behind)
    }

    fn is_answered(&self, letter: &Waiting<T>) -> bool {
        letter.reply_to.is_none_or(|id| self.handed.contains_key(&id))
    }

    fn is_next(&self, letter: &Waiting<T>, now: UnixMillis) -> bool {
        let is_old = |id: LetterId| now.since(id.created()) >= time::CHANNEL_WAIT;
        self.follows(letter) && (self.is_answered(letter) || letter.reply_to.is_some_and(is_old))
    }

    // contracts/channel.md C46.
    fn is_over(&self, now: UnixMillis) -> bool {
        let oldest = self.wakes().is_some_and(|at| at.has_come(now, time::CHANNEL_WAIT));
        oldest || self.waiting.len() > limit::CHANNEL_WAITING_MAX || self.len > limit::CHANNEL_WAITING_BYTES_MAX
    }

    /// The lowest number of the sender whose letter waits for the longest: none overtakes another of its own sender.
    fn first_of_oldest(&self) -> Option<usize> {
        let (_, oldest) = self.waiting.front()?;
        let own = self.waiting.iter().enumerate().filter(|(_, (_, letter))| letter.sender == oldest.sender);
        own.min_by_key(|(_, (_, letter))| letter.seq).map(|(at, _)| at)
    }

    /// Another member whose letter of this id was handed out, if that is still known.
    // contracts/channel.md C39.
    #[must_use]
    pub fn author_of(&self, id: &LetterId) -> Option<&AgentId> {
        self.handed.get(id)?.as_ref()
    }

    fn remember(&mut self, id: LetterId, author: Option<AgentId>) {
        if self.handed.insert(id, author).is_none() {
            self.handed_order.push_back(id);
        }
        if self.handed_order.len() > limit::CHANNEL_HANDED_MAX {
            self.handed_order.pop_front().map(|id| self.handed.remove(&id));
        }
    }
}
