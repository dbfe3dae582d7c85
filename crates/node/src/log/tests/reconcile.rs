//! What was left out or altered in one transaction among many.

use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventChannel, EventPeer, PairKey, What};
use nuncio_proto::crypto::{SigningKey, sha256};
use nuncio_proto::ids::{AgentId, ChannelId};
use nuncio_proto::time::UnixMillis;

use crate::log::{Ends, Mismatch, ends, reconcile};

const TRANSACTIONS: u64 = 50;
const LETTERS: u64 = 5;

fn agent(number: u8) -> AgentId {
    AgentId::from_bytes(SigningKey::from_seed(&[number; 32]).public()).unwrap()
}

fn hash(of: &str, transaction: u64, letter: u64) -> [u8; 32] {
    sha256(&[of.as_bytes(), &transaction.to_be_bytes(), &letter.to_be_bytes()])
}

fn name(transaction: u64) -> String {
    format!("transaction {transaction}")
}

/// Each transaction: a token begun, then letter after letter, each under a token of its own, told by both ends.
fn honest() -> Vec<Event> {
    let agents: Vec<AgentId> = (1..=6).map(agent).collect();
    let node = agent(9);
    let mut events = Vec::new();
    for letter in 0..LETTERS {
        for transaction in 0..TRANSACTIONS {
            let at = UnixMillis(1_800_000_000_000 + letter);
            let (from, to) = (usize::try_from(letter).unwrap(), usize::try_from(letter + 1).unwrap());
            let say = |who: AgentId, what: u8, peer: AgentId| Event {
                peer: Some(EventPeer::Agent(peer)),
                transaction: Some(name(transaction)),
                token: Some(hash("token", transaction, letter)),
                ..Event::new(who, at, What::of(what).unwrap())
            };
            let letter_event = |who, what, peer| Event {
                commitment: Some(hash("commitment", transaction, letter)),
                kind: Some("text/plain".to_owned()),
                size: Some(9),
                ..say(who, what, peer)
            };
            let issued = if letter == 0 { event::TOKEN_ISSUED } else { event::TOKEN_REPLACED };
            events.push(say(node, issued, agents[from]));
            events.push(letter_event(agents[from], event::LETTER_SENT, agents[to]));
            events.push(letter_event(agents[to], event::LETTER_RECEIVED, agents[from]));
        }
    }
    events
}

/// The same, where nobody names a peer.
fn hidden() -> Vec<Event> {
    let mut events = honest();
    for told in events.iter_mut().filter(|told| told.agent != agent(9)) {
        let own = (1..=6).find(|number| agent(*number) == told.agent).unwrap();
        let Some(EventPeer::Agent(peer)) = told.peer else { continue };
        let pair = PairKey::of(&SigningKey::from_seed(&[own; 32]), &peer).unwrap();
        told.peer = Some(EventPeer::Pseudonym(pair.pseudonym(&peer)));
    }
    events
}

fn found(events: &[Event], transaction: u64) -> Vec<Mismatch> {
    reconcile((0..).zip(events), &name(transaction), &agent(9)).mismatches
}

#[test]
fn an_honest_transaction_has_nothing_that_does_not_fit() {
    let events = honest();
    for transaction in 0..TRANSACTIONS {
        let account = reconcile((0..).zip(&events), &name(transaction), &agent(9));
        assert_eq!((account.events.len(), account.mismatches), (15, vec![]));
    }
    assert!(reconcile((0..).zip(&events), "another", &agent(9)).events.is_empty());
}

/// A helper tells of a letter in the place of its receiver, which leaves it out.
#[test]
fn who_takes_anothers_place_under_a_pseudonym_is_found() {
    let mut events = hidden();
    assert_eq!(found(&events, 0), []);
    let received = events.iter_mut().find(|told| told.what.number() == event::LETTER_RECEIVED).unwrap();
    (received.agent, received.peer) = (agent(8), Some(EventPeer::Pseudonym([7; 16])));
    assert_eq!(found(&events, 0).len(), 1);
}

/// A refusal names no token, and is found by the letter's commitment.
#[test]
fn a_refused_letter_fits_the_one_that_was_sent() {
    let mut events = honest();
    let received = events.iter_mut().find(|told| told.what.number() == event::LETTER_RECEIVED).unwrap();
    received.what = What::of(event::LETTER_REFUSED).unwrap();
    (received.transaction, received.token) = (None, None);
    assert_eq!(found(&events, 0), []);
}

/// contracts/audit.md V24: nobody is believed whom the other end does not name, or beside whom somebody else claims the letter.
#[test]
fn the_author_of_a_letter_is_the_one_that_its_receiver_names() {
    let events = honest();
    let commitment = hash("commitment", 0, 0);
    let pair = PairKey::of(&SigningKey::from_seed(&[1; 32]), &agent(2)).unwrap();
    let of = |events: &[Event]| ends((0..).zip(events), &commitment, Some(&pair));
    let (author, receiver) = ((1, agent(1)), (2, agent(2)));
    let agreed = Ends { authors: vec![author], receivers: vec![receiver], is_agreed: true };
    assert_eq!(of(&events), agreed);
    // Told again, as a new chain.
    let mut again = events.clone();
    again.push(Event { epoch: 7, ..events[1].clone() });
    assert_eq!(of(&again), agreed);
    // A thief tells the very event as its own, before and behind the author; the receiver may be its accomplice.
    for (at, accomplice) in [(0, false), (3, false), (3, true)] {
        let mut lie = events.clone();
        if accomplice {
            lie[2].peer = Some(EventPeer::Agent(agent(5)));
        }
        lie.insert(at, Event { agent: agent(5), ..events[1].clone() });
        assert_eq!((of(&lie).authors.len(), of(&lie).is_agreed), (2, false), "{at} {accomplice}");
    }
    let without = |what: u8| -> Vec<Event> {
        let mut left: Vec<Event> = events.clone();
        left.retain(|told| told.what.number() != what);
        left
    };
    for what in [event::LETTER_RECEIVED, event::LETTER_SENT] {
        assert!(!of(&without(what)).is_agreed, "one end alone");
    }
    let mut astray = events.clone();
    astray[2].peer = Some(EventPeer::Agent(agent(5)));
    assert!(!of(&astray).is_agreed, "they do not name each other");
    assert_eq!(ends((0..).zip(&events), &hash("commitment", 9, 99), Some(&pair)), Ends::default());
    // By pseudonyms: those of this pair, and no other's.
    let thiefs = PairKey::of(&SigningKey::from_seed(&[5; 32]), &agent(2)).unwrap();
    let named = |author: &PairKey, receiver: &PairKey| {
        let mut events = events.clone();
        events[1].peer = Some(EventPeer::Pseudonym(author.pseudonym(&agent(2))));
        events[2].peer = Some(EventPeer::Pseudonym(receiver.pseudonym(&agent(1))));
        events
    };
    assert_eq!(of(&named(&pair, &pair)), agreed);
    assert!(!ends((0..).zip(&named(&pair, &pair)), &commitment, None).is_agreed, "nobody has shown whom they mean");
    for (author, receiver) in [(&thiefs, &pair), (&pair, &thiefs)] {
        assert!(!of(&named(author, receiver)).is_agreed, "another pair's");
    }
    // The thief tells of the letter instead of its author, whose receiver names the author.
    let mut stolen = named(&thiefs, &pair);
    stolen[1].agent = agent(5);
    assert!(!of(&stolen).is_agreed && !ends((0..).zip(&stolen), &commitment, Some(&thiefs)).is_agreed);
}

/// What was told again, as a new chain, is no second letter.
#[test]
fn what_is_told_again_as_a_new_chain_is_the_same_letter() {
    let mut events = honest();
    let sent = events[1].clone();
    events.push(Event { epoch: 7, seq: 0, prev: [0; 32], at: UnixMillis(9), ..sent.clone() });
    assert_eq!(found(&events, 0), []);
    events.push(Event { epoch: 8, size: Some(3), ..sent });
    assert_eq!(found(&events, 0).len(), 1, "and another one is");
}

/// Eight ways to lie, each in a thousand places: every one is found, and nothing else is.
#[test]
fn what_was_left_out_or_altered_anywhere_is_found() {
    type Lie = fn(&mut Vec<Event>, usize);
    let lies: [(&str, u8, Lie); 8] = [
        ("the sender leaves it out", event::LETTER_SENT, |events, at| drop(events.remove(at))),
        ("the receiver leaves it out", event::LETTER_RECEIVED, |events, at| drop(events.remove(at))),
        ("the token service leaves it out", event::TOKEN_REPLACED, |events, at| drop(events.remove(at))),
        ("another letter is told of", event::LETTER_SENT, |events, at| events[at].commitment = Some([7; 32])),
        ("another token is told of", event::LETTER_RECEIVED, |events, at| events[at].token = Some([7; 32])),
        ("another size is told of", event::LETTER_RECEIVED, |events, at| events[at].size = Some(10)),
        ("another agent says that the token was issued", event::TOKEN_REPLACED, |events, at| {
            events[at].agent = agent(1)
        }),
        ("it is told twice", event::LETTER_SENT, |events, at| {
            let again = events[at].clone();
            events.push(again);
        }),
    ];
    for (honest, (what, kind, lie)) in [honest(), hidden()].iter().flat_map(|told| lies.map(|lie| (told, lie))) {
        let places: Vec<usize> = (0..honest.len()).filter(|at| honest[*at].what.number() == kind).collect();
        for turn in 0..1_000_u64 {
            let random = sha256(&[what.as_bytes(), &turn.to_be_bytes()]);
            let at = places[usize::from(u16::from_be_bytes([random[0], random[1]])) % places.len()];
            let told = honest[at].transaction.clone().unwrap();
            let mut events: Vec<Event> = honest.clone();
            lie(&mut events, at);
            assert_ne!(reconcile((0..).zip(&events), &told, &agent(9)).mismatches, [], "{what} at {at}");
            let other = if told == name(0) { 1 } else { 0 };
            assert_eq!(found(&events, other), [], "{what} at {at}");
        }
    }
}

/// One sent it to a channel, and many have had it.
fn to_channel() -> Vec<Event> {
    let mut events = honest();
    events.truncate(2);
    let channel = Some(EventChannel::Id(ChannelId::from_bytes([7; 32])));
    events[1] = Event { channel, peer: None, ..events[1].clone() };
    let got = |reader: u8| Event {
        agent: agent(reader),
        what: What::of(event::LETTER_RECEIVED).unwrap(),
        peer: Some(EventPeer::Agent(agent(1))),
        ..events[1].clone()
    };
    [events.clone(), (2..6).map(got).collect()].concat()
}

/// contracts/audit.md V29: all that had it name author and channel, each once; one that does not is found, and takes nothing from the others.
#[test]
fn a_letter_to_a_channel_has_one_author_and_many_readers() {
    let events = to_channel();
    let commitment = hash("commitment", 0, 0);
    let of = |events: &[Event]| ends((0..).zip(events), &commitment, None);
    assert_eq!(found(&events, 0), []);
    assert!(of(&events).is_agreed);
    assert_eq!(of(&events).receivers.len(), 4);
    type Lie = fn(&mut Vec<Event>);
    let lies: [(&str, bool, Lie); 6] = [
        ("another author is named", true, |events| events[3].peer = Some(EventPeer::Agent(agent(5)))),
        ("another channel is named", true, |events| {
            events[3].channel = Some(EventChannel::Id(ChannelId::from_bytes([8; 32])));
        }),
        ("it came to one alone", true, |events| events[3].channel = None),
        ("it is told twice", true, |events| events.push(events[3].clone())),
        ("another claims to have sent it", false, |events| {
            events.push(Event { agent: agent(6), ..events[1].clone() });
        }),
        ("nobody had it", false, |events| events.truncate(2)),
    ];
    for (what, is_agreed, lie) in lies {
        let mut events = events.clone();
        lie(&mut events);
        assert_eq!(found(&events, 0).len(), 1, "{what}");
        assert_eq!(of(&events).is_agreed, is_agreed, "{what}");
    }
    // Under pseudonyms nobody sees which channel it is; that it is one, and whom each means, is seen.
    let mut hidden = events;
    for told in &mut hidden[1..] {
        told.channel = Some(EventChannel::pseudonym(&ChannelId::from_bytes([7; 32]), &told.agent));
    }
    assert_eq!(found(&hidden, 0), []);
}
