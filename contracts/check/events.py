"""Events of the audit log (audit.md): COSE_Sign1 by cbor2, the rest from the page."""

import base64
import json
import re

import cbor2

import messages
import primitives
from refused import Refused, refuse_unless
from registry import label, limit, section

PROTECTED = {1: -8, 3: "application/nuncio-event"}


def payload_of(text):
    """The payload of a COSE_Sign1 in hexadecimal, or None where there is none to speak of."""
    try:
        _, payload, _ = envelope(bytes.fromhex(text))
    except Exception:
        return None
    return payload.hex()


def envelope(data):
    try:
        message = cbor2.loads(data)
        refuse_unless(isinstance(message, cbor2.CBORTag) and message.tag == 18, "codec")
        protected, unprotected, payload, signature = message.value
        is_form = hasattr(unprotected, "keys") and not unprotected and all(type(part) is bytes for part in (protected, payload, signature))
        refuse_unless(is_form and cbor2.loads(protected) == PROTECTED, "codec")
        spelled = cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(PROTECTED), {}, payload, signature]), canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, AttributeError):
        refuse_unless(False, "codec")
    refuse_unless(spelled == data and len(signature) == 64, "codec")
    return protected, payload, signature


def is_text(value):
    return 1 <= len(value.encode()) <= limit("event_text_max") and not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value)


def shape(payload):
    """The fifteen items, of their types."""
    try:
        items = cbor2.loads(payload)
        refuse_unless(cbor2.dumps(items, canonical=True) == payload, "codec")
    except (cbor2.CBORError, ValueError, TypeError):
        refuse_unless(False, "codec")
    refuse_unless(isinstance(items, list), "codec")
    if items and type(items[0]) is int and 0 <= items[0] < 24:
        refuse_unless(items[0] == 1, "version")
    refuse_unless(len(items) == 15, "codec")
    is_version = type(items[0]) is int and 0 <= items[0] < 256
    refuse_unless(not is_version or items[0] == 1, "version")

    def number(bits):
        return lambda value: type(value) is int and 0 <= value < 2**bits

    def octets(size):
        return lambda value: type(value) is bytes and (size is None or len(value) == size)

    def maybe(check):
        return lambda value: value is None or check(value)

    def is_head(value):
        parts = [number(64), number(64), octets(32)]
        return isinstance(value, list) and len(value) == 3 and all(check(part) for check, part in zip(parts, value))

    def is_peer(value):
        parts = [octets(None), maybe(octets(None))]
        if isinstance(value, list):
            return len(value) == 2 and all(check(part) for check, part in zip(parts, value))
        return octets(None)(value)

    hashed, words = maybe(octets(32)), maybe(lambda value: type(value) is str)
    checks = [number(8), octets(32), number(64), number(64), octets(32), number(64), number(8), maybe(number(16))]
    checks += [maybe(is_peer), words, hashed, hashed, words, maybe(number(8)), maybe(is_head)]
    refuse_unless(all(check(item) for check, item in zip(checks, items)), "codec")
    return items


def event(given):
    data = bytes.fromhex(given["bytes"])
    refuse_unless(len(data) <= limit("event_len_max"), "too-long")
    protected, payload, signature = envelope(data)
    _, agent, epoch, seq, prev, at, what, outcome, peer, transaction, token, commitment, kind, size, head = shape(payload)
    refuse_unless(primitives.is_usable(agent), "bad-key")
    refuse_unless(what in section("event").values(), "kind")
    channel = None
    if isinstance(peer, list):
        channel, peer = peer
        refuse_unless(len(channel) in (16, 32), "malformed")
    if peer is not None:
        refuse_unless(len(peer) in (16, 32), "malformed")
        refuse_unless(len(peer) == 16 or primitives.is_usable(peer), "bad-key")
    refuse_unless(all(text is None or is_text(text) for text in (transaction, kind)) and (size or 0) <= 64, "malformed")
    structure = cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)
    refuse_unless(primitives.is_signed(agent, structure, signature), "signature")
    if peer is not None and len(peer) == 32:
        peer = messages.did(peer)
    if channel is not None:
        peer = [channel, peer]
    return {
        "agent": messages.did(agent), "epoch": str(epoch), "seq": str(seq), "prev": prev, "at": at, "what": what,
        "outcome": outcome, "peer": peer, "transaction": transaction, "token": token, "commitment": commitment,
        "kind": kind, "size": size, "head": head and [str(head[0]), str(head[1]), head[2]], "hash": primitives.sha256(data),
    }


def chain(given):
    places, newest = [], None
    for text in given["events"]:
        said = event({"bytes": text})
        epoch, seq = int(said["epoch"]), int(said["seq"])
        place, expected, prev = None, 0, bytes(32)
        if newest and epoch < newest[0]:
            place = "past"
        elif newest and epoch == newest[0]:
            place = "known" if seq <= newest[1] else None
            expected, prev = newest[1] + 1, newest[2]
        if place is None:
            place = "gap" if seq != expected else "prev" if said["prev"] != prev else "next"
        if place == "next":
            newest = epoch, seq, said["hash"]
        places.append(place)
    return {"places": places}


def commitment(given):
    """audit.md V19, V20"""
    extension = bytes.fromhex(given["extension"])
    try:
        said = cbor2.loads(extension)
        refuse_unless(cbor2.dumps(said, canonical=True) == extension, "malformed")
    except (cbor2.CBORError, ValueError, TypeError, EOFError):
        refuse_unless(False, "malformed")
    refuse_unless(isinstance(said, list) and len(said) == 2 and type(said[0]) is bytes and len(said[0]) == 32, "malformed")
    head = said[1]
    if head is not None:
        is_head = isinstance(head, list) and len(head) == 3 and type(head[2]) is bytes and len(head[2]) == 32
        refuse_unless(is_head and all(type(number) is int and 0 <= number < 2**64 for number in head[:2]), "malformed")
    key = primitives.hmac_sha256(bytes.fromhex(given["message_key"]), label("commitment"))
    expected = primitives.hmac_sha256(key, bytes.fromhex(given["header"]) + primitives.sha256(bytes.fromhex(given["content"])))
    return {
        "commitment_key": key, "commitment": expected, "holds": said[0] == expected,
        "head": head and [str(head[0]), str(head[1]), head[2]],
    }


def members_once(pairs):
    refuse_unless(len({name for name, _ in pairs}) == len(pairs), "malformed")
    return dict(pairs)


def unpadded(text):
    refuse_unless(type(text) is str and re.fullmatch("[A-Za-z0-9_-]*", text) and len(text) % 4 != 1, "malformed")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    refuse_unless(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "malformed")
    return data


def opening(given):
    """audit.md V24"""
    text = given["json"]
    refuse_unless(len(text.encode()) <= limit("opening_len_max"), "malformed")
    try:
        shown = json.loads(text, object_pairs_hook=members_once)
    except ValueError:
        refuse_unless(False, "malformed")
    refuse_unless(type(shown) is dict and set(shown) | {"pair_key"} == {"schema", "commitment_key", "pair_key", "header", "content"}, "malformed")
    refuse_unless(shown["schema"] == "nuncio/opening/1", "malformed")
    key, header, content = (unpadded(shown[name]) for name in ("commitment_key", "header", "content"))
    pair = unpadded(shown["pair_key"]) if "pair_key" in shown else None
    refuse_unless(len(key) == 32 and len(header) in (66, 74) and (pair is None or len(pair) == 32), "malformed")
    try:
        id, kind, _, _, content_type, payload, extensions = messages.letter_form(content)
    except Refused:
        refuse_unless(False, "malformed")
    refuse_unless(kind == 16 and messages.content_of(content) == content, "malformed")
    refuse_unless(len(header) == 74 or any(number == 5 for number, *_ in extensions), "malformed")
    return {
        "commitment": primitives.hmac_sha256(key, header + primitives.sha256(content)), "id": id, "payload": payload,
        "content_type": messages.CONTENT_FORMATS.get(content_type, content_type), "pair_key": pair,
    }


def pseudonym(given):
    """audit.md V26"""
    seed, other = bytes.fromhex(given["seed"]), primitives.check_agent_key(bytes.fromhex(given["other"]))
    own = primitives.public_of(seed)
    lower, higher = sorted([own, other])
    [pair] = primitives.hkdf(bytes(32), primitives.agree(seed, other), label("pair") + b"\0" + lower + higher, 1)
    of = lambda key: primitives.hmac_sha256(pair, key)[:16]
    epoch, seq, hash = given["head"]
    head = primitives.hmac_sha256(pair, int(epoch).to_bytes(8) + int(seq).to_bytes(8) + bytes.fromhex(hash))
    return {"pair_key": pair, "own": of(own), "others": of(other), "head": head}
