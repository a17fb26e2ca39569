"""What was used."""

from datetime import date
from typing import Literal

from pydantic import Field

from webapp.schemas import Output
from webapp.schemas.values import Money, is_none, is_nothing


class TokenClasses(Output):
    """Tokens by class; each is among the input or the output tokens."""

    cache_read_tokens: int = Field(default=0, exclude_if=is_nothing)
    cache_write_tokens: int = Field(default=0, exclude_if=is_nothing)
    input_audio_tokens: int = Field(default=0, exclude_if=is_nothing)
    input_image_tokens: int = Field(default=0, exclude_if=is_nothing)
    output_audio_tokens: int = Field(default=0, exclude_if=is_nothing)
    output_image_tokens: int = Field(default=0, exclude_if=is_nothing)
    output_reasoning_tokens: int = Field(default=0, exclude_if=is_nothing)


class UsageSums(Output):
    """What some requests came to."""

    requests: int
    input_tokens: int
    output_tokens: int
    tokens: TokenClasses = Field(description="Of these, those that are priced by themselves, if there are any.")
    cost_usd: Money


class UsageGroup(Output):
    """What some requests have in common: one of these."""

    day: date | None = Field(default=None, exclude_if=is_none)
    key: str | None = Field(default=None, exclude_if=is_none)
    provider: str | None = Field(default=None, exclude_if=is_none)
    model: str | None = Field(default=None, exclude_if=is_none)
    tag: str | None = Field(default=None, exclude_if=is_none, description="Empty: of keys without one.")
    label: str | None = Field(default=None, exclude_if=is_none, description="Empty: of requests without one.")


class UsageLine(UsageSums, UsageGroup):
    """The sums of a group."""


class Usage(Output):
    """Sums by group, and of all."""

    from_: date = Field(serialization_alias="from")
    to: date
    group_by: Literal["day", "key", "provider", "model", "tag", "label"]
    data: list[UsageLine]
    has_more: bool | None = Field(default=None, exclude_if=is_none, description="By key alone: whether keys follow.")
    next_cursor: str | None = Field(default=None, exclude_if=is_none, description="Where they begin.")
    total: UsageSums
