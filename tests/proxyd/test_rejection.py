"""Refusals on the wire: when another try is worth it stands in the headers and in the body, in all three dialects."""

from datetime import date
from typing import Any

import orjson
import pytest

from proxyd.gateway.rejection import Rejection, refused, rejected, response
from proxyd.websocket.conversation import openai_error
from shared.counters import SpendHeld, SpendState, TooManyConcurrent
from shared.judgement import LEAST_BOUND
from shared.policy import ERRORS, KeySnapshot, Reason

KEY = KeySnapshot(
    "key_1", "org_1", "app", "sk-proxy-a1b2", False, None, False, frozenset(), (), (), None, None, "daily"
)
SPEND = SpendState(1_000_000_000, 600_000_000, 300_000_000, 100_000_000, date(2026, 11, 24), date(2026, 11, 25))
CURABLE_503 = [reason for reason, spec in ERRORS.items() if spec.status == 503 and spec.retry]
BUSY = rejected(Reason.ROUTER_BUSY, detail="no room")


def told(rejection: Rejection, dialect: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Its headers, and its error without what is around it."""
    answer = response(rejection, dialect, "req_1")
    assert isinstance(answer.body, bytes)
    return {name.decode(): value.decode() for name, value in answer.headers}, orjson.loads(answer.body)["error"]


def waits(rejection: Rejection) -> set[object]:
    """Each wait that is told, in seconds."""
    found: set[object] = set()
    for dialect in ("openai", "anthropic", "gemini"):
        headers, error = told(rejection, dialect)
        found.add(int(headers["retry-after"]))
        if dialect == "gemini":
            info, retry = error["details"]
            found |= {int(info["metadata"]["retry_after_seconds"]), int(retry["retryDelay"].removesuffix("s"))}
            assert retry["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
        else:
            found.add(error["retry_after_seconds"])
    found.add(openai_error(rejection, "req_1")["retry_after_seconds"])
    return found


def test_it_works() -> None:
    assert waits(refused(KEY, TooManyConcurrent(3, 3), lambda _: LEAST_BOUND)) == {1}
    assert waits(refused(KEY, SpendHeld(SPEND, 4), lambda _: LEAST_BOUND)) == {4}


@pytest.mark.parametrize("reason", CURABLE_503)
def test_each_503_that_a_retry_can_cure_says_when(reason: Reason) -> None:
    assert waits(rejected(reason, detail="no room")) == {1}


def test_what_no_wait_cures_names_none() -> None:
    for rejection in (rejected(Reason.PROVIDER_NOT_CONFIGURED, provider="openai"), rejected(Reason.UNKNOWN_ENDPOINT, detail="no")):  # fmt: skip
        headers, error = told(rejection, "gemini")
        assert "retry-after" not in headers
        assert len(error["details"]) == 1
        assert "retry_after_seconds" not in told(rejection, "openai")[1]


def test_the_facts_of_a_refusal_stand_beside_its_wait() -> None:
    assert told(BUSY, "openai")[1]["detail"] == "no room"
    assert BUSY.deny.facts == {"detail": "no room"}, "what a request was refused by is not changed"
