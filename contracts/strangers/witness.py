"""witness-log-cli, a Rust program that shares no code with ours, reads our notes, witnesses our log, and is witnessed by us (C2SP signed-note,
tlog-checkpoint, tlog-cosignature, tlog-witness). It reads neither tiles nor receipts: `log.go` has them read.

    python witness.py FOLDER   with the log that `write_log` wrote there; prints what failed and `N passed, N failed`

The programs are $WITNESS_LOG, and $NUNCIO or target/debug/nuncio.
"""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # this folder holds sources

from checks import check, counts  # noqa: E402
from node import PROGRAM, Node, free_port, policy  # noqa: E402

STRANGER = os.environ["WITNESS_LOG"]
VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"
EDGES = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537]
# Where our rules are stricter, and why.
STRICTER = {
    "cosignature-by-log": "it is not asked for a cosignature, and the log's key has signed",
    "cosignature-time-max": "it takes a time beyond 2^63 - 1, which C2SP tlog-cosignature does not allow",
    "no-newline": "it takes a note whose last newline is missing",
    "too-long": "our bound",
}
def stranger(*words):
    return subprocess.run([STRANGER, *map(str, words)], capture_output=True, text=True, timeout=60)


def verifies(folder, note, *keys):
    """Whether each of these keys has signed it, so that nothing else of theirs is there."""
    file = folder / "note"
    file.write_bytes(note.encode())
    done = stranger("c2sp", "verify", file, *(word for key in keys for word in ("--vkey", key)))
    return done.returncode == 0


def written(name, kind, public):
    data = bytes([kind]) + public
    identity = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    return f"{name}+{identity.hex()}+{base64.b64encode(data).decode()}"


def turned(note, name):
    """One bit of this key's signature is another."""
    lines = note.split("\n")
    at = max(number for number, line in enumerate(lines) if line.startswith(f"— {name} "))
    front, _, data = lines[at].rpartition(" ")
    data = bytearray(base64.b64decode(data))
    data[-1] ^= 1
    lines[at] = f"{front} {base64.b64encode(data).decode()}"
    return "\n".join(lines)


# --- notes ---


def vectors(folder):
    """Every note whose key it can have: what we take it takes, what we refuse it refuses."""
    for file in sorted((VECTORS / "note").glob("*.json")):
        case = json.loads(file.read_text())
        given, refused = case["input"], "error" in case["expect"]
        if given["what"] not in ("note", "cosignature") or len(given["key"]) > 1_000 or file.stem in STRICTER:
            continue
        check(f"note/{file.stem}", verifies(folder, given["note"], given["key"]) != refused)


def checkpoints(log, folder):
    key = (log / "key").read_text()
    for size in EDGES:
        note = (log / f"checkpoint.{size}").read_text()
        check(f"checkpoint of {size}", verifies(folder, note, key))
        check(f"checkpoint of {size}, a bit turned", not verifies(folder, turned(note, "log.example"), key))
        check(f"checkpoint of {size}, as another size", not verifies(folder, note.replace(f"\n{size}\n", f"\n{size + 1}\n"), key))


# --- it is a witness ---


class Served:
    """A program that serves until it is told to stop."""

    def __init__(self, *words, stdout=subprocess.DEVNULL):
        self.process = subprocess.Popen([*map(str, words)], stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def its_witness(folder, name):
    """A new home of it, and its key."""
    home = folder / name.rpartition("/")[2]
    made = json.loads(stranger("witness", "init", home, "--name", name, "--org", "Stranger", "--json").stdout)
    return home, made["vkey"]


def serving(home, port):
    served = Served(STRANGER, "witness", "serve", home, "--listen", f"127.0.0.1:{port}")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if ask(port, "GET", "/health", "")[0] == 200:
                return served
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the witness does not start")


def ask(port, method, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def proofs(log):
    found = {}
    for line in (log / "proofs").read_text().splitlines():
        old, new, _, _, *proof = line.split()
        found[int(old), int(new)] = proof
    return found


def requests(log, folder):
    """It cosigns our log from one size to the next, and nothing else; its lines stand under our heads."""
    home, witness = its_witness(folder, "witness.example/theirs")
    key, proven, port = (log / "key").read_text(), proofs(log), free_port()
    stranger("witness", "add-log", home, "log.example", key)

    def add(old, size, proof=None, bend=lambda note: note):
        lines = [f"old {old}", *(proven.get((old, size), []) if proof is None else proof), "", ""]
        return ask(port, "POST", "/add-checkpoint", "\n".join(lines) + bend((log / f"checkpoint.{size}").read_text()))

    with serving(home, port):
        old = 0
        for size in EDGES:
            what, proof = f"from {old} to {size}", proven.get((old, size), [])
            check(f"{what}: altered", add(old, size, bend=lambda note: turned(note, "log.example"))[0] == 403)
            if proof:
                check(f"{what}: no proof", add(old, size, [])[0] == 422)
                check(f"{what}: another proof", add(old, size, [*proof[:-1], base64.b64encode(bytes(32)).decode()])[0] == 422)
            status, line = add(old, size)
            note = (log / f"checkpoint.{size}").read_text() + line
            check(f"{what}: cosigned", status == 200 and verifies(folder, note, key, witness), f"{status} {line}")
            check(f"{what}: the line turned", not verifies(folder, turned(note, "witness.example/theirs"), key, witness))
            ours = subprocess.run([PROGRAM, "--home", folder, "--json", "audit", "--log", published(log, folder, note), "--key", key, "--witness", witness, "root"], capture_output=True, text=True, timeout=30)  # fmt: skip
            told = json.loads(ours.stdout or "{}")
            check(f"{what}: we see it too", told.get("size") == size and told["witnessed"][0][0] == "witness.example/theirs", ours.stderr)
            check(f"{what}: behind", add(old, size) == (409, f"{size}\n") or old == size)
            old = size


def published(log, folder, note):
    """A log whose checkpoint this is; its tiles are not looked at."""
    at = folder / "published"
    at.mkdir(exist_ok=True)
    (at / "checkpoint").write_text(note)
    return at


# --- it is a log ---


class OurWitness(Served):
    def __init__(self, folder, number, log):
        words = ["--home", folder / f"ours-{number}", "--json", "audit", "witness", "--name", f"witness.example/w{number}", "--of", log]
        super().__init__(PROGRAM, *words, "--listen", "127.0.0.1:0", "--stop-with-stdin", stdout=subprocess.PIPE)
        ready = json.loads(self.process.stdout.readline())
        self.key, self.url = ready["key"], f"http://{ready['tcp']}"


def submissions(folder):
    """Two witnesses of ours cosign a log of its own, as it grows, and not one that was forked."""
    journal, trusted, dossier = folder / "journal.jsonl", folder / "trusted.json", folder / "dossier.json"
    stranger("log", "init", journal)
    told = json.loads(stranger("log", "info", journal).stdout)
    log = written(told["origin"], 1, bytes.fromhex(told["identity"]))
    with OurWitness(folder, 1, log) as first, OurWitness(folder, 2, log) as second:
        for number, witness in enumerate((first, second), start=1):
            added = stranger("directory", "add", trusted, "--vkey", witness.key, "--org", f"Org {number}", "--url", witness.url)
            check(f"its directory takes our key {number}", added.returncode == 0, added.stderr)
        size = told["tree_size"]
        for wanted in (1, 255, 256, 257):
            while size < wanted:
                size += 1
                stranger("log", "append", journal, "--memory", f"entry {size}")
            if wanted == 255:
                (folder / "copy.jsonl").write_bytes(journal.read_bytes())
                (folder / "copy.jsonl.salts").write_bytes((folder / "journal.jsonl.salts").read_bytes())
            done = stranger("witness", "submit", journal, "--directory", trusted, "--out", dossier)
            check(f"a log of {wanted} is cosigned", done.returncode == 0 and f"2/2 witnesses cosigned size {wanted} " in done.stderr, done.stderr)
            done = stranger("verify", dossier, "--identity", told["identity"], "--directory", trusted)
            check(f"and witnessed at {wanted}", done.returncode == 0, done.stdout[-300:])
        copy = folder / "copy.jsonl"
        for number in range(3):
            stranger("log", "append", copy, "--memory", f"another past {number}")
        done = stranger("witness", "submit", copy, "--directory", trusted, "--out", folder / "forked.json", "--state", folder / "forked.state")
        check("a forked log is refused", done.returncode == 20 and done.stderr.count("REFUSED (422)") == 2, done.stderr)


# --- it is the witness of a node ---


def node(folder):
    home, key = its_witness(folder, "witness.example/node")
    port = free_port()
    with Node() as running, serving(home, port):
        log = (running.home / "log.pub").read_text().strip()
        stranger("witness", "add-log", home, log.split("+")[0], log)
        running.stop()
        named = f'[[witness]]\nkey = "{key}"\nurl = "http://127.0.0.1:{port}/add-checkpoint"\n'
        running.write_policy(more=named)
        running.start()
        for round in range(3):
            running.begun()
            until, note = time.monotonic() + 30, ""
            while "— witness.example/node " not in note and time.monotonic() < until:
                time.sleep(0.1)
                note = (running.home / "log/checkpoint").read_text()
            check(f"a node's head {round} is cosigned", verifies(folder, note, log, key), note)
        whole = running.command("audit", "--witness", key, "verify")
        check("and we verify that", whole.returncode == 0, whole.stderr)


def main():
    log = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="nuncio-strangers-") as folder:
        folder = pathlib.Path(folder)
        vectors(folder)
        checkpoints(log, folder)
        requests(log, folder)
        submissions(folder)
        node(folder)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] or counts[True] < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
