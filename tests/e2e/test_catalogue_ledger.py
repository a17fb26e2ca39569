"""Cases M of the catalogue that need no fault: what one row says, and how many rows there are."""

import pytest
from calls import chat, code, marker, seen, spend_of
from harness import Router
from hurt_kit import settled
from raw_http import chat_request, dial

from shared import money


def bound_of(router: Router, text: str, max_tokens: int = 16) -> int:
    """What a request is held for at most, in nano-dollars, as its refusal tells."""
    _, probe = router.create_key(name="probe", spend_limit_usd="0")
    return money.from_usd(chat(router, probe, text, max_tokens=max_tokens).json()["error"]["needed_usd"])


def test_m05_more_than_was_held_is_posted_in_full_and_flagged(router: Router) -> None:
    text = f"sandbox:overrun {marker()}"
    bound = bound_of(router, text, 1_000)
    key_id, key = router.create_key(name="overrun", spend_limit_usd=money.to_usd(bound))
    assert chat(router, key, text, max_tokens=1_000).status_code == 200
    (row,) = settled(router, key_id, 1)
    (attempt,) = router.attempts(text.split()[1])
    assert row["cost_nanos"] == attempt["cost_nanos"] > bound
    assert "overrun" in row["flags"]
    assert spend_of(router, key_id)["remaining_usd"] == "0.00"
    refused = chat(router, key, "one more")
    assert (refused.status_code, code(refused)) == (403, "spend_exceeded")


def test_m05_what_was_held_too_much_is_free_again(router: Router) -> None:
    text = marker()
    bound = bound_of(router, text)
    key_id, key = router.create_key(name="less", spend_limit_usd=money.to_usd(bound))
    assert chat(router, key, text).status_code == 200
    (row,) = settled(router, key_id, 1)
    assert 0 < row["cost_nanos"] < bound
    assert spend_of(router, key_id)["remaining_usd"] == money.to_usd(bound - row["cost_nanos"])


@pytest.mark.parametrize("change", ["revoke", "pause", "lower"])
def test_m17_m18_what_runs_ends_and_is_paid_whatever_becomes_of_its_key(router: Router, change: str) -> None:
    key_id, key = router.create_key(name=change, spend_limit_usd="1")
    text = marker()
    with dial(router) as line:
        line.send(chat_request(key, f"sandbox:events=30,rate=60 {text}", stream=True, max_tokens=1_000))
        line.head()
        line.chunk()
        if change == "revoke":
            assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
        else:
            router.edit(key_id, **({"paused": True} if change == "pause" else {"spend_limit_usd": "0.000000001"}))
        assert code(chat(router, key)) == {
            "revoke": "key_revoked", "pause": "key_paused", "lower": "spend_exceeded",
        }[change]  # fmt: skip
        while line.chunk():
            pass  # to its own end: one that was cut off raises
    (row,) = settled(router, key_id, 1)
    (attempt,) = router.attempts(text)
    assert (row["outcome"], row["cost_nanos"]) == ("ok", attempt["cost_nanos"])
    spend = spend_of(router, key_id)
    assert money.from_usd(spend["spent_usd"]) == attempt["cost_nanos"]
    assert spend["remaining_usd"] == ("0.00" if change == "lower" else money.to_usd(10**9 - attempt["cost_nanos"]))


def test_m23_two_calls_are_two_rows_whatever_they_are_called(router: Router) -> None:
    key_id, key = router.create_key(name="twice")
    text = marker()
    names = {"Idempotency-Key": "the-same", "X-Request-Id": "the-same"}
    answers = [chat(router, key, text, headers=names) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    rows = settled(router, key_id, 2)
    assert len({row["provider_request_id"] for row in rows}) == seen(router, text) == 2
