"""Journals of the release before segments: one SQLite file a worker, taken over once, at the start of everything.

What they hold goes straight into the ledger, before the first generation is cut. What the old release had posted
already is told by its attempt's id, so whoever is killed here does it again to the same effect.
"""

import fcntl
import logging
import os
import sqlite3
from datetime import date
from pathlib import Path

import orjson

from proxyd.accounting.journal import lock_path
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.records import Attempt, Settlement, crashed

log = logging.getLogger(__name__)


def migrate(directory: Path, ledger: Ledger) -> int:
    """Returns how many entries were taken over. Raises OSError, SQLAlchemyError."""
    taken = 0
    for path in sorted(directory.glob("*.db")):
        lock = os.open(lock_path(directory, path.stem), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            entries = _entries(path)
            ledger.post_lines(entries)
            taken += len(entries)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            lock_path(directory, path.stem).unlink(missing_ok=True)
        except BlockingIOError:
            log.critical("a worker of an older release is still running; its journal %s is left to it", path.name)
        finally:
            os.close(lock)
    if taken:
        log.warning("%d entries of journals of an older release were taken over", taken)
    return taken


def _entries(path: Path) -> list[tuple[Attempt, Settlement]]:
    """All that can be read of an old journal; a damaged file is put aside, with a line in the log."""
    found: list[tuple[Attempt, Settlement]] = []
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            sql = "select attempt, progress, settlement from entry where seq > 0 order by seq"
            found += [_converted(*row) for row in connection.execute(sql)]
        finally:
            connection.close()
    except (sqlite3.Error, ValueError, TypeError) as error:
        aside = path.with_suffix(".damaged")
        aside.write_bytes(path.read_bytes())
        log.critical("the old journal %s is damaged (%s); %d entries read, kept as %s", path, error, len(found), aside)
    return found


def _converted(attempt: bytes, progress: bytes | None, settlement: bytes | None) -> tuple[Attempt, Settlement]:
    id_, org_id, key_id, provider, endpoint, model, streamed, bound, day, admitted_at, client_ip = orjson.loads(attempt)
    began = Attempt(
        id=id_,
        org_id=org_id,
        key_id=key_id,
        provider=provider,
        endpoint=endpoint,
        requested_model=model,
        streamed=streamed,
        bound_nanos=bound,
        held_nanos=0,
        day=date.fromisoformat(day).toordinal(),
        second=-1,
        admitted_at=admitted_at,
        client_ip=client_ip,
    )
    if settlement is None:
        return began, crashed(began, None if progress is None else int(progress))
    ended = Settlement(*orjson.loads(settlement))
    return began, ended._replace(flags=tuple(ended.flags))
