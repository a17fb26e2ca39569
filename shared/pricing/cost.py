"""What a usage costs: exact, rounded up once, and never negative whatever a provider reports."""

from collections.abc import Mapping

from shared.money import MAX_NANOS
from shared.pricing.rates import FEES, Band, CostSheet, cost_sheet
from shared.pricing.values import Cost, Usage

MAX_COUNT = 100_000_000  # tokens or calls of one answer; anything above is not a figure but an error


def cost(provider_slug: str, requested_model: str | None, usage: Usage, *, at: float) -> Cost:
    """Price a usage in nano-dollars by the prices of the moment of admission, `at` in Unix seconds.

    The served model decides; when the price table does not know it, the requested one (flag `served_model_unpriced`).
    Other flags: `unpriced` (neither is known, cost 0), `unpriced_tool` (calls of a tool without a price), `estimated`,
    `unknown_class` (figures that nobody here can read, or of a class that is charged by the dearest rate), `clamped`
    (a count that was no sensible number), `inconsistent` (parts that exceed their whole; each part is charged).
    """
    flags: list[str] = []
    sheet = _sheet(provider_slug, usage.model, usage, at)
    if sheet is None:
        sheet = _sheet(provider_slug, requested_model, usage, at)
        if sheet is not None and usage.model is not None:
            flags.append("served_model_unpriced")
    if usage.estimated:
        flags.append("estimated")
    if usage.unknown:
        flags.append("unknown_class")
    if sheet is None:
        return Cost(0, None, ("unpriced", *flags))
    counts = usage.counts
    for value in counts.values():
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            counts = {key: _clamp(count) for key, count in counts.items()}
            flags.append("clamped")
            break
    bands = sheet.bands
    band = bands[0] if len(bands) == 1 else _band(sheet, counts.get("input_tokens", 0))
    total = _sum(band, counts, flags)
    return Cost(min(-(-total // sheet.scale), MAX_NANOS), band.price, tuple(flags))


def _sheet(provider_slug: str, model: str | None, usage: Usage, at: float) -> CostSheet | None:
    return None if model is None else cost_sheet(provider_slug, model, usage.service_tier, usage.speed, at)


def _clamp(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return min(max(value, 0), MAX_COUNT)


def _band(sheet: CostSheet, input_tokens: int) -> Band:
    bands = sheet.bands
    chosen = bands[0]
    for band in bands[1:]:
        if input_tokens > band.over:
            chosen = band
    return chosen


def _sum(band: Band, counts: Mapping[str, int], flags: list[str]) -> int:
    """The cost over the sheet's scale. A class is charged for what its narrower classes leave of it."""
    total = 0
    left: list[int] = []
    rates: dict[str, int] = {}
    priced = len(counts)
    for rate in band.rates:
        count = counts.get(rate.key)
        if count is None:
            left.append(0)  # a whole that is not reported is the sum of its parts
            continue
        priced -= 1
        for position in rate.within:
            count -= left[position]
        if count < 0:
            count = 0
            if "inconsistent" not in flags:
                flags.append("inconsistent")
        left.append(count)
        rates[rate.key] = rate.nanos
        total += count * rate.nanos
    if priced:  # some count has no rate of its own: mostly details of a class, which cost what the class costs
        total += _unknown(band, counts, rates)
        if any(counts[key] for key in FEES & counts.keys() - rates.keys()):
            flags.append("unpriced_tool")
    return total


def _unknown(band: Band, counts: Mapping[str, int], rates: Mapping[str, int]) -> int:
    """What parts of an unknown class cost more than their whole, in whose count they already are."""
    more_in = band.unknown_input - rates.get("input_tokens", 0)
    more_out = band.unknown_output - rates.get("output_tokens", 0)
    return counts.get("unknown_input_tokens", 0) * more_in + counts.get("unknown_output_tokens", 0) * more_out
