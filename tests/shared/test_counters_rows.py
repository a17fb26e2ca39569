"""One key's row: what refuses a charge and in which order, money by day, and what is kept."""

from typing import Any

import pytest
from counters_kit import TODAY, FakeClock, batch_context, charge, kind, row

from shared.counters import (
    Admitted,
    Charge,
    KeyRow,
    Missing,
    RateLimited,
    Rebuilding,
    SpendExceeded,
    Stale,
    Unseeded,
    state_of,
)


def test_it_works() -> None:
    one, asked = row(spent=30, held=20), charge(limit=100, bound=50, rpm=3)
    assert one.decide(asked, batch_context()) is None
    admitted = one.admitted(asked, batch_context())
    assert (admitted.day, admitted.second) == (TODAY, 5_000)
    assert admitted.spend is not None
    assert admitted.spend[:4] == (100, 30, 70, 0)
    assert one.days == {TODAY: [30, 70]}


def test_states_are_told_where_there_is_a_limit() -> None:
    assert row().admitted(charge(bound=5), batch_context()) == Admitted(TODAY, 5_000, None, None)
    admitted = row().admitted(charge(rpm=3), batch_context())
    assert admitted.rate is not None
    assert admitted.spend is None


FULL: dict[str, Any] = {"rpm": 1, "limit": 100, "bound": 200}


def used_up() -> KeyRow:
    one = row(version=3, seeded=False, spent=10)
    one.window.acquire(5_000, 1)
    return one


def test_the_order_of_refusals() -> None:
    one = used_up()
    assert one.decide(charge(version=2, **FULL), batch_context(live=False)) == Stale()
    assert one.decide(charge(version=3, **FULL), batch_context(live=False)) == Rebuilding()
    assert one.decide(charge(version=3, **FULL), batch_context()) == Unseeded(4)
    one.seeded = True
    assert kind(one.decide(charge(version=3, **FULL), batch_context())) is RateLimited, "rate before money"
    later = FakeClock()
    later.pass_by(61)
    assert kind(one.decide(charge(version=3, **FULL), batch_context(later))) is SpendExceeded
    assert one.decide(charge(version=3, rpm=1, limit=100, bound=90), batch_context(later)) is None


def test_a_row_that_nobody_has_loaded_wants_a_policy_read_after_it_was_missed() -> None:
    one = KeyRow.new()
    assert one.decide(charge(), batch_context()) == Missing(4)
    assert one.decide(charge(loaded_in=3), batch_context()) == Missing(4), "missed in other counters"
    assert one.version == 0
    assert one.decide(charge(version=7, loaded_in=4), batch_context()) is None
    assert one.version == 7
    assert one.decide(charge(version=6, loaded_in=4), batch_context()) == Stale()
    assert one.decide(charge(version=7), batch_context()) is None


def test_missing_comes_before_all_that_a_wait_could_cure() -> None:
    assert KeyRow.new().decide(charge(**FULL), batch_context(live=False)) == Missing(4)


def test_a_newer_policy_lifts_the_version_even_if_the_request_is_refused() -> None:
    one = row(version=3, spent=10)
    assert kind(one.decide(charge(version=5, limit=5, bound=1), batch_context())) is SpendExceeded
    assert one.version == 5
    assert one.decide(charge(version=4), batch_context()) == Stale()


@pytest.mark.parametrize(
    ("rpm", "limit", "answer"), [(None, None, None), (5, None, Rebuilding), (None, 5, Rebuilding), (5, 5, Rebuilding)]
)
def test_only_keys_without_limits_are_admitted_while_counters_are_rebuilt(
    rpm: int | None, limit: int | None, answer: type[object] | None
) -> None:
    assert kind(row(seeded=False).decide(charge(rpm=rpm, limit=limit), batch_context(live=False))) is answer


def test_a_request_rate_alone_needs_no_seed() -> None:
    assert row(seeded=False).decide(charge(rpm=5, bound=7), batch_context()) is None


def test_states_of_a_key_without_a_row() -> None:
    moment = FakeClock().moment
    rate, spend, tokens = state_of(None, moment, rpm=5, spend_reset="daily", limit_nanos=10, tpm=7)
    assert tokens is not None
    assert tokens[:2] == (7, 7)
    assert rate is not None
    assert (rate.limit, rate.remaining) == (5, 5)
    assert spend[:4] == (10, 0, 0, 10)
    assert state_of(None, moment, rpm=None, spend_reset="daily", limit_nanos=None)[0] is None


def test_an_unknown_period_is_an_error_that_names_it() -> None:
    asked: Charge = charge(limit=5, reset="hourly")
    with pytest.raises(ValueError, match="hourly"):
        row().decide(asked, batch_context())
