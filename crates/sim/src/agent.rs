//! One agent with its disk and its clock, driven as a runtime drives it: step, stage, commit, publish.

use std::sync::OnceLock;

use nuncio_proto::bundle::Bundle;
use nuncio_proto::error::Refusal;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ContactInfo, Counters, Peer};
use nuncio_proto::rows;
use nuncio_proto::step::Step;
use nuncio_proto::time::UnixMillis;

use crate::book::{Book, Violation};
use crate::dice::Dice;
use crate::disk::{Disk, Rows, records};
use crate::guard::Guard;
use crate::net::Who;
use crate::plan::COMPANY_MAX;

/// When every run begins.
pub const START: UnixMillis = UnixMillis(1_800_000_000_000);
/// The most agents of a run.
pub const AGENTS_MAX: usize = 6;
/// More steps in a row than any agent has reason for.
const STEPS_MAX: u32 = 50_000;

/// Why a frame was refused, and the notice for its sender.
pub type Refused = (Refusal, Option<Vec<u8>>);

/// An agent, up or down.
#[derive(Debug)]
pub struct Agent {
    /// Its number.
    pub who: Who,
    /// Its name.
    pub id: AgentId,
    /// `None` while it is down.
    pub peer: Option<Peer>,
    /// Its disk.
    pub disk: Disk,
    /// What was promised and seen.
    pub book: Book,
    /// What it judges letters by.
    pub guard: Guard,
    /// Its randomness; like the operating system's, it is never rewound.
    pub dice: Dice,
    /// Added to the world's time, wrapping: its clock may be behind.
    pub ahead_ms: u64,
    /// Counts its starts, so that what was meant for an earlier one is dropped.
    pub life: u32,
    /// What it did in earlier lives.
    pub past: Counters,
}

/// First disks of all agents; they know each other. Made once, as making prekeys takes longer than many runs.
fn homes() -> &'static [(AgentId, Rows)] {
    static HOMES: OnceLock<Vec<(AgentId, Rows)>> = OnceLock::new();
    HOMES.get_or_init(|| {
        let mut dice = Dice::new(0x686f_6d65);
        let identities: Vec<_> =
            core::iter::repeat_with(|| Identity::generate(&mut dice)).flatten().take(AGENTS_MAX).collect();
        let ids: Vec<_> = identities.iter().map(Identity::id).collect();
        identities.into_iter().map(|identity| (identity.id(), first_rows(identity, &ids, &mut dice))).collect()
    })
}

fn first_rows(identity: Identity, known: &[AgentId], dice: &mut Dice) -> Rows {
    let mut disk = Disk::default();
    let (mut peer, staged) = Peer::create(identity, START, dice);
    disk.stage(staged, None);
    for id in known {
        let step = peer.set_contact(*id, friend());
        if let Some(staged) = step.and_then(|step| peer.stage(step).ok()) {
            disk.stage(staged, None);
        }
    }
    disk.begin_sync();
    disk.finish_sync();
    disk.rows().clone()
}

/// First disks of agents that come together in a channel: the first three are known to all, the others to some. Each is made once, when it is wanted.
fn company_home(who: Who) -> Option<(AgentId, Rows)> {
    static HOMES: [OnceLock<Option<(AgentId, Rows)>>; COMPANY_MAX] = [const { OnceLock::new() }; COMPANY_MAX];
    let identity = |who: Who| Identity::generate(&mut Dice::new(0x0063_6f6d_7061_6e79 ^ u64::try_from(who).ok()?)).ok();
    let make = || {
        let known: Vec<_> = (0..COMPANY_MAX)
            .filter(|other| are_acquainted(who, *other))
            .filter_map(identity)
            .map(|other| other.id())
            .collect();
        let own = identity(who)?;
        Some((own.id(), first_rows(own, &known, &mut Dice::new(u64::try_from(who).ok()?))))
    };
    HOMES.get(who)?.get_or_init(make).clone()
}

/// Whether two agents have added each other before they meet in a channel.
#[must_use]
pub const fn are_acquainted(one: Who, other: Who) -> bool {
    one != other && (one < 3 || other < 3 || (one + other).is_multiple_of(4))
}

/// What every agent says of every other.
#[must_use]
pub fn friend() -> ContactInfo {
    ContactInfo { allowed: true, ..ContactInfo::default() }
}

impl Agent {
    /// An agent at the beginning of a run.
    pub fn new(who: Who, dice: Dice, guard: Guard) -> Result<Self, Violation> {
        Self::from_home(who, homes().get(who).cloned(), dice, guard)
    }

    /// An agent at the beginning of a run with a channel.
    pub fn in_company(who: Who, dice: Dice, guard: Guard) -> Result<Self, Violation> {
        Self::from_home(who, company_home(who), dice, guard)
    }

    fn from_home(who: Who, home: Option<(AgentId, Rows)>, dice: Dice, guard: Guard) -> Result<Self, Violation> {
        let (id, rows) = home.ok_or(Violation::Reload(who))?;
        let peer = Some(load(who, &rows, &guard, START)?);
        let (disk, book, past) = (Disk::new(rows), Book::default(), Counters::default());
        Ok(Self { who, id, peer, disk, book, guard, dice, ahead_ms: 0, life: 0, past })
    }

    /// What its clock shows.
    #[must_use]
    pub const fn now(&self, world_ms: u64) -> UnixMillis {
        UnixMillis(START.0.wrapping_add(world_ms).wrapping_add(self.ahead_ms))
    }

    /// Makes a step of its own happen.
    pub fn take(&mut self, step: Option<Step>) -> Result<bool, Violation> {
        self.take_for(step, None)
    }

    fn take_for(&mut self, step: Option<Step>, accepts: Option<LetterId>) -> Result<bool, Violation> {
        let (Some(step), Some(peer)) = (step, &mut self.peer) else { return Ok(false) };
        let staged = peer.stage(step).map_err(|error| Violation::Step(self.who, error))?;
        self.guard.check(peer, &staged.ops)?;
        self.disk.stage(staged, accepts);
        Ok(true)
    }

    /// Hands it a letter: true if it was staged.
    pub fn send(&mut self, to: AgentId, letter: &Letter, now: UnixMillis) -> Result<bool, Violation> {
        let step = self.peer.as_ref().and_then(|peer| peer.send(to, letter, now).ok());
        self.take_for(step, Some(letter.id))
    }

    /// Hands it a letter to a channel: true if it was staged.
    pub fn post(&mut self, channel: ChannelId, letter: &Letter, now: UnixMillis) -> Result<bool, Violation> {
        let (peer, dice) = (self.peer.as_ref(), &mut self.dice);
        let step = peer.and_then(|peer| peer.channel_send(channel, letter, now, dice).ok());
        self.take_for(step, Some(letter.id))
    }

    /// Hands it a frame. A refusal comes back with the notice that is to be given to its sender.
    pub fn receive(&mut self, from: AgentId, frame: &[u8], now: UnixMillis) -> Result<Option<Refused>, Violation> {
        let Some(peer) = &self.peer else { return Ok(None) };
        match peer.receive(Some(from), frame, now, &mut self.dice, &self.disk) {
            Ok(step) => {
                self.take(Some(step))?;
                Ok(None)
            }
            Err(refusal) => {
                let again = peer.ack_again(&refusal, frame, &mut self.dice);
                self.take(again)?;
                Ok(Some((refusal, Peer::notice_for(&refusal))))
            }
        }
    }

    /// Somebody asks for its bundle.
    pub fn claim(&mut self, by: AgentId, request: u64, now: UnixMillis) -> Result<bool, Violation> {
        let step = self.peer.as_ref().and_then(|peer| peer.claim(by, request, &[], now).ok());
        self.take(step)
    }

    /// The bundle that it asked for has come.
    pub fn begin(&mut self, bundle: &[u8], now: UnixMillis) -> Result<bool, Violation> {
        let (Some(peer), Ok(bundle)) = (&self.peer, Bundle::parse(bundle, now)) else { return Ok(false) };
        let step = peer.begin(&bundle, now, &mut self.dice).ok();
        self.take(step)
    }

    /// Does all that it does by itself now.
    pub fn drain(&mut self, now: UnixMillis, idle: bool) -> Result<(), Violation> {
        for _ in 0..STEPS_MAX {
            let step = self.peer.as_ref().and_then(|peer| peer.next(now, idle, &mut self.dice));
            if !self.take(step)? {
                let overslept = self.peer.as_ref().is_some_and(|peer| peer.next_wake() <= now);
                return if overslept { Err(Violation::WakeInPast(self.who)) } else { Ok(()) };
            }
        }
        Err(Violation::Restless(self.who))
    }

    /// What it judges letters by has changed.
    pub fn instruct(&mut self, change: impl FnOnce(&mut Guard)) {
        change(&mut self.guard);
        if let Some(peer) = &mut self.peer {
            self.guard.instruct(peer);
        }
    }

    /// Comes back from its disk.
    pub fn load(&mut self, now: UnixMillis) -> Result<(), Violation> {
        self.peer = Some(load(self.who, self.disk.rows(), &self.guard, now)?);
        Ok(())
    }

    /// Stops at once; its counters are added to its past.
    pub fn stop(&mut self) {
        if let Some(peer) = self.peer.take() {
            let (past, last) = (&mut self.past, peer.counters());
            past.sealed += last.sealed;
            past.opened += last.opened;
            past.duplicates += last.duplicates;
            past.resent += last.resent;
            past.acks_alone += last.acks_alone;
            past.turns += last.turns;
            past.handshakes += last.handshakes;
            past.rekeys += last.rekeys;
            past.sealed_again += last.sealed_again;
        }
        self.life += 1;
    }

    /// Whether its disk holds what its memory holds.
    pub fn compare_with_disk(&self, now: UnixMillis) -> Result<(), Violation> {
        let Some(peer) = self.peer.as_ref().filter(|_| self.disk.is_still()) else { return Ok(()) };
        let loaded = load(self.who, self.disk.rows(), &self.guard, now)?;
        if summary(peer) == summary(&loaded) { Ok(()) } else { Err(Violation::Reload(self.who)) }
    }

    /// Its rows, without those that tell of sessions; `None` if the rest would not load, as letters are under way in them.
    #[must_use]
    pub fn rows_without_sessions(&self, now: UnixMillis) -> Option<Rows> {
        let lost = [rows::SESSION, rows::SKIPPED, rows::HELD, rows::GIVEN_UP, rows::RENEWAL];
        let mut rows = self.disk.rows().clone();
        rows.retain(|key, _| key.first().is_none_or(|tree| !lost.contains(tree)));
        load(self.who, &rows, &self.guard, now).is_ok().then_some(rows)
    }
}

fn load(who: Who, rows: &Rows, guard: &Guard, now: UnixMillis) -> Result<Peer, Violation> {
    let mut peer = Peer::load(&records(rows), now).map_err(|error| Violation::Load(who, error))?;
    guard.instruct(&mut peer);
    Ok(peer)
}

type Summary = (Vec<(Vec<u8>, bool)>, Vec<(AgentId, LetterId, bool)>, usize, usize, Vec<(AgentId, ContactInfo)>);

fn summary(peer: &Peer) -> Summary {
    (
        peer.sessions().map(|(session, current)| (session.to_bytes(), current)).collect(),
        peer.outbox().collect(),
        peer.inbox_len(),
        peer.one_time_left(),
        peer.contacts().map(|(id, info)| (id, info.clone())).collect(),
    )
}
