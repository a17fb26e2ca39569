"""A row as SQLite stores it: short, and mostly as long as the one before, which it is then written over.

First comes what nearly every batch changes (`RECENT`), then how many requests each of the 60 seconds before the last
one had, a byte each, then whatever does not fit there, as JSON: other days, seconds of more requests, and the tokens of
a key that has a limit of them, or had one a minute ago. The row of a key that was used today alone takes a sixth of a
page of SQLite's; each day more is some 25 bytes.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

import orjson

from shared.counters.moments import KEEP_DAYS
from shared.counters.values import CountersLost
from shared.counters.window import WINDOW_SECONDS, Window

FORMAT = 1  # earlier releases kept JSON, which begins with a bracket
# Format, lifetime, day, spent, held, second, requests of it, version, in flight, whether it is seeded. A day on which
# nothing stands has spent -1.
RECENT = struct.Struct("<BqiqqqIqIB")
NO_EARLIER = bytes(WINDOW_SECONDS)
_LEAST_BYTES = RECENT.size + WINDOW_SECONDS
MOST_IN_A_BYTE = 255
_STEP_BYTES = 32  # lengths of what does not fit are multiples of this


class StoredRow(NamedTuple):
    """What stands in it, as a `KeyRow` is made of."""

    version: int
    lifetime: int
    days: dict[int, list[int]]
    window: dict[int, int]
    seeded: bool
    in_flight: int
    tokens: dict[int, int] | None


def read(data: bytes) -> StoredRow:
    """Raises CountersLost when it is not a row."""
    if not isinstance(data, bytes) or len(data) < _LEAST_BYTES or data[0] != FORMAT:
        raise CountersLost("a row cannot be read")
    _, lifetime, day, spent, held, second, requests, version, in_flight, seeded = RECENT.unpack_from(data)
    earlier = data[RECENT.size : _LEAST_BYTES]
    try:
        days: dict[int, list[int]] = {}
        window = {second - ago: count for ago, count in enumerate(earlier, start=1) if count}
        tokens = None
        if more := data[_LEAST_BYTES:]:
            others, large, counted = orjson.loads(more)
            days = {others[i]: [others[i + 1], others[i + 2]] for i in range(0, len(others), 3)}
            window.update(_buckets(large))
            tokens = _buckets(counted) if counted else None
        if spent >= 0:
            days[day] = [spent, held]
        if requests:
            window[second] = requests
        in_order = dict(sorted(window.items()))
    except (ValueError, TypeError, IndexError) as error:
        raise CountersLost("a row cannot be read") from error
    return StoredRow(version, lifetime, days, in_order, bool(seeded), in_flight, tokens)


def earlier_seconds(window: Window, last_second: int) -> tuple[bytes, list[int]]:
    """Requests of the 60 seconds before the last one, a byte each, the latest first; and, flat, what that cannot say.

    Which is what came in a second that had more than a byte counts, or earlier: by the clock of another boot.
    """
    counts = bytearray(NO_EARLIER)
    large: list[int] = []
    for bucket in window.buckets.items():
        ago = last_second - bucket[0]
        if 0 < ago <= WINDOW_SECONDS and bucket[1] <= MOST_IN_A_BYTE:
            counts[ago - 1] = bucket[1]
        elif ago:
            large += bucket
    # One object for all rows of keys that come once: there may be ten thousand.
    return bytes(counts) if any(counts) else NO_EARLIER, large


def rest(
    days: Mapping[int, list[int]], first: int, today: int, large: list[int], last_second: int, tokens: Window | None
) -> bytes:
    """All that stands nowhere else; without the days that no period can ask for.

    These are told by UTC's today, whatever days there are: some are of a clock that was wrong. Without the tokens,
    too, that had ceased to weigh when the last request was counted.
    """
    others: list[int] = []
    oldest = today - KEEP_DAYS
    for day, (spent, held) in days.items():
        if day != first and (day > oldest or held):
            others += (day, spent, held)
    counted: list[int] = []
    if tokens is not None:
        for bucket in tokens.buckets.items():
            if bucket[0] >= last_second - WINDOW_SECONDS:
                counted += bucket
    if not others and not large and not counted:
        return b""
    data = orjson.dumps((others, large, counted))
    # A copy, because it is kept: what orjson returns has four KiB of memory, however short it is.
    return b"%b" % data.ljust(-len(data) // _STEP_BYTES * -_STEP_BYTES)


def _buckets(flat: list[int]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
