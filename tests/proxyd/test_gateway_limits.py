"""What is left of a key's limits, asked again and again by requests that are refused."""

from accounting_kit import Router, Worker

from proxyd.gateway.limits import Limits
from shared.counters import Seed
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
