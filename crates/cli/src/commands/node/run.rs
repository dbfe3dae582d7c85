//! `nuncio node run` and `nuncio node check`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio::Invitation;
use nuncio_node::{Config, Node, Tls};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind};

use super::init::POLICY;
use super::made_home;
use crate::cli::Options;
use crate::commands::agent::{address, endpoint};
use crate::ending::{Signals, listen, stdin_ended};
use crate::failure::Failure;
use crate::{image, output};

/// Runs the node until SIGTERM or SIGINT; SIGHUP has it read its policy again.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio node run                               HTTP on loopback alone\n  nuncio node run --quic 0.0.0.0:7431 --advertise node.acme.example:7431    agents ask over their own connections\n  nuncio node run --listen 0.0.0.0:443 --tls-cert c.pem --tls-key k.pem\n\nWhen it is ready it prints who it is and where, and with --quic the line to paste as `node` under [trust] in an agent's nuncio.toml (--json: one object). Its endpoints are described in contracts/openapi/node.yaml. `nuncio node page` prints a link that shows it in a browser."
)]
pub(crate) struct Run {
    /// TCP address for HTTP; port 0 takes a free one. Beyond loopback only with a certificate
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7430", value_parser = address)]
    listen: SocketAddr,
    /// No TCP at all
    #[arg(long, conflicts_with = "listen")]
    no_tcp: bool,
    /// UDP address for QUIC; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = address)]
    quic: Option<SocketAddr>,
    /// Where agents reach it, for the line that names it to them; by default the address of --quic
    #[arg(long, value_name = "HOST:PORT", requires = "quic", value_parser = endpoint)]
    advertise: Vec<String>,
    /// Certificate chain for TCP (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    policy: Policy,
    /// Stop when standard input ends, for a program that starts the node and must not leave it behind
    #[arg(long)]
    stop_with_stdin: bool,
}

/// Looks whether a policy can be used, without starting anything.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    policy: Policy,
}

#[derive(Args)]
struct Policy {
    /// The policy file [default: policy.toml in the home]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Ready<'a> {
    node: String,
    tcp: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<String>,
    owner_socket: &'a Path,
}

impl Policy {
    fn path(&self, options: &Options) -> Result<PathBuf, Failure> {
        self.policy.clone().map_or_else(|| Ok(options.node_home()?.join(POLICY)), Ok)
    }
}

impl Check {
    pub(crate) fn run(self, options: &Options) -> Result<(), Failure> {
        nuncio_node::check(&self.policy.path(options)?)?;
        output::note("the policy can be used");
        Ok(())
    }
}

impl Run {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        // Before the store is open, so that no signal finds nobody at home.
        let (mut signals, mut hangups) = (Signals::new()?, listen(SignalKind::hangup())?);
        let node = Node::start(self.config(options)?).await?;
        image::close();
        if let Err(failure) = announce(options, &node, &self.advertise) {
            tracing::warn!(%failure, "nobody was told that the node is ready");
        }
        let why = tokio::select! {
            name = signals.next() => name,
            () = stdin_ended(self.stop_with_stdin) => "end of standard input",
            () = reload_on(&mut hangups, &node) => "no more signals",
        };
        tracing::info!(why, "stopping: what is under way is answered first");
        tokio::select! {
            stopped = node.stop() => {
                stopped?;
                tracing::info!("stopped");
                Ok(())
            }
            again = signals.next() => Err(Failure::Unsound(format!("{again} again: stopped at once, as if killed"))),
        }
    }

    fn config(&self, options: &Options) -> Result<Config, Failure> {
        let home = made_home(options)?;
        let mut config = Config::new(&home, options.unlock.kek(&home)?, self.policy.path(options)?);
        config.tcp = (!self.no_tcp).then_some(self.listen);
        config.quic = self.quic;
        let tls = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        config.tls = tls.map(|(cert, key)| Tls { cert: cert.clone(), key: key.clone() });
        Ok(config)
    }
}

async fn reload_on(hangups: &mut Signal, node: &Node) {
    while hangups.recv().await.is_some() {
        match node.reload().await {
            Ok(()) => tracing::info!("the policy was read again and is in force"),
            Err(error) => tracing::error!(%error, "the policy was not taken: the former stays in force"),
        }
    }
}

/// The line that names a node to agents, who ask over QUIC alone. All addresses are none that somebody else could dial.
fn invitation(node: &Node, advertised: &[String]) -> Option<Invitation> {
    let quic = node.quic_addr()?;
    let dialled = Some(quic).filter(|address| advertised.is_empty() && !address.ip().is_unspecified());
    let endpoints = dialled.map(|address| address.to_string()).into_iter().chain(advertised.iter().cloned()).collect();
    Some(Invitation { agent: node.id(), endpoints, mailbox: None, bundle_hash: None, knock: None })
}

fn announce(options: &Options, node: &Node, advertised: &[String]) -> Result<(), Failure> {
    let invitation = invitation(node, advertised);
    let ready = Ready {
        node: node.id().to_string(),
        tcp: node.tcp_addr(),
        quic: node.quic_addr(),
        invitation: invitation.as_ref().map(ToString::to_string),
        owner_socket: node.owner_socket(),
    };
    if options.json {
        return output::json(&ready);
    }
    let at =
        |name: &str, address: Option<SocketAddr>| address.map_or(String::new(), |address| format!(" {name} {address}"));
    output::line(format_args!("{} serves{}{}", ready.node, at("TCP", ready.tcp), at("QUIC", ready.quic)))?;
    if ready.tcp.is_some() {
        output::note("`nuncio node page` prints a link that shows it in a browser");
    }
    let Some(invitation) = invitation else { return Ok(()) };
    output::line(&invitation)?;
    if invitation.endpoints.is_empty() {
        output::note(
            "that line has no address: the node listens on all of them, so say which with --advertise HOST:PORT",
        );
    }
    Ok(())
}
