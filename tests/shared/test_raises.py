"""What a key may spend at a moment: its limit, and the raise of it that runs then."""

from datetime import UTC, datetime

import pytest

from shared.models import ProxyKey, boost_of, limit_of, snapshot_of
from shared.policy import SpendBoost

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT = NOON.timestamp()


def key(limit: int | None, boost: int | None, until: datetime | None = NOON) -> ProxyKey:
    return ProxyKey(
        id="key_1", org_id="org_1", name="a", prefix="p", paused=False, allowed_providers=[], allowed_models=[],
        allowed_ips=[], spend_limit_nanos=limit, spend_reset="daily", spend_limit_boost_nanos=boost,
        spend_limit_boost_until=until, version=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "at", "limit", "boost"),
    [
        (key(100, 40), AT - 0.001, 140, SpendBoost(40, AT)),
        (key(0, 40), AT - 0.001, 40, SpendBoost(40, AT)),
        (key(100, 40), AT, 100, None),
        (key(100, 40), AT + 1, 100, None),
        (key(100, None, None), AT, 100, None),
        (key(None, 40), AT - 1, None, None),  # as nobody can set it
    ],
)
def test_it_works(row: ProxyKey, at: float, limit: int | None, boost: SpendBoost | None) -> None:
    snapshot = snapshot_of(row, at)
    assert limit_of(row, at) == snapshot.spend_limit_nanos == limit
    assert boost_of(row, at) == snapshot.boost == boost
    assert snapshot.own_limit_nanos == row.spend_limit_nanos


@pytest.mark.parametrize("row", [key(100, 40), key(100, None, None), key(None, None, None)])
def test_without_its_raise_a_snapshot_is_what_is_made_of_the_row_when_that_has_ended(row: ProxyKey) -> None:
    assert snapshot_of(row, AT - 1).without_boost() == snapshot_of(row, AT)
