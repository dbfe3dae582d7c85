//! Permits: given, handed on, asked for, refused (contracts/permit.md); and the control letters that carry them.

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{label, limit};
use nuncio_proto::crypto;
use nuncio_proto::permit::Permit;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Actor, Case, NOW, actor, hex};
use super::letter::id;

const AREA: &str = "permit";
const DAY: u64 = 86_400_000;

pub(crate) fn cases() -> Vec<Case> {
    [valid(), asked(), not_wider(), not_signed(), no_fields(), no_forms(), lines(), controls()]
        .into_iter()
        .flatten()
        .collect()
}

/// One link before it is signed.
struct Says {
    by: &'static str,
    holder: Item,
    scope: String,
    until: u64,
    further: u64,
}

fn says(by: &'static str, holder: &str, scope: &str, days: u64, further: u64) -> Says {
    let holder = bytes(actor(holder).identity.id().as_bytes());
    Says { by, holder, scope: scope.to_owned(), until: NOW.0 + days * DAY, further }
}

/// Alice's permit for a service, with links each genuinely signed by whom one likes.
fn permit_for(service: &str, links: &[Says]) -> Item {
    let giver = bytes(actor("alice").identity.id().as_bytes());
    let (mut above, mut wires) = (Null, Vec::new());
    for link in links {
        let (scope, until, further) = (text(&link.scope), Uint(link.until), Uint(link.further));
        let said =
            [giver.clone(), text(service), above, link.holder.clone(), scope.clone(), until.clone(), further.clone()];
        let body = Array(said.to_vec()).encode();
        let signature = actor(link.by).identity.signing().sign(label::PERMIT, &body);
        wires.push(Array(vec![link.holder.clone(), scope, until, further, bytes(signature)]));
        above = bytes(crypto::sha256(&[label::PERMIT, &[0], &body]));
    }
    Array(vec![giver, text(service), Array(wires)])
}

fn permit(links: &[Says]) -> Item {
    permit_for("files", links)
}

fn given() -> Says {
    says("alice", "bob", "tools.read", 30, 0)
}

/// Alice gives Bob, Bob hands on to Carol, Carol to Dave.
fn chain() -> [Says; 3] {
    [
        says("alice", "bob", "tools.read tools.write:a", 30, 3),
        says("bob", "carol", "tools.read", 30, 1),
        says("carol", "dave", "tools.read", 2, 0),
    ]
}

fn handed_on() -> Item {
    permit(&chain())
}

/// What a reader says of it.
fn read(item: &Item) -> Value {
    let permit = Permit::parse(&item.encode()).unwrap();
    let link = |(by, link): (&nuncio_proto::ids::AgentId, &nuncio_proto::permit::Link)| {
        json!({
            "by": by.to_string(),
            "holder": link.terms.holder.to_string(),
            "scope": link.terms.scope.to_string(),
            "until": link.terms.until.0,
            "further": link.terms.further,
            "id": hex(link.id().as_bytes()),
        })
    };
    json!({
        "giver": permit.giver().to_string(),
        "service": permit.service().as_str(),
        "links": permit.signed_links().map(link).collect::<Vec<_>>(),
        "line": format!("nuncio-permit:{}", BASE64URL_NOPAD.encode(&item.encode())),
    })
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, item: &Item| {
        Case::valid(AREA, name, comment, json!({ "bytes": hex(item.encode()) }), read(item))
    };
    let four = [
        says("alice", "bob", "a", 30, 3),
        says("bob", "carol", "a", 30, 2),
        says("carol", "dave", "a", 30, 1),
        says("dave", "bob", "a", 30, 0),
    ];
    let many = Says { scope: "A A.b a tools.read tools.read:x ~".into(), ..given() };
    let (long, _) = longest();
    vec![
        case("given", "one link: for its holder alone", &permit(&[given()])),
        case("handed-on", "each link narrower than the one above", &handed_on()),
        case("four-links", "as many as may be", &permit(&four)),
        case(
            "as-it-was",
            "all that the link above allows, but to hand it on as often",
            &permit(&[says("alice", "bob", "a b", 30, 1), says("bob", "carol", "a b", 30, 0)]),
        ),
        case("scope-many", "ascending by bytes", &permit(&[many])),
        case("over", "when it is over is asked each time", &permit(&[Says { until: 0, ..given() }])),
        case(
            "for-ever",
            "how long it is good is for its giver to bound",
            &permit(&[Says { until: u64::MAX, ..given() }]),
        ),
        case("to-its-giver", "of no use, and a permit", &permit(&[says("alice", "alice", "a", 30, 0)])),
        case("8192", "as long as it may be", &long),
    ]
}

/// One as long as may be, and one a byte longer.
fn longest() -> (Item, Item) {
    let of = |len: usize| permit(&[Says { scope: "s".repeat(len), ..given() }]);
    let rest = limit::PERMIT_LEN_MAX - of(1_000).encode().len();
    (of(1_000 + rest), of(1_001 + rest))
}

fn asked() -> Vec<Case> {
    let (alice, dave) = (actor("alice").did(), actor("dave").did());
    let good = json!({ "giver": alice, "holder": dave, "service": "files", "now": NOW.0, "revoked": [] });
    let with = |field: &str, value: Value| {
        let mut asked = good.clone();
        asked[field] = value;
        json!({ "bytes": hex(handed_on().encode()), "asked": asked })
    };
    let no = |name: &str, comment: &str, field: &str, value: Value, error: &str| {
        Case::refused(AREA, &format!("asked-{name}"), comment, with(field, value), error)
    };
    let yes = |name: &str, comment: &str, field: &str, value: Value| {
        Case::valid(AREA, &format!("asked-{name}"), comment, with(field, value), json!({ "allowed": "tools.read" }))
    };
    let links = read(&handed_on());
    let of_link = |at: usize| json!([links["links"][at]["id"]]);
    let other = read(&permit(&[given()]))["links"][0]["id"].clone();
    vec![
        yes("allowed", "by its holder, at its giver, in its time", "now", json!(NOW.0)),
        yes("last-moment", "a millisecond before it is over", "now", json!(NOW.0 + 2 * DAY - 1)),
        yes("other-revoked", "another permit's link", "revoked", json!([other])),
        no("over", "the last link's time, not the first's", "now", json!(NOW.0 + 2 * DAY), "over"),
        no("giver", "of another agent nothing is allowed by it", "giver", json!(actor("bob").did()), "giver"),
        no("holder", "it is for nobody else", "holder", json!(alice), "holder"),
        no("holder-above", "who has handed it on has another", "holder", json!(actor("carol").did()), "holder"),
        no("service", "another service", "service", json!("file"), "service"),
        no("first-revoked", "it takes all below it", "revoked", of_link(0), "revoked"),
        no("second-revoked", "it takes all below it", "revoked", of_link(1), "revoked"),
        no("last-revoked", "the last link", "revoked", of_link(2), "revoked"),
    ]
}

fn no(name: &str, comment: &str, item: &Item, error: &str) -> Case {
    Case::refused(AREA, name, comment, json!({ "bytes": hex(item.encode()) }), error)
}

fn not_wider() -> Vec<Case> {
    let below = |name: &str, comment: &str, link: Says| {
        let first = says("alice", "bob", "tools.read tools.write:a", 30, 2);
        no(&format!("wider-{name}"), comment, &permit(&[first, link]), "wider")
    };
    let mut last = chain();
    last[2].scope = "tools.write:a".into();
    vec![
        below("scope", "a scope that is not above", says("bob", "carol", "tools.write", 30, 0)),
        below("scope-more", "one that is, and one that is not", says("bob", "carol", "service.use tools.read", 30, 0)),
        below("scope-narrow", "none is part of another", says("bob", "carol", "tools.read:a", 30, 0)),
        below("scope-case", "bytes are compared", says("bob", "carol", "TOOLS.READ", 30, 0)),
        below("until", "a day longer", says("bob", "carol", "tools.read", 31, 0)),
        below("further", "handed on as often as the link above", says("bob", "carol", "tools.read", 30, 2)),
        below("further-255", "handed on more often", says("bob", "carol", "tools.read", 30, 255)),
        no("wider-first", "what the first allows, and the second does not", &permit(&last), "wider"),
        no(
            "not-to-be-handed-on",
            "no link may follow",
            &permit(&[given(), says("bob", "carol", "tools.read", 1, 0)]),
            "wider",
        ),
        no("further-4", "further than there is room", &permit(&[Says { further: 4, ..given() }]), "links"),
    ]
}

fn not_signed() -> Vec<Case> {
    let good = permit(&[given()]);
    let link = good.at(2).at(0).clone();
    let signed_with = |signature: [u8; 64]| good.with(2, Array(vec![link.with(4, bytes(signature))]));
    let body = Array(vec![
        good.at(0).clone(),
        good.at(1).clone(),
        Null,
        link.at(0).clone(),
        link.at(1).clone(),
        link.at(2).clone(),
        link.at(3).clone(),
    ]);
    let alice: Actor = actor("alice");
    let wide = permit(&[says("alice", "bob", "tools.read tools.write", 300, 3)]);
    let moved = handed_on().with(2, Array(vec![wide.at(2).at(0).clone(), handed_on().at(2).at(1).clone()]));
    let cut = handed_on().with(2, Array(vec![handed_on().at(2).at(1).clone()]));
    let bad = |name: &str, comment: &str, item: &Item| no(name, comment, item, "bad-signature");
    vec![
        bad("other-signer", "nobody gives what another serves", &permit(&[Says { by: "bob", ..given() }])),
        bad(
            "second-by-giver",
            "its holder alone hands it on",
            &permit(&[says("alice", "bob", "a", 30, 1), says("alice", "carol", "a", 30, 0)]),
        ),
        bad(
            "second-by-its-holder",
            "nobody hands it on to itself",
            &permit(&[says("alice", "bob", "a", 30, 1), says("carol", "carol", "a", 30, 0)]),
        ),
        bad(
            "other-label",
            "a signature for another purpose",
            &signed_with(alice.identity.signing().sign(label::BUNDLE, &body.encode())),
        ),
        bad(
            "no-label",
            "a signature over the body alone",
            &signed_with(alice.identity.signing().sign_raw(&body.encode())),
        ),
        bad("signature-zero", "no signature", &signed_with([0; 64])),
        bad("service-altered", "given for another service", &good.with(1, text("mail"))),
        bad(
            "holder-altered",
            "given to another",
            &good.with(2, Array(vec![link.with(0, bytes(actor("carol").identity.id().as_bytes()))])),
        ),
        bad("scope-altered", "given for something else", &good.with(2, Array(vec![link.with(1, text("tools.write"))]))),
        bad("until-altered", "given for longer", &good.with(2, Array(vec![link.with(2, Uint(NOW.0 + 31 * DAY))]))),
        bad("further-altered", "not to be handed on", &good.with(2, Array(vec![link.with(3, Uint(1))]))),
        bad("moved", "a link that stood under another one", &moved),
        bad("cut-above", "a link without the one that it stood under", &cut),
        bad("giver-altered", "another's service", &good.with(0, bytes(actor("carol").identity.id().as_bytes()))),
    ]
}

fn no_fields() -> Vec<Case> {
    let weak = [&[1_u8][..], &[0; 31]].concat();
    let scope = |name: &str, comment: &str, scope: &str| {
        no(&format!("scope-{name}"), comment, &permit(&[Says { scope: scope.into(), ..given() }]), "scope")
    };
    let service = |name: &str, comment: &str, service: &str| {
        no(&format!("service-{name}"), comment, &permit_for(service, &[given()]), "service")
    };
    let five = |further: u64| says("bob", "bob", "a", 30, further);
    let five = permit(&[says("alice", "bob", "a", 30, 3), five(2), five(1), five(0), five(0)]);
    vec![
        scope("empty", "it allows nothing", ""),
        scope("descending", "a scope has one order", "tools.write tools.read"),
        scope("twice", "each once", "tools.read tools.read"),
        scope("two-spaces", "one space between two", "tools.read  tools.write"),
        scope("space-end", "none behind", "tools.read "),
        scope("quote", "no character of a scope", "tools.read:\"x\""),
        scope("not-ascii", "no character of a scope", "tools.read:\u{e9}"),
        service("empty", "for no service", ""),
        service("upper-case", "lower case alone", "Files"),
        service("65", "one byte too many", &"s".repeat(65)),
        no("no-links", "given to nobody", &permit(&[]), "links"),
        no("five-links", "one too many", &five, "links"),
        no("giver-weak", "a key that no agent has", &permit(&[given()]).with(0, bytes(&weak)), "bad-key"),
        no("holder-weak", "a key that no agent has", &permit(&[Says { holder: bytes(&weak), ..given() }]), "bad-key"),
    ]
}

fn no_forms() -> Vec<Case> {
    let good = permit(&[given()]);
    let link = good.at(2).at(0).clone();
    let with_link = |link: Item| good.with(2, Array(vec![link]));
    let raw = good.encode();
    let codec = |name: &str, comment: &str, item: &Item| no(name, comment, item, "codec");
    let items = |count: usize| Array((0..3).map(|at| good.at(at).clone()).chain([Null]).take(count).collect());
    let (_, long) = longest();
    vec![
        codec("empty", "no bytes", &Raw(vec![])),
        codec("two-items", "no links", &items(2)),
        codec("four-items", "an item too many", &items(4)),
        codec("trailing", "a byte behind", &Raw([&raw[..], &[0]].concat())),
        codec("cut", "the last byte is missing", &Raw(raw[..raw.len() - 1].to_vec())),
        codec("link-four-items", "no signature", &with_link(Array((0..4).map(|at| link.at(at).clone()).collect()))),
        codec(
            "link-six-items",
            "an item too many",
            &with_link(Array((0..5).map(|at| link.at(at).clone()).chain([Null]).collect())),
        ),
        codec("holder-short", "31 bytes", &with_link(link.with(0, bytes([7; 31])))),
        codec("signature-short", "63 bytes", &with_link(link.with(4, bytes([7; 63])))),
        codec("scope-null", "it is text", &with_link(link.with(1, Null))),
        codec("until-null", "no permit is without end", &with_link(link.with(2, Null))),
        codec("further-256", "it has eight bits", &with_link(link.with(3, Uint(256)))),
        codec("further-long", "a number in more bytes than it needs", &with_link(link.with(3, Raw(vec![0x18, 0])))),
        no("8193", "a byte more", &long, "too-long"),
    ]
}

fn lines() -> Vec<Case> {
    let line = |name: &str, comment: &str, line: &str, error: &str| {
        Case::refused(AREA, &format!("line-{name}"), comment, json!({ "line": line }), error)
    };
    let good = permit(&[given()]);
    let encoded = BASE64URL_NOPAD.encode(&good.encode());
    vec![
        Case::valid(
            AREA,
            "line",
            "white space at its ends is taken off",
            json!({ "line": format!(" \tnuncio-permit:{encoded}\r\n") }),
            read(&good),
        ),
        line("scheme", "an invitation's", &format!("nuncio:{encoded}"), "not-permit"),
        line("upper-case", "lower case alone", &format!("Nuncio-permit:{encoded}"), "not-permit"),
        line("padded", "no padding is written", &format!("nuncio-permit:{encoded}="), "not-permit"),
        line(
            "space-within",
            "white space stands at the ends alone",
            &format!("nuncio-permit: {encoded}"),
            "not-permit",
        ),
        line("hexadecimal-space", "no character of base64url", "nuncio-permit:83 58", "not-permit"),
        line("nothing", "no bytes", "nuncio-permit:", "codec"),
    ]
}

/// In control letters they are looked at later.
fn controls() -> Vec<Case> {
    let said = |what: u64, bytes_of: &[u8]| Array(vec![Uint(what), Null, Uint(0), bytes(bytes_of)]);
    let good = permit(&[given()]).encode();
    let yes = |name: &str, comment: &str, number: u64, what: &str, carried: &[u8]| {
        let input = json!({ "payload": hex(said(number, carried).encode()) });
        Case::valid("control", name, comment, input, json!({ "what": what, "bytes": hex(carried) }))
    };
    let no = |name: &str, comment: &str, control: &Item| {
        Case::refused("control", name, comment, json!({ "payload": hex(control.encode()) }), "malformed")
    };
    vec![
        yes("permit", "what its sender may do", 13, "permit", &good),
        yes("permit-8192", "as long as it may be", 13, "permit", &longest().0.encode()),
        yes("permit-over", "what its sender takes back", 14, "permit-over", &good),
        no("permit-empty", "no permit", &said(13, &[])),
        no("permit-8193", "a byte more", &said(13, &longest().1.encode())),
        no("permit-with-code", "it has no code", &said(13, &good).with(2, Uint(1))),
        no("permit-with-letter", "it names no letter", &said(13, &good).with(1, bytes(id().as_bytes()))),
        no("permit-over-empty", "no permit", &said(14, &[])),
    ]
}
