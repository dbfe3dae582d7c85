//! What a member refuses of letters that were sealed once, its sender is told; and what counts of such words.

use nuncio_contracts::registry::{code, extension, limit, time};
use nuncio_proto::channel::{ChannelFrame, ChannelPlace, MAC_LEN};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::{Extension, LetterKind};
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::secret::Key;

use super::{Group, LONG, failure, guarded, send};

/// contracts/channel.md C72: through a restart of who refuses, and of who is refused.
#[test]
fn a_refusal_is_told_through_restarts() {
    let (mut group, channel) = guarded(11);
    group.cut.extend((0..11).filter(|at| *at != 1).map(|at| (at.min(1), at.max(1))));
    let bare = group.send(1, channel, "bare");
    group.settle();
    // It comes, and nothing that follows from it goes back.
    let frame = group.sent.iter().rev().find(|frame| ChannelFrame::is_one(frame)).unwrap().clone();
    let now = group.now;
    let (sender, mut reader) = (group.id(1), None);
    for at in (0..11).filter(|at| *at != 1) {
        let agent = &mut group.agents[at];
        if let Ok(step) = agent.peer.receive(Some(sender), &frame, now, &mut agent.rng, &agent.disk) {
            agent.take(step);
            reader = Some(at);
        }
    }
    let reader = reader.unwrap();
    for at in [reader, 1] {
        group.agents[at].restart(now);
        super::guard(&mut group, at);
    }
    group.cut.clear();
    group.pass(LONG, 10);
    assert_eq!(failure(&group, 1, bare), Some(code::TOKEN_MISSING));
}

/// One says to another that it has refused a letter in a frame.
fn refuse(group: &mut Group, from: usize, to: usize, letter: LetterId, code: u16, frame: [u8; 12]) {
    let (now, to) = (group.now, group.id(to));
    let mut told = group.letter(from, "");
    (told.kind, told.content_type) = (LetterKind::Control, ContentType::CBOR);
    told.payload = Control::Refused { letter, code, frame }.encode();
    let one = &mut group.agents[from];
    let step = one.peer.send(to, &told, now).unwrap();
    one.take(step);
}

/// contracts/channel.md C72: a refusal is of one frame, by whom it is under way to, and of this side's codes there are none.
#[test]
fn a_refusal_counts_for_its_own_frame_alone() {
    let (mut group, channel) = guarded(11);
    for at in [2, 3] {
        group.agents[at].away = true;
    }
    let letter = send(&mut group, 1, channel, "one");
    group.settle();
    let frame = group.sent.iter().rev().find(|frame| ChannelFrame::is_one(frame)).unwrap().clone();
    assert!(frame.len() > MAC_LEN);
    let nonce = ChannelFrame::decode(&frame).unwrap().nonce;
    let (two, three) = (group.id(2), group.id(3));
    group.pass(time::RESEND_FIRST, 2);
    // Nobody reads it before it is refused.
    refuse(&mut group, 4, 1, letter, code::TOKEN_SCOPE, nonce);
    group.settle();
    assert!(group.agents[1].failed.is_empty(), "that one has it");
    for at in [2, 3] {
        let agent = &mut group.agents[at];
        agent.away = false;
        agent.peer.set_verifier(|verifier| *verifier = nuncio_proto::token::Verifier::default());
    }
    group.cut.insert((1, 2));
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].failed, [(three, letter, code::TOKEN_AUDIENCE)]);
    refuse(&mut group, 3, 1, letter, code::TOKEN_SCOPE, nonce);
    group.settle();
    assert_eq!(group.agents[1].failed.len(), 1, "it is told once");
    assert_eq!(group.agents[1].peer.channel_left(&channel, &letter), [two]);
    group.cut.clear();
    group.cut.insert((1, 2));
    let other = [nonce[0] ^ 1; 12];
    group.cut.clear();
    // Its own word comes before the frame does.
    group.agents[2].peer.set_verifier(|verifier| *verifier = nuncio_proto::token::Verifier::default());
    refuse(&mut group, 2, 1, letter, code::TOKEN_SCOPE, other);
    refuse(&mut group, 2, 1, letter, code::CANCELLED, nonce);
    group.carry(2);
    assert!(group.agents[1].failed.contains(&(two, letter, code::REFUSED)), "{:?}", group.agents[1].failed);
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].failed.len(), 2);
    assert!(!group.agents[1].delivered.iter().any(|(to, id)| *id == letter && (*to == two || *to == three)));
}

/// contracts/channel.md C52: no member fetches a payload that a letter to all of them names.
#[test]
fn a_large_payload_is_no_part_of_a_channel() {
    let (mut group, channel) = guarded(4);
    let epoch = group.agents[1].peer.channel(&channel).unwrap().epoch();
    let token = super::token(&group, 1, channel, "t-1");
    let mut letter = super::with_token(&mut group, 1, "", &token);
    letter.set_extension(ChannelPlace { channel, epoch, seq: 1 }.extension());
    let key = PayloadKey { id: [1; 16], key: Key::new([2; 32]), len: 1_000_000 };
    letter.set_extension(Extension { number: extension::LARGE_PAYLOAD, critical: true, value: key.encode() });
    let (now, to, one) = (group.now, group.id(2), &mut group.agents[1]);
    let step = one.peer.send(to, &letter, now).unwrap();
    one.take(step);
    group.pass(LONG / 10, 4);
    assert!(group.agents[1].failed.contains(&(to, letter.id, code::MALFORMED)));
    assert!(group.agents[2].inbox.is_empty());
}

/// contracts/channel.md C73: who refuses every letter as too late has its share sent again, and no more.
#[test]
fn what_is_sent_again_to_one_member_is_bounded() {
    let (mut group, channel) = guarded(11);
    let (to, text) = (group.id(2), "x".repeat(40_000));
    group.cut.insert((1, 2));
    let mut letters = Vec::new();
    for _ in 0..20 {
        letters.push(send(&mut group, 1, channel, &text));
        group.settle();
        let frame = group.sent.iter().rev().find(|frame| ChannelFrame::is_one(frame)).unwrap();
        let nonce = ChannelFrame::decode(frame).unwrap().nonce;
        refuse(&mut group, 2, 1, letters[letters.len() - 1], code::TOKEN_EXPIRED, nonce);
        group.cut.clear();
        group.carry(2);
        group.cut.insert((1, 2));
        group.settle();
    }
    let again = group.agents[1].peer.outbox().filter(|(agent, id, _)| *agent == to && letters.contains(id)).count();
    let share = limit::CHANNEL_OUT_BYTES_MAX / 11 / text.len();
    assert!(again > share / 2 && again <= share, "{again} of {share}");
    let failed = group.agents[1].failed.iter().filter(|(agent, _, code)| *agent == to && *code == code::TOKEN_EXPIRED);
    assert_eq!(failed.count() + again, 20);
}
