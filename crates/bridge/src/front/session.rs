//! What comes for one session, and to which stream of its client it goes.
//!
//! ```text
//!   Line ─▶ pump ─┬─ part, answer ─▶ the stream of its request ── full ─▶ it listens for itself, from the disk
//!                 │                      └─ none: kept on disk until its grace is over
//!                 └─ aside ─▶ the GET, which listens for itself; else the newest stream; else it waits
//! ```
//!
//! What is not `taken` lies with the agent: here are numbers and at most a handful of messages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nuncio_proto::ids::{CallSessionId, LetterId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reading::RpcId;
use crate::line::{Heard, HeardWhat, Line, LineError};

/// Messages that one stream may be behind before it listens for itself.
const STREAM_ROOM: usize = 4;
/// Parts of one request that are kept until a client can have no use for them; the oldest go first.
const PARTS_KEPT: usize = 1024;
/// Requests of one session that are kept so; the oldest go first.
const REQUESTS_KEPT: usize = 1024;
/// Messages of a session that wait for a stream; the oldest go first.
const ASIDES_WAITING: usize = 64;
/// Requests of a service that a client has not answered; the oldest are forgotten.
const ASKED_MAX: usize = 256;
/// How long a request can be resumed whose stream brought its answer.
pub const GRACE_ENDED: Duration = Duration::from_secs(10);
/// How long a request can be resumed whose stream broke.
pub const GRACE_BROKEN: Duration = Duration::from_secs(300);

/// One session of a client, or all its requests without one.
pub(super) struct Session<L> {
    pub(super) id: Option<CallSessionId>,
    pub(super) line: L,
    state: Mutex<State>,
    /// Nobody needs it any more: what is kept may go.
    pub(super) closing: CancellationToken,
    /// The front stops: what is kept stays.
    pub(super) stopping: CancellationToken,
}

/// One stream of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// Of which.
    pub(super) request: LetterId,
    order: u64,
}

#[derive(Default)]
struct State {
    open: HashMap<LetterId, Open>,
    opened: u64,
    kept: HashMap<LetterId, Kept>,
    /// Requests of which nothing is left.
    released: VecDeque<LetterId>,
    asked: VecDeque<(RpcId, LetterId)>,
    waiting: VecDeque<Heard>,
    /// Asides that a request's stream was given, and of which: the GET leaves them out.
    given: VecDeque<(u64, LetterId)>,
    /// Asides that the GET wrote, and until when it may write them again.
    shown: VecDeque<(u64, Instant)>,
    get: Option<CancellationToken>,
    heard: Option<u64>,
    phase: Phase,
    used: Option<Instant>,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It lives.
    #[default]
    Open,
    /// Its client or the service's side has ended it.
    Ended,
    /// The agent stops.
    Dead,
}

struct Open {
    order: u64,
    /// `None`: it listens for itself.
    stream: Option<mpsc::Sender<Heard>>,
    takes_asides: bool,
    /// What its client had before, up to here, it is not given again.
    floor: Option<u64>,
    numbers: Numbers,
}

struct Kept {
    numbers: Numbers,
    until: Instant,
    answered: bool,
    order: u64,
}

/// Numbers that were handed out and not taken, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Numbers(VecDeque<u64>);

impl Numbers {
    /// One more; gives one back that there is no room for.
    fn add(&mut self, no: u64) -> Option<u64> {
        if self.0.back().is_some_and(|last| *last >= no) && self.0.contains(&no) {
            return None;
        }
        self.0.push_back(no);
        (self.0.len() > PARTS_KEPT).then(|| self.0.pop_front()).flatten()
    }
}

/// A session's stand-alone stream.
pub(super) struct Standalone {
    /// Another has come in its stead, or the session is over.
    pub(super) ends: CancellationToken,
    after: Option<u64>,
    /// Asides that waited for it, wherever they stand.
    owed: HashSet<u64>,
}

/// What a stream ended as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its client has all of it and cannot ask again, or cannot go on: nothing is kept.
    Final,
    /// Its client has the answer, by the system's word.
    Answered,
    /// It broke, and can be resumed.
    Broken,
}

impl<L: Line> Session<L> {
    pub(super) fn new(id: Option<CallSessionId>, line: L, stopping: CancellationToken) -> Arc<Self> {
        let state = Mutex::new(State { used: Some(Instant::now()), ..State::default() });
        Arc::new(Self { id, line, state, closing: CancellationToken::new(), stopping })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards stays whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// It is over.
    pub(super) fn end(&self) {
        self.state().end(Phase::Ended);
    }

    /// Somebody uses it.
    pub(super) fn touch(&self) {
        self.state().used = Some(Instant::now());
    }

    /// Since when nobody has; `None` while somebody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        let is_idle = state.phase != Phase::Open || state.open.is_empty() && state.get.is_none();
        is_idle.then_some(state.used).flatten()
    }

    /// A stream for a request that will be said, its numbers above the one that is given back.
    pub(super) fn open(&self, request: LetterId, takes_asides: bool) -> (Ticket, mpsc::Receiver<Heard>, Option<u64>) {
        let (stream, rx) = mpsc::channel(STREAM_ROOM);
        let mut state = self.state();
        let order = state.next_order();
        let waiting = if takes_asides { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        let open = Open { order, stream: Some(stream), takes_asides, floor: None, numbers: Numbers::default() };
        state.open.insert(request, open);
        for aside in waiting {
            state.aside(aside);
        }
        (Ticket { request, order }, rx, state.heard)
    }

    /// A stream that goes on with a request and listens for itself; the one that it had ends. `None`: nothing is left of that request.
    pub(super) fn reopen(&self, request: LetterId, after: u64) -> Option<Ticket> {
        let mut state = self.state();
        if state.released.contains(&request) {
            return None;
        }
        let order = state.next_order();
        let before = state.open.remove(&request).map(|open| open.numbers);
        let numbers = before.or_else(|| state.kept.remove(&request).map(|kept| kept.numbers)).unwrap_or_default();
        state.open.insert(request, Open { order, stream: None, takes_asides: false, floor: Some(after), numbers });
        Some(Ticket { request, order })
    }

    /// Whether a stream that gets nothing more is to listen for itself.
    pub(super) fn is_behind(&self, ticket: Ticket) -> bool {
        let state = self.state();
        let open = state.open.get(&ticket.request).filter(|open| open.order == ticket.order);
        state.phase == Phase::Open && open.is_some_and(|open| open.stream.is_none())
    }

    /// A number that a stream of a request was given. Gives back what may be taken in its stead.
    pub(super) fn had(&self, request: LetterId, no: u64) -> Option<u64> {
        self.state().open.get_mut(&request).and_then(|open| open.numbers.add(no))
    }

    /// A request's stream has ended. Gives back what may be taken.
    pub(super) fn close(&self, ticket: Ticket, ending: Ending, answered: bool) -> Vec<u64> {
        let request = ticket.request;
        let mut state = self.state();
        if state.open.get(&request).is_none_or(|open| open.order != ticket.order) {
            return Vec::new();
        }
        let Some(open) = state.open.remove(&request) else { return Vec::new() };
        state.used = Some(Instant::now());
        if self.id.is_none() || ending == Ending::Final && answered {
            state.release(request);
            return open.numbers.0.into();
        }
        let grace = match ending {
            Ending::Final => Duration::ZERO,
            Ending::Answered => GRACE_ENDED,
            Ending::Broken => GRACE_BROKEN,
        };
        let until = Instant::now() + grace;
        state.kept.insert(request, Kept { numbers: open.numbers, until, answered, order: open.order });
        state.shrink()
    }

    /// An aside that a broken stream was given and did not write.
    pub(super) fn give_back(&self, aside: Heard) {
        let mut state = self.state();
        state.given.retain(|(no, _)| *no != aside.no);
        state.aside(aside);
    }

    /// The session's stand-alone stream begins, behind a number that it wrote last; the one that was there ends.
    pub(super) fn begin_get(&self, after: Option<u64>) -> Standalone {
        let mine = self.stopping.child_token();
        let mut state = self.state();
        // It hears them for itself.
        let owed = state.waiting.drain(..).map(|aside| aside.no).collect();
        if let Some(before) = state.get.replace(mine.clone()) {
            before.cancel();
        }
        Standalone { ends: mine, after, owed }
    }

    /// The session's stand-alone stream has ended.
    pub(super) fn end_get(&self, stream: &Standalone) {
        let mut state = self.state();
        state.used = Some(Instant::now());
        // One that was replaced is cancelled already.
        if !stream.ends.is_cancelled() {
            state.get = None;
        }
    }

    /// Whether an aside is the stand-alone stream's to write. Where it wrote it before, its client names one in front of it to have it again.
    pub(super) fn is_for(&self, stream: &Standalone, no: u64) -> bool {
        let state = self.state();
        let given = state.given.iter().any(|(known, _)| *known == no);
        let shown = state.shown.iter().any(|(known, _)| *known == no);
        let behind = stream.after.map_or(!shown, |after| no > after);
        !given && (behind || stream.owed.contains(&no))
    }

    /// The stand-alone stream wrote one. Gives back what may be taken.
    pub(super) fn show(&self, no: u64) -> Option<u64> {
        let mut state = self.state();
        if state.shown.iter().all(|(known, _)| *known != no) {
            state.shown.push_back((no, Instant::now() + GRACE_ENDED));
        }
        (state.shown.len() > PARTS_KEPT).then(|| state.shown.pop_front()).flatten().map(|(no, _)| no)
    }

    /// Whether an aside was given to a request's stream.
    pub(super) fn is_of(&self, request: LetterId, no: u64) -> bool {
        self.state().given.contains(&(no, request))
    }

    /// The letter with which a service asked what a client now answers.
    pub(super) fn asked(&self, id: &RpcId) -> Option<LetterId> {
        let mut state = self.state();
        let at = state.asked.iter().position(|(known, _)| known == id)?;
        state.asked.remove(at).map(|(_, letter)| letter)
    }

    /// Brings what came to its place. Gives back what may be taken.
    fn place(&self, heard: Heard, asks: Option<RpcId>) -> Vec<u64> {
        let mut state = self.state();
        state.heard = state.heard.max(Some(heard.no));
        if let Some(id) = asks {
            state.asked.retain(|(known, _)| *known != id);
            state.asked.push_back((id, heard.id));
            if state.asked.len() > ASKED_MAX {
                state.asked.pop_front();
            }
        }
        match &heard.what {
            HeardWhat::Part(request, _) => state.for_request(*request, heard.clone(), false),
            HeardWhat::Answer(request, _) | HeardWhat::Failed { request, .. } | HeardWhat::Unread { request, .. } => {
                state.for_request(*request, heard.clone(), true)
            }
            HeardWhat::Aside(_) => state.aside(heard),
            HeardWhat::End => {
                let no = heard.no;
                state.end(Phase::Ended);
                vec![no]
            }
        }
    }

    fn sweep(&self) -> Vec<u64> {
        let mut state = self.state();
        let now = Instant::now();
        let over: Vec<_> = state.kept.iter().filter(|(_, kept)| kept.until <= now).map(|(id, _)| *id).collect();
        let mut taken: Vec<u64> = over.into_iter().flat_map(|request| state.grace_over(request)).collect();
        while let Some((no, _)) = state.shown.pop_front_if(|(_, until)| *until <= now) {
            taken.push(no);
        }
        taken
    }

    /// Hears what comes until nobody needs the session, or nothing comes any more.
    pub(super) async fn pump(self: Arc<Self>, mut rx: mpsc::Receiver<Heard>) {
        let mut sweep = tokio::time::interval(Duration::from_secs(1));
        loop {
            let taken = tokio::select! {
                heard = rx.recv() => match heard {
                    Some(heard) => {
                        let asks = super::asks(&heard).await;
                        self.place(heard, asks)
                    }
                    None => break,
                },
                _ = sweep.tick() => self.sweep(),
                () = self.closing.cancelled() => break,
                () = self.stopping.cancelled() => break,
            };
            self.take(taken).await;
        }
        let left: Vec<u64> = {
            let mut state = self.state();
            state.end(Phase::Dead);
            // Who closed it gave it up; a line that ended keeps what it has.
            if self.closing.is_cancelled() { state.all() } else { Vec::new() }
        };
        self.take(left).await;
    }

    /// The client has these.
    pub(super) async fn take(&self, numbers: impl IntoIterator<Item = u64>) {
        for no in numbers {
            if let Err(error) = self.line.let_go(no).await {
                tracing::debug!(%error, no, "what a client has comes again");
            }
        }
    }

    /// Hears for itself what comes behind a number.
    pub(super) async fn listen(&self, after: Option<u64>) -> Result<mpsc::Receiver<Heard>, LineError> {
        self.line.listen(self.id, after).await
    }
}

impl State {
    const fn next_order(&mut self) -> u64 {
        self.opened = self.opened.saturating_add(1);
        self.opened
    }

    fn for_request(&mut self, request: LetterId, heard: Heard, last: bool) -> Vec<u64> {
        let no = heard.no;
        if let Some(open) = self.open.get_mut(&request) {
            // Where there is no room it comes from the disk.
            if open.stream.as_ref().is_some_and(|stream| stream.try_send(heard).is_err()) {
                open.stream = None;
            }
            let had = open.floor.is_some_and(|floor| no <= floor);
            return if had { open.numbers.add(no).into_iter().collect() } else { Vec::new() };
        }
        if self.released.contains(&request) {
            return vec![no];
        }
        // Where there is no session, another program of this machine may have asked, and takes it.
        let until = Instant::now() + GRACE_BROKEN;
        let order = self.next_order();
        let kept = self.kept.entry(request).or_insert_with(|| Kept {
            numbers: Numbers::default(),
            until,
            answered: false,
            order,
        });
        kept.answered |= last;
        let mut taken: Vec<u64> = kept.numbers.add(no).into_iter().collect();
        if kept.until <= Instant::now() {
            taken.extend(self.grace_over(request));
        }
        taken.extend(self.shrink());
        taken
    }

    fn aside(&mut self, aside: Heard) -> Vec<u64> {
        if self.get.is_some() {
            return Vec::new();
        }
        let no = aside.no;
        let open = self.open.iter().filter(|(_, open)| open.takes_asides).max_by_key(|(_, open)| open.order);
        let newest = open.map(|(request, _)| *request);
        let handed = open
            .and_then(|(_, open)| open.stream.as_ref())
            .is_some_and(|stream| stream.try_send(aside.clone()).is_ok());
        if let (true, Some(request)) = (handed, newest) {
            self.given.push_back((no, request));
            if self.given.len() > PARTS_KEPT {
                self.given.pop_front();
            }
            return Vec::new();
        }
        self.waiting.push_back(aside);
        let dropped = (self.waiting.len() > ASIDES_WAITING).then(|| self.waiting.pop_front()).flatten();
        dropped.map(|dropped| dropped.no).into_iter().collect()
    }

    /// Everything that is kept for a client that may come again.
    fn all(&mut self) -> Vec<u64> {
        let kept = std::mem::take(&mut self.kept).into_values().flat_map(|kept| kept.numbers.0);
        let shown = std::mem::take(&mut self.shown).into_iter().map(|(no, _)| no);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|aside| aside.no);
        kept.chain(shown).chain(waiting).collect()
    }

    /// Nobody can ask for a request's messages any more.
    fn grace_over(&mut self, request: LetterId) -> Vec<u64> {
        let Some(kept) = self.kept.get_mut(&request) else { return Vec::new() };
        let numbers = std::mem::take(&mut kept.numbers).0.into();
        if kept.answered {
            self.release(request);
        }
        numbers
    }

    fn release(&mut self, request: LetterId) {
        self.kept.remove(&request);
        self.released.push_back(request);
        if self.released.len() > REQUESTS_KEPT {
            self.released.pop_front();
        }
    }

    fn shrink(&mut self) -> Vec<u64> {
        if self.kept.len() <= REQUESTS_KEPT {
            return Vec::new();
        }
        // What has its answer goes first.
        let oldest = self.kept.iter().min_by_key(|(_, kept)| (!kept.answered, kept.order)).map(|(request, _)| *request);
        let Some((request, kept)) = oldest.and_then(|request| self.kept.remove_entry(&request)) else {
            return Vec::new();
        };
        self.release(request);
        kept.numbers.0.into()
    }

    fn end(&mut self, phase: Phase) {
        if self.phase == Phase::Open {
            self.phase = phase;
        }
        // Their streams end with the senders.
        self.open.values_mut().for_each(|open| open.stream = None);
        if let Some(get) = self.get.take() {
            get.cancel();
        }
    }
}
