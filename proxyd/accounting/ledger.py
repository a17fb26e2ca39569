"""The ledger in SQL: the only truth about money. Written by the ledger writer alone.

One transaction holds the rows of some ENDs, their daily sums, the totals of their keys and how far the journal has
been read. So each END is in the ledger exactly once: it is read from the position that stands there, and the unique id
of its attempt is a second guard. The transaction holds the row of the generation as well, so that the totals of a
generation's cut are exact although imports never pause (see `accounting_state`).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, bindparam, case, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from proxyd.accounting.journal_reader import Position
from proxyd.accounting.records import Attempt, EndRecord, LedgerUnavailable, Settlement
from shared.models import AccountingState, JournalState, KeySpend, ProxyKey, UsageDaily, UsageRecord

ALL_DAYS = date(1970, 1, 1)  # the row of key_spend that sums all days

Line = tuple[Attempt, Settlement]


class Ledger:
    """Posts what was used. Blocking. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
        daily = dialect.insert(UsageDaily)
        sums = ("requests", "input_tokens", "output_tokens", "cost_nanos")
        self._add_daily = daily.on_conflict_do_update(
            index_elements=["key_id", "day", "provider", "model"],
            set_={name: getattr(UsageDaily, name) + getattr(daily.excluded, name) for name in sums},
        )
        total = dialect.insert(KeySpend)
        same = KeySpend.generation == total.excluded.generation
        self._add_total = total.on_conflict_do_update(
            index_elements=["key_id", "day"],
            set_={
                "base_nanos": case((same, KeySpend.base_nanos), else_=KeySpend.total_nanos),
                "generation": total.excluded.generation,
                "total_nanos": KeySpend.total_nanos + total.excluded.total_nanos,
            },
        )
        self._touch_key = (
            update(ProxyKey.__table__)  # type: ignore[arg-type] # a Table, as mapped classes have it
            .where(
                ProxyKey.id == bindparam("touched_id"),
                or_(ProxyKey.last_used_at.is_(None), ProxyKey.last_used_at < bindparam("touched_at")),
            )
            .values(last_used_at=bindparam("touched_at"))
        )

    def post(self, worker_id: str, ends: Sequence[EndRecord], start: Position, reached: Position) -> int:
        """Write what a journal tells between two positions. Returns how many rows were new.

        Raises LedgerUnavailable, and nothing is written, when the position that stands there is not `start`: another
        import was quicker, or an older copy of the database was put back.
        """
        lines = [(end.attempt, end.settlement) for end in ends if end.settlement is not None]
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            generation = connection.scalar(select(AccountingState.generation).with_for_update(read=True)) or 0
            if not self._advance(connection, worker_id, start, reached):
                raise LedgerUnavailable(f"the journal of worker {worker_id} has been read to another position")
            return self._post(connection, lines, generation)

    def post_lines(self, lines: Sequence[Line]) -> int:
        """Write what no journal of ours tells; each line once, by its attempt's id. Returns how many were new."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            generation = connection.scalar(select(AccountingState.generation).with_for_update(read=True)) or 0
            return self._post(connection, lines, generation)

    def _post(self, connection: Connection, lines: Sequence[Line], generation: int) -> int:
        fresh = self._fresh(connection, lines)
        if fresh:
            self._insert_rows(connection, fresh)
            connection.execute(self._add_daily, _daily(fresh))
            connection.execute(self._add_total, _totals(fresh, generation))
            connection.execute(self._touch_key, _touches(fresh))
        return len(fresh)

    @staticmethod
    def _advance(connection: Connection, worker_id: str, start: Position, reached: Position) -> bool:
        moved = connection.execute(
            update(JournalState)
            .where(
                JournalState.worker_id == worker_id,
                JournalState.segment == start.segment,
                JournalState.position == start.position,
            )
            .values(segment=reached.segment, position=reached.position, end_number=reached.end_number)
        )
        return moved.rowcount == 1

    @staticmethod
    def _fresh(connection: Connection, lines: Sequence[Line]) -> list[Line]:
        """Without those that are there. Asked with all ids as one value, which SQLAlchemy need not spell out."""
        ids = [attempt.id for attempt, _ in lines]
        if connection.dialect.name == "sqlite":
            known = connection.exec_driver_sql(_KNOWN_SQLITE, (orjson.dumps(ids).decode(),))
        else:
            known = connection.exec_driver_sql(_KNOWN_POSTGRESQL, (ids,))
        there = {row[0] for row in known}
        return [line for line in lines if line[0].id not in there] if there else list(lines)

    @staticmethod
    def _insert_rows(connection: Connection, lines: Sequence[Line]) -> None:
        """Insert ledger rows. On SQLite without SQLAlchemy's types between, which cost more than the insert."""
        rows = [_values(*line) for line in lines]
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(_INSERT, rows)
            return
        mappings = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        for mapping, (attempt, settlement) in zip(mappings, lines, strict=True):
            mapping["day"] = date.fromordinal(attempt.day)
            mapping["admitted_at"] = datetime.fromtimestamp(attempt.admitted_at, UTC)
            mapping["flags"], mapping["usage"], mapping["price"] = settlement.flags, settlement.usage, settlement.price
        connection.execute(insert(UsageRecord), mappings)


COLUMNS = (
    "id", "org_id", "key_id", "provider", "endpoint", "requested_model", "served_model", "service_tier", "streamed",
    "status", "outcome", "flags", "usage", "input_tokens", "output_tokens", "price", "bound_nanos", "cost_nanos", "day",
    "admitted_at", "duration_ms", "provider_request_id", "client_ip",
)  # fmt: skip

_KNOWN_SQLITE = "select id from usage_records where id in (select value from json_each(?))"
_KNOWN_POSTGRESQL = "select id from usage_records where id = any(%s)"
_INSERT = "insert into usage_records ({}) values ({})".format(  # noqa: S608 - our own columns
    ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
)


def _values(attempt: Attempt, settlement: Settlement) -> tuple[Any, ...]:
    """A row in the order of COLUMNS; days and moments as SQLAlchemy writes them into SQLite."""
    usage = settlement.usage
    # What clients and providers name may be longer than a column, or hold a NUL, which PostgreSQL refuses with all
    # rows of the batch; a row must never be one that cannot be written.
    return (
        attempt.id,
        attempt.org_id,
        attempt.key_id,
        attempt.provider,
        attempt.endpoint,
        _fit(attempt.requested_model, 255),
        _fit(settlement.served_model, 255),
        _fit(settlement.service_tier, 32),
        attempt.streamed,
        settlement.status,
        settlement.outcome,
        orjson.dumps(settlement.flags).decode(),
        orjson.dumps(usage).decode(),
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        None if settlement.price is None else orjson.dumps(settlement.price).decode(),
        attempt.bound_nanos,
        settlement.cost_nanos,
        _day(attempt.day),
        _moment(attempt.admitted_at),
        settlement.duration_ms,
        _fit(settlement.provider_request_id, 128),
        attempt.client_ip,
    )


def _moment(seconds: float) -> str:
    """As SQLAlchemy writes a moment into SQLite."""
    micros = round(seconds * 1_000_000)
    return f"{_second(micros // 1_000_000)}.{micros % 1_000_000:06d}"


@lru_cache(maxsize=128)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@lru_cache(maxsize=128)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _fit(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length].replace("\0", "")


def _daily(lines: Sequence[Line]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    orgs: dict[str, str] = {}
    for attempt, settlement in lines:
        model = _fit(settlement.served_model or attempt.requested_model, 255) or ""
        total = sums[attempt.key_id, attempt.day, attempt.provider, model]
        total[0] += 1
        total[1] += settlement.usage.get("input_tokens", 0)
        total[2] += settlement.usage.get("output_tokens", 0)
        total[3] += settlement.cost_nanos
        orgs[attempt.key_id] = attempt.org_id
    return [
        {
            "key_id": key_id,
            "day": date.fromordinal(day),
            "provider": provider,
            "model": model,
            "org_id": orgs[key_id],
            "requests": total[0],
            "input_tokens": total[1],
            "output_tokens": total[2],
            "cost_nanos": total[3],
        }
        # Rows are locked in one order everywhere, so that two ledger writers cannot wait for each other.
        for (key_id, day, provider, model), total in sorted(sums.items())
    ]


def _totals(lines: Sequence[Line], generation: int) -> list[dict[str, Any]]:
    """What each key's day and all its days rise by. A row that is new was nothing when the generation was cut."""
    sums: dict[tuple[str, date], int] = defaultdict(int)
    for attempt, settlement in lines:
        if settlement.cost_nanos:
            sums[attempt.key_id, date.fromordinal(attempt.day)] += settlement.cost_nanos
            sums[attempt.key_id, ALL_DAYS] += settlement.cost_nanos
    if not sums:
        # A statement needs a row; one of nothing changes nothing that is read.
        sums[lines[0][0].key_id, ALL_DAYS] = 0
    return [
        {"key_id": key_id, "day": day, "generation": generation, "base_nanos": 0, "total_nanos": nanos}
        for (key_id, day), nanos in sorted(sums.items())
    ]


def _touches(lines: Sequence[Line]) -> list[dict[str, Any]]:
    latest: dict[str, float] = {}
    for attempt, _ in lines:
        latest[attempt.key_id] = max(attempt.admitted_at, latest.get(attempt.key_id, 0.0))
    return [
        {"touched_id": key_id, "touched_at": datetime.fromtimestamp(at, UTC)} for key_id, at in sorted(latest.items())
    ]
