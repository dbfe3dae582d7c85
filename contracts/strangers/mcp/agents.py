"""Two agents, in two networks where the machine allows it: one offers a server of the official MCP SDK, by its pipes and by its URL; clients of the official SDK use
it at the other, by the program that stands for it and by the address that stands for it. All four are unmodified.

    NUNCIO=path/to/nuncio python agents.py 1|2"""

import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # this folder holds sources
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pair import NUNCIO, Agent, Places  # noqa: E402


def offered(anna, ben, name, *command):
    told = anna.nuncio("expose", "mcp", name, "--allow", "ben=tools.read", "--allow", "ben=tools.write", "--", *command)
    assert [tool["name"] for tool in told["tools"] if tool["reads"]] == ["echo"], told
    return ben.nuncio("connect", told["invitation"], "--peer-name", "anna")


def main():
    version, counts = sys.argv[1], [0, 0]
    client = [sys.executable, str(HERE / f"v{version}.py")]
    server = [sys.executable, str(HERE / "service.py")]
    with tempfile.TemporaryDirectory() as folder, Places(f"MCP SDK {version}") as (here, there):
        folder = pathlib.Path(folder)
        with Agent(here, folder, "anna") as anna, Agent(there, folder, "ben") as ben:
            anna.nuncio("peers", "add", "--name", "ben", ben.invitation)
            port = here.free_port()
            http = subprocess.Popen(here.command(*server, "http", port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                here.listens(port)
                ways = [("a program", offered(anna, ben, "pipes", *server)), ("an address", offered(anna, ben, "web", f"http://127.0.0.1:{port}/mcp"))]
                for what, offer in ways:
                    for how in ([NUNCIO, *offer["args"]], [offer["url"]]):
                        done = subprocess.run(there.command(*client, *how), stdout=subprocess.PIPE, text=True, timeout=300)
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
