"""channel.md: records, statements, chains and frames."""

from dataclasses import dataclass, field

import cbor
import messages
import primitives
import session
from cbor import BOOL, BYTES, TEXT, U8, U32, U64, many, optional
from primitives import check_agent_key, hmac_sha256, sha256
from refused import Refused, refuse_unless
from registry import label, limit, section, time

CHANGE = [U8, many(32), optional(BOOL), optional(TEXT)]
WHAT = section("change")
BODIES = {
    "invite": [32, 32, 32, 32, U64, 16],
    "join": [32, 32, 32],
    "leave": [32, 32, 32],
    "proposal": [32, 32, 32, CHANGE],
    "support": [32, 32, 32],
    "heir": [32, 32, 32],
}
SIGNERS = {"invite": 2, "join": 1, "leave": 2, "proposal": 2, "support": 1, "heir": 2}
LABELS = {"invite": "channel_invite", "join": "channel_join", "leave": "channel_leave", "proposal": "channel_propose", "support": "channel_support"}
LABELS["heir"] = "channel_heir"


# --- sections 1 to 3: what stands alone ---


def check_change(change):
    """C3, C4."""
    what, agents, yes, name = change
    refuse_unless(len(agents) <= limit("channel_change_agents_max"), "agents")
    for agent in agents:
        check_agent_key(agent)
    several = what in (WHAT["add"], WHAT["remove"], WHAT["leave"])
    count = 0 if what == WHAT["rename"] else 1
    known = what in WHAT.values() and (several or len(agents) == count)
    has = ((yes is not None) == (what in (WHAT["create"], WHAT["admin"]))) and ((name is not None) == (what in (WHAT["create"], WHAT["rename"])))
    refuse_unless(known and has, "kind")
    if several:
        refuse_unless(agents and all(one < other for one, other in zip(agents, agents[1:])), "agents")
    if name is not None:
        printable = not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in name)
        refuse_unless(1 <= len(name.encode()) <= limit("channel_name_len_max") and printable, "name")
    return change


def read_statement(what, data):
    """C10: the body of what its signer said."""
    body, signature = cbor.decode(data, [BODIES[what], 64], limit("channel_statement_len_max"))
    agent = check_agent_key(body[SIGNERS[what]])
    primitives.verify(agent, label(LABELS[what]), cbor.encode(body), signature)
    if what == "invite":
        check_agent_key(body[3])
    if what == "proposal":
        check_change(body[3])
    return body


@dataclass
class Entry:
    body: list
    signature: bytes
    consents: list

    @classmethod
    def read(cls, data):
        """C1 to C4."""
        entry = cls(*cbor.decode(data, [[U8, U32, 32, U64, CHANGE, 32], 64, many(BYTES)], limit("channel_entry_len_max")))
        refuse_unless(entry.body[0] == 1, "version")
        refuse_unless(len(entry.consents) <= 2 * limit("channel_change_agents_max"), "consent")
        check_change(entry.change)
        return entry

    number = property(lambda self: self.body[1])
    prev = property(lambda self: self.body[2])
    at = property(lambda self: self.body[3])
    change = property(lambda self: self.body[4])
    roster = property(lambda self: self.body[5])

    def hashed(self, name):
        return sha256(label(name), b"\0", cbor.encode(self.body), self.signature)

    @property
    def body_hash(self):
        return sha256(cbor.encode(self.body))

    def verify(self, owner):
        """C5."""
        named = self.change[0] in (WHAT["create"], WHAT["succeed"])
        primitives.verify(self.change[1][0] if named else owner, label("channel_entry"), cbor.encode(self.body), self.signature)


# --- sections 2 and 4: a record ---


@dataclass
class Roster:
    owner: bytes
    audits: bool
    name: str
    number: int = 0
    owner_since: int = 0
    members: dict = field(default_factory=dict)  # agent -> (since, admin since or None)
    gone: dict = field(default_factory=dict)

    def hash(self):
        members = [[agent, admin is not None] for agent, (_, admin) in sorted(self.members.items())]
        return sha256(label("channel_roster"), b"\0", cbor.encode([self.owner, self.audits, self.name, members]))

    def admins(self):
        return {agent for agent, (_, admin) in self.members.items() if admin is not None}

    def speaks_since(self, agent, number):
        admin = self.members.get(agent, (0, None))[1]
        return agent == self.owner or (admin is not None and admin <= number)

    def after(self, change):
        """C7, C8: another roster."""
        what, agents, yes, name = change
        new = Roster(self.owner, self.audits, self.name, self.number + 1, self.owner_since, dict(self.members), dict(self.gone))

        def impossible_unless(condition):
            refuse_unless(condition, "impossible")

        def take_out(agent):
            impossible_unless(agent != new.owner and agent in new.members)
            del new.members[agent]
            new.gone[agent] = new.number

        impossible_unless(what != WHAT["create"])
        if what == WHAT["add"]:
            for agent in agents:
                impossible_unless(agent not in new.members)
                new.members[agent] = (new.number, None)
                new.gone.pop(agent, None)
        elif what in (WHAT["remove"], WHAT["leave"]):
            for agent in agents:
                take_out(agent)
        elif what == WHAT["admin"]:
            impossible_unless(agents[0] in self.members and agents[0] != self.owner and (agents[0] in self.admins()) != yes)
            new.members[agents[0]] = (self.members[agents[0]][0], new.number if yes else None)
        elif what == WHAT["rename"]:
            impossible_unless(name != self.name)
            new.name = name
        else:
            impossible_unless(agents[0] in self.members and agents[0] != self.owner)
            new.members[agents[0]] = (self.members[agents[0]][0], None)
            new.owner, new.owner_since = agents[0], new.number
            if what == WHAT["succeed"]:
                take_out(self.owner)
        full = len(new.members) > limit("channel_members_max") or len(new.admins()) > limit("channel_admins_max")
        refuse_unless(not full, "full")
        return new


class Record:
    """Entries from 0, each with its roster and when it was taken."""

    def __init__(self, entries, now):
        refuse_unless(entries, "not-first")
        first = Entry.read(entries[0])
        refuse_unless(first.change[0] == WHAT["create"] and first.number == 0, "not-first")
        _, (owner,), audits, name = first.change
        first.verify(owner)
        roster = Roster(owner, audits, name, members={owner: (0, None)})
        refuse_unless(first.roster == roster.hash(), "roster")
        refuse_unless(not first.consents, "consent")
        self.channel = first.hashed("channel_id")
        self.kept = [(first, roster, min(first.at, now), len(entries[0]))]
        for data in entries[1:]:
            entry = Entry.read(data)
            refuse_unless(entry.prev == self.epoch, "unknown-epoch")
            entry.verify(self.roster.owner)
            self.kept.append((entry, self.judged(entry, len(data), len(self.kept) - 1), min(entry.at, now), len(data)))

    epoch = property(lambda self: self.kept[-1][0].hashed("channel_epoch"))
    roster = property(lambda self: self.kept[-1][1])

    def number_of(self, epoch, up_to=None):
        for number, (entry, *_) in enumerate(self.kept[: None if up_to is None else up_to + 1]):
            if entry.hashed("channel_epoch") == epoch:
                return number
        return None

    def judged(self, entry, length, on):
        """C6 to C9, C11 to C15: the roster behind an entry that stands on one of these."""
        base = self.kept[on][1]
        refuse_unless(entry.number == base.number + 1, "number")
        roster = base.after(entry.change)
        refuse_unless(entry.roster == roster.hash(), "roster")
        self.check_consents(entry, base, on)
        total = sum(size for *_, size in self.kept[: on + 1]) + length
        refuse_unless(entry.number < limit("channel_entries_max") and total <= limit("channel_record_len_max"), "full")
        return roster

    def check_consents(self, entry, base, on):
        what, agents, *_ = entry.change
        wanted = {WHAT["add"]: 2 * len(agents), WHAT["leave"]: len(agents)}.get(what, 0)
        if what == WHAT["succeed"]:
            return self.check_support(entry, base)
        if what == WHAT["hand_over"]:
            return self.check_heir(entry, base, on)
        refuse_unless(len(entry.consents) == wanted, "consent")
        for at, agent in enumerate(agents if wanted else []):
            if what == WHAT["leave"]:
                channel, epoch, by = read_statement("leave", entry.consents[at])
                said = self.number_of(epoch, on)
                refuse_unless(channel == self.channel and by == agent and said is not None and said >= base.members[agent][0], "consent")
                continue
            channel, by, answered = read_statement("join", entry.consents[2 * at])
            there, epoch, inviter, invited, expires, _ = read_statement("invite", entry.consents[2 * at + 1])
            made = self.number_of(epoch, on)
            answers = answered == sha256(entry.consents[2 * at + 1]) and channel == there == self.channel and by == invited == agent
            holds = made is not None and base.speaks_since(inviter, made) and made >= base.gone.get(agent, 0)
            refuse_unless(answers and holds and entry.at <= expires, "consent")

    def check_heir(self, entry, base, on):
        """C60."""
        refuse_unless(len(entry.consents) == 1, "consent")
        channel, epoch, agent = read_statement("heir", entry.consents[0])
        said = self.number_of(epoch, on)
        refuse_unless(channel == self.channel and agent == entry.change[1][0] and said is not None, "consent")
        refuse_unless(said >= max(base.owner_since, base.members[agent][0]), "consent")
        refuse_unless(base.number - said <= limit("channel_behind_max"), "consent")

    def check_support(self, entry, base):
        refuse_unless(len(entry.consents) <= len(base.admins()), "consent")
        last = b""
        for data in entry.consents:
            channel, agent, body = read_statement("support", data)
            refuse_unless(last < agent and channel == self.channel and body == entry.body_hash and agent in base.admins(), "consent")
            last = agent
        refuse_unless(2 * len(entry.consents) > len(base.admins()), "majority")

    def told(self, data, now):
        """Section 4: what an entry is to the record, which moves."""
        entry = Entry.read(data)
        if self.number_of(entry.hashed("channel_epoch")) is not None:
            return "known"
        on = self.number_of(entry.prev)
        refuse_unless(on is not None, "unknown-epoch")
        entry.verify(self.kept[on][1].owner)
        kept = (entry, None, now, len(data))
        if on == len(self.kept) - 1:
            self.kept.append((entry, self.judged(entry, len(data), on), *kept[2:]))
            return "next"
        first, _, taken, _ = self.kept[on + 1]
        succeeds, succeeded = (it.change[0] == WHAT["succeed"] for it in (entry, first))
        if not succeeds:
            refuse_unless(not succeeded, "outranked")
            return "fork"
        if succeeded:
            self.judged(entry, len(data), on)
            return "fork"
        refuse_unless(now - taken < time("channel_succession_window"), "too-late")
        roster = self.judged(entry, len(data), on)
        self.kept[on + 1 :] = [(entry, roster, *kept[2:])]
        return "instead"


# --- sections 5 to 8 ---


@dataclass
class Chain:
    """A chain as it was handed over, with the recipient's MAC key."""

    channel: bytes
    epoch: bytes
    first: int
    run: bytes
    first_key: bytes
    id: bytes
    mac_key: bytes

    @classmethod
    def read(cls, data, sender):
        chain = cls(*cbor.decode(data, [32, 32, U64, 32, 32, 32, 32], 224))
        own = sha256(label("channel_chain"), b"\0", chain.first_key, chain.epoch, sender, chain.first.to_bytes(8), chain.run)
        refuse_unless(own == chain.id, "chain")
        refuse_unless(chain.first + limit("channel_chain_letters") < 1 << 64, "number")
        return chain

    @property
    def hk(self):
        return primitives.hkdf(self.id, self.first_key, label("channel_header"), 1)[0]

    def mk(self, seq):
        ck = self.first_key
        for _ in range(seq - self.first):
            ck, _ = session.kdf_ck(ck)
        return session.kdf_ck(ck)[1]


def read_frame(data):
    """C31."""
    refuse_unless(len(data) >= 3, "codec")
    refuse_unless(data[1] == 1, "version")
    refuse_unless(data[2] == 5, "kind")
    shape = [U8, U8, 16, 12, BYTES, BYTES, optional(64), 16]
    read = cbor.decode(data, shape, limit("frame_len_max"))
    refuse_unless(len(read[5]) == 82 and len(read[4]) >= 80, "length")
    return read


def check_member(record, chain, sender, recipient):
    """C29, of a chain that is the first."""
    refuse_unless(chain.channel == record.channel, "channel")
    number = record.number_of(chain.epoch)
    refuse_unless(number is not None, "unknown-epoch")
    members = record.roster.members
    refuse_unless(sender != recipient and all(who in members and members[who][0] <= number for who in (sender, recipient)), "not-member")
    refuse_unless(record.roster.number - number <= limit("channel_behind_max"), "stale")


def receive(record, chain, sender, recipient, data):
    """C37: a member that has one chain and nothing else opens one frame."""
    _, kind, tag, nonce, body, sealed_header, signature, mac = read_frame(data)
    refuse_unless(tag == session.tag_of(chain.hk), "unknown-tag")
    common = data[:-16]
    digest = sha256(common)
    own = hmac_sha256(chain.mac_key, label("channel_mac") + b"\0" + chain.id + digest + recipient)[:16]
    refuse_unless(own == mac, "mac")
    signed = common[: -1 - (66 if signature else 1)]
    if record.roster.audits:
        refuse_unless(signature, "bad-signature")
        primitives.verify(sender, label("channel_frame"), sha256(signed) + chain.channel + chain.epoch, signature)
    refuse_unless(record.roster.audits or signature is None, "signed")
    header = primitives.unseal(chain.hk, nonce, signed[:-82], sealed_header)
    seq, below = int.from_bytes(header[:8]), int.from_bytes(header[8:10])
    refuse_unless(below <= seq and chain.first <= seq < chain.first + limit("channel_chain_letters"), "contradiction")
    refuse_unless(seq - max(chain.first, seq - below) < limit("window"), "too-far")
    ad = bytes([1, kind]) + chain.channel + chain.epoch + sender + chain.id + header
    padded = primitives.unseal(chain.mk(seq), nonce, ad, body)
    letter = messages.unpad(padded)
    attested = None if header[10:42] == bytes(32) else [header[10:42], header[42:50], header[50:]]
    run = sha256(label("channel_transcript"), b"\1", chain.run, seq.to_bytes(8), chain.id, digest)
    return {
        "tag": tag,
        "chain": chain.id,
        "seq": str(seq),
        "floor": str(seq - below),
        "attested": attested,
        "letter": letter,
        "digest": digest,
        "hash": run[:16] if seq == chain.first else None,
    }


# --- outcomes ---


def _change(change):
    what, agents, yes, name = change
    return {"what": what, "agents": [messages.did(agent) for agent in agents], "yes": yes, "name": name}


def statement_outcome(what, data):
    body = read_statement(what, data)
    match what:
        case "invite":
            channel, epoch, by, agent, expires, id = body
            by, agent = messages.did(by), messages.did(agent)
            return {"channel": channel, "epoch": epoch, "by": by, "agent": agent, "expires": expires, "id": id, "hash": sha256(data)}
        case "join":
            return {"channel": body[0], "agent": messages.did(body[1]), "invite": body[2]}
        case "leave" | "heir":
            return {"channel": body[0], "epoch": body[1], "agent": messages.did(body[2])}
        case "proposal":
            return {"channel": body[0], "epoch": body[1], "by": messages.did(body[2]), "change": _change(body[3])}
        case "support":
            return {"channel": body[0], "agent": messages.did(body[1]), "body": body[2]}
    raise ValueError(what)


def entry_outcome(data):
    entry = Entry.read(data)
    return {
        "number": entry.number,
        "prev": entry.prev,
        "at": entry.at,
        "change": _change(entry.change),
        "roster": entry.roster,
        "consents": len(entry.consents),
        "body_hash": entry.body_hash,
        "epoch": entry.hashed("channel_epoch"),
        "channel": entry.hashed("channel_id"),
    }


def record_outcome(entries, now, then):
    record, said = Record(entries, now), []
    for data, at in then:
        try:
            said.append(record.told(data, at))
        except Refused as refused:
            said.append(refused.name)
    roster = record.roster
    return {
        "channel": record.channel,
        "epoch": record.epoch,
        "number": roster.number,
        "owner": messages.did(roster.owner),
        "name": roster.name,
        "audits": roster.audits,
        "members": [[messages.did(agent), admin is not None] for agent, (_, admin) in sorted(roster.members.items())],
        "roster": roster.hash(),
        "then": said,
    }
