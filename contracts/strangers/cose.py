"""scitt-cose, which shares no code with ours, reads the events and proofs of the log's vectors, and a log of every size at an edge of its tiles.

    python cose.py LOG     prints what failed and `N passed, N failed`; LOG as `write_log` writes it
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scitt_cose import merkle_root, verify_consistency, verify_inclusion, verify_sign1

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Of what our reader refuses, a COSE library refuses what is no COSE_Sign1 of the agent; what an event may say is not its matter.
REFUSED = {"altered", "by-another", "cut", "empty", "es256"}
# Of what comes after nothing it asks no proof at all; we ask for an empty one, and for the root of nothing.
TAKEN = {"consistency-from-nothing", "consistency-nothing-to-other"}


def vectors(area):
    return {path.stem: json.loads(path.read_text()) for path in sorted((VECTORS / area).glob("*.json"))}


def key_of(did):
    number = 0
    for letter in did.removeprefix("did:key:z"):
        number = number * 58 + ALPHABET.index(letter)
    key = number.to_bytes(34)[2:]
    return Ed25519PublicKey.from_public_bytes(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verifies(message, key):
    try:
        return verify_sign1(message, public_key_pem=key, understood_labels=frozenset({1, 3}))
    except Exception:
        return None


def events():
    cases = vectors("event")
    key = key_of(cases["letter-sent"]["expect"]["agent"])
    for name, case in cases.items():
        message = bytes.fromhex(case["input"]["bytes"])
        if "error" not in case["expect"]:
            signed = verifies(message, key_of(case["expect"]["agent"]))
            yield f"event/{name}", signed is not None and signed.payload in message
        elif name in REFUSED:
            yield f"event/{name} is refused", verifies(message, key) is None
    message = bytes.fromhex(cases["letter-sent"]["input"]["bytes"])
    flips = [index for index in range(34, len(message), 7) if verifies(message[:index] + bytes([message[index] ^ 1]) + message[index + 1:], key)]
    yield f"a turned bit anywhere is seen, but at {flips}", not flips


def trees():
    for name, case in vectors("tree").items():
        given, expect = case["input"], case["expect"]
        match given["what"]:
            case "root":
                yield f"tree/{name}", merkle_root(given["entries"]) == expect["root"]
            case "inclusion":
                index, size = int(given["index"]), int(given["size"])
                holds = safely(verify_inclusion, given["entry"], index, size, given["proof"], given["root"])
                yield f"tree/{name}", holds == ("error" not in expect)
            case "consistency":
                old, new = int(given["old"]), int(given["new"])
                holds = safely(verify_consistency, given["old_root"], given["new_root"], old, new, given["proof"])
                yield f"tree/{name}", holds == ("error" not in expect or name in TAKEN)


def log(folder):
    """Roots, the receipt of each last entry, and every proof that one size is the beginning of another."""
    hexed = lambda text: base64.b64decode(text).hex()
    entries = [str(index).encode().hex() for index in range(65_537)]
    for path in sorted(folder.glob("checkpoint.*")):
        size, root = path.read_text().splitlines()[1:3]
        yield f"the root of {size} entries", merkle_root(entries[: int(size)]) == hexed(root)
        lines = (folder / f"receipt.{size}").read_text().splitlines()
        index, proof = int(lines[1].removeprefix("index ")), [hexed(line) for line in lines[2 : lines.index("")]]
        given = entries[index], index, int(size), proof, hexed(root)
        yield f"the receipt of entry {index} of {size}", index == int(size) - 1 and safely(verify_inclusion, *given)
        yield f"and not of another entry of {size}", not safely(verify_inclusion, entries[0] + "00", *given[1:])
    wrong, count = [], 0
    for line in (folder / "proofs").read_text().splitlines():
        old, new, *hashes = line.split()
        old_root, new_root, *proof = map(hexed, hashes)
        count += 1
        turned = f"{int(new_root[0], 16) ^ 1:x}" + new_root[1:]
        holds = safely(verify_consistency, old_root, new_root, int(old), int(new), proof)
        if not holds or safely(verify_consistency, old_root, turned, int(old), int(new), proof):
            wrong.append((old, new))
    yield f"{count} proofs that a log only grew, each with its root alone; but {wrong[:5]}", not wrong and count > 45_000


def safely(check, *given):
    try:
        return check(*given)
    except Exception:
        return False


def main():
    results = [*events(), *trees(), *log(Path(sys.argv[1]))]
    failed = [name for name, good in results if not good]
    print(*(f"FAILED {name}" for name in failed), sep="\n", end="\n" if failed else "")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed) or len(results) < 85)


if __name__ == "__main__":
    main()
