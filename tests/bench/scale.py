"""A database of the size that grows on people: `python -m tests.bench.scale --keys 1000000 --rows 5000000`.

Fills the database of the settings (DATABASE_URL, ROUTER_DATA_DIR; SQLite or PostgreSQL) with keys and with a ledger whose
daily sums and totals agree with its rows. It must have been bootstrapped and hold no ledger yet. The secret of the n-th
key follows from `--seed` and n (`secret_of`), so that a load can use any of them; every second key has a spend and a rate
limit, the others have none. With `--varied` keys differ in all that a list is filtered and sorted by.
"""

import argparse
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from zlib import crc32

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scale_derived import fill_derived, timed, without_triggers
from scale_variety import audit_rows, label_of, label_rows, refusal_rows, tag_rows, varied
from sqlalchemy import JSON, Column, Connection, Engine, Table, select, text

from shared import db, keys, pricing
from shared.config import Settings
from shared.models import (
    AuditEvent,
    KeySecret,
    KeySpend,
    KeyTag,
    LabelUsage,
    Organization,
    ProxyKey,
    Refusal,
    UsageDaily,
    UsageRecord,
)

BATCH = 20_000  # rows of one statement
MODEL, SERVED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
COUNTS = {"input_tokens": 30, "output_tokens": 20}
ALL_DAYS = date(1970, 1, 1)
SPEND_LIMIT_NANOS = 10**12
Row = Sequence[Any]


def secret_of(seed: str, number: int) -> str:
    """The raw secret of the n-th key."""
    body = hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()[:56]
    return f"{keys.PROXY_TAG}{body}{crc32(body.encode()):08x}"


def key_id_of(number: int) -> str:
    """The id of the n-th key: of the usual shape, and older than any real one."""
    return f"key_00SCA{number:021d}"


def is_capped(number: int) -> bool:
    return number % 2 == 0


class Plan:
    """Which rows there are: as many for each key, spread over the `days` days before today."""

    key_id_of = staticmethod(key_id_of)

    def __init__(
        self, org_id: str, seed: str, key_count: int, row_count: int, days: int, now: datetime, *, varied: bool
    ) -> None:
        self.org_id, self.seed, self.key_count, self.row_count, self.now = org_id, seed, key_count, row_count, now
        self.varied = varied
        # Today is left to whoever measures.
        self.days = [(now - timedelta(days=back + 1)).date() for back in range(days)]
        cost = pricing.cost("openai", MODEL, pricing.Usage(COUNTS, SERVED), at=now.timestamp())
        assert cost.price is not None
        self.cost_nanos, self.price = cost.nanos, json.dumps(dict(cost.price.json))

    def rows_of(self, number: int) -> int:
        return self.row_count // self.key_count + (number < self.row_count % self.key_count)

    def rows_by_day(self, number: int) -> list[tuple[date, int]]:
        """How many rows a key has on each day, days without any left out."""
        count = self.rows_of(number)
        whole, rest = divmod(count, len(self.days))
        return [(day, whole + (back < rest)) for back, day in enumerate(self.days) if whole or back < rest]

    def numbers(self) -> range:
        return range(self.key_count)


def key_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for number in plan.numbers():
        more = varied(number, plan.key_count, plan.now, plan.cost_nanos) if plan.varied else {}
        yield {
            "id": key_id_of(number), "org_id": plan.org_id, "name": f"scale {number}",
            "prefix": secret_of(plan.seed, number)[: len(keys.PROXY_TAG) + 4], "created_at": plan.now,
            "created_by": "scale", "spend_limit_nanos": SPEND_LIMIT_NANOS if is_capped(number) else None,
            "spend_reset": "monthly", "rate_limit_rpm": 1_000_000 if is_capped(number) else None, **more,
        }  # fmt: skip


def secret_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """In the order of their digests: the index that they come into is read and written from one end to the other."""
    digests = sorted((keys.digest(secret_of(plan.seed, number).encode()), number) for number in plan.numbers())
    for digest, number in digests:
        yield {"digest": digest, "key_id": key_id_of(number), "created_at": plan.now}


def ledger_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    serial = itertools.count()
    for number in plan.numbers():
        label = label_of(number) if plan.varied else None
        for day, count in plan.rows_by_day(number):
            # From one key to the next, as lists go by time: a million rows of one moment are found nowhere else.
            noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
            at = noon + timedelta(hours=10) * (number / plan.key_count)
            for _ in range(count):
                yield {
                    "id": f"req_00SCA{next(serial):021d}", "org_id": plan.org_id, "key_id": key_id_of(number),
                    "provider": "openai", "endpoint": "/v1/chat/completions", "requested_model": MODEL,
                    "served_model": SERVED, "streamed": False, "status": 200, "outcome": "ok", "flags": "[]",
                    "usage": _COUNTS_JSON, "input_tokens": 30, "output_tokens": 20, "price": plan.price,
                    "bound_nanos": 10**7, "cost_nanos": plan.cost_nanos, "day": day, "admitted_at": at, "duration_ms": 5,
                    "label": label,
                }  # fmt: skip


def daily_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for number in plan.numbers():
        for day, count in plan.rows_by_day(number):
            yield {
                "key_id": key_id_of(number), "day": day, "provider": "openai", "model": SERVED, "org_id": plan.org_id,
                "requests": count, "input_tokens": 30 * count, "output_tokens": 20 * count,
                "cost_nanos": plan.cost_nanos * count,
            }  # fmt: skip


def total_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for number in plan.numbers():
        by_day = plan.rows_by_day(number)
        in_all = [(ALL_DAYS, sum(count for _, count in by_day))] if by_day else []
        for day, count in in_all + by_day:
            nanos = plan.cost_nanos * count
            yield {"key_id": key_id_of(number), "day": day, "generation": 0, "base_nanos": nanos, "total_nanos": nanos}


_COUNTS_JSON = json.dumps(COUNTS)
PARTS = (
    ("keys", ProxyKey, key_rows),
    ("secrets", KeySecret, secret_rows),
    ("ledger rows", UsageRecord, ledger_rows),
    ("daily sums", UsageDaily, daily_rows),
    ("totals", KeySpend, total_rows),
    ("labels", LabelUsage, label_rows),
    ("tags", KeyTag, tag_rows),
)


def fill(
    engine: Engine,
    *,
    seed: str,
    key_count: int,
    row_count: int,
    days: int = 3,
    varied: bool = False,
    refusals: int = 0,
    audit: int = 0,
) -> None:
    """Fill the database and say how long each part took. Raises SystemExit when it is not one that may be filled."""
    now = datetime.now(UTC)
    with engine.connect() as connection:
        org_id = connection.scalar(select(Organization.id).order_by(Organization.created_at).limit(1))
        if org_id is None:
            raise SystemExit("There is no organisation yet. Run `flask --app wsgi bootstrap` first.")
        if connection.scalar(select(UsageRecord.id).limit(1)) is not None:
            raise SystemExit("This database has a ledger already; only an empty one is filled.")
    plan = Plan(org_id, seed, key_count, row_count, days, now, varied=varied)
    parts = (
        *PARTS,
        ("refusals", Refusal, partial(refusal_rows, count=refusals)),
        ("audit events", AuditEvent, partial(audit_rows, count=audit)),
    )
    began = time.perf_counter()
    with engine.connect().execution_options(writes=True) as connection:
        if engine.dialect.name == "sqlite":  # after a crash it is filled anew; the next connection sets all of it back
            driver: Any = connection.connection.driver_connection  # SQLAlchemy would begin a transaction
            driver.execute("PRAGMA journal_mode=OFF")
            driver.execute("PRAGMA synchronous=OFF")
            driver.execute("PRAGMA cache_size=-400000")
        else:
            with connection.begin():
                connection.execute(text("SET statement_timeout = 0"))  # one statement takes minutes here
                connection.execute(text("SET session_replication_role = replica"))  # each row's key does exist
        triggers = without_triggers(connection)
        for name, model, rows in parts:
            with connection.begin(), timed(name) as counted:
                counted.append(_insert(connection, cast("Table", model.__table__), rows(plan)))
        fill_derived(connection, triggers)
        with connection.begin(), timed("statistics"):
            connection.execute(text("ANALYZE"))
        connection.invalidate()  # nobody else is to have a connection that forgets
    print(f"all in {time.perf_counter() - began:.1f} s", flush=True)


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> int:
    """Insert rows that all have the same columns: by COPY into PostgreSQL, by `executemany` into SQLite."""
    first = next(rows, None)
    if first is None:
        return 0
    defaults = {column.name: _default(column) for column in table.columns if column.name not in first}
    names = [*first, *defaults]
    tail = tuple(defaults.values())
    values = ((*row.values(), *tail) for row in itertools.chain([first], rows))
    driver = connection.connection.driver_connection
    assert driver is not None
    columns = ", ".join(names)
    if connection.dialect.name == "postgresql":
        return _copy(driver, f"COPY {table.name} ({columns}) FROM STDIN", values)
    statement = f"INSERT INTO {table.name} ({columns}) VALUES ({', '.join('?' * len(names))})"
    count = 0
    while batch := [tuple(map(_for_sqlite, row)) for row in itertools.islice(values, BATCH)]:
        driver.executemany(statement, batch)
        count += len(batch)
    return count


def _copy(driver: Any, statement: str, values: Iterable[Row]) -> int:
    count = 0
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in values:
            copy.write_row(row)
            count += 1
    return count


def _for_sqlite(value: Any) -> Any:
    """Days and moments as SQLAlchemy writes them into SQLite."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    return value.isoformat() if isinstance(value, date) else value


def _default(column: Column[Any]) -> Any:
    """What the model gives a column that is not named here, so that a new column needs no change of this file."""
    if column.default is not None:
        default: Any = column.default
        value = default.arg(None) if default.is_callable else default.arg
        return json.dumps(value) if isinstance(column.type, JSON) else value
    if column.nullable:
        return None
    if column.server_default is not None:
        return getattr(column.server_default, "arg", None)
    raise SystemExit(f"{column.table.name}.{column.name} needs a value; add one to its rows here.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=3, help="over which the rows of a key are spread")
    parser.add_argument("--varied", action="store_true", help="keys of every kind, instead of two")
    parser.add_argument("--refusals", type=int, default=0)
    parser.add_argument("--audit", type=int, default=0, help="events in the audit log")
    parser.add_argument("--seed", default="bench", help="from which all secrets follow")
    chosen = parser.parse_args()
    engine = db.create(Settings.from_env(os.environ).database_url)
    fill(
        engine,
        seed=chosen.seed,
        key_count=chosen.keys,
        row_count=chosen.rows,
        days=chosen.days,
        varied=chosen.varied,
        refusals=chosen.refusals,
        audit=chosen.audit,
    )
    engine.dispose()


if __name__ == "__main__":
    main()
