"""S6: SQLite's REPLACE takes nothing out of the books, also from a program that asks its connection for nothing."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from shared.models import USAGE_CLASSES
from webapp.db import db

COUNTS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)
PLACES = {
    "usage_daily": {"key_id": "key_x", "day": "2026-11-24", "provider": "openai", "model": "m"},
    "organization_usage": {"org_id": "org_x", "day": "2026-11-24", "provider": "openai", "model": "m"},
    "key_spend": {"key_id": "key_x", "day": "2026-11-24"},
    "label_usage": {"key_id": "key_x", "day": "2026-11-24", "label": "run"},
}
Row = dict[str, Any]


def row_of(table: str, amount: int, **place: Any) -> Row:
    if table == "key_spend":
        return {**PLACES[table], "generation": 1, "base_nanos": 0, "total_nanos": amount, **place}
    return {**PLACES[table], "org_id": "org_x", **dict.fromkeys(COUNTS, amount), **place}


def add(shell: sqlite3.Connection, table: str, row: Row, how: str = "INSERT", behind: str = "") -> None:
    names = ", ".join(row)
    with shell:
        shell.execute(
            f"{how} INTO {table} ({names}) VALUES ({', '.join('?' * len(row))}) {behind}",
            tuple(row.values()),
        )


def rows(shell: sqlite3.Connection, table: str) -> list[Any]:
    return shell.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()


@pytest.fixture
def shell(app: Flask) -> Iterator[sqlite3.Connection]:
    """The file as any other program opens it."""
    with app.app_context():
        path = db.engine.url.database
    shell = sqlite3.connect(str(path))
    assert shell.execute("PRAGMA recursive_triggers").fetchone() == (0,)
    yield shell
    shell.close()


@pytest.mark.parametrize("table", PLACES)
def test_it_works(shell: sqlite3.Connection, table: str) -> None:
    """Neither what is called like a sum nor what has its number takes its place; what is new comes, and sums rise."""
    amount = "total_nanos" if table == "key_spend" else "cost_nanos"
    add(shell, table, row_of(table, 5))
    before = rows(shell, table)
    (number,) = shell.execute(f"SELECT max(rowid) FROM {table}").fetchone()
    for how in ("INSERT OR REPLACE", "REPLACE"):
        for row in (row_of(table, 0), row_of(table, 9), row_of(table, 0, rowid=number, day="2026-11-25")):
            with pytest.raises(sqlite3.IntegrityError, match=f"{table} only rises"):
                add(shell, table, row, how)
    add(shell, table, row_of(table, 0), "INSERT OR IGNORE")
    assert rows(shell, table) == before
    rises = f"ON CONFLICT ({', '.join(PLACES[table])}) DO UPDATE SET {amount} = {table}.{amount} + excluded.{amount}"
    add(shell, table, row_of(table, 2), behind=rises)
    add(shell, table, row_of(table, 3, day="2026-11-26"), behind=rises)
    found = shell.execute(f"SELECT day, {amount} FROM {table} WHERE day <> '1970-01-01' ORDER BY day").fetchall()
    assert found == [("2026-11-24", 7), ("2026-11-26", 3)]
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} only rises"), shell:
        shell.execute(f"UPDATE OR REPLACE {table} SET rowid = ? WHERE day = '2026-11-26'", (number,))


@pytest.mark.parametrize("table", ["usage_records", "audit_events"])
def test_no_row_of_what_is_only_added_to_is_taken_by_its_number(shell: sqlite3.Connection, table: str) -> None:
    if table == "usage_records":
        add(shell, table, {
            "id": "req_1", "org_id": "org_x", "key_id": "key_x", "provider": "openai", "endpoint": "/", "streamed": 0,
            "outcome": "ok", "flags": "[]", "usage": "{}", "input_tokens": 0, "output_tokens": 0, "bound_nanos": 0,
            "cost_nanos": 5, "day": "2026-11-24", "admitted_at": "2026-11-24 12:00:00.000000", "duration_ms": 1,
        })  # fmt: skip
    before = rows(shell, table)
    names = ", ".join(name for _, name, *_ in shell.execute(f"PRAGMA table_info({table})") if name != "id")
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"), shell:
        shell.execute(
            f"INSERT OR REPLACE INTO {table} (rowid, id, {names}) SELECT rowid, 'other', {names} FROM {table} LIMIT 1"
        )
    assert rows(shell, table) == before != []
