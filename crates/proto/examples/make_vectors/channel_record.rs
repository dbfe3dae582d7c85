//! Area `channel-record`: who is in a channel (contracts/channel.md sections 3 and 4).

use nuncio_contracts::registry::{change, label, time};
use nuncio_proto::channel::{Change, Entry, Heir, Invite, Join, Leave, Record};
use nuncio_proto::crypto;
use nuncio_proto::ids::EpochId;
use nuncio_proto::time::UnixMillis;
use serde_json::{Value, json};

use super::cbor::{Array, Bool, Item, Null, Uint, bytes, text};
use super::channel::{Scene, signing};
use super::kit::{Actor, Case, NOW, fixed, hex};

pub(crate) fn cases() -> Vec<Case> {
    [honest_records(), hostile_records(), rivals()].into_iter().flatten().collect()
}

/// What comes behind a record that is verified: bytes, the time, and what they are to it.
type Then = (Vec<u8>, UnixMillis, &'static str);

fn record_case(name: &str, comment: &str, record: &Record, then: &[Then], after: &Record) -> Case {
    let input = json!({
        "entries": record.entries().map(hex).collect::<Vec<_>>(),
        "now": NOW.0,
        "then": then.iter().map(|(bytes, now, _)| json!({ "entry": hex(bytes), "now": now.0 })).collect::<Vec<_>>(),
    });
    let roster = after.roster();
    let members = roster.members().map(|(agent, member)| json!([agent.to_string(), member.admin_since.is_some()]));
    let expect = json!({
        "channel": hex(after.channel().as_bytes()),
        "epoch": hex(after.epoch().as_bytes()),
        "number": roster.number(),
        "owner": roster.owner().to_string(),
        "name": roster.name(),
        "audits": roster.audits(),
        "members": members.collect::<Vec<_>>(),
        "roster": hex(roster.hash()),
        "then": then.iter().map(|(_, _, what)| json!(what)).collect::<Vec<_>>(),
    });
    Case::valid("channel-record", name, comment, input, expect)
}

fn no_record(name: &str, comment: &str, entries: &[Vec<u8>], error: &str) -> Case {
    let entries: Vec<Value> = entries.iter().map(hex).collect();
    let input = json!({ "entries": entries, "now": NOW.0, "then": [] });
    Case::refused("channel-record", name, comment, input, error)
}

fn honest_records() -> Vec<Case> {
    let mut scene = Scene::new(6, 1, true);
    let founded = scene.record.clone();
    let mut then: Vec<Then> = Vec::new();
    for newcomer in 1..4 {
        then.push((scene.add(newcomer), NOW, "next"));
    }
    then.push((scene.admin(1), NOW, "next"));
    then.push((scene.append(Change::Rename("other works".into()), vec![]), NOW, "next"));
    let leave = Leave { channel: scene.record.channel(), epoch: scene.record.epoch(), agent: scene.id(3) };
    let consents = vec![leave.sign(signing(&scene.members[3]))];
    then.push((scene.append(Change::Leave(vec![scene.id(3)]), consents), NOW, "next"));
    let heir = vec![scene.heir(2).sign(signing(&scene.members[2]))];
    then.push((scene.append(Change::HandOver(scene.id(2)), heir), NOW, "next"));
    let consents = scene.joins(&scene.invite(1, 4), 1, 4);
    then.push((scene.append(Change::Add(vec![scene.id(4)]), consents), NOW, "next"));
    then.push((scene.append(Change::Remove(vec![scene.id(0)]), vec![]), NOW, "next"));
    let known = then[3].0.clone();
    then.push((known, NOW, "known"));
    vec![
        record_case("founded", "one entry", &founded, &[], &founded),
        record_case("whole", "every change but a succession", &scene.record, &[], &scene.record),
        record_case("followed", "the same, entry by entry", &founded, &then, &scene.record),
    ]
}

/// An entry that says anything, by anybody.
fn forged(number: u64, prev: &EpochId, change: Item, roster: [u8; 32], consents: &[Vec<u8>], by: &Actor) -> Vec<u8> {
    let body = vec![Uint(1), Uint(number), bytes(prev.as_bytes()), Uint(NOW.0), change, bytes(roster)];
    let body = Array(body);
    let signature = by.identity.signing().sign(label::CHANNEL_ENTRY, &body.encode());
    Array(vec![body, bytes(signature), Array(consents.iter().map(bytes).collect())]).encode()
}

fn hostile_records() -> Vec<Case> {
    let mut scene = Scene::new(6, 4, false);
    scene.admin(1);
    let (on, number) = (scene.record.epoch(), u64::from(scene.record.roster().number()) + 1);
    let good: Vec<Vec<u8>> = scene.record.entries().map(<[u8]>::to_vec).collect();
    let after = |change: &Change| scene.record.draft(&on, change.clone(), NOW).unwrap().roster;
    let item = |what: u8, agents: &[usize], yes: Item, name: Item| {
        let agents = agents.iter().map(|at| bytes(scene.id(*at).as_bytes())).collect();
        Array(vec![Uint(what.into()), Array(agents), yes, name])
    };
    let renamed = || item(change::RENAME, &[], Null, text("new"));
    let rename_hash = after(&Change::Rename("new".into()));
    let with = |entry: Vec<u8>| [good.clone(), vec![entry]].concat();
    let no = |name: &str, comment: &str, entry: Vec<u8>, error: &str| no_record(name, comment, &with(entry), error);
    let owner = &scene.members[0];
    let entry =
        |change: Item, roster: [u8; 32], consents: &[Vec<u8>]| forged(number, &on, change, roster, consents, owner);
    let wrong =
        |name: &str, change: Item| no(name, "changes what is not so", entry(change, [0; 32], &[]), "impossible");
    let mut cases = vec![
        no(
            "by-admin",
            "an admin appends",
            forged(number, &on, renamed(), rename_hash, &[], &scene.members[1]),
            "bad-signature",
        ),
        no("number", "leaves a number out", forged(number + 1, &on, renamed(), rename_hash, &[], owner), "number"),
        no("roster", "says another roster", entry(renamed(), [0; 32], &[]), "roster"),
        no("needless", "a consent that nobody asked for", entry(renamed(), rename_hash, &[vec![1]]), "consent"),
        no(
            "other-prev",
            "on an epoch of no entry",
            forged(number, &EpochId::from_bytes([1; 32]), renamed(), rename_hash, &[], owner),
            "unknown-epoch",
        ),
        wrong("add-member", item(change::ADD, &[1], Null, Null)),
        wrong("remove-stranger", item(change::REMOVE, &[5], Null, Null)),
        wrong("remove-owner", item(change::REMOVE, &[0], Null, Null)),
        wrong("leave-owner", item(change::LEAVE, &[0], Null, Null)),
        wrong("admin-stranger", item(change::ADMIN, &[5], Bool(true), Null)),
        wrong("admin-owner", item(change::ADMIN, &[0], Bool(true), Null)),
        wrong("admin-again", item(change::ADMIN, &[1], Bool(true), Null)),
        wrong("same-name", item(change::RENAME, &[], Null, text("works"))),
        wrong("hand-over-stranger", item(change::HAND_OVER, &[5], Null, Null)),
        wrong("hand-over-itself", item(change::HAND_OVER, &[0], Null, Null)),
        wrong("create-again", item(change::CREATE, &[0], Bool(false), text("works"))),
        no_record("nothing", "no entry at all", &[], "not-first"),
        no_record("without-first", "begins with its second", &good[1..], "not-first"),
        no_record("gap", "an entry is left out", &[good[0].clone(), good[2].clone()], "unknown-epoch"),
        no_record("twice", "an entry comes twice", &with(good.last().unwrap().clone()), "unknown-epoch"),
    ];
    let first = item(change::CREATE, &[1], Bool(false), text("works"));
    let stolen = forged(0, &EpochId::from_bytes(fixed("x")), first, [0; 32], &[], owner);
    cases.push(no_record("founded-by-another", "signed by another than the owner", &[stolen], "bad-signature"));

    // Joins.
    let added = after(&Change::Add(vec![scene.id(5)]));
    let add = |consents: &[Vec<u8>]| entry(item(change::ADD, &[5], Null, Null), added, consents);
    let invite = scene.invite(0, 5);
    let joined = |invite: &Invite, by: usize| add(&scene.joins(invite, by, 5));
    let none = |name: &str, comment: &str, entry: Vec<u8>| no(name, comment, entry, "consent");
    let early = Invite { expires: UnixMillis(NOW.0 - 1), ..invite.clone() };
    let strange = Invite { epoch: EpochId::from_bytes([1; 32]), ..invite.clone() };
    let for_another = Invite { agent: scene.id(4), ..invite.clone() };
    let right = scene.joins(&invite, 0, 5);
    let other = Invite { id: [9; 16], ..invite.clone() }.sign(signing(owner));
    let before_admin = Invite { epoch: first_epoch(&scene.record), ..scene.invite(1, 5) };
    cases.extend([
        none("join-without", "nobody consents", add(&[])),
        none("join-half", "a consent without its invitation", add(&right[..1])),
        none("join-expired", "an invitation that is over", joined(&early, 0)),
        none("join-epoch", "an invitation of no epoch", joined(&strange, 0)),
        none("join-for-another", "an invitation for another", joined(&for_another, 0)),
        none("join-by-member", "an invitation by no admin", joined(&scene.invite(2, 5), 2)),
        none("join-before-admin", "an invitation from before its maker was admin", joined(&before_admin, 1)),
        none("join-other", "a consent to another invitation", add(&[right[0].clone(), other])),
        no(
            "join-forged",
            "the owner consents for it",
            add(&[forged_join(&invite, owner, &right[1]), right[1].clone()]),
            "bad-signature",
        ),
    ]);
    let mut again = Scene::new(6, 4, false);
    let first_time = again.joins(&again.invite(0, 5), 0, 5);
    again.append(Change::Add(vec![again.id(5)]), first_time.clone());
    again.append(Change::Remove(vec![again.id(5)]), vec![]);
    let (on, draft) =
        (again.record.epoch(), again.record.draft(&again.record.epoch(), Change::Add(vec![again.id(5)]), NOW).unwrap());
    let back = forged(draft.number.into(), &on, item(change::ADD, &[5], Null, Null), draft.roster, &first_time, owner);
    let entries: Vec<Vec<u8>> = again.record.entries().map(<[u8]>::to_vec).chain([back]).collect();
    cases.push(no_record("join-again", "put back by what it said before it went", &entries, "consent"));

    // Leaves.
    let gone = after(&Change::Leave(vec![scene.id(3)]));
    let leave = |word: Leave, by: usize| {
        entry(item(change::LEAVE, &[3], Null, Null), gone, &[word.sign(signing(&scene.members[by]))])
    };
    let word = Leave { channel: scene.record.channel(), epoch: scene.record.epoch(), agent: scene.id(3) };
    cases.extend([
        none("leave-of-another", "another's word", leave(Leave { agent: scene.id(2), ..word.clone() }, 2)),
        none(
            "leave-epoch",
            "a word of no epoch",
            leave(Leave { epoch: EpochId::from_bytes([1; 32]), ..word.clone() }, 3),
        ),
        none(
            "leave-early",
            "a word from before it joined",
            leave(Leave { epoch: first_epoch(&scene.record), ..word.clone() }, 3),
        ),
        no("leave-forged", "its word by the owner", leave(word, 0), "bad-signature"),
    ]);
    cases.extend(heirs());
    cases
}

/// contracts/channel.md C60.
fn heirs() -> Vec<Case> {
    let mut scene = Scene::new(6, 4, false);
    let was_owner = scene.heir(2);
    let (before, owner) = (scene.heir(3), vec![scene.heir(1).sign(signing(&scene.members[1]))]);
    scene.append(Change::HandOver(scene.id(1)), owner);
    let back = vec![scene.heir(0).sign(signing(&scene.members[0]))];
    scene.append(Change::HandOver(scene.id(0)), back);
    let (on, word) = (scene.record.epoch(), scene.heir(2));
    let signed = |word: &Heir, by: usize| word.sign(signing(&scene.members[by]));
    let to = |agent: usize, consents: &[Vec<u8>]| {
        let draft = scene.record.draft(&on, Change::HandOver(scene.id(agent)), NOW).unwrap();
        let change =
            Array(vec![Uint(change::HAND_OVER.into()), Array(vec![bytes(scene.id(agent).as_bytes())]), Null, Null]);
        let entry = forged(draft.number.into(), &on, change, draft.roster, consents, &scene.members[0]);
        scene.record.entries().map(<[u8]>::to_vec).chain([entry]).collect::<Vec<_>>()
    };
    let none = |name: &str, comment: &str, entries: &[Vec<u8>], error: &str| no_record(name, comment, entries, error);
    let strange = Heir { epoch: EpochId::from_bytes([1; 32]), ..word.clone() };
    let early = Heir { epoch: first_epoch(&scene.record), ..word.clone() };
    let elsewhere = Heir { channel: nuncio_proto::ids::ChannelId::from_bytes([1; 32]), ..word.clone() };
    let right = signed(&word, 2);
    vec![
        none("heir-none", "nobody consents", &to(2, &[]), "consent"),
        none("heir-two", "a consent too many", &to(2, &[right.clone(), right.clone()]), "consent"),
        none("heir-of-another", "another's word", &to(3, &[right]), "consent"),
        none("heir-to-another", "what it said to an owner of before", &to(2, &[signed(&was_owner, 2)]), "consent"),
        none("heir-before", "from before, and of another", &to(3, &[signed(&before, 3)]), "consent"),
        none("heir-early", "a word from before it joined", &to(2, &[signed(&early, 2)]), "consent"),
        none("heir-epoch", "a word of no epoch", &to(2, &[signed(&strange, 2)]), "consent"),
        none("heir-elsewhere", "a word of another channel", &to(2, &[signed(&elsewhere, 2)]), "consent"),
        none("heir-forged", "its word by the owner", &to(2, &[signed(&word, 0)]), "bad-signature"),
    ]
}

fn first_epoch(record: &Record) -> EpochId {
    Entry::parse(record.entries().next().unwrap()).unwrap().epoch()
}

fn forged_join(invite: &Invite, by: &Actor, invited: &[u8]) -> Vec<u8> {
    let join = Join { channel: invite.channel, agent: invite.agent, invite: crypto::sha256(&[invited]) };
    join.sign(signing(by))
}

/// Forks and successions.
fn rivals() -> Vec<Case> {
    let mut scene = Scene::new(6, 5, false);
    for admin in 1..4 {
        scene.admin(admin);
    }
    let (base, on) = (scene.record.clone(), scene.record.epoch());
    let removed = scene.append(Change::Remove((1..4).map(|at| scene.id(at)).collect()), vec![]);
    let renamed = scene.append(Change::Rename("mine".into()), vec![]);
    let captured = scene.record.clone();
    let answer = scene.succession(&base, on, 2, &[1, 2]);
    let rival = scene.succession(&base, on, 1, &[1, 3]);
    let (weak, weaker) = (scene.succession(&base, on, 2, &[2]), scene.succession(&base, on, 3, &[3]));
    let by_member = scene.succession(&base, on, 2, &[2, 4]);
    let twice = scene.succession(&base, on, 2, &[2, 2]);
    let descending = scene.succession(&base, on, 2, &[2, 1]);
    let by_owner = scene.succession(&base, on, 2, &[0, 2]);
    let (_, other) =
        (0, base.append(Change::Rename("yours".into()), vec![], NOW, signing(&scene.members[0])).unwrap().0);
    let late = NOW.plus(time::CHANNEL_SUCCESSION_WINDOW);
    let last = UnixMillis(late.0 - 1);
    let mut succeeded = base.clone();
    let nuncio_proto::channel::Judged::Next(next) = succeeded.check(&answer, NOW).unwrap() else { panic!("next") };
    succeeded.apply(*next).unwrap();
    let no = |bytes: &Vec<u8>, error: &'static str| (bytes.clone(), NOW, error);
    vec![
        record_case(
            "succession",
            "two of three admins make one of them owner",
            &base,
            &[no(&answer, "next")],
            &succeeded,
        ),
        record_case(
            "captured",
            "a thief of the owner's key has removed all admins, and is answered; it is heard no more",
            &captured,
            &[(answer.clone(), last, "instead"), no(&removed, "outranked"), no(&renamed, "unknown-epoch")],
            &succeeded,
        ),
        record_case(
            "captured-too-long",
            "the answer comes when the thief's entry is here for seven days",
            &captured,
            &[(answer.clone(), late, "too-late")],
            &captured,
        ),
        record_case(
            "successions-two",
            "of two the first stays",
            &base,
            &[no(&answer, "next"), no(&rival, "fork"), no(&weaker, "majority")],
            &succeeded,
        ),
        record_case(
            "no-majority",
            "supports that are too few, not of admins, twice, or not in order",
            &base,
            &[
                no(&weak, "majority"),
                no(&by_member, "consent"),
                no(&twice, "consent"),
                no(&descending, "consent"),
                no(&by_owner, "consent"),
            ],
            &base,
        ),
        record_case("fork", "two entries on one epoch: the first stays", &captured, &[no(&other, "fork")], &captured),
        record_case(
            "no-fork",
            "an entry of a stranger on an epoch that has one is no evidence",
            &captured,
            &[no(
                &forged(
                    u64::from(base.roster().number()) + 1,
                    &on,
                    Array(vec![Uint(change::RENAME.into()), Array(vec![]), Null, text("x")]),
                    [0; 32],
                    &[],
                    &scene.members[5],
                ),
                "bad-signature",
            )],
            &captured,
        ),
    ]
}
