"""What is asked, for whom, under which policy: contracts/txts.md sections 2 to 4; draft, Txn-Token Request, Subject Token Types, Request Processing."""

import hashlib
import json
import time

from node import (API, DOMAIN, EXCHANGE, KEYS, LOGIN, SCOPE, TYPE, P256, access_token, begin, bend, did, encode, exchange, flipped, jws, part)  # fmt: skip

REQUEST = "Draft: Txn-Token Request"
URN = "urn:ietf:params:oauth:token-type:"


def run(walk):
    forms(walk)
    parameters(walk)
    subjects(walk)
    scopes(walk)
    details(walk)


def forms(walk):
    """N6: one form, each parameter once."""
    node = walk.node
    form = "application/x-www-form-urlencoded"
    send = lambda kind: node.post(node.asserted(begin(), "gateway"), headers={"Content-Type": kind})  # noqa: E731
    for kind in (form, f"{form};charset=UTF-8", f'{form}; charset="utf-8"', form.upper()):
        walk.issued("N6", f"content type {kind}", send(kind))
    for kind in ("application/json", "text/plain", "multipart/form-data", f"{form};charset=iso-8859-1", f"{form};charset=UTF-16", ""):
        walk.refused("N6", f"content type {kind!r}", send(kind), "invalid_request")
    as_json = json.dumps(dict(node.asserted(begin(), "gateway")))
    walk.refused("N6", "JSON", node.post(as_json, headers={"Content-Type": "application/json"}), "invalid_request")

    for name, value in [*begin(), *node.asserted([], "gateway")]:
        walk.refused("N6", f"{name} twice", node.post([*node.asserted(begin(), "gateway"), (name, value)]), "invalid_request")
    for extra in ([("resource", ""), ("resource", did("planner"))], [("x", "1"), ("x", "2")], [("x", ""), ("x", "")]):
        walk.refused("N6", f"twice: {extra}", node.post(node.asserted([*begin(), *extra], "gateway")), "invalid_request")
    encoded = "&".join(f"{name}={value.replace('+', '%2B').replace(' ', '+')}" for name, value in node.asserted(begin(), "gateway"))
    walk.refused("N6", "twice, once percent-encoded", node.post(f"{encoded}&%73cope=travel.pay"), "invalid_request")
    for extra in (("foo", "bar"), ("resource", ""), ("request_details", ""), ("actor_token", ""), ("client_secret", ""), ("refresh_token", "x"), ("", "x")):
        walk.issued("N6", f"unknown or empty: {extra}", node.post(node.asserted([*begin(), extra], "gateway")), scope=SCOPE)
    for bad in ("a=%", "a=%4", "a=%zz", "a=%ff", "%ff=a", "a=%c0%80", "a=%ed%a0%80"):
        fresh = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in node.asserted(begin(), "gateway"))
        walk.refused("N6", f"encoding {bad}", node.post(f"{fresh}&{bad}"), "invalid_request")
    walk.refused("N6", "an empty body", node.post(""), "invalid_client")
    walk.refused("N6", "over 32 KiB", node.post(node.asserted([*begin(), ("x", "x" * 33_000)], "gateway")), "invalid_request", 413)
    chunks = (b"x" * 8_192 for _ in range(5))
    walk.refused("N6", "over 32 KiB in chunks", node.send("POST", "/token", chunks, {"Content-Type": form}), "invalid_request", 413)
    walk.issued("N6", "under 32 KiB", node.post(node.asserted([*begin(), ("x", "x" * 30_000)], "gateway")))
    late = [pair for pair in begin() if pair[0] != "scope"]
    walk.refused("N6", "a parameter in the query is none", node.ask("gateway", late, path="/token?scope=travel.pay"), "invalid_request")


def parameters(walk):
    node = walk.node
    ask = lambda **bent: node.ask("gateway", begin(**bent))  # noqa: E731
    for name in ("grant_type", "audience", "scope", "requested_token_type", "subject_token", "subject_token_type"):
        walk.refused(REQUEST, f"without {name}", ask(**{name: None}), "invalid_request")
        walk.refused("N7", f"with an empty {name}", ask(**{name: ""}), "invalid_request")
    for value in ("client_credentials", "authorization_code", "refresh_token", "password", EXCHANGE.upper(), EXCHANGE + " "):
        walk.refused(REQUEST, f"grant_type {value}", ask(grant_type=value), "unsupported_grant_type")
    for value in ("access_token", "refresh_token", "jwt", "txn-token", "txn_token "):
        walk.refused(REQUEST, f"requested_token_type {value}", ask(requested_token_type=TYPE + value), "invalid_request")
    for value in ("other.example", f"https://{DOMAIN}", DOMAIN.upper(), f"{DOMAIN} other.example", node.issuer):
        walk.refused(REQUEST, f"audience {value}", ask(audience=value), "invalid_target")
    for value in (" ", " travel.pay", "travel.pay ", "travel.book  travel.pay", "travel.pay travel.pay", 'travel."pay"', "travel.p\\ay", "reisé", "a\tb", "a\x00"):
        walk.refused("N7", f"scope {value!r}", ask(scope=value), "invalid_scope")
    for name in ("request_details", "request_context"):
        bad = ["[]", "1", "null", '"x"', "{", "{}x", '{"a":1,"a":1}', '{"a":1,"\\u0061":1}', "\ufeff{}", '{"a":1e999}', '{"a":"\\ud800"}', "{'a':1}"]
        for value in [*bad, '{"a":{"b":1,"b":2}}', '{"a":' + "[" * 16 + "]" * 16 + "}"]:
            walk.refused("N7", f"{name} {value[:30]!r}", ask(**{name: value}), "invalid_request")
        walk.issued("N7", f"{name} is plain JSON", ask(**{name: '{"a":"\\u00e9","b":[1,{"c":null}]}'}))
    walk.refused("N7", "actor_token", ask(actor_token=access_token(), actor_token_type=URN + "access_token"), "invalid_request")
    walk.refused("N7", "actor_token alone", ask(actor_token=access_token()), "invalid_request")

    for value in ("planner", "https://planner.example", "did:web:planner.example", "did:key:z6Mk", did("planner") + "#x", did("planner").replace("z6", "z7")):
        walk.refused("N8", f"resource {value[:24]}", ask(resource=value), "invalid_target")
    walk.refused("N14", "a receiver that no grant names", ask(resource=did("booking")), "invalid_target")
    for value in ("17", "-1", "+1", "1.0", "0x1", "001", "one", "999999999999"):
        walk.refused("N8", f"hops_max {value}", ask(hops_max=value), "invalid_request")
    for value, least in (("0", 0), ("2", 2), ("03", 3), ("16", 3)):
        claims = walk.issued("N8", f"hops_max {value}", ask(hops_max=value))
        walk.holds("N17", f"hop.max for {value}", claims["hop"]["max"] == least, claims["hop"])
    salt, digest = encode(b"s" * 16), encode(b"h" * 32)
    claims = walk.issued("N8", "payload_hash", ask(payload_hash=f"{salt}.{digest}"))
    walk.holds("N8", "hop.pay", claims["hop"]["pay"] == {"salt": salt, "hash": digest}, claims["hop"])
    for value in (salt, f"{digest}.{salt}", f"{salt}.{digest}=", f"{salt}.{digest}.x", f".{digest}", f"{salt}+.{digest}"):
        walk.refused("N8", f"payload_hash {value[:30]}", ask(payload_hash=value), "invalid_request")


def subjects(walk):
    """N9; draft, Subject Token Types, and what validates a subject token."""
    node, now, section = walk.node, int(time.time()), "Draft: Subject Token Types"
    ask = lambda kind, token, **bent: node.ask("gateway", exchange(kind, token, **bent))  # noqa: E731
    for kind in ("access_token", "jwt"):
        walk.issued(section, kind, ask(kind, access_token()), sub="user:anna", scope=SCOPE)
    for header in ({"alg": "Ed25519"}, {"alg": "EdDSA", "typ": "JWT"}, {"alg": "EdDSA", "typ": "application/at+jwt"}):
        walk.issued("N9", f"header {header}", ask("access_token", access_token(header=header)))
    walk.issued("N9", "one audience of several", ask("access_token", access_token({"aud": ["x", API]})))
    walk.refused("Draft: Refresh Tokens", "a refresh token", ask("refresh_token", "tGzv3JOkF0XG5Qx2TlKWIA"), "invalid_request")
    walk.refused("Draft: Refresh Tokens", "a JWT as one", ask("refresh_token", access_token()), "invalid_request")
    for kind in (URN + "saml1", URN + "saml2", "access_token", URN, URN + "ACCESS_TOKEN", "urn:x:access_token", "x"):
        walk.refused(section, f"type {kind}", ask("jwt", access_token(), subject_token_type=kind), "invalid_request")
    walk.refused("N14", "a type of no grant", ask("id_token", access_token()), "unauthorized_client")
    walk.refused("N14", "a type that the client is not for", ask("unsigned_json", '{"sub":"user:anna"}'), "unauthorized_client")

    good = access_token()
    header, body, signature = good.split(".")
    wider = encode(json.dumps(part(good, 1) | {"scope": "everything"}).encode())
    for what, bad in {
        "another signature": flipped(good),
        "another body": f"{header}.{wider}.{signature}",
        "no signature": f"{header}.{body}.",
        "alg none": encode(b'{"alg":"none","typ":"at+jwt"}') + f".{body}.",
        "alg HS256": access_token(header={"alg": "HS256"}),
        "an alg that is not the key's": access_token(header={"alg": "ES256"}),
        "another's key": access_token(key=KEYS["stranger"]),
        "a client's key": access_token(key=KEYS["gateway"]),
        "another's key in the header": access_token(key=KEYS["stranger"], header={"alg": "EdDSA", "jwk": KEYS["stranger"].jwk}),
        "another's P-256 key": access_token(key=(other := P256()), header={"alg": "ES256", "jwk": other.jwk}),
        "crit": access_token(header={"alg": "EdDSA", "crit": ["exp"]}),
        "typ of a proof": access_token(header={"alg": "EdDSA", "typ": "dpop+jwt"}),
        "typ of a transaction token": access_token(header={"alg": "EdDSA", "typ": "txntoken+jwt"}),
        "no typ that is a text": access_token(header={"alg": "EdDSA", "typ": 7}),
        "a claim twice": jws(KEYS["login"], json.dumps(part(good, 1)).replace("{", '{"sub": "ben", ', 1), {"alg": "EdDSA"}),
        "half a surrogate pair": jws(KEYS["login"], json.dumps(part(good, 1) | {"x": "\ud800"}), {"alg": "EdDSA"}),
        "no JSON": jws(KEYS["login"], "anna"),
        "over 8 KiB": access_token({"x": "x" * 8_192}),
        "another's assertion": node.assertion("planner"),
        "nonsense": "x",
    }.items():
        walk.refused("Draft: Txn-Token Request Processing", what, ask("access_token", bad), "invalid_request")
    for bent in [
        {"exp": now - 31}, {"exp": None}, {"exp": str(now + 60)}, {"nbf": now + 60}, {"iat": now + 60}, {"aud": "https://other.example"}, {"aud": None},
        {"aud": DOMAIN}, {"iss": "https://other.example"}, {"iss": None}, {"iss": LOGIN + "/"}, {"sub": None}, {"sub": ""}, {"sub": 7},
    ]:  # fmt: skip
        walk.refused("N9", f"claims {bent}", ask("access_token", access_token(bent)), "invalid_request")

    section = "Draft: Self-Signed Subject Token Type"
    claims = {"iss": "gateway", "sub": "user:ben", "aud": node.issuer, "iat": now, "exp": now + 60}
    own = lambda bent, **more: ask("self_signed", jws(more.pop("key", KEYS["gateway"]), bend(claims, bent), more.get("header")))  # noqa: E731
    for bent in ({}, {"iss": did("gateway")}, {"aud": node.id}, {"aud": ["x", node.issuer]}, {"more": 1}):
        walk.issued(section, f"claims {bent}", own(bent), sub="user:ben")
    for bent in [
        {"iss": None}, {"iss": "planner"}, {"iss": LOGIN}, {"sub": None}, {"sub": ""}, {"aud": None}, {"aud": "https://other.example"}, {"aud": DOMAIN}, {"iat": None},
        {"iat": now - 400}, {"iat": now + 60}, {"exp": None}, {"exp": now - 40},
    ]:  # fmt: skip
        walk.refused(section, f"claims {bent}", own(bent), "invalid_request")
    walk.refused(section, "another's key", own({}, key=KEYS["planner"]), "invalid_request")
    walk.refused(section, "typ of an access token", own({}, header={"alg": "EdDSA", "typ": "at+jwt"}), "invalid_request")
    walk.refused(section, "a principal that no grant names", own({"sub": "root"}), "unauthorized_client")
    walk.refused(section, "an access token as one", ask("self_signed", access_token()), "invalid_request")


def scopes(walk):
    node = walk.node
    ask = lambda asked, **bent: node.ask("gateway", exchange("access_token", access_token(bent), scope=asked))  # noqa: E731
    processing, unknown = "Draft: Scope Processing", "Draft: Unknown subject_token scope"
    for bent in ({"scope": "travel.pay"}, {"scope": None, "scp": "travel.pay"}, {"scope": None, "scp": ["travel.pay", "travel.see"]}):
        walk.issued("N10", f"scope from {bent}", ask("travel.pay", **bent), scope="travel.pay")
        walk.refused(processing, f"more than {bent}", ask("travel.pay travel.book", **bent), "invalid_scope")
    walk.issued(processing, "as asked, in whatever order", ask("travel.pay travel.book"), scope=SCOPE)
    walk.refused("N12", "more than the client's grant", ask("travel.cancel"), "invalid_scope")
    walk.refused("N12", "in part more", ask("travel.pay travel.cancel"), "invalid_scope")
    walk.refused("N12", "no scope implies another", ask("travel"), "invalid_scope")
    walk.refused("N12", "case counts", ask("Travel.pay"), "invalid_scope")
    for bent in ({"scope": None}, {"scope": ""}, {"scope": ["travel.pay"]}, {"scope": 7}, {"scp": SCOPE}, {"scope": None, "scp": [7]}, {"scope": None, "scp": {}}):
        walk.refused(unknown, f"scope of {bent}", ask("travel.pay", **bent), "invalid_scope")
    walk.refused("N14", "the planner begins nothing", node.ask("planner", begin()), "unauthorized_client")
    walk.refused("N14", "a client without a grant", node.ask("operator", begin()), "unauthorized_client")


def details(walk):
    """N15; draft, Transaction Context, Access Tokens."""
    node = walk.node
    given = {"trip": {"no": "4711"}, "card": "4111", "note": "x", "tier": "platinum", "mail": "eve@example", "unnamed": 1}
    context = {"req_ip": "192.0.2.7", "authn": "face"}
    answer = node.ask("gateway", begin(request_details=json.dumps(given), request_context=json.dumps(context)))
    card = encode(hashlib.sha256(b'"4111"').digest())
    wanted = {"trip": {"no": "4711"}, "card": card, "tier": "gold", "mail": "anna@login.example"}
    claims = walk.issued("N15", "copied, hashed, dropped, given, claimed", answer, tctx=wanted, rctx={"req_ip": "192.0.2.7"})
    walk.holds("N17", "act is the holder", claims["act"] == {"sub": did("gateway")}, claims["act"])
    claims = walk.issued("N17", "act around act", node.ask("gateway", exchange("access_token", access_token({"act": {"sub": "front"}}))))
    walk.holds("N17", "who acted before", claims["act"] == {"sub": did("gateway"), "act": {"sub": "front"}}, claims["act"])
    walk.holds("N17", "agentic_ctx of the policy", claims["agentic_ctx"] == {"agent": "gateway"})
    ends = int(time.time()) + 100
    claims = walk.issued("N17", "the transaction ends with the subject's token", node.ask("gateway", exchange("access_token", access_token({"exp": ends}))), txn_exp=ends)
    walk.holds("N18", "and so does its token", claims["exp"] == ends, claims["exp"])
    token = access_token()
    answer = node.ask("gateway", exchange("access_token", token))
    walk.holds("Draft: Access Tokens", "the token does not hold the subject's", token not in json.dumps(part(answer.json["access_token"], 1)))
    for what, held in {"whole": token, "in a text": f"Bearer {token}", "deeper": [{"x": token}], "as a name": {token: 1}}.items():
        form = exchange("access_token", token, request_details=json.dumps({"trip": held}))
        walk.refused("Draft: Access Tokens", f"held in request_details, {what}", node.ask("gateway", form), "invalid_request")
    form = exchange("access_token", token, request_context=json.dumps({"req_ip": token}).replace(".", "\\u002e"))
    walk.refused("Draft: Access Tokens", "held in request_context, escaped", node.ask("gateway", form), "invalid_request")
    form = begin(request_details=json.dumps({"trip": "x" * 9_000}))
    walk.refused("N22", "a token over 8 KiB", node.ask("gateway", form), "invalid_request")
