"""Streams of queries, and their forms (query.md)."""

import calls
import cbor
import messages
import primitives
from refused import refuse_unless
from registry import label, limit

FORM = [cbor.U32, cbor.optional(cbor.BYTES), messages.is_content_type, cbor.BYTES]


def keys(exporter, session, opener, other, publics, shared):
    """Q6: the transcript, and the keys of both directions."""
    secret = primitives.hmac_sha256(exporter, label("query"))
    transcript = primitives.sha256(label("query") + b"\0", session, opener, other, *publics)
    return transcript, primitives.hkdf(secret, shared, label("query_keys") + b"\0" + transcript, 2)


def seal(key, number, transcript, clear):
    """Q7"""
    return primitives.seal(key, bytes(4) + number.to_bytes(8, "big"), transcript, messages.pad(clear))


def read_form(data):
    """Q9"""
    longest = limit("payload_inline_max") + limit("call_len_max") + limit("content_type_len_max") + 32
    try:
        number, call, content_type, payload = cbor.decode(data, FORM, longest)
    except primitives.Refused:
        raise primitives.Refused("malformed") from None
    refuse_unless(len(payload) <= limit("payload_inline_max"), "malformed")
    if call is None:
        refuse_unless(payload == b"" and content_type == 42, "malformed")
    else:
        refuse_unless(calls.read_value(call)[0] in (1, 4), "malformed")
    return {"number": number, "call": call, "content_type": messages.CONTENT_FORMATS.get(content_type, content_type), "payload": payload}
