"""How a database finds what it is asked for."""

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from webapp.db import db

T = TypeVar("T")


def plans_of(call: Callable[[], T], table: str) -> tuple[T, list[str]]:
    """What `call` answers, and how the database finds the rows of `table` that it reads."""
    sent: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    answer = call()
    sa.event.remove(db.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "
    with db.engine.connect() as connection:
        found = [connection.exec_driver_sql(explain + text, told) for text, told in sent if table in text]
        return answer, [" ".join(str(row) for row in rows) for rows in found]
