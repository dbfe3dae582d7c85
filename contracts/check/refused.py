"""The one exception of this reader: an input is refused, and why, in the names of contracts/README.md."""


class Refused(Exception):
    """`name` is the reason."""

    def __init__(self, name):
        super().__init__(name)
        self.name = name


def refuse_unless(condition, name):
    if not condition:
        raise Refused(name)
