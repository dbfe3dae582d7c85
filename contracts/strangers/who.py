"""Who asks: contracts/txts.md section 1; draft, Mutual Authentication of the Txn-Token Request, Transaction Tokens Are Not Authentication Credentials."""

import json
import time

from node import BEARER, KEYS, P256, Rsa, begin, bend, did, encode, exchange, flipped, jws, part, thumbprint, unique

WEB, BATCH = P256(), Rsa()


def keyed(name, key, kid):
    jwk = ", ".join(f"{member} = {json.dumps(value)}" for member, value in (key.jwk | {"kid": kid}).items())
    return (
        f'[[client]]\nname = "{name}"\njwks = {{ keys = [{{ {jwk} }}] }}\n'
        '[[client.grant]]\nsubject_types = ["access_token", "self_signed"]\nsubjects = ["user:*"]\nscope = "travel.pay"\nreceivers = ["planner"]\n'
    )


CLIENTS = keyed("web", WEB, "k1") + keyed("batch", BATCH, "k2")


def run(walk):
    node = walk.node
    sources = (f"127.0.1.{number}" for number in range(1, 255))  # failures are counted by address (N34)

    def ask(assertion, pairs=None, headers=None):
        extra = [("client_assertion_type", BEARER), ("client_assertion", assertion)]
        return node.post([*(pairs or begin()), *extra], headers=headers, source=next(sources))

    now = int(time.time())
    draft = "Draft: Mutual Authentication"

    # --- positive: every algorithm, every form of an assertion ---
    for header in ({"alg": "EdDSA"}, {"alg": "Ed25519"}, {"alg": "EdDSA", "typ": "JWT"}, {"alg": "EdDSA", "typ": "client-authentication+jwt"}):
        walk.issued("N2", f"header {header}", ask(node.assertion("gateway", header=header)))
    for bent in ({"aud": f"{node.issuer}/token"}, {"aud": ["x", node.issuer]}, {"iat": None}, {"exp": now - 20}, {"nbf": now}):
        walk.issued("N2", f"claims {bent}", ask(node.assertion("gateway", bent)))
    for name, key, kid in (("web", WEB, "k1"), ("batch", BATCH, "k2")):
        form = begin(scope="travel.pay", resource=did("planner"))
        signed = node.assertion(name, header={"alg": key.alg, "kid": kid}, key=key)
        walk.issued("N2", f"{key.alg} with a proof", ask(signed, form, {"DPoP": proof(node)}), cnf={"jkt": thumbprint(KEYS["proof"].jwk)})
        other = node.assertion(name, header={"alg": key.alg, "kid": "other"}, key=key)
        walk.refused("N2", f"{key.alg}: a kid of no key", ask(other, form), "invalid_client")
        forged = flipped(node.assertion(name, header={"alg": key.alg}, key=key))
        walk.refused("N2", f"{key.alg}: another signature", ask(forged, form), "invalid_client")
        walk.refused("N4", f"{key.alg}: no agent and no proof", ask(node.assertion(name, header={"alg": key.alg}, key=key), form), "invalid_request")

    # --- negative: claims, then forms ---
    for bent in [
        {"iss": "planner"}, {"sub": "planner"}, {"iss": None}, {"sub": None}, {"iss": "nobody", "sub": "nobody"},
        {"aud": "https://other.example"}, {"aud": f"{node.issuer}/"}, {"aud": f"{node.issuer}/revoke"}, {"aud": None}, {"aud": []}, {"aud": [7]},
        {"exp": now - 40}, {"exp": now + 400}, {"exp": None}, {"exp": str(now + 60)}, {"exp": now + 60.5},
        {"nbf": now + 60}, {"iat": now + 60}, {"iat": "now"}, {"jti": None}, {"jti": ""}, {"jti": 7},
    ]:  # fmt: skip
        walk.refused("N2", f"claims {bent}", ask(node.assertion("gateway", bent)), "invalid_client")
    good = node.assertion("gateway")
    header, body, signature = good.split(".")
    twice = json.dumps(part(good, 1)).replace("{", '{"iss": "planner", ', 1)
    for what, bad in {
        "another client's key": node.assertion("gateway", key=KEYS["planner"]),
        "a stranger's key": node.assertion("gateway", key=KEYS["stranger"]),
        "a stranger's key in the header": node.assertion("gateway", key=KEYS["stranger"], header={"alg": "EdDSA", "jwk": KEYS["stranger"].jwk}),
        "alg none": encode(b'{"alg":"none"}') + f".{body}.",
        "alg none with a signature": encode(b'{"alg":"none"}') + f".{body}.{signature}",
        "alg HS256": node.assertion("gateway", header={"alg": "HS256"}),
        "an alg that is not the key's": node.assertion("gateway", header={"alg": "ES256"}),
        "alg in other letters": node.assertion("gateway", header={"alg": "eddsa"}),
        "no alg": node.assertion("gateway", header={"typ": "JWT"}),
        "crit": node.assertion("gateway", header={"alg": "EdDSA", "crit": ["exp"]}),
        "b64": node.assertion("gateway", header={"alg": "EdDSA", "b64": True}),
        "typ of an access token": node.assertion("gateway", header={"alg": "EdDSA", "typ": "at+jwt"}),
        "typ of a proof": node.assertion("gateway", header={"alg": "EdDSA", "typ": "dpop+jwt"}),
        "typ of a transaction token": node.assertion("gateway", header={"alg": "EdDSA", "typ": "txntoken+jwt"}),
        "no signature": f"{header}.{body}.",
        "another signature": flipped(good),
        "padding": f"{good}=",
        "two segments": f"{header}.{body}",
        "four segments": f"{good}.x",
        "a claim twice": jws(KEYS["gateway"], twice),
        "a header twice": jws(KEYS["gateway"], part(good, 1), '{"alg":"EdDSA","alg":"EdDSA"}'),
        "no JSON": jws(KEYS["gateway"], "gateway"),
        "a byte order mark": jws(KEYS["gateway"], "\ufeff" + json.dumps(part(good, 1))),
        "too deep": node.assertion("gateway", {"x": json.loads("[" * 16 + "]" * 16)}),
        "over 8 KiB": node.assertion("gateway", {"x": "x" * 8192}),
        "nonsense": "x",
    }.items():
        walk.refused("N2", what, ask(bad), "invalid_client")

    # --- once ---
    walk.issued("N2", "an assertion serves", ask(good))
    walk.refused("N2", "and no second time", ask(good), "invalid_client")
    failing = node.assertion("gateway")
    walk.refused("N12", "a request that fails", ask(failing, begin(scope="travel.fly")), "invalid_scope")
    walk.refused("N2", "has used its assertion up", ask(failing), "invalid_client")
    walk.issued("N2", "the jti of another client is another", ask(node.assertion("planner", {"jti": part(good, 1)["jti"]}), exchange("txn_token", node.begun(), resource=did("booking"))))  # fmt: skip
    node.used = good

    # --- no second way, nobody anonymous ---
    asserted = lambda: node.asserted(begin(), "gateway")  # noqa: E731
    basic = {"Authorization": "Basic Z2F0ZXdheTpzZWNyZXQ="}
    for what, pairs, headers in [
        ("nobody", begin(), {}),
        ("a name alone", [*begin(), ("client_id", "gateway")], {}),
        ("a secret", [*begin(), ("client_id", "gateway"), ("client_secret", "x")], {}),
        ("Basic", begin(), basic),
        ("an assertion and a secret", [*asserted(), ("client_secret", "x")], {}),
        ("an assertion and Basic", asserted(), basic),
        ("another's name", [*asserted(), ("client_id", "planner")], {}),
        ("an assertion without its type", [pair for pair in asserted() if pair[0] != "client_assertion_type"], {}),
        ("an assertion of another type", [(name, value.replace("jwt-bearer", "saml2-bearer")) for name, value in asserted()], {}),
    ]:
        walk.refused("N1", what, node.post(pairs, headers=headers, source=next(sources)), "invalid_client")
    walk.issued("N1", "its own name", node.post([*asserted(), ("client_id", "gateway")]))

    # --- a transaction token is no credential ---
    token, section = node.begun(), "Draft: Not Authentication Credentials"
    walk.refused(draft, "an anonymous client", node.post(begin(), source=next(sources)), "invalid_client")
    walk.refused(section, "as an assertion", ask(token), "invalid_client")
    walk.refused(section, "as a bearer token", node.post(begin(), headers={"Authorization": f"Bearer {token}"}, source=next(sources)), "invalid_client")
    walk.refused(section, "in its own header alone", node.post(begin(), headers={"Txn-Token": token}, source=next(sources)), "invalid_client")
    for kind in ("access_token", "jwt", "self_signed", "refresh_token", "saml2"):
        walk.refused("N5", f"as {kind}", node.ask("gateway", exchange(kind, token)), "invalid_request")
    for kind in ("id_token", "unsigned_json"):
        walk.refused("N14", f"as {kind}", node.ask("gateway", exchange(kind, token)), "unauthorized_client")
    proofs(walk, ask)


def proof(node, bent=None, header=None, key=KEYS["proof"]):
    claims = {"htm": "POST", "htu": f"{node.issuer}/token", "iat": int(time.time()), "jti": unique()}
    return jws(key, bend(claims, bent or {}), bend({"alg": "EdDSA", "typ": "dpop+jwt", "jwk": key.jwk}, header or {}))


def proofs(walk, ask):
    """RFC 9449 section 4.3."""
    node, now, used = walk.node, int(time.time()), proof(walk.node)
    form = begin(scope="travel.pay", resource=did("planner"))
    web = lambda header: ask(node.assertion("web", header={"alg": "ES256"}, key=WEB), form, {"DPoP": header})  # noqa: E731
    walk.issued("N3", "a proof serves", web(used))
    walk.issued("N3", "a query in htu", web(proof(node, {"htu": f"{node.issuer}/token?x#y"})))
    for what, bad in {
        "no second time": used,
        "no typ": proof(node, header={"typ": None}),
        "another typ": proof(node, header={"typ": "JWT"}),
        "no key": proof(node, header={"jwk": None}),
        "another key": proof(node, header={"jwk": KEYS["stranger"].jwk}),
        "a private key": proof(node, header={"jwk": KEYS["proof"].jwk | {"d": "AAAA"}}),
        "a symmetric key": proof(node, header={"jwk": {"kty": "oct", "k": "AAAA"}}),
        "alg none": proof(node, header={"alg": "none"}),
        "another method": proof(node, {"htm": "GET"}),
        "another endpoint": proof(node, {"htu": f"{node.issuer}/revoke"}),
        "no endpoint": proof(node, {"htu": None}),
        "too old": proof(node, {"iat": now - 70}),
        "of the future": proof(node, {"iat": now + 70}),
        "no iat": proof(node, {"iat": None}),
        "no jti": proof(node, {"jti": None}),
        "nonsense": "x",
    }.items():
        walk.refused("N3", what, web(bad), "invalid_dpop_proof")
    own = node.asserted(begin(), "gateway")
    walk.issued("N4", "an agent's proof by its own key", node.post(own, headers={"DPoP": proof(node, key=KEYS["gateway"])}))
    own = node.asserted(begin(), "gateway")
    walk.refused("N4", "an agent's proof by another key", node.post(own, headers={"DPoP": proof(node)}), "invalid_request")
    self_signed = {"iss": "web", "sub": "user:anna", "aud": node.issuer, "iat": now, "exp": now + 60}
    own = exchange("self_signed", jws(WEB, self_signed), scope="travel.pay", resource=did("planner"))
    walk.issued("N9", "a client with an ES256 key speaks for itself", ask(node.assertion("web", header={"alg": "ES256"}, key=WEB), own, {"DPoP": proof(node)}))
