"""All limits that a key and its organisation can have, at once: how each is set, and what must be true of it.

To add one: its row in `LIMITS`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from harness import Json, Router
from load_kit import Call, Key, Repeat, of_models
from reckoning import Audit, limits_are_watched

from shared import money

WINDOW_SECONDS = 60.0
# Between the moment that a request is judged and the one that is looked at here lies work of a busy machine.
TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the dearest call of the load costs, and what all keys together have used before."""

    nanos: int
    tokens: int
    nanos_before: int
    requests_before: int  # in the last minute


@dataclass(frozen=True, slots=True)
class Limit:
    """One of them. `fields` are those of the key, or of its organisation, by which about so many calls fit.

    `is_used` tells, of what a refusal says and of the rows of 61 seconds before it (CONTRACT 3, rule 7), whether there was
    no room for the call, when nothing was in flight.
    """

    name: str
    codes: frozenset[str]  # with which it refuses
    fields: Callable[[int, Sizes], dict[str, Any]]
    is_used: "Callable[[Limited, Json, Sequence[Any]], bool]"
    of_all: bool = False  # the organisation's
    lasting: bool = True  # calls that have ended count as well


@dataclass(slots=True)
class Limited:
    """A key with all of them, in a round of its own."""

    router: Router
    key: Key
    fields: Json  # of the key
    of_all: Json  # of the organisation

    @property
    def organization_nanos(self) -> int:
        return money.from_usd(self.of_all["spend_limit_usd"])

    @contextmanager
    def watched(self) -> Iterator[Repeat]:
        """Meanwhile no look at the key or at its organisation may find spent and held above the limit."""

        def look() -> None:
            spend = organization_spend(self.router)
            both = money.from_usd(spend["spent_usd"]) + money.from_usd(spend["held_usd"])
            assert both <= self.organization_nanos, f"at {time.time()}: {spend}"

        with limits_are_watched(self.router, [self.key], 0.01) as looks, Repeat(look, 0.01):
            yield looks

    def judge(self, calls: Sequence[Call], everything: Sequence[Any]) -> None:
        """None was passed: of requests and tokens by the ledger's rows, of requests at once by the provider's."""
        mine = [row for row in everything if row.key_id == self.key.id]
        most = most_in_a_minute(mine, everything, lambda _: 1)
        assert most <= self.of_all["rate_limit_rpm"], f"{most} requests of all keys in a minute: {self.of_all}"
        most = most_in_a_minute(mine, mine, lambda _: 1)
        assert most <= self.fields["rate_limit_rpm"], f"{most} requests in a minute: {self.fields}"
        most = most_in_a_minute(mine, mine, tokens_of)
        assert most <= self.fields["rate_limit_tpm"], f"{most} tokens in a minute: {self.fields}"
        most = most_at_once(self.router, calls)
        assert most <= self.fields["max_concurrent_requests"], f"{most} at the provider at once: {self.fields}"


def organization_spend(router: Router) -> Json:
    answer = router.api("GET", "/v1/organization")
    assert answer.status_code == 200, answer.text
    spend: Json = answer.json()["spend"]
    return spend


def tokens_of(row: Any) -> int:
    return int(row.input_tokens + row.output_tokens)


def all_rows(router: Router, keys: Iterable[Key]) -> list[Any]:
    audit = Audit(router)
    try:
        return sorted(audit.rows(keys), key=lambda row: row.admitted_at)
    finally:
        audit.close()


def within(rows: Sequence[Any], before: datetime, seconds: float) -> list[Any]:
    """Rows admitted in so many seconds before a moment."""
    return [row for row in rows if before - timedelta(seconds=seconds) < row.admitted_at <= before]


def most_in_a_minute(ends: Sequence[Any], rows: Sequence[Any], weight: Callable[[Any], int]) -> int:
    """The most that any minute holds which ends with one of these rows; all are in order of their admission."""
    length, most, total, first, last = timedelta(seconds=WINDOW_SECONDS - TOLERANCE_SECONDS), 0, 0, 0, 0
    for end in ends:
        while last < len(rows) and rows[last].admitted_at <= end.admitted_at:
            total += weight(rows[last])
            last += 1
        while rows[first].admitted_at <= end.admitted_at - length:
            total -= weight(rows[first])
            first += 1
        most = max(most, total)
    return most


def most_at_once(router: Router, calls: Iterable[Call]) -> int:
    """Of these calls, as the provider has seen them."""
    names = {call.name for call in calls}
    changes: list[tuple[float, int]] = []
    for attempt in router.invoice()["attempts"]:
        if attempt["marker"].rpartition(" ")[2] in names:
            changes += [(attempt["at"], 1), (attempt["ended_at"], -1)]
    most = now = 0
    for _, change in sorted(changes):  # who ends at the very moment is gone
        now += change
        most = max(most, now)
    return most


def _raised(calls: int, sizes: Sizes) -> dict[str, Any]:
    """Half of it by a raise that runs."""
    half = money.to_usd(calls * sizes.nanos // 2)
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return {"spend_limit_usd": half, "spend_limit_boost_usd": half, "spend_limit_boost_until": until}


def _spend_of_all(calls: int, sizes: Sizes) -> dict[str, Any]:
    return {"spend_limit_usd": money.to_usd(sizes.nanos_before + calls * sizes.nanos)}


def _requests_of_all(calls: int, sizes: Sizes) -> dict[str, Any]:
    return {"rate_limit_rpm": sizes.requests_before + calls}


def _spend_is_used(limited: Limited, facts: Json, _: Sequence[Any]) -> bool:
    spent = money.from_usd(limited.router.key(limited.key.id)["spend"]["spent_usd"])
    return spent + money.from_usd(facts["needed_usd"]) > money.from_usd(str(limited.key.limit_usd))


def _spend_of_all_is_used(limited: Limited, facts: Json, _: Sequence[Any]) -> bool:
    spent = money.from_usd(organization_spend(limited.router)["spent_usd"])
    return spent + money.from_usd(facts["needed_usd"]) > limited.organization_nanos


def _models_are_used(limited: Limited, facts: Json, _: Sequence[Any]) -> bool:
    (limit,) = limited.router.key(limited.key.id)["model_limits"]
    spent, most = money.from_usd(limit["spend"]["spent_usd"]), money.from_usd(limit["spend_limit_usd"])
    return spent + money.from_usd(facts["needed_usd"]) > most


def _requests_are_used(limited: Limited, _: Json, minute: Sequence[Any]) -> bool:
    mine = [row for row in minute if row.key_id == limited.key.id]
    return len(mine) >= int(limited.fields["rate_limit_rpm"])


def _tokens_are_used(limited: Limited, facts: Json, minute: Sequence[Any]) -> bool:
    mine = [row for row in minute if row.key_id == limited.key.id]
    return sum(map(tokens_of, mine)) + int(facts["needed_tokens"]) > int(limited.fields["rate_limit_tpm"])


def _requests_of_all_are_used(limited: Limited, _: Json, minute: Sequence[Any]) -> bool:
    return len(minute) >= int(limited.of_all["rate_limit_rpm"])


LIMITS = (
    Limit("spend, raised", frozenset({"spend_exceeded", "spend_held"}), _raised, _spend_is_used),
    Limit(
        "spend on models",
        frozenset({"model_spend_exceeded", "model_spend_held"}),
        lambda n, of: {"model_limits": of_models("*", usd=money.to_usd(n * of.nanos))},
        _models_are_used,
    ),
    Limit("requests a minute", frozenset({"rate_limited"}), lambda n, _: {"rate_limit_rpm": n}, _requests_are_used),
    Limit(
        "tokens a minute",
        frozenset({"token_rate_limited"}),
        lambda n, of: {"rate_limit_tpm": n * of.tokens},
        _tokens_are_used,
    ),
    Limit(
        "at once",
        frozenset({"too_many_concurrent"}),
        lambda n, _: {"max_concurrent_requests": n},
        lambda *_: False,
        lasting=False,
    ),
    Limit(
        "spend of all keys",
        frozenset({"organization_spend_exceeded", "organization_spend_held"}),
        _spend_of_all,
        _spend_of_all_is_used,
        of_all=True,
    ),
    Limit(
        "requests of all keys",
        frozenset({"organization_rate_limited"}),
        _requests_of_all,
        _requests_of_all_are_used,
        of_all=True,
    ),
)
