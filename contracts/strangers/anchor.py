"""opentimestamps, the published library of OpenTimestamps' own calendars and clients, reads our timestamps, and a node has its heads anchored by a
calendar that is made of that library.

    python anchor.py       prints what failed and `N passed, N failed`

The program is $NUNCIO or target/debug/nuncio. No block is known here: the calendar says that there is one.
"""

import hashlib
import http.server
import json
import os
import pathlib
import sys
import threading
import time
import warnings

sys.dont_write_bytecode = True  # this folder holds sources

from checks import check, counts  # noqa: E402
from node import Node  # noqa: E402
from opentimestamps.calendar import RemoteCalendar  # noqa: E402
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation  # noqa: E402
from opentimestamps.core.op import OpAppend, OpPrepend, OpSHA256  # noqa: E402
from opentimestamps.core.serialize import BytesDeserializationContext, BytesSerializationContext  # noqa: E402
from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp, cat_sha256d, make_merkle_tree  # noqa: E402

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors/timestamp"
# What we refuse and it takes, and why.
STRICTER = {
    "block-of-33": "it looks at the root's length when it compares it",
    "height-2-32": "it has numbers of any length",
    "height-long": "it takes a number in more bytes than it needs",
    "height-longer": "the same",
    "hexlify": "an operation that no calendar sends",
    "keccak256": "the same",
    "len-long": "it takes a number in more bytes than it needs",
    "reverse": "an operation that no calendar sends",
    "ripemd160": "the same",
    "sha1": "the same",
    "twice-apart": "it reads an operation twice, and forgets what it was there for first",
    "twice-operation": "the same",
    "twice-pending": "it takes an item twice, and writes it once",
    "version-long": "it takes a number in more bytes than it needs",
}
def read(kind, data, *message):
    """It, if the library takes all of it."""
    context = BytesDeserializationContext(data)
    try:
        found = kind.deserialize(context, *message)
        context.assert_eof()
        return found
    except Exception:
        return None


def written(found):
    context = BytesSerializationContext()
    found.serialize(context)
    return context.getbytes()


def told(timestamp):
    """What the library makes of it, as our vectors say it."""
    out = []
    for message, attestation in timestamp.all_attestations():
        one = {"message": message.hex()}
        match attestation:
            case PendingAttestation():
                one |= {"pending": attestation.uri}
            case BitcoinBlockHeaderAttestation():
                one |= {"bitcoin": attestation.height, "root": message[::-1].hex()}
            case _:
                one |= {"other": attestation.TAG.hex(), "payload": attestation.payload.hex()}
        out.append(json.dumps(one, sort_keys=True))
    return sorted(out)


# --- vectors ---


def merged(given):
    """As its own clients upgrade a timestamp."""
    whole = read(DetachedTimestampFile, bytes.fromhex(given["bytes"]))
    message = bytes.fromhex(given["message"])
    answer = read(Timestamp, bytes.fromhex(given["answer"]), message)
    open_ones = [whole.timestamp]
    while open_ones:
        at = open_ones.pop()
        if at.msg == message and PendingAttestation(given["uri"]) in at.attestations:
            at.merge(answer)
        else:
            open_ones.extend(at.ops.values())
    return whole


def vectors():
    for path in sorted(VECTORS.glob("*.json")):
        case = json.loads(path.read_text())
        given, expect, name = case["input"], case["expect"], path.stem
        is_taken = "error" not in expect
        if given["what"] == "merge":
            # It has no bound for what is merged, and refuses nothing: who asks looks for the place.
            if is_taken:
                found = merged(given)
                check(f"{name}: it writes what we write", written(found).hex() == expect["written"])
                check(f"{name}: it says what we say", told(found.timestamp) == sorted(json.dumps(it, sort_keys=True) for it in expect["attested"]))
            continue
        data = bytes.fromhex(given["bytes"])
        whole = given["what"] == "detached"
        found = read(DetachedTimestampFile, data) if whole else read(Timestamp, data, bytes.fromhex(given["message"]))
        if is_taken:
            check(f"{name}: it takes it", found is not None)
            if found is None:
                continue
            check(f"{name}: it writes what we write", written(found).hex() == expect["written"])
            timestamp = found.timestamp if whole else found
            check(f"{name}: it says what we say", told(timestamp) == sorted(json.dumps(it, sort_keys=True) for it in expect["attested"]))
        else:
            check(f"{name}: it refuses it too, or takes more than we do", (found is None) != (name in STRICTER))


# --- a calendar ---


class Calendar:
    """Takes digests, and says that all of them came into one block, once it is told to."""

    def __init__(self):
        self.taken, self.sent, self.asked, self.block, self.key = {}, [], 0, None, os.urandom(32)
        calendar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                digest = self.rfile.read(int(self.headers["Content-Length"]))
                calendar.sent.append((self.path, self.headers["Accept"], digest))
                self.answer(calendar.take(digest) if self.path == "/digest" and len(digest) <= 64 else None)

            def do_GET(self):
                calendar.asked += 1
                self.answer(calendar.taken.get(bytes.fromhex(self.path.removeprefix("/timestamp/"))) if calendar.block else None)

            def answer(self, timestamp):
                body = written(timestamp) if timestamp else b"Not found"
                self.send_response(200 if timestamp else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, digest):
        """As calendars do: a nonce, a time in front, a MAC behind."""
        answer = Timestamp(digest)
        at = answer.ops.add(OpAppend(os.urandom(16))).ops.add(OpSHA256())
        at = at.ops.add(OpPrepend(int(time.time()).to_bytes(4)))
        at = at.ops.add(OpAppend(hashlib.blake2b(at.msg, key=self.key, digest_size=8).digest()))
        at.attestations.add(PendingAttestation(self.url))
        self.taken[at.msg] = Timestamp(at.msg)
        return answer

    def mine(self, height):
        """The calendar's own tree over all that it has taken and some of others', a transaction, the block's tree: its merkle root."""
        mine = [commitment.ops.add(OpSHA256()) for commitment in self.taken.values()]
        tip = make_merkle_tree([*mine, *(Timestamp(os.urandom(32)) for _ in range(5))])
        transaction = tip.ops.add(OpPrepend(os.urandom(60))).ops.add(OpAppend(os.urandom(4)))
        transaction = transaction.ops.add(OpSHA256()).ops.add(OpSHA256())
        root = cat_sha256d(transaction, Timestamp(os.urandom(32)))
        root = cat_sha256d(Timestamp(os.urandom(32)), root)
        root.attestations.add(BitcoinBlockHeaderAttestation(height))
        self.block = (height, root.msg)


def until(is_so):
    end = time.monotonic() + 40
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return is_so()


def anchor_of(running):
    """The newest anchor's note and timestamp, as they lie there."""
    folder = running.home / "log/anchor"
    size = (folder / "newest").read_text().strip()
    return size, (folder / size).read_bytes(), (folder / f"{size}.ots").read_bytes()


def verified(running):
    done = running.command("--json", "audit", "verify")
    return json.loads(done.stdout)["anchor"] if done.returncode == 0 else done.stderr


def blocks(stamp):
    found = read(DetachedTimestampFile, stamp)
    return [(attestation.height, message) for message, attestation in found.timestamp.all_attestations() if isinstance(attestation, BitcoinBlockHeaderAttestation)]


def same_bytes(what, note, stamp):
    found = read(DetachedTimestampFile, stamp)
    check(f"{what}: it reads it", found is not None)
    if found is not None:
        check(f"{what}: it is of the note", found.file_digest == hashlib.sha256(note).digest())
        check(f"{what}: it writes the same bytes", written(found) == stamp)
    return found


def node():
    calendars = [Calendar(), Calendar()]
    named = "".join(f'[[anchor]]\ncalendar = "{calendar.url}"\n' for calendar in calendars)
    with Node(more=named) as running:
        running.begun()
        check("a head is anchored", until(lambda: (running.home / "log/anchor/newest").exists()), running.log.read_text()[-500:])
        size, note, stamp = anchor_of(running)
        found = same_bytes("a pending one", note, stamp)
        pending = {attestation.uri for _, attestation in found.timestamp.all_attestations()}
        check("both calendars have it", pending == {calendar.url for calendar in calendars})
        for calendar in calendars:
            path, accept, digest = calendar.sent[0]
            check("it is sent as calendars take it", (path, accept, len(digest)) == ("/digest", "application/vnd.opentimestamps.v1", 32))
            check("and is not the note's own digest", digest != found.file_digest)
        served = running.get("/log/anchor/" + size + ".ots")
        check("it is served", (served.status, served.body) == (200, stamp))
        told_by_us = verified(running)
        check("we say that it is pending", isinstance(told_by_us, dict) and sorted(told_by_us["pending"]) == sorted(pending) and not told_by_us["blocks"], told_by_us)

        calendars[0].mine(970_000)
        running.stop()
        running.start()
        path = running.home / f"log/anchor/{size}.ots"
        check("its block is asked for", until(lambda: blocks(path.read_bytes())), running.log.read_text()[-500:])
        size, note, stamp = anchor_of(running)
        found = same_bytes("one with a block", note, stamp)
        check("it comes to the calendar's block", blocks(stamp) == [calendars[0].block])
        height, root = calendars[0].block
        told_by_us = verified(running)
        wanted = [{"height": height, "merkle_root": root[::-1].hex()}]
        check("we say which, and that nobody has looked", isinstance(told_by_us, dict) and told_by_us["blocks"] == wanted and told_by_us["blocks_checked"] is False, told_by_us)

        # As its own client upgrades what was pending.
        calendars[1].mine(970_001)
        for message, attestation in list(found.timestamp.all_attestations()):
            if isinstance(attestation, PendingAttestation) and attestation.uri == calendars[1].url:
                further = RemoteCalendar(attestation.uri).get_timestamp(message)
                at = next(at for at in walk(found.timestamp) if at.msg == message)
                at.merge(further)
        path.write_bytes(written(found))
        told_by_us = verified(running)
        check("what it upgrades we read", isinstance(told_by_us, dict) and len(told_by_us["blocks"]) == 2, told_by_us)


def walk(timestamp):
    yield timestamp
    for below in timestamp.ops.values():
        yield from walk(below)


def main():
    warnings.simplefilter("ignore")
    vectors()
    node()
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] or counts[True] < 120 else 0


if __name__ == "__main__":
    sys.exit(main())
