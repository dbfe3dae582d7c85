//! What an MCP client starts: a program whose input and output are one service of another agent (contracts/call.md section 6).
//!
//! ```text
//!   input  ─▶ lines ─▶ a letter's id, said again until the agent has it
//!   output ◀─ lines ◀─ what came, in order; taken once it was written
//! ```
//!
//! The agent may die and come again in between: nothing is said twice, and what was written is not written again.

mod lines;
mod remote;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nuncio_contracts::registry::limit;
use nuncio_proto::call::What;
use nuncio_proto::ids::{CallSessionId, LetterId};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::front::LOOKED_AT;
use crate::front::fault::Fault;
use crate::front::fault::{OWN_ERROR_MAX, named};
use crate::front::letter_id;
use crate::front::reading::{self, Kind, RpcId, Unread};
use crate::local::Frame;
use lines::{Line, Lines};
pub use remote::Remote;
use remote::{Coming, RemoteError, Saying};

/// How long an agent may take to be there at the start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers may take to come once the program says nothing more.
const LINGER: Duration = Duration::from_millis(1500);
/// How long nothing may come before whoever started the program is told why.
const SILENCE: Duration = Duration::from_secs(1);
/// The first pause before the agent is asked again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// Requests of a service that the program has not answered; the oldest are forgotten.
const ASKED_MAX: usize = 256;

/// Why a shim ended otherwise than by its input's end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// No agent was there in time.
    #[error("{0}")]
    NoAgent(String),
    /// The agent says no.
    #[error("{message}")]
    Refused {
        /// The local API's word for it.
        code: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Until the input ended nothing came of the service at all.
    #[error("nothing has come of the service: what was asked was answered with an error")]
    Unheard,
    /// The program's end of a pipe.
    #[error("the program that started this one does not go on: {0}")]
    Io(#[from] io::Error),
}

impl From<RemoteError> for ShimError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Away(why) => Self::NoAgent(why),
            RemoteError::Refused { code, message } => Self::Refused { code, message },
        }
    }
}

/// What both directions know.
struct Shim {
    remote: Remote,
    session: CallSessionId,
    state: Mutex<State>,
    /// An answer was written.
    answered: Notify,
    /// A request came.
    began: Notify,
    /// Something came of the service.
    hears: Notify,
}

#[derive(Default)]
struct State {
    /// Requests without answer, with their ids as they were written.
    waiting: HashMap<LetterId, String>,
    /// Errors of ours that are not written.
    errors: usize,
    /// A request is with the agent, in a letter.
    said: bool,
    /// Something came of the service.
    heard: bool,
    asked: VecDeque<(RpcId, LetterId)>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.errors == 0
    }
}

/// An error of ours, or an answer that came at once, for the output, and the request that it answers.
struct Own(Option<LetterId>, Bytes);

/// Carries messages between a program and a service until the input ends, the service ends the session, or `stopping` is cancelled.
///
/// # Errors
/// No agent is there, it refuses the service, the program's pipes break, or nothing was heard of the service.
pub async fn run(
    remote: Remote,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
    stopping: CancellationToken,
) -> Result<(), ShimError> {
    run_telling(remote, input, output, stopping, std::future::ready(())).await
}

/// [`run`], and `tell` from when a request was said and nothing has come of the service for a moment, until something has.
///
/// # Errors
/// As [`run`].
pub async fn run_telling(
    remote: Remote,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
    stopping: CancellationToken,
    tell: impl Future<Output = ()>,
) -> Result<(), ShimError> {
    let mut session = [0; 16];
    getrandom::fill(&mut session).map_err(io::Error::other)?;
    let (session, state) = (CallSessionId::from_bytes(session), Mutex::default());
    let (answered, began, hears) = (Notify::new(), Notify::new(), Notify::new());
    let shim = Arc::new(Shim { remote, session, state, answered, began, hears });
    let coming = shim.begin().await?;
    let (own, errors) = mpsc::channel(8);
    let (had, taking) = mpsc::channel(1024);
    let taker = tokio::spawn(Arc::clone(&shim).take(taking));
    let ended = tokio::select! {
        written = shim.write(coming, output, errors, had) => written,
        read = shim.read(input, own) => match read {
            Ok(()) => shim.say_end().await.and_then(|()| shim.was_heard()),
            Err(error) => Err(error.into()),
        },
        () = stopping.cancelled() => shim.say_end().await,
        () = shim.tell_silence(tell) => Ok(()),
    };
    let _ = tokio::time::timeout(LINGER, taker).await;
    ended
}

impl Shim {
    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards stays whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self) -> Result<Coming, ShimError> {
        let until = Instant::now() + START_PATIENCE;
        let mut pause = PAUSE.0;
        loop {
            match self.remote.listen(self.session, None).await {
                Err(RemoteError::Away(_)) if Instant::now() < until => rest(&mut pause).await,
                begun => return Ok(begun?),
            }
        }
    }

    /// Says every line of the input, in order. Returns once the input has ended and what was asked is answered, or has had its time.
    async fn read(&self, input: impl AsyncRead + Unpin, own: mpsc::Sender<Own>) -> io::Result<()> {
        let max = usize::try_from(limit::CALL_REQUEST_MAX).unwrap_or(usize::MAX);
        let mut lines = Lines::new(input, max);
        while let Some(line) = lines.next().await? {
            let error = match line {
                Line::TooLong => Some(Own(None, Fault::too_large().message(None))),
                Line::Whole(bytes) if bytes.trim_ascii().is_empty() => None,
                Line::Whole(bytes) => self.line(bytes).await,
            };
            if let Some(error) = error {
                self.state().errors += 1;
                own.send(error).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
        }
        let _ = tokio::time::timeout(LINGER, self.all_answered()).await;
        self.give_up(&own).await;
        Ok(())
    }

    fn hear(&self) {
        self.state().heard = true;
        self.hears.notify_one();
    }

    fn was_heard(&self) -> Result<(), ShimError> {
        let state = self.state();
        if state.said && !state.heard { Err(ShimError::Unheard) } else { Ok(()) }
    }

    /// Answers what has no answer: its letter may be done, or be on its way.
    // contracts/call.md X27.
    async fn give_up(&self, own: &mpsc::Sender<Own>) {
        let waiting: Vec<_> = self.state().waiting.iter().map(|(id, rpc)| (*id, rpc.clone())).collect();
        let told = async {
            for (id, rpc) in waiting {
                self.state().errors += 1;
                // Where nobody writes any more nobody reads.
                if own.send(Own(Some(id), Fault::unanswered().message(Some(&rpc)))).await.is_err() {
                    return;
                }
            }
            self.all_answered().await;
        };
        let _ = tokio::time::timeout(LINGER, told).await;
    }

    /// Never returns.
    async fn tell_silence(&self, tell: impl Future<Output = ()>) {
        self.began.notified().await;
        tokio::time::sleep(SILENCE).await;
        tokio::select! {
            biased;
            () = self.hears.notified() => {}
            () = tell => {}
        }
        std::future::pending().await
    }

    async fn all_answered(&self) {
        loop {
            let answered = self.answered.notified();
            if self.state().is_idle() {
                return;
            }
            answered.await;
        }
    }

    /// Says one line. An error, or the answer where it came at once, is for the output.
    async fn line(&self, bytes: Bytes) -> Option<Own> {
        let reading = match reading::read(bytes.as_ref()) {
            Ok(reading) => reading,
            Err(Unread::Json(why)) => return Some(Own(None, Fault::no_json(format!("no JSON: {why}")).message(None))),
            Err(Unread::Rpc(why)) => return Some(Own(None, Fault::malformed(why).message(None))),
        };
        let id = letter_id();
        let (what, reply_to, note) = match &reading.kind {
            Kind::Request(rpc) => {
                self.state().waiting.insert(id, rpc.raw().to_owned());
                self.began.notify_one();
                (What::Request, None, rpc.raw().to_owned())
            }
            Kind::Response(Some(rpc)) => (What::Notice, self.asked(rpc), String::new()),
            Kind::Notification | Kind::Response(None) => (What::Notice, None, String::new()),
        };
        let saying = Saying { id, what, session: self.session, reply_to, bytes, note };
        let (mut pause, mut again) = (PAUSE.0, false);
        loop {
            match self.remote.say(&saying, again).await {
                Ok(None) => {
                    self.state().said |= saying.what == What::Request;
                    return None;
                }
                // It was asked without a letter: the answer is for the output.
                Ok(Some(answer)) => {
                    self.hear();
                    let answer = named(&answer, &saying.note).map_or(answer, Bytes::from);
                    return Some(Own(Some(id), without_ends(answer)));
                }
                Err(RemoteError::Away(why)) => {
                    tracing::debug!(why, "said again");
                    again = true;
                    rest(&mut pause).await;
                }
                Err(RemoteError::Refused { code, message }) if saying.what == What::Request => {
                    let fault = if code == "denied" { Fault::denied(message) } else { Fault::failed(message) };
                    return Some(Own(Some(id), fault.message(Some(&saying.note))));
                }
                Err(RemoteError::Refused { message, .. }) => {
                    tracing::warn!(message, "a message was not accepted");
                    return None;
                }
            }
        }
    }

    fn asked(&self, rpc: &RpcId) -> Option<LetterId> {
        let mut state = self.state();
        let at = state.asked.iter().position(|(known, _)| known == rpc)?;
        state.asked.remove(at).map(|(_, letter)| letter)
    }

    async fn say_end(&self) -> Result<(), ShimError> {
        let (id, what, session) = (letter_id(), What::End, self.session);
        let saying = Saying { id, what, session, reply_to: None, bytes: Bytes::new(), note: String::new() };
        let mut pause = PAUSE.0;
        let until = Instant::now() + LINGER;
        while let Err(error) = self.remote.say(&saying, true).await {
            if Instant::now() >= until || matches!(error, RemoteError::Refused { .. }) {
                tracing::warn!(%error, "the session's end was not said");
                break;
            }
            rest(&mut pause).await;
        }
        Ok(())
    }

    /// Writes what comes, in order, and goes on behind it when the agent comes again.
    async fn write(
        &self,
        mut coming: Coming,
        mut output: impl AsyncWrite + Unpin,
        mut errors: mpsc::Receiver<Own>,
        had: mpsc::Sender<u64>,
    ) -> Result<(), ShimError> {
        let mut place = Place::default();
        loop {
            let frame = tokio::select! {
                // In the middle of a message nothing else is written.
                Some(own) = errors.recv(), if place.written == 0 => {
                    self.own(own, &mut output).await?;
                    continue;
                }
                frame = coming.next() => frame,
            };
            let written = match frame {
                Ok(frame) if Some(frame.no) <= place.after => Err(RemoteError::Away("an old message".to_owned())),
                Ok(frame) => self.message(&frame, &mut coming, &mut output, &mut place).await?.map(|()| frame),
                Err(error) => Err(error),
            };
            match written {
                Ok(frame) => {
                    if frame.what != "failed" {
                        self.hear();
                    }
                    place = Place { after: Some(frame.no), no: 0, written: 0 };
                    let _ = had.send(frame.no).await;
                    if frame.what == "end" {
                        return Ok(());
                    }
                    self.settled(frame.request.filter(|_| frame.what != "part").and_then(|id| id.parse().ok()));
                }
                Err(RemoteError::Away(_)) => {
                    let again = self.again(place.after);
                    tokio::pin!(again);
                    coming = loop {
                        tokio::select! {
                            // What is ours needs no agent.
                            Some(own) = errors.recv(), if place.written == 0 => self.own(own, &mut output).await?,
                            begun = &mut again => break begun?,
                        }
                    };
                }
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    /// Writes a message of ours, unless what came in between has answered its request.
    async fn own(&self, own: Own, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Own(request, bytes) = own;
        if request.is_none_or(|id| self.state().waiting.contains_key(&id)) {
            line(output, &bytes).await?;
        }
        self.state().errors -= 1;
        self.settled(request);
        Ok(())
    }

    async fn again(&self, after: Option<u64>) -> Result<Coming, ShimError> {
        let mut pause = PAUSE.0;
        loop {
            match self.remote.listen(self.session, after).await {
                Err(RemoteError::Away(why)) => {
                    tracing::debug!(why, "waited for");
                    rest(&mut pause).await;
                }
                begun => return Ok(begun?),
            }
        }
    }

    /// Writes one message; of one that was begun before, what is left. The inner error is the agent's.
    async fn message(
        &self,
        frame: &Frame,
        coming: &mut Coming,
        output: &mut (impl AsyncWrite + Unpin),
        place: &mut Place,
    ) -> Result<Result<(), RemoteError>, ShimError> {
        if frame.what == "failed" {
            let id = frame.note.as_deref().and_then(|note| data_encoding::HEXLOWER.decode(note.as_bytes()).ok());
            let id = id.and_then(|id| String::from_utf8(id).ok()).filter(|id| !id.is_empty());
            let id = id.or_else(|| self.id_of(frame));
            let why = frame.why.as_deref().unwrap_or("it was not delivered");
            line(output, &Fault::failed(why).message(id.as_deref())).await?;
            return Ok(Ok(()));
        }
        if frame.what == "end" {
            return Ok(Ok(()));
        }
        // contracts/call.md X6: nobody waits for it any more, or has ever.
        if place.written == 0 && frame.request.is_some() && self.id_of(frame).is_none() {
            return Ok(passed_over(coming).await);
        }
        if place.written > 0 && place.no != frame.no {
            // What was begun does not come any more: its line ends as it is.
            line(output, b"").await?;
            place.written = 0;
        }
        place.no = frame.no;
        let mut seen = BytesMut::new();
        let looks = frame.what != "answer" && frame.len <= LOOKED_AT;
        let mut skip = place.written;
        let own =
            self.id_of(frame).filter(|_| place.written == 0 && frame.what == "answer" && frame.len <= OWN_ERROR_MAX);
        loop {
            let piece = match coming.piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            if looks {
                seen.extend_from_slice(&piece);
            }
            let named =
                own.as_deref().and_then(|id| named(&piece, id)).filter(|_| u64::try_from(piece.len()) == Ok(frame.len));
            if let Some(named) = named {
                output.write_all(&named).await?;
                place.written = frame.len;
                continue;
            }
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            let fresh = piece.slice(known..);
            skip = skip.saturating_sub(u64::try_from(known).unwrap_or(u64::MAX));
            output.write_all(&without_ends(fresh.clone())).await?;
            place.written = place.written.saturating_add(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
        }
        // Before the program can answer it.
        if looks {
            self.look(&seen, frame);
        }
        output.write_all(b"\n").await?;
        output.flush().await?;
        Ok(Ok(()))
    }

    /// The id of the request that a message answers, where it waits for one.
    fn id_of(&self, frame: &Frame) -> Option<String> {
        let request = frame.request.as_ref()?.parse().ok()?;
        self.state().waiting.get(&request).cloned()
    }

    /// Keeps under which letter a service asks.
    fn look(&self, bytes: &[u8], frame: &Frame) {
        let (Ok(reading), Ok(letter)) = (reading::read(bytes), frame.id.parse()) else { return };
        let Kind::Request(rpc) = reading.kind else { return };
        let mut state = self.state();
        state.asked.push_back((rpc, letter));
        if state.asked.len() > ASKED_MAX {
            state.asked.pop_front();
        }
    }

    fn settled(&self, request: Option<LetterId>) {
        if let Some(request) = request {
            self.state().waiting.remove(&request);
        }
        self.answered.notify_one();
    }

    /// Tells the agent what was written, until it knows.
    async fn take(self: Arc<Self>, mut taking: mpsc::Receiver<u64>) {
        while let Some(no) = taking.recv().await {
            let mut pause = PAUSE.0;
            while let Err(RemoteError::Away(_)) = self.remote.taken(no).await {
                rest(&mut pause).await;
            }
        }
    }
}

/// Reads a message that is for nobody.
async fn passed_over(coming: &mut Coming) -> Result<(), RemoteError> {
    while coming.piece().await?.is_some() {}
    Ok(())
}

/// How far the output is.
#[derive(Default)]
struct Place {
    /// The last number that was written whole.
    after: Option<u64>,
    /// The one behind it, and bytes of it that were written.
    no: u64,
    written: u64,
}

async fn rest(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = pause.saturating_mul(2).min(PAUSE.1);
}

async fn line(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes).await?;
    output.write_all(b"\n").await?;
    output.flush().await
}

/// A message is one line: ends of lines, which JSON has between its tokens alone, become spaces.
fn without_ends(piece: Bytes) -> Bytes {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !piece.iter().any(is_end) {
        return piece;
    }
    piece.iter().map(|byte| if is_end(byte) { b' ' } else { *byte }).collect()
}
