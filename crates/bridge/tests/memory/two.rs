//! Two agents in this process: the one's programs ask, the other offers a server behind an address.

#[path = "end.rs"]
mod end;

use axum::Router;
use end::{End, acquaint};
use nuncio_bridge::{AgentLine, allow, expose};
use tokio::net::TcpListener;

pub struct Two {
    dir: tempfile::TempDir,
    near: End,
    far: End,
}

impl Two {
    /// Before a server of MCP, all of whose tools may be called.
    pub async fn before(server: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, server).await });
        let dir = tempfile::tempdir().unwrap();
        let (near, far) = (dir.path().join("near"), dir.path().join("far"));
        std::fs::create_dir(&far).unwrap();
        let service = "files".parse().unwrap();
        expose(&far, &service, &[url]).unwrap();
        allow(&far, &service, "near", &["tools.write".to_owned()]).unwrap();
        let (near, far) = (End::open(&near).await, End::open(&far).await);
        acquaint(&near, &far).await;
        Self { dir, near, far }
    }

    pub fn line(&self) -> AgentLine {
        self.near.bridge.line(self.far.agent.id(), "files".parse().unwrap())
    }

    /// Whether the serving agent has begun to seal a large payload.
    pub fn seals(&self) -> bool {
        std::fs::read_dir(self.dir.path().join("far/large/out")).is_ok_and(|mut files| files.next().is_some())
    }

    pub async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

/// The fields of a call of a tool where there are no sessions.
pub const ALONE: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "put")];

pub fn call(id: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"put","_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
    )
}

/// Bytes that this process has in memory.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
