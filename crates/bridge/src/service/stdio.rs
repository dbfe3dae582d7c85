//! Programs that speak MCP on stdin and stdout: one for each session, begun by its first message.
//!
//! ```text
//!   hand ─► seats: of each session one ─► seat ─► stdin   child
//!           without session a few         seat ◄─ stdout  (a process group of its own)
//! ```
//!
//! Which requests are open stands beside each seat, so that a second one of an id is refused before anything of it is written.

mod child;
mod open;
mod seat;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nuncio_proto::ids::AgentId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::open::Open;
use self::seat::{Command, Seat};
use super::{Ask, Base, NotHanded, Of, Reply, Runner, lock};

const NO_ID: &str = "a request to a program needs an id that is not null";
const TWICE: &str = "a request of this id is open in the session";
const READS_NOT: &str = "the service does not read";

/// Whose a message is: of the writer, or of who waited too long for it. The first to take it has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    taken: Arc<AtomicBool>,
    begun: Arc<AtomicBool>,
}

impl Turn {
    fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// A byte of it was written.
    fn begins(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

/// Whether what is queued for a seat is not handed over any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Who waits for a message to be handed over.
pub(super) struct Handing {
    reply: Reply,
    turn: Turn,
    /// Of its seat.
    over: Over,
}

/// All programs of one service.
pub(super) struct Programs(Arc<Shared>);

pub(super) struct Shared {
    pub(super) base: Base,
    pub(super) runner: Runner,
    children: Arc<Semaphore>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    of: HashMap<Of, Vec<Place>>,
    /// Of sessions that were ended the programs that have not, which count as their peer's.
    ending: HashMap<AgentId, usize>,
    next: u64,
    over: bool,
}

/// A seat from outside.
#[derive(Clone)]
struct Place {
    no: u64,
    commands: mpsc::UnboundedSender<Command>,
    open: Arc<Mutex<Open>>,
    over: Over,
}

impl Programs {
    pub(super) fn new(base: Base, runner: Runner) -> Self {
        let children = Arc::new(Semaphore::new(base.config.children));
        Self(Arc::new(Shared { base, runner, children, seats: Mutex::default() }))
    }

    /// Waits until the program reads of it, for a while.
    pub(super) async fn hand(&self, ask: Ask) -> Result<(), NotHanded> {
        let (reply, mut handed) = oneshot::channel();
        let (key, turn) = (ask.key, Turn::default());
        let Some(open) = self.place(ask, reply, &turn)? else { return Ok(()) };
        let ended = |_| Err(NotHanded::Ended);
        let handed = match timeout(self.0.base.bounds.reads_within, &mut handed).await {
            Ok(handed) => handed.unwrap_or_else(ended),
            // Its turn has not come, and does not come any more.
            Err(_) if turn.take() => Err(NotHanded::Busy(READS_NOT)),
            // It is the writer's, which says in the same time whether it wrote of it.
            Err(_) => handed.await.unwrap_or_else(ended),
        };
        if handed.is_err() {
            lock(&open).was_not_handed(key);
        }
        handed
    }

    pub(super) async fn end(&self, of: Of) {
        let ended = self.end_where(&of.from, |known| *known == of);
        // Who asked may go: it ends all the same.
        let _ = ended.await;
    }

    pub(super) fn end_peer(&self, from: &AgentId) {
        drop(self.end_where(from, |_| true));
    }

    fn end_where(&self, from: &AgentId, which: impl Fn(&Of) -> bool) -> JoinHandle<()> {
        let (shared, from) = (Arc::clone(&self.0), *from);
        let places: Vec<_> = {
            let mut seats = lock(&shared.seats);
            let theirs = |of: &Of, _: &mut Vec<Place>| of.from == from && which(of);
            let places: Vec<_> = seats.of.extract_if(theirs).flat_map(|(_, places)| places).collect();
            *seats.ending.entry(from).or_default() += places.len();
            places
        };
        tokio::spawn(async move {
            let count = places.len();
            end_all(places).await;
            let mut seats = lock(&shared.seats);
            if let Some(ending) = seats.ending.get_mut(&from) {
                *ending = ending.saturating_sub(count);
            }
            seats.ending.retain(|_, ending| *ending > 0);
        })
    }

    pub(super) fn forget(&self, of: &Of, key: u64, reads: bool) {
        let seats = lock(&self.0.seats);
        seats.of.get(of).into_iter().flatten().for_each(|place| {
            lock(&place.open).forget(key, reads);
            // From now on it may be idle.
            let _ = place.commands.send(Command::Look);
        });
    }

    pub(super) async fn stop(&self) {
        let places: Vec<_> = {
            let mut seats = lock(&self.0.seats);
            seats.over = true;
            seats.of.drain().flat_map(|(_, places)| places).collect()
        };
        end_all(places).await;
    }

    /// Finds the seat that takes it, writes it down as open, and queues it there. `None`: a notice that nobody waits for, or what runs already.
    fn place(&self, ask: Ask, reply: Reply, turn: &Turn) -> Result<Option<Arc<Mutex<Open>>>, NotHanded> {
        if ask.envelope.is_request() && ask.envelope.id.as_ref().is_none_or(crate::jsonrpc::Id::is_null) {
            return Err(NotHanded::Id(NO_ID));
        }
        let mut seats = lock(&self.0.seats);
        if seats.over {
            return Err(NotHanded::Ended);
        }
        let mut places = seats.of.get(&ask.of).into_iter().flatten();
        if ask.envelope.is_request() && places.any(|place| lock(&place.open).adopts(&ask)) {
            return Ok(None);
        }
        let chosen = match ask.of.session {
            Some(_) => seats.of.get(&ask.of).and_then(|places| places.first()),
            None if ask.envelope.is_request() => seats
                .of
                .get(&ask.of)
                .and_then(|places| places.iter().find(|place| lock(&place.open).takes(&ask.envelope))),
            None => match seats.the_one_that_has(&ask) {
                None => return Ok(None),
                one => one,
            },
        };
        let known = chosen.cloned();
        let Place { commands, open, over, .. } = match known {
            Some(known) => known,
            None => self.0.seat(&mut seats, ask.of)?,
        };
        if ask.envelope.is_request() {
            lock(&open).add(&ask, turn, self.0.base.bounds.open_max)?;
        }
        let handing = Handing { reply, turn: turn.clone(), over };
        // A seat leaves its place with the lock held, so that one which is found takes what it is sent.
        commands.send(Command::Hand(Box::new(ask), handing)).map_err(|_| NotHanded::Ended)?;
        Ok(Some(open))
    }
}

impl Seats {
    /// What is told without a session is told where the request runs that it names, and that is meant: another's may have the same id.
    fn the_one_that_has(&self, ask: &Ask) -> Option<&Place> {
        let request = ask.envelope.params.request.as_ref()?;
        self.of.get(&ask.of)?.iter().find(|place| lock(&place.open).key_of(request) == Some(ask.key))
    }

    fn of_peer(&self, from: &AgentId) -> usize {
        let seats = self.of.iter().filter(|(of, _)| of.from == *from).map(|(_, places)| places.len());
        seats.chain(self.ending.get(from).copied()).sum()
    }
}

impl Shared {
    fn seat(self: &Arc<Self>, seats: &mut Seats, of: Of) -> Result<Place, NotHanded> {
        let pool = seats.of.get(&of).map_or(0, Vec::len);
        if pool >= if of.session.is_some() { 1 } else { self.base.bounds.pool } {
            return Err(NotHanded::Busy("too many requests of one id at once"));
        }
        if seats.of_peer(&of.from) >= self.base.config.sessions_per_peer {
            return Err(NotHanded::Busy("too many sessions of one agent at once"));
        }
        let (commands, queue) = mpsc::unbounded_channel();
        seats.next += 1;
        let place = Place { no: seats.next, commands, open: Arc::default(), over: Over::default() };
        tokio::spawn(Seat::new(Arc::clone(self), of, place.no, Arc::clone(&place.open), queue).run());
        seats.of.entry(of).or_default().push(place.clone());
        Ok(place)
    }

    /// Takes a seat from its place; `false` where something was sent to it in the meantime.
    fn leave(&self, of: &Of, no: u64, queue: &mpsc::UnboundedReceiver<Command>) -> bool {
        let mut seats = lock(&self.seats);
        if !queue.is_empty() {
            return false;
        }
        if let Some(places) = seats.of.get_mut(of) {
            places.retain(|place| place.no != no);
            if places.is_empty() {
                seats.of.remove(of);
            }
        }
        true
    }
}

impl Drop for Programs {
    /// The seats hear nothing any more, and end.
    fn drop(&mut self) {
        let mut seats = lock(&self.0.seats);
        seats.over = true;
        seats.of.clear();
    }
}

async fn end_all(places: Vec<Place>) {
    let ends: Vec<_> = places
        .into_iter()
        .filter_map(|place| {
            let (reply, ended) = oneshot::channel();
            place.over.set();
            place.commands.send(Command::End(reply)).ok().map(|()| ended)
        })
        .collect();
    for ended in ends {
        let _ = ended.await;
    }
}
