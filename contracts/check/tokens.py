"""token.md: key sets, and transaction tokens as a receiver checks them."""

import base64
import hashlib
import json
import math
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

import messages
import primitives
from refused import Refused, refuse_unless
from registry import label, limit, time

MALFORMED = "token_malformed"


# --- bytes and JSON ---

SEGMENT = re.compile(r"[A-Za-z0-9_-]*")


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text, name=MALFORMED):
    """base64url in its one spelling."""
    refuse_unless(isinstance(text, str) and SEGMENT.fullmatch(text) and len(text) % 4 != 1, name)
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    refuse_unless(encode(data) == text, name)
    return data


def sized(text, length):
    data = decode(text)
    refuse_unless(len(data) == length, MALFORMED)
    return data


def _members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _float(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError("beyond binary64")
    return number


def _int(text):
    """An int only if it is one as K4 wants it."""
    return int(text) if len(text) <= 20 and text.isdigit() and int(text) < 2**64 else _float(text)


def _constant(text):
    raise ValueError(text)


def _check_inside(value, levels):
    match value:
        case str():
            value.encode()  # half a surrogate pair has no UTF-8
        case dict() | list():
            if levels == 0:
                raise ValueError("nested too deep")
            for item in [*value, *value.values()] if isinstance(value, dict) else value:
                _check_inside(item, levels - 1)


def read_object(data, name=MALFORMED):
    """One object and nothing else (K3)."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_members, parse_int=_int, parse_float=_float, parse_constant=_constant)
        _check_inside(value, limit("token_depth_max"))
    except (ValueError, RecursionError):
        raise Refused(name) from None
    refuse_unless(isinstance(value, dict), name)
    return value


# --- section 4: key sets ---

SET_LEN_MAX, SET_KEYS_MAX = 64 * 1024, 32
RSA_BITS_MIN = 2048
ALGORITHMS = {"EdDSA": "OKP", "Ed25519": "OKP", "ES256": "EC", "RS256": "RSA"}


def thumbprint(**required):
    """RFC 7638."""
    return hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()


def thumbprint_of_agent(did):
    return thumbprint(crv="Ed25519", kty="OKP", x=encode(messages.agent_of(did)))


def read_key_set(text):
    """Keys by their thumbprints: what kind each is, and its numbers."""
    data = text.encode()
    refuse_unless(len(data) <= SET_LEN_MAX, "not-key-set")
    listed = read_object(data, "not-key-set").get("keys")
    refuse_unless(isinstance(listed, list), "not-key-set")
    keys = {}
    for jwk in listed[:SET_KEYS_MAX]:
        texts = {name: value for name, value in jwk.items() if isinstance(value, str)} if isinstance(jwk, dict) else {}
        if texts.get("use", "sig") != "sig":
            continue
        try:
            name, key = _read_key(texts)
        except (Refused, KeyError):
            continue
        refuse_unless(texts.get("kid", encode(name)) == encode(name), "not-key-set")
        keys[name] = key
    return keys


def _read_key(jwk):
    match jwk["kty"], jwk.get("crv"):
        case "OKP", "Ed25519":
            public = primitives.check_agent_key(sized(jwk["x"], 32))
            return thumbprint(crv="Ed25519", kty="OKP", x=jwk["x"]), ("OKP", public)
        case "EC", "P-256":
            point = [int.from_bytes(sized(jwk[name], 32)) for name in "xy"]
            return thumbprint(crv="P-256", kty="EC", x=jwk["x"], y=jwk["y"]), ("EC", *point)
        case "RSA", None:
            n, e = decode(jwk["n"]), int.from_bytes(decode(jwk["e"]))
            refuse_unless(n[:1] != b"\0" and int.from_bytes(n).bit_length() >= RSA_BITS_MIN, "passed over")
            return thumbprint(e=jwk["e"], kty="RSA", n=jwk["n"]), ("RSA", int.from_bytes(n), e)
    raise Refused("passed over")


def verifies(key, message, signature):
    match key:
        case "OKP", public:
            return primitives.is_signed(public, message, signature)
        case "EC", x, y:
            return _is_signed_by_p256(x, y, message, signature)
        case "RSA", n, e:
            check = lambda: rsa.RSAPublicNumbers(e, n).public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())  # noqa: E731
            return _holds(check)


def _is_signed_by_p256(x, y, message, signature):
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    public = lambda: ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()  # noqa: E731
    check = lambda: public().verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))  # noqa: E731
    return len(signature) == 64 and _holds(check)


def _holds(check):
    try:
        check()
    except (InvalidSignature, ValueError):
        return False
    return True


# --- section 1: claims ---

REQUIRED_TEXTS = ("aud", "txn", "sub", "scope", "req_wl", "jti")
SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


def _is_text(value):
    return isinstance(value, str) and value != ""


def _is_integer(value, largest=2**64 - 1):
    return type(value) is int and value <= largest


def _object_in(members, name):
    refuse_unless(isinstance(members.get(name), dict), MALFORMED)
    return members[name]


def read_claims(data):
    """K3 to K8."""
    body = read_object(data)
    refuse_unless(all(_is_text(body.get(name)) for name in REQUIRED_TEXTS), MALFORMED)
    refuse_unless(_is_integer(body.get("iat")) and _is_integer(body.get("exp")), MALFORMED)
    refuse_unless("iss" not in body or _is_text(body["iss"]), MALFORMED)
    for name in {"act", "agentic_ctx", "tctx", "rctx"} & body.keys():
        _object_in(body, name)
    scopes = read_scope(body["scope"])
    holder, hop = sized(_object_in(body, "cnf").get("jkt"), 32), _read_hop(_object_in(body, "hop"))
    chain = body.get("req_wl_chain")
    refuse_unless(isinstance(chain, list) and all(_is_text(name) and "," not in name for name in chain), MALFORMED)
    refuse_unless(",".join(chain) == body["req_wl"] and len(chain) == hop["n"] + 1, MALFORMED)
    return body | {"scope": scopes, "cnf": holder, "hop": hop}


def read_scope(text):
    refuse_unless(SCOPE.fullmatch(text), MALFORMED)
    scopes = text.split(" ")
    refuse_unless(len(set(scopes)) == len(scopes), MALFORMED)
    return set(scopes)


def receiver_of(text):
    """token.md K8: an agent's key, or beside it the id of a channel"""
    if re.fullmatch("[0-9a-f]{64}", text):
        return "channel", bytes.fromhex(text)
    return messages.agent_of(text)


def _read_hop(hop):
    refuse_unless(_is_integer(hop.get("n"), 255) and _is_integer(hop.get("max"), limit("hops_max")), MALFORMED)
    refuse_unless(_is_text(hop.get("to")), MALFORMED)
    try:
        to = receiver_of(hop["to"])
    except Refused:
        raise Refused(MALFORMED) from None
    refuse_unless((hop["n"] == 0) == ("prev" not in hop), MALFORMED)
    if "prev" in hop:
        sized(hop["prev"], 32)
    pay = None
    if "pay" in hop:
        pay = _object_in(hop, "pay")
        pay = sized(pay.get("salt"), 16), sized(pay.get("hash"), 32)
    return {"n": hop["n"], "max": hop["max"], "to": to, "pay": pay}


# --- section 3 ---


class Needed(Exception):
    """The key of this thumbprint."""


def open_token(text, keys):
    """Steps 1 to 5."""
    refuse_unless(len(text.encode()) <= limit("token_len_max") and text.count(".") == 2, MALFORMED)
    header, body, signature = text.split(".")
    kind, kid = _read_header(decode(header))
    if kid not in keys:
        raise Needed(encode(kid))
    refuse_unless(keys[kid][0] == kind, "token_algorithm")
    signature = decode(signature)
    refuse_unless(verifies(keys[kid], text.rpartition(".")[0].encode(), signature), "token_signature")
    return read_claims(decode(body))


def _read_header(data):
    header = read_object(data)
    alg = header.get("alg")
    refuse_unless(isinstance(alg, str) and alg in ALGORITHMS, "token_algorithm")
    refuse_unless(header.get("typ") == "txntoken+jwt", "token_type")
    refuse_unless(not {"crit", "b64"} & header.keys(), MALFORMED)
    return ALGORITHMS[alg], sized(header.get("kid"), 32)


def check(claims, given):
    """Steps 6 to 14."""
    hop, peer = claims["hop"], thumbprint_of_agent(given["peer"])
    refuse_unless(claims["aud"] == given["domain"], "token_audience")
    _check_time(claims["iat"] * 1000, claims["exp"] * 1000, given["now"])
    refuse_unless(claims["cnf"] == peer, "token_sender")
    refuse_unless(hop["to"] == receiver_of(given["receiver"]), "token_receiver")
    refuse_unless(hop["n"] <= hop["max"], "token_hops")
    refuse_unless(claims["txn"] not in given["revoked"], "token_revoked")
    wanted = read_scope(given["wanted"]) if given["wanted"] else set()
    refuse_unless(wanted <= claims["scope"], "token_scope")
    refuse_unless(_is_of(hop["pay"], bytes.fromhex(given["content"])), "token_payload")
    first = given["first_seen_from"]
    refuse_unless(first is None or thumbprint_of_agent(first) == peer, "token_sender")


def _check_time(iat, exp, now):
    refuse_unless(exp > now - time("token_skew"), "token_expired")
    refuse_unless(iat < now + time("token_skew"), "token_early")
    refuse_unless(iat < exp <= iat + time("token_life_max"), "token_life")


def _is_of(pay, content):
    return pay is None or pay[1] == primitives.sha256(label("payload_hash"), b"\0", pay[0], content)


# --- section 5 ---


def read_statement(given):
    text, node = given["statement"], messages.agent_of(given["node"])
    refuse_unless(len(text.encode()) <= limit("statement_len_max") and text.count(".") == 2, "malformed")
    header, body, signature = text.split(".")
    try:
        _check_signer(read_object(decode(header)), given)
        signed = text.rpartition(".")[0].encode()
        refuse_unless(verifies(("OKP", node), signed, sized(signature, 64)), "signature")
        return _read_members(read_object(decode(body)), given)
    except Refused as refused:
        raise Refused("malformed" if refused.name in (MALFORMED, "not-key-set") else refused.name) from None


def _check_signer(header, given):
    wanted = {"keys": "nuncio-keys+jwt", "revoked": "nuncio-revoked+jwt"}[given["what"]]
    refuse_unless(header.get("typ") == wanted, "type")
    kid = encode(thumbprint_of_agent(given["node"]))
    refuse_unless(header.get("alg") in ("EdDSA", "Ed25519") and header.get("kid") == kid, "signature")
    refuse_unless(not {"crit", "b64"} & header.keys(), MALFORMED)


def _read_members(members, given):
    refuse_unless(members.get("iss") == given["node"], "signature")
    refuse_unless(members.get("aud") == given["domain"], "domain")
    issued = _seconds(members, "iat")
    refuse_unless(issued * 1000 < given["now"] + time("token_skew"), "time")
    if given["what"] == "keys":
        expires = _seconds(members, "exp")
        refuse_unless(expires * 1000 > given["now"] - time("token_skew"), "time")
        keys = read_key_set(json.dumps({"keys": members.get("keys")}))
        return {"issued": issued, "expires": expires, "keys": sorted(encode(kid) for kid in keys)}
    listed = members.get("txns")
    refuse_unless(isinstance(listed, list), MALFORMED)
    names = [entry.get("txn") if isinstance(entry, dict) else None for entry in listed]
    refuse_unless(all(_is_text(name) for name in names), MALFORMED)
    return {"expires": _seconds(members, "exp"), "serial": _seconds(members, "serial"), "transactions": sorted(set(names))}


def _seconds(members, name):
    refuse_unless(_is_integer(members.get(name), 2**64 - 1), MALFORMED)
    return members[name]


# --- section 6 ---


def read_hop_proof(given):
    try:
        return _read_hop_proof(given["proof"], given)
    except Refused:
        raise Refused("token_proof") from None


def _read_hop_proof(proof, given):
    sender, letter = messages.agent_of(given["from"]), bytes.fromhex(given["letter"])
    refuse_unless(len(proof.encode()) <= limit("hop_proof_len_max") and proof.count(".") == 2, MALFORMED)
    header, body, signature = proof.split(".")
    header, said = read_object(decode(header)), read_object(decode(body))
    refuse_unless(header.get("typ") == "nuncio-hop+jwt" and header.get("alg") in ("EdDSA", "Ed25519"), MALFORMED)
    refuse_unless(header.get("kid") == encode(thumbprint_of_agent(given["from"])), MALFORMED)
    refuse_unless(not {"crit", "b64"} & header.keys(), MALFORMED)
    refuse_unless(verifies(("OKP", sender), proof.rpartition(".")[0].encode(), sized(signature, 64)), MALFORMED)
    content = messages.content_of(letter)
    meant = {
        "iss": given["from"],
        "aud": given["to"],
        "jti": messages.letter_id_in(letter).hex(),
        "sid": given["session"],
        "tth": encode(bytes.fromhex(given["token"])),
        "mh": encode(primitives.sha256(label("hop_proof"), b"\0", content)),
    }
    refuse_unless(all(said.get(name) == value for name, value in meant.items()), MALFORMED)
    return {"content": content}


def outcome(given):
    keys = read_key_set(given["keys"])
    try:
        claims = open_token(given["token"], keys)
    except Needed as needed:
        return {"need": str(needed)}
    check(claims, given)
    return {
        "transaction": claims["txn"],
        "principal": claims["sub"],
        "scope": sorted(claims["scope"]),
        "hops_left": claims["hop"]["max"] - claims["hop"]["n"],
        "hash": primitives.sha256(given["token"].encode()),
    }
