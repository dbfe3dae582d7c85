//! Control letters: the payloads that two runtimes exchange (contracts/letter.md section 5).

use nuncio_contracts::registry::limit;
use nuncio_proto::control::Control;
use nuncio_proto::identity::Retirement;
use nuncio_proto::mailbox::Given;
use serde_json::json;

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Case, NOW, actor, fixed, hex};
use super::letter::id;

const AREA: &str = "control";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), refused(), words(), no_words()].into_iter().flatten().collect()
}

/// `[word, channel, parts, reach, number, name]`
fn word(what: u64, parts: &[&[u8]], reach: Vec<Item>, number: Item, name: Item) -> Item {
    let parts = parts.iter().map(bytes).collect();
    Array(vec![Uint(what), bytes(fixed::<32>("channel")), Array(parts), Array(reach), number, name])
}

fn reach(agent: Item, endpoints: &[&str], mailbox: Item) -> Item {
    Array(vec![agent, Array(vec![Array(endpoints.iter().map(|at| text(at)).collect()), mailbox])])
}

fn said(word: &Item) -> Vec<u8> {
    Array(vec![Uint(11), Null, Uint(0), bytes(word.encode())]).encode()
}

/// contracts/channel.md C47.
fn words() -> Vec<Case> {
    let case = |name: &str, comment: &str, word: Item| {
        let expect = json!({ "what": "channel", "bytes": hex(word.encode()) });
        Case::valid(AREA, &format!("channel-{name}"), comment, json!({ "payload": hex(said(&word)) }), expect)
    };
    let alone = |what, part: &[u8]| word(what, &[part], vec![], Null, Null);
    let carol = bytes(actor("carol").identity.id().as_bytes());
    let mailbox = text(&format!("{}@node.example:7421", actor("carol").did()));
    let at = |agent: Item| reach(agent, &["agent.example:7420", "[2001:db8::1]:7420"], mailbox.clone());
    vec![
        case("invited", "an invitation, and what it is into", word(1, &[b"invitation"], vec![], Null, text("travel"))),
        case(
            "joined",
            "a consent, and where the newcomer is",
            word(2, &[b"join", b"invitation"], vec![at(Null)], Null, Null),
        ),
        case(
            "joined-nowhere",
            "it is reached by nobody",
            word(2, &[b"join", b"invitation"], vec![reach(Null, &[], Null)], Null, Null),
        ),
        case("entries", "entries, and where a member is", word(3, &[b"entry", b"entry"], vec![at(carol)], Null, Null)),
        case("entries-alone", "nothing is known of others", alone(3, b"entry")),
        case("wanted", "entries from a number on", word(4, &[], vec![], Uint(4_294_967_295), Null)),
        case("left", "a farewell; its form is looked at later", alone(5, b"leave")),
        case("proposed", "a proposal; its form is looked at later", alone(6, b"proposal")),
        case("drafted", "an entry that nobody has signed", alone(7, b"entry")),
        case("supported", "a support; its form is looked at later", alone(8, b"support")),
        case("sender-key", "a chain; its form is looked at later", alone(9, b"sender key")),
        case("acked", "everything below the highest number", word(10, &[], vec![], Uint(u64::MAX), Null)),
        case("offered", "would it be the owner?", word(11, &[], vec![], Null, Null)),
        case("accepted", "it would; its form is looked at later", alone(12, b"heir")),
        case("floor", "nothing below the highest number", word(13, &[], vec![], Uint(u64::MAX), Null)),
    ]
}

fn no_words() -> Vec<Case> {
    let no = |name: &str, comment: &str, word: Item| {
        let input = json!({ "payload": hex(said(&word)) });
        Case::refused(AREA, &format!("channel-{name}"), comment, input, "malformed")
    };
    let one: &[&[u8]] = &[b"part"];
    let two: &[&[u8]] = &[b"part", b"part"];
    let here = || reach(Null, &["agent.example:7420"], Null);
    let there = |at: &str| reach(bytes(actor("carol").identity.id().as_bytes()), &[at], Null);
    vec![
        no("empty", "no bytes", Raw(vec![])),
        no("0", "says nothing", word(0, one, vec![], Null, Null)),
        no("99", "of the future", word(99, one, vec![], Null, Null)),
        no("offered-part", "it carries nothing", word(11, one, vec![], Null, Null)),
        no("accepted-none", "whose word?", word(12, &[], vec![], Null, Null)),
        no("floor-none", "below which number?", word(13, &[], vec![], Null, Null)),
        no("31", "a channel has 32 bytes", word(5, one, vec![], Null, Null).with(1, bytes([7; 31]))),
        no("invited-no-name", "into what?", word(1, one, vec![], Null, Null)),
        no("invited-name-empty", "into what?", word(1, one, vec![], Null, text(""))),
        no("invited-name-129", "one byte too many", word(1, one, vec![], Null, text(&"n".repeat(129)))),
        no("invited-name-control", "a name is shown to people", word(1, one, vec![], Null, text("a\u{9b}b"))),
        no("invited-two", "one invitation", word(1, two, vec![], Null, text("travel"))),
        no("joined-one", "the invitation is missing", word(2, one, vec![here()], Null, Null)),
        no("joined-no-reach", "where is it?", word(2, two, vec![], Null, Null)),
        no("joined-two-reaches", "it is in one place", word(2, two, vec![here(), here()], Null, Null)),
        no("joined-of-other", "it speaks for itself", word(2, two, vec![there("agent.example:7420")], Null, Null)),
        no("entries-none", "it says nothing", word(3, &[], vec![], Null, Null)),
        no("entries-own-reach", "who is that?", word(3, one, vec![here()], Null, Null)),
        no("entries-endpoint", "no port", word(3, one, vec![there("agent.example")], Null, Null)),
        no("entries-nobody", "a key of small order", word(3, one, vec![reach(bytes([0; 32]), &[], Null)], Null, Null)),
        no("entries-mailbox", "no node", word(3, one, vec![reach(Null, &[], text("node.example:1"))], Null, Null)),
        no(
            "entries-nine-endpoints",
            "one too many",
            word(3, one, vec![reach(bytes(actor("carol").identity.id().as_bytes()), &["a:1"; 9], Null)], Null, Null),
        ),
        no("wanted-no-number", "from where on?", word(4, &[], vec![], Null, Null)),
        no("wanted-wide", "a number of an entry has 32 bits", word(4, &[], vec![], Uint(1 << 32), Null)),
        no("wanted-part", "it carries nothing", word(4, one, vec![], Uint(1), Null)),
        no("left-name", "it has no name", word(5, one, vec![], Null, text("travel"))),
        no("left-number", "it has no number", word(5, one, vec![], Uint(1), Null)),
        no("left-two", "one at a time", word(5, two, vec![], Null, Null)),
        no("sender-key-reach", "it is nowhere", word(9, one, vec![there("agent.example:7420")], Null, Null)),
        no("acked-part", "it carries nothing", word(10, one, vec![], Uint(1), Null)),
    ]
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, control: &Control, expect| {
        Case::valid(AREA, name, comment, json!({ "payload": hex(control.encode()) }), expect)
    };
    let frame: [u8; 12] = fixed("refused frame");
    let refused = |code| Control::Refused { letter: id(), code, frame };
    let told =
        |code: u16| json!({ "what": "refused", "letter": hex(id().as_bytes()), "code": code, "bytes": hex(frame) });
    let carried = |what: &str, bytes: &[u8]| json!({ "what": what, "bytes": hex(bytes) });
    let offer: [u8; 48] = fixed("control offer");
    let near = format!("{}@node.example:7421", actor("carol").did());
    let given = |at: &str| Control::Mailbox(Given::parse(&given_bytes(at)));
    let statement = Retirement::sign(&actor("alice").identity, None, NOW);
    vec![
        case("refused", "the letter came and was not delivered: it had expired", &refused(32), told(32)),
        case("refused-unknown-code", "a code of the future still refuses", &refused(65_535), told(65_535)),
        case(
            "rekey-offer",
            "the leader's prekeys; their form is looked at later",
            &Control::RekeyOffer(offer.to_vec()),
            carried("rekey-offer", &offer),
        ),
        case(
            "rekey-answer",
            "the follower's answer",
            &Control::RekeyAnswer(offer.to_vec()),
            carried("rekey-answer", &offer),
        ),
        case("hello", "first letter of a re-keyed session", &Control::Hello, json!({ "what": "hello" })),
        case(
            "payload-taken",
            "a large payload is whole on its receiver's disk",
            &Control::PayloadTaken(id()),
            json!({ "what": "payload-taken", "letter": hex(id().as_bytes()) }),
        ),
        case(
            "retired",
            "the sender's identity is over",
            &Control::Retired(statement.clone()),
            carried("retired", &statement),
        ),
        case(
            "token-wanted",
            "a letter waits for the token of this hash",
            &Control::TokenWanted(fixed("token hash")),
            carried("token-wanted", &fixed::<32>("token hash")),
        ),
        case(
            "token",
            "the token that was wanted; its form is looked at later",
            &Control::Token(b"a.b.c".repeat(7)),
            carried("token", &b"a.b.c".repeat(7)),
        ),
        case(
            "statement",
            "what a token service has signed; its form is looked at later",
            &Control::Statement(b"e30.e30.AAAA".to_vec()),
            carried("statement", b"e30.e30.AAAA"),
        ),
        case(
            "mailbox",
            "where frames wait for the sender, and the key by which this peer leaves some",
            &given(&near),
            carried("mailbox", &given_bytes(&near)),
        ),
        case(
            "mailbox-longest",
            "as long as an address may be",
            &given(&far(255)),
            carried("mailbox", &given_bytes(&far(255))),
        ),
        case("mailbox-none", "the sender has no mailbox any more", &Control::Mailbox(None), carried("mailbox", &[])),
        case(
            "token-longest",
            "as long as a token may be",
            &Control::Token(vec![b'.'; limit::TOKEN_LEN_MAX]),
            carried("token", &vec![b'.'; limit::TOKEN_LEN_MAX]),
        ),
    ]
}

/// A mailbox whose address has so many bytes.
fn far(len: usize) -> String {
    let (node, end) = (actor("carol").did(), ".example:7421");
    format!("{node}@{}{end}", "a".repeat(len - node.len() - 1 - end.len()))
}

fn given_bytes(at: &str) -> Vec<u8> {
    [&fixed::<32>("deposit key"), at.as_bytes()].concat()
}

fn refused() -> Vec<Case> {
    let good = Array(vec![Uint(1), bytes(id().as_bytes()), Uint(32), bytes([1; 12])]);
    let no = |name: &str, comment: &str, item: Item| {
        Case::refused(AREA, name, comment, json!({ "payload": hex(item.encode()) }), "malformed")
    };
    let what = |what: u64, letter: Item, code: u64, value: Item| Array(vec![Uint(what), letter, Uint(code), value]);
    let mailbox = |at: String| what(10, Null, 0, bytes([&[7; 32], at.as_bytes()].concat()));
    vec![
        no("empty", "no bytes", Raw(vec![])),
        no("what-0", "says nothing", good.with(0, Uint(0))),
        no("what-255", "of the future", what(255, Null, 0, bytes([]))),
        no("mailbox-key-alone", "a key, and nowhere to use it", what(10, Null, 0, bytes([7; 32]))),
        no("mailbox-31", "no key", what(10, Null, 0, bytes([7; 31]))),
        no("mailbox-no-node", "nobody keeps it", mailbox("agent.example:7420".to_owned())),
        no("mailbox-no-port", "its node is nowhere", mailbox(format!("{}@node.example", actor("carol").did()))),
        no("mailbox-port-0", "nobody listens there", mailbox(format!("{}@node.example:0", actor("carol").did()))),
        no("mailbox-space", "visible ASCII alone", mailbox(format!("{}@node .example:1", actor("carol").did()))),
        no("mailbox-256", "one byte too many", mailbox(far(256))),
        no("mailbox-with-code", "it has no code", what(10, Null, 1, bytes([]))),
        no("mailbox-with-letter", "it names no letter", what(10, bytes(id().as_bytes()), 0, bytes([]))),
        no("token-wanted-no-hash", "a hash is wanted", what(7, Null, 0, bytes([]))),
        no("token-wanted-31", "a hash has 32 bytes", what(7, Null, 0, bytes([1; 31]))),
        no("token-wanted-with-code", "it has no code", what(7, Null, 1, bytes([1; 32]))),
        no("token-wanted-with-letter", "it names no letter", what(7, bytes(id().as_bytes()), 0, bytes([1; 32]))),
        no("statement-empty", "it says something", what(9, Null, 0, bytes([]))),
        no("statement-with-code", "it has no code", what(9, Null, 1, bytes([1]))),
        no("token-32", "a hash is no token", what(8, Null, 0, bytes([1; 32]))),
        no("token-8193", "longer than any token", what(8, Null, 0, bytes([1; limit::TOKEN_LEN_MAX + 1]))),
        no("token-with-letter", "it names no letter", what(8, bytes(id().as_bytes()), 0, bytes([1; 40]))),
        no("what-long", "01 is 1 in one byte", good.with(0, Raw(vec![0x18, 1]))),
        no("refused-no-letter", "a refusal names its letter", good.with(1, Null)),
        no("refused-letter-version-4", "a letter id is a UUIDv7", good.with(1, bytes([0x44; 16]))),
        no("refused-no-frame", "a refusal names the frame", good.with(3, bytes([]))),
        no("refused-frame-13", "a nonce has 12 bytes", good.with(3, bytes([1; 13]))),
        no("refused-code-text", "a code is a number", good.with(2, text("expired"))),
        no("refused-code-wide", "a code has 16 bits", good.with(2, Uint(65_536))),
        no("offer-with-letter", "an offer names no letter", what(2, bytes(id().as_bytes()), 0, bytes([1]))),
        no("offer-with-code", "an offer has no code", what(2, Null, 1, bytes([1]))),
        no("answer-with-code", "an answer has no code", what(3, Null, 1, bytes([1]))),
        no("hello-with-bytes", "a hello carries nothing", what(4, Null, 0, bytes([1]))),
        no("retired-with-code", "a statement has no code", what(5, Null, 1, bytes([1]))),
        no("payload-taken-no-letter", "it names its letter", what(6, Null, 0, bytes([]))),
        no("payload-taken-with-code", "it has no code", what(6, bytes(id().as_bytes()), 1, bytes([]))),
        no("payload-taken-with-bytes", "it carries nothing", what(6, bytes(id().as_bytes()), 0, bytes([1]))),
        no("three-items", "the bytes are missing", Array((0..3).map(|at| good.at(at).clone()).collect())),
        no("trailing", "a byte behind", Raw([good.encode(), vec![0]].concat())),
    ]
}
