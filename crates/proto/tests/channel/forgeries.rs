//! Frames that lie: by a stranger, by a carrier, and by a member who knows every key but the one that two others share.

use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{ChannelFrame, ReceiveError, Sealed, SenderKey};
use nuncio_proto::replay::ReplayError;
use nuncio_proto::testing::{ChannelForgery, forge_channel};

use crate::group::{Member, NOW, group, hand_over};

fn sender_key(members: &mut [Member], of: usize, to: usize) -> SenderKey {
    let (from, keys) = (members[of].id(), members[of].begin(NOW));
    let mut mine = None;
    for (agent, bytes) in keys {
        let at = members.iter().position(|member| member.id() == agent).unwrap();
        members[at].take_key(from, &bytes).unwrap();
        if at == to {
            mine = Some(SenderKey::parse(&bytes, &from).unwrap());
        }
    }
    mine.unwrap()
}

fn refuses(member: &Member, frame: &[u8]) -> ReceiveError {
    let before = member.into.clone();
    let error = member.open(frame).unwrap_err();
    assert_eq!(member.into, before);
    error
}

/// contracts/channel.md C33: every member knows the message key, and none can speak for another.
#[test]
fn a_member_who_knows_the_message_key_cannot_speak_for_another() {
    let mut members = group(3, false);
    // Member 1 has the chain of member 0, whole, with its own MAC key; it seals as member 0 to member 2.
    let key = sender_key(&mut members, 0, 1);
    let (from, victim) = (members[0].id(), members[2].id());
    let forgery = ChannelForgery { seq: 0, floor_below: 0, letter: b"pay him".to_vec() };
    let to_itself = forge_channel(&key, &from, &members[1].id(), forgery.clone(), |_| {});
    assert_eq!(members[1].open(&to_itself).unwrap().letter, b"pay him", "the forgery is right but for the MAC");
    let frame = forge_channel(&key, &from, &victim, forgery, |_| {});
    assert_eq!(refuses(&members[2], &frame), ReceiveError::Mac);

    let genuine = members[0].seal(b"pay nobody");
    assert_eq!(members[2].receive_from(&genuine).unwrap().0, b"pay nobody", "and the next genuine frame opens");
}

/// contracts/channel.md C33: Poly1305 commits to nothing for who knows its key, the MAC is over the whole frame.
#[test]
fn a_member_cannot_swap_a_body_in_a_genuine_frame() {
    let mut members = group(3, false);
    let key = sender_key(&mut members, 0, 1);
    let (from, victim) = (members[0].id(), members[2].id());
    let genuine = members[0].seal(b"pay nobody").frame_for(&victim).unwrap();
    let mac = genuine.last_chunk::<16>().unwrap();
    let other = ChannelForgery { seq: 0, floor_below: 0, letter: b"pay him".to_vec() };
    // Another body and header under the same keys and number, and the MAC that the victim was sent.
    let mut frame = forge_channel(&key, &from, &victim, other, |_| {});
    let at = frame.len() - 16;
    frame[at..].copy_from_slice(mac);
    assert_eq!(refuses(&members[2], &frame), ReceiveError::Mac);
    members[2].receive(&genuine).unwrap();
}

#[test]
fn a_frame_for_one_member_is_none_for_another() {
    let mut members = group(3, false);
    let sealed = members[0].seal(b"letter");
    let others = sealed.frame_for(&members[1].id()).unwrap();
    assert_eq!(refuses(&members[2], &others), ReceiveError::Mac);
    assert!(sealed.frame_for(&members[0].id()).is_none());
}

#[test]
fn every_altered_or_missing_byte_is_refused_and_moves_nothing() {
    for audits in [false, true] {
        let mut members = group(3, audits);
        drop(members[0].seal(b"passed over"));
        let frame = members[0].seal(b"a letter").frame_for(&members[1].id()).unwrap();
        let before = members[1].into.clone();
        for at in 0..frame.len() {
            for bit in [0x01, 0x80] {
                let mut altered = frame.clone();
                altered[at] ^= bit;
                if let Ok(read) = ChannelFrame::decode(&altered) {
                    assert!(members[1].into.receive(&read, 9).is_err(), "byte {at}");
                }
            }
            assert!(ChannelFrame::decode(&frame[..at]).is_err(), "cut at {at}");
        }
        assert!(ChannelFrame::decode(&[frame.as_slice(), &[0]].concat()).is_err());
        assert_eq!(members[1].into, before);
        members[1].receive(&frame).unwrap();
    }
}

/// Each check alone, by a sender that makes every other right: what a MAC hides from strangers, members and senders reach.
#[test]
fn what_a_sender_itself_makes_wrong_is_refused_and_moves_nothing() {
    let mut members = group(2, false);
    let key = sender_key(&mut members, 0, 1);
    let (from, me) = (members[0].id(), members[1].id());
    let make = |seq: u64, floor_below: u16| ChannelForgery { seq, floor_below, letter: b"letter".to_vec() };
    let forge = |forgery: ChannelForgery, alter: fn(&mut Vec<u8>)| forge_channel(&key, &from, &me, forgery, alter);
    let length = |frame: &mut Vec<u8>| frame.len();
    let whole = forge(make(0, 0), |_| {});
    let mut copy = whole.clone();
    assert_eq!(length(&mut copy), whole.len());

    assert_eq!(refuses(&members[1], &forge(make(0, 1), |_| {})), ReceiveError::Contradiction, "a floor below 0");
    let end = limit::CHANNEL_CHAIN_LETTERS;
    assert_eq!(refuses(&members[1], &forge(make(end, 0), |_| {})), ReceiveError::Contradiction, "behind the chain");
    // `alter` is done before the MAC: the header's AEAD alone sees the body's byte, the body's its own.
    let body = forge(make(0, 0), |common| common[40] ^= 1);
    assert!(matches!(refuses(&members[1], &body), ReceiveError::Crypto(_)));
    let signed = forge(make(0, 0), |common| {
        common.truncate(common.len() - 2);
        common.extend_from_slice(&[0x58, 0x40]);
        common.extend_from_slice(&[7; 64]);
        common.push(0x50);
    });
    assert_eq!(refuses(&members[1], &signed), ReceiveError::Signed);
    members[1].receive(&forge(make(5, 0), |_| {})).unwrap();
    let again = refuses(&members[1], &forge(make(5, 0), |_| {}));
    assert_eq!(again, ReceiveError::Replay(ReplayError::Replayed(5)));
    let given_up = forge(make(4, 0), |_| {});
    members[1].receive(&forge(make(6, 0), |_| {})).unwrap();
    assert_eq!(refuses(&members[1], &given_up), ReceiveError::Replay(ReplayError::Replayed(4)), "the floor passed it");
}

/// contracts/channel.md C35: where the channel audits, a frame without its sender's signature is none.
#[test]
fn a_channel_that_audits_takes_no_frame_that_its_sender_has_not_signed() {
    let mut members = group(3, true);
    let key = sender_key(&mut members, 0, 1);
    let (from, me) = (members[0].id(), members[1].id());
    let make = || ChannelForgery { seq: 0, floor_below: 0, letter: b"letter".to_vec() };
    let unsigned = forge_channel(&key, &from, &me, make(), |_| {});
    assert!(matches!(refuses(&members[1], &unsigned), ReceiveError::Crypto(_)));
    // A signature by another member, and one of another letter.
    let others = members[2].seal(b"letter").common().to_vec();
    let own = members[0].seal(b"other").common().to_vec();
    for common in [others, own] {
        let signature = common[common.len() - 65..common.len() - 1].to_vec();
        let frame = forge_channel(&key, &from, &me, make(), |common| {
            common.truncate(common.len() - 2);
            common.extend_from_slice(&[&[0x58, 0x40], signature.as_slice(), &[0x50]].concat());
        });
        assert!(matches!(refuses(&members[1], &frame), ReceiveError::Crypto(_)));
    }
}

/// contracts/channel.md C26: who is told another key, number or past has another chain.
#[test]
fn a_sender_cannot_give_two_members_different_keys_for_one_chain() {
    let mut members = group(3, false);
    let key = sender_key(&mut members, 0, 1);
    let from = members[0].id();
    let bytes = key.encode().to_vec();
    // Each byte of the first key, and of what is bound beside it, makes another chain: its own id says so.
    for at in (0..bytes.len() - 34).rev() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let parsed = SenderKey::parse(&other, &from);
        assert!(parsed.is_err() || at < 35, "byte {at}");
    }
    assert!(SenderKey::parse(&bytes, &members[1].id()).is_err(), "of another sender");

    // Told another chain for the same letters, one finds none of the other's frames under its tag.
    let mut twin = Member::new(&members[0].identity, &members[0].record);
    let _ = twin.nonce();
    let keys = twin.begin(NOW);
    let victim = members[2].id();
    let told = keys.iter().find(|(agent, _)| *agent == victim).unwrap().1.clone();
    members[2].take_key(from, &told).unwrap();
    let sealed: Sealed = members[0].seal(b"to all");
    members[1].receive_from(&sealed).unwrap();
    let to_victim = twin.seal(b"to you alone");
    assert_ne!(sealed.common()[..20], to_victim.common()[..20], "another tag");
}

#[test]
fn a_replayed_number_is_refused_also_under_a_later_chain() {
    let mut members = group(2, false);
    let first = members[0].seal(b"one");
    members[1].receive_from(&first).unwrap();
    hand_over(&mut members, 0);
    let second = members[0].seal(b"two");
    members[1].receive_from(&second).unwrap();
    let frame = first.frame_for(&members[1].id()).unwrap();
    assert!(matches!(refuses(&members[1], &frame), ReceiveError::UnknownTag | ReceiveError::Replay(_)));
}
