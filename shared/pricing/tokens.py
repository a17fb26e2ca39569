"""What a request can use of tokens at most: the same figures from which its bound in money is made, without a price."""

from typing import NamedTuple

from shared.money import MAX_NANOS
from shared.output_limits import accepted_limit
from shared.pricing.bound import MINIMUM_LIMIT, SHARE, SMALLEST_LIMIT, most_input, most_of_model, most_output
from shared.pricing.own import PriceBook
from shared.pricing.rates import bound_sheet, own_price
from shared.pricing.values import Size


class TokenBound(NamedTuple):
    """Of what a bound in tokens is made."""

    input: int
    output: int  # over all choices
    affordable_output_limit: int | None  # that fits what is left; 0: none does; None: there is none that could be set

    @property
    def total(self) -> int:
        return min(self.input + self.output, MAX_NANOS)


def bound_tokens(
    provider_slug: str,
    model: str,
    size: Size,
    *,
    at: float,
    left: int | None = None,
    output_limit: int | None = None,
    book: PriceBook | None = None,
) -> TokenBound | None:
    """The most tokens that a request can use, and the output limit with which it fits into `left`, if that is given.

    `at`: Unix seconds. Output is bounded as in `bound`. None: it cannot be bounded; the size names the feature.
    """
    if size.unbounded is not None:
        return None
    context_tokens = None
    if size.context_inputs or size.separate_windows:
        own = None if book is None else own_price(book, provider_slug, model)
        sheet = bound_sheet(provider_slug, model, size.service_tier, size.speed, at, own, size.region)
        context_tokens = None if sheet is None else sheet.context_tokens
    text, media = most_input(provider_slug, model, size, context_tokens)
    given = text + media
    if size.output_free:
        return TokenBound(given, 0, None)
    output = most_output(provider_slug, model, size, output_limit) * size.choices + size.extra_output_tokens
    affordable = None
    if left is not None and not size.output_fixed:
        fits = (left - given - size.extra_output_tokens) // size.choices
        affordable = min(max(0, fits), most_of_model(provider_slug, model, size))
    return TokenBound(given, output, affordable)


def fitting_token_limit(
    provider_slug: str, model: str, size: Size, *, at: float, tokens: int, book: PriceBook | None = None
) -> int | None:
    """The output limit that the router has to set for a request to fit a limit of `tokens` a minute.

    None: it need not, or must not. As `fitting_output_limit` does it for money, but by the limit and not by what is
    left of it: that is free again within a minute, and no answer is to be cut short for what happens to be left now.
    """
    if size.output_limit is not None or size.output_free:
        return None
    share = bound_tokens(provider_slug, model, size, at=at, left=tokens // SHARE, book=book)
    if share is None or share.total <= tokens // SHARE:
        return None
    whole = bound_tokens(provider_slug, model, size, at=at, left=tokens, book=book)
    accepted = accepted_limit(provider_slug, model)
    least = min(MINIMUM_LIMIT, most_of_model(provider_slug, model, size), accepted)
    in_the_share, in_all = share.affordable_output_limit or 0, (whole and whole.affordable_output_limit) or 0
    if in_the_share >= least:
        return min(in_the_share, accepted)
    if in_all >= least:
        return least
    # Bytes are three to five times the tokens: who can be asked for those is, before an answer is cut so short.
    can_be_counted = size.countable and size.counted_tokens is None
    return in_all if in_all >= SMALLEST_LIMIT and not can_be_counted else least
