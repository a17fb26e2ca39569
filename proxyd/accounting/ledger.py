"""The ledger in SQL: the only truth about money. Rows come in batches, in one transaction with their daily sums.

Posting is idempotent by attempt id. Only the owner of a journal (its worker, or whoever claimed it) posts its
attempts, so two transactions never carry the same id at once, and a row that is already there was posted by an
earlier try whose answer was lost.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from proxyd.accounting.journal import Attempt, Settlement
from shared.models import ProxyKey, UsageDaily, UsageRecord

Line = tuple[Attempt, Settlement]
_MAX_IDS = 500  # below SQLite's limit of bound values


class Ledger:
    """Posts usage. Blocking: call it from a native thread. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # SQLite reads one snapshot for as long as a transaction lasts; PostgreSQL only when asked to.
        self._one_moment = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
        dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
        upsert = dialect.insert(UsageDaily)
        sums = ("requests", "input_tokens", "output_tokens", "cost_nanos")
        self._add_daily = upsert.on_conflict_do_update(
            index_elements=["key_id", "day", "provider", "model"],
            set_={name: getattr(UsageDaily, name) + getattr(upsert.excluded, name) for name in sums},
        )
        self._touch_key = (
            update(ProxyKey.__table__)  # type: ignore[arg-type] # a Table, as mapped classes have it
            .where(
                ProxyKey.id == bindparam("touched_id"),
                or_(ProxyKey.last_used_at.is_(None), ProxyKey.last_used_at < bindparam("touched_at")),
            )
            .values(last_used_at=bindparam("touched_at"))
        )

    def post(self, lines: Sequence[Line]) -> int:
        """Write lines that are not there yet, their daily sums and the keys' last use. Returns how many were new."""
        if not lines:
            return 0
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            known = self._known(connection, [attempt.id for attempt, _ in lines])
            fresh = [line for line in lines if line[0].id not in known]
            if fresh:
                self._insert_rows(connection, fresh)
                connection.execute(self._add_daily, _daily(fresh))
                connection.execute(self._touch_key, _touches(fresh))
        return len(fresh)

    def totals(self, ids: Sequence[str] = ()) -> tuple[list[tuple[str, date, int]], set[str]]:
        """What each key spent on each day, in nano-dollars, and which of `ids` these sums contain, at one moment."""
        query = select(UsageDaily.key_id, UsageDaily.day, func.sum(UsageDaily.cost_nanos)).group_by(
            UsageDaily.key_id, UsageDaily.day
        )
        with self._engine.connect().execution_options(isolation_level=self._one_moment) as connection:
            rows = connection.execute(query).all()
            return [(key_id, day, int(nanos)) for key_id, day, nanos in rows], self._known(connection, ids)

    def check(self) -> None:
        """Raise SQLAlchemyError unless the database answers."""
        with self._engine.connect() as connection:
            connection.execute(select(1))

    def _insert_rows(self, connection: Connection, lines: Sequence[Line]) -> None:
        """Insert ledger rows. On SQLite as one JSON document and one statement.

        The sqlite3 module lets go of the interpreter for each row that it inserts and fights the event loop for it
        afterwards; so all rows go in at once, with the interpreter free. Figures: docs/benchmarks.md.
        """
        rows = [_values(*line) for line in lines]
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(_INSERT_JSON, (orjson.dumps(rows).decode(),))
            return
        mappings = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        for mapping, (attempt, _) in zip(mappings, lines, strict=True):
            mapping["day"] = date.fromisoformat(attempt.day)
            mapping["admitted_at"] = datetime.fromtimestamp(attempt.admitted_at, UTC)
        connection.execute(insert(UsageRecord), mappings)

    @staticmethod
    def _known(connection: Connection, ids: Sequence[str]) -> set[str]:
        known: set[str] = set()
        for start in range(0, len(ids), _MAX_IDS):
            some = ids[start : start + _MAX_IDS]
            known.update(connection.scalars(select(UsageRecord.id).where(UsageRecord.id.in_(some))))
        return known


COLUMNS = (
    "id", "org_id", "key_id", "provider", "endpoint", "requested_model", "served_model", "service_tier", "streamed",
    "status", "outcome", "flags", "usage", "input_tokens", "output_tokens", "price", "bound_nanos", "cost_nanos", "day",
    "admitted_at", "duration_ms", "provider_request_id", "client_ip",
)  # fmt: skip

# json_extract gives scalars as they are and lists and objects as JSON text: what SQLAlchemy stores for each.
_INSERT_JSON = "insert into usage_records ({}) select {} from json_each(?)".format(  # noqa: S608 - our own columns
    ", ".join(COLUMNS), ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(COLUMNS)))
)


def _values(attempt: Attempt, settlement: Settlement) -> list[Any]:
    """A row in the order of COLUMNS; days and moments as SQLAlchemy writes them into SQLite."""
    usage = settlement.usage
    return [
        attempt.id,
        attempt.org_id,
        attempt.key_id,
        attempt.provider,
        attempt.endpoint,
        attempt.requested_model,
        settlement.served_model,
        settlement.service_tier,
        attempt.streamed,
        settlement.status,
        settlement.outcome,
        settlement.flags,
        usage,
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        settlement.price,
        attempt.bound_nanos,
        settlement.cost_nanos,
        attempt.day,
        datetime.fromtimestamp(attempt.admitted_at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        settlement.duration_ms,
        settlement.provider_request_id,
        attempt.client_ip,
    ]


def _daily(lines: Sequence[Line]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    orgs: dict[str, str] = {}
    for attempt, settlement in lines:
        model = settlement.served_model or attempt.requested_model or ""
        total = sums[attempt.key_id, attempt.day, attempt.provider, model]
        total[0] += 1
        total[1] += settlement.usage.get("input_tokens", 0)
        total[2] += settlement.usage.get("output_tokens", 0)
        total[3] += settlement.cost_nanos
        orgs[attempt.key_id] = attempt.org_id
    return [
        {
            "key_id": key_id,
            "day": date.fromisoformat(day),
            "provider": provider,
            "model": model,
            "org_id": orgs[key_id],
            "requests": total[0],
            "input_tokens": total[1],
            "output_tokens": total[2],
            "cost_nanos": total[3],
        }
        # Rows are locked in one order everywhere, so that two workers on PostgreSQL cannot wait for each other.
        for (key_id, day, provider, model), total in sorted(sums.items())
    ]


def _touches(lines: Sequence[Line]) -> list[dict[str, Any]]:
    latest: dict[str, float] = {}
    for attempt, _ in lines:
        latest[attempt.key_id] = max(attempt.admitted_at, latest.get(attempt.key_id, 0.0))
    return [
        {"touched_id": key_id, "touched_at": datetime.fromtimestamp(at, UTC)} for key_id, at in sorted(latest.items())
    ]
