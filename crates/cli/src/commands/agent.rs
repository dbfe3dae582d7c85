//! `nuncio agent`

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use nuncio::{Agent, Config};
use nuncio_bridge::{Bridge, Gateway, GatewayConfig};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind};

use crate::cli::Options;
use crate::ending::{Signals, listen, stdin_ended};
use crate::failure::Failure;
use crate::image;
use crate::local_api::LocalApi;
use crate::output;

/// Runs the agent until SIGTERM or SIGINT: it owns the store, listens for peers over QUIC, and serves the local API on `api.sock` in the home.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio agent --listen 127.0.0.1:4001                         for agents on this machine\n  nuncio agent --listen 0.0.0.0:4433 --advertise box.example:4433\n  nuncio agent --listen 127.0.0.1:0 --api-tcp 127.0.0.1:8080   programs that cannot use a Unix socket\n\nIt prints one line when it is ready (--json: one object). The local API is described in contracts/openapi/local.yaml."
)]
pub(crate) struct Daemon {
    /// UDP address for QUIC; port 0 takes a free one. An agent with a mailbox needs none: its letters come by way of its node
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where others reach this agent, for its invitation; by default the address it listens on
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    advertise: Vec<String>,
    /// Take first letters of agents that were not added
    #[arg(long)]
    accept_strangers: bool,
    /// Serve the local API on loopback TCP too, to whoever knows the token in `api.token`
    #[arg(long, value_name = "127.0.0.1:PORT", value_parser = loopback)]
    api_tcp: Option<SocketAddr>,
    /// Stop when standard input ends, for a program that starts the agent and must not leave it behind
    #[arg(long)]
    stop_with_stdin: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    agent: String,
    listening: Option<String>,
    invitation: String,
    api_socket: &'a std::path::Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_tcp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<SocketAddr>,
}

impl Daemon {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        self.run_with(options, None).await
    }

    /// Runs the agent, and a gateway beside it.
    pub(crate) async fn run_with(self, options: &Options, gateway: Option<GatewayConfig>) -> Result<(), Failure> {
        // Before the store is open, so that no signal finds nobody at home.
        let (mut signals, mut hangups) = (Signals::new()?, listen(SignalKind::hangup())?);
        nuncio_bridge::make_room_for_connections();
        let home = options.home()?;
        let mut config = options.config(&home)?;
        if self.listen.is_none() && !config.mailbox {
            let hint = "give --listen ADDR, or have a mailbox: `mailbox = true` in the home's nuncio.toml; `nuncio agent --help` says more";
            return Err(Failure::usage("letters would reach this agent nowhere", hint));
        }
        if gateway.is_some() && config.trust.is_none() {
            return Err(nuncio::Error::NoTrust.into());
        }
        config.listen = self.listen;
        config.advertise.clone_from(&self.advertise);
        config.accept_strangers = self.accept_strangers;
        let (agent, bridge) = open(config, &home).await?;
        let doors = match Doors::open(&agent, &bridge, &home, self.api_tcp, gateway).await {
            Ok(doors) => doors,
            Err(failure) => {
                bridge.stop().await;
                agent.shutdown().await?;
                return Err(failure);
            }
        };
        image::close();
        if let Err(failure) = announce(options, &agent, &doors).await {
            tracing::warn!(%failure, "nobody was told that the agent is ready");
        }

        let why = tokio::select! {
            name = signals.next() => Some(name),
            () = stdin_ended(self.stop_with_stdin) => Some("end of standard input"),
            () = agent.stopped() => None,
            () = follow_on(&mut hangups, &bridge) => Some("no more signals"),
        };
        let Some(why) = why else {
            doors.close().await;
            return Err(nuncio::Error::Failed("the log says why; what it acknowledged is not lost".to_owned()).into());
        };
        tracing::info!(why, "stopping: what is staged is committed first");
        tokio::select! {
            stopped = stop(agent, &bridge, doors) => stopped,
            again = signals.next() => Err(Failure::Unsound(format!("{again} again: stopped at once, as if killed; nothing acknowledged is lost"))),
        }
    }
}

/// What is offered is read again, and followed: a terminal that is closed ends no agent.
async fn follow_on(hangups: &mut Signal, bridge: &Bridge) {
    while hangups.recv().await.is_some() {
        match bridge.reload().await {
            Ok(()) => tracing::info!("services.toml was read again and is in force"),
            Err(error) => tracing::error!(%error, "services.toml was not taken: what was offered goes on"),
        }
    }
}

/// Where programs and people of this machine come in.
struct Doors {
    api: LocalApi,
    gateway: Option<Gateway>,
}

impl Doors {
    async fn open(
        agent: &Agent,
        bridge: &Arc<Bridge>,
        home: &Path,
        api_tcp: Option<SocketAddr>,
        gateway: Option<GatewayConfig>,
    ) -> Result<Self, Failure> {
        let gateway = match gateway {
            Some(config) => Some(Gateway::start(agent.clone(), Arc::clone(bridge), config).await?),
            None => None,
        };
        let api = LocalApi::start(agent.clone(), Arc::clone(bridge), home, api_tcp).await;
        match (api, gateway) {
            (Ok(api), gateway) => Ok(Self { api, gateway }),
            (Err(failure), gateway) => {
                close(gateway).await;
                Err(failure)
            }
        }
    }

    async fn close(self) {
        tokio::join!(self.api.stop(), close(self.gateway));
    }
}

async fn close(gateway: Option<Gateway>) {
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
}

/// The agent, and its calls: what it serves it takes from its start on.
async fn open(config: Config, home: &Path) -> Result<(Agent, Arc<Bridge>), Failure> {
    // A file that is not whole is said before the store is opened.
    let config = if Bridge::offers(home)? { config.serve_calls() } else { config };
    let agent = Agent::open(config).await?;
    match Bridge::start(agent.clone(), home).await {
        Ok(bridge) => Ok((agent, Arc::new(bridge))),
        Err(error) => {
            agent.shutdown().await?;
            Err(error.into())
        }
    }
}

/// Refuses new work first, then lets the agent finish what it has.
async fn stop(agent: Agent, bridge: &Bridge, doors: Doors) -> Result<(), Failure> {
    doors.close().await;
    bridge.stop().await;
    agent.shutdown().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn announce(options: &Options, agent: &Agent, Doors { api, gateway }: &Doors) -> Result<(), Failure> {
    let ready = Ready {
        agent: agent.id().to_string(),
        listening: agent.status().await?.listening,
        invitation: agent.invitation().await?.to_string(),
        api_socket: &api.socket,
        api_tcp: api.tcp,
        gateway: gateway.as_ref().map(Gateway::address),
    };
    if options.json {
        return output::json(&ready);
    }
    let tcp = ready.api_tcp.map(|address| format!(" and http://{address}")).unwrap_or_default();
    let listening = ready.listening.as_deref().unwrap_or("no address");
    let gateway = ready.gateway.map(|address| format!("; gateway at {address}")).unwrap_or_default();
    output::line(format_args!(
        "{} listens on {listening} (UDP); local API at {}{tcp}{gateway}",
        ready.agent,
        ready.api_socket.display()
    ))
}

/// A place to listen at.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let example = "write an IP address of this machine and a port, such as 127.0.0.1:4433 or 0.0.0.0:4433";
    text.parse().map_err(|_| example.to_owned())
}

/// A place that others dial.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", ""));
    let known = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0);
    if known { Ok(text.to_owned()) } else { Err("write HOST:PORT, such as box.example:4433".to_owned()) }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8080".to_owned())?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("the local API is for this machine alone: give a loopback address, such as 127.0.0.1:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_never_served_to_a_network() {
        assert!(loopback("127.0.0.1:0").is_ok() && loopback("[::1]:8080").is_ok());
        for wide in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "localhost:80", "8080"] {
            assert!(loopback(wide).is_err(), "{wide}");
        }
    }

    #[test]
    fn an_advertised_address_has_a_port() {
        assert!(endpoint("box.example:4433").is_ok() && endpoint("[2001:db8::1]:1").is_ok());
        for bad in ["box.example", ":1", "box:0", "box:70000"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
