//! What stands in A2A's requests, as far as it decides something here; members that are not known are passed over.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::config::{Does, Tool};
use super::rpc::Fault;

/// Longest id that a client gives.
const ID_LEN_MAX: usize = 128;
/// Parts of one message.
const PARTS_MAX: usize = 64;
/// Tasks on one page: where it is not said, and at most.
const PAGE: (usize, usize) = (50, 100);
/// What a task may be by A2A; some of it none is here.
const STATES: [&str; 8] = [
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
];

/// `SendMessage`, `SendStreamingMessage`
#[derive(Deserialize)]
pub(super) struct Send {
    message: Map<String, Value>,
    configuration: Option<Configuration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    return_immediately: Option<bool>,
    history_length: Option<i64>,
    task_push_notification_config: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    context_id: Option<String>,
    task_id: Option<String>,
    role: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    raw: Option<IgnoredAny>,
    url: Option<IgnoredAny>,
    data: Option<Value>,
}

/// A message that is good as far as it says itself.
#[derive(Debug)]
pub(super) struct New {
    /// As it was written.
    pub(super) message: Map<String, Value>,
    pub(super) context: Option<String>,
    /// The task that it is said to.
    pub(super) task: Option<String>,
    pub(super) waits: bool,
    pub(super) history: History,
    pub(super) wants: Wants,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wants {
    /// A completion of this text.
    Text(String),
    /// A call with these arguments.
    Arguments(Value),
}

/// How much of a task's history is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    All,
    None,
}

impl History {
    /// There is one message.
    fn read(len: Option<i64>) -> Result<Self, Fault> {
        match len {
            Some(..0) => Err(Fault::params("`historyLength` is not negative")),
            Some(0) => Ok(Self::None),
            _ => Ok(Self::All),
        }
    }
}

impl Send {
    /// Holds it against what the route does.
    // contracts/gateway.md W31 to W33.
    pub(super) fn check(self, does: &Does) -> Result<New, Fault> {
        let configuration = self.configuration.unwrap_or_default();
        if configuration.task_push_notification_config.is_some() {
            return Err(Fault::no_webhooks());
        }
        let message: Message = serde_json::from_value(Value::Object(self.message.clone()))
            .map_err(|error| Fault::params(format!("`message`: {error}")))?;
        if message.role != "ROLE_USER" {
            return Err(Fault::params("`role` of what is sent is ROLE_USER"));
        }
        let (context, task) = (given(message.context_id)?, given(message.task_id)?);
        given(Some(message.message_id))?.ok_or_else(|| Fault::params("`messageId` is missing"))?;
        if message.parts.is_empty() || message.parts.len() > PARTS_MAX {
            return Err(Fault::params(format!("a message has 1 to {PARTS_MAX} parts")));
        }
        Ok(New {
            message: self.message,
            context,
            task,
            waits: !configuration.return_immediately.unwrap_or(false),
            history: History::read(configuration.history_length)?,
            wants: wants(message.parts, does)?,
        })
    }
}

/// An id that a client gives; an empty one is none.
fn given(id: Option<String>) -> Result<Option<String>, Fault> {
    let id = id.filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > ID_LEN_MAX || id.contains(char::is_control)) {
        return Err(Fault::params(format!("an id has at most {ID_LEN_MAX} bytes")));
    }
    Ok(id)
}

fn wants(parts: Vec<Part>, does: &Does) -> Result<Wants, Fault> {
    let (mut texts, mut data) = (Vec::new(), Vec::new());
    for part in parts {
        match (part.text, part.data, part.raw.is_some() || part.url.is_some()) {
            (Some(text), None, false) => texts.push(text),
            (None, Some(value), false) => data.push(value),
            (None, None, true) => return Err(Fault::content("files are not taken here")),
            _ => return Err(Fault::params("a part has one of `text`, `data`, `raw` and `url`")),
        }
    }
    match does {
        Does::Complete(_) if data.is_empty() => Ok(Wants::Text(texts.join("\n\n"))),
        Does::Complete(_) => Err(Fault::content("text alone is taken here")),
        Does::Call(tool) => arguments(&texts, data, tool).map(Wants::Arguments),
    }
}

// contracts/gateway.md W33.
fn arguments(texts: &[String], mut data: Vec<Value>, tool: &Tool) -> Result<Value, Fault> {
    match (data.pop(), data.is_empty(), texts.is_empty(), &tool.argument) {
        (Some(one), true, true, _) if one.is_object() => Ok(one),
        (Some(_), ..) => Err(Fault::params("one `data` part that is an object is what the tool takes")),
        (None, _, _, Some(argument)) => {
            let text = Value::String(texts.join("\n\n"));
            Ok(Value::Object([(argument.clone(), text)].into_iter().collect()))
        }
        (None, ..) => Err(Fault::content("a `data` part is taken here, with the tool's arguments")),
    }
}

/// `GetTask`, `CancelTask`, `SubscribeToTask`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    pub(super) id: String,
    history_length: Option<i64>,
}

impl Named {
    pub(super) fn history(&self) -> Result<History, Fault> {
        History::read(self.history_length)
    }
}

/// `ListTasks`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    context_id: Option<String>,
    status: Option<String>,
    page_size: Option<i64>,
    page_token: Option<String>,
    history_length: Option<i64>,
    status_timestamp_after: Option<String>,
    include_artifacts: Option<bool>,
}

/// Which tasks are wanted.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) context: Option<String>,
    pub(super) state: Option<String>,
    pub(super) size: usize,
    /// Behind the task that was changed then.
    pub(super) behind: Option<(u64, String)>,
    pub(super) since_ms: u64,
    pub(super) history: History,
    pub(super) artifacts: bool,
}

impl List {
    pub(super) fn check(self) -> Result<Listed, Fault> {
        let size = self.page_size.map_or(Some(PAGE.0), |size| usize::try_from(size).ok());
        let size = size.filter(|size| (1..=PAGE.1).contains(size));
        let behind = self.page_token.filter(|token| !token.is_empty()).map(|token| {
            let (changed, id) = token.split_once('.')?;
            Some((changed.parse().ok()?, id.to_owned()))
        });
        let since = self.status_timestamp_after.map(|text| {
            let time: Timestamp = text.parse().ok()?;
            u64::try_from(time.as_millisecond()).ok()
        });
        let state = self.status.filter(|state| !state.is_empty() && state != "TASK_STATE_UNSPECIFIED");
        if state.as_ref().is_some_and(|state| !STATES.contains(&state.as_str())) {
            return Err(Fault::params("`status` is none of a task: TASK_STATE_COMPLETED and the like"));
        }
        Ok(Listed {
            context: self.context_id.filter(|context| !context.is_empty()),
            state,
            size: size.ok_or_else(|| Fault::params(format!("`pageSize` is 1 to {}", PAGE.1)))?,
            behind: read(behind, "pageToken")?,
            since_ms: read(since, "statusTimestampAfter")?.unwrap_or(0),
            history: History::read(self.history_length)?,
            artifacts: self.include_artifacts.unwrap_or(false),
        })
    }
}

fn read<T>(member: Option<Option<T>>, name: &str) -> Result<Option<T>, Fault> {
    member.map(|read| read.ok_or_else(|| Fault::params(format!("`{name}` cannot be read")))).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(argument: Option<&str>) -> Does {
        let argument = argument.map(str::to_owned);
        Does::Call(Tool { peer: "p".to_owned(), service: "files".parse().unwrap(), name: "look".to_owned(), argument })
    }

    fn wanted(parts: &Value, does: &Does) -> Result<Wants, String> {
        let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": parts });
        let send: Send = serde_json::from_value(json!({ "message": message })).unwrap();
        send.check(does).map(|new| new.wants).map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn a_model_takes_text_and_a_tool_what_its_owner_has_said() {
        let model = Does::Complete("m".to_owned());
        let (text, data) = (json!([{ "text": "a" }, { "text": "b" }]), json!([{ "data": { "a": 1 } }]));
        assert_eq!(wanted(&text, &model), Ok(Wants::Text("a\n\nb".to_owned())));
        assert_eq!(wanted(&data, &tool(None)), Ok(Wants::Arguments(json!({ "a": 1 }))));
        assert_eq!(wanted(&text, &tool(Some("q"))), Ok(Wants::Arguments(json!({ "q": "a\n\nb" }))));
        for (parts, does, code) in [
            (&data, &model, "-32005"),
            (&json!([{ "raw": "AA==" }]), &model, "-32005"),
            (&json!([{ "url": "https://a.example" }]), &tool(None), "-32005"),
            (&text, &tool(None), "-32005"),
            (&json!([{ "data": [1] }]), &tool(None), "-32602"),
            (&json!([{ "data": {} }, { "data": {} }]), &tool(None), "-32602"),
            (&json!([{ "data": {} }, { "text": "a" }]), &tool(Some("q")), "-32602"),
            (&json!([{ "text": "a", "data": {} }]), &model, "-32602"),
            (&json!([{}]), &model, "-32602"),
            (&json!([]), &model, "-32602"),
        ] {
            assert!(wanted(parts, does).unwrap_err().contains(code), "{parts}");
        }
    }

    #[test]
    fn a_message_says_who_it_is_and_wants_no_webhook() {
        let check = |message: Value, more: Value| {
            let send: Send = serde_json::from_value(json!({ "message": message, "configuration": more })).unwrap();
            send.check(&Does::Complete("m".to_owned())).map(|new| new.waits).map_err(|fault| format!("{fault:?}"))
        };
        let good = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "a" }], "metadata": {} });
        assert_eq!(check(good.clone(), json!({})), Ok(true));
        assert_eq!(check(good.clone(), json!({ "returnImmediately": true, "historyLength": 0 })), Ok(false));
        assert!(check(good.clone(), json!({ "historyLength": -1 })).is_err());
        let hook = json!({ "taskPushNotificationConfig": { "url": "https://a.example" } });
        assert!(check(good.clone(), hook).unwrap_err().contains("-32003"));
        for (name, value) in [
            ("messageId", json!("")),
            ("messageId", Value::Null),
            ("role", json!("ROLE_AGENT")),
            ("parts", json!("a")),
            ("contextId", json!("c".repeat(129))),
            ("contextId", json!("a\nb")),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(check(bad, json!({})).unwrap_err().contains("-32602"), "{name}");
        }
    }

    #[test]
    fn a_list_has_bounds() {
        let check = |list: Value| serde_json::from_value::<List>(list).unwrap().check();
        let usual = check(json!({})).unwrap();
        assert!(usual.size == 50 && !usual.artifacts && usual.behind.is_none() && usual.since_ms == 0);
        let all = json!({ "pageSize": 100, "pageToken": "7.id", "statusTimestampAfter": "1970-01-01T00:00:01Z" });
        let all = check(all).unwrap();
        assert_eq!((all.size, all.behind, all.since_ms), (100, Some((7, "id".to_owned())), 1_000));
        let state = |status: &str| check(json!({ "status": status })).unwrap().state;
        assert_eq!(state("TASK_STATE_AUTH_REQUIRED").as_deref(), Some("TASK_STATE_AUTH_REQUIRED"));
        assert_eq!((state("TASK_STATE_UNSPECIFIED"), state("")), (None, None));
        for bad in [
            json!({ "pageSize": 0 }),
            json!({ "pageSize": 101 }),
            json!({ "pageSize": -1 }),
            json!({ "pageToken": "x" }),
            json!({ "statusTimestampAfter": "yesterday" }),
            json!({ "historyLength": -1 }),
            json!({ "status": "FROB" }),
            json!({ "status": "completed" }),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
