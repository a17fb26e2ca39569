"""Tokens a minute of a key: what a request is charged, which are refused by name, and what is told of it."""

from dataclasses import replace

from msgspec import structs

from shared.counters import RateState, SpendState, TokenRateLimited
from shared.judgement import judge, refused
from shared.policy import Allow, Deny, KeySnapshot, PolicyQuery, Reason, evaluate
from shared.pricing import Bound, Size, TokenBound

NOW = 1_795_521_600.0  # 2026-11-24T12:00:00Z
OPEN = KeySnapshot(
    "key_1", "org_1", "app", "sk-proxy-a1b2", False, None, False, frozenset(), (), (), None, None, "daily"
)
TEXT = Size(1_000)
TOKENS = replace(OPEN, rate_limit_tpm=20_000)


def nobody_asks(*_: object, **__: bool) -> int | None:
    raise AssertionError("what is left of money was asked for")


def nobody_explains(_: SpendState) -> Bound:
    raise AssertionError("a bound in money was asked for")


def judged(key: KeySnapshot, size: Size | None, model: str | None = "gpt-4o", *, free: bool = False) -> Allow | Deny:
    return judge(key, None, "openai", model, size, nobody_asks, None, NOW, free=free)[0]


def charged(key: KeySnapshot, size: Size | None, *, free: bool = False) -> tuple[int | None, int]:
    found = judged(key, size, free=free)
    assert isinstance(found, Allow), found
    return found.charges.rate_limit_tpm, found.charges.bound_tokens


def test_a_key_with_a_limit_of_tokens_is_charged_what_a_request_may_use() -> None:
    assert charged(TOKENS, Size(1_000, output_limit=500)) == (20_000, 1_756)
    assert charged(OPEN, Size(1_000, output_limit=500)) == (None, 0)
    assert charged(TOKENS, Size(1_000, output_limit=500), free=True) == (None, 0)
    assert charged(TOKENS, None, free=True) == (None, 0), "lists and files cost no tokens"


def test_a_smaller_output_limit_is_set_by_either_limit() -> None:
    """Where money has room for more, tokens decide; and the other way round."""
    _, bound_nanos, limit = judge(TOKENS, None, "openai", "gpt-4o", TEXT, nobody_asks, None, NOW, free=False)
    assert limit == 4_096
    assert bound_nanos is not None
    both = replace(TOKENS, spend_limit_nanos=10**9, rate_limit_tpm=10**6)
    for left, expected in ((1_600_000_000, 11_450), (10**12, None)):
        found = judge(both, None, "openai", "gpt-4o", TEXT, lambda *_, left=left, **__: left, None, NOW, free=False)
        assert isinstance(found[0], Allow)
        assert found[2] == expected


def test_what_hides_its_tokens_is_refused_by_name() -> None:
    hidden = structs.replace(TEXT, unpriced="inference_geo", unbounded="background")
    deny = judged(TOKENS, hidden)
    assert isinstance(deny, Deny)
    assert (deny.reason, deny.retry) == (Reason.TOKENS_NOT_BOUNDED, False)
    assert deny.facts == {
        "prefix": "sk-proxy-a1b2",
        "model": "gpt-4o",
        "provider": "openai",
        "unbounded": "background",
        "rate_limit_tpm": 20_000,
    }
    assert "how many tokens background (gpt-4o, openai) uses" in deny.sentence()
    assert "is limited to 20,000 tokens per minute" in deny.sentence()
    assert isinstance(judged(OPEN, hidden), Allow)
    assert isinstance(judged(TOKENS, structs.replace(TEXT, unpriced="inference_geo")), Allow)
    nameless = judged(TOKENS, TEXT, None)
    assert isinstance(nameless, Deny)
    assert "a request without a model" in nameless.sentence()
    assert isinstance(judged(TOKENS, TEXT, "nobody-has-heard-of-it"), Allow), "no price is needed"


def test_a_session_is_refused_for_what_hides_its_tokens_and_not_for_a_price() -> None:
    """Its handshake has no size: what it may bring is told by name."""
    query = PolicyQuery(None, "openai", "gpt-realtime", metered=True, unpriced="input_audio_tokens")
    assert isinstance(evaluate(TOKENS, query, NOW), Allow)
    for bound_nanos in (None, 0):
        live = structs.replace(query, unbounded="a Live session", bound_nanos=bound_nanos)
        assert isinstance(evaluate(TOKENS, live, NOW), Deny), "a bound in money is none of tokens"
    assert isinstance(evaluate(TOKENS, structs.replace(query, model=None, bound_nanos=0), NOW), Allow), (
        "turns name theirs"
    )


def test_an_endpoint_that_is_not_metered_is_refused_where_tokens_are_limited() -> None:
    deny = judged(TOKENS, None)
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.ENDPOINT_NOT_METERED
    assert deny.facts == {"prefix": "sk-proxy-a1b2", "rate_limit_tpm": 20_000}
    assert "is limited to 20,000 tokens per minute" in deny.sentence()


def test_a_refusal_for_tokens_tells_when_and_of_what() -> None:
    result = TokenRateLimited(RateState(20_000, 900, 1_795_521_661), 5_352, 4.2)
    deny = refused(TOKENS, result, nobody_explains, lambda left: TokenBound(1_256, 4_096, max(0, left - 1_256)))
    assert deny.facts == {
        "prefix": "sk-proxy-a1b2",
        "rate_limit_tpm": 20_000,
        "remaining_tokens": 900,
        "needed_tokens": 5_352,
        "resets_at": "2026-11-24T12:01:01Z",
        "bound": {"input": {"tokens": 1_256}, "output": {"tokens": 4_096}},
        "affordable_max_tokens": 0,
        "retry_after_seconds": 5,
    }
    assert deny.retry
    assert deny.sentence() == (
        "The proxy key sk-proxy-a1b2... is limited to 20,000 tokens per minute. Left: 900; this request may need up to "
        "5,352 (1,256 of input, 4,096 of output). It is admitted in 5 s."
    )


def test_what_is_larger_than_the_limit_is_told_that_no_wait_helps() -> None:
    result = TokenRateLimited(RateState(3_000, 900, 1_795_521_661), 5_352, None)
    deny = refused(TOKENS, result, nobody_explains, lambda left: TokenBound(1_256, 4_096, max(0, left - 1_256)))
    assert not deny.retry
    assert "retry_after_seconds" not in deny.facts
    assert deny.sentence().endswith(
        "That is more than the limit, so it is never admitted; with an output limit of 1,744 tokens it fits."
    )
    unread = refused(TOKENS, result, nobody_explains)
    assert unread.sentence().endswith("so it is never admitted. Send less, or have the limit raised.")
