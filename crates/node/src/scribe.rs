//! The one that appends to the log: a thread that takes events in groups, each group in one commit, and publishes what it has.
//!
//! ```text
//!   agents' events ──┐
//!   records waiting ─┴─► group ─► Events::take, one commit ─► answers, a view for readers ─► within a second: published
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nuncio_proto::audit::SignedEvent;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{Checkpoint, NoteSignature};
use nuncio_store::{Engine as _, Op, Store, StoreError};
use tokio::sync::{oneshot, watch};

use crate::audit::Record;
use crate::entropy;
use crate::error::NodeError;
use crate::log::{Answer, Events, LogError, View};
use crate::rows;

/// Requests that wait; one more is refused.
const WAITING: usize = 1_024;
/// Events in one commit.
const GROUP_MAX: usize = 1_024;
/// Records that become events in one commit.
const RECORDS_MAX: usize = 256;
/// A checkpoint is published so long after the first event that it adds, at most (a second is promised).
const PUBLISH_AFTER: Duration = Duration::from_millis(500);
/// Records wait so long for others with which they become events: they are durable meanwhile, and a commit for each would cost more than they do.
const GATHER_RECORDS: Duration = Duration::from_millis(100);
/// How often ids that cannot serve any more are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Between two tries while the disk is full.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What is asked of the thread.
enum Work {
    /// Events of one agent.
    Events { events: Vec<SignedEvent>, reply: oneshot::Sender<Taken> },
    /// Records wait in the store.
    Records,
    /// Somebody has a head that this log has signed.
    Shown { head: Checkpoint, reply: oneshot::Sender<bool> },
    /// Witnesses have cosigned the head of this size.
    Cosigned { size: u64, lines: Vec<NoteSignature> },
    /// A witness has cosigned more than there is.
    Behind { witness: String, signed: u64 },
    /// Nothing comes any more.
    Stop,
}

/// Events that are durable, and the log that has them.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) answers: Vec<Answer>,
    pub(crate) view: Arc<View>,
}

/// Nothing was taken: too much waits, or the log has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotNow;

/// The thread's handle.
#[derive(Debug)]
pub(crate) struct Scribe {
    work: SyncSender<Work>,
    view: watch::Receiver<Arc<View>>,
    published: watch::Receiver<Arc<View>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(test)]
    records_stay: std::sync::atomic::AtomicBool,
}

/// The thread's own.
struct Desk {
    events: Events,
    store: Arc<Store>,
    node: AgentId,
    signer: SigningKey,
    waiting: Arc<AtomicU64>,
    view: watch::Sender<Arc<View>>,
    /// The log as it was when it was published last.
    published: watch::Sender<Arc<View>>,
    /// Since when something is not published.
    dirty: Option<Instant>,
    /// Since when records wait.
    records: Option<Instant>,
    forgot: Instant,
    /// Nothing comes any more.
    stopping: bool,
}

impl Scribe {
    /// Takes the log over.
    pub(crate) fn start(
        events: Events,
        store: Arc<Store>,
        signer: SigningKey,
        node: AgentId,
        waiting: Arc<AtomicU64>,
    ) -> Result<Self, NodeError> {
        let (view, readers) = watch::channel(Arc::clone(events.log().view()));
        let (published, heads) = watch::channel(Arc::clone(events.log().view()));
        let (work, queue) = sync_channel(WAITING);
        let now = Instant::now();
        // A node that was stopped before it published does so now.
        let dirty = (events.log().published() < events.log().size()).then_some(now);
        let (forgot, records, stopping) = (now, None, false);
        let desk = Desk { events, store, node, signer, waiting, view, published, dirty, records, forgot, stopping };
        let thread = std::thread::Builder::new()
            .name("nuncio-log".to_owned())
            .spawn(move || desk.run(&queue))
            .map_err(NodeError::io("start", "the thread of the log"))?;
        Ok(Self {
            work,
            view: readers,
            published: heads,
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            records_stay: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Has events logged. When this returns they are durable.
    pub(crate) async fn take(&self, events: Vec<SignedEvent>) -> Result<Taken, NotNow> {
        let (reply, taken) = oneshot::channel();
        self.work.try_send(Work::Events { events, reply }).map_err(|_| NotNow)?;
        taken.await.map_err(|_| NotNow)
    }

    /// Records wait in the store. Where a nudge finds no room, one that will be read is there.
    pub(crate) fn records_wait(&self) {
        #[cfg(test)]
        if self.records_stay.load(Ordering::Relaxed) {
            return;
        }
        match self.work.try_send(Work::Records) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::debug!("the log has ended: records wait"),
        }
    }

    /// For tests that look at records: none becomes an event.
    #[cfg(test)]
    pub(crate) fn leave_records(&self, stay: bool) {
        self.records_stay.store(stay, Ordering::Relaxed);
    }

    /// Looks at a head that the log has signed; `false` when it is not this log's past, and the log has ended for it.
    pub(crate) async fn shown(&self, head: Checkpoint) -> Result<bool, NotNow> {
        let (reply, known) = oneshot::channel();
        self.work.try_send(Work::Shown { head, reply }).map_err(|_| NotNow)?;
        known.await.map_err(|_| NotNow)
    }

    /// Puts cosignatures under the head of a size, if that is published.
    pub(crate) fn cosigned(&self, size: u64, lines: Vec<NoteSignature>) {
        // Where too much waits, the next head is cosigned.
        let _ = self.work.try_send(Work::Cosigned { size, lines });
    }

    /// The log has lost what it had signed: it ends.
    pub(crate) fn behind(&self, witness: &str, signed: u64) {
        // One that has ended needs not be told.
        let _ = self.work.send(Work::Behind { witness: witness.to_owned(), signed });
    }

    /// The log as it is now, and as it will be.
    pub(crate) fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The log as it was published last, and as it will be.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<View>> {
        self.published.clone()
    }

    /// Whether the log takes events.
    pub(crate) fn is_sound(&self) -> bool {
        self.view.has_changed().is_ok()
    }

    /// Takes what waits, publishes, and lets the store go.
    pub(crate) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that has ended by itself hears nothing.
            let _ = self.work.send(Work::Stop);
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn run(mut self, queue: &Receiver<Work>) {
        loop {
            let first = match queue.recv_timeout(self.pause()) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Work::Stop),
            };
            match self.turn(first, queue) {
                Ok(true) => {}
                Ok(false) => return,
                // What was asked is not answered: whoever asked asks again. On the way out there is no again.
                Err(error) if error.is_full() && !self.stopping => {
                    tracing::error!(%error, "the disk is full: no event is taken until there is space");
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(error) => {
                    tracing::error!(%error, "the log ends: no event is taken and no head signed until the node is started again");
                    return;
                }
            }
        }
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let left = |since: Option<Instant>, after: Duration| since.map(|since| after.saturating_sub(since.elapsed()));
        let dues = [left(self.dirty, PUBLISH_AFTER), left(self.records, GATHER_RECORDS)];
        dues.into_iter().flatten().min().unwrap_or(FORGET_EVERY)
    }

    /// One group, and what is due; `false` when the log is to end.
    fn turn(&mut self, first: Option<Work>, queue: &Receiver<Work>) -> Result<bool, LogError> {
        // A nudge may have found no room.
        let is_quiet = first.is_none();
        let (mut events, mut replies, mut goes_on) = (Vec::new(), Vec::new(), true);
        let mut next = first;
        while let Some(work) = next {
            match work {
                Work::Events { events: more, reply } => {
                    replies.push((more.len(), reply));
                    events.extend(more);
                }
                Work::Records => {
                    self.records.get_or_insert_with(Instant::now);
                }
                Work::Shown { head, reply } => self.shown(&head, reply)?,
                Work::Behind { witness, signed } => {
                    return Err(LogError::BehindWitness { witness, signed, size: self.events.log().size() });
                }
                Work::Cosigned { size, lines } => {
                    // After a start the witnesses may be faster than the log.
                    if size == self.events.log().size() && size > self.events.log().published() {
                        self.publish()?;
                    }
                    if size == self.events.log().published() {
                        // What cannot be written now is published again with the lines that came.
                        if let Err(error) = self.events.log_mut().cosign_published(lines) {
                            self.dirty.get_or_insert_with(Instant::now);
                            return Err(error);
                        }
                    }
                }
                Work::Stop => (goes_on, self.stopping) = (false, true),
            }
            next = if events.len() < GROUP_MAX && goes_on { queue.try_recv().ok() } else { None };
        }
        if !events.is_empty() {
            self.take(&events, replies)?;
        }
        if is_quiet || self.records.is_some_and(|since| since.elapsed() >= GATHER_RECORDS || !goes_on) {
            while self.take_records()? == RECORDS_MAX {}
            self.records = None;
        }
        if self.dirty.is_some_and(|since| since.elapsed() >= PUBLISH_AFTER) || (!goes_on && self.dirty.is_some()) {
            self.publish()?;
        }
        if self.forgot.elapsed() >= FORGET_EVERY {
            self.forget_used()?;
        }
        Ok(goes_on)
    }

    fn take(&mut self, events: &[SignedEvent], replies: Vec<(usize, oneshot::Sender<Taken>)>) -> Result<(), LogError> {
        let mut answers = self.events.take(events, entropy::now())?.into_iter();
        self.changed();
        for (count, reply) in replies {
            let answers = answers.by_ref().take(count).collect();
            // Whoever asked may have gone; the events stay.
            let _ = reply.send(Taken { answers, view: Arc::clone(self.events.log().view()) });
        }
        Ok(())
    }

    /// The oldest records become events of the node's own chain, and leave (contracts/audit.md V17).
    fn take_records(&mut self) -> Result<usize, LogError> {
        let waiting = first_rows(&self.store, rows::RECORDS, RECORDS_MAX, |_| true)?;
        let count = waiting.len();
        let now = entropy::now();
        let (mut chain, mut events, mut ops) = (self.events.chain(&self.node), Vec::new(), Vec::new());
        for (key, value) in waiting {
            let record = Record::read(&value).map_err(|_| LogError::Row)?;
            if let Some(mut event) = record.event(self.node) {
                event.at = event.at.min(now);
                chain.number(&mut event, now.0);
                let signed = SignedEvent::sign(event, &self.signer).ok_or(LogError::Entry)?;
                chain.follow(&signed);
                events.push(signed);
            }
            let random = entropy::random().map_err(|_| LogError::Randomness)?;
            ops.extend(record.keep_used(now.0 / 1_000, random));
            ops.push(Op::Delete { key });
        }
        if count > 0 {
            // A clock that was ahead once does not end the node's own chain.
            let epoch = chain.head().map_or(0, |head| head.epoch);
            self.events.take_all(&events, UnixMillis(now.0.max(epoch)), ops)?;
            self.waiting.fetch_sub(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            self.changed();
        }
        Ok(count)
    }

    fn publish(&mut self) -> Result<(), LogError> {
        self.events.log_mut().publish()?;
        self.dirty = None;
        self.published.send_replace(Arc::clone(self.events.log().view()));
        self.show();
        Ok(())
    }

    fn changed(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
        self.show();
    }

    fn show(&self) {
        self.view.send_replace(Arc::clone(self.events.log().view()));
    }

    /// contracts/audit.md V15.
    fn shown(&self, head: &Checkpoint, reply: oneshot::Sender<bool>) -> Result<(), LogError> {
        let view = self.events.log().view();
        let known = if head.size > view.size() {
            Err(LogError::Behind { signed: head.size, size: view.size() })
        } else if view.root_at(head.size)? == head.root {
            Ok(())
        } else {
            Err(LogError::Forked(head.size))
        };
        if known.is_err() {
            // It holds through every restart, until a log is back that has this head.
            // Where that fails too, it holds until the next start at least.
            if let Err(error) = self.events.log().remember_shown(head) {
                tracing::error!(%error, "the head that the log has lost cannot be kept");
            }
        }
        let _ = reply.send(known.is_ok());
        known
    }

    fn forget_used(&mut self) -> Result<(), LogError> {
        self.forgot = Instant::now();
        let now_s = (entropy::now().0 / 1_000).to_be_bytes();
        let over = first_rows(&self.store, rows::USED, GROUP_MAX, |key| key.get(1..9) < Some(now_s.as_slice()))?;
        let ops: Vec<Op> = over.into_iter().map(|(key, _)| Op::Delete { key }).collect();
        Ok(self.store.commit(&ops)?)
    }
}

type Row = (Vec<u8>, Vec<u8>);

/// The first rows of a tree, as long as they are wanted.
fn first_rows(store: &Store, tree: u8, max: usize, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Row>, StoreError> {
    let mut first = Vec::new();
    let scanned = store.scan(&[tree], &mut |key, value| {
        if first.len() == max || !wanted(key) {
            return Err(StoreError::Stopped);
        }
        first.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    match scanned {
        // The first row that is not wanted ends the scan.
        Ok(()) | Err(StoreError::Stopped) => Ok(first),
        Err(error) => Err(error),
    }
}
