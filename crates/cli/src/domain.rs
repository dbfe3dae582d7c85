//! A node in a process of its own, for the campaigns: agents need it for their mailboxes, their directory, their tokens and the log of their events.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::failure::Failure;
use crate::process::Program;

/// The trust domain.
pub(crate) const DOMAIN: &str = "acme.example";
const ISSUER: &str = "https://txts.acme.example";
/// What letters need, where they need something.
pub(crate) const SCOPE: &str = "talk";

/// A node that runs.
pub(crate) struct Domain {
    program: Program,
    home: PathBuf,
    ready: Ready,
    child: Child,
}

/// What it says when it is ready.
#[derive(Deserialize)]
struct Ready {
    node: String,
    invitation: String,
    quic: SocketAddr,
    tcp: SocketAddr,
}

impl Domain {
    /// Makes a node for these agents, by their DIDs, and starts it.
    pub(crate) async fn found(program: &Program, dir: &Path, agents: &[String]) -> Result<Self, Failure> {
        let home = dir.join("node");
        let mut init = program.command(&home);
        init.args(["node", "init", "--domain", DOMAIN, "--issuer", ISSUER]).stdout(Stdio::null()).stderr(Stdio::null());
        let made = init.status().await.map_err(Failure::io("make", &home))?;
        if !made.success() {
            return Err(Failure::Unsound("no node was made".to_owned()));
        }
        let policy = home.join("policy.toml");
        let mut text = std::fs::read_to_string(&policy).map_err(Failure::io("read", &policy))?;
        for (at, did) in agents.iter().enumerate() {
            text += &format!(
                "[[client]]\nname = \"agent-{at}\"\ndid = \"{did}\"\n[[client.grant]]\nsubject_types = [\"self_signed\", \"txn_token\"]\n\
                 subjects = [\"user:*\"]\nscope = \"{SCOPE}\"\nreceivers = [\"*\"]\n"
            );
        }
        std::fs::write(&policy, text).map_err(Failure::io("write", &policy))?;
        let (child, ready) = start(program, &home, ([127, 0, 0, 1], 0).into()).await?;
        Ok(Self { program: program.clone(), home, ready, child })
    }

    /// Has an agent's letters need a token of this node, and wait in mailboxes at it. `more` stands behind that in its settings.
    pub(crate) fn settle(&self, home: &Path, more: &str) -> Result<(), Failure> {
        let settings = format!(
            "letters_without_token = \"refuse\"\nmailbox = true\n[trust]\ndomain = \"{DOMAIN}\"\nnode = \"{}\"\n[[needs]]\nscope = \"{SCOPE}\"\n{more}",
            self.ready.invitation
        );
        let file = home.join("nuncio.toml");
        std::fs::write(&file, settings).map_err(Failure::io("write", &file))
    }

    /// Its DID.
    pub(crate) fn node(&self) -> &str {
        &self.ready.node
    }

    /// Where it serves HTTP over agents' connections, and takes deposits.
    pub(crate) const fn quic(&self) -> SocketAddr {
        self.ready.quic
    }

    /// Where it serves HTTP over TCP.
    pub(crate) const fn tcp(&self) -> SocketAddr {
        self.ready.tcp
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::io("kill the node of", &self.home))
    }

    /// Starts it again, where it was.
    pub(crate) async fn rise(&mut self) -> Result<(), Failure> {
        (self.child, self.ready) = start(&self.program, &self.home, self.ready.quic).await?;
        Ok(())
    }
}

async fn start(program: &Program, home: &Path, quic: SocketAddr) -> Result<(Child, Ready), Failure> {
    let mut run = program.command(home);
    run.args(["--json", "node", "run", "--stop-with-stdin", "--listen", "127.0.0.1:0", "--quic", &quic.to_string()]);
    let mut child =
        run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(Failure::io("start the node of", home))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        let read = BufReader::new(stdout).read_line(&mut said).await;
        read.map_err(Failure::io("hear the node of", home))?;
    }
    let ready = serde_json::from_str(&said).map_err(|error| Failure::Broken(format!("a node: {error}")))?;
    Ok((child, ready))
}
