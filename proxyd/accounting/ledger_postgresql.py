"""The ledger's statements as PostgreSQL takes them: each with all its rows in one JSON document.

A message for each row, as the driver sends them otherwise, costs this process five times as much where each row is
another key's, and the server nearly twice as much.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from proxyd.accounting.ledger_rows import ADJUSTMENTS, COLUMNS, DAILY, LABELLED, MODELS, SUMS, TOTALS, TOUCHED, Row

# Of those that are no text. What is JSON is text in the document, and becomes JSON where it is stored.
_TYPES = {
    "streamed": "boolean", "status": "integer", "input_tokens": "bigint", "output_tokens": "bigint",
    "bound_nanos": "bigint", "cost_nanos": "bigint", "day": "date", "admitted_at": "timestamptz",
    "duration_ms": "integer", "first_byte_ms": "integer", "sent_status": "integer",
    "generation": "bigint", "nanos": "bigint", "at": "timestamptz",
    **dict.fromkeys(SUMS, "bigint"),
}  # fmt: skip
_JSON = ("flags", "usage", "price", "tried")


class Statement(NamedTuple):
    """`fields`: what the rows hold."""

    sql: str
    fields: Sequence[str]

    def execute(self, connection: Connection, rows: list[Row]) -> None:
        document = orjson.dumps([dict(zip(self.fields, row, strict=True)) for row in rows]).decode()
        connection.exec_driver_sql(self.sql, (document,))


def _rows(fields: Sequence[str]) -> str:
    """The rows of the document, in its order."""
    return (
        f"json_to_recordset(%s::json) as given({', '.join([name + ' ' + _TYPES.get(name, 'text') for name in fields])})"
    )


def _insert(fields: Sequence[str]) -> Statement:
    values = ", ".join(f"given.{name}::json" if name in _JSON else f"given.{name}" for name in fields)
    return Statement(f"insert into usage_records ({', '.join(fields)}) select {values} from {_rows(fields)}", fields)  # noqa: S608 - our own names, here and below


def _sums(table: str, fields: Sequence[str], key: Sequence[str]) -> Statement:
    """Of requests, tokens and money."""
    sets = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    return _upsert(table, fields, key, sets, ", ".join(fields), "*")


def _totals(table: str, fields: Sequence[str]) -> Statement:
    """Of money, beside what it was when the generation was cut; of a row that is new, nothing."""
    key = fields[:-2]
    sets = (
        f"base_nanos = case when {table}.generation = excluded.generation "
        f"then {table}.base_nanos else {table}.total_nanos end, "
        f"generation = excluded.generation, total_nanos = {table}.total_nanos + excluded.total_nanos"
    )
    columns = ", ".join((*key, "generation", "base_nanos", "total_nanos"))
    return _upsert(table, fields, key, sets, columns, ", ".join((*key, "generation", "0", "nanos")))


def _upsert(table: str, fields: Sequence[str], key: Sequence[str], sets: str, columns: str, values: str) -> Statement:
    return Statement(
        f"insert into {table} ({columns}) select {values} from {_rows(fields)} "  # noqa: S608
        f"on conflict ({', '.join(key)}) do update set {sets}",
        fields,
    )


# Rows of keys are locked in order first, all of them: an update by a join may come to them in any other, and two ledger
# writers would wait for each other.
_TOUCH_KEYS = " ".join((
    "with known as materialized (select proxy_keys.id, proxy_keys.last_used_at, given.at from proxy_keys",
    f"join {_rows(TOUCHED)} on proxy_keys.id = given.id",
    "order by proxy_keys.id for no key update of proxy_keys)",
    "update proxy_keys set last_used_at = known.at from known where proxy_keys.id = known.id",
    "and (known.last_used_at is null or known.last_used_at < known.at)",
))  # fmt: skip
# Whose keys have tags, their sums by tag are ours from then on: the statements that follow come to them, and to sums of
# models between, in an order that depends on which of them stand there already. Edits of tags take the same lock (see
# migration 0031).
_LOCK_TAGS = (
    "select pg_advisory_xact_lock(hashtextextended(org_id, 0)) from "
    "(select distinct org_id from key_tags where key_id = any(%s) order by org_id) as tagged"
)


class _Touch:
    """Note when keys were used, and keep everybody else from them and from the sums of their tags. Before all else."""

    _touch = Statement(_TOUCH_KEYS, TOUCHED)

    def execute(self, connection: Connection, rows: list[Row]) -> None:
        self._touch.execute(connection, rows)
        connection.exec_driver_sql(_LOCK_TAGS, ([key_id for _, key_id in rows],))


STATEMENTS = (
    _Touch(),
    _insert(COLUMNS),
    _sums("usage_daily", DAILY, DAILY[:4]),
    _totals("key_spend", TOTALS),
    _sums("label_usage", LABELLED, LABELLED[:3]),
    _totals("model_spend", MODELS),
)
INSERT_ADJUSTMENTS = _insert(ADJUSTMENTS)
_KNOWN = "select id from usage_records where id = any(%s)"


def known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids the ledger has. All of them go as one value, which SQLAlchemy need not spell out."""
    return {row[0] for row in connection.exec_driver_sql(_KNOWN, (list(ids),))}
