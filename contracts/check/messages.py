"""The messages that are read without a session: identities, bundles, frames, letters, payloads, padding (their specifications name the MUSTs)."""

import base64
import re
import unicodedata

import cbor
import primitives
from primitives import sha256
from refused import refuse_unless
from registry import label, limit, section, time

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
KEM_PUBLIC, KEM_CIPHERTEXT = 1184, 1088


# --- identity.md ---


def agent_of(text):
    refuse_unless(text.startswith("did:key:"), "not-did-key")
    encoded = text.removeprefix("did:key:")
    refuse_unless(encoded.startswith("z") and len(encoded.encode()) <= 64, "not-base58")
    digits = encoded[1:]
    refuse_unless(all(digit in BASE58 for digit in digits), "not-base58")
    number = 0
    for digit in digits:
        number = number * 58 + BASE58.index(digit)
    zeros = len(digits) - len(digits.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
    refuse_unless(data.startswith(b"\xed\x01") and len(data) == 34, "not-ed25519")
    return primitives.check_agent_key(data[2:])


def did(key):
    data = b"\xed\x01" + key
    number, digits = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "did:key:z" + digits


def read_retirement(data):
    body, signature = cbor.decode(data, [[32, cbor.optional(32), cbor.U64], 64], 256)
    agent, successor, made = body
    primitives.check_agent_key(agent)
    primitives.verify(agent, label("retirement"), cbor.encode(body), signature)
    if successor is not None:
        primitives.check_agent_key(successor)
    return agent, successor, made


BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
PORT = re.compile(r"[1-9][0-9]{0,4}")


def read_invitation(text):
    line = text.strip(" \t\r\n")
    refuse_unless(len(line.encode()) <= 4096 and all("!" <= c <= "~" for c in line), "not-invitation")
    refuse_unless(line.startswith("nuncio:"), "not-invitation")
    agent, _, parts = line.removeprefix("nuncio:").partition("?")
    try:
        agent_of(agent)
    except primitives.Refused:
        raise primitives.Refused("not-invitation") from None
    endpoints, hashes, mailboxes, knocks = [], [], [], []
    for part in filter(None, parts.split("&")):
        name, equals, value = part.partition("=")
        refuse_unless(equals, "not-invitation")
        if name == "at":
            endpoints.append(_invited_endpoint(value))
        elif name == "bundle":
            hashes.append(_invited_bytes(value, 32))
        elif name == "mailbox":
            refuse_unless(is_mailbox(value.encode()), "not-invitation")
            mailboxes.append(value)
        elif name == "knock":
            knocks.append(_invited_bytes(value, 16))
    refuse_unless(len(endpoints) <= limit("endpoints_max") and len(hashes) <= 1, "not-invitation")
    refuse_unless(len(mailboxes) <= 1 and len(knocks) <= 1, "not-invitation")
    return agent, endpoints, *(found[0] if found else None for found in (hashes, mailboxes, knocks))


def is_mailbox(data):
    """Whether bytes are `did:key:…@host:port` (bundle.md B6, identity.md I13)."""
    try:
        text = data.decode("ascii")
        node, at, endpoint = text.partition("@")
        refuse_unless(at and len(text) <= limit("endpoint_len_max"), "no mailbox")
        refuse_unless(all("!" <= c <= "~" for c in text), "no mailbox")
        agent_of(node)
        _invited_endpoint(endpoint)
    except (UnicodeDecodeError, primitives.Refused):
        return False
    return True


def _invited_endpoint(text):
    host, _, port = text.rpartition(":")
    refuse_unless(host and len(text) <= limit("endpoint_len_max"), "not-invitation")
    refuse_unless(PORT.fullmatch(port) and int(port) <= 65535, "not-invitation")
    return text


def _invited_bytes(text, size):
    refuse_unless(BASE64URL.fullmatch(text) and len(text) == -(-size * 4 // 3), "not-invitation")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    refuse_unless(_base64url(data) == text, "not-invitation")
    return data


def _base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def write_invitation(agent, endpoints, bundle_hash, mailbox, knock):
    parts = [f"at={endpoint}" for endpoint in endpoints]
    if mailbox is not None:
        parts.append(f"mailbox={mailbox}")
    if bundle_hash is not None:
        parts.append(f"bundle={_base64url(bundle_hash)}")
    if knock is not None:
        parts.append(f"knock={_base64url(knock)}")
    return f"nuncio:{agent}" + ("?" + "&".join(parts) if parts else "")


# --- bundle.md ---

KEYS = [cbor.many(cbor.U8), 32, 32, cbor.U32, 32, KEM_PUBLIC]
BODY = [KEYS, cbor.U64, cbor.U64, cbor.many(cbor.TEXT), cbor.optional(cbor.TEXT)]
ONE_TIME = [cbor.U32, cbor.U16, 32, KEM_PUBLIC, cbor.many(32), cbor.U64, 64]
BUNDLE = [BODY, 64, cbor.optional(ONE_TIME)]


def is_endpoint(text):
    return 1 <= len(text.encode()) <= limit("endpoint_len_max") and all("!" <= c <= "~" for c in text)


def leaf(batch, index, agreement, kem):
    return sha256(label("leaf"), b"\0", batch.to_bytes(4), index.to_bytes(2), agreement, kem)


def prekeys_hash(keys):
    """Of the version that is spoken, whichever others the bundle offers."""
    keys = [[limit("wire_version")], *keys[1:]]
    return sha256(label("bundle"), b"\0", cbor.encode(keys))


def read_bundle(data, now):
    body, signature, one_time = cbor.decode(data, BUNDLE, limit("bundle_len_max"))
    keys, not_before, not_after, endpoints, mailbox = body
    agent = primitives.check_agent_key(keys[1])
    primitives.verify(agent, label("bundle"), cbor.encode(body), signature)
    refuse_unless(limit("wire_version") in keys[0], "version")
    skew = time("clock_skew")
    refuse_unless(not_before <= now + skew and now <= not_after + skew, "not-now")
    addresses = endpoints + ([] if mailbox is None else [mailbox])
    refuse_unless(len(endpoints) <= limit("endpoints_max") and all(map(is_endpoint, addresses)), "endpoints")
    if one_time is not None:
        check_one_time(agent, one_time)
    return body, one_time, sha256(label("invitation"), b"\0", cbor.encode([body, signature, None]))


def read_batch(agent, data, now):
    """directory.md section 1: number, end, and the leaves."""
    number, not_after, signature, keys = cbor.decode(data, [cbor.U32, cbor.U64, 64, cbor.BYTES], limit("batch_len_max"))
    size, each = limit("one_time_batch"), 32 + KEM_PUBLIC
    refuse_unless(len(keys) == size * each, "codec")
    parts = [keys[at : at + each] for at in range(0, len(keys), each)]
    leaves = [leaf(number, index, part[:32], part[32:]) for index, part in enumerate(parts)]
    level = leaves
    while len(level) > 1:
        level = [sha256(label("node"), b"\0", *level[at : at + 2]) for at in range(0, len(level), 2)]
    try:
        primitives.verify(agent, label("one_time"), number.to_bytes(4) + not_after.to_bytes(8) + level[0], signature)
    except primitives.Refused:
        raise primitives.Refused("one-time") from None
    refuse_unless(now <= not_after, "not-now")
    return number, not_after, leaves


def read_deposit(data):
    """mailbox.md M3, M18: the frame, or what frames have in common, and recipients, these then with an end each"""
    if data[1:2] and data[1] >> 5 == 2:
        return read_shared_deposit(data)
    to, frame = cbor.decode(data, [cbor.many([32, cbor.optional(32)]), cbor.BYTES], limit("deposit_len_max"))
    refuse_unless(len(to) <= limit("deposit_recipients_max"), "recipients")
    agents = [primitives.check_agent_key(agent) for agent, _ in to]
    refuse_unless(agents and all(one < other for one, other in zip(agents, agents[1:])), "recipients")
    refuse_unless(1 <= len(frame) <= limit("frame_len_max"), "frame")
    return to, frame


def read_shared_deposit(data):
    common, to = cbor.decode(data, [cbor.BYTES, cbor.many([32, 32, 16])], limit("deposit_len_max"))
    refuse_unless(len(to) <= limit("deposit_recipients_max"), "recipients")
    agents = [primitives.check_agent_key(agent) for agent, *_ in to]
    refuse_unless(agents and all(one < other for one, other in zip(agents, agents[1:])), "recipients")
    refuse_unless(common and len(common) + 16 <= limit("frame_len_max"), "frame")
    return to, common


def check_one_time(agent, one_time):
    batch, index, agreement, kem, path, not_after, signature = one_time
    size = limit("one_time_batch")
    refuse_unless(index < size and len(path) == size.bit_length() - 1, "one-time")
    root = leaf(batch, index, agreement, kem)
    for level, beside in enumerate(path):
        pair = (beside, root) if index >> level & 1 else (root, beside)
        root = sha256(label("node"), b"\0", *pair)
    try:
        primitives.verify(agent, label("one_time"), batch.to_bytes(4) + not_after.to_bytes(8) + root, signature)
    except primitives.Refused:
        raise primitives.Refused("one-time") from None


# --- frame.md ---

START, LETTER, ACK, NOTICE = 1, 2, 3, 4
FRAMES = {
    START: [cbor.U8, cbor.U8, 16, 12, cbor.BYTES, cbor.BYTES, cbor.BYTES],
    LETTER: [cbor.U8, cbor.U8, 16, 12, cbor.BYTES, cbor.BYTES],
    ACK: [cbor.U8, cbor.U8, 16, 12, cbor.BYTES],
    NOTICE: [cbor.U8, cbor.U8, 16, cbor.U16],
}
SEALED_HEADER = 90


def read_frame(data):
    refuse_unless(len(data) >= 3, "codec")
    refuse_unless(data[1] == limit("wire_version"), "version")
    refuse_unless(data[2] in FRAMES, "kind")
    items = cbor.decode(data, FRAMES[data[2]], limit("frame_len_max"))
    frame = {"kind": data[2], "tag": items[2]}
    if data[2] == NOTICE:
        return frame | {"code": items[3]}
    body = items[-2] if data[2] != ACK else None
    refuse_unless(len(items[-1]) == SEALED_HEADER, "length")
    refuse_unless(body is None or len(body) >= limit("padding_len_min") + 16, "length")
    handshake = items[4] if data[2] == START else None
    return frame | {"nonce": items[3], "handshake": handshake, "body": body, "header": items[-1], "in_front": data[:-SEALED_HEADER]}


def padded_len(length):
    marked = length + 1
    if marked <= limit("padding_len_min"):
        return limit("padding_len_min")
    exponent = marked.bit_length() - 1
    step = 1 << exponent - exponent.bit_length()
    return -(-marked // step) * step


def pad(plaintext):
    return (plaintext + b"\x80").ljust(padded_len(len(plaintext)), b"\0")


def unpad(padded):
    marked = padded.rstrip(b"\0")
    refuse_unless(marked.endswith(b"\x80") and padded_len(len(marked) - 1) == len(padded), "padding")
    return marked[:-1]


# --- letter.md ---

CONTENT_FORMATS = {0: "text/plain;charset=utf-8", 42: "application/octet-stream", 50: "application/json", 60: "application/cbor"}


def is_content_type(value):
    if type(value) is int:
        return value in CONTENT_FORMATS
    if type(value) is not str or value in CONTENT_FORMATS.values():
        return False
    return 1 <= len(value) <= limit("content_type_len_max") and all(" " <= c <= "~" for c in value)


EXTENSION = [cbor.U16, cbor.BOOL, cbor.BYTES]
LETTER_SHAPE = [16, cbor.U8, cbor.optional(16), cbor.optional(cbor.U64), is_content_type, cbor.BYTES, cbor.many(EXTENSION)]
KNOWN_EXTENSIONS = {1, 2, 4, 5, 6, 7}


def is_letter_id(data):
    return data[6] >> 4 == 7 and data[8] >> 6 == 0b10


def letter_id_in(data):
    return cbor.decode(data, LETTER_SHAPE, limit("letter_len_max"))[0]


def content_of(data):
    """token.md K28"""
    *rest, extensions = cbor.decode(data, LETTER_SHAPE, limit("letter_len_max"))
    return cbor.encode([*rest, [extension for extension in extensions if extension[0] not in (2, 3, 4)]])


def letter_form(data):
    """A letter, whenever it was made."""
    letter = cbor.decode(data, LETTER_SHAPE, limit("letter_len_max"))
    id, kind, reply_to, deadline, content_type, payload, extensions = letter
    numbers = [number for number, _, _ in extensions]
    refuse_unless(is_letter_id(id) and kind in (16, 17) and (reply_to is None or is_letter_id(reply_to)), "malformed")
    refuse_unless(numbers == sorted(set(numbers)) and len(numbers) <= limit("extensions_max"), "malformed")
    refuse_unless(all(len(value) <= limit("extension_len_max") for _, _, value in extensions), "malformed")
    refuse_unless(len(payload) <= limit("payload_inline_max"), "malformed")
    refuse_unless(all(number in KNOWN_EXTENSIONS for number, critical, _ in extensions if critical), "unknown-extension")
    return letter


def read_letter(data, now):
    id, kind, reply_to, deadline, content_type, payload, extensions = letter_form(data)
    created = int.from_bytes(id[:6])
    last = created + time("letter_life_max")
    expires = last if deadline is None else min(deadline, last)
    refuse_unless(created <= now + time("clock_skew"), "future")
    refuse_unless(now <= expires + time("clock_skew"), "expired")
    return {
        "id": id,
        "created": created,
        "kind": kind,
        "reply_to": reply_to,
        "deadline": deadline,
        "content_type": CONTENT_FORMATS.get(content_type, content_type),
        "payload": payload,
        "content": content_of(data),
        "extensions": [{"number": n, "critical": c, "value": v} for n, c, v in extensions],
        "expires": expires,
    }


def read_control(payload):
    try:
        shape = [cbor.U8, cbor.optional(16), cbor.U16, cbor.BYTES]
        what, letter, code, data = cbor.decode(payload, shape, limit("payload_inline_max"))
    except primitives.Refused:
        raise primitives.Refused("malformed") from None
    names = {1: "refused", 2: "rekey-offer", 3: "rekey-answer", 4: "hello", 5: "retired", 6: "payload-taken"}
    names |= {7: "token-wanted", 8: "token", 9: "statement", 10: "mailbox", 11: "channel", 12: "knock"}
    names |= {13: "permit", 14: "permit-over"}
    refuse_unless(what in names, "malformed")
    about_a_letter, carries = what in (1, 6), what in (1, 2, 3, 5, *range(7, 15))
    refuse_unless((letter is not None) == about_a_letter and (letter is None or is_letter_id(letter)), "malformed")
    refuse_unless((what == 1 or code == 0) and (carries or data == b""), "malformed")
    refuse_unless(what != 1 or len(data) == 12, "malformed")
    refuse_unless(what != 7 or len(data) == 32, "malformed")
    refuse_unless(what != 9 or data, "malformed")
    refuse_unless(what != 10 or not data or is_mailbox(data[32:]), "malformed")
    refuse_unless(what != 8 or 32 < len(data) <= limit("token_len_max"), "malformed")
    refuse_unless(what not in (13, 14) or 0 < len(data) <= limit("permit_len_max"), "malformed")
    refuse_unless(what != 11 or is_word(data), "malformed")
    control = {"what": names[what]}
    if about_a_letter:
        control["letter"] = letter
    if what == 1:
        control["code"] = code
    if carries:
        control["bytes"] = data
    return control


def is_word(data):
    """Whether bytes are a word of a channel (channel.md C47)."""
    where = [cbor.many(cbor.TEXT), cbor.optional(cbor.TEXT)]
    shape = [cbor.U8, 32, cbor.many(cbor.BYTES), cbor.many([cbor.optional(32), where]), cbor.optional(cbor.U64), cbor.optional(cbor.TEXT)]
    try:
        word, _, parts, reach, number, name = cbor.decode(data, shape, limit("payload_inline_max"))
        for agent, (endpoints, mailbox) in reach:
            if agent is not None:
                primitives.check_agent_key(agent)
            refuse_unless(len(endpoints) <= limit("endpoints_max"), "reach")
            for endpoint in endpoints:
                _invited_endpoint(endpoint)
            refuse_unless(mailbox is None or is_mailbox(mailbox.encode()), "reach")
    except primitives.Refused:
        return False
    word = {value: known for known, value in section("word").items()}.get(word)
    own, others = [r for r in reach if r[0] is None], [r for r in reach if r[0] is not None]
    says = (len(parts), len(own), bool(others), number is not None, name is not None)
    if word == "entries":
        return bool(parts) and says[1:] in [(0, False, False, False), (0, True, False, False)]
    if word in ("wanted", "acked", "floor"):
        return says == (0, 0, False, True, False) and (word != "wanted" or number < 2**32)
    if word == "offered":
        return says == (0, 0, False, False, False)
    if word == "joined":
        return says == (2, 1, False, False, False)
    if word == "invited":
        return says == (1, 0, False, False, True) and is_channel_name(name)
    return word is not None and says == (1, 0, False, False, False)


def is_channel_name(name):
    """channel.md C4: nothing of Unicode's category Cc."""
    plain = all(unicodedata.category(c) != "Cc" for c in name)
    return 1 <= len(name.encode()) <= limit("channel_name_len_max") and plain


class Payload:
    """A large payload's handle."""

    def __init__(self, data):
        try:
            self.id, self.key, self.len = cbor.decode(data, [16, 32, cbor.U64], 128)
        except primitives.Refused:
            raise primitives.Refused("malformed") from None
        refuse_unless(self.len <= limit("payload_large_max"), "malformed")
        self.chunks = max(1, -(-self.len // limit("chunk_len")))
        self.sealed_len = self.len + 16 * self.chunks

    def chunk_len(self, index):
        return min(limit("chunk_len"), self.len - index * limit("chunk_len"))

    def _keys(self, index):
        nonce = bytes([0, 0, 0, index + 1 == self.chunks]) + index.to_bytes(8)
        return self.key, nonce, label("payload") + b"\0" + self.id + self.len.to_bytes(8)

    def seal(self, index, chunk):
        return primitives.seal(*self._keys(index), chunk)

    def open(self, index, sealed):
        refuse_unless(len(sealed) == self.chunk_len(index) + 16, "not-authentic")
        return primitives.unseal(*self._keys(index), sealed)
