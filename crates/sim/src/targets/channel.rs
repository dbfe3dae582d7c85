//! Channels: bytes as they come, and what a member can make of the keys that it has.

use std::sync::OnceLock;

use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{
    Change, ChannelFrame, Entry, Heir, Incoming, Invite, Join, Judged, Leave, Outgoing, Proposal, Record, SenderKey,
    Support,
};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::{AgentId, EpochId};
use nuncio_proto::testing::{ChannelForgery, forge_channel, rng};
use nuncio_proto::time::UnixMillis;

use super::same;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Actors(Vec<(AgentId, SigningKey)>);

impl Actors {
    fn new() -> Self {
        let keys = (1..=6_u8).map(|seed| SigningKey::from_seed(&[seed; 32]));
        let mut all: Vec<_> = keys.filter_map(|key| Some((AgentId::from_bytes(key.public()).ok()?, key))).collect();
        all.sort_by_key(|(id, _)| *id);
        Self(all)
    }

    #[expect(clippy::indexing_slicing, reason = "six actors, taken modulo six")]
    fn get(&self, at: u8) -> &(AgentId, SigningKey) {
        &self.0[usize::from(at) % self.0.len()]
    }
}

/// A record, a member's incoming state, and the key that the hostile member was handed.
struct Scene {
    incoming: Incoming,
    key: SenderKey,
    sender: AgentId,
    victim: AgentId,
}

#[expect(clippy::panic, reason = "the scene does not depend on what the fuzzer tries")]
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| make_scene().unwrap_or_else(|| panic!("no scene")))
}

fn make_scene() -> Option<Scene> {
    let actors = Actors::new();
    let mut record = found(&actors)?;
    for newcomer in 1..3 {
        let (change, consents) = join(&record, actors.get(0), actors.get(newcomer));
        let (_, next) = record.append(change, consents, NOW, &actors.get(0).1).ok()?;
        record.apply(next).ok()?;
    }
    let (sender, victim) = (actors.get(1).0, actors.get(2).0);
    let new = Outgoing::new(&record, sender).begin(&record, NOW, &mut rng(3)).ok()?;
    let key = new.keys().iter().find(|(agent, _)| *agent == victim)?.1.clone();
    let mut incoming = Incoming::new(&record, victim);
    let taken = incoming.take_key(sender, key.clone(), &record, NOW).ok()?;
    incoming.apply_key(taken);
    Some(Scene { incoming, key, sender, victim })
}

fn found(actors: &Actors) -> Option<Record> {
    Record::create(&actors.get(0).1, "works", false, NOW, [7; 32]).ok()
}

fn join(record: &Record, by: &(AgentId, SigningKey), agent: &(AgentId, SigningKey)) -> (Change, Vec<Vec<u8>>) {
    let (channel, epoch) = (record.channel(), record.epoch());
    let invite = Invite { channel, epoch, by: by.0, agent: agent.0, expires: NOW.plus(1), id: [1; 16] }.sign(&by.1);
    let join = Join { channel, agent: agent.0, invite: Invite::hash(&invite) }.sign(&agent.1);
    (Change::Add(vec![agent.0]), vec![join, invite])
}

/// Behind a zero, a frame as it comes: refused, or it has one spelling. Else letters that a sender makes of its chain: what opens opens once, and keeps no
/// more keys than a chain has.
pub fn channel_frame(bytes: &[u8]) {
    let mut incoming = scene().incoming.clone();
    if let Some((0, frame)) = bytes.split_first() {
        let Ok(frame) = ChannelFrame::decode(frame) else { return };
        same("channel frame", &[frame.common(), &frame.mac].concat(), bytes.get(1..).unwrap_or_default());
        drop(incoming.receive(&frame, limit::SKIPPED_TOTAL_MAX));
        return;
    }
    for made in bytes.as_chunks::<4>().0.iter().take(64) {
        make(&mut incoming, *made);
    }
}

fn make(incoming: &mut Incoming, [what, seq, high, low]: [u8; 4]) {
    let Scene { key, sender, victim, .. } = scene();
    let (seq, floor_below) = (u64::from(seq), u16::from_be_bytes([high, low]));
    let forgery = ChannelForgery { seq, floor_below, letter: vec![what; usize::from(what)] };
    let frame = forge_channel(key, sender, victim, forgery, |common| {
        let at = usize::from(low) % common.len().max(1);
        if let Some(byte) = common.get_mut(at).filter(|_| what & 1 == 1) {
            *byte ^= what & 0xf0;
        }
    });
    let Ok(read) = ChannelFrame::decode(&frame) else { return };
    let before = incoming.next_of(sender);
    let Ok(opened) = incoming.receive(&read, limit::SKIPPED_TOTAL_MAX) else { return };
    assert_eq!(opened.letter, vec![what; usize::from(what)], "another letter than was sealed");
    let moved = incoming.apply(opened, NOW);
    assert!(Some(moved.next) >= before && moved.holes.is_sorted(), "numbers go back");
    assert!(incoming.receive(&read, limit::SKIPPED_TOTAL_MAX).is_err(), "opened twice");
    assert!(u64::try_from(incoming.kept()).is_ok_and(|kept| kept < limit::CHANNEL_CHAIN_LETTERS), "keys without end");
}

/// Behind a zero, an entry or a statement as it comes: refused, or it has one spelling. Else entries by anybody: what a record takes is a channel with an
/// owner, and verifies from its first entry to the same.
pub fn channel_record(bytes: &[u8]) {
    if let Some((0, bytes)) = bytes.split_first() {
        if let Ok(entry) = Entry::parse(bytes) {
            same("entry", &entry.to_bytes(), bytes);
        }
        let taken = [
            Invite::parse(bytes).is_ok(),
            Join::parse(bytes).is_ok(),
            Leave::parse(bytes).is_ok(),
            Proposal::parse(bytes).is_ok(),
            Support::parse(bytes).is_ok(),
        ];
        assert!(taken.iter().filter(|taken| **taken).count() <= 1, "a statement of two kinds");
        drop(Record::verify([bytes], NOW));
        return;
    }
    let actors = Actors::new();
    let Some(mut record) = found(&actors) else { return };
    let mut epochs = vec![record.epoch()];
    for told in bytes.as_chunks::<4>().0.iter().take(24) {
        tell(&mut record, &actors, &mut epochs, *told);
        let roster = record.roster();
        assert!(roster.has(&roster.owner()) && !roster.is_admin(&roster.owner()), "a channel without its owner");
    }
    assert_eq!(Record::verify(record.entries(), NOW).as_ref().map(Record::epoch), Ok(record.epoch()));
}

/// One entry, signed by anybody, on any epoch that was ever seen.
fn tell(record: &mut Record, actors: &Actors, epochs: &mut Vec<EpochId>, [what, by, whom, on]: [u8; 4]) {
    let (by, whom) = (actors.get(by), actors.get(whom));
    let Some(on) = epochs.get(usize::from(on) % epochs.len().max(1)).copied() else { return };
    let on = if what & 0x80 == 0 { record.epoch() } else { on };
    let (change, mut consents) = match what & 7 {
        0 => join(record, by, whom),
        1 => (Change::Remove(vec![whom.0]), vec![]),
        2 => leave(record, whom),
        3 => (Change::Admin { agent: whom.0, admin: what & 8 == 0 }, vec![]),
        4 => (Change::Rename(format!("works {what}")), vec![]),
        5 => {
            let heir = Heir { channel: record.channel(), epoch: on, agent: whom.0 };
            (Change::HandOver(whom.0), if what & 8 == 0 { vec![heir.sign(&whom.1)] } else { vec![] })
        }
        _ => (Change::Succeed(whom.0), vec![]),
    };
    let Ok(draft) = record.draft(&on, change.clone(), NOW) else { return };
    if let Change::Succeed(_) = change {
        // Four bits of `what` say which of the first four are for it.
        let body = draft.body_hash();
        let voters = actors.0.iter().zip(3_u32..7).filter(|(_, at)| what >> at & 1 == 1);
        let support = |((agent, key), _): (&(AgentId, SigningKey), u32)| {
            Support { channel: record.channel(), agent: *agent, body }.sign(key)
        };
        consents = voters.map(support).collect();
    }
    let entry = draft.sign(&by.1, consents).to_bytes();
    let before = record.epoch();
    match record.check(&entry, NOW) {
        Ok(Judged::Next(next)) => {
            let follows = on == before || matches!(change, Change::Succeed(_));
            assert!(follows, "an entry took the place of others");
            assert!(record.apply(*next).is_ok());
            epochs.push(record.epoch());
        }
        _ => assert_eq!(record.epoch(), before),
    }
}

fn leave(record: &Record, (agent, key): &(AgentId, SigningKey)) -> (Change, Vec<Vec<u8>>) {
    let word = Leave { channel: record.channel(), epoch: record.epoch(), agent: *agent };
    (Change::Leave(vec![*agent]), vec![word.sign(key)])
}
