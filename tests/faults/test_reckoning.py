"""The reckoning itself: each thing that must not be is found."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from all_limits_kit import most_at_once, most_in_a_minute
from http_kit import Reply
from load_kit import Call, Key
from reckoning import _judge

KEY = Key("key_1", "secret", "1")
ATTEMPT = {"cost_nanos": 7}
REFUSED = Reply(0.0, 403, {"x-router-error": "spend_exceeded"}, b"{}", complete=True)
SERVED = Reply(0.0, 200, {}, b"{}", complete=True)
BROKEN = Reply(0.0)


def row(**other: object) -> Any:
    told = {"outcome": "ok", "flags": [], "cost_nanos": 7, "bound_nanos": 9, "key_id": "key_1"}
    return SimpleNamespace(**told | other)


def judge(reply: Reply, attempts: list[dict[str, int]], rows: list[Any]) -> None:
    _judge(Call("name", KEY, reply, False, 0.0), attempts, rows)


@pytest.mark.parametrize(
    ("reply", "attempts", "rows"),
    [
        (SERVED, [ATTEMPT], [row()]),
        (BROKEN, [], []),
        (BROKEN, [ATTEMPT], [row(outcome="crash", cost_nanos=9)]),
        (BROKEN, [], [row(outcome="crash", cost_nanos=9)]),
        (REFUSED, [], []),
    ],
)
def test_what_is_right_passes(reply: Reply, attempts: list[dict[str, int]], rows: list[Any]) -> None:
    judge(reply, attempts, rows)


@pytest.mark.parametrize(
    ("reply", "attempts", "rows", "complaint"),
    [
        (SERVED, [ATTEMPT], [], "lost"),
        (SERVED, [ATTEMPT], [row(), row()], "counted twice"),
        (BROKEN, [ATTEMPT, ATTEMPT], [row()], "sent twice"),
        (BROKEN, [], [row()], "charged and never sent"),
        (REFUSED, [ATTEMPT], [row()], "refused and sent"),
        (REFUSED, [], [row(outcome="crash")], "refused and charged"),
        (SERVED, [ATTEMPT], [row(outcome="crash")], "knows it otherwise"),
        (SERVED, [ATTEMPT], [row(cost_nanos=8)], "another amount than billed"),
        (BROKEN, [ATTEMPT], [row(outcome="crash", cost_nanos=10)], "above its bound"),
        (BROKEN, [ATTEMPT], [row(key_id="key_2")], "another's"),
    ],
)
def test_what_is_wrong_is_found(reply: Reply, attempts: list[dict[str, int]], rows: list[Any], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        judge(reply, attempts, rows)


def test_the_fullest_minute_is_found() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [SimpleNamespace(admitted_at=began + timedelta(seconds=at), tokens=at) for at in (0, 1, 30, 60, 61, 200)]
    assert most_in_a_minute(rows, rows, lambda _: 1) == 3
    assert most_in_a_minute(rows, rows, lambda row: row.tokens) == 200
    assert most_in_a_minute(rows[3:5], rows, lambda row: row.tokens) == 30 + 60 + 61
    assert most_in_a_minute(rows[:1], rows, lambda _: 1) == 1


def test_the_most_at_once_are_found() -> None:
    seen = [{"marker": f"sandbox:slow=1 call{n}", "at": at, "ended_at": at + 2.0} for n, at in enumerate((0, 1, 2, 2))]
    calls = [Call(f"call{number}", KEY, SERVED, False, 0.0) for number in range(3)]
    provider: Any = SimpleNamespace(invoice=lambda: {"attempts": seen})
    assert most_at_once(provider, calls) == 2
    assert most_at_once(provider, [*calls, Call("call3", KEY, SERVED, False, 0.0)]) == 3
