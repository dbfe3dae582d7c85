//! The tasks, and what they come to for each principal and in all: whether there is room, and what goes for it, is known without counting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_contracts::registry::limit;

use super::super::task::Task;
use super::LONGEST;

/// One task, as it is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Arc<Task>,
    /// Names under which its row stands.
    pub(super) chunks: u16,
    /// In memory.
    pub(super) bytes: usize,
    /// It is on disk.
    pub(super) is_known: bool,
    /// When it ended, if it has.
    pub(super) over_ms: Option<u64>,
}

impl Entry {
    pub(super) fn goes(&self, now_ms: u64) -> bool {
        self.over_ms.is_some_and(|over_ms| is_old(over_ms, now_ms))
    }

    pub(super) fn is_of(&self, principal: &str, route: &str) -> bool {
        self.is_known && self.task.of.principal == principal && self.task.of.route == route
    }
}

/// What a principal, or all, have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Have {
    pub(super) tasks: usize,
    pub(super) bytes: usize,
    pub(super) working: usize,
}

impl Have {
    const fn and(self, entry: &Entry) -> Self {
        Self {
            tasks: self.tasks.saturating_add(1),
            bytes: self.bytes.saturating_add(entry.bytes),
            working: if entry.over_ms.is_none() { self.working.saturating_add(1) } else { self.working },
        }
    }

    const fn without(self, entry: &Entry) -> Self {
        Self {
            tasks: self.tasks.saturating_sub(1),
            bytes: self.bytes.saturating_sub(entry.bytes),
            working: if entry.over_ms.is_none() { self.working.saturating_sub(1) } else { self.working },
        }
    }

    pub(super) const fn has_room(&self, tasks: usize, bytes: usize) -> bool {
        self.tasks < tasks && self.bytes.saturating_add(LONGEST) <= bytes
    }
}

/// When a task ended, and which: the oldest is the first.
type Over = BTreeSet<(u64, String)>;

/// A principal's.
#[derive(Debug, Default)]
struct Own {
    have: Have,
    over: Over,
}

/// All tasks.
#[derive(Debug, Default)]
pub(super) struct Held {
    tasks: BTreeMap<String, Entry>,
    have: Have,
    own: BTreeMap<String, Own>,
    over: Over,
    /// By bytes, and then by tasks, everybody of whom something has ended.
    most: BTreeSet<(usize, usize, String)>,
}

impl Held {
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.tasks.get(id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.tasks.values()
    }

    pub(super) const fn have(&self) -> Have {
        self.have
    }

    pub(super) fn have_of(&self, principal: &str) -> Have {
        self.own.get(principal).map(|own| own.have).unwrap_or_default()
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let id = entry.task.of.id.clone();
        self.remove(&id);
        self.count(&entry, true);
        self.tasks.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.tasks.remove(id)?;
        self.count(&entry, false);
        Some(entry)
    }

    /// Says something else of a task.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.remove(id) {
            change(&mut entry);
            self.insert(entry);
        }
    }

    /// The task of a principal that ended first.
    pub(super) fn oldest_of(&self, principal: &str) -> Option<String> {
        self.own.get(principal)?.over.first().map(|(_, id)| id.clone())
    }

    /// The task that ended first of whoever has most, of those of whom something can go.
    pub(super) fn oldest_of_most(&self) -> Option<String> {
        self.most.last().and_then(|(_, _, principal)| self.oldest_of(principal))
    }

    /// A task whose time is over.
    pub(super) fn old(&self, now_ms: u64) -> Option<String> {
        self.over.first().filter(|(over_ms, _)| is_old(*over_ms, now_ms)).map(|(_, id)| id.clone())
    }

    fn count(&mut self, entry: &Entry, is_more: bool) {
        let of = &entry.task.of;
        let own = self.own.entry(of.principal.clone()).or_default();
        if let Some(rank) = own.rank(&of.principal) {
            self.most.remove(&rank);
        }
        for have in [&mut self.have, &mut own.have] {
            *have = if is_more { have.and(entry) } else { have.without(entry) };
        }
        for over in [&mut self.over, &mut own.over] {
            match entry.over_ms.map(|over_ms| (over_ms, of.id.clone())) {
                Some(ended) if is_more => drop(over.insert(ended)),
                Some(ended) => drop(over.remove(&ended)),
                None => (),
            }
        }
        let (rank, has_none) = (own.rank(&of.principal), own.have.tasks == 0);
        self.most.extend(rank);
        if has_none {
            self.own.remove(&of.principal);
        }
    }
}

impl Own {
    fn rank(&self, principal: &str) -> Option<(usize, usize, String)> {
        (!self.over.is_empty()).then(|| (self.have.bytes, self.have.tasks, principal.to_owned()))
    }
}

fn is_old(over_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(over_ms) > limit::GATEWAY_TASK_LIFE_S * 1_000
}

#[cfg(test)]
mod tests {
    use super::super::tests::task;
    use super::*;

    fn entry(no: u128, principal: &str, bytes: usize, over_ms: Option<u64>) -> Entry {
        Entry { task: task(no, principal, 1), chunks: 1, bytes, is_known: true, over_ms }
    }

    fn counted<'a>(entries: impl Iterator<Item = &'a Entry>) -> Have {
        entries.fold(Have::default(), Have::and)
    }

    #[test]
    fn what_is_held_comes_to_what_a_count_of_it_gives() {
        let mut held = Held::default();
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for at in 0..4_000 {
            let (no, principal) = (u128::from(next(60)), ["anna", "ben", "carol"][usize::try_from(next(3)).unwrap()]);
            let id = task(no, principal, 1).of.id.clone();
            match next(4) {
                0 => drop(held.remove(&id)),
                1 => held.change(&id, |entry| entry.over_ms = entry.over_ms.or(Some(at))),
                2 => held.change(&id, |entry| entry.bytes = 77),
                _ => held.insert(entry(no, principal, usize::try_from(next(1_000)).unwrap(), None)),
            }
            assert_eq!(held.have(), counted(held.values()));
            let mut most: Vec<(usize, usize, &str)> = Vec::new();
            for principal in ["anna", "ben", "carol"] {
                let own = || held.values().filter(|entry| entry.task.of.principal == principal);
                assert_eq!(held.have_of(principal), counted(own()));
                let oldest = own().filter_map(|entry| Some((entry.over_ms?, entry.task.of.id.clone()))).min();
                most.extend(oldest.iter().map(|_| (counted(own()).bytes, counted(own()).tasks, principal)));
                assert_eq!(held.oldest_of(principal), oldest.map(|(_, id)| id));
            }
            assert_eq!(held.most.len(), most.len());
            let most = most.into_iter().max().and_then(|(.., principal)| held.oldest_of(principal));
            assert_eq!(held.oldest_of_most(), most);
        }
    }
}
