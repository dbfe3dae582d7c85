//! Agents in processes of their own, for the demo, the tests and the kill campaign.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use crate::client::{self, Api};
use crate::failure::Failure;
use crate::seals;
use crate::wire::{Accepted, Id, Named, NewLetter, NewPeer, Status};

/// How long an agent may take to answer after its start; opening a store on a busy machine is most of it.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Where the agent of a home writes its seals down, in test builds: beside it, so that it is there after every restart.
pub(crate) fn seals_of(home: &Path) -> PathBuf {
    home.with_extension("seals")
}

/// How this program is started as `nuncio`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    words: Vec<OsString>,
}

impl Program {
    /// The `nuncio` binary, or another program that becomes it by these words.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, words: &[&str]) -> Self {
        Self { path: path.into(), words: words.iter().map(Into::into).collect() }
    }

    /// The program that runs.
    ///
    /// # Errors
    /// A system that does not say where it is.
    pub fn this(words: &[&str]) -> Result<Self, Failure> {
        let path = std::env::current_exe().map_err(Failure::io("find", "this program"))?;
        Ok(Self::new(path, words))
    }

    /// This program behind another that becomes it: one that sets its surroundings.
    #[must_use]
    pub(crate) fn behind(&self, lead: &str, words: &[String]) -> Self {
        let words = words.iter().map(OsString::from).chain([self.path.clone().into_os_string()]);
        Self { path: lead.into(), words: words.chain(self.words.iter().cloned()).collect() }
    }

    pub(crate) fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.words).arg("--home").arg(home).kill_on_drop(true);
        command.env(seals::FILE, seals_of(home));
        if std::env::var_os("NUNCIO_LOG").is_none() {
            command.env("NUNCIO_LOG", "off");
        }
        command
    }

    /// `nuncio init`: the new identity's DID.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn init(&self, home: &Path) -> Result<String, Failure> {
        let output = self
            .command(home)
            .args(["init", "--json", "--letters-without-token", "deliver"])
            .output()
            .await
            .map_err(Failure::io("start", &self.path))?;
        if !output.status.success() {
            return Err(Failure::Unsound(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let made: Named = serde_json::from_slice(&output.stdout).map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(made.agent)
    }

    /// `nuncio agent`; returns when it answers.
    ///
    /// # Errors
    /// An agent that ended, or does not answer in time.
    pub async fn start(&self, home: &Path, listen: SocketAddr) -> Result<AgentProcess, Failure> {
        self.launch(home, Some(listen)).await
    }

    /// [`Program::start`], of an agent that may take no connections.
    ///
    /// # Errors
    /// As there.
    pub async fn launch(&self, home: &Path, listen: Option<SocketAddr>) -> Result<AgentProcess, Failure> {
        self.launch_with(home, listen, &[]).await
    }

    /// [`Program::launch`], with more words behind `nuncio agent`.
    ///
    /// # Errors
    /// As there.
    pub async fn launch_with(
        &self,
        home: &Path,
        listen: Option<SocketAddr>,
        words: &[&str],
    ) -> Result<AgentProcess, Failure> {
        let mut command = self.command(home);
        command.args(["agent", "--stop-with-stdin"]).args(words);
        if let Some(listen) = listen {
            command.arg("--listen").arg(listen.to_string());
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(Failure::io("start", &self.path))?;
        // Held apart: waiting for a child closes what it still holds of it.
        let stdin = child.stdin.take();
        let api = tokio::select! {
            api = client::wait_until_served(home, START_PATIENCE) => api?,
            ended = child.wait() => {
                let how = ended.map(|status| status.to_string()).unwrap_or_default();
                return Err(Failure::Unsound(format!("the agent of {} ended at once: {how}", home.display())));
            }
        };
        let status: Status = api.get("/v1/status").await?;
        let listening = status.listening.and_then(|address| address.parse().ok()).or(listen);
        Ok(AgentProcess { home: home.to_owned(), listening, child, stdin, api })
    }
}

/// An agent in a process of its own. It is killed when this is dropped, and stops by itself when this process is.
#[derive(Debug)]
pub struct AgentProcess {
    home: PathBuf,
    listening: Option<SocketAddr>,
    child: Child,
    stdin: Option<ChildStdin>,
    api: Api,
}

impl AgentProcess {
    /// Its local API.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The UDP address at which it listens; of one that does not, one that nobody reaches.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening.unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// The UDP address at which it listens, if it does.
    #[must_use]
    pub const fn listens_at(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Adds another agent as a peer.
    ///
    /// # Errors
    /// What its API says.
    pub async fn add(&self, other: &Self, name: &str) -> Result<String, Failure> {
        let id: Id = other.api.get("/v1/id").await?;
        let new = NewPeer { invitation: id.invitation, name: Some(name.to_owned()), knock: None, transaction: None };
        self.api.post::<Named>("/v1/peers", &new).await.map(|named| named.agent)
    }

    /// Sends a text.
    ///
    /// # Errors
    /// What its API says.
    pub async fn send(&self, to: &str, text: &str) -> Result<Accepted, Failure> {
        let letter = NewLetter { to: to.to_owned(), text: Some(text.to_owned()), ..NewLetter::default() };
        self.api.post("/v1/letters", &letter).await
    }

    /// SIGKILL: it can do nothing about it.
    ///
    /// # Errors
    /// What the system says.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::io("kill the agent of", &self.home))
    }

    /// Lets it finish: its standard input ends.
    ///
    /// # Errors
    /// An agent that does not stop.
    pub async fn stop(mut self) -> Result<ExitStatus, Failure> {
        drop(self.stdin.take());
        let ended = tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await;
        let ended =
            ended.map_err(|_| Failure::Unsound(format!("the agent of {} does not stop", self.home.display())))?;
        ended.map_err(Failure::io("wait for the agent of", &self.home))
    }
}
