"""What a client is told with each answer of its limits, in the words of rate limits everywhere."""

from datetime import date
from functools import lru_cache

from proxyd.messages import Header
from shared import money, periods
from shared.counters import RateState, SpendState

OF_TOKENS = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")
_LIMIT, _REMAINING, _RESETS = OF_TOKENS


def limits(
    rate: RateState | None, spend: SpendState | None, tokens: RateState | None = None, *, zone: str | None = None
) -> list[Header]:
    """The headers that tell a client what is left of its limits; the period of its money begins in a zone."""
    own: list[Header] = []
    if rate is not None:
        limit, remaining, resets_at = rate
        own = [
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % resets_at),
        ]
    if spend is not None and spend.limit_nanos is not None:
        own.append((b"x-spend-remaining", money.to_usd(spend.remaining_nanos or 0).encode()))
        own += _of_spend_limit(spend.limit_nanos, spend.resets_on, zone)
    if tokens is not None:
        limit, remaining, resets_at = tokens
        own += (
            (_LIMIT, b"%d" % limit),
            (_REMAINING, b"%d" % remaining),
            (_RESETS, b"%d" % resets_at),
        )
    return own


@lru_cache(maxsize=1024)
def _of_spend_limit(limit_nanos: int, resets_on: date | None, zone: str | None) -> tuple[Header, ...]:
    """What stays the same until a key is edited or its period ends."""
    limit = (b"x-spend-limit", money.to_usd(limit_nanos).encode())
    return (limit,) if resets_on is None else (limit, (b"x-spend-reset", b"%d" % periods.begins_at(resets_on, zone)))
