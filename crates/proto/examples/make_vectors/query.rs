//! Streams of queries, and the forms that they carry (contracts/query.md sections 2 and 3).

use nuncio_contracts::registry::limit;
use nuncio_proto::call::{CallPlace, Head, What};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{CallSessionId, SessionId};
use nuncio_proto::query::{Between, Ephemeral, QuerySecret, Spoken};
use nuncio_proto::secret::Key;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Case, actor, fixed, hex};

const AREA: &str = "query";
const FORM: &str = "query-form";
const SESSION: [u8; 16] = [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

pub(crate) fn cases() -> Vec<Case> {
    [vec![exchange(), small_order()], forms(), refused()].into_iter().flatten().collect()
}

fn place(what: What, head: &[(&str, &str)]) -> CallPlace {
    let session = Some(CallSessionId::from_bytes(SESSION));
    CallPlace { what, service: "files".parse().unwrap(), session, head: Head::of(head.iter().copied()) }
}

fn given(ask: [u8; 32], answer: [u8; 32], said: &[(bool, Spoken)]) -> Value {
    let said = said.iter().map(|(opener, spoken)| json!({ "from": from(*opener), "clear": hex(spoken.encode()) }));
    json!({
        "exporter": hex(fixed::<32>("query exporter")),
        "session": hex(fixed::<32>("query session")),
        "opener": actor("alice").did(),
        "other": actor("bob").did(),
        "opener_private": hex(ask),
        "other_private": hex(answer),
        "said": said.collect::<Vec<_>>(),
    })
}

const fn from(opener: bool) -> &'static str {
    if opener { "opener" } else { "other" }
}

fn exchange() -> Case {
    let json = |number, what, head: &[(&str, &str)], payload: &str| Spoken {
        number,
        place: Some(place(what, head)),
        content_type: ContentType::JSON,
        payload: payload.into(),
    };
    let said = vec![
        (true, json(0, What::Request, &[("head", "x")], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)),
        (true, json(1, What::Request, &[], r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)),
        (false, Spoken::letter(1)),
        (false, json(0, What::Answer, &[], r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
        (true, json(2, What::Request, &[], &"x".repeat(2_000))),
    ];
    let (ask, answer) = (fixed("query opener"), fixed("query other"));
    let between = Between {
        session: SessionId::from_bytes(fixed("query session")),
        opener: actor("alice").identity.id(),
        other: actor("bob").identity.id(),
    };
    let secret = QuerySecret::of(&Key::new(fixed("query exporter")));
    let (near, far) = (Ephemeral::of(Key::new(ask)), Ephemeral::of(Key::new(answer)));
    let publics = (*near.public(), *far.public());
    let mut near = near.asking(&secret, &between, &publics.1).unwrap();
    let mut far = far.answering(&secret, &between, &publics.0).unwrap();
    let frames = said.iter().map(|(opener, spoken)| {
        let sealer = if *opener { &mut near.sealer } else { &mut far.sealer };
        json!({ "clear": hex(spoken.encode()), "frame": hex(sealer.seal(spoken).unwrap()) })
    });
    let frames: Vec<_> = frames.collect();
    let expect = json!({ "opener_key": hex(publics.0), "other_key": hex(publics.1), "frames": frames });
    let comment = "both directions, each with a key and numbers of its own";
    Case::valid(AREA, "exchange", comment, given(ask, answer, &said), expect)
}

/// The private half 0 is clamped, so that it is a key all the same: an all-zero agreement comes of a public half alone.
fn small_order() -> Case {
    let mut input = given(fixed("query opener"), fixed("query other"), &[]);
    input["other_key"] = hex([0; 32]);
    Case::refused(AREA, "small-order", "the other end's key is of small order", input, "all-zero")
}

/// `[number, call, content type, payload]`
fn form() -> Item {
    let call = Array(vec![Uint(1), text("files"), bytes(SESSION), Array(vec![])]).encode();
    Array(vec![Uint(0), bytes(call), Uint(50), bytes("{}")])
}

fn wants_letter() -> Item {
    Array(vec![Uint(7), Null, Uint(42), bytes("")])
}

fn forms() -> Vec<Case> {
    let read = |name: &str, comment: &str, item: &Item| {
        let raw = item.encode();
        let spoken = Spoken::parse(&raw).unwrap();
        let expect = json!({
            "number": spoken.number,
            "call": spoken.place.as_ref().map(|place| hex(place.value().unwrap())),
            "content_type": spoken.content_type.as_str(),
            "payload": hex(&spoken.payload),
        });
        Case::valid(FORM, name, comment, json!({ "bytes": hex(raw) }), expect)
    };
    let answer = Array(vec![Uint(4), text("files"), Null, Array(vec![])]).encode();
    vec![
        read("query", "a message that wants an answer", &form()),
        read("answer", "and the answer", &form().with(1, bytes(answer))),
        read("wants-letter", "say it as a letter", &wants_letter()),
        read("number-max", "the last number", &form().with(0, Uint(u64::from(u32::MAX)))),
        read("empty", "an empty message is one", &form().with(3, bytes(""))),
        read("longest", "as long as it may be", &form().with(3, bytes(vec![b'x'; limit::PAYLOAD_INLINE_MAX]))),
    ]
}

fn refused() -> Vec<Case> {
    let no = |name: &str, comment: &str, item: &Item| {
        Case::refused(FORM, name, comment, json!({ "bytes": hex(item.encode()) }), "malformed")
    };
    let call = |what: u64, session: Item| Array(vec![Uint(what), text("files"), session, Array(vec![])]).encode();
    let raw = form().encode();
    let whats = [(2, "notice"), (3, "part"), (5, "aside"), (6, "end")];
    let mut cases: Vec<Case> = whats
        .into_iter()
        .map(|(what, name)| {
            let item = form().with(1, bytes(call(what, bytes(SESSION))));
            no(&format!("no-{name}"), "requests and answers alone", &item)
        })
        .collect();
    cases.extend([
        no("no-call", "bytes that are no call", &form().with(1, bytes([0x80]))),
        no("letter-payload", "what wants a letter says nothing", &wants_letter().with(3, bytes("x"))),
        no("letter-json", "and has one form", &wants_letter().with(2, Uint(50))),
        no("number-large", "a number has 32 bits", &form().with(0, Uint(1 << 32))),
        no("payload-null", "there is always one", &form().with(3, Null)),
        no("too-long", "a byte more", &form().with(3, bytes(vec![b'x'; limit::PAYLOAD_INLINE_MAX + 1]))),
        no("trailing", "a byte behind", &Raw([&raw[..], &[0]].concat())),
        no("cut", "the last byte is missing", &Raw(raw[..raw.len() - 1].to_vec())),
        no("three-items", "the payload is missing", &Array((0..3).map(|at| form().at(at).clone()).collect())),
    ]);
    cases
}
