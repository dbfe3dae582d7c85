//! A role in a process of its own: what it does there, and how the program that started it talks to it, in lines of JSON.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nuncio::{Agent, Config, Incoming, Invitation};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;

use super::domain::{AUDIT, DOMAIN};
use super::journey::Hop;
use super::roles::{self, Wish};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process is told. It ends with its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// These are the others: name and invitation.
    Meet(Vec<(String, String)>),
    /// For the gateway: a user wants this.
    Wish(Wish),
    /// For the gateway: the user has changed their mind.
    Revoke,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// It runs: its invitation.
    Ready(String),
    /// It knows the others.
    Met,
    /// A letter was delivered to it.
    Hop(Hop),
    /// The gateway's answer to a user.
    Answer(String),
}

/// How this program is started again as an agent: words before the role, its home and the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words(pub(crate) &'static [&'static str]);

/// Plays a role until standard input ends. With `leaks` it tells the tokens too, as a careless log would.
pub(crate) async fn play(role: &str, home: &Path, node: Invitation, leaks: bool) -> Result<()> {
    let mut config = Config::new(home).listen(([127, 0, 0, 1], 0).into()).trust(DOMAIN, node).audit(AUDIT);
    if let Some(rule) = roles::rule(role) {
        config = config.rule(rule);
    }
    let agent = Agent::open(config).await?;
    tell(&Told::Ready(agent.invitation().await?.to_string()))?;
    let me = role.to_owned();
    let seen = move |letter: &Incoming| report(&me, letter, leaks);
    let serving = tokio::spawn(roles::serve(agent.clone(), role.to_owned(), seen));
    follow(&agent).await?;
    agent.shutdown().await?;
    Ok(serving.await??)
}

async fn follow(agent: &Agent) -> Result<()> {
    let changed = Arc::new(Notify::new());
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        match serde_json::from_str(&line)? {
            Order::Meet(others) => {
                for (name, invitation) in others {
                    agent.add_peer(&invitation.parse()?, Some(&name)).await?;
                }
                tell(&Told::Met)?;
            }
            Order::Wish(wish) => {
                let (agent, changed) = (agent.clone(), Arc::clone(&changed));
                tokio::spawn(async move {
                    let answer = roles::gateway(&agent, wish, changed.notified()).await;
                    tell(&Told::Answer(answer.unwrap_or_else(|error| format!("the gateway could not: {error}"))))
                });
            }
            Order::Revoke => changed.notify_one(),
        }
    }
    Ok(())
}

fn report(role: &str, letter: &Incoming, leaks: bool) {
    // Whoever started this process may be gone; it ends soon.
    let _ = Hop::of(role, letter, leaks).map(|hop| tell(&Told::Hop(hop)));
}

fn tell(told: &Told) -> Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    Ok(std::io::stdout().lock().write_all(&line)?)
}

/// An agent's process, as the one that started it sees it. It is killed when this is dropped.
pub(crate) struct Process {
    role: String,
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
    pub(crate) invitation: Invitation,
}

impl Process {
    pub(crate) async fn start(words: Words, role: &str, home: &Path, node: &Invitation) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let place: [OsString; 3] = [role.into(), home.into(), node.to_string().into()];
        command.args(words.0).args(place).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (orders, told) = child.stdin.take().zip(child.stdout.take()).context("the pipes asked for")?;
        let told = BufReader::new(told).lines();
        let mut process = Self { role: role.to_owned(), child, orders, told, invitation: node.clone() };
        match process.next().await? {
            Told::Ready(invitation) => process.invitation = invitation.parse()?,
            other => bail!("{role} begins with {other:?}"),
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) async fn order(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        Ok(self.orders.flush().await?)
    }

    /// Makes others known to it.
    pub(crate) async fn meet(&mut self, others: Vec<(String, String)>) -> Result<()> {
        self.order(&Order::Meet(others)).await?;
        match self.next().await? {
            Told::Met => Ok(()),
            other => bail!("{} was to meet the others, and says {other:?}", self.role),
        }
    }

    /// The next that it tells.
    pub(crate) async fn next(&mut self) -> Result<Told> {
        let line = tokio::time::timeout(PATIENCE, self.told.next_line()).await;
        let line = line.with_context(|| format!("{} says nothing", self.role))??;
        Ok(serde_json::from_str(&line.with_context(|| format!("{} has ended", self.role))?)?)
    }

    pub(crate) async fn hop(&mut self) -> Result<Hop> {
        match self.next().await? {
            Told::Hop(hop) => Ok(hop),
            other => bail!("{} was to get a letter, and says {other:?}", self.role),
        }
    }

    pub(crate) async fn answer(&mut self) -> Result<String> {
        match self.next().await? {
            Told::Answer(answer) => Ok(answer),
            other => bail!("{} was to answer, and says {other:?}", self.role),
        }
    }

    /// Ends its standard input, and waits until it has stopped.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { role, mut child, orders, .. } = self;
        drop(orders);
        let status = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = status.with_context(|| format!("{role} does not stop"))??;
        ensure!(status.success(), "{role} ended with {status}");
        Ok(())
    }
}
