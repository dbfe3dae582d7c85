//! Of which call a letter is: the value of extension 7, and what else of its letter decides (contracts/call.md section 1).

use nuncio_contracts::registry::limit;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Case, hex};
use super::letter::id;

const AREA: &str = "call";
const SESSION: [u8; 16] = [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
const TRACE: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

const REQUEST: u64 = 1;
const NOTICE: u64 = 2;
const PART: u64 = 3;
const ANSWER: u64 = 4;
const ASIDE: u64 = 5;
const END: u64 = 6;

pub(crate) fn cases() -> Vec<Case> {
    [valid(), heads(), places_refused(), forms_refused(), services_refused(), sessions_refused(), heads_refused()]
        .into_iter()
        .flatten()
        .collect()
}

/// What, service, session and head.
type Parts<'a> = (u64, &'a str, Option<[u8; 16]>, &'a [(&'a str, &'a str)]);

/// A letter as far as it decides.
struct Within {
    kind: u8,
    reply_to: bool,
    payload: &'static str,
    beside: &'static [u16],
}

const PLAIN: Within = Within { kind: 16, reply_to: false, payload: "{}", beside: &[] };
const REPLY: Within = Within { reply_to: true, ..PLAIN };
const EMPTY: Within = Within { payload: "", ..PLAIN };

fn given(value: &Item, within: &Within) -> Value {
    json!({
        "bytes": hex(value.encode()),
        "kind": within.kind,
        "reply_to": within.reply_to.then(|| hex(id().as_bytes())),
        "payload": hex(within.payload),
        "beside": within.beside,
    })
}

/// `[what, service, session, head]`
fn call(what: u64, service: &str, session: Option<[u8; 16]>, head: &[(&str, &str)]) -> Item {
    let fields = head.iter().map(|(name, value)| field(name, value)).collect();
    Array(vec![Uint(what), text(service), session.map_or(Null, bytes), Array(fields)])
}

fn field(name: &str, value: &str) -> Item {
    Array(vec![text(name), text(value)])
}

fn files(what: u64) -> Item {
    call(what, "files", Some(SESSION), &[])
}

fn taken(name: &str, comment: &str, within: &Within, parts: Parts<'_>) -> Case {
    let (what, service, session, head) = parts;
    let names = ["request", "notice", "part", "answer", "aside", "end"];
    let expect = json!({
        "what": names[what as usize - 1],
        "service": service,
        "session": session.map(hex),
        "head": head.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
    });
    Case::valid(AREA, name, comment, given(&call(what, service, session, head), within), expect)
}

fn no(name: &str, comment: &str, value: &Item, within: &Within) -> Case {
    Case::refused(AREA, name, comment, given(value, within), "malformed")
}

fn valid() -> Vec<Case> {
    let one = |name: &str, comment: &str, what, within: &Within| {
        taken(name, comment, within, (what, "files", Some(SESSION), &[]))
    };
    let alone =
        |name: &str, comment: &str, what, within: &Within| taken(name, comment, within, (what, "files", None, &[]));
    let with = |beside| Within { beside, ..PLAIN };
    let named = |name: &str, comment: &str, service: &str| taken(name, comment, &PLAIN, (1, service, None, &[]));
    vec![
        taken("request", "a message that wants an answer", &PLAIN, (REQUEST, "files", Some(SESSION), &[TRACE])),
        one("notice", "a message that wants none", NOTICE, &PLAIN),
        one("notice-reply", "it goes with the letter that asked", NOTICE, &REPLY),
        one("part", "a message on the way to the answer", PART, &REPLY),
        one("answer", "the last message to a request", ANSWER, &REPLY),
        one("aside", "a message of the session alone", ASIDE, &PLAIN),
        one("end", "the session is over", END, &EMPTY),
        alone("request-alone", "a request of no session", REQUEST, &PLAIN),
        alone("notice-alone", "a notice of no session", NOTICE, &PLAIN),
        alone("notice-alone-reply", "a request of no session is cancelled", NOTICE, &REPLY),
        alone("part-alone", "a part to a request of no session", PART, &REPLY),
        alone("answer-alone", "the answer to a request of no session", ANSWER, &REPLY),
        one("request-empty", "what no message is says the service", REQUEST, &EMPTY),
        one("request-large", "its message is a large payload", REQUEST, &Within { payload: "", ..with(&[1]) }),
        one("request-token", "with a token, and its proof", REQUEST, &with(&[2, 3])),
        one("request-audited", "in a session that audits", REQUEST, &with(&[4])),
        one("request-unknown-beside", "extensions that are not known are passed over", REQUEST, &with(&[700])),
        named("service-64", "the longest name", &"s".repeat(limit::CALL_SERVICE_LEN_MAX)),
        named("service-1", "the shortest", "0"),
        named("service-signs", "every sign that a name may have", "9a-b_c.d-"),
    ]
}

fn heads() -> Vec<Case> {
    let head =
        |name: &str, comment: &str, head: &[(&str, &str)]| taken(name, comment, &PLAIN, (REQUEST, "files", None, head));
    let names: Vec<String> = (10..34).map(|at| format!("f-{at}")).collect();
    let most: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let (service, name, fill) = ("s".repeat(64), "n".repeat(64), "v".repeat(2_048));
    let mut longest: Vec<(&str, &str)> = most.clone();
    longest[23] = (&name, &fill);
    let size = |head: &[(&str, &str)]| call(REQUEST, &service, Some(SESSION), head).encode().len();
    // Two bytes more: a text of 256 and more has a head of three.
    let rest = "r".repeat(limit::CALL_LEN_MAX - size(&longest) - 2);
    longest[0].1 = &rest;
    assert_eq!(size(&longest), limit::CALL_LEN_MAX);
    let within = Within { reply_to: true, ..PLAIN };
    let whole = taken("longest", "as long as all of it may be", &within, (ANSWER, &service, Some(SESSION), &longest));
    let more = format!("{rest}r");
    longest[0].1 = &more;
    vec![
        head(
            "head-request",
            "method and target, where they are not POST and empty",
            &[(":method", "DELETE"), (":path", "/message:send?a=b%20c"), ("a2a-version", "1.0")],
        ),
        head("head-status", "and the answer's status", &[(":status", "404")]),
        head(
            "head-order",
            "ascending by bytes: a sign, a digit, a colon, a letter",
            &[("!", "1"), ("0", "2"), (":path", "3"), ("^", "4"), ("a", "5"), ("a-", "6"), ("~", "7")],
        ),
        head(
            "head-name-signs",
            "every character of a field's name",
            &[("!#$%&'*+-.0123456789^_`abcdefghijklmnopqrstuvwxyz|~", "x")],
        ),
        head("head-name-64", "the longest name", &[(&"n".repeat(64), "x")]),
        head("head-value-2048", "the longest value", &[("f", &"v".repeat(2_048))]),
        head("head-value-empty", "a value may be empty", &[("f", "")]),
        head("head-value-signs", "the first and the last character, and spaces within", &[("f", "! ~  \"")]),
        head("head-24", "as many as there may be", &most),
        whole,
        no("too-long", "a byte more", &call(ANSWER, &service, Some(SESSION), &longest), &REPLY),
    ]
}

/// contracts/call.md X1.
fn places_refused() -> Vec<Case> {
    let alone = |what| call(what, "files", None, &[]);
    let with = |beside| Within { beside, ..PLAIN };
    vec![
        no("request-reply", "a request answers nothing", &files(REQUEST), &REPLY),
        no("part-no-reply", "of which request?", &files(PART), &PLAIN),
        no("answer-no-reply", "to which request?", &files(ANSWER), &PLAIN),
        no("aside-reply", "it belongs to no request", &files(ASIDE), &REPLY),
        no("end-reply", "it answers nothing", &files(END), &Within { reply_to: true, ..EMPTY }),
        no("aside-alone", "of which session?", &alone(ASIDE), &PLAIN),
        no("end-alone", "which session is over?", &alone(END), &EMPTY),
        no("end-payload", "it says nothing more", &files(END), &PLAIN),
        no("end-large", "also beside the session", &files(END), &Within { beside: &[1], ..EMPTY }),
        no("beside-channel", "no call is made in a channel", &files(REQUEST), &with(&[5])),
        no("beside-history", "and none is handed over", &files(REQUEST), &with(&[6])),
        no("kind-17", "a runtime calls no service", &files(REQUEST), &Within { kind: 17, ..PLAIN }),
    ]
}

fn forms_refused() -> Vec<Case> {
    let good = files(REQUEST);
    let bad = |name: &str, comment: &str, value: &Item| no(name, comment, value, &PLAIN);
    let items = |count| Array((0..4).map(|at| good.at(at).clone()).chain([Null]).take(count).collect());
    let raw = good.encode();
    vec![
        bad("empty", "no bytes", &Raw(vec![])),
        bad("null", "nothing", &Null),
        bad("what-0", "says nothing", &good.with(0, Uint(0))),
        bad("what-7", "of the future", &good.with(0, Uint(7))),
        bad("what-257", "a number has one byte", &good.with(0, Uint(257))),
        bad("what-text", "a number, not its name", &good.with(0, text("request"))),
        bad("what-null", "there is always one", &good.with(0, Null)),
        bad("what-long", "01 is 1 in one byte", &good.with(0, Raw(vec![0x18, 1]))),
        bad("three-items", "the head is missing", &items(3)),
        bad("five-items", "an item too many", &items(5)),
        bad("trailing", "a byte behind", &Raw([&raw[..], &[0]].concat())),
        bad("cut", "the last byte is missing", &Raw(raw[..raw.len() - 1].to_vec())),
        bad("indefinite", "an array without length", &Raw([&[0x9f], &raw[1..], &[0xff]].concat())),
    ]
}

/// contracts/call.md X2.
fn services_refused() -> Vec<Case> {
    let named = |name: &str, comment: &str, service: &str| {
        no(&format!("service-{name}"), comment, &call(REQUEST, service, Some(SESSION), &[]), &PLAIN)
    };
    vec![
        named("empty", "of which service?", ""),
        named("65", "one byte too many", &"s".repeat(65)),
        named("upper-case", "lower case alone", "Files"),
        named("hyphen-first", "a letter or digit first", "-files"),
        named("dot-first", "a letter or digit first", ".files"),
        named("underline-first", "a letter or digit first", "_files"),
        named("slash", "one part of a path", "files/etc"),
        named("space", "no spaces", "my files"),
        named("line-end", "no line's end, also not behind", "files\n"),
        named("not-ascii", "a to z alone", "fil\u{e9}s"),
        no("service-null", "there is always one", &files(REQUEST).with(1, Null), &PLAIN),
        no("service-bytes", "a text", &files(REQUEST).with(1, bytes("files")), &PLAIN),
        no("service-not-utf8", "no text", &files(REQUEST).with(1, Raw(vec![0x61, 0xff])), &PLAIN),
    ]
}

/// contracts/call.md X3.
fn sessions_refused() -> Vec<Case> {
    let with = |name: &str, comment: &str, session: Item| {
        no(&format!("session-{name}"), comment, &files(REQUEST).with(2, session), &PLAIN)
    };
    vec![
        with("empty", "no session is null", bytes([])),
        with("15", "a byte is missing", bytes([7; 15])),
        with("17", "a byte too many", bytes([7; 17])),
        with("text", "bytes", text("0123456789abcdef")),
        with("undefined", "undefined is not null", Raw(vec![0xf7])),
    ]
}

/// contracts/call.md X4.
fn heads_refused() -> Vec<Case> {
    let list = |name: &str, comment: &str, head: &[(&str, &str)]| {
        no(&format!("head-{name}"), comment, &call(REQUEST, "files", Some(SESSION), head), &PLAIN)
    };
    let named = |name: &str, comment: &str, field: &str| list(&format!("name-{name}"), comment, &[(field, "x")]);
    let value = |name: &str, comment: &str, value: &str| list(&format!("value-{name}"), comment, &[("f", value)]);
    let other = |name: &str, comment: &str, head: Item| {
        no(&format!("head-{name}"), comment, &files(REQUEST).with(3, head), &PLAIN)
    };
    let names: Vec<String> = (10..35).map(|at| format!("f-{at}")).collect();
    let too_many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    vec![
        list("descending", "a head has one order", &[("b", "1"), ("a", "2")]),
        list("twice", "each name once", &[("a", "1"), ("a", "1")]),
        list("length-first", "by bytes, not by length", &[("b", "1"), ("aa", "2")]),
        list("colon-first", "by bytes: a digit stands in front of a colon", &[(":path", "/"), ("0", "1")]),
        list("25", "one too many", &too_many),
        named("empty", "a field has a name", ""),
        named("65", "one byte too many", &"n".repeat(65)),
        named("upper-case", "lower case alone", "Traceparent"),
        named("space", "no character of a name", "a b"),
        named("line-end", "no character of a name", "a\r\nb"),
        named("bracket", "no character of a name", "a[b"),
        named("not-ascii", "no character of a name", "\u{e9}"),
        named("colon-within", "no character of a name", "a:b"),
        named("colon-alone", "none of the three", ":"),
        named("colon-other", "none of the three", ":authority"),
        named("colon-upper-case", "none of the three", ":Method"),
        value("2049", "one byte too many", &"v".repeat(2_049)),
        value("space-front", "no space at an end", " v"),
        value("space-end", "no space at an end", "v "),
        value("space-alone", "no space at an end", " "),
        value("line-end", "it would begin another field", "v\r\nauthorization: w"),
        value("zero", "no control characters", "v\0"),
        value("tab", "no control characters", "v\tw"),
        value("delete", "no control characters", "v\u{7f}"),
        value("not-ascii", "visible ASCII and spaces", "\u{e9}"),
        other("null", "no fields is the empty list", Null),
        other("map", "a map is no list", Raw(vec![0xa1, 0x61, b'f', 0x61, b'v'])),
        other("field-one", "a field without value", Array(vec![Array(vec![text("f")])])),
        other("field-three", "one value", Array(vec![Array(vec![text("f"), text("v"), text("w")])])),
        other("field-null", "a value is never null", Array(vec![Array(vec![text("f"), Null])])),
        other("field-bytes", "a value is text", Array(vec![Array(vec![text("f"), bytes("v")])])),
        other("field-number", "a value is text", Array(vec![Array(vec![text(":status"), Uint(404)])])),
    ]
}
