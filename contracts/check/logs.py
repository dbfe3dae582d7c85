"""The transparency log (log.md): RFC 6962's formulas read backwards, C2SP's texts."""

import base64
import binascii
import re
import unicodedata

import primitives
from primitives import sha256
from refused import Refused, refuse_unless
from registry import limit

NUMBER = re.compile(r"0|[1-9][0-9]*")


def leaf(entry):
    return sha256(b"\x00", entry)


def node(left, right):
    return sha256(b"\x01", left, right)


def split(count):
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(root_of(leaves[:k]), root_of(leaves[k:]))


# --- proofs: each formula of RFC 6962 section 2.1, solved for the root, the proof taken from its end ---


def root_from_path(index, size, hash_of_leaf, proof):
    if size == 1:
        return hash_of_leaf
    refuse_unless(proof, "length")
    sibling, k = proof.pop(), split(size)
    if index < k:
        return node(root_from_path(index, k, hash_of_leaf, proof), sibling)
    return node(sibling, root_from_path(index - k, size - k, hash_of_leaf, proof))


def check_inclusion(index, size, entry, proof, root):
    refuse_unless(index < size, "range")
    proof = list(proof)
    found = root_from_path(index, size, leaf(entry), proof)
    refuse_unless(not proof, "length")
    refuse_unless(found == root, "root")


def roots_from_subproof(old, new, known, proof):
    """The roots of the first `old` leaves and of all `new`; `known` is the old root where the proof leaves it out."""
    if old == new:
        if known is None:
            refuse_unless(proof, "length")
            known = proof.pop()
        return known, known
    refuse_unless(proof, "length")
    sibling, k = proof.pop(), split(new)
    if old <= k:
        older, newer = roots_from_subproof(old, k, known, proof)
        return older, node(newer, sibling)
    older, newer = roots_from_subproof(old - k, new - k, None, proof)
    return node(sibling, older), node(sibling, newer)


def check_consistency(old, new, proof, old_root, new_root):
    refuse_unless(old <= new, "range")
    proof = list(proof)
    if old == 0:
        refuse_unless(not proof, "length")
        refuse_unless(old_root == sha256(b"") and (new > 0 or new_root == old_root), "root")
        return
    found = roots_from_subproof(old, new, old_root, proof)
    refuse_unless(not proof, "length")
    refuse_unless(found == (old_root, new_root), "root")


def tree(given):
    match given["what"]:
        case "root":
            return {"root": root_of([leaf(bytes.fromhex(entry)) for entry in given["entries"]])}
        case "inclusion":
            proof = map(bytes.fromhex, given["proof"])
            root, entry = bytes.fromhex(given["root"]), bytes.fromhex(given["entry"])
            check_inclusion(int(given["index"]), int(given["size"]), entry, proof, root)
        case "consistency":
            proof = map(bytes.fromhex, given["proof"])
            roots = bytes.fromhex(given["old_root"]), bytes.fromhex(given["new_root"])
            check_consistency(int(given["old"]), int(given["new"]), proof, *roots)
    return {"holds": True}


# --- tiles ---

PATH = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def read_path(path):
    match = PATH.fullmatch(path)
    refuse_unless(match, "path")
    kind, groups, width = match.groups()
    index = int(groups.replace("x", "").replace("/", ""))
    refuse_unless(not groups.startswith("x000") and index < 2**64, "path")
    refuse_unless(width is None or int(width) < 256, "path")
    level = None if kind == "entries" else int(kind)
    return {"kind": "entries" if level is None else "hashes", "level": level, "index": str(index), "width": int(width or 256)}


def write_path(kind, index, width):
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([f"tile/{kind}", *(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == 256 else f"{path}.p/{width}"


def paths_of(size):
    for kind in ["entries", *range(8)]:
        hashes = size if kind == "entries" else size // 256**kind
        for index in range(-(-hashes // 256)):
            yield write_path(kind, index, min(256, hashes - 256 * index))


def read_bundle(data, width):
    entries = []
    for _ in range(width):
        refuse_unless(len(data) >= 2, "width")
        end = 2 + int.from_bytes(data[:2])
        refuse_unless(len(data) >= end, "width")
        entries.append(data[2:end])
        data = data[end:]
    refuse_unless(not data, "width")
    return entries


def tile(given):
    match given["what"]:
        case "path":
            return read_path(given["path"])
        case "tiles":
            return {"paths": list(paths_of(int(given["size"])))}
    return {"entries": read_bundle(bytes.fromhex(given["bytes"]), given["width"])}


# --- notes ---


def unbase64(text, name="malformed"):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(name) from None
    # The one spelling: no bits behind the end.
    refuse_unless(base64.b64encode(data).decode() == text, name)
    return data


TEXT, COSIGNATURE, ML_DSA = 1, 4, 6
KEY_LEN = {TEXT: 32, COSIGNATURE: 32, ML_DSA: 1312}


def is_name(name):
    spaces = any(c.isspace() or unicodedata.category(c) in ("Zs", "Zl", "Zp") for c in name)
    return bool(name) and not spaces and "+" not in name and all(c >= " " for c in name)


def read_key(text):
    parts = text.split("+", 2)
    refuse_unless(len(parts) == 3 and is_name(parts[0]), "malformed")
    name, written, material = parts
    data = unbase64(material)
    refuse_unless(data and len(data) == 1 + KEY_LEN.get(data[0], -1), "malformed")
    refuse_unless(data[0] != ML_DSA or len(name.encode()) < 256, "malformed")
    identity = sha256(name.encode(), b"\n", data)[:4]
    refuse_unless(written == identity.hex(), "malformed")
    return {"name": name, "id": identity, "kind": data[0], "public": data[1:]}


def read_note(note):
    """The text, and the lines below it: name, id, signature."""
    refuse_unless(len(note.encode()) <= limit("note_len_max") and note.endswith("\n"), "malformed")
    text, division, below = note.rpartition("\n\n")
    refuse_unless(division and below, "malformed")
    refuse_unless(all(c >= " " or c == "\n" for c in text), "malformed")
    lines = []
    for line in below.removesuffix("\n").split("\n"):
        parts = line.split(" ")
        refuse_unless(len(parts) == 3 and parts[0] == "—" and is_name(parts[1]), "malformed")
        data = unbase64(parts[2])
        refuse_unless(len(data) > 4, "malformed")
        lines.append((parts[1], data[:4], data[4:]))
    refuse_unless(len(lines) <= limit("note_signatures_max"), "malformed")
    return text + "\n", lines


def lines_of(key, lines, *kinds):
    found = [signature for name, identity, signature in lines if (name, identity) == (key["name"], key["id"])]
    refuse_unless(found and key["kind"] in kinds, "unsigned")
    return found


def verify(key, message, signature):
    refuse_unless(len(signature) == 64 and primitives.is_signed(key["public"], message, signature), "signature")


def open_note(note, key):
    text, lines = read_note(note)
    for signature in lines_of(key, lines, TEXT):
        verify(key, text.encode(), signature)
    return text


def read_checkpoint(text):
    lines = text.removesuffix("\n").split("\n")
    refuse_unless(len(lines) >= 3 and lines[0] and all(lines[3:]), "malformed")
    origin, size, root = lines[:3]
    refuse_unless(NUMBER.fullmatch(size) and int(size) < 2**64, "malformed")
    root = unbase64(root)
    refuse_unless(len(root) == 32, "malformed")
    return {"origin": origin, "size": size, "root": root}


def open_checkpoint(note, key):
    if key["kind"] == ML_DSA:
        cosigned_at(note, key)
        head = read_checkpoint(read_note(note)[0])
    else:
        head = read_checkpoint(open_note(note, key))
    refuse_unless(head["origin"] == key["name"], "origin")
    return head


def cosigned_at(note, key):
    text, lines = read_note(note)
    times = []
    for line in lines_of(key, lines, COSIGNATURE, ML_DSA):
        refuse_unless(len(line) == 8 + (64 if key["kind"] == COSIGNATURE else 2420), "signature")
        at = int.from_bytes(line[:8])
        refuse_unless(at < 2**63, "signature")
        if key["kind"] == COSIGNATURE:
            verify(key, f"cosignature/v1\ntime {at}\n{text}".encode(), line[8:])
        else:
            refuse_unless(primitives.is_signed_ml_dsa(key["public"], subtree_message(key, at, text), line[8:]), "signature")
        times.append(at)
    return {"at": str(times[0])}


def subtree_message(key, at, text):
    """What a key of kind 6 signs (G18)."""
    try:
        head = read_checkpoint(text)
    except Refused:
        raise Refused("signature") from None
    name, origin = key["name"].encode(), head["origin"].encode()
    refuse_unless(len(origin) < 256, "signature")
    cosigner = bytes([len(name)]) + name + at.to_bytes(8)
    tree = bytes([len(origin)]) + origin + bytes(8) + int(head["size"]).to_bytes(8) + head["root"]
    return b"subtree/v1\n\0" + cosigner + tree


def note(given):
    if given["what"] == "key":
        return read_key(given["text"])
    key = read_key(given["key"])
    match given["what"]:
        case "note":
            return {"text": open_note(given["note"], key)}
        case "checkpoint":
            return open_checkpoint(given["note"], key)
    return cosigned_at(given["note"], key)


# --- receipts ---


def receipt(given):
    text, key = given["receipt"], read_key(given["key"])
    refuse_unless(len(text.encode()) <= limit("receipt_len_max"), "malformed")
    head, division, checkpoint = text.partition("\n\n")
    refuse_unless(division, "malformed")
    first, *lines = head.split("\n")
    refuse_unless(first == "c2sp.org/tlog-proof@v1" and lines, "malformed")
    if lines[0].startswith("extra "):
        unbase64(lines.pop(0).removeprefix("extra "))
    refuse_unless(lines and lines[0].startswith("index "), "malformed")
    index = lines.pop(0).removeprefix("index ")
    refuse_unless(NUMBER.fullmatch(index) and int(index) < 2**64, "malformed")
    proof = [unbase64(line) for line in lines]
    refuse_unless(len(proof) <= 64 and all(len(part) == 32 for part in proof), "malformed")
    read_note(checkpoint)
    found = open_checkpoint(checkpoint, key)
    check_inclusion(int(index), int(found["size"]), bytes.fromhex(given["entry"]), proof, found["root"])
    return {"index": index, **found}


# --- witnesses ---


def add_checkpoint(given):
    text, key, last = given["request"], read_key(given["key"]), given["last"]
    head, division, checkpoint = text.partition("\n\n")
    refuse_unless(division, "malformed")
    first, *lines = head.split("\n")
    refuse_unless(first.startswith("old "), "malformed")
    old = first.removeprefix("old ")
    refuse_unless(NUMBER.fullmatch(old) and int(old) < 2**64, "malformed")
    proof = [unbase64(line) for line in lines]
    refuse_unless(len(proof) <= 63 and all(len(part) == 32 for part in proof), "malformed")
    body, _ = read_note(checkpoint)
    refuse_unless(body.split("\n")[0] == key["name"], "origin")
    try:
        found = open_checkpoint(checkpoint, key)
    except Refused as refused:
        raise Refused("signature" if refused.name == "unsigned" else refused.name) from None
    old, size = int(old), int(found["size"])
    refuse_unless(old <= size, "malformed")
    known, root = (int(last["size"]), bytes.fromhex(last["root"])) if last else (0, sha256(b""))
    refuse_unless(old == known and (size != known or found["root"] == root), "size")
    check_consistency(old, size, proof, root, found["root"])
    return found
