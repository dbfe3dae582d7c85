//! MCP's own SDK at both ends, in this very process: no program is started, and no address is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nuncio::{Agent, AgentId, Config};
use nuncio_bridge::{Bridge, BridgeError, Natives, allow, expose_native};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, ContentBlock, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt as _};

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

/// A tool that says who calls, and counts.
#[derive(Clone)]
struct Tools {
    with: AgentId,
    called: Arc<AtomicUsize>,
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
        let no = self.called.fetch_add(1, SeqCst);
        let text = format!("{} by {}, call {no}", asked.name, self.with);
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// Begun sessions, those that are over, and calls.
#[derive(Clone, Default)]
struct Seen {
    begun: Arc<AtomicUsize>,
    over: Arc<AtomicUsize>,
    called: Arc<AtomicUsize>,
}

impl Seen {
    fn natives(&self) -> Natives {
        let seen = self.clone();
        Natives::default().serve("tools".parse().unwrap(), move |with, stream| {
            let seen = seen.clone();
            seen.begun.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                let tools = Tools { with, called: Arc::clone(&seen.called) };
                tools.serve(stream).await.unwrap().waiting().await.unwrap();
                seen.over.fetch_add(1, SeqCst);
            });
        })
    }
}

impl Seen {
    async fn over(&self, wanted: usize) {
        within(async {
            while self.over.load(SeqCst) < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

async fn open(home: &Path, natives: Natives) -> (Agent, Result<Bridge, BridgeError>) {
    let config = Config::new(home).listen(([127, 0, 0, 1], 0).into());
    let config = if Bridge::offers(home).unwrap() { config.serve_calls() } else { config };
    let agent = Agent::open(config).await.unwrap();
    (agent.clone(), Bridge::start_with(agent, home, natives).await)
}

struct Two {
    _dir: tempfile::TempDir,
    near: (Agent, Bridge),
    far: (Agent, Bridge),
}

impl Two {
    async fn new(seen: &Seen, scopes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("far");
        std::fs::create_dir(&home).unwrap();
        let service = "tools".parse().unwrap();
        expose_native(&home, &service).unwrap();
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        allow(&home, &service, "near", &scopes).unwrap();
        let (near, bridge) = open(&dir.path().join("near"), Natives::default()).await;
        let near = (near, bridge.unwrap());
        let (far, bridge) = open(&home, seen.natives()).await;
        let far = (far, bridge.unwrap());
        near.0.add_peer(&far.0.invitation().await.unwrap(), Some("far")).await.unwrap();
        far.0.add_peer(&near.0.invitation().await.unwrap(), Some("near")).await.unwrap();
        Self { _dir: dir, near, far }
    }

    async fn client(&self) -> RunningService<RoleClient, ClientConfig> {
        let stream = self.near.1.mcp(self.far.0.id(), "tools".parse().unwrap());
        within(ClientConfig::default().serve(stream)).await.unwrap()
    }
}

async fn call(client: &RunningService<RoleClient, ClientConfig>, tool: &'static str) -> String {
    let told = within(client.call_tool(CallToolRequestParams::new(tool))).await.unwrap();
    told.content[0].as_text().unwrap().text.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_s_client_and_server_meet_in_sealed_letters() {
    let seen = Seen::default();
    let two = Two::new(&seen, &["tools.read", "tools.write:make"]).await;
    let (one, other) = (two.client().await, two.client().await);
    let me = two.near.0.id();
    assert_eq!(call(&one, "make").await, format!("make by {me}, call 0"));
    assert_eq!(call(&other, "make").await, format!("make by {me}, call 1"));
    assert_eq!(seen.begun.load(SeqCst), 2, "a session each");
    // What the owner has not allowed does not reach it.
    let denied = within(one.call_tool(CallToolRequestParams::new("break"))).await.unwrap_err().to_string();
    assert!(denied.contains("it needs the scope tools.write"), "{denied}");
    assert_eq!(seen.called.load(SeqCst), 2);
    // The client's end is the session's, there too, and no other's.
    one.cancel().await.unwrap();
    seen.over(1).await;
    assert_eq!(call(&other, "make").await, format!("make by {me}, call 2"));
    assert_eq!(seen.over.load(SeqCst), 1, "no other's");
    // So is the agent's.
    two.far.1.stop().await;
    seen.over(2).await;
}

/// A file that a program does not serve is not followed by half.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_native_is_offered_by_the_program_that_has_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    expose_native(dir.path(), &"tools".parse().unwrap()).unwrap();
    let (agent, bridge) = open(dir.path(), Natives::default()).await;
    let why = bridge.err().unwrap().to_string();
    assert!(why.contains("service tools") && why.contains("the program that embeds this agent"), "{why}");
    agent.shutdown().await.unwrap();
}
