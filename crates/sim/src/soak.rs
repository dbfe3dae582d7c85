//! Hostile frames without number against an agent in mid-conversation: none moves anything, and every genuine letter opens, once.
//!
//! ```text
//!   slice(seed)   siege ─► beats ─► end
//!                           │        all that is under way comes; the victim starts again from its disk; everybody writes once more
//!                           ├─ others write; what is for the victim is under way
//!                           ├─ hostile frames at the peer's own entrance: each a named refusal; the state, sampled, as it was
//!                           └─ some of what is under way comes, in any order
//! ```
//!
//! [`Peer::receive`](nuncio_proto::peer::Peer::receive) borrows the state, so a refusal cannot move it; what is sampled is that there is nothing behind that.

mod forge;
pub mod ledger;
mod siege;

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use nuncio_proto::error::Refusal;
use nuncio_proto::ids::LetterId;
use nuncio_proto::step::{Effect, Step};

use crate::book::Violation;
use crate::dice::Dice;
pub use forge::Class;
use forge::Material;
use siege::{NEWCOMERS, Siege, kind_of};

/// Hostile frames between two beats, at most.
const BEAT_FRAMES: u64 = 50_000;
/// Beats of a short slice.
const BEATS_MIN: u64 = 20;
/// The state is looked at behind each so many hostile frames.
const SAMPLED: u64 = 8_192;
/// Of so many hostile frames one is an acknowledgement that was taken before.
const ACKS_AMONG: u64 = 512;
/// The latest frames of a beat that come again: acknowledgements, and letters that are acknowledged again as a runtime does.
const ANSWERED: usize = 8;
/// Of a thousand frames under way, so many stay so for a beat more.
const STAY_PER_MILLE: u32 = 400;

/// What a slice came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Refusals by class and name.
    pub refused: BTreeMap<(Class, &'static str), u64>,
    /// Acknowledgements that came again and changed nothing.
    pub acks: u64,
    /// Genuine letters that opened once, in their order.
    pub letters: u64,
}

impl Tally {
    /// Hostile frames of one class.
    #[must_use]
    pub fn of(&self, class: Class) -> u64 {
        let refused: u64 = self.refused.iter().filter(|((of, _), _)| *of == class).map(|(_, count)| count).sum();
        if class == Class::Replayed { refused + self.acks } else { refused }
    }

    /// Hostile frames that were refused by this name.
    #[must_use]
    pub fn named(&self, name: &str) -> u64 {
        self.refused.iter().filter(|((_, named), _)| *named == name).map(|(_, count)| count).sum()
    }

    /// All hostile frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        Class::SHARES.iter().map(|(class, _)| self.of(*class)).sum()
    }
}

/// What must never happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The agents did not come to talk.
    #[error("the agents have not come to talk")]
    NoScene,
    /// A promise that holds without hostile frames too.
    #[error(transparent)]
    Promise(#[from] Violation),
    /// A hostile frame was taken for a genuine one.
    #[error("a frame that was {class:?} was taken: {frame}")]
    Taken {
        /// How it was made.
        class: Class,
        /// Its bytes in hexadecimal.
        frame: String,
    },
    /// A hostile frame was taken for one of a peer whose state is another: of that only what is authentic may speak.
    #[error("a frame that was {class:?} ends a session: {frame}")]
    Parted {
        /// How it was made.
        class: Class,
        /// Its bytes in hexadecimal.
        frame: String,
    },
    /// The state is another than before.
    #[error("hostile frames moved the state")]
    Moved,
    /// Something would be written or told for a frame that says nothing new.
    #[error("an old acknowledgement, or the answer to a replay, is something to commit or to tell")]
    Published,
    /// A letter was not accepted, or given up.
    #[error("letter {0} was not sent")]
    Unsent(LetterId),
    /// A letter did not come, or was not acknowledged.
    #[error("letter {0} is lost")]
    Lost(LetterId),
    /// Frames under way open no more.
    #[error("{0} genuine frames do not open")]
    Stuck(usize),
    /// The agents never come to rest.
    #[error("the agents never come to rest")]
    Restless,
}

/// One slice: so many hostile frames, and the genuine letters among them. A function of its seed.
///
/// # Errors
/// [`Broken`].
pub fn slice(seed: u64, frames: u64) -> Result<Tally, Broken> {
    let mut dice = Dice::new(seed);
    let (mut siege, mut tally) = (Siege::new(dice.fork())?, Tally::default());
    let beats = frames.div_ceil(BEAT_FRAMES).max(BEATS_MIN);
    let newcomers = u64::try_from(NEWCOMERS).unwrap_or(1);
    for beat in 0..beats {
        let newcomer = beat * newcomers % beats < newcomers;
        siege.arrive(0, newcomer)?;
        siege.converse(newcomer)?;
        let due = frames * (beat + 1) / beats - frames * beat / beats;
        let acks = due / ACKS_AMONG;
        flood(&siege, due - acks, &mut dice, &mut tally)?;
        pester(&mut siege, acks, &mut dice, &mut tally)?;
        siege.arrive(STAY_PER_MILLE, false)?;
    }
    siege.end()?;
    tally.letters = siege.letters();
    Ok(tally)
}

/// Hostile frames at the victim's entrance.
fn flood(siege: &Siege, frames: u64, dice: &mut Dice, tally: &mut Tally) -> Result<(), Broken> {
    let (material, before, mut frame) = (Material::of(siege)?, state(siege)?, Vec::new());
    let ((peer, victim), now, mut entropy) = (siege.victim()?, siege.now(), dice.fork());
    for number in 1..=frames {
        let class = class_of(dice);
        let from = material.forge(class, dice, &mut frame);
        match peer.receive(from, &frame, now, &mut entropy, &victim.disk) {
            // Its sender would be told that the two have parted, and the session would end.
            Err(Refusal::OutOfStep(_)) => return Err(Broken::Parted { class, frame: hex(&frame) }),
            Err(refusal) => *tally.refused.entry((class, refusal.name())).or_default() += 1,
            Ok(_) => return Err(Broken::Taken { class, frame: hex(&frame) }),
        }
        if number % SAMPLED == 0 && state(siege)? != before {
            return Err(Broken::Moved);
        }
    }
    if state(siege)? == before { Ok(()) } else { Err(Broken::Moved) }
}

fn class_of(dice: &mut Dice) -> Class {
    let mut at = dice.below(100);
    for (class, share) in Class::SHARES {
        if at < share {
            return class;
        }
        at -= share;
    }
    Class::Cut
}

/// What the victim holds, and what its disk does.
fn state(siege: &Siege) -> Result<u64, Broken> {
    let (peer, victim) = siege.victim()?;
    let mut hash = Hashed(DefaultHasher::new());
    snapshots(siege)?.hash(&mut hash.0);
    // A hash takes whatever is written.
    let _ = write!(hash, "{peer:?}");
    victim.disk.rows().hash(&mut hash.0);
    victim.disk.is_still().hash(&mut hash.0);
    Ok(hash.0.finish())
}

struct Hashed(DefaultHasher);

impl core::fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// What is authentic and says nothing new: old acknowledgements, and replays that are acknowledged once more. Nothing is committed for them, and nobody
/// hears of it but who is acknowledged.
fn pester(siege: &mut Siege, acks: u64, dice: &mut Dice, tally: &mut Tally) -> Result<(), Broken> {
    let (now, before) = (siege.now(), snapshots(siege)?);
    let old: Vec<_> = siege.acks.iter().rev().take(ANSWERED).cloned().collect();
    for _ in 0..acks {
        let Some((from, frame)) = dice.pick(&old) else { break };
        let (peer, victim) = siege.victim()?;
        match peer.receive(Some(*from), frame, now, dice, &victim.disk) {
            Err(refusal) => *tally.refused.entry((Class::Replayed, refusal.name())).or_default() += 1,
            Ok(step) => {
                take_quietly(siege, step, |_| false)?;
                tally.acks += 1;
            }
        }
    }
    let opened: Vec<_> = siege.opened.iter().rev().take(ANSWERED).cloned().collect();
    for (from, frame) in opened {
        let (peer, victim) = siege.victim()?;
        let Err(refusal) = peer.receive(Some(from), &frame, now, dice, &victim.disk) else {
            return Err(Broken::Taken { class: Class::Replayed, frame: hex(&frame) });
        };
        if let Some(step) = peer.ack_again(&refusal, &frame, dice) {
            let is_ack = |frame: &[u8]| kind_of(frame) == nuncio_contracts::registry::kind::FRAME_ACK;
            let is_to = |effect: &Effect| matches!(effect, Effect::Send { to, frame } if *to == from && is_ack(frame));
            take_quietly(siege, step, is_to)?;
        }
    }
    if snapshots(siege)? == before { Ok(()) } else { Err(Broken::Moved) }
}

/// All sessions, as they would be stored.
fn snapshots(siege: &Siege) -> Result<Vec<Vec<u8>>, Broken> {
    Ok(siege.victim()?.0.sessions().map(|(session, _)| session.to_bytes()).collect())
}

/// Takes a step that commits nothing, and lets nothing be done but what may be.
fn take_quietly(siege: &mut Siege, step: Step, may: impl Fn(&Effect) -> bool) -> Result<(), Broken> {
    let peer = siege.victim_mut()?.peer.as_mut().ok_or(Broken::NoScene)?;
    let staged = peer.stage(step).map_err(|error| Violation::Step(0, error))?;
    let quiet = staged.ops.is_empty() && staged.effects.after_commit().iter().all(may);
    if quiet { Ok(()) } else { Err(Broken::Published) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
