//! Whether a sender tells all members the same: a running hash over its letters, compared by what members say of each other (contracts/channel.md
//! section 8).

mod rows;

use std::collections::{BTreeMap, VecDeque};

use nuncio_contracts::registry::{label, limit};

use super::header::Attestation;
use crate::crypto;
use crate::ids::{AgentId, ChainId, ChannelId, Seq};

pub(super) use rows::{EarlyWire, TranscriptWire};

/// Beginnings of chains that are kept behind a hole, the newest: behind one that went nothing is known until the next.
const MARKS_MAX: usize = 8;

/// The running hash over one sender's letters, up to and without a number.
pub(super) type Run = [u8; 32];
/// As much of it as an attestation carries.
pub(super) type Short = [u8; 16];

/// The running hash in front of a sender's first letter.
pub(super) fn first(channel: &ChannelId, sender: &AgentId) -> Run {
    crypto::sha256(&[label::CHANNEL_TRANSCRIPT, &[0], channel.as_bytes(), sender.as_bytes()])
}

/// The running hash behind one more letter; `digest` is that of the frame's common part.
// contracts/channel.md C40.
pub(super) fn step(run: &Run, seq: Seq, chain: &ChainId, digest: &[u8; 32]) -> Run {
    crypto::sha256(&[label::CHANNEL_TRANSCRIPT, &[1], run, &seq.to_be_bytes(), chain.as_bytes(), digest])
}

pub(super) fn short(run: &Run) -> Short {
    let [short @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *run;
    short
}

/// Two members were told different letters under one number: by its sender, or by the member that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// Whose letters they are.
    pub sender: AgentId,
    /// Who says another hash: another member, or the sender itself.
    pub by: AgentId,
    /// Up to which number.
    pub seq: Seq,
    /// The hash here.
    pub mine: [u8; 16],
    /// The hash there.
    pub theirs: [u8; 16],
}

impl Equivocation {
    pub(super) const fn own(sender: &AgentId, (seq, mine, theirs): Broken) -> Self {
        Self { sender: *sender, by: *sender, seq, mine, theirs }
    }
}

/// One sender's letters as one receiver has them: hashes of the newest, for as long as none is missing in front of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The running hash in front of `next`; `None` behind a letter that never came.
    run: Option<Run>,
    next: Seq,
    /// Hashes behind the letters in front of `next`, the newest last.
    recent: VecDeque<Short>,
    /// Letters that came before an earlier one: their chains and digests.
    early: BTreeMap<Seq, (ChainId, [u8; 32])>,
    /// What the sender says itself of where its chains begin.
    marks: BTreeMap<Seq, Run>,
}

/// The sender's own word of its letters is not what came: up to which number, the hash here, its own.
pub(super) type Broken = (Seq, Short, Short);

impl Transcript {
    pub(super) const fn new(run: Run, next: Seq) -> Self {
        Self { run: Some(run), next, recent: VecDeque::new(), early: BTreeMap::new(), marks: BTreeMap::new() }
    }

    /// The newest letter with everything in front of it: its number and the hash behind it.
    #[must_use]
    pub fn newest(&self) -> Option<(Seq, [u8; 16])> {
        Some((self.next.checked_sub(1)?, *self.recent.back()?))
    }

    /// The hash behind a letter, where it is known.
    #[must_use]
    pub fn at(&self, seq: Seq) -> Option<[u8; 16]> {
        let back = self.next.checked_sub(1)?.checked_sub(seq)?;
        let index = self.recent.len().checked_sub(1)?.checked_sub(usize::try_from(back).ok()?)?;
        self.recent.get(index).copied()
    }

    /// The running hash in front of a number, where it is known.
    pub(super) fn run_at(&self, seq: Seq) -> Option<Run> {
        self.run.filter(|_| self.next == seq)
    }

    // contracts/channel.md C41.
    pub(super) fn compare(&self, sender: &AgentId, by: &AgentId, said: &Attestation) -> Option<Equivocation> {
        let mine = self.at(said.seq).filter(|mine| *mine != said.hash)?;
        Some(Equivocation { sender: *sender, by: *by, seq: said.seq, mine, theirs: said.hash })
    }

    /// A letter came. One that comes in its turn is kept for nothing.
    pub(super) fn note(&mut self, seq: Seq, chain: ChainId, digest: [u8; 32]) -> Option<Broken> {
        let mut broken = None;
        if seq == self.next {
            broken = self.believe();
            self.step(&chain, &digest);
        } else if seq > self.next {
            self.early.insert(seq, (chain, digest));
        }
        broken.or(self.go_on())
    }

    /// A chain was handed over that begins with this number.
    // contracts/channel.md C43.
    pub(super) fn mark(&mut self, seq: Seq, run: Run) -> Option<Broken> {
        if seq < self.next {
            return None;
        }
        let before = self.marks.insert(seq, run).filter(|before| *before != run);
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_first();
        }
        before.map(|before| (seq, short(&before), short(&run))).or_else(|| self.go_on())
    }

    /// Everything below a number came or never will. Behind what never came nothing is known until the sender's next chain.
    // contracts/channel.md C42.
    pub(super) fn pass(&mut self, to: Seq) -> Option<Broken> {
        let mut broken = None;
        while self.next < to {
            self.run = None;
            self.recent.clear();
            let known = self.early.keys().next().into_iter().chain(self.marks.keys().next()).min();
            self.next = known.map_or(to, |known| to.min(*known));
            broken = broken.or(self.go_on());
        }
        broken
    }

    /// Steps over every letter that came.
    fn go_on(&mut self) -> Option<Broken> {
        let mut broken = None;
        loop {
            broken = broken.or(self.believe());
            let Some((chain, digest)) = self.early.remove(&self.next) else { return broken };
            self.step(&chain, &digest);
        }
    }

    /// Goes on with the sender's own word of what is in front of `next`, where it has said one.
    fn believe(&mut self) -> Option<Broken> {
        let word = self.marks.remove(&self.next)?;
        let mine = self.run.replace(word).filter(|mine| *mine != word)?;
        Some((self.next, short(&mine), short(&word)))
    }

    fn step(&mut self, chain: &ChainId, digest: &[u8; 32]) {
        self.run = self.run.map(|run| step(&run, self.next, chain, digest));
        self.next = self.next.saturating_add(1);
        let Some(run) = &self.run else { return };
        self.recent.push_back(short(run));
        if self.recent.len() > limit::CHANNEL_ATTESTED_MAX {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId::from_bytes([7; 32]);

    fn whole(letters: u64) -> Transcript {
        let mut transcript = Transcript::new([0; 32], 0);
        (0..letters).for_each(|seq| assert_eq!(transcript.note(seq, CHAIN, [1; 32]), None));
        transcript
    }

    #[test]
    fn the_order_of_arrival_changes_no_hash() {
        let mut other = Transcript::new([0; 32], 0);
        for seq in [3, 1, 0, 2, 4] {
            assert_eq!(other.note(seq, CHAIN, [1; 32]), None);
        }
        assert_eq!(other.newest(), whole(5).newest());
        assert_eq!(other.at(2), whole(3).at(2));
        assert_eq!(other.at(5), None);
    }

    #[test]
    fn behind_a_hole_nothing_is_known_until_the_sender_says_where_it_is() {
        let (all, mut other) = (whole(8), whole(3));
        for seq in [4, 5, 6, 7] {
            assert_eq!(other.note(seq, CHAIN, [1; 32]), None);
        }
        assert_eq!(other.mark(6, whole(6).run_at(6).unwrap()), None);
        assert_eq!(other.pass(8), None);
        assert_eq!((other.newest(), other.at(6)), (all.newest(), all.at(6)));
        assert_eq!((other.at(5), other.at(2)), (None, None));
        assert_eq!(other.pass(9), None);
        assert_eq!(other.newest(), None);
    }

    #[test]
    fn a_sender_that_says_another_hash_than_came_is_seen() {
        let mut other = whole(2);
        assert_eq!(other.mark(3, [9; 32]), None, "one letter is not here yet");
        assert!(other.note(2, CHAIN, [1; 32]).is_some());
    }

    #[test]
    fn as_many_hashes_are_kept_as_are_compared() {
        let last = u64::try_from(limit::CHANNEL_ATTESTED_MAX).unwrap();
        let transcript = whole(last + 10);
        assert!(transcript.at(10).is_some() && transcript.at(9).is_none());
    }
}
