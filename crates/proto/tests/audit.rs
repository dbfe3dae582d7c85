//! Sessions that audit: what each side writes down, that both write the same, and that nobody can lie about a letter (contracts/audit.md section 6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test fails by panicking, and shares its agents"
)]

#[path = "conversation/agent.rs"]
mod agent;

use nuncio_contracts::registry::{code, event, extension};
use nuncio_proto::audit::{
    Audited, Chain, Event, EventPeer, Head, KeptOpening, Opening, PairKey, Place, SignedEvent, commitment,
    commitment_key,
};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::error::{PeerError, Refusal};
use nuncio_proto::frame::Frame;
use nuncio_proto::handshake;
use nuncio_proto::identity::Identity;
use nuncio_proto::letter::Extension;
use nuncio_proto::peer::{AuditPolicy, Auditing, PeerNames, WhenFull};
use nuncio_proto::rows;
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::step::{Effect, Op};
use nuncio_proto::testing::rng;

use agent::{Agent, START, pair, settle};

fn policy(auditing: Auditing) -> AuditPolicy {
    AuditPolicy { auditing, room: 1_000, ..AuditPolicy::default() }
}

/// The events that wait, in their order; each follows the one before.
fn events(agent: &Agent) -> Vec<Event> {
    let spool = agent.disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL);
    let mut chain = Chain::default();
    spool
        .map(|(_, bytes)| {
            let signed = SignedEvent::parse(bytes).unwrap();
            assert_eq!(chain.place(&signed), Ok(Place::Next));
            chain.follow(&signed);
            signed.event().clone()
        })
        .collect()
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|told| event::name(told.what.number())).collect()
}

fn auditing(one: Auditing, two: Auditing) -> (Agent, Agent) {
    let (mut a, mut b) = pair();
    a.peer.set_audit(policy(one), 0..0);
    b.peer.set_audit(policy(two), 0..0);
    (a, b)
}

#[test]
fn both_ends_write_the_same_letter_down() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Required);
    for text in ["one", "two"] {
        a.send(b.peer.id(), text);
        settle(&mut a, &mut b);
    }
    b.send(a.peer.id(), "three");
    settle(&mut a, &mut b);
    assert_eq!((&b.inbox, &a.inbox), (&vec!["one".to_owned(), "two".to_owned()], &vec!["three".to_owned()]));
    let (sent, received) = (events(&a), events(&b));
    assert_eq!(names(&sent), ["letter_sent", "session_established", "letter_sent", "letter_received"]);
    assert_eq!(names(&received), ["letter_received", "session_established", "letter_received", "letter_sent"]);
    for (at, from) in [(0, 0), (2, 2)] {
        let (sent, got) = (&sent[at], &received[from]);
        assert_eq!(sent.commitment.unwrap(), got.commitment.unwrap());
        assert_eq!((sent.kind.as_deref(), sent.size), (Some("text/plain;charset=utf-8"), Some(2)));
        assert_eq!((&sent.kind, sent.size), (&got.kind, got.size));
        assert_eq!(sent.peer, Some(EventPeer::Agent(b.peer.id())));
        assert_eq!(got.peer, Some(EventPeer::Agent(a.peer.id())));
        // The receiver repeats its sender's newest event before the letter's own.
        let before = at.checked_sub(1).map(|before| sent_head(&a, before));
        assert_eq!(got.head, before);
    }
    assert_ne!(sent[0].commitment, sent[2].commitment);
}

/// The head that an agent had after its event of this number.
fn sent_head(agent: &Agent, seq: usize) -> nuncio_proto::audit::Head {
    let (_, bytes) = agent.disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL).nth(seq).unwrap();
    let signed = SignedEvent::parse(bytes).unwrap();
    let told = signed.event();
    nuncio_proto::audit::Head { epoch: told.epoch, seq: told.seq, hash: signed.hash() }
}

#[test]
fn the_chain_goes_on_behind_a_restart_and_what_the_log_has_leaves() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    let before = events(&a);
    a.restart();
    a.peer.set_audit(policy(Auditing::Offered), 0..2);
    a.send(b.peer.id(), "two");
    settle(&mut a, &mut b);
    let after = events(&a);
    assert_eq!((after.len(), &after[..2]), (3, before.as_slice()));
    assert_eq!(after[2].epoch, before[0].epoch);
    let step = a.peer.events_logged(2);
    a.take(step);
    assert_eq!(a.peer.events_waiting(), 1);
    let left: Vec<&Vec<u8>> =
        a.disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL).map(|(_, event)| event).collect();
    assert_eq!((left.len(), SignedEvent::parse(left[0]).unwrap().event()), (1, &after[2]));
}

/// contracts/audit.md V24: both ends can show what a letter said, with its payload alone, and nothing else.
#[test]
fn both_ends_can_open_a_letter_and_no_other() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    let ids = ["one", "two"].map(|text| {
        let id = a.send(b.peer.id(), text);
        settle(&mut a, &mut b);
        id
    });
    let sent: Vec<[u8; 32]> = events(&a).iter().filter_map(|event| event.commitment).collect();
    for (agent, at) in [(&a, 0), (&a, 1), (&b, 0), (&b, 1)] {
        let row = agent.disk.0.get(&rows::opening(&a.peer.id(), &ids[at])).unwrap();
        let kept = KeptOpening::from_row(row).unwrap();
        let other = if agent.peer.id() == a.peer.id() { &b } else { &a };
        assert_eq!(kept.other(), other.peer.id());
        let pair = || agent.peer.pair_key(&other.peer.id());
        assert!([b"three".to_vec(), Vec::new()].into_iter().all(|lie| kept.with_payload(lie, pair()).is_none()));
        let opening = kept.with_payload(["one", "two"][at].into(), pair()).unwrap();
        assert_eq!(opening.commitment(), sent[at]);
        assert_eq!(
            (opening.letter().unwrap().id, opening.letter().unwrap().payload),
            (ids[at], ["one", "two"][at].into())
        );
        assert!(!row.windows(3).any(|part| part == ["one", "two"][at].as_bytes()), "the payload is not kept");
        let json = opening.to_json();
        let read = Opening::from_json(json.as_bytes()).unwrap();
        assert_eq!((read.commitment(), read.pair().unwrap().expose()), (sent[at], pair().unwrap().expose()));
        let bare = kept.with_payload(["one", "two"][at].into(), None).unwrap().to_json();
        assert!(Opening::from_json(bare.as_bytes()).unwrap().pair().is_none());
        // Whatever is changed in it opens nothing, or is none.
        for place in 0..json.len() {
            let mut lie = json.clone().into_bytes();
            lie[place] = if lie[place] == b'A' { b'B' } else { b'A' };
            let opened = Opening::from_json(&lie);
            let is_same = |lie: &Opening| {
                sent.contains(&lie.commitment())
                    && lie.pair().map(PairKey::expose) == pair().as_ref().map(PairKey::expose)
            };
            assert!(lie == json.as_bytes() || opened.is_none_or(|lie| !is_same(&lie)), "{place}");
        }
    }
    // No opening of a letter that was refused for its commitment, of a control letter, or where nothing is audited.
    let openings = |agent: &Agent| agent.disk.0.keys().filter(|key| key[0] == rows::OPENING).count();
    assert_eq!((openings(&a), openings(&b)), (2, 2));
    let (mut a, mut b) = auditing(Auditing::Off, Auditing::Off);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    assert_eq!((openings(&a), openings(&b)), (0, 0));
}

/// contracts/audit.md V26: no event names the peer, both ends know whom each means, and each may do as it likes.
#[test]
fn who_uses_pseudonyms_names_no_peer_and_is_known_to_it_alone() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    a.peer.set_audit(AuditPolicy { peer_names: PeerNames::Pseudonyms, ..policy(Auditing::Offered) }, 0..0);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    b.send(a.peer.id(), "two");
    settle(&mut a, &mut b);
    let pair = b.peer.pair_key(&a.peer.id()).unwrap();
    let expected = EventPeer::Pseudonym(pair.pseudonym(&b.peer.id()));
    let told = events(&a);
    assert_eq!(told.iter().filter(|event| event.peer == Some(expected)).count(), 3, "established, sent, received");
    assert!(told.iter().all(|event| event.peer == Some(expected)));
    assert_eq!(a.peer.pseudonym(&b.peer.id()), Some(pair.pseudonym(&b.peer.id())));
    // Nor does the number of a peer's newest event say whose it is.
    let heads: Vec<_> = told.iter().filter_map(|event| event.head).collect();
    let shown: Vec<_> =
        events(&b).iter().map(|event| Head { epoch: event.epoch, seq: event.seq, hash: [0; 32] }).collect();
    assert!(!heads.is_empty() && heads.iter().all(|head| (head.epoch, head.seq) == (0, 0)), "{heads:?}");
    let hashes: Vec<_> = b
        .disk
        .0
        .iter()
        .filter(|(key, _)| key[0] == rows::SPOOL)
        .map(|(_, row)| SignedEvent::parse(row).unwrap().hash())
        .collect();
    let told_by_b =
        |head: &Head| shown.iter().zip(&hashes).any(|(at, hash)| pair.blind(&Head { hash: *hash, ..*at }) == *head);
    assert!(
        heads.iter().all(|head| !hashes.contains(&head.hash) && told_by_b(head)),
        "and who knows the pair can check it"
    );
    for (key, row) in a.disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL) {
        assert!(!row.windows(32).any(|part| part == b.peer.id().as_bytes()), "{key:?}");
    }
    assert!(events(&b).iter().all(|event| event.peer == Some(EventPeer::Agent(a.peer.id()))), "b names a by its key");
    assert_eq!(b.peer.pseudonym(&a.peer.id()), None);
    // A third agent has another key with each.
    let third = SigningKey::from_seed(&[3; 32]);
    let theirs = PairKey::of(&third, &b.peer.id()).unwrap();
    assert_ne!(theirs.pseudonym(&b.peer.id()), pair.pseudonym(&b.peer.id()));
}

/// contracts/audit.md V24: what is no payload is kept for a month, so there is not much of it.
#[test]
fn a_letter_with_more_than_a_payload_is_refused_where_it_would_be_kept() {
    for (auditing_on, len, refused) in [(true, 3_000, false), (true, 5_000, true), (false, 5_000, false)] {
        let both = if auditing_on { Auditing::Offered } else { Auditing::Off };
        let (mut a, mut b) = auditing(both, both);
        let mut letter = a.letter("one");
        letter.extensions.push(Extension { number: 200, critical: false, value: vec![7; len] });
        a.post(b.peer.id(), &letter);
        settle(&mut a, &mut b);
        let failed: Vec<u16> = a.failed.iter().map(|(_, code)| *code).collect();
        assert_eq!(
            (failed.as_slice(), b.inbox.len()),
            if refused { ([code::TOO_LARGE].as_slice(), 0) } else { (&[][..], 1) }
        );
        let kept = b.disk.0.keys().filter(|key| key[0] == rows::OPENING).count();
        assert_eq!(kept, usize::from(auditing_on && !refused));
    }
}

/// The rows of the events that wait.
fn waiting(agent: &Agent) -> Vec<(u64, Vec<u8>)> {
    let rows = agent.disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL);
    rows.map(|(key, event)| (rows::split_numbered(key).unwrap(), event.clone())).collect()
}

/// contracts/audit.md V23: what waits is told again as a new chain, word for word, and what comes after goes on with it.
#[test]
fn what_a_log_does_not_know_the_beginning_of_is_told_again_as_a_new_chain() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    let step = a.peer.events_logged(1);
    a.take(step);
    for text in ["two", "three"] {
        a.send(b.peer.id(), text);
        settle(&mut a, &mut b);
    }
    let (before, first) = (waiting(&a), START);
    let told = |rows: &[(u64, Vec<u8>)]| -> Vec<Event> {
        rows.iter().map(|(_, event)| SignedEvent::parse(event).unwrap().event().clone()).collect()
    };
    assert!(a.peer.recount(&[(0, before[0].1.clone())], true, first).is_none(), "the log has it");
    // The clock was ahead when they were told, and is behind the epoch now.
    let now = nuncio_proto::time::UnixMillis(first.0 - 5);
    // In two commits.
    for (part, begins) in [(&before[..2], true), (&before[2..], false)] {
        let step = a.peer.recount(part, begins, now).unwrap();
        a.take(step);
    }
    let (old, new) = (told(&before), events(&a));
    assert_eq!((new[0].seq, new[0].prev, new[0].epoch), (0, [0; 32], old[0].epoch + 1));
    for (old, new) in old.iter().zip(&new) {
        let told_again = Event { epoch: new.epoch, seq: new.seq, prev: new.prev, at: now, ..old.clone() };
        assert_eq!(new, &told_again);
    }
    a.restart();
    a.peer.set_audit(policy(Auditing::Offered), 1..4);
    a.send(b.peer.id(), "four");
    settle(&mut a, &mut b);
    assert_eq!((events(&a).len(), events(&a)[3].epoch), (4, new[0].epoch));
}

/// contracts/audit.md V23: a chain that began while the clock was far ahead does not end with it.
#[test]
fn a_chain_that_began_in_the_future_begins_anew_at_the_clock() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    let ahead = nuncio_proto::time::UnixMillis(START.0 + 365 * 86_400_000);
    (a.now, b.now) = (ahead, ahead);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    assert_eq!(events(&a)[0].epoch, ahead.0);
    let step = a.peer.recount(&waiting(&a), true, START).unwrap();
    a.take(step);
    assert!(events(&a).iter().all(|told| (told.epoch, told.at) == (START.0, START)));
}

/// contracts/audit.md V25: silence shows.
#[test]
fn an_agent_that_has_nothing_to_tell_says_that_it_is_there() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    let beats = |heartbeat, room| AuditPolicy { heartbeat, room, ..policy(Auditing::Offered) };
    a.peer.set_audit(beats(1_000, 1_000), 0..0);
    a.run();
    assert_eq!(names(&events(&a)), ["heartbeat"], "at its start");
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    let told = events(&a).len();
    let last = events(&a)[told - 1].at;
    assert!(a.peer.next_wake() <= last.plus(1_000));
    for (after, more) in [(999, 0), (1_000, 1), (1_500, 1), (2_000, 2)] {
        a.now = last.plus(after);
        a.run();
        assert_eq!(events(&a).len(), told + more, "after {after}");
    }
    // The clock is set back by a day.
    a.now = nuncio_proto::time::UnixMillis(last.0 - 86_400_000);
    a.run();
    assert_eq!(events(&a).len(), told + 3);
    a.now = last.plus(2_000);
    a.run();
    let told = told + 2;
    // Where there is no room it waits, and does not wake for it.
    let waiting = u64::try_from(told).unwrap() + 2;
    a.peer.set_audit(beats(1_000, waiting), 0..waiting);
    a.now = last.plus(9_000);
    a.run();
    assert!(events(&a).len() == told + 2 && a.peer.next_wake() > a.now);
    for silent in [beats(0, 1_000), AuditPolicy { auditing: Auditing::Off, ..beats(1_000, 1_000) }] {
        a.peer.set_audit(silent, 0..waiting);
        a.run();
        assert_eq!(events(&a).len(), told + 2);
    }
}

#[test]
fn sessions_audit_where_both_ends_do() {
    use Auditing::{Off, Offered, Required};
    for (one, two, audits) in [
        (Off, Off, false),
        (Off, Offered, false),
        (Offered, Off, false),
        (Offered, Offered, true),
        (Required, Offered, true),
        (Offered, Required, true),
    ] {
        let (mut a, mut b) = auditing(one, two);
        a.send(b.peer.id(), "hello");
        settle(&mut a, &mut b);
        assert_eq!(b.inbox, ["hello"], "{one:?} {two:?}");
        let session = a.peer.sessions().next().unwrap().0;
        assert_eq!(session.audits(), audits, "{one:?} {two:?}");
        assert_eq!((events(&a).is_empty(), events(&b).is_empty()), (!audits, !audits), "{one:?} {two:?}");
    }
}

#[test]
fn who_has_sessions_alone_that_audit_has_no_others() {
    let (mut a, mut b) = auditing(Auditing::Required, Auditing::Off);
    let bundle = bundle_of(&mut b, &a);
    let refused = a.peer.begin(&bundle, a.now, &mut a.rng);
    assert!(matches!(refused, Err(PeerError::Unaudited(_))), "{refused:?}");
    // And answers none: the one that begins is told.
    let (mut a, mut b) = auditing(Auditing::Off, Auditing::Required);
    let bundle = bundle_of(&mut b, &a);
    a.send(b.peer.id(), "hello");
    let step = a.peer.begin(&bundle, a.now, &mut a.rng).unwrap();
    a.take(step);
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(a.peer.id(), &frame).unwrap();
    }
    assert!(b.inbox.is_empty() && b.peer.sessions().next().is_none());
    let notice = b.out.pop().unwrap();
    let step = a.peer.receive(Some(b.peer.id()), &notice, a.now, &mut a.rng, &a.disk).unwrap();
    let effects = a.peer.stage(step).unwrap().effects.after_commit();
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::TurnedAway { code: code::UNAUDITED, .. })),
        "{effects:?}"
    );
}

/// What was begun before its end audited, or no longer does, ends by itself; nothing is lost.
#[test]
fn a_session_that_is_not_what_is_wanted_ends_and_another_is_begun() {
    for (before, after) in [(Auditing::Off, Auditing::Required), (Auditing::Required, Auditing::Off)] {
        let (mut a, mut b) = auditing(before, before);
        a.send(b.peer.id(), "one");
        settle(&mut a, &mut b);
        a.peer.set_audit(policy(after), 0..a.peer.events_waiting());
        b.peer.set_audit(policy(after), 0..b.peer.events_waiting());
        agent::later(nuncio_contracts::registry::time::START_RETRY * 3, [&mut a, &mut b]);
        a.send(b.peer.id(), "two");
        settle(&mut a, &mut b);
        assert_eq!(b.inbox, ["one", "two"], "{before:?} {after:?}");
        let current = a.peer.sessions().find(|(_, current)| *current).unwrap().0;
        assert_eq!(current.audits(), after == Auditing::Required);
    }
}

#[test]
fn with_no_room_for_events_letters_wait_until_the_log_has_taken_some() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    let full = AuditPolicy { room: 2, ..policy(Auditing::Offered) };
    a.peer.set_audit(full, 0..a.peer.events_waiting());
    a.send(b.peer.id(), "two");
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.len(), a.peer.outbox().count()), (1, 1), "nothing is sent");
    b.send(a.peer.id(), "three");
    settle(&mut a, &mut b);
    assert!(a.inbox.is_empty(), "nor taken");
    let step = a.peer.events_logged(2);
    a.take(step);
    agent::later(60_000, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert_eq!((b.inbox.len(), a.inbox.len()), (2, 1), "nothing is lost");
    assert!(b.failed.is_empty() && a.failed.is_empty());
}

/// Who has letters in its log or none at all has none beside it in a session from before.
#[test]
fn no_letter_goes_through_a_session_that_is_not_what_is_wanted() {
    let (mut a, mut b) = auditing(Auditing::Off, Auditing::Off);
    a.send(b.peer.id(), "one");
    settle(&mut a, &mut b);
    b.peer.set_audit(policy(Auditing::Required), 0..0);
    a.send(b.peer.id(), "two");
    a.run();
    let frames = core::mem::take(&mut a.out);
    let refused: Vec<_> = frames.iter().map(|frame| b.receive(a.peer.id(), frame)).collect();
    assert!(matches!(refused[..], [Err(Refusal::OutOfStep(_))]), "{refused:?}");
    b.send(a.peer.id(), "three");
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["one"]);
    assert!(a.inbox.is_empty() && a.peer.sessions().all(|(session, _)| !session.audits()));
}

/// Nor is a session begun whose first letter could not be written down.
#[test]
fn with_no_room_for_events_no_start_is_answered() {
    let (_, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    b.peer.set_audit(AuditPolicy { room: 0, ..policy(Auditing::Offered) }, 0..0);
    assert_eq!(liar(&mut b, 1, |_| {}), Err(Refusal::SpoolFull));
    assert!(b.peer.sessions().next().is_none());
}

#[test]
fn what_found_no_room_is_told_as_a_gap() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    let small = AuditPolicy { room: 2, when_full: WhenFull::Gap, ..policy(Auditing::Offered) };
    a.peer.set_audit(small, 0..0);
    for text in ["one", "two", "three"] {
        a.send(b.peer.id(), text);
        settle(&mut a, &mut b);
    }
    assert_eq!((b.inbox.len(), events(&a).len()), (3, 2), "letters go on, events do not");
    // That some are missing outlives a restart.
    a.restart();
    a.peer.set_audit(small, 0..2);
    let step = a.peer.events_logged(2);
    a.take(step);
    a.disk.0.retain(|key, _| key[0] != rows::SPOOL);
    a.send(b.peer.id(), "four");
    settle(&mut a, &mut b);
    let told: Vec<&str> = a
        .disk
        .0
        .iter()
        .filter(|(key, _)| key[0] == rows::SPOOL)
        .map(|(_, bytes)| event::name(SignedEvent::parse(bytes).unwrap().event().what.number()))
        .collect();
    assert_eq!(told, ["spool_gap", "letter_sent"]);
}

#[test]
fn a_letter_that_is_refused_is_an_event_with_the_reason() {
    let (mut a, mut b) = auditing(Auditing::Offered, Auditing::Offered);
    let mut late = a.letter("too late");
    late.deadline = Some(a.now.plus(1_000));
    a.post(b.peer.id(), &late);
    a.run();
    answer(&mut a, &mut b);
    b.now = b.now.plus(nuncio_contracts::registry::time::CLOCK_SKEW + 5_000);
    settle(&mut a, &mut b);
    assert_eq!(a.failed.len(), 1);
    let (sent, refused) = (events(&a), events(&b));
    let refused = refused.iter().find(|told| told.what.number() == event::LETTER_REFUSED).unwrap();
    assert_eq!((refused.outcome, refused.commitment), (Some(code::EXPIRED), sent[0].commitment));
}

fn answer(a: &mut Agent, b: &mut Agent) {
    agent::answer_claims(a, b);
    a.run();
}

fn bundle_of(owner: &mut Agent, by: &Agent) -> Bundle {
    let step = owner.peer.claim(by.peer.id(), 7, &[], owner.now).unwrap();
    let staged = owner.peer.stage(step).unwrap();
    for op in staged.ops {
        if let Op::Put { key, value } = op {
            owner.disk.0.insert(key, value);
        }
    }
    let effects = staged.effects.after_commit();
    let bundle = effects.into_iter().find_map(|effect| match effect {
        Effect::Bundle { bundle, .. } => Some(bundle),
        _ => None,
    });
    Bundle::parse(&bundle.unwrap(), owner.now).unwrap()
}

/// A sender of our own making: it can say of a letter what it wants.
fn liar(b: &mut Agent, parameters: u64, bend: impl FnOnce(&mut nuncio_proto::letter::Letter)) -> Result<(), Refusal> {
    let mut random = rng(77);
    let identity = Identity::generate(&mut random).unwrap();
    let info = nuncio_proto::peer::ContactInfo { allowed: true, ..Default::default() };
    let step = b.peer.set_contact(identity.id(), info).unwrap();
    b.take(step);
    let mut writer = Agent::new(78);
    let bundle = bundle_of(b, &writer);
    let initiation = handshake::initiate(&identity, &bundle, parameters, &mut random).unwrap();
    let parties = Parties { initiator: identity.id(), responder: b.peer.id(), initiated: true };
    let prekey = &bundle.prekeys.agreement_prekey;
    let handshake = Some(initiation.handshake);
    let session =
        Session::initiate(initiation.secrets, parties, parameters, prekey, handshake, START, &mut random).unwrap();
    let mut letter = writer.letter("on my word");
    bend(&mut letter);
    let sealed = session.seal(&letter.encode(), [9; 12]).unwrap();
    let Ok(Frame::Sealed(_)) = Frame::decode(&sealed.frame) else { panic!("a frame") };
    b.receive(identity.id(), &sealed.frame)
}

fn outcome(b: &Agent) -> Option<u16> {
    let told = events(b);
    told.iter().find(|told| told.what.number() == event::LETTER_REFUSED).and_then(|told| told.outcome)
}

/// contracts/audit.md V19: without it a sender could have logged what it never said.
#[test]
fn a_letter_without_its_own_commitment_is_refused() {
    let key = commitment_key(&Key::new([7; 32]));
    let other = commitment(&key, &[0; 74], b"another letter");
    let value = Audited { commitment: other, head: None }.encode();
    let lies: [(&str, Option<Vec<u8>>); 3] =
        [("another's", Some(value)), ("none", None), ("no form", Some(b"nonsense".to_vec()))];
    for (what, value) in lies {
        let (_, mut b) = auditing(Auditing::Off, Auditing::Offered);
        liar(&mut b, 1, |letter| {
            letter.extensions.extend(value.map(|value| Extension { number: extension::AUDIT, critical: true, value }));
        })
        .unwrap();
        assert!(b.inbox.is_empty(), "{what}");
        assert_eq!(outcome(&b), Some(code::COMMITMENT), "{what}");
    }
}

#[test]
fn a_commitment_is_nothing_where_nobody_audits_and_no_application_can_put_one_in() {
    let (mut a, mut b) = auditing(Auditing::Off, Auditing::Off);
    let value = Audited { commitment: [7; 32], head: None }.encode();
    let extension = Extension { number: extension::AUDIT, critical: true, value };
    let planted = extension.clone();
    liar(&mut b, 0, move |letter| letter.extensions.push(planted)).unwrap();
    assert!(b.inbox.is_empty());
    let mut letter = a.letter("hello");
    letter.extensions.push(extension);
    assert!(matches!(a.peer.send(b.peer.id(), &letter, a.now), Err(PeerError::Letter(_))));
}

/// An agent that keeps no log answers no start that audits: its sender has an old bundle.
#[test]
fn a_start_that_audits_is_not_answered_by_whoever_keeps_no_log() {
    let (_, mut b) = auditing(Auditing::Off, Auditing::Off);
    assert!(matches!(liar(&mut b, 1, |_| {}), Err(Refusal::Start(..))));
    assert!(b.peer.sessions().next().is_none());
}
