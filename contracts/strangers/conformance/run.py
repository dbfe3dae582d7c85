"""MCP's own conformance kit as the client of a server that two agents lie in front of: all that it asks of a server, through letters.

    NUNCIO=path/to/nuncio python run.py"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # this folder holds sources
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pair import Agent, Place  # noqa: E402


def node():
    brought = sorted(HERE.glob("node_modules/node-linux-*/bin/node"))
    for one in [*map(str, brought), shutil.which("node")]:
        if one and subprocess.run([one, "-e", "process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)"]).returncode == 0:
            return one
    raise SystemExit("no node of version 22 is here")


def main():
    kit = [node(), str(HERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"), "server", "--suite", "all"]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        place, folder = Place(), pathlib.Path(folder)
        with Agent(place, folder, "anna") as anna, Agent(place, folder, "ben") as ben:
            anna.nuncio("peers", "add", "--name", "ben", ben.invitation)
            scopes = ("--allow", "ben=tools.read", "--allow", "ben=tools.write")
            told = anna.nuncio("expose", "mcp", "everything", *scopes, "--", sys.executable, str(HERE / "everything.py"))
            url = ben.nuncio("connect", told["invitation"], "--peer-name", "anna")["url"]
            said = subprocess.run([*kit, "--url", url], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    for name, good, bad in re.findall(r"^\S+ ([\w-]+): (\d+) passed, (\d+) failed", said, re.M):
        passed += int(good)
        failed += int(bad)
        if int(bad):
            print(f"FAILED: {name}", *re.findall(rf"^.*{name}.*(?:\n(?!=).*)*", said, re.M)[:3], sep="\n", flush=True)
    if not passed:
        print(said[-4000:])
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


sys.exit(main())
