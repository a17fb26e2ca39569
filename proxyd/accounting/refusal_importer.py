"""Refusals that workers of this machine have counted, added to the database once a second.

A file is read and deleted once the database is there, before its counts are committed: whoever is killed in between
loses the refusals of a moment, and counts none twice. Counts whose commit fails are kept until one succeeds. Several
machines add to the same rows; whichever refused a key last tells the rest of a row. Beside the rows of keys stands how
often an organisation was refused on each day of its zone: a count belongs to the day of the last refusal in it, which
is that of all of them but for the quarter of a second around midnight, and by the zone that is set when it is taken.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, case, select
from sqlalchemy.dialects import postgresql, sqlite

from proxyd.accounting.observing import Nobody, Observer
from proxyd.accounting.refusal_log import DRAFT, SUFFIX, RefusalCount
from shared.models import Organization, OrganizationRefusals, Refusal
from shared.periods import day_of
from shared.zones import UTC_NAME, of_stored

log = logging.getLogger(__name__)

IMPORT_SECONDS = 1.0
MOST_FILES = 200  # in one transaction
MOST_ENTRIES = 20_000  # that are kept while the database refuses them; more stay in their files
DRAFT_SECONDS = 60.0  # after which whoever was writing a draft is dead
_LATEST = ("last_at", "status", "sentence", "model", "client_ip", "request_id")

_Counts = dict[tuple[str, str], RefusalCount]
_Days = dict[tuple[str, date, str], int]  # by organisation, day and reason


class RefusalImporter:
    """Of one data directory. Raises SQLAlchemyError and OSError; what was not written then is tried again."""

    def __init__(
        self, directory: Path, engine: Engine, monotonic: Callable[[], float], observer: Observer | None = None
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._monotonic = monotonic
        self._observer = observer or Nobody()
        self._statement = _addition(engine.dialect.name)
        self._by_day = _addition_by_day(engine.dialect.name)
        self._taken: _Counts = {}  # out of their files, and not committed
        self._days: _Days = {}  # of the same
        self._imported_at = float("-inf")

    def import_due(self) -> None:
        """Add what there is, if a second is over."""
        at = self._monotonic()
        if at - self._imported_at >= IMPORT_SECONDS:
            self._imported_at = at
            self.import_all()

    def import_all(self) -> None:
        """Add what there is."""
        files = self._files()
        for first in range(0, max(len(files), bool(self._taken)), MOST_FILES):
            self._import(files[first : first + MOST_FILES])

    def _import(self, files: Sequence[Path]) -> None:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if len(self._taken) < MOST_ENTRIES:
                self._take(files, _zones(connection) if files else {})
            if self._taken:
                # In the order of keys everywhere, so that two ledger writers cannot wait for each other.
                connection.execute(self._statement, [_row(self._taken[place]) for place in sorted(self._taken)])
                connection.execute(self._by_day, _rows_by_day(self._days))
        self._observer.on_refusals(self._taken.values())
        self._taken.clear()
        self._days.clear()

    def _take(self, files: Sequence[Path], zones: Mapping[str, str]) -> None:
        for path in files:
            counts = _read(path)
            path.unlink()
            for count in counts:
                _add(self._taken, count)
                place = (count.org_id, day_of(count.last_at, zones.get(count.org_id)), count.reason)
                self._days[place] = self._days.get(place, 0) + count.count

    def _files(self) -> list[Path]:
        """Oldest first: their names are in the order of time."""
        try:
            names = list(self._directory.iterdir())
        except FileNotFoundError:
            return []
        for path in names:
            if path.suffix == DRAFT and time.time() - path.stat().st_mtime > DRAFT_SECONDS:
                path.unlink(missing_ok=True)
        return sorted([path for path in names if path.suffix == SUFFIX])


def _zones(connection: Connection) -> dict[str, str]:
    """Those of the organisations whose days are not UTC's."""
    elsewhere = select(Organization.id, Organization.time_zone).where(Organization.time_zone != UTC_NAME)
    found = {org_id: of_stored(zone) for org_id, zone in connection.execute(elsewhere)}
    return {org_id: zone for org_id, zone in found.items() if zone is not None}


def _read(path: Path) -> list[RefusalCount]:
    """What a file holds; nothing of one that cannot be understood, which is no reason to keep all others waiting."""
    try:
        return [RefusalCount(**fields) for fields in orjson.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        log.error("a file of refusals cannot be read (%s) and is left out: %s", type(error).__name__, path.name)
        return []


def _add(counts: _Counts, count: RefusalCount) -> None:
    place = (count.key_id, count.reason)
    known = counts.get(place)
    if known is not None:
        latest = count if count.last_at >= known.last_at else known
        count = replace(latest, count=known.count + count.count)
    counts[place] = count


def _moment(count: RefusalCount) -> datetime:
    return datetime.fromtimestamp(count.last_at, UTC)


def _row(count: RefusalCount) -> dict[str, Any]:
    return {**asdict(count), "last_at": _moment(count)}


def _rows_by_day(days: _Days) -> list[dict[str, Any]]:
    return [
        {"org_id": org_id, "day": day, "reason": reason, "count": count}
        for (org_id, day, reason), count in sorted(days.items())
    ]


def _addition(dialect: str) -> Any:
    """The statement that adds a count to its row, or makes one."""
    table, insert = _insert(dialect, Refusal)
    new = insert.excluded
    later = new.last_at >= table.c.last_at
    latest = {name: case((later, new[name]), else_=table.c[name]) for name in _LATEST}
    return insert.on_conflict_do_update(
        index_elements=["key_id", "reason"], set_={"count": table.c["count"] + new["count"], **latest}
    )


def _addition_by_day(dialect: str) -> Any:
    table, insert = _insert(dialect, OrganizationRefusals)
    return insert.on_conflict_do_update(
        index_elements=["org_id", "day", "reason"], set_={"count": table.c["count"] + insert.excluded["count"]}
    )


def _insert(dialect: str, model: type[Refusal] | type[OrganizationRefusals]) -> tuple[Any, Any]:
    table: Any = model.__table__
    return table, {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect](table)
