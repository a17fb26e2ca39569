"""Models and what they cost, for lists."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from webapp.schemas import Input, Output
from webapp.schemas.values import read_text


class ModelQuery(Input):
    """Which models of a provider."""

    q: Annotated[str, BeforeValidator(read_text), Field(max_length=200)] = Field(
        default="", description="Only models with this in their names."
    )


class PriceStep(Output):
    """Other rates, for the whole of a request with a large input."""

    above_tokens: int = Field(description="While its input is above so many tokens.")
    rates: dict[str, str]


class ModelPrice(Output):
    """A model, and what it costs today where no service tier is named."""

    provider: str
    model: str
    priced_by: str = Field(
        description="`own`, `table`, or `nothing`: then keys with a spend limit cannot use it.",
        json_schema_extra={"enum": ["own", "table", "nothing"]},
    )
    rates: dict[str, str] = Field(description="Dollars a million tokens, a thousand calls, or an hour. Empty: free.")
    steps: list[PriceStep]


class ModelPriceList(Output):
    """Models of a provider, by name."""

    data: list[ModelPrice]
    table_version: str = Field(description="Of the price table.")
