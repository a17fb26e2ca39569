"""What a usage costs: exact, rounded up once, and never negative whatever a provider reports."""

from collections.abc import Mapping

from shared.money import MAX_NANOS
from shared.pricing.rates import FEES, Band, CostSheet, Formula, cost_sheet
from shared.pricing.values import Cost, Usage

MAX_COUNT = 100_000_000  # tokens or calls of one answer; anything above is not a figure but an error
_FORMULAS = 64  # kept of a band


def cost(provider_slug: str, requested_model: str | None, usage: Usage, *, at: float) -> Cost:
    """Price a usage in nano-dollars by the prices of the moment of admission, `at` in Unix seconds.

    The served model decides; when the price table does not know it, the requested one (flag `served_model_unpriced`).
    Other flags: `unpriced` (neither is known, cost 0), `unpriced_tool` (calls of a tool without a price), `estimated`,
    `unknown_class` (figures that nobody here can read, or of a class that is charged by the dearest rate), `clamped`
    (a count that was no sensible number), `inconsistent` (parts that exceed their whole; each part is charged).
    """
    flags: list[str] = []
    tier, speed, served_model = usage.service_tier, usage.speed, usage.model
    sheet = None if served_model is None else cost_sheet(provider_slug, served_model, tier, speed, at)
    if sheet is None and requested_model is not None:
        sheet = cost_sheet(provider_slug, requested_model, tier, speed, at)
        if sheet is not None and served_model is not None:
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
    classes = tuple(counts)
    formula = band.formulas.get(classes) or _formula(band, classes)
    total = 0
    left: list[int] = []
    for key, nanos, within in formula.terms:
        count = counts[key]
        if within:
            for position in within:
                count -= left[position]
            if count < 0:
                count = 0
                if "inconsistent" not in flags:
                    flags.append("inconsistent")
        left.append(count)
        total += count * nanos
    for key, nanos in formula.unknown:
        total += counts[key] * nanos
    if formula.unpriced and any(counts[key] for key in formula.unpriced):
        flags.append("unpriced_tool")
    return total


def _formula(band: Band, classes: tuple[str, ...]) -> Formula:
    """How usages of these classes are summed up. A provider reports the same ones again and again."""
    formula = _compiled(band, classes)
    if len(band.formulas) < _FORMULAS:
        band.formulas[classes] = formula
    return formula


def _compiled(band: Band, classes: tuple[str, ...]) -> Formula:
    """A whole that is not reported is the sum of its parts, so that only reported classes take part."""
    reported = [position for position, rate in enumerate(band.rates) if rate.key in classes]
    places = {position: place for place, position in enumerate(reported)}
    rates = {band.rates[position].key: band.rates[position].nanos for position in reported}
    # What parts of an unknown class cost more than their whole, in whose count they already are.
    more = {
        "unknown_input_tokens": band.unknown_input - rates.get("input_tokens", 0),
        "unknown_output_tokens": band.unknown_output - rates.get("output_tokens", 0),
    }
    return Formula(
        terms=tuple(
            (rate.key, rate.nanos, tuple(places[within] for within in rate.within if within in places))
            for rate in (band.rates[position] for position in reported)
        ),
        unknown=tuple((key, nanos) for key, nanos in more.items() if key in classes),
        unpriced=tuple(FEES & frozenset(classes) - rates.keys()),
    )
