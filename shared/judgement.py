"""Whether a request may go out, and what it is told if not: the same for the proxy and for who asks it beforehand.

`judge` is all that comes before the counters; what those answer is worded by `refused`.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from shared import judged_tokens, money, periods, pricing
from shared.counters import (
    OrganizationRefused,
    RateLimited,
    Refusal,
    SpendExceeded,
    SpendHeld,
    SpendState,
    TokenRateLimited,
    TooManyConcurrent,
)
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
    refused_model,
)
from shared.pricing import Bound, BoundPart, PriceBook, Size, TokenBound, Unbounded

CONCURRENT_WAIT_SECONDS = 1  # nobody can tell when a request in flight will end
_NOTHING = BoundPart(0, Decimal(0), 0)
LEAST_BOUND = Bound(1, _NOTHING, _NOTHING, {}, 0)  # of a body that was not read: the least that anything costs


# Yes or no by policy; the most that it can cost, None: the model has no known price; the output limit that we set
# because the client set none and the model's maximum is too dear. Plain, because names would take a request longer.
Judged = tuple[Allow | Deny, int | None, int | None]


class Remaining(Protocol):
    """What is left of a key's spend limit, or of its organisation's if that is less; None: nobody knows.

    `lately`: it has to have been told just now, and not only once; else no question goes out for it.
    """

    def __call__(self, key: KeySnapshot, /, *, lately: bool) -> int | None: ...


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
    if size is not None:
        unpriced, unbounded = size.unpriced, size.unbounded
        if model is not None and not free:
            capped = key.capped
            if capped and size.output_limit is None and not size.output_free:
                limit = _output_limit(key, provider, model, size, remaining_nanos, book, now)
            if key.rate_limit_tpm is not None:
                limit, tokens = judged_tokens.bounded(key.rate_limit_tpm, limit, provider, model, size, now, book)
            bound_nanos = pricing.bound(provider, model, size, at=now, output_limit=limit, book=book)
            if bound_nanos is None and capped:
                unpriced = _why_unbounded(provider, model, size, now, book)
    query = PolicyQuery(client_ip, provider, model, size is not None, free, bound_nanos, unpriced, unbounded, tokens)
    return evaluate(key, query, now), bound_nanos, limit


def _output_limit(
    key: KeySnapshot, provider: str, model: str, size: Size, left: Remaining, book: PriceBook | None, now: float
) -> int | None:
    """By what was told at any time most requests need none; one that is set shortens an answer no more than it must."""
    limit = None
    for lately in (False, True):
        nanos = left(key, lately=lately)
        if nanos is None:
            return None
        limit = pricing.fitting_output_limit(provider, model, size, at=now, remaining_nanos=nanos, book=book)
        if limit is None:
            break
    return limit


def _why_unbounded(provider: str, model: str, size: Size, now: float, book: PriceBook | None) -> str | None:
    """The feature or the class that has no price; None: the model has none."""
    found = pricing.explain(provider, model, size, at=now, remaining_nanos=0, book=book)
    return found.what if isinstance(found, Unbounded) else None


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
    of_organization = isinstance(result, OrganizationRefused)
    refusal = result.refusal if isinstance(result, OrganizationRefused) else result
    if isinstance(refusal, RateLimited):
        deny = rate_limited(key, refusal)
    else:
        deny = spend_refused(key, refusal, bound(refusal.spend), key.organization if of_organization else None)
    return replace(deny, reason=_OF_ORGANIZATION[deny.reason]) if of_organization else deny


# The reason of a key's own limit, and that of the same limit of all keys together.
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
    key: KeySnapshot, result: SpendExceeded | SpendHeld, bound: Bound, together: OrganizationLimits | None = None
) -> Deny:
    """403 when it cannot fit in this period; 429 when it may fit once the requests in flight have ended.

    What the request may need is explained: input, output and fees, how many of each at which price. `together`: the
    limit is that of all keys of the organisation, which has no raise.
    """
    spend = result.spend
    limit_usd = None if spend.limit_nanos is None else money.to_usd(spend.limit_nanos)
    if together is None:
        spend_reset, boost, limits = key.spend_reset, key.boost, {**limit_facts(key), "limit_usd": limit_usd}
    else:
        spend_reset, boost, limits = together.spend_reset, None, {"spend_limit_usd": limit_usd}
    facts: dict[str, Fact] = {
        "prefix": key.prefix,
        **limits,
        "spend_reset": spend_reset,
        "spent_usd": money.to_usd(spend.spent_nanos),
        "held_usd": money.to_usd(spend.held_nanos),
        "remaining_usd": None if spend.remaining_nanos is None else money.to_usd(spend.remaining_nanos),
        "period_start": period_start(spend),
        "resets_at": resets_at(spend),
        "needed_usd": money.to_usd(bound.nanos),
        "bound": {
            "input": _part_facts(bound.input, "tokens"),
            "output": _part_facts(bound.output, "tokens"),
            "fees": {name: _part_facts(part, _UNITS.get(name, "calls")) for name, part in bound.fees.items()},
        },
        "affordable_max_tokens": bound.affordable_output_limit,
    }
    words = {**_spend_words(spend_reset, spend, boost), "made_of": _made_of(bound)}
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


def period_start(spend: SpendState) -> str | None:
    """When the current period began; None: with the key."""
    return None if spend.period_start == periods.FIRST_DAY else f"{spend.period_start.isoformat()}T00:00:00Z"


def resets_at(spend: SpendState) -> str | None:
    """When the current period ends; None: never."""
    return None if spend.resets_on is None else f"{spend.resets_on.isoformat()}T00:00:00Z"


# What fees are for that are no calls of a tool, by usage key.
_UNITS = {"audio_seconds": "seconds", "input_characters": "characters", "image_generations": "images"}


def _part_facts(part: BoundPart, unit: str) -> dict[str, Fact]:
    million = 1_000_000 if unit == "tokens" else 1_000
    price = f"usd_per_{'million' if unit == 'tokens' else 'thousand'}"
    return {unit: part.units, price: _decimal(part.usd_per_unit * million), "usd": money.to_usd(part.nanos)}


def _spend_words(spend_reset: str, spend: SpendState, boost: SpendBoost | None) -> dict[str, str]:
    at = resets_at(spend)
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


def _made_of(bound: Bound) -> str:
    """Of what a bound is made, for people, and what would fit."""
    told = [
        f"{part.units:,} tokens of {name} at ${_decimal(part.usd_per_unit * 1_000_000)} a million"
        for name, part in (("input", bound.input), ("output", bound.output))
        if part.units
    ]
    told += [
        f"{part.units:,} {name.replace('_', ' ')} at ${_decimal(part.usd_per_unit * 1_000)} a thousand"
        for name, part in bound.fees.items()
        if part.units
    ]
    fits = bound.affordable_output_limit
    ends = "" if not fits else f"; with an output limit of {fits:,} tokens it fits"
    return f" ({', '.join(told)}{ends})" if told else ""


def _decimal(value: Decimal) -> str:
    return format(value.normalize(), "f")
