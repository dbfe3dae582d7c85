//! All tasks of a gateway: on disk, within bounds, each its principal's (contracts/gateway.md W34 to W36).
//!
//! ```text
//!   begin ─► room, by what has ended ─► on disk ─► known ─► works ─► end on disk ─► told
//!                                                                      └─ a day ─► gone
//! ```

mod held;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio::{Agent, Kept};
use nuncio_contracts::registry::limit;
use uuid::Uuid;

use super::NOT_KNOWN;
use super::forms::Listed;
use super::task::{End, Task, too_long};
use held::{Entry, Held};

/// In front of a row's name.
const TREE: u8 = b't';
/// Of a task's row so much stands under one name; the longest that may.
const CHUNK_LEN: usize = 4_000;
/// What one that works may become, in memory.
pub(super) const LONGEST: usize = limit::GATEWAY_TASK_MESSAGE_MAX + limit::GATEWAY_TASK_ANSWER_MAX;

/// Of it what is neither message nor answer, and what both gain when they are written anew.
const BESIDE: usize = 64 << 10;
/// Of the tasks of one page, in memory.
const PAGE_BYTES: usize = 4 << 20;

/// Why a task does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// There is no room.
    Full,
    /// It cannot be written down.
    Unwritten,
}

/// The tasks.
pub(super) struct Keeper {
    agent: Agent,
    all: Mutex<Held>,
}

impl Keeper {
    /// Reads what is kept; what worked has failed.
    ///
    /// # Errors
    /// The store can be neither read nor written.
    // contracts/gateway.md W34.
    pub(super) async fn open(agent: Agent, now_ms: u64) -> Result<Self, nuncio::Error> {
        let mut rows: BTreeMap<String, (u16, Vec<u8>)> = BTreeMap::new();
        for (name, value) in agent.kept().await? {
            let Some(id) = named(&name) else { continue };
            let (chunks, row) = rows.entry(id).or_default();
            *chunks = chunks.saturating_add(1);
            row.extend_from_slice(&value);
        }
        let (mut all, mut changed) = (Held::default(), Vec::new());
        for (id, (chunks, row)) in rows {
            let Some(task) = Task::read(id.clone(), &row) else {
                tracing::warn!(id, "a task cannot be read, and is let go");
                changed.extend(gone(&id, chunks));
                continue;
            };
            let bytes = task.row(None).1;
            let over_ms = task.stage().is_over().then(|| task.changed_ms());
            let mut entry = Entry { task: Arc::new(task), chunks, bytes, is_known: true, over_ms };
            if entry.goes(now_ms) {
                changed.extend(gone(&id, chunks));
                continue;
            }
            if over_ms.is_none() {
                let end = End::failed(format!("the gateway ended while it worked: {NOT_KNOWN}"));
                let (row, bytes) = entry.task.row(Some((&end, now_ms)));
                let (rows, chunks) = written(&id, &row, entry.chunks);
                changed.extend(rows);
                (entry.chunks, entry.bytes) = (chunks, bytes);
                entry.task.end(end, now_ms);
                entry.over_ms = Some(now_ms);
            }
            all.insert(entry);
        }
        agent.keep(changed).await?;
        Ok(Self { agent, all: Mutex::new(all) })
    }

    fn all(&self) -> MutexGuard<'_, Held> {
        // What it guards stays whole even if a holder panicked.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task that is on disk when this returns. Until then nobody is told of it.
    ///
    /// # Errors
    /// Nothing may be done.
    // contracts/gateway.md W34, W36.
    pub(super) async fn begin(&self, task: &Arc<Task>, now_ms: u64) -> Result<(), NotBegun> {
        let place = self.place(task, now_ms)?;
        let kept = self.agent.keep(place.rows).await;
        let mut all = self.all();
        if let Err(error) = kept {
            tracing::error!(%error, "a task cannot be written down: nothing is done for it");
            all.remove(&task.of.id);
            place.gone.into_iter().for_each(|entry| all.insert(entry));
            return Err(NotBegun::Unwritten);
        }
        all.change(&task.of.id, |entry| entry.is_known = true);
        Ok(())
    }

    fn place(&self, task: &Arc<Task>, now_ms: u64) -> Result<Place, NotBegun> {
        let mut all = self.all();
        let (id, principal) = (&task.of.id, &task.of.principal);
        let mut place = Place::default();
        while let Some(old) = all.old(now_ms) {
            place.take(&mut all, &old);
        }
        let made = make_room(&mut all, principal, &mut place);
        if made.is_err() {
            place.gone.into_iter().for_each(|entry| all.insert(entry));
            return Err(NotBegun::Full);
        }
        let (rows, chunks) = written(id, &task.row(None).0, 0);
        place.rows.extend(rows);
        let task = Arc::clone(task);
        all.insert(Entry { task, chunks, bytes: LONGEST, is_known: false, over_ms: None });
        Ok(place)
    }

    /// The end of a task: told once it is on disk.
    // contracts/gateway.md W34.
    pub(super) async fn end(&self, task: &Task, mut end: End, now_ms: u64) {
        let id = &task.of.id;
        let (mut row, mut bytes) = task.row(Some((&end, now_ms)));
        if bytes > LONGEST.saturating_add(BESIDE) {
            end = End::failed(format!("it was done: {}", too_long()));
            (row, bytes) = task.row(Some((&end, now_ms)));
        }
        let before = self.all().get(id).map_or(0, |entry| entry.chunks);
        let (rows, chunks) = written(id, &row, before);
        let kept = self.agent.keep(rows).await;
        if let Err(error) = &kept {
            tracing::error!(%error, "the end of a task cannot be written down");
            end = End::failed(format!("its end cannot be written down: {NOT_KNOWN}"));
        }
        let mut all = self.all();
        all.change(id, |entry| {
            entry.over_ms = Some(now_ms);
            if kept.is_ok() {
                (entry.chunks, entry.bytes) = (chunks, bytes);
            }
        });
        task.end(end, now_ms);
    }

    /// A task of this principal on this route.
    // contracts/gateway.md W35.
    pub(super) fn find(&self, id: &str, principal: &str, route: &str, now_ms: u64) -> Option<Arc<Task>> {
        let all = self.all();
        let entry = all.get(id).filter(|entry| entry.is_of(principal, route) && !entry.goes(now_ms))?;
        Some(Arc::clone(&entry.task))
    }

    /// Those that are wanted, the one that was changed last first, how many they would be on one page, and where the next page begins.
    // contracts/gateway.md W35.
    pub(super) fn list(
        &self,
        wanted: &Listed,
        principal: &str,
        route: &str,
        now_ms: u64,
    ) -> (Vec<Arc<Task>>, usize, Option<String>) {
        let is_wanted = |task: &Task| {
            wanted.context.as_ref().is_none_or(|context| *context == task.of.context)
                && wanted.state.as_ref().is_none_or(|state| state == task.state())
                && task.changed_ms() >= wanted.since_ms
        };
        let mut found: Vec<_> = {
            let all = self.all();
            let own = all.values().filter(|entry| entry.is_of(principal, route) && !entry.goes(now_ms));
            let own = own.filter(|entry| is_wanted(&entry.task));
            let shown = |entry: &Entry| (Arc::clone(&entry.task), entry.bytes);
            own.map(|entry| ((entry.task.changed_ms(), entry.task.of.id.clone()), shown(entry))).collect()
        };
        found.sort_by(|(one, _), (other, _)| other.cmp(one));
        let total = found.len();
        if let Some(behind) = &wanted.behind {
            found.retain(|(place, _)| place < behind);
        }
        // One is told of, however long it is.
        let mut bytes = 0_usize;
        let fits = found.iter().take(wanted.size).take_while(|(_, (_, more))| {
            bytes = bytes.saturating_add(*more);
            bytes <= PAGE_BYTES
        });
        let size = fits.count().max(1);
        let more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| more).map(|((changed, id), _)| format!("{changed}.{id}"));
        (found.into_iter().map(|(_, (task, _))| task).collect(), total, next)
    }
}

/// Room for a task: what goes for it, and the rows to write.
#[derive(Debug, Default)]
struct Place {
    gone: Vec<Entry>,
    rows: Vec<Kept>,
}

impl Place {
    fn take(&mut self, all: &mut Held, id: &str) {
        if let Some(entry) = all.remove(id) {
            self.rows.extend(gone(id, entry.chunks));
            self.gone.push(entry);
        }
    }
}

// contracts/gateway.md W36.
fn make_room(all: &mut Held, principal: &str, place: &mut Place) -> Result<(), NotBegun> {
    let works_all = all.have().working >= limit::GATEWAY_TASKS_WORKING_MAX;
    if works_all || all.have_of(principal).working >= limit::GATEWAY_TASKS_WORKING_EACH_MAX {
        return Err(NotBegun::Full);
    }
    while !all.have_of(principal).has_room(limit::GATEWAY_TASKS_EACH_MAX, limit::GATEWAY_TASKS_EACH_BYTES_MAX) {
        let oldest = all.oldest_of(principal).ok_or(NotBegun::Full)?;
        place.take(all, &oldest);
    }
    while !all.have().has_room(limit::GATEWAY_TASKS_MAX, limit::GATEWAY_TASKS_BYTES_MAX) {
        let oldest = all.oldest_of_most().ok_or(NotBegun::Full)?;
        place.take(all, &oldest);
    }
    Ok(())
}

fn name(id: &str, chunk: u16) -> Vec<u8> {
    let id = Uuid::try_parse(id).unwrap_or_default();
    [&[TREE], id.as_bytes().as_slice(), &chunk.to_be_bytes()].concat()
}

/// The task of a name.
fn named(name: &[u8]) -> Option<String> {
    let (id, _) = name.strip_prefix(&[TREE])?.split_last_chunk::<2>()?;
    Uuid::from_slice(id).ok().map(|id| id.hyphenated().to_string())
}

/// A row as it is written over one of so many chunks, and how many it has.
fn written(id: &str, row: &[u8], before: u16) -> (Vec<Kept>, u16) {
    let mut rows: Vec<Kept> =
        (0..).zip(row.chunks(CHUNK_LEN)).map(|(no, chunk)| (name(id, no), Some(chunk.to_vec()))).collect();
    let chunks = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    rows.extend((chunks..before).map(|no| (name(id, no), None)));
    (rows, chunks)
}

fn gone(id: &str, chunks: u16) -> Vec<Kept> {
    (0..chunks).map(|no| (name(id, no), None)).collect()
}

#[cfg(test)]
mod tests;
