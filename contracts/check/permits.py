"""Permits (permit.md)."""

import base64
import re

import calls
import cbor
import messages
import primitives
from primitives import sha256
from refused import Refused, refuse_unless
from registry import label, limit

LINK = [32, cbor.TEXT, cbor.U64, cbor.U8, 64]
PERMIT = [32, cbor.TEXT, cbor.many(LINK)]
SCHEME = "nuncio-permit:"
BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def outcome(given):
    data = _of_line(given["line"]) if "line" in given else bytes.fromhex(given["bytes"])
    giver, service, links = _read(data)
    if "asked" in given:
        return {"allowed": _allowed(giver, service, links, given["asked"])}
    line = SCHEME + base64.urlsafe_b64encode(data).decode().rstrip("=")
    return {"giver": giver, "service": service, "links": links, "line": line}


def _of_line(line):
    """P6"""
    line = line.strip(" \t\r\n")
    refuse_unless(line.startswith(SCHEME), "not-permit")
    text = line.removeprefix(SCHEME)
    refuse_unless(BASE64URL.fullmatch(text) and len(text) % 4 != 1, "not-permit")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    refuse_unless(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "not-permit")
    return data


def _read(data):
    """P1 to P5: who gave it, for which service, and its links."""
    key, service, links = cbor.decode(data, PERMIT, limit("permit_len_max"))
    signer = primitives.check_agent_key(key)
    refuse_unless(calls.is_service(service), "service")
    refuse_unless(1 <= len(links) <= limit("permit_links_max"), "links")
    above, digest, read = None, None, []
    for holder, scope, until, further, signature in links:
        primitives.check_agent_key(holder)
        scopes = set(scope.split(" "))
        refuse_unless(scope and calls.is_scope(scope), "scope")
        if above is None:
            refuse_unless(further < limit("permit_links_max"), "links")
        else:
            refuse_unless(scopes <= above[0] and until <= above[1] and further < above[2], "wider")
        body = cbor.encode([key, service, digest, holder, scope, until, further])
        primitives.verify(signer, label("permit"), body, signature)
        digest = sha256(label("permit"), b"\0", body)
        said = {"by": messages.did(signer), "holder": messages.did(holder), "scope": scope}
        read.append(said | {"until": until, "further": further, "id": digest[:16]})
        above, signer = (scopes, until, further), holder
    return messages.did(key), service, read


def _allowed(giver, service, links, asked):
    """P7"""
    revoked = {bytes.fromhex(id) for id in asked["revoked"]}
    refuse_unless(giver == asked["giver"], "giver")
    refuse_unless(links[-1]["holder"] == asked["holder"], "holder")
    refuse_unless(service == asked["service"], "service")
    refuse_unless(asked["now"] < links[-1]["until"], "over")
    if any(link["id"] in revoked for link in links):
        raise Refused("revoked")
    return links[-1]["scope"]
