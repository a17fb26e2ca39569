"""Tokens a minute of a key: the most that a request can use of them, and what is told where they do not fit."""

import math

from shared import periods, pricing
from shared.counters import TokenRateLimited
from shared.policy import Deny, Fact, KeySnapshot, Reason
from shared.pricing import PriceBook, Size, TokenBound


def bounded(
    tpm: int, limit: int | None, provider: str, model: str, size: Size, now: float, book: PriceBook | None
) -> tuple[int | None, int | None]:
    """The output limit that we set, if any, and the most tokens that the request can use; None: nobody can tell.

    `limit` is the one that we would set for money's sake; the smaller one holds.
    """
    ours = pricing.fitting_token_limit(provider, model, size, at=now, tokens=tpm, book=book)
    if ours is not None:
        limit = ours if limit is None else min(limit, ours)
    found = pricing.bound_tokens(provider, model, size, at=now, output_limit=limit, book=book)
    return limit, None if found is None else found.total


def refused(key: KeySnapshot, result: TokenRateLimited, bound: TokenBound | None) -> Deny:
    """429, in whole seconds, rounded up; without a wait where none helps. `bound` is what the needed is made of."""
    rate, wait = result.rate, result.retry_after_seconds
    facts: dict[str, Fact] = {
        "prefix": key.prefix,
        "rate_limit_tpm": rate.limit,
        "remaining_tokens": rate.remaining,
        "needed_tokens": result.needed,
        "resets_at": periods.moment_text(rate.resets_at),
    }
    made_of = ""
    fits = None if bound is None else bound.affordable_output_limit
    if bound is not None:
        facts["bound"] = {"input": {"tokens": bound.input}, "output": {"tokens": bound.output}}
        facts["affordable_max_tokens"] = fits
        made_of = f" ({bound.input:,} of input, {bound.output:,} of output)"
    smaller = f"; with an output limit of {fits:,} tokens it fits" if fits else ""
    if wait is not None:
        seconds = facts["retry_after_seconds"] = max(1, math.ceil(wait))
        admitted = f"It is admitted in {seconds} s{smaller and f'{smaller} now'}."
    else:
        admitted = f"That is more than the limit, so it is never admitted{smaller}."
        if not smaller:
            admitted += " Send less, or have the limit raised."
    words = {
        "rate_limit_tpm": f"{rate.limit:,}",
        "remaining_tokens": f"{rate.remaining:,}",
        "needed_tokens": f"{result.needed:,}",
        "made_of": made_of,
        "admitted": admitted,
    }
    return Deny(Reason.TOKEN_RATE_LIMITED, facts, words, final=wait is None)


def left_for(result: TokenRateLimited) -> int:
    """Tokens that a smaller request may have: what is left now, or all of the limit where no wait would help."""
    return result.rate.limit if result.retry_after_seconds is None else result.rate.remaining
