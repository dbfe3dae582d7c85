"""contracts/registry.toml: every number and label, by key."""

import tomllib
from pathlib import Path

_TABLES = tomllib.loads((Path(__file__).parent.parent / "registry.toml").read_text())


def label(key):
    return _TABLES["label"][key]["value"].encode()


def limit(key):
    return _TABLES["limit"][key]["value"]


def time(key):
    return _TABLES["time"][key]["value"]


def section(name):
    """All its values, by key."""
    return {key: entry["value"] for key, entry in _TABLES[name].items()}
