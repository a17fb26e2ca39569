"""What will have been spent by the end of the running period."""

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from shared.models import ID_LENGTH, TAG_LENGTH
from webapp.schemas import Input, Output
from webapp.schemas.texts import read_tag
from webapp.schemas.values import Moment, Money, read_text


class ForecastQuery(Input):
    """Of what: of one key, of all keys with a tag, or of the organisation."""

    key: Annotated[str, BeforeValidator(read_text), Field(max_length=ID_LENGTH)] | None = Field(
        default=None, description="Of the key with this id, and the period of its spend limit."
    )
    tag: Annotated[str, BeforeValidator(read_tag), Field(max_length=TAG_LENGTH)] | None = Field(
        default=None, description="Of the keys that have this tag now."
    )

    @model_validator(mode="after")
    def _of_one_thing(self) -> "ForecastQuery":
        if self.key is not None and self.tag is not None:
            raise PydanticCustomError("of_field", "tag", {"field": "tag", "message": "must not stand beside key"})
        return self


class Forecast(Output):
    """A period, and what it is expected to come to."""

    period_start: Moment
    period_end: Moment
    spent_usd: Money = Field(description="In the period so far, as the ledger has it.")
    expected_usd: Money | None = Field(description="At its end. Null: there are less than 7 whole days of history.")
    low_usd: Money | None = Field(description="The lower end of the range, never less than what is spent already.")
    high_usd: Money | None
    history_days: int = Field(description="Whole days since the first use that it is made from, at most 14.")
    method: str = Field(description="How it is made, in words.")
