//! The members that decide, each read once; all others are passed over without being kept.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::meter::{Budget, Meter};
use super::{Envelope, ID_LEN_MAX, Id, Kind, NotRead, Params};

/// Of a member's name, blanks in front of it among them.
const KEY_LEN_MAX: u64 = 4096;
/// Of a value that is kept, as it is written.
const VALUE_LEN_MAX: u64 = 16 * 1024;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

const WHOLE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: [&str; 8] =
    ["name", "uri", "arguments", "protocolVersion", "progressToken", "requestId", "task", "_meta"];
const META: [&str; 3] = ["progressToken", SUBSCRIPTION, META_VERSION];

const NOT_JSON: &str = "this is no JSON";
const BATCH: &str = "batch";

pub(super) fn read(from: impl Read) -> Result<Envelope, NotRead> {
    let budget = Budget::new();
    // A deserializer takes one byte after the other, so that the budget is exact.
    let mut json = serde_json::Deserializer::from_reader(Meter::new(from, budget.clone()));
    let seen = Object { budget: &budget, names: &WHOLE, sink: Whole::default() }.deserialize(&mut json);
    let seen = seen.and_then(|seen| json.end().map(|()| seen)).map_err(not_read)?;
    seen.envelope()
}

fn not_read(error: serde_json::Error) -> NotRead {
    let text = error.to_string();
    let own = [TWICE, OTHER_CASE, TOO_LONG].into_iter().find(|known| text.starts_with(known));
    match error.classify() {
        Category::Data if text.starts_with(BATCH) => NotRead::Batch,
        Category::Data => NotRead::Malformed(own.unwrap_or("this is no JSON-RPC message: an object is wanted")),
        Category::Io if error.io_error_kind() == Some(std::io::ErrorKind::InvalidData) => NotRead::Malformed(TOO_LONG),
        Category::Io => NotRead::Io(error.into()),
        Category::Syntax | Category::Eof => NotRead::Json(NOT_JSON),
    }
}

const TWICE: &str = "a member that decides stands twice";
const OTHER_CASE: &str = "a member has the name of one that decides in another case";
const TOO_LONG: &str = "it is too deep, or its id, method or a name in it too long";

/// Where the members that decide go. `true`: it was one, and its value was taken.
trait Sink<'de>: Sized {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A, budget: &Budget) -> Result<(), A::Error>;
}

struct Object<'a, S> {
    budget: &'a Budget,
    names: &'a [&'static str],
    sink: S,
}

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for Object<'_, S> {
    type Value = S;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for Object<'_, S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<S, A::Error> {
        let mut seen = Vec::new();
        loop {
            self.budget.kept(KEY_LEN_MAX);
            let Some(key) = map.next_key::<String>()? else { break };
            self.budget.passed();
            match name_of(self.names, &key).map_err(A::Error::custom)? {
                Some(name) if seen.contains(&name) => return Err(A::Error::custom(TWICE)),
                Some(name) => {
                    seen.push(name);
                    self.sink.take(name, &mut map, self.budget)?;
                }
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        self.budget.passed();
        Ok(self.sink)
    }

    /// A batch, or parameters by position: nothing in it decides.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<S, A::Error> {
        self.budget.passed();
        if self.names == WHOLE {
            return Err(A::Error::custom(BATCH));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.sink)
    }

    fn visit_unit<E>(self) -> Result<S, E> {
        Ok(self.sink)
    }
}

/// Which member it is, if one that decides. Some readers (Go's, for one) take a name in any case, by Unicode's simple folding: to them it would be the
/// same member, and to others none.
fn name_of(names: &[&'static str], key: &str) -> Result<Option<&'static str>, &'static str> {
    if let Some(name) = names.iter().find(|name| **name == key) {
        return Ok(Some(name));
    }
    let folded = fold(key);
    if names.iter().any(|name| fold(name) == folded) { Err(OTHER_CASE) } else { Ok(None) }
}

fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

/// A value that is kept: short, or the message is refused. What is no text or number becomes null or nothing.
struct Short;

impl<'de> DeserializeSeed<'de> for Short {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Short {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

fn short<'de, A: MapAccess<'de>>(map: &mut A, budget: &Budget) -> Result<Option<Value>, A::Error> {
    budget.kept(VALUE_LEN_MAX);
    map.next_value_seed(Short)
}

fn text(value: Option<Value>) -> Option<String> {
    if let Some(Value::String(text)) = value { Some(text) } else { None }
}

fn token<E: serde::de::Error>(value: Option<Value>) -> Result<Option<Id>, E> {
    match value {
        Some(value @ Value::String(_)) => Id::of(value).map(Some).ok_or_else(|| E::custom(TOO_LONG)),
        Some(value) => Ok(Id::of(value).filter(|id| !id.is_null())),
        None => Ok(None),
    }
}

#[derive(Default)]
struct Whole {
    version: Option<String>,
    /// There, and what it is: `None` within, where it is no id.
    id: Option<Option<Id>>,
    method: Option<Option<String>>,
    params: Params,
    result: bool,
    error: bool,
}

impl<'de> Sink<'de> for Whole {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A, budget: &Budget) -> Result<(), A::Error> {
        match name {
            "jsonrpc" => self.version = text(short(map, budget)?),
            "id" => self.id = Some(short(map, budget)?.and_then(Id::of)),
            "method" => self.method = Some(text(short(map, budget)?).filter(|method| method.len() <= ID_LEN_MAX)),
            "params" => {
                let sink = Object { budget, names: &PARAMS, sink: Inner(Params::default()) };
                self.params = map.next_value_seed(sink)?.0;
            }
            "result" => (self.result, _) = (true, map.next_value::<IgnoredAny>()?),
            _ => (self.error, _) = (true, map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

struct Inner(Params);

impl<'de> Sink<'de> for Inner {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A, budget: &Budget) -> Result<(), A::Error> {
        match name {
            "name" => self.0.name = text(short(map, budget)?),
            "uri" => self.0.uri = text(short(map, budget)?),
            "protocolVersion" => self.0.version = text(short(map, budget)?),
            "progressToken" => self.0.progress = token(short(map, budget)?)?,
            "requestId" => self.0.request = token(short(map, budget)?)?,
            "task" => (self.0.task, _) = (true, map.next_value::<IgnoredAny>()?),
            "_meta" => {
                let params = std::mem::take(&mut self.0);
                self.0 = map.next_value_seed(Object { budget, names: &META, sink: Meta(params) })?.0;
            }
            // Its name decides: where what is called stands, nothing may stand that another reader takes for it.
            _ => map.next_value::<IgnoredAny>().map(drop)?,
        }
        Ok(())
    }
}

struct Meta(Params);

impl<'de> Sink<'de> for Meta {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A, budget: &Budget) -> Result<(), A::Error> {
        match name {
            "progressToken" => self.0.token = token(short(map, budget)?)?,
            SUBSCRIPTION => self.0.subscription = token(short(map, budget)?)?,
            _ => self.0.meta_version = text(short(map, budget)?),
        }
        Ok(())
    }
}

impl Whole {
    fn envelope(self) -> Result<Envelope, NotRead> {
        let malformed = |why| Err(NotRead::Malformed(why));
        if self.version.as_deref() != Some("2.0") {
            return malformed("`jsonrpc` is not \"2.0\"");
        }
        let id = match self.id {
            Some(None) => return malformed("`id` is no text of at most 256 bytes, integer or null"),
            other => other.flatten(),
        };
        let method = match self.method {
            Some(None) => return malformed("`method` is no text of at most 256 bytes"),
            other => other.flatten(),
        };
        let kind = match (&method, self.result, self.error) {
            (Some(_), false, false) if id.is_some() => Kind::Request,
            (Some(_), false, false) => Kind::Notification,
            (None, true, false) | (None, false, true) if id.is_some() => Kind::Response { error: self.error },
            _ => return malformed("one of `method`, or `id` with `result` or `error`, is wanted"),
        };
        Ok(Envelope { kind, id, method: method.unwrap_or_default(), params: self.params })
    }
}
