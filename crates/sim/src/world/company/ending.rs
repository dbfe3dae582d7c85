//! What must hold of a channel once nothing goes wrong any more.

use nuncio_contracts::registry::{code, limit};
use nuncio_proto::channel::{Record, Roster};
use nuncio_proto::ids::AgentId;
use nuncio_proto::rows;

use super::Posted;
use crate::book::{Told, Violation};
use crate::world::World;
use crate::world::ending::SETTLE_MS;

impl World {
    /// All letters are settled, all records are one, and everybody comes to rest; then everybody writes once more.
    pub(in crate::world) fn end_company(&mut self) -> Result<(), Violation> {
        for _ in 0..2 {
            self.run_until(self.now_ms + SETTLE_MS, Self::is_company_settled)?;
            self.rest()?;
            self.check_company()?;
            for who in 0..self.agents.len() {
                self.post_letter(who, 0)?;
                self.drain(who)?;
            }
        }
        self.run_until(self.now_ms + SETTLE_MS, Self::is_company_settled)?;
        self.rest()?;
        let due = self.check_company()?;
        self.report.due = due;
        self.check_tidy()
    }

    fn is_company_settled(&self) -> bool {
        self.agents.iter().all(|agent| {
            agent.disk.is_still() && agent.peer.as_ref().is_some_and(|peer| peer.outbox().next().is_none())
        }) && self.company.posted.values().all(|posted| !posted.accepted || posted.to.values().all(Option::is_some))
    }

    /// How many copies of letters were due.
    fn check_company(&mut self) -> Result<u64, Violation> {
        let record = self.check_records()?;
        self.check_chains()?;
        self.report.entries = u64::try_from(record.entries().len()).unwrap_or(0);
        self.check_posted(&record)
    }

    /// The newest record. All its members have it, and nobody else believes to be one.
    fn check_records(&self) -> Result<Record, Violation> {
        let channel = self.company.channel;
        let of = |who: usize| self.agents.get(who)?.peer.as_ref()?.channel(&channel?);
        let all = || (0..self.agents.len()).filter_map(|who| Some((who, of(who)?)));
        let (_, newest) = all().max_by_key(|(_, record)| record.entries().len()).ok_or(Violation::Parted(0))?;
        for who in 0..self.agents.len() {
            let (Some(id), own) = (self.id(who), of(who)) else { continue };
            let is_member = newest.roster().has(&id);
            let is_same = own.is_some_and(|own| own.entries().eq(newest.entries()) && own.roster() == newest.roster());
            if is_member && !is_same {
                return Err(Violation::Parted(who));
            }
            let Some(own) = own else { continue };
            if !own.entries().eq(newest.entries().take(own.entries().len())) {
                return Err(Violation::Parted(who));
            }
            // contracts/channel.md C61: who has left is out by its own word, and whoever is the owner by then may be nobody that it knows.
            let has_left = self.agents.get(who).and_then(|agent| agent.peer.as_ref()).zip(channel);
            let has_left = has_left.is_some_and(|(peer, channel)| peer.channel_left_by_word(&channel));
            if !is_member && own.roster().has(&id) && !has_left {
                return Err(Violation::Unaware(who));
            }
        }
        Ok(newest.clone())
    }

    /// Whoever knows that an agent is out keeps no chain of its.
    fn check_chains(&self) -> Result<(), Violation> {
        for agent in &self.agents {
            let Some(roster) = self.roster_of(agent.who) else { continue };
            let is_heard = |key: &[u8]| {
                let sender = key.last_chunk().and_then(|sender| AgentId::from_bytes(*sender).ok());
                sender.is_some_and(|sender| roster.has(&sender) && roster.has(&agent.id))
            };
            if !agent.disk.tree(rows::CHANNEL_SENDER).all(|(key, _)| is_heard(key)) {
                return Err(Violation::Chain(agent.who));
            }
        }
        Ok(())
    }

    /// Each letter came once to each member that was in time for it, or its author was told why not; and to nobody else.
    fn check_posted(&self, record: &Record) -> Result<u64, Violation> {
        let mut count = 0;
        for (letter, posted) in self.company.posted.iter().filter(|(_, posted)| posted.accepted) {
            let then = record.until(posted.epoch).map_err(|_| Violation::Stray(*letter))?;
            for agent in &self.agents {
                let arrived = agent.book.inbox.contains(letter);
                let Some(told) = posted.to.get(&agent.id) else { continue };
                if arrived && !then.has(&agent.id) {
                    return Err(Violation::Outsider(*letter));
                }
                let told = told.ok_or(Violation::Untold(*letter))?;
                let is_due = self.is_due(posted, record.roster(), &then, &agent.id);
                // contracts/channel.md C53: epochs of long ago are heard by nobody, and who was away for them is too late.
                let is_old = record.roster().number() - then.number() > limit::CHANNEL_BEHIND_MAX;
                count += u64::from(is_due);
                match told {
                    Told::Delivered if is_due && !arrived => {
                        return Err(Violation::Lost { letter: *letter, to: agent.who, told });
                    }
                    Told::Failed(code)
                        if (is_due && !is_old && !self.is_unaware(posted, agent.who)) || code != code::NOT_MEMBER =>
                    {
                        return Err(Violation::NoCause { letter: *letter, code });
                    }
                    _ => {}
                }
            }
        }
        Ok(count)
    }

    /// Whether a letter was written before its reader knew that it is a member.
    fn is_unaware(&self, posted: &Posted, reader: usize) -> bool {
        self.company.aware.get(&reader).is_none_or(|since| posted.at_ms < *since)
    }

    /// Whether author and reader are members since the letter's epoch without a break.
    fn is_due(&self, posted: &Posted, now: &Roster, then: &Roster, reader: &AgentId) -> bool {
        let stays = |agent: &AgentId| now.member(agent).is_some_and(|member| member.since <= then.number());
        self.id(posted.from).is_some_and(|author| stays(&author)) && stays(reader)
    }
}
