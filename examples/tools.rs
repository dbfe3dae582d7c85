//! Tools for other agents: MCP's own SDK at both ends, over sealed letters, in one program. No process is started, and no address is served.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nuncio::{Agent, AgentId, Config};
use nuncio_bridge::{Bridge, Natives, allow, expose_native};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, ContentBlock, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (anna, ben) = (dir.path().join("anna"), dir.path().join("ben"));

    // Anna's tools, and what ben may: one of them. Whoever is not named may nothing.
    std::fs::create_dir(&anna)?;
    expose_native(&anna, &"tools".parse()?)?;
    allow(&anna, &"tools".parse()?, "ben", &["tools.write:greet".to_owned()])?;
    let tools = Natives::default().serve("tools".parse()?, |with, stream| {
        tokio::spawn(async move {
            if let Ok(session) = (Tools { with }).serve(stream).await {
                let _ = session.waiting().await;
            }
        });
    });
    let (anna, annas) = open(&anna, tools).await?;
    let (ben, bens) = open(&ben, Natives::default()).await?;
    anna.add_peer(&ben.invitation().await?, Some("ben")).await?;
    ben.add_peer(&anna.invitation().await?, Some("anna")).await?;

    // Ben's client: a stream is its transport.
    let client = ClientConfig::default().serve(bens.mcp(anna.id(), "tools".parse()?)).await?;
    let told = client.call_tool(CallToolRequestParams::new("greet")).await?;
    let text = told.content.first().and_then(|block| block.as_text()).context("no text")?;
    println!("greet: {}", text.text);
    ensure!(text.text == format!("hello, {}", ben.id()));
    let refused = client.call_tool(CallToolRequestParams::new("launch")).await;
    println!("launch: {}", refused.err().context("it was done")?);

    client.cancel().await?;
    for (agent, bridge) in [(ben, bens), (anna, annas)] {
        bridge.stop().await;
        agent.shutdown().await?;
    }
    Ok(())
}

async fn open(home: &Path, natives: Natives) -> Result<(Agent, Bridge)> {
    let agent = Agent::open(Config::new(home).listen("127.0.0.1:0".parse()?).serve_calls()).await?;
    Ok((agent.clone(), Bridge::start_with(agent, home, natives).await?))
}

/// Tools for one agent, whose key is known.
struct Tools {
    with: AgentId,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        asked: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*asked.name {
            "greet" => Ok(CallToolResult::success(vec![ContentBlock::text(format!("hello, {}", self.with))]).into()),
            other => Err(ErrorData::invalid_params(format!("there is no tool {other}"), None)),
        }
    }
}
