"""A row as SQLite stores it: what nearly every batch changes comes first, the rest is made anew only when it changed.

`[[lifetime, day, spent, held, second, requests, version, seeded, in flight], [other days, earlier seconds, tokens]]`,
where tokens stand only in the row of a key that has a limit of them, or had one a minute ago.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from shared.counters.moments import KEEP_DAYS
from shared.counters.values import CountersLost
from shared.counters.window import WINDOW_SECONDS, Window


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
    try:
        recent, (older, earlier, *tokens) = orjson.loads(data)
        lifetime, day, spent, held, second, requests, version, seeded, in_flight = recent
        days = {older[i]: [older[i + 1], older[i + 2]] for i in range(0, len(older), 3)}
        if spent >= 0:
            days[day] = [spent, held]
        window = _buckets(earlier)
        if requests:
            window[second] = requests
        return StoredRow(version, lifetime, days, window, seeded, in_flight, _buckets(tokens[0]) if tokens else None)
    except (ValueError, TypeError, IndexError) as error:
        raise CountersLost("a row cannot be read") from error


def rest(
    days: Mapping[int, list[int]], first: int, today: int, window: Window, last_second: int, tokens: Window | None
) -> bytes:
    """All but the day that comes first and the last second of a request; without the days that no period can ask for.

    These are told by UTC's today, whatever days there are: some are of a clock that was wrong. Without the tokens,
    too, that had ceased to weigh when the last request was counted.
    """
    others: list[int] = []
    oldest = today - KEEP_DAYS
    for day, (spent, held) in days.items():
        if day != first and (day > oldest or held):
            others += (day, spent, held)
    earlier: list[int] = []
    for bucket in window.buckets.items():
        if bucket[0] != last_second:
            earlier += bucket
    counted: list[int] = []
    if tokens is not None:
        for bucket in tokens.buckets.items():
            if bucket[0] >= last_second - WINDOW_SECONDS:
                counted += bucket
    # A copy, because it is kept: what orjson returns has four KiB of memory, however short it is.
    return b"%b" % orjson.dumps((others, earlier, counted) if counted else (others, earlier))


def _buckets(flat: list[int]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
