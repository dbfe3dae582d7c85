//! What agents do in a channel: write, answer, ask in, take out, leave, hand over.

use nuncio_proto::channel::{Change, Reach, Roster};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use rand_core::Rng as _;

use super::Posted;
use crate::agent::are_acquainted;
use crate::book::Violation;
use crate::net::Who;
use crate::plan::Company;
use crate::world::{Event, World};

const MINUTE_MS: u64 = 60_000;

impl World {
    /// The first agent founds the channel and asks the others in.
    pub(in crate::world) fn found(&mut self, company: Company) -> Result<(), Violation> {
        let agent = self.at(0);
        let now = agent.now(0);
        let founded = agent.peer.as_ref().map(|peer| peer.channel_create("travel", false, now, &mut agent.dice));
        let Some(Ok((channel, step))) = founded else { return Ok(()) };
        agent.take(Some(step))?;
        self.company.channel = Some(channel);
        for who in 1..company.members {
            self.ask_in(0, who)?;
        }
        self.drain(0)?;
        self.run_until(1_000, |_| false)?;
        Ok(())
    }

    /// Letters by one member, or changes by several.
    pub(in crate::world) fn company_moment(&mut self, company: Company, count: u64) -> Result<(), Violation> {
        if self.dice.per_mille(company.change) {
            self.unwritten -= 1;
            for _ in 0..=self.dice.below(3) {
                self.change_company(company)?;
            }
            return Ok(());
        }
        let mut members = self.members_by_themselves(|_, _| true);
        if company.long {
            // A few say much, so that who is away misses many chains of each.
            members.truncate(2);
        }
        self.unwritten = self.unwritten.saturating_sub(count);
        let Some(from) = self.dice.pick(&members).copied() else { return Ok(()) };
        for _ in 0..count {
            self.post_letter(from, company.answer)?;
        }
        self.drain(from)
    }

    /// Who is up and a member as far as it knows, and is something besides.
    fn members_by_themselves(&self, is: impl Fn(&Roster, &AgentId) -> bool) -> Vec<Who> {
        let is = |who: &Who| {
            let agent = self.agents.get(*who)?;
            let (peer, channel) = (agent.peer.as_ref()?, self.company.channel?);
            let roster = peer.channel(&channel).filter(|_| !peer.channel_left_by_word(&channel))?.roster();
            (roster.has(&agent.id) && is(roster, &agent.id)).then_some(())
        };
        (0..self.agents.len()).filter(|who| is(who).is_some()).collect()
    }

    pub(super) fn post_letter(&mut self, from: Who, answer: u32) -> Result<(), Violation> {
        let (now_ms, Some(channel)) = (self.now_ms, self.company.channel) else { return Ok(()) };
        let (mut random, mut payload) = ([0; 10], vec![0; self.dice.index(200)]);
        self.dice.fill_bytes(&mut random);
        self.dice.fill_bytes(&mut payload);
        let answers = self.dice.per_mille(answer);
        let known: Vec<LetterId> = self.at(from).book.inbox.iter().rev().take(5).copied().collect();
        let reply_to = self.dice.pick(&known).copied().filter(|_| answers);
        let agent = self.at(from);
        let now = agent.now(now_ms);
        let mut letter = Letter::plain(LetterId::new(now, random), ContentType::BYTES, payload.clone());
        letter.reply_to = reply_to;
        let record = agent.peer.as_ref().and_then(|peer| peer.channel(&channel));
        let Some((epoch, members)) = record.map(|record| (record.epoch(), record.roster().members())) else {
            return Ok(());
        };
        let to = members.map(|(member, _)| *member).filter(|member| *member != agent.id);
        let to = to.map(|to| (to, None)).collect();
        let posted = Posted { from, epoch, at_ms: now_ms, payload, reply_to, accepted: false, to };
        if agent.post(channel, &letter, now)? {
            self.company.posted.insert(letter.id, posted);
            self.trace.say(now_ms, || format!("{from} writes {}, which answers {reply_to:?}", letter.id));
        }
        Ok(())
    }

    /// Somebody changes the channel, as it may: mostly its owner or an admin.
    fn change_company(&mut self, company: Company) -> Result<(), Violation> {
        let leads = self.dice.per_mille(850);
        let able =
            self.members_by_themselves(|roster, agent| !leads || roster.owner() == *agent || roster.is_admin(agent));
        let Some(who) = self.dice.pick(&able).copied() else { return Ok(()) };
        let Some((roster, me)) = self.roster_of(who).zip(self.id(who)) else { return Ok(()) };
        let members: Vec<AgentId> = roster.members().map(|(agent, _)| *agent).collect();
        let is_small = members.len() < company.members.saturating_sub(2).max(3);
        let Some(whom) = self.dice.pick(&members).copied() else { return Ok(()) };
        let is_owner = roster.owner() == me;
        match self.dice.below(10) {
            0..=2 => self.ask_in_anybody(who, &members),
            3..=4 if is_small => self.ask_in_anybody(who, &members),
            3..=4 => self.change(who, Change::Remove(vec![whom])),
            5..=6 => self.change(who, Change::Admin { agent: whom, admin: !roster.is_admin(&whom) }),
            7 if is_owner => self.change(who, Change::HandOver(whom)),
            8 if !is_owner && !is_small => self.leave(who),
            _ => {
                let name = format!("travel {}", self.dice.below(1_000));
                self.change(who, Change::Rename(name))
            }
        }
    }

    pub(super) fn roster_of(&self, who: Who) -> Option<Roster> {
        let peer = self.agents.get(who)?.peer.as_ref()?;
        Some(peer.channel(&self.company.channel?)?.roster().clone())
    }

    fn change(&mut self, who: Who, change: Change) -> Result<(), Violation> {
        let (now_ms, Some(channel)) = (self.now_ms, self.company.channel) else { return Ok(()) };
        self.trace.say(now_ms, || format!("{who} wants {change:?}"));
        let agent = self.at(who);
        let now = agent.now(now_ms);
        let step = agent.peer.as_ref().and_then(|peer| peer.channel_change(channel, change, now).ok());
        agent.take(step)?;
        self.drain(who)
    }

    fn leave(&mut self, who: Who) -> Result<(), Violation> {
        let (now_ms, Some(channel)) = (self.now_ms, self.company.channel) else { return Ok(()) };
        self.trace.say(now_ms, || format!("{who} wants to leave"));
        let agent = self.at(who);
        let now = agent.now(now_ms);
        let step = agent.peer.as_ref().and_then(|peer| peer.channel_leave(channel, now).ok());
        agent.take(step)?;
        self.drain(who)
    }

    fn ask_in_anybody(&mut self, who: Who, members: &[AgentId]) -> Result<(), Violation> {
        let others: Vec<Who> = (0..self.agents.len())
            .filter(|other| are_acquainted(who, *other) && self.id(*other).is_some_and(|id| !members.contains(&id)))
            .collect();
        let Some(whom) = self.dice.pick(&others).copied() else { return Ok(()) };
        self.ask_in(who, whom)?;
        self.drain(who)
    }

    fn ask_in(&mut self, who: Who, whom: Who) -> Result<(), Violation> {
        let (now_ms, Some(channel)) = (self.now_ms, self.company.channel) else { return Ok(()) };
        let Some(id) = self.id(whom) else { return Ok(()) };
        self.trace.say(now_ms, || format!("{who} asks {whom} in"));
        let agent = self.at(who);
        let now = agent.now(now_ms);
        let dice = &mut agent.dice;
        let step = agent.peer.as_ref().and_then(|peer| peer.channel_invite(channel, id, now, dice).ok());
        agent.take(step)?;
        Ok(())
    }

    /// An agent joins where it was asked in, or forgets that it was; or is the owner, where it was asked to be.
    pub(in crate::world) fn answer_invitations(&mut self, who: Who) -> Result<(), Violation> {
        let (now_ms, joins) = (self.now_ms, self.dice.per_mille(950) || self.company.joined.contains(&who));
        let Some(channel) = self.company.channel else { return Ok(()) };
        let agent = self.at(who);
        let now = agent.now(now_ms);
        let Some(peer) = &agent.peer else { return Ok(()) };
        if peer.channel_heir(&channel) == Some(agent.id) && joins {
            let step = peer.channel_take_over(channel, now).ok();
            agent.take(step)?;
            self.trace.say(now_ms, || format!("{who} takes over"));
            return self.drain(who);
        }
        if !peer.channel_invitations().any(|(asked, invited)| asked == channel && !invited.joining) {
            return Ok(());
        }
        let step =
            if joins { peer.channel_join(channel, Reach::default(), now).ok() } else { peer.channel_decline(channel) };
        agent.take(step)?;
        if joins {
            self.company.joined.insert(who);
        }
        self.trace.say(now_ms, || format!("{who} joins: {joins}"));
        self.drain(who)
    }

    /// Perhaps an agent is away for long, or some do not reach the others.
    pub(in crate::world) fn company_trouble(&mut self, who: Who) {
        let Some(company) = self.plan.company else { return };
        if self.dice.per_mille(company.away) {
            let long = match self.dice.per_mille(300) {
                true if company.long => 2 * 24 * 60 * MINUTE_MS,
                true => 180 * MINUTE_MS,
                false => 10 * MINUTE_MS,
            };
            self.part_from(&[who], long);
        }
        if self.dice.per_mille(company.split) {
            let some: Vec<Who> = (0..self.agents.len()).filter(|_| self.dice.per_mille(400)).collect();
            self.part_from(&some, 5 * MINUTE_MS);
        }
    }

    fn part_from(&mut self, some: &[Who], longest_ms: u64) {
        let until = 1 + self.dice.below(longest_ms);
        self.trace.say(self.now_ms, || format!("{some:?} do not reach the others for {until} ms"));
        for one in some {
            for other in self.others(*one).filter(|other| !some.contains(other)) {
                self.net.cut(*one, other, self.now_ms + until);
                self.after(until, Event::Linked(*one, other));
            }
        }
    }
}
