//! The replay window over `seq`: a letter is opened once, or not at all.

use nuncio_contracts::registry::limit::WINDOW;

use crate::ids::Seq;

const WORDS: usize = 16;
const _: () = assert!(WINDOW == 64 * 16, "one bit for each number of the window");

/// Which numbers were received: everything below `next`, and single ones in `next..next + WINDOW`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    next: Seq,
    received: [u64; WORDS],
}

/// Evidence that a number was not received before and lies in the window. Only a fresh frame is opened.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Fresh(Seq);

/// Why a number is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Received before, or given up by its sender.
    #[error("number {0} was received before")]
    Replayed(Seq),
    /// Further ahead than an honest sender goes before it has heard of the ones between.
    #[error("number {0} is beyond the window")]
    TooFar(Seq),
}

impl Fresh {
    /// The number that was checked.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.0
    }
}

impl Window {
    /// The window as a snapshot kept it. Bits for numbers below `next` cannot be told apart from ones above and are the caller's to avoid.
    #[must_use]
    pub fn restore(next: Seq, above: impl Iterator<Item = Seq>) -> Self {
        let mut window = Self { next, received: [0; WORDS] };
        above.filter(|&seq| seq >= next && seq - next < WINDOW).for_each(|seq| window.set(seq));
        window
    }

    /// The lowest number not received.
    #[must_use]
    pub const fn next(&self) -> Seq {
        self.next
    }

    /// Whether `seq` may be opened, when everything below `floor` is given up by its sender.
    pub fn check(&self, seq: Seq, floor: Seq) -> Result<Fresh, ReplayError> {
        let next = self.next.max(floor);
        if seq < next || self.has(seq) {
            return Err(ReplayError::Replayed(seq));
        }
        // contracts/ratchet.md R9: also keeps `seq + 1` from wrapping.
        if seq - next >= WINDOW || seq == Seq::MAX {
            return Err(ReplayError::TooFar(seq));
        }
        Ok(Fresh(seq))
    }

    /// Marks a fresh number as received. The caller then advances with [`Window::advance`].
    pub fn accept(&mut self, fresh: &Fresh) {
        self.set(fresh.0);
    }

    /// Steps over `next` if it was received, or if it lies below `floor`: `Some(received)`.
    pub fn advance(&mut self, floor: Seq) -> Option<bool> {
        let received = self.has(self.next);
        if !received && self.next >= floor {
            return None;
        }
        self.clear(self.next);
        self.next = self.next.saturating_add(1);
        Some(received)
    }

    /// Whether `seq` at or above `next` was received.
    #[must_use]
    pub fn has(&self, seq: Seq) -> bool {
        seq >= self.next && seq - self.next < WINDOW && self.word(seq) & bit(seq) != 0
    }

    /// Bit `i`: number `next + 1 + i` was received.
    #[must_use]
    pub fn above(&self) -> u64 {
        if self.received == [0; WORDS] {
            return 0;
        }
        (0..64).filter(|&i| self.has(self.next.saturating_add(1 + i))).fold(0, |bits, i| bits | 1 << i)
    }

    fn word(&self, seq: Seq) -> u64 {
        self.received.get(index(seq)).copied().unwrap_or_default()
    }

    fn set(&mut self, seq: Seq) {
        if let Some(word) = self.received.get_mut(index(seq)) {
            *word |= bit(seq);
        }
    }

    fn clear(&mut self, seq: Seq) {
        if let Some(word) = self.received.get_mut(index(seq)) {
            *word &= !bit(seq);
        }
    }
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq % WINDOW / 64).unwrap_or_default()
}

const fn bit(seq: Seq) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn take(window: &mut Window, seq: Seq) -> bool {
        let Ok(fresh) = window.check(seq, 0) else { return false };
        window.accept(&fresh);
        while window.advance(0).is_some() {}
        true
    }

    #[test]
    fn each_number_is_fresh_once_within_the_window() {
        let mut window = Window::default();
        assert!(take(&mut window, WINDOW - 1));
        assert!(!take(&mut window, WINDOW - 1), "replayed");
        assert_eq!(window.check(WINDOW, 0), Err(ReplayError::TooFar(WINDOW)));
        for seq in 0..WINDOW - 1 {
            assert!(take(&mut window, seq));
            assert!(!take(&mut window, seq));
        }
        assert_eq!(window.next(), WINDOW);
        assert_eq!(window.check(Seq::MAX, Seq::MAX), Err(ReplayError::TooFar(Seq::MAX)));
    }

    #[test]
    fn a_floor_steps_over_holes_and_says_which_were_received() {
        let mut window = Window::default();
        for seq in [1, 3] {
            assert!(take(&mut window, seq));
        }
        assert_eq!(window.above(), 0b101, "1 is next + 1 and 3 is next + 3");
        let steps: Vec<_> = core::iter::from_fn(|| window.advance(3)).collect();
        assert_eq!(steps, [false, true, false, true]);
        assert_eq!(window.next(), 4);
    }

    #[test]
    fn only_numbers_within_the_window_are_known_to_be_received() {
        let mut window = Window::default();
        window.accept(&window.check(0, 0).unwrap());
        assert!(window.has(0) && !window.has(WINDOW), "they share a bit");
        assert_eq!(window.check(WINDOW, 0), Err(ReplayError::TooFar(WINDOW)));

        let next = 10 * WINDOW + 7;
        let window = Window::restore(next, [next - 1, next + 1, next + WINDOW].into_iter());
        let known = (next - WINDOW..=next + 2 * WINDOW).filter(|seq| window.has(*seq));
        assert_eq!(known.collect::<Vec<_>>(), [next + 1]);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_set(numbers in proptest::collection::vec(0_u64..3_000, 0..400)) {
            let (mut window, mut model) = (Window::default(), BTreeSet::new());
            for seq in numbers {
                let next = (0..).find(|n| !model.contains(n)).unwrap();
                let fresh = !model.contains(&seq) && seq < next + WINDOW;
                proptest::prop_assert_eq!(take(&mut window, seq), fresh);
                if fresh { model.insert(seq); }
            }
        }
    }
}
