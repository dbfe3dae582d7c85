//! An agent's local API over a `Line` in memory: it dies at once, and comes again with what it had.

use std::path::PathBuf;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nuncio_bridge::local;
use nuncio_bridge::shim::Remote;
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};

use super::line::Memory;

pub struct Agent {
    pub memory: Memory,
    home: tempfile::TempDir,
    running: Option<JoinHandle<()>>,
}

impl Agent {
    pub fn new(memory: Memory) -> Self {
        Self { memory, home: tempfile::tempdir().unwrap(), running: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("api.sock")
    }

    pub fn remote(&self) -> Remote {
        Remote::new(self.socket(), "/v1/calls/anna/files".to_owned())
    }

    pub fn start(&mut self) {
        self.memory.stop(false);
        let app = Router::new().nest("/v1/calls/anna/files", local::router(self.memory.clone()));
        let listener = UnixListener::bind(self.socket()).unwrap();
        self.running = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(app.clone());
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
    }

    /// Ends it in the middle of whatever it does.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
            self.memory.stop(true);
            std::fs::remove_file(self.socket()).unwrap();
        }
    }
}
