"""What the workers of a machine hold, as their journals tell it: for other machines, if this one should be away.

Journals are read once from the end of what is known of them; each look goes on where the last one ended.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proxyd.accounting import frames
from proxyd.accounting.journal import segment_path
from proxyd.accounting.journal_reader import ForeignFormat, read_more, read_tail
from shared.counters import Hold


@dataclass(slots=True)
class _Reading:
    """How far a journal has been read, and what is open in it: seq -> key, day, nanos."""

    segment: int
    position: int
    open: dict[int, Hold]


class OpenHolds:
    """Of the journals in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readings: dict[str, _Reading] = {}

    def of(self, worker_ids: Sequence[str]) -> dict[str, list[Hold]]:
        """By worker: sums by key and day. Whoever is not asked for is forgotten."""
        self._readings = {worker: self._readings.get(worker) or self._begin(worker) for worker in worker_ids}
        return {worker: self._sums(worker, reading) for worker, reading in self._readings.items()}

    def _begin(self, worker_id: str) -> _Reading:
        try:
            tail = read_tail(self._directory, worker_id, above=2**63)
        except ForeignFormat:  # another release's, which is set aside in the end
            return _Reading(2**31, 0, {})
        opened = {seq: Hold(one.key_id, one.day, one.held_nanos) for seq, one in tail.open.items() if one.held_nanos}
        return _Reading(tail.last.segment, tail.last.position, opened)

    def _sums(self, worker_id: str, reading: _Reading) -> list[Hold]:
        self._read_on(worker_id, reading)
        sums: dict[tuple[str, int], int] = defaultdict(int)
        for key_id, day, nanos in reading.open.values():
            sums[key_id, day] += nanos
        return sorted(Hold(key_id, day, nanos) for (key_id, day), nanos in sums.items())

    def _read_on(self, worker_id: str, reading: _Reading) -> None:
        while True:
            path = segment_path(self._directory, worker_id, reading.segment)
            # Looked for before the reading: the writer begins a segment only after its last record in the one before.
            done = segment_path(self._directory, worker_id, reading.segment + 1).exists()
            seed = frames.seed_of(f"{worker_id}.{reading.segment}")
            while data := read_more(path, reading.position):
                before = reading.position
                for frame in frames.frames(data, seed, before, base=before):
                    reading.position = frame.next_position
                    if frame.kind == frames.BEGIN:
                        seq, attempt = frames.read_begin(frame.content)
                        if attempt.held_nanos:
                            reading.open[seq] = Hold(attempt.key_id, attempt.day, attempt.held_nanos)
                    elif frame.kind == frames.END:
                        reading.open.pop(frames.read_ended(frame.content), None)
                if reading.position == before:
                    break
            if not done:
                return
            reading.segment, reading.position = reading.segment + 1, 0
