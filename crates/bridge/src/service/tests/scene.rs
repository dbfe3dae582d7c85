use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nuncio_proto::ids::{AgentId, CallSessionId};
use nuncio_proto::token::Scope;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::{Ask, Bounds, NotHanded, Of, Said, Service};
use crate::config::{Program, ReadTools, Runs, ServiceConfig};
use crate::jsonrpc::Envelope;
use crate::message::Message;

type Kept = Arc<Mutex<HashMap<Of, Vec<u8>>>>;

/// A service, and what it said.
pub(in super::super) struct Scene {
    pub(in super::super) service: Arc<Service>,
    pub(in super::super) said: mpsc::Receiver<Said>,
    pub(in super::super) kept: Kept,
    pub(in super::super) dir: Arc<tempfile::TempDir>,
}

pub(in super::super) fn of(peer: u8, session: Option<u8>) -> Of {
    let peers = [
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH",
    ];
    let from: AgentId = peers[usize::from(peer)].parse().unwrap();
    Of { from, session: session.map(|no| CallSessionId::from_bytes([no; 16])) }
}

pub(in super::super) fn config(runs: Runs) -> ServiceConfig {
    ServiceConfig {
        runs,
        read: ReadTools::All,
        open: Scope::default(),
        peers: BTreeMap::new(),
        agents: BTreeMap::new(),
        tokens: Scope::default(),
        idle: Duration::from_secs(60),
        sessions_per_peer: 16,
        children: 8,
    }
}

pub(in super::super) fn python(habit: &str, dir: &tempfile::TempDir) -> Runs {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/tests/server.py");
    let path = std::env::var("PATH").unwrap();
    Runs::Program(Program {
        command: [interpreter(), script, habit].map(str::to_owned).into(),
        directory: Some(dir.path().to_owned()),
        environment: [("PATH".to_owned(), path)].into(),
    })
}

/// Where Python itself is: what is called so may be a script in front of it, with variables of its own.
pub(in super::super) fn interpreter() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let asked =
            std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    })
}

pub(in super::super) fn quick() -> Bounds {
    Bounds { grace: Duration::from_millis(500), patience: Duration::from_secs(20), ..Bounds::default() }
}

impl Scene {
    pub(in super::super) fn new(habit: &str) -> Self {
        Self::with(habit, |_| (), quick())
    }

    pub(in super::super) fn with(habit: &str, change: impl FnOnce(&mut ServiceConfig), bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(python(habit, &dir));
        change(&mut config);
        Self::of(&config, bounds, Kept::default(), Arc::new(dir))
    }

    pub(in super::super) fn of(
        config: &ServiceConfig,
        bounds: Bounds,
        kept: Kept,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let (sender, said) = mpsc::channel(4);
        let memory = Arc::clone(&kept);
        let remembered = move |of: &Of| memory.lock().unwrap().get(of).cloned();
        let service =
            Service::bounded("files".parse().unwrap(), config, dir.path(), remembered, sender, None, bounds).unwrap();
        Self { service: Arc::new(service), said, kept, dir }
    }

    /// The agent's next life, with what the last one kept.
    pub(in super::super) async fn again(self, config: &ServiceConfig) -> Self {
        Arc::into_inner(self.service).unwrap().stop().await;
        Self::of(config, quick(), self.kept, self.dir)
    }

    pub(in super::super) async fn hand(&self, key: u64, of: Of, text: &str) -> Result<(), NotHanded> {
        hand(&self.service, key, of, text).await
    }

    pub(in super::super) async fn call(&self, key: u64, of: Of, tool: &str, arguments: &str) {
        self.hand(key, of, &call(&key.to_string(), tool, arguments)).await.unwrap();
    }

    pub(in super::super) async fn begin(&mut self, of: Of) {
        self.hand(0, of, r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"x":1}}"#).await.unwrap();
        let Said::Answer { key: 0, remember: Some(remember), .. } = self.next().await else { panic!() };
        self.kept.lock().unwrap().insert(of, remember);
        self.hand(0, of, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await.unwrap();
    }

    pub(in super::super) async fn next(&mut self) -> Said {
        timeout(Duration::from_secs(30), self.said.recv()).await.expect("it says nothing").expect("it is over")
    }

    /// The next thing that is said is the answer to this one: its result.
    pub(in super::super) async fn answer(&mut self, wanted: u64) -> Value {
        match self.next().await {
            Said::Answer { key, message, .. } if key == wanted => json(&message)["result"].clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(in super::super) async fn silent(&mut self) {
        let said = timeout(Duration::from_millis(300), self.said.recv()).await;
        assert!(said.is_err(), "{said:?}");
    }
}

pub(in super::super) async fn hand(service: &Service, key: u64, of: Of, text: &str) -> Result<(), NotHanded> {
    let envelope = Envelope::read(text.as_bytes()).unwrap();
    service.hand(Ask { key, of, envelope, message: Message::json(text.to_owned()), token: None }).await
}

pub(in super::super) fn call(id: &str, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":{id}}}}}}}"#
    )
}

pub(in super::super) fn json(message: &Message) -> Value {
    serde_json::from_reader(message.body.reader().unwrap()).unwrap()
}

/// Whether a process is there and no zombie.
pub(in super::super) fn lives(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_i64().unwrap())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

pub(in super::super) async fn dies(pid: &Value) {
    for _ in 0..100 {
        if !lives(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{pid} lives");
}

/// Of this process, in KiB.
pub(in super::super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
