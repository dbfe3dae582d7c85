"""What was checked, and how it came out."""

counts = {True: 0, False: 0}


def check(what, right, why=""):
    counts[bool(right)] += 1
    if not right:
        print(f"FAILED: {what} {why}")
