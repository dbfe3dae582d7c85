//! The part of a run in which letters are written and things go wrong.

use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::Letter;
use rand_core::Rng as _;

use super::{Event, World};
use crate::agent::friend;
use crate::book::{Violation, Written};
use crate::net::Who;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

impl World {
    /// Letters are written until there are no more.
    pub(super) fn storm(&mut self) -> Result<(), Violation> {
        if let Some(company) = self.plan.company {
            self.found(company)?;
        }
        self.after(0, Event::Moment);
        self.run_until(u64::MAX, |world| world.unwritten == 0)?;
        Ok(())
    }

    /// Somebody writes some letters, and perhaps something goes wrong.
    pub(super) fn moment(&mut self) -> Result<(), Violation> {
        if self.unwritten == 0 {
            return Ok(());
        }
        let count = 1 + self.dice.below(self.plan.burst);
        let count = count.min(self.unwritten);
        match self.plan.company {
            Some(company) => self.company_moment(company, count)?,
            None => self.pair_moment(count)?,
        }
        // Trouble comes while the letters are under way.
        for _ in 0..count {
            let delay = self.dice.below(2 * self.plan.gap_ms + 20 * self.plan.weather.delay_ms);
            self.after(delay, Event::Trouble);
        }
        let gap = if self.dice.per_mille(self.plan.faults.silence) {
            DAY_MS / 2 + self.dice.below(2 * DAY_MS)
        } else {
            self.dice.below(2 * self.plan.gap_ms + 1)
        };
        self.after(gap, Event::Moment);
        Ok(())
    }

    fn pair_moment(&mut self, count: u64) -> Result<(), Violation> {
        let from = self.dice.index(self.agents.len());
        let to = self.another(from);
        for _ in 0..count {
            self.write(from, to)?;
        }
        self.drain(from)
    }

    pub(super) fn another(&mut self, who: Who) -> Who {
        (who + 1 + self.dice.index(self.agents.len() - 1)) % self.agents.len()
    }

    pub(super) fn write(&mut self, from: Who, to: Who) -> Result<(), Violation> {
        self.unwritten = self.unwritten.saturating_sub(1);
        let (now_ms, Some(to_id)) = (self.now_ms, self.id(to)) else { return Ok(()) };
        let now = self.at(from).now(now_ms);
        let mut random = [0; 10];
        self.dice.fill_bytes(&mut random);
        let len = if self.dice.per_mille(10) { self.dice.index(40_000) } else { self.dice.index(200) };
        let mut payload = vec![0; len];
        self.dice.fill_bytes(&mut payload);
        let mut letter = Letter::plain(LetterId::new(now, random), ContentType::BYTES, payload.clone());
        if self.dice.per_mille(self.plan.faults.deadline) {
            letter.deadline = Some(now.plus(1 + self.dice.below(20_000)));
        }
        let token = self.token_for(from, to).map(|(text, token)| {
            letter.set_token(text);
            token
        });
        if self.at(from).send(to_id, &letter, now)? {
            self.report.written += 1;
            self.report.with_token += u64::from(token.is_some());
            let index = self.indices.entry((from, to)).or_default();
            *index += 1;
            let (index, deadline) = (*index, letter.deadline);
            let written = Written { from, to, index, payload, deadline, cancelled: false, written_ms: now_ms, token };
            self.letters.insert(letter.id, written);
            self.trace.say(now_ms, || format!("{from} writes {} to {to}", letter.id));
        }
        Ok(())
    }

    /// Perhaps something goes wrong.
    pub(super) fn trouble(&mut self) -> Result<(), Violation> {
        let faults = self.plan.faults;
        let who = self.dice.index(self.agents.len());
        let other = self.another(who);
        if self.dice.per_mille(faults.done) {
            self.read_letters(who)?;
        }
        if self.dice.per_mille(faults.cancel) {
            self.cancel(who)?;
        }
        if self.dice.per_mille(faults.partition) {
            self.part(who, other);
        }
        if self.dice.per_mille(faults.clock_step) {
            self.step_clock(who)?;
        }
        if self.dice.per_mille(faults.forget_contact) {
            self.forget(who, other)?;
        }
        self.token_trouble(who)?;
        self.company_trouble(who);
        if self.dice.per_mille(20) {
            let now_ms = self.now_ms;
            let agent = self.at(who);
            agent.compare_with_disk(agent.now(now_ms))?;
            self.check_bounds()?;
        }
        if self.dice.per_mille(faults.lost_sessions) {
            return self.lose_sessions(who);
        }
        if self.dice.per_mille(faults.restore) {
            return self.restore_or_copy(who);
        }
        if self.dice.per_mille(faults.crash) {
            return self.crash(if faults.only_first { 0 } else { who });
        }
        Ok(())
    }

    fn read_letters(&mut self, who: Who) -> Result<(), Violation> {
        let agent = self.at(who);
        let rows: Vec<_> = agent.disk.tree(nuncio_proto::rows::INBOX).map(|(key, _)| key.clone()).collect();
        for key in rows {
            let no = key.get(1..).and_then(|no| no.try_into().ok()).map_or(u64::MAX, u64::from_be_bytes);
            let step = agent.peer.as_ref().and_then(|peer| peer.done(no));
            agent.take(step)?;
        }
        self.drain(who)
    }

    fn cancel(&mut self, who: Who) -> Result<(), Violation> {
        let under_way: Vec<_> =
            self.at(who).peer.iter().flat_map(|peer| peer.outbox()).map(|(to, id, _)| (to, id)).collect();
        let Some((to, letter)) = self.dice.pick(&under_way).copied() else { return Ok(()) };
        self.trace.say(self.now_ms, || format!("{who} takes {letter} back"));
        if let Some(written) = self.letters.get_mut(&letter) {
            written.cancelled = true;
        }
        let agent = self.at(who);
        let step = agent.peer.as_ref().and_then(|peer| peer.cancel(to, letter));
        agent.take(step)?;
        self.drain(who)
    }

    fn part(&mut self, one: Who, other: Who) {
        let long = if self.dice.per_mille(50) { HOUR_MS } else { 60_000 };
        let until = 1 + self.dice.below(long);
        self.trace.say(self.now_ms, || format!("{one} and {other} cannot reach each other for {until} ms"));
        self.net.cut(one, other, self.now_ms + until);
        self.after(until, Event::Linked(one, other));
    }

    fn step_clock(&mut self, who: Who) -> Result<(), Violation> {
        let ahead = self.dice.below(2 * HOUR_MS).wrapping_sub(HOUR_MS);
        self.trace.say(self.now_ms, || format!("the clock of {who} jumps"));
        self.at(who).ahead_ms = ahead;
        self.drain(who)
    }

    fn forget(&mut self, who: Who, other: Who) -> Result<(), Violation> {
        let Some(id) = self.id(other) else { return Ok(()) };
        self.trace.say(self.now_ms, || format!("{who} removes {other}"));
        let agent = self.at(who);
        let step = agent.peer.as_ref().and_then(|peer| peer.remove_contact(id));
        if agent.take(step)? {
            let of_pair = self.letters.values_mut().filter(|written| written.from == who && written.to == other);
            of_pair.for_each(|written| written.cancelled = true);
            let delay = self.dice.below(20_000);
            self.after(delay, Event::Befriend(who, other));
        }
        self.drain(who)
    }

    pub(super) fn befriend(&mut self, who: Who, other: Who) -> Result<(), Violation> {
        let Some(id) = self.id(other) else { return Ok(()) };
        let agent = self.at(who);
        if agent.peer.is_none() {
            self.after(1_000, Event::Befriend(who, other));
            return Ok(());
        }
        let step = agent.peer.as_ref().and_then(|peer| peer.set_contact(id, friend()));
        agent.take(step)?;
        self.drain(who)
    }

    fn lose_sessions(&mut self, who: Who) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        let agent = self.at(who);
        let now = agent.now(now_ms);
        if agent.peer.is_none() || !agent.disk.is_still() {
            return Ok(());
        }
        let Some(rows) = agent.rows_without_sessions(now) else { return Ok(()) };
        self.trace.say(now_ms, || format!("{who} loses its sessions"));
        self.crash(who)?;
        self.at(who).disk.replace(rows);
        Ok(())
    }

    fn restore_or_copy(&mut self, who: Who) -> Result<(), Violation> {
        if self.at(who).peer.is_none() {
            return Ok(());
        }
        let mine: Vec<usize> =
            self.backups.iter().enumerate().filter(|(_, backup)| backup.0 == who).map(|(at, _)| at).collect();
        let Some(at) = self.dice.pick(&mine).copied().filter(|_| self.dice.per_mille(500)) else {
            let agent = self.at(who);
            let backup = (who, agent.disk.rows().clone(), agent.book.clone());
            self.trace.say(self.now_ms, || format!("the disk of {who} is copied"));
            self.backups.push(backup);
            return Ok(());
        };
        self.crash(who)?;
        let Some((_, rows, book)) = self.backups.get(at).cloned() else { return Ok(()) };
        self.trace.say(self.now_ms, || format!("{who} is restored from a copy"));
        let agent = self.at(who);
        agent.disk.replace(rows);
        let (forgotten, lost) = agent.book.restore(&book);
        self.forgotten.extend(forgotten);
        self.lost.extend(lost);
        self.reconsidered
            .extend(self.letters.iter().filter(|(_, written)| written.to == who).map(|(letter, _)| *letter));
        self.restored.insert(who);
        self.report.restored += 1;
        Ok(())
    }

    fn crash(&mut self, who: Who) -> Result<(), Violation> {
        if self.at(who).peer.is_none() {
            return Ok(());
        }
        self.trace.say(self.now_ms, || format!("{who} stops"));
        self.report.crashes += 1;
        let written = self.dice.per_mille(500);
        let down = if self.dice.per_mille(50) { self.dice.below(600_000) } else { self.dice.below(2_000) };
        let durable = self.at(who).disk.crash(written);
        for done in durable {
            self.note(who, &done)?;
        }
        self.at(who).stop();
        self.wakes.remove(&who);
        self.after(down, Event::Up(who));
        Ok(())
    }
}
