//! What has to be known of a message to bring it to its place. The rest is passed over, and nothing of it is kept.

use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Longest id of a request, as it is written: it is kept with the request.
const ID_LEN_MAX: usize = 1024;

/// A message, as far as it is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// What it is.
    pub(crate) kind: Kind,
    /// What a request or notification asks for.
    pub(crate) method: Option<String>,
    /// `params.name`, or `params.uri`.
    pub(crate) name: Option<String>,
    /// The version that stands in `params._meta`.
    pub(crate) version: Option<String>,
    /// The code of an error.
    pub(crate) error: Option<i64>,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Wants an answer.
    Request(RpcId),
    /// Wants none.
    Notification,
    /// Is one: to what, where that is said.
    Response(Option<RpcId>),
}

/// The id of a request. Two are equal when they are as JSON.
#[derive(Clone, Debug)]
pub(crate) struct RpcId {
    raw: String,
    text: Option<String>,
}

impl RpcId {
    /// As it is written in JSON.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }
}

impl PartialEq for RpcId {
    fn eq(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => self.raw == other.raw,
            _ => false,
        }
    }
}

impl Eq for RpcId {}

/// Why a message is none.
#[derive(Debug)]
pub(crate) enum Unread {
    /// No JSON.
    Json(String),
    /// JSON, and no message.
    Rpc(&'static str),
}

/// Reads a message to its end.
pub(crate) fn read(source: impl Read) -> Result<Reading, Unread> {
    let mut json = serde_json::Deserializer::from_reader(source);
    let outer = Outer::deserialize(&mut json).and_then(|outer| json.end().map(|()| outer));
    let outer = outer.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Unread::Rpc("not one JSON-RPC message: an object with each member once"),
        _ => Unread::Json(error.to_string()),
    })?;
    outer.sort()
}

#[derive(Deserialize)]
struct Outer {
    #[serde(default)]
    jsonrpc: Text,
    #[serde(default, deserialize_with = "there")]
    id: Option<Box<RawValue>>,
    method: Option<String>,
    #[serde(default)]
    params: Params,
    #[serde(default, deserialize_with = "passed_over")]
    result: bool,
    #[serde(default)]
    error: Option<Code>,
}

impl Outer {
    fn sort(self) -> Result<Reading, Unread> {
        if self.jsonrpc.0.as_deref() != Some("2.0") {
            return Err(Unread::Rpc("`jsonrpc` is not \"2.0\""));
        }
        let answers = self.result || self.error.is_some();
        let id = self.id.as_deref().map(rpc_id).transpose()?;
        let kind = match (&self.method, id, answers) {
            (Some(_), Some(Some(id)), false) => Kind::Request(id),
            (Some(_), None, false) => Kind::Notification,
            (None, Some(id), true) => Kind::Response(id),
            (None, None, true) if self.error.is_some() => Kind::Response(None),
            _ => return Err(Unread::Rpc("neither a request, a notification nor a response")),
        };
        let Params { name, uri, version } = self.params;
        let error = self.error.map(|error| error.code.unwrap_or(0));
        Ok(Reading { kind, method: self.method, name: name.or(uri), version, error })
    }
}

/// `None` of null.
fn rpc_id(raw: &RawValue) -> Result<Option<RpcId>, Unread> {
    let raw = raw.get();
    if raw == "null" {
        return Ok(None);
    }
    if raw.len() > ID_LEN_MAX {
        return Err(Unread::Rpc("the id is longer than 1,024 bytes"));
    }
    let text = if raw.starts_with('"') {
        Some(serde_json::from_str(raw).map_err(|_| Unread::Rpc("the id is no text"))?)
    } else if raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        None
    } else {
        return Err(Unread::Rpc("the id is neither text nor number"));
    };
    Ok(Some(RpcId { raw: raw.to_owned(), text }))
}

fn there<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(source).map(Some)
}

fn passed_over<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(source).map(|IgnoredAny| true)
}

#[derive(Deserialize)]
struct Code {
    code: Option<i64>,
}

/// A text; anything else is passed over.
#[derive(Default)]
struct Text(Option<String>);

/// Members of an object that are looked at; anything else is passed over.
#[derive(Default)]
struct Params {
    name: Option<String>,
    uri: Option<String>,
    version: Option<String>,
}

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Takes any value; `object` and `text` see theirs.
struct Any<T> {
    out: T,
    object: fn(&mut T, &str, Text),
    text: fn(&mut T, &str),
    /// Whether the object's `_meta` is gone into.
    meta: fn(&mut T, Option<String>),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Any {
            out: Self::default(),
            object: |_, _, _| {},
            text: |out, text| out.0 = Some(text.to_owned()),
            meta: |_, _| {},
        })
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Any {
            out: Self::default(),
            object: |out: &mut Self, key, value| match key {
                "name" => out.name = value.0,
                "uri" => out.uri = value.0,
                _ => {}
            },
            text: |_, _| {},
            meta: |out, version| out.version = version,
        })
    }
}

/// `_meta`: its version.
#[derive(Default)]
struct Meta(Option<String>);

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Any {
            out: Self::default(),
            object: |out: &mut Self, key, value| {
                if key == VERSION {
                    out.0 = value.0;
                }
            },
            text: |_, _| {},
            meta: |_, _| {},
        })
    }
}

impl<'de, T> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Ok(self.out)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Ok(self.out)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Ok(self.out)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Ok(self.out)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<T, E> {
        (self.text)(&mut self.out, text);
        Ok(self.out)
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(self.out)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.out)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<T, A::Error> {
        // A member that stands twice is read in two ways by two readers.
        let mut seen = [false; 4];
        while let Some(key) = members.next_key::<String>()? {
            let known = ["name", "uri", "_meta", VERSION].into_iter().zip(&mut seen).find(|(name, _)| *name == key);
            let Some((_, seen)) = known else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(seen, true) {
                return Err(A::Error::custom("a member stands twice"));
            }
            if key == "_meta" {
                let Meta(version) = members.next_value()?;
                (self.meta)(&mut self.out, version);
            } else {
                let text = members.next_value()?;
                (self.object)(&mut self.out, &key, text);
            }
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Reading, Unread> {
        read(text.as_bytes())
    }

    #[test]
    fn messages_are_told_apart_and_ids_stay_as_they_were_written() {
        let call = of(r#" {"jsonrpc":"2.0","id":1e2,"method":"tools/call","params":{"name":"a","arguments":{"name":"b"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}} "#).unwrap();
        let Kind::Request(id) = &call.kind else { panic!("{call:?}") };
        assert_eq!((id.raw(), call.name.as_deref()), ("1e2", Some("a")));
        assert_eq!(call.version.as_deref(), Some("2026-07-28"));
        assert_eq!(of(r#"{"jsonrpc":"2.0","method":"x","params":[1,{"name":2}]}"#).unwrap().kind, Kind::Notification);
        let answer = of(r#"{"jsonrpc":"2.0","id":"\u0061","result":null}"#).unwrap();
        let same = of(r#"{"id":"a","error":{"code":-32601,"message":""},"jsonrpc":"2.0"}"#).unwrap();
        assert_eq!(answer.kind, same.kind);
        assert_eq!((answer.error, same.error), (None, Some(-32601)));
        let open = of(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#).unwrap();
        assert_eq!(open.kind, Kind::Response(None));
    }

    #[test]
    fn what_is_no_message_is_told_apart_from_what_is_no_json() {
        for broken in ["", "{", "nonsense", r#"{"jsonrpc":"2.0","method":"x"} 1"#, "\u{feff}{}"] {
            assert!(matches!(of(broken), Err(Unread::Json(_))), "{broken}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"x"}}"#, "a".repeat(1024));
        for wrong in [
            "[]",
            "1",
            "{}",
            r#"[{"jsonrpc":"2.0","method":"x"}]"#,
            r#"{"jsonrpc":"1.0","method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":[],"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}"#,
            &long,
        ] {
            assert!(matches!(of(wrong), Err(Unread::Rpc(_))), "{wrong}");
        }
    }
}
