"""What any MCP client does with a service on the other side, whichever SDK it is made of. The service has the tools `echo` (text), `add` (says how often
it was called), `count` (n parts of progress), `slow` (ms, with progress in front and behind), `large` (bytes), `log` (a message of its own) and `ask` (asks the client for
a name)."""

import asyncio
import subprocess
import sys
import time


class Walk:
    def __init__(self, what):
        self.what, self.passed, self.failed = what, 0, 0

    def holds(self, what, right, got=""):
        if right:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {self.what}: {what}: {got}")

    def conclude(self):
        print(f"{self.what}: {self.passed} passed, {self.failed} failed", flush=True)


def text(result):
    return result.content[0].text


async def tools(walk, client, asks=True, logs=None):
    """`client` has list_tools() and call_tool(name, arguments, progress)."""
    names = {tool.name for tool in (await client.list_tools()).tools}
    walk.holds("tools are listed", {"echo", "add", "count", "slow", "large", "log", "ask"} <= names, names)
    said = 'ümlaut "quoted"\n\u2028 \U0001f980'
    walk.holds("text comes back as it was", text(await client.call_tool("echo", {"text": said})) == said)
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    await client.call_tool("count", {"n": 20}, progress)
    walk.holds("progress comes in order, before the answer", seen == [float(n) for n in range(1, 21)], seen)
    first = int(text(await client.call_tool("add", {})))
    second = int(text(await client.call_tool("add", {})))
    walk.holds("a call is one call", second == first + 1, (first, second))
    many = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(50)))
    walk.holds("fifty at once are told apart", [text(one) for one in many] == [str(n) for n in range(50)])
    begun = time.monotonic()
    await asyncio.gather(*(client.call_tool("slow", {"ms": 500}) for _ in range(10)))
    walk.holds("ten slow ones wait together", time.monotonic() - begun < 4, time.monotonic() - begun)
    large = text(await client.call_tool("large", {"bytes": 600_000}))
    walk.holds("what is long comes whole", large == "x" * 600_000, len(large))
    if asks:
        told = text(await client.call_tool("ask", {}))
        walk.holds("the client is asked and answers", told == "hello Ada", told)
    if logs is not None:
        await client.call_tool("log", {})
        for _ in range(100):
            if logs:
                break
            await asyncio.sleep(0.05)
        walk.holds("a message of the service's own comes", logs == ["an aside"], logs)
    try:
        answer = await client.call_tool("nothing", {})
        said = getattr(answer, "isError", None) or getattr(answer, "is_error", False)  # each SDK has its own
    except Exception as error:
        said = "nothing" in str(error)
    walk.holds("a tool that is not there is an error", said)
    walk.holds("the session lives on", text(await client.call_tool("echo", {"text": "on"})) == "on")


class Cutter:
    """Stands between a client and a URL on this machine, and cuts what is open when it is told to."""

    def __init__(self, url):
        self.host, self.path = url.split("://", 1)[1].split("/", 1)
        self.open, self.resumed = set(), 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        self.place = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()

    def url(self):
        return f"http://{self.place}/{self.path}"

    def cut(self):
        for writer in self.open:
            writer.transport.abort()
        self.open.clear()

    async def take(self, reader, writer):
        there_reader, there = await asyncio.open_connection(*self.host.split(":"))
        both = {writer, there}
        self.open |= both

        async def pour(source, sink, outward):
            try:
                while piece := await source.read(65536):
                    if outward:
                        self.resumed += piece.lower().count(b"last-event-id:")
                        piece = piece.replace(self.place.encode(), self.host.encode())
                    sink.write(piece)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        try:
            await asyncio.gather(pour(reader, there, True), pour(there_reader, writer, False))
        except asyncio.CancelledError:
            pass  # the walk has ended
        self.open -= both


async def cut(walk, cutter, client):
    """A stream that breaks in the middle of a call: the client goes on, and the call is one call."""
    first = int(text(await client.call_tool("add", {})))
    seen = []

    async def progress(done, total, message):
        seen.append(done)
        if done == 1:
            asyncio.get_running_loop().call_later(0.2, cutter.cut)

    told = text(await client.call_tool("slow", {"ms": 1500}, progress))
    walk.holds("the answer comes over a stream that was cut", told == "awake", told)
    walk.holds("what came before comes once", seen == [1.0, 2.0], seen)
    walk.holds("by resuming", cutter.resumed > 0)
    walk.holds("calls are not repeated", int(text(await client.call_tool("add", {}))) == first + 1)


def served(program, *arguments):
    """The URL that a program prints first, which ends when this one does."""
    process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process.stdout.readline().strip()


def arguments():
    """A URL, `--url` and a command that prints one, or a command that is a server."""
    given = sys.argv[1:]
    if given[0] == "--url":
        return served(*given[1:]), None
    return (given[0], None) if given[0].startswith("http://") else (None, given)


def finish(walks):
    for walk in walks:
        walk.conclude()
    passed, failed = sum(walk.passed for walk in walks), sum(walk.failed for walk in walks)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
