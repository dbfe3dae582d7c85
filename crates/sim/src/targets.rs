//! What the fuzzers run, and what the tests replay on stable: bytes in, a panic when a promise is broken.
#![expect(clippy::panic, reason = "a fuzzer learns of a broken promise by a panic")]

use std::collections::BTreeSet;

use nuncio_contracts::registry::{limit, text};
use nuncio_proto::audit::{Opening, SignedEvent};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::Deposit;
use nuncio_proto::frame::Frame;
use nuncio_proto::handshake::Start;
use nuncio_proto::handshake::rekey::{self, Offer};
use nuncio_proto::header::Header;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::AgentId;
use nuncio_proto::invitation::Invitation;
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::peer::Peer;
use nuncio_proto::secret::Key;
use nuncio_proto::session::Session;
use nuncio_proto::step::Effect;
use nuncio_proto::testing::{jws, seal_as, signed_event};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{
    AddCheckpoint, Attested, Checkpoint, Detached, Note, NoteKey, Policy, Receipt, Tile, Timestamp, bundle_of,
    entries_of,
};
use nuncio_proto::token::{EdDsaOnly, Genuine, KeyBundle, KeySet, RevokedList, Trusted, VerifyingKey, sign};

use crate::agent::{Agent, START};
use crate::book::Violation;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::net::Weather;
use crate::plan::{Faults, Plan, Tokens};
use crate::scene::{self, scene};
use crate::trace::Trace;
use crate::world;

mod backends;
mod call;
mod channel;
mod permit;

pub use backends::backends;
pub use call::call;
pub use channel::{channel_frame, channel_record};
pub use permit::permit;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const ALL: &[(&str, Target)] = &[
    ("frame", frame),
    ("bundle", bundle),
    ("letter", letter),
    ("snapshot", snapshot),
    ("invitation", invitation),
    ("handshake", handshake),
    ("control", control),
    ("call", call),
    ("permit", permit),
    ("statement", statement),
    ("deposit", deposit),
    ("channel_frame", channel_frame),
    ("channel_record", channel_record),
    ("event", event),
    ("log", log),
    ("token", token),
    ("jwks", jwks),
    ("request", request),
    ("policy", policy),
    ("hostile", hostile),
    ("records", records),
    ("rekey", rekey),
    ("slot", slot),
    ("conversation", conversation),
    ("backends", backends),
];

/// Two encodings of one thing must be one.
fn same(what: &str, again: &[u8], bytes: &[u8]) {
    if again != bytes {
        panic!("{what}: what was taken is encoded in another way");
    }
}

/// A frame is refused, or its parts lie within it.
pub fn frame(bytes: &[u8]) {
    match Frame::decode(bytes) {
        Ok(Frame::Sealed(sealed)) => same("frame", &[sealed.in_front, sealed.header].concat(), bytes),
        Ok(Frame::Notice(notice)) => same("notice", &notice.encode(), bytes),
        Err(_) => {}
    }
}

/// A bundle is refused at any time, since nobody here can sign one.
pub fn bundle(bytes: &[u8]) {
    // The corpus holds genuine bundles; what is taken must parse again to the same.
    let now = UnixMillis(1_800_000_000_000);
    if let Ok(parsed) = Bundle::parse(bytes, now)
        && Bundle::parse(bytes, now).as_ref() != Ok(&parsed)
    {
        panic!("bundle: two readings differ");
    }
}

/// A letter is refused, or has one spelling.
pub fn letter(bytes: &[u8]) {
    if let Ok(letter) = Letter::decode(bytes) {
        same("letter", &letter.encode(), bytes);
        if let Some(payload) = letter.extensions.iter().find_map(|extension| PayloadKey::decode(&extension.value)) {
            let whole: u64 =
                (0..payload.chunks().min(4)).map(|index| u64::try_from(payload.chunk_len(index)).unwrap_or(0)).sum();
            if payload.chunks() <= 4 && whole != payload.len {
                panic!("payload: chunks do not add up");
            }
        }
    }
}

/// A snapshot is refused, or comes back as it was.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(session) = Session::from_bytes(bytes) {
        same("snapshot", &session.to_bytes(), bytes);
    }
}

/// An invitation is refused, or what it says survives printing.
pub fn invitation(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(invitation) = text.parse::<Invitation>()
        && invitation.to_string().parse::<Invitation>() != Ok(invitation)
    {
        panic!("invitation: printed and read, it says something else");
    }
}

/// The header of a start is refused, or read.
pub fn handshake(bytes: &[u8]) {
    if let Ok(start) = Start::decode(bytes)
        && start.used() != start.used()
    {
        panic!("handshake: two readings differ");
    }
}

/// A control letter's payload is refused, or has one spelling.
pub fn control(bytes: &[u8]) {
    if let Some(control) = Control::decode(bytes) {
        same("control", &control.encode(), bytes);
    }
}

/// A retirement is refused, or speaks of who signed it; so is what a token service says of its keys and of revoked transactions.
pub fn statement(bytes: &[u8]) {
    if let Ok(retirement) = Retirement::parse(bytes)
        && Retirement::parse(bytes).as_ref() != Ok(&retirement)
    {
        panic!("statement: two readings differ");
    }
    said_by_a_node(&String::from_utf8_lossy(bytes));
}

/// What a node may say, under its genuine signature: refused, or read as every other JSON parser reads it.
fn said_by_a_node(members: &str) {
    let signer = SigningKey::from_seed(&[9; 32]);
    let Ok(node) = AgentId::from_bytes(signer.public()) else { return };
    let trusted = Trusted { node: &node, domain: "acme.example", now: START };
    let keys = KeyBundle::open(sign(&signer, text::KEYS_TYPE, members).as_bytes(), &trusted);
    let list = RevokedList::open(sign(&signer, text::REVOKED_TYPE, members).as_bytes(), &trusted);
    if keys.is_err() && list.is_err() {
        return;
    }
    let Ok(other) = serde_json::from_str::<serde_json::Value>(members) else {
        panic!("statement: what was believed is no JSON")
    };
    let number = |name: &str| other.get(name).and_then(serde_json::Value::as_u64);
    if keys.is_ok_and(|keys| (Some(keys.issued), Some(keys.expires)) != (number("iat"), number("exp")))
        || list.is_ok_and(|list| (Some(list.serial), Some(list.expires)) != (number("serial"), number("exp")))
    {
        panic!("statement: numbers are read in two ways");
    }
}

/// What an agent says of itself, under its genuine signature: refused, or it has one spelling. What opens a letter likewise.
pub fn event(bytes: &[u8]) {
    let signer = SigningKey::from_seed(&[9; 32]);
    let mut payload = bytes.to_vec();
    // The place of the agent's key: only its own is signed with.
    if let Some(agent) = payload.get_mut(4..36) {
        agent.copy_from_slice(&signer.public());
    }
    let signed = signed_event(&signer, &payload);
    if let Ok(event) = SignedEvent::parse(&signed) {
        same("event", &event.event().encode(), &payload);
        same("signed event", event.as_bytes(), &signed);
    }
    if SignedEvent::parse(bytes) != SignedEvent::parse(bytes) {
        panic!("event: two readings differ");
    }
    if let Some(opening) = Opening::from_json(bytes) {
        let again = Opening::from_json(opening.to_json().as_bytes()).map(|again| again.commitment());
        assert_eq!(again, Some(opening.commitment()), "an opening has one meaning");
    }
}

/// A deposit is refused, or has one spelling, and is a frame for somebody.
pub fn deposit(bytes: &[u8]) {
    if let Ok(deposit) = Deposit::parse(bytes) {
        same("deposit", &deposit.to_bytes(), bytes);
        assert!(!deposit.to().is_empty() && !deposit.frame().is_empty(), "a deposit of nothing, or for nobody");
        for (_, _, frame) in deposit.frames() {
            assert!(
                frame.len() <= limit::FRAME_LEN_MAX && frame.starts_with(deposit.frame()),
                "no frame of the deposit's"
            );
        }
    }
}

/// A timestamp is refused, or says the same when it is written again, in one spelling.
fn timestamp(bytes: &[u8]) {
    if let Ok(read) = Detached::parse(bytes) {
        let written = read.to_bytes();
        if Detached::parse(&written).as_ref() != Ok(&read) || written.len() != bytes.len() {
            panic!("timestamp: written and read, it says something else");
        }
        let said: BTreeSet<Attested> = read.attested().into_iter().collect();
        // What was said stays, whatever is merged in.
        for pending in said.iter().filter(|attested| attested.pending().is_some()).take(2) {
            if let Ok(merged) = read.with_answer(pending, &read.timestamp)
                && !said.is_subset(&merged.attested().into_iter().collect())
            {
                panic!("timestamp: merging takes something away");
            }
        }
    }
    if let Ok(answer) = Timestamp::parse(bytes, 44)
        && Timestamp::parse(&answer.to_bytes(), 44).as_ref() != Ok(&answer)
    {
        panic!("timestamp: an answer says something else");
    }
}

/// A text of a transparency log: refused, or it has one spelling. A bundle of entries, a timestamp likewise.
pub fn log(bytes: &[u8]) {
    timestamp(bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Ok(note) = Note::parse(bytes) {
        same("note", note.to_string().as_bytes(), bytes);
    }
    if let Ok(receipt) = Receipt::parse(bytes)
        && Receipt::parse(receipt.to_string().as_bytes()).as_ref() != Ok(&receipt)
    {
        panic!("receipt: written and read, it says something else");
    }
    if let Ok(head) = Checkpoint::parse(&text)
        && !text.starts_with(head.text().as_str())
    {
        panic!("checkpoint: two spellings");
    }
    if let Ok(tile) = Tile::parse(&text) {
        same("tile", tile.path().as_bytes(), text.as_bytes());
    }
    if let Some(key) = NoteKey::parse(&text) {
        same("key", key.to_string().as_bytes(), text.as_bytes());
    }
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        same("add-checkpoint", request.to_string().as_bytes(), bytes);
    }
    let commented = [bytes, b"# said\n"].concat();
    if commented.len() <= limit::TLOG_POLICY_LEN_MAX
        && let Ok(policy) = Policy::parse(bytes)
        && Policy::parse(&commented).as_ref() != Ok(&policy)
    {
        panic!("policy: a comment says something");
    }
    let width = u16::from(bytes.first().copied().unwrap_or(0));
    if let Some((_, bundle)) = bytes.split_first()
        && let Ok(entries) = entries_of(bundle, width)
    {
        same("bundle", &bundle_of(entries).unwrap_or_default(), bundle);
    }
}

/// A header and a body, a zero byte between them, under a genuine signature: refused, or read as every other JSON parser reads it.
pub fn token(bytes: &[u8]) {
    let (header, body) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (signer, body) = (SigningKey::from_seed(&[9; 32]), text(body.strip_prefix(&[0]).unwrap_or(body)));
    let mut keys = KeySet::default();
    keys.insert(VerifyingKey::Ed25519(signer.public()));
    let Ok(genuine) = Genuine::open(jws(&signer, &text(header), &body).as_bytes(), &keys, &EdDsaOnly) else { return };
    let Ok(other) = serde_json::from_str::<serde_json::Value>(&body) else {
        panic!("token: what was taken is no JSON")
    };
    let claims = genuine.claims();
    for (name, ours) in [("sub", &claims.sub), ("aud", &claims.aud), ("txn", &claims.txn), ("jti", &claims.jti)] {
        if other.get(name).and_then(serde_json::Value::as_str) != Some(ours) {
            panic!("token: {name} is read in two ways");
        }
    }
    if claims.req_wl_chain.len() != usize::from(claims.hop.n) + 1 {
        panic!("token: a chain and a hop that differ");
    }
}

/// A set of keys is refused, or every key in it is found by its own thumbprint.
pub fn jwks(bytes: &[u8]) {
    if let Ok(keys) = KeySet::parse(bytes)
        && KeySet::parse(bytes).as_ref() != Ok(&keys)
    {
        panic!("jwks: two readings differ");
    }
}

/// A token request is refused, or read as every other parser of forms and of JSON reads it.
pub fn request(bytes: &[u8]) {
    let Some(taken) = nuncio_node::testing::request(bytes) else { return };
    let mut other: Vec<(String, String)> = form_urlencoded::parse(bytes).into_owned().collect();
    other.retain(|(_, value)| !value.is_empty());
    other.sort();
    if taken.parameters != other {
        panic!("request: a form is read in two ways");
    }
    let Some(asked) = taken.asked else { return };
    let given = |name: &str| other.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str());
    let words = |scope: &str| scope.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    if given("scope").map(words) != Some(words(&asked.scope)) {
        panic!("request: a scope is read in two ways");
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    for (name, ours) in [("request_details", &asked.request_details), ("request_context", &asked.request_context)] {
        if json(given(name).unwrap_or("{}")) != json(ours) {
            panic!("request: {name} is read in two ways");
        }
    }
}

/// A policy file is refused, or names everybody once and says the same when it is written in another way.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let Some(taken) = nuncio_node::testing::policy(text) else { return };
    if let Some(nobody) = taken.operators.iter().find(|name| !taken.clients.contains(name)) {
        panic!("policy: the operator {nobody} is no client");
    }
    for (at, prefix) in taken.subject_prefixes.iter().enumerate() {
        if taken.subject_prefixes.iter().enumerate().any(|(other, longer)| other != at && longer.starts_with(prefix)) {
            panic!("policy: subjects of two issuers can be one");
        }
    }
    let again = toml::from_str::<toml::Table>(text).ok().and_then(|table| toml::to_string(&table).ok());
    if again.and_then(|again| nuncio_node::testing::policy(&again)) != Some(taken) {
        panic!("policy: two readings differ");
    }
}

/// An authentic peer sends what the bytes say: odd letters, control letters, headers, acknowledgements, frames; behind those with the highest bit set
/// the victim crashes. What is genuine still opens.
pub fn hostile(bytes: &[u8]) {
    let (scene, mut straight) = (scene(), true);
    let (mut victim, (by, mut session)) = (well(scene.victim()), scene.hostile.clone());
    for (number, (what, body)) in actions(bytes).enumerate() {
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        straight &= !matches!(what % 5, 2 | 3);
        let frame = match what % 5 {
            0 => seal_on(&mut session, number, body),
            1 => seal_on(&mut session, number, &control_letter(number, body).encode()),
            2 => {
                seal_as(&session, Some(scene::letter(number).encode()), |header| *header = altered_header(header, body))
            }
            3 => seal_as(&session, None, |header| *header = altered_header(header, body)),
            _ => Some(body.to_vec()),
        };
        well(victim.receive(by, &frame.unwrap_or_default(), START));
        drop(scene::commit(&mut victim));
        if what & 0x80 != 0 {
            well(victim.load(START));
        }
        well(victim.drain(START, true));
        drop(scene::commit(&mut victim));
    }
    must_open(&mut victim, scene.honest.clone(), 201);
    if straight {
        must_open(&mut victim, (by, session), 202);
    }
    well(victim.load(START));
}

/// Records are refused, or make an agent that goes on and whose own records load again.
pub fn records(bytes: &[u8]) {
    let scene = scene();
    let mut records = scene.records();
    for (which, value) in actions(bytes) {
        let at = usize::from(which) % (records.len() + 1);
        match records.get_mut(at) {
            Some(record) => record.1 = value.to_vec(),
            None => records.extend(actions(value).next().map(|(_, key)| (key.to_vec(), after(value, key)))),
        }
    }
    if Peer::load(&records, START).is_err() {
        return;
    }
    let mut victim = well(scene.victim());
    victim.disk = Disk::new(records.into_iter().map(|(key, value)| (key, value.into())).collect());
    well(victim.load(START));
    well(victim.send(scene.honest.0, &scene::letter(203), START));
    well(victim.drain(START, true));
    drop(scene::commit(&mut victim));
    well(victim.load(START));
}

/// The two halves of a re-key, one of them altered: refused, or each side has secrets of its own; as they were, both have the same.
pub fn rekey(bytes: &[u8]) {
    let (exporter, parties) = (Key::new([7; 32]), [&scene().hostile.0, &scene().honest.0]);
    let (offer, (which, body)) = (Offer::generate(&mut Dice::new(5)), bytes.split_first().unwrap_or((&0, &[])));
    let public = offer.public();
    let sent = if which % 2 == 0 { altered(&public, body) } else { public.clone() };
    let Ok((answer, theirs)) = rekey::answer(&exporter, parties, &sent, &mut Dice::new(6)) else {
        return if sent == public {
            panic!("rekey: an offer was refused")
        };
    };
    let heard = if which % 2 == 1 { altered(&answer, body) } else { answer.clone() };
    let ours = offer.complete(&exporter, parties, &heard).map(|secrets| secrets.id);
    if (ours == Ok(theirs.id)) != (sent == public && heard == answer) {
        panic!("rekey: what was altered agrees, or what was not does not");
    }
}

/// A slot of the key file whose checksum holds is refused, or has one spelling.
pub fn slot(bytes: &[u8]) {
    if let (slot, Some(again)) = nuncio_store::testing::key_slot(bytes) {
        same("slot", &again, &slot);
    }
}

/// What the simulator's agents promise on the way.
fn well<T>(result: Result<T, Violation>) -> T {
    result.unwrap_or_else(|violation| panic!("{violation}"))
}

/// The bytes as a list: a number, a length, so many bytes; at most a hundred.
fn actions(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    let next = move || {
        let ([what, high, low], after) = rest.split_first_chunk()?;
        let (body, after) = after.split_at(after.len().min(u16::from_be_bytes([*high, *low]).into()));
        rest = after;
        Some((*what, body))
    };
    core::iter::from_fn(next).take(100)
}

/// What stands behind the first action of a list.
fn after(list: &[u8], first: &[u8]) -> Vec<u8> {
    list.get(3 + first.len()..).unwrap_or_default().to_vec()
}

/// Bytes with others laid over them.
fn altered(bytes: &[u8], over: &[u8]) -> Vec<u8> {
    let longest = bytes.len().max(over.len());
    let at = |bytes: &[u8], index| bytes.get(index).copied().unwrap_or(0);
    (0..longest).map(|index| at(bytes, index) ^ at(over, index)).collect()
}

fn altered_header(header: &Header, over: &[u8]) -> Header {
    let bytes = altered(&header.to_bytes(), over);
    bytes.first_chunk().map_or(*header, Header::from_bytes)
}

fn control_letter(number: u8, payload: &[u8]) -> Letter {
    let (kind, content_type) = (LetterKind::Control, ContentType::CBOR);
    Letter { kind, content_type, payload: payload.to_vec(), ..scene::letter(number) }
}

/// Seals as the session's owner does, and gives the number up at once.
fn seal_on(session: &mut Session, number: u8, letter: &[u8]) -> Option<Vec<u8>> {
    let mut sealing = session.seal(letter, [number; 12])?;
    let (seq, frame) = (sealing.seq, core::mem::take(&mut sealing.frame));
    session.accept_sealed(sealing, number.into());
    session.give_up(seq);
    Some(frame)
}

/// A letter of one who keeps to the rules is delivered at once.
fn must_open(victim: &mut Agent, (by, mut session): (AgentId, Session), number: u8) {
    let letter = scene::letter(number);
    let frame = seal_on(&mut session, number, &letter.encode()).unwrap_or_default();
    let refused = well(victim.receive(by, &frame, START));
    let done = scene::commit(victim);
    if !done.iter().any(|effect| matches!(effect, Effect::Deliver(arrival) if arrival.letter == letter)) {
        panic!("letter {number} is not delivered: {refused:?}");
    }
}

/// Agents talk under faults that the bytes choose; the simulator's promises hold.
pub fn conversation(bytes: &[u8]) {
    let plan = plan_of(bytes);
    if let Err(violation) = world::run(&plan, &mut Trace::off()) {
        panic!("{violation}: {plan:?}");
    }
}

/// Each byte turns one screw of the plan. It is a short one: a fuzzer learns more from many runs than from long ones.
fn plan_of(bytes: &[u8]) -> Plan {
    let mut bytes = bytes.iter().copied();
    let mut next = |most: u32| u32::from(bytes.next().unwrap_or(0)).saturating_mul(most) / 255;
    let weather = Weather {
        loss: next(400),
        duplicate: next(300),
        reorder: next(300),
        ghost: next(40),
        delay_ms: u64::from(next(3_000)) + 1,
    };
    let faults = Faults {
        crash: next(100),
        only_first: next(1) == 1,
        partition: next(30),
        clock_step: next(10),
        restore: next(60),
        lost_sessions: next(50),
        forget_contact: next(10),
        silence: next(30),
        deadline: next(300),
        cancel: next(150),
        forge: next(100),
        done: next(600),
    };
    let agents = 2 + usize::try_from(next(1)).unwrap_or(0);
    let (letters, gap_ms, burst) = (u64::from(next(16)) + 1, u64::from(next(5_000)) + 1, u64::from(next(30)) + 1);
    let tokens = Tokens {
        carry: next(1_000),
        shared: next(1_000),
        stolen: next(100),
        wants: next(1) == 1,
        keyless: next(60),
        revoke: next(60),
        renew: next(1_000),
        ahead: next(200),
    };
    let seed = bytes.fold(0, |seed: u64, byte| seed.wrapping_mul(257).wrapping_add(byte.into()));
    Plan { seed, agents, letters, gap_ms, burst, weather, faults, tokens, company: None }
}
