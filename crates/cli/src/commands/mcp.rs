//! `nuncio mcp`

use clap::Args;
use nuncio_bridge::shim::{self, Remote, ShimError};
use tokio_util::sync::CancellationToken;

use crate::cli::Options;
use crate::client::segment;
use crate::ending::Signals;
use crate::failure::Failure;
use crate::local_api::SOCKET;
use crate::wire::Problem;

/// Is a service of another agent on standard input and output: what an MCP client starts in the place of the server.
///
/// It speaks to the agent that runs on the home, and waits for it when it is started again: nothing is asked twice, and no answer is lost. Messages alone stand on
/// standard output; what it has to say for people goes to standard error.
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
        let base = format!("/v1/calls/{}/{}", segment(peer), segment(service));
        let remote = Remote::new(options.home()?.join(SOCKET), base);
        let stopping = CancellationToken::new();
        let mut signals = Signals::new()?;
        let ended = shim::run(remote, tokio::io::stdin(), tokio::io::stdout(), stopping.clone());
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
            other => Failure::Broken(other.to_string()),
        })
    }
}
