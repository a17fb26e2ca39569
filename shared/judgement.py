"""Whether a request may go out, and what it is told if not: the same for the proxy and for who asks it beforehand.

`judge` is all that comes before the counters; what those answer is worded by `refused`.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from shared import judged_tokens, money, periods, pricing
from shared.bound_words import made_of, part_facts, unit_of
from shared.counters import (
    ModelRefused,
    OrganizationRefused,
    RateLimited,
    Refusal,
    SpendExceeded,
    SpendHeld,
    SpendState,
    TokenRateLimited,
    TooManyConcurrent,
)
from shared.model_limits import ModelLimit, ModelLimits
from shared.organization_limits import OrganizationLimits
from shared.policy import (
    Address,
    Allow,
    Deny,
    Fact,
    KeySnapshot,
    PolicyQuery,
    Reason,
    SpendBoost,
    evaluate,
    is_capped_for,
    limits_for,
    refused_model,
)
from shared.pricing import Bound, BoundPart, BoundParts, PriceBook, Size, TokenBound, Unbounded

CONCURRENT_WAIT_SECONDS = 1  # nobody can tell when a request in flight will end
_NOTHING = BoundPart(0, Decimal(0), 0)
LEAST_BOUND = Bound(1, _NOTHING, _NOTHING, {}, 0)  # of a body that was not read: the least that anything costs


# Yes or no by policy; the most that it can cost, None: the model has no known price; the output limit that we set
# because the client set none and the model's maximum is too dear. Plain, because names would take a request longer.
Judged = tuple[Allow | Deny, int | None, int | None]


class Remaining(Protocol):
    """What is left of a key's spend limit, of its organisation's or of one for models, whichever is least.

    None: nobody knows. `models`: the limits that the request's model counts against. `lately`: it has to have been told
    just now, and not only once; else no question goes out for it.
    """

    def __call__(self, key: KeySnapshot, models: ModelLimits, /, *, lately: bool) -> int | None: ...


def judge(
    key: KeySnapshot,
    client_ip: Address | None,
    provider: str,
    model: str | None,
    size: Size | None,
    remaining_nanos: Remaining,
    book: PriceBook | None,
    now: float,
    *,
    free: bool,
) -> Judged:
    """Bound a request and judge it by its key's rules. `size` is None where it is not metered; `now` in Unix seconds.

    `remaining_nanos` is asked where we may have to set an output limit: that is made of what was told lately, and the
    bound that comes of it is judged by what is true.
    """
    limit = bound_nanos = unpriced = unbounded = tokens = None
    others = False
    if size is not None:
        unpriced, unbounded, others = size.unpriced, size.unbounded, size.other_models
        if model is not None and not free:
            capped = is_capped_for(key, provider, None if others else model) if key.model_limits else key.capped
            parts = pricing.bound_parts(provider, model, size, now, book)
            if capped and size.output_limit is None and not size.output_free:
                limit = _output_limit(key, provider, model, size, remaining_nanos, parts)
            if key.rate_limit_tpm is not None:
                limit, tokens = judged_tokens.bounded(key.rate_limit_tpm, limit, provider, model, size, now, book)
            if not isinstance(parts, Unbounded):
                bound_nanos = parts.nanos(pricing.most_output(provider, model, size, limit))
            elif capped:
                unpriced = parts.what
    query = PolicyQuery(
        client_ip, provider, model, size is not None, free, bound_nanos, unpriced, unbounded, others, tokens
    )
    return evaluate(key, query, now), bound_nanos, limit


def _output_limit(
    key: KeySnapshot, provider: str, model: str, size: Size, left: Remaining, parts: BoundParts | Unbounded
) -> int | None:
    """By what was told at any time most requests need none; one that is set shortens an answer no more than it must."""
    limit, models = None, limits_for(key.model_limits, provider, model)
    for lately in (False, True):
        nanos = left(key, models, lately=lately)
        if nanos is None:
            return None
        limit = pricing.fitting_output_limit(provider, model, size, nanos, parts)
        if limit is None:
            break
    return limit


def explained(
    provider: str,
    model: str | None,
    size: Size,
    remaining_nanos: int,
    output_limit: int | None,
    book: PriceBook | None,
    now: float,
) -> Bound:
    """The bound of a request that has one, with all that it is made of."""
    found = pricing.explain(
        provider, model or "", size, at=now, remaining_nanos=remaining_nanos, output_limit=output_limit, book=book
    )
    assert isinstance(found, Bound)  # noqa: S101 - what is held was bounded
    return found


def nobodys_model(key: KeySnapshot, model: str | None) -> Deny:
    """What is told of a model by which no provider can be chosen. No glob can cover one that nobody serves."""
    if key.allowed_models:
        return refused_model(key, model)
    detail = "model is missing."
    if model is not None:
        detail = f"no provider is known for the model {model}; write the provider before it, such as openai/{model}."
    return Deny(Reason.INVALID_REQUEST, {"detail": detail, "param": "model"})


def not_configured(slug: str, label: str) -> Deny:
    """503: there is no credential of the provider."""
    return Deny(Reason.PROVIDER_NOT_CONFIGURED, {"provider": slug}, {"provider": label})


def refused(
    key: KeySnapshot,
    result: Refusal,
    bound: Callable[[SpendState], Bound],
    tokens: Callable[[int], TokenBound | None] | None = None,
) -> Deny:
    """What the counters have refused, in words. `bound` explains what the request may need, given what is left.

    So does `tokens`; None: it was not read.
    """
    if isinstance(result, TokenRateLimited):
        made_of = None if tokens is None else tokens(judged_tokens.left_for(result))
        return judged_tokens.refused(key, result, made_of)
    if isinstance(result, TooManyConcurrent):
        facts: dict[str, Fact] = {
            "prefix": key.prefix,
            "max_concurrent_requests": result.limit,
            "requests_in_flight": result.in_flight,
            "retry_after_seconds": CONCURRENT_WAIT_SECONDS,
        }
        return Deny(Reason.TOO_MANY_CONCURRENT, facts)
    if isinstance(result, ModelRefused):
        money_deny = spend_refused(key, result.refusal, bound(result.refusal.spend), result.limit)
        return replace(money_deny, reason=_OF_MODEL[money_deny.reason])
    of_organization = isinstance(result, OrganizationRefused)
    refusal = result.refusal if isinstance(result, OrganizationRefused) else result
    if isinstance(refusal, RateLimited):
        deny = rate_limited(key, refusal)
    else:
        deny = spend_refused(key, refusal, bound(refusal.spend), key.organization if of_organization else None)
    return replace(deny, reason=_OF_ORGANIZATION[deny.reason]) if of_organization else deny


# The reason of a key's own limit, and that of the same limit for models, or of all keys together.
_OF_MODEL = {
    Reason.SPEND_EXCEEDED: Reason.MODEL_SPEND_EXCEEDED,
    Reason.SPEND_HELD: Reason.MODEL_SPEND_HELD,
}
_OF_ORGANIZATION = {
    Reason.RATE_LIMITED: Reason.ORGANIZATION_RATE_LIMITED,
    Reason.SPEND_EXCEEDED: Reason.ORGANIZATION_SPEND_EXCEEDED,
    Reason.SPEND_HELD: Reason.ORGANIZATION_SPEND_HELD,
}


def rate_limited(key: KeySnapshot, result: RateLimited) -> Deny:
    """429: in whole seconds, rounded up."""
    facts: dict[str, Fact] = {
        "prefix": key.prefix,
        "rate_limit_rpm": result.rate.limit,
        "remaining_requests": result.rate.remaining,
        "retry_after_seconds": max(1, math.ceil(result.retry_after_seconds)),
        "resets_at": periods.moment_text(result.rate.resets_at),
    }
    return Deny(Reason.RATE_LIMITED, facts)


def spend_refused(
    key: KeySnapshot,
    result: SpendExceeded | SpendHeld,
    bound: Bound,
    other: OrganizationLimits | ModelLimit | None = None,
) -> Deny:
    """403 when it cannot fit in this period; 429 when it may fit once the requests in flight have ended.

    What the request may need is explained: input, output and fees, how many of each at which price. `other`: the limit
    is that of all keys of the organisation, or one for models, which have no raise.
    """
    spend = result.spend
    limit_usd = None if spend.limit_nanos is None else money.to_usd(spend.limit_nanos)
    if other is None:
        spend_reset, boost, limits = key.spend_reset, key.boost, {**limit_facts(key), "limit_usd": limit_usd}
    else:
        spend_reset, boost, limits = other.spend_reset, None, {"spend_limit_usd": limit_usd}
        if isinstance(other, ModelLimit):
            limits["model_limit"] = other.model
    facts: dict[str, Fact] = {
        "prefix": key.prefix,
        **limits,
        "spend_reset": spend_reset,
        "spent_usd": money.to_usd(spend.spent_nanos),
        "held_usd": money.to_usd(spend.held_nanos),
        "remaining_usd": None if spend.remaining_nanos is None else money.to_usd(spend.remaining_nanos),
        "period_start": period_start(spend, key.zone),
        "resets_at": resets_at(spend, key.zone),
        "needed_usd": money.to_usd(bound.nanos),
        "bound": {
            "input": part_facts(bound.input, "tokens"),
            "output": part_facts(bound.output, "tokens"),
            "fees": {name: part_facts(part, unit_of(name)) for name, part in bound.fees.items()},
        },
        "affordable_max_tokens": bound.affordable_output_limit,
    }
    words = {**_spend_words(spend_reset, spend, boost, key.zone), "made_of": made_of(bound)}
    if isinstance(result, SpendExceeded):
        return Deny(Reason.SPEND_EXCEEDED, facts, words)
    return Deny(Reason.SPEND_HELD, {**facts, "retry_after_seconds": result.retry_after_seconds}, words)


def limit_facts(key: KeySnapshot) -> dict[str, str | None]:
    """A key's spend limit as it was set, and the raise of it that runs."""
    limit_nanos, boost = key.own_limit_nanos, key.boost
    return {
        "spend_limit_usd": None if limit_nanos is None else money.to_usd(limit_nanos),
        "spend_limit_boost_usd": None if boost is None else money.to_usd(boost.nanos),
        "spend_limit_boost_until": None if boost is None else periods.moment_text(boost.until),
    }


def period_start(spend: SpendState, zone: str | None) -> str | None:
    """When the current period began, in the zone of its key; None: with the key."""
    start = spend.period_start
    return None if start == periods.FIRST_DAY else periods.moment_text(periods.begins_at(start, zone))


def resets_at(spend: SpendState, zone: str | None) -> str | None:
    """When the current period ends; None: never."""
    return None if spend.resets_on is None else periods.moment_text(periods.begins_at(spend.resets_on, zone))


def _spend_words(spend_reset: str, spend: SpendState, boost: SpendBoost | None, zone: str | None) -> dict[str, str]:
    at = resets_at(spend, zone)
    raised = (
        ""
        if boost is None
        else f", ${money.to_usd(boost.nanos)} of it a raise until {periods.moment_text(boost.until)}"
    )
    return {
        "spend_reset": spend_reset if spend_reset != "never" else "in all",
        "raised": raised,
        "resets": "It never resets." if at is None else f"It resets at {at}.",
    }
