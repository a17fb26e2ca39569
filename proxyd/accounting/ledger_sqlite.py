"""The ledger's statements as SQLite takes them, row by row.

What stands there rises first, and what does not stand there is added after it, if anything is new. An upsert would do
as much, but begins as an insertion of each row, with all that triggers look at then: a third more of all that posting
costs where each row is another key's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from proxyd.accounting.ledger_rows import ADJUSTMENTS, COLUMNS, DAILY, LABELLED, MODELS, SUMS, TOTALS, Row


class Statement(NamedTuple):
    """Both take the same rows; of which none is there twice. An empty one does nothing."""

    update: str
    insert: str

    def execute(self, connection: Connection, rows: list[Row]) -> None:
        met = connection.exec_driver_sql(self.update, rows).rowcount if self.update else 0
        if met < len(rows) and self.insert:
            connection.exec_driver_sql(self.insert, rows)


def _insert(columns: Sequence[str]) -> Statement:
    """Rows of the ledger, all of which are new."""
    return Statement(
        "",
        f"insert into usage_records ({', '.join(columns)}) values ({', '.join('?' * len(columns))})",  # noqa: S608 - our own names, here and below
    )


def _rise(table: str, fields: Sequence[str], key: Sequence[str], sets: str, columns: str, values: str) -> Statement:
    """`fields`: what the rows hold. `columns` and `values`: what is added where none stands with their `key`."""
    there = " and ".join(f"{name} = {_place(fields, name)}" for name in key)
    return Statement(
        f"update {table} set {sets} where {there}",  # noqa: S608
        f"insert into {table} ({columns}) select {values} where not exists (select 1 from {table} where {there})",  # noqa: S608
    )


def _sums(table: str, fields: Sequence[str], key: Sequence[str]) -> Statement:
    """Of requests, tokens and money."""
    sets = ", ".join(f"{name} = {name} + {_place(fields, name)}" for name in SUMS)
    return _rise(table, fields, key, sets, ", ".join(fields), ", ".join(_place(fields, name) for name in fields))


def _totals(table: str, fields: Sequence[str]) -> Statement:
    """Of money, beside what it was when the generation was cut; of a row that is new, nothing."""
    key = fields[:-2]
    generation, nanos = _place(fields, "generation"), _place(fields, "nanos")
    sets = (
        f"base_nanos = case when generation = {generation} then base_nanos else total_nanos end, "
        f"generation = {generation}, total_nanos = total_nanos + {nanos}"
    )
    columns = ", ".join((*key, "generation", "base_nanos", "total_nanos"))
    values = ", ".join((*(_place(fields, name) for name in key), generation, "0", nanos))
    return _rise(table, fields, key, sets, columns, values)


def _place(fields: Sequence[str], name: str) -> str:
    return f"?{fields.index(name) + 1}"


STATEMENTS = (
    Statement(
        "update proxy_keys set last_used_at = ?1 where id = ?2 and (last_used_at is null or last_used_at < ?1)", ""
    ),
    _insert(COLUMNS),
    _sums("usage_daily", DAILY, DAILY[:4]),
    _totals("key_spend", TOTALS),
    _sums("label_usage", LABELLED, LABELLED[:3]),
    _totals("model_spend", MODELS),
)
INSERT_ADJUSTMENTS = _insert(ADJUSTMENTS)
_KNOWN = "select id from usage_records where id in (select value from json_each(?))"


def known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids the ledger has. All of them go as one value, which SQLAlchemy need not spell out."""
    return {row[0] for row in connection.exec_driver_sql(_KNOWN, (orjson.dumps(ids).decode(),))}
