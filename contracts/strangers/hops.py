"""From hop to hop: contracts/txts.md sections 5 and 7; draft, Txn-Token as a subject_token."""

import hashlib
import json
import time

from node import DOMAIN, KEYS, SCOPE, access_token, begin, did, encode, exchange, flipped, jws, part, renew, replace, thumbprint

DRAFT = "Draft: Txn-Token as a subject_token"


def run(walk):
    replacing(walk)
    forged(walk)
    loops(walk)
    renewing(walk)
    ending(walk)
    revoking(walk)


def replacing(walk):
    """The gateway begins, the planner replaces."""
    node = walk.node
    first = node.begun(request_details='{"trip":"4711"}', request_context='{"req_ip":"192.0.2.7"}')
    before = part(first, 1)
    walk.holds("N17", "a first token", (before["hop"]["n"], before["hop"]["to"], before["req_wl"]) == (0, did("planner"), "gateway"), before)
    walk.holds("N17", "without a receiver it is for the holder", part(node.token("gateway", begin()), 1)["hop"]["to"] == did("gateway"))
    planner = lambda **bent: node.ask("planner", replace(first, "booking", **bent))  # noqa: E731
    stays = {name: before[name] for name in ("txn", "sub", "aud", "act", "agentic_ctx", "rctx", "txn_exp", "scope", "tctx")}
    after = walk.issued(DRAFT, "what must stay stays", planner(request_context='{"req_ip":"203.0.113.9"}'), **stays)
    walk.holds(DRAFT, "the chain of workloads is kept and grows", after["req_wl_chain"] == ["gateway", "planner"], after["req_wl_chain"])
    prev = encode(hashlib.sha256(first.encode()).digest())
    walk.holds("N19", "hop", after["hop"] == {"n": 1, "max": 3, "to": did("booking"), "prev": prev}, after["hop"])
    walk.holds("N19", "holder", after["cnf"]["jkt"] == thumbprint(KEYS["planner"].jwk), after["cnf"])
    walk.issued(DRAFT, "narrower", planner(scope="travel.pay"), scope="travel.pay")
    claims = walk.issued(DRAFT, "more is said", planner(request_details='{"trip":"4711","amount":7}'))
    walk.holds("N19", "beside what was", (claims["tctx"]["trip"], claims["tctx"]["amount"]) == ("4711", 7), claims["tctx"])
    walk.refused(DRAFT, "wider by what the planner's grant has", planner(scope=f"{SCOPE} travel.see"), "invalid_scope")
    walk.refused(DRAFT, "wider by what nobody has", planner(scope=f"{SCOPE} everything"), "invalid_scope")
    narrow = node.token("planner", replace(first, "booking", scope="travel.pay"))
    walk.refused(DRAFT, "wide again behind a narrow one", node.ask("booking", replace(narrow, "payment")), "invalid_scope")
    walk.refused("N19", "another value of a detail", planner(request_details='{"trip":"4712"}'), "invalid_request")
    walk.refused(DRAFT, "another audience", planner(audience="other.example"), "invalid_target")
    walk.refused("N14", "a receiver that no grant names", node.ask("planner", replace(first, "payment")), "invalid_target")
    walk.refused("N19", "the receiver names no next", node.ask("planner", exchange("txn_token", first)), "invalid_request")
    for who in ("booking", "payment"):
        walk.refused("N19", f"{who} is not hop.to", node.ask(who, replace(first, "planner", scope="travel.pay")), "invalid_grant")
    walk.refused("N19", "the holder hands on what is another's", node.ask("gateway", replace(first, "booking")), "invalid_grant")
    walk.refused("N19", "one before is not the receiver of one behind", node.ask("gateway", replace(narrow, "planner", scope="travel.pay")), "invalid_grant")
    for holds in ("details", "context"):
        form = replace(first, "booking", **{f"request_{holds}": json.dumps({"amount": first, "req_ip": first})})
        answer = node.ask("planner", form)
        if holds == "details":
            walk.refused("N15", "a token in a token", answer, "invalid_request")
        else:
            walk.issued("N19", "rctx stays", answer, rctx=before["rctx"])


def forged(walk):
    node = walk.node
    token = node.begun()
    header, body, signature = token.split(".")
    bent = lambda **claims: header + "." + encode(json.dumps(part(token, 1) | claims).encode()) + "." + signature  # noqa: E731
    head = lambda **members: encode(json.dumps(part(token, 0) | members).encode())  # noqa: E731
    public = node.get("/jwks").json["keys"][0]
    for what, bad in {
        "another signature": flipped(token),
        "more scope": bent(scope=f"{SCOPE} travel.cancel"),
        "another audience": bent(aud="other.example"),
        "a longer life": bent(exp=part(token, 1)["exp"] + 3_600),
        "another receiver": bent(hop=part(token, 1)["hop"] | {"to": did("booking")}),
        "another principal": bent(sub="user:ben"),
        "alg none": f"{head(alg='none')}.{body}.",
        "alg none with a signature": f"{head(alg='none')}.{body}.{signature}",
        "alg HS256": f"{head(alg='HS256')}.{body}.{signature}",
        "another alg": f"{head(alg='ES256')}.{body}.{signature}",
        "typ JWT": f"{head(typ='JWT')}.{body}.{signature}",
        "crit": f"{head(crit=['exp'])}.{body}.{signature}",
        "another's key under the node's kid": jws(KEYS["stranger"], part(token, 1), part(token, 0)),
        "another's key under its own kid": jws(KEYS["stranger"], part(token, 1), part(token, 0) | {"kid": thumbprint(KEYS["stranger"].jwk)}),
        "another's key in the header": jws(KEYS["stranger"], part(token, 1), part(token, 0) | {"jwk": KEYS["stranger"].jwk}),
        "the receiver's own key": jws(KEYS["planner"], part(token, 1), part(token, 0) | {"kid": thumbprint(KEYS["planner"].jwk)}),
        "the public key as a name": jws(KEYS["stranger"], part(token, 1), part(token, 0) | {"jwk": public}),
        "no signature": f"{header}.{body}.",
        "two segments": f"{header}.{body}",
        "four segments": f"{token}.x",
        "padding": f"{token}=",
        "over 8 KiB": bent(x="x" * 8_192),
        "the signed keys": node.get("/keys").body.decode(),
        "an access token": access_token(),
        "nonsense": "x",
    }.items():
        walk.refused("N19", f"a token with {what}", node.ask("planner", replace(bad, "booking")), "invalid_request")
    walk.issued("N19", "the token as it was", node.ask("planner", replace(token, "booking")))


def loops(walk):
    node = walk.node
    first = node.begun()
    walk.refused("N20", "back to who began", node.ask("planner", replace(first, "gateway")), "invalid_grant")
    walk.refused("N20", "to itself", node.ask("planner", replace(first, "planner")), "invalid_grant")
    second = node.token("planner", replace(first, "booking"))
    for to in ("gateway", "planner", "booking"):
        walk.refused("N20", f"booking to {to}", node.ask("booking", replace(second, to)), "invalid_grant")
    own = node.token("gateway", begin())
    claims = walk.issued("N20", "the holder of a first token to itself begins", node.ask("gateway", replace(own, "planner")), req_wl="gateway,gateway")
    walk.holds("N20", "which is a hop", claims["hop"]["n"] == 1, claims["hop"])
    walk.refused("N20", "but not to itself again", node.ask("gateway", replace(own, "gateway", hops_max="2", scope="travel.fly")), "invalid_scope")
    third = node.token("booking", replace(second, "payment"))
    claims = walk.issued("N19", "three hops", node.ask("payment", replace(third, "operator")), req_wl="gateway,planner,booking,payment")
    walk.holds("N17", "the deepest", (claims["hop"]["n"], claims["hop"]["max"]) == (3, 3), claims["hop"])
    shallow = node.begun(hops_max="1")
    last = node.token("planner", replace(shallow, "booking"))
    walk.refused("N20", "deeper than it began", node.ask("booking", replace(last, "payment")), "invalid_grant")
    walk.refused("N20", "nor by asking for more", node.ask("booking", replace(last, "payment", hops_max="16")), "invalid_grant")
    flat = node.begun(hops_max="0")
    walk.refused("N20", "no hop at all", node.ask("planner", replace(flat, "booking")), "invalid_grant")
    less = node.token("planner", replace(first, "booking", hops_max="1"))
    walk.refused("N19", "a hop narrowed by who came before", node.ask("booking", replace(less, "payment")), "invalid_grant")


def renewing(walk):
    node = walk.node
    first = node.begun(request_details='{"trip":"1"}', payload_hash=f"{encode(b's' * 16)}.{encode(b'h' * 32)}")
    before = part(first, 1)
    stays = {name: before[name] for name in ("txn", "sub", "aud", "act", "cnf", "txn_exp", "req_wl_chain", "tctx")}
    after = walk.issued("N21", "its holder renews it", node.ask("gateway", renew(first)), **stays)
    walk.holds("N21", "pay is as the request says", after["hop"] == {name: before["hop"][name] for name in ("n", "max", "to")}, after["hop"])
    walk.issued("N21", "naming the same receiver", node.ask("gateway", renew(first, resource=did("planner"))))
    walk.issued("N21", "narrower", node.ask("gateway", renew(first, scope="travel.pay")), scope="travel.pay")
    walk.refused("N21", "wider", node.ask("gateway", renew(node.begun(scope="travel.pay"))), "invalid_scope")
    walk.refused("N21", "who is neither holder nor receiver", node.ask("booking", renew(first)), "invalid_grant")
    second = node.token("planner", replace(first, "booking"))
    claims = walk.issued("N21", "a later hop", node.ask("planner", renew(second)), req_wl="gateway,planner")
    walk.holds("N21", "prev stays", claims["hop"] == part(second, 1)["hop"], claims["hop"])
    walk.refused("N21", "one that is another's", node.ask("gateway", renew(second)), "invalid_grant")


def ending(walk):
    """Draft: no replacement of a token that has expired."""
    node, more = walk.node, walk.more
    node.reload(service="transaction_life_s = 3600\ntoken_life_s = 1\n", more=more)
    short = node.begun()
    node.reload(service="transaction_life_s = 1\n", more=more)
    over = node.begun()
    walk.holds("N18", "no longer than its transaction", part(over, 1)["exp"] == part(over, 1)["iat"] + 1)
    node.reload(more=more)
    time.sleep(1.1 + max(part(token, 1)["exp"] for token in (short, over)) - time.time())
    for what, token in (("a token", short), ("a transaction", over)):
        walk.refused(DRAFT, f"{what} that has expired is not replaced", node.ask("planner", replace(token, "booking")), "invalid_grant")
        walk.refused("N21", f"{what} that has expired is not renewed", node.ask("gateway", renew(token)), "invalid_grant")
    dying = exchange("access_token", access_token({"exp": int(time.time()) - 5}))
    walk.refused("N18", "a subject's token in its last seconds of grace ends the transaction at once", node.ask("gateway", dying), "invalid_grant")


def revoking(walk):
    node = walk.node
    first = node.begun()
    second = node.token("planner", replace(first, "booking"))
    revoke = lambda who, *pairs: node.ask(who, list(pairs), path="/revoke")  # noqa: E731
    serial = lambda: part(node.get("/revoked").body.decode(), 1)["serial"]  # noqa: E731
    began = serial()
    walk.refused("N24", "who is no operator", revoke("gateway", ("token", first)), "unauthorized_client")
    walk.refused("N24", "an anonymous one", node.post([("token", first)], path="/revoke"), "invalid_client")
    walk.refused("N24", "nothing", revoke("operator"), "invalid_request")
    walk.refused("N24", "both", revoke("operator", ("token", first), ("txn", part(first, 1)["txn"])), "invalid_request")
    walk.refused("N24", "twice", revoke("operator", ("token", first), ("token", first)), "invalid_request")
    for txn in ("x", part(first, 1)["txn"].upper(), part(first, 1)["txn"].replace("-", "")):
        walk.refused("N24", f"txn {txn}", revoke("operator", ("txn", txn)), "invalid_request")
    for other in ("x", flipped(first), access_token()):
        answer = revoke("operator", ("token", other))
        walk.holds("N24", f"a token of nobody's: {other[:12]}", answer.status == 200 and answer.headers["Cache-Control"] == "no-store", answer)
    walk.holds("N24", "none of which revoked anything", serial() == began)
    walk.issued("N24", "nor this", node.ask("planner", replace(first, "booking")))
    answer = revoke("operator", ("token", second), ("token_type_hint", "access_token"))
    walk.holds("N24", "an operator by a token", answer.status == 200, answer)
    walk.refused("N24", "no token is replaced", node.ask("planner", replace(first, "booking")), "invalid_grant")
    walk.refused("N24", "nor the one behind", node.ask("booking", replace(second, "payment")), "invalid_grant")
    walk.refused("N24", "nor renewed", node.ask("gateway", renew(first)), "invalid_grant")
    walk.issued("N24", "another transaction goes on", node.ask("planner", replace(node.begun(), "booking")))
    third = node.begun()
    walk.holds("N24", "an operator by its name", revoke("operator", ("txn", part(third, 1)["txn"])).status == 200)
    walk.refused("N24", "which ends it too", node.ask("planner", replace(third, "booking")), "invalid_grant")
    walk.holds("N24", "again is no error", revoke("operator", ("token", third)).status == 200)
    said = part(node.get("/revoked").body.decode(), 1)
    named = [listed["txn"] for listed in said["txns"]]
    walk.holds("N27", "the serial grows with each", said["serial"] >= began + 3, said)
    walk.holds("N27", "in the order of txn", named == sorted(named) and {part(token, 1)["txn"] for token in (first, third)} <= set(named), named)
    walk.holds("N26", "for this trust domain, by the node", (said["iss"], said["aud"]) == (node.id, DOMAIN), said)
    node.revoked = first
