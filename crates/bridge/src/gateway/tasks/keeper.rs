//! All tasks of a gateway: on disk, within bounds, each its principal's (contracts/gateway.md W34 to W36).
//!
//! ```text
//!   begin ─► room, by what has ended ─► on disk ─► known ─► works ─► end on disk ─► told
//!                                                                      └─ a day ─► gone
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio::{Agent, Kept};
use nuncio_contracts::registry::limit;
use uuid::Uuid;

use super::NOT_KNOWN;
use super::forms::Listed;
use super::task::{End, Task, too_long};

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
    all: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    /// Names under which its row stands.
    chunks: u16,
    /// In memory.
    bytes: usize,
    /// It is on disk.
    is_known: bool,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.task.stage().is_over()
    }

    fn goes(&self, now_ms: u64) -> bool {
        self.is_over() && now_ms.saturating_sub(self.task.changed_ms()) > limit::GATEWAY_TASK_LIFE_S * 1_000
    }
}

/// What a principal, or all, have.
#[derive(Clone, Copy, Debug, Default)]
struct Have {
    tasks: usize,
    bytes: usize,
    working: usize,
}

impl Have {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        entries.fold(Self::default(), |have, entry| Self {
            tasks: have.tasks + 1,
            bytes: have.bytes.saturating_add(entry.bytes),
            working: have.working + usize::from(!entry.is_over()),
        })
    }

    const fn has_room(&self, tasks: usize, bytes: usize) -> bool {
        self.tasks < tasks && self.bytes.saturating_add(LONGEST) <= bytes
    }
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
        let (mut all, mut changed) = (BTreeMap::new(), Vec::new());
        for (id, (chunks, row)) in rows {
            let Some(task) = Task::read(id.clone(), &row) else {
                tracing::warn!(id, "a task cannot be read, and is let go");
                changed.extend(gone(&id, chunks));
                continue;
            };
            let bytes = task.row(None).1;
            let mut entry = Entry { task: Arc::new(task), chunks, bytes, is_known: true };
            if entry.goes(now_ms) {
                changed.extend(gone(&id, chunks));
                continue;
            }
            if !entry.is_over() {
                let end = End::failed(format!("the gateway ended while it worked: {NOT_KNOWN}"));
                let (row, bytes) = entry.task.row(Some((&end, now_ms)));
                let (rows, chunks) = written(&id, &row, entry.chunks);
                changed.extend(rows);
                (entry.chunks, entry.bytes) = (chunks, bytes);
                entry.task.end(end, now_ms);
            }
            all.insert(id, entry);
        }
        agent.keep(changed).await?;
        Ok(Self { agent, all: Mutex::new(all) })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
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
            all.extend(place.gone);
            return Err(NotBegun::Unwritten);
        }
        if let Some(entry) = all.get_mut(&task.of.id) {
            entry.is_known = true;
        }
        Ok(())
    }

    fn place(&self, task: &Arc<Task>, now_ms: u64) -> Result<Place, NotBegun> {
        let mut all = self.all();
        let (id, principal) = (&task.of.id, &task.of.principal);
        let mut place = Place::default();
        let over: Vec<_> = all.iter().filter(|(_, entry)| entry.goes(now_ms)).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| place.take(&mut all, id));
        let made = make_room(&mut all, principal, &mut place);
        if made.is_err() {
            all.extend(place.gone);
            return Err(NotBegun::Full);
        }
        let (rows, chunks) = written(id, &task.row(None).0, 0);
        place.rows.extend(rows);
        all.insert(id.clone(), Entry { task: Arc::clone(task), chunks, bytes: LONGEST, is_known: false });
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
        match self.agent.keep(rows).await {
            Ok(()) => {
                if let Some(entry) = self.all().get_mut(id) {
                    (entry.chunks, entry.bytes) = (chunks, bytes);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the end of a task cannot be written down");
                end = End::failed(format!("its end cannot be written down: {NOT_KNOWN}"));
            }
        }
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

impl Entry {
    fn is_of(&self, principal: &str, route: &str) -> bool {
        self.is_known && self.task.of.principal == principal && self.task.of.route == route
    }
}

/// Room for a task: what goes for it, and the rows to write.
#[derive(Debug, Default)]
struct Place {
    gone: BTreeMap<String, Entry>,
    rows: Vec<Kept>,
}

impl Place {
    fn take(&mut self, all: &mut BTreeMap<String, Entry>, id: &str) {
        if let Some((id, entry)) = all.remove_entry(id) {
            self.rows.extend(gone(&id, entry.chunks));
            self.gone.insert(id, entry);
        }
    }
}

// contracts/gateway.md W36.
fn make_room(all: &mut BTreeMap<String, Entry>, principal: &str, place: &mut Place) -> Result<(), NotBegun> {
    let (have, mine) = (Have::of(all.values()), Have::of(of(all, principal)));
    let works_all = have.working >= limit::GATEWAY_TASKS_WORKING_MAX;
    if works_all || mine.working >= limit::GATEWAY_TASKS_WORKING_EACH_MAX {
        return Err(NotBegun::Full);
    }
    let each = (limit::GATEWAY_TASKS_EACH_MAX, limit::GATEWAY_TASKS_EACH_BYTES_MAX);
    while !Have::of(of(all, principal)).has_room(each.0, each.1) {
        let oldest = oldest(of(all, principal)).ok_or(NotBegun::Full)?;
        place.take(all, &oldest);
    }
    while !Have::of(all.values()).has_room(limit::GATEWAY_TASKS_MAX, limit::GATEWAY_TASKS_BYTES_MAX) {
        let most = most(all).ok_or(NotBegun::Full)?;
        let oldest = oldest(of(all, &most)).ok_or(NotBegun::Full)?;
        place.take(all, &oldest);
    }
    Ok(())
}

fn of<'a>(all: &'a BTreeMap<String, Entry>, principal: &'a str) -> impl Iterator<Item = &'a Entry> {
    all.values().filter(move |entry| entry.task.of.principal == principal)
}

fn oldest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<String> {
    let over = entries.filter(|entry| entry.is_over());
    over.min_by_key(|entry| entry.task.changed_ms()).map(|entry| entry.task.of.id.clone())
}

/// Who has most, of those of whom something can go.
fn most(all: &BTreeMap<String, Entry>) -> Option<String> {
    let mut have: HashMap<&str, (usize, usize, bool)> = HashMap::new();
    for entry in all.values() {
        let (bytes, tasks, goes) = have.entry(&entry.task.of.principal).or_default();
        (*bytes, *tasks) = (bytes.saturating_add(entry.bytes), *tasks + 1);
        *goes |= entry.is_over();
    }
    let most = have.into_iter().filter(|(_, (_, _, goes))| *goes).max_by_key(|(_, (bytes, tasks, _))| (*bytes, *tasks));
    most.map(|(principal, _)| principal.to_owned())
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
