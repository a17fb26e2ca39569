"""The ledger's statements as PostgreSQL takes them: each with all its rows in one JSON document.

A message for each row, as the driver sends them otherwise, costs this process five times as much where each row is
another key's, and the server nearly twice as much.
"""

from collections.abc import Sequence

import orjson

from proxyd.accounting.ledger_rows import (
    COLUMNS,
    DAILY,
    INSERT_DAILY,
    INSERT_LABELLED,
    INSERT_MODELS,
    INSERT_TOTALS,
    LABELLED,
    ON_DAILY_CONFLICT,
    ON_LABELLED_CONFLICT,
    ON_MODEL_CONFLICT,
    ON_TOTAL_CONFLICT,
    SUMS,
    Row,
)

# Of those that are no text. What is JSON is text in the document, and becomes JSON where it is stored.
_TYPES = {
    "streamed": "boolean", "status": "integer", "input_tokens": "bigint", "output_tokens": "bigint",
    "bound_nanos": "bigint", "cost_nanos": "bigint", "day": "date", "admitted_at": "timestamptz",
    "duration_ms": "integer", "first_byte_ms": "integer", "sent_status": "integer",
    "generation": "bigint", "nanos": "bigint", "at": "timestamptz",
    **dict.fromkeys(SUMS, "bigint"),
}  # fmt: skip
_JSON = ("flags", "usage", "price", "tried")
_TOTALS = ("key_id", "day", "generation", "nanos")
_TOUCHED = ("at", "id")
_MODELS = ("key_id", "day", "provider", "model", "generation", "nanos")
_OF_MODELS = "key_id, day, provider, model, generation, 0, nanos"


def _rows(fields: Sequence[str]) -> str:
    """The rows of the document, in its order."""
    return (
        f"json_to_recordset(%s::json) as given({', '.join([name + ' ' + _TYPES.get(name, 'text') for name in fields])})"
    )


_VALUES = ", ".join(f"given.{name}::json" if name in _JSON else f"given.{name}" for name in COLUMNS)
# Rows of keys are locked in order first: an update by a join may come to them in any other, and two ledger writers
# would wait for each other.
_TOUCH_KEYS = " ".join((
    "with due as materialized (select proxy_keys.id, given.at from proxy_keys",
    f"join {_rows(_TOUCHED)} on proxy_keys.id = given.id",
    "where proxy_keys.last_used_at is null or proxy_keys.last_used_at < given.at",
    "order by proxy_keys.id for no key update of proxy_keys)",
    "update proxy_keys set last_used_at = due.at from due where proxy_keys.id = due.id",
))  # fmt: skip
STATEMENTS = (
    f"insert into usage_records ({', '.join(COLUMNS)}) select {_VALUES} from {_rows(COLUMNS)}",  # noqa: S608
    f"{INSERT_DAILY} select * from {_rows(DAILY)} {ON_DAILY_CONFLICT}",  # noqa: S608
    f"{INSERT_TOTALS} select key_id, day, generation, 0, nanos from {_rows(_TOTALS)} {ON_TOTAL_CONFLICT}",  # noqa: S608
    _TOUCH_KEYS,
    f"{INSERT_LABELLED} select * from {_rows(LABELLED)} {ON_LABELLED_CONFLICT}",  # noqa: S608
    f"{INSERT_MODELS} select {_OF_MODELS} from {_rows(_MODELS)} {ON_MODEL_CONFLICT}",  # noqa: S608
)
_ADJUSTMENTS = (*COLUMNS, "adjusts")
INSERT_ADJUSTMENTS = (
    f"insert into usage_records ({', '.join(_ADJUSTMENTS)}) select {_VALUES}, given.adjusts from {_rows(_ADJUSTMENTS)}"  # noqa: S608
)
_FIELDS = dict(
    zip(
        (*STATEMENTS, INSERT_ADJUSTMENTS),
        (COLUMNS, DAILY, _TOTALS, _TOUCHED, LABELLED, _MODELS, _ADJUSTMENTS),
        strict=True,
    )
)


def document(statement: str, rows: Sequence[Row]) -> str:
    """The rows of one of the statements, as it takes them."""
    fields = _FIELDS[statement]
    return orjson.dumps([dict(zip(fields, row, strict=True)) for row in rows]).decode()
