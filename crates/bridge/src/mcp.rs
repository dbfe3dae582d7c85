//! What of MCP decides on the way: of which era a message is, and whether what stands beside it says the same as it does.

use nuncio_proto::call::Head;

use crate::jsonrpc::Envelope;

pub(crate) const VERSION: &str = "mcp-protocol-version";
pub(crate) const METHOD: &str = "mcp-method";
pub(crate) const NAME: &str = "mcp-name";

/// The first version without sessions. Versions are dates, so that their order is that of their texts.
const SESSIONLESS: &str = "2026-07-28";

/// How MCP goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// `initialize`, sessions, requests of the server.
    Sessions,
    /// Each request stands alone and says its version itself.
    Alone,
}

/// Of which era a message is: by what it says itself, else by the field beside it.
pub(crate) fn era(head: &Head, envelope: &Envelope) -> Era {
    let said = envelope.params.meta_version.as_deref().or_else(|| head.get(VERSION));
    if said.is_some_and(|version| version >= SESSIONLESS) { Era::Alone } else { Era::Sessions }
}

/// Whether the fields beside a message say what it says. `Err` names the field, for people.
///
/// A field that is there is held to the body in both eras: who routes by it, or allows by it, is not told another thing than the server is. Where it
/// must be there (requests over HTTP since 2026-07-28) is `strict`.
///
/// # Errors
/// One differs, or lacks: the error of [`crate::jsonrpc::Reason::Mismatch`].
pub(crate) fn agree(head: &Head, envelope: &Envelope, strict: bool) -> Result<(), &'static str> {
    if envelope.is_response() {
        let says = head.get(METHOD).is_some() || head.get(NAME).is_some();
        return if says { Err("a field says a method or a name, and the message is an answer") } else { Ok(()) };
    }
    let strict = strict && envelope.is_request() && era(head, envelope) == Era::Alone;
    let version = envelope.params.meta_version.as_deref();
    if differs(head.get(VERSION), version, strict) {
        return Err("the field mcp-protocol-version does not say what _meta says");
    }
    if differs(head.get(METHOD), Some(&envelope.method), strict) {
        return Err("the field mcp-method does not say what the message says");
    }
    match (head.get(NAME).map(decoded), named(envelope)) {
        (None, Some(_)) if strict => Err("the field mcp-name is missing"),
        (Some(None), _) => Err("the field mcp-name cannot be read"),
        (Some(Some(field)), Some(name)) if field != name => {
            Err("the field mcp-name does not say what the message says")
        }
        // Of a task it may be the task's id.
        (Some(Some(_)), None) if !envelope.method.starts_with("tasks/") => {
            Err("the field mcp-name names what the message does not")
        }
        _ => Ok(()),
    }
}

/// A field and a member that both stand there must be equal. Of the version a member may lack: it is an older era's.
fn differs(field: Option<&str>, member: Option<&str>, strict: bool) -> bool {
    match (field, member) {
        (Some(field), Some(member)) => field != member,
        _ => strict,
    }
}

/// What `Mcp-Name` repeats.
pub(crate) fn named(envelope: &Envelope) -> Option<&str> {
    match envelope.method.as_str() {
        "tools/call" | "prompts/get" => envelope.params.name.as_deref(),
        "resources/read" => envelope.params.uri.as_deref(),
        _ => None,
    }
}

/// A value that a field cannot hold is written `=?base64?…?=`.
fn decoded(field: &str) -> Option<String> {
    match field.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(base64) => String::from_utf8(data_encoding::BASE64.decode(base64.as_bytes()).ok()?).ok(),
        None => Some(field.to_owned()),
    }
}

/// The other way.
pub(crate) fn encoded(name: &str) -> String {
    let plain = name.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && name.trim_matches(' ') == name;
    if plain && !name.starts_with("=?base64?") {
        return name.to_owned();
    }
    format!("=?base64?{}?=", data_encoding::BASE64.encode(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "2026-07-28";

    fn call(meta: &str) -> Envelope {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"ä","_meta":{{{meta}}}}}}}"#);
        Envelope::read(text.as_bytes()).unwrap()
    }

    fn new() -> Envelope {
        call(r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#)
    }

    #[test]
    fn the_era_is_what_the_message_says() {
        assert_eq!(era(&Head::default(), &new()), Era::Alone);
        assert_eq!(era(&Head::default(), &call("")), Era::Sessions);
        assert_eq!(era(&Head::of([(VERSION, "2025-11-25")]), &call("")), Era::Sessions);
        assert_eq!(era(&Head::of([(VERSION, NEW)]), &call("")), Era::Alone);
    }

    #[test]
    fn every_name_has_a_field() {
        for name in ["a", "", "a b", " a", "ä", "a\nb", "=?base64?YQ==?=", "\u{0}"] {
            assert_eq!(decoded(&encoded(name)).as_deref(), Some(name));
            assert!(Head::default().set(NAME, &encoded(name)));
        }
    }

    #[test]
    fn a_field_says_what_the_message_says() {
        let good = [(VERSION, NEW), (METHOD, "tools/call"), (NAME, "=?base64?w6Q=?=")];
        assert_eq!(agree(&Head::of(good), &new(), true), Ok(()));
        assert_eq!(agree(&Head::default(), &new(), false), Ok(()));
        assert!(agree(&Head::default(), &new(), true).is_err());
        for (at, other) in
            [(0, "2027-01-01"), (0, ""), (1, "tools/list"), (1, "Tools/call"), (2, "a"), (2, "=?base64?w6R=?=")]
        {
            let mut bad = good;
            bad[at].1 = other;
            for strict in [true, false] {
                assert!(agree(&Head::of(bad), &new(), strict).is_err(), "{at} {other}");
            }
            let two = good.into_iter().enumerate().filter(|(no, _)| *no != at).map(|(_, field)| field);
            assert!(agree(&Head::of(two), &new(), true).is_err(), "without {at}");
        }
        // The version beside the method of an older era is that of its session, which its messages do not repeat.
        assert_eq!(agree(&Head::of([(VERSION, "2025-06-18")]), &call(""), true), Ok(()));
        // Said to be new, and not so in itself.
        assert!(agree(&Head::of(good), &call(""), true).is_err());
        assert!(agree(&Head::of([(METHOD, "tools/list")]), &call(""), false).is_err());
    }

    #[test]
    fn no_field_says_what_the_message_does_not() {
        let read = |text: &str| Envelope::read(text.as_bytes()).unwrap();
        let list = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#);
        let unnamed = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#);
        for message in [&list, &unnamed] {
            assert!(agree(&Head::of([(NAME, "a")]), message, false).is_err());
            assert_eq!(agree(&Head::of([(METHOD, message.method.as_str())]), message, false), Ok(()));
        }
        let answer = read(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        for field in [(METHOD, "tools/call"), (NAME, "a")] {
            assert!(agree(&Head::of([field]), &answer, false).is_err());
        }
        assert_eq!(agree(&Head::of([(VERSION, "2025-06-18")]), &answer, false), Ok(()));
        let task = read(r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"a"}}"#);
        assert_eq!(agree(&Head::of([(NAME, "a")]), &task, false), Ok(()));
    }
}
