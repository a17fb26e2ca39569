"""The sums that metrics are made of: whole numbers by series, kept in a file so that they outlive the process.

What is shown was saved before. So a counter falls for no end of a process; what was counted since the last save, a
second ago at most, is missing after one that comes without a word.
"""

import logging
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

Series = tuple[str, ...]  # a metric's name and the values of its labels


class Tally:
    """Sums by series. To be used by one thread at a time."""

    def __init__(self) -> None:
        self.counts: dict[Series, int] = {}
        self.spreads: dict[
            Series, list[int]
        ] = {}  # of a histogram: how many in each step, above them all, and their sum
        self.changed = False

    def copy(self) -> "Tally":
        copied = Tally()
        copied.counts = dict(self.counts)
        copied.spreads = {series: list(spread) for series, spread in self.spreads.items()}
        return copied

    def add(self, series: Series, amount: int) -> None:
        self.counts[series] = self.counts.get(series, 0) + amount
        self.changed = True

    def observe(self, series: Series, steps: Sequence[int], value: int) -> None:
        """Count a value in the first step that is not below it."""
        spread = self.spreads.get(series)
        if spread is None or len(spread) != len(steps) + 2:  # of a release that had other steps
            spread = self.spreads[series] = [0] * (len(steps) + 2)
        spread[bisect_left(steps, value)] += 1
        spread[-1] += value
        self.changed = True

    def add_spread(self, series: Series, more: Sequence[int]) -> None:
        """Add what was spread over the same steps elsewhere."""
        spread = self.spreads.get(series, [])
        if len(spread) != len(more):
            spread = [0] * len(more)
        self.spreads[series] = [one + other for one, other in zip(spread, more, strict=True)]
        self.changed = True


class Sums(Tally):
    """Those of a data directory, in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._failing = False
        self.folded: set[str] = set()  # pages whose sums are in these, and that may not be deleted yet
        self._load()

    def fold(self, name: str) -> None:
        """Remember that a page's sums were added."""
        self.folded.add(name)
        self.changed = True

    def save(self) -> None:
        """Write them down, if there is anything new. A disk without room is told once, and they are still shown."""
        if not self.changed:
            return
        draft = self._path.with_suffix(".new")
        content = {
            "counts": list(self.counts.items()),
            "spreads": list(self.spreads.items()),
            "folded": sorted(self.folded),
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(content))
            draft.rename(self._path)
            self.changed = self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("the sums of the metrics cannot be saved, and are tried again: %s", error.strerror)
            self._failing = True

    def _load(self) -> None:
        try:
            content = orjson.loads(self._path.read_bytes())
            counts = {tuple(series): int(value) for series, value in content["counts"]}
            spreads = {tuple(series): [int(one) for one in spread] for series, spread in content["spreads"]}
            self.counts, self.spreads, self.folded = counts, spreads, set(content["folded"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("the sums of the metrics begin anew: %s cannot be read: %s", self._path.name, error)
