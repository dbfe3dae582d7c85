"""Two agents, in two networks where the machine allows it: one offers an agent of the official A2A SDK, the SDK's client asks it at the other. Both are unmodified.

    NUNCIO=path/to/nuncio python agents.py"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # this folder holds sources
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pair import Agent, Places  # noqa: E402


def main():
    walk = [sys.executable, str(HERE / "walk.py")]
    with tempfile.TemporaryDirectory() as folder, Places("A2A SDK") as (here, there):
        folder = pathlib.Path(folder)
        with Agent(here, folder, "anna") as anna, Agent(there, folder, "ben") as ben:
            anna.nuncio("peers", "add", "--name", "ben", ben.invitation)
            key = pathlib.Path(anna.home) / "sayer.jwk"
            far = subprocess.Popen(here.command(*walk, "serve", key), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                url = far.stdout.readline().strip()
                told = anna.nuncio("expose", "a2a", "sayer", url, "--allow", "ben=tools.read", "--allow", "ben=tools.write")
                services = pathlib.Path(anna.home) / "services.toml"
                services.write_text(services.read_text().replace("a2a =", f'card_keys = ["{key.name}"]\na2a =', 1))
                anna.nuncio("allow", "sayer", "ben", "tools.read", "tools.write")
                offer = ben.nuncio("connect", told["invitation"], "--peer-name", "anna")
                return subprocess.run(there.command(*walk, "at", offer["url"], json.dumps(offer["card_key"]))).returncode
            finally:
                far.stdin.close()
                far.wait()


sys.exit(main())
