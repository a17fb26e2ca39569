"""What a request can cost at most, before it is sent.

Nobody can count tokens of every model exactly, so everything here errs upwards: a token of text has at least one
byte; an image, a piece of audio and everything that we cannot see has a ceiling; the dearest price that can apply is
taken. Input of which we cannot see the size (files by reference, server-side state, results of server-side tools)
counts as a whole context window. A well-behaved provider never bills more, and what it bills less is freed at the end.
"""

from dataclasses import dataclass

from shared.money import MAX_NANOS
from shared.output_limits import UNKNOWN_MODEL, output_maximum
from shared.pricing.rates import BoundSheet, Ceiling, bound_sheet
from shared.pricing.values import Size

# Most tokens that one image is billed as. OpenAI: 10,000 patches at a multiplier of up to 2.46, and gpt-4o-mini's
# 2,833 + 8 x 5,667; Anthropic: 4,784 for its high-resolution models; Gemini: 258 for each tile of 768 pixels.
IMAGE_TOKENS = {"openai": 25_000, "anthropic": 8_192, "gemini": 16_384}
IMAGE_TOKENS_4O_MINI = 50_000
CONTEXT_TOKENS = 1_048_576  # of a model whose context window the price table does not tell

MINIMUM_LIMIT = 4_096  # the least that the router sets as output limit while that still fits
SMALLEST_LIMIT = 16  # OpenAI refuses less
SHARE = 8  # one request without a limit of its own may take this fraction of what remains


def bound(provider_slug: str, model: str, size: Size, *, at: float, output_limit: int | None = None) -> int | None:
    """The most that a request can cost in nano-dollars, by the prices of `at` (Unix seconds).

    Output is bounded by the client's own limit, else by `output_limit` (what the router sets), else by the model's
    maximum. None: the model has no known price, or the request uses something whose cost cannot be bounded.
    """
    parts = _parts(provider_slug, model, size, at)
    if parts is None:
        return None
    limit = size.output_limit
    if limit is None:
        limit = output_limit if output_limit is not None else _maximum(provider_slug, model)
    return parts.nanos(limit)


def fitting_output_limit(provider_slug: str, model: str, size: Size, *, at: float, remaining_nanos: int) -> int | None:
    """The output limit in tokens that the router has to set, or None when it need not or must not set one.

    None: the client set a limit itself, nothing is billed for output, the price is unknown, or the model's maximum
    fits into an eighth of what remains. Otherwise the largest limit whose bound fits into that eighth, but not less
    than 4,096 (or the model's maximum, if that is smaller) while that fits into what remains. When not even 16 tokens
    fit into the eighth and 4,096 not into the whole, the answer is those 4,096: the request is then refused, and the
    refusal tells what it would have needed.
    """
    if size.output_limit is not None or size.output_free:
        return None
    parts = _parts(provider_slug, model, size, at)
    maximum = _maximum(provider_slug, model)
    if parts is None or parts.per_output_token == 0 or parts.nanos(maximum) <= remaining_nanos // SHARE:
        return None
    least = min(MINIMUM_LIMIT, maximum)
    in_the_share = parts.fitting(remaining_nanos // SHARE)
    if in_the_share >= least or (SMALLEST_LIMIT <= in_the_share < least and parts.nanos(least) > remaining_nanos):
        return in_the_share
    return least


@dataclass(slots=True)  # not frozen: that would double what making one costs, once a request
class _Parts:
    """A bound as a function of the output limit, over a common scale."""

    scale: int
    fixed: int
    per_output_token: int

    def nanos(self, output_tokens: int) -> int:
        return min(-(-(self.fixed + output_tokens * self.per_output_token) // self.scale), MAX_NANOS)

    def fitting(self, budget_nanos: int) -> int:
        """The most output tokens whose bound is within a budget; negative when the input alone is not."""
        return (budget_nanos * self.scale - self.fixed) // self.per_output_token


def _parts(provider_slug: str, model: str, size: Size, at: float) -> _Parts | None:
    sheet = bound_sheet(provider_slug, model, size.service_tier, size.speed, at)
    if sheet is None or size.unpriced is not None:
        return None
    if not (size.output_free or sheet.has_output):
        return None
    text_tokens = size.text_bytes + size.overhead_tokens
    media_tokens = size.audio_tokens
    if size.image_parts:
        media_tokens += size.image_parts * _image_tokens(provider_slug, model)
    if size.context_inputs:
        media_tokens += max(0, (sheet.context_tokens or CONTEXT_TOKENS) - text_tokens - media_tokens)
    ceilings = sheet.ceilings
    ceiling = ceilings[0] if len(ceilings) == 1 else _ceiling(sheet, text_tokens + media_tokens)
    if size.cache_writes:
        fixed = text_tokens * ceiling.written_text + media_tokens * ceiling.written_media
    else:
        fixed = text_tokens * ceiling.text + media_tokens * ceiling.media
    for key, calls in size.tool_fees.items():
        fee = ceiling.fees.get(key)
        if fee is None:
            return None
        fixed += calls * fee
    if size.output_free:
        return _Parts(sheet.scale, fixed, 0)
    fixed += size.extra_output_tokens * ceiling.output
    return _Parts(sheet.scale, fixed, ceiling.output * size.choices)


def _ceiling(sheet: BoundSheet, input_tokens: int) -> Ceiling:
    chosen = sheet.ceilings[0]
    for ceiling in sheet.ceilings[1:]:
        if input_tokens > ceiling.over:
            chosen = ceiling
    return chosen


def _maximum(provider_slug: str, model: str) -> int:
    maximum = output_maximum(provider_slug, model)
    return UNKNOWN_MODEL if maximum is None else maximum


def _image_tokens(provider_slug: str, model: str) -> int:
    return IMAGE_TOKENS_4O_MINI if "4o-mini" in model else IMAGE_TOKENS[provider_slug]
