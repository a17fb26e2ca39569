"""Where a bound does not fit: whose output limit it is made of, and whether the provider itself counts less input."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxyd.gateway.context import RequestContext
from proxyd.key_cache import KnownKey
from proxyd.providers import Parsed
from shared import pricing
from shared.pricing import SMALLEST_LIMIT

CountTokens = Callable[[RequestContext, KnownKey], int | None]


def limit_is_ours(parsed: Parsed | None) -> bool:
    """Whether the client left it to us how long an answer may get."""
    return parsed is not None and parsed.size.output_limit is None and not parsed.size.output_free


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Before a request is refused for its bound: let the provider count its input, once, where that can help.

    The bytes of a text are three to five times its tokens, and a file that we cannot see counts as a whole context
    window; so what does not fit by our bound often fits in truth. The common path asks nobody.
    """

    count: CountTokens

    def __call__(self, known: KnownKey, context: RequestContext, remaining_nanos: int, now: float) -> bool:
        """True when a count was learned: it stands in the request's size now."""
        parsed, model = context.parsed, context.model
        if parsed is None or model is None or not parsed.size.countable or parsed.size.counted_tokens is not None:
            return False
        least = pricing.bound(
            context.target.provider.slug,
            model,
            replace(parsed.size, counted_tokens=0),
            at=now,
            output_limit=SMALLEST_LIMIT,
            book=known.prices,
        )
        if least is None or least > remaining_nanos:
            return False  # its output alone does not fit
        counted = self.count(context, known)
        if counted is None:
            return False
        parsed.size = replace(parsed.size, counted_tokens=counted)
        return True
