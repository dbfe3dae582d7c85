//! A task that is one call of a tool (contracts/gateway.md W33).

use bytes::Bytes;
use data_encoding::BASE64;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::Head;
use serde_json::{Value, json};

use super::NOT_KNOWN;
use super::config::Tool;
use super::task::{End, Stage, too_long};
use super::weight::weight;
use crate::caller::AgentLine;
use crate::front::{Called, Front};
use crate::mcp;
use crate::message::{Body, Message};
use crate::under::Standing;

/// The revision in which a request stands alone.
const REVISION: &str = "2026-07-28";
/// A letter has one request, which has this id.
const ID: &str = "1";
/// Of a service's own words about an error, in characters.
const WORDS_MAX: usize = 1_024;

/// What became of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    Ended(End),
    /// It was said, and is not waited for any more.
    GivenUp {
        /// The service is told so.
        told: bool,
    },
    /// It was said, and nothing more comes that can be read.
    Lost,
}

/// Calls it: once, whatever comes of it.
pub(super) async fn call(
    front: &Front<AgentLine>,
    tool: &Tool,
    arguments: &Value,
    under: &Standing,
    ends: impl Future<Output = ()>,
) -> Outcome {
    match front.call(message(tool, arguments), ID, under, ends).await {
        Called::Answered(message) => Outcome::Ended(read(&message)),
        Called::NotSaid(why) => Outcome::Ended(End::failed(why)),
        Called::GivenUp { told } => Outcome::GivenUp { told },
        Called::Lost => Outcome::Lost,
    }
}

fn message(tool: &Tool, arguments: &Value) -> Message {
    let name = &tool.name;
    let client = json!({ "name": "nuncio", "version": env!("CARGO_PKG_VERSION") });
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": client,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": name, "arguments": arguments, "_meta": meta });
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let named = mcp::encoded(name);
    let head = Head::of([(mcp::VERSION, REVISION), (mcp::METHOD, "tools/call"), (mcp::NAME, &named)]);
    Message { head, ..Message::json(text) }
}

fn read(message: &Message) -> End {
    // contracts/gateway.md W36.
    let fits = |bytes: &&Bytes| weight(bytes) <= limit::GATEWAY_TASK_ANSWER_MAX;
    let bytes = if let Body::Bytes(bytes) = &message.body { Some(bytes).filter(fits) } else { None };
    let Some(bytes) = bytes else { return End::failed(format!("it was done: {}", too_long())) };
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        return End::failed(format!("the service's answer cannot be read: {NOT_KNOWN}"));
    };
    if let Some(error) = answer.get("error") {
        let words = error.get("message").and_then(Value::as_str).unwrap_or("the service says no");
        return End::failed(short(words));
    }
    let result = answer.get("result").filter(|result| result.is_object());
    result.map_or_else(|| End::failed(format!("the service's answer is none: {NOT_KNOWN}")), told)
}

/// What a result is as the end of a task.
fn told(result: &Value) -> End {
    // A result that asks for more has no end here.
    if result.get("resultType").is_some_and(|kind| kind != "complete") {
        return End::failed("the tool wants to be told more, which no task here can");
    }
    let content = result.get("content").and_then(Value::as_array).into_iter().flatten();
    let mut parts: Vec<Value> = content.map(part).collect();
    parts.extend(result.get("structuredContent").map(|data| json!({ "data": data })));
    let parts = Some(parts).filter(|parts| !parts.is_empty());
    if result.get("isError").and_then(Value::as_bool).unwrap_or(false) {
        let texts = parts.iter().flatten().filter_map(|part| part.get("text")?.as_str());
        let words = texts.collect::<Vec<_>>().join("\n");
        let words = if words.is_empty() { "the tool failed".to_owned() } else { short(&words) };
        return End { stage: Stage::Failed, words: Some(words), parts };
    }
    End::completed(parts)
}

/// One piece of content as a part; what has no form there stays as it is.
fn part(content: &Value) -> Value {
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let typed = |mut part: Value, of: &Value, filename: Option<String>| {
        let media = text(of, "mimeType").map(|kind| ("mediaType", kind));
        for (name, value) in media.into_iter().chain(filename.map(|name| ("filename", name))) {
            part.as_object_mut().and_then(|part| part.insert(name.to_owned(), value.into()));
        }
        part
    };
    let raw = |bytes: String| BASE64.decode(bytes.as_bytes()).ok().map(|_| json!({ "raw": bytes }));
    let resource = content.get("resource").unwrap_or(&Value::Null);
    let known = match content.get("type").and_then(Value::as_str) {
        Some("text") => text(content, "text").map(|text| json!({ "text": text })),
        Some("image" | "audio") => text(content, "data").and_then(raw).map(|part| typed(part, content, None)),
        Some("resource_link") => {
            let url = text(content, "uri").map(|url| json!({ "url": url }));
            url.map(|part| typed(part, content, text(content, "name")))
        }
        Some("resource") => {
            let part = text(resource, "text").map(|text| json!({ "text": text }));
            let part = part.or_else(|| text(resource, "blob").and_then(raw));
            part.map(|part| typed(part, resource, text(resource, "uri")))
        }
        _ => None,
    };
    known.unwrap_or_else(|| json!({ "data": content }))
}

fn short(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_becomes_parts() {
        let result = json!({ "content": [
            { "type": "text", "text": "a" },
            { "type": "image", "data": "AAE=", "mimeType": "image/png" },
            { "type": "image", "data": "?", "mimeType": "image/png" },
            { "type": "resource_link", "uri": "file:///a", "name": "a" },
            { "type": "resource", "resource": { "uri": "file:///b", "mimeType": "text/x", "text": "b" } },
            { "type": "new" } ], "structuredContent": [1] });
        let end = told(&result);
        assert_eq!(end.stage, Stage::Completed);
        let wanted = json!([
            { "text": "a" },
            { "raw": "AAE=", "mediaType": "image/png" },
            { "data": { "type": "image", "data": "?", "mimeType": "image/png" } },
            { "url": "file:///a", "filename": "a" },
            { "text": "b", "mediaType": "text/x", "filename": "file:///b" },
            { "data": { "type": "new" } },
            { "data": [1] } ]);
        assert_eq!(Value::from(end.parts.unwrap()), wanted);
    }

    #[test]
    fn what_went_wrong_is_a_task_that_failed() {
        let end = told(&json!({ "isError": true, "content": [{ "type": "text", "text": "no such file" }] }));
        assert_eq!((end.stage, end.words.as_deref()), (Stage::Failed, Some("no such file")));
        assert!(end.parts.is_some());
        assert_eq!(told(&json!({ "resultType": "input_required", "content": [] })).stage, Stage::Failed);
        let read = |text: &str| read(&Message::json(text.to_owned()));
        let refused = read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32040,"message":"not allowed"}}"#);
        assert_eq!((refused.stage, refused.words.as_deref()), (Stage::Failed, Some("not allowed")));
        for none in ["", "{}", r#"{"result":1}"#] {
            assert!(read(none).words.unwrap().contains("not known"), "{none}");
        }
        assert!(read(&"x".repeat(limit::GATEWAY_TASK_ANSWER_MAX + 1)).words.unwrap().contains("it was done"));
    }
}
