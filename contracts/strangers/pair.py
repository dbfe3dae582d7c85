"""Two agents of this machine, each with a network of its own and a line between the two; where the machine forbids that, both on loopback.

    NUNCIO=path/to/nuncio"""

import json
import os
import subprocess
import sys
import time

NUNCIO = os.environ["NUNCIO"]


class Place:
    """Where programs run: in the namespace of the process that holds it, or here."""

    def __init__(self, address="127.0.0.1", enter=()):
        self.address, self.enter = address, list(enter)

    def command(self, *words):
        return [*self.enter, *map(str, words)]

    def nuncio(self, home, *arguments):
        words = self.command(NUNCIO, "--home", home, "--json", *arguments)
        return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout)

    def python(self, text):
        words = self.command(sys.executable, "-c", f"import socket; {text}")
        return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

    def free_port(self):
        return int(self.python("one = socket.socket(); one.bind(('127.0.0.1', 0)); print(one.getsockname()[1])"))

    def listens(self, port):
        for _ in range(600):
            if self.python(f"print(socket.socket().connect_ex(('127.0.0.1', {port})))") == "0":
                return
            time.sleep(0.1)
        raise SystemExit("the server of the SDK does not listen")


class Forbidden(Exception):
    pass


class Places:
    """Two namespaces, each with loopback of its own and one end of a line; they go with the processes that hold them."""

    def __init__(self, what):
        self.what, self.holders = what, []

    def __enter__(self):
        try:
            return self.two()
        except (OSError, Forbidden) as error:
            self.end()
            reason = f"forbidden: {error}" if isinstance(error, Forbidden) else str(error)
            told = f"{self.what} in two network namespaces: {reason}"
            if file := os.environ.get("NUNCIO_NOT_RUN_FILE"):
                with open(file, "a") as listed:
                    print(told, file=listed)
            else:
                print(f"NOT RUN: {told}", flush=True)
            return Place(), Place()

    def __exit__(self, *_):
        self.end()

    def end(self):
        for holder in self.holders:
            holder.kill()
            holder.wait()
        self.holders = []

    def two(self):
        # Without being root, a namespace of users in which it is allowed; the second network is within that of the first.
        is_root = os.geteuid() == 0
        first = self.hold(["unshare", "-n"] if is_root else ["unshare", "-Urn"])
        enter = ["nsenter", *([] if is_root else ["-U", "--preserve-credentials"]), "-n"]
        one = [*enter, "-t", str(first)]
        second = self.hold([*one, "unshare", "-n"])
        other = [*enter, "-t", str(second)]
        self.does([*one, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(second)])
        for place, end, address in ((one, "near", "10.213.7.1"), (other, "far", "10.213.7.2")):
            self.does([*place, "ip", "addr", "add", f"{address}/30", "dev", end])
            self.does([*place, "ip", "link", "set", end, "up"])
            self.does([*place, "ip", "link", "set", "lo", "up"])
        return Place("10.213.7.1", one), Place("10.213.7.2", other)

    def hold(self, command):
        holder = subprocess.Popen(
            [*command, "sh", "-c", "echo held; exec sleep infinity"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.holders.append(holder)
        if holder.stdout.readline().strip() != "held":
            raise Forbidden(holder.stderr.read().strip() or "no namespace can be made")
        return holder.pid

    @staticmethod
    def does(command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Forbidden(done.stderr.strip())


class Agent:
    """One that runs in a place."""

    def __init__(self, place, folder, name):
        self.place, self.home = place, str(folder / name)
        self.nuncio("init", "--letters-without-token", "deliver")
        command = place.command(
            NUNCIO, "--home", self.home, "--json", "agent", "--stop-with-stdin", "--listen", f"{place.address}:0"
        )
        environment = {**os.environ, "NUNCIO_LOG": os.environ.get("NUNCIO_LOG", "error")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        self.invitation = json.loads(self.process.stdout.readline())["invitation"]

    def nuncio(self, *arguments):
        return self.place.nuncio(self.home, *arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
