"""Letters of calls, and knocks (call.md)."""

import re
import unicodedata

import cbor
import messages
import primitives
from refused import refuse_unless
from registry import limit

WHATS = {1: "request", 2: "notice", 3: "part", 4: "answer", 5: "aside", 6: "end"}
CALL = [cbor.U8, cbor.TEXT, cbor.optional(16), cbor.many([cbor.TEXT, cbor.TEXT])]
KNOCK = [cbor.TEXT, cbor.optional(cbor.TEXT), cbor.TEXT, cbor.optional(16), cbor.optional(cbor.TEXT)]
SERVICE = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
# RFC 9110 section 5.6.2, in lower case.
FIELD = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
SPECIAL = {":method", ":path", ":status"}
# RFC 6749 section 3.3.
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def read_value(data):
    """X2 to X4: the extension's value alone."""
    try:
        what, service, session, head = cbor.decode(data, CALL, limit("call_len_max"))
    except primitives.Refused:
        raise primitives.Refused("malformed") from None
    refuse_unless(what in WHATS and is_service(service), "malformed")
    names = [name for name, _ in head]
    refuse_unless(len(head) <= limit("call_fields_max") and all(map(_is_field, head)), "malformed")
    refuse_unless(all(one.encode() < other.encode() for one, other in zip(names, names[1:])), "malformed")
    return what, service, session, head


def read_call(data, kind, replies, payload, beside):
    """Section 1."""
    what, service, session, head = read_value(data)
    what = WHATS[what]
    refuse_unless(kind == 16 and not {5, 6} & set(beside), "malformed")
    refuse_unless(what == "notice" or replies == (what in ("part", "answer")), "malformed")
    refuse_unless(session is not None or what not in ("aside", "end"), "malformed")
    refuse_unless(what != "end" or (payload == b"" and 1 not in beside), "malformed")
    return {"what": what, "service": service, "session": session, "head": head}


def is_service(name):
    """X2"""
    return len(name.encode()) <= limit("call_service_len_max") and bool(SERVICE.fullmatch(name))


def _is_field(field):
    """X4"""
    name, value = field
    known = name in SPECIAL or (bool(FIELD.fullmatch(name)) and len(name) <= limit("call_field_name_max"))
    plain = all(" " <= c <= "~" for c in value) and value == value.strip(" ")
    return known and plain and len(value) <= limit("call_field_len_max")


def is_knock(data):
    """X28"""
    try:
        line, service, scope, _, transaction = cbor.decode(data, KNOCK, limit("knock_len_max"))
        *_, secret = invitation = messages.read_invitation(line)
    except primitives.Refused:
        return False
    own = secret is None and messages.write_invitation(*invitation) == line
    return own and (service is None or is_service(service)) and is_scope(scope) and _is_shown(transaction)


def is_scope(text):
    """token.md K5, ascending; may be empty."""
    scopes = text.split(" ") if text else []
    return all(SCOPE.fullmatch(scope) for scope in scopes) and scopes == sorted(set(scopes))


def _is_shown(text):
    if text is None:
        return True
    plain = all(unicodedata.category(c) != "Cc" for c in text)
    return 1 <= len(text.encode()) <= limit("event_text_max") and plain
