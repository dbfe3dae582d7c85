//! `nuncio gateway`

use std::path::PathBuf;

use clap::Args;
use nuncio_bridge::{GATEWAY_FILE, GatewayConfig, GatewayError};

use super::agent::Daemon;
use crate::cli::Options;
use crate::failure::Failure;

/// Runs the agent as `nuncio agent` does, and beside it the gateway: people come over HTTP with the token of a login, which the trust domain's token
/// service exchanges for a transaction; what they ask is done under it, and nothing without it.
#[derive(Args)]
#[command(
    after_help = "Example of gateway.toml:\n  listen = \"127.0.0.1:7480\"          # beyond loopback only with [tls]: cert = \"c.pem\", key = \"k.pem\"\n  subject = \"access_token\"           # what people's tokens are: access_token, jwt or id_token\n  [agents.planner]                   # a peer of this agent: `nuncio peers`\n  letters = \"travel.plan\"            # the scope that a person needs to write to it\n  timeout_s = 60\n  [agents.planner.services]\n  files = \"tools.read\"              # /v1/mcp/planner/files, for a person's MCP client\n  [chat]                             # /v1/chat/completions, of a provider that speaks as OpenAI does\n  url = \"https://api.provider.example/v1/chat/completions\"\n  key_file = \"provider.key\"          # a file that you alone can read; or key_env = \"PROVIDER_KEY\"\n  scope = \"chat.complete\"\n  models = [\"small\"]\n  [tasks.ask]                        # /v1/a2a/ask, for a person's A2A client\n  scope = \"chat.complete\"\n  model = \"small\"                    # or service = \"planner/files\" and tool = \"look\"\n  [budget.tokens]                    # of each person; [budget.requests] counts all that is asked\n  mode = \"hard\"                      # off, warn or hard\n  limit = 200000\n  per = \"day\"                        # hour or day\n\nThen:\n  nuncio gateway --listen 0.0.0.0:4433\n  curl -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' -d '{\"text\":\"to Rome\"}' http://127.0.0.1:7480/v1/agents/planner/letters\n\nThe home's nuncio.toml names the trust domain; its node's policy names the issuer of the tokens, and this agent as a client with a grant for the token's type and one for txn_token.\nThe endpoints are described in contracts/openapi/gateway.yaml."
)]
pub(crate) struct Gateway {
    /// What is served, and with which scope [default: gateway.toml in the home]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    agent: Daemon,
}

impl Gateway {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let path = self.config.map_or_else(|| Ok(options.home()?.join(GATEWAY_FILE)), Ok::<_, Failure>)?;
        let config = GatewayConfig::load(&path).map_err(GatewayError::Config)?;
        self.agent.run_with(options, Some(config)).await
    }
}
