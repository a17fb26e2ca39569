"""What a key has cost by model, added up for its first limit while others post: exact, and nobody waits for it."""

from datetime import date

import pytest
from ledger_kit import DAY, ended
from sqlalchemy import Engine, event, select, update
from sqlalchemy.orm import Session

from proxyd.accounting.adjustments import Adjustment
from proxyd.accounting.ledger import Ledger
from shared.models import AccountingState, ModelSpend, ProxyKey
from shared.periods import FIRST_DAY
from webapp.actions import model_sums
from webapp.actions.model_sums import Noted, note_sums, write_sums

TODAY = date.fromordinal(DAY)


def post(engine: Engine, number: int, model: str = "gpt-4o", **fields: object) -> None:
    record = ended(number, requested_model=model, **fields)  # type: ignore[arg-type] # as an attempt takes them
    assert record.settlement is not None
    Ledger(engine).post_lines([(record.attempt, record.settlement)])


def noted(engine: Engine) -> Noted:
    with Session(engine) as session:
        return note_sums(session, "key_1")  # type: ignore[arg-type] # a session as any other


def written(engine: Engine, found: Noted) -> dict[tuple[date, str], int]:
    with Session(engine) as session, session.begin():
        write_sums(session, found)  # type: ignore[arg-type] # likewise
    with Session(engine) as session:
        return {(row.day, row.model): row.total_nanos for row in session.scalars(select(ModelSpend))}


def test_it_works(any_engine: Engine) -> None:
    post(any_engine, 1)
    post(any_engine, 2, "gpt-4o-mini", cost_nanos=50)
    assert written(any_engine, noted(any_engine)) == {
        (TODAY, "gpt-4o"): 700,
        (FIRST_DAY, "gpt-4o"): 700,
        (TODAY, "gpt-4o-mini"): 50,
        (FIRST_DAY, "gpt-4o-mini"): 50,
    }


def test_what_is_posted_meanwhile_is_added_for_its_day_alone(any_engine: Engine) -> None:
    post(any_engine, 1, day=DAY - 3, admitted_at=(DAY - 3 - date(1970, 1, 1).toordinal()) * 86_400.0)
    post(any_engine, 2)
    found = noted(any_engine)
    post(any_engine, 3, cost_nanos=11)
    post(any_engine, 4, "o3", cost_nanos=5)
    asked: list[str] = []
    event.listen(any_engine, "before_cursor_execute", lambda *told: asked.append(f"{told[2]} {told[3]}"))
    sums = written(any_engine, found)
    assert sums == {
        (TODAY, "gpt-4o"): 711,
        (date.fromordinal(DAY - 3), "gpt-4o"): 700,
        (FIRST_DAY, "gpt-4o"): 1_411,
        (TODAY, "o3"): 5,
        (FIRST_DAY, "o3"): 5,
    }
    (read,) = [one for one in asked if "usage_records" in one]
    assert str(date.fromordinal(DAY - 3)) not in read


@pytest.mark.parametrize("at_once", [1, 3])
def test_many_rows_are_added_up_some_at_a_time(
    any_engine: Engine, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    first = DAY - date(1970, 1, 1).toordinal()
    for number in range(6):
        post(any_engine, number, day=DAY + number, admitted_at=(first + number) * 86_400.0)
    monkeypatch.setattr(model_sums, "ROWS_AT_ONCE", at_once)
    asked: list[str] = []
    event.listen(any_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    found = noted(any_engine)
    assert sum("usage_records" in one for one in asked) == 6 // at_once
    assert written(any_engine, found)[FIRST_DAY, "gpt-4o"] == 6 * 700


def test_days_begin_in_any_zone(any_engine: Engine) -> None:
    """The moment of admission may be of the day before in UTC, or behind it."""
    noon = (DAY - date(1970, 1, 1).toordinal()) * 86_400.0 + 43_200
    post(any_engine, 1, admitted_at=noon - 26 * 3_600)
    post(any_engine, 2, admitted_at=noon + 24 * 3_600)
    assert written(any_engine, noted(any_engine))[TODAY, "gpt-4o"] == 1_400


def test_sums_that_went_wrong_are_mended_by_the_next_limit(any_engine: Engine) -> None:
    """And what the present counters began with stays as it is."""
    with Session(any_engine) as session, session.begin():
        session.execute(update(AccountingState).values(model_limits=True))
        session.execute(update(ProxyKey).values(model_limits=[]))
    post(any_engine, 1)
    with Session(any_engine) as session, session.begin():
        session.execute(update(ModelSpend).values(total_nanos=1, base_nanos=3))
        session.add(
            ModelSpend(
                key_id="key_1", day=TODAY, provider="openai", model="never", generation=4, base_nanos=0, total_nanos=9
            )
        )
    assert written(any_engine, noted(any_engine)) == {
        (TODAY, "gpt-4o"): 700,
        (FIRST_DAY, "gpt-4o"): 700,
        (TODAY, "never"): 0,
    }
    with Session(any_engine) as session:
        found = session.execute(select(ModelSpend.generation, ModelSpend.base_nanos).where(ModelSpend.total_nanos > 0))
        assert set(map(tuple, found)) == {(4, 3)}


def test_an_adjustment_counts(any_engine: Engine) -> None:
    post(any_engine, 1)
    found = noted(any_engine)
    record = ended(1, cost_nanos=-200)
    assert record.settlement is not None
    adjustment = Adjustment(record.attempt._replace(id="req_1+1"), record.settlement, "req_1")
    ledger = Ledger(any_engine)
    with any_engine.begin() as connection:
        ledger._adjust(connection, adjustment, 4, ())
    assert written(any_engine, found)[TODAY, "gpt-4o"] == 500
