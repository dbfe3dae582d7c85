//! A member's process, as the one that started it sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nuncio::Invitation;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::member::{Heard, Order, Told};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// How this program is started again as a member: words before its home and its port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words(pub(crate) &'static [&'static str]);

/// A member, whether or not its process runs.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    home: PathBuf,
    words: Words,
    invitation: Option<Invitation>,
    running: Option<Running>,
}

/// It is killed when this is dropped.
struct Running {
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Member {
    pub(crate) fn new(name: &'static str, dir: &Path, words: Words) -> Self {
        Self { name, home: dir.join(name), words, invitation: None, running: None }
    }

    /// Starts its process; where it was before, if it ran before.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let port = self.invitation.as_ref().and_then(|line| line.endpoints.first()?.rsplit_once(':'));
        let port = port.map_or("0", |(_, port)| port);
        let mut command = Command::new(std::env::current_exe()?);
        let place: [OsString; 2] = [self.home.as_os_str().to_owned(), port.into()];
        command.args(self.words.0).args(place).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (orders, told) = child.stdin.take().zip(child.stdout.take()).context("the pipes asked for")?;
        self.running = Some(Running { child, orders, told: BufReader::new(told).lines() });
        match self.next().await? {
            Told::Ready(invitation) => self.invitation = Some(invitation.parse()?),
            other => bail!("{} begins with {other:?}", self.name),
        }
        Ok(())
    }

    pub(crate) fn invitation(&self) -> Result<&Invitation> {
        self.invitation.as_ref().with_context(|| format!("{} was never there", self.name))
    }

    /// Its DID.
    pub(crate) fn id(&self) -> Result<String> {
        Ok(self.invitation()?.agent.to_string())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    pub(crate) const fn is_there(&self) -> bool {
        self.running.is_some()
    }

    /// Gives an order; its answers come with [`Member::next`].
    pub(crate) async fn order(&mut self, order: &Order) -> Result<()> {
        let running = self.running.as_mut().with_context(|| format!("{} is away", self.name))?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        running.orders.write_all(&line).await?;
        Ok(running.orders.flush().await?)
    }

    /// The next that it tells.
    pub(crate) async fn next(&mut self) -> Result<Told> {
        let name = self.name;
        let running = self.running.as_mut().with_context(|| format!("{name} is away"))?;
        let line = tokio::time::timeout(PATIENCE, running.told.next_line()).await;
        let line = line.with_context(|| format!("{name} says nothing"))??;
        Ok(serde_json::from_str(&line.with_context(|| format!("{name} has ended"))?)?)
    }

    pub(crate) async fn ask(&mut self, order: Order) -> Result<Told> {
        self.order(&order).await?;
        match self.next().await? {
            Told::Refused(why) => bail!("{} was told {order:?}, and cannot: {why}", self.name),
            told => Ok(told),
        }
    }

    /// Says something to all: the letter's id.
    pub(crate) async fn say(&mut self, text: String) -> Result<String> {
        match self.ask(Order::Say(text)).await? {
            Told::Said(id, _) => Ok(id),
            other => bail!("{} was to say something, and answers {other:?}", self.name),
        }
    }

    pub(crate) async fn read(&mut self) -> Result<Vec<Heard>> {
        match self.ask(Order::Read).await? {
            Told::Letters(letters) => Ok(letters),
            other => bail!("{} was to say what it has read, and answers {other:?}", self.name),
        }
    }

    /// Everybody who is in as far as it knows, and whether it is itself.
    pub(crate) async fn members(&mut self) -> Result<(Vec<String>, bool)> {
        match self.ask(Order::Members).await? {
            Told::Members(members, is_in) => Ok((members, is_in)),
            other => bail!("{} was to say who is in, and answers {other:?}", self.name),
        }
    }

    /// Ends its standard input, and waits until it has stopped.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(Running { mut child, orders, .. }) = self.running.take() else { return Ok(()) };
        drop(orders);
        let status = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = status.with_context(|| format!("{} does not stop", self.name))??;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// SIGKILL: it can do nothing about it.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            running.child.kill().await?;
        }
        Ok(())
    }
}
