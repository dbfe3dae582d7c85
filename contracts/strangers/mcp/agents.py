"""Two agents on this machine: one offers a server of the official MCP SDK, by its pipes and by its URL; clients of the official SDK use it at the other, by
the program that stands for it and by the address that stands for it. All four are unmodified.

    NUNCIO=path/to/nuncio python agents.py 1|2"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE, NUNCIO = pathlib.Path(__file__).parent, os.environ["NUNCIO"]


def nuncio(home, *arguments):
    done = subprocess.run([NUNCIO, "--home", home, "--json", *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


class Agent:
    def __init__(self, folder, name):
        self.home = str(folder / name)
        nuncio(self.home, "init", "--letters-without-token", "deliver")
        command = [NUNCIO, "--home", self.home, "--json", "agent", "--stop-with-stdin", "--listen", "127.0.0.1:0"]
        environment = {**os.environ, "NUNCIO_LOG": os.environ.get("NUNCIO_LOG", "error")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        self.invitation = json.loads(self.process.stdout.readline())["invitation"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("the server of the SDK does not listen")


def offered(anna, ben, name, *command):
    told = nuncio(anna.home, "expose", "mcp", name, "--allow", "ben=tools.read", "--allow", "ben=tools.write", "--", *command)
    assert [tool["name"] for tool in told["tools"] if tool["reads"]] == ["echo"], told
    return nuncio(ben.home, "connect", told["invitation"], "--peer-name", "anna")


def main():
    version, counts = sys.argv[1], [0, 0]
    client = [sys.executable, str(HERE / f"v{version}.py")]
    server = [sys.executable, str(HERE / "service.py")]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with Agent(folder, "anna") as anna, Agent(folder, "ben") as ben:
            nuncio(anna.home, "peers", "add", "--name", "ben", ben.invitation)
            port = free_port()
            http = subprocess.Popen([*server, "http", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                listens(port)
                ways = [("a program", offered(anna, ben, "pipes", *server)), ("an address", offered(anna, ben, "web", f"http://127.0.0.1:{port}/mcp"))]
                for what, there in ways:
                    for how in ([NUNCIO, *there["args"]], [there["url"]]):
                        done = subprocess.run([*client, *how], stdout=subprocess.PIPE, text=True, timeout=300)
                        print(*(f"{what}: {line}" for line in done.stdout.splitlines()[:-1]), sep="\n", flush=True)
                        last = re.fullmatch(r"(\d+) passed, (\d+) failed", (done.stdout.splitlines() or [""])[-1])
                        passed, failed = map(int, last.groups()) if last else (0, 1)
                        counts = [counts[0] + passed, counts[1] + failed]
            finally:
                http.kill()
                http.wait()
    print(f"{counts[0]} passed, {counts[1]} failed")
    sys.exit(1 if counts[1] or not counts[0] else 0)


main()
