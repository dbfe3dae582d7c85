//! What a stage collects.

use std::collections::BTreeSet;

use crate::ids::{AgentId, ChannelId, Seq, SessionId};
use crate::step::{Effect, Op};

#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) ops: Vec<Op>,
    pub(super) effects: Vec<Effect>,
    /// Whose snapshots are written.
    pub(super) sessions: Few<SessionId>,
    /// Of whom what is derived is brought up to date.
    pub(super) contacts: Few<AgentId>,
    pub(super) frames: BTreeSet<(ChannelId, Seq)>,
}

/// A set that is of one in most steps, which then takes no place on the heap.
#[derive(Debug)]
pub(super) struct Few<T> {
    /// `None` of an empty set alone.
    first: Option<T>,
    more: BTreeSet<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, more: BTreeSet::new() }
    }
}

impl<T: Ord> Few<T> {
    pub(super) fn insert(&mut self, one: T) {
        match &self.first {
            None => self.first = Some(one),
            Some(first) if *first == one => {}
            Some(_) => drop(self.more.insert(one)),
        }
    }

    pub(super) fn remove(&mut self, one: &T) {
        if self.first.as_ref() == Some(one) {
            self.first = self.more.pop_first();
        } else {
            self.more.remove(one);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more)
    }
}

impl<T: Ord> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, all: I) {
        all.into_iter().for_each(|one| self.insert(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec((0_u8..4, proptest::bool::ANY), 0..30)) {
            let (mut few, mut model) = (Few::default(), BTreeSet::new());
            for (one, goes) in steps {
                if goes {
                    few.remove(&one);
                    model.remove(&one);
                } else {
                    few.insert(one);
                    model.insert(one);
                }
                let (all, each) = (few.iter().copied().collect::<Vec<_>>(), few.iter().copied().collect());
                proptest::prop_assert_eq!(all.len(), model.len());
                proptest::prop_assert_eq!(&model, &each);
            }
        }
    }
}
