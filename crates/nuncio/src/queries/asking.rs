//! One stream of queries, as its opener has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_contracts::registry::time;
use nuncio_proto::call::{CallPlace, ServiceName, What};
use nuncio_proto::ids::{CallSessionId, SessionId};
use nuncio_proto::query::{Between, Ephemeral, Opener, QuerySecret, Sealer, Spoken};
use nuncio_proto::secret::Key;
use nuncio_transport::{
    CloseCode, Connection, FrameReceiver, FrameSender, ReadExactError, RecvStream, StreamKind, TransportError,
};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout_at;

use super::{Answered, FRAMES_AT_ONCE, KEYS_LIFE, Queried};
use crate::agent::Agent;
use crate::entropy;

const GOES_ON: u8 = 0;
const OVER: u8 = 1;
const REFUSED: u8 = 2;
const SILENT: u8 = 3;
/// Answers to what was asked last are waited for so long behind the time of the keys.
const LAST_ANSWERS: Duration = Duration::from_millis(2 * time::QUERY_PATIENCE);

/// A stream of queries to a peer: opened by the first, until its keys are old or it breaks.
#[derive(Debug)]
pub(crate) struct Asking {
    connection: Connection,
    between: Between,
    /// Until the stream's keys are made of it.
    secret: Mutex<Option<QuerySecret>>,
    born: Instant,
    state: AtomicU8,
    way: OnceCell<Way>,
}

#[derive(Debug)]
struct Way {
    /// Until the keys are old, or the stream has ended.
    out: Arc<tokio::sync::Mutex<Option<Out>>>,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
pub(super) struct Out {
    pub(super) sender: FrameSender,
    pub(super) sealer: Sealer,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    next: u32,
    open: HashMap<u32, Open>,
    over: bool,
}

/// A query without answer: of which service and session, and who waits.
#[derive(Debug)]
struct Open(ServiceName, Option<CallSessionId>, oneshot::Sender<Queried>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        // What it guards is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a query, and its answer. `None`: nothing is answered any more.
    fn begin(&self, place: &CallPlace) -> Option<(u32, oneshot::Receiver<Queried>)> {
        let mut asked = self.lock();
        let number = asked.next;
        if asked.over {
            return None;
        }
        asked.next = number.checked_add(1)?;
        let (told, answer) = oneshot::channel();
        asked.open.insert(number, Open(place.service.clone(), place.session, told));
        Some((number, answer))
    }

    /// An answer came. `false`: it is another's.
    // contracts/query.md Q9.
    fn end(&self, spoken: Spoken) -> bool {
        let Spoken { number, place, content_type, payload } = spoken;
        let Some(Open(service, session, told)) = self.lock().open.remove(&number) else { return true };
        let good = place
            .as_ref()
            .is_none_or(|place| place.what == What::Answer && place.service == service && place.session == session);
        let answer = match place.filter(|_| good) {
            Some(place) => Queried::Answered(Answered { head: place.head, content_type, payload }),
            None => Queried::Letter,
        };
        // Who asked may have gone.
        let _ = told.send(answer);
        good
    }

    fn end_all(&self) {
        let mut asked = self.lock();
        asked.over = true;
        asked.open.clear();
    }
}

/// A query that is not waited for is forgotten.
struct Numbered<'a>(&'a Waiting, u32);

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        self.0.lock().open.remove(&self.1);
    }
}

/// Dropped, nobody waits for the first word any more.
struct Silent<'a>(Option<&'a AtomicU8>);

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|state| state.store(SILENT, Ordering::Relaxed));
    }
}

impl Asking {
    pub(crate) fn new(connection: Connection, between: Between, secret: QuerySecret) -> Self {
        let (state, way, secret) = (AtomicU8::new(GOES_ON), OnceCell::new(), Mutex::new(Some(secret)));
        Self { connection, between, secret, born: Instant::now(), state, way }
    }

    pub(super) fn is_on(&self, connection: &Connection) -> bool {
        self.connection.is(connection)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.state.load(Ordering::Relaxed) == REFUSED
    }

    /// Nobody has said the first word.
    pub(super) fn is_silent(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SILENT
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.load(Ordering::Relaxed) != GOES_ON || self.way.get().is_some_and(|way| way.waiting.lock().over)
    }

    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    pub(super) const fn session(&self) -> SessionId {
        self.between.session
    }

    /// Asks, and waits for the answer. May be given up while it waits.
    pub(super) async fn ask(&self, agent: &Agent, spoken: Spoken) -> Queried {
        self.try_ask(agent, spoken).await.unwrap_or(Queried::NotAsked)
    }

    async fn try_ask(&self, agent: &Agent, mut spoken: Spoken) -> Option<Queried> {
        let way = self.way.get_or_try_init(|| self.open(agent)).await.ok()?;
        let (number, answer) = way.waiting.begin(spoken.place.as_ref()?)?;
        let _numbered = Numbered(&way.waiting, number);
        spoken.number = number;
        let sent = {
            let mut out = way.out.lock().await;
            let sealed = out.as_mut().and_then(|out| Some((out.sealer.seal(&spoken)?, &mut out.sender)));
            match sealed {
                // What is given up in the middle goes in front of the next.
                Some((frame, sender)) => sender.send_many(&[Bytes::from(frame)]).await.is_ok(),
                None => false,
            }
        };
        if !sent {
            way.waiting.end_all();
            return None;
        }
        answer.await.ok()
    }

    /// Opens it, once: whoever gives that up leaves it to nobody.
    async fn open(&self, agent: &Agent) -> Result<Way, ()> {
        let secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(())?;
        let mut given_up = Silent(Some(&self.state));
        let opened = self.try_open(&secret).await;
        given_up.0 = None;
        match opened {
            Ok((out, recv, opener)) => {
                let (waiting, out) = (Arc::new(Waiting::default()), Arc::new(tokio::sync::Mutex::new(Some(out))));
                let until = tokio::time::Instant::from_std(self.born) + KEYS_LIFE + LAST_ANSWERS;
                agent.spawn_while_running(hear((recv, opener), Arc::clone(&waiting), Arc::clone(&out), until));
                Ok(Way { out, waiting })
            }
            Err(error) => {
                tracing::debug!(peer = %self.between.other, %error, "no stream of queries");
                let refused = matches!(error, TransportError::StreamReset(CloseCode::UNSUPPORTED_STREAM));
                self.state.store(if refused { REFUSED } else { OVER }, Ordering::Relaxed);
                Err(())
            }
        }
    }

    // contracts/query.md Q6.
    async fn try_open(&self, secret: &QuerySecret) -> Result<(Out, RecvStream, Opener), TransportError> {
        let ended = || TransportError::StreamEnded;
        let ephemeral = Ephemeral::of(Key::new(entropy::random().map_err(|_| ended())?));
        let (mut send, mut recv) = self.connection.open(StreamKind::Queries).await?;
        let hello = [self.between.session.as_bytes().as_slice(), ephemeral.public()].concat();
        send.write_all(&hello).await?;
        let mut theirs = [0; 32];
        recv.read_exact(&mut theirs).await.map_err(|error| match error {
            ReadExactError::ReadError(error) => error.into(),
            ReadExactError::FinishedEarly(_) => ended(),
        })?;
        let keys = ephemeral.asking(secret, &self.between, &theirs).map_err(|_| ended())?;
        Ok((Out { sender: FrameSender::new(send), sealer: keys.sealer }, recv, keys.opener))
    }
}

/// Hears answers until the stream ends, its keys are old, or one is not what it must be; then its keys are gone.
// contracts/query.md Q8.
pub(super) async fn hear(
    (recv, mut opener): (RecvStream, Opener),
    waiting: Arc<Waiting>,
    out: Arc<tokio::sync::Mutex<Option<Out>>>,
    until: tokio::time::Instant,
) {
    let mut receiver = FrameReceiver::new(recv);
    let mut frames = Vec::new();
    'hears: while let Ok(Ok(1..)) = timeout_at(until, receiver.recv_many(&mut frames, FRAMES_AT_ONCE)).await {
        for frame in frames.drain(..) {
            if !opener.open(&frame).is_ok_and(|spoken| waiting.end(spoken)) {
                tracing::warn!("a stream of queries is broken off: an answer is not what it must be");
                receiver.stop(CloseCode::PROTOCOL);
                break 'hears;
            }
        }
    }
    waiting.end_all();
    *out.lock().await = None;
}
