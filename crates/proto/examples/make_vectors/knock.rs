//! Knocks: who would be let in, and for what (contracts/call.md section 7), in the control letter that carries them.

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::limit;
use serde_json::json;

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Case, actor, fixed, hex};
use super::letter::id;

const AREA: &str = "control";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), lengths(), invitations_refused(), fields_refused(), forms_refused()].into_iter().flatten().collect()
}

/// Alice's own line, as she writes it.
fn line() -> String {
    let (at, node) = ("at=agent.example:7420&at=[2001:db8::1]:7420", actor("carol").did());
    format!("nuncio:{}?{at}&mailbox={node}@node.example:7421&bundle={}", actor("alice").did(), hash())
}

fn hash() -> String {
    BASE64URL_NOPAD.encode(&fixed::<32>("invitation bundle"))
}

/// `[from, service, scope, secret, transaction]`
fn whole() -> Item {
    let secret = bytes(fixed::<16>("invitation secret"));
    Array(vec![text(&line()), text("files"), text("service.use tools.read:list"), secret, text("Winter stock")])
}

fn bare() -> Item {
    Array(vec![text(&format!("nuncio:{}", actor("alice").did())), Null, text(""), Null, Null])
}

fn said(knock: &Item) -> Item {
    Array(vec![Uint(12), Null, Uint(0), bytes(knock.encode())])
}

fn taken(name: &str, comment: &str, knock: &Item) -> Case {
    let (input, bytes) = (json!({ "payload": hex(said(knock).encode()) }), hex(knock.encode()));
    Case::valid(AREA, name, comment, input, json!({ "what": "knock", "bytes": bytes }))
}

fn no(name: &str, comment: &str, knock: &Item) -> Case {
    refused(name, comment, &said(knock))
}

fn refused(name: &str, comment: &str, control: &Item) -> Case {
    let input = json!({ "payload": hex(control.encode()) });
    Case::refused(AREA, &format!("knock-{name}"), comment, input, "malformed")
}

fn valid() -> Vec<Case> {
    vec![
        taken("knock", "who it is, and all that it may say", &whole()),
        taken("knock-bare", "who it is, and nothing more", &bare()),
        taken("knock-secret", "it has a line that lets it in", &bare().with(3, bytes([0; 16]))),
        taken("knock-scope-many", "ascending by bytes", &whole().with(2, text("A A.b a tools.read tools.read:x ~"))),
        taken("knock-transaction-128", "as long as it may be", &whole().with(4, text(&"t".repeat(128)))),
        taken("knock-transaction-not-ascii", "any text for people", &whole().with(4, text("Bl\u{fc}te \u{2603}"))),
        taken("knock-no-service", "a scope and no service", &whole().with(1, Null)),
    ]
}

fn lengths() -> Vec<Case> {
    let rest = limit::KNOCK_LEN_MAX - whole().with(2, text(&"s".repeat(256))).encode().len();
    let long = |len: usize| whole().with(2, text(&"s".repeat(256 + len)));
    assert_eq!(long(rest).encode().len(), limit::KNOCK_LEN_MAX);
    vec![taken("knock-6144", "as long as all of it may be", &long(rest)), no("6145", "a byte more", &long(rest + 1))]
}

fn invitations_refused() -> Vec<Case> {
    let from =
        |name: &str, comment: &str, line: String| no(&format!("from-{name}"), comment, &whole().with(0, text(&line)));
    let alice = actor("alice").did();
    let secret = BASE64URL_NOPAD.encode(&fixed::<16>("invitation secret"));
    vec![
        from("empty", "from whom?", String::new()),
        from("agent-alone", "a name is no line", alice.clone()),
        from("secret", "its own door is another's to open", format!("{}&knock={secret}", line())),
        from("space-behind", "as a writer writes it", format!("{}\n", line())),
        from("order", "as a writer writes it", format!("nuncio:{alice}?bundle={}&at=h:1", hash())),
        from("unknown-name", "as a writer writes it", format!("nuncio:{alice}?at=h:1&later=1")),
        from("empty-part", "as a writer writes it", format!("nuncio:{alice}?at=h:1&")),
        from("no-parts", "as a writer writes it", format!("nuncio:{alice}?")),
        from("bad-endpoint", "no line", format!("nuncio:{alice}?at=h")),
        no("from-null", "it is somebody", &whole().with(0, Null)),
        no("from-bytes", "a line is text", &whole().with(0, bytes(line()))),
    ]
}

fn fields_refused() -> Vec<Case> {
    let service =
        |name: &str, comment: &str, value: &str| no(&format!("service-{name}"), comment, &whole().with(1, text(value)));
    let scope =
        |name: &str, comment: &str, value: &str| no(&format!("scope-{name}"), comment, &whole().with(2, text(value)));
    let secret =
        |name: &str, comment: &str, value: Item| no(&format!("secret-{name}"), comment, &whole().with(3, value));
    let told = |name: &str, comment: &str, value: &str| {
        no(&format!("transaction-{name}"), comment, &whole().with(4, text(value)))
    };
    vec![
        service("empty", "no service is null", ""),
        service("upper-case", "lower case alone", "Files"),
        service("65", "one byte too many", &"s".repeat(65)),
        scope("descending", "a scope has one order", "tools.read service.use"),
        scope("twice", "each once", "service.use service.use"),
        scope("two-spaces", "one space between two", "service.use  tools.read"),
        scope("space-front", "none in front", " service.use"),
        scope("space-end", "none behind", "service.use "),
        scope("quote", "no character of a scope", "tools.read:\"x\""),
        scope("backslash", "no character of a scope", "tools.read:\\"),
        scope("line-end", "no character of a scope", "service.use\ntools.read"),
        scope("not-ascii", "no character of a scope", "tools.read:\u{e9}"),
        no("scope-null", "no scope is the empty text", &whole().with(2, Null)),
        secret("empty", "no secret is null", bytes([])),
        secret("15", "a byte is missing", bytes([7; 15])),
        secret("17", "a byte too many", bytes([7; 17])),
        secret("text", "bytes, not as the line has them", text(&BASE64URL_NOPAD.encode(&[7; 16]))),
        told("empty", "no transaction is null", ""),
        told("129", "one byte too many", &"t".repeat(129)),
        told("129-bytes", "bytes are counted, not characters", &format!("{}\u{fc}", "t".repeat(127))),
        told("line-end", "it is shown to people", "Winter\nstock"),
        told("control", "it is shown to people", "Winter\u{9b}31mstock"),
        no("transaction-bytes", "it is text", &whole().with(4, bytes("Winter stock"))),
    ]
}

fn forms_refused() -> Vec<Case> {
    let items = |count| Array((0..5).map(|at| whole().at(at).clone()).chain([Null]).take(count).collect());
    let raw = whole().encode();
    vec![
        no("empty", "no bytes", &Raw(vec![])),
        no("four-items", "the transaction is missing", &items(4)),
        no("six-items", "an item too many", &items(6)),
        no("trailing", "a byte behind", &Raw([&raw[..], &[0]].concat())),
        no("cut", "the last byte is missing", &Raw(raw[..raw.len() - 1].to_vec())),
        no("long-head", "the line's length in more bytes than it needs", &bare().with(2, Raw(vec![0x78, 0]))),
        refused("with-code", "it has no code", &said(&whole()).with(2, Uint(1))),
        refused("with-letter", "it names no letter", &said(&whole()).with(1, bytes(id().as_bytes()))),
    ]
}
