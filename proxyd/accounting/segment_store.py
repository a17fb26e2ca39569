"""Segments that have been imported: kept for a day, so that a database restored from a backup can catch up.

What is kept is bounded in bytes too (2 GiB, some 3,500,000 requests): the oldest goes first. A segment that is not
imported, or from which the end of a journal may still be told, never goes.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from proxyd.accounting.journal import CARRY_SEGMENTS, lock_path
from proxyd.accounting.journal_reader import Position

log = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600
KEEP_BYTES = 2 * 1024**3


def sweep(directory: Path, positions: Mapping[str, Position]) -> int:
    """Delete what is old enough or too much. `positions` are those of journals that are not closed."""
    for draft in directory.glob("*.draft"):
        if not lock_path(directory, draft.name.partition(".")[0]).exists():
            draft.unlink(missing_ok=True)  # of a worker that was killed while making it
    found: list[tuple[float, int, Path]] = []
    for path in directory.glob("*.journal"):
        worker_id, number, _ = path.name.split(".")
        if lock_path(directory, worker_id).exists() and int(number) >= _needed(positions.get(worker_id)):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append((status.st_mtime, status.st_blocks * 512, path))
    found.sort()
    total = sum(size for _, size, _ in found)
    oldest = time.time() - KEEP_SECONDS
    removed = 0
    for modified, size, path in found:
        if modified >= oldest and total <= KEEP_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size
        removed += 1
    return removed


def _needed(imported: Position | None) -> int:
    """The first segment of an open journal that must stay."""
    return 0 if imported is None else imported.segment - CARRY_SEGMENTS - 1
