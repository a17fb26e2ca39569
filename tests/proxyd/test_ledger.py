"""Posting usage to SQL: once, whatever happens."""

from datetime import UTC, date, datetime

import pytest
from ledger_kit import attempt, settlement
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from proxyd.accounting.ledger import COLUMNS, Ledger
from shared import db
from shared.config import Settings
from shared.models import ProxyKey, UsageDaily, UsageRecord


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'router.db'}"
    if request.param == "postgresql":
        url = Settings.from_env(
            {"ROUTER_DATA_DIR": str(tmp_path), "DATABASE_URL": request.getfixturevalue("postgres")}
        ).database_url
    engine = db.create(url)
    db.Base.metadata.create_all(engine)
    yield engine
    db.Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def ledger(engine):
    return Ledger(engine)


def rows(engine, table):
    with Session(engine) as session:
        return session.scalars(select(table)).all()


def test_it_works(engine, ledger):
    assert ledger.post([(attempt(1), settlement()), (attempt(2), settlement(cost_nanos=50))]) == 2
    first = rows(engine, UsageRecord)[0]
    assert (first.cost_nanos, first.bound_nanos, first.input_tokens, first.output_tokens) == (700, 1000, 3, 5)
    assert (first.flags, first.usage, first.price) == ([], {"input_tokens": 3, "output_tokens": 5}, {"id": "gpt-4o"})
    assert (first.streamed, first.status, first.outcome, first.day) == (False, 200, "ok", date(2026, 11, 24))
    assert first.admitted_at == datetime.fromtimestamp(1_795_500_000.25, UTC)
    (day,) = rows(engine, UsageDaily)
    assert (day.requests, day.cost_nanos, day.model) == (2, 750, "gpt-4o-2024-08-06")
    assert ledger.totals()[0] == [("key_1", date(2026, 11, 24), 750)]


def test_posting_again_changes_nothing(engine, ledger):
    lines = [(attempt(number), settlement()) for number in range(1, 1200)]
    assert ledger.post(lines) == 1199
    assert ledger.post(lines) == 0
    assert ledger.post([*lines, (attempt(5000), settlement())]) == 1
    assert ledger.totals()[0] == [("key_1", date(2026, 11, 24), 1200 * 700)]


def test_a_failure_leaves_nothing_behind(engine, ledger):
    with Session(engine) as session:
        session.connection().exec_driver_sql("drop table usage_daily")
        session.commit()
    with pytest.raises(DBAPIError):
        ledger.post([(attempt(), settlement())])
    assert rows(engine, UsageRecord) == []


def test_the_cost_belongs_to_the_day_of_admission(ledger):
    ledger.post([(attempt(1, day="2026-11-23"), settlement()), (attempt(2), settlement())])
    assert sorted(ledger.totals()[0]) == [("key_1", date(2026, 11, 23), 700), ("key_1", date(2026, 11, 24), 700)]


def test_a_key_remembers_its_last_use_and_never_an_earlier_one(engine, ledger, make_key):
    key_id, _ = make_key()
    ledger.post([(attempt(1, key_id=key_id), settlement())])
    ledger.post([(attempt(2, key_id=key_id, admitted_at=5.0), settlement())])
    with Session(engine) as session:
        key = session.get(ProxyKey, key_id)
        assert key is not None
        assert key.last_used_at == datetime.fromtimestamp(1_795_500_000.25, UTC)
        assert key.version == 1


def test_models_and_providers_have_sums_of_their_own(engine, ledger):
    ledger.post([
        (attempt(1), settlement()),
        (attempt(2, provider="anthropic"), settlement(served_model=None)),
        (attempt(3, requested_model=None), settlement(served_model=None, usage={}, cost_nanos=0)),
    ])  # fmt: skip
    assert {(row.provider, row.model, row.requests) for row in rows(engine, UsageDaily)} == {
        ("openai", "gpt-4o-2024-08-06", 1), ("anthropic", "gpt-4o", 1), ("openai", "", 1),
    }  # fmt: skip


def test_the_totals_tell_which_attempts_they_contain(ledger):
    ledger.post([(attempt(1), settlement())])
    assert ledger.totals([attempt(1).id, attempt(2).id])[1] == {attempt(1).id}


def test_every_column_of_the_ledger_is_written():
    assert set(COLUMNS) == set(UsageRecord.__table__.columns.keys())


def test_what_a_provider_says_is_stored_to_the_letter(engine, ledger):
    """Names and models are data of others: quotes, backslashes, JSON and other scripts must survive."""
    odd = settlement(
        served_model='a"b\\c[0]{"x":1}', price=None, flags=("estimated", "overrun"), usage={}, status=None,
        cost_nanos=2**53 - 1,
    )  # fmt: skip
    ledger.post([(attempt(1, requested_model="模型 'q'", client_ip=None), odd)])
    (row,) = rows(engine, UsageRecord)
    assert (row.served_model, row.requested_model) == ('a"b\\c[0]{"x":1}', "模型 'q'")
    assert (row.price, row.flags, row.usage, row.status, row.client_ip) == (
        None,
        ["estimated", "overrun"],
        {},
        None,
        None,
    )
    assert row.cost_nanos == 2**53 - 1
