//! Runs in which all letters go to a channel: who wrote what, who heard what, and in which order.
//!
//! ```text
//!   found ─► moments: letters, answers, changes by several at a time ─► trouble ─► all is well ─► one record, every letter due once
//! ```

mod acts;
mod ending;

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::time;
use nuncio_proto::channel::ChannelPlace;
use nuncio_proto::ids::{AgentId, ChannelId, EpochId, LetterId, Seq};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::ChannelNews;
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Effect, Op};
use nuncio_proto::time::UnixMillis;

use super::{Event, World};
use crate::book::{Told, Violation};
use crate::disk::Durable;
use crate::net::Who;

/// What was written to the channel, and heard.
#[derive(Debug, Default)]
pub(super) struct State {
    channel: Option<ChannelId>,
    posted: BTreeMap<LetterId, Posted>,
    /// By author and number: no number is used for two letters.
    numbers: BTreeMap<(Who, Seq), LetterId>,
    /// By reader and author: what was delivered, in its order.
    heard: BTreeMap<(Who, Who), Vec<Heard>>,
    /// Since when each member's own record has it as one: times of the world.
    aware: BTreeMap<Who, u64>,
    /// Who has said once that it joins, and stays with that.
    joined: BTreeSet<Who>,
}

/// One letter, as its author meant it.
#[derive(Debug)]
struct Posted {
    from: Who,
    /// The epoch in which its author was.
    epoch: EpochId,
    at_ms: u64,
    payload: Vec<u8>,
    reply_to: Option<LetterId>,
    /// Its author's agent has it on disk.
    accepted: bool,
    /// The other members then, and what its author was told of each.
    to: BTreeMap<AgentId, Option<Told>>,
}

/// One letter delivered.
#[derive(Clone, Copy, Debug)]
struct Heard {
    seq: Seq,
    /// When it came.
    received: UnixMillis,
    /// When it was delivered.
    at: UnixMillis,
}

/// A disk syncs within this, so a delivery is noted later by no more.
const SYNC_MS: u64 = 100;

impl State {
    /// Copies of letters of which their authors were told that they failed.
    pub(super) fn failed(&self) -> u64 {
        let told = self.posted.values().flat_map(|posted| posted.to.values());
        u64::try_from(told.filter(|told| matches!(told, Some(Told::Failed(_)))).count()).unwrap_or(0)
    }
}

impl Heard {
    /// Whether it came so long before a time that nothing is waited for any more.
    fn has_waited(&self, until: UnixMillis) -> bool {
        until.since(self.received) + SYNC_MS >= time::CHANNEL_WAIT
    }
}

impl World {
    /// Takes note of a durable step, as [`World::note`] does.
    pub(super) fn note_company(&mut self, who: Who, done: &Durable) -> Result<(), Violation> {
        if let Some(posted) = done.accepts.and_then(|letter| self.company.posted.get_mut(&letter)) {
            posted.accepted = true;
            self.report.written += 1;
        }
        for op in &done.ops {
            if let Op::Put { key, value } = op
                && key.first() == Some(&rows::INBOX)
            {
                let stray = Violation::Stray(LetterId::from_bytes([0; 16]));
                let arrival = Arrival::from_row(key, value).ok_or(stray)?;
                self.hear(who, &arrival)?;
            }
            self.count_chains(who, op);
        }
        for effect in &done.effects {
            match effect {
                Effect::Delivered { to, letter } => self.told(who, *to, *letter, Told::Delivered)?,
                Effect::Failed { to, letter, code, .. } => self.told(who, *to, *letter, Told::Failed(*code))?,
                Effect::Channel { news: news @ (ChannelNews::Equivocated(_) | ChannelNews::Forked(_)), .. } => {
                    return Err(Violation::Accused(who, format!("{news:?}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How many chains of a sender are over when one more is.
    fn count_chains(&mut self, who: Who, op: &Op) {
        let Op::Put { key, .. } = op else { return };
        if key.first() == Some(&rows::CHANNEL_CHAIN) {
            let is_its = |other: &[u8]| other.get(..65) == key.get(..65);
            let count = self.at(who).disk.tree(rows::CHANNEL_CHAIN).filter(|(key, _)| is_its(key)).count();
            self.report.chains = self.report.chains.max(u64::try_from(count).unwrap_or(0));
        }
    }

    fn told(&mut self, who: Who, to: AgentId, letter: LetterId, how: Told) -> Result<(), Violation> {
        let (now_ms, at) = (self.now_ms, self.who(&to));
        self.trace.say(now_ms, || format!("{who} hears of {letter} to {at:?}: {how:?}"));
        let posted = self.company.posted.get_mut(&letter).filter(|posted| posted.from == who);
        let told = posted.and_then(|posted| posted.to.get_mut(&to)).ok_or(Violation::Stray(letter))?;
        *told = Some(how);
        Ok(())
    }

    /// A letter is in an inbox: once, as it was written, and in its turn.
    fn hear(&mut self, who: Who, arrival: &Arrival) -> Result<(), Violation> {
        let (letter, from, now_ms) = (arrival.letter.id, self.who(&arrival.from), self.now_ms);
        let now = self.at(who).now(now_ms);
        self.trace.say(now_ms, || format!("{who} has {letter} of {from:?}"));
        let place = self.check_written(who, &arrival.letter, from)?;
        if !self.at(who).book.inbox.insert(letter) {
            return Err(Violation::Twice(letter));
        }
        let from = from.unwrap_or(who);
        let heard = Heard { seq: place.seq, received: arrival.received, at: now };
        let before = self.company.heard.entry((who, from)).or_default();
        // contracts/channel.md C46: what waited for long goes on without those in front of it.
        let overtook = before.iter().position(|other| other.seq > place.seq);
        if let Some(first) = overtook
            && let Some(at) = before.get(first).map(|other| other.at)
            && !before.iter().skip(first).any(|other| other.has_waited(at))
        {
            let last = before.last().map_or(0, |other| other.seq);
            return Err(Violation::OutOfOrder { letter, index: place.seq, last });
        }
        before.push(heard);
        self.check_answers(who, arrival, now)
    }

    /// It is what its author wrote, for this reader, under a number of its own.
    fn check_written(&mut self, who: Who, letter: &Letter, from: Option<Who>) -> Result<ChannelPlace, Violation> {
        let (me, stray) = (self.id(who), Violation::Stray(letter.id));
        let place = ChannelPlace::of(letter).ok().flatten().ok_or(stray.clone())?;
        let posted = self.company.posted.get(&letter.id).filter(|posted| {
            posted.accepted
                && Some(posted.from) == from
                && me.is_some_and(|me| posted.to.contains_key(&me))
                && (posted.payload.as_slice(), posted.reply_to) == (&letter.payload, letter.reply_to)
                && (Some(place.channel), place.epoch) == (self.company.channel, posted.epoch)
        });
        let author = posted.ok_or(stray.clone())?.from;
        let first = *self.company.numbers.entry((author, place.seq)).or_insert(letter.id);
        if first == letter.id { Ok(place) } else { Err(stray) }
    }

    /// What a letter answers is here, if it was for this reader, or was written long ago.
    // contracts/channel.md C45, C46.
    fn check_answers(&self, who: Who, arrival: &Arrival, now: UnixMillis) -> Result<(), Violation> {
        let Some(asked) = arrival.letter.reply_to else { return Ok(()) };
        let (Some(me), Some(question)) = (self.id(who), self.company.posted.get(&asked)) else { return Ok(()) };
        let is_here = self.agents.get(who).is_some_and(|agent| agent.book.inbox.contains(&asked));
        let is_old = now.since(asked.created()) + SYNC_MS >= time::CHANNEL_WAIT;
        if question.from == who || is_here || is_old || !question.to.contains_key(&me) {
            return Ok(());
        }
        // A letter behind it has waited for long, and takes it along.
        let behind = self.company.posted.iter().any(|(id, other)| {
            other.from == self.who(&arrival.from).unwrap_or(who)
                && *id != arrival.letter.id
                && now.since(id.created()) + SYNC_MS >= time::CHANNEL_WAIT
        });
        if behind { Ok(()) } else { Err(Violation::Early(arrival.letter.id)) }
    }

    /// An application hears what is new of the channel.
    pub(super) fn hear_news(&mut self, who: Who, news: &ChannelNews) {
        self.trace.say(self.now_ms, || format!("{who}: {news:?}"));
        let is_member = self.roster_of(who).zip(self.id(who)).is_some_and(|(roster, me)| roster.has(&me));
        if is_member {
            self.company.aware.entry(who).or_insert(self.now_ms);
        } else {
            self.company.aware.remove(&who);
        }
        if matches!(news, ChannelNews::Invited { .. } | ChannelNews::Offered { .. }) {
            let delay = self.dice.below(5_000);
            self.after(delay, Event::Answer(who));
        }
    }
}
