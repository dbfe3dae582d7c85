"""contracts/schema and contracts/cddl, held against the vectors: a schema that nothing is read by rots."""

import json
from pathlib import Path

import cbor2
import jsonschema

import events
from cddl import Cddl

CONTRACTS = Path(__file__).parent.parent

_VECTOR = jsonschema.Draft202012Validator(json.loads((CONTRACTS / "schema/vector.json").read_text()))
_CDDL = Cddl((CONTRACTS / "cddl/nuncio.cddl").read_text())

# Where vectors keep CBOR, and the rule that it is of.
_RULES = {
    "bundle": ("bundle", lambda v: v["input"]["bytes"]),
    "deposit": ("deposit", lambda v: v["input"]["bytes"]),
    "batch": ("batch", lambda v: v["input"]["bytes"]),
    "retirement": ("retirement", lambda v: v["input"]["bytes"]),
    "frame": ("frame", lambda v: v["input"]["bytes"]),
    "sealing": ("frame", lambda v: v["expect"]["frame"]),
    "letter": ("letter", lambda v: v["input"]["bytes"]),
    "call": ("call", lambda v: v["input"]["bytes"]),
    "permit": ("permit", lambda v: v["input"].get("bytes")),
    "query-form": ("answer", lambda v: v["input"]["bytes"]),
    "control": ("control", lambda v: v["input"]["payload"]),
    "payload": ("payload-handle", lambda v: v["input"].get("bytes")),
    "handshake": ("handshake", lambda v: v["input"].get("handshake") or v["expect"].get("handshake")),
    "channel-statement": ("channel-statement", lambda v: v["input"]["bytes"]),
    "channel-entry": ("channel-entry", lambda v: v["input"]["bytes"]),
    "channel-frame": ("channel-frame", lambda v: v["input"]["bytes"]),
    "sender-key": ("sender-key", lambda v: v["input"]["bytes"]),
    "event": ("event", lambda v: events.payload_of(v["input"]["bytes"])),
    "snapshot": ("snapshot", lambda v: v["input"]["bytes"]),
}
# What a control letter carries that is CBOR again.
_CARRIED = {"channel": "channel-word", "knock": "knock", "permit": "permit", "permit-over": "permit"}
# A choice between text and number depends on a table, and text on its characters: these are letter.md's to say.
_BEYOND_CDDL = {"letter/content-type-line-end", "letter/content-type-not-ascii", "letter/content-type-number-as-text"}


def check_vector(vector):
    _VECTOR.validate(vector)


def cddl_fault(name, vector):
    """What the CDDL says otherwise than the vector: of one that is taken, or that is refused for its shape; None if it agrees."""
    rule, find = _RULES.get(vector["area"], (None, lambda _: None))
    error = vector["expect"].get("error")
    data = find(vector)
    if data is None or error not in (None, "codec") or name in _BEYOND_CDDL:
        return None
    if (matches := _matches(bytes.fromhex(data), rule)) == (error is None):
        carried = _CARRIED.get(vector["expect"].get("what")) if rule == "control" else None
        matches = carried is None or _matches(bytes.fromhex(vector["expect"]["bytes"]), carried)
        return None if matches else f"carries what does not match the CDDL: {carried}"
    return "matches the CDDL, and is refused for its shape" if matches else "does not match the CDDL"


def _matches(data, rule):
    """Whether these are the deterministic bytes of the rule."""
    try:
        value = cbor2.loads(data)
    except Exception:
        return False
    return _CDDL.matches(value, rule) and cbor2.dumps(value, canonical=True) == data
