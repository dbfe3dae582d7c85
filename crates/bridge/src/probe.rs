//! Whether a service can be spoken to, and what it offers: asked once, before it is offered to anybody.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use nuncio_proto::call::{Head, ServiceName};
use nuncio_proto::ids::{AgentId, CallSessionId};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::a2a;
use crate::config::{ConfigError, Offer, drafted, drafted_a2a};
use crate::jsonrpc::Envelope;
use crate::message::Message;
use crate::service::{Ask, NotHanded, Of, Said, Service};

/// How long it may take to know why a program has ended.
const EPITAPH_PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is not read.
const ANSWER_LEN_MAX: u64 = 16 << 20;
/// Tools that are asked for; a service has fewer.
const TOOLS_MAX: usize = 4_096;
const OLDER: &str = "2025-11-25";
const NEWER: &str = "2026-07-28";
/// Nobody's: the curve's base point. The service is not told who asks.
const NOBODY: [u8; 32] = {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    point
};

/// Why a service is not offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotFound {
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It does not start, or has ended.
    #[error("it does not run: {0}")]
    Gone(String),
    /// It says nothing.
    #[error("it has not answered within {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// It says what it is told.
    #[error("it does not speak MCP: it says back what it is told")]
    Echo,
    /// What stands under the address is no agent.
    #[error("no agent's card is there: {0}")]
    NoCard(String),
    /// What it says is not MCP.
    #[error("it does not speak MCP: {0}")]
    Strange(String),
}

/// What a service says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is called, and which version.
    pub server: String,
    /// The protocol's revision.
    pub revision: String,
    /// Its tools, in its order.
    pub tools: Vec<Tool>,
}

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Whether it only reads, by the service's own word.
    pub reads: bool,
}

/// Starts a service as it would be offered, asks what it is and which tools it has, and ends it. Nothing is written. `patience` is how long it may take to say
/// all of it: one that is fetched from a registry at its first start is slow then.
///
/// # Errors
/// It cannot be offered: why, for people.
pub async fn probe(home: &Path, name: &ServiceName, offer: &Offer<'_>, patience: Duration) -> Result<Found, NotFound> {
    let config = drafted(home, name, offer)?;
    let spool = tempfile::tempdir().map_err(|error| NotFound::Gone(error.to_string()))?;
    let (said, heard) = mpsc::channel(16);
    let service = Service::start(name.clone(), &config, spool.path(), |_| None, said, None).map_err(NotFound::Gone)?;
    let nobody = AgentId::from_bytes(NOBODY).map_err(|error| NotFound::Gone(error.to_string()))?;
    let of = Of { from: nobody, session: Some(CallSessionId::from_bytes([0; 16])) };
    let mut asked = Asked { of, service, heard, key: 0, newer: false };
    let found = timeout(patience, asked.all()).await.unwrap_or(Err(NotFound::Silent(patience)));
    // What it still says is not waited for.
    asked.heard.close();
    asked.service.end(of).await;
    asked.service.stop().await;
    found
}

/// What an agent says of itself in its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is good at, by name.
    pub skills: Vec<String>,
    /// Whether it is signed: at the other end, where its addresses are others, it is signed anew where its owner named the key.
    pub is_signed: bool,
}

/// Asks an agent that speaks A2A for its card, as it would be offered, for so long at most. Nothing is written.
///
/// # Errors
/// It cannot be offered: why, for people.
pub async fn probe_a2a(home: &Path, name: &ServiceName, url: &str, patience: Duration) -> Result<Card, NotFound> {
    let config = drafted_a2a(home, name, url)?;
    let spool = tempfile::tempdir().map_err(|error| NotFound::Gone(error.to_string()))?;
    let (said, mut heard) = mpsc::channel(16);
    let service = Service::start(name.clone(), &config, spool.path(), |_| None, said, None).map_err(NotFound::Gone)?;
    let nobody = AgentId::from_bytes(NOBODY).map_err(|error| NotFound::Gone(error.to_string()))?;
    let found = async {
        let mut why = "it has no card".to_owned();
        for (key, path) in (0..).zip(a2a::CARDS) {
            let head = Head::of([(":method", "GET"), (":path", path)]);
            let message = Message { head, ..Message::json(Bytes::new()) };
            let of = Of { from: nobody, session: None };
            if let Err(error) = service.hand(Ask { key, of, envelope: Envelope::card(), message, token: None }).await {
                why = error.to_string();
                continue;
            }
            match card_in(&mut heard).await {
                Ok(card) => return Ok(card),
                Err(said) => why = said,
            }
        }
        Err(NotFound::NoCard(why))
    };
    let found = timeout(patience, found).await.unwrap_or(Err(NotFound::Silent(patience)));
    heard.close();
    service.stop().await;
    found
}

async fn card_in(heard: &mut mpsc::Receiver<Said>) -> Result<Card, String> {
    let message = match heard.recv().await {
        Some(Said::Answer { message, .. }) => message,
        Some(Said::Lost { why, .. } | Said::Gone { why, .. }) => return Err(why),
        _ => return Err("it has ended".to_owned()),
    };
    if let Some(status) = message.head.get(":status") {
        return Err(format!("the answer is {status}"));
    }
    let body = message.body.clone();
    let read = move || {
        let reader = body.reader().map_err(serde_json::Error::io)?;
        serde_json::from_reader::<_, Value>(reader.take(ANSWER_LEN_MAX))
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    let card = read.map_err(|_| "it is no JSON".to_owned())?;
    if a2a::paths(&card).is_empty() {
        return Err("it names no interface of JSON-RPC".to_owned());
    }
    let text = |name: &str| card.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let skills = card.get("skills").and_then(Value::as_array).into_iter().flatten();
    let skills = skills.filter_map(|skill| Some(skill.get("name")?.as_str()?.to_owned()));
    let is_signed = a2a::is_signed(&card);
    Ok(Card { name: text("name"), version: text("version"), skills: skills.collect(), is_signed })
}

struct Asked {
    of: Of,
    service: Service,
    heard: mpsc::Receiver<Said>,
    key: u64,
    newer: bool,
}

impl Asked {
    async fn all(&mut self) -> Result<Found, NotFound> {
        let (server, revision, has_tools) = self.begin().await?;
        let mut tools = Vec::new();
        let mut params = json!({});
        while has_tools && tools.len() < TOOLS_MAX {
            let page = self.ask("tools/list", params).await?.map_err(|error| strange(&error))?;
            let listed = page.get("tools").and_then(Value::as_array).ok_or_else(|| strange(&page))?;
            tools.extend(listed.iter().filter_map(tool));
            match page.get("nextCursor").and_then(Value::as_str) {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => break,
            }
        }
        Ok(Found { server, revision, tools })
    }

    /// Who it is, which revision it speaks, and whether it has tools; of either era.
    async fn begin(&mut self) -> Result<(String, String, bool), NotFound> {
        let client = json!({ "name": "nuncio", "version": env!("CARGO_PKG_VERSION") });
        let hello = json!({ "protocolVersion": OLDER, "capabilities": {}, "clientInfo": client });
        if let Ok(hello) = self.ask("initialize", hello).await? {
            self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
            let revision = hello.get("protocolVersion").and_then(Value::as_str).ok_or_else(|| strange(&hello))?;
            return Ok((who(hello.get("serverInfo")), revision.to_owned(), has_tools(&hello)));
        }
        self.newer = true;
        let found = self.ask("server/discover", json!({})).await?.map_err(|error| strange(&error))?;
        let info = found.get("_meta").and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"));
        Ok((who(info.or_else(|| found.get("serverInfo"))), NEWER.to_owned(), has_tools(&found)))
    }

    /// A request; its result, or its error.
    async fn ask(&mut self, method: &str, mut params: Value) -> Result<Result<Value, Value>, NotFound> {
        if let (true, Some(params)) = (self.newer, params.as_object_mut()) {
            let client = json!({ "name": "nuncio", "version": env!("CARGO_PKG_VERSION") });
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": NEWER,
                "io.modelcontextprotocol/clientInfo": client,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".to_owned(), meta);
        }
        self.key = self.key.saturating_add(1);
        let key = self.key;
        self.say(&json!({ "jsonrpc": "2.0", "id": key, "method": method, "params": params })).await?;
        loop {
            match self.heard.recv().await {
                Some(Said::Answer { key: asked, message, .. }) if asked == key => return read(&message).await,
                Some(Said::Lost { why, .. } | Said::Gone { why, .. }) => return Err(NotFound::Gone(why)),
                None => return Err(NotFound::Gone("it has ended".to_owned())),
                Some(Said::Aside { message, .. } | Said::Part { message, .. }) if says(&message, method) => {
                    return Err(NotFound::Echo);
                }
                // It is asked, and nothing else.
                Some(_) => {}
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Result<(), NotFound> {
        let message = Message { head: Head::default(), ..Message::json(Bytes::from(message.to_string())) };
        let envelope = Envelope::of(&message).map_err(|error| NotFound::Strange(error.to_string()))?;
        match self.service.hand(Ask { key: self.key, of: self.of, envelope, message, token: None }).await {
            Ok(()) => Ok(()),
            Err(NotHanded::Ended) => Err(NotFound::Gone(self.epitaph().await)),
            Err(why) => Err(NotFound::Gone(why.to_string())),
        }
    }

    /// How it has ended, which is known a little later.
    async fn epitaph(&mut self) -> String {
        let told = async {
            loop {
                match self.heard.recv().await {
                    Some(Said::Lost { why, .. } | Said::Gone { why, .. }) => return why,
                    Some(_) => {}
                    None => return NotHanded::Ended.to_string(),
                }
            }
        };
        let told = timeout(EPITAPH_PATIENCE, told).await;
        told.unwrap_or_else(|_| NotHanded::Ended.to_string())
    }
}

/// Whether a service asks for this itself: no server of MCP has a client begin.
fn says(message: &Message, method: &str) -> bool {
    message.body.is_in_memory() && Envelope::of(message).is_ok_and(|said| said.method == method)
}

async fn read(message: &Message) -> Result<Result<Value, Value>, NotFound> {
    let body = message.body.clone();
    let read = tokio::task::spawn_blocking(move || {
        serde_json::from_reader::<_, Value>(body.reader().map_err(serde_json::Error::io)?.take(ANSWER_LEN_MAX))
    });
    let failed = |error: &dyn std::fmt::Display| NotFound::Strange(error.to_string());
    let mut whole = read.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(match whole.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(whole),
    })
}

fn strange(answer: &Value) -> NotFound {
    let said = answer.get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
    NotFound::Strange(said.unwrap_or("its answer is not of the protocol's form").to_owned())
}

fn who(info: Option<&Value>) -> String {
    let text = |name| info.and_then(|info| info.get(name)).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("name"), text("version")).trim().to_owned()
}

fn has_tools(said: &Value) -> bool {
    said.get("capabilities").and_then(|capabilities| capabilities.get("tools")).is_some()
}

fn tool(listed: &Value) -> Option<Tool> {
    let name = listed.get("name")?.as_str()?.to_owned();
    let hint = listed.get("annotations").and_then(|annotations| annotations.get("readOnlyHint"));
    Some(Tool { name, reads: hint.and_then(Value::as_bool).unwrap_or(false) })
}

#[cfg(test)]
mod tests;
