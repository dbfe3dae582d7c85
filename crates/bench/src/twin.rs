//! Another agent in another process: this program again, told by its environment to be the receiver.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use nuncio::{Agent, Config, Payload, Trace};
use nuncio_store::Op;

/// Set for the child: its home.
pub(crate) const CHILD_HOME: &str = "NUNCIO_BENCH_CHILD_HOME";

/// The writes of a run: for each commit the keys, with the value's length where one was put.
pub(crate) type Batches = Vec<Vec<(Vec<u8>, Option<usize>)>>;

/// Collects the writes of an agent.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Batches>>);

impl Recorder {
    pub(crate) fn trace(&self) -> Trace {
        let batches = Arc::clone(&self.0);
        Trace::new(move |ops: &[Op]| {
            let batch = ops.iter().map(|op| match op {
                Op::Put { key, value } => (key.clone(), Some(value.len())),
                Op::Delete { key } => (key.clone(), None),
            });
            batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch.collect());
        })
    }

    pub(crate) fn take(&self) -> Batches {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A process of this program, told by its environment what it is, and its two lines of talk.
pub(crate) struct Spoken {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Spoken {
    pub(crate) fn start(what: &str, home: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(what, home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, input, output })
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// The next line that it says.
    pub(crate) fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Says a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        self.tell(line)?;
        self.answer()
    }

    /// Waits until it has ended; nothing more is said.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}

/// The other agent.
pub(crate) struct Twin {
    process: Spoken,
    pub(crate) invitation: nuncio::Invitation,
}

impl Twin {
    pub(crate) fn start(home: &Path) -> Result<Self> {
        let mut process = Spoken::start(CHILD_HOME, home)?;
        let invitation = process.answer()?.parse()?;
        Ok(Self { process, invitation })
    }

    /// Says a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        self.process.ask(line)
    }

    /// Ends it and takes what it wrote.
    pub(crate) fn finish(mut self) -> Result<Batches> {
        let batches = serde_json::from_str(&self.ask("finish")?)?;
        self.process.end()?;
        Ok(batches)
    }
}

/// Both agents, talking, with what each writes.
pub(crate) struct Talk {
    pub(crate) agent: Agent,
    pub(crate) twin: Twin,
    pub(crate) recorder: Recorder,
    pub(crate) dir: tempfile::TempDir,
}

impl Talk {
    pub(crate) async fn begin() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut twin = Twin::start(&dir.path().join("twin"))?;
        let recorder = Recorder::default();
        let mut config = Config::new(dir.path().join("agent")).listen("127.0.0.1:0".parse()?).letters_without_token();
        config.trace = Some(recorder.trace());
        let agent = Agent::open(config).await?;
        twin.ask(&agent.invitation().await?.to_string())?;
        agent.add_peer(&twin.invitation, Some("twin")).await?;
        let id = agent.send(twin.invitation.agent, nuncio::Message::text("first")).await?;
        agent.delivered(twin.invitation.agent, id).await?;
        Ok(Self { agent, twin, recorder, dir })
    }
}

/// The child: takes every letter, removes it unless it was told to keep them, and answers on its output.
pub(crate) fn be_the_other(home: &Path) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(serve(home))
}

async fn serve(home: &Path) -> Result<()> {
    let recorder = Recorder::default();
    let mut config = Config::new(home).listen("127.0.0.1:0".parse()?).letters_without_token();
    config.trace = Some(recorder.trace());
    let agent = Agent::open(config).await?;
    say(&agent.invitation().await?.to_string())?;
    let mut inbox = agent.inbox().await?;
    let taking = agent.clone();
    let keep = Arc::new(AtomicBool::new(false));
    let keeping = Arc::clone(&keep);
    tokio::spawn(async move {
        while let Ok(letter) = inbox.next().await {
            if keeping.load(Ordering::Relaxed) {
                continue;
            }
            let taking = taking.clone();
            if let Payload::Large(large) = &letter.payload {
                // Whole before it is removed.
                let _ = large.whole().await;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            tokio::spawn(async move { taking.done(letter.no).await });
        }
    });
    let mut lines = BufReader::new(std::io::stdin()).lines();
    while let Some(line) = lines.next().transpose()? {
        match line.as_str() {
            "finish" => {
                agent.shutdown().await?;
                say(&serde_json::to_string(&recorder.take())?)?;
                return Ok(());
            }
            "keep" => {
                keep.store(true, Ordering::Relaxed);
                say("kept")?;
            }
            "forget" => {
                drop(recorder.take());
                say("forgotten")?;
            }
            invitation => {
                agent.add_peer(&invitation.parse()?, None).await?;
                say("added")?;
            }
        }
    }
    Ok(())
}

/// Says a line to the process that began this one.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
