"""The ledger on SQLite and on PostgreSQL: each END is in it exactly once, with all its sums."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ledger_kit import DAY, NOON, attempt, ended, raised, settlement
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.records import EndRecord, LedgerUnavailable
from shared.keys import PROXY_TAG, mint
from shared.models import KeySpend, UsageDaily, UsageRecord
from shared.secret_text import masked

START, FIRST, SECOND = Position(), Position(1, 500, 2), Position(1, 900, 3)


def rows(any_engine: Engine, what: Any = UsageRecord.__table__) -> list[Any]:
    with any_engine.connect() as connection:
        return list(connection.execute(select(what).order_by(*what.primary_key)))


def totals(any_engine: Engine) -> dict[date, tuple[int, int, int]]:
    return {row.day: (row.generation, row.base_nanos, row.total_nanos) for row in rows(any_engine, KeySpend.__table__)}


def reached(database: AccountingDatabase) -> Position:
    (journal,) = database.open_journals("machine_1")
    return journal.imported


def test_it_works(any_engine: Engine, ledger: Ledger, database: AccountingDatabase) -> None:
    assert ledger.post("01W", [ended(1), ended(2, cost_nanos=None)], START, FIRST) == 1
    (row,) = rows(any_engine)
    made, used = attempt(1), settlement()
    for name in (
        "id",
        "org_id",
        "key_id",
        "provider",
        "endpoint",
        "requested_model",
        "streamed",
        "bound_nanos",
        "client_ip",
    ):
        assert getattr(row, name) == getattr(made, name), name
    for name in (
        "served_model",
        "service_tier",
        "status",
        "outcome",
        "usage",
        "price",
        "cost_nanos",
        "duration_ms",
        "provider_request_id",
        "first_byte_ms",
        "sent_status",
    ):
        assert getattr(row, name) == getattr(used, name), name
    assert (row.flags, row.input_tokens, row.output_tokens) == ([], 3, 5)
    assert row.tried == [one._asdict() for one in used.tried or ()]
    assert (row.day, row.admitted_at) == (date(2026, 11, 24), datetime.fromtimestamp(NOON, UTC))
    assert reached(database) == FIRST


def test_daily_sums_tell_classes_of_tokens(any_engine: Engine, ledger: Ledger) -> None:
    usage = {"input_tokens": 9, "output_tokens": 5, "cache_read_tokens": 4, "output_reasoning_tokens": 2, "other": 1}
    plain = EndRecord(1, 1, attempt(1), settlement())
    ledger.post("01W", [plain, EndRecord(2, 2, attempt(2), settlement(usage=usage))], START, FIRST)
    ledger.post("01W", [EndRecord(3, 3, attempt(3), settlement(usage=usage))], FIRST, SECOND)
    (row,) = rows(any_engine, UsageDaily.__table__)
    assert (row.requests, row.input_tokens, row.output_tokens) == (3, 21, 15)
    assert (row.cache_read_tokens, row.output_reasoning_tokens, row.cache_write_tokens) == (8, 4, 0)


def test_the_models_read_what_the_ledger_wrote(any_engine: Engine, ledger: Ledger) -> None:
    """Both ways of inserting, as one JSON document and row by row, leave the same values."""
    record = EndRecord(
        1,
        1,
        attempt(requested_model=None, streamed=True),
        settlement(
            price=None,
            status=None,
            flags=("crash", "estimated"),
            usage={},
            first_byte_ms=None,
            sent_status=None,
            tried=None,
        ),
    )
    ledger.post("01W", [record], START, FIRST)
    (row,) = rows(any_engine)
    assert (row.price, row.status, row.requested_model, row.streamed) == (None, None, None, True)
    assert (row.first_byte_ms, row.sent_status, row.tried) == (None, None, None)
    assert (row.flags, row.usage, row.input_tokens) == (["crash", "estimated"], {}, 0)


def test_a_piece_is_posted_once(any_engine: Engine, ledger: Ledger, database: AccountingDatabase) -> None:
    piece = [ended(1), ended(2)]
    ledger.post("01W", piece, START, FIRST)
    with pytest.raises(LedgerUnavailable, match="another position"):
        ledger.post("01W", piece, START, FIRST)
    assert len(rows(any_engine)) == 2
    assert totals(any_engine)[date(1970, 1, 1)] == (4, 0, 1_400)
    assert ledger.post("01W", [ended(3)], FIRST, SECOND) == 1
    assert reached(database) == SECOND


def test_of_a_worker_nobody_knows_nothing_is_posted(any_engine: Engine, ledger: Ledger) -> None:
    with pytest.raises(LedgerUnavailable):
        ledger.post("01OTHER", [ended(1)], START, FIRST)
    assert rows(any_engine) == []


def test_an_attempt_that_is_there_already_is_not_added_again(any_engine: Engine, ledger: Ledger) -> None:
    """The second guard: a database that was put back has an older position, and rows that are newer."""
    ledger.post("01W", [ended(1), ended(2)], START, FIRST)
    with any_engine.begin() as connection:
        connection.execute(text("update journals set segment = 1, position = 0, end_number = 0"))
    assert ledger.post("01W", [ended(1), ended(2), ended(3)], START, SECOND) == 1
    assert [row.id for row in rows(any_engine)] == ["req_00000001", "req_00000002", "req_00000003"]
    assert totals(any_engine)[date(1970, 1, 1)] == (4, 0, 2_100)
    assert [(row.requests, row.cost_nanos) for row in rows(any_engine, UsageDaily.__table__)] == [(3, 2_100)]


@pytest.mark.parametrize("step", range(6))
def test_a_post_that_fails_at_any_statement_leaves_nothing(
    any_engine: Engine, ledger: Ledger, database: AccountingDatabase, step: int
) -> None:
    left = step

    def fail(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise IntegrityError("stop", {}, Exception("stop"))

    event.listen(any_engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(DBAPIError):
            ledger.post("01W", [ended(1)], START, FIRST)
    finally:
        event.remove(any_engine, "before_cursor_execute", fail)
    assert (rows(any_engine), totals(any_engine), reached(database)) == ([], {}, START)
    assert ledger.post("01W", [ended(1)], START, FIRST) == 1


def test_a_commit_whose_answer_is_lost_is_not_repeated(
    any_engine: Engine, ledger: Ledger, database: AccountingDatabase
) -> None:
    """The connection is cut after COMMIT was done: whoever asks the database where to go on learns that it was."""

    def cut(connection: Any) -> None:
        connection.commit()
        raise DBAPIError("commit", {}, Exception("server closed the connection"), connection_invalidated=True)

    real = any_engine.dialect.do_commit
    any_engine.dialect.do_commit = cut  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(DBAPIError):
            ledger.post("01W", [ended(1)], START, FIRST)
    finally:
        any_engine.dialect.do_commit = real  # type: ignore[method-assign]
    assert reached(database) == FIRST
    with pytest.raises(LedgerUnavailable):
        ledger.post("01W", [ended(1)], START, FIRST)
    assert len(rows(any_engine)) == 1


def test_sums_a_day_and_in_all(any_engine: Engine, ledger: Ledger) -> None:
    ends = [
        ended(1, cost_nanos=100),
        ended(2, cost_nanos=20, day=DAY + 1),
        ended(3, cost_nanos=3, provider="gemini", requested_model=None)._replace(settlement=settlement(cost_nanos=3, served_model=None)),
        ended(4, cost_nanos=0),
    ]  # fmt: skip
    ledger.post("01W", ends, START, FIRST)
    ledger.post("01W", [ended(5, cost_nanos=1_000)], FIRST, SECOND)
    assert {day: total for day, (_, _, total) in totals(any_engine).items()} == {
        date(1970, 1, 1): 1_123,
        date(2026, 11, 24): 1_103,
        date(2026, 11, 25): 20,
    }
    daily = {
        (row.day.day, row.provider, row.model): (row.requests, row.input_tokens, row.output_tokens, row.cost_nanos)
        for row in rows(any_engine, UsageDaily.__table__)
    }
    assert daily == {
        (24, "openai", "gpt-4o-2024-08-06"): (3, 9, 15, 1_100),
        (25, "openai", "gpt-4o-2024-08-06"): (1, 3, 5, 20),
        (24, "gemini", ""): (1, 3, 5, 3),
    }


def test_the_total_at_the_cut_stays_while_imports_go_on(
    any_engine: Engine, ledger: Ledger, database: AccountingDatabase
) -> None:
    ledger.post("01W", [ended(1, cost_nanos=100)], START, FIRST)
    generation = raised(database)
    (seed,) = database.seeds(["key_1"], generation, DAY) or []
    assert (seed.lifetime_nanos, seed.days) == (100, {DAY: 100})
    ledger.post("01W", [ended(2, cost_nanos=20)], FIRST, SECOND)
    ledger.post("01W", [ended(3, cost_nanos=3)], SECOND, Position(1, 1_000, 4))
    assert totals(any_engine)[date(1970, 1, 1)] == (generation, 100, 123)
    assert database.seeds(["key_1"], generation, DAY) == [seed]
    generation = raised(database)
    (seed,) = database.seeds(["key_1"], generation, DAY) or []
    assert seed.lifetime_nanos == 123


def test_a_key_that_had_cost_nothing_at_the_cut_is_seeded_with_nothing(
    any_engine: Engine, ledger: Ledger, database: AccountingDatabase
) -> None:
    ledger.post("01W", [ended(1, cost_nanos=100)], START, FIRST)
    (seed,) = database.seeds(["key_1"], 4, DAY) or []
    assert (seed.lifetime_nanos, seed.days) == (0, {})


def test_when_a_key_was_used_last_only_goes_forward(any_engine: Engine, ledger: Ledger) -> None:
    def last_used() -> datetime | None:
        with any_engine.connect() as connection:
            found = connection.execute(text("select last_used_at from proxy_keys")).scalar_one()
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        return None if found is None else found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    assert last_used() is None
    ledger.post("01W", [ended(1, admitted_at=NOON + 5), ended(2, admitted_at=NOON)], START, FIRST)
    assert last_used() == datetime.fromtimestamp(NOON + 5, UTC)
    ledger.post("01W", [ended(3, admitted_at=NOON - 60)], FIRST, SECOND)
    assert last_used() == datetime.fromtimestamp(NOON + 5, UTC)


def test_what_is_too_long_or_holds_a_nul_is_fitted_in(any_engine: Engine, ledger: Ledger) -> None:
    """One such row must not keep all of its batch out, for ever."""
    odd = EndRecord(
        1, 1, attempt(1, requested_model="m\0" * 300),
        settlement(served_model="s" * 5_000 + "\0", service_tier="t" * 99, provider_request_id="\0" + "p" * 500),
    )  # fmt: skip
    assert ledger.post("01W", [odd, ended(2)], START, FIRST) == 2
    row = rows(any_engine)[0]
    assert row.requested_model == "m" * 128
    assert (row.served_model, row.service_tier, row.provider_request_id) == ("s" * 255, "t" * 32, "p" * 127)
    assert [found.model for found in rows(any_engine, UsageDaily.__table__)] == ["gpt-4o-2024-08-06", "s" * 255]


@pytest.mark.parametrize("secret", [mint(PROXY_TAG).raw, "AQ." + "Ab8" * 15, "gsk_" + "q1" * 26])
def test_a_secret_that_is_sent_as_a_model_is_not_kept(any_engine: Engine, ledger: Ledger, secret: str) -> None:
    """Whoever mixes up two variables sends one, and a provider may repeat it."""
    mistaken = EndRecord(1, 1, attempt(1, requested_model=secret), settlement(served_model=f"models/{secret}"))
    ledger.post("01W", [mistaken], START, FIRST)
    (row,) = rows(any_engine)
    assert (row.requested_model, row.served_model) == (masked(secret), f"models/{masked(secret)}")
    assert [found.model for found in rows(any_engine, UsageDaily.__table__)] == [f"models/{masked(secret)}"]
    assert secret[-20:] not in row.requested_model


def test_many_ends_are_one_transaction(any_engine: Engine, ledger: Ledger) -> None:
    begun: list[int] = []
    event.listen(any_engine, "begin", lambda _: begun.append(1))
    assert ledger.post("01W", [ended(number) for number in range(1, 2_001)], START, FIRST) == 2_000
    assert len(begun) == 1
    assert totals(any_engine)[date(1970, 1, 1)][2] == 2_000 * 700


def test_two_ledger_writers_on_the_same_keys_do_not_wait_for_each_other(any_engine: Engine, ledger: Ledger) -> None:
    keys = [f"key_{number}" for number in range(2, 202)]
    copied = text(
        "insert into proxy_keys (id, org_id, name, prefix, allowed_providers, allowed_models, allowed_ips, spend_reset,"
        " created_at, created_by, version) select :id, org_id, name, prefix, allowed_providers, allowed_models,"
        " allowed_ips, spend_reset, created_at, created_by, version from proxy_keys where id = 'key_1'"
    )
    with any_engine.begin() as connection:
        connection.execute(copied, [{"id": key_id} for key_id in keys])

    def post(writer: int) -> int:
        posted = 0
        for round_number in range(5):
            order = keys if (writer + round_number) % 2 else keys[::-1]
            first = 1_000 * (5 * writer + round_number)
            lines = [
                (attempt(first + number, key_id=key_id, admitted_at=NOON + first + number), settlement(cost_nanos=7))
                for number, key_id in enumerate(order)
            ]
            posted += ledger.post_lines(lines)
        return posted

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(post, [0, 1])) == [1_000, 1_000]
    found = rows(any_engine, KeySpend.__table__)
    assert {(row.key_id, row.total_nanos) for row in found} == {(key_id, 70) for key_id in keys}
