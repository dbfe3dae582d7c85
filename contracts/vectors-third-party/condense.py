"""Makes the files of this folder from the packages that README.md names.

    python3 condense.py CRYPTOGRAPHY_VECTORS_WHEEL KYBER_PY_SDIST

Long outputs are kept as their SHA-256: a test compares hashes as well as it compares bytes, and the files stay small.
"""

import hashlib
import json
import pathlib
import sys
import tarfile
import zipfile

HERE = pathlib.Path(__file__).parent
KAT_COUNT = 300
REJECTION_COUNT = 50
ED25519_COUNT = 256


def sha256(hexadecimal):
    return hashlib.sha256(bytes.fromhex(hexadecimal)).hexdigest()


def write(name, comment, tests):
    lines = ",\n".join("    " + json.dumps(test) for test in tests)
    (HERE / name).write_text(f'{{\n  "comment": {json.dumps(comment)},\n  "tests": [\n{lines}\n  ]\n}}\n')


def records(text):
    record = {}
    for line in text.splitlines():
        key, _, value = line.partition(" = ")
        if key == "count" and record:
            yield record
            record = {}
        record[key] = value
    yield record


def ml_kem_kat(wheel):
    text = wheel.read("cryptography_vectors/asymmetric/MLKEM/kat_MLKEM_768.rsp").decode()
    for record in list(records(text))[:KAT_COUNT]:
        test = {"id": int(record["count"]), "seed": record["d"] + record["z"], "m": record["msg"]}
        test |= {"ek_sha256": sha256(record["pk"]), "c_sha256": sha256(record["ct"]), "k": record["ss"]}
        if test["id"] < REJECTION_COUNT:
            test |= {"rejected_c": record["ct_n"], "rejected_k": record["ss_n"]}
        yield test


def ml_kem_acvp(sdist):
    def groups(mode):
        name = next(n for n in sdist.getnames() if n.endswith(f"/ML-KEM-{mode}-FIPS203/internalProjection.json"))
        return [g for g in json.load(sdist.extractfile(name))["testGroups"] if g["parameterSet"] == "ML-KEM-768"]

    for group in groups("keyGen"):
        for t in group["tests"]:
            yield {"id": t["tcId"], "seed": (t["d"] + t["z"]).lower(), "ek_sha256": sha256(t["ek"])}
    for group in groups("encapDecap"):
        for t in group["tests"] if group["function"] == "encapsulation" else []:
            test = {"id": t["tcId"], "ek": t["ek"].lower(), "m": t["m"].lower()}
            yield test | {"c_sha256": sha256(t["c"]), "k": t["k"].lower()}


def ed25519(wheel):
    text = wheel.read("cryptography_vectors/asymmetric/Ed25519/sign.input").decode()
    for number, line in enumerate(text.splitlines()[:ED25519_COUNT]):
        secret, public, message, signed = line.split(":")[:4]
        yield {"id": number, "seed": secret[:64], "public": public, "msg": message, "sig": signed[:128]}


def main():
    wheel, sdist = zipfile.ZipFile(sys.argv[1]), tarfile.open(sys.argv[2])
    write("ml_kem_768_kat.json", "post-quantum-cryptography/KAT, through cryptography_vectors", ml_kem_kat(wheel))
    write("ml_kem_768_acvp.json", "NIST ACVP server, through kyber-py", ml_kem_acvp(sdist))
    write("ed25519_sign.json", "ed25519.cr.yp.to sign.input, through cryptography_vectors", ed25519(wheel))


main()
