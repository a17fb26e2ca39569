"""An organisation's own prices."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from shared.pricing.table import PRICED_FAMILIES, units_by_usage_key
from webapp.schemas import Input, Output
from webapp.schemas.provider_names import Provider
from webapp.schemas.values import Moment, refuse_secret

MAX_MODEL = 200
MAX_DOLLARS = Decimal(1_000_000)
MAX_DECIMALS = 12
_LONGEST_AMOUNT = 100
REQUIRED = "input_tokens"
_MISSING = object()
# As money is written elsewhere: no sign, no exponent, no separator.
_PLAIN = re.compile(r"[0-9]+(?:\.([0-9]+))?")


def _model(raw: object) -> str:
    if not isinstance(raw, str) or not raw or len(raw) > MAX_MODEL or not raw.isprintable() or raw != raw.strip():
        raise ValueError(f"must be 1 to {MAX_MODEL} printable characters without space around them")
    refuse_secret(raw)
    return raw


def _with_the_required(raw: object) -> dict[str, Any]:
    """The rates, and a gap where the one is missing that all need, so that it is named beside all other faults."""
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ValueError("must be a JSON object of dollars by class")
    return {REQUIRED: _MISSING, **raw}


def _class(raw: str) -> str:
    unit = units_by_usage_key().get(raw)
    if unit is None or unit.dimensions["family"] not in PRICED_FAMILIES:
        raise ValueError("is no class of tokens and no fee that is known; docs/pricing.md lists them")
    return raw


def _dollars(raw: object) -> str:
    if raw is _MISSING:
        message = f"must have {REQUIRED}, by which all other input is priced that is not named"
        raise PydanticCustomError("of_field", "rates", {"field": "rates", "message": message})
    plain = _PLAIN.fullmatch(raw.strip()) if isinstance(raw, str) and len(raw) <= _LONGEST_AMOUNT else None
    if plain is None or Decimal(plain[0]) > MAX_DOLLARS:
        raise ValueError(f"must be dollars as a plain decimal string, such as 1.25, from 0 to {MAX_DOLLARS:,}")
    if len(plain[1] or "") > MAX_DECIMALS:
        raise ValueError(f"must have at most {MAX_DECIMALS} digits after the point")
    return format(Decimal(plain[0]), "f")


class PriceRates(Input):
    """Dollars by usage key: a million tokens, or a thousand calls of a tool."""

    rates: Annotated[
        dict[Annotated[str, BeforeValidator(_class)], Annotated[str, BeforeValidator(_dollars)]],
        BeforeValidator(_with_the_required),
    ] = Field(examples=[{"input_tokens": "1.25", "output_tokens": "10"}])


class Price(PriceRates):
    """The price of a model, in the place of all its token prices in the price table."""

    provider: Provider
    model: Annotated[str, BeforeValidator(_model)] = Field(min_length=1, max_length=MAX_MODEL)


class OwnPrice(Output):
    """A price of the organisation's own."""

    id: str
    provider: str
    model: str
    rates: dict[str, str] = Field(description="Dollars a million tokens, or a thousand calls of a tool.")
    created_at: Moment


class OwnPriceList(Output):
    """The organisation's own prices, by provider and model."""

    data: list[OwnPrice]
    table_version: str = Field(description="Of the price table, by which everything else goes.")
