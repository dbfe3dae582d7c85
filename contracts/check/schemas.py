"""contracts/schema and contracts/cddl, held against the vectors: a schema that nothing is read by rots."""

import json
from pathlib import Path

import jsonschema
import pycddl

CONTRACTS = Path(__file__).parent.parent

_VECTOR = jsonschema.Draft202012Validator(json.loads((CONTRACTS / "schema/vector.json").read_text()))
_CDDL = (CONTRACTS / "cddl/nuncio.cddl").read_text()

# Where good vectors keep CBOR, and the rule that it is of.
_RULES = {
    "bundle": ("bundle", lambda v: v["input"]["bytes"]),
    "retirement": ("retirement", lambda v: v["input"]["bytes"]),
    "frame": ("frame", lambda v: v["input"]["bytes"]),
    "sealing": ("frame", lambda v: v["expect"]["frame"]),
    "letter": ("letter", lambda v: v["input"]["bytes"]),
    "control": ("control", lambda v: v["input"]["payload"]),
    "payload": ("payload-handle", lambda v: v["input"].get("bytes")),
    "handshake": ("handshake", lambda v: v["expect"].get("handshake")),
    "snapshot": ("snapshot", lambda v: v["input"]["bytes"]),
}
_SCHEMAS = {rule: pycddl.Schema(f"start = {rule}\n{_CDDL}") for rule, _ in _RULES.values()}


def check_vector(vector):
    _VECTOR.validate(vector)


def check_cddl(vector):
    """The CBOR of a vector that was taken is what the CDDL says."""
    if vector["area"] in _RULES:
        rule, find = _RULES[vector["area"]]
        found = find(vector)
        if found is not None:
            _SCHEMAS[rule].validate_cbor(bytes.fromhex(found))
