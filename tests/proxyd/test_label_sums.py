"""Labels of requests, from the head to the ledger's sums, on SQLite and on PostgreSQL."""

from datetime import date
from typing import Any

import orjson
import pytest
from ledger_kit import attempt, ended, settlement
from request_kit import Untouched
from sqlalchemy import Engine, select

from proxyd.accounting import frames
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger, ReadCopy
from proxyd.accounting.records import Attempt, EndRecord, crashed
from proxyd.gateway.head import HeadInfo, head_info
from proxyd.messages import HeadCache, Request
from shared.models import LabelUsage, UsageRecord

START, FIRST, SECOND = Position(), Position(1, 500, 1), Position(1, 900, 3)
SEED = frames.crc_seed("01W.1")


def head(*labels: bytes, cache: HeadCache | None = None) -> HeadInfo:
    headers = ((b"x-api-key", b"x"), *((b"x-router-tag", label) for label in labels))
    return head_info(Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), cache), ())


def sums(engine: Engine) -> dict[tuple[str, date, str], tuple[int, ...]]:
    with engine.connect() as connection:
        found = connection.execute(select(LabelUsage.__table__)).all()
    counts = ("requests", "input_tokens", "output_tokens", "cost_nanos", "cache_read_tokens")
    assert {row.org_id for row in found} <= {"org_1"}
    return {(row.key_id, row.day, row.label): tuple(getattr(row, name) for name in counts) for row in found}


def labels(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(select(UsageRecord.id, UsageRecord.label).order_by(UsageRecord.id)).all()
    return [(row.id, row.label) for row in rows]


def test_it_works(any_engine: Engine, ledger: Ledger) -> None:
    usage = {"input_tokens": 9, "output_tokens": 5, "cache_read_tokens": 4}
    posted = [
        ended(1, label="checkout"),
        ended(2),
        ended(3, label="größe"),
        EndRecord(4, 4, attempt(4, label="checkout"), settlement(usage=usage, cost_nanos=5)),
        ended(5, label="checkout", cost_nanos=None),
    ]
    ledger.post("01W", posted, START, FIRST)
    ledger.post("01W", [ended(6, label="checkout", key_id="key_2")], FIRST, SECOND)
    day = date(2026, 11, 24)
    assert sums(any_engine) == {
        ("key_1", day, "checkout"): (2, 12, 10, 705, 4),
        ("key_1", day, "größe"): (1, 3, 5, 700, 0),
        ("key_2", day, "checkout"): (1, 3, 5, 700, 0),
    }
    assert [label for _, label in labels(any_engine)] == ["checkout", None, "größe", "checkout", "checkout"]


def test_an_adjustment_stands_under_the_label_of_its_estimate_and_is_no_request(
    any_engine: Engine, ledger: Ledger, database: AccountingDatabase
) -> None:
    database.post_heartbeat("machine_1", 4, {})
    open_ = [(attempt(2, label="run 7"), crashed(attempt(2), None))]
    ledger.post("01W", [ended(1)], START, FIRST)
    ledger.import_copies([ReadCopy("01W", FIRST, FIRST, open_)])
    assert sums(any_engine) == {("key_1", date(2026, 11, 24), "run 7"): (1, 0, 0, 1_000, 0)}
    ledger.correct("01W", [ended(2, label="run 7", cost_nanos=300)], FIRST, SECOND)
    assert sums(any_engine) == {("key_1", date(2026, 11, 24), "run 7"): (1, 3, 5, 300, 0)}
    assert labels(any_engine)[1:] == [("req_00000002", "run 7"), ("req_00000002+1", "run 7")]


@pytest.mark.parametrize("known", [10, 12])
def test_journals_of_the_formats_before_are_read(known: int) -> None:
    """Format 1 had ten fields of a settlement; attempts had no label before format 3, no tokens before 4."""
    old: tuple[Any, ...] = tuple(attempt(7))[:13]
    begun = frames.frame(SEED, frames.BEGIN, orjson.dumps((7, *old)))
    end = frames.frame(SEED, frames.END, orjson.dumps((1, 7, old, tuple(settlement())[:known])))
    first, second = frames.frames(begun + end + bytes(64), SEED, 0)
    assert frames.read_begin(first.content) == (7, attempt(7))
    assert frames.read_end(second.content).attempt == attempt(7)
    assert all(frames.is_readable(orjson.dumps((number, 1, 0))) for number in (1, 2, 3, frames.FORMAT))


def test_a_record_with_a_label_comes_back_as_it_was() -> None:
    record = ended(1, label="größe 模型")
    (frame,) = frames.frames(frames.end(SEED, record) + bytes(64), SEED, 0)
    assert frames.read_end(frame.content) == record
    assert Attempt._fields[-1] == "held_tokens"  # what comes behind it needs a format of its own


def test_a_head_tells_its_label() -> None:
    assert (head().label, head().label_fault) == (None, None)
    assert head("größe".encode()).label == "größe"
    cache = HeadCache()
    assert head(b"one", cache=cache) is head(b"one", cache=cache)


@pytest.mark.parametrize(
    ("values", "why"),
    [((b"a", b"a"), "once"), ((b"\xff",), "UTF-8"), ((b"",), "empty"), ((b"sk-proxy-" + b"0a" * 20,), "secret")],
)
def test_a_head_tells_what_is_wrong_with_its_label(values: tuple[bytes, ...], why: str) -> None:
    found = head(*values)
    assert found.label is None
    assert why in (found.label_fault or "")
