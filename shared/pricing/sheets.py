"""What a model costs, compiled: whole numbers over one denominator."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from shared.pricing.classes import dimensions_of
from shared.pricing.values import Price


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit of a class: `nanos` over the sheet's scale."""

    key: str  # usage key
    nanos: int


@dataclass(frozen=True, slots=True)
class Formula:
    """What a usage that reports certain classes costs in a band, over the sheet's scale."""

    terms: tuple[tuple[str, int, tuple[int, ...]], ...]  # usage key, nanos, places of the terms in its count
    unknown: tuple[tuple[str, int], ...]  # usage key of what nobody knows, and what it costs beside its whole
    unknown_beside_them: tuple[tuple[str, int], ...]  # the same, where another rate stands in for a class
    unpriced: tuple[str, ...]  # usage keys of fees that have no price
    unrated: tuple[str, ...]  # usage keys that another rate stands in for
    standing_in: Price | None  # the price with those rates; None: there are none


@dataclass(frozen=True, slots=True)
class Band:
    """Rates while the input is above `over` tokens (and not above the next band). Narrow classes come first."""

    over: int
    rates: tuple[Rate, ...]
    unrated: frozenset[str]  # usage keys that would need a rate of their own
    prices_id: str
    price: Price
    # By the classes that a usage reports, kept by `cost.py`: a memo, which says nothing that the rates do not.
    formulas: dict[tuple[str, ...], Formula] = field(init=False, default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CostSheet:
    """What a model's classes cost on a day, in one service tier."""

    scale: int
    bands: tuple[Band, ...]
    untold: bool = False  # whether its tier, speed or region has a price that nobody here knows


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The dearest rates that a request can meet whose input ends in this band, over the sheet's scale."""

    over: int
    text: int
    media: int
    written_text: int  # the same two, when input may be written to a cache
    written_media: int
    briefly_written_text: int  # the same two, when none of it is written for an hour
    briefly_written_media: int
    output: int
    fees: Mapping[str, int]  # usage key -> one of what is no token: a call, a second of sound, a character


@dataclass(frozen=True, slots=True)
class BoundSheet:
    """What a request to a model can cost at most on a day, in any service tier that it may be served in."""

    scale: int
    ceilings: tuple[Ceiling, ...]
    has_input: bool  # whether tokens of text have a price
    has_output: bool
    context_tokens: int | None
    unrated: frozenset[str]  # usage keys whose cost nobody can bound
    untold: str | None  # the tier, speed or region that was asked for and has a price that nobody here knows


def narrow_first(rate: Rate) -> tuple[int, str]:
    """The order in which classes are charged: each leaves less of the wider ones."""
    return -len(dimensions_of(rate.key)), rate.key


def dearest(rates: Iterable[Rate], direction: str) -> int:
    """The most that a token of a direction costs."""
    wanted = {"family": "tokens", "direction": direction}.items()
    return max((rate.nanos for rate in rates if wanted <= dimensions_of(rate.key).items()), default=0)


def ceiling_of(over: int, reachable: Collection[Rate]) -> Ceiling:
    """The dearest of these rates, for all that a request's bound is made of."""

    def most(*, media: bool, written: bool, lasting: bool = True) -> int:
        return dearest(
            (
                rate
                for rate in reachable
                if (media or dimensions_of(rate.key).get("modality", "text") == "text")
                and (written or dimensions_of(rate.key).get("token_type") != "cache_write")
                and (lasting or dimensions_of(rate.key).get("cache_ttl") != "1h")
            ),
            "input",
        )

    fees: dict[str, int] = {}
    for rate in reachable:
        if dimensions_of(rate.key)["family"] != "tokens":
            fees[rate.key] = max(rate.nanos, fees.get(rate.key, 0))
    return Ceiling(
        over=over,
        text=most(media=False, written=False),
        media=most(media=True, written=False),
        written_text=most(media=False, written=True),
        written_media=most(media=True, written=True),
        briefly_written_text=most(media=False, written=True, lasting=False),
        briefly_written_media=most(media=True, written=True, lasting=False),
        output=dearest(reachable, "output"),
        fees=fees,
    )
