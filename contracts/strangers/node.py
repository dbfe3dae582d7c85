"""A node that runs: the real program on loopback, its home in a folder of its own. With what agents and an attacker need: keys, forms, bent tokens."""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

DOMAIN = "acme.example"
LOGIN = "https://login.example"
API = "https://api.acme.example"
TYPE = "urn:ietf:params:oauth:token-type:"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPE = "travel.book travel.pay"
PROGRAM = os.environ.get("NUNCIO", pathlib.Path(__file__).resolve().parents[2] / "target/debug/nuncio")


# --- keys and compact JWS, of which every part can be bent ---


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(jwk):
    """RFC 7638."""
    members = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}[jwk["kty"]]
    return encode(hashlib.sha256(json.dumps({name: jwk[name] for name in members}, separators=(",", ":")).encode()).digest())


class Ed25519:
    def __init__(self, number):
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.public = self.private.public_key().public_bytes_raw()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(self.public)}
        self.alg, self.did = "EdDSA", "did:key:z" + base58(b"\xed\x01" + self.public)

    def sign(self, message):
        return self.private.sign(message)


class P256:
    alg = "ES256"

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        self.jwk = {"kty": "EC", "crv": "P-256", "x": encode(numbers.x.to_bytes(32)), "y": encode(numbers.y.to_bytes(32))}

    def sign(self, message):
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


class Rsa:
    alg = "RS256"

    def __init__(self, bits=2048):
        self.private = rsa.generate_private_key(65537, bits)
        n = self.private.public_key().public_numbers().n
        self.jwk = {"kty": "RSA", "n": encode(n.to_bytes(bits // 8)), "e": "AQAB"}

    def sign(self, message):
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())


def base58(data):
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return text


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def jws(key, body, header=None):
    """Header and body are objects, or the very text that is to be signed."""
    signed = encode(as_text(header or {"alg": key.alg}).encode()) + "." + encode(as_text(body).encode())
    return signed + "." + encode(key.sign(signed.encode()))


def verifies(jwk, token):
    """Whether the key of a key set has signed it."""
    signed, _, signature = token.rpartition(".")
    numbers = {name: int.from_bytes(decode(jwk[name])) for name in jwk.keys() & {"x", "y", "n", "e"}}
    message, signature = signed.encode(), decode(signature)
    try:
        match jwk["kty"]:
            case "OKP":
                ed25519.Ed25519PublicKey.from_public_bytes(decode(jwk["x"])).verify(signature, message)
            case "EC":
                public = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
            case "RSA":
                rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def bend(claims, bent):
    """None takes a member away."""
    return {name: value for name, value in (claims | bent).items() if value is not None}


def part(token, index):
    return json.loads(decode(token.split(".")[index]))


def flipped(token):
    """The signature's first byte is another."""
    signed, _, signature = token.rpartition(".")
    data = decode(signature)
    return signed + "." + encode(bytes([data[0] ^ 1]) + data[1:])


# --- who there is ---

NAMES = ["gateway", "planner", "booking", "payment", "operator"]
KEYS = {name: Ed25519(number) for number, name in enumerate([*NAMES, "login", "stranger", "proof"], start=1)}


def did(name):
    return KEYS[name].did


def policy(issuer, algorithm="EdDSA", *, service="", gateway="", more=""):
    """Gateway, planner, booking, payment in a row, and an operator."""
    text = json.dumps
    copies = 'details = { trip = "copy", amount = "copy", card = "hash", note = "drop", tier = { value = "gold" }, mail = { claim = "email" } }\n'
    copies += 'context = { req_ip = "copy" }\n'

    def client(name, rest=""):
        return f"[[client]]\nname = {text(name)}\ndid = {text(did(name))}\n{rest}\n"

    def grant(types, receivers, rest=""):
        return (
            f'[[client.grant]]\nsubject_types = {text(types)}\nsubjects = ["user:*", "far:*"]\nscope = "{SCOPE} travel.see"\n'
            f"receivers = {text(receivers)}\n{rest}\n"
        )

    return "".join(
        [
            'schema = "nuncio/policy/1"\noperators = ["operator"]\n',
            f"[service]\ntrust_domain = {text(DOMAIN)}\nissuer = {text(issuer)}\nalgorithm = {text(algorithm)}\n",
            service or "transaction_life_s = 3600\nhops_max = 3\n",
            f'[[issuer]]\nissuer = {text(LOGIN)}\njwks_file = "login.json"\naudience = [{text(API)}]\n'
            'types = ["access_token", "jwt"]\nsubject_prefix = "user:"\n',
            client("gateway", f'agentic_ctx = {{ agent = "gateway" }}\n{gateway}'),
            grant(["access_token", "jwt", "self_signed", "txn_token"], ["planner"], copies),
            client("planner"),
            grant(["txn_token"], ["booking", "gateway", "planner"], copies),
            client("booking"),
            grant(["txn_token"], ["*"]),
            client("payment"),
            grant(["txn_token"], ["*"]),
            client("operator"),
            more,
        ]
    )


# --- the program ---


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        try:
            self.json = json.loads(self.body)
        except ValueError:
            self.json = None

    def __str__(self):
        return f"{self.status} {self.body[:200]!r}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, algorithm="EdDSA", **more):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nuncio-strangers-"))
        self.home, self.log, self.process = self.folder / "home", self.folder / "log", None
        self.port, self.algorithm, self.recorded = free_port(), algorithm, 0
        self.issuer = f"http://127.0.0.1:{self.port}"
        (self.folder / "login.json").write_text(json.dumps({"keys": [KEYS["login"].jwk]}))
        self.write_policy(**more)
        made = self.command("--json", "node", "init", "--domain", DOMAIN, "--issuer", self.issuer)
        self.id = json.loads(made.stdout)["node"]
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder)

    def write_policy(self, **more):
        (self.folder / "policy.toml").write_text(policy(self.issuer, self.algorithm, **more))

    def command(self, *words):
        return subprocess.run([PROGRAM, "--home", self.home, *words], capture_output=True, text=True, timeout=30)

    def start(self):
        words = ["--home", self.home, "--json", "node", "run", "--listen", f"127.0.0.1:{self.port}"]
        words += ["--policy", self.folder / "policy.toml", "--stop-with-stdin"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log.open("ab")}
        self.process = subprocess.Popen([PROGRAM, *words], env=os.environ | {"NUNCIO_LOG": "debug"}, **pipes)
        if not self.process.stdout.readline():
            raise RuntimeError(f"the node does not start: {self.log.read_text()[-500:]}")
        self.recorded += 1  # contracts/txts.md N30: a policy came into force

    def stop(self, how=signal.SIGTERM):
        """Its exit code."""
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.process.stdin.close()
        self.process.stdout.close()
        return code

    def reload(self, **more):
        """A policy that is taken at once."""
        self.write_policy(**more)
        done = self.command("node", "reload")
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.recorded += 1

    def send(self, method, path, body=None, headers=None, source=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=source and (source, 0))
        try:
            connection.request(method, path, body, headers or {})
            answer = Answer(connection.getresponse())
            # contracts/txts.md N30: what was asked of these two leaves a record each, but for what was over a rate.
            self.recorded += method == "POST" and path.split("?")[0] in ("/token", "/revoke") and answer.status != 429
            return answer
        finally:
            connection.close()

    def get(self, path):
        return self.send("GET", path)

    def post(self, pairs, path="/token", headers=None, source=None):
        """A form: pairs in their order, or the body as it is."""
        body = pairs if isinstance(pairs, (str, bytes)) else urllib.parse.urlencode(pairs)
        return self.send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {}), source)

    # --- what clients ask ---

    def assertion(self, who, bent=None, header=None, key=None):
        now = int(time.time())
        claims = {"iss": who, "sub": who, "aud": self.issuer, "jti": unique(), "iat": now, "exp": now + 60}
        return jws(key or KEYS[who], bend(claims, bent or {}), header)

    def asserted(self, pairs, who, **bent):
        return [*pairs, ("client_assertion_type", BEARER), ("client_assertion", self.assertion(who, **bent))]

    def ask(self, who, pairs, **more):
        return self.post(self.asserted(pairs, who), **more)

    def token(self, who, pairs):
        answer = self.ask(who, pairs)
        if answer.status != 200:
            raise RuntimeError(f"{who} gets no token: {answer}")
        return answer.json["access_token"]

    def begun(self, **bent):
        """A gateway's token for its planner."""
        return self.token("gateway", begin(**{"resource": did("planner")} | bent))


def unique():
    return uuid.uuid4().hex


def access_token(bent=None, header=None, key=None):
    claims = {"iss": LOGIN, "sub": "anna", "aud": API, "exp": int(time.time()) + 3000, "scope": f"{SCOPE} travel.cancel", "email": "anna@login.example"}
    return jws(key or KEYS["login"], bend(claims, bent or {}), header or {"alg": "EdDSA", "typ": "at+jwt"})


def exchange(kind, token, **bent):
    """What every token request has, in a list so that it can be there twice."""
    pairs = {
        "grant_type": EXCHANGE,
        "requested_token_type": TYPE + "txn_token",
        "audience": DOMAIN,
        "scope": SCOPE,
        "subject_token_type": TYPE + kind,
        "subject_token": token,
    }
    return list(bend(pairs, bent).items())


def begin(**bent):
    return exchange("access_token", access_token(), **bent)


def replace(token, to, **bent):
    return exchange("txn_token", token, **{"resource": did(to)} | bent)


def renew(token, **bent):
    return exchange("txn_token", token, **bent)
