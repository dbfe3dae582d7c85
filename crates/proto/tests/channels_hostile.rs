//! Members of a channel that do what they must not, against agents by hand (contracts/channel.md sections 7, 10 and 11).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use group::{Group, LONG};
use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::channel::{Change, ChannelPlace, Entry, Reach, Says, Support};
use nuncio_proto::error::Refusal;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::EpochId;
use nuncio_proto::peer::{ChannelError, ChannelNews, ContactInfo};
use nuncio_proto::rows;
use nuncio_proto::step::Op;

#[allow(dead_code, reason = "another test uses the rest")]
#[path = "channels/group.rs"]
mod group;
#[path = "channels/shares.rs"]
mod shares;

fn far_away() -> Vec<String> {
    (0..8).map(|at| format!("{}.example:742{at}", "a".repeat(240))).collect()
}

/// Whatever is told of where members are, the words about it are letters, and the agent starts again.
#[test]
fn hints_without_measure_break_nobodys_start() {
    let (mut group, channel) = Group::settled(34, 0);
    for at in 1..34 {
        let id = group.id(at);
        let info = ContactInfo { allowed: true, endpoints: far_away(), ..ContactInfo::default() };
        let step = group.agents[0].peer.set_contact(id, info).unwrap();
        group.agents[0].take(step);
    }
    group.say(5, 0, channel, Says::Wanted { from: 0 });
    group.settle();
    group.agents[5].away = true;
    group.change(0, channel, Change::Rename("journey".to_owned())).unwrap();
    group.settle();
    let now = group.now;
    group.agents[0].restart(now);
    group.agents[5].away = false;
    group.pass(LONG, 10);
    assert_eq!(group.agents[5].roster(channel).name(), "journey");
}

/// contracts/channel.md C16: one admin of three does not make itself the majority that succeeds.
#[test]
fn an_admin_does_not_make_others_less() {
    let (mut group, channel) = Group::settled(5, 0);
    for at in [1, 2, 3] {
        let agent = group.id(at);
        group.change(0, channel, Change::Admin { agent, admin: true }).unwrap();
    }
    group.pass(LONG, 10);
    let (other, member) = (group.id(2), group.id(4));
    for change in [Change::Admin { agent: other, admin: false }, Change::Remove(vec![other])] {
        assert!(matches!(group.change(1, channel, change), Err(ChannelError::Record(_) | ChannelError::Mistake(_))));
    }
    group.change(1, channel, Change::Remove(vec![member])).unwrap();
    group.pass(LONG, 10);
    assert!(!group.agents[0].roster(channel).has(&member) && group.agents[0].roster(channel).is_admin(&other));
}

/// contracts/channel.md C38.
#[test]
fn one_silent_member_stops_nobodys_letters() {
    let (mut group, channel) = Group::settled(10, 0);
    group.agents[9].away = true;
    let letters = usize::try_from(limit::WINDOW).unwrap() + 100;
    for number in 0..letters {
        group.send(0, channel, &number.to_string());
        if number % 50 == 0 {
            group.pass(time::ACK_DELAY * 2, 2);
        }
    }
    group.pass(LONG, 10);
    for at in 1..9 {
        assert_eq!(group.agents[at].inbox.len(), letters, "agent {at}");
    }
    let silent = group.id(9);
    assert!(group.agents[0].failed.iter().all(|(agent, ..)| *agent == silent));
    assert!(group.agents[0].failed.len() >= 100, "{}", group.agents[0].failed.len());
}

/// contracts/channel.md C49.
#[test]
fn a_question_is_answered_once_at_a_time() {
    let (mut group, channel) = Group::settled(4, 0);
    for number in 0..60 {
        group.change(0, channel, Change::Rename(format!("name {number}"))).unwrap();
    }
    group.pass(LONG, 10);
    // It asks, and takes no answer.
    group.cut.insert((0, 3));
    let sealed = group.agents[0].peer.counters().sealed;
    for _ in 0..40 {
        group.say(3, 0, channel, Says::Wanted { from: 0 });
    }
    group.settle();
    group.cut.clear();
    group.agents[3].away = false;
    group.pass(time::RESEND_FIRST, 1);
    let answers = group.agents[0].peer.counters().sealed - sealed;
    assert!(answers <= 3, "{answers} letters for 40 questions");
}

/// contracts/channel.md C54: letters of an epoch that nobody knows are kept of each member alone, and go.
#[test]
fn letters_of_no_epoch_take_no_room_of_others() {
    for size in [4, 10] {
        let (mut group, channel) = Group::settled(size, 0);
        let (now, victim) = (group.now, group.id(1));
        for number in 0..100 {
            let mut letter = group.letter(2, "from nowhere");
            let epoch = EpochId::from_bytes([7; 32]);
            letter.set_extension(ChannelPlace { channel, epoch, seq: 1_000 + number }.extension());
            let one = &mut group.agents[2];
            let step = one.peer.send(victim, &letter, now).unwrap();
            one.take(step);
        }
        group.settle();
        let held = |group: &Group| group.agents[1].disk.0.keys().filter(|key| key[0] == b'Z').count();
        assert_eq!(held(&group), 64);
        group.send(3, channel, "heard");
        group.pass(LONG, 10);
        assert_eq!(group.agents[1].texts(channel), ["heard"]);
        group.pass(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW, 4);
        assert_eq!(held(&group), 0, "what is over waits for nothing");
    }
}

/// contracts/channel.md C47, C49: where others are is not for every member to say, and nothing at all for who is none.
#[test]
fn only_those_who_may_lead_an_agent_somewhere() {
    let (mut group, channel) = Group::settled(4, 1);
    let (named, entry) =
        (group.id(3), group.agents[0].peer.channel(&channel).unwrap().entries().next().unwrap().to_vec());
    let reach = Reach { endpoints: vec!["evil.example:1".to_owned()], mailbox: None };
    let endpoints = |group: &Group| group.agents[1].peer.contact(&named).unwrap().endpoints.clone();
    let says = || Says::Entries { entries: vec![entry.clone()], reach: vec![(named, reach.clone())] };
    group.say(2, 1, channel, says());
    group.pass(LONG, 5);
    assert!(endpoints(&group).is_empty(), "a member says it of another");
    // Who is no member asks for the record in vain.
    let stranger = group.id(4);
    group.agents[1].know(stranger);
    let member = group.id(1);
    group.agents[4].know(member);
    let hello = group.letter(4, "hello");
    let (now, one) = (group.now, &mut group.agents[4]);
    let step = one.peer.send(member, &hello, now).unwrap();
    one.take(step);
    group.pass(LONG, 5);
    let sealed = group.agents[1].peer.counters().sealed;
    group.say(4, 1, channel, says());
    group.say(4, 1, channel, Says::Wanted { from: 0 });
    group.pass(LONG, 5);
    assert!(endpoints(&group).is_empty());
    assert_eq!(group.agents[1].peer.counters().sealed, sealed, "it is answered by nothing");
    group.say(0, 1, channel, says());
    group.pass(LONG, 5);
    assert_eq!(endpoints(&group), ["evil.example:1"], "the owner's word counts");
}

/// contracts/channel.md C53: a letter is judged when its turn comes, not only when its frame does.
#[test]
fn what_waits_behind_a_gap_is_not_heard_after_its_author_was_removed() {
    let (mut group, channel) = Group::settled(4, 0);
    let removed = group.id(3);
    let victim = group.id(1);
    // The first is lost, so the second waits for it.
    group.cut.insert((1, 3));
    let (now, plain) = (group.now, group.letter(3, "beside the channel"));
    let step = group.agents[3].peer.send(victim, &plain, now).unwrap();
    group.agents[3].take(step);
    group.settle();
    group.cut.clear();
    group.send(3, channel, "heard too late");
    group.settle();
    assert_eq!(group.agents[2].texts(channel), ["heard too late"], "where nothing is missing it is heard");
    assert_eq!(group.agents[1].texts(channel), [""; 0]);
    group.cut.insert((0, 3));
    group.change(0, channel, Change::Remove(vec![removed])).unwrap();
    group.settle();
    assert!(!group.agents[1].roster(channel).has(&removed));
    group.pass(LONG, 10);
    assert_eq!(group.agents[1].texts(channel), [""; 0], "its author is no member any more");
}

/// contracts/channel.md C52, C53: a letter of an epoch in which its receiver was no member is none for it.
#[test]
fn a_letter_of_before_is_refused_by_a_newcomer() {
    let (mut group, channel) = Group::settled(3, 1);
    let before = group.agents[1].peer.channel(&channel).unwrap().epoch();
    group.invite(0, channel, 3).unwrap();
    group.join(3, channel);
    group.send(1, channel, "hello");
    group.pass(LONG, 10);
    let mut letter = group.letter(1, "of before");
    letter.set_extension(ChannelPlace { channel, epoch: before, seq: 900 }.extension());
    let (now, newcomer, one) = (group.now, group.id(3), &mut group.agents[1]);
    let step = one.peer.send(newcomer, &letter, now).unwrap();
    one.take(step);
    group.pass(LONG, 10);
    assert_eq!(group.agents[3].texts(channel), ["hello"]);
    assert!(group.agents[1].failed.contains(&(newcomer, letter.id, code::NOT_MEMBER)));
}

/// contracts/channel.md C48: a record that nobody asked for is not kept; one that is answered is taken from whom was answered.
#[test]
fn nobody_is_given_a_channel_that_it_did_not_ask_for() {
    let (mut group, channel) = Group::settled(2, 1);
    let entry = group.agents[0].peer.channel(&channel).unwrap().entries().next().unwrap().to_vec();
    let says = || Says::Entries { entries: vec![entry.clone()], reach: vec![] };
    group.say(0, 2, channel, says());
    group.pass(LONG, 5);
    assert!(group.agents[2].peer.channel(&channel).is_none());
    group.invite(0, channel, 2).unwrap();
    group.say(0, 2, channel, says());
    group.pass(LONG, 5);
    assert!(group.agents[2].peer.channel(&channel).is_none(), "it has not answered");
}

/// contracts/channel.md C50: nobody is put in by another's word, also an admin's.
#[test]
fn a_proposal_to_add_puts_nobody_in() {
    let (mut group, channel) = Group::settled(3, 1);
    let (admin, wanted) = (group.id(1), group.id(3));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.pass(LONG, 5);
    let _ = group.change(1, channel, Change::Add(vec![wanted]));
    group.pass(LONG, 5);
    assert!(!group.agents[0].roster(channel).has(&wanted));
}

/// contracts/channel.md C21: to a newcomer, an entry of long ago was taken long ago.
#[test]
fn a_newcomer_takes_no_succession_of_long_ago() {
    let (mut group, channel) = Group::settled(4, 1);
    let (admin, member) = (group.id(1), group.id(2));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.pass(LONG, 5);
    let then = group.agents[1].peer.channel(&channel).unwrap().epoch();
    group.change(0, channel, Change::Admin { agent: admin, admin: false }).unwrap();
    group.change(0, channel, Change::Remove(vec![member])).unwrap();
    group.pass(2 * time::CHANNEL_SUCCESSION_WINDOW, 30);
    group.invite(0, channel, 4).unwrap();
    group.join(4, channel);
    group.send(1, channel, "so that they have a session");
    group.pass(LONG, 5);
    // What it made then it shows now.
    let record = group.agents[1].peer.channel(&channel).unwrap();
    let draft = record.draft(&then, Change::Succeed(admin), group.now).unwrap();
    let signing = group.agents[1].peer.identity().signing();
    let support = Support { channel, agent: admin, body: draft.body_hash() }.sign(signing);
    let entry = draft.sign(signing, vec![support]).to_bytes();
    group.say(1, 4, channel, Says::Entries { entries: vec![entry], reach: vec![] });
    group.pass(LONG, 5);
    let owner = group.id(0);
    assert_eq!(group.agents[4].roster(channel).owner(), owner);
}

/// contracts/channel.md C51: who is known by a channel alone writes to the channel alone.
#[test]
fn a_fellow_that_nobody_added_writes_to_the_channel_alone() {
    let (mut group, channel) = Group::settled(3, 0);
    let (other, letter) = (group.id(2), group.letter(1, "beside the channel"));
    let (now, one) = (group.now, &mut group.agents[1]);
    let step = one.peer.send(other, &letter, now).unwrap();
    one.take(step);
    group.send(1, channel, "in the channel");
    group.pass(LONG, 5);
    assert_eq!(group.agents[2].inbox.iter().map(|came| came.text.as_str()).collect::<Vec<_>>(), ["in the channel"]);
    assert!(group.agents[1].failed.contains(&(other, letter.id, code::STRANGER)));
}

fn take_frame(group: &mut Group, from: usize, to: usize, frame: &[u8]) -> Result<(), Refusal> {
    let (now, sender, agent) = (group.now, group.id(from), &mut group.agents[to]);
    let step = agent.peer.receive(Some(sender), frame, now, &mut agent.rng, &agent.disk)?;
    agent.take(step);
    Ok(())
}

/// contracts/channel.md C52: a letter is of the epoch of its chain, whatever else it says.
#[test]
fn a_letter_says_the_epoch_of_its_chain() {
    let (mut group, channel) = Group::settled(10, 0);
    let key = group.hand_chain([2, 1], channel, 100);
    let record = group.agents[2].peer.channel(&channel).unwrap();
    let (newest, before) = (record.epoch(), Entry::parse(record.entries().last().unwrap()).unwrap().prev);
    for (seq, epoch, text) in [(100, before, "of before"), (101, newest, "of now")] {
        let mut letter = group.letter(2, text);
        letter.set_extension(ChannelPlace { channel, epoch, seq }.extension());
        let frame = group.forge(&key, 100, [2, 1], seq, &letter);
        take_frame(&mut group, 2, 1, &frame).unwrap();
    }
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].texts(channel), ["of now"]);
}

/// contracts/letter.md L9: one letter under two numbers is one letter.
#[test]
fn a_letter_under_two_numbers_is_delivered_once() {
    let (mut group, channel) = Group::settled(10, 0);
    let key = group.hand_chain([2, 1], channel, 100);
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    let mut letter = group.letter(2, "twice");
    for seq in [100, 101] {
        letter.set_extension(ChannelPlace { channel, epoch, seq }.extension());
        let frame = group.forge(&key, 100, [2, 1], seq, &letter);
        take_frame(&mut group, 2, 1, &frame).unwrap();
    }
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].texts(channel), ["twice"]);
}

/// contracts/channel.md C37: a frame comes from its sender alone, over a connection, and by a mailbox from nobody who is known.
#[test]
fn nobody_brings_the_frames_of_another() {
    let (mut group, channel) = Group::settled(10, 0);
    group.cut.insert((1, 2));
    let sent = group.sent.len();
    group.send(2, channel, "to all");
    group.settle();
    let frames: Vec<Vec<u8>> = group.sent[sent..].to_vec();
    let author = group.id(2);
    let refused = |group: &mut Group| {
        let of = |frame: &Vec<u8>| take_frame(group, 3, 1, frame).err();
        frames
            .iter()
            .filter_map(of)
            .filter(|error| matches!(error, Refusal::WrongPeer(other) if *other == author))
            .count()
    };
    assert!(refused(&mut group) > 0);
    assert_eq!(group.agents[1].texts(channel), [""; 0]);
    group.cut.clear();
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].texts(channel), ["to all"]);
}

/// contracts/identity.md I9: what was sealed under a retired identity is heard by nobody who knows that it is.
#[test]
fn a_retired_member_is_not_heard() {
    let (mut group, channel) = Group::settled(10, 0);
    let key = group.hand_chain([2, 1], channel, 100);
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    let statement = Retirement::sign(group.agents[2].peer.identity(), None, group.now);
    let (_, step) = group.agents[1].peer.retire(statement, group.now).unwrap();
    group.agents[1].take(step);
    let mut letter = group.letter(2, "of a thief");
    letter.set_extension(ChannelPlace { channel, epoch, seq: 100 }.extension());
    let frame = group.forge(&key, 100, [2, 1], 100, &letter);
    assert!(take_frame(&mut group, 2, 1, &frame).is_err());
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].texts(channel), [""; 0]);
}

/// contracts/channel.md C30: a key that is kept for a letter goes when that letter would be too old.
#[test]
fn keys_of_letters_that_never_came_are_not_kept_for_ever() {
    let (mut group, channel) = Group::settled(10, 0);
    let key = group.hand_chain([2, 1], channel, 100);
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    let mut frames = Vec::new();
    for seq in [100, 101] {
        let mut letter = group.letter(2, "late");
        letter.set_extension(ChannelPlace { channel, epoch, seq }.extension());
        frames.push(group.forge(&key, 100, [2, 1], seq, &letter));
    }
    take_frame(&mut group, 2, 1, &frames[1]).unwrap();
    let author = group.id(2);
    let named = [channel.as_bytes().as_slice(), author.as_bytes()].concat();
    let is_of = |key: &[u8]| key.get(1..).is_some_and(|key| key.starts_with(&named));
    let row = |group: &Group| {
        group.agents[1].disk.0.iter().filter(|(key, _)| is_of(key)).map(|(_, row)| row.len()).sum::<usize>()
    };
    let with_key = row(&group);
    group.agents[2].away = true;
    group.pass(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW + time::CHANNEL_CHAIN_LIFE, 20);
    let step = group.agents[1].peer.forget_channel_keys(group.now).unwrap();
    group.agents[1].take(step);
    assert!(row(&group) + 32 <= with_key, "{} of {with_key} bytes are left", row(&group));
    assert!(take_frame(&mut group, 2, 1, &frames[0]).is_err(), "nothing opens it any more");
}

/// contracts/channel.md C48: a second invitation does not undo the answer to the first.
#[test]
fn a_second_invitation_undoes_no_answer() {
    let (mut group, channel) = Group::settled(3, 1);
    let (admin, newcomer) = (group.id(1), group.id(3));
    group.change(0, channel, Change::Admin { agent: admin, admin: true }).unwrap();
    group.pass(LONG, 5);
    for (one, other) in [(1, newcomer), (3, admin)] {
        group.agents[one].know(other);
    }
    // The owner adds who consents; nobody hears of it yet.
    group.invite(0, channel, 3).unwrap();
    group.cut.extend([(0, 1), (0, 2)]);
    let now = group.now;
    let step = group.agents[3].peer.channel_join(channel, Reach::default(), now).unwrap();
    group.agents[3].take(step);
    group.lose_from(0, 3);
    assert!(group.agents[0].roster(channel).has(&newcomer));
    assert!(group.agents[3].peer.channel(&channel).is_none());
    group.cut.insert((0, 3));
    group.invite(1, channel, 3).unwrap();
    assert_eq!(group.agents[3].news.last().unwrap().1, ChannelNews::Invited { by: admin });
    group.agents[1].away = true;
    group.cut.clear();
    group.pass(LONG, 10);
    assert!(group.agents[3].roster(channel).has(&newcomer), "the record came from whom it had answered");
}

/// contracts/channel.md C38, C52: a number is used once, whichever way its letter goes.
#[test]
fn a_number_that_came_in_a_session_comes_in_no_frame() {
    let (mut group, channel) = Group::settled(10, 0);
    let key = group.hand_chain([2, 1], channel, 100);
    let epoch = group.agents[2].peer.channel(&channel).unwrap().epoch();
    let place = ChannelPlace { channel, epoch, seq: 100 };
    group.send_at([2, 1], place, "in the session");
    group.settle();
    let mut letter = group.letter(2, "in a frame");
    letter.set_extension(place.extension());
    let frame = group.forge(&key, 100, [2, 1], 100, &letter);
    assert!(take_frame(&mut group, 2, 1, &frame).is_err());
    group.pass(LONG, 5);
    assert_eq!(group.agents[1].texts(channel), ["in the session"]);
}

/// contracts/channel.md C56: whoever says again and again that it has more than there is fails nobody's letters but its own.
#[test]
fn a_lie_of_what_came_fails_no_letters_to_others() {
    for ahead in [1, 2_000] {
        let (mut group, channel) = Group::settled(10, 0);
        let now = group.now;
        // Once since a start it is followed.
        group.agents[0].restart(now);
        let sealed = group.agents[0].peer.counters().sealed;
        [7, 8, 9].into_iter().for_each(|at| group.agents[at].away = true);
        for number in 0..40 {
            group.send(0, channel, &number.to_string());
            group.say(1, 0, channel, Says::Acked(2 * number + 2 + ahead));
            group.pass(time::ACK_DELAY * 2, 2);
        }
        [7, 8, 9].into_iter().for_each(|at| group.agents[at].away = false);
        group.pass(LONG, 20);
        let all: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        for at in 2..10 {
            assert_eq!(group.agents[at].texts(channel), all, "agent {at}, {ahead} ahead");
        }
        let liar = group.id(1);
        assert!(group.agents[0].failed.iter().all(|(agent, ..)| *agent == liar), "{:?}", group.agents[0].failed);
        let sealed = group.agents[0].peer.counters().sealed - sealed;
        assert!(sealed < 40 + 10 * 10, "{sealed} letters for 40: a chain for each");
    }
}

/// Whatever ends for many members at once, each letter's row is written once.
#[test]
fn a_step_in_which_many_letters_end_writes_each_once() {
    let (members, letters) = (30, 60);
    let (mut group, channel) = Group::settled(members, 0);
    (1..members).for_each(|at| group.agents[at].away = true);
    for _ in 0..letters {
        group.send(1, channel, &"long ".repeat(200));
    }
    group.settle();
    let (now, one) = (group.now, &mut group.agents[1]);
    let step = one.peer.channel_leave(channel, now).unwrap();
    let staged = one.peer.stage(step).unwrap();
    let ops: Vec<(&[u8], usize)> = staged
        .ops
        .iter()
        .map(|op| match op {
            Op::Put { key, value } => (key.as_slice(), value.len()),
            Op::Delete { key } => (key.as_slice(), 0),
        })
        .collect();
    assert_eq!(ops.iter().filter(|(key, _)| key[0] == rows::CHANNEL_OUT).count(), letters);
    let written: usize = ops.iter().map(|(_, len)| len).sum();
    assert!(written < letters * 2_000, "{written} bytes for {letters} letters");
}
