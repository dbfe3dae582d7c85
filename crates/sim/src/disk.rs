//! A disk that forgets everything since its last durable commit.
//!
//! Staged writes wait; a sync takes all that wait into one group; when it ends, the group is durable as a whole, and only then may its effects be
//! done. A crash drops what waits. The group under way is lost too, or durable without anybody having been told: the dice say which.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::{Peer, Record, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Staged};

/// What is on the device. Clones are cheap: they share the values.
pub type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// A disk and what waits for it.
#[derive(Debug, Default)]
pub struct Disk {
    rows: Rows,
    waiting: Vec<(Staged, Option<LetterId>)>,
    /// How many of those that wait belong to the sync under way.
    syncing: usize,
}

/// One step whose writes are durable.
#[derive(Debug)]
pub struct Durable {
    /// What was written.
    pub ops: Vec<Op>,
    /// What may be done.
    pub effects: Vec<Effect>,
    /// The letter that the application may now call accepted.
    pub accepts: Option<LetterId>,
}

impl Disk {
    /// A disk with these rows.
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Queues a step. `accepts` is the letter that it accepts from the application, if it does.
    pub fn stage(&mut self, staged: Staged, accepts: Option<LetterId>) {
        self.waiting.push((staged, accepts));
    }

    /// Begins to write what waits: false if nothing does, or a sync is under way.
    pub fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.waiting.is_empty();
        if begins {
            self.syncing = self.waiting.len();
        }
        begins
    }

    /// The sync under way has ended.
    pub fn finish_sync(&mut self) -> Vec<Durable> {
        let group = core::mem::take(&mut self.syncing);
        let group: Vec<_> = self.waiting.drain(..group).collect();
        group.into_iter().map(|(staged, accepts)| self.write(staged, accepts)).collect()
    }

    /// Power is lost. What comes back is durable all the same, and its effects must not be done.
    pub fn crash(&mut self, written: bool) -> Vec<Durable> {
        let durable = if written { self.finish_sync() } else { Vec::new() };
        self.waiting.clear();
        self.syncing = 0;
        durable
    }

    fn write(&mut self, staged: Staged, accepts: Option<LetterId>) -> Durable {
        for op in &staged.ops {
            match op {
                Op::Put { key, value } => drop(self.rows.insert(key.clone(), value.as_slice().into())),
                Op::Delete { key } => drop(self.rows.remove(key)),
            }
        }
        Durable { ops: staged.ops, effects: staged.effects.after_commit(), accepts }
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_still(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is durable.
    #[must_use]
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Replaces what is durable: a restored backup, or lost records. Nothing may wait.
    pub fn replace(&mut self, rows: Rows) {
        self.rows = rows;
    }

    /// The rows of one tree.
    pub fn tree(&self, tree: u8) -> impl Iterator<Item = (&Vec<u8>, &Arc<[u8]>)> {
        self.rows.range(vec![tree]..vec![tree.saturating_add(1)])
    }

    /// What an agent is loaded from.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        records(&self.rows)
    }
}

/// The rows that an agent is loaded from.
#[must_use]
pub fn records(rows: &Rows) -> Vec<Record> {
    let loaded = rows.iter().filter(|(key, _)| key.first().is_some_and(|tree| Peer::loads(*tree)));
    loaded.map(|(key, value)| (key.clone(), value.to_vec())).collect()
}

impl Seen for Disk {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        Some(self.rows.contains_key(&rows::seen(from, letter)))
    }
}
