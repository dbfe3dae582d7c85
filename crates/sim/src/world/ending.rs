//! The part of a run in which nothing goes wrong any more: all letters are settled, and all agents come to rest.

use nuncio_contracts::registry::limit;
use nuncio_proto::ids::SessionId;
use nuncio_proto::rows;

use super::World;
use crate::book::{Causes, Told, Violation};
use crate::net::Who;
use crate::plan::{Company, Faults, Tokens};

const MINUTE_MS: u64 = 60_000;
/// Clocks were off by at most an hour, and timers with them; then the longest backoff twice.
pub(super) const SETTLE_MS: u64 = 150 * MINUTE_MS;
/// Old sessions end a day after they were replaced.
const DAYS_MS: u64 = 2 * 24 * 60 * MINUTE_MS;

impl World {
    /// Checks all that must hold once nothing goes wrong any more.
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        self.heal()?;
        if self.plan.company.is_some() {
            return self.end_company();
        }
        self.settle()?;
        self.rest()?;
        for from in 0..self.agents.len() {
            for to in self.others(from) {
                self.write(from, to)?;
            }
            self.drain(from)?;
        }
        self.settle()?;
        self.rest()?;
        self.check_tidy()?;
        self.check_sessions()
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.trace.say(self.now_ms, || "all is well from here on".to_owned());
        self.net.heal();
        let plan = self.plan.tokens;
        self.plan.faults = Faults::default();
        self.plan.company = self.plan.company.map(|company| Company { away: 0, split: 0, ..company });
        let (carry, shared, wants, renew) = (plan.carry, plan.shared, plan.wants, plan.renew);
        self.plan.tokens = Tokens { carry, shared, wants, renew, ..Tokens::default() };
        for who in 0..self.agents.len() {
            self.at(who).ahead_ms = 0;
            self.up(who)?;
            self.give_keys(who)?;
        }
        for who in 0..self.agents.len() {
            for other in self.others(who) {
                if self.plan.company.is_none() {
                    self.befriend(who, other)?;
                }
                self.linked(who, other)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let settled = self.run_until(self.now_ms + SETTLE_MS, Self::is_settled)?;
        let untold = self.agents.iter().flat_map(|agent| &agent.book.sent).find(|(_, told)| told.is_none());
        if let Some((letter, _)) = untold {
            return Err(Violation::Untold(*letter));
        }
        if !settled {
            let letter = self.agents.iter().find_map(|agent| agent.peer.as_ref()?.outbox().next());
            return Err(letter.map_or(Violation::Restless(0), |(_, letter, _)| Violation::Untold(letter)));
        }
        self.check_letters()
    }

    fn is_settled(&self) -> bool {
        self.agents.iter().all(|agent| {
            agent.disk.is_still()
                && agent.peer.as_ref().is_some_and(|peer| peer.outbox().next().is_none())
                && agent.book.sent.values().all(Option::is_some)
        })
    }

    /// Lets ghosts come and go; then nobody sends anything for days.
    pub(super) fn rest(&mut self) -> Result<(), Violation> {
        self.run_until(self.now_ms + SETTLE_MS, |_| false)?;
        let before = self.report.frames;
        self.run_until(self.now_ms + DAYS_MS, |_| false)?;
        match self.report.frames - before {
            0 => Ok(()),
            frames => Err(Violation::Chatter(frames)),
        }
    }

    fn check_letters(&self) -> Result<(), Violation> {
        for (letter, written) in &self.letters {
            let (Some(from), Some(to)) = (self.agents.get(written.from), self.agents.get(written.to)) else { continue };
            let (told, arrived) = (from.book.sent.get(letter), to.book.inbox.contains(letter));
            let excused = self.lost.contains(letter) || self.forgotten.contains(letter);
            match told {
                Some(Some(Told::Delivered)) if !arrived && !excused => return Err(Violation::Phantom(*letter)),
                None if arrived && !excused => return Err(Violation::Stray(*letter)),
                Some(Some(Told::Failed(code)))
                    if arrived && Causes::is_refusal(*code) && !excused && !self.reconsidered.contains(letter) =>
                {
                    return Err(Violation::Both { letter: *letter, code: *code });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Days after the last letter nothing is kept that nothing needs.
    pub(super) fn check_tidy(&self) -> Result<(), Violation> {
        for agent in &self.agents {
            agent.compare_with_disk(agent.now(self.now_ms))?;
            // What was lost, given up or refused between members and others is over with its next frame, which never comes.
            let ended =
                if self.plan.company.is_some() { &[][..] } else { &[rows::HELD, rows::GIVEN_UP, rows::SKIPPED] };
            let channels = [rows::CHANNEL_OUT, rows::CHANNEL_HELD, rows::CHANNEL_KEY, rows::CHANNEL_CHAIN];
            for tree in [rows::OUTBOX, rows::RENEWAL].iter().chain(ended).chain(&channels).copied() {
                let count = agent.disk.tree(tree).count();
                if count > 0 {
                    return Err(Violation::Rows { who: agent.who, tree: char::from(tree), count });
                }
            }
        }
        Ok(())
    }

    /// Both agents of every pair seal in one and the same session, and keep no other.
    fn check_sessions(&mut self) -> Result<(), Violation> {
        for one in 0..self.agents.len() {
            for other in self.others(one) {
                let (mine, theirs) = (self.sessions(one, other), self.sessions(other, one));
                if mine != theirs || mine.len() != 1 {
                    self.trace.say(self.now_ms, || format!("{one} has {mine:?}, {other} has {theirs:?}"));
                    return Err(Violation::Apart(one, other));
                }
            }
        }
        Ok(())
    }

    fn sessions(&self, who: Who, with: Who) -> Vec<(SessionId, bool)> {
        let (peer, with) = (self.agents.get(who).and_then(|agent| agent.peer.as_ref()), self.id(with));
        let sessions = peer.into_iter().flat_map(|peer| peer.sessions());
        sessions
            .filter(|(session, _)| Some(session.peer()) == with)
            .map(|(session, current)| (session.id(), current))
            .collect()
    }

    /// No agent ever keeps more than the registry allows.
    pub(super) fn check_bounds(&self) -> Result<(), Violation> {
        for agent in &self.agents {
            let skipped = agent.disk.tree(rows::SKIPPED).count();
            if skipped > limit::SKIPPED_TOTAL_MAX {
                return Err(Violation::Rows { who: agent.who, tree: char::from(rows::SKIPPED), count: skipped });
            }
            let held: usize = agent.disk.tree(rows::HELD).map(|(_, value)| value.len()).sum();
            let sessions = agent.disk.tree(rows::SESSION).count();
            if held > sessions * (limit::HELD_BYTES_MAX + limit::FRAME_LEN_MAX) {
                return Err(Violation::Rows { who: agent.who, tree: char::from(rows::HELD), count: held });
            }
        }
        Ok(())
    }
}
