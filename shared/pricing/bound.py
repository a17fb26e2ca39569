"""What a request can cost at most, before it is sent.

Nobody can count tokens of every model exactly, so everything here errs upwards: a token of text has at least one
byte; an image, a piece of audio and everything that we cannot see has a ceiling; the dearest price that can apply is
taken. Input of which we cannot see the size (files by reference, server-side state, results of server-side tools)
counts as a whole context window. A well-behaved provider never bills more, and what it bills less is freed at the end.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from shared.money import MAX_NANOS
from shared.output_limits import UNKNOWN_MODEL, accepted_limit, output_maximum
from shared.pricing.own import PriceBook
from shared.pricing.rates import bound_sheet, own_price
from shared.pricing.sheets import BoundSheet, Ceiling
from shared.pricing.values import Size

# Most tokens that one image is billed as. OpenAI: 10,000 patches at a multiplier of up to 2.46, and gpt-4o-mini's
# 2,833 + 8 x 5,667; Anthropic: 4,784 for its high-resolution models; Gemini: 258 for each tile of 768 pixels.
IMAGE_TOKENS = {"openai": 25_000, "anthropic": 8_192, "gemini": 16_384}
IMAGE_TOKENS_4O_MINI = 50_000
MOST_IMAGE_TOKENS = IMAGE_TOKENS_4O_MINI  # of any other provider, where a model may be any under a name of its own
CONTEXT_TOKENS = 1_048_576  # of a model whose context window the price table does not tell

# What a provider's counter may be wrong by. Anthropic calls its count an estimate from which the real one may differ by
# a small amount (https://platform.claude.com/docs/en/build-with-claude/token-counting); the others call theirs exact.
COUNT_MARGIN_PERCENT = 5
COUNT_MARGIN_TOKENS = 64

MINIMUM_LIMIT = 4_096  # the least that the router sets as output limit while that still fits
SMALLEST_LIMIT = 16  # OpenAI refuses less
SHARE = 8  # one request without a limit of its own may take this fraction of what remains


def bound(
    provider_slug: str,
    model: str,
    size: Size,
    *,
    at: float,
    output_limit: int | None = None,
    book: PriceBook | None = None,
) -> int | None:
    """The most that a request can cost in nano-dollars, by the prices of `at` (Unix seconds).

    Output is bounded by the client's own limit, else by `output_limit` (what the router sets), else by the model's
    maximum. None: it cannot be bounded; `explain` tells why.
    """
    parts = bound_parts(provider_slug, model, size, at, book)
    if isinstance(parts, Unbounded):
        return None
    return parts.nanos(most_output(provider_slug, model, size, output_limit))


class Unbounded(NamedTuple):
    """Why a request has no bound. `what` is the feature or the class of tokens; None: the model has no price."""

    what: str | None


class BoundPart(NamedTuple):
    """One of the things that a bound is made of: how many at most, and what they cost."""

    units: int
    usd_per_unit: Decimal
    nanos: int


class Bound(Struct, frozen=True):
    """A bound, explained."""

    nanos: int
    input: BoundPart  # tokens; the price is that of the dearest class that may stand in it
    output: BoundPart  # tokens, over all choices
    fees: dict[str, BoundPart]  # usage key -> calls, or what else is no token
    affordable_output_limit: int | None  # that fits what remains; 0: none does; None: there is none that could be set


def explain(
    provider_slug: str,
    model: str,
    size: Size,
    *,
    at: float,
    remaining_nanos: int,
    output_limit: int | None = None,
    book: PriceBook | None = None,
) -> Bound | Unbounded:
    """The same bound with all that it is made of. For whoever is refused: it takes longer."""
    parts = bound_parts(provider_slug, model, size, at, book)
    if isinstance(parts, Unbounded):
        return parts
    limit = most_output(provider_slug, model, size, output_limit)
    per_output = parts.per_output_token // size.choices
    fees = {
        key: _part(calls, parts.fees[key], parts.scale) for key, calls in size.tool_fees.items() if key in parts.fees
    }
    affordable = None
    if parts.per_output_token and not size.output_fixed:
        affordable = min(max(0, parts.fitting(remaining_nanos)), most_of_model(provider_slug, model, size))
    return Bound(
        nanos=parts.nanos(limit),
        input=_part(parts.input_tokens, parts.per_input_token, parts.scale),
        output=_part(
            0 if size.output_free else limit * size.choices + size.extra_output_tokens, per_output, parts.scale
        ),
        fees=fees,
        affordable_output_limit=affordable,
    )


def _part(units: int, nanos: int, scale: int) -> BoundPart:
    each = Decimal(nanos) / scale / 1_000_000_000
    return BoundPart(units, each.normalize(), min(-(-units * nanos // scale), MAX_NANOS))


def fitting_output_limit(
    provider_slug: str, model: str, size: Size, remaining_nanos: int, parts: "BoundParts | Unbounded"
) -> int | None:
    """The output limit in tokens that the router has to set, or None when it need not or must not set one.

    `parts`: what `bound_parts` told of the request. None: the client set a limit itself, nothing is billed for output,
    the price is unknown, or the model's maximum fits into an eighth of what remains. Otherwise the largest limit whose
    bound fits into that eighth, but not less than 4,096 (or what the provider takes, if that is less) while that fits
    into what remains, and not more than the provider is known to take. When not even 16 tokens fit into the eighth and
    4,096 not into the whole, the answer is those 4,096: the request is then refused, and the refusal tells what it
    would have needed.
    """
    if size.output_limit is not None or size.output_free:
        return None
    maximum = most_of_model(provider_slug, model, size)
    if isinstance(parts, Unbounded) or parts.per_output_token == 0:
        return None
    if parts.nanos(maximum) <= remaining_nanos // SHARE:
        return None
    accepted = accepted_limit(provider_slug, model)
    least = min(MINIMUM_LIMIT, maximum, accepted)
    in_the_share = parts.fitting(remaining_nanos // SHARE)
    if in_the_share >= least or (SMALLEST_LIMIT <= in_the_share < least and parts.nanos(least) > remaining_nanos):
        return min(in_the_share, accepted)
    return least


class BoundParts(Struct, frozen=True):
    """A bound as a function of the output limit, over a common scale."""

    scale: int
    fixed: int
    per_output_token: int  # of all choices
    input_tokens: int
    per_input_token: int
    fees: Mapping[str, int]

    def nanos(self, output_tokens: int) -> int:
        return min(-(-(self.fixed + output_tokens * self.per_output_token) // self.scale), MAX_NANOS)

    def fitting(self, budget_nanos: int) -> int:
        """The most output tokens whose bound is within a budget; negative when the input alone is not."""
        return (budget_nanos * self.scale - self.fixed) // self.per_output_token


def bound_parts(
    provider_slug: str, model: str, size: Size, at: float, book: PriceBook | None
) -> BoundParts | Unbounded:
    """What a bound is made of, whatever the output limit is."""
    own = None if book is None else own_price(book, provider_slug, model)
    sheet = bound_sheet(provider_slug, model, size.service_tier, size.speed, at, own, size.region)
    if sheet is None:
        return Unbounded(None)
    if size.unpriced is not None:
        return Unbounded(size.unpriced)
    if sheet.untold is not None:
        return Unbounded(sheet.untold)
    if size.text_bytes and not sheet.has_input:
        return Unbounded("input_tokens")
    if not (size.output_free or sheet.has_output):
        return Unbounded("output_tokens")
    if size.classes:
        for key in size.classes:
            if key in sheet.unrated:
                return Unbounded(key)
    text_tokens, media_tokens = most_input(provider_slug, model, size, sheet.context_tokens)
    ceilings = sheet.ceilings
    ceiling = ceilings[0] if len(ceilings) == 1 else _ceiling(sheet, text_tokens + media_tokens)
    text, media = ceiling.text, ceiling.media
    if size.cache_writes:
        text, media = ceiling.written_text, ceiling.written_media
        if not size.lasting_writes:
            text, media = ceiling.briefly_written_text, ceiling.briefly_written_media
    fixed = text_tokens * text + media_tokens * media
    for key, calls in size.tool_fees.items():
        fee = ceiling.fees.get(key)
        if fee is None:
            return Unbounded(key)
        fixed += calls * fee
    output = 0 if size.output_free else ceiling.output
    return BoundParts(
        sheet.scale,
        fixed + size.extra_output_tokens * output,
        output * size.choices,
        text_tokens + media_tokens,
        media if media_tokens else text,
        ceiling.fees,
    )


def most_input(provider_slug: str, model: str, size: Size, context_tokens: int | None) -> tuple[int, int]:
    """The most tokens of text, and of what may be anything, that a request's input can have.

    `context_tokens`: the model's context window; None: nobody tells it.
    """
    if size.counted_tokens is not None:
        counted = size.counted_tokens + size.counted_tokens * COUNT_MARGIN_PERCENT // 100 + COUNT_MARGIN_TOKENS
        return (0, counted) if size.image_parts or size.audio_tokens or size.context_inputs else (counted, 0)
    text_tokens = size.text_bytes + size.overhead_tokens
    media_tokens = size.audio_tokens
    if size.image_parts:
        media_tokens += size.image_parts * _image_tokens(provider_slug, model)
    if size.separate_windows:
        media_tokens += size.separate_windows * (context_tokens or CONTEXT_TOKENS)
    if size.context_inputs:
        # Text has three to five bytes a token, so that its bytes leave no less room for what cannot be seen.
        window = context_tokens or CONTEXT_TOKENS
        return max(0, text_tokens + media_tokens - window), window
    return text_tokens, media_tokens


def _ceiling(sheet: BoundSheet, input_tokens: int) -> Ceiling:
    chosen = sheet.ceilings[0]
    for ceiling in sheet.ceilings[1:]:
        if input_tokens > ceiling.over:
            chosen = ceiling
    return chosen


def most_output(provider_slug: str, model: str, size: Size, output_limit: int | None) -> int:
    """The output tokens of one choice at most: by the client's limit, else by ours, else by the model."""
    if size.output_limit is not None:
        return size.output_limit
    return most_of_model(provider_slug, model, size) if output_limit is None else output_limit


def most_of_model(provider_slug: str, model: str, size: Size) -> int:
    """The output tokens of one choice at most where the client set no limit: by what is sent, else by the model."""
    if size.output_default is not None:
        return size.output_default
    maximum = output_maximum(provider_slug, model)
    return UNKNOWN_MODEL if maximum is None else maximum


def _image_tokens(provider_slug: str, model: str) -> int:
    return IMAGE_TOKENS_4O_MINI if "4o-mini" in model else IMAGE_TOKENS.get(provider_slug, MOST_IMAGE_TOKENS)
