//! Two agents between a client and what it calls: this process is the client with its agent, another the agent that offers, with its servers.
//!
//! ```text
//!   client ─► front ─► agent ══ QUIC ══► agent ─► server        called through
//!   client ─────────────────────────────────────► server        called directly
//! ```

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::http::header;
use axum::routing::{get, post};
use nuncio::{Agent, Config};
use nuncio_bridge::{Bridge, Offer, allow, expose_a2a, offer};
use nuncio_proto::call::ServiceName;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, ContentBlock, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::twin::{Batches, Recorder, Spoken, say};

/// Set for the child: its home.
pub(crate) const CHILD_HOME: &str = "NUNCIO_BENCH_SIDECAR_HOME";

/// A tool that may change something, by its owner's word.
pub(crate) const WRITES: &str = "put";
/// A tool that only reads, by its owner's word.
pub(crate) const READS: &str = "get";
const MCP: &str = "tools";
const A2A: &str = "helper";
const RPC: &str = "/rpc";

/// The agents, and where their services are reached.
pub(crate) struct Sidecar {
    agent: Agent,
    bridge: Bridge,
    recorder: Recorder,
    far: Spoken,
    /// Where the servers are.
    server: String,
    mcp: String,
    a2a: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Sidecar {
    pub(crate) async fn begin() -> Result<Self> {
        // The clients' own TLS, which they do not use here, wants one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        let mut far = Spoken::start(CHILD_HOME, &dir.path().join("far"))?;
        let told: Value = serde_json::from_str(&far.answer()?)?;
        let text = |name: &str| told.get(name).and_then(Value::as_str).context("it says more");
        let home = dir.path().join("near");
        let recorder = Recorder::default();
        let mut config = Config::new(&home).listen("127.0.0.1:0".parse()?);
        config.trace = Some(recorder.trace());
        let agent = Agent::open(config).await?;
        let bridge = Bridge::start(agent.clone(), &home).await?;
        far.ask(&agent.invitation().await?.to_string())?;
        let peer = agent.add_peer(&text("invitation")?.parse()?, Some("far")).await?;
        for service in [MCP, A2A] {
            bridge.fronts().connect(None, peer, service.parse()?, nuncio_bridge::Wants::default()).await?;
        }
        let (connections, _) = bridge.fronts().connections();
        let url = |service: &str| {
            let connected = connections.to(&peer, &service.parse()?);
            let url = connected.and_then(|(name, connection)| connections.url(name, connection));
            anyhow::Ok(url.context("a connection")?.to_string())
        };
        let (mcp, a2a) = (url(MCP)?, url(A2A)?);
        Ok(Self { agent, bridge, recorder, far, server: text("server")?.to_owned(), mcp, a2a, dir })
    }

    /// A client of the MCP server itself that calls a tool, and one through the agents.
    pub(crate) async fn mcp(&self, tool: &'static str) -> Result<[McpClient; 2]> {
        let begin = async |url| McpClient::begin(url, tool).await;
        Ok([begin(format!("{}/mcp", self.server)).await?, begin(self.mcp.clone()).await?])
    }

    /// A client of the A2A agent itself, and one through the agents.
    pub(crate) fn a2a(&self) -> Result<[A2aClient; 2]> {
        Ok([A2aClient::new(format!("{}{RPC}", self.server))?, A2aClient::new(format!("{}/a2a{RPC}", self.a2a))?])
    }

    /// Forgets what both agents wrote.
    pub(crate) fn forget(&mut self) -> Result<()> {
        drop(self.recorder.take());
        self.far.ask("forget").map(drop)
    }

    /// Frames and their bytes that this agent has sent.
    pub(crate) async fn sent(&self) -> Result<(u64, u64)> {
        let status = self.agent.status().await?;
        Ok((status.frames_sent, status.frame_bytes_sent))
    }

    /// Ends both agents; what each wrote since it forgot.
    pub(crate) async fn finish(mut self) -> Result<([Batches; 2], tempfile::TempDir)> {
        let near = self.recorder.take();
        let far = serde_json::from_str(&self.far.ask("finish")?)?;
        self.far.end()?;
        self.bridge.stop().await;
        self.agent.shutdown().await?;
        Ok(([near, far], self.dir))
    }
}

/// A program that calls something, and waits for the answer.
pub(crate) trait Client {
    async fn call(&self) -> Result<()>;
}

/// A client of MCP: the SDK's own, with the HTTP client that it brings.
pub(crate) struct McpClient {
    client: RunningService<RoleClient, ClientConfig>,
    tool: &'static str,
}

impl McpClient {
    async fn begin(url: String, tool: &'static str) -> Result<Self> {
        let client = ClientConfig::default().serve(StreamableHttpClientTransport::from_uri(url)).await?;
        Ok(Self { client, tool })
    }
}

impl Client for McpClient {
    async fn call(&self) -> Result<()> {
        let result = self.client.call_tool(CallToolRequestParams::new(self.tool)).await?;
        anyhow::ensure!(result.is_error != Some(true), "it was not done");
        Ok(())
    }
}

/// A client of A2A: one plain POST, with the fields and the message of an SDK.
pub(crate) struct A2aClient {
    client: reqwest::Client,
    url: String,
}

impl A2aClient {
    fn new(url: String) -> Result<Self> {
        Ok(Self { client: reqwest::Client::builder().no_proxy().build()?, url })
    }
}

impl Client for A2aClient {
    async fn call(&self) -> Result<()> {
        let message = json!({ "messageId": "0b9a3e0c-0000-7000-8000-000000000001", "role": "ROLE_USER", "parts": [{ "text": "hello" }] });
        let body = json!({ "jsonrpc": "2.0", "id": "1", "method": "SendMessage", "params": { "message": message } })
            .to_string();
        let request = self.client.post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let answer = request.header("a2a-version", "1.0").body(body).send().await?.error_for_status()?;
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        anyhow::ensure!(answer.get("result").is_some(), "it was not done: {answer}");
        Ok(())
    }
}

/// The child: the agent that offers, and its servers. It does what it is told, and answers each line once.
pub(crate) fn be_the_far_end(home: &Path) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(serve(home))
}

async fn serve(home: &Path) -> Result<()> {
    let server = serve_both().await?;
    let recorder = Recorder::default();
    std::fs::create_dir_all(home)?;
    let (mcp, a2a): (ServiceName, ServiceName) = (MCP.parse()?, A2A.parse()?);
    let (address, read) = ([format!("{server}/mcp")], [READS.to_owned()]);
    offer(home, &mcp, &Offer { mcp: &address, read: Some(&read), ..Offer::default() })?;
    expose_a2a(home, &a2a, &server)?;
    for service in [&mcp, &a2a] {
        allow(home, service, "near", &["tools.read".to_owned(), "tools.write".to_owned()])?;
    }
    let mut config = Config::new(home).listen("127.0.0.1:0".parse()?).serve_calls();
    config.trace = Some(recorder.trace());
    let agent = Agent::open(config).await?;
    let bridge = Bridge::start(agent.clone(), home).await?;
    say(&json!({ "invitation": agent.invitation().await?.to_string(), "server": server }).to_string())?;
    for line in BufReader::new(std::io::stdin()).lines() {
        match line?.as_str() {
            "finish" => {
                bridge.stop().await;
                agent.shutdown().await?;
                return say(&serde_json::to_string(&recorder.take())?);
            }
            "forget" => {
                drop(recorder.take());
                say("forgotten")?;
            }
            invitation => {
                agent.add_peer(&invitation.parse()?, Some("near")).await?;
                say("added")?;
            }
        }
    }
    Ok(())
}

/// A server of MCP, by the SDK, and beside it an agent of A2A; gives back their address.
async fn serve_both() -> Result<String> {
    let mcp: StreamableHttpService<Tools, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(Tools), std::sync::Arc::default(), StreamableHttpServerConfig::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let card = json!({ "name": "helper", "supportedInterfaces": [
        { "url": format!("{url}{RPC}"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0" } ] });
    let app = axum::Router::new()
        .nest_service("/mcp", mcp)
        .route("/.well-known/agent-card.json", get(move || async move { axum::Json(card) }))
        .route(RPC, post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

async fn answer(asked: Bytes) -> axum::Json<Value> {
    let asked: Value = serde_json::from_slice(&asked).unwrap_or_default();
    let message = json!({ "messageId": "0b9a3e0c-0000-7000-8000-000000000002", "role": "ROLE_AGENT", "parts": [{ "text": "hello" }] });
    axum::Json(json!({ "jsonrpc": "2.0", "id": asked.get("id"), "result": { "message": message } }))
}

/// Tools that say a word at once.
struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }
}
