//! An agent in mid-conversation with many, and all that is under way to it.
//!
//! ```text
//!   members    a session with the victim each, and one channel: some write in every beat, and the victim to some
//!   newcomers  each begins a session once; its start is held back until the next one begins
//!   under way  frames for the victim, which come in any order, some of them beats later
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nuncio_contracts::registry::kind;
use nuncio_proto::channel::{ChannelPlace, Reach};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ChannelNews, Peer};
use nuncio_proto::step::{Arrival, Effect};
use nuncio_proto::time::UnixMillis;
use rand_core::Rng as _;

use super::Broken;
use crate::agent::Agent;
use crate::book::Violation;
use crate::dice::Dice;
use crate::guard::Guard;
use crate::net::Who;
use crate::scene::commit;

/// The victim and its channel's other members: more than get their letters in sessions alone.
const MEMBERS: usize = 10;
/// Who begins a session in the course of a slice.
pub(super) const NEWCOMERS: usize = 10;
const VICTIM: Who = 0;
/// Time between two beats.
const BEAT_MS: u64 = 60;
/// Frames of each sort that are remembered to be made use of.
const REMEMBERED: usize = 256;
/// More rounds than anything has reason to take.
const ROUNDS_MAX: u64 = 200;

/// A frame, and who sent it.
pub(super) type Sent = (AgentId, Vec<u8>);

/// The agents, and what is between them.
pub(super) struct Siege {
    agents: Vec<Agent>,
    channel: ChannelId,
    now_ms: u64,
    dice: Dice,
    /// Frames for the victim wait, to come in any order.
    holds: bool,
    next_newcomer: Who,
    pub(super) under_way: Vec<Sent>,
    /// Letters that the victim has opened, the latest last.
    pub(super) opened: VecDeque<Sent>,
    /// Starts that it has opened.
    pub(super) opened_starts: VecDeque<Sent>,
    /// Acknowledgements alone that it has taken.
    pub(super) acks: VecDeque<Sent>,
    /// Sealed by the victim.
    pub(super) of_victim: VecDeque<Sent>,
    /// Between two others.
    pub(super) of_others: VecDeque<Sent>,
    meant: BTreeMap<LetterId, Meant>,
    /// By author, and whether it is the channel's: the index of the last letter that came.
    last: BTreeMap<(AgentId, bool), u64>,
    /// Letters of the victim that somebody has not acknowledged.
    unanswered: BTreeSet<(AgentId, LetterId)>,
}

/// A letter for the victim, as its author meant it.
struct Meant {
    from: AgentId,
    in_channel: bool,
    index: u64,
    payload: Vec<u8>,
    came: bool,
}

impl Siege {
    /// All have talked, and nothing is under way.
    pub(super) fn new(mut dice: Dice) -> Result<Self, Broken> {
        let agent = |who| Agent::in_company(who, dice.fork(), Guard::default());
        let agents = (0..MEMBERS + NEWCOMERS).map(agent).collect::<Result<_, _>>()?;
        let mut siege = Self {
            agents,
            channel: ChannelId::from_bytes([0; 32]),
            now_ms: 0,
            dice,
            holds: false,
            next_newcomer: MEMBERS,
            under_way: Vec::new(),
            opened: VecDeque::new(),
            opened_starts: VecDeque::new(),
            acks: VecDeque::new(),
            of_victim: VecDeque::new(),
            of_others: VecDeque::new(),
            meant: BTreeMap::new(),
            last: BTreeMap::new(),
            unanswered: BTreeSet::new(),
        };
        siege.found()?;
        siege.holds = true;
        Ok(siege)
    }

    /// The victim founds the channel, all join, and each says something in it and beside it.
    fn found(&mut self) -> Result<(), Broken> {
        let (now, victim) = (self.now(), self.agent(VICTIM)?);
        let founded = victim.peer.as_ref().map(|peer| peer.channel_create("siege", false, now, &mut victim.dice));
        let Some(Ok((channel, step))) = founded else { return Err(Broken::NoScene) };
        victim.take(Some(step))?;
        self.channel = channel;
        for who in 1..MEMBERS {
            let (id, victim) = (self.id(who)?, self.agent(VICTIM)?);
            let step =
                victim.peer.as_ref().and_then(|peer| peer.channel_invite(channel, id, now, &mut victim.dice).ok());
            victim.take(step)?;
            self.settle()?;
        }
        for who in 1..MEMBERS {
            self.write(who)?;
            self.settle()?;
            self.answer(who)?;
            self.post(who)?;
            self.settle()?;
        }
        self.check_all_came()
    }

    /// The victim, for its state alone.
    pub(super) fn victim(&self) -> Result<(&Peer, &Agent), Broken> {
        let victim = self.agents.get(VICTIM).ok_or(Broken::NoScene)?;
        Ok((victim.peer.as_ref().ok_or(Broken::NoScene)?, victim))
    }

    /// The victim, to be moved.
    pub(super) fn victim_mut(&mut self) -> Result<&mut Agent, Broken> {
        self.agent(VICTIM)
    }

    /// Everybody but the victim.
    pub(super) fn others(&self) -> impl Iterator<Item = AgentId> + '_ {
        self.agents.iter().skip(1).map(|agent| agent.id)
    }

    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis(crate::agent::START.0 + self.now_ms)
    }

    /// How many letters were for the victim.
    pub(super) fn letters(&self) -> u64 {
        self.meant.len().try_into().unwrap_or(0)
    }

    fn agent(&mut self, who: Who) -> Result<&mut Agent, Broken> {
        self.agents.get_mut(who).ok_or(Broken::NoScene)
    }

    fn with(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.agents.iter_mut().find(|agent| agent.id == id)
    }

    fn id(&self, who: Who) -> Result<AgentId, Broken> {
        self.agents.get(who).map(|agent| agent.id).ok_or(Broken::NoScene)
    }

    /// Some write, and the victim to one of them; what is for the victim is under way.
    pub(super) fn converse(&mut self, newcomer: bool) -> Result<(), Broken> {
        self.now_ms += BEAT_MS;
        let known = self.known();
        for who in &known {
            for _ in 0..self.dice.below(4) {
                self.write(*who)?;
            }
            if *who < MEMBERS && self.dice.per_mille(300) {
                self.post(*who)?;
            }
        }
        let who = self.dice.pick(&known).copied().unwrap_or(1);
        self.answer(who)?;
        if self.dice.per_mille(250) {
            self.post(VICTIM)?;
        }
        if newcomer && self.next_newcomer < MEMBERS + NEWCOMERS {
            self.write(self.next_newcomer)?;
            self.write(self.next_newcomer)?;
            self.next_newcomer += 1;
        }
        self.carry()
    }

    /// The members, and the newcomers whose starts have come.
    fn known(&self) -> Vec<Who> {
        let has_come = |who: &Who| {
            let id = self.agents.get(*who).map(|agent| agent.id);
            *who < MEMBERS || self.opened_starts.iter().any(|(from, _)| Some(*from) == id)
        };
        (1..self.agents.len()).filter(has_come).collect()
    }

    fn letter(&mut self, from: AgentId, in_channel: bool) -> Letter {
        let (mut random, mut payload) = ([0; 10], vec![0; self.dice.index(120)]);
        self.dice.fill_bytes(&mut random);
        self.dice.fill_bytes(&mut payload);
        let id = LetterId::new(self.now(), random);
        let meant = Meant { from, in_channel, index: self.letters(), payload: payload.clone(), came: false };
        if Ok(from) != self.id(VICTIM) {
            self.meant.insert(id, meant);
        }
        Letter::plain(id, ContentType::BYTES, payload)
    }

    /// One writes to the victim.
    fn write(&mut self, who: Who) -> Result<(), Broken> {
        let (now, from, victim) = (self.now(), self.id(who)?, self.id(VICTIM)?);
        let letter = self.letter(from, false);
        let sent = self.agent(who)?.send(victim, &letter, now)?;
        if sent { Ok(()) } else { Err(Broken::Unsent(letter.id)) }
    }

    /// The victim writes to one.
    fn answer(&mut self, who: Who) -> Result<(), Broken> {
        let (now, to, victim) = (self.now(), self.id(who)?, self.id(VICTIM)?);
        let letter = self.letter(victim, false);
        self.unanswered.insert((to, letter.id));
        let sent = self.agent(VICTIM)?.send(to, &letter, now)?;
        if sent { Ok(()) } else { Err(Broken::Unsent(letter.id)) }
    }

    /// One writes to the channel.
    fn post(&mut self, who: Who) -> Result<(), Broken> {
        let (now, from, channel) = (self.now(), self.id(who)?, self.channel);
        let letter = self.letter(from, true);
        if who == VICTIM {
            let members: Vec<_> = self.others().take(MEMBERS - 1).collect();
            self.unanswered.extend(members.into_iter().map(|member| (member, letter.id)));
        }
        let posted = self.agent(who)?.post(channel, &letter, now)?;
        if posted { Ok(()) } else { Err(Broken::Unsent(letter.id)) }
    }

    /// Everybody does what is to be done, until nothing moves but what is held back.
    fn carry(&mut self) -> Result<(), Broken> {
        let now = self.now();
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for who in 0..self.agents.len() {
                let agent = self.agent(who)?;
                agent.drain(now, true)?;
                for effect in commit(agent) {
                    moved = true;
                    self.publish(who, effect)?;
                }
            }
            if !moved {
                return Ok(());
            }
        }
        Err(Broken::Restless)
    }

    fn publish(&mut self, by: Who, effect: Effect) -> Result<(), Broken> {
        let (id, now) = (self.id(by)?, self.now());
        match effect {
            Effect::Send { to, frame } => self.send(by, to, frame)?,
            Effect::WantBundle { of } => {
                let request = u64::try_from(by).unwrap_or(u64::MAX);
                self.with(of).map(|agent| agent.claim(id, request, now)).transpose()?;
            }
            Effect::Bundle { request, bundle } => {
                let asked = usize::try_from(request).ok().and_then(|at| self.agents.get_mut(at));
                asked.map(|agent| agent.begin(&bundle, now)).transpose()?;
            }
            Effect::Channel { channel, news: ChannelNews::Invited { .. } } => {
                let agent = self.agent(by)?;
                let step = agent.peer.as_ref().and_then(|peer| peer.channel_join(channel, Reach::default(), now).ok());
                agent.take(step)?;
            }
            Effect::Deliver(arrival) => {
                let agent = self.agent(by)?;
                let done = agent.peer.as_ref().and_then(|peer| peer.done(arrival.no));
                agent.take(done)?;
                if by == VICTIM {
                    self.hear(&arrival)?;
                }
            }
            Effect::Delivered { to, letter } if by == VICTIM => drop(self.unanswered.remove(&(to, letter))),
            Effect::Failed { letter, .. } => return Err(Broken::Unsent(letter)),
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, by: Who, to: AgentId, frame: Vec<u8>) -> Result<(), Broken> {
        let (from, victim, now) = (self.id(by)?, self.id(VICTIM)?, self.now());
        if to == victim {
            self.under_way.push((from, frame));
            return if self.holds { Ok(()) } else { self.arrive(0, true) };
        }
        remember(if by == VICTIM { &mut self.of_victim } else { &mut self.of_others }, (from, frame.clone()));
        self.with(to).map(|agent| agent.receive(from, &frame, now)).transpose()?;
        Ok(())
    }

    /// Frames that are under way come, in any order; of a thousand so many stay under way, and starts unless they may come too.
    pub(super) fn arrive(&mut self, stay: u32, starts: bool) -> Result<(), Broken> {
        let mut waiting = core::mem::take(&mut self.under_way);
        shuffle(&mut waiting, &mut self.dice);
        let (later, mut waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, frame)| (!starts && kind_of(frame) == kind::FRAME_START) || self.dice.per_mille(stay));
        let mut left = usize::MAX;
        while waiting.len() < left {
            left = waiting.len();
            for (from, frame) in core::mem::take(&mut waiting) {
                if !self.let_in(from, &frame)? {
                    waiting.push((from, frame));
                }
            }
        }
        self.under_way.extend(waiting.into_iter().chain(later));
        Ok(())
    }

    /// Whether a frame was opened, or is of no use any more.
    fn let_in(&mut self, from: AgentId, frame: &[u8]) -> Result<bool, Broken> {
        let now = self.now();
        let refused = self.agent(VICTIM)?.receive(from, frame, now)?;
        let kind = kind_of(frame);
        if let Some((refusal, _)) = refused {
            // It was sent again, or tells what is known.
            return Ok(kind == kind::FRAME_ACK || ["replayed", "channel_replayed"].contains(&refusal.name()));
        }
        let ring = match kind {
            kind::FRAME_ACK => &mut self.acks,
            kind::FRAME_START => &mut self.opened_starts,
            _ => &mut self.opened,
        };
        remember(ring, (from, frame.to_vec()));
        Ok(true)
    }

    /// A letter is in the victim's inbox: once, as it was meant, in its turn.
    fn hear(&mut self, arrival: &Arrival) -> Result<(), Broken> {
        let id = arrival.letter.id;
        let in_channel = ChannelPlace::of(&arrival.letter).is_ok_and(|place| place.is_some());
        let meant = self.meant.get_mut(&id).filter(|meant| {
            (meant.from, meant.in_channel, &meant.payload) == (arrival.from, in_channel, &arrival.letter.payload)
        });
        let meant = meant.ok_or(Violation::Stray(id))?;
        if core::mem::replace(&mut meant.came, true) {
            return Err(Violation::Twice(id).into());
        }
        let (index, last) = (meant.index, self.last.insert((arrival.from, in_channel), meant.index));
        match last.filter(|last| *last > index) {
            Some(last) => Err(Violation::OutOfOrder { letter: id, index, last }.into()),
            None => Ok(()),
        }
    }

    /// All that is under way comes, and nothing moves any more.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        for _ in 0..ROUNDS_MAX {
            self.now_ms += BEAT_MS;
            self.carry()?;
            self.arrive(0, true)?;
            self.carry()?;
            if self.under_way.is_empty() && self.is_quiet() {
                return Ok(());
            }
        }
        Err(Broken::Stuck(self.under_way.len()))
    }

    fn is_quiet(&self) -> bool {
        self.unanswered.is_empty() && self.meant.values().all(|meant| meant.came)
    }

    /// Each letter came, and each of the victim's was acknowledged.
    fn check_all_came(&self) -> Result<(), Broken> {
        let lost = self.meant.iter().find(|(_, meant)| !meant.came).map(|(id, _)| *id);
        match lost.or(self.unanswered.first().map(|(_, id)| *id)) {
            Some(letter) => Err(Broken::Lost(letter)),
            None => Ok(()),
        }
    }

    /// Everything comes; the victim starts again from its disk, and hears everybody, and is heard.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        self.settle()?;
        self.check_all_came()?;
        let (now, victim) = (self.now(), self.agent(VICTIM)?);
        victim.compare_with_disk(now)?;
        victim.load(now)?;
        for who in 1..MEMBERS {
            self.write(who)?;
            self.answer(who)?;
            self.post(who)?;
        }
        self.settle()?;
        self.check_all_came()
    }
}

/// The kind that a frame's bytes say that it has.
pub(super) fn kind_of(frame: &[u8]) -> u8 {
    frame.get(2).copied().unwrap_or_default()
}

fn remember(ring: &mut VecDeque<Sent>, sent: Sent) {
    if ring.len() >= REMEMBERED {
        ring.pop_front();
    }
    ring.push_back(sent);
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for end in (1..list.len()).rev() {
        list.swap(end, dice.index(end + 1));
    }
}
