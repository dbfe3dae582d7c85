"""PyJWT, joserfc and jwcrypto verify what a running node has signed: tokens under every algorithm, and its signed statements.

    python verify.py       prints what failed and `N passed, N failed`; the program is $NUNCIO, or target/debug/nuncio
"""

import json
import sys
import time

sys.dont_write_bytecode = True  # this folder holds sources

import joserfc.jwk  # noqa: E402
import joserfc.jwt  # noqa: E402
import jwcrypto.jwk  # noqa: E402
import jwcrypto.jwt  # noqa: E402
import jwt  # noqa: E402
from node import DOMAIN, SCOPE, Ed25519, Node, base58, did, encode, flipped, jws, part, replace, thumbprint  # noqa: E402


def by_pyjwt(token, jwks, alg, typ, issuer):
    header = jwt.get_unverified_header(token)
    if header["typ"] != typ:
        raise ValueError("typ")
    key = jwt.PyJWKSet.from_json(jwks)[header["kid"]].key
    return jwt.decode(token, key, algorithms=[alg], audience=DOMAIN, issuer=issuer, options={"require": ["exp", "iat", "aud"]})


def by_joserfc(token, jwks, alg, typ, issuer):
    read = joserfc.jwt.decode(token, joserfc.jwk.KeySet.import_key_set(json.loads(jwks)), algorithms=[alg])
    if read.header["typ"] != typ:
        raise ValueError("typ")
    needed = {"essential": True}
    wanted = {"aud": needed | {"value": DOMAIN}, "iss": needed | {"value": issuer}, "exp": needed}
    joserfc.jwt.JWTClaimsRegistry(**wanted).validate(read.claims)
    return read.claims


def by_jwcrypto(token, jwks, alg, typ, issuer):
    claims = {"aud": DOMAIN, "iss": issuer, "exp": None}
    read = jwcrypto.jwt.JWT(jwt=token, key=jwcrypto.jwk.JWKSet.from_json(jwks), algs=[alg], check_claims=claims, expected_type="JWS")
    if json.loads(read.header)["typ"] != typ:
        raise ValueError("typ")
    return json.loads(read.claims)


LIBRARIES = {"PyJWT": by_pyjwt, "joserfc": by_joserfc, "jwcrypto": by_jwcrypto}
counts = {True: 0, False: 0}


def check(what, right, why=""):
    counts[bool(right)] += 1
    if not right:
        print(f"FAILED: {what} {why}")


def verifies(what, token, *given):
    """Claims, when it verifies and what was altered does not."""
    claims = {}
    for name, by in LIBRARIES.items():
        try:
            claims = by(token, *given)
            check(f"{what}: {name} verifies it", True)
        except Exception as error:
            check(f"{what}: {name} verifies it", False, repr(error))
        header, body, signature = token.split(".")
        wider = encode(json.dumps(part(token, 1) | {"scope": "everything"}).encode())
        none = encode(json.dumps(part(token, 0) | {"alg": "none"}).encode())
        own = Ed25519(99)
        bad = {
            "another signature": flipped(token),
            "another body": f"{header}.{wider}.{signature}",
            "alg none": f"{none}.{body}.",
            "another's key": jws(own, part(token, 1), part(token, 0)),
        }
        for why, altered in bad.items():
            try:
                by(altered, *given)
                check(f"{what}: {name} refuses it with {why}", False)
            except Exception:
                check(f"{what}: {name} refuses it with {why}", True)
        try:
            by(token, given[0], given[1], "JWT", given[3])
            check(f"{what}: {name} refuses it as another type", False)
        except Exception:
            check(f"{what}: {name} refuses it as another type", True)
    return claims


def tokens(algorithm):
    with Node(algorithm) as node:
        jwks = node.get("/jwks").body.decode()
        for key in json.loads(jwks)["keys"]:
            check(f"{algorithm}: kid is the thumbprint of its key", key["kid"] == thumbprint(key), key)
            check(f"{algorithm}: the key set tells no private half", not {"d", "p", "q", "k"} & key.keys())
            check(f"{algorithm}: the key says what it is for", (key["use"], key["alg"]) == ("sig", algorithm), key)
        given = jwks, algorithm, "txntoken+jwt", node.issuer
        first = node.begun()
        claims = verifies(f"{algorithm} first token", first, *given)
        check(f"{algorithm}: who and what", (claims.get("sub"), claims.get("scope")) == ("user:anna", SCOPE), claims)
        second = node.token("planner", replace(first, "booking", scope="travel.pay"))
        claims = verifies(f"{algorithm} second token", second, *given)
        check(f"{algorithm}: narrowed", (claims.get("sub"), claims.get("scope")) == ("user:anna", "travel.pay"), claims)
        check(f"{algorithm}: receiver and chain", (claims["hop"]["to"], claims["req_wl"]) == (did("booking"), "gateway,planner"), claims)
        own = {"kty": "OKP", "crv": "Ed25519", "x": encode(public_of(node.id))}
        statements(algorithm, node, json.dumps({"keys": [own | {"kid": thumbprint(own)}]}), jwks, first)


def statements(algorithm, node, own, jwks, token):
    """By the node's identity key alone, which no token is signed with."""
    keys = verifies(f"{algorithm} /keys", node.get("/keys").body.decode(), own, "EdDSA", "nuncio-keys+jwt", node.id)
    check(f"{algorithm} /keys: they are those of /jwks", keys.get("keys") == json.loads(jwks)["keys"])
    check(f"{algorithm} /keys: its end", 0 < keys["exp"] - keys["iat"] <= 86_400 and keys["exp"] > time.time())
    node.ask("operator", [("token", token)], path="/revoke")
    revoked = verifies(f"{algorithm} /revoked", node.get("/revoked").body.decode(), own, "EdDSA", "nuncio-revoked+jwt", node.id)
    check(f"{algorithm} /revoked: names it", [listed["txn"] for listed in revoked["txns"]] == [part(token, 1)["txn"]], revoked)
    check(f"{algorithm} /revoked: its end", 0 < revoked["exp"] - revoked["iat"] <= 3_600)
    for name, by in LIBRARIES.items():
        try:
            by(token, own, algorithm, "txntoken+jwt", node.issuer)
            check(f"{algorithm}: {name} finds no token signed by the identity key", False)
        except Exception:
            check(f"{algorithm}: {name} finds no token signed by the identity key", True)


def public_of(named):
    number = 0
    for digit in named.removeprefix("did:key:z"):
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(digit)
    data = number.to_bytes(34)
    if data[:2] != b"\xed\x01" or "did:key:z" + base58(data) != named:
        raise ValueError(named)
    return data[2:]


if __name__ == "__main__":
    for algorithm in ["EdDSA", "ES256", "RS256"]:
        try:
            tokens(algorithm)
        except Exception as error:
            check(f"{algorithm}: all of it runs", False, repr(error))
    print(f"{counts[True]} passed, {counts[False]} failed")
    sys.exit(counts[False] > 0)
