//! Forks, a captured owner key, and who answers it.

use nuncio_contracts::registry::time;
use nuncio_proto::channel::{Change, EntryError, Judged, Record, RecordError, Support};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::EpochId;
use nuncio_proto::time::UnixMillis;

use crate::group::{NOW, agents, append, record_of, take};

/// An owner, three admins, one member.
fn scene() -> (Vec<Identity>, Record) {
    let agents = agents(5);
    let mut record = record_of(&agents, false);
    for admin in &agents[1..4] {
        append(&mut record, &agents[0], Change::Admin { agent: admin.id(), admin: true });
    }
    (agents, record)
}

/// A succession on an epoch, with the support of some.
fn succession(record: &Record, on: EpochId, new: &Identity, by: &[&Identity]) -> Vec<u8> {
    let draft = record.draft(&on, Change::Succeed(new.id()), NOW).unwrap();
    let support = |by: &&Identity| {
        Support { channel: record.channel(), agent: by.id(), body: draft.body_hash() }.sign(by.signing())
    };
    let consents = by.iter().map(support).collect();
    draft.clone().sign(new.signing(), consents).to_bytes()
}

#[test]
fn a_majority_is_more_than_half_of_the_admins() {
    let (agents, record) = scene();
    let on = record.epoch();
    for (by, taken) in [
        (vec![], Err(RecordError::Majority)),
        (vec![&agents[1]], Err(RecordError::Majority)),
        (vec![&agents[1], &agents[3]], Ok("next")),
        (vec![&agents[1], &agents[2], &agents[3]], Ok("next")),
        (vec![&agents[2], &agents[1]], Err(RecordError::Consent)),
        (vec![&agents[1], &agents[1]], Err(RecordError::Consent)),
        (vec![&agents[1], &agents[4]], Err(RecordError::Consent)),
        (vec![&agents[0], &agents[1]], Err(RecordError::Consent)),
        (vec![&agents[1], &agents[2], &agents[3], &agents[4]], Err(RecordError::Consent)),
    ] {
        let bytes = succession(&record, on, &agents[1], &by);
        assert_eq!(take(&mut record.clone(), &bytes, NOW), taken, "{}", by.len());
    }
    // Of two both, of one one, of none nobody.
    let mut fewer = record.clone();
    append(&mut fewer, &agents[0], Change::Admin { agent: agents[3].id(), admin: false });
    let one = succession(&fewer, fewer.epoch(), &agents[4], &[&agents[1]]);
    assert_eq!(take(&mut fewer.clone(), &one, NOW), Err(RecordError::Majority));
    let both = succession(&fewer, fewer.epoch(), &agents[4], &[&agents[1], &agents[2]]);
    assert_eq!(take(&mut fewer.clone(), &both, NOW), Ok("next"));
    append(&mut fewer, &agents[0], Change::Admin { agent: agents[2].id(), admin: false });
    let one = succession(&fewer, fewer.epoch(), &agents[4], &[&agents[1]]);
    assert_eq!(take(&mut fewer.clone(), &one, NOW), Ok("next"));
    append(&mut fewer, &agents[0], Change::Admin { agent: agents[1].id(), admin: false });
    let none = succession(&fewer, fewer.epoch(), &agents[4], &[]);
    assert_eq!(take(&mut fewer, &none, NOW), Err(RecordError::Majority));
}

#[test]
fn support_is_for_one_entry_alone_and_the_new_owner_signs_it() {
    let (agents, record) = scene();
    let on = record.epoch();
    let draft = record.draft(&on, Change::Succeed(agents[1].id()), NOW).unwrap();
    let other = record.draft(&on, Change::Succeed(agents[2].id()), NOW).unwrap();
    let support =
        |by: &Identity, body: [u8; 32]| Support { channel: record.channel(), agent: by.id(), body }.sign(by.signing());
    let moved = vec![support(&agents[1], draft.body_hash()), support(&agents[2], other.body_hash())];
    let bytes = draft.clone().sign(agents[1].signing(), moved).to_bytes();
    assert_eq!(take(&mut record.clone(), &bytes, NOW), Err(RecordError::Consent));
    let right = vec![support(&agents[1], draft.body_hash()), support(&agents[2], draft.body_hash())];
    for by in [&agents[0], &agents[2]] {
        let bytes = draft.clone().sign(by.signing(), right.clone()).to_bytes();
        let error = take(&mut record.clone(), &bytes, NOW).unwrap_err();
        assert!(matches!(error, RecordError::Entry(EntryError::Crypto(_))), "{error}");
    }
    let bytes = draft.sign(agents[1].signing(), right).to_bytes();
    let mut taken = record.clone();
    assert_eq!(take(&mut taken, &bytes, NOW), Ok("next"));
    assert_eq!(taken.roster().owner(), agents[1].id());
    assert!(!taken.roster().has(&agents[0].id()), "the old owner's key may be another's");
    assert!(!taken.roster().is_admin(&agents[1].id()));
}

/// contracts/channel.md C18, C19: a thief of the owner's key has removed all admins, and is answered all the same.
#[test]
fn a_captured_owner_key_is_answered_by_the_admins_that_it_removed() {
    let (agents, record) = scene();
    let (owner, on) = (&agents[0], record.epoch());
    let mut captured = record.clone();
    append(&mut captured, owner, Change::Remove(agents[1..4].iter().map(Identity::id).collect()));
    append(&mut captured, owner, Change::Rename("mine".into()));
    append(&mut captured, owner, Change::Admin { agent: agents[4].id(), admin: true });
    let thief = captured.clone();
    let answer = succession(&record, on, &agents[2], &[&agents[1], &agents[2]]);

    let late = NOW.plus(time::CHANNEL_SUCCESSION_WINDOW);
    assert_eq!(take(&mut captured.clone(), &answer, late), Err(RecordError::TooLate));
    assert_eq!(take(&mut captured, &answer, UnixMillis(late.0 - 1)), Ok("instead"));
    assert_eq!(captured.roster().owner(), agents[2].id());
    assert_eq!(captured.roster().members().len(), 4);
    // Who never heard of the thief comes to the same; and the thief is heard no more.
    let mut other = record.clone();
    assert_eq!(take(&mut other, &answer, NOW), Ok("next"));
    assert_eq!(other.epoch(), captured.epoch());
    let stolen: Vec<&[u8]> = thief.entries().skip(record.entries().len()).collect();
    assert_eq!(take(&mut captured, stolen[0], NOW), Err(RecordError::Outranked));
    assert_eq!(take(&mut captured, stolen[1], NOW), Err(RecordError::UnknownEpoch));
    // The new owner goes on.
    append(&mut captured, &agents[2], Change::Rename("ours".into()));
    assert_eq!(Record::verify(captured.entries(), NOW).unwrap().epoch(), captured.epoch());
}

#[test]
fn admins_that_a_thief_made_do_not_take_the_place_of_others_entries() {
    let (agents, record) = scene();
    let mut captured = record.clone();
    append(&mut captured, &agents[0], Change::Remove(agents[1..4].iter().map(Identity::id).collect()));
    append(&mut captured, &agents[0], Change::Admin { agent: agents[4].id(), admin: true });
    let on = record.epoch();
    // On the epoch in front of the theft its admins count, not the thief's.
    let draft = record.draft(&on, Change::Succeed(agents[4].id()), NOW).unwrap();
    let support = Support { channel: record.channel(), agent: agents[4].id(), body: draft.body_hash() };
    let bytes = draft.sign(agents[4].signing(), vec![support.sign(agents[4].signing())]).to_bytes();
    assert_eq!(take(&mut captured.clone(), &bytes, NOW), Err(RecordError::Consent));
}

/// contracts/channel.md C17.
#[test]
fn two_entries_on_one_epoch_are_a_fork_and_the_first_stays() {
    let (agents, record) = scene();
    let (mut one, mut two) = (record.clone(), record.clone());
    let first = append(&mut one, &agents[0], Change::Rename("one".into()));
    let second = append(&mut two, &agents[0], Change::Rename("two".into()));
    let before = one.clone();
    let Judged::Fork(fork) = one.check(&second, NOW).unwrap() else { panic!("no fork") };
    assert_eq!((fork.first, fork.second), (first, second));
    assert_eq!(one, before);
    let behind = append(&mut two, &agents[0], Change::Rename("three".into()));
    assert_eq!(take(&mut one, &behind, NOW), Err(RecordError::UnknownEpoch));
    // What another has signed is no evidence against the owner.
    let draft = record.draft(&record.epoch(), Change::Rename("four".into()), NOW).unwrap();
    let forged = draft.sign(agents[1].signing(), vec![]).to_bytes();
    assert!(matches!(take(&mut one, &forged, NOW), Err(RecordError::Entry(EntryError::Crypto(_)))));
}

/// contracts/channel.md C20.
#[test]
fn of_two_successions_the_first_stays() {
    let (agents, mut record) = scene();
    let on = record.epoch();
    let one = succession(&record, on, &agents[1], &[&agents[1], &agents[2]]);
    let two = succession(&record, on, &agents[2], &[&agents[2], &agents[3]]);
    let weak = succession(&record, on, &agents[3], &[&agents[3]]);
    assert_eq!(take(&mut record, &one, NOW), Ok("next"));
    assert_eq!(take(&mut record, &two, NOW), Ok("fork"));
    assert_eq!(take(&mut record, &weak, NOW), Err(RecordError::Majority), "no evidence");
    assert_eq!(record.roster().owner(), agents[1].id());
}

/// contracts/channel.md C21: a newcomer counts an entry as taken when it was made.
#[test]
fn a_majority_of_long_ago_rewrites_nothing_for_newcomers() {
    let (agents, record) = scene();
    let on = record.epoch();
    let mut later = record.clone();
    append(&mut later, &agents[0], Change::Remove(agents[1..4].iter().map(Identity::id).collect()));
    let answer = succession(&record, on, &agents[2], &[&agents[1], &agents[2]]);
    let newcomer = |now| Record::verify(later.entries(), now).unwrap();
    let late = NOW.plus(time::CHANNEL_SUCCESSION_WINDOW);
    assert_eq!(take(&mut newcomer(late), &answer, late), Err(RecordError::TooLate));
    assert_eq!(take(&mut newcomer(NOW), &answer, NOW), Ok("instead"));
    let early = UnixMillis(NOW.0 - 5);
    assert_eq!(newcomer(early).taken(1), Some(early), "and never as taken later than now");
}
