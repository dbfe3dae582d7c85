use std::io::{self, Read};

use proptest::prelude::*;

use super::{Envelope, Id, Kind, NotRead, Reason, error};

fn read(text: &str) -> Result<Envelope, NotRead> {
    Envelope::read(text.as_bytes())
}

fn good(text: &str) -> Envelope {
    read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn bad(text: &str) {
    let answer = read(text);
    assert!(matches!(answer, Err(NotRead::Malformed(_) | NotRead::Json(_))), "{text}: {answer:?}");
}

fn id(json: &str) -> Id {
    good(&format!(r#"{{"jsonrpc":"2.0","id":{json},"method":"ping"}}"#)).id.unwrap()
}

#[test]
fn every_kind_is_told_from_the_others() {
    let request = good(r#" {"id":7,"params":{"name":"a","x":[{}]},"method":"tools/call","jsonrpc":"2.0"} "#);
    assert_eq!((request.kind, request.id.clone().unwrap().to_string().as_str()), (Kind::Request, "7"));
    assert_eq!((request.method.as_str(), request.params.name.as_deref()), ("tools/call", Some("a")));
    let note =
        good(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.5}}"#);
    assert_eq!((note.kind, note.params.progress), (Kind::Notification, Some(id("\"p\""))));
    assert_eq!(good(r#"{"jsonrpc":"2.0","id":"x","result":null}"#).kind, Kind::Response { error: false });
    assert_eq!(good(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#).kind, Kind::Response { error: true });
    let meta = good(
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b","_meta":{"progressToken":5,
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/subscriptionId":1}}}"#,
    );
    assert_eq!(meta.params.meta_version.as_deref(), Some("2026-07-28"));
    assert_eq!((meta.params.token, meta.params.subscription), (Some(id("5")), Some(id("1"))));
    assert_eq!(good(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1,{"name":"b"}]}"#).params.name, None);
}

#[test]
fn ids_are_equal_by_value() {
    assert_eq!(id(r#""a/b""#), id(r#""a\/\u0062""#));
    for different in [id("\"1\""), id("-1"), id("18446744073709551615"), id("null"), id("\"\"")] {
        assert_ne!(id("1"), different);
    }
    assert_eq!(id(&format!("\"{}\"", "é".repeat(128))).to_string().len(), 258);
    for other in ["1.0", "1e3", "18446744073709551616", "true", "[]", "{}", &format!("\"{}\"", "a".repeat(257))] {
        bad(&format!(r#"{{"jsonrpc":"2.0","id":{other},"method":"ping"}}"#));
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "a".repeat(257));
    for text in [
        "",
        "{",
        "null",
        "1",
        "\"a\"",
        "{}",
        "\u{feff}{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"id":1,"method":"a"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a"} {}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a"},"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
        r#"{"jsonrpc":"2.0","result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"b"}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"x\":\"\n\"}",
        r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
        &long,
    ] {
        bad(text);
    }
    assert!(matches!(read(r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), Err(NotRead::Batch)));
}

/// What one reader takes for the first and another for the last, or one in any case and another in its own alone, decides nothing here.
#[test]
fn nothing_in_a_message_can_be_read_in_two_ways() {
    for twice in [
        r#""id":2"#,
        r#""method":"tools/list""#,
        r#""params":{}"#,
        r#""jsonrpc":"2.0""#,
        r#""Method":"x""#,
        r#""METHOD":"x""#,
        r#""ID":2"#,
        r#""Params":{}"#,
        r#""param\u017f":{}"#,
        r#""\u006dethod":"x""#,
        r#""Result":1"#,
    ] {
        bad(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a"}},{twice}}}"#));
    }
    for twice in [
        r#""name":"b""#,
        r#""Name":"b""#,
        r#""n\u0061me":"b""#,
        r#""_META":{}"#,
        r#""argument\u017f":{}"#,
        r#""URI":"b""#,
    ] {
        bad(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a",{twice}}}}}"#));
    }
    bad(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1,"ProgressToken":2}}}"#);
    assert_eq!(
        good(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"Name":1,"name":2}}}"#)
            .params
            .name
            .as_deref(),
        Some("a")
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let deep =
        |depth: usize| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    good(&deep(127));
    bad(&deep(128));
    bad(&deep(1_000_000));
    good(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}\"{}"}}"#, "[{".repeat(500), "x".repeat(100_000)));
    bad(&format!(r#"{{"jsonrpc":"2.0","{}":1,"id":1,"result":1}}"#, "k".repeat(5000)));
    bad(&format!(r#"{{"jsonrpc":"2.0","id":"{}","result":1}}"#, "k".repeat(50_000)));
    bad(&format!(r#"{{"jsonrpc":"2.0","id":{}1,"result":1}}"#, " ".repeat(50_000)));
    bad(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"name":"{}"}}}}"#, "k".repeat(50_000)));
}

/// A message without end, of which every kind of place is as long as it likes: reading ends, and keeps nothing of it.
struct Endless(Vec<u8>, u8, usize);

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.0.is_empty() {
            let len = self.0.len().min(buf.len());
            buf[..len].copy_from_slice(&self.0.drain(..len).collect::<Vec<_>>());
            return Ok(len);
        }
        buf.fill(self.1);
        self.2 += buf.len();
        assert!(self.2 < 1 << 20, "it reads on");
        Ok(buf.len())
    }
}

#[test]
fn what_would_be_kept_is_not_read_without_end() {
    for (start, byte) in
        [("{\"", b'a'), ("{\"id\":\"", b'a'), ("{\"id\":", b' '), ("{\"id\":", b'1'), ("{\"result\":", b'[')]
    {
        let answer = Envelope::read(Endless(start.as_bytes().to_vec(), byte, 0));
        assert!(matches!(answer, Err(NotRead::Malformed(_) | NotRead::Json(_))), "{start}: {answer:?}");
    }
}

#[test]
fn errors_are_the_contracts() {
    let text = |message: crate::Message| {
        let mut text = String::new();
        message.body.reader().unwrap().read_to_string(&mut text).unwrap();
        text
    };
    let whole: serde_json::Value =
        serde_json::from_str(&text(error(&id("\"a\""), Reason::Denied, "no", Some("tools.read")))).unwrap();
    let wanted = serde_json::json!({ "jsonrpc": "2.0", "id": "a", "error":
        { "code": -32040, "message": "no", "data": { "nuncio": { "reason": "denied", "needs": "tools.read" } } } });
    assert_eq!(whole, wanted);
    let read = good(&text(error(&Id::NULL, Reason::NotJson, "x", None)));
    assert_eq!((read.kind, read.id), (Kind::Response { error: true }, Some(Id::NULL)));
}

proptest! {
    #[test]
    fn nothing_that_comes_ends_the_reader(bytes: Vec<u8>) {
        let _ = Envelope::read(bytes.as_slice());
    }

    #[test]
    fn no_text_near_a_message_ends_the_reader(text in r#"[\[\]{}":,\\ a-e0-9]{0,80}"#) {
        let _ = read(&text);
        let _ = read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{text}}}"#));
    }
}
