"""The official MCP SDK of the second version, unmodified: both eras of the protocol over Streamable HTTP and over a program's own input and output.

    python v2.py http://127.0.0.1:PORT/SECRET
    python v2.py --url PROGRAM...              which prints the URL, and ends with its input
    python v2.py COMMAND ARGUMENTS..."""

import asyncio
import sys

sys.dont_write_bytecode = True  # this folder holds sources

from mcp import Client, StdioServerParameters  # noqa: E402
from mcp_types import ElicitResult  # noqa: E402

from walk import Cutter, Walk, arguments, cut, finish, tools  # noqa: E402


async def told(context, params):
    return ElicitResult(action="accept", content={"name": "Ada"})


class Plain:
    def __init__(self, client):
        self.client = client
        self.list_tools = client.list_tools

    async def call_tool(self, name, arguments, progress=None):
        return await self.client.call_tool(name, arguments, progress_callback=progress)


async def walked(what, server, mode, version):
    walk, logs = Walk(f"SDK 2, {what}, {mode}"), []

    async def log(params):
        logs.append(params.data)

    sessions = version < "2026"
    callbacks = {"elicitation_callback": told, "logging_callback": log} if sessions else {}
    async with Client(server, mode=mode, **callbacks) as client:
        walk.holds("the revision is agreed on", client.protocol_version.startswith(version), client.protocol_version)
        await tools(walk, Plain(client), asks=sessions, logs=logs if sessions else None)
    return walk


async def cancelled(url):
    walk = Walk("SDK 2, HTTP, a client that gives up")
    async with Client(url, mode="2026-07-28") as client:
        try:
            await client.call_tool("slow", {"ms": 60000}, read_timeout_seconds=0.5)
            walk.holds("it gives up", False)
        except Exception as error:
            walk.holds("it gives up", "imed out" in str(error), error)
        walk.holds("and goes on", (await client.call_tool("echo", {"text": "on"})).content[0].text == "on")
    return walk


async def broken(url):
    walk = Walk("SDK 2, HTTP that breaks")
    async with Cutter(url) as cutter, Client(cutter.url(), mode="legacy") as client:
        await cut(walk, cutter, Plain(client))
    return walk


async def main():
    url, command = arguments()
    if command:
        server = StdioServerParameters(command=command[0], args=command[1:])
        return [await walked("stdio", server, "legacy", "2025"), await walked("stdio", server, "2026-07-28", "2026-07-28")]
    walks = [await walked("HTTP", url, mode, version) for mode, version in [("legacy", "2025"), ("2026-07-28", "2026"), ("auto", "2026")]]
    return [*walks, await cancelled(url), await broken(url)]


finish(asyncio.run(main()))
