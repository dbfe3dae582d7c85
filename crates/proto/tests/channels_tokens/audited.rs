//! Channels that audit: every letter is signed, has one commitment, and is an event of each who keeps a log (contracts/audit.md section 8).

use nuncio_contracts::registry::{code, event, extension};
use nuncio_proto::audit::{Event, EventChannel, EventPeer, KeptOpening, SignedEvent};
use nuncio_proto::channel::{ChannelFrame, ChannelPlace};
use nuncio_proto::ids::ChannelId;
use nuncio_proto::peer::{AuditPolicy, Auditing, PeerNames, WhenFull};
use nuncio_proto::rows;
use nuncio_proto::token::hash_of;

use super::forged::{Forger, has_refused};
use super::{Group, LONG, failure, guard_all, send, token, with_token};

const POLICY: AuditPolicy = AuditPolicy {
    auditing: Auditing::Offered,
    peer_names: PeerNames::Keys,
    room: 100_000,
    when_full: WhenFull::Stop,
    heartbeat: 0,
};

/// A channel that audits, whose members all keep logs but the last.
fn audited(members: usize, policy: AuditPolicy) -> (Group, ChannelId) {
    let mut group = Group::new(members);
    for agent in group.agents.iter_mut().take(members - 1) {
        agent.peer.set_audit(policy, 0..0);
    }
    let channel = group.create_as(0, "travel", true);
    guard_all(group, channel, members)
}

fn events(group: &Group, at: usize) -> Vec<Event> {
    let rows = group.agents[at].disk.0.iter().filter(|(key, _)| key[0] == rows::SPOOL);
    rows.map(|(_, row)| SignedEvent::parse(row).unwrap().event().clone()).collect()
}

fn newest(group: &Group, at: usize, what: u8) -> Option<Event> {
    events(group, at).into_iter().rev().find(|event| event.what.number() == what)
}

/// contracts/channel.md C75, contracts/audit.md V28, V29.
#[test]
fn a_letter_is_an_event_of_each_with_one_commitment() {
    for size in [4, 11] {
        let (mut group, channel) = audited(size, POLICY);
        let before = events(&group, 1).len();
        group.sent.clear();
        let token = token(&group, 1, channel, "t-1");
        let letter = with_token(&mut group, 1, "news", &token);
        let id = group.post(1, channel, &letter);
        group.settle();
        let frames: Vec<&Vec<u8>> = group.sent.iter().filter(|frame| ChannelFrame::is_one(frame)).collect();
        assert_eq!(frames.len(), size - 1);
        assert!(frames.iter().all(|frame| ChannelFrame::decode(frame).unwrap().signature.is_some()));
        group.pass(LONG / 10, 4);
        assert_eq!(events(&group, 1).len(), before + 1, "one for all");
        let sent = newest(&group, 1, event::LETTER_SENT).unwrap();
        assert_eq!((sent.channel, sent.peer), (Some(EventChannel::Id(channel)), None));
        assert_eq!((sent.token, sent.transaction.as_deref()), (Some(hash_of(&token)), Some("t-1")));
        for at in (0..size - 1).filter(|at| *at != 1) {
            assert_eq!(group.agents[at].texts(channel), ["news"], "agent {at} of {size}");
            let got = newest(&group, at, event::LETTER_RECEIVED).unwrap();
            let author = Some(EventPeer::Agent(group.id(1)));
            assert_eq!((got.channel, got.peer, got.commitment), (sent.channel, author, sent.commitment));
            assert_eq!((got.token, got.kind, got.size), (sent.token, sent.kind.clone(), sent.size));
            // The author's event before.
            assert!(got.head.is_some());
            let row = &group.agents[at].disk.0[&rows::opening(&group.id(1), &id)];
            let opening = KeptOpening::from_row(row).unwrap().with_payload(b"news".to_vec(), None).unwrap();
            assert_eq!(Some(opening.commitment()), sent.commitment);
            let shown = nuncio_proto::audit::Opening::from_json(opening.to_json().as_bytes()).unwrap();
            assert_eq!(Some(shown.commitment()), sent.commitment);
        }
        let row = &group.agents[1].disk.0[&rows::opening(&group.id(1), &id)];
        assert_eq!(Some(KeptOpening::from_row(row).unwrap().commitment()), sent.commitment);
        // Who keeps no log hears it all the same, and says nothing of it.
        assert_eq!(group.agents[size - 1].texts(channel), ["news"]);
        assert!(events(&group, size - 1).is_empty());
        assert!(!group.agents[size - 1].disk.0.contains_key(&rows::opening(&group.id(1), &id)));
    }
}

/// contracts/audit.md V29: a refusal is one too, with its code.
#[test]
fn a_refusal_is_an_event_that_names_the_channel() {
    let (mut group, channel) = audited(4, POLICY);
    let bare = group.send(1, channel, "bare");
    group.pass(LONG / 10, 4);
    assert_eq!(failure(&group, 1, bare), Some(code::TOKEN_MISSING));
    let sent = newest(&group, 1, event::LETTER_SENT).unwrap();
    let refused = newest(&group, 2, event::LETTER_REFUSED).unwrap();
    assert_eq!((refused.outcome, refused.channel), (Some(code::TOKEN_MISSING), Some(EventChannel::Id(channel))));
    assert_eq!(refused.commitment, sent.commitment);
}

/// contracts/audit.md V28: another letter's commitment, or none, is refused; so is a letter that goes round it by a session (contracts/channel.md C75).
#[test]
fn nobody_speaks_unrecorded_in_a_channel_that_audits() {
    let (mut group, channel) = audited(4, POLICY);
    let mut forger = Forger::new(&mut group, 1, channel);
    for value in [None, Some([&[0x82, 0x58, 0x20][..], &[7; 32], &[0xf6]].concat())] {
        let place = ChannelPlace { channel, epoch: forger.epoch, seq: forger.seq };
        let token = token(&group, 1, channel, "t-1");
        let mut letter = with_token(&mut group, 1, "unrecorded", &token);
        letter.set_extension(place.extension());
        if let Some(value) = value {
            letter.set_extension(nuncio_proto::letter::Extension { number: extension::AUDIT, critical: true, value });
        }
        let nonce = forger.give(&mut group, 2, &letter, true);
        assert!(has_refused(&group, 2, letter.id, code::COMMITMENT, nonce));
        assert_eq!(
            newest(&group, 2, event::LETTER_REFUSED).unwrap().commitment,
            None,
            "it is no commitment of its sender"
        );
    }
    let place = ChannelPlace { channel, epoch: forger.epoch, seq: 200 };
    let token = token(&group, 1, channel, "t-1");
    let mut letter = with_token(&mut group, 1, "in a session", &token);
    letter.set_extension(place.extension());
    let (to, now) = (group.id(2), group.now);
    let one = &mut group.agents[1];
    let step = one.peer.send(to, &letter, now).unwrap();
    one.take(step);
    group.pass(LONG / 10, 4);
    assert!(group.agents[1].failed.contains(&(to, letter.id, code::COMMITMENT)));
    assert!(group.agents[2].inbox.is_empty());
}

/// contracts/audit.md V30, and V29: changes are events that name their channel.
#[test]
fn a_channel_has_a_name_of_each_agents_own_where_events_name_nobody() {
    let (mut group, channel) = audited(4, AuditPolicy { peer_names: PeerNames::Pseudonyms, ..POLICY });
    send(&mut group, 1, channel, "news");
    group.pass(LONG / 10, 4);
    let (sent, got) =
        (newest(&group, 1, event::LETTER_SENT).unwrap(), newest(&group, 2, event::LETTER_RECEIVED).unwrap());
    assert_ne!(sent.channel, got.channel, "whoever reads both logs does not know it by that");
    assert!(sent.channel.unwrap().is_of(&channel, &group.id(1)) && got.channel.unwrap().is_of(&channel, &group.id(2)));
    assert!(matches!(got.peer, Some(EventPeer::Pseudonym(_))));
    let changed = newest(&group, 2, event::CHANNEL_CHANGED).unwrap();
    assert!(changed.channel.unwrap().is_of(&channel, &group.id(2)) && changed.peer.is_some());
}

/// contracts/audit.md V29: where events find no room nothing is sent and nothing taken.
#[test]
fn a_channel_that_audits_stands_still_where_events_find_no_room() {
    let (mut group, channel) = audited(4, POLICY);
    let full = |group: &mut Group, at: usize, room: u64| {
        let waiting = group.agents[at].peer.events_waiting();
        group.agents[at].peer.set_audit(AuditPolicy { room, ..POLICY }, 0..waiting);
    };
    full(&mut group, 2, 1);
    let letter = send(&mut group, 1, channel, "news");
    group.pass(LONG / 10, 4);
    assert!(group.agents[2].inbox.is_empty() && !group.agents[3].inbox.is_empty());
    let (unsent, now) = (group.letter(2, "unsent"), group.now);
    let one = &mut group.agents[2];
    assert!(one.peer.channel_send(channel, &unsent, now, &mut one.rng).is_err());
    full(&mut group, 2, 100_000);
    group.pass(LONG, 10);
    assert_eq!(group.agents[2].texts(channel), ["news"]);
    assert_eq!(failure(&group, 1, letter), None);
}

/// contracts/audit.md V29: what is not handed out was refused, and nothing else.
#[test]
fn what_is_revoked_before_its_turn_is_told_once() {
    let (mut group, channel) = audited(4, POLICY);
    group.cut.insert((0, 2));
    let question = send(&mut group, 0, channel, "question");
    group.settle();
    let token = super::mint(group.id(1), channel, "t-2", group.now, None);
    let mut answer = with_token(&mut group, 1, "answer", &token);
    answer.reply_to = Some(question);
    group.post(1, channel, &answer);
    group.pass(2_000, 2);
    let sent = newest(&group, 1, event::LETTER_SENT).unwrap();
    let of_it = |group: &Group| -> Vec<u8> {
        let all = events(group, 2).into_iter().filter(|event| event.commitment == sent.commitment);
        all.map(|event| event.what.number()).collect()
    };
    assert_eq!(of_it(&group), [0; 0], "it waits");
    group.agents[2].peer.set_verifier(|verifier| verifier.set_revoked(["t-2".to_owned()].into()));
    group.cut.clear();
    group.pass(LONG / 4, 10);
    assert_eq!(group.agents[2].texts(channel), ["question"]);
    assert_eq!(of_it(&group), [event::LETTER_REFUSED]);
}
