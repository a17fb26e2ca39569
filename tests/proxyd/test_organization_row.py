"""What all keys of an organisation may use together, from the journals and the ledger to the counters and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from accounting_kit import Router, Worker, charge, keep_sums_of_organizations
from accounting_machine import fill
from ledger_kit import DAY, ended, raised
from sqlalchemy import Engine, text

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger
from shared.counters import (
    Admitted,
    Charge,
    CountersUnavailable,
    Decision,
    OrganizationRefused,
    SpendExceeded,
    SpendHeld,
    TooManyConcurrent,
)
from shared.organization_limits import OrganizationLimits


@pytest.fixture
def router(tmp_path: Path, engine: Engine) -> Iterator[Router]:
    with engine.begin() as connection:
        keep_sums_of_organizations(connection)
        fill(connection)
    router = Router(tmp_path, engine)
    yield router
    for worker in router.workers:
        worker.kill()


def limit(router: Router, nanos: int | None) -> None:
    """As the dashboard does it, the first time."""
    with router.engine.begin() as connection:
        connection.execute(
            text("update organizations set spend_limit_nanos = :n, policy_version = policy_version + 1"), {"n": nanos}
        )
        connection.execute(text("update accounting_state set outdated = generation"))
        version = connection.scalar(text("select policy_version from organizations"))
    router.observer.publish(router.database.generation(), {}, {"org_1": version})


def together(nanos: int, **fields: object) -> Charge:
    return charge(**{"org_version": 2, "spend_limit_nanos": None, "organization": OrganizationLimits(None, nanos, "never"), **fields})  # fmt: skip


def admitted(worker: Worker, asked: Charge) -> Decision:
    return worker.admit(asked)[1]


def test_the_first_limit_counts_all_that_was_used_before_it(router: Router) -> None:
    """What is posted, what has ended and is not posted, and what is in flight, on any worker and with any key."""
    a, b = router.worker(), router.worker()
    router.rounds(2)
    posted, pending, open_ = a.begin(1_000), a.begin(500, None), b.begin(2_000)
    a.settle(posted, 300)
    a.accounting.flush()
    router.rounds()
    a.settle(pending, 400)
    generation = router.database.generation()
    limit(router, 3_700)
    with pytest.raises(CountersUnavailable):  # nobody makes new ones meanwhile
        admitted(a, together(3_700))
    router.rounds(2)
    b.keep()
    assert router.in_rounds(lambda: isinstance(admitted(a, together(3_700, bound_nanos=1_001)), OrganizationRefused))
    assert router.database.generation() == generation + 1
    assert router.spent("org_1") == (700, 2_000)
    assert isinstance(admitted(b, together(3_700, key_id="key_2")), Admitted)
    refused = admitted(a, together(3_700, bound_nanos=1))
    assert isinstance(refused, OrganizationRefused)
    assert isinstance(refused.refusal, SpendHeld)
    b.settle(open_, 2_000)
    b.accounting.flush()
    refused = admitted(a, together(3_700, bound_nanos=1_001))
    assert isinstance(refused, OrganizationRefused)
    assert isinstance(refused.refusal, SpendExceeded)


def test_a_dead_worker_leaves_nothing_held(router: Router) -> None:
    limit(router, 10_000)
    a, b = router.worker(), router.worker()
    router.rest(a, b)
    for worker in (a, b):
        assert isinstance(admitted(worker, together(10_000)), Admitted)
    most = {"max_concurrent_requests": 2, "bound_nanos": 0}
    assert admitted(a, together(10_000, **most)) == TooManyConcurrent(2, 2)
    router.workers.remove(b)
    b.kill()
    router.rounds(2)
    assert router.spent("org_1") == (1_000, 1_000), "what it had in flight is charged its bound"
    assert isinstance(admitted(a, together(10_000, **most)), Admitted)
    router.lose_counters()
    router.rest(a)
    assert isinstance(admitted(a, together(10_000, bound_nanos=0)), Admitted)
    assert router.spent("org_1") == (1_000, 1_000)


def test_sums_are_those_of_the_cut(any_engine: Engine, database: AccountingDatabase, ledger: Ledger) -> None:
    """On both databases: what is posted afterwards is brought by the workers."""
    with any_engine.begin() as connection:
        keep_sums_of_organizations(connection)
        connection.execute(text("update organizations set rate_limit_rpm = 5"))
    first, second = Position(), Position(1, 100, 2)
    ledger.post("01W", [ended(1), ended(2, cost_nanos=50, day=DAY - 1)], first, second)
    generation = raised(database)
    ledger.post("01W", [ended(3, cost_nanos=9_000)], second, Position(1, 150, 3))
    for _ in range(2):
        found = database.seeds(["org_1", "key_1"], generation, DAY)
        assert found is not None
        assert [(seed.key_id, seed.lifetime_nanos, dict(seed.days)) for seed in found] == [
            ("org_1", 750, {DAY: 700, DAY - 1: 50}),
            ("key_1", 750, {DAY: 700, DAY - 1: 50}),
        ]
    later = raised(database)
    found = database.seeds(["org_1"], later, DAY)
    assert found is not None
    assert found[0].lifetime_nanos == 9_750
    with any_engine.begin() as connection:
        connection.execute(text("update organizations set rate_limit_rpm = null"))
    cut = database.raise_generation(0)
    assert cut is not None
    assert list(cut.organizations) == []
    found = database.seeds(["org_1"], cut.generation, DAY)
    assert found is not None
    assert found[0].lifetime_nanos == 0
