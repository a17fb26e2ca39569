"""How long somebody else's JSON takes to be parsed, told from its bytes without parsing it.

The law of this module: a provider decides what it answers, and a small answer may inflate to a large one. So none of it
that is long is parsed in the event loop before it was asked here.
"""

MANY_ITEMS = 400_000  # of numbers or texts, which take some 20 ms
MANY_BRACKETS = 200_000  # of lists and objects, which take some 40 ms however they are nested
SHORT_BYTES = 200_000  # shorter JSON has neither
_leisure = [False]


def parse_at_leisure() -> None:
    """From now on this process takes its time for answers, so that none takes long."""
    _leisure[0] = True


def takes_long(data: bytes) -> bool:
    """Whether JSON has more values than are parsed in the event loop. What stands in its texts counts too."""
    return (
        len(data) > SHORT_BYTES
        and not _leisure[0]
        and (data.count(b",") > MANY_ITEMS or brackets(data) > MANY_BRACKETS)
    )


def brackets(data: bytes) -> int:
    """How many lists and objects JSON has at most."""
    return data.count(b"[") + data.count(b"{")
