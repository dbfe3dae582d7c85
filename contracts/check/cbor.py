"""Canonical CBOR of a known shape, or refused (contracts/README.md, "Encoding").

A shape is an int (a byte string of that length), BYTES, TEXT, BOOL, ("uint", bits), ("optional", shape), ("list", shape), or a Python list of
shapes (an array of just these items).
"""

import io

import cbor2

from refused import Refused, refuse_unless

BYTES, TEXT, BOOL = "bytes", "text", "bool"
U8, U16, U32, U64 = (("uint", bits) for bits in (8, 16, 32, 64))


def optional(shape):
    return ("optional", shape)


def many(shape):
    return ("list", shape)


def decode(data, shape, longest):
    refuse_unless(len(data) <= longest, "too-long")
    try:
        value = cbor2.CBORDecoder(io.BytesIO(data)).decode()
    except Exception:  # whatever a decoder makes of bytes that are no CBOR
        raise Refused("codec") from None
    # The shape comes first: what has it is written by the library in its shortest form.
    refuse_unless(_has(value, shape) and encode(value) == data, "codec")
    return value


def encode(value):
    return cbor2.dumps(value, canonical=True)


def _has(value, shape):
    match shape:
        case int():
            return type(value) is bytes and len(value) == shape
        case "bytes":
            return type(value) is bytes
        case "text":
            return type(value) is str
        case "bool":
            return type(value) is bool
        case ("uint", bits):
            return type(value) is int and 0 <= value < 1 << bits
        case ("optional", inner):
            return value is None or _has(value, inner)
        case ("list", inner):
            return type(value) is list and all(_has(item, inner) for item in value)
        case list():
            return type(value) is list and len(value) == len(shape) and all(map(_has, value, shape))
        case _ if callable(shape):
            return shape(value)
    raise TypeError(shape)
