//! One run: events in the order of virtual time, until all has come to rest.

mod company;
mod ending;
mod storm;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::Counters;
use nuncio_proto::step::Effect;

use crate::agent::Agent;
use crate::book::{Book, Causes, Letters, Told, Violation};
use crate::dice::Dice;
use crate::disk::{Durable, Rows};
use crate::guard::Guard;
use crate::net::{Net, Packet, Who};
use crate::plan::Plan;
use crate::trace::Trace;

/// What a run did, if it did nothing wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters handed to agents.
    pub written: u64,
    /// Letters in an inbox.
    pub arrived: u64,
    /// Letters whose sender was told that they failed.
    pub failed: u64,
    /// Frames that left an agent.
    pub frames: u64,
    /// Crashes.
    pub crashes: u64,
    /// Agents restored from a copy.
    pub restored: u64,
    /// What all agents counted, together.
    pub handshakes: u64,
    /// DH turns.
    pub turns: u64,
    /// Letters that came again and were not delivered again.
    pub duplicates: u64,
    /// Re-keys completed.
    pub rekeys: u64,
    /// Letters sealed again in another session.
    pub sealed_again: u64,
    /// Letters written with a token.
    pub with_token: u64,
    /// Letters given a fresh token.
    pub renewed: u64,
    /// Letters that were refused for their token and went again.
    pub token_again: u64,
    /// Entries of channels' records, at the end.
    pub entries: u64,
    /// Copies of letters to channels that members were due, whoever else was written to as well.
    pub due: u64,
    /// The most chains of one sender that were over at a member and of which letters were missing.
    pub chains: u64,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan, trace: &mut Trace) -> Result<Report, Violation> {
    let mut world = World::new(plan.clone(), core::mem::take(trace))?;
    let result = world.storm().and_then(|()| world.end());
    if result.is_err() {
        let kept: Vec<_> = world.agents.iter().map(|agent| format!("{} keeps {:?}", agent.who, agent.peer)).collect();
        world.trace.say(world.now_ms, || kept.join("\n"));
    }
    *trace = core::mem::take(&mut world.trace);
    result.map(|()| world.report())
}

#[derive(Clone, Debug)]
enum Event {
    /// A packet arrives.
    Packet { from: Who, to: Who, packet: Packet },
    /// A sync ends.
    Synced { who: Who, life: u32 },
    /// An agent wanted to be woken, or has become idle.
    Wake { who: Who, life: u32 },
    /// An agent comes back.
    Up(Who),
    /// A link carries again.
    Linked(Who, Who),
    /// An agent adds another again.
    Befriend(Who, Who),
    /// The token service answers an agent that wanted a fresh token for a letter.
    Renew { who: Who, life: u32, to: AgentId, letter: LetterId },
    /// An agent has the token service's keys again.
    Keys(Who),
    /// An agent hears that a transaction was revoked.
    Revoked(Who, String),
    /// An agent answers invitations.
    Answer(Who),
    /// Somebody writes.
    Moment,
    /// Something may go wrong.
    Trouble,
}

#[derive(Debug)]
struct World {
    plan: Plan,
    trace: Trace,
    dice: Dice,
    net: Net,
    agents: Vec<Agent>,
    ids: Vec<AgentId>,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    events_max: u64,
    in_flight: u64,
    wakes: BTreeMap<Who, u64>,
    letters: Letters,
    /// By sender and receiver: how many letters were written.
    indices: BTreeMap<(Who, Who), u64>,
    unwritten: u64,
    issued: tokens::Issued,
    company: company::State,
    /// Letters whose acceptance a restored backup has undone.
    forgotten: BTreeSet<LetterId>,
    /// Letters whose arrival a restored backup has undone, or of whose failure their sender knew before it was restored: that it was told is
    /// gone with the disk, and it may be told otherwise.
    lost: BTreeSet<LetterId>,
    /// Letters to an agent that was restored since: that it refused one is gone with the disk, and it may deliver it from there.
    reconsidered: BTreeSet<LetterId>,
    backups: Vec<(Who, Rows, Book)>,
    /// Agents that were restored: order is promised to and from nobody of them.
    restored: BTreeSet<Who>,
    causes: Causes,
    report: Report,
}

impl World {
    fn new(plan: Plan, trace: Trace) -> Result<Self, Violation> {
        let mut dice = Dice::new(plan.seed);
        let net = Net::new(plan.weather, dice.fork());
        let (judges, wants) = (plan.tokens.any(), plan.tokens.wants);
        let guard = Guard { judges, wants, has_keys: true, ..Guard::default() };
        let make = if plan.company.is_some() { Agent::in_company } else { Agent::new };
        let agents: Vec<_> =
            (0..plan.agents).map(|who| make(who, dice.fork(), guard.clone())).collect::<Result<_, _>>()?;
        let ids = agents.iter().map(|agent| agent.id).collect();
        let causes =
            Causes { time: plan.faults.clock_step > 0 || plan.faults.silence > 0, clocks: plan.faults.clock_step > 0 };
        Ok(Self {
            unwritten: plan.letters,
            issued: tokens::Issued::default(),
            company: company::State::default(),
            events_max: 1_000_000 + 2_000 * plan.letters,
            plan,
            trace,
            dice,
            net,
            agents,
            ids,
            now_ms: 0,
            events: BTreeMap::new(),
            next_event: 0,
            in_flight: 0,
            wakes: BTreeMap::new(),
            letters: Letters::new(),
            indices: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            lost: BTreeSet::new(),
            backups: Vec::new(),
            reconsidered: BTreeSet::new(),
            restored: BTreeSet::new(),
            causes,
            report: Report::default(),
        })
    }

    #[expect(clippy::indexing_slicing, reason = "every number of an agent in a run was made from 0..agents")]
    fn at(&mut self, who: Who) -> &mut Agent {
        &mut self.agents[who]
    }

    fn id(&self, who: Who) -> Option<AgentId> {
        self.ids.get(who).copied()
    }

    fn who(&self, id: &AgentId) -> Option<Who> {
        self.ids.iter().position(|known| known == id)
    }

    fn others(&self, who: Who) -> impl Iterator<Item = Who> + use<> {
        (0..self.agents.len()).filter(move |other| *other != who)
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.in_flight += u64::from(matches!(event, Event::Packet { .. }));
        self.events.insert((self.now_ms.saturating_add(delay_ms), self.next_event), event);
        self.next_event += 1;
    }

    /// Lets events happen until one of them makes `stop` true, or until a time: whether it was `stop`.
    fn run_until(&mut self, until_ms: u64, stop: impl Fn(&Self) -> bool) -> Result<bool, Violation> {
        while !stop(self) {
            let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until_ms) else {
                self.now_ms = until_ms;
                return Ok(false);
            };
            if self.next_event > self.events_max {
                return Err(Violation::Endless(self.next_event));
            }
            let ((at, _), event) = entry.remove_entry();
            self.now_ms = at;
            self.happen(event)?;
        }
        Ok(true)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Packet { from, to, packet } => {
                self.in_flight -= 1;
                self.arrive(from, to, packet)
            }
            Event::Synced { who, life } if self.at(who).life == life => {
                let durable = self.at(who).disk.finish_sync();
                self.publish(who, durable)?;
                self.drain(who)
            }
            // An alarm that was set again for an earlier time rings twice; once is enough.
            Event::Wake { who, life } if self.at(who).life == life && self.wakes.get(&who) == Some(&self.now_ms) => {
                self.wakes.remove(&who);
                self.drain(who)
            }
            Event::Renew { who, life, to, letter } if self.at(who).life == life => self.renew(who, to, letter),
            Event::Synced { .. } | Event::Wake { .. } | Event::Renew { .. } => Ok(()),
            Event::Keys(who) => self.give_keys(who),
            Event::Revoked(who, txn) => self.hear_revoked(who, txn),
            Event::Up(who) => self.up(who),
            Event::Linked(one, other) => self.linked(one, other),
            Event::Befriend(one, other) => self.befriend(one, other),
            Event::Answer(who) => self.answer_invitations(who),
            Event::Moment => self.moment(),
            Event::Trouble => self.trouble(),
        }
    }

    fn arrive(&mut self, from: Who, to: Who, packet: Packet) -> Result<(), Violation> {
        let (now_ms, Some(from_id)) = (self.now_ms, self.id(from)) else { return Ok(()) };
        let agent = self.at(to);
        let now = agent.now(now_ms);
        if agent.peer.is_none() {
            return Ok(());
        }
        match packet {
            Packet::Frame(bytes) => {
                if let Some((refusal, notice)) = agent.receive(from_id, &bytes, now)? {
                    self.trace.say(now_ms, || format!("{to} refuses a frame of {from}: {refusal}"));
                    self.post(to, from, notice.map(|notice| Packet::Frame(notice.into())));
                } else {
                    self.trace.say(now_ms, || format!("{to} takes a frame of {from}"));
                }
            }
            Packet::Claim => drop(agent.claim(from_id, u64::try_from(from).unwrap_or(0), now)?),
            Packet::Bundle(bytes) => {
                let begun = agent.begin(&bytes, now)?;
                self.trace.say(now_ms, || format!("{to} begins a session with {from}: {begun}"));
            }
        }
        self.drain(to)
    }

    /// Does what an agent does by itself, lets its disk sync, and sets its alarm.
    fn drain(&mut self, who: Who) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        let idle = self.dice.per_mille(800);
        let sync_ms = if self.dice.per_mille(50) { 40 } else { 1 + self.dice.below(3) };
        let agent = self.at(who);
        let now = agent.now(now_ms);
        agent.drain(now, idle)?;
        let (life, syncs) = (agent.life, agent.disk.begin_sync());
        let Some(wake) = agent.peer.as_ref().map(|peer| peer.next_wake()) else { return Ok(()) };
        let wait = if idle { wake.since(now) } else { 1 };
        if syncs {
            self.after(sync_ms, Event::Synced { who, life });
        }
        let at = now_ms.saturating_add(wait);
        if self.wakes.get(&who).is_none_or(|set| at < *set) {
            self.wakes.insert(who, at);
            self.after(wait, Event::Wake { who, life });
        }
        Ok(())
    }

    /// Effects of what is durable.
    fn publish(&mut self, who: Who, durable: Vec<Durable>) -> Result<(), Violation> {
        for done in durable {
            self.note(who, &done)?;
            for effect in done.effects {
                self.effect(who, effect)?;
            }
        }
        Ok(())
    }

    /// Takes note of a durable step, whether or not its effects will be done.
    fn note(&mut self, who: Who, done: &Durable) -> Result<(), Violation> {
        if self.plan.company.is_some() {
            return self.note_company(who, done);
        }
        self.note_again(&done.effects);
        let ordered = self.restored.is_empty();
        let (letters, ids) = (core::mem::take(&mut self.letters), core::mem::take(&mut self.ids));
        let told = self.at(who).book.note(who, done, &letters, &ids, ordered);
        (self.letters, self.ids) = (letters, ids);
        for (letter, how) in told? {
            self.check_told(who, letter, how)?;
        }
        Ok(())
    }

    fn check_told(&mut self, who: Who, letter: LetterId, how: Told) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        self.trace.say(now_ms, || format!("{who} hears of {letter}: {how:?}"));
        let written = self.letters.get(&letter).cloned().ok_or(Violation::Stray(letter))?;
        match how {
            Told::Delivered => {
                let arrived = self.at(written.to).book.inbox.contains(&letter) || self.lost.contains(&letter);
                if arrived { Ok(()) } else { Err(Violation::Phantom(letter)) }
            }
            Told::Failed(code) => {
                let (causes, guard) = (self.causes, &self.at(written.to).guard);
                if causes.allow(&written, guard, code) { Ok(()) } else { Err(Violation::NoCause { letter, code }) }
            }
        }
    }

    fn effect(&mut self, who: Who, effect: Effect) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        match effect {
            Effect::Send { to, frame } => {
                self.at(who).book.leaves(who, &frame)?;
                let to = self.who(&to);
                self.trace.say(now_ms, || format!("{who} sends {} bytes to {to:?}", frame.len()));
                if let Some(to) = to {
                    self.forge(who, to, &frame)?;
                    self.post(who, to, Some(Packet::Frame(frame.into())));
                }
            }
            Effect::WantBundle { of } => {
                self.trace.say(now_ms, || format!("{who} asks for a bundle"));
                if let Some(of) = self.who(&of) {
                    self.post(who, of, Some(Packet::Claim));
                }
            }
            Effect::Bundle { request, bundle } => {
                let asker = usize::try_from(request).unwrap_or(0);
                self.post(who, asker, Some(Packet::Bundle(bundle.into())));
            }
            Effect::Deliver(arrival) => {
                let known = self.at(who).book.inbox.contains(&arrival.letter.id);
                self.trace.say(now_ms, || format!("{who} delivers {}", arrival.letter.id));
                if !known {
                    return Err(Violation::Stray(arrival.letter.id));
                }
            }
            Effect::TokenExpired { to, letter } => self.token_expired(who, to, letter),
            Effect::Channel { news, .. } => self.hear_news(who, &news),
            other => self.trace.say(now_ms, || format!("{who}: {other:?}")),
        }
        Ok(())
    }

    fn post(&mut self, from: Who, to: Who, packet: Option<Packet>) {
        let Some(packet) = packet else { return };
        self.report.frames += u64::from(matches!(packet, Packet::Frame(_)));
        for delay in self.net.fates(from, to, self.now_ms) {
            self.after(delay, Event::Packet { from, to, packet: packet.clone() });
        }
    }

    /// Now and then an altered copy comes first. It must be refused, and nothing may move.
    fn forge(&mut self, from: Who, to: Who, frame: &[u8]) -> Result<(), Violation> {
        let (now_ms, Some(from_id)) = (self.now_ms, self.id(from)) else { return Ok(()) };
        if !self.dice.per_mille(self.plan.faults.forge) {
            return Ok(());
        }
        let (at, bit) = (self.dice.index(frame.len()), self.dice.below(8));
        let mut forged = frame.to_vec();
        forged.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
        let agent = self.at(to);
        let now = agent.now(now_ms);
        let Some(peer) = &agent.peer else { return Ok(()) };
        let notice = matches!(nuncio_proto::frame::Frame::decode(&forged), Ok(nuncio_proto::frame::Frame::Notice(_)));
        let taken = peer.receive(Some(from_id), &forged, now, &mut agent.dice, &agent.disk).is_ok();
        if taken && !notice { Err(Violation::Forged(to)) } else { Ok(()) }
    }

    fn up(&mut self, who: Who) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        self.trace.say(now_ms, || format!("{who} starts"));
        let agent = self.at(who);
        if agent.peer.is_some() {
            return Ok(());
        }
        let now = agent.now(now_ms);
        agent.load(now)?;
        self.start_keyless(who)?;
        self.after(100, Event::Answer(who));
        self.drain(who)?;
        for other in self.others(who) {
            self.linked(who, other)?;
        }
        Ok(())
    }

    /// Two agents can reach each other again.
    fn linked(&mut self, one: Who, other: Who) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        if self.net.is_cut(one, other, now_ms) {
            return Ok(());
        }
        for (who, with) in [(one, other), (other, one)] {
            let Some(with) = self.id(with) else { continue };
            let agent = self.at(who);
            let now = agent.now(now_ms);
            let step = agent.peer.as_ref().and_then(|peer| peer.connected(with, now, &mut agent.dice));
            agent.take(step)?;
            self.drain(who)?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let counted: Vec<Counters> = self
            .agents
            .iter()
            .flat_map(|agent| [Some(agent.past), agent.peer.as_ref().map(|peer| peer.counters())])
            .flatten()
            .collect();
        let sum = |what: fn(&Counters) -> u64| counted.iter().map(what).sum();
        let told = |agent: &Agent| agent.book.sent.values().filter(|how| matches!(how, Some(Told::Failed(_)))).count();
        Report {
            arrived: self.agents.iter().map(|agent| u64::try_from(agent.book.inbox.len()).unwrap_or(0)).sum(),
            failed: self.company.failed()
                + self.agents.iter().map(|agent| u64::try_from(told(agent)).unwrap_or(0)).sum::<u64>(),
            handshakes: sum(|c| c.handshakes),
            turns: sum(|c| c.turns),
            duplicates: sum(|c| c.duplicates),
            rekeys: sum(|c| c.rekeys),
            sealed_again: sum(|c| c.sealed_again),
            ..self.report
        }
    }
}
