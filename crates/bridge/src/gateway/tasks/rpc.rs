//! Requests of A2A's JSON-RPC binding, and answers to them (contracts/gateway.md W31).

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::front::reading::{self, Kind, Unread};

/// The version that is spoken.
pub(super) const VERSION: &str = "1.0";
/// The field that names it.
const FIELD: &str = "a2a-version";

/// An error of A2A, or of JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: i32,
    /// A2A's name for it.
    reason: &'static str,
    message: String,
}

impl Fault {
    fn new(code: i32, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// There is none, or it is another's.
    pub(super) fn no_task() -> Self {
        Self::new(-32001, "TASK_NOT_FOUND", "there is no such task")
    }

    pub(super) fn not_cancelable() -> Self {
        Self::new(-32002, "TASK_NOT_CANCELABLE", "the task has ended")
    }

    pub(super) fn no_webhooks() -> Self {
        Self::new(-32003, "PUSH_NOTIFICATION_NOT_SUPPORTED", "no webhooks are called: subscribe to the task")
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(-32004, "UNSUPPORTED_OPERATION", message)
    }

    pub(super) fn content(message: impl Into<String>) -> Self {
        Self::new(-32005, "CONTENT_TYPE_NOT_SUPPORTED", message)
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(-32602, "INVALID_PARAMS", message)
    }

    fn version() -> Self {
        Self::new(-32009, "VERSION_NOT_SUPPORTED", format!("A2A-Version is {VERSION} here"))
    }

    fn method() -> Self {
        Self::new(-32601, "METHOD_NOT_FOUND", "there is no such method")
    }

    fn request(message: impl Into<String>) -> Self {
        Self::new(-32600, "INVALID_REQUEST", message)
    }

    fn value(&self) -> Value {
        let detail = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.reason, "domain": "a2a-protocol.org" });
        json!({ "code": self.code, "message": self.message, "data": [detail] })
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Send,
    SendStreaming,
    Get,
    List,
    Cancel,
    Subscribe,
}

/// A request of this version.
#[derive(Debug)]
pub(super) struct Request {
    /// As it is written.
    pub(super) id: String,
    pub(super) method: Method,
    params: Value,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    params: Value,
}

impl Request {
    /// Reads it.
    ///
    /// # Errors
    /// It is none, or none that is served: what answers it.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Box<Response>> {
        let told = |id: Option<&str>, fault: &Fault| Box::new(failed(id, fault));
        let reading = reading::read(body).map_err(|unread| match unread {
            Unread::Json(why) => told(None, &Fault::new(-32700, "JSON_PARSE_ERROR", format!("no JSON: {why}"))),
            Unread::Rpc(why) => told(None, &Fault::request(why)),
        })?;
        let Kind::Request(id) = &reading.kind else {
            return Err(told(None, &Fault::request("a request has an id and a method")));
        };
        let id = id.raw().to_owned();
        let checked = checked(headers, reading.method.as_deref().unwrap_or_default());
        let method = checked.map_err(|fault| told(Some(&id), &fault))?;
        let whole: Whole =
            serde_json::from_slice(body).map_err(|error| told(Some(&id), &Fault::params(error.to_string())))?;
        Ok(Self { id, method, params: whole.params })
    }

    /// What stands in it: the form, and as it was written.
    pub(super) fn params<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        // By position nothing is named here: JSON-RPC's other form is none of A2A.
        let params = match &self.params {
            Value::Null => json!({}),
            Value::Object(_) => self.params.clone(),
            _ => return Err(Fault::params("`params` is an object")),
        };
        serde_json::from_value(params).map_err(|error| Fault::params(error.to_string()))
    }

    /// Its answer.
    pub(super) fn answered(&self, result: &Result<Value, Fault>) -> Response {
        match result {
            Ok(result) => whole(said(&self.id, result)),
            Err(fault) => failed(Some(&self.id), fault),
        }
    }
}

fn checked(headers: &HeaderMap, method: &str) -> Result<Method, Fault> {
    let mut named = headers.get_all(FIELD).iter();
    if !is_version(named.next()) || named.next().is_some() {
        return Err(Fault::version());
    }
    match method {
        "SendMessage" => Ok(Method::Send),
        "SendStreamingMessage" => Ok(Method::SendStreaming),
        "GetTask" => Ok(Method::Get),
        "ListTasks" => Ok(Method::List),
        "CancelTask" => Ok(Method::Cancel),
        "SubscribeToTask" => Ok(Method::Subscribe),
        "CreateTaskPushNotificationConfig"
        | "GetTaskPushNotificationConfig"
        | "ListTaskPushNotificationConfigs"
        | "DeleteTaskPushNotificationConfig" => Err(Fault::no_webhooks()),
        "GetExtendedAgentCard" => Err(Fault::unsupported("there is no other card than the one for everybody")),
        _ => Err(Fault::method()),
    }
}

/// Whether a request means this version: a patch number says nothing.
fn is_version(named: Option<&HeaderValue>) -> bool {
    let Some(rest) = named.and_then(|value| value.to_str().ok()?.trim().strip_prefix(VERSION)) else { return false };
    let patch = rest.strip_prefix('.').unwrap_or("0");
    (rest.is_empty() || rest.starts_with('.')) && !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())
}

/// A response with a result; `id` as it stood in the request.
pub(super) fn said(id: &str, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn failed(id: Option<&str>, fault: &Fault) -> Response {
    whole(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#, id.unwrap_or("null"), fault.value()))
}

fn whole(body: String) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn method(versions: &[&str], name: &str) -> Result<Method, i32> {
        let fields = versions.iter().map(|value| (FIELD.parse().unwrap(), value.parse().unwrap()));
        let headers = fields.fold(HeaderMap::new(), |mut all, (name, value): (header::HeaderName, HeaderValue)| {
            all.append(name, value);
            all
        });
        checked(&headers, name).map_err(|fault| fault.code)
    }

    #[test]
    fn one_version_is_spoken() {
        assert_eq!(method(&["1.0"], "GetTask"), Ok(Method::Get));
        assert_eq!(method(&["1.0.3"], "GetTask"), Ok(Method::Get));
        for bad in [&[][..], &[""], &["0.3"], &["1"], &["1.1"], &["1.00"], &["1.0."], &["1.0.x"], &["1.0", "1.0"]] {
            assert_eq!(method(bad, "GetTask"), Err(-32009), "{bad:?}");
        }
    }

    #[test]
    fn params_are_named() {
        let with = |params: Value| {
            let request = Request { id: "1".to_owned(), method: Method::List, params };
            request.params::<BTreeMap<String, Value>>().map_err(|fault| (fault.code, fault.message))
        };
        assert_eq!(with(Value::Null), Ok(BTreeMap::new()));
        assert!(with(json!({ "id": "a" })).is_ok());
        for bad in [json!([]), json!(["a", null]), json!("a"), json!(1), json!(true)] {
            assert_eq!(with(bad.clone()), Err((-32602, "`params` is an object".to_owned())), "{bad}");
        }
        // What is read in order of its members is read by their names alone.
        let request = Request { id: "1".to_owned(), method: Method::Get, params: json!(["a", null]) };
        assert!(request.params::<super::super::forms::Named>().is_err());
    }

    #[test]
    fn what_is_not_served_has_a2a_s_own_error() {
        assert_eq!(method(&["1.0"], "message/send"), Err(-32601));
        assert_eq!(method(&["1.0"], "CreateTaskPushNotificationConfig"), Err(-32003));
        assert_eq!(method(&["1.0"], "GetExtendedAgentCard"), Err(-32004));
    }
}
