"""What a worker counts: numbers in a page of memory that is also a file, so that they outlive the worker.

A file for each worker's life, locked by it for as long as it lives: whoever gets the lock knows that nothing is added
any more, and may take over the sums. Slots are unsigned 64-bit numbers, each written in one piece; only the worker
writes.
"""

import errno
import fcntl
import logging
import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from zlib import crc32

from ulid import ULID

from proxyd.accounting.pending_admission import PendingAdmission
from proxyd.monitoring.names import OTHER
from shared.catalog import PROVIDERS
from shared.policy import PROVIDER_FAILURES, Deny, Reason

log = logging.getLogger(__name__)

BATCH_STEPS = (1, 2, 4, 8, 16, 32, 64, 100)
REFUSALS = tuple(reason for reason in Reason if reason not in PROVIDER_FAILURES)
FAILURES = tuple((provider, reason) for provider in (*PROVIDERS, OTHER) for reason in PROVIDER_FAILURES)
GAUGES = (
    "pid", "slot", "in_flight", "streams", "upstream_connections", "upstream_idle", "journal_ends", "joined", "late_us",
)  # fmt: skip
COUNTERS = (
    "admitted", "batched_with_others", "upstream_dials", "rate_limits_skipped", "cpu_us",
    *(f"batches_to_{step}" for step in BATCH_STEPS),
    *(f"refused_{reason.value}" for reason in REFUSALS),
    *(f"failed_{provider}_{reason.value}" for provider, reason in FAILURES),
)  # fmt: skip
SUFFIX, DRAFT = ".page", ".draft"
_NAMES = ("layout", *GAUGES, *COUNTERS)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_LAYOUT = 0x4552_0001_0000_0000 | crc32("\n".join(_NAMES).encode())  # which a page of another release does not have
_BYTES = 4096
_NUMBERS = Struct(f"={len(_NAMES)}Q")
_JOURNAL = slice(_NUMBERS.size, _NUMBERS.size + 26)  # whose ENDs are counted: the id of a ULID
_DRAFT_SECONDS = 60.0  # after which whoever was making a page is dead


class WorkerPage:
    """The page of this worker. If there can be no file, it counts for nobody, and says so in the log."""

    def __init__(self, directory: Path) -> None:
        try:
            self._memory = _made(directory)
        except OSError as error:
            log.warning("this worker is missing in the metrics: its page cannot be made: %s", error.strerror)
            self._memory = mmap.mmap(-1, _BYTES)
        self._slots = memoryview(self._memory).cast("Q")
        self._refused = {reason: _PLACES[f"refused_{reason.value}"] for reason in REFUSALS}
        self._failed = {(slug, reason): _PLACES[f"failed_{slug}_{reason.value}"] for slug, reason in FAILURES}
        self._admitted, self._with_others = _PLACES["admitted"], _PLACES["batched_with_others"]
        self._first_step = _PLACES[f"batches_to_{BATCH_STEPS[0]}"]
        self._slots[_PLACES["pid"]] = os.getpid()

    def count_batch(self, batch: list[PendingAdmission]) -> None:
        """Count what a batch has admitted, and how many wanted to be. A batch of one is the most frequent by far."""
        asked = admitted = 0
        for admission in batch:
            if admission.charge is not None:
                asked += 1
                if admission.admitted:
                    admitted += 1
        slots = self._slots
        if admitted:
            slots[self._admitted] += admitted
        if asked == 1:
            slots[self._first_step] += 1
        elif asked:
            slots[self._with_others] += asked
            slots[self._first_step + min(bisect_left(BATCH_STEPS, asked), len(BATCH_STEPS) - 1)] += 1

    def count_unheld(self) -> None:
        """Count what was admitted beside the batches."""
        self._slots[self._admitted] += 1

    def count_deny(self, deny: Deny) -> None:
        """Count an answer of the router's own: a refusal, or that a provider has failed."""
        place = self._refused.get(deny.reason)
        if place is None:
            failed = self._failed
            place = failed.get((str(deny.facts.get("provider")), deny.reason)) or failed[OTHER, deny.reason]
        self._slots[place] += 1

    def write(self, **values: int) -> None:
        """Set some of the numbers, by their names."""
        for name, value in values.items():
            self._slots[_PLACES[name]] = value

    def name_journal(self, worker_id: str) -> None:
        """Say whose ENDs `journal_ends` counts."""
        self._memory[_JOURNAL] = worker_id.encode("ascii").ljust(26)[:26]


def _made(directory: Path) -> mmap.mmap:
    """The memory of a new page, which holds the lock on it as well: it has a descriptor of its own. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{ULID()}{SUFFIX}"
    draft = path.with_suffix(DRAFT)
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _fill(file)
        fcntl.flock(file, fcntl.LOCK_EX)
        memory = mmap.mmap(file, _BYTES)
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    return memory


def _fill(file: int) -> None:
    """Write a page in full: to touch memory of a file for which the disk has no room would end the process."""
    data = _NUMBERS.pack(_LAYOUT, *[0] * (len(_NAMES) - 1)).ljust(_BYTES, b"\0")
    if os.write(file, data) != _BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class PageReading:
    """What stands in a page. Of a worker that is not `alive` it is final."""

    path: Path
    alive: bool
    journal: str
    values: Mapping[str, int]


def read_pages(directory: Path) -> Iterator[PageReading]:
    """All pages that lie there. Those of another release are left out, and deleted once their workers are dead."""
    try:
        paths = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        if path.suffix == SUFFIX:
            with _looking_at(path) as (alive, data):
                if data[:8] == _LAYOUT.to_bytes(8, "little"):
                    values = dict(zip(_NAMES, _NUMBERS.unpack_from(data), strict=True))
                    yield PageReading(path, alive, data[_JOURNAL].decode("ascii", "replace").strip("\0 "), values)
                elif data and not alive:
                    path.unlink(missing_ok=True)
        elif path.suffix == DRAFT and _is_old(path):
            path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _DRAFT_SECONDS
    except FileNotFoundError:  # it is a page by now
        return False


@contextmanager
def _looking_at(path: Path) -> Iterator[tuple[bool, bytes]]:
    """Whether a page's worker lives, and then what stands in it: in that order, so that the last words are read."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False, b""
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            alive = False
        except OSError:
            alive = True
        yield alive, os.pread(file, _BYTES, 0)
    finally:
        os.close(file)
