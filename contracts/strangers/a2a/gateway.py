"""The official A2A SDK, unmodified, as a person's client of a gateway: a node, an issuer of logins, a provider, an agent with a tool, all on loopback.

    NUNCIO=path/to/nuncio python gateway.py"""

import asyncio
import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # this folder holds sources

import httpx  # noqa: E402
import jwt  # noqa: E402
from a2a.client import ClientConfig, create_client  # noqa: E402
from a2a.helpers.proto_helpers import new_data_part, new_message, new_text_message  # noqa: E402
from a2a.types import (  # noqa: E402
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: E402

NUNCIO = os.environ["NUNCIO"]
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
PIECES = ["light ", "scatters ", "\U0001f535"]
passed = failed = 0


def holds(what, right, got=""):
    global passed, failed
    if right:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}: {got}", flush=True)


class Far(http.server.BaseHTTPRequestHandler):
    """A provider of completions (asked to `wait` it has no end), and a server of MCP with one tool."""

    protocol_version = "HTTP/1.1"
    left = threading.Event()

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/mcp":
            return self.mcp(asked)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            self.complete(asked["messages"][0]["content"] == "wait")
        except (BrokenPipeError, ConnectionResetError):
            self.left.set()
        self.close_connection = True

    def complete(self, waits):
        for piece in PIECES:
            self.event({"choices": [{"delta": {"content": piece}}]})
            time.sleep(0.2)
        while waits:
            self.wfile.write(b":\n\n")
            time.sleep(0.2)
        self.event({"choices": [], "usage": {"total_tokens": 9}})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, told):
        self.wfile.write(f"data: {json.dumps(told)}\n\n".encode())
        self.wfile.flush()

    def mcp(self, asked):
        arguments = asked.get("params", {}).get("arguments", {})
        result = {"content": [{"type": "text", "text": f"looked at {arguments.get('path')}"}], "structuredContent": arguments}
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        self.send_response(200 if "id" in asked else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) if "id" in asked else 0))
        self.end_headers()
        if "id" in asked:
            self.wfile.write(body)


def nuncio(home, *words):
    return subprocess.run([NUNCIO, "--home", home, *map(str, words)], check=True, capture_output=True, text=True).stdout


class Runs:
    """A program of ours that says when it is ready, and ends with its input."""

    def __init__(self, home, *words):
        environment = {**os.environ, "NUNCIO_LOG": os.environ.get("NUNCIO_LOG", "error")}
        command = [NUNCIO, "--home", home, "--json", *words, "--stop-with-stdin"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.ready = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def login(who):
    now = int(time.time())
    claims = {"iss": "https://login.example", "aud": "acme", "sub": who, "client_id": "app", "jti": f"{who}{now}", "iat": now, "exp": now + 600}
    return jwt.encode({**claims, "scope": "chat.complete tools.read"}, KEY, "EdDSA", {"typ": "at+jwt"})


def policy(node, gate, planner):
    public = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
    (node / "login.json").write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": public}]}))
    with open(node / "policy.toml", "a") as file:
        file.write(f"""
[[issuer]]
issuer = "https://login.example"
jwks_file = "login.json"
audience = ["acme"]
types = ["access_token"]
subject_prefix = "user:"
[[client]]
name = "gate"
did = "{gate}"
requests_per_s = 1000
[[client.grant]]
subject_types = ["access_token", "txn_token"]
subjects = ["user:*"]
scope = "chat.complete tools.read"
receivers = ["planner"]
[[client]]
name = "planner"
did = "{planner}"
""")
    nuncio(node, "node", "reload")


def gateway_file(at):
    return f"""listen = "127.0.0.1:0"
[chat]
url = "http://{at}/v1/chat/completions"
key_file = "provider.key"
scope = "chat.complete"
models = ["small"]
[tasks.ask]
scope = "chat.complete"
model = "small"
description = "answers"
[tasks.look]
scope = "tools.read"
service = "planner/files"
tool = "look"
"""


def asks(text):
    return SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))


async def collected(stream):
    return [event async for event in stream]


async def refused(what, name, asking):
    try:
        await asking
        holds(what, False)
    except Exception as error:
        holds(what, type(error).__name__ == name, repr(error))


async def client(http, base, route, streaming=True):
    return await create_client(f"{base}/v1/a2a/{route}", ClientConfig(httpx_client=http, streaming=streaming))


async def walk(base):
    person = lambda who: httpx.AsyncClient(timeout=30, headers={"authorization": f"Bearer {login(who)}"})  # noqa: E731
    async with person("anna") as anna, person("ben") as ben:
        streams, plain = await client(anna, base, "ask"), await client(anna, base, "ask", False)
        await completions(streams, plain)
        other = await client(ben, base, "ask")
        await ends(streams, other)
        tool = await client(anna, base, "look")
        await calls(tool)


async def completions(streams, plain):
    times, events = [], []
    async for event in streams.send_message(asks("why is the sky blue")):
        times.append(time.monotonic())
        events.append(event)
    kinds = [event.WhichOneof("payload") for event in events]
    holds("a stream is task, working, pieces, end", kinds == ["task", "status_update", *["artifact_update"] * 3, "status_update"], kinds)
    pieces = [event.artifact_update.artifact.parts[0].text for event in events if event.HasField("artifact_update")]
    holds("pieces come in their order", pieces == PIECES, pieces)
    holds("each as it is said", times[-1] - times[0] > 0.3, times)
    holds("to the end", events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED, events[-1])
    kept = await streams.get_task(GetTaskRequest(id=events[0].task.id))
    holds("a task is there afterwards", kept.artifacts[0].parts[0].text == "".join(PIECES), kept)
    holds("with what was asked", kept.history[0].parts[0].text == "why is the sky blue", kept)
    [answer] = await collected(plain.send_message(asks("why")))
    holds("without a stream it is whole", answer.task.status.state == TaskState.TASK_STATE_COMPLETED, answer)


async def ends(streams, other):
    waits = streams.send_message(asks("wait"))
    first = await anext(waits)
    task = first.task.id
    await waits.aclose()
    again = streams.subscribe(SubscribeToTaskRequest(id=task))
    first = await anext(again)
    holds("a stream that was left is taken up again", first.task.id == task, first)
    rest = asyncio.create_task(collected(again))
    for what, asking in {
        "got": other.get_task(GetTaskRequest(id=task)),
        "cancelled": other.cancel_task(CancelTaskRequest(id=task)),
        "listened to": collected(other.subscribe(SubscribeToTaskRequest(id=task))),
    }.items():
        await refused(f"another's task is not {what}", "TaskNotFoundError", asking)
    listed = await other.list_tasks(ListTasksRequest())
    holds("another's task is not listed", not listed.tasks, listed)
    cancelled = await streams.cancel_task(CancelTaskRequest(id=task))
    holds("a task is cancelled", cancelled.status.state == TaskState.TASK_STATE_CANCELED, cancelled)
    told = await asyncio.wait_for(rest, 10)
    holds("who listens is told so", told[-1].status_update.status.state == TaskState.TASK_STATE_CANCELED, told)
    holds("its provider is left", await asyncio.to_thread(Far.left.wait, 10))
    await refused("once", "TaskNotCancelableError", streams.cancel_task(CancelTaskRequest(id=task)))
    await refused("and is not listened to", "UnsupportedOperationError", collected(streams.subscribe(SubscribeToTaskRequest(id=task))))
    listed = await streams.list_tasks(ListTasksRequest())
    holds("the newest is listed first", [len(listed.tasks), listed.tasks[0].id] == [3, task], listed)
    page = await streams.list_tasks(ListTasksRequest(page_size=2))
    rest = await streams.list_tasks(ListTasksRequest(page_size=2, page_token=page.next_page_token))
    both = [one.id for one in [*page.tasks, *rest.tasks]]
    holds("page by page", both == [one.id for one in listed.tasks] and not rest.next_page_token, both)
    hook = TaskPushNotificationConfig(task_id=task, url="https://other.example/hook")
    # The SDK's own client asks no agent whose card says that it calls no webhooks.
    await refused("webhooks are not called", "PushNotificationNotSupportedError", streams._transport.create_task_push_notification_config(hook))
    more = asks("more")
    more.message.task_id = task
    await refused("a task has one message", "UnsupportedOperationError", collected(streams.send_message(more)))


async def calls(tool):
    message = new_message([new_data_part({"path": "a"})], role=Role.ROLE_USER)
    events = await collected(tool.send_message(SendMessageRequest(message=message)))
    [answer] = [event.artifact_update.artifact for event in events if event.HasField("artifact_update")]
    holds("a tool is called", answer.parts[0].text == "looked at a", events)
    holds("what it says in data is data", answer.parts[1].data.struct_value["path"] == "a", answer)
    holds("to the end", events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED, events[-1])
    await refused("text is none of what it takes", "ContentTypeNotSupportedError", collected(tool.send_message(asks("a"))))


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Far)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        node, gate, planner = (folder / name for name in ("node", "gate", "planner"))
        nuncio(node, "node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430")
        with Runs(node, "node", "run", "--listen", "127.0.0.1:0", "--quic", "127.0.0.1:0") as domain:
            for home in (gate, planner):
                nuncio(home, "init", "--trust-domain", "acme.example", "--node", domain.ready["invitation"])
            dids = [json.loads(nuncio(home, "--json", "id"))["agent"] for home in (gate, planner)]
            policy(node, *dids)
            (planner / "services.toml").write_text(f'[services.files]\nmcp_url = "http://{at}/mcp"\nread = ["look"]\n[services.files.tokens]\nscopes = ["tools.read"]\n')
            (gate / "provider.key").write_text("sk-owner\n")
            (gate / "provider.key").chmod(0o600)
            (gate / "gateway.toml").write_text(gateway_file(at))
            with Runs(planner, "agent", "--listen", "127.0.0.1:0") as far, Runs(gate, "gateway", "--listen", "127.0.0.1:0") as near:
                nuncio(gate, "peers", "add", "--name", "planner", far.ready["invitation"])
                nuncio(planner, "peers", "add", "--name", "gate", near.ready["invitation"])
                asyncio.run(walk(f"http://{near.ready['gateway']}"))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


sys.exit(main())
