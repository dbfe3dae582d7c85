//! What one can make of frames that one has seen, without a key: five classes, of one frame or of two.

use nuncio_contracts::registry::{code, kind};
use nuncio_proto::frame::Notice;
use nuncio_proto::header::SEALED_HEADER_LEN;
use nuncio_proto::ids::{AgentId, Tag};
use rand_core::Rng as _;

use super::Broken;
use super::siege::{Sent, Siege, kind_of};
use crate::dice::Dice;

/// What was done to make a hostile frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Made up: random bytes, frames of the right shape under live and other tags, hints of what was not.
    Forged,
    /// A genuine frame in which bits or bytes are others, more, or fewer.
    Mutated,
    /// A frame that was opened before, as it was.
    Replayed,
    /// A frame with its own or another's parts in other places, or whole where it does not belong.
    Reordered,
    /// A frame that ends too early, too late, or in something else.
    Cut,
}

impl Class {
    /// All classes, and how many of a hundred hostile frames are of each.
    pub const SHARES: [(Self, u64); 5] =
        [(Self::Forged, 25), (Self::Mutated, 30), (Self::Replayed, 20), (Self::Reordered, 15), (Self::Cut, 10)];

    /// Its name in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Mutated => "mutated",
            Self::Replayed => "replayed",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
        }
    }
}

/// Of a thousand frames that are looked at, so many are starts: each costs a whole handshake.
const STARTS_PER_MILLE: u32 = 1;
/// Where the tag of any frame lies, and its nonce.
const TAG_AT: core::ops::Range<usize> = 4..20;
const NONCE_AT: core::ops::Range<usize> = 21..33;
/// The shortest end of a frame that another's is put in place of: a MAC's.
const END_MIN: usize = 16;

/// What there is to make frames of.
pub(super) struct Material<'a> {
    under_way: Vec<&'a Sent>,
    opened: Vec<&'a Sent>,
    starts: Vec<&'a Sent>,
    opened_starts: Vec<&'a Sent>,
    of_victim: Vec<&'a Sent>,
    of_others: Vec<&'a Sent>,
    tags: Vec<Tag>,
    others: Vec<AgentId>,
}

impl<'a> Material<'a> {
    /// All that can be seen of what is between the victim and others.
    pub(super) fn of(siege: &'a Siege) -> Result<Self, Broken> {
        let is_start = |sent: &&Sent| kind_of(&sent.1) == kind::FRAME_START;
        let (starts, under_way) = siege.under_way.iter().partition(is_start);
        let (peer, _) = siege.victim()?;
        let of_channel = |sent: &&Sent| kind_of(&sent.1) == kind::FRAME_CHANNEL;
        let channel_tags = siege.opened.iter().chain(&siege.under_way).filter(of_channel).map(|sent| tag_of(&sent.1));
        let tags = peer.sessions().flat_map(|(session, _)| session.tags()).chain(channel_tags).collect();
        Ok(Self {
            under_way,
            opened: siege.opened.iter().collect(),
            starts,
            opened_starts: siege.opened_starts.iter().collect(),
            of_victim: siege.of_victim.iter().collect(),
            of_others: siege.of_others.iter().collect(),
            tags,
            others: siege.others().collect(),
        })
    }

    /// Writes one hostile frame, and says over whose connection it comes: nobody's is out of a mailbox.
    pub(super) fn forge(&self, class: Class, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        out.clear();
        match class {
            Class::Forged => self.forged(dice, out),
            Class::Mutated => self.mutated(dice, out),
            Class::Replayed => self.replayed(dice, out),
            Class::Reordered => self.reordered(dice, out),
            Class::Cut => self.cut(dice, out),
        }
    }

    /// A genuine frame: mostly one that has not come.
    fn any(&self, dice: &mut Dice) -> Option<&'a Sent> {
        let is_start = dice.per_mille(STARTS_PER_MILLE);
        let coming = if is_start { &self.starts } else { &self.under_way };
        let come = if is_start { &self.opened_starts } else { &self.opened };
        let first = if dice.per_mille(750) { dice.pick(coming) } else { None };
        first.or_else(|| dice.pick(come)).or_else(|| dice.pick(&self.opened)).copied()
    }

    fn forged(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        if dice.per_mille(50) {
            out.resize(dice.index(600), 0);
            dice.fill_bytes(out);
            return dice.pick(&self.others).copied();
        }
        if dice.per_mille(50) {
            return self.notice(dice, out);
        }
        let (from, frame) = self.any(dice)?;
        out.extend_from_slice(frame);
        // The heads stay as they are: the frame is well formed, and what is sealed in it is made up.
        fill(out, NONCE_AT, dice);
        let (len, end) = (out.len(), if kind_of(frame) == kind::FRAME_CHANNEL { END_MIN } else { SEALED_HEADER_LEN });
        fill(out, len.saturating_sub(end)..len, dice);
        match dice.below(10) {
            0..=5 => {}
            6..=7 => self.retag(dice, out),
            _ => fill(out, TAG_AT, dice),
        }
        perhaps(*from, dice)
    }

    /// A hint from nobody, or about a frame that the victim never sent.
    fn notice(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        const CODES: [u16; 6] = [code::UNKNOWN_TAG, code::STRANGER, code::START_REFUSED, code::RETIRED, 0, u16::MAX];
        let code = dice.pick(&CODES).copied().unwrap_or_default();
        let (live, mut random) = (dice.per_mille(500), [0; 16]);
        dice.fill_bytes(&mut random);
        let sent = dice.pick(&self.of_victim).filter(|_| live).map(|sent| tag_of(&sent.1));
        let notice = Notice { tag: sent.unwrap_or(Tag::from_bytes(random)), code };
        out.extend_from_slice(&notice.encode());
        if sent.is_some() { None } else { dice.pick(&self.others).copied() }
    }

    fn mutated(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        let (from, frame) = self.any(dice)?;
        out.extend_from_slice(frame);
        let at = dice.index(out.len());
        match dice.below(10) {
            0..=3 => flip(out, at, 1 << dice.below(8)),
            4..=6 => {
                flip(out, at, 0xff);
                let end = (at + 1 + dice.index(32)).min(out.len());
                fill(out, at + 1..end, dice);
            }
            // One more byte of the same value is another frame everywhere.
            7 => out.insert(at, frame.get(at).copied().unwrap_or_default()),
            8 => drop(out.drain(at..at + 1)),
            // Of another version, or kind.
            _ => flip(out, 1 + dice.index(2), 1 + u8::try_from(dice.below(255)).unwrap_or_default()),
        }
        perhaps(*from, dice)
    }

    fn replayed(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        let list = if dice.per_mille(STARTS_PER_MILLE) { &self.opened_starts } else { &self.opened };
        // The latest most: their chains are live.
        let back = dice.index(list.len()).min(dice.index(list.len()));
        let (from, frame) = list.iter().nth_back(back).or_else(|| self.opened.last())?;
        out.extend_from_slice(frame);
        perhaps(*from, dice)
    }

    fn reordered(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        let (from, frame) = self.any(dice)?;
        out.extend_from_slice(frame);
        match dice.below(10) {
            0..=2 => {
                let (_, other) = self.any(dice)?;
                let len = END_MIN + dice.index(out.len().min(other.len()).saturating_sub(END_MIN));
                out.truncate(out.len().saturating_sub(len));
                out.extend_from_slice(other.get(other.len().saturating_sub(len)..).unwrap_or_default());
                differ(out, &[frame, other]);
            }
            3..=4 => {
                self.retag(dice, out);
                differ(out, &[frame]);
            }
            5 => {
                let middle = dice.index(out.len());
                out.rotate_left(middle);
                differ(out, &[frame]);
            }
            6..=7 => return self.misplaced(dice, out),
            8 => {
                let (_, theirs) = dice.pick(&self.of_others)?;
                out.clone_from(theirs);
            }
            // Whole, over another's connection.
            _ => return dice.pick(&self.others).copied().filter(|other| other != from).or_else(|| self.not(from)),
        }
        perhaps(*from, dice)
    }

    /// What the victim sealed comes back to it, also under a live tag.
    fn misplaced(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        let (_, own) = dice.pick(&self.of_victim)?;
        out.clone_from(own);
        if dice.per_mille(500) {
            self.retag(dice, out);
        }
        dice.pick(&self.others).copied()
    }

    /// Puts a live tag in place of a frame's own.
    fn retag(&self, dice: &mut Dice, out: &mut [u8]) {
        if let Some(tag) = dice.pick(&self.tags) {
            out.iter_mut().skip(TAG_AT.start).zip(tag.as_bytes()).for_each(|(place, byte)| *place = *byte);
        }
    }

    fn not(&self, from: &AgentId) -> Option<AgentId> {
        self.others.iter().find(|other| *other != from).copied()
    }

    fn cut(&self, dice: &mut Dice, out: &mut Vec<u8>) -> Option<AgentId> {
        let (from, frame) = self.any(dice)?;
        out.extend_from_slice(frame);
        match dice.below(10) {
            0..=5 => out.truncate(dice.index(frame.len())),
            6..=7 => out.resize(frame.len() + 1 + dice.index(100), 0),
            _ => {
                let start = dice.index(frame.len());
                fill(out, start..frame.len(), dice);
                differ(out, &[frame]);
            }
        }
        perhaps(*from, dice)
    }
}

fn perhaps(from: AgentId, dice: &mut Dice) -> Option<AgentId> {
    dice.per_mille(500).then_some(from)
}

fn tag_of(frame: &[u8]) -> Tag {
    Tag::from_bytes(frame.get(TAG_AT).and_then(|tag| tag.try_into().ok()).unwrap_or_default())
}

fn fill(out: &mut [u8], range: core::ops::Range<usize>, dice: &mut Dice) {
    if let Some(part) = out.get_mut(range) {
        dice.fill_bytes(part);
    }
}

fn flip(out: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = out.get_mut(at) {
        *byte ^= bits;
    }
}

/// What came out as one of those that it was made of is made another.
fn differ(out: &mut [u8], sources: &[&[u8]]) {
    if sources.contains(&&*out) {
        flip(out, out.len().saturating_sub(1), 1);
    }
}
