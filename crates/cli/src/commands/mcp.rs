//! `nuncio mcp`

use std::path::Path;
use std::time::Duration;

use clap::Args;
use nuncio_bridge::shim::{self, Remote, ShimError};
use tokio_util::sync::CancellationToken;

use crate::cli::Options;
use crate::client::{Api, segment};
use crate::ending::Signals;
use crate::failure::Failure;
use crate::local_api::SOCKET;
use crate::output;
use crate::wire::{Peer, Peers, Problem};

/// How often it is looked at what is waited for.
const LOOKED_AGAIN: Duration = Duration::from_secs(3);

/// Is a service of another agent on standard input and output: what an MCP client starts in the place of the server.
///
/// It speaks to the agent that runs on the home, and waits for it when it is started again: nothing is asked twice, and no answer is lost. Messages alone stand on
/// standard output; what it has to say for people goes to standard error. Where its input ends and nothing has come of the service at all, exit code 1: then the other
/// agent is away, has not let this one in, or its service has said nothing so far.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio mcp anna/files\n\nIn an MCP client's configuration, as `nuncio connect` prints it:\n  {\"mcpServers\": {\"files\": {\"command\": \"nuncio\", \"args\": [\"mcp\", \"anna/files\"]}}}"
)]
pub(crate) struct Mcp {
    /// PEER/SERVICE: an agent, by name or DID, and what it calls its service
    service: String,
}

impl Mcp {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let hint = "nuncio mcp PEER/SERVICE, such as anna/files; `nuncio connections` lists those that are connected";
        let Some((peer, service)) =
            self.service.rsplit_once('/').filter(|(peer, name)| !peer.is_empty() && !name.is_empty())
        else {
            return Err(Failure::usage(format!("{:?} names no agent and service", self.service), hint));
        };
        let home = options.home()?;
        let base = format!("/v1/calls/{}/{}", segment(peer), segment(service));
        let remote = Remote::new(home.join(SOCKET), base);
        let stopping = CancellationToken::new();
        let mut signals = Signals::new()?;
        let silent = say_silence(&home, peer, service);
        let ended = shim::run_telling(remote, tokio::io::stdin(), tokio::io::stdout(), stopping.clone(), silent);
        let mut ended = std::pin::pin!(ended);
        let ended = tokio::select! {
            ended = ended.as_mut() => ended,
            _ = signals.next() => {
                stopping.cancel();
                ended.await
            }
        };
        ended.map_err(|error| match error {
            ShimError::NoAgent(why) => Failure::NoAgent(why),
            ShimError::Refused { code, message } => Failure::Api(Problem { code, message, letter_code: None }),
            ShimError::Io(_) => Failure::OutputClosed,
            ShimError::Unheard => Failure::Unheard(self.service.clone()),
            other => Failure::Broken(other.to_string()),
        })
    }
}

/// What is waited for, for whoever looks at this program's errors: a client of MCP shows that it waits, and no more. Said again where it has changed.
async fn say_silence(home: &Path, peer: &str, service: &str) {
    let mut said = String::new();
    loop {
        let state = state_of(home, peer).await;
        if state != said {
            output::note(format_args!(
                "{peer}/{service}: waits for {peer}'s agent, which has not answered so far: {state}"
            ));
            said = state;
        }
        tokio::time::sleep(LOOKED_AGAIN).await;
    }
}

async fn state_of(home: &Path, peer: &str) -> String {
    let known = Api::at(home).get::<Peers>("/v1/peers").await;
    let peers = known.into_iter().flat_map(|known| known.peers);
    let of = peers.into_iter().find(|one| one.agent == peer || one.name.as_deref() == Some(peer));
    match of {
        Some(Peer { problem: Some(problem), .. }) => output::harmless_line(&problem),
        Some(Peer { connected: true, .. }) => {
            "it is connected; if it has not let this agent in, that is said there: nuncio knocks".to_owned()
        }
        _ => "it is not connected".to_owned(),
    }
}
