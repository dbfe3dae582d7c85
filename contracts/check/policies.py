"""What a verifier wants of a checkpoint: C2SP's tlog-policy (log.md section 7)."""

import re

import logs
from refused import Refused, refuse_unless
from registry import limit

LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
COUNT = re.compile(rb"0|[1-9][0-9]*")


def key_of(text, kinds):
    try:
        key = logs.read_key(text.decode())
    except (Refused, UnicodeDecodeError):
        raise Refused("bad-key") from None
    refuse_unless(key["kind"] in kinds, "bad-key")
    return key


class Policy:
    def __init__(self, data):
        self.logs, self.witnesses, self.groups, self.quorums, self.used = [], {}, {}, [], set()
        refuse_unless(len(data) <= limit("tlog_policy_len_max"), "too-long")
        *lines, rest = data.split(b"\n")
        for line in lines:
            self.read(line)
        refuse_unless(not rest and self.quorums, "malformed")

    def read(self, line):
        refuse_unless(LINE.fullmatch(line), "malformed")
        items = [item for item in re.split(rb"[ \t]+", line) if item]
        match items:
            case []:
                pass
            case [first, *_] if first.startswith(b"#"):
                pass
            case [b"log", text] | [b"log", text, _]:
                self.add_log(key_of(text, (logs.TEXT, logs.ML_DSA)))
            case [b"witness", name, text] | [b"witness", name, text, _]:
                self.add_witness(name, key_of(text, (logs.COSIGNATURE, logs.ML_DSA)))
            case [b"group", name, count, *members] if members:
                self.add_group(name, count, members)
            case [b"quorum", name]:
                refuse_unless(name == b"none" or name in self.witnesses or name in self.groups, "unknown-name")
                refuse_unless(not self.quorums, "duplicate")
                self.quorums.append(name)
            case _:
                raise Refused("malformed")

    def define(self, name):
        refuse_unless(name != b"none" and name not in self.witnesses and name not in self.groups, "duplicate")

    def add_log(self, key):
        refuse_unless(all(key["public"] != other["public"] for other in self.logs), "duplicate")
        self.logs.append(key)
        refuse_unless(len(self.logs) <= limit("tlog_policy_items_max"), "too-long")

    def add_witness(self, name, key):
        refuse_unless(all(key["public"] != other["public"] for other in self.witnesses.values()), "duplicate")
        self.define(name)
        self.witnesses[name] = key
        refuse_unless(len(self.witnesses) <= limit("tlog_policy_items_max"), "too-long")

    def add_group(self, name, count, members):
        words = {b"all": len(members), b"any": 1}
        refuse_unless(count in words or COUNT.fullmatch(count), "malformed")
        refuse_unless(all(member in self.witnesses or member in self.groups for member in members), "unknown-name")
        refuse_unless(len(set(members)) == len(members) and not self.used & set(members), "duplicate")
        count = words[count] if count in words else int(count)
        refuse_unless(1 <= count <= len(members), "threshold")
        self.define(name)
        self.used |= set(members)
        self.groups[name] = count, members
        refuse_unless(len(self.groups) <= limit("tlog_policy_items_max"), "too-long")

    def is_met(self, name, times):
        if name in self.witnesses:
            return name in times
        count, members = self.groups[name]
        return sum(self.is_met(member, times) for member in members) >= count

    def counted(self, name):
        if name in self.groups:
            return [below for member in self.groups[name][1] for below in self.counted(member)]
        return [name] if name in self.witnesses else []


def opened(policy, note):
    """The head, if one of the policy's logs has signed it, and when each of its witnesses cosigned."""
    heads, times = [], {}
    for key in policy.logs:
        try:
            heads.append(logs.open_checkpoint(note, key))
        except Refused as refused:
            refuse_unless(refused.name == "unsigned", refused.name)
    refuse_unless(heads, "unsigned")
    for name, key in policy.witnesses.items():
        try:
            times[name] = logs.cosigned_at(note, key)["at"]
        except Refused as refused:
            refuse_unless(refused.name == "unsigned", refused.name)
    return heads[0], times


def policy(given):
    data = bytes.fromhex(given["bytes"]) if given["what"] == "bytes" else given["policy"].encode()
    wanted = Policy(data)
    if given["what"] != "checkpoint":
        return {"logs": [key["name"] for key in wanted.logs], "witnesses": list(wanted.witnesses)}
    head, times = opened(wanted, given["note"])
    (quorum,) = wanted.quorums
    refuse_unless(quorum == b"none" or wanted.is_met(quorum, times), "quorum")
    counted = wanted.counted(quorum)
    missing = [name for name in wanted.witnesses if name in counted and name not in times]
    return head | {"by": list(times.items()), "missing": missing}
