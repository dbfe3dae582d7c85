"""Every MUST of draft-ietf-oauth-transaction-tokens and every rule of contracts/txts.md that can be seen from outside, kept and broken, against a node
that runs. Sections of the draft are named by their titles, which outlive its numbering.

    python walk.py         prints what failed, a count for each section and `N passed, N failed`; the program is $NUNCIO, or target/debug/nuncio
"""

import json
import re
import sys
import time
from collections import Counter

sys.dont_write_bytecode = True  # this folder holds sources

import asking  # noqa: E402
import hops  # noqa: E402
import living  # noqa: E402
import who  # noqa: E402
from node import DOMAIN, KEYS, TYPE, Node, begin, decode, did, part, thumbprint, verifies  # noqa: E402

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# RFC 6749 section 5.2.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
REQUIRED = {"iat": int, "exp": int, "aud": str, "txn": str, "sub": str, "scope": str, "req_wl": str, "jti": str, "cnf": dict, "hop": dict, "req_wl_chain": list}


class Walk:
    def __init__(self, node):
        self.node, self.passed, self.failed = node, Counter(), Counter()
        self.tokens, self.names, self.more = [], set(), who.CLIENTS

    def case(self, section, what, faults):
        """Passes when there are none."""
        (self.failed if faults else self.passed)[section] += 1
        if faults:
            print(f"FAILED: {section}: {what}: {'; '.join(map(str, faults))}")

    def holds(self, section, what, right, got=""):
        self.case(section, what, [] if right else [got or "it does not"])

    def refused(self, section, what, answer, error, status=None):
        """Exactly this error, in RFC 6749's form, and nothing of a token."""
        status = status or {"invalid_client": 401, "temporarily_unavailable": 503}.get(error, 400)
        told = answer.json if isinstance(answer.json, dict) else {}
        faults = self.faults_of_head(answer)
        if (answer.status, told.get("error")) != (status, error):
            faults.append(f"wanted {status} {error}, got {answer}")
        if not set(told) <= {"error", "error_description", "error_uri"}:
            faults.append(f"members {set(told)}")
        if not DESCRIPTION.fullmatch(told.get("error_description", "")):
            faults.append(f"characters of {told['error_description']!r}")
        if b"eyJ" in answer.body or b"access_token" in answer.body:
            faults.append("a token in the answer")
        if status == 401 and not answer.headers.get("WWW-Authenticate"):
            faults.append("no challenge")
        if error == "temporarily_unavailable" and not answer.headers.get("Retry-After"):
            faults.append("no Retry-After")
        self.case(section, what, faults)

    def issued(self, section, what, answer, **wanted):
        """A whole token in a whole answer, with these claims; the claims."""
        faults, claims = self.faults_of_head(answer), {}
        if answer.status != 200 or not isinstance(answer.json, dict):
            faults.append(answer)
        else:
            claims, more = self.faults_of_token(answer.json)
            faults += more
            faults += [f"{name} is {claims.get(name)!r}, wanted {value!r}" for name, value in wanted.items() if claims.get(name) != value]
        self.case(section, what, faults)
        return claims

    def faults_of_head(self, answer):
        wanted = {"Cache-Control": "no-store", "Content-Type": "application/json"}
        return [f"{name} is {answer.headers.get(name)}" for name, value in wanted.items() if answer.headers.get(name) != value]

    def faults_of_token(self, told):
        """Draft, Txn-Token Response, JWT Header and JWT Body Claims; token.md K1 to K8."""
        faults = []
        token = told.get("access_token", "..")
        wanted = {"token_type": "N_A", "issued_token_type": TYPE + "txn_token"}
        faults += [f"{name} is {told.get(name)}" for name, value in wanted.items() if told.get(name) != value]
        if set(told) != {"access_token", "issued_token_type", "token_type", "expires_in"}:
            faults.append(f"members {set(told)}")
        header, claims = part(token, 0), part(token, 1)
        keys = {key["kid"]: key for key in self.node.get("/jwks").json["keys"]}
        if header.get("typ") != "txntoken+jwt":
            faults.append(f"typ {header.get('typ')}")
        key = keys.get(header.get("kid"))
        if not key or thumbprint(key) != header["kid"] or not verifies(key, token):
            faults.append("not signed by a key of the key set")
        faults += [f"claim {name}" for name, kind in REQUIRED.items() if not claims.get(name) or not isinstance(claims[name], kind)]
        hop, chain = claims["hop"], claims["req_wl_chain"]
        told_right = {
            "aud": claims["aud"] == DOMAIN,
            "iss": claims["iss"] == self.node.issuer,
            "iat": abs(claims["iat"] - time.time()) < 5,
            "lifetime": 0 < claims["exp"] - claims["iat"] <= 300 and claims["exp"] - claims["iat"] == told.get("expires_in"),
            "end of the transaction": claims["exp"] <= claims["txn_exp"],
            "txn": UUID7.fullmatch(claims["txn"]),
            "chain": ",".join(chain) == claims["req_wl"] and len(chain) == hop["n"] + 1,
            "hops": hop["n"] <= hop["max"] <= 16,
            "prev": ("prev" in hop) == (hop["n"] > 0),
            "jti": claims["jti"] not in self.names,
            "length": len(token) <= 8192,
            "cnf": len(decode(claims["cnf"]["jkt"])) == 32,
        }
        self.names.add(claims["jti"])
        self.tokens.append(token)
        return claims, faults + [name for name, right in told_right.items() if not right]

    def still_issues(self, behind):
        claims = self.issued("N23", f"the service still issues {behind}", self.node.ask("gateway", begin(resource=did("planner"))))
        self.holds("N4", "holder and receiver", claims["cnf"]["jkt"] == thumbprint(KEYS["gateway"].jwk) and claims["hop"]["to"] == did("planner"))

    def conclude(self):
        for section in sorted(self.passed | self.failed, key=lambda name: (name[0] != "N", name[0] == "N" and int(name[1:]), name)):
            print(f"{section:44} {self.passed[section]:4} {f'{self.failed[section]} failed' if self.failed[section] else ''}")
        print(f"{self.passed.total()} passed, {self.failed.total()} failed")
        return self.failed.total() > 0


def main():
    with Node(more=who.CLIENTS) as node:
        walk = Walk(node)
        walk.slow = living.SlowBody(node)
        for cases in (who, asking, hops, living):
            try:
                cases.run(walk)
            except Exception as error:
                walk.case(cases.__name__, "the cases come to their end", [repr(error)])
            if cases is not living:
                walk.still_issues(f"after {cases.__name__}")
        living.end(walk)
        return walk.conclude()


if __name__ == "__main__":
    sys.exit(main())
