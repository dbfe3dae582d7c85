"""The second reader: every vector, read from the specifications alone, sharing no code with crates/proto.

    python check.py        prints a count for each area and `N passed, N failed`; exits 1 if anything failed
"""

import json
import sys
from collections import Counter

sys.dont_write_bytecode = True  # this folder holds sources

import areas  # noqa: E402
import schemas  # noqa: E402
from refused import Refused  # noqa: E402


def as_json(value):
    """Bytes as the vectors write them."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
    return value


def fault(name, vector):
    """What is wrong, or None."""
    schemas.check_vector(vector)
    if otherwise := schemas.cddl_fault(name, vector):
        return otherwise
    expect = vector["expect"]
    try:
        outcome = as_json(areas.AREAS[vector["area"]](vector["input"], expect))
    except Refused as refused:
        wanted = expect.get("error")
        return None if wanted in (refused.name, "any") else f"refused: {refused.name}"
    if outcome != expect:
        return f"came out as {json.dumps(outcome)[:400]}"
    return None


def main():
    passed, failed = Counter(), Counter()
    for path in sorted(areas.VECTORS.rglob("*.json")):
        vector = json.loads(path.read_text())
        area = path.relative_to(areas.VECTORS).parts[0]
        try:
            name = str(path.relative_to(areas.VECTORS).with_suffix(""))
            why = fault(name, vector) if vector["area"] == area else "stands in another area's folder"
        except Exception as error:  # an input must never break its reader
            why = f"{type(error).__name__}: {error}"
        (failed if why else passed)[area] += 1
        if why:
            print(f"{path.relative_to(areas.VECTORS)}: {why}")
    missing = [area for area in areas.AREAS if not passed[area] + failed[area]]
    for area in areas.AREAS:
        print(f"{area:12} {passed[area]:5} {'' if not failed[area] else f'{failed[area]} failed'}")
    for area in missing:
        print(f"{area}: no vectors")
    bad = failed.total() + len(missing)
    print(f"{passed.total()} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
