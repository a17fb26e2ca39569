"""What the workers of a machine hold, as their journals tell it: for other machines, if this one should be away.

Journals are read once from the end of what is known of them; each look goes on where the last one ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxyd.accounting import frames
from proxyd.accounting.journal import segment_path
from proxyd.accounting.journal_reader import ForeignFormat, read_more, read_tail
from proxyd.accounting.limited_models import LimitsOf, limits_of_nobody, rows_for
from proxyd.accounting.records import Attempt
from shared.counters import Hold


@dataclass(slots=True)
class _Cursor:
    """How far a journal has been read, and what is open in it, by seq."""

    segment: int
    position: int
    open: dict[int, Attempt]


class OpenHolds:
    """Of the journals in one directory."""

    def __init__(self, directory: Path, limits_of: LimitsOf = limits_of_nobody) -> None:
        """`limits_of` asks the database for limits for models."""
        self._directory = directory
        self._limits_of = limits_of
        self._cursors: dict[str, _Cursor] = {}

    def of(self, worker_ids: Sequence[str]) -> dict[str, list[Hold]]:
        """By worker: sums by key and day. Whoever is not asked for is forgotten. Raises SQLAlchemyError."""
        self._cursors = {worker: self._cursors.get(worker) or self._open_cursor(worker) for worker in worker_ids}
        for worker, cursor in self._cursors.items():
            self._catch_up(worker, cursor)
        limits = self._limits_of({one.key_id for cursor in self._cursors.values() for one in cursor.open.values()})
        return {
            worker: sorted(sums_of(one.hold._replace(rows=rows_for(limits, one)) for one in cursor.open.values()))
            for worker, cursor in self._cursors.items()
        }

    def _open_cursor(self, worker_id: str) -> _Cursor:
        try:
            tail = read_tail(self._directory, worker_id, above=2**63)
        except ForeignFormat:  # another release's, which is set aside in the end
            return _Cursor(2**31, 0, {})
        opened = {seq: attempt for seq, attempt in tail.open.items() if attempt.is_counted}
        return _Cursor(tail.last.segment, tail.last.position, opened)

    def _catch_up(self, worker_id: str, cursor: _Cursor) -> None:
        while True:
            path = segment_path(self._directory, worker_id, cursor.segment)
            # Looked for before the reading: the writer begins a segment only after its last record in the one before.
            done = segment_path(self._directory, worker_id, cursor.segment + 1).exists()
            seed = frames.crc_seed(f"{worker_id}.{cursor.segment}")
            while data := read_more(path, cursor.position):
                before = cursor.position
                for frame in frames.frames(data, seed, before, base=before):
                    cursor.position = frame.next_position
                    if frame.kind == frames.BEGIN:
                        seq, attempt = frames.read_begin(frame.content)
                        if attempt.is_counted:
                            cursor.open[seq] = attempt
                    elif frame.kind == frames.END:
                        cursor.open.pop(frames.read_ended(frame.content), None)
                if cursor.position == before:
                    break
            if not done:
                return
            cursor.segment, cursor.position = cursor.segment + 1, 0


def sums_of(holds: Iterable[Hold]) -> Iterable[Hold]:
    """What is held, summed by key, day and the rows of limits for models."""
    sums: dict[tuple[str, int, str, tuple[str, ...]], list[int]] = defaultdict(lambda: [0, 0])
    for key_id, day, nanos, requests, org_id, rows in holds:
        entry = sums[key_id, day, org_id, rows]
        entry[0] += nanos
        entry[1] += requests
    return [Hold(key_id, day, entry[0], entry[1], org_id, rows) for (key_id, day, org_id, rows), entry in sums.items()]
