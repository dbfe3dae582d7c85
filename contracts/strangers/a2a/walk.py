"""The official A2A SDK, unmodified, on both sides: its client asks, over 1.0 and over 0.3, an agent made of its server.

    python walk.py PROGRAM   which is given the agent's address, prints the one for the client, and ends with its input
    python walk.py           without anything between
    python walk.py serve FILE     is the agent alone: signs its card, writes its key there, prints its address, and ends with its input
    python walk.py at URL JWK     is the client alone, which wants the card signed by that key"""

import asyncio
import json
import pathlib
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # this folder holds sources

import httpx  # noqa: E402
import uvicorn  # noqa: E402
from a2a.client import ClientConfig, create_client  # noqa: E402
from a2a.client.card_resolver import parse_agent_card  # noqa: E402
from a2a.helpers.proto_helpers import get_message_text, new_task, new_text_message, new_text_part  # noqa: E402
from a2a.server.agent_execution import AgentExecutor  # noqa: E402
from a2a.server.request_handlers import DefaultRequestHandler  # noqa: E402
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes  # noqa: E402
from a2a.server.tasks import (  # noqa: E402
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (  # noqa: E402
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)

from a2a.utils.signing import create_agent_card_signer, create_signature_verifier  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from jwt import PyJWK  # noqa: E402
from jwt.algorithms import ECAlgorithm  # noqa: E402
from starlette.applications import Starlette  # noqa: E402

passed = failed = 0


def holds(what, right, got=""):
    global passed, failed
    if right:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}: {got}", flush=True)


class Agent(AgentExecutor):
    """Says back what it is told; of `count N` in N artifacts; of `wait` nothing until it is cancelled."""

    def __init__(self):
        self.done = 0

    async def execute(self, context, queue):
        text = context.get_user_input()
        if text == "done":
            return await queue.enqueue_event(new_text_message(str(self.done), context_id=context.context_id))
        if text.startswith("say "):
            self.done += 1
            return await queue.enqueue_event(new_text_message(text[4:], context_id=context.context_id))
        await queue.enqueue_event(new_task(context.task_id, context.context_id, TaskState.TASK_STATE_SUBMITTED))
        task = TaskUpdater(queue, context.task_id, context.context_id)
        await task.start_work()
        if text == "wait":
            await asyncio.sleep(60)
        for n in range(int(text.removeprefix("count "))):
            await asyncio.sleep(0.2)
            await task.add_artifact([new_text_part(str(n))], name=str(n))
        await task.complete()

    async def cancel(self, context, queue):
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


def card(port):
    address = f"http://127.0.0.1:{port}"
    both = [
        AgentInterface(url=f"{address}/rpc", protocol_binding="JSONRPC", protocol_version="1.0"),
        AgentInterface(url=f"{address}/rest", protocol_binding="HTTP+JSON", protocol_version="1.0"),
        AgentInterface(url=f"{address}/older", protocol_binding="JSONRPC", protocol_version="0.3"),
    ]
    return AgentCard(
        name="Sayer",
        description="says",
        version="1",
        supported_interfaces=both,
        capabilities=AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="say", name="say", description="says", tags=["say"])],
    )


def signed(card, file):
    """The card with a signature of a new key, whose public half goes into the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    pathlib.Path(file).write_text(ECAlgorithm.to_jwk(key.public_key()))
    return create_agent_card_signer(key, {"alg": "ES256", "kid": "its own", "jku": None, "typ": "JOSE"})(card)


async def agent(file=None):
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    port = place.getsockname()[1]
    handler = DefaultRequestHandler(
        agent_executor=Agent(),
        task_store=InMemoryTaskStore(),
        agent_card=card(port),
        push_config_store=InMemoryPushNotificationConfigStore(),
    )
    routes = [
        *create_agent_card_routes(signed(card(port), file) if file else card(port)),
        *create_jsonrpc_routes(handler, "/rpc"),
        *create_jsonrpc_routes(handler, "/older", enable_v0_3_compat=True),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
    asyncio.get_running_loop().create_task(server.serve(sockets=[place]))
    while not server.started:
        await asyncio.sleep(0.01)
    return f"http://127.0.0.1:{port}"


def asks(text):
    return SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))


async def collected(stream):
    return [event async for event in stream]


async def done(client):
    [answer] = await collected(client.send_message(asks("done")))
    return int(get_message_text(answer.message))


async def walk(what, client, plain):
    """`plain` is the same client without streams."""
    said = 'ümlaut "quoted"\n \U0001f980'
    before = await done(plain)
    [answer] = await collected(client.send_message(asks(f"say {said}")))
    holds(f"{what}: text comes back as it was", get_message_text(answer.message) == said, answer)
    after = await done(plain)
    holds(f"{what}: a message is one message", after == before + 1, after)
    [answer] = await collected(plain.send_message(asks(f"say {said}")))
    holds(f"{what}: also without a stream", get_message_text(answer.message) == said, answer)
    many = await asyncio.gather(*(collected(plain.send_message(asks(f"say {n}"))) for n in range(20)))
    holds(f"{what}: twenty at once are told apart", [get_message_text(one[0].message) for one in many] == [str(n) for n in range(20)])
    times, events = [], []
    async for event in client.send_message(asks("count 5")):
        times.append(asyncio.get_running_loop().time())
        events.append(event)
    names = [event.artifact_update.artifact.name for event in events if event.HasField("artifact_update")]
    holds(f"{what}: what a task does comes in order", names == ["0", "1", "2", "3", "4"], names)
    holds(f"{what}: each when it is done", times[-1] - times[0] > 0.6, times)
    holds(f"{what}: to its end", events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED, events[-1])
    task = await client.get_task(GetTaskRequest(id=events[-1].status_update.task_id))
    holds(f"{what}: a task is there afterwards", len(task.artifacts) == 5, task)
    large = "x" * 600_000
    [answer] = await collected(client.send_message(asks(f"say {large}")))
    holds(f"{what}: what is long comes whole", get_message_text(answer.message) == large)
    waits = client.send_message(asks("wait"))
    first = await anext(waits)
    task_id = first.task.id or first.status_update.task_id
    await waits.aclose()
    again = client.subscribe(SubscribeToTaskRequest(id=task_id))
    first = await anext(again)
    holds(f"{what}: a stream that was left is taken up again", task_id in (first.task.id, first.status_update.task_id), first)
    rest = asyncio.create_task(collected(again))
    cancelled = await client.cancel_task(CancelTaskRequest(id=task_id))
    holds(f"{what}: a task is cancelled", cancelled.status.state == TaskState.TASK_STATE_CANCELED, cancelled)
    await asyncio.wait_for(rest, 10)
    try:
        await client.get_task(GetTaskRequest(id="nothing"))
        holds(f"{what}: a task that is not there is an error", False)
    except Exception as error:
        holds(f"{what}: a task that is not there is an error", type(error).__name__ == "TaskNotFoundError", repr(error))


async def between(what, client):
    """What is refused where letters lie between."""
    hook = TaskPushNotificationConfig(task_id="t", url="https://other.example/hook")
    try:
        await client.create_task_push_notification_config(hook)
        holds(f"{what}: a webhook that nobody named is refused", False)
    except Exception as error:
        holds(f"{what}: a webhook that nobody named is refused", "webhook" in str(error), repr(error))


async def main():
    url, process, more = "", None, sys.argv[1:]
    if more[:1] == ["at"]:
        url = more[1]
    else:
        url = await agent(*more[1:])
    if more[:1] == ["serve"]:
        print(url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        return 0
    if len(more) == 1:
        process = await asyncio.create_subprocess_exec(more[0], url, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        url = (await process.stdout.readline()).decode().strip()
    async with httpx.AsyncClient(timeout=30) as http:
        served = (await http.get(f"{url}/.well-known/agent-card.json")).json()
    if more[:1] == ["at"]:
        verify = create_signature_verifier(lambda *_: PyJWK(json.loads(more[2])), ["EdDSA"])
        try:
            verify(parse_agent_card(served))
            holds("the card is signed by the key that connect printed", True)
        except Exception as error:
            holds("the card is signed by the key that connect printed", False, repr(error))
    if more:
        interfaces = [(one["url"], one["protocolVersion"]) for one in served["supportedInterfaces"]]
        holds("the card has addresses of this machine", interfaces == [(f"{url}/a2a/rpc", "1.0"), (f"{url}/a2a/older", "0.3")], interfaces)
    for version in ["1.0", "0.3"]:
        own = [one for one in served["supportedInterfaces"] if one["protocolVersion"] == version]
        chosen = parse_agent_card({**served, "supportedInterfaces": own})
        async with httpx.AsyncClient(timeout=30) as http:
            client = await create_client(chosen if version == "0.3" else url, ClientConfig(httpx_client=http))
            plain = await create_client(chosen, ClientConfig(httpx_client=http, streaming=False))
            await walk(version, client, plain)
            if version == "1.0":
                listed = await client.list_tasks(ListTasksRequest())
                holds("1.0: tasks are listed", len(listed.tasks) >= 2, len(listed.tasks))
            if more:
                await between(version, client)
    if process:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


sys.exit(asyncio.run(main()))
