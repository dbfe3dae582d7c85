#!/usr/bin/env python3
"""Writes a letter through the local API and waits for its answer. Standard library only.

    python3 local_api.py HOME/api.sock PEER TEXT
"""

import http.client
import json
import socket
import sys


class Agent(http.client.HTTPConnection):
    """The local API over its Unix socket (contracts/openapi/local.yaml)."""

    def __init__(self, path):
        super().__init__("nuncio")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(self.path)
        except OSError as error:
            raise SystemExit(f"no agent answers at {self.path} ({error.strerror}): start it with `nuncio agent`")

    def ask(self, method, path, body=None):
        self.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        response = self.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(problem(response.status, content))
        return json.loads(content) if content else None


def problem(status, content):
    """Why the agent said no, in one line."""
    try:
        answer = json.loads(content)
        return f"{answer['code']}: {answer['message']}"
    except (ValueError, LookupError, TypeError):
        return f"the agent answers with status {status}"


def answer_to(agent, letter_id):
    """Waits in the inbox for the letter that answers ours; others stay there for whoever they are for."""
    after = ""
    while True:
        for letter in agent.ask("GET", f"/v1/inbox?wait_ms=30000{after}")["letters"]:
            after = f"&after={letter['no']}"
            if letter.get("reply_to") == letter_id:
                return letter


def main(path, peer, text):
    agent = Agent(path)
    sent = agent.ask("POST", "/v1/letters", {"to": peer, "text": text, "expires_ms": 60_000})
    state = agent.ask("GET", f"/v1/letters/{sent['to']}/{sent['id']}?wait_ms=60000")
    if state["state"] != "delivered":
        raise SystemExit(f"{state['state']}: {state.get('reason', 'the peer does not have it yet')}")
    print(f"delivered: {text}")
    letter = answer_to(agent, sent["id"])
    print(f"{letter.get('from_name', letter['from'])} answers: {letter['text']}")
    agent.ask("POST", f"/v1/inbox/{letter['no']}/done")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SystemExit(f"the agent broke off: {error}")
