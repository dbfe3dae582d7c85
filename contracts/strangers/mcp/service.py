"""A server of the official MCP SDK, of either of its versions, unmodified: the tools that walk.py wants.

    python service.py               on its input and output
    python service.py http PORT     Streamable HTTP on http://127.0.0.1:PORT/mcp"""

import asyncio
import sys

sys.dont_write_bytecode = True  # this folder holds sources

from pydantic import BaseModel  # noqa: E402

try:
    from mcp.server.mcpserver import Context, MCPServer  # noqa: E402

    SECOND = True
except ImportError:
    from mcp.server.fastmcp import Context, FastMCP as MCPServer  # noqa: E402

    SECOND = False

OVER_HTTP = len(sys.argv) == 3
PORT = {"port": int(sys.argv[2])} if OVER_HTTP else {}
server = MCPServer("stranger") if SECOND else MCPServer("stranger", **PORT)
calls = 0


class Who(BaseModel):
    name: str


@server.tool(annotations={"readOnlyHint": True})
async def echo(text: str) -> str:
    return text


@server.tool()
async def add() -> str:
    global calls
    calls += 1
    return str(calls)


@server.tool()
async def count(n: int, ctx: Context) -> str:
    for done in range(1, n + 1):
        await ctx.report_progress(done, n)
    return "counted"


@server.tool()
async def slow(ms: int, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    await asyncio.sleep(ms / 1000)
    await ctx.report_progress(2, 2)
    return "awake"


@server.tool()
async def large(bytes: int) -> str:
    return "x" * bytes


@server.tool()
async def log(ctx: Context) -> str:
    await ctx.info("an aside")
    return "logged"


@server.tool()
async def ask(ctx: Context) -> str:
    told = await ctx.elicit("who is there?", Who)
    return f"hello {told.data.name}"


if OVER_HTTP:
    server.run("streamable-http", **(PORT if SECOND else {}))
else:
    server.run("stdio")
