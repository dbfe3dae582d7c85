//! One session's program over time: started by a message, brought back after its death, ended when nobody asks.
//!
//! ```text
//!             message                    idle, end
//!   no child ─────────► (replay) ─► child ─────────► over
//!       ▲                             │
//!       └──────── it ends: Gone ──────┘   at once: not again before a while
//! ```

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use nuncio_contracts::registry::limit;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::{Ask, NotHanded, Of, Runner, Said, lock};
use super::child::{Ends, Line, Running, Write};
use super::open::{Open, To};
use super::{Handing, Shared};
use crate::jsonrpc::{Envelope, Id, Kind};
use crate::message::{Body, Message};
use crate::native;

/// What a session is brought back with is kept in memory and, behind the service's name and a byte, in the store.
const INITIALIZE_MAX: usize = nuncio::CALL_MEMORY_MAX - limit::CALL_SERVICE_LEN_MAX - 1;
const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
/// A program that ends sooner ended at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Without a program a seat is kept no longer.
const EMPTY: Duration = Duration::from_secs(60);
/// What it said that nobody has taken; then it is not read any further.
const OUT_MAX: usize = 16;
/// Requests of the program that the other side has not answered.
const ASKED_MAX: usize = 1024;

pub(super) enum Command {
    Hand(Box<Ask>, Handing),
    End(oneshot::Sender<()>),
    /// What is open has changed.
    Look,
}

pub(super) struct Seat {
    shared: Arc<Shared>,
    of: Of,
    no: u64,
    open: Arc<Mutex<Open>>,
    commands: mpsc::UnboundedReceiver<Command>,
    running: Option<Running>,
    /// It has ended: until when what it wrote is read.
    dying: Option<Instant>,
    /// The session's `initialize`, once it was answered.
    initialize: Option<Bytes>,
    /// What goes to the caller, in order.
    out: VecDeque<Said>,
    /// Ids of its own requests that are open.
    asked: HashSet<Id>,
    /// When something last came or went.
    busy: Instant,
    delays: ExponentialBackoff,
    /// Not started before, and why.
    resting: Option<(Instant, String)>,
}

/// What woke it.
enum Woken {
    Command(Option<Command>),
    Line(Option<Line>),
    Died,
    Taken,
    Idle,
    Deaf,
}

impl Seat {
    pub(super) fn new(
        shared: Arc<Shared>,
        of: Of,
        no: u64,
        open: Arc<Mutex<Open>>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let kept = of.session.and_then(|_| (shared.base.remembered)(&of)).map(Bytes::from);
        // What another kind of service kept under this name says nothing to this one.
        let begins = |kept: &Bytes| Envelope::read(kept.as_ref()).is_ok_and(|kept| kept.method == "initialize");
        let initialize = kept.filter(begins);
        Self {
            shared,
            of,
            no,
            open,
            commands,
            running: None,
            dying: None,
            initialize,
            out: VecDeque::new(),
            asked: HashSet::new(),
            busy: Instant::now(),
            delays: delays(),
            resting: None,
        }
    }

    pub(super) async fn run(mut self) {
        let waiting = loop {
            match self.woken().await {
                Woken::Command(Some(Command::Hand(ask, handing))) => self.hand(*ask, handing).await,
                Woken::Command(Some(Command::End(reply))) => break Some(reply),
                Woken::Command(None) | Woken::Deaf => break None,
                Woken::Line(Some(Line::Message(envelope, message))) => self.said(&envelope, message),
                Woken::Line(Some(Line::Broken(why))) => self.gone(Some(why)).await,
                Woken::Line(None) => self.gone(None).await,
                // What it left may hold its stdout open: what comes within the grace is heard.
                Woken::Died => self.dying = Some(Instant::now() + self.shared.base.bounds.grace),
                Woken::Taken | Woken::Command(Some(Command::Look)) => (),
                Woken::Idle if self.shared.leave(&self.of, self.no, &self.commands) => break None,
                Woken::Idle => (),
            }
        };
        self.over(waiting).await;
    }

    async fn woken(&mut self) -> Woken {
        let until = match self.running {
            Some(_) if lock(&self.open).is_empty() => Some(self.busy + self.shared.base.config.idle),
            Some(_) => None,
            None => Some(self.busy + EMPTY),
        };
        // Where there is much to say, the program waits: what it writes stays in its pipe.
        let reading = self.out.len() < OUT_MAX;
        let (lines, child) = self.running.as_mut().map(Running::parts).unzip();
        let child = child.filter(|_| self.dying.is_none());
        tokio::select! {
                   command = self.commands.recv() => Woken::Command(command),
                   permit = self.shared.base.said.reserve(), if !self.out.is_empty() => {
                       let Ok(permit) = permit else { return Woken::Deaf };
                       if let Some(said) = self.out.pop_front() {
        permit.send(said);
        }
                       Woken::Taken
                   }
                   line = next(lines), if reading => Woken::Line(line),
                   () = death(child) => Woken::Died,
                   () = at(self.dying), if reading => Woken::Line(None),
                   () = at(until) => Woken::Idle,
               }
    }

    async fn hand(&mut self, ask: Ask, handing: Handing) {
        self.busy = Instant::now();
        if handing.over.is() {
            // Dropped, it was not handed over.
            return;
        }
        // An answer to what this program did not ask (an earlier one did) would be taken for another.
        if ask.envelope.is_response() && !ask.envelope.id.as_ref().is_some_and(|id| self.asked.remove(id)) {
            let _ = handing.reply.send(Ok(()));
            return;
        }
        let initialize = ask.envelope.method == "initialize" && ask.envelope.is_request() && self.of.session.is_some();
        let ready = match initialize.then(|| short(&ask.message.body)) {
            Some(None) => Err(NotHanded::NotStarted(format!("initialize is longer than {INITIALIZE_MAX} bytes"))),
            Some(Some(bytes)) => {
                ask.envelope.id.iter().for_each(|id| lock(&self.open).keep(id, bytes.clone()));
                self.start(false).await
            }
            None => self.start(true).await,
        };
        let ready = ready.and_then(|()| self.running.as_ref().ok_or(NotHanded::Ended));
        match ready {
            Err(why) => {
                lock(&self.open).was_not_handed(ask.key);
                let _ = handing.reply.send(Err(why));
            }
            // Without a reader it is dropped, and with it the reply: it was not handed over.
            Ok(running) => {
                lock(&self.open).sent(ask.key);
                drop(running.input.send(Write { body: ask.message.body, handing: Some(handing) }));
            }
        }
    }

    /// Starts the program where none runs, and brings the session back in it.
    async fn start(&mut self, replay: bool) -> Result<(), NotHanded> {
        match &self.running {
            Some(running) if running.input.is_closed() => self.gone(Some("it reads no more".to_owned())).await,
            Some(_) => return Ok(()),
            None => (),
        }
        if let Some((until, why)) = &self.resting
            && let Some(wait) = until.checked_duration_since(Instant::now())
        {
            return Err(NotHanded::NotStarted(format!("{why}; it is started again in {} s", wait.as_secs() + 1)));
        }
        let permit = Arc::clone(&self.shared.children).try_acquire_owned();
        let permit = permit.map_err(|_| NotHanded::Busy("too many programs of this service at once"))?;
        let running = match &self.shared.runner {
            Runner::Process(program) => Running::start(&self.shared.base, program, permit),
            Runner::Native(begin) => {
                native::begin(self.of.from, begin).map(|stream| Running::within(&self.shared.base, stream, permit))
            }
        };
        self.running = Some(running.map_err(|error| self.rest(format!("the service does not start: {error}")))?);
        match self.initialize.clone().filter(|_| replay) {
            None => Ok(()),
            Some(initialize) => match timeout(self.shared.base.bounds.patience, self.replay(initialize)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(why)) => Err(self.rest(why)),
                Err(_) => Err(self.rest("the service does not answer".to_owned())),
            },
        }
    }

    /// Says again what began the session, and swallows the answer: the other side has it.
    async fn replay(&mut self, initialize: Bytes) -> Result<(), String> {
        let id = Envelope::read(initialize.as_ref()).ok().and_then(|envelope| envelope.id);
        self.write(initialize);
        loop {
            let lines = self.running.as_mut().map(|running| &mut running.lines);
            let (envelope, message) = match next(lines).await {
                Some(Line::Message(envelope, message)) => (envelope, message),
                Some(Line::Broken(why)) => return Err(why),
                None => return Err(self.buried().await),
            };
            match envelope.kind {
                Kind::Response { error } if envelope.id == id => {
                    self.heard();
                    self.write(Bytes::from_static(INITIALIZED));
                    return if error { Err("the service takes the session back no more".to_owned()) } else { Ok(()) };
                }
                _ if self.out.len() < OUT_MAX => self.said(&envelope, message),
                _ => (),
            }
        }
    }

    fn write(&self, bytes: Bytes) {
        if let Some(running) = &self.running {
            let _ = running.input.send(Write { body: Body::Bytes(bytes), handing: None });
        }
    }

    /// It was not started, or not to an end: not at once again.
    fn rest(&mut self, why: String) -> NotHanded {
        self.running = None;
        let wait = self.delays.next().unwrap_or(EMPTY);
        self.resting = Some((Instant::now() + wait, why.clone()));
        NotHanded::NotStarted(why)
    }

    /// It runs and speaks.
    fn heard(&mut self) {
        (self.busy, self.resting, self.delays) = (Instant::now(), None, delays());
        self.running.iter_mut().for_each(|running| running.spoke = true);
    }

    /// Sends on what the program said.
    fn said(&mut self, envelope: &Envelope, message: Message) {
        self.heard();
        if let Some(id) = envelope.id.as_ref().filter(|_| envelope.is_request() && self.asked.len() < ASKED_MAX) {
            self.asked.insert(id.clone());
        }
        let mut open = lock(&self.open);
        if envelope.is_response() && envelope.id.as_ref().is_some_and(|id| open.bury(id)) {
            return;
        }
        let said = match open.to(envelope) {
            To::Answer(key) => {
                let entry = envelope.id.as_ref().and_then(|id| open.answered(id));
                let good = envelope.kind == Kind::Response { error: false };
                let begun = entry.and_then(|entry| entry.initialize).filter(|_| good);
                let remember = begun.as_ref().map(|bytes| bytes.to_vec());
                self.initialize = begun.or_else(|| self.initialize.take());
                Said::Answer { key, message, remember }
            }
            To::Part(key) => Said::Part { key, message },
            To::Aside if self.of.session.is_some() => Said::Aside { of: self.of, message },
            To::Aside | To::Nobody => {
                tracing::debug!(service = %self.shared.base.name, "a message belongs to nothing that is open");
                return;
            }
        };
        self.out.push_back(said);
    }

    /// It says no more. What is open has ended; what was not written is refused where it waits to be.
    async fn gone(&mut self, why: Option<String>) {
        let at_once =
            self.running.as_ref().is_some_and(|running| !running.spoke && running.started.elapsed() < AT_ONCE);
        let told = self.buried().await;
        let why = why.map_or(told, |why| format!("the service was ended: {why}"));
        if at_once {
            let _ = self.rest(why.clone());
        }
        self.busy = Instant::now();
        let keys = lock(&self.open).ended();
        self.out.push_back(Said::Gone { of: self.of, keys, why });
    }

    async fn buried(&mut self) -> String {
        self.asked.clear();
        self.dying = None;
        match self.running.take() {
            Some(running) => running.epitaph(self.shared.base.name.as_str(), self.shared.base.bounds.grace).await,
            None => "the service has ended".to_owned(),
        }
    }

    /// Nothing is handed over any more; what was said goes out, and the program ends.
    async fn over(mut self, waiting: Option<oneshot::Sender<()>>) {
        self.commands.close();
        if let Some(running) = self.running.take() {
            running.end(self.shared.base.bounds.grace).await;
        }
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
        let keys = lock(&self.open).ended();
        if !keys.is_empty() {
            self.out.push_back(Said::Gone { of: self.of, keys, why: "the session was ended".to_owned() });
        }
        for said in self.out {
            if self.shared.base.said.send(said).await.is_err() {
                return;
            }
        }
    }
}

/// The next line of what runs.
async fn next(lines: Option<&mut mpsc::Receiver<Line>>) -> Option<Line> {
    match lines {
        Some(lines) => lines.recv().await,
        None => pending().await,
    }
}

async fn death(child: Option<&mut Ends>) {
    match child {
        Some(Ends::Process { child, .. }) => drop(child.wait().await),
        // The end of its stream is its end.
        Some(Ends::Stream(_)) | None => pending().await,
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

fn delays() -> ExponentialBackoff {
    let (first, last) = (Duration::from_millis(250), Duration::from_secs(30));
    ExponentialBuilder::default().with_min_delay(first).with_max_delay(last).without_max_times().with_jitter().build()
}

/// The bytes of a message that is not longer than what begins a session.
fn short(body: &Body) -> Option<Bytes> {
    let mut bytes = Vec::new();
    let max = u64::try_from(INITIALIZE_MAX).ok()?;
    body.reader().ok()?.take(max + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= INITIALIZE_MAX).then(|| Bytes::from(bytes))
}
