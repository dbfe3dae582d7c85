//! A small MCP server of both eras, behind a `Line` in memory.
//!
//! Tools: `echo` (text), `count` (n parts of progress), `ask` (asks the client, then answers), `slow` (ms, with a part first), `large` (bytes),
//! `log` (an aside), `add` (counts its calls).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuncio_bridge::{Body, Say};
use nuncio_proto::call::What;
use nuncio_proto::ids::LetterId;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::line::{Far, Memory};

#[derive(Default)]
struct Server {
    /// Whoever asked, by the letter with which it did.
    asked: Mutex<HashMap<LetterId, oneshot::Sender<Value>>>,
    calls: AtomicU64,
}

/// A line to a new one.
pub fn line() -> Memory {
    let server = Arc::new(Server::default());
    Memory::new(move |far, say| Arc::clone(&server).hear(far, say))
}

/// The JSON of a message.
pub fn json_of(say: &Say) -> Value {
    let Body::Bytes(bytes) = &say.message.body else { panic!("a request is in memory") };
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

impl Server {
    fn hear(self: Arc<Self>, far: Far, say: Say) {
        let message = json_of(&say);
        match say.what {
            What::Request => drop(tokio::spawn(async move { self.request(far, say, message).await })),
            What::Notice => {
                let waits = say.reply_to.and_then(|letter| self.asked.lock().unwrap().remove(&letter));
                if let Some(waits) = waits {
                    let _ = waits.send(message);
                }
            }
            _ => {}
        }
    }

    async fn request(&self, far: Far, say: Say, message: Value) {
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap_or("") {
            "initialize" => Ok(json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}, "logging": {}},
                "serverInfo": {"name": "tiny", "version": "1"},
            })),
            "server/discover" => Ok(json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "tiny", "version": "1"}},
            })),
            "ping" => Ok(json!({})),
            "tools/list" => Ok(tools()),
            "tools/call" => self.call(&far, &say, params).await,
            other => Err(json!({"code": -32601, "message": format!("no method {other}")})),
        };
        let answer = match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": message["id"], "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": message["id"], "error": error}),
        };
        far.answer(&say, answer.to_string());
    }

    async fn call(&self, far: &Far, say: &Say, params: &Value) -> Result<Value, Value> {
        let arguments = &params["arguments"];
        let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
        let progress = |done: u64, total: u64| {
            let token = &params["_meta"]["progressToken"];
            let part = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": done, "total": total}});
            if !token.is_null() {
                far.part(say, part.to_string());
            }
        };
        let text = match params["name"].as_str().unwrap_or("") {
            "echo" => arguments["text"].as_str().unwrap_or("").to_owned(),
            "add" => self.calls.fetch_add(1, Ordering::SeqCst).to_string(),
            "count" => {
                (1..=number("n")).for_each(|done| progress(done, number("n")));
                "counted".to_owned()
            }
            "slow" => {
                progress(1, 2);
                tokio::time::sleep(Duration::from_millis(number("ms"))).await;
                progress(2, 2);
                "awake".to_owned()
            }
            "large" => "x".repeat(usize::try_from(number("bytes")).unwrap()),
            "log" => {
                let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "an aside"}});
                far.aside(say.session, log.to_string());
                "logged".to_owned()
            }
            "ask" => self.ask(far, say).await,
            other => return Err(json!({"code": -32602, "message": format!("no tool {other}")})),
        };
        Ok(json!({"resultType": "complete", "content": [{"type": "text", "text": text}]}))
    }

    async fn ask(&self, far: &Far, say: &Say) -> String {
        let (tx, rx) = oneshot::channel();
        let ask = json!({"jsonrpc": "2.0", "id": "s-1", "method": "elicitation/create", "params": {
            "message": "your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        }});
        let letter = far.part(say, ask.to_string());
        self.asked.lock().unwrap().insert(letter, tx);
        let told = rx.await.unwrap_or(Value::Null);
        format!("hello {}", told["result"]["content"]["name"].as_str().unwrap_or("nobody"))
    }
}

fn tools() -> Value {
    let tool = |name: &str| json!({"name": name, "description": name, "inputSchema": {"type": "object"}});
    let tools: Vec<_> = ["echo", "add", "count", "slow", "large", "log", "ask"].into_iter().map(tool).collect();
    json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools})
}
