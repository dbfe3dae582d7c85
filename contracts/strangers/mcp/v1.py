"""The official MCP SDK before its second version, unmodified: sessions over Streamable HTTP and over a program's own input and output.

    python v1.py http://127.0.0.1:PORT/SECRET
    python v1.py --url PROGRAM...              which prints the URL, and ends with its input
    python v1.py COMMAND ARGUMENTS..."""

import asyncio
import sys

sys.dont_write_bytecode = True  # this folder holds sources

from mcp import ClientSession, StdioServerParameters, types  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

from walk import Cutter, Walk, arguments, cut, finish, tools  # noqa: E402


async def told(context, params):
    return types.ElicitResult(action="accept", content={"name": "Ada"})


class Client:
    def __init__(self, session):
        self.session = session
        self.list_tools = session.list_tools

    async def call_tool(self, name, arguments, progress=None):
        return await self.session.call_tool(name, arguments, progress_callback=progress)


async def walked(walk, streams, more):
    logs = []

    async def log(params):
        logs.append(params.data)

    async with ClientSession(*streams[:2], elicitation_callback=told, logging_callback=log) as session:
        await session.initialize()
        await more(walk, Client(session), logs)


async def plain(walk, client, logs):
    await tools(walk, client, logs=logs)


async def main():
    url, command = arguments()
    if command:
        walk = Walk("SDK 1, stdio")
        async with stdio_client(StdioServerParameters(command=command[0], args=command[1:])) as streams:
            await walked(walk, streams, plain)
        return [walk]
    http, broken = Walk("SDK 1, HTTP"), Walk("SDK 1, HTTP that breaks")
    async with streamable_http_client(url) as streams:
        await walked(http, streams, plain)
    async with Cutter(url) as cutter, streamable_http_client(cutter.url()) as streams:
        await walked(broken, streams, lambda walk, client, _: cut(walk, cutter, client))
    return [http, broken]


finish(asyncio.run(main()))
