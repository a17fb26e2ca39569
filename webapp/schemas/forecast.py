"""What will have been spent by the end of the running period."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shared.models import ID_LENGTH, TAG_LENGTH
from webapp.schemas import Fault, Input, Output
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

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        if self.key is not None and self.tag is not None:
            yield "tag", "must not stand beside key"


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
