"""The price table: models, rates by date and service tier, and where usage stands in answers.

`prices.json` is genai-prices' data for our providers, made by `shared.pricing.regenerate`. Who reads it needs neither
the package nor what comes with it. The rules here are the package's own (its `find_model` and `get_prices`), and tests
compare the two over all models.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Raw, Struct, json

from shared.pricing.session_usage import OWN

PATH = Path(__file__).with_name("prices.json")
PRICES_IDS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}  # the table's name of a provider
PROVIDER_IDS = tuple(PRICES_IDS.values())

# Fees that providers charge and the table has no unit for. They are priced by our supplement or an organisation's own
# prices, a thousand calls each; a call of what has no price is flagged `unpriced_tool`.
_OWN_FEES = {
    "web_search_previews": "web_search_preview",
    "map_searches": "map_search",
    "image_generations": "image_generation",
    "generated_images": "generated_image",
    "video_seconds_720p": "video_second_720p",
    "video_seconds_1080p": "video_second_1080p",
    "video_seconds_4k": "video_second_4k",
}

# What the prices are for that an answer can be charged by; of the table's others (pixels, pages) no endpoint tells any.
PRICED_FAMILIES = ("tokens", "tool_calls", "durations", "characters")

_COMPACT_DATE = re.compile(r"(?<=-)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


class Rate(Struct, frozen=True):
    """Dollars for `per` units of a class; `steps` are other prices, each from an input size on, ascending."""

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()

    def above(self, tokens: int) -> Decimal:
        """The price while the input is just above `tokens`."""
        return next((price for start, price in reversed(self.steps) if tokens >= start), self.base)


Rates = Mapping[str, Rate]  # by price key


class Unit(Struct, frozen=True):
    """What a price is for. `dimensions` say which class lies within which: the more of them, the narrower."""

    key: str  # usage key
    per: int
    dimensions: Mapping[str, str]


class Model(Struct, frozen=True):
    """A model of the table."""

    id: str
    context_tokens: int | None
    deprecated: bool
    prices: tuple[tuple[date | None, Rates], ...]  # since when
    variants: tuple[tuple[Mapping[str, str], date | None, Rates], ...]  # for which context, since when

    def rates(self, day: date, context: Mapping[str, str]) -> dict[str, Rate]:
        """What applies on a day: the last price that has begun; of the variants, the first one for each class."""
        current = self.prices[0][1]
        for since, rates in reversed(self.prices):
            if since is None or day >= since:
                current = rates
                break
        return {**current, **self.varied(day, context)} if context else dict(current)

    def varied(self, day: date, context: Mapping[str, str]) -> dict[str, Rate]:
        """What of that is told for the context itself."""
        found: dict[str, Rate] = {}
        for when, since, rates in self.variants:
            if (since is None or day >= since) and all(context.get(name) == value for name, value in when.items()):
                for key, rate in rates.items():
                    found.setdefault(key, rate)
        return found


class Place(Struct, frozen=True):
    """Where a figure stands in a usage object, and the class that it counts."""

    field: str
    inner: str | None  # a field of the object there
    modality: Callable[[str], bool] | None  # which entries of the list there
    key: str
    required: bool


# Where endpoints tell their usage that the table does not know. The shapes are those of the openai SDK 3:
# `Transcription` (tokens, or seconds of sound) and the event `speech.audio.done`.
_OWN_PLACES: dict[tuple[str, str], tuple[Place, ...]] = {
    ("openai", "transcriptions"): (
        Place("seconds", None, None, "audio_seconds", required=False),
        Place("input_tokens", None, None, "input_tokens", required=False),
        Place("input_token_details", "audio_tokens", None, "input_audio_tokens", required=False),
        Place("output_tokens", None, None, "output_tokens", required=False),
    ),
    ("openai", "speech"): (
        Place("input_tokens", None, None, "input_tokens", required=True),
        Place("output_tokens", None, None, "output_tokens", required=True),
    ),
}


class _Entry(Struct, frozen=True):
    """A model as it stands in the file. Its prices stay text until they are asked for: most never are."""

    id: str
    match: list[Any]  # see `matches`
    context: int | None
    deprecated: bool
    hourly: bool
    prices: Raw
    variants: Raw


class _Provider(Struct, frozen=True):
    models: list[_Entry]
    extractors: dict[str, list[tuple[list[Any], str, bool]]]


class _File(Struct, frozen=True):
    version: str
    units: dict[str, dict[str, Any]]
    providers: dict[str, _Provider]


class _Table:
    """The file, read."""

    def __init__(self, content: _File) -> None:
        self.version = content.version
        units = [(unit["price"], Unit(key, unit["per"], unit["dimensions"])) for key, unit in content.units.items()]
        self.units = dict(units)  # by price key
        self.models = {name: provider.models for name, provider in content.providers.items()}
        self.extractors: dict[tuple[str, str], tuple[Place, ...]] = {}
        for name, provider in content.providers.items():
            for flavor, mappings in provider.extractors.items():
                self.extractors[name, flavor] = tuple(_place(*mapping) for mapping in mappings)


@lru_cache(maxsize=1)
def _table() -> _Table:
    return _Table(json.decode(PATH.read_bytes(), type=_File))


def version() -> str:
    """The version of the table."""
    return _table().version


@lru_cache(maxsize=1)
def units() -> dict[str, Unit]:
    """All units by price key, ours among them."""
    own = {
        f"{key}_kcount": Unit(key, 1_000, {"family": "tool_calls", "tool_type": tool})
        for key, tool in _OWN_FEES.items()
    }
    return {**_table().units, **own}


@lru_cache(maxsize=1)
def units_by_usage_key() -> dict[str, Unit]:
    """All units by the class that they count."""
    return {unit.key: unit for unit in units().values()}


def places(prices_id: str, flavor: str) -> tuple[Place, ...] | None:
    """Where the answers of a kind of endpoint tell their usage; None: nobody here knows the kind."""
    own = OWN.get((prices_id, flavor))
    if own is None:
        return _table().extractors.get((prices_id, flavor)) or _OWN_PLACES.get((prices_id, flavor))
    base, rows = own
    also = () if base is None else _table().extractors[prices_id, base]
    return (*also, *(_place(list(path), key, required) for path, key, required in rows))


def find_model(prices_id: str, name: str) -> Model | None:
    """The first entry that a model's name matches; a compact date in it is tried with dashes as well.

    None as well for prices that change within the day: none of the providers has them.
    """
    lowered = name.lower()
    found = _match(prices_id, lowered)
    if found is None and (dashed := _COMPACT_DATE.sub(r"\1-\2-\3", lowered)) != lowered:
        found = _match(prices_id, dashed)
    return None if found is None or found.hourly else _model(found)


def current_models(prices_id: str) -> tuple[str, ...]:
    """Names of the entries that are not deprecated."""
    return tuple(model.id for model in _table().models[prices_id] if not model.deprecated)


def _match(prices_id: str, lowered: str) -> _Entry | None:
    return next((model for model in _table().models[prices_id] if matches(model.match, lowered)), None)


def matches(clause: list[Any], text: str) -> bool:
    """Whether a clause of the table accepts a text, which is in lower case."""
    test, value = clause
    if test == "equals":
        return bool(text == value)
    if test == "starts":
        return text.startswith(value)
    if test == "or":
        return any(matches(part, text) for part in value)
    if test == "and":
        return all(matches(part, text) for part in value)
    if test == "contains":
        return value in text
    if test == "ends":
        return text.endswith(value)
    return re.search(value, text) is not None


def _model(entry: _Entry) -> Model:
    return Model(
        entry.id,
        entry.context,
        entry.deprecated,
        tuple((_day(since), read_rates(rates)) for since, rates in json.decode(entry.prices)),
        tuple((when, _day(since), read_rates(rates)) for when, since, rates in json.decode(entry.variants)),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def read_rates(rates: Mapping[str, Any]) -> dict[str, Rate]:
    """Rates as they stand in the file: dollars, or a list of dollars and steps."""
    return {
        key: Rate(Decimal(value))
        if isinstance(value, str)
        else Rate(Decimal(value[0]), tuple((start, Decimal(price)) for start, price in value[1:]))
        for key, value in rates.items()
    }


def _place(path: list[Any], key: str, required: bool) -> Place:  # noqa: FBT001 - as it stands in the file
    field, *rest = path
    if not rest:
        return Place(field, None, None, key, required)
    if isinstance(rest[0], str):
        return Place(field, rest[0], None, key, required)
    clause = rest[0]["match"]
    return Place(field, None, lambda modality: matches(clause, modality.lower()), key, required)
