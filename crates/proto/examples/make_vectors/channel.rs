//! Areas `channel-statement` and `channel-entry`: what a channel's record is made of (contracts/channel.md sections 1 to 4).

use nuncio_contracts::registry::{change, label, limit};
use nuncio_proto::channel::{Change, Entry, Heir, Invite, Join, Leave, Proposal, Record, Support};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::EpochId;
use serde_json::{Value, json};

use super::cbor::{Array, Bool, Item, Null, Uint, bytes, text};
use super::kit::{Actor, Case, NOW, actor, fixed, hex};

pub(crate) fn cases() -> Vec<Case> {
    [statements(), entries()].into_iter().flatten().collect()
}

/// Actors in the order of their keys.
pub(crate) fn members(count: usize) -> Vec<Actor> {
    let mut all: Vec<Actor> = (0..count).map(|at| actor(&format!("channel member {at}"))).collect();
    all.sort_by_key(|actor| actor.identity.id());
    all
}

pub(crate) fn signing(actor: &Actor) -> &SigningKey {
    actor.identity.signing()
}

/// A record with its entries as it grows.
pub(crate) struct Scene {
    pub(crate) members: Vec<Actor>,
    pub(crate) record: Record,
}

impl Scene {
    /// The first of so many is the owner; so many have joined.
    pub(crate) fn new(count: usize, joined: usize, audits: bool) -> Self {
        let members = members(count);
        let record = Record::create(signing(&members[0]), "works", audits, NOW, fixed("channel")).unwrap();
        let mut scene = Self { members, record };
        for newcomer in 1..joined {
            scene.add(newcomer);
        }
        scene
    }

    pub(crate) fn add(&mut self, newcomer: usize) -> Vec<u8> {
        let consents = self.joins(&self.invite(0, newcomer), 0, newcomer);
        self.append(Change::Add(vec![self.members[newcomer].identity.id()]), consents)
    }

    pub(crate) fn invite(&self, by: usize, agent: usize) -> Invite {
        Invite {
            channel: self.record.channel(),
            epoch: self.record.epoch(),
            by: self.members[by].identity.id(),
            agent: self.members[agent].identity.id(),
            expires: NOW.plus(60_000),
            id: fixed("invitation"),
        }
    }

    pub(crate) fn joins(&self, invite: &Invite, by: usize, agent: usize) -> Vec<Vec<u8>> {
        let bytes = invite.sign(signing(&self.members[by]));
        let (agent, channel) = (&self.members[agent], invite.channel);
        let join = Join { channel, agent: agent.identity.id(), invite: Invite::hash(&bytes) };
        vec![join.sign(signing(agent)), bytes]
    }

    /// The owner's next entry, whoever that is.
    pub(crate) fn append(&mut self, change: Change, consents: Vec<Vec<u8>>) -> Vec<u8> {
        let owner = self.record.roster().owner();
        let owner = self.members.iter().find(|member| member.identity.id() == owner).unwrap();
        let (bytes, next) = self.record.append(change, consents, NOW, signing(owner)).unwrap();
        self.record.apply(next).unwrap();
        bytes
    }

    pub(crate) fn heir(&self, at: usize) -> Heir {
        Heir { channel: self.record.channel(), epoch: self.record.epoch(), agent: self.id(at) }
    }

    pub(crate) fn id(&self, at: usize) -> nuncio_proto::ids::AgentId {
        self.members[at].identity.id()
    }

    pub(crate) fn admin(&mut self, at: usize) -> Vec<u8> {
        self.append(Change::Admin { agent: self.id(at), admin: true }, vec![])
    }

    pub(crate) fn entries(&self) -> Vec<Value> {
        self.record.entries().map(hex).collect()
    }

    /// A succession of one, on an epoch, with the support of some.
    pub(crate) fn succession(&self, record: &Record, on: EpochId, new: usize, by: &[usize]) -> Vec<u8> {
        let draft = record.draft(&on, Change::Succeed(self.id(new)), NOW).unwrap();
        let support = |by: &usize| {
            let support = Support { channel: record.channel(), agent: self.id(*by), body: draft.body_hash() };
            support.sign(signing(&self.members[*by]))
        };
        let consents = by.iter().map(support).collect();
        draft.sign(signing(&self.members[new]), consents).to_bytes()
    }
}

fn statements() -> Vec<Case> {
    const AREA: &str = "channel-statement";
    let scene = Scene::new(3, 2, false);
    let (channel, epoch) = (scene.record.channel(), scene.record.epoch());
    let (owner, other) = (&scene.members[0], &scene.members[1]);
    let (id, did) = (|at: usize| scene.id(at), |at: usize| scene.members[at].did());
    let base = || json!({ "channel": hex(channel.as_bytes()), "epoch": hex(epoch.as_bytes()) });
    let with = |mut value: Value, more: Value| {
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let yes = |what: &str, comment: &str, bytes: &[u8], expect: Value| {
        Case::valid(AREA, what, comment, json!({ "what": what, "bytes": hex(bytes) }), expect)
    };
    let no = |what: &str, name: &str, comment: &str, bytes: &[u8], error: &str| {
        let input = json!({ "what": what, "bytes": hex(bytes) });
        Case::refused(AREA, &format!("{what}-{name}"), comment, input, error)
    };
    let invite = scene.invite(0, 2);
    let invited = invite.sign(signing(owner));
    let join = Join { channel, agent: id(1), invite: Invite::hash(&invited) };
    let leave = Leave { channel, epoch, agent: id(1) };
    let proposal = Proposal { channel, epoch, by: id(1), change: Change::Remove(vec![id(2)]) };
    let support = Support { channel, agent: id(1), body: fixed("entry body") };
    let heir = Heir { channel, epoch, agent: id(1) };
    let channel_alone = json!({ "channel": hex(channel.as_bytes()), "agent": did(1) });
    let removed = json!({ "what": change::REMOVE, "agents": [did(2)], "yes": null, "name": null });
    let mut cases = vec![
        yes(
            "invite",
            "the owner asks an agent to join",
            &invited,
            with(
                base(),
                json!({ "by": did(0), "agent": did(2), "expires": invite.expires.0, "id": hex(invite.id),
                        "hash": hex(Invite::hash(&invited)) }),
            ),
        ),
        yes(
            "join",
            "an agent consents",
            &join.sign(signing(other)),
            with(channel_alone.clone(), json!({ "invite": hex(join.invite) })),
        ),
        yes("leave", "a member goes", &leave.sign(signing(other)), with(base(), json!({ "agent": did(1) }))),
        yes(
            "proposal",
            "an admin proposes",
            &proposal.sign(signing(other)),
            with(base(), json!({ "by": did(1), "change": removed })),
        ),
        yes(
            "support",
            "an admin is for a succession",
            &support.sign(signing(other)),
            with(channel_alone, json!({ "body": hex(support.body) })),
        ),
        yes(
            "heir",
            "a member consents to be the owner",
            &heir.sign(signing(other)),
            with(base(), json!({ "agent": did(1) })),
        ),
    ];
    // Each signed by another than it names, cut, and with an item more.
    for (what, right, by_another) in [
        ("invite", invited.clone(), invite.sign(signing(other))),
        ("join", join.sign(signing(other)), join.sign(signing(owner))),
        ("leave", leave.sign(signing(other)), leave.sign(signing(owner))),
        ("proposal", proposal.sign(signing(other)), proposal.sign(signing(owner))),
        ("support", support.sign(signing(other)), support.sign(signing(owner))),
        ("heir", heir.sign(signing(other)), heir.sign(signing(owner))),
    ] {
        cases.push(no(what, "by-another", "signed by another than it names", &by_another, "bad-signature"));
        cases.push(no(what, "cut", "its last byte is missing", &right[..right.len() - 1], "codec"));
        cases.push(no(what, "behind", "a byte behind it", &[right.as_slice(), &[0]].concat(), "codec"));
        let long = vec![0; limit::CHANNEL_STATEMENT_LEN_MAX + 1];
        cases.push(no(what, "too-long", "longer than any", &long, "too-long"));
    }
    // A leave has the form of a join: the label tells them apart.
    let as_join = [leave.sign(signing(other))].concat();
    cases.push(no("join", "of-a-leave", "a leave, of the same form", &as_join, "bad-signature"));
    let as_heir = leave.sign(signing(other));
    cases.push(no("heir", "of-a-leave", "a leave, of the same form", &as_heir, "bad-signature"));
    let hash = |value: &[u8; 32]| bytes(value);
    let signed = |label: &[u8], body: Item, by: &Actor| {
        let signature = by.identity.signing().sign(label, &body.encode());
        Array(vec![body, bytes(signature)]).encode()
    };
    let body = Array(vec![hash(channel.as_bytes()), hash(id(1).as_bytes()), hash(&support.body)]);
    let other_label = signed(label::CHANNEL_JOIN, body, other);
    cases.push(no("support", "of-a-join", "signed as a join, of the same form", &other_label, "bad-signature"));
    let propose = |change: Item| {
        let parts = vec![hash(channel.as_bytes()), hash(epoch.as_bytes()), hash(id(1).as_bytes()), change];
        signed(label::CHANNEL_PROPOSE, Array(parts), other)
    };
    let nobody = Array(vec![Uint(change::REMOVE.into()), Array(vec![]), Null, Null]);
    cases.push(no("proposal", "nobody", "removes nobody", &propose(nobody), "agents"));
    let unknown = Array(vec![Uint(9), Array(vec![hash(id(2).as_bytes())]), Null, Null]);
    cases.push(no("proposal", "unknown", "a change that there is not", &propose(unknown), "kind"));
    cases
}

/// A change as an expectation.
fn change_json(what: u8, agents: &[String], yes: Option<bool>, name: Option<&str>) -> Value {
    json!({ "what": what, "agents": agents, "yes": yes, "name": name })
}

fn entries() -> Vec<Case> {
    const AREA: &str = "channel-entry";
    let scene = Scene::new(70, 3, true);
    let [first, second, third] = scene.record.entries().collect::<Vec<_>>().try_into().unwrap();
    let yes = |name: &str, comment: &str, bytes: &[u8], change: Value| {
        let entry = Entry::parse(bytes).unwrap();
        let expect = json!({
            "number": entry.number,
            "prev": hex(entry.prev.as_bytes()),
            "at": entry.at.0,
            "change": change,
            "roster": hex(entry.roster),
            "consents": entry.consents.len(),
            "body_hash": hex(entry.body_hash()),
            "epoch": hex(entry.epoch().as_bytes()),
            "channel": hex(entry.channel().as_bytes()),
        });
        Case::valid(AREA, name, comment, json!({ "bytes": hex(bytes) }), expect)
    };
    let no = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(bytes) }), error)
    };
    let created = change_json(change::CREATE, &[scene.members[0].did()], Some(true), Some("works"));
    let added = change_json(change::ADD, &[scene.members[1].did()], None, None);
    let mut cases = vec![
        yes("create", "the first of a record", first, created),
        yes("add", "with consent and invitation", second, added),
        no("cut", "its last byte is missing", &second[..second.len() - 1], "codec"),
        no("behind", "a byte behind it", &[third, &[0]].concat(), "codec"),
        no("too-long", "longer than any", &vec![0; limit::CHANNEL_ENTRY_LEN_MAX + 1], "too-long"),
        no("empty", "nothing", &[], "codec"),
    ];
    // Well formed but for one item. Nobody's signature is looked at here.
    let entry = |version: u64, change: Item, consents: usize| {
        let at = Uint(NOW.0);
        let body = vec![Uint(version), Uint(3), bytes([5; 32]), at, change, bytes([6; 32])];
        Array(vec![Array(body), bytes([7; 64]), Array(vec![bytes([8; 3]); consents])]).encode()
    };
    let agent = |at: usize| bytes(scene.id(at).as_bytes());
    let change =
        |what: u8, agents: Vec<Item>, yes: Item, name: Item| Array(vec![Uint(what.into()), Array(agents), yes, name]);
    let rename = |name: &str| change(change::RENAME, vec![], Null, text(name));
    let all = |range: std::ops::Range<usize>| range.map(agent).collect::<Vec<_>>();
    let dids = |range: std::ops::Range<usize>| range.map(|at| scene.members[at].did()).collect::<Vec<_>>();
    let (longest, most) = ("n".repeat(limit::CHANNEL_NAME_LEN_MAX), limit::CHANNEL_CHANGE_AGENTS_MAX);
    let removes = |agents| change(change::REMOVE, agents, Null, Null);
    cases.extend([
        yes(
            "rename",
            "the longest name",
            &entry(1, rename(&longest), 0),
            change_json(change::RENAME, &[], None, Some(&longest)),
        ),
        yes(
            "remove",
            "as many as one entry may",
            &entry(1, removes(all(0..most)), 0),
            change_json(change::REMOVE, &dids(0..most), None, None),
        ),
        yes(
            "leave",
            "with the most consents that any has",
            &entry(1, change(change::LEAVE, all(1..3), Null, Null), 128),
            change_json(change::LEAVE, &dids(1..3), None, None),
        ),
        yes(
            "admin",
            "one may no more",
            &entry(1, change(change::ADMIN, all(1..2), Bool(false), Null), 0),
            change_json(change::ADMIN, &dids(1..2), Some(false), None),
        ),
        yes(
            "hand-over",
            "another owner",
            &entry(1, change(change::HAND_OVER, all(1..2), Null, Null), 0),
            change_json(change::HAND_OVER, &dids(1..2), None, None),
        ),
        yes(
            "succeed",
            "another owner, by admins",
            &entry(1, change(change::SUCCEED, all(1..2), Null, Null), 2),
            change_json(change::SUCCEED, &dids(1..2), None, None),
        ),
        no("version", "of another version", &entry(2, rename("x"), 0), "version"),
        no("consents", "one more than any has", &entry(1, rename("x"), 129), "consent"),
        no("name-empty", "no name", &entry(1, rename(""), 0), "name"),
        no("name-long", "a byte too long", &entry(1, rename(&format!("{longest}n")), 0), "name"),
        no("name-control", "two lines", &entry(1, rename("a\nb"), 0), "name"),
        no("nobody", "removes nobody", &entry(1, removes(vec![]), 0), "agents"),
        no("many", "one too many", &entry(1, removes(all(0..most + 1)), 0), "agents"),
        no("twice", "one twice", &entry(1, removes(vec![agent(1), agent(1)]), 0), "agents"),
        no("order", "not ascending", &entry(1, removes(vec![agent(2), agent(1)]), 0), "agents"),
        no("no-agent", "a point of small order", &entry(1, removes(vec![bytes([0; 32])]), 0), "bad-key"),
        no("short-agent", "a key of 31 bytes", &entry(1, removes(vec![bytes([1; 31])]), 0), "codec"),
        no("unknown", "a change that there is not", &entry(1, change(8, all(1..2), Null, Null), 0), "kind"),
    ]);
    for (name, what, agents, yes, text_item) in [
        ("add-with-name", change::ADD, all(1..2), Null, text("x")),
        ("add-with-yes", change::ADD, all(1..2), Bool(true), Null),
        ("admin-without-yes", change::ADMIN, all(1..2), Null, Null),
        ("admin-two", change::ADMIN, all(1..3), Bool(true), Null),
        ("rename-with-agent", change::RENAME, all(1..2), Null, text("x")),
        ("create-without-name", change::CREATE, all(1..2), Bool(true), Null),
        ("create-without-yes", change::CREATE, all(1..2), Null, text("x")),
        ("hand-over-two", change::HAND_OVER, all(1..3), Null, Null),
        ("succeed-nobody", change::SUCCEED, vec![], Null, Null),
    ] {
        let comment = "a change with what it has not, or without what it has";
        cases.push(no(name, comment, &entry(1, change(what, agents, yes, text_item), 0), "kind"));
    }
    cases
}
