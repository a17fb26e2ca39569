"""What is left of a key's limits, asked again and again by requests that are refused."""

from dataclasses import replace

import pytest
from accounting_kit import Router, Worker

from proxyd.gateway import limits as limits_module
from proxyd.gateway.limits import REMEMBERED_SECONDS, Limits
from shared.counters import Seed, period_of_day
from shared.counters.states import spend_state
from shared.policy import KeySnapshot


def key(*, rpm: int | None = None, limit_nanos: int | None = None) -> KeySnapshot:
    return KeySnapshot(
        id="key_never_used",
        org_id="org_1",
        name="key",
        prefix="sk-proxy-0000",
        revoked=True,
        expires_at=None,
        paused=False,
        allowed_providers=frozenset(),
        allowed_models=(),
        allowed_networks=(),
        rate_limit_rpm=rpm,
        spend_limit_nanos=limit_nanos,
        spend_reset="never",
    )


def test_a_flood_of_refusals_asks_the_database_once_and_only_about_money(router: Router, worker: Worker) -> None:
    asked: list[list[str]] = []

    def seeds(keys: list[str], generation: int, today: int) -> list[Seed] | None:
        asked.append(keys)
        return [Seed(key_id, 700, {}) for key_id in keys]

    limits = Limits(worker.counters, worker.accounting, seeds)
    for _ in range(3):
        found = limits.of(key(rpm=9), exact=False)
        assert found is not None
        assert found[0] is not None
        assert found[0].remaining == 9
    assert asked == []
    for _ in range(3):
        found = limits.of(key(limit_nanos=1_000), exact=False)
        assert found is not None
        assert found[1].remaining_nanos == 300
    assert asked == [["key_never_used"]]
    assert limits.lifetime_nanos(key()) == 700
    assert router.observer.rows(["key_never_used"])["key_never_used"].lifetime == 700


def test_a_budget_that_was_full_a_while_ago_is_looked_at_again(router: Router, worker: Worker) -> None:
    """Other workers take from it and give back. An output limit that is made of an old look cuts an answer short."""
    at = [0.0]
    limits = Limits(worker.counters, worker.accounting, router.database.seeds, monotonic=lambda: at[0])
    capped = replace(key(limit_nanos=10_000), id="key_1")
    seq = worker.begin(10_000)
    spend = worker.counters.rows(["key_1"])["key_1"].spend(period_of_day("never", worker.counters.moment().day), 10_000)
    limits.remember("key_1", spend)
    worker.settle(seq, 300)
    at[0] = REMEMBERED_SECONDS - 0.01
    assert limits.remaining_nanos(capped) == 0
    at[0] = REMEMBERED_SECONDS
    assert limits.remaining_nanos(capped, lately=False) == 0, "no question goes out for who needs none"
    assert limits.remaining_nanos(capped) == 9_700
    worker.begin(700)
    at[0] += REMEMBERED_SECONDS - 0.01
    assert limits.remaining_nanos(capped) == 9_700, "as it was found then"


def test_what_was_told_of_the_last_keys_is_remembered(
    router: Router, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "REMEMBERED_KEYS", 3)
    limits = Limits(worker.counters, worker.accounting, router.database.seeds, monotonic=lambda: 0.0)
    capped = [replace(key(limit_nanos=10_000), id=f"key_{number}") for number in range(1, 8)]
    told = spend_state(period_of_day("never", 1), 10_000, 9_000, 0)
    for one in capped:
        limits.remember(one.id, told)
    router.lose_counters()  # so that nobody else can tell
    left = [limits.remaining_nanos(one) for one in capped]
    assert left == [None, None, None, 1_000, 1_000, 1_000, 1_000]


def test_requests_at_once_do_not_exhaust_a_key(worker: Worker) -> None:
    """One of them may have ended, and not be told yet; the admission knows."""
    worker.begin()
    limits = Limits(worker.counters, worker.accounting, lambda *_: None)
    assert limits.exhausted(replace(key(), id="key_1", max_concurrent_requests=1)) is None
