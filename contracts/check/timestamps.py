"""OpenTimestamps (log.md section 8): a timestamp is a flat list of what stands in it, each with its way from the message."""

import re

from primitives import sha256
from refused import refuse_unless
from registry import limit

MAGIC = b"\0OpenTimestamps\0\0Proof\0" + bytes.fromhex("bf89e2e884e89294")
PENDING, BITCOIN = bytes.fromhex("83dfe30d2ef90c8e"), bytes.fromhex("0588960d73d71901")
HASH, APPEND, PREPEND = 0x08, 0xF0, 0xF1
NUMBER = re.compile(rb"[\x00-\x7f]|[\x80-\xff]{1,4}[\x01-\x7f]")
URI = re.compile(rb"[A-Za-z0-9\-._/:]*")


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        refuse_unless(self.at + count <= len(self.data), "malformed")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self):
        found = NUMBER.match(self.data, self.at)
        refuse_unless(found, "malformed")
        number = sum((byte & 127) << 7 * place for place, byte in enumerate(found[0]))
        refuse_unless(number < 2**32, "malformed")
        self.at = found.end()
        return number

    def some(self, most, least=0):
        count = self.number()
        refuse_unless(least <= count <= most, "malformed")
        return self.take(count)

    def end(self):
        refuse_unless(self.at == len(self.data), "malformed")


def write_number(number):
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + write_number(high) if high else bytes([low])


def write_some(data):
    return write_number(len(data)) + data


def applied(way, message):
    for tag, operand in way:
        message = sha256(message) if tag == HASH else message + operand if tag == APPEND else operand + message
    return message


def read_attestation(data, length):
    """Tag and content; the content of a known one is its value."""
    tag, payload = data.take(8), Bytes(data.some(limit("timestamp_payload_len_max")))
    if tag == PENDING:
        value = payload.some(limit("timestamp_uri_len_max"))
        refuse_unless(URI.fullmatch(value), "malformed")
    elif tag == BITCOIN:
        refuse_unless(length == 32, "malformed")
        value = payload.number()
    else:
        return tag, payload.data
    payload.end()
    return tag, value


def read(data, length):
    """Every attestation behind its way: the operations that lead to it."""
    found = []
    # Items that are announced and have not come: each is the way and the length at which one more begins, and what stands there already.
    waiting = [((), length, set())]
    while waiting:
        way, length, there = waiting[-1]
        tag = data.take(1)[0]
        if tag == 0xFF:
            tag = data.take(1)[0]
        else:
            waiting.pop()
        if tag == 0:
            item = read_attestation(data, length)
            found.append((way, item))
            refuse_unless(item not in there, "malformed")
            there.add(item)
            continue
        refuse_unless(tag in (HASH, APPEND, PREPEND), "kind")
        operand = b"" if tag == HASH else data.some(limit("timestamp_message_len_max"), 1)
        length = 32 if tag == HASH else length + len(operand)
        refuse_unless(length <= limit("timestamp_message_len_max") and len(way) < limit("timestamp_depth_max"), "malformed")
        refuse_unless((tag, operand) not in there, "malformed")
        there.add((tag, operand))
        waiting.append(((*way, (tag, operand)), length, set()))
    return found


def content(item):
    tag, value = item
    said = write_some(value) if tag == PENDING else write_number(value) if tag == BITCOIN else value
    return b"\0" + tag + write_some(said)


def written(found):
    """The items in their order: attestations first."""
    here = sorted({item for way, item in found if not way})
    next_steps = sorted({way[0] for way, _ in found if way})
    parts = [content(item) for item in here]
    for tag, operand in next_steps:
        below = [(way[1:], item) for way, item in found if way and way[0] == (tag, operand)]
        parts.append(bytes([tag]) + (b"" if tag == HASH else write_some(operand)) + written(below))
    return b"".join(b"\xff" + part for part in parts[:-1]) + parts[-1]


def told(found, message):
    """In the order in which they are written."""
    return [tell(applied(way, message), *item) for way, item in sorted(found, key=place)]


def tell(message, tag, value):
    if tag == PENDING:
        return {"message": message, "pending": value.decode()}
    if tag == BITCOIN:
        return {"message": message, "bitcoin": value, "root": message[::-1]}
    return {"message": message, "other": tag, "payload": value}


def place(one):
    """By the steps of the way, and what is said at a place before what is made there."""
    way, (tag, value) = one
    return [(1, *step) for step in way] + [(0, tag, value)]


def read_whole(data):
    refuse_unless(len(data) <= limit("timestamp_len_max"), "too-long")
    data = Bytes(data)
    refuse_unless(data.take(len(MAGIC)) == MAGIC, "malformed")
    refuse_unless(data.number() == 1, "version")
    refuse_unless(data.take(1)[0] == HASH, "kind")
    digest = data.take(32)
    found = read(data, 32)
    data.end()
    return digest, found


def write_whole(digest, found):
    return MAGIC + bytes([1, HASH]) + digest + written(found)


def read_answer(data, length):
    refuse_unless(len(data) <= limit("timestamp_answer_len_max"), "too-long")
    data = Bytes(data)
    found = read(data, length)
    data.end()
    return found


def merged(whole, message, uri, answer):
    digest, found = whole
    places = {way for way, item in found if item == (PENDING, uri) and applied(way, digest) == message}
    refuse_unless(places, "malformed")
    more = [(way + further, item) for way in places for further, item in answer]
    return read_whole(write_whole(digest, list(dict.fromkeys(found + more))))


def whole_told(whole):
    digest, found = whole
    return {"digest": digest, "attested": told(found, digest), "written": write_whole(digest, found)}


def timestamp(given):
    data = bytes.fromhex(given["bytes"])
    match given["what"]:
        case "detached":
            return whole_told(read_whole(data))
        case "answer":
            message = bytes.fromhex(given["message"])
            found = read_answer(data, len(message))
            return {"attested": told(found, message), "written": written(found)}
        case "merge":
            message = bytes.fromhex(given["message"])
            answer = read_answer(bytes.fromhex(given["answer"]), len(message))
            return whole_told(merged(read_whole(data), message, given["uri"].encode(), answer))
