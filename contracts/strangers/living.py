"""A service's life: contracts/txts.md N13, N16, sections 8 to 11; draft, TTS Key Rotation, Logging."""

import http.server
import json
import pathlib
import re
import signal
import socket
import threading
import time
import tomllib

from node import KEYS, access_token, begin, decode, did, exchange, free_port, part, replace, verifies


def run(walk):
    endpoints(walk)
    policies(walk)
    others(walk)
    keys(walk)
    walk.slow.conclude(walk)  # a node that ends answers nobody late
    restarts(walk)
    doors(walk)


def endpoints(walk):
    node = walk.node
    told = node.get("/.well-known/oauth-authorization-server").json
    wanted = {"issuer": "", "token_endpoint": "/token", "revocation_endpoint": "/revoke", "jwks_uri": "/jwks"}
    walk.holds("RFC 8414", "where everything is", all(told[name] == node.issuer + path for name, path in wanted.items()), told)
    walk.holds("RFC 8414", "private_key_jwt alone", told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"], told)
    for method, path in (("GET", "/token"), ("PUT", "/token"), ("GET", "/revoke"), ("POST", "/jwks"), ("DELETE", "/keys"), ("POST", "/")):
        answer = node.send(method, path)
        walk.holds("N33", f"{method} {path}", answer.status == 405 and answer.headers["Allow"] and b"eyJ" not in answer.body, answer)
    for path in ("/owner/reload", "/owner/keys/rotate?force=true"):
        answer = node.send("POST", path)
        walk.holds("N33", f"{path} is the owner's", (answer.status, answer.json["error"]) == (403, "access_denied"), answer)
    for path in ("/token/", "/tokens", "//token", "/authorize", "/introspect"):
        answer = node.post(node.asserted(begin(), "gateway"), path=path)
        walk.holds("N33", f"nothing at {path}", answer.status == 404 and b"eyJ" not in answer.body, answer)
    for path in ("/health/live", "/health/ready"):
        walk.holds("N33", path, node.get(path).status == 200)
    for path, typ, life in (("/keys", "nuncio-keys+jwt", 86_400), ("/revoked", "nuncio-revoked+jwt", 3_600)):
        answer = node.get(path)
        header, claims = part(answer.body.decode(), 0), part(answer.body.decode(), 1)
        walk.holds("N26", f"{path}: head", answer.headers["Content-Type"] == "application/jwt" and set(header) == {"alg", "typ", "kid"} and header["typ"] == typ, header)
        walk.holds("N26", f"{path}: life", 0 < claims["exp"] - claims["iat"] <= life, claims)
        walk.holds("N26", f"{path}: by no key that signs tokens", header["kid"] not in {key["kid"] for key in node.get("/jwks").json["keys"]})


def policies(walk):
    """N13: whole or not at all."""
    node, good = walk.node, (walk.node.folder / "policy.toml").read_text()
    file = node.folder / "policy.toml"
    for what, bad in {
        "no TOML": "schema =",
        "an unknown member": good.replace("operators", 'operator = []\noperators'),
        "another schema": good.replace("policy/1", "policy/2"),
        "an operator who is no client": good.replace('["operator"]', '["nobody"]'),
        "a client twice": good.replace('name = "booking"', 'name = "planner"'),
        "a did twice": good.replace(did("booking"), did("planner")),
        "a receiver who is no client": good.replace('receivers = ["planner"]', 'receivers = ["nobody"]', 1),
        "http beyond loopback": good.replace('jwks_file = "login.json"', 'jwks_url = "http://login.example/jwks"'),
        "a token that lives too long": good.replace("transaction_life_s", "token_life_s = 301\ntransaction_life_s"),
        "too many hops": good.replace("hops_max = 3", "hops_max = 17"),
        "another trust domain": good.replace("acme.example", "other.example"),
        "another algorithm": good.replace('"EdDSA"', '"ES256"'),
        "no grant's scope": good.replace('scope = "travel.book', 'scope = " travel.book', 1),
        "a subject type that is not taken": good.replace('"self_signed"', '"refresh_token"'),
    }.items():
        file.write_text(bad)
        done = node.command("node", "reload")
        walk.holds("N13", f"refused: {what}", bad != good and done.returncode == 1 and done.stderr, done)
    logged = node.log.read_text().count("the policy was not taken")
    node.process.send_signal(signal.SIGHUP)
    said = until(lambda: node.log.read_text().count("the policy was not taken") > logged)
    walk.holds("N13", "on SIGHUP a bad one is said in the log", said)
    walk.issued("N13", "and the former stays in force", node.ask("planner", replace(node.begun(), "booking")))
    file.write_text(good.replace("travel.see", "travel.fly"))
    node.process.send_signal(signal.SIGHUP)
    taken = until(lambda: node.ask("gateway", exchange("access_token", access_token({"scope": "travel.fly"}), scope="travel.fly")).status == 200)
    walk.holds("N13", "on SIGHUP a good one is taken", taken)
    node.recorded += 1
    node.reload(more=walk.more + '[[client]]\nname = "cron"\ndid = "' + did("proof") + '"\n[[client.grant]]\nsubject_types = ["unsigned_json"]\nsubjects = ["user:anna"]\nscope = "travel.see"\n')  # fmt: skip
    cron = lambda text, **bent: node.post(node.asserted(exchange("unsigned_json", text, **{"scope": "travel.see"} | bent), "cron", key=KEYS["proof"]))  # noqa: E731
    section = "Draft: Unsigned JSON Object"
    walk.issued(section, "for a client that the policy names", cron('{"sub":"user:anna","more":1}'), sub="user:anna", scope="travel.see")
    walk.refused(section, "another principal", cron('{"sub":"user:ben"}'), "unauthorized_client")
    walk.refused(section, "more scope", cron('{"sub":"user:anna"}', scope="travel.pay"), "invalid_scope")
    for bad in ("{}", '{"sub":""}', '{"sub":7}', '{"sub":null}', "[]", '"user:anna"', '{"sub":"user:anna","sub":"user:anna"}', "{", access_token()):
        walk.refused(section, bad[:30], cron(bad), "invalid_request")
    node.reload(more=walk.more)
    walk.refused(section, "nobody else, and not any more", cron('{"sub":"user:anna"}'), "invalid_client")


REGISTRY = pathlib.Path(__file__).parent.parent / "registry.toml"
FAILURES_PER_SOURCE = tomllib.loads(REGISTRY.read_text())["limit"]["failures_per_source"]["value"]


def up_to_a_rate(ask, is_within):
    """Asks until it is told that it asks too often; however slow this machine is, the time it took says how many that may be."""
    began, answers = time.monotonic(), []
    while len(answers) < 1_000 and (not answers or is_within(answers[-1])):
        answers.append(ask())
    return answers[:-1], answers[-1], time.monotonic() - began


def until(holds, seconds=5):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(0.05)
    return False


class Other(http.server.BaseHTTPRequestHandler):
    """A decision point and an issuer's key set, as the walk wants them at the moment."""

    said, delay, asked = (200, "{}"), 0, []

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Other.asked.append((self.command, self.path, body))
        status, text = Other.said
        time.sleep(Other.delay)
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:
            pass  # who asked has lost its patience

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def others(walk):
    """N16, and key sets by URL."""
    node, server = walk.node, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    node.reload(more=walk.more + f'[decisions]\nurl = "{url}"\n')
    ask = lambda: node.ask("gateway", begin(resource=did("planner"), request_details='{"trip":"4711"}'))  # noqa: E731
    Other.said = (200, '{"decision":true}')
    claims = walk.issued("N16", "a yes", ask())
    method, path, body = Other.asked[-1]
    question = json.loads(body)
    walk.holds("N16", "is asked in AuthZEN's form", (method, path) == ("POST", "/access/v1/evaluation") and set(question) == {"subject", "action", "resource", "context"}, question)  # fmt: skip
    walk.holds("N16", "about this token", question["subject"]["id"] == "gateway" and question["resource"]["id"] == claims["txn"], question)
    Other.said = (200, '{"decision":false}')
    walk.refused("N16", "a no", ask(), "unauthorized_client")
    asked = len(Other.asked)
    walk.refused("N16", "what is refused before", node.ask("gateway", begin(scope="travel.fly")), "invalid_scope")
    walk.holds("N16", "is not asked about", len(Other.asked) == asked)
    for said in ((200, '{"decision":"true"}'), (200, '{"decision":1}'), (200, "{}"), (200, "true"), (200, '{"decision":false,"decision":true}'), (500, '{"decision":true}'), (302, "")):
        Other.said = said
        walk.refused("N16", f"neither: {said}", ask(), "temporarily_unavailable")
    Other.said, Other.delay = (200, '{"decision":true}'), 2.5
    walk.refused("N16", "a late yes", ask(), "temporarily_unavailable")
    Other.delay = 0
    node.reload(more=walk.more + f'[decisions]\nurl = "http://127.0.0.1:{free_port()}"\n')
    walk.refused("N16", "nobody there", ask(), "temporarily_unavailable")

    issuer = f'[[issuer]]\nissuer = "https://far.example"\njwks_url = "{url}/jwks"\naudience = ["x"]\ntypes = ["jwt"]\nsubject_prefix = "far:"\n'
    node.reload(more=walk.more + issuer)
    far = lambda **more: node.ask("gateway", exchange("jwt", access_token({"iss": "https://far.example", "aud": "x"}, **more)))  # noqa: E731
    Other.said = (500, "")
    walk.refused("N9", "an issuer whose keys cannot be had", far(), "temporarily_unavailable")
    Other.said = (200, json.dumps({"keys": [KEYS["login"].jwk]}))
    walk.refused("N9", "an issuer that was down is not asked again at once", far(), "temporarily_unavailable")
    node.reload(more=walk.more + issuer)  # a policy that is read again knows nothing of the last try
    walk.issued("N11", "two issuers' subjects are never one", far(), sub="far:anna")
    walk.refused("N9", "an issuer's key that is not in its set", far(key=KEYS["stranger"]), "invalid_request")
    node.reload(more=walk.more)
    server.shutdown()
    server.server_close()


def keys(walk):
    """N28, N29; draft, TTS Key Rotation."""
    node, section = walk.node, "Draft: TTS Key Rotation"
    token = node.begun()
    before = [key["kid"] for key in node.get("/jwks").json["keys"]]
    walk.holds("N28", "one signs and the next is known", len(before) == 2 and part(token, 0)["kid"] == before[0], before)
    early = node.command("node", "keys", "rotate")
    walk.holds("N29", "not before the next was known long enough", early.returncode == 1 and node.get("/jwks").json["keys"][0]["kid"] == before[0], early)
    done = node.command("node", "keys", "rotate", "--force")
    node.recorded += 1
    walk.holds("N29", "unless it is forced", done.returncode == 0, done)
    listed = node.get("/jwks").json["keys"]
    walk.holds(section, "the next signs, a new one is next, the former is known", [key["kid"] for key in listed][::2] == [before[1], before[0]] and len(listed) == 3, listed)
    walk.holds(section, "a token of before still verifies", any(verifies(key, token) for key in listed if key["kid"] == part(token, 0)["kid"]))
    walk.issued(section, "and is replaced", node.ask("planner", replace(token, "booking")))
    walk.holds(section, "by the new key", part(walk.tokens[-1], 0)["kid"] == before[1])
    signed = part(node.get("/keys").body.decode(), 1)["keys"]
    walk.holds("N28", "the signed keys are the same", signed == listed, signed)


def restarts(walk):
    """What was promised outlives the process, also one that is killed."""
    node = walk.node
    for how, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
        token, jwks = node.begun(), node.get("/jwks").json
        used = node.assertion("gateway")
        extra = [("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", used)]
        walk.issued("N2", f"before {how.name}", node.post([*begin(), *extra]))
        ended = node.stop(how)
        walk.holds("N35", f"{how.name} ends it", ended == code, ended)
        node.start()
        walk.refused("N2", f"an assertion serves no second time after {how.name}", node.post([*begin(), *extra], source="127.0.2.1"), "invalid_client")
        walk.refused("N2", f"nor an older one after {how.name}", node.post([*begin(), *extra[:1], ("client_assertion", node.used)], source="127.0.2.2"), "invalid_client")
        walk.refused("N25", f"revoked is revoked after {how.name}", node.ask("planner", replace(node.revoked, "booking")), "invalid_grant")
        walk.holds("N28", f"the keys are the same after {how.name}", node.get("/jwks").json == jwks)
        walk.issued("N19", f"a token of before is replaced after {how.name}", node.ask("planner", replace(token, "booking")))
        kept = written_down(node)
        walk.holds("N30", f"a record each after {how.name}", kept == node.recorded, f"{kept} records of {node.recorded} requests")


def written_down(node):
    """Records that wait, and those that are in the log by now: it is published within a second."""
    until = time.monotonic() + 10
    while True:
        waiting = int(re.search(r"^nuncio_node_audit_records_waiting (\d+)", node.get("/metrics").body.decode(), re.M)[1])
        logged = node.get("/log/checkpoint").body.decode().split("\n")[1]
        kept = waiting + int(logged)
        if kept >= node.recorded or time.monotonic() > until:
            return kept
        time.sleep(0.2)


def doors(walk):
    node = walk.node
    words = ("node", "run", "--listen", "0.0.0.0:0", "--policy", str(node.folder / "policy.toml"))
    node.stop()
    beyond = node.command(*words)
    walk.holds("N32", "plain TCP beyond loopback is refused", beyond.returncode == 2 and "beyond this machine" in beyond.stderr, beyond)
    node.start()
    node.reload(more=walk.more, gateway="requests_per_s = 1\n")
    served, over, took = up_to_a_rate(lambda: node.ask("gateway", begin()), lambda answer: answer.status == 200)
    walk.holds("N34", "as many as the policy says, twice as many at once", 2 <= len(served) <= 3 + took, len(served))
    walk.refused("N34", "a client over its rate", over, "temporarily_unavailable", 429)
    walk.refused("N34", "another client is not", node.ask("planner", begin()), "unauthorized_client")
    node.reload(more=walk.more)
    failed, over, took = up_to_a_rate(lambda: node.post(begin(), source="127.0.3.1"), lambda answer: answer.status == 401)
    right = FAILURES_PER_SOURCE * 10 <= len(failed) <= FAILURES_PER_SOURCE * (11 + took)
    walk.holds("N34", "strangers are slowed down", right and over.status == 429, len(failed))
    walk.refused("N34", "an address over its rate", over, "temporarily_unavailable", 429)
    walk.issued("N34", "who is known from there is served", node.ask("gateway", begin(), source="127.0.3.1"))


class SlowBody(threading.Thread):
    """A request of which half comes: it is given up after 10 s, so it is begun first, and looked at before the node ends."""

    def __init__(self, node):
        super().__init__()
        self.node, self.answer, self.began = node, b"", time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", node.port), 20)
        self.socket.sendall(head(100) + b"grant_type=")
        node.recorded += 1
        self.start()

    def run(self):
        while more := self.socket.recv(4096):
            self.answer += more
            self.took = time.monotonic() - self.began
            if b"\r\n\r\n" in self.answer:
                break
        self.socket.close()

    def conclude(self, walk):
        self.join(20)
        right = b" 408 " in self.answer and b"no-store" in self.answer and b"invalid_request" in self.answer and 9 < self.took < 15
        walk.holds("N34", "a request that does not come", right, self.answer)


def head(length):
    return f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n".encode()


def end(walk):
    """N35; draft, Logging."""
    node = walk.node
    body = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in node.asserted(begin(), "gateway")).encode()
    with socket.create_connection(("127.0.0.1", node.port), 10) as under_way:
        under_way.sendall(head(len(body)) + body[:100])
        time.sleep(0.2)
        node.process.send_signal(signal.SIGTERM)
        closed = until(lambda: not reachable(node.port), 3)
        walk.holds("N35", "on SIGTERM nobody new is served", closed)
        under_way.sendall(body[100:])
        answer = under_way.recv(65536)
        walk.holds("N35", "and what is under way is answered", answer.startswith(b"HTTP/1.1 200") and b"access_token" in answer, answer[:100])
    walk.holds("N35", "then it stops", node.stop(0) == 0)
    log = node.log.read_text()
    walk.holds("Draft: Logging", "something is logged", len(log) > 1_000)
    told = [token for token in walk.tokens if token in log or token.split(".")[2] in log]
    walk.holds("Draft: Logging", f"none of {len(walk.tokens)} tokens is", not told and len(walk.tokens) > 50, told[:1])
    kept = b"".join(path.read_bytes() for path in node.home.rglob("*") if path.is_file())
    told = [token for token in walk.tokens if token.encode() in kept or decode(token.split(".")[2]) in kept]
    walk.holds("N30", "nor kept", not told and len(kept) > 10_000, told[:1])


def reachable(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
