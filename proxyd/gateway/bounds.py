"""Where a bound does not fit: whose output limit it is made of, whether its provider counts less, and what is told."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.limits import Limits
from proxyd.known_key import KnownKey
from proxyd.providers import Parsed
from shared import pricing
from shared.catalog import bare_model
from shared.counters import SpendState
from shared.judgement import explained
from shared.model_limits import ModelLimits
from shared.policy import Deny, KeySnapshot, Reason, limits_for
from shared.pricing import SMALLEST_LIMIT, Bound, Size, TokenBound, holds_a_free_price, may_be_free
from shared.routing import Unified

CountTokens = Callable[[RequestContext, KnownKey], int | None]


def model_limits_for(key: KeySnapshot, context: RequestContext) -> ModelLimits:
    """Those limits of a key that the model of a request counts against."""
    return limits_for(key.model_limits, context.target.provider.slug, context.model)


def limit_is_ours(parsed: Parsed | None) -> bool:
    """Whether the client left it to us how long an answer may get."""
    return parsed is not None and parsed.size.output_limit is None and not parsed.size.output_free


def can_be_free(known: KnownKey, context: RequestContext, route: Target | Unified, now: float) -> bool:
    """Whether a request that was not read may turn out to cost nothing.

    Where its model decides who serves it, that takes a price of the organisation's own: else nobody's large body could
    be refused unread, for the sake of the few models that are given away.
    """
    if isinstance(route, Unified):
        return holds_a_free_price(known.prices)
    slug, model = route.provider.slug, route.path_model or context.model
    return may_be_free(slug, None if model is None else bare_model(slug, model), at=now, book=known.prices)


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Before a request is refused for its bound: let the provider count its input, once, where that can help.

    The bytes of a text are three to five times its tokens, and a file that we cannot see counts as a whole context
    window; so what does not fit by our bound often fits in truth. The common path asks nobody.
    """

    count: CountTokens

    def may_help(self, known: KnownKey, context: RequestContext, deny: Deny, limits: Limits, now: float) -> bool:
        """Whether a request that was refused is to be judged once more."""
        if deny.reason is Reason.TOKEN_RATE_LIMITED:
            left = deny.facts["rate_limit_tpm" if deny.final else "remaining_tokens"]
            return isinstance(left, int) and self.for_tokens(known, context, left, now)
        remaining_nanos = limits.remaining_nanos(known.key, model_limits_for(known.key, context))
        return remaining_nanos is not None and self(known, context, remaining_nanos, now)

    def __call__(self, known: KnownKey, context: RequestContext, remaining_nanos: int, now: float) -> bool:
        """True when a count was learned: it stands in the request's size now."""
        parsed, model = context.parsed, context.model
        if parsed is None or model is None or not _is_countable(parsed):
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
        return self._is_counted(known, context, parsed)

    def for_tokens(self, known: KnownKey, context: RequestContext, left: int, now: float) -> bool:
        """The same where tokens do not fit. True as well where nobody counts and the output limit is ours to set."""
        parsed, model = context.parsed, context.model
        if parsed is None or model is None or not _is_countable(parsed):
            return False
        slug, uncounted = context.target.provider.slug, replace(parsed.size, counted_tokens=0)
        least = pricing.bound_tokens(slug, model, uncounted, at=now, output_limit=SMALLEST_LIMIT, book=known.prices)
        if least is None or least.total > left:
            return False
        if self._is_counted(known, context, parsed):
            return True
        parsed.size = replace(parsed.size, countable=False)
        return limit_is_ours(parsed)

    def _is_counted(self, known: KnownKey, context: RequestContext, parsed: Parsed) -> bool:
        counted = self.count(context, known)
        if counted is None:
            return False
        parsed.size = replace(parsed.size, counted_tokens=counted)
        return True


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request that is refused may need, explained."""

    limits: Limits
    known: KnownKey
    context: RequestContext
    output_limit: int | None  # set by us
    now: float
    row_id: str  # of whose money does not suffice: its key's, its organisation's, or that of a limit for models

    def money(self, spend: SpendState) -> Bound:
        """Given what is left, which is remembered."""
        known, context = self.known, self.context
        self.limits.remember(self.row_id, spend)
        # Of another limit, too, less may be left: what is told to fit has to fit all.
        left = self.limits.remaining_nanos(known.key, model_limits_for(known.key, context))
        left = spend.remaining_nanos or 0 if left is None else left
        slug, size = context.target.provider.slug, self._size()
        return explained(slug, context.model, size, left, self.output_limit, known.prices, self.now)

    def tokens(self, left: int) -> TokenBound | None:
        """Given how many are left."""
        slug, model, book = self.context.target.provider.slug, self.context.model or "", self.known.prices
        return pricing.bound_tokens(
            slug, model, self._size(), at=self.now, left=left, output_limit=self.output_limit, book=book
        )

    def _size(self) -> Size:
        parsed = self.context.parsed
        assert parsed is not None  # noqa: S101 - what is held was bounded, and what is bounded was read
        return parsed.size


def _is_countable(parsed: Parsed) -> bool:
    return parsed.size.countable and parsed.size.counted_tokens is None
