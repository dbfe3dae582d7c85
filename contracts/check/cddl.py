"""The part of CDDL (RFC 8610) that contracts/cddl uses: arrays of named items, repetitions, choices, sizes, ranges and literals.

Strict where the readers on the package index are lenient: what does not match is refused, nothing is skipped.
"""

import re

_TOKEN = re.compile(r"\s*(?:;[^\n]*\n)?\s*(\.size|\.\.|[a-z][a-z0-9-]*|\d+|[=/\[\](),:*])?")
_PRELUDE = {
    "uint": lambda v: type(v) is int and v >= 0,
    "bytes": lambda v: type(v) is bytes,
    "text": lambda v: type(v) is str,
    "bool": lambda v: type(v) is bool,
    "null": lambda v: v is None,
}


class Cddl:
    """The rules of a file: `matches(value, rule)`."""

    def __init__(self, source):
        self._tokens, self._at = _tokens(source), 0
        self._rules = {}
        while self._at < len(self._tokens):
            name = self._next()
            self._expect("=")
            if name in self._rules or name in _PRELUDE:
                raise ValueError(f"{name} is defined twice")
            self._rules[name] = self._choice()

    def matches(self, value, rule):
        return self._rules[rule](value)

    # --- reading: each function gives a predicate ---

    def _peek(self, ahead=0):
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _next(self):
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token):
        if (got := self._next()) != token:
            raise ValueError(f"{token} expected, not {got}")

    def _choice(self):
        options = [self._type()]
        while self._peek() == "/":
            self._next()
            options.append(self._type())
        return lambda value: any(option(value) for option in options)

    def _type(self):
        token = self._next()
        if token == "[":
            return self._array()
        if token.isdigit():
            low = high = int(token)
            if self._peek() == "..":
                self._next()
                high = int(self._next())
            return lambda value: type(value) is int and low <= value <= high
        named = self._named(token)
        if self._peek() != ".size":
            return named
        self._next()
        low, high = self._sizes()
        return lambda value: named(value) and _has_size(value, low, high)

    def _named(self, name):
        if name in _PRELUDE:
            return _PRELUDE[name]
        return lambda value: self._rules[name](value)

    def _sizes(self):
        if self._peek() != "(":
            size = int(self._next())
            return size, size
        self._next()
        low = int(self._next())
        self._expect("..")
        high = int(self._next())
        self._expect(")")
        return low, high

    def _array(self):
        entries = []
        while self._peek() != "]":
            entries.append(self._entry())
            if self._peek() == ",":
                self._next()
        self._next()
        return lambda value: type(value) is list and _fits(value, entries)

    def _entry(self):
        """Least and most of them, and what each is."""
        least, most = 1, 1
        if self._peek() == "*" or self._peek(1) == "*":
            least = 0 if self._peek() == "*" else int(self._next())
            self._expect("*")
            most = int(self._next()) if self._peek().isdigit() else None
        if self._peek(1) == ":":  # a name for people
            self._at += 2
        return least, most, self._choice()


def _tokens(source):
    found, at = [], 0
    source += "\n"
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match.end() == at:
            raise ValueError(f"not read: {source[at : at + 20]!r}")
        at = match.end()
        if match[1]:
            found.append(match[1])
    return found


def _has_size(value, low, high):
    if type(value) is int:
        return value < 256**high
    return low <= len(value.encode() if type(value) is str else value) <= high


def _fits(items, entries):
    """Repetitions stand last in all our arrays or alone, so taking as many as match is right."""
    at = 0
    for least, most, predicate in entries:
        taken = 0
        while at < len(items) and taken != most and predicate(items[at]):
            at, taken = at + 1, taken + 1
        if taken < least:
            return False
    return at == len(items)
