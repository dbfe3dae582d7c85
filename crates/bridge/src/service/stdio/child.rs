//! One program that runs: what it reads, what it writes, and that nothing of it is left.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout};

use super::super::{Base, NotHanded, Reply, lock, spool};
use super::{Handing, READS_NOT, Turn};
use crate::config::Program;
use crate::jsonrpc::{Envelope, NotRead};
use crate::message::{Body, Message};

/// Of a line of its log.
const LOG_LINE_MAX: usize = 1024;
/// How long the end of what a program says is waited for, once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
const PIECE: usize = 64 * 1024;
/// Messages that it wrote and nobody has taken.
const AHEAD: usize = 8;

/// A message to write, and who waits for it.
pub(super) struct Write {
    pub(super) body: Body,
    pub(super) handing: Option<Handing>,
}

/// What it wrote.
pub(super) enum Line {
    Message(Box<Envelope>, Message),
    /// It is not read any further: why.
    Broken(String),
}

/// A program that runs. With this value it ends, and all that it started in its group.
pub(super) struct Running {
    pub(super) lines: mpsc::Receiver<Line>,
    pub(super) input: mpsc::UnboundedSender<Write>,
    pub(super) started: Instant,
    /// It has written a message.
    pub(super) spoke: bool,
    ends: Ends,
    _one_of_all: OwnedSemaphorePermit,
}

/// How it ends.
pub(super) enum Ends {
    /// A process of its own.
    Process {
        /// It.
        child: Child,
        /// What it started.
        group: Group,
        /// What it said last beside its messages.
        last_words: Arc<Mutex<String>>,
        /// Reads that.
        log: Option<JoinHandle<()>>,
    },
    /// In this process, with its stream.
    Stream(#[expect(dead_code, reason = "held until then")] Carriers),
}

/// What reads and writes a stream within this process: both ends are let go of with it.
pub(super) struct Carriers([AbortHandle; 2]);

impl Drop for Carriers {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// A process group of its own. Whoever holds it holds all that the program started, unless that went away from it.
pub(super) struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The system does not say whether it misses the program or the directory.
fn not_started(name: &str, directory: Option<&Path>, error: &io::Error) -> io::Error {
    let what = match directory.filter(|directory| !directory.is_dir()) {
        Some(directory) => format!("{}: there is no such directory", directory.display()),
        None => format!("{name}: {error}"),
    };
    io::Error::new(error.kind(), what)
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// The operating system does not.
    // When this process is killed its group is not: its stdin closes, which tells a program of MCP to end. A signal of the kernel's at the parent's
    // death (PR_SET_PDEATHSIG) has to be asked for between fork and exec, which is unsafe code.
    pub(super) fn start(base: &Base, program: &Program, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let [name, arguments @ ..] = program.command.as_slice() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(name);
        command.args(arguments).env_clear().envs(&program.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let directory = program.directory.as_deref().or_else(|| program.environment.get("HOME").map(AsRef::as_ref));
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|error| not_started(name, directory, &error))?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (input, to_write) = mpsc::unbounded_channel();
        let (read, lines) = mpsc::channel(AHEAD);
        let last_words = Arc::new(Mutex::new(String::new()));
        let mut reads = None;
        if let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) {
            tokio::spawn(write(stdin, to_write, base.bounds.reads_within));
            tokio::spawn(read_all(stdout, base.spool.clone(), read));
            reads = Some(tokio::spawn(log(stderr, base.name.to_string(), Arc::clone(&last_words))));
        }
        let (started, ends) = (Instant::now(), Ends::Process { child, group, last_words, log: reads });
        Ok(Self { lines, input, started, spoke: false, ends, _one_of_all: permit })
    }

    /// What runs in this process, and speaks on a stream.
    pub(super) fn within(base: &Base, stream: DuplexStream, permit: OwnedSemaphorePermit) -> Self {
        let (reads, writes) = tokio::io::split(stream);
        let (input, to_write) = mpsc::unbounded_channel();
        let (read, lines) = mpsc::channel(AHEAD);
        let writing = tokio::spawn(write(writes, to_write, base.bounds.reads_within)).abort_handle();
        let reading = tokio::spawn(read_all(reads, base.spool.clone(), read)).abort_handle();
        let ends = Ends::Stream(Carriers([writing, reading]));
        Self { lines, input, started: Instant::now(), spoke: false, ends, _one_of_all: permit }
    }

    /// What it writes, and what tells that it has ended.
    pub(super) fn parts(&mut self) -> (&mut mpsc::Receiver<Line>, &mut Ends) {
        (&mut self.lines, &mut self.ends)
    }

    /// Ends it: by closing its stdin, by asking, by force.
    pub(super) async fn end(mut self, grace: Duration) {
        drop(std::mem::replace(&mut self.input, mpsc::unbounded_channel().0));
        let Ends::Process { child, group, .. } = &mut self.ends else {
            let ended = async { while self.lines.recv().await.is_some() {} };
            let _ = timeout(grace, ended).await;
            return;
        };
        self.lines.close();
        if timeout(grace, child.wait()).await.is_err() {
            group.signal(Signal::TERM);
            let _ = timeout(grace, child.wait()).await;
        }
    }

    /// It writes no more: how it ended. What is left of it is killed.
    pub(super) async fn epitaph(mut self, name: &str, grace: Duration) -> String {
        let Ends::Process { child, group, last_words, log } = &mut self.ends else {
            tracing::warn!(service = name, "a service in this process has ended a session");
            return "the service has ended".to_owned();
        };
        let status = match timeout(grace, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                group.signal(Signal::KILL);
                child.wait().await
            }
        };
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        // Its last words may still be on their way here; children of its own may hold the pipe open.
        if let Some(log) = log.take() {
            let _ = timeout(LAST_WORDS, log).await;
        }
        // What it said last may hold what is its owner's alone, and goes no further than this log.
        tracing::warn!(service = name, %how, last_words = %lock(last_words), "a service's program has ended");
        format!("the service has ended: {how}")
    }
}

/// Writes messages as lines, one after the other. The end of this is the end of its stdin.
async fn write(mut stdin: impl AsyncWrite + Unpin, mut queue: mpsc::UnboundedReceiver<Write>, within: Duration) {
    while let Some(Write { body, handing }) = queue.recv().await {
        let (reply, turn) = match handing {
            Some(Handing { turn, over, .. }) if over.is() || !turn.take() => continue,
            handing => handing.map(|handing| (handing.reply, handing.turn)).unzip(),
        };
        let mut begins = Begins { reply, turn, within };
        let written = line(&mut stdin, &body, &mut begins).await;
        if let Some(reply) = begins.reply {
            let reads_not = matches!(&written, Err(error) if error.kind() == io::ErrorKind::TimedOut);
            let _ = reply.send(Err(if reads_not { NotHanded::Busy(READS_NOT) } else { NotHanded::Ended }));
            if reads_not {
                // Not a byte of it stands there.
                continue;
            }
        }
        if written.is_err() {
            // Half a line stands there: nothing may follow it.
            break;
        }
    }
    // A stream within this process is not closed by being let go of by one half.
    let _ = stdin.shutdown().await;
}

/// Who waits for the first byte of a message to be written, and how long.
struct Begins {
    reply: Option<Reply>,
    turn: Option<Turn>,
    within: Duration,
}

async fn line(stdin: &mut (impl AsyncWrite + Unpin), body: &Body, begins: &mut Begins) -> io::Result<()> {
    let mut pieces = body.pieces();
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        let blank = in_one_line(&piece);
        put(stdin, blank.as_deref().unwrap_or(&piece), begins).await?;
    }
    put(stdin, b"\n", begins).await
}

/// A message is one line: ends of lines in it are blanks between its tokens (in a text JSON has none), and become spaces. What followed them would be
/// another message to its reader.
fn in_one_line(piece: &[u8]) -> Option<Vec<u8>> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    piece.iter().any(ends).then(|| piece.iter().map(|byte| if ends(byte) { b' ' } else { *byte }).collect())
}

async fn put(stdin: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], begins: &mut Begins) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = match begins.reply.is_some() {
            // A write that is given up has written nothing.
            true => timeout(begins.within, stdin.write(bytes)).await??,
            false => stdin.write(bytes).await?,
        };
        if len == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        begins.turn.take().iter().for_each(Turn::begins);
        if let Some(reply) = begins.reply.take() {
            let _ = reply.send(Ok(()));
        }
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

/// Reads lines until there are none, or nobody takes them.
async fn read_all(stdout: impl AsyncRead + Unpin, place: spool::Place, to: mpsc::Sender<Line>) {
    let mut stdout = BufReader::with_capacity(PIECE, stdout);
    loop {
        let line = match next_line(&mut stdout, &place).await {
            Ok(Some(body)) => match message(body).await {
                Some(line) => line,
                None => continue,
            },
            Ok(None) => return,
            Err(error) => Line::Broken(error.to_string()),
        };
        let broken = matches!(line, Line::Broken(_));
        if to.send(line).await.is_err() || broken {
            return;
        }
    }
}

/// The next line without its end; `None` behind the last. One without an end is none: it was not written whole.
async fn next_line(from: &mut (impl AsyncBufRead + Unpin), place: &spool::Place) -> io::Result<Option<Body>> {
    let mut spool = place.begin();
    loop {
        let piece = from.fill_buf().await?;
        if piece.is_empty() {
            return Ok(None);
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (line, taken) = match end {
            Some(at) => (piece.get(..at).unwrap_or_default(), at + 1),
            None => (piece, piece.len()),
        };
        let pushed = spool.push(line).await;
        from.consume(taken);
        pushed?;
        if end.is_some() {
            return spool.end().await.map(without_return).map(Some);
        }
    }
}

fn without_return(body: Body) -> Body {
    match body {
        Body::Bytes(bytes) if bytes.ends_with(b"\r") => Body::Bytes(bytes.slice(..bytes.len().saturating_sub(1))),
        other => other,
    }
}

/// What a line is; `None` of one that is no message, which a program should not write and some do.
async fn message(body: Body) -> Option<Line> {
    if matches!(&body, Body::Bytes(bytes) if bytes.iter().all(u8::is_ascii_whitespace)) {
        return None;
    }
    let message = Message { body, ..Message::json(bytes::Bytes::new()) };
    let read = match message.body.is_in_memory() {
        true => Envelope::of(&message),
        false => {
            let message = message.clone();
            tokio::task::spawn_blocking(move || Envelope::of(&message)).await.ok()?
        }
    };
    match read {
        Ok(envelope) => Some(Line::Message(Box::new(envelope), message)),
        Err(NotRead::Io(error)) => Some(Line::Broken(error.to_string())),
        Err(why) => {
            tracing::warn!(%why, "a service's program wrote a line that is no message: it is passed over");
            None
        }
    }
}

/// What it says beside its messages, line by line; of a long one its beginning.
async fn log(stderr: impl AsyncRead + Unpin, service: String, last_words: Arc<Mutex<String>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        let piece = match stderr.fill_buf().await {
            Ok(piece) if !piece.is_empty() => piece,
            _ => return,
        };
        let end = piece.iter().position(|byte| *byte == b'\n');
        let room = LOG_LINE_MAX.saturating_sub(line.len());
        line.extend(piece.iter().take(end.unwrap_or(piece.len()).min(room)));
        let taken = end.map_or(piece.len(), |at| at + 1);
        stderr.consume(taken);
        if end.is_some() {
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            tracing::debug!(service, line = %text.escape_debug(), "a service's program says");
            if !text.is_empty() {
                *lock(&last_words) = text;
            }
            line.clear();
        }
    }
}
