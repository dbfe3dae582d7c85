//! Events of the audit log, and the chain that they make (contracts/audit.md).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{code, event, limit};
use nuncio_proto::audit::{
    Audited, Chain, Event, EventChannel, EventPeer, Head, PairKey, SignedEvent, What, commitment, commitment_key,
};
use nuncio_proto::channel::{CHANNEL_HEADER_LEN, ChannelPlace};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::header::HEADER_LEN;
use nuncio_proto::ids::{AgentId, ChannelId, EpochId, LetterId};
use nuncio_proto::letter::{Extension, Letter, LetterKind};
use nuncio_proto::secret::Key;
use nuncio_proto::time::UnixMillis;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Uint, bytes, text};
use super::kit::{Case, NOW, fixed, hex};

const AREA: &str = "event";

fn signer() -> SigningKey {
    SigningKey::from_seed(&fixed("event agent seed"))
}

fn agent(name: &str) -> AgentId {
    AgentId::from_bytes(SigningKey::from_seed(&fixed(name)).public()).unwrap()
}

fn plain(what: u8) -> Event {
    let at = UnixMillis(NOW.0 + 5);
    Event { epoch: NOW.0, ..Event::new(agent("event agent seed"), at, What::of(what).unwrap()) }
}

fn full() -> Event {
    Event {
        seq: 7,
        prev: fixed("event before"),
        peer: Some(EventPeer::Agent(agent("event peer seed"))),
        transaction: Some("97053963-771d-49cc-a4e3-20aad399c312".to_owned()),
        token: Some(fixed("event token")),
        commitment: Some(fixed("event commitment")),
        kind: Some("text/plain;charset=utf-8".to_owned()),
        size: Some(9),
        head: Some(Head { epoch: NOW.0 - 1_000, seq: 41, hash: fixed("event of the peer") }),
        ..plain(event::LETTER_SENT)
    }
}

/// [`full`], item by item.
fn items() -> Item {
    let head = Array(vec![Uint(NOW.0 - 1_000), Uint(41), bytes(fixed::<32>("event of the peer"))]);
    let items = Array(vec![
        Uint(1),
        bytes(signer().public()),
        Uint(NOW.0),
        Uint(7),
        bytes(fixed::<32>("event before")),
        Uint(NOW.0 + 5),
        Uint(3),
        Null,
        bytes(agent("event peer seed").as_bytes()),
        text("97053963-771d-49cc-a4e3-20aad399c312"),
        bytes(fixed::<32>("event token")),
        bytes(fixed::<32>("event commitment")),
        text("text/plain;charset=utf-8"),
        Uint(9),
        head,
    ]);
    assert_eq!(items.encode(), full().encode());
    items
}

fn sign(event: Event) -> Vec<u8> {
    SignedEvent::sign(event, &signer()).unwrap().as_bytes().to_vec()
}

/// A COSE_Sign1 of any payload, under any protected header, by any key.
fn cose(protected: &[u8], payload: &[u8], by: &SigningKey) -> Vec<u8> {
    let structure = Array(vec![text("Signature1"), bytes(protected), bytes([]), bytes(payload)]);
    let signature = by.sign_raw(&structure.encode());
    let parts = [bytes(protected).encode(), vec![0xa0], bytes(payload).encode(), bytes(signature).encode()];
    [vec![0xd2, 0x84], parts.concat()].concat()
}

fn header() -> Vec<u8> {
    [b"\xa2\x01\x27\x03\x78\x18".as_slice(), b"application/nuncio-event"].concat()
}

/// A signed event whose payload has another item in one place.
fn with(at: usize, item: Item) -> Vec<u8> {
    cose(&header(), &items().with(at, item).encode(), &signer())
}

fn said(event: &Event, bytes: &[u8]) -> Value {
    let agent = match event.peer {
        Some(EventPeer::Agent(agent)) => json!(agent.to_string()),
        Some(EventPeer::Pseudonym(pseudonym)) => hex(pseudonym),
        None => Value::Null,
    };
    let peer = match event.channel {
        Some(EventChannel::Id(id)) => json!([hex(id.as_bytes()), agent]),
        Some(EventChannel::Pseudonym(pseudonym)) => json!([hex(pseudonym), agent]),
        None => agent,
    };
    let head = event.head.map(|head| json!([head.epoch.to_string(), head.seq.to_string(), hex(head.hash)]));
    let signed = SignedEvent::parse(bytes).unwrap();
    json!({
        "agent": event.agent.to_string(), "epoch": event.epoch.to_string(), "seq": event.seq.to_string(),
        "prev": hex(event.prev), "at": event.at.0, "what": event.what.number(), "outcome": event.outcome, "peer": peer,
        "transaction": event.transaction, "token": event.token.map(hex), "commitment": event.commitment.map(hex),
        "kind": event.kind, "size": event.size, "head": head, "hash": hex(signed.hash()),
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [taken(), shapes(), envelopes(), chains(), commitments(), openings(), pseudonyms()].into_iter().flatten().collect()
}

/// A letter's commitment, and the extension that carries it.
fn commitments() -> Vec<Case> {
    const AREA: &str = "commitment";
    let (key, header) = (Key::new(fixed("commitment message key")), fixed::<HEADER_LEN>("commitment header"));
    let content = b"what the letter says";
    let commitment_key = commitment_key(&key);
    let commitment = commitment(&commitment_key, &header, content);
    let input = |extension: &[u8]| json!({ "message_key": hex(key.expose()), "header": hex(header), "content": hex(content), "extension": hex(extension) });
    let case = |name: &str, comment: &str, said: Audited| {
        let head = said.head.map(|head| json!([head.epoch.to_string(), head.seq.to_string(), hex(head.hash)]));
        let expect = json!({ "commitment_key": hex(commitment_key.expose()), "commitment": hex(commitment), "holds": said.commitment == commitment, "head": head });
        Case::valid(AREA, name, comment, input(&said.encode()), expect)
    };
    let no =
        |name: &str, comment: &str, extension: &[u8]| Case::refused(AREA, name, comment, input(extension), "malformed");
    let head = Some(Head { epoch: NOW.0, seq: 41, hash: fixed("event of the sender") });
    let good = Audited { commitment, head };
    let bytes_of = good.encode();
    let mut altered = commitment;
    altered[0] ^= 1;
    vec![
        case("with-head", "a sender that has told of something before", good),
        case("first", "the sender's first event is this letter's", Audited { head: None, ..good }),
        {
            let header = fixed::<CHANNEL_HEADER_LEN>("commitment channel header");
            let commitment = nuncio_proto::audit::commitment(&commitment_key, &header, content);
            let said = Audited { commitment, head: None };
            let input = json!({ "message_key": hex(key.expose()), "header": hex(header), "content": hex(content), "extension": hex(said.encode()) });
            let expect = json!({ "commitment_key": hex(commitment_key.expose()), "commitment": hex(commitment), "holds": true, "head": null });
            Case::valid(AREA, "channel", "a letter that is sealed once for a channel", input, expect)
        },
        case("other", "another letter's commitment", Audited { commitment: altered, ..good }),
        no("empty", "nothing", b""),
        no("cut", "a byte too few", &bytes_of[..bytes_of.len() - 1]),
        no("behind", "a byte behind it", &[&bytes_of, [0].as_slice()].concat()),
        no("short", "a commitment of 31 bytes", &Array(vec![bytes([7; 31]), Null]).encode()),
        no("items", "an item too many", &Array(vec![bytes(commitment), Null, Null]).encode()),
    ]
}

/// What shows to others what one letter said.
fn openings() -> Vec<Case> {
    const AREA: &str = "opening";
    let (key, header) = (Key::new(fixed("opening commitment key")), fixed::<HEADER_LEN>("opening header"));
    let id = LetterId::new(NOW, [7; 10]);
    let plain = Letter::plain(id, ContentType::TEXT, b"ten apples".to_vec());
    let pair = fixed::<32>("opening pair key");
    let shown = |key: &[u8], header: &[u8], content: &[u8]| {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        json!({ "schema": "nuncio/opening/1", "commitment_key": text(key), "pair_key": text(&pair), "header": text(header), "content": text(content) })
    };
    let good = shown(key.expose(), &header, &plain.encode());
    let yes = |name: &str, comment: &str, letter: &Letter| {
        let expect = json!({
            "commitment": hex(commitment(&key, &header, &letter.encode())), "id": hex(letter.id.as_bytes()), "payload": hex(&letter.payload),
            "content_type": letter.content_type.to_string(), "pair_key": hex(pair),
        });
        let json = shown(key.expose(), &header, &letter.encode()).to_string();
        Case::valid(AREA, name, comment, json!({ "json": json }), expect)
    };
    let no = |name: &str, comment: &str, json: String| {
        Case::refused(AREA, name, comment, json!({ "json": json }), "malformed")
    };
    let other = |member: &str, value: Value| {
        let mut shown = good.clone();
        shown[member] = value;
        shown.to_string()
    };
    let content = |letter: &Letter| shown(key.expose(), &header, &letter.encode()).to_string();
    let extended = |number: u16| Letter {
        extensions: vec![Extension { number, critical: false, value: vec![7; 32] }],
        ..plain.clone()
    };
    let control = Letter { kind: LetterKind::Control, ..plain.clone() };
    let (channel, epoch) = (ChannelId::from_bytes([1; 32]), EpochId::from_bytes([2; 32]));
    let mut placed = plain.clone();
    placed.set_extension(ChannelPlace { channel, epoch, seq: 3 }.extension());
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("header");
    let twice = good.to_string().replacen('{', "{\"schema\":\"nuncio/opening/1\",", 1);
    let behind = format!("{good}\n0");
    vec![
        yes("plain", "a letter with a payload", &plain),
        yes("empty", "without payload, or with a large one", &Letter { payload: Vec::new(), ..plain.clone() }),
        {
            let mut bare = good.clone();
            bare.as_object_mut().unwrap().remove("pair_key");
            let expect = json!({
                "commitment": hex(commitment(&key, &header, &plain.encode())), "id": hex(plain.id.as_bytes()), "payload": hex(&plain.payload),
                "content_type": plain.content_type.to_string(), "pair_key": null,
            });
            Case::valid(
                AREA,
                "no-pair-key",
                "one that does not show whom pseudonyms mean",
                json!({ "json": bare.to_string() }),
                expect,
            )
        },
        no("null-pair-key", "a member that is null", other("pair_key", Value::Null)),
        yes("unknown-extension", "what it says has an extension that nobody knows", &extended(200)),
        no("schema", "of another version", other("schema", json!("nuncio/opening/2"))),
        no("member", "a member too many", other("author", json!("did:key:z6Mk"))),
        no("missing", "a member too few", without.to_string()),
        no("twice", "a member twice", twice),
        no("behind", "something behind it", behind),
        no("number", "a member that is no text", other("header", json!(7))),
        no("short-pair-key", "a pair key of 31 bytes", other("pair_key", json!("A".repeat(42)))),
        no("short-key", "a key of 31 bytes", shown(&[7; 31], &header, &plain.encode()).to_string()),
        {
            let header = fixed::<CHANNEL_HEADER_LEN>("opening channel header");
            let expect = json!({
                "commitment": hex(commitment(&key, &header, &placed.encode())), "id": hex(placed.id.as_bytes()), "payload": hex(&placed.payload),
                "content_type": placed.content_type.to_string(), "pair_key": hex(pair),
            });
            let json = shown(key.expose(), &header, &placed.encode()).to_string();
            Case::valid(AREA, "channel", "a letter that was sealed once for a channel", json!({ "json": json }), expect)
        },
        yes("channel-session", "a letter to a channel that came in a session", &placed),
        no(
            "channel-header",
            "a channel's header, of a letter to nobody's channel",
            shown(key.expose(), &[7; CHANNEL_HEADER_LEN], &plain.encode()).to_string(),
        ),
        no("long-header", "a header of 75 bytes", shown(key.expose(), &[7; 75], &plain.encode()).to_string()),
        no(
            "padded",
            "base64 with padding",
            other("content", json!(format!("{}==", BASE64URL_NOPAD.encode(&plain.encode())))),
        ),
        no(
            "trailing-bits",
            "base64 with bits behind the last byte",
            other("commitment_key", json!(format!("{}B", "A".repeat(42)))),
        ),
        no("no-letter", "a content that is no letter", shown(key.expose(), &header, b"ten apples").to_string()),
        no("control", "a letter of kind 17 is in no event", content(&control)),
        no("token", "a content with the token is not the one of K28", content(&extended(2))),
        no(
            "too-long",
            "a byte too many",
            good.to_string() + &" ".repeat(limit::OPENING_LEN_MAX + 1 - good.to_string().len()),
        ),
    ]
}

/// By what two agents know each other in events.
fn pseudonyms() -> Vec<Case> {
    const AREA: &str = "pseudonym";
    let seeds = ["pseudonym one", "pseudonym two", "pseudonym three"].map(fixed::<32>);
    let agent = |seed: &[u8; 32]| SigningKey::from_seed(seed).public();
    let head = Head { epoch: NOW.0, seq: 41, hash: fixed("event of the other") };
    let named = json!([head.epoch.to_string(), head.seq.to_string(), hex(head.hash)]);
    let input = |own: &[u8; 32], other: &[u8]| json!({ "seed": hex(own), "other": hex(other), "head": named });
    let yes = |name: &str, comment: &str, own: &[u8; 32], other: [u8; 32]| {
        let own_id = AgentId::from_bytes(agent(own)).unwrap();
        let other_id = AgentId::from_bytes(other).unwrap();
        let pair = PairKey::of(&SigningKey::from_seed(own), &other_id).unwrap();
        let expect = json!({
            "pair_key": hex(pair.expose()), "own": hex(pair.pseudonym(&own_id)), "others": hex(pair.pseudonym(&other_id)),
            "head": hex(pair.blind(&head).hash),
        });
        Case::valid(AREA, name, comment, input(own, &other), expect)
    };
    let no = |name: &str, comment: &str, other: [u8; 32]| {
        Case::refused(AREA, name, comment, input(&seeds[0], &other), "bad-key")
    };
    let [mut one, mut wide] = [[0; 32], [0xff; 32]];
    (one[0], wide[31]) = (1, 0x7f);
    vec![
        yes("one", "an agent and another", &seeds[0], agent(&seeds[1])),
        yes("other", "the same two, from the other side: the same key", &seeds[1], agent(&seeds[0])),
        yes("third", "another pair", &seeds[0], agent(&seeds[2])),
        yes("itself", "an agent and itself", &seeds[0], agent(&seeds[0])),
        no("small-order", "the point of order one", one),
        no("not-reduced", "a coordinate that is not below the field's order", wide),
    ]
}

fn yes(name: &str, comment: &str, event: &Event) -> Case {
    let bytes = sign(event.clone());
    Case::valid(AREA, name, comment, json!({ "bytes": hex(&bytes) }), said(event, &bytes))
}

fn no(name: &str, comment: &str, bytes: impl AsRef<[u8]>, error: &str) -> Case {
    Case::refused(AREA, name, comment, json!({ "bytes": hex(bytes) }), error)
}

fn taken() -> Vec<Case> {
    let longest = "x".repeat(limit::EVENT_TEXT_MAX);
    let channel = Some(EventChannel::Id(ChannelId::from_bytes(fixed("event channel"))));
    vec![
        yes("letter-sent", "all that an event can hold", &full()),
        yes("heartbeat", "the least that an event holds", &plain(event::HEARTBEAT)),
        yes("policy-changed", "the last kind", &plain(event::POLICY_CHANGED)),
        yes(
            "letter-refused",
            "an outcome",
            &Event { what: What::of(event::LETTER_REFUSED).unwrap(), outcome: Some(code::EXPIRED), ..full() },
        ),
        yes(
            "pseudonym",
            "a peer that only its peer knows",
            &Event { peer: Some(EventPeer::Pseudonym([7; 16])), ..full() },
        ),
        yes("in-channel", "of a channel, and an agent in it", &Event { channel, ..full() }),
        yes("to-channel", "to all in a channel", &Event { channel, peer: None, ..full() }),
        yes(
            "in-channel-pseudonyms",
            "a channel that only its members know",
            &Event {
                channel: Some(EventChannel::pseudonym(&ChannelId::from_bytes(fixed("event channel")), &full().agent)),
                peer: Some(EventPeer::Pseudonym([7; 16])),
                ..full()
            },
        ),
        yes(
            "longest",
            "texts at their longest",
            &Event { transaction: Some(longest.clone()), kind: Some(longest), ..full() },
        ),
        yes("size-64", "more than any payload", &Event { size: Some(64), ..full() }),
    ]
}

fn shapes() -> Vec<Case> {
    let number = Uint;
    let long = "x".repeat(limit::EVENT_TEXT_MAX + 1);
    let Array(items) = items() else { unreachable!("an event is an array") };
    let more = [items.clone(), vec![Null]].concat();
    let of = |items: Vec<Item>| cose(&header(), &Array(items).encode(), &signer());
    let mut spelled = full().encode();
    // Version 1 as an integer of two bytes.
    spelled.splice(1..2, [0x18, 0x01]);
    vec![
        no("version-2", "a later form", with(0, number(2)), "version"),
        no("version-32", "a much later form", with(0, number(32)), "version"),
        no("agent-small-order", "a key that signs anything", with(1, bytes([0; 32])), "bad-key"),
        no("agent-short", "31 bytes", with(1, bytes([7; 31])), "codec"),
        no("prev-short", "31 bytes", with(4, bytes([7; 31])), "codec"),
        no("kind-0", "nothing happened", with(6, number(0)), "kind"),
        no("kind-18", "nobody knows it yet", with(6, number(18)), "kind"),
        no("outcome-large", "no code", with(7, number(65_536)), "codec"),
        no("channel-31", "no channel's id", with(8, Array(vec![bytes([7; 31]), Null])), "malformed"),
        no("channel-agent-15", "no pseudonym", with(8, Array(vec![bytes([7; 32]), bytes([7; 15])])), "malformed"),
        no("channel-agent-weak", "signs anything", with(8, Array(vec![bytes([7; 32]), bytes([0; 32])])), "bad-key"),
        no("channel-alone", "an item too few", with(8, Array(vec![bytes([7; 32])])), "codec"),
        no("channel-more", "an item too many", with(8, Array(vec![bytes([7; 32]), Null, Null])), "codec"),
        no("channel-numbers", "an array of bytes is no byte string", with(8, Array(vec![number(7); 16])), "codec"),
        no("peer-15", "no pseudonym", with(8, bytes([7; 15])), "malformed"),
        no("peer-empty", "nobody", with(8, bytes([])), "malformed"),
        no("peer-small-order", "a key that signs anything", with(8, bytes([0; 32])), "bad-key"),
        no("transaction-empty", "a name is not empty", with(9, text("")), "malformed"),
        no("transaction-long", "longer than event_text_max", with(9, text(&long)), "malformed"),
        no("kind-control", "a control character", with(12, text("a\u{7}b")), "malformed"),
        no("kind-control-c1", "a control character of Unicode's", with(12, text("a\u{85}b")), "malformed"),
        no("size-65", "no length has so many bits", with(13, number(65)), "malformed"),
        no("head-two", "two parts of three", with(14, Array(vec![number(1), number(2)])), "codec"),
        no("items-more", "an item more", of(more), "codec"),
        no("items-fewer", "an item less", of(items[..14].to_vec()), "codec"),
        no("not-canonical", "an integer in two bytes", cose(&header(), &spelled, &signer()), "codec"),
        no("empty-payload", "nothing is said", cose(&header(), b"", &signer()), "codec"),
    ]
}

fn envelopes() -> Vec<Case> {
    let payload = full().encode();
    let good = sign(full());
    let other = SigningKey::from_seed(&fixed("event stranger seed"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let after = |head: usize| good[head..].to_vec();
    let bare = cose(b"\xa1\x01\x27", &payload, &signer());
    let es256 = cose(&[b"\xa2\x01\x26".as_slice(), &header()[3..]].concat(), &payload, &signer());
    let unprotected = [&good[..34], &[0xa1, 0x04, 0x41, 0x61], &good[35..]].concat();
    // The payload's length in three bytes where two do.
    let short = sign(plain(event::HEARTBEAT));
    let long_head = [&short[..35], &[0x59, 0x00], &short[36..]].concat();
    vec![
        no("altered", "another signature", &flipped, "signature"),
        no("by-another", "signed by another", cose(&header(), &payload, &other), "signature"),
        no("untagged", "no tag", after(1), "codec"),
        no("no-content-type", "a signature that may mean something else", bare, "codec"),
        no("es256", "another algorithm", es256, "codec"),
        no("unprotected", "something that nobody signed", unprotected, "codec"),
        no("long-head", "a length in two bytes where one does", long_head, "codec"),
        no("behind", "a byte behind it", [good.as_slice(), &[0]].concat(), "codec"),
        no("cut", "a byte less", &good[..good.len() - 1], "codec"),
        no("empty", "nothing", b"", "codec"),
        no("too-long", "longer than event_len_max", [0xd2; limit::EVENT_LEN_MAX + 1], "too-long"),
    ]
}

/// Events as they come to somebody who keeps the chain: where each stands.
fn chains() -> Vec<Case> {
    let mut chain = Chain::default();
    let events: Vec<SignedEvent> = (0..4)
        .map(|_| {
            let mut event = plain(event::HEARTBEAT);
            chain.number(&mut event, NOW.0);
            let signed = SignedEvent::sign(event, &signer()).unwrap();
            chain.follow(&signed);
            signed
        })
        .collect();
    let bytes = |event: Event| sign(event);
    let good: Vec<Vec<u8>> = events.iter().map(|event| event.as_bytes().to_vec()).collect();
    let told_twice = bytes(Event { at: NOW, ..events[1].event().clone() });
    let strange = bytes(Event { prev: fixed("event elsewhere"), ..events[2].event().clone() });
    let first_with_prev = bytes(Event { prev: fixed("event elsewhere"), ..plain(event::HEARTBEAT) });
    let earlier = bytes(Event { epoch: NOW.0 - 1, ..plain(event::HEARTBEAT) });
    let later = bytes(Event { epoch: NOW.0 + 1, ..plain(event::HEARTBEAT) });
    let later_in = bytes(Event { epoch: NOW.0 + 1, seq: 4, prev: events[3].hash(), ..plain(event::HEARTBEAT) });
    let told = |name: &str, comment: &str, come: &[&Vec<u8>], places: &[&str]| {
        let input: Vec<Value> = come.iter().map(hex).collect();
        Case::valid("chain", name, comment, json!({ "events": input }), json!({ "places": places }))
    };
    let [a, b, c, d] = [&good[0], &good[1], &good[2], &good[3]];
    vec![
        told("in-order", "one after the other", &[a, b, c, d], &["next"; 4]),
        told("again", "an event comes twice", &[a, b, a, b, c], &["next", "next", "known", "known", "next"]),
        told("gap", "one is left out, and comes", &[a, c, b, c], &["next", "gap", "next", "next"]),
        told("not-from-the-first", "the beginning is missing", &[b, a], &["gap", "next"]),
        told(
            "two-stories",
            "another event under a number that is known",
            &[a, b, &told_twice, c],
            &["next", "next", "known", "next"],
        ),
        told("other-prev", "it follows another event", &[a, b, &strange, c], &["next", "next", "prev", "next"]),
        told("first-with-prev", "nothing stands in front of the first", &[&first_with_prev], &["prev"]),
        told("new-epoch", "the agent counts anew", &[a, b, &later, c], &["next", "next", "next", "past"]),
        told("epoch-past", "a count that never was", &[a, &earlier], &["next", "past"]),
        told(
            "epoch-goes-on",
            "a new count begins at 0",
            &[a, b, c, d, &later_in],
            &["next", "next", "next", "next", "gap"],
        ),
    ]
}
