//! Addresses that a message would have the agent call.

use std::fmt;
use std::io::Read;

use nuncio_proto::ids::CallSessionId;
use reqwest::Url;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What a method or member has in its name where an address stands that will be called.
const WEBHOOK: &str = "pushnotification";
/// More in one message are not looked at: it is refused.
const WEBHOOKS_MAX: usize = 64;

/// What stands in a client's address's stead on the way; behind it, the session in which the client is told.
// contracts/call.md X46.
pub(crate) const CALLBACK: &str = "nuncio:callback:";

/// An address at which a client would be told something, and what stands beside it for whoever calls it.
pub(crate) struct Given<'a> {
    /// The address.
    pub(crate) url: &'a str,
    /// What it would be shown.
    pub(crate) token: Option<&'a Value>,
    /// How it would be asked.
    pub(crate) authentication: Option<&'a Value>,
}

/// Puts another address in the place of each, and takes out what stands beside one that is another now. `false`: one has no other.
pub(crate) fn swap(method: &str, message: &mut Value, other: &mut dyn FnMut(Given<'_>) -> Option<String>) -> bool {
    swap_in(message, plain(method).contains(WEBHOOK), other)
}

fn swap_in(value: &mut Value, within: bool, other: &mut dyn FnMut(Given<'_>) -> Option<String>) -> bool {
    match value {
        Value::Array(all) => all.iter_mut().all(|one| swap_in(one, within, other)),
        Value::Object(members) => {
            let own = !within || swap_own(members, other);
            own && members.iter_mut().all(|(name, value)| {
                let name = plain(name);
                (within && name == "url") || swap_in(value, within || name.contains(WEBHOOK), other)
            })
        }
        _ => true,
    }
}

/// The addresses of one object.
fn swap_own(members: &mut Map<String, Value>, other: &mut dyn FnMut(Given<'_>) -> Option<String>) -> bool {
    let named = |wanted: &str| members.keys().filter(|name| plain(name) == wanted).cloned().collect::<Vec<_>>();
    let (urls, secrets) = (named("url"), [named("token"), named("authentication")]);
    for name in urls {
        let of = |names: &[String]| names.first().and_then(|name| members.get(name));
        let [token, authentication] = secrets.each_ref().map(|names| of(names));
        let Some(url) = members.get(&name).and_then(Value::as_str) else { return false };
        let Some(swapped) = other(Given { url, token, authentication }) else { return false };
        if swapped != url {
            members.insert(name, swapped.into());
            secrets.iter().flatten().for_each(|secret| drop(members.remove(secret)));
        }
    }
    true
}

/// Whether an address begins with another, and with nothing that only looks like it.
pub(crate) fn is_of(url: &str, allowed: &str) -> bool {
    url.strip_prefix(allowed)
        .is_some_and(|rest| rest.is_empty() || allowed.ends_with('/') || rest.starts_with(['/', '?']))
}

/// A session's id in hexadecimal digits.
pub(crate) fn session_of(text: &str) -> Option<CallSessionId> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()?;
    Some(CallSessionId::from_bytes(bytes))
}

/// All of a message, in their order; blocks where it is in a file.
///
/// # Errors
/// It is no JSON, or has too many.
// contracts/call.md X37.
pub(crate) fn webhooks(method: &str, from: impl Read) -> Result<Vec<String>, serde_json::Error> {
    let mut found = Vec::new();
    let mut json = serde_json::Deserializer::from_reader(std::io::BufReader::new(from));
    Walk { within: plain(method).contains(WEBHOOK), is_url: false, found: &mut found }.deserialize(&mut json)?;
    Ok(found)
}

/// What an owner names of an address, as it is held against one: scheme, host and port.
///
/// # Errors
/// It is no such thing: why, for people.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let origin = Url::parse(text).map(|url| url.origin().ascii_serialization());
    match origin {
        Ok(origin) if origin == text && text.starts_with("http") => Ok(origin),
        _ => Err(format!("`webhooks`: {text} is no origin: scheme, host and port alone, as https://hooks.example")),
    }
}

/// A name without what JSON's readers pass over in it.
fn plain(name: &str) -> String {
    // Some readers fold all of Unicode: an s may be written U+017F.
    name.chars().filter(|one| *one != '_').flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

struct Walk<'a> {
    /// Inside of what is named so.
    within: bool,
    is_url: bool,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.within && self.is_url {
            if self.found.len() >= WEBHOOKS_MAX {
                return Err(E::custom("too many webhooks"));
            }
            self.found.push(text.to_owned());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Walk { within, is_url, found } = self;
        while list.next_element_seed(Walk { within, is_url, found: &mut *found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { within, found, .. } = self;
        while let Some(name) = map.next_key::<String>()? {
            let name = plain(&name);
            let within = within || name.contains(WEBHOOK);
            map.next_value_seed(Walk { within, is_url: name == "url", found: &mut *found })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_that_would_be_called_is_found() {
        for (method, text) in [
            ("SendMessage", r#"{"params":{"configuration":{"taskPushNotificationConfig":{"url":"u"}}}}"#),
            ("SendMessage", r#"{"params":{"configuration":{"task_push_notification_config":{"url":"u"}}}}"#),
            ("message/send", r#"{"params":{"configuration":{"pushNotificationConfig":{"x":1,"url":"u"}}}}"#),
            ("message/stream", r#"{"params":{"configuration":{"pushNotification":{"a":[{"URL":"u"}]}}}}"#),
            ("message/send", r#"{"params":{"push\u004eotificationConfig":{"\u0075rl":"u"}}}"#),
            ("message/send", r#"{"params":{"pu\u017fhNotificationConfig":{"url":"u"}}}"#),
            ("CreateTaskPushNotificationConfig", r#"{"params":{"taskId":"t","url":"u"}}"#),
            (
                "tasks/pushNotificationConfig/set",
                r#"{"params":{"pushNotificationConfig":{"url":"u","authentication":null}}}"#,
            ),
            ("tasks/pushNotification/set", r#"{"params":[true,{"config":{"url":["u"]}}]}"#),
        ] {
            assert_eq!(webhooks(method, text.as_bytes()).unwrap(), ["u"], "{text}");
        }
        let twice = r#"{"params":{"pushNotificationConfig":{"url":"a"},"pushNotificationConfig":{"url":"b"}}}"#;
        assert_eq!(webhooks("x", twice.as_bytes()).unwrap(), ["a", "b"]);
        let none = r#"{"params":{"message":{"parts":[{"url":"https://a.example","text":"x"}],"n":-1.5e3}}}"#;
        assert!(webhooks("SendMessage", none.as_bytes()).unwrap().is_empty());
        let many = format!(r#"{{"pushNotification":{{"url":["x"{}]}}}}"#, ",\"x\"".repeat(WEBHOOKS_MAX));
        assert!(webhooks("x", many.as_bytes()).is_err() && webhooks("x", &b"{"[..]).is_err());
    }

    #[test]
    fn what_is_swapped_goes_without_what_stands_beside_it() {
        let with = |url: &str| {
            serde_json::json!({ "params": { "id": "x", "url": "kept", "pushNotificationConfig":
            { "url": url, "token": "t", "Authentication": { "schemes": ["Bearer"], "credentials": "c" }, "x": [{ "url": url }] } } })
        };
        let mut message = with("a");
        let mut given = Vec::new();
        assert!(swap("SendMessage", &mut message, &mut |one| {
            given.push((one.url.to_owned(), one.token.cloned(), one.authentication.is_some()));
            Some("b".to_owned())
        }));
        assert_eq!(given, [("a".to_owned(), Some("t".into()), true), ("a".to_owned(), None, false)]);
        let wanted = serde_json::json!({ "params": { "id": "x", "url": "kept", "pushNotificationConfig": { "url": "b", "x": [{ "url": "b" }] } } });
        assert_eq!(message, wanted);
        // One that stands there twice goes twice.
        let mut twice =
            serde_json::json!({ "pushNotification": { "url": "a", "token": "s", "Token": "t", "to_ken": "u" } });
        assert!(swap("x", &mut twice, &mut |_| Some("b".to_owned())));
        assert_eq!(twice, serde_json::json!({ "pushNotification": { "url": "b" } }));
        let mut same = with("a");
        assert!(swap("SendMessage", &mut same, &mut |one| Some(one.url.to_owned())) && same == with("a"));
        assert!(!swap("SendMessage", &mut with("a"), &mut |_| None));
        let mut odd = serde_json::json!({ "pushNotification": { "url": ["a"] } });
        assert!(!swap("x", &mut odd, &mut |_| Some("b".to_owned())), "what is no text is not passed on");
    }

    #[test]
    fn an_address_is_of_another_at_a_boundary_alone() {
        for good in ["https://a.example/h", "https://a.example/h/x", "https://a.example/h?x"] {
            assert!(is_of(good, "https://a.example/h"), "{good}");
        }
        for bad in ["https://a.example/hx", "https://a.example", "https://a.example.evil/h", "http://a.example/h"] {
            assert!(!is_of(bad, "https://a.example/h"), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_written_in_one_way() {
        for good in ["https://hooks.example", "http://127.0.0.1:9000", "https://[::1]:1"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in
            ["hooks.example", "https://hooks.example/", "https://a@b.example", "https://A.example", "file:///a", ""]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
