//! The record: who may change what, and what is refused.

use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{
    Change, ChangeError, Entry, EntryError, Invite, Join, Leave, Proposal, Record, RecordError,
};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{ChannelId, EpochId};

use crate::group::{NOW, add, agents, append, append_with, consents, founded, heir, invite, record_of, take};

#[test]
fn a_record_is_the_same_for_who_follows_it_and_who_verifies_it_from_its_first_entry() {
    let agents = agents(5);
    let owner = &agents[0];
    let mut record = founded(owner, true);
    let mut follower = record.clone();
    let mut entries = vec![add(&mut record, owner, &[&agents[1], &agents[2], &agents[3]])];
    entries.push(append(&mut record, owner, Change::Admin { agent: agents[1].id(), admin: true }));
    entries.push(append(&mut record, owner, Change::Rename("other works".into())));
    let leave = Leave { channel: record.channel(), epoch: record.epoch(), agent: agents[3].id() };
    let leave = vec![leave.sign(agents[3].signing())];
    entries.push(append_with(&mut record, owner, Change::Leave(vec![agents[3].id()]), leave).unwrap());
    let heir = vec![heir(&record, &agents[2])];
    entries.push(append_with(&mut record, owner, Change::HandOver(agents[2].id()), heir).unwrap());
    let mut invited = vec![invite(&record, &agents[1], &agents[4])];
    let all = consents(&invited.remove(0), agents[1].signing(), &agents[4]);
    entries.push(append_with(&mut record, &agents[2], Change::Add(vec![agents[4].id()]), all).unwrap());
    entries.push(append(&mut record, &agents[2], Change::Remove(vec![owner.id()])));

    for entry in &entries {
        assert_eq!(take(&mut follower, entry, NOW), Ok("next"));
        assert_eq!(take(&mut follower, entry, NOW), Ok("known"));
        assert_eq!(Entry::parse(entry).unwrap().to_bytes(), *entry);
    }
    assert_eq!(follower, record);
    assert_eq!(Record::verify(record.entries(), NOW).unwrap(), record);
    let kept: Vec<_> = record.entries().zip(0..).map(|(bytes, at)| (bytes, record.taken(at).unwrap())).collect();
    assert_eq!(Record::restore(kept).unwrap(), record);

    let roster = record.roster();
    assert_eq!((roster.owner(), roster.name(), roster.audits()), (agents[2].id(), "other works", true));
    let members: Vec<_> = roster.members().map(|(agent, _)| *agent).collect();
    assert_eq!(members, [agents[1].id(), agents[2].id(), agents[4].id()]);
    assert!(roster.is_admin(&agents[1].id()) && !roster.is_admin(&agents[2].id()));
    let before = record.until(EpochId::from_bytes(*record.epoch().as_bytes())).unwrap();
    assert_eq!(&before, roster);
}

fn refused(record: &Record, by: &Identity, change: Change, consents: Vec<Vec<u8>>) -> RecordError {
    record.append(change, consents, NOW, by.signing()).unwrap_err()
}

/// contracts/channel.md C5: only the owner appends.
#[test]
fn nobody_but_the_owner_appends() {
    let agents = agents(3);
    let mut record = record_of(&agents, false);
    append(&mut record, &agents[0], Change::Admin { agent: agents[1].id(), admin: true });
    for by in [&agents[1], &agents[2]] {
        let error = refused(&record, by, Change::Rename("mine".into()), vec![]);
        assert!(matches!(error, RecordError::Entry(EntryError::Crypto(_))), "{error}");
    }
    let consent = vec![heir(&record, &agents[1])];
    append_with(&mut record, &agents[0], Change::HandOver(agents[1].id()), consent).unwrap();
    let error = refused(&record, &agents[0], Change::Rename("mine again".into()), vec![]);
    assert!(matches!(error, RecordError::Entry(EntryError::Crypto(_))), "{error}");
}

/// contracts/channel.md C7, C8.
#[test]
fn what_is_not_so_is_not_changed() {
    let all = agents(5);
    let (owner, member, stranger) = (&all[0], all[1].id(), all[4].id());
    let mut record = record_of(&all[..4], false);
    append(&mut record, owner, Change::Admin { agent: all[2].id(), admin: true });
    for change in [
        Change::Create { owner: owner.id(), audits: false, name: "again".into() },
        Change::Add(vec![member]),
        Change::Remove(vec![stranger]),
        Change::Remove(vec![owner.id()]),
        Change::Leave(vec![owner.id()]),
        Change::Leave(vec![stranger]),
        Change::Admin { agent: stranger, admin: true },
        Change::Admin { agent: owner.id(), admin: true },
        Change::Admin { agent: member, admin: false },
        Change::Admin { agent: all[2].id(), admin: true },
        Change::Rename("works".into()),
        Change::HandOver(stranger),
        Change::HandOver(owner.id()),
        Change::Succeed(stranger),
        Change::Succeed(owner.id()),
    ] {
        assert_eq!(refused(&record, owner, change.clone(), vec![]), RecordError::Impossible, "{change:?}");
    }
    for (change, error) in [
        (Change::Remove(vec![]), ChangeError::Agents),
        (Change::Remove(vec![all[2].id(), all[1].id()]), ChangeError::Agents),
        (Change::Remove(vec![all[1].id(), all[1].id()]), ChangeError::Agents),
        (Change::Rename(String::new()), ChangeError::Name),
        (Change::Rename("n".repeat(129)), ChangeError::Name),
        (Change::Rename("two\nlines".into()), ChangeError::Name),
    ] {
        assert_eq!(refused(&record, owner, change, vec![]), RecordError::Entry(EntryError::Change(error)));
    }
}

/// contracts/channel.md C11 to C13.
#[test]
fn nobody_is_added_without_its_own_consent_to_an_invitation_that_holds() {
    let all = agents(5);
    let (owner, admin, newcomer) = (&all[0], &all[1], &all[4]);
    let mut record = record_of(&all[..4], false);
    append(&mut record, owner, Change::Admin { agent: admin.id(), admin: true });
    let good = invite(&record, owner, newcomer);
    let change = || Change::Add(vec![newcomer.id()]);
    let no = |record: &Record, consents: Vec<Vec<u8>>| refused(record, owner, change(), consents);
    let made = |invite: &Invite, by: &Identity| consents(invite, by.signing(), newcomer);

    assert_eq!(no(&record, vec![]), RecordError::Consent);
    let mut one_more = made(&good, owner);
    one_more.push(vec![]);
    assert_eq!(no(&record, one_more), RecordError::Consent);
    let other_channel = Invite { channel: ChannelId::from_bytes([1; 32]), ..good.clone() };
    let other_agent = Invite { agent: all[3].id(), ..good.clone() };
    let unknown_epoch = Invite { epoch: EpochId::from_bytes([1; 32]), ..good.clone() };
    let over = Invite { expires: nuncio_proto::time::UnixMillis(NOW.0 - 1), ..good.clone() };
    for invite in [other_channel, other_agent, unknown_epoch, over] {
        assert_eq!(no(&record, made(&invite, owner)), RecordError::Consent, "{invite:?}");
    }
    let by_member = invite(&record, &all[2], newcomer);
    assert_eq!(no(&record, made(&by_member, &all[2])), RecordError::Consent, "a member who is no admin");
    // Another invitation than the one that was answered, and an answer by another.
    let [join, _] = made(&good, owner).try_into().unwrap();
    let other = Invite { id: [4; 16], ..good.clone() }.sign(owner.signing());
    assert_eq!(no(&record, vec![join, other]), RecordError::Consent);
    let bytes = good.sign(owner.signing());
    let stolen = Join { channel: good.channel, agent: newcomer.id(), invite: Invite::hash(&bytes) };
    let error = no(&record, vec![stolen.sign(owner.signing()), bytes]);
    assert!(matches!(error, RecordError::Entry(EntryError::Statement(_))), "{error}");

    // An admin's invitation serves for as long as it is one.
    let by_admin = invite(&record, admin, newcomer);
    let mut without = record.clone();
    append(&mut without, owner, Change::Admin { agent: admin.id(), admin: false });
    assert_eq!(no(&without, made(&by_admin, admin)), RecordError::Consent);
    append(&mut without, owner, Change::Admin { agent: admin.id(), admin: true });
    assert_eq!(no(&without, made(&by_admin, admin)), RecordError::Consent, "an admin again, but not since then");
    append_with(&mut record, owner, change(), made(&by_admin, admin)).unwrap();

    // Who was taken out is not put back by what it said before.
    append(&mut record, owner, Change::Remove(vec![newcomer.id()]));
    assert_eq!(no(&record, made(&by_admin, admin)), RecordError::Consent);
    let anew = invite(&record, owner, newcomer);
    append_with(&mut record, owner, change(), made(&anew, owner)).unwrap();
}

/// contracts/channel.md C14.
#[test]
fn nobody_leaves_by_another_word_than_its_own_of_now() {
    let agents = agents(3);
    let (owner, leaver) = (&agents[0], &agents[2]);
    let mut record = record_of(&agents, false);
    let change = || Change::Leave(vec![leaver.id()]);
    let word = Leave { channel: record.channel(), epoch: record.epoch(), agent: leaver.id() };
    for (word, by) in [
        (Leave { channel: ChannelId::from_bytes([1; 32]), ..word.clone() }, leaver),
        (Leave { epoch: EpochId::from_bytes([1; 32]), ..word.clone() }, leaver),
        (Leave { agent: agents[1].id(), ..word.clone() }, &agents[1]),
    ] {
        let consents = vec![word.sign(by.signing())];
        assert_eq!(refused(&record, owner, change(), consents), RecordError::Consent, "{word:?}");
    }
    assert_eq!(refused(&record, owner, change(), vec![]), RecordError::Consent);
    let forged = refused(&record, owner, change(), vec![word.sign(owner.signing())]);
    assert!(matches!(forged, RecordError::Entry(EntryError::Statement(_))));
    let consents = || vec![word.sign(leaver.signing())];
    append_with(&mut record, owner, change(), consents()).unwrap();
    add(&mut record, owner, &[leaver]);
    assert_eq!(refused(&record, owner, change(), consents()), RecordError::Consent, "said before it came back");
    let needless = refused(&record, owner, Change::Remove(vec![leaver.id()]), consents());
    assert_eq!(needless, RecordError::Consent, "no consent is wanted");
}

/// contracts/channel.md C16.
#[test]
fn a_proposal_counts_only_of_an_admin_of_now_and_then() {
    let all = agents(5);
    let (owner, admin) = (&all[0], &all[1]);
    let mut record = record_of(&all[..4], false);
    let early = record.epoch();
    append(&mut record, owner, Change::Admin { agent: admin.id(), admin: true });
    let change = Change::Remove(vec![all[3].id()]);
    let (channel, epoch) = (record.channel(), record.epoch());
    let proposal = Proposal { channel, epoch, by: admin.id(), change };
    let bytes = proposal.sign(admin.signing());
    let proposal = Proposal::parse(&bytes).unwrap();
    assert_eq!(record.check_proposal(&proposal), Ok(()));
    let by_member = Proposal { by: all[2].id(), ..proposal.clone() };
    assert_eq!(record.check_proposal(&by_member), Err(RecordError::NotAdmin));
    assert_eq!(
        record.check_proposal(&Proposal { by: owner.id(), ..proposal.clone() }),
        Err(RecordError::NotAdmin),
        "an owner appends"
    );
    assert!(Proposal::parse(&by_member.sign(admin.signing())).is_err(), "signed by another than it says");
    assert_eq!(record.check_proposal(&Proposal { epoch: early, ..proposal.clone() }), Err(RecordError::NotAdmin));
    let (channel, epoch) = (ChannelId::from_bytes([1; 32]), EpochId::from_bytes([1; 32]));
    assert_eq!(record.check_proposal(&Proposal { channel, ..proposal.clone() }), Err(RecordError::Channel));
    assert_eq!(record.check_proposal(&Proposal { epoch, ..proposal.clone() }), Err(RecordError::UnknownEpoch));
    for change in [Change::HandOver(admin.id()), Change::Succeed(admin.id()), Change::Leave(vec![all[3].id()])] {
        assert_eq!(record.check_proposal(&Proposal { change, ..proposal.clone() }), Err(RecordError::Stale));
    }

    let mut demoted = record.clone();
    append(&mut demoted, owner, Change::Admin { agent: admin.id(), admin: false });
    assert_eq!(demoted.check_proposal(&proposal), Err(RecordError::NotAdmin), "dated back");
    append(&mut demoted, owner, Change::Admin { agent: admin.id(), admin: true });
    assert_eq!(demoted.check_proposal(&proposal), Err(RecordError::NotAdmin), "from before it was one again");
    for number in 0..=limit::CHANNEL_BEHIND_MAX {
        let verdict = record.check_proposal(&proposal);
        assert_eq!(verdict, Ok(()), "{number} entries back");
        append(&mut record, owner, Change::Rename(format!("name {number}")));
    }
    assert_eq!(record.check_proposal(&proposal), Err(RecordError::Stale));
}

#[test]
fn every_altered_or_missing_byte_of_an_entry_is_refused() {
    let agents = agents(3);
    let record = record_of(&agents[..2], false);
    let leave = Leave { channel: record.channel(), epoch: record.epoch(), agent: agents[1].id() };
    let consents_of_leave = vec![leave.sign(agents[1].signing())];
    let invited = invite(&record, &agents[0], &agents[2]);
    let joins = consents(&invited, agents[0].signing(), &agents[2]);
    let signing = agents[0].signing();
    let entries = [
        record.append(Change::Add(vec![agents[2].id()]), joins, NOW, signing).unwrap().0,
        record.append(Change::Leave(vec![agents[1].id()]), consents_of_leave, NOW, signing).unwrap().0,
    ];
    for bytes in entries {
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut altered = bytes.clone();
                altered[at] ^= bit;
                assert!(record.check(&altered, NOW).is_err(), "byte {at}");
            }
            assert!(record.check(&bytes[..at], NOW).is_err(), "cut at {at}");
        }
        assert!(record.check(&[bytes.as_slice(), &[0]].concat(), NOW).is_err());
    }
    let first = record.entries().next().unwrap().to_vec();
    for at in 0..first.len() {
        let mut altered = first.clone();
        altered[at] ^= 1;
        assert!(Record::begin(&altered, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn a_record_without_its_beginning_or_with_a_gap_is_none() {
    let agents = agents(2);
    let mut record = record_of(&agents, false);
    append(&mut record, &agents[0], Change::Rename("other".into()));
    let entries: Vec<Vec<u8>> = record.entries().map(<[u8]>::to_vec).collect();
    let verify = |at: &[usize]| Record::verify(at.iter().map(|at| entries[*at].as_slice()), NOW);
    assert!(verify(&[0, 1, 2]).is_ok());
    assert_eq!(verify(&[]).unwrap_err(), RecordError::NotFirst);
    assert_eq!(verify(&[1, 2]).unwrap_err(), RecordError::NotFirst);
    assert_eq!(verify(&[0, 2]).unwrap_err(), RecordError::UnknownEpoch);
    assert_eq!(verify(&[0, 1, 1]).unwrap_err(), RecordError::UnknownEpoch);
    let mut other = Record::create(agents[0].signing(), "works", false, NOW, [8; 32]).unwrap();
    assert_ne!(other.channel(), record.channel(), "the same name, owner and time: another channel");
    assert_eq!(take(&mut other, &entries[1], NOW), Err(RecordError::UnknownEpoch));
}

#[test]
fn an_entry_is_applied_to_the_state_that_it_was_judged_by() {
    let agents = agents(1);
    let mut record = founded(&agents[0], false);
    let (_, one) = record.append(Change::Rename("one".into()), vec![], NOW, agents[0].signing()).unwrap();
    let (_, two) = record.append(Change::Rename("two".into()), vec![], NOW, agents[0].signing()).unwrap();
    record.apply(one).unwrap();
    assert_eq!(record.apply(two).unwrap_err(), RecordError::Moved);
}

#[test]
fn members_and_admins_are_bounded() {
    let all = agents(limit::CHANNEL_MEMBERS_MAX as u64 + 1);
    let mut record = record_of(&all[..limit::CHANNEL_MEMBERS_MAX], false);
    assert_eq!(record.roster().members().len(), limit::CHANNEL_MEMBERS_MAX);
    assert_eq!(record.entries().len(), 17, "64 at a time");
    let last = &all[limit::CHANNEL_MEMBERS_MAX];
    let change = Change::Add(vec![last.id()]);
    let more = consents(&invite(&record, &all[0], last), all[0].signing(), last);
    assert_eq!(refused(&record, &all[0], change, more), RecordError::Full);
    let many = Change::Remove(all[1..=65].iter().map(Identity::id).collect());
    assert_eq!(refused(&record, &all[0], many, vec![]), RecordError::Entry(EntryError::Change(ChangeError::Agents)));
    for admin in &all[1..=limit::CHANNEL_ADMINS_MAX] {
        append(&mut record, &all[0], Change::Admin { agent: admin.id(), admin: true });
    }
    let change = Change::Admin { agent: all[20].id(), admin: true };
    assert_eq!(refused(&record, &all[0], change, vec![]), RecordError::Full);
    assert!(record.entries().all(|entry| entry.len() <= limit::CHANNEL_ENTRY_LEN_MAX));
    assert_eq!(Record::verify(record.entries(), NOW).unwrap(), record);
}

/// contracts/channel.md C60.
#[test]
fn a_hand_over_needs_the_heirs_word_of_now() {
    let all = agents(4);
    let (owner, one, other) = (&all[0], &all[1], &all[2]);
    let mut record = record_of(&all, false);
    let to = |agent: &Identity| Change::HandOver(agent.id());
    let early = heir(&record, one);
    for consents in [vec![], vec![heir(&record, other)], vec![early.clone(), early.clone()]] {
        assert_eq!(refused(&record, owner, to(one), consents), RecordError::Consent);
    }
    // Its word holds for a while, and to this owner.
    append(&mut record, owner, Change::Rename("other works".into()));
    let mut later = record.clone();
    append_with(&mut later, owner, to(one), vec![early.clone()]).unwrap();
    let back = vec![heir(&later, owner)];
    append_with(&mut later, one, to(owner), back).unwrap();
    assert_eq!(refused(&later, owner, to(one), vec![early.clone()]), RecordError::Consent);
    for number in 0..limit::CHANNEL_BEHIND_MAX {
        append(&mut record, owner, Change::Rename(format!("works {number}")));
    }
    assert_eq!(refused(&record, owner, to(one), vec![early]), RecordError::Consent);
    // And for as long as it is a member without a break.
    let word = heir(&record, other);
    append(&mut record, owner, Change::Remove(vec![other.id()]));
    add(&mut record, owner, &[other]);
    assert_eq!(refused(&record, owner, to(other), vec![word]), RecordError::Consent);
    let word = heir(&record, other);
    append_with(&mut record, owner, to(other), vec![word]).unwrap();
    assert_eq!((record.roster().owner(), record.roster().owner_since()), (other.id(), record.roster().number()));
}
